"""Trying rates, rules and limits on a month that was. Reads only, in one transaction.

The rules are ``domain.trial``; here the month is read as it was recorded. Allowances that were
changed within it are known from the audit trail, for as long as that is kept. Sessions whose
boundaries were corrected keep what they were charged: their corrections span months.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from types import SimpleNamespace

import sqlalchemy as sa

from ..domain import trial, trial_limits
from ..domain.admission import Policy
from ..domain.advance import Slice, Turn
from ..domain.allowances import Allowance, moved
from ..domain.errors import BadInput
from ..domain.invariants import how_moved
from ..domain.limits import Breach, Limit
from ..domain.periods import Calendar
from ..domain.rates import Rate
from ..domain.rules import Rule
from ..domain.shapes import Shape
from ..domain.trial import Changed, Given, Past
from ..domain.wallets import Wallet
from ..store import catalog, periods, sessions, usage
from ..store import tables as t
from ..store import wallets as wallet_rows
from ..store.engine import Tx
from ..store.period_use import OpenRow
from . import advancing, period_limits
from .usage_reports import month_window

DEFAULT = Policy()

_S, _E, _A, _P, _G, _W = (
    t.sessions_.c,
    t.entries.c,
    t.admissions_.c,
    t.people.c,
    t.session_groups.c,
    t.wallets_.c,
)


@dataclass(frozen=True)
class WalletTried:
    """One wallet: what was charged and left, and what would have been."""

    wallet_id: int
    wallet: str
    charged_micro: int
    tried_micro: int
    balance_micro: int
    tried_balance_micro: int


@dataclass(frozen=True)
class Tried:
    """A month tried anew. Empty lists where nothing was tried of that kind."""

    label: str
    begin: datetime
    end: datetime
    wallets: tuple[WalletTried, ...]
    #: Per person: (name, charged, would have been charged).
    people: tuple[tuple[str, int, int], ...]
    starts: int
    refused: tuple[tuple[Past, Breach], ...]
    #: (start, name of the wallet that paid or "", name of the one that would have)
    moved: tuple[tuple[Past, str, str], ...]
    unpriced: tuple[str, ...]
    #: Sessions whose charges differ, as (id, charged, would have been charged).
    differing: tuple[tuple[str, int, int], ...]

    @property
    def same(self) -> bool:
        """Whether it gives the ledger that was: every session's charges, every balance."""
        return not self.differing and all(
            w.balance_micro == w.tried_balance_micro for w in self.wallets
        )


def month(
    tx: Tx,
    label: str,
    *,
    policy: Policy = DEFAULT,
    rates: Sequence[Rate] | None = None,
    limits: Sequence[Limit] | None = None,
    rules: Sequence[Rule] | None = None,
) -> Tried:
    """Last month, or any other, under these; unchanged where nothing is given.

    Raises BadInput for what is no month that has begun.
    """
    calendar, now = periods.calendar(tx, policy.timezone), tx.now()
    begin, end = month_window(tx, label, policy=policy)
    if begin >= now:
        raise BadInput(f"The month {label} has not begun.")
    end = min(end, now)
    starts = _starts(tx, begin, end, policy)
    names = {w.id: w.name for w in tx.execute(sa.select(_W.id, _W.name))}
    held = catalog.load(tx, "", 0)
    tried = None if rates is None else trial.as_trial(held.rates, rates)
    was, opening, closing, given, known = _ledger(tx, begin, end, calendar)
    starts = [replace(s, known_at=known.get(s.session_id)) for s in starts]
    wallets, changes = _wallets(tx, opening, begin, end)
    done = trial.replay(wallets, starts, given, changes, begin, end, calendar, tried)
    by_wallet, by_person = defaultdict(lambda: [0, 0]), defaultdict(lambda: [0, 0])
    differing = []
    of = {s.session_id: s for s in starts}
    for session_id in sorted(was.keys() | done.charges.keys()):
        pair = (was.get(session_id, 0), done.charges.get(session_id, 0))
        if pair[0] != pair[1]:
            differing.append((session_id, *pair))
        start = of.get(session_id)
        if start is None:
            continue
        for sums in (by_wallet[start.wallet_id], by_person[start.person]):
            sums[0] += pair[0]
            sums[1] += pair[1]
    decided = [s for s in starts if begin <= s.decided_at < end]
    own = dict(tx.execute(sa.select(_W.owner_id, _W.id).where(_W.owner_id.is_not(None))).all())
    moves = trial.payers(decided, rules, own) if rules is not None else []
    return Tried(
        label=label,
        begin=begin,
        end=end,
        wallets=tuple(
            WalletTried(
                n, names[n], *by_wallet[n], closing.get(n, (0, 0))[0],
                done.wallets[n].balance_micro,
            )
            for n in sorted(wallets, key=lambda n: names[n])
            if n in by_wallet or opening.get(n) or closing.get(n)
        ),
        people=tuple((name, *sums) for name, sums in sorted(by_person.items())),
        starts=sum(s.decision in trial.LET_IN for s in decided),
        refused=_refused(tx, starts, limits or (), calendar, begin, end, policy),
        moved=tuple((s, names.get(s.wallet_id, ""), names.get(n, "")) for s, n in moves),
        unpriced=tuple(done.unpriced),
        differing=tuple(differing),
    )  # fmt: skip


def _refused(
    tx: Tx, starts: Sequence[Past], limits: Sequence[Limit], calendar: Calendar, begin: datetime,
    end: datetime, policy: Policy,
) -> tuple[tuple[Past, Breach], ...]:  # fmt: skip
    since = trial_limits.since(limits, calendar, begin)
    if since < begin:
        starts = _starts(tx, since, end, policy)  # a week may begin in the month before
    lead_us = policy.warn_lead_s * 1_000_000
    return tuple(trial_limits.refused(starts, limits, begin, calendar, lead_us))


def _starts(tx: Tx, begin: datetime, end: datetime, policy: Policy) -> list[Past]:
    """Decisions of the window, and sessions that reach into it."""
    over = sa.func.coalesce(_S.billed_until_at, _S.ended_at)
    reaches = sa.and_(_S.admitted_at < end, sa.or_(over.is_(None), over >= begin))
    asked = sa.and_(_A.decided_at >= begin, _A.decided_at < end)
    pairs = t.admissions_.outerjoin(t.sessions_, _S.id == _A.session_id).join(
        t.people, _P.id == _A.person_id
    )
    rows = list(
        tx.execute(
            sa.select(
                t.sessions_,
                _P.name.label("person"),
                *(getattr(_A, n).label(f"a_{n}") for n in (
                    "session_id", "decision", "decided_at", "person_id", "profile", "shape",
                    "wallet_id", "rule_id",
                )),
            )
            .select_from(pairs)
            .where(sa.or_(reaches, asked))
            .order_by(_A.decided_at, _A.session_id)
        )
    )  # fmt: skip
    groups = defaultdict(list)
    ids = sa.select(_S.id).where(reaches)
    for g in tx.execute(sa.select(_G.session_id, _G.group_name).where(_G.session_id.in_(ids))):
        groups[g.session_id].append(g.group_name)
    return [
        Past(
            session_id=r.a_session_id,
            person_id=r.a_person_id,
            person=r.person,
            groups=tuple(sorted(groups[r.a_session_id])),
            profile=r.a_profile,
            shape=Shape.from_json(r.a_shape),
            wallet_id=r.wallet_id if r.id is not None else r.a_wallet_id,
            decision=r.a_decision,
            decided_at=r.a_decided_at,
            by_rule=r.a_rule_id is not None,
            meter=sessions.meter(r) if r.id is not None and not r.revision else None,
            quoted_at=r.quoted_at,
            over_at=r.ended_at,
            run=period_limits.as_open(OpenRow(sessions.meter(r), usage.size(r), r.limit_s), policy)
            if r.id is not None
            else None,
        )
        for r in rows
    ]


def _ledger(tx: Tx, begin: datetime, end: datetime, calendar: Calendar):
    """(charges per session, wallets at begin and at end as (balance, left), given entries, when
    the last slice of a session was booked)."""
    was: dict[str, int] = defaultdict(int)
    opening: dict[int, tuple[int, int]] = {}
    closing: dict[int, tuple[int, int]] = {}
    given: list[Given] = []
    known: dict[str, datetime] = {}
    for e in _entries(tx, end, calendar):
        of_slice = e.kind == "charge" and e.session_id is not None
        at, how = e.effective_at, how_moved(e)
        # a slice that ends at a boundary belongs to what came before it
        if of_slice and e.slice_start < at:
            at = e.slice_start
        if at >= end:
            continue
        closing[e.wallet_id] = moved(*closing.get(e.wallet_id, (0, 0)), e.amount_micro, how)
        booked = at
        if of_slice and e.revision:
            booked = max(at, e.effective_at - datetime.resolution)
        elif not of_slice and not e.key.startswith("allowance:"):
            # what is dated back acted when it was booked: no boundary is computed anew for it
            booked = max(at, e.posted_at)
        if booked < begin or (of_slice and at < begin):
            opening[e.wallet_id] = moved(*opening.get(e.wallet_id, (0, 0)), e.amount_micro, how)
        elif of_slice and not e.revision:
            was[e.session_id] -= e.amount_micro
            known[e.session_id] = max(e.posted_at, known.get(e.session_id, e.posted_at))
        elif not e.key.startswith("allowance:"):
            booked = min(booked, end - datetime.resolution)
            given.append(Given(booked, e.wallet_id, e.amount_micro, how, e.posted_at))
    return was, opening, closing, given, known


def _entries(tx: Tx, end: datetime, calendar: Calendar) -> Iterator:
    """The ledger up to an instant, in its order; then what is due and not booked yet."""
    other = t.entries.alias("corrected")
    yield from tx.execute(
        sa.select(
            _E.id, _E.wallet_id, _E.kind, _E.amount_micro, _E.key, _E.effective_at, _E.posted_at,
            _E.session_id, _E.slice_start, _E.corrects_id, _E.goodwill,
            other.c.kind.label("corrects_kind"), other.c.key.label("corrects_key"), _S.revision,
        )
        .select_from(
            t.entries.outerjoin(other, other.c.id == _E.corrects_id)
            .outerjoin(t.sessions_, _S.id == _E.session_id)
        )
        .where(_E.effective_at <= end)
        .order_by(_E.id)
    )  # fmt: skip
    wallets = [wallet_rows.value(row) for row in tx.execute(sa.select(t.wallets_))]
    meters, now = sessions.open_meters(tx, [w.id for w in wallets]), tx.now()
    for wallet in wallets:
        for due in advancing.ahead_of(wallet, meters[wallet.id], now, calendar).due:
            if due.at <= end:
                yield _as_booked(wallet.id, due, now)


def _as_booked(wallet_id: int, due: Slice | Turn, now: datetime) -> SimpleNamespace:
    """What is due, as its entry will be."""
    more = {"kind": "grant", "amount_micro": due.net_micro, "key": "allowance:", "session_id": None,
            "slice_start": None} if isinstance(due, Turn) else {
        "kind": "charge", "amount_micro": -due.amount_micro, "key": "charge:",
        "session_id": due.session_id, "slice_start": due.begin,
    }  # fmt: skip
    return SimpleNamespace(
        wallet_id=wallet_id, effective_at=due.at, posted_at=now, corrects_id=None, goodwill=False,
        corrects_kind=None, corrects_key=None, revision=0, **more,
    )  # fmt: skip


def _wallets(
    tx: Tx, opening: Mapping[int, tuple[int, int]], begin: datetime, end: datetime
) -> tuple[dict[int, Wallet], list[Changed]]:
    """Wallets as they stood before anything at ``begin``, and changes of their allowances."""
    c = t.audit.c
    acts = defaultdict(list)
    rows = tx.execute(
        sa.select(t.audit)
        .where(
            c.subject_kind == "wallet",
            c.action.in_(("wallet.allowance_set", "wallet.allowance_removed")),
        )
        .order_by(c.at, c.id)
    )
    for row in rows:
        acts[int(row.subject_id)].append(row)
    found, changes = {}, []
    for row in tx.execute(sa.select(t.wallets_)):
        wallet, mine = wallet_rows.value(row), acts[row.id]
        before = [act for act in mine if act.at < begin]
        if before:
            allowance = _allowance(before[-1].after)
        else:
            allowance = _allowance(mine[0].before) if mine else wallet.allowance
        balance, left = opening.get(wallet.id, (0, 0))
        found[wallet.id] = Wallet(
            wallet.id, wallet.name, balance, wallet.overdraft_micro, allowance=allowance,
            left_micro=left, advanced_until=begin - datetime.resolution,
        )  # fmt: skip
        for act in mine[len(before) :]:
            if act.at < end:
                after = act.after or {}
                changes.append(
                    Changed(act.at, wallet.id, _allowance(act.after), bool(after.get("begun")))
                )
    return found, changes


def _allowance(data: Mapping | None) -> Allowance | None:
    if not data:
        return None
    return Allowance(data["amount_micro"], data["period"], data["carry_micro"])


def tried_rates(declared, at: datetime) -> list[Rate]:
    """Rates of a file for the whole of the window that begins at ``at``."""
    return [
        Rate(r.resource, r.model, r.profile, r.price_micro, r.starts_at or at) for r in declared
    ]


def begins(tx: Tx, label: str, timezone: str = "UTC") -> datetime:
    """The instant at which a month begins."""
    return month_window(tx, label, policy=Policy(timezone=timezone))[0]


def last_shape(tx: Tx, profile: str) -> Shape:
    """The shape that the last start of a profile had; nothing for one that never started."""
    data = tx.scalar(
        sa.select(_A.shape)
        .where(_A.profile == profile, _A.person_id.is_not(None))
        .order_by(_A.decided_at.desc())
        .limit(1)
    )
    return Shape.from_json(data or {})
