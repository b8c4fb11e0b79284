"""Which of the Hub's templates it will really use: ours come last, an admin's own go first."""

from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "templates" / "hub"
#: The Hub's pages that we add to, and what their text must hold to show it.
PAGES = {"home.html": "jhub-usage/balance.html", "spawn.html": "jhub-usage/balance.html"}


def template_status(template_paths) -> dict:
    """Per page: the file that the Hub finds first, and whether it includes ours."""
    status = {}
    for page, needle in PAGES.items():
        found = next(
            (Path(folder) / page for folder in template_paths if (Path(folder) / page).is_file()),
            None,
        )
        status[page] = {
            "file": str(found) if found else "",
            "ours": found is not None and found.parent.resolve() == FOLDER,
            "included": found is not None and needle in _text(found),
        }
    return status


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
