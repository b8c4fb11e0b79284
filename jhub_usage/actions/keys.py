"""Keys of clients: a write that may be retried is done once (rule 24).

Scoped to (actor, route, key), with a hash of the body: the same key for another body is an error.
"""

import hashlib
import json
from collections.abc import Callable

import sqlalchemy as sa

from ..domain.errors import KeyReused
from ..store import tables as t
from ..store.engine import Tx

_K = t.client_keys.c


def once(tx: Tx, actor_key: str, route: str, key: str, body, act: Callable[[Tx], dict]) -> dict:
    """The answer of ``act(tx)``, or the stored one if this key was answered before.

    The key is taken first, so of two at once one waits for the other and finds its answer.
    """
    digest = hashlib.sha256(json.dumps(body, sort_keys=True, default=str).encode()).hexdigest()
    here = sa.and_(_K.actor == actor_key, _K.route == route, _K.key == key)
    taken = tx.insert_once(
        t.client_keys,
        {
            "actor": actor_key, "route": route, "key": key, "body_hash": digest, "answer": {},
            "created_at": tx.now(),
        },
    )  # fmt: skip
    if taken:
        answer = act(tx)
        tx.execute(t.client_keys.update().where(here).values(answer=answer))
        return answer
    held = tx.execute(sa.select(_K.body_hash, _K.answer).where(here)).one()
    if held.body_hash != digest:
        raise KeyReused("This Idempotency-Key was already used for another request.")
    return held.answer
