"""What counts against limits per period: open sessions, and counters of those that ended.

Both come from one statement, so from one instant: a session that ends meanwhile is seen open or
counted, never twice or not at all, whoever holds which lock.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

import sqlalchemy as sa

from ..domain.limits import EACH
from ..domain.sessions import Meter
from ..domain.usage import NOTHING, Size, Used
from . import sessions, usage
from . import tables as t
from .engine import Tx

_S, _U, _G = t.sessions_.c, t.use_days.c, t.session_groups.c
#: A month of many cores times microseconds does not fit into 64 bits, so its halves are summed.
_HALF = 1_000_000
_OPEN = "open"
_ROW = (
    _S.id, _S.per_hour_micro, _S.fee_micro, _S.hold_micro, _S.charged_micro, _S.admitted_at,
    _S.start_deadline_at, _S.billed_from_at, _S.billed_until_at, _S.seen_at, _S.started_at,
    _S.billed, _S.limit_s, _S.stop_accepted_at, _S.grace_s, _S.settled_until, _S.gpu_milli,
    _S.cpu_milli, _S.memory_bytes,
)  # fmt: skip


def _none(of: sa.Column) -> sa.ColumnElement:
    return sa.cast(sa.null(), of.type).label(of.name)


def _sum(part: sa.ColumnElement) -> sa.ColumnElement:
    return sa.cast(sa.func.sum(part), sa.BigInteger)


_SUMS = {
    f"{name}_{half}": _sum(_U[name] // _HALF if half == "high" else _U[name] % _HALF)
    for name in usage.COUNTED
    for half in ("high", "low")
}


@dataclass(frozen=True)
class OpenRow:
    """An open session, with what it holds while it runs and the seconds that it may run at most."""

    meter: Meter
    size: Size
    limit_s: int | None


@dataclass(frozen=True)
class PeriodUse:
    """By scope the sessions that are open; by (scope, kind of period) what ended ones used."""

    open: Mapping[tuple, list[OpenRow]] = field(default_factory=dict)
    ended: Mapping[tuple, Used] = field(default_factory=dict)

    def used(self, scope: tuple, period: str) -> Used:
        """What ended sessions of a scope used in the current period of a kind."""
        return self.ended.get((scope, period), NOTHING)


def read(tx: Tx, scopes: Collection[tuple], days: Mapping[str, tuple[str, str]]) -> PeriodUse:
    """What falls under ``scopes`` (those of ``Limit.scope``); of counters that within ``days``.

    ``days`` has the first and the last day by kind of period. The person ``*`` within a wallet
    gives a scope for each person who is found there.
    """
    wanted = set(scopes)
    if not wanted:
        return PeriodUse()
    found = list(tx.execute(_statement(wanted, days)))
    opened, ended = defaultdict(list), defaultdict(lambda: NOTHING)
    rows = [r for r in found if r.kind == _OPEN]
    groups = _groups(tx, wanted, [r.id for r in rows])
    for r in rows:
        row = OpenRow(sessions.meter(r), usage.size(r), r.limit_s)
        of_groups = groups.get(r.id, ())
        for scope in _scopes_of(wanted, r.person_id, r.wallet_id, of_groups):
            opened[scope].append(row)
    for r in found:
        if r.kind == _OPEN:
            continue
        gpu_us, cpu_us, cost_micro = (
            getattr(r, f"{name}_high") * _HALF + getattr(r, f"{name}_low") for name in usage.COUNTED
        )
        used = Used(gpu_us=gpu_us, cpu_us=cpu_us, cost_micro=cost_micro)
        if r.group_name:
            of = _scopes_of(wanted, r.person_id, None, (r.group_name,), only_groups=True)
        else:
            of = _scopes_of(wanted, r.person_id, r.wallet_id, ())
        for scope in of:
            ended[scope, r.kind] += used
    return PeriodUse(opened, ended)


def _scopes_of(
    wanted: set[tuple], person_id: int, wallet_id: int | None, groups, *, only_groups: bool = False
) -> Iterator[tuple]:
    """Those of the scopes that a session, or a counter, falls under."""
    possible = [("group", g, p) for g in groups for p in (None, person_id)]
    if not only_groups:
        possible += [("person", person_id), ("wallet", wallet_id)]
        possible.append(("wallet_person", wallet_id, person_id))
        if ("wallet_person", wallet_id, EACH) in wanted:
            yield possible.pop()
    yield from (scope for scope in possible if scope in wanted)


def _statement(wanted: set[tuple], days: Mapping[str, tuple[str, str]]) -> sa.CompoundSelect:
    here, names = _where(wanted, _S, _in_groups), _where(wanted, _U, _of_groups)
    opened = sa.select(
        sa.literal(_OPEN).label("kind"),
        _S.person_id,
        _S.wallet_id,
        sa.literal("").label("group_name"),
        *_ROW,
        *(sa.cast(sa.null(), sa.BigInteger).label(name) for name in _SUMS),
    ).where(sessions.IS_OPEN, here)
    of_person = (_U.person_id, _U.wallet_id, _U.group_name)
    return sa.union_all(
        opened,
        *(
            sa.select(
                sa.literal(period),
                *of_person,
                *(_none(column) for column in _ROW),
                *(part.label(name) for name, part in _SUMS.items()),
            )
            .where(_U.day >= first, _U.day <= last, names)
            .group_by(*of_person)
            for period, (first, last) in days.items()
        ),
    )


def _where(wanted: set[tuple], c, in_groups) -> sa.ColumnElement:
    """At least what falls under the scopes."""
    of = defaultdict(list)
    for kind, *rest in wanted:
        each = kind == "group" and rest[1] is not None
        whole = kind == "wallet_person" and rest[1] == EACH
        of["each" if each else "wallet" if whole else kind].append(rest)

    def ids(kind: str, place: int) -> list:
        return sorted({rest[place] for rest in of[kind]})

    plain = in_groups(None)
    parts = []
    if of["person"]:
        parts.append(sa.and_(plain, c.person_id.in_(ids("person", 0))))
    if of["wallet"]:
        parts.append(sa.and_(plain, c.wallet_id.in_(ids("wallet", 0))))
    if of["wallet_person"]:
        parts.append(
            sa.and_(
                plain,
                c.wallet_id.in_(ids("wallet_person", 0)),
                c.person_id.in_(ids("wallet_person", 1)),
            )
        )
    if of["group"]:
        parts.append(in_groups(ids("group", 0)))
    if of["each"]:
        parts.append(sa.and_(in_groups(ids("each", 0)), c.person_id.in_(ids("each", 1))))
    return sa.or_(*parts)


def _in_groups(names: list[str] | None) -> sa.ColumnElement:
    """Sessions of groups; of any where none are named."""
    if names is None:
        return sa.true()
    return sa.exists().where(_G.session_id == _S.id, _G.group_name.in_(names))


def _of_groups(names: list[str] | None) -> sa.ColumnElement:
    """Counters of groups; where none are named those of people and wallets."""
    return _U.group_name == "" if names is None else _U.group_name.in_(names)


def _groups(tx: Tx, wanted: set[tuple], ids: list[str]) -> dict[str, list[str]]:
    """The groups of sessions, which are frozen at their admission, as far as scopes name them."""
    names = sorted({scope[1] for scope in wanted if scope[0] == "group"})
    found = defaultdict(list)
    if names and ids:
        held = sa.select(_G.session_id, _G.group_name).where(
            _G.session_id.in_(ids), _G.group_name.in_(names)
        )
        for r in tx.execute(held):
            found[r.session_id].append(r.group_name)
    return found
