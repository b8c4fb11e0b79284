"""Requests for credit: a person asks, somebody grants all or a part, or declines. Exactly once.

Whoever has the right ``manage`` (``by_right``) decides any request and may make new credit. A
wallet's manager makes none: they move it from a wallet that they manage, and never to a request of
their own. Every change takes the target's lock and then reads the request, so of two only one wins.
"""

from collections.abc import Collection, Mapping
from datetime import datetime

import sqlalchemy as sa

from ..domain.admission import Policy
from ..domain.audit import Actor
from ..domain.errors import BadInput, Conflict, NotAllowed, NotFound
from ..domain.money import plain, require_amount
from ..domain.rules import first_match
from ..domain.wallets import Wallet, transferable
from ..store import audit, catalog, ledger, people, requests, sessions
from ..store import tables as t
from ..store import wallets as rows
from ..store.engine import Tx
from .advancing import opened

#: So many of a person's requests for one wallet wait at a time.
MOST_OPEN = 3
MOST_TEXT = 2000
NOT_OPEN = "There is no wallet of that name that is open to you."
NOT_YOURS = "There is no request here that you may see or change."


def askable(tx: Tx, person_id: int | None, name: str, groups: Collection[str]) -> dict[int, Wallet]:
    """Wallets that a person may ask credit for: every one that pays for some server of theirs."""
    held = catalog.load(tx, *catalog.read_gate(tx)).rules
    matches = (first_match(held, name, groups, p) for p in {"", *(r.profile for r in held)})
    by_rule = {rule.wallet_id for rule in matches if rule is not None}
    return rows.open_to(tx, person_id, groups, None) | rows.read(tx, by_rule)


def ask(
    tx: Tx, wallet_id: int, person_id: int, amount_micro: int, *, note: str, actor: Actor,
    groups: Collection[str] = (),
) -> int:  # fmt: skip
    """Ask for credit for a wallet that is open to the person; the request's id.

    ``groups`` are the person's hub groups now. It is put before the wallet's managers; for the
    person's own wallet before those of the shared wallets that they are in.
    """
    require_amount(amount_micro, minimum=1)
    note = _require_text(note, "Say what the credit is for: who decides reads it.")
    wallet = rows.lock(tx, [wallet_id]).get(wallet_id)
    who = people.by_ids(tx, [person_id]).get(person_id)
    if wallet is None or who is None or wallet_id not in askable(tx, who.id, who.name, groups):
        raise NotAllowed(NOT_OPEN)
    if wallet.closed:
        raise Conflict(f"The wallet {wallet.name} is closed.")
    if wallet.overdraft_micro is None:
        raise Conflict(f"The wallet {wallet.name} has no limit: it needs no credit.")
    if requests.open_count(tx, wallet_id=wallet_id, person_id=person_id) >= MOST_OPEN:
        raise Conflict(
            f"You have {MOST_OPEN} open requests for the wallet {wallet.name}. "
            "Wait for an answer, or take one back."
        )
    put_before = {wallet_id}
    if requests.owner_of(tx, wallet_id) == person_id:
        put_before |= requests.labs_of(tx, person_id, groups)
    now = tx.now()
    request_id = requests.add(
        tx, put_before, wallet_id=wallet_id, person_id=person_id, amount_micro=amount_micro,
        note_id=ledger.note(tx, note), state="open", created_at=now,
    )  # fmt: skip
    after = {"wallet_id": wallet_id, "person_id": person_id, "amount_micro": amount_micro}
    audit.write(tx, "request.asked", "request", request_id, actor=actor, now=now, after=after)
    return request_id


def grant(
    tx: Tx, request_id: int, amount_micro: int | None = None, *, policy: Policy, actor: Actor,
    by_right: bool, from_wallet_id: int | None = None, note: str = "",
) -> int:  # fmt: skip
    """Grant a request, all of it when no amount is given; the id of the entry in its wallet.

    New credit, or moved from a wallet: without ``by_right`` from one that the actor manages. The
    same grant by the same actor again is that grant.
    """
    note = _require_text(note)
    held = _found(tx, request_id)
    wallets, now = opened(tx, [held["wallet_id"], from_wallet_id], policy=policy, actor=actor)
    held = _found(tx, request_id)
    if not by_right:
        _require_manager(tx, request_id, actor, from_wallet_id)
    amount = held["amount_micro"] if amount_micro is None else amount_micro
    require_amount(amount, minimum=1)
    if amount > held["amount_micro"]:
        raise BadInput(f"Only {plain(held['amount_micro'])} was asked for: grant that or less.")
    if held["state"] == "granted" and _is_same(tx, held, amount, from_wallet_id, actor):
        return held["entry_id"]
    _require_open(held)
    target = wallets[held["wallet_id"]]
    if target.closed:
        raise Conflict(f"The wallet {target.name} is closed.")
    words = f"Request {request_id}: {note}" if note else f"Request {request_id}"
    if from_wallet_id is None:
        key = f"grant:request:{request_id}"
        entries = [ledger.NewEntry(target.id, "grant", amount, key, note=words)]
    elif from_wallet_id in wallets:
        entries = _moving(tx, wallets[from_wallet_id], target, amount, request_id, words, now)
    else:
        raise NotFound(f"There is no wallet {from_wallet_id}.")
    for entry in entries:  # the target's is the last one
        entry_id, _ = ledger.post(tx, entry, actor=actor, now=now, timezone=policy.timezone)
    _decide(tx, held, "granted", note, actor, now, granted_micro=amount, entry_id=entry_id)
    after = {"wallet_id": target.id, "amount_micro": amount, "entry_id": entry_id}
    if from_wallet_id is not None:
        after["from_wallet_id"] = from_wallet_id
    audit.write(
        tx, "request.granted", "request", request_id, actor=actor, now=now,
        before={"amount_micro": held["amount_micro"]}, after=after,
    )  # fmt: skip
    return entry_id


def decline(tx: Tx, request_id: int, *, note: str, actor: Actor, by_right: bool) -> None:
    """Decline a request. The person who asked reads why."""
    note = _require_text(note, "Say why it is declined: the person who asked reads it.")
    held = _locked(tx, request_id)
    if not by_right:
        _require_manager(tx, request_id, actor)
    _require_open(held)
    now = tx.now()
    _decide(tx, held, "declined", note, actor, now)
    audit.write(
        tx, "request.declined", "request", request_id, actor=actor, now=now,
        before={"state": "open"}, after={"state": "declined"},
    )  # fmt: skip


def withdraw(tx: Tx, request_id: int, *, actor: Actor) -> None:
    """Take back a request of one's own."""
    held = _locked(tx, request_id)
    if actor.person_id is None or actor.person_id != held["person_id"]:
        raise NotAllowed(NOT_YOURS)
    _require_open(held)
    now = tx.now()
    _decide(tx, held, "withdrawn", "", actor, now)
    audit.write(
        tx, "request.withdrawn", "request", request_id, actor=actor, now=now,
        before={"state": "open"}, after={"state": "withdrawn"},
    )  # fmt: skip


def sources(tx: Tx, person_id: int) -> set[int]:
    """Wallets that a person manages, from which they may grant; their own is one."""
    return {n for n, role in rows.roles_of(tx, person_id).items() if role == "manager"}


def _found(tx: Tx, request_id: int) -> Mapping:
    held = requests.get(tx, request_id)
    if held is None:
        raise NotFound(f"There is no request {request_id}.")
    return held


def _locked(tx: Tx, request_id: int) -> Mapping:
    """The request under the lock of the wallet that it is for; that one never changes."""
    rows.lock(tx, [_found(tx, request_id)["wallet_id"]])
    return _found(tx, request_id)


def _require_manager(tx: Tx, request_id: int, actor: Actor, *source: int | None) -> None:
    who = actor.person_id
    if who is None or not requests.decides(tx, request_id, who):
        raise NotAllowed(NOT_YOURS)
    for wallet_id in source:
        if wallet_id is None:
            raise BadInput(
                "Say from which of your wallets you grant it: new credit needs the right manage.",
                field="from",
            )
        if wallet_id not in sources(tx, who):
            raise NotAllowed("There is no wallet of that name that you manage.")


def _require_open(held: Mapping) -> None:
    if held["state"] == "granted":
        raise Conflict(
            f"This request is granted already: {plain(held['granted_micro'])} of "
            f"{plain(held['amount_micro'])}."
        )
    if held["state"] != "open":
        raise Conflict(f"This request is {held['state']}: only a new one can be granted.")


def _is_same(tx: Tx, held: Mapping, amount: int, from_wallet_id: int | None, actor: Actor) -> bool:
    e = t.entries.c
    source = tx.scalar(sa.select(e.counter_wallet_id).where(e.id == held["entry_id"]))
    return (amount, from_wallet_id, actor.kind, actor.person_id) == (
        held["granted_micro"],
        source,
        held["decided_kind"],
        held["decided_id"],
    )


def _moving(
    tx: Tx, source: Wallet, target: Wallet, amount: int, request_id: int, words: str, now: datetime
) -> list[ledger.NewEntry]:
    """Both sides of a transfer; only permanent credit that nothing claims moves (rule 16)."""
    if source.id == target.id:
        raise BadInput("A wallet can not pay for its own request: choose another.", field="from")
    meters = sessions.open_meters(tx, [source.id])[source.id]
    free = transferable(source, meters, now)
    if amount > free:
        raise Conflict(
            f"The wallet {source.name} has {plain(max(free, 0))} that can be moved from it."
        )
    key = f"request:{request_id}"
    return [
        ledger.NewEntry(
            source.id, "transfer", -amount, f"transfer-out:{key}", counter_wallet_id=target.id,
            note=words,
        ),
        ledger.NewEntry(
            target.id, "transfer", amount, f"transfer-in:{key}", counter_wallet_id=source.id,
            note=words,
        ),
    ]  # fmt: skip


def _decide(
    tx: Tx, held: Mapping, state: str, answer: str, actor: Actor, now: datetime, **more
) -> None:
    requests.change(
        tx, held["id"], state=state, decided_at=now, decided_kind=actor.kind,
        decided_id=actor.person_id, answer_id=ledger.note(tx, answer), **more,
    )  # fmt: skip


def _require_text(text: str, missing: str = "") -> str:
    """Words that somebody wrote, trimmed; ``missing`` is what to say where none were."""
    text = text.strip()
    if missing and not text:
        raise BadInput(missing, field="note")
    if len(text) > MOST_TEXT:
        raise BadInput(f"The reason is longer than {MOST_TEXT} characters.", field="note")
    return text
