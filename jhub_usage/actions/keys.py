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

    Two at once: one of them waits for the other's row and then finds its answer, or fails on it
    and is retried by its client.
    """
    digest = hashlib.sha256(json.dumps(body, sort_keys=True, default=str).encode()).hexdigest()
    here = sa.and_(_K.actor == actor_key, _K.route == route, _K.key == key)
    held = tx.execute(sa.select(_K.body_hash, _K.answer).where(here)).one_or_none()
    if held is None:
        answer = act(tx)
        tx.execute(
            t.client_keys.insert().values(
                actor=actor_key, route=route, key=key, body_hash=digest, answer=answer,
                created_at=tx.now(),
            )
        )  # fmt: skip
        return answer
    if held.body_hash != digest:
        raise KeyReused("This Idempotency-Key was already used for another request.")
    return held.answer
