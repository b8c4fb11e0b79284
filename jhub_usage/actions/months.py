"""Closing months: a recorded act after which nothing is booked in a month any more (rule 26).

Months close in their order, for good. Whoever posts holds the books shared until the commit, the
closer holds them alone, so what is looked at here is what the month holds. What is learnt later is
booked in the first month that is open then.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from ..domain.admission import Policy
from ..domain.advance import Slice, advance
from ..domain.audit import Actor
from ..domain.errors import BadInput, CatchUpNeeded, Conflict, NotFound
from ..domain.instants import iso
from ..domain.periods import MONTH, Calendar, first_day, next_label
from ..domain.sessions import ADMITTED, ENDED
from ..domain.statements import FORMAT
from ..store import audit, periods, sessions, wallets
from ..store import months as rows
from ..store import tables as t
from ..store.engine import Tx
from ..store.months import Month
from . import advancing

_S, _H = t.sessions_.c, t.hubs.c
#: So many things of one sort that are missing are named.
NAMED = 3
OPEN, CLOSABLE, CLOSED = "open", "closable", "closed"


def prepare(act: Callable, *, policy: Policy, actor: Actor) -> None:
    """Book everything that is due, a batch in each transaction, before a month is closed.

    ``act`` runs an action in a transaction of its own. Raises CatchUpNeeded where a wallet is so
    far behind that a person must say so.
    """
    last, late = 0, []
    while True:
        last, _, _, behind = act(advancing.advance_due, last, policy=policy, actor=actor)
        late += behind
        if not last:
            break
    if late:
        raise CatchUpNeeded(late[0])


def close(
    tx: Tx, label: str, *, actor: Actor, policy: Policy, without_hubs: Collection[str] = ()
) -> Month:
    """Close a month; Conflict that names what is missing. Closing it again is the same act.

    Months before it that are not closed yet must be empty; they are closed along with it.
    ``without_hubs``: hubs that are not waited for, recorded in the act.
    """
    first_day(MONTH, label)
    # first of all and alone: who posts holds wallets, so none of those is locked from here on
    closed = periods.closed_through(tx, alone=True)
    held = rows.get(tx, label)
    if held is not None:
        return held
    calendar = periods.calendar(tx, policy.timezone)
    due = _in_order(tx, label, closed, calendar)
    now, ends_at = tx.now(), calendar.ends(MONTH, label)
    if now < ends_at:
        raise Conflict(f"{label} is not over: it ends at {iso(ends_at)}.")
    hubs, without = _hubs(tx, set(without_hubs), ends_at)
    waits = [
        *_not_due(tx, ends_at, calendar, policy), *_unknown(tx, ends_at, now), *_silent(hubs)
    ]  # fmt: skip
    if waits:
        raise Conflict(f"{label} can not be closed yet. " + " ".join(waits), waits_for=waits)
    for one in due:
        # a clock that went back must not make entries look as if they came after the act
        closed_at = max(x for x in (now, rows.last_posted_at(tx, one)) if x is not None)
        made = _act(tx, one, calendar, closed_at, without, policy=policy, actor=actor)
        rows.add(tx, made)
        rows.keep_names(tx, one, made.starts_at, made.ends_at)
    periods.close_through(tx, label)
    entries = made.facts["entries"].values()
    audit.write(
        tx, "month.closed", "month", label, actor=actor, now=now,
        after={
            "months": len(due),
            "entries": sum(e["count"] for e in entries),
            "amount_micro": sum(e["amount_micro"] for e in entries),
            "without_hubs": ", ".join(without),
        },
    )  # fmt: skip
    return made


def _in_order(tx: Tx, label: str, closed: str, calendar: Calendar) -> list[str]:
    """The months that this act closes: empty ones that are left before it, and it."""
    one = next_label(MONTH, closed) if closed else rows.first_label(tx, calendar)
    if one is None:
        raise Conflict("There is nothing to close: nothing was booked and nothing ran yet.")
    if label < one:
        raise Conflict(f"There is nothing in {label}: these books begin later.")
    found = []
    while one < label:
        if not rows.is_empty(tx, one, calendar.begins(MONTH, one), calendar.ends(MONTH, one)):
            raise Conflict(f"Months close in their order: {one} goes before {label}.")
        found.append(one)
        one = next_label(MONTH, one)
    return [*found, label]


def _not_due(tx: Tx, ends_at: datetime, calendar: Calendar, policy: Policy) -> list[str]:
    """What is not booked although it was due by the end of the month."""
    last, names, ids = 0, [], []
    while True:
        batch = advancing.due_wallets(tx, ends_at, policy=policy, after_id=last)
        held, meters = wallets.read(tx, batch), sessions.open_meters(tx, batch)
        for wallet_id in batch:
            due = advance(held[wallet_id], meters[wallet_id], ends_at, calendar).due
            ids += [d.session_id for d in due if isinstance(d, Slice) and d.amount_micro]
            if any(not isinstance(d, Slice) for d in due):
                names.append(held[wallet_id].name)
        if len(batch) < advancing.BATCH:
            break
        last = batch[-1]
    unsettled = sa.select(_S.id).where(
        _S.state == ENDED, _S.billed, _S.wallet_id.is_not(None), _S.billed_from_at < ends_at,
        sa.or_(_S.settled_until.is_(None), _S.settled_until < _S.billed_until_at),
    )  # fmt: skip
    ids += tx.execute(unsettled.order_by(_S.id)).scalars()
    return [
        *_missing(ids, "These sessions are not settled through its end"),
        *_missing(names, "The allowances of these wallets are not booked through its end"),
    ]


def _unknown(tx: Tx, ends_at: datetime, now: datetime) -> list[str]:
    """Sessions of which nobody knows yet whether they began within the month."""
    query = sa.select(_S.id).where(
        _S.state == ADMITTED, _S.billed, _S.admitted_at < ends_at, _S.started_at.is_(None),
        sa.or_(_S.seen_at.is_not(None), _S.start_deadline_at > now),
    )  # fmt: skip
    ids = list(tx.execute(query.order_by(_S.admitted_at)).scalars())
    return _missing(ids, "Whether these sessions started in it is not known yet")


def _hubs(tx: Tx, without: set[str], ends_at: datetime) -> tuple[dict[str, datetime], list[str]]:
    """(hubs that are behind, hubs that are left out). One that was left out before, and was not
    heard of since, stays so."""
    held = {h.id: h.reconciled_at for h in tx.execute(sa.select(_H.id, _H.reconciled_at))}
    strange = sorted(without - held.keys())
    if strange:
        raise NotFound(f"There is no hub {strange[0][:80]!r}; known are {', '.join(sorted(held))}.")
    before = rows.last(tx)
    for name in before.facts.get("without_hubs", ()) if before else ():
        if held.get(name) is not None and held[name] <= before.closed_at:
            without = without | {name}
    behind = {name for name, at in held.items() if at is not None and at < ends_at}
    return {name: held[name] for name in sorted(behind - without)}, sorted(behind & without)


def _silent(hubs: Mapping[str, datetime]) -> list[str]:
    text = "These hubs were not compared with what runs since its end; leave out one that is gone"
    return _missing([f"{name} (last {iso(at)})" for name, at in hubs.items()], text)


def _missing(what: Collection[str], text: str) -> list[str]:
    if not what:
        return []
    listed = list(what)
    more = f" and {len(listed) - NAMED} more" if len(listed) > NAMED else ""
    return [f"{text}: {', '.join(listed[:NAMED])}{more}."]


def _act(
    tx: Tx, label: str, calendar: Calendar, closed_at: datetime, without: Collection[str], *,
    policy: Policy, actor: Actor,
) -> Month:  # fmt: skip
    begin, end = calendar.begins(MONTH, label), calendar.ends(MONTH, label)
    reconciled = sa.select(_H.id, _H.reconciled_at).where(_H.reconciled_at.is_not(None))
    facts = {
        "format": FORMAT,
        "timezone": calendar.zone_at(begin),
        "currency": policy.currency.code,
        "entries": rows.sums(tx, label=label).get(label, {}),
        "sessions": rows.count_sessions(tx, begin, end),
        "hubs": {h.id: iso(h.reconciled_at) for h in tx.execute(reconciled)},
        "without_hubs": list(without),
    }
    return Month(label, begin, end, closed_at, actor.kind, actor.person_id, facts)


def due(tx: Tx, days: int, *, policy: Policy) -> str | None:
    """The month that is to be closed by itself now: the first open one, so many days past."""
    calendar, closed = periods.calendar(tx, policy.timezone), periods.last_closed(tx)
    label = next_label(MONTH, closed) if closed else rows.first_label(tx, calendar)
    if label is None or tx.now() < calendar.ends(MONTH, label) + timedelta(days=days):
        return None
    return label


# -- looking ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MonthView:
    """A month as it is listed. ``entries``: per kind how many, and their sum."""

    label: str
    starts_at: datetime
    ends_at: datetime
    #: open, closable (it is the next one, and nothing is missing) or closed.
    state: str
    over: bool
    entries: dict
    #: What is missing, as sentences.
    waits_for: tuple[str, ...] = ()
    #: Hubs that were not heard of since its end.
    hubs_behind: tuple[str, ...] = ()
    closed_at: datetime | None = None
    actor_kind: str = ""
    actor: str = ""
    without_hubs: tuple[str, ...] = ()

    def amount(self, *kinds: str) -> int:
        """What the entries of these kinds sum to, in micro-credits."""
        return sum(e["amount_micro"] for k, e in self.entries.items() if k in kinds)

    @property
    def count(self) -> int:
        return sum(e["count"] for e in self.entries.values())


def listed(tx: Tx, *, policy: Policy) -> list[MonthView]:
    """Every month from the first to the current one, newest first."""
    calendar, closed = periods.calendar(tx, policy.timezone), periods.last_closed(tx)
    acts = {m["label"]: m for m in rows.listed(tx)}
    first = min(acts, default=None) or rows.first_label(tx, calendar)
    if first is None:
        return []
    now, found = tx.now(), []
    sums = rows.sums(tx, after=closed)
    label, last = first, max(calendar.label(MONTH, now), *sums, first)
    while label <= last:
        found.append(_view(tx, label, acts.get(label), sums, calendar, now, policy))
        label = next_label(MONTH, label)
    return found[::-1]


def _view(tx: Tx, label: str, act, sums, calendar: Calendar, now: datetime, policy: Policy):
    if act is not None:
        return MonthView(
            label, act["starts_at"], act["ends_at"], CLOSED, True, act["facts"]["entries"],
            closed_at=act["closed_at"], actor_kind=act["actor_kind"], actor=act["actor"] or "",
            without_hubs=tuple(act["facts"]["without_hubs"]),
        )  # fmt: skip
    begin, end = calendar.begins(MONTH, label), calendar.ends(MONTH, label)
    state, waits, hubs = OPEN, (), {}
    if end <= now:
        try:
            _in_order(tx, label, periods.last_closed(tx), calendar)
            hubs, _ = _hubs(tx, set(), end)
            waits = (
                *_not_due(tx, end, calendar, policy), *_unknown(tx, end, now), *_silent(hubs)
            )  # fmt: skip
        except Conflict as error:
            waits = (error.message,)
        state = OPEN if waits else CLOSABLE
    return MonthView(
        label, begin, end, state, end <= now, sums.get(label, {}), waits, tuple(hubs)
    )  # fmt: skip


def span(tx: Tx, label: str, *, policy: Policy) -> tuple[datetime, datetime, Month | None]:
    """(begin, end, the act that closed it or None) of a month that has a statement.

    BadInput for what is no month or has not begun, NotFound before these books begin.
    """
    first_day(MONTH, label)
    held = rows.get(tx, label)
    if held is not None:
        return held.starts_at, held.ends_at, held
    calendar = periods.calendar(tx, policy.timezone)
    if label > calendar.label(MONTH, tx.now()):
        raise BadInput(f"{label} has not begun.")
    first = rows.first_label(tx, calendar)
    if label <= periods.last_closed(tx) or first is None or label < first:
        raise NotFound(f"There is nothing in {label}: these books begin later.")
    return calendar.begins(MONTH, label), calendar.ends(MONTH, label), None
