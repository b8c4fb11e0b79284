"""Help is quick, complete, and what the documentation says."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from jhub_usage import cli
from jhub_usage.commands import reference, tree

DOCS = Path(__file__).resolve().parents[2] / "docs"
LEAVES = dict(reference._leaves(tree.build(), "jhub-usage"))
HEAVY = ("sqlalchemy", "jupyterhub", "alembic", "traitlets", "tornado", "yaml", "psycopg")


def run(*words: str, **more) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "jhub_usage.cli", *words], capture_output=True, text=True,
        timeout=60, **more,
    )  # fmt: skip


def children_cpu_s() -> float:
    """What finished children computed: how long they waited for a processor says nothing."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize("words", [[], ["wallet"], ["wallet", "grant"], ["apply"], ["session"]])
def test_help_takes_less_than_300_ms(words):
    best = 9.0
    for _ in range(5):
        begun = children_cpu_s()
        done = run(*words, "--help")
        best = min(best, children_cpu_s() - begun)
        assert done.returncode == 0 and "usage: jhub-usage" in done.stdout
    assert best < 0.3


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom jhub_usage.cli import main\n"
        "try:\n main(['wallet', 'grant', '--help'])\nexcept SystemExit: pass\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize("path", LEAVES)
def test_every_command_has_help_and_something_that_does_it(path, capsys):
    import importlib

    with pytest.raises(SystemExit) as ended:
        cli.main([*path.split()[1:], "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "--json" in shown and "--database-url" in shown
    leaf = LEAVES[path]
    module = importlib.import_module(f"jhub_usage.commands.{leaf.get_default('module')}")
    assert callable(getattr(module, leaf.get_default("function")))
    assert all(a.help for a in leaf._actions), path


def test_the_reference_is_not_stale():
    page = (DOCS / "cli.md").read_text(encoding="utf-8")
    assert page == reference.written(page), (
        "run: python -m jhub_usage.commands.reference docs/cli.md"
    )


def test_every_command_option_and_exit_code_is_documented():
    page = (DOCS / "cli.md").read_text(encoding="utf-8")
    for path, leaf in LEAVES.items():
        assert f"`{path}`" in page
        for action in leaf._actions:
            for option in action.option_strings:
                assert option in ("-h", "--help") or option in page, (path, option)
    for code, _, text in cli.EXIT_CODES:
        assert text in page
        assert f"| {code} |" in page


def test_version():
    from jhub_usage import __version__

    assert run("--version").stdout.strip() == __version__


@pytest.mark.parametrize("words", ["", "wallet", "bogus", "wallet grant", "check --x"])
def test_a_wrong_command_line_is_2(words):
    done = run(*words.split())
    assert done.returncode == 2 and "usage:" in done.stderr and not done.stdout
    assert "Traceback" not in done.stderr


def test_a_reader_that_goes_away_is_no_traceback(tmp_path):
    url = f"sqlite:///{tmp_path / 'u.sqlite'}"
    env = os.environ | {"JHUB_USAGE_DATABASE_URL": url}
    assert run("db", "upgrade", env=env).returncode == 0
    done = subprocess.run(
        f"{sys.executable} -u -m jhub_usage.cli check | head -1", shell=True, env=env,
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert "Traceback" not in done.stderr and done.stdout
