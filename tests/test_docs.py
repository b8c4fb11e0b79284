"""The documents say what the code does: settings, scopes, routes, words, commands that exist."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from jhub_usage import config, scopes
from jhub_usage.domain import (
    admission,
    audit,
    limits,
    maintenance,
    passes,
    rates,
    rules,
    sessions,
    sightings,
    stops,
    wallets,
)
from jhub_usage.handlers import routes

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"


def text_of(*names: str) -> str:
    return "\n".join((DOCS / name).read_text() for name in names)


def test_the_reference_pages_are_what_the_code_says():
    command = [sys.executable, ROOT / "scripts" / "reference.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_setting_scope_and_route_is_documented():
    settings, api = text_of("settings.md"), text_of("api.md")
    for name in config.NAMES:
        assert f"`{name}`" in settings and f"JHUB_USAGE_{name.upper()}" in settings, name
    for name in scopes.CUSTOM_SCOPES:
        assert f"`{name}`" in api, name
    for route in (*routes.API_ROUTES, *routes.PAGE_ROUTES):
        shown = re.sub(r"{(\w+):\w+}", r"{\1}", route.path)
        assert f"| {route.method} | `/{shown}` |" in api, route.path


@pytest.mark.parametrize(
    "words",
    [
        sessions.STATES,
        admission.DECISIONS,
        admission.MODES,
        wallets.ENTRY_KINDS,
        wallets.ROLES,
        wallets.REQUEST_STATES,
        rates.RESOURCES,
        rules.TARGETS,
        limits.SUBJECTS,
        limits.RESOURCES,
        stops.REASONS,
        sightings.SIGHTING_KINDS,
        audit.KINDS,
        maintenance.STATES,
        passes.STATES,
    ],
    ids=lambda words: words[0],
)
def test_every_word_that_the_code_stores_is_explained(words):
    page = text_of("words.md")
    assert not [word for word in words if f"`{word}`" not in page]


def test_evidence_words_are_explained():
    page = text_of("money-and-time.md")
    assert not [word for word in sightings.EVIDENCE if f"`{word}`" not in page]
    code = "".join(path.read_text() for path in (ROOT / "jhub_usage").rglob("*.py"))
    assert not [word for word in sightings.EVIDENCE if code.count(f'"{word}"') < 2]


def test_what_the_documents_name_exists():
    for page in [ROOT / "README.md", *DOCS.glob("*.md")]:
        text = page.read_text()
        for link in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", text):
            if not link.startswith("http"):
                assert (page.parent / link).exists(), f"{page.name}: {link}"
        for target in re.findall(r"`make ([a-z-]+)", text):
            assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.M), target
        for path in re.findall(r"`((?:jhub_usage|tests|benchmarks|scripts|helm-values)/[\w./-]+)`",
                               text):  # fmt: skip
            assert (ROOT / path).exists(), f"{page.name}: {path}"


def test_the_commands_that_the_documents_show_are_commands():
    for page in [ROOT / "README.md", DOCS / "install.md", DOCS / "money-and-time.md"]:
        for command in set(re.findall(r"`jhub-usage ([a-z]+)(?: ([a-z]+))?", page.read_text())):
            words = [word for word in command if word]
            done = subprocess.run(
                [Path(sys.executable).parent / "jhub-usage", *words, "--help"],
                capture_output=True,
                text=True,
            )
            if done.returncode and len(words) == 2:  # the second word was an argument
                words.pop()
                done = subprocess.run(
                    [Path(sys.executable).parent / "jhub-usage", *words, "--help"],
                    capture_output=True,
                    text=True,
                )
            assert done.returncode == 0, (page.name, command, done.stderr)
