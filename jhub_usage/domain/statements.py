"""A wallet's statement of a month: its lines, and sums that are exactly those of the lines.

Goes by the month that entries are booked in, not by when something happened: what is learnt after
a month was closed stands in a later one. Whole numbers and text only, so that the same lines make
the same bytes. Sees values; where they come from, and who may see them, is not known here.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal

from . import spreadsheets
from .instants import iso
from .money import plain
from .wallets import ENTRY_KINDS

#: Of what is made here; a closed month says by which it is made.
FORMAT = 1
CLOSED, OPEN = "closed", "open"
#: An allowance that was granted when it began, for no whole period.
AT_ONCE = "at once"


@dataclass(frozen=True)
class Line:
    """One entry. What is not booked yet has no ``id``."""

    id: int | None
    kind: str
    amount_micro: int
    effective_at: datetime
    posted_at: datetime | None = None
    session_id: str | None = None
    slice_start: datetime | None = None
    slice_end: datetime | None = None
    #: Billed microseconds that it adds, negative where a correction takes some back.
    elapsed_us: int = 0
    corrects_id: int | None = None
    #: The month that what it corrects is booked in.
    corrects_month: str | None = None
    goodwill: bool = False
    counter_wallet_id: int | None = None
    #: The period of the allowance that came, or expired, by it.
    allowance: str | None = None
    actor_kind: str = ""
    actor_id: int | None = None
    note: str = ""


@dataclass(frozen=True)
class Ran:
    """What of a session never changes after its admission."""

    id: str
    person_id: int
    server_name: str
    profile: str
    gpu_model: str
    gpu_count: int
    gpu_milli: int
    cpu_milli: int
    memory_bytes: int
    per_hour_micro: int
    fee_micro: int
    quote_lines: Sequence[Mapping]


@dataclass(frozen=True)
class Names:
    """How people and wallets are called on a statement."""

    people: Mapping[int, str]
    wallets: Mapping[int, str]

    def person(self, person_id: int | None) -> str | None:
        return None if person_id is None else self.people.get(person_id, f"person-{person_id}")

    def wallet(self, wallet_id: int | None) -> str | None:
        return None if wallet_id is None else self.wallets.get(wallet_id, f"wallet-{wallet_id}")


@dataclass
class Sums:
    """Amounts in micro-credits; ``gpu_us`` and ``cpu_us`` in thousandths times microseconds."""

    entries: int = 0
    amount_micro: int = 0
    elapsed_us: int = 0
    gpu_us: int = 0
    cpu_us: int = 0

    def add(self, line: Line, ran: Ran | None) -> None:
        self.entries += 1
        self.amount_micro += line.amount_micro
        if ran is not None:
            self.elapsed_us += line.elapsed_us
            self.gpu_us += ran.gpu_milli * line.elapsed_us
            self.cpu_us += ran.cpu_milli * line.elapsed_us

    def shown(self) -> dict:
        return {f.name: getattr(self, f.name) for f in fields(self)}


def compose(
    head: Mapping,
    lines: Sequence[Line],
    ran: Mapping[str, Ran],
    names: Names,
    *,
    opening_micro: int | None,
    pending: Sequence[Line] | None = None,
) -> dict:
    """The statement as plain values. ``opening_micro`` None: only some of the wallet's lines.

    ``pending`` is what an open month will still have booked; it is in no sum and no balance.
    """
    total, kinds, people, profiles, sessions = Sums(), {}, {}, {}, {}
    for line in lines:
        of = ran.get(line.session_id)
        total.add(line, of)
        kinds.setdefault(line.kind, Sums()).add(line, of)
        who = of.person_id if of else None
        people.setdefault(who, Sums()).add(line, of)
        profiles.setdefault((of.profile, of.gpu_model) if of else None, Sums()).add(line, of)
        if of is not None:
            sessions.setdefault(of.id, Sums()).add(line, of)
    for line in pending or ():
        if line.session_id in ran:
            sessions.setdefault(line.session_id, Sums())
    made = dict(head) | {
        "format": FORMAT,
        "by": "booked month",
        "opening_micro": opening_micro,
        "closing_micro": None if opening_micro is None else opening_micro + total.amount_micro,
        "total": total.shown(),
        "kinds": [{"kind": k} | kinds[k].shown() for k in ENTRY_KINDS if k in kinds],
        "people": [
            {"person_id": who, "person": names.person(who)} | people[who].shown()
            for who in sorted(people, key=lambda p: (p is None, names.person(p) or "", p or 0))
        ],
        "profiles": [
            {"profile": key and key[0], "gpu_model": key and key[1]} | profiles[key].shown()
            for key in sorted(profiles, key=lambda k: (k is None, k or ("", "")))
        ],
        "sessions": [_session(ran[i], names) | sums.shown() for i, sums in sessions.items()],
        "entries": [_line(line, ran.get(line.session_id), names) for line in lines],
    }
    if pending is not None:
        made["pending_micro"] = sum(line.amount_micro for line in pending)
        made["pending"] = [_line(line, ran.get(line.session_id), names) for line in pending]
    return made


def _session(of: Ran, names: Names) -> dict:
    return {
        "id": of.id,
        "person_id": of.person_id,
        "person": names.person(of.person_id),
        "server_name": of.server_name,
        "profile": of.profile,
        "gpu_model": of.gpu_model,
        "gpu_count": of.gpu_count,
        "gpu_milli": of.gpu_milli,
        "cpu_milli": of.cpu_milli,
        "memory_bytes": of.memory_bytes,
        "per_hour_micro": of.per_hour_micro,
        "start_fee_micro": of.fee_micro,
        "lines": [dict(line) for line in of.quote_lines],
    }


def _line(line: Line, of: Ran | None, names: Names) -> dict:
    return {
        "id": line.id,
        "kind": line.kind,
        "amount_micro": line.amount_micro,
        "effective_at": iso(line.effective_at),
        "posted_at": iso(line.posted_at),
        "session_id": line.session_id,
        "person_id": of.person_id if of else None,
        "slice_start": iso(line.slice_start),
        "slice_end": iso(line.slice_end),
        "elapsed_us": line.elapsed_us,
        "gpu_us": of.gpu_milli * line.elapsed_us if of else 0,
        "cpu_us": of.cpu_milli * line.elapsed_us if of else 0,
        "corrects_id": line.corrects_id,
        "corrects_month": line.corrects_month,
        "goodwill": line.goodwill,
        "counter_wallet_id": line.counter_wallet_id,
        "counter_wallet": names.wallet(line.counter_wallet_id),
        "allowance": line.allowance,
        "actor_kind": line.actor_kind,
        "actor": names.person(line.actor_id),
        "note": line.note,
    }


def canonical(statement: Mapping) -> bytes:
    """The same statement is always the same bytes."""
    text = json.dumps(statement, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode("ascii") + b"\n"


def checksum(statement: Mapping) -> str:
    """SHA-256 of the bytes: two prints that show the same one are of the same statement."""
    return hashlib.sha256(canonical(statement)).hexdigest()


# -- as a table ------------------------------------------------------------------------------------

COLUMNS = (
    "entry", "kind", "effective_at", "posted_at", "month", "person", "server", "session",
    "profile", "gpu_model", "gpus", "cores", "begins_at", "ends_at", "billed_seconds", "gpu_hours",
    "core_hours", "amount", "currency", "corrects", "corrects_month", "other_wallet", "allowance",
    "by", "note",
)  # fmt: skip


def csv_text(statement: Mapping) -> str:
    """One row per line; amounts and seconds as exact decimals, hours rounded to six.

    What is not booked yet has no number. Text that a spreadsheet would compute is quoted.
    """
    sessions = {s["id"]: s for s in statement["sessions"]}
    lines = (*statement["entries"], *statement.get("pending", ()))
    return spreadsheets.csv_text(
        COLUMNS, (_row(statement, line, sessions.get(line["session_id"], {})) for line in lines)
    )


def _row(statement: Mapping, line: Mapping, of: Mapping) -> tuple:
    return (
        line["id"], line["kind"], line["effective_at"], line["posted_at"],
        statement["month"], of.get("person"), of.get("server_name"), line["session_id"],
        of.get("profile"), of.get("gpu_model"),
        _decimal(of["gpu_milli"] * 1000) if of else None,
        _decimal(of["cpu_milli"] * 1000) if of else None,
        line["slice_start"], line["slice_end"],
        _decimal(line["elapsed_us"]) if of else None,
        Decimal(hours(line["gpu_us"])) if of else None,
        Decimal(hours(line["cpu_us"])) if of else None,
        _decimal(line["amount_micro"]), statement["currency"], line["corrects_id"],
        line["corrects_month"], line["counter_wallet"], line["allowance"],
        line["actor"] or line["actor_kind"], line["note"],
    )  # fmt: skip


def _decimal(millionths: int) -> Decimal:
    return Decimal(plain(millionths))


def hours(milli_us: int, decimals: int = 6) -> str:
    """Thousandths times microseconds as hours, like ``12.5``; rounded half away from zero."""
    sign, whole, part = _hours(milli_us, decimals)
    tail = part.rstrip("0")
    return f"{sign}{whole}.{tail}" if tail else f"{sign}{whole}"


def hours_shown(milli_us: int) -> str:
    """The same in a column for people: ``1,234.50``."""
    sign, whole, part = _hours(milli_us, 2)
    return f"{sign}{whole:,}.{part}"


def _hours(milli_us: int, decimals: int) -> tuple[str, int, str]:
    step = 3_600_000_000_000 // 10**decimals
    units, rest = divmod(abs(milli_us), step)
    if rest * 2 >= step:
        units += 1
    whole, part = divmod(units, 10**decimals)
    sign = "-" if milli_us < 0 and units else ""
    return sign, whole, f"{part:0{decimals}d}" if decimals else ""


def person_ids(lines: Iterable[Line], ran: Mapping[str, Ran]) -> set[int]:
    """Everybody whom a statement names."""
    found = {line.actor_id for line in lines} | {of.person_id for of in ran.values()}
    return {i for i in found if i is not None}
