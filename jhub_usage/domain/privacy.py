"""Names that are to be forgotten, and how long rows are kept that nothing needs any more.

Does not look anything up. A name is found as a whole word: ``ada`` stands in ``~ada``,
``jupyter-ada--gpu`` and ``ada's``, not in ``canada``, ``ada-2`` or ``ada.lovelace``.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

#: What stands where words of or about a person stood.
ERASED = "[erased]"

_BEGIN = r"(?:(?<=jupyter-)|(?<![\w+-])(?<!\w\.))"
_END = r"(?![\w+]|[-.]\w)"
#: What these fields of an audit row hold is never the name of a person or of their own wallet.
_OTHER_WORDS = frozenset(
    {"resource", "model", "profile", "group", "subject", "target", "mode", "period", "state",
     "kind", "role", "action", "route"}
)  # fmt: skip


def pseudonym(person_id: int) -> str:
    """What a person is called once their name is forgotten."""
    return f"person-{person_id}"


@dataclass(frozen=True)
class Renamed:
    """What a person was called, and their own wallet (empty: none), with what takes the place."""

    names: tuple[str, ...]
    new_name: str
    wallet: str = ""
    new_wallet: str = ""

    def wallet_in(self, text: str) -> str:
        """The text with the wallet called as it is now."""
        return _put(text, self.wallet, self.new_wallet) if self.wallet else text

    def text(self, text: str, *, any_case: bool = False) -> str:
        """The text with person and wallet called as they are now."""
        text = self.wallet_in(text)
        for name in sorted(self.names, key=len, reverse=True):
            text = _put(text, name, self.new_name, any_case=any_case)
        return text

    def data(self, value, *, of_wallet: bool = False, field: str = ""):
        """The same for JSON. ``of_wallet``: its field ``name`` is a wallet's, not a person's.

        Fields are words of ours and stay, whatever somebody is called: answers rest on them.
        """
        if isinstance(value, dict):
            return {k: self.data(v, of_wallet=of_wallet, field=k) for k, v in value.items()}
        if isinstance(value, list):
            return [self.data(v, of_wallet=of_wallet, field=field) for v in value]
        if not isinstance(value, str) or field in _OTHER_WORDS:
            return value
        if field == "wallet" or (of_wallet and field == "name"):
            return self.wallet_in(value)
        return self.text(value)

    def is_in(self, text: str) -> bool:
        """Whether the name, or the wallet's, stands in a text."""
        return self.text(text, any_case=True) != text


def _put(text: str, old: str, new: str, *, any_case: bool = False) -> str:
    flags = re.IGNORECASE if any_case else 0
    return re.sub(f"{_BEGIN}{re.escape(old)}{_END}", lambda _: new, text, flags=flags)


@dataclass(frozen=True)
class Keep:
    """Days for which rows are kept; 0: for ever."""

    decisions_days: int = 0
    audit_days: int = 0
    reads_days: int = 0
    client_keys_days: int = 0


def cutoff(now: datetime, days: int) -> datetime | None:
    """What happened before this instant is older than so many days; None: keep all of it.

    A midnight, so that what is due goes once a day and not a little at every pass.
    """
    if not days:
        return None
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight - timedelta(days=days)
