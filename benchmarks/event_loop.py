"""Does a hook ever stall the Hub's event loop? Measured: the longest gap between two turns of it.

A ticker asks to run every millisecond while N starts are decided through the gateway, the way the
spawner's hooks do it; the same loop without any starts, and with as many threads that only burn
time, stand beside it in the same run. Needs a PostgreSQL URL, or makes an SQLite file.

    python -m benchmarks.event_loop [--url URL] [--at-once 50] [--rounds 20]
"""

import argparse
import asyncio
import gc
import tempfile
import time
import uuid
from pathlib import Path

from jhub_usage.actions import hubs, modes, rules, wallets
from jhub_usage.config import resolve
from jhub_usage.domain.admission import Ask, PersonKey
from jhub_usage.domain.audit import SYSTEM
from jhub_usage.domain.rules import Rule
from jhub_usage.domain.shapes import Gpus, Shape
from jhub_usage.domain.sightings import Sighting
from jhub_usage.spawning.gateway import Gateway, utc_now
from jhub_usage.store.engine import Database

SHAPE = Shape(4000, 2**34, (Gpus("nvidia.com/gpu", "A100", 1),))


class Collections:
    """How long Python's garbage collector has paused the process, in ms."""

    def __init__(self):
        self.done = self.longest = 0.0
        self._begun: float | None = None
        gc.callbacks.append(self._note)

    def total(self) -> float:
        """So far; of one whose end was not noted yet, too: another thread may run before that."""
        begun = self._begun
        return self.done + ((time.perf_counter() - begun) * 1000 if begun is not None else 0)

    def _note(self, phase: str, info: dict) -> None:
        if phase == "start":
            self._begun = time.perf_counter()
        else:
            took = (time.perf_counter() - self._begun) * 1000
            self._begun = None
            self.done += took
            self.longest = max(self.longest, took)


async def gaps(work, seconds: float) -> list[float]:
    """Milliseconds by which a ticker of 1 ms came late while ``work`` ran.

    Pauses of the garbage collector are not counted as ours; they are shown apart.
    """
    late, done = [], asyncio.Event()

    async def tick():
        while not done.is_set():
            begun, paused = time.perf_counter(), COLLECTIONS.total()
            await asyncio.sleep(0.001)
            span = (time.perf_counter() - begun - 0.001) * 1000
            late.append(max(0.0, span - (COLLECTIONS.total() - paused)))

    ticking = asyncio.create_task(tick())
    await work(seconds)
    done.set()
    await ticking
    return sorted(late)


COLLECTIONS = Collections()


def show(name: str, late: list[float]) -> None:
    """One row: how late the loop was."""
    at = lambda share: late[min(len(late) - 1, int(len(late) * share))]  # noqa: E731
    print(
        f"{name:34} {len(late):7} ticks   p50 {at(0.5):6.2f}   p99 {at(0.99):6.2f}   "
        f"p99.9 {at(0.999):6.2f}   max {late[-1]:6.2f} ms"
    )


def prepare(url: str) -> None:
    """A wallet that pays for everything, and everyone spends from it."""
    db = Database(url)
    db.upgrade()
    with db.write() as tx:
        hubs.install(tx, "hub", actor=SYSTEM)
        modes.set_mode(tx, "enforce", actor=SYSTEM)
        wallet = wallets.create(
            tx, f"lab-{uuid.uuid4().hex[:6]}", overdraft_micro=None, actor=SYSTEM
        )
        rules.replace(tx, [Rule(0, "wallet", wallet)], actor=SYSTEM)
    db.dispose()


async def measure(url: str, at_once: int, rounds: int) -> None:
    """The rows."""
    settings = resolve(None, {"JHUB_USAGE_DATABASE_URL": url, "JHUB_USAGE_SPOOL_DIR":
                              tempfile.mkdtemp()})  # fmt: skip
    gateway = Gateway(settings)
    open_ids: list[str] = []

    async def start(number: int):
        person = PersonKey(f"p{number % 200}", number % 200, None)
        ask = Ask(str(uuid.uuid4()), "hub", person, str(number), "gpu", SHAPE)
        begun = time.perf_counter()
        decision = await gateway.admit(ask)
        assert decision.decision == "admitted", decision
        open_ids.append(ask.session_id)
        return (time.perf_counter() - begun) * 1000

    await start(0)
    took: list[float] = []
    await asyncio.gather(*(start(-i) for i in range(at_once)))

    async def starts(_):
        for turn in range(rounds):
            took.extend(await asyncio.gather(*(start(turn * at_once + i) for i in range(at_once))))
            # what was let in is given up again, so that the wallet does not fill with sessions
            for session_id in open_ids:
                gateway.enqueue(Sighting(session_id, "void", utc_now(), "cancelled", "cancelled"))
            open_ids.clear()
            await gateway.drain()

    async def nothing(seconds):
        await asyncio.sleep(seconds)

    begun = time.perf_counter()
    busy = await gaps(starts, 0)
    span = time.perf_counter() - begun
    idle = await gaps(nothing, span)
    show("nothing else in the process", idle)
    show(f"{at_once} starts at once, {rounds} times", busy)
    print(f"{'longest pause by garbage collection':34} {COLLECTIONS.longest:6.2f} ms")
    took.sort()
    print(
        f"{'a decision, from ask to answer':34} {len(took):7} asks    "
        f"p50 {took[len(took) // 2]:6.2f}   p99 {took[int(len(took) * 0.99)]:6.2f} ms"
    )
    gateway.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url")
    parser.add_argument("--at-once", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=20)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = args.url or f"sqlite:///{Path(folder) / 'usage.sqlite'}"
        prepare(url)
        asyncio.run(measure(url, args.at_once, args.rounds))


if __name__ == "__main__":
    main()
