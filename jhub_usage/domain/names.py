"""Names that people choose: compared whole, kept as written; unreadable ones are refused."""

import unicodedata

from .errors import BadInput

MAX_NAME = 255


def require_name(name: str, *, what: str = "name") -> str:
    """A name of 1 to 255 visible characters without line breaks or edges of blanks, or BadInput.

    Spaces, quotes and any script are fine. Text is normalised (NFC), so that one name has one form.
    """
    if not isinstance(name, str):
        raise BadInput(f"The {what} must be text.")
    name = unicodedata.normalize("NFC", name)
    if not name or name != name.strip():
        raise BadInput(f"The {what} must not be empty or begin or end with a blank.")
    if len(name) > MAX_NAME:
        raise BadInput(f"The {what} is longer than {MAX_NAME} characters.")
    if any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in name):
        raise BadInput(f"The {what} holds characters that can not be seen.")
    return name
