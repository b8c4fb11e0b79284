"""What a door holds: the settings, the database, and one way to act and to look.

One action is one transaction; one request is one hop to a thread with a deadline.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from .domain.admission import Policy
from .domain.audit import Actor
from .domain.errors import DatabaseUnavailable
from .store.catalog import CatalogCache
from .store.engine import Clock, Database


class Context:
    """Settings and database of one process. Threads start when first needed."""

    def __init__(self, settings, db: Database, *, workers: int = 4):
        self.settings = settings
        self.db = db
        self.policy: Policy = settings.policy()
        self.cache = CatalogCache()
        self._workers = workers
        self._pool: ThreadPoolExecutor | None = None

    @classmethod
    def from_settings(cls, settings, *, clock: Clock | None = None, workers: int = 4):
        """The context of a resolved ``Settings``; opens no connection yet."""
        db = Database(
            settings.database_url,
            clock=clock,
            pool_size=settings.pool_size,
            lock_timeout_s=settings.lock_timeout_s,
            statement_timeout_s=settings.statement_timeout_s,
        )
        return cls(settings, db, workers=workers)

    def act(self, action: Callable, *args, actor: Actor, **more):
        """One action in one write transaction."""
        with self.db.write(getattr(action, "first_statement", "")) as tx:
            return action(tx, *args, actor=actor, **more)

    def look(self, query: Callable, *args, **more):
        """One query in one read transaction that sees one instant."""
        with self.db.read() as tx:
            return query(tx, *args, **more)

    async def run(self, call: Callable, *args, timeout_s: float = 10.0, **more):
        """Call on a worker thread; DatabaseUnavailable when the answer takes too long.

        The thread itself can not be stopped: what it does is one transaction with its own limits.
        """
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="jhub-usage")
        future = asyncio.get_running_loop().run_in_executor(self._pool, lambda: call(*args, **more))
        done, _ = await asyncio.wait({future}, timeout=timeout_s)
        if not done:
            future.add_done_callback(lambda f: f.cancelled() or f.exception())
            raise DatabaseUnavailable("The accounting database did not answer in time.")
        return future.result()

    async def act_soon(self, action: Callable, *args, actor: Actor, timeout_s=10.0, **more):
        """``act`` on a worker thread."""
        return await self.run(
            lambda: self.act(action, *args, actor=actor, **more), timeout_s=timeout_s
        )

    async def look_soon(self, query: Callable, *args, timeout_s: float = 10.0, **more):
        """``look`` on a worker thread."""
        return await self.run(lambda: self.look(query, *args, **more), timeout_s=timeout_s)

    def close(self) -> None:
        """Close connections; threads that wait end with their work."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        self.db.dispose()
