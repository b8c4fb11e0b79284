"""A wallet's statement of a month, from rows that never change once the month is closed.

Read only. The entries by the month that they are booked in, what of their sessions was frozen at
admission, and the names that were written down when the month was closed: so it can be made again
after renames, refunds, new rates and late evidence, and is the same (but for erased names).
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

import sqlalchemy as sa

from ..domain.admission import Policy
from ..domain.advance import Slice, Turn, advance, next_slice
from ..domain.errors import NotFound
from ..domain.instants import iso
from ..domain.periods import MONTH, Calendar, next_label
from ..domain.statements import AT_ONCE, CLOSED, OPEN, Line, Names, Ran, compose, person_ids
from ..store import months as month_rows
from ..store import periods, sessions, wallets
from ..store import tables as t
from ..store.engine import Tx
from ..store.months import Month
from . import months

_E, _S, _W = t.entries.c, t.sessions_.c, t.wallets_.c


def statement(
    tx: Tx, wallet_id: int, label: str, *, policy: Policy, person_id: int | None = None
) -> dict:
    """The statement of one wallet and month as plain values.

    ``person_id``: only lines of that person's sessions, without the wallet's balances. An open
    month is told as it stands now, with what is not booked yet beside it.
    """
    begin, end, act = months.span(tx, label, policy=policy)
    name, title = _wallet(tx, wallet_id, label, act)
    lines = _lines(tx, wallet_id, label, person_id)
    pending = None if act else _pending(tx, wallet_id, label, end, person_id, policy)
    ids = {line.session_id for line in (*lines, *(pending or ()))}
    ran = _ran(tx, ids)
    head = {
        "state": CLOSED if act else OPEN,
        "month": label,
        "begins_at": iso(begin),
        "ends_at": iso(end),
        "closed_at": iso(act.closed_at) if act else None,
        "wallet": {"id": wallet_id, "name": name, "title": title},
        "only_person": None,
    }
    if act:
        head |= {name: act.facts[name] for name in ("timezone", "currency")}
    else:
        zone = periods.calendar(tx, policy.timezone).zone_at(begin)
        head |= {"timezone": zone, "currency": policy.currency.code, "at": iso(tx.now())}
    names = _names(tx, label, act, (*lines, *(pending or ())), ran, person_id)
    opening = None
    if person_id is None:
        opening = _balance_before(tx, wallet_id, label)
    else:
        head["only_person"] = names.person(person_id)
    return compose(head, lines, ran, names, opening_micro=opening, pending=pending)


def _wallet(tx: Tx, wallet_id: int, label: str, act: Month | None) -> tuple[str, str]:
    now = month_rows.names_now(tx, "wallet", [wallet_id])
    if wallet_id not in now:
        raise NotFound(f"There is no wallet {wallet_id}.")
    if act is None:
        return now[wallet_id]
    then = month_rows.names(tx, label, "wallet", [wallet_id])
    if wallet_id not in then:
        raise NotFound(f"There was no such wallet when {label} was closed.")
    return then[wallet_id]


def _lines(tx: Tx, wallet_id: int, label: str, person_id: int | None) -> list[Line]:
    corrected = t.entries.alias("corrected")
    query = (
        sa.select(
            t.entries, t.notes.c.text.label("note"), corrected.c.period.label("corrects_month")
        )
        .outerjoin(t.notes, t.notes.c.id == _E.note_id)
        .outerjoin(corrected, corrected.c.id == _E.corrects_id)
        .where(_E.wallet_id == wallet_id, _E.period == label)
    )
    if person_id is not None:
        query = query.join(t.sessions_, _S.id == _E.session_id).where(_S.person_id == person_id)
    return [
        Line(
            id=e.id,
            kind=e.kind,
            amount_micro=e.amount_micro,
            effective_at=e.effective_at,
            posted_at=e.posted_at,
            session_id=e.session_id,
            slice_start=e.slice_start,
            slice_end=e.slice_end,
            elapsed_us=e.elapsed_us or 0,
            corrects_id=e.corrects_id,
            corrects_month=e.corrects_month,
            goodwill=e.goodwill,
            counter_wallet_id=e.counter_wallet_id,
            allowance=_allowance(e.key),
            actor_kind=e.actor_kind,
            actor_id=e.actor_id,
            note=e.note or "",
        )
        for e in tx.execute(query.order_by(_E.id))
    ]


def _allowance(key: str) -> str | None:
    """The period that an entry of an allowance is about, by its key; ``at once`` where it began."""
    name, _, rest = key.partition(":")
    label = rest.partition(":")[2]
    if name != "allowance":
        return None
    return AT_ONCE if label.startswith("at:") else label


def _ran(tx: Tx, ids: set[str | None]) -> dict[str, Ran]:
    wanted, found = sorted(i for i in ids if i), {}
    for begin in range(0, len(wanted), month_rows.CHUNK):
        part = wanted[begin : begin + month_rows.CHUNK]
        query = sa.select(
            _S.id, _S.person_id, _S.server_name, _S.profile, _S.gpu_model, _S.gpu_count,
            _S.gpu_milli, _S.cpu_milli, _S.memory_bytes, _S.per_hour_micro, _S.fee_micro,
            _S.quote_lines,
        )  # fmt: skip
        for row in tx.execute(query.where(_S.id.in_(part))):
            found[row.id] = Ran(*row)
    return found


def _names(
    tx: Tx, label: str, act: Month | None, lines: Sequence[Line], ran: Mapping[str, Ran],
    person_id: int | None,
) -> Names:  # fmt: skip
    people = person_ids(lines, ran) | ({person_id} if person_id else set())
    others = {line.counter_wallet_id for line in lines if line.counter_wallet_id is not None}

    def called(kind, ids):
        if act is None:
            return month_rows.names_now(tx, kind, ids)
        return month_rows.names(tx, label, kind, ids)

    return Names(
        {i: name for i, (name, _) in called("person", people).items()},
        {i: name for i, (name, _) in called("wallet", others).items()},
    )


def _balance_before(tx: Tx, wallet_id: int, label: str) -> int:
    """What all entries of earlier months sum to."""
    query = sa.select(sa.func.coalesce(sa.func.sum(_E.amount_micro), 0)).where(
        _E.wallet_id == wallet_id, _E.period < label
    )
    return int(tx.scalar(query))


# -- what is not booked yet ------------------------------------------------------------------------


def _pending(
    tx: Tx, wallet_id: int, label: str, end: datetime, person_id: int | None, policy: Policy
) -> list[Line]:
    """What the month would have booked besides, if everything ended and was booked now."""
    calendar, closed = periods.calendar(tx, policy.timezone), periods.last_closed(tx)
    wallet = wallets.read(tx, [wallet_id])[wallet_id]
    meters = sessions.open_meters(tx, [wallet_id])[wallet_id]
    at = min(tx.now(), end)
    ahead = advance(wallet, meters, at, calendar)
    running = (next_slice(meter, at) for meter in ahead.meters)
    due = [*ahead.due, *(s for s in running if s is not None)]
    lines = [
        _line(d)
        for d in due
        if _month_of(d, calendar, closed) == label and (isinstance(d, Turn) or d.amount_micro)
    ]
    if person_id is None:
        return lines
    mine = {r.id for r in _ran(tx, {x.session_id for x in lines}).values()
            if r.person_id == person_id}  # fmt: skip
    return [line for line in lines if line.session_id in mine]


def _month_of(due: Slice | Turn, calendar: Calendar, closed: str) -> str:
    own = calendar.label(MONTH, due.begin if isinstance(due, Slice) else due.at)
    return own if own > closed else next_label(MONTH, closed)


def _line(due: Slice | Turn) -> Line:
    if isinstance(due, Turn):
        kind = "grant" if due.net_micro > 0 else "expiry"
        return Line(
            None, kind, due.net_micro, due.at, allowance=due.label, actor_kind="system"
        )  # fmt: skip
    return Line(
        None, "charge", -due.amount_micro, due.at, session_id=due.session_id,
        slice_start=due.begin, slice_end=due.end, elapsed_us=due.elapsed_us, actor_kind="system",
    )  # fmt: skip


# -- all wallets of a month ------------------------------------------------------------------------


def of_month(
    tx: Tx, label: str, *, policy: Policy, after: tuple[str, int] | None = None, limit: int = 100
) -> list[dict]:
    """Wallets by name with something booked in a month: balances around it, and sums per kind."""
    _, _, act = months.span(tx, label, policy=policy)
    n = t.month_names.c
    called, key = (_W.name, _W.id) if act is None else (n.name, n.subject_id)
    title = _W.title if act is None else n.title
    query = sa.select(key.label("id"), called.label("name"), title.label("title"))
    if act is not None:
        query = query.where(n.label == label, n.kind == "wallet")
    booked = sa.exists().where(_E.period == label, _E.wallet_id == key)
    if after is not None:
        name, wallet_id = after
        later = sa.and_(called == name, key > wallet_id)
        query = query.where(sa.or_(called > name, later))
    found = [dict(r) | {"kinds": {}} for r in
             tx.rows(query.where(booked).order_by(called, key).limit(limit))]  # fmt: skip
    by_id = {row["id"]: row for row in found}
    within = sa.case((_E.period == label, _E.amount_micro), else_=0)
    sums = (
        sa.select(_E.wallet_id, _E.kind, sa.func.sum(within), sa.func.sum(_E.amount_micro))
        .where(_E.wallet_id.in_(list(by_id)), _E.period <= label)
        .group_by(_E.wallet_id, _E.kind)
    )
    for row in found:
        row["opening_micro"] = row["closing_micro"] = 0
    for wallet_id, kind, inside, through in tx.execute(sums) if by_id else ():
        row = by_id[wallet_id]
        if inside:
            row["kinds"][kind] = int(inside)
        row["opening_micro"] += int(through) - int(inside)
        row["closing_micro"] += int(through)
    return found


def labels(tx: Tx, wallet_id: int, *, policy: Policy) -> list[tuple[str, str]]:
    """(month, closed or open) of every statement that a wallet has, newest first."""
    n = t.month_names.c
    known = sa.select(n.label).where(n.kind == "wallet", n.subject_id == wallet_id)
    closed = [(label, CLOSED) for label in tx.execute(known.order_by(n.label.desc())).scalars()]
    calendar = periods.calendar(tx, policy.timezone)
    made = tx.scalar(sa.select(_W.created_at).where(_W.id == wallet_id))
    first = month_rows.first_label(tx, calendar)
    if made is None or first is None:
        return closed
    last_closed, label = periods.last_closed(tx), calendar.label(MONTH, tx.now())
    begun = max(first, next_label(MONTH, last_closed) if last_closed else first)
    opened = []
    while begun <= label:
        if calendar.ends(MONTH, begun) > made:
            opened.append((begun, OPEN))
        begun = next_label(MONTH, begun)
    return [*opened[::-1], *closed]
