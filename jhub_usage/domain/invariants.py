"""What must always be true, as plain functions over rows: each fault names the rule it breaks.

The money rules are recomputed from the boundaries and prices on the row, never from what was
charged before. Rows are anything with the table's columns as attributes.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from .admission import ADMITTED, FAILED_OPEN, OBSERVED
from .allowances import LEAVES, SPARES, TURNS, USES
from .instants import elapsed_us, iso, to_micros
from .metered import PER_MICRO, read_key
from .money import MAX_AMOUNT_MICRO, plain
from .rates import cost
from .sessions import ENDED, RUNNING, VOID

#: Every rule with the sentence that people read. The order is the order of the report.
INVARIANTS: Mapping[str, str] = {
    "schema": "The schema is the newest that this release knows.",
    "triggers": "The database itself refuses to change ledger entries.",
    "gate": "There is one gate, which every admission passes.",
    "references": "Every row that is named by another one exists.",
    "people.names": "A name belongs to at most one current person of a hub.",
    "catalog": "Every rate, rule and limit is one that can be applied.",
    "wallets.balance": "A wallet's balance is the sum of its entries.",
    "entries.amounts": "Every amount is a whole number within bounds, with the sign of its kind.",
    "entries.keys": "Every entry has a key of its kind, and no two share one.",
    "entries.period": "An entry is booked in its own month or a later one.",
    "entries.refunds": "Refunds and corrections of a charge never exceed the charge.",
    "wallets.allowance": "What is left of an allowance is what its entries leave of it.",
    "months.closed": "Nothing was booked in a month after it was closed.",
    "months.held": "A closed month holds what it held when it was closed.",
    "usage.counters": "Counters of limits per period are what the ended sessions used.",
    "usage.rollups": "Rollups are what the ended sessions used.",
    "metered": "What was metered was charged its exact total, rounded down once a month.",
    "entries.transfers": "A transfer has two sides that sum to zero.",
    "requests": "A granted request has one entry, of what was granted; no other has any.",
    "sessions.charged": "What a session was charged is the sum of its charges and corrections.",
    "sessions.slices": "Charges of a session follow each other, each with the cost of its slice.",
    "sessions.total": "An ended session was charged its whole cost, up to its billed end.",
    "sessions.unbilled": "What never started, was voided or is not billed has no charges.",
    "sessions.boundaries": "A session's boundaries are in order, fit its state, name evidence.",
    "sessions.billed_from": "Billing begins at the boundary that was agreed at admission.",
    "sessions.shape": "The GPU count of a session is that of its list of GPUs.",
    "sessions.quote": "The lines of a quote sum to its price per hour and its fee.",
    "sessions.admission": "Every session was admitted.",
    "admissions.session": "Every admission that let a server start has a session, or was voided.",
    "sessions.lapsed": "Admitted sessions whose deadline passed unstarted; they hold nothing.",
}
#: What is found here is no violation.
INFORMATIONAL = frozenset({"sessions.lapsed"})

MAY_START = (ADMITTED, OBSERVED, FAILED_OPEN)
BOUNDARIES = ("scheduled", "started", "ready", "stop_accepted", "ended")
KEYS = {
    "grant": ("grant:", "start-grant:", "allowance:"),
    "charge": ("charge:",),
    "refund": ("refund:", "waiver:"),
    "correction": ("correction:",),
    "transfer": ("transfer-out:", "transfer-in:"),
    "expiry": ("expiry:", "allowance:"),
}
#: The setting of the time zone may have changed since: any zone of the world is believed.
WEST, EAST = timedelta(hours=12), timedelta(hours=14)

Fault = tuple[str, str]


@dataclass(frozen=True)
class Checked:
    """One rule: how many things were compared, and the first of those that break it."""

    name: str
    what: str
    compared: int
    violations: tuple[str, ...] = ()
    #: Violations, or notes, beyond those that are named.
    more: int = 0
    #: Told, not judged.
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.violations


def session_faults(s, entries: Sequence, admission) -> Iterator[Fault]:
    """All that is wrong with one session; ``entries`` are those that name it."""
    charges = [e for e in entries if e.kind == "charge"]
    billed = [e for e in entries if e.kind in ("charge", "correction") and not e.goodwill]
    booked = -sum(e.amount_micro for e in billed)
    if s.charged_micro != booked:
        yield "sessions.charged", f"charged {s.charged_micro}, entries say {booked}"
    yield from _admission_faults(s, admission)
    yield from _boundary_faults(s)
    yield from _shape_faults(s)
    if not s.billed or s.billed_from_at is None or s.state == VOID:
        if charges:
            yield "sessions.unbilled", f"{len(charges)} charges, state {s.state}"
        return
    if s.wallet_id is None:
        yield "sessions.unbilled", "billed without a wallet"
    if s.revision:
        # its boundaries were corrected: what was charged by the old ones has other slices
        yield from _revision_faults(s, billed)
    else:
        yield from _slice_faults(s, charges)
    if s.state == ENDED:
        if s.settled_until != s.billed_until_at:
            yield (
                "sessions.total",
                f"settled until {iso(s.settled_until)}, billed until {iso(s.billed_until_at)}",
            )
        paid, whole = -sum(c.amount_micro for c in charges), _due(s, s.billed_until_at)
        if paid != whole and not s.revision:
            yield "sessions.total", f"charges sum to {paid}, the cost is {whole}"


def _revision_faults(s, billed: Sequence) -> Iterator[Fault]:
    """After a correction of boundaries everything up to it sums to the cost by them."""
    last = next((e.id for e in billed if e.key == f"correction:{s.id}:{s.revision}"), None)
    if last is None:
        return  # nothing was due
    paid, whole = -sum(e.amount_micro for e in billed if e.id <= last), _due(s, s.billed_until_at)
    if paid != whole:
        yield "sessions.total", f"charges and corrections sum to {paid}, the cost is {whole}"


def _due(s, at: datetime | None) -> int:
    """C(at) by the boundaries of the row."""
    if at is None:
        return 0
    end = at if s.billed_until_at is None else min(at, s.billed_until_at)
    return cost(s.per_hour_micro, s.fee_micro, elapsed_us(s.billed_from_at, end))


def _slice_faults(s, charges) -> Iterator[Fault]:
    name = "sessions.slices"
    if any(c.slice_start is None or c.slice_end is None for c in charges):
        yield name, "a charge has no slice"
        return
    at, paid = s.billed_from_at, 0
    for c in sorted(charges, key=lambda c: (c.slice_start, c.slice_end)):
        if c.wallet_id != s.wallet_id:
            yield name, f"entry {c.id} charges another wallet"
        if c.slice_end < c.slice_start:
            yield name, f"entry {c.id} ends before it begins"
        if c.slice_start < at:
            yield name, f"entry {c.id} begins at {iso(c.slice_start)}, before {iso(at)}"
        elif c.slice_start > at and _due(s, c.slice_start) != paid:
            # a slice that costs nothing has no entry; any other gap is lost money
            yield name, f"nothing was charged from {iso(at)} to {iso(c.slice_start)}"
            paid = _due(s, c.slice_start)
        due = _due(s, c.slice_end) - paid
        if -c.amount_micro != due:
            yield name, f"entry {c.id} charges {-c.amount_micro}, its slice costs {due}"
        at, paid = max(at, c.slice_end), _due(s, c.slice_end)
    if s.settled_until is None:
        if charges:
            yield name, "charged, but not settled until any instant"
    elif s.settled_until < at or _due(s, s.settled_until) != paid:
        yield name, f"settled until {iso(s.settled_until)}, charged until {iso(at)}"


def _admission_faults(s, admission) -> Iterator[Fault]:
    name = "sessions.admission"
    if admission is None:
        yield name, "there is no admission"
    elif admission.decision not in MAY_START:
        yield name, f"the decision was {admission.decision}"
    elif admission.voided_at is not None and s.state != VOID:
        yield name, f"the admission was voided, the session is {s.state}"


def _boundary_faults(s) -> Iterator[Fault]:
    name = "sessions.boundaries"
    if s.started_at is not None and s.ended_at is not None and s.ended_at < s.started_at:
        yield name, f"ended at {iso(s.ended_at)}, before its start at {iso(s.started_at)}"
    if (
        s.billed_from_at is not None
        and s.billed_until_at is not None
        and s.billed_until_at < s.billed_from_at
    ):
        yield name, "billed until an instant before billing began"
    started, over = s.started_at is not None, s.ended_at is not None
    if started != (s.state in (RUNNING, ENDED)) or over != (s.state in (ENDED, VOID)):
        yield name, f"state {s.state}, started {iso(s.started_at)}, ended {iso(s.ended_at)}"
    if over != (s.billed_until_at is not None):
        yield name, f"ended {iso(s.ended_at)}, billed until {iso(s.billed_until_at)}"
    for boundary in BOUNDARIES:
        at, evidence = getattr(s, f"{boundary}_at"), getattr(s, f"{boundary}_evidence")
        if (at is None) != (not evidence):
            yield name, f"{boundary} at {iso(at)} by evidence {evidence!r}"
    allowed = {s.started_at}
    if s.billed_from == "ready":
        allowed = {s.ready_at}
    elif s.billed_from == "scheduled" and s.started_at is not None and s.scheduled_at is not None:
        # which of both became known first decides; an earlier one is never taken back
        allowed.add(min(s.scheduled_at, s.started_at))
    if s.billed_from_at not in allowed:
        yield (
            "sessions.billed_from",
            f"billed from {iso(s.billed_from_at)}, by {s.billed_from} it is "
            + " or ".join(sorted(str(iso(a)) for a in allowed)),
        )


def _shape_faults(s) -> Iterator[Fault]:
    count = sum(g["count"] for g in s.gpus)
    milli = sum(g["count"] * g.get("weight_milli", 1000) for g in s.gpus)
    if (s.gpu_count, s.gpu_milli) != (count, milli):
        yield (
            "sessions.shape",
            f"{s.gpu_count} GPUs weighing {s.gpu_milli}, the list has {count} weighing {milli}",
        )
    per_hour = sum(x["amount_micro"] for x in s.quote_lines if x["resource"] != "start")
    fee = sum(x["amount_micro"] for x in s.quote_lines if x["resource"] == "start")
    if (s.per_hour_micro, s.fee_micro) != (per_hour, fee):
        yield (
            "sessions.quote",
            f"{s.per_hour_micro} per hour and {s.fee_micro} per start, "
            f"the lines say {per_hour} and {fee}",
        )


def entry_faults(e) -> Iterator[Fault]:
    """All that is wrong with one entry by itself."""
    amount = e.amount_micro
    if isinstance(amount, bool) or not isinstance(amount, int):
        yield "entries.amounts", f"the amount {amount!r} is not a whole number"
        return
    if e.kind not in ("charge", "refund") and abs(amount) > MAX_AMOUNT_MICRO:
        yield "entries.amounts", f"the amount {plain(amount)} is out of bounds"
    if (e.kind in ("grant", "refund") and amount <= 0) or (e.kind == "charge" and amount >= 0):
        yield "entries.amounts", f"a {e.kind} of {plain(amount)}"
    if amount == 0:
        yield "entries.amounts", f"a {e.kind} of nothing"
    of_session = e.kind == "correction" and e.session_id is not None
    if e.kind in ("refund", "correction") and e.corrects_id is None and not of_session:
        yield "entries.refunds", f"a {e.kind} that names no entry"
    if not e.key.startswith(KEYS[e.kind]):
        yield "entries.keys", f"the key {e.key[:80]!r} is not one of a {e.kind}"
    elif (
        e.kind == "charge"
        and e.slice_start is not None
        and e.key != f"charge:{e.session_id}:{to_micros(e.slice_start)}"
    ):
        yield "entries.keys", f"the key {e.key[:80]!r} is not that of its slice"
    least, most = _month(e.effective_at - WEST), _month(e.posted_at + EAST)
    if not least <= e.period <= most:
        yield (
            "entries.period",
            f"booked in {e.period}, effective {iso(e.effective_at)}, posted {iso(e.posted_at)}",
        )


def _month(at: datetime) -> str:
    return f"{at.year:04d}-{at.month:02d}"


def how_moved(e) -> str:
    """How an entry changed what is left of its wallet's allowance.

    ``e.corrects_kind`` and ``e.corrects_key`` are those of the entry that it corrects, or None.
    """
    if e.key.startswith("allowance:"):
        return TURNS
    if e.kind == "charge":
        return USES
    if e.kind != "correction" or e.amount_micro >= 0:
        return LEAVES
    of_usage = e.corrects_id is None or e.corrects_kind == "charge"
    return USES if of_usage or (e.corrects_key or "").startswith("allowance:") else SPARES


def metered_faults(charged: Iterable, held: Iterable) -> Iterator[Fault]:
    """All that is wrong with what was metered.

    ``charged`` are the charges of it in the order of the ledger, ``held`` the rows with the exact
    totals. A charge's key tells what was charged in all with it.
    """
    name, sums = "metered", {}
    for e in charged:
        found = read_key(e.key)
        if found is None or found[0] != e.wallet_id or e.session_id is not None:
            yield name, f"entry {e.id}: the key {e.key[:80]!r} is not that of its charge"
            continue
        *what, total = found
        sums[tuple(what)] = sums.get(tuple(what), 0) - e.amount_micro
        if sums[tuple(what)] != total:
            yield name, f"entry {e.id}: charges sum to {sums[tuple(what)]}, its key says {total}"
    for row in held:
        what = (row.wallet_id, row.resource, row.period)
        paid, due = sums.pop(what, 0), row.exact_pico // PER_MICRO
        if not paid == due == row.charged_micro:
            yield (
                name,
                f"{row.resource} of wallet {row.wallet_id} in {row.period}: charged {paid}, "
                f"noted {row.charged_micro}, the exact total is {due}",
            )
    for wallet_id, resource, month in sums:
        yield name, f"{resource} of wallet {wallet_id} in {month}: charged without a total"


def other_side(key: str) -> str:
    """The key of a transfer's other side."""
    side, _, rest = key.partition(":")
    return f"{'transfer-in' if side == 'transfer-out' else 'transfer-out'}:{rest}"


def transfer_fault(e, other) -> str | None:
    """What is wrong with one side of a transfer, given the other or None."""
    if other is None:
        return "the other side is missing"
    if e.amount_micro + other.amount_micro:
        return f"the sides sum to {plain(e.amount_micro + other.amount_micro)}"
    if e.counter_wallet_id != other.wallet_id or other.counter_wallet_id != e.wallet_id:
        return "the sides name other wallets"
    return None


def request_fault(r) -> str | None:
    """What is wrong with a request; ``r.entry`` parts are those of the entry that it names."""
    if r.state != "granted":
        named = r.entry_id is not None or r.granted_micro is not None
        return f"it is {r.state} and has an entry" if named else None
    if r.entry_key is None:
        return "it is granted and has no entry"
    if r.entry_key not in (f"grant:request:{r.id}", f"transfer-in:request:{r.id}"):
        return f"its entry has the key {r.entry_key[:80]!r}"
    if r.entry_wallet_id != r.wallet_id:
        return "its entry is in another wallet"
    if not r.entry_micro == r.granted_micro <= r.amount_micro:
        return (
            f"{plain(r.entry_micro)} booked, {plain(r.granted_micro or 0)} granted "
            f"of {plain(r.amount_micro)}"
        )
    return None


def failed(checks: Iterable[Checked]) -> list[Checked]:
    """Those that are broken."""
    return [c for c in checks if not c.ok]
