"""Wallets and what moves their balance by hand: grant, refund, correction, transfer.

Every verb writes one audit row in its own transaction. Closing a wallet or lowering its overdraft
is always allowed: no new starts, what runs still settles.
"""

import uuid
from datetime import datetime

import sqlalchemy as sa

from ..domain.admission import MODES, Policy
from ..domain.allowances import USES
from ..domain.audit import Actor
from ..domain.errors import BadInput, Conflict, NotFound
from ..domain.money import plain, require_amount
from ..domain.names import require_name
from ..domain.sessions import OPEN
from ..domain.wallets import ROLES, Wallet, transferable
from ..store import audit, ledger, sessions
from ..store import tables as t
from ..store import wallets as rows
from ..store.engine import Tx
from .advancing import opened

_W = t.wallets_.c


def find(tx: Tx, name_or_id: str | int) -> Wallet:
    """A wallet by name or id, or NotFound."""
    found = rows.read(tx, [name_or_id]).get(name_or_id) if isinstance(name_or_id, int) else None
    found = found or rows.by_name(tx, str(name_or_id))
    if found is None:
        raise NotFound(f"There is no wallet {str(name_or_id)[:80]!r}.")
    return found


def create(
    tx: Tx,
    name: str,
    *,
    actor: Actor,
    title: str = "",
    overdraft_micro: int | None = 0,
    mode: str | None = None,
    owner_id: int | None = None,
) -> int:
    """Open a wallet; its id. An overdraft of None is unlimited: such a wallet only records."""
    require_name(name, what="wallet's name")
    if name.startswith("~") and owner_id is None:
        raise BadInput("A name that begins with ~ is for personal wallets.")
    _require_overdraft(overdraft_micro)
    _require_mode(mode)
    if rows.by_name(tx, name) is not None:
        raise Conflict(f"There already is a wallet {name!r}.")
    now = tx.now()
    wallet_id = tx.execute(
        t.wallets_.insert().values(
            name=name,
            title=_require_title(title),
            owner_id=owner_id,
            balance_micro=0,
            overdraft_micro=overdraft_micro,
            mode=mode,
            created_at=now,
            advanced_until=now,
        )
    ).inserted_primary_key[0]
    audit.write(
        tx, "wallet.created", "wallet", wallet_id, actor=actor, now=now,
        after={"name": name, "title": title, "overdraft_micro": overdraft_micro, "mode": mode},
    )  # fmt: skip
    return wallet_id


_UNSET = object()


def change(
    tx: Tx,
    wallet_id: int,
    *,
    actor: Actor,
    title=_UNSET,
    overdraft_micro=_UNSET,
    mode=_UNSET,
    closed=_UNSET,
) -> None:
    """Change what is given and leave the rest; the same again changes nothing."""
    wallet = _locked(tx, wallet_id)
    title_now = tx.scalar(sa.select(_W.title).where(_W.id == wallet_id))
    held = {
        "title": title_now,
        "overdraft_micro": wallet.overdraft_micro,
        "mode": wallet.mode,
        "closed": wallet.closed,
    }
    given = {"title": title, "overdraft_micro": overdraft_micro, "mode": mode, "closed": closed}
    given = {name: value for name, value in given.items() if value is not _UNSET}
    if not given:
        raise BadInput("There is nothing to change.")
    if "title" in given:
        given["title"] = _require_title(title)
    if "overdraft_micro" in given:
        _require_overdraft(overdraft_micro)
    if "mode" in given:
        _require_mode(mode)
    after = {name: value for name, value in given.items() if value != held[name]}
    if not after:
        return
    now = tx.now()
    changes = dict(after)
    if "closed" in changes:
        changes["closed_at"] = now if changes.pop("closed") else None
    tx.execute(t.wallets_.update().where(_W.id == wallet_id).values(**changes))
    audit.write(
        tx, "wallet.changed", "wallet", wallet_id, actor=actor, now=now,
        before={name: held[name] for name in after}, after=after,
    )  # fmt: skip


def set_member(tx: Tx, wallet_id: int, person_id: int, role: str, *, actor: Actor) -> None:
    """Give a person a role in a wallet: manager or spender."""
    if role not in ROLES:
        raise BadInput(f"A role is one of {', '.join(ROLES)}, not {role[:40]!r}.")
    _locked(tx, wallet_id)
    m = t.wallet_members.c
    here = sa.and_(m.wallet_id == wallet_id, m.person_id == person_id)
    before = tx.scalar(sa.select(m.role).where(here))
    if before == role:
        return
    if before is None:
        tx.execute(
            t.wallet_members.insert().values(wallet_id=wallet_id, person_id=person_id, role=role)
        )
    else:
        tx.execute(t.wallet_members.update().where(here).values(role=role))
    audit.write(
        tx, "wallet.member_set", "wallet", wallet_id, actor=actor, now=tx.now(),
        before={"person_id": person_id, "role": before},
        after={"person_id": person_id, "role": role},
    )  # fmt: skip


def remove_member(tx: Tx, wallet_id: int, person_id: int, *, actor: Actor) -> None:
    """Take a person out of a wallet."""
    _locked(tx, wallet_id)
    m = t.wallet_members.c
    here = sa.and_(m.wallet_id == wallet_id, m.person_id == person_id)
    role = tx.scalar(sa.select(m.role).where(here))
    if role is None:
        raise NotFound("That person has no role in this wallet.")
    tx.execute(t.wallet_members.delete().where(here))
    audit.write(
        tx, "wallet.member_removed", "wallet", wallet_id, actor=actor, now=tx.now(),
        before={"person_id": person_id, "role": role},
    )  # fmt: skip


def set_group(tx: Tx, wallet_id: int, group: str, *, actor: Actor) -> None:
    """Let the members of a hub group spend from a wallet."""
    require_name(group, what="group's name")
    _locked(tx, wallet_id)
    g = t.wallet_groups.c
    if tx.scalar(sa.select(sa.func.count()).where(g.wallet_id == wallet_id, g.group_name == group)):
        return
    tx.execute(t.wallet_groups.insert().values(wallet_id=wallet_id, group_name=group))
    audit.write(
        tx, "wallet.group_set", "wallet", wallet_id, actor=actor, now=tx.now(),
        after={"group": group},
    )  # fmt: skip


def remove_group(tx: Tx, wallet_id: int, group: str, *, actor: Actor) -> None:
    """Close a wallet to a hub group."""
    _locked(tx, wallet_id)
    g = t.wallet_groups.c
    gone = tx.execute(
        t.wallet_groups.delete().where(g.wallet_id == wallet_id, g.group_name == group)
    ).rowcount
    if not gone:
        raise NotFound(f"The group {group[:80]!r} does not spend from this wallet.")
    audit.write(
        tx, "wallet.group_removed", "wallet", wallet_id, actor=actor, now=tx.now(),
        before={"group": group},
    )  # fmt: skip


def grant(
    tx: Tx, wallet_id: int, amount_micro: int, *, policy: Policy, actor: Actor, note: str = "",
    key: str | None = None,
) -> int:  # fmt: skip
    """Add credit; the entry's id. The same key again is the same grant."""
    require_amount(amount_micro, minimum=1)
    now = _opened(tx, wallet_id, policy=policy, actor=actor)
    return _book(
        tx, wallet_id, "grant", amount_micro, key, note, policy=policy, actor=actor, now=now
    )


def refund(
    tx: Tx, entry_id: int, amount_micro: int | None, *, policy: Policy, actor: Actor,
    note: str = "", key: str | None = None,
) -> int:  # fmt: skip
    """Give back a charge, all that is left of it when no amount is given; the entry's id.

    Refunds of a charge never sum to more than the charge.
    """
    charge = _entry(tx, entry_id)
    if charge.kind != "charge":
        raise BadInput("Only a charge can be refunded.")
    now = _opened(tx, charge.wallet_id, policy=policy, actor=actor)
    # summed after the lock: a refund that raced with this one is in it
    held = _by_key(tx, key, "refund")
    room = ledger.refundable(tx, charge)
    if held is not None:
        room += held.amount_micro
    amount = room if amount_micro is None else amount_micro
    if held is not None and amount_micro is None:
        amount = held.amount_micro
    require_amount(amount, minimum=1 if room > 0 or amount_micro is not None else None)
    if amount > room or amount <= 0:
        raise Conflict(f"Only {plain(max(room, 0))} of this charge is left to refund.")
    return _book(
        tx, charge.wallet_id, "refund", amount, key, note, policy=policy, actor=actor, now=now,
        corrects_id=entry_id, session_id=charge.session_id, goodwill=True,
    )  # fmt: skip


def correct(
    tx: Tx, entry_id: int, amount_micro: int, *, policy: Policy, actor: Actor, note: str,
    key: str | None = None,
) -> int:  # fmt: skip
    """Book what an entry should have been more (or, negative, less); the new entry's id.

    Names what it corrects and needs a reason. A charge is never turned into a gift, and that of a
    session that still runs is corrected once it ended: what is charged for it is part of its claim.
    """
    if not note.strip():
        raise BadInput("A correction needs a reason.")
    require_amount(amount_micro)
    if amount_micro == 0:
        raise BadInput("A correction of nothing is none.")
    wrong = _entry(tx, entry_id)
    now = _opened(tx, wrong.wallet_id, policy=policy, actor=actor)
    held = _by_key(tx, key, "correction")
    if held is None and wrong.kind == "charge":
        _require_ended(tx, wrong.session_id)
        left = ledger.refundable(tx, wrong)
        if amount_micro > left:
            raise Conflict(f"Only {plain(max(left, 0))} of this charge is left to correct.")
    # what was given as goodwill never was part of what its session was charged (rule 11)
    session_id = None if wrong.goodwill else wrong.session_id
    how = None
    if amount_micro < 0 and (wrong.kind == "charge" or wrong.key.startswith("allowance:")):
        how = USES  # it takes from where a charge would have taken
    made = _book(
        tx, wrong.wallet_id, "correction", amount_micro, key, note, policy=policy, actor=actor,
        now=now, corrects_id=entry_id, session_id=session_id, goodwill=wrong.goodwill, how=how,
    )  # fmt: skip
    if held is None and session_id is not None:
        s = t.sessions_.c
        tx.execute(
            t.sessions_.update()
            .where(s.id == session_id)
            .values(charged_micro=s.charged_micro - amount_micro)
        )
    return made


def _require_ended(tx: Tx, session_id: str | None) -> None:
    state = tx.scalar(sa.select(t.sessions_.c.state).where(t.sessions_.c.id == session_id))
    if state in OPEN:
        raise Conflict(
            "Its session still runs: correct it when it has ended. Now you can refund the charge, "
            "or book a grant."
        )


def transfer(
    tx: Tx, from_id: int, to_id: int, amount_micro: int, *, policy: Policy, actor: Actor,
    note: str = "", key: str | None = None,
) -> tuple[int, int]:  # fmt: skip
    """Move credit between wallets; both entries' ids. Only permanent credit moves."""
    require_amount(amount_micro, minimum=1)
    if from_id == to_id:
        raise BadInput("A transfer goes to another wallet.")
    locked, now = opened(tx, [from_id, to_id], policy=policy, actor=actor)
    for wallet_id in (from_id, to_id):
        if wallet_id not in locked:
            raise NotFound(f"There is no wallet {wallet_id}.")
    key = key or uuid.uuid4().hex
    source, target = locked[from_id], locked[to_id]
    if _by_key(tx, key, "transfer-out") is None:
        if target.closed:
            raise Conflict(f"The wallet {target.name} is closed.")
        free = transferable(source, sessions.open_meters(tx, [from_id])[from_id], now)
        if amount_micro > free:
            rest = " An allowance can not be moved." if source.left_micro else ""
            raise Conflict(
                f"The wallet {source.name} has {plain(max(free, 0))} that nothing else "
                f"claims.{rest}"
            )
    ids = []
    for side, wallet_id, other, amount in (
        ("out", from_id, to_id, -amount_micro),
        ("in", to_id, from_id, amount_micro),
    ):
        entry = ledger.NewEntry(
            wallet_id=wallet_id, kind="transfer", amount_micro=amount,
            key=f"transfer-{side}:{key}", counter_wallet_id=other, note=note,
        )  # fmt: skip
        entry_id, new = ledger.post(tx, entry, actor=actor, now=now, timezone=policy.timezone)
        ids.append(entry_id)
    if new:
        audit.write(
            tx, "wallet.transferred", "wallet", from_id, actor=actor, now=now,
            after={"to": to_id, "amount_micro": amount_micro, "entries": ids},
        )  # fmt: skip
    return ids[0], ids[1]


def _book(tx, wallet_id, kind, amount, key, note, *, policy, actor, now, **more) -> int:
    entry_id, new = ledger.post(
        tx,
        ledger.NewEntry(
            wallet_id=wallet_id,
            kind=kind,
            amount_micro=amount,
            key=f"{kind}:{key or uuid.uuid4().hex}",
            note=note[:2000],
            **more,
        ),
        actor=actor,
        now=now,
        timezone=policy.timezone,
    )
    if new:
        after = {"entry_id": entry_id, "amount_micro": amount}
        if more.get("corrects_id"):
            after["corrects_id"] = more["corrects_id"]
        action = {"grant": "granted", "refund": "refunded", "correction": "corrected"}[kind]
        audit.write(tx, f"wallet.{action}", "wallet", wallet_id, actor=actor, now=now, after=after)
    return entry_id


def _opened(tx: Tx, wallet_id: int, *, policy: Policy, actor: Actor) -> datetime:
    locked, now = opened(tx, [wallet_id], policy=policy, actor=actor)
    if wallet_id not in locked:
        raise NotFound(f"There is no wallet {wallet_id}.")
    return now


def _by_key(tx: Tx, key: str | None, kind: str):
    if key is None:
        return None
    return tx.execute(sa.select(t.entries).where(t.entries.c.key == f"{kind}:{key}")).one_or_none()


def _entry(tx: Tx, entry_id: int):
    row = tx.execute(sa.select(t.entries).where(t.entries.c.id == entry_id)).one_or_none()
    if row is None:
        raise NotFound(f"There is no entry {entry_id}.")
    return row


def _locked(tx: Tx, wallet_id: int) -> Wallet:
    found = rows.lock(tx, [wallet_id]).get(wallet_id)
    if found is None:
        raise NotFound(f"There is no wallet {wallet_id}.")
    return found


def _require_title(title: str) -> str:
    return require_name(title, what="wallet's title") if title else ""


def _require_overdraft(overdraft_micro: int | None) -> None:
    if overdraft_micro is not None:
        require_amount(overdraft_micro, what="overdraft", minimum=0)


def _require_mode(mode: str | None) -> None:
    if mode is not None and mode not in MODES:
        raise BadInput(f"A mode is one of {', '.join(MODES)}, not {str(mode)[:40]!r}.")
