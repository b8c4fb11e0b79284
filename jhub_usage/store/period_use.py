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
    return sa.cast(sa.null(), of.type)


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
    found = list(tx.execute(_statement(_by_kind(wanted), days)))
    opened, ended = defaultdict(list), {}
    groups = _groups(tx, wanted, [r.id for r in found if r.kind == _OPEN])
    for r in found:
        if r.kind == _OPEN:
            row = OpenRow(sessions.meter(r), usage.size(r), r.limit_s)
            for scope in _scopes_of(r.person_id, r.wallet_id, groups.get(r.id, ())):
                if scope in wanted or _each(scope) in wanted:
                    opened[scope].append(row)
            continue
        scope = _SCOPES[r.kind](r)
        if scope in wanted or _each(scope) in wanted:
            gpu_us, cpu_us, cost_micro = (
                getattr(r, f"{n}_high") * _HALF + getattr(r, f"{n}_low") for n in usage.COUNTED
            )
            used = Used(gpu_us=gpu_us, cpu_us=cpu_us, cost_micro=cost_micro)
            ended[scope, r.period] = used
    return PeriodUse(opened, ended)


def _scopes_of(person_id: int, wallet_id: int | None, groups: Collection[str]) -> Iterator[tuple]:
    """Those that an open session falls under."""
    yield ("person", person_id)
    if wallet_id is not None:
        yield ("wallet", wallet_id)
        yield ("wallet_person", wallet_id, person_id)
    for group in groups:
        yield ("group", group, None)
        yield ("group", group, person_id)


def _each(scope: tuple) -> tuple:
    """The scope of each person within the same wallet, in place of one person's."""
    return ("wallet_person", scope[1], EACH) if scope[0] == "wallet_person" else scope


#: What counters are summed by, for each kind of scope, and the scope of such a sum.
_KEYS = {
    "person": (_U.person_id,),
    "wallet": (_U.wallet_id,),
    "wallet_person": (_U.wallet_id, _U.person_id),
    "group": (_U.group_name,),
    "member": (_U.group_name, _U.person_id),
}
_SCOPES = {
    "person": lambda r: ("person", r.person_id),
    "wallet": lambda r: ("wallet", r.wallet_id),
    "wallet_person": lambda r: ("wallet_person", r.wallet_id, r.person_id),
    "group": lambda r: ("group", r.group_name, None),
    "member": lambda r: ("group", r.group_name, r.person_id),
}


def _by_kind(wanted: set[tuple]) -> dict[str, list[tuple]]:
    """Scopes by what their counters are summed by."""
    found = defaultdict(list)
    for scope in wanted:
        member = scope[0] == "group" and scope[2] is not None
        found["member" if member else scope[0]].append(scope)
    return found


def _statement(kinds: Mapping[str, list[tuple]], days) -> sa.CompoundSelect:
    opened = sa.select(
        sa.literal(_OPEN).label("kind"),
        sa.literal("").label("period"),
        _S.person_id,
        _S.wallet_id,
        sa.literal("").label("group_name"),
        *_ROW,
        *(sa.cast(sa.null(), sa.BigInteger).label(name) for name in _SUMS),
    ).where(
        sessions.IS_OPEN,
        sa.or_(*(_where(kind, scopes, _S, _in_groups) for kind, scopes in kinds.items())),
    )
    return sa.union_all(
        opened,
        *(
            sa.select(
                sa.literal(kind),
                sa.literal(period),
                *(
                    column if any(column is key for key in _KEYS[kind]) else _none(column)
                    for column in (_U.person_id, _U.wallet_id, _U.group_name)
                ),
                *(_none(column) for column in _ROW),
                *_SUMS.values(),
            )
            .where(_U.day >= first, _U.day <= last, _where(kind, scopes, _U, _of_groups))
            .group_by(*_KEYS[kind])
            for kind, scopes in kinds.items()
            for period, (first, last) in days.items()
        ),
    )


def _where(kind: str, scopes: list[tuple], c, in_groups) -> sa.ColumnElement:
    """At least what falls under scopes of one kind."""
    if kind == "group":
        return in_groups(_parts(scopes, 1))
    if kind == "member":
        return sa.and_(in_groups(_parts(scopes, 1)), c.person_id.in_(_parts(scopes, 2)))
    of_any = in_groups(None)
    if kind == "person":
        return sa.and_(of_any, c.person_id.in_(_parts(scopes, 1)))
    here = sa.and_(of_any, c.wallet_id.in_(_parts(scopes, 1)))
    if kind == "wallet" or any(scope[2] == EACH for scope in scopes):
        return here
    return sa.and_(here, c.person_id.in_(_parts(scopes, 2)))


def _parts(scopes: list[tuple], place: int) -> list:
    return sorted({scope[place] for scope in scopes})


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
