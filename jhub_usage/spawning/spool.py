"""What could not be written to the database, kept on disk until it can be.

One event is one file in a folder of mode 0700: written whole, flushed, then renamed, so a crash
leaves a file or none. Names sort by when they were written. Events of one session are replayed in
their order; what can never be replayed is moved to ``rejected/`` with the reason, so that it
blocks nothing. Replaying twice changes nothing, because the actions are idempotent.

The Hub writes; the Hub and the service replay, one at a time, held by a file lock.
Limitations: a local file system with POSIX locks; files here die with a machine that is lost.
"""

import fcntl
import json
import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..actions import admissions, sessions
from ..domain.admission import Ask
from ..domain.audit import HOOK
from ..domain.errors import CatchUpNeeded, DatabaseUnavailable, SchemaTooOld
from ..domain.instants import iso, parse_instant
from ..domain.sightings import Sighting, ask_from_json, ask_to_json

log = logging.getLogger("jhub_usage.spool")

#: After these a try later may succeed: the event stays, and so do all after it.
LATER = (DatabaseUnavailable, SchemaTooOld)


@dataclass(frozen=True)
class FailedOpen:
    """A start that was admitted while the database was away."""

    ask: Ask
    decided_at: object

    @property
    def session_id(self) -> str:
        return self.ask.session_id


class Spool:
    """The folder. Every method may block on the disk: call it from a thread."""

    def __init__(self, directory: str | Path) -> None:
        self.directory = Path(directory)
        self.rejected = self.directory / "rejected"
        self._guard = threading.Lock()
        self._last = 0

    # -- writing --------------------------------------------------------------------------------

    def write(self, event: Sighting | FailedOpen) -> Path:
        """Keep an event. It is on the disk when this returns."""
        data = json.dumps(_to_json(event), sort_keys=True).encode()
        with self._guard:
            self._make()
            path = self.directory / f"{self._next():020d}-{_safe(event.session_id)}.json"
            part = path.with_suffix(".part")
            handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.rename(path)
            _sync_folder(self.directory)
        return path

    def _make(self) -> None:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.directory.stat().st_mode & 0o077:
            self.directory.chmod(0o700)

    def _next(self) -> int:
        """Larger than every name before, even if somebody sets the clock back."""
        if not self._last:
            names = [path.name for path in self.files()]
            self._last = int(names[-1].partition("-")[0]) if names else 0
        self._last = max(self._last + 1, time.time_ns())
        return self._last

    # -- reading --------------------------------------------------------------------------------

    def files(self) -> list[Path]:
        """What waits, oldest first."""
        try:
            paths = sorted(self.directory.iterdir())
        except FileNotFoundError:
            return []
        return [path for path in paths if path.suffix == ".json" and path.name[0].isdigit()]

    def has(self, session_id: str) -> bool:
        """Whether something of this session waits: what comes later must then queue up behind."""
        wanted = _safe(session_id)
        return any(path.stem.partition("-")[2] == wanted for path in self.files())

    def rejected_files(self) -> list[Path]:
        """What could not be replayed and waits for a person."""
        return sorted(self.rejected.glob("*.json")) if self.rejected.is_dir() else []

    # -- replaying ------------------------------------------------------------------------------

    def replay(self, apply: Callable[[Sighting | FailedOpen], None]) -> int:
        """Hand what waits to ``apply``, oldest first; gives how many went through.

        An error that may pass ends the round; one that is about a single wallet lets only what
        belongs to that session wait. Any other moves the event aside. Nothing happens while
        another process replays.
        """
        if not self.files():
            return 0
        with self._exclusive() as mine:
            if not mine:
                return 0
            done, waiting = 0, set()
            for path in self.files():
                of = path.stem.partition("-")[2]
                if of in waiting:
                    continue
                try:
                    event = _from_json(json.loads(path.read_bytes()))
                    apply(event)
                except FileNotFoundError:
                    continue
                except CatchUpNeeded:
                    waiting.add(of)
                except LATER:
                    return done
                except Exception as error:
                    self._reject(path, error)
                else:
                    path.unlink()
                    done += 1
            return done

    @contextmanager
    def _exclusive(self):
        handle = os.open(self.directory / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True
        finally:
            os.close(handle)

    def _reject(self, path: Path, error: Exception) -> None:
        log.error("An event in the spool can not be recorded and is set aside: %s: %s", path, error)
        self.rejected.mkdir(mode=0o700, exist_ok=True)
        why = f"{type(error).__name__}: {error}\n"
        (self.rejected / path.name).with_suffix(".error").write_text(why)
        path.rename(self.rejected / path.name)
        _sync_folder(self.rejected)


def replay(ctx, spool: Spool | None = None) -> int:
    """Write what waits to the database of a Context. For the Hub's gateway and the service."""
    spool = spool or Spool(ctx.settings.spool_dir)

    def apply(event: Sighting | FailedOpen) -> None:
        if isinstance(event, FailedOpen):
            ctx.act(
                admissions.fail_open,
                event.ask,
                event.decided_at,
                policy=ctx.policy,
                cache=ctx.cache,
                actor=HOOK,
            )
        else:
            ctx.act(sessions.record, event, policy=ctx.policy, actor=HOOK)

    return spool.replay(apply)


def _to_json(event: Sighting | FailedOpen) -> dict:
    if isinstance(event, FailedOpen):
        return {"failed_open": ask_to_json(event.ask), "decided_at": iso(event.decided_at)}
    return {"sighting": event.to_json()}


def _from_json(data: dict) -> Sighting | FailedOpen:
    if "failed_open" in data:
        return FailedOpen(ask_from_json(data["failed_open"]), parse_instant(data["decided_at"]))
    return Sighting.from_json(data["sighting"])


def _safe(session_id: str) -> str:
    return "".join(c for c in session_id if c.isalnum() or c == "-")[:64]


def _sync_folder(directory: Path) -> None:
    """A rename is on the disk only when its folder is."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
