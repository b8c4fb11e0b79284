"""How much was used within a window: sums by day, person, wallet, profile, GPU model, node.

By when it happened: refunds, corrections and what was metered do not change it. Whole days come
from rollups, days that the window cuts from the sessions, and what runs now is added as it stands
at the instant of the reading; so a rollup that is dropped and rebuilt changes no answer (rule 27).
All in one read transaction; hours and cores stay exact until they are shown.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence, Sized
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import sqlalchemy as sa

from ..domain.admission import Policy
from ..domain.errors import BadInput
from ..domain.instants import require_utc
from ..domain.periods import (
    DAY,
    MONTH,
    PERIODS,
    WEEK,
    Calendar,
    first_day,
    label_of_day,
    next_label,
)
from ..domain.usage import NOTHING, NodeCores, Summed, Used, measures, summed, used
from ..store import periods, sessions
from ..store import tables as t
from ..store import usage as rows
from ..store.engine import Tx
from ..store.usage import Only

#: What usage may be grouped by -> the column that says it.
GROUPS = {
    DAY: "day",
    WEEK: "day",
    MONTH: "month",
    "hub": "hub_id",
    "person": "person_id",
    "wallet": "wallet_id",
    "profile": "profile",
    "gpu_model": "gpu_model",
    "node": "node",
}
EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
#: Days of the window that is meant where none is named, the last one today.
USUAL_DAYS = 30
ALL = Only()
UNKNOWN_CORES = NodeCores()


@dataclass(frozen=True)
class Row:
    """One group: the values of what was asked ``by``, in that order, and their sum.

    Days, weeks and months are labels; people and wallets are numbers, 0 for no wallet.
    """

    key: tuple
    sum: Summed


@dataclass(frozen=True)
class Report:
    """Usage within ``[begin, end)`` as it stood at ``at``. ``people`` and ``wallets`` are names."""

    begin: datetime
    end: datetime
    at: datetime
    by: tuple[str, ...]
    rows: tuple[Row, ...]
    total: Summed
    people: dict[int, str]
    wallets: dict[int, str]

    def shown(self, row: Row) -> dict:
        """The row's values by name, with the names of people and wallets beside their numbers."""
        found = {}
        for name, value in zip(self.by, row.key, strict=True):
            if name == "person":
                found |= {"person": self.people.get(value, ""), "person_id": value}
            elif name == "wallet":
                found |= {"wallet": self.wallets.get(value), "wallet_id": value or None}
            else:
                found[name] = value
        return found

    def table(self, currency: str) -> tuple[list[str], list[list]]:
        """Heads and rows for a spreadsheet: names, and exact numbers with what money is called."""
        names = list(measures(self.total))
        heads = [*self.by, *(n.replace("cost_micro", "cost") for n in names), "currency"]
        rows = []
        for row in self.rows:
            values, found = self.shown(row), measures(row.sum)
            cost = Decimal(found.pop("cost_micro")).scaleb(-6)
            numbers = [Decimal(v) if isinstance(v, str) else v for v in found.values()]
            rows.append([*(values[b] for b in self.by), *numbers, cost, currency])
        return heads, rows


def usage(
    tx: Tx,
    begin: datetime,
    end: datetime,
    *,
    policy: Policy,
    by: Sequence[str] = (),
    only: Only = ALL,
    node_cores: NodeCores = UNKNOWN_CORES,
    most: int | None = None,
) -> Report:
    """Sums of what was used within ``[begin, end)``, one row per group that used anything.

    Raises BadInput for a window or grouping that is none, and for more than ``most`` rows.
    """
    begin, end, by = require_utc(begin), require_utc(end), _groups(by)
    if not EARLIEST <= begin < end <= LATEST:
        raise BadInput("Usage is asked from an instant to a later one, between 2000 and 2200.")
    # read first, so that it is the instant which the transaction sees
    now = tx.now()
    calendar = periods.calendar(tx, policy.timezone)
    sums: dict[tuple, Summed] = defaultdict(Summed)
    _add_whole_days(tx, sums, begin, end, by, only, node_cores, calendar)
    _few(sums, most)
    for part in _cut_days(begin, end, calendar):
        for row in rows.ended_rows(tx, *part, only):
            _add_session(sums, row, *part, by, node_cores, calendar)
    until = min(end, now)
    for row in rows.open_rows(tx, until, only):
        _add_session(sums, row, begin, until, by, node_cores, calendar)
    found = [Row(key, total) for key, total in sums.items() if total.used != NOTHING]
    _few(found, most)
    people, wallets = _names(tx, found, by)
    names = {"person": people, "wallet": wallets}

    def place(row: Row) -> tuple:
        pairs = zip(by, row.key, strict=True)
        return tuple((names[b].get(k, ""), k) if b in names else (k,) for b, k in pairs)

    return Report(
        begin, end, now, by, tuple(sorted(found, key=place)),
        sum((r.sum for r in found), Summed()), people, wallets,
    )  # fmt: skip


def _few(rows: Sized, most: int | None) -> None:
    if most is not None and len(rows) > most:
        raise BadInput(
            f"This is more than {most:,} rows: ask for a shorter window, or by less.", rows=most
        )


def usual_window(tx: Tx, *, policy: Policy) -> tuple[datetime, datetime]:
    """The last thirty days, today included."""
    calendar = periods.calendar(tx, policy.timezone)
    today = calendar.day(tx.now())
    first = today - timedelta(days=USUAL_DAYS - 1)
    return calendar.begins(DAY, first.isoformat()), calendar.ends(DAY, today.isoformat())


def month_window(tx: Tx, label: str, *, policy: Policy) -> tuple[datetime, datetime]:
    """A month by its label, or BadInput."""
    if not EARLIEST.year <= first_day(MONTH, label).year < LATEST.year:
        raise BadInput(f"The month {label} does not lie between 2000 and 2200.")
    calendar = periods.calendar(tx, policy.timezone)
    return calendar.begins(MONTH, label), calendar.ends(MONTH, label)


def months(tx: Tx, *, policy: Policy, only: Only = ALL) -> list[str]:
    """The months that may have usage, newest first: from the first with some until this one."""
    calendar, now = periods.calendar(tx, policy.timezone), tx.now()
    first = rows.first_day(tx, only) or calendar.label(DAY, now)
    begun = [r.billed_from_at for r in rows.open_rows(tx, now, only)]
    first = min(first, *(calendar.label(DAY, at) for at in begun), calendar.label(DAY, now))
    label, found = label_of_day(MONTH, date.fromisoformat(first)), []
    while label <= calendar.label(MONTH, now):
        found.append(label)
        label = next_label(MONTH, label)
    return found[::-1]


def days(tx: Tx, report: Report, *, policy: Policy) -> list[str]:
    """The days of a report's window."""
    calendar = periods.calendar(tx, policy.timezone)
    return [day for day, _, _ in calendar.cuts(report.begin, report.end)]


def instant_of(tx: Tx, label: str, *, policy: Policy) -> datetime:
    """Where a day begins by the calendar of the hub, or BadInput."""
    if not EARLIEST.year <= first_day(DAY, label).year < LATEST.year:
        raise BadInput(f"The day {label} does not lie between 2000 and 2200.")
    return periods.calendar(tx, policy.timezone).begins(DAY, label)


def _groups(by: Iterable[str]) -> tuple[str, ...]:
    by = tuple(by)
    for name in by:
        if name not in GROUPS:
            raise BadInput(
                f"Usage is grouped by {', '.join(GROUPS)}, not by {str(name)[:40]!r}.", field="by"
            )
    if len(set(by)) < len(by) or len(set(by) & set(PERIODS)) > 1:
        raise BadInput("Group by each thing once, and by one of day, week and month.", field="by")
    return by


def _add_whole_days(
    tx: Tx, sums, begin, end, by, only: Only, node_cores: NodeCores, calendar: Calendar
) -> None:
    first, until = _whole_days(begin, end, calendar)
    if first >= until:
        return
    columns = [GROUPS[b] for b in by]
    named = sorted(node_cores.of)
    found = rows.rolled(tx, first.isoformat(), until.isoformat(), columns, only, named)
    for key, gpus, node, spent in found:
        sums[_key(key, by)] += summed(spent, gpus=gpus, node_cores=node_cores.cores(node))


def _key(key: tuple, by: tuple[str, ...]) -> tuple:
    if WEEK not in by:
        return key
    at = by.index(WEEK)
    return (*key[:at], label_of_day(WEEK, date.fromisoformat(key[at])), *key[at + 1 :])


def _whole_days(begin: datetime, end: datetime, calendar: Calendar) -> tuple[date, date]:
    """The days that lie wholly within a window: ``[first, until)``."""
    first = calendar.day(begin)
    if calendar.begins(DAY, first.isoformat()) < begin:
        first += timedelta(days=1)
    return first, calendar.day(end)


def _cut_days(begin: datetime, end: datetime, calendar: Calendar) -> list[tuple]:
    """What a window has of days that it cuts, at its edges: no part, one or two."""
    head = calendar.ends(DAY, calendar.label(DAY, begin))
    tail = calendar.begins(DAY, calendar.label(DAY, end))
    if head > end:  # both edges cut the same day
        return [(begin, end)]
    parts = [(begin, head)] if calendar.begins(DAY, calendar.label(DAY, begin)) < begin else []
    return [*parts, (tail, end)] if tail < end else parts


def _add_session(sums, row, begin, end, by, node_cores: NodeCores, calendar: Calendar) -> None:
    """What one session used within a window, under the groups that it belongs to."""
    meter, size = sessions.meter(row), rows.size(row)
    gpus, cores = row.gpu_model != "", node_cores.cores(row.node)

    def add(label: str, spent: Used) -> None:
        if spent != NOTHING:
            sums[_session_key(row, by, label)] += summed(spent, gpus=gpus, node_cores=cores)

    period = next((b for b in by if b in PERIODS), None)
    if period is None:
        add("", used(meter, size, begin, end))
        return
    for day, first, until in calendar.cuts(max(begin, meter.billed_from_at), end):
        label = label_of_day(period, date.fromisoformat(day))
        add(label, used(meter, size, first, until))


def _session_key(row, by: tuple[str, ...], label: str) -> tuple:
    values = {b: label if b in PERIODS else getattr(row, GROUPS[b]) for b in by}
    if "wallet" in values:
        values["wallet"] = row.wallet_id or 0
    return tuple(values.values())


_P, _W = t.people.c, t.wallets_.c
#: So many names are asked for at once.
NAMES = 500


def _names(tx: Tx, found: Sequence[Row], by: tuple[str, ...]) -> tuple[dict, dict]:
    return tuple(
        _named(tx, {r.key[by.index(what)] for r in found}, columns) if what in by else {}
        for what, columns in (("person", _P), ("wallet", _W))
    )


def _named(tx: Tx, ids: set[int], columns) -> dict[int, str]:
    wanted, names = sorted(ids), {}
    for n in range(0, len(wanted), NAMES):
        here = columns.id.in_(wanted[n : n + NAMES])
        names |= {r.id: r.name for r in tx.execute(sa.select(columns.id, columns.name).where(here))}
    return names
