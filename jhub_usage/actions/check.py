"""Recompute every invariant and say what was compared. Reads only, in one transaction.

Goes through sessions and entries in pages, so that a million of them need no more memory than one
page. Gives a value; doors decide how to show it.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator

import sqlalchemy as sa

from ..domain import limits, metered, rates, rules
from ..domain.allowances import moved
from ..domain.errors import UsageError
from ..domain.invariants import (
    INFORMATIONAL,
    INVARIANTS,
    MAY_START,
    Checked,
    entry_faults,
    how_moved,
    metered_faults,
    other_side,
    request_fault,
    session_faults,
    transfer_fault,
)
from ..domain.money import plain
from ..store import catalog, migrate, months, periods, triggers
from ..store import tables as t
from ..store.engine import Tx
from . import usage

PAGE = 5000
#: So many violations of a rule are named, the others counted.
NAMED = 20

_S, _E, _A, _W, _P = t.sessions_.c, t.entries.c, t.admissions_.c, t.wallets_.c, t.people.c


class _Report:
    """Collects what was compared and what was found, rule by rule."""

    def __init__(self):
        self.compared: Counter = Counter()
        self.found: dict[str, list[str]] = defaultdict(list)
        self.more: Counter = Counter()

    def fault(self, name: str, text: str, times: int = 1) -> None:
        if len(self.found[name]) < NAMED:
            self.found[name].append(text)
            times -= 1
        self.more[name] += times

    def results(self) -> list[Checked]:
        found = []
        for name, what in INVARIANTS.items():
            told = {"notes" if name in INFORMATIONAL else "violations": tuple(self.found[name])}
            found.append(Checked(name, what, self.compared[name], more=self.more[name], **told))
        return found


def check(tx: Tx, *, page: int = PAGE) -> list[Checked]:
    """Every rule of ``domain.invariants``, each with its count. Open a read transaction for it."""
    report = _Report()
    _database(tx, report)
    _references(tx, report)
    _names(tx, report)
    _catalog(tx, report)
    _ledger(tx, report, page)
    _refunds(tx, report, page)
    _transfers(tx, report, page)
    _requests(tx, report, page)
    _metered(tx, report, page)
    _months(tx, report)
    _sessions(tx, report, page)
    _admissions(tx, report)
    _usage(tx, report)
    return report.results()


def _database(tx: Tx, report: _Report) -> None:
    have, head = migrate.current(tx.conn), migrate.head()
    report.compared["schema"] = 1
    try:
        migrate.require_schema(tx.conn)
    except UsageError:
        report.fault("schema", f"the schema is at {have}, this release needs {head}")
    wanted = triggers.POSTGRES if tx.postgres else triggers.SQLITE
    report.compared["triggers"] = len(wanted)
    for name in triggers.missing(tx.conn):
        report.fault("triggers", f"the trigger {name} is missing or switched off")
    gates = _count(tx, t.gate)
    report.compared["gate"] = 1
    if gates != 1:
        report.fault("gate", f"there are {gates} rows")


def _count(tx: Tx, table: sa.Table) -> int:
    return tx.scalar(sa.select(sa.func.count()).select_from(table))


def _references(tx: Tx, report: _Report) -> None:
    """Foreign keys, asked again: SQLite checks them only where each writer switched that on."""
    for table in t.metadata.sorted_tables:
        keys = sorted(table.foreign_keys, key=lambda k: k.parent.name)
        if keys:
            report.compared["references"] += _count(tx, table)
        for key in keys:
            there = key.column.table.alias()
            lost = sa.select(key.parent).where(
                key.parent.is_not(None),
                ~sa.exists().where(there.c[key.column.name] == key.parent),
            )
            for (value,) in tx.execute(lost.limit(NAMED + 1)):
                report.fault(
                    "references",
                    f"{table.name}.{key.parent.name} names {value}, "
                    f"which is not in {key.column.table.name}",
                )


def _names(tx: Tx, report: _Report) -> None:
    report.compared["people.names"] = _count(tx, t.people)
    twice = (
        sa.select(_P.hub_id, _P.name, sa.func.count())
        .where(_P.current)
        .group_by(_P.hub_id, _P.name)
        .having(sa.func.count() > 1)
    )
    for hub_id, name, number in tx.execute(twice):
        report.fault("people.names", f"{number} people of hub {hub_id} are called {name!r}")


def _catalog(tx: Tx, report: _Report) -> None:
    held = catalog.load(tx, "", 0)
    for kind, items, require in (
        ("rate", held.rates, rates.require_rate),
        ("rule", held.rules, rules.require_rule),
        ("limit", held.limits, limits.require_limit),
    ):
        report.compared["catalog"] += len(items)
        for item in items:
            try:
                require(item)
            except UsageError as error:
                report.fault("catalog", f"{kind} {item.id}: {error.message}")


def _pages(tx: Tx, query: sa.Select, key, page: int) -> Iterator[list]:
    """The rows of a query in the order of ``key``, a page at a time."""
    last = None
    while True:
        part = query if last is None else query.where(key > last)
        rows = list(tx.execute(part.order_by(key).limit(page)))
        if rows:
            yield rows
            last = rows[-1][0]
        if len(rows) < page:
            return


_CORRECTED = t.entries.alias("corrected")
_ENTRY = sa.select(
    _E.id, _E.wallet_id, _E.kind, _E.amount_micro, _E.key, _E.effective_at, _E.posted_at,
    _E.period, _E.session_id, _E.slice_start, _E.corrects_id, _E.counter_wallet_id,
    _CORRECTED.c.kind.label("corrects_kind"), _CORRECTED.c.key.label("corrects_key"),
).select_from(t.entries.outerjoin(_CORRECTED, _CORRECTED.c.id == _E.corrects_id))  # fmt: skip


def _ledger(tx: Tx, report: _Report, page: int) -> None:
    sums: Counter = Counter()
    rests: dict[int, tuple[int, int]] = {}
    closed = {m.label: m.closed_at for m in tx.execute(sa.select(t.months))}
    for rows in _pages(tx, _ENTRY, _E.id, page):
        for name in ("entries.amounts", "entries.keys", "entries.period"):
            report.compared[name] += len(rows)
        for e in rows:
            for name, text in entry_faults(e):
                report.fault(name, f"entry {e.id}: {text}")
            if isinstance(e.amount_micro, int):
                sums[e.wallet_id] += e.amount_micro
                rests[e.wallet_id] = moved(
                    *rests.get(e.wallet_id, (0, 0)), e.amount_micro, how_moved(e)
                )
            at = closed.get(e.period)
            report.compared["months.closed"] += at is not None
            if at is not None and e.posted_at > at:
                report.fault("months.closed", f"entry {e.id}: booked in {e.period}")
    twice = sa.select(_E.key).group_by(_E.key).having(sa.func.count() > 1).limit(NAMED + 1)
    for (key,) in tx.execute(twice):
        report.fault("entries.keys", f"several entries have the key {key[:80]!r}")
    held = sa.select(_W.id, _W.name, _W.balance_micro, _W.allowance_left_micro)
    for rows in _pages(tx, held, _W.id, page):
        report.compared["wallets.balance"] += len(rows)
        report.compared["wallets.allowance"] += len(rows)
        for w in rows:
            left = rests.get(w.id, (0, 0))[1]
            if left and left > w.balance_micro:
                report.fault(
                    "wallets.allowance",
                    f"wallet {w.name!r}: {_show(left)} left of a balance of "
                    f"{_show(w.balance_micro)}",
                )
            if w.allowance_left_micro != left:
                report.fault(
                    "wallets.allowance",
                    f"wallet {w.name!r}: {_show(w.allowance_left_micro)} left, "
                    f"entries leave {plain(left)}",
                )
            if w.balance_micro != sums[w.id] or not isinstance(w.balance_micro, int):
                report.fault(
                    "wallets.balance",
                    f"wallet {w.name!r}: balance {_show(w.balance_micro)}, "
                    f"entries sum to {plain(sums[w.id])}",
                )


def _show(amount) -> str:
    return plain(amount) if isinstance(amount, int) else repr(amount)


def _refunds(tx: Tx, report: _Report, page: int) -> None:
    other = t.entries.alias("other")
    query = (
        sa.select(
            _E.id, _E.kind, _E.amount_micro, sa.func.sum(other.c.amount_micro).label("back"),
            sa.func.min(other.c.wallet_id).label("low"),
            sa.func.max(other.c.wallet_id).label("high"), _E.wallet_id,
        )
        .join(other, other.c.corrects_id == _E.id)
        .group_by(_E.id, _E.kind, _E.amount_micro, _E.wallet_id)
    )  # fmt: skip
    for rows in _pages(tx, query, _E.id, page):
        report.compared["entries.refunds"] += len(rows)
        for e in rows:
            if e.kind == "charge" and int(e.back) > -e.amount_micro:
                report.fault(
                    "entries.refunds",
                    f"entry {e.id}: {plain(int(e.back))} given back "
                    f"of a charge of {plain(-e.amount_micro)}",
                )
            if (e.low, e.high) != (e.wallet_id, e.wallet_id):
                report.fault("entries.refunds", f"entry {e.id}: corrected in another wallet")


def _transfers(tx: Tx, report: _Report, page: int) -> None:
    page = min(page, 1000)
    for rows in _pages(tx, _ENTRY.where(_E.kind == "transfer"), _E.id, page):
        report.compared["entries.transfers"] += len(rows)
        keys = [other_side(e.key) for e in rows]
        others = {o.key: o for o in tx.execute(_ENTRY.where(_E.key.in_(keys)))}
        for e, key in zip(rows, keys, strict=True):
            text = transfer_fault(e, others.get(key))
            if text:
                report.fault("entries.transfers", f"entry {e.id}: {text}")


def _requests(tx: Tx, report: _Report, page: int) -> None:
    r = t.credit_requests.c
    query = sa.select(
        r.id, r.wallet_id, r.amount_micro, r.state, r.granted_micro, r.entry_id,
        _E.key.label("entry_key"), _E.wallet_id.label("entry_wallet_id"),
        _E.amount_micro.label("entry_micro"),
    ).select_from(t.credit_requests.outerjoin(t.entries, _E.id == r.entry_id))  # fmt: skip
    for rows in _pages(tx, query, r.id, page):
        report.compared["requests"] += len(rows)
        for row in rows:
            text = request_fault(row)
            if text:
                report.fault("requests", f"request {row.id}: {text}")


def _months(tx: Tx, report: _Report) -> None:
    """What closed months hold, against what the acts say that they held."""
    sums, acts = months.sums(tx), list(tx.execute(sa.select(t.months)))
    report.compared["months.held"] = len(acts)
    for m in acts:
        held = m.facts.get("entries")
        if held is not None and held != sums.get(m.label, {}):
            text = f"{m.label}: {sums.get(m.label)}, it was closed with {held}"
            report.fault("months.held", text)
    last, closed = max((m.label for m in acts), default=""), periods.last_closed(tx)
    if last != closed:
        report.fault("months.closed", f"closed through {closed!r}, the last act is of {last!r}")


def _metered(tx: Tx, report: _Report, page: int) -> None:
    mine = _ENTRY.where(_E.kind == "charge", _E.key.startswith(metered.KEY, autoescape=True))
    charged = (e for rows in _pages(tx, mine, _E.id, page) for e in rows)
    held = list(tx.execute(sa.select(t.metered)))
    report.compared["metered"] = len(held)
    for name, text in metered_faults(charged, held):
        report.fault(name, text)


_SESSION_RULES = tuple(
    name for name in INVARIANTS if name.startswith("sessions.") and name not in INFORMATIONAL
)


def _sessions(tx: Tx, report: _Report, page: int) -> None:
    now = tx.now()
    mine = sa.select(
        _E.id, _E.session_id, _E.wallet_id, _E.kind, _E.amount_micro, _E.slice_start,
        _E.slice_end, _E.key, _E.goodwill,
    )  # fmt: skip
    decided = sa.select(_A.session_id, _A.decision, _A.voided_at)
    for rows in _pages(tx, sa.select(t.sessions_), _S.id, page):
        first, last = rows[0].id, rows[-1].id
        entries: dict[str, list] = defaultdict(list)
        for e in tx.execute(mine.where(_E.session_id.between(first, last))):
            entries[e.session_id].append(e)
        admissions = {
            a.session_id: a for a in tx.execute(decided.where(_A.session_id.between(first, last)))
        }
        for name in _SESSION_RULES:
            report.compared[name] += len(rows)
        for s in rows:
            for name, text in session_faults(s, entries.get(s.id, ()), admissions.get(s.id)):
                report.fault(name, f"session {s.id}: {text}")
            if s.state == "admitted":
                report.compared["sessions.lapsed"] += 1
                if s.seen_at is None and s.start_deadline_at <= now:
                    report.fault("sessions.lapsed", f"session {s.id}")


def _usage(tx: Tx, report: _Report) -> None:
    for name, compared, differ in usage.compared(tx):
        report.compared[name] = compared
        for text in differ:
            report.fault(name, text)


def _admissions(tx: Tx, report: _Report) -> None:
    name = "admissions.session"
    let_in = sa.and_(_A.decision.in_(MAY_START), _A.voided_at.is_(None))
    report.compared[name] = tx.scalar(
        sa.select(sa.func.count()).select_from(t.admissions_).where(let_in)
    )
    lost = sa.select(_A.session_id).where(let_in, ~sa.exists().where(_S.id == _A.session_id))
    for (session_id,) in tx.execute(lost.limit(NAMED + 1)):
        report.fault(name, f"session {session_id}: admitted, but there is no such session")
