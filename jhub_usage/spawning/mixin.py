"""What every spawner class gets: its own session per spawn, admission, boundaries, the end.

The admin's hooks and the spawner's own methods run first; ours see their result. Nothing here
waits for the database beyond its deadline, and an error of ours never keeps a server from stopping.
KubeSpawner, whose final shape is known only from its pod, is in `kube.py`; the form in `form.py`.
"""

import asyncio
import contextlib
import inspect
import json
import logging
import time
import uuid
from datetime import datetime, timedelta

from ..domain.admission import Ask, Decision
from ..domain.errors import BadInput, UsageError
from ..domain.shapes import Shape
from ..domain.sightings import Sighting
from . import metrics
from .form import FormMixin, chosen_wallet, slug_of
from .gateway import utc_now
from .profiles import Profile, read_profiles
from .refusal import form_refusal, refusal, uncounted
from .registry import settings_and_gateway
from .run import STATE, Run
from .shapes import aware, groups_of, person_of, shape_of_limits

log = logging.getLogger("jhub_usage.hooks")
decisions = logging.getLogger("jhub_usage.decisions")


async def settle(value):
    """A hook's result, whether it is one or has to be awaited."""
    return await value if inspect.isawaitable(value) else value


class UsageMixin(FormMixin):
    """Wrapped around the Hub's spawner class by `usage_spawner`."""

    #: How this class is known for ours, also to the service.
    jhub_usage_hooks = True
    _usage_base_name = ""
    _usage_run: Run | None = None
    #: Whether this object has begun a spawn, so that what it knows counts, not an older state.
    _usage_fresh = False
    #: How many of the spawner's own methods are running: they clear the state for themselves.
    _usage_inside = 0
    #: Only KubeSpawner knows its final shape later than at pre-spawn.
    _usage_shape_is_final = True

    @property
    def _usage_settings(self):
        return settings_and_gateway(self.config)[0]

    @property
    def _usage_gateway(self):
        return settings_and_gateway(self.config)[1]

    # -- state ------------------------------------------------------------------------------------

    def load_state(self, state):
        super().load_state({k: v for k, v in state.items() if k != STATE})
        self._usage_run = Run.from_state(state.get(STATE))

    def get_state(self):
        state = super().get_state()
        ours = self._usage_run.to_state() if self._usage_run else None
        return {**state, STATE: ours} if ours else state

    def clear_state(self):
        super().clear_state()
        if not self._usage_inside:
            # The Hub's own call: a spawn begins, or all is over.
            self._usage_run = None
            self._usage_fresh = True

    @contextlib.contextmanager
    def _usage_within(self):
        self._usage_inside += 1
        try:
            yield
        finally:
            self._usage_inside -= 1

    # -- before the start -------------------------------------------------------------------------

    async def run_pre_spawn_hook(self):
        with uncounted(self):
            return await self._usage_before_start()

    async def _usage_before_start(self):
        run = self._usage_run = Run(str(uuid.uuid4()))
        self._usage_fresh = True
        profile = self._usage_apply_profile()
        result = await settle(super().run_pre_spawn_hook())
        if self._usage_shape_is_final:
            run.profile = profile.slug if profile else ""
            shape = self._usage_count(
                lambda: shape_of_limits(
                    self, self._usage_settings, profile.shape.gpus if profile else ()
                )
            )
            await self._usage_admit(run, self._usage_ask(run, shape))
        else:
            await self._usage_advise_start(run)
        return result

    def _usage_apply_profile(self) -> Profile | None:
        """The chosen profile of `c.JHubUsage.profiles`, its CPU and memory put on the spawner.

        Beside a form of the admin's own only what it declares of GPUs counts. A name that no
        profile has is never taken over from user_options: rates and rules may depend on it.
        """
        if not self._usage_has_own_form():
            return self._usage_declared_profile(slug_of(self.user_options))
        profile = self._usage_own_profile(self.user_options)
        if profile.shape.cpu_milli:
            self.cpu_limit = self.cpu_guarantee = profile.shape.cpu_milli / 1000
        if profile.shape.memory_bytes:
            self.mem_limit = self.mem_guarantee = profile.shape.memory_bytes
        return profile

    def _usage_declared_profile(self, slug: str) -> Profile | None:
        settings = self._usage_settings
        profiles = read_profiles(settings.profiles, settings.gpu_weights)
        return next((p for p in profiles if p.slug == slug), None)

    def _usage_own_profile(self, options) -> Profile:
        settings = self._usage_settings
        profiles = read_profiles(settings.profiles, settings.gpu_weights)
        slug = slug_of(options)
        if not slug:
            return next(p for p in profiles if p.default)
        for profile in profiles:
            if profile.slug == slug:
                return profile
        choices = ", ".join(p.slug for p in profiles)
        raise form_refusal(
            "profile", f"There is no profile {slug[:60]!r}. Choose one of: {choices}.", 400
        )

    def _usage_count(self, shape_of) -> Shape:
        """A shape, or a refusal that says why it can not be counted."""
        try:
            return shape_of()
        except BadInput as error:
            raise refusal(
                self,
                self._usage_run.session_id,
                error.code,
                f"The resources of this server can not be counted: {error.message}",
                400,
            ) from None

    def _usage_ask(self, run: Run, shape: Shape) -> Ask:
        return Ask(
            session_id=run.session_id,
            hub_id=self._usage_settings.hub_id,
            person=person_of(self),
            server_name=self.name or "",
            profile=run.profile,
            shape=shape,
            groups=groups_of(self),
            wallet_name=chosen_wallet(self.user_options),
            requested_at=utc_now(),
            hub_started_at=aware(getattr(self.orm_spawner, "started", None)),
            start_timeout_s=int(self.start_timeout),
            grace_s=self._usage_grace_s(),
            billed_from=self._usage_settings.billed_from,
            namespace=str(getattr(self, "namespace", "") or ""),
            pod_name=str(getattr(self, "pod_name", "") or ""),
            spawner=self._usage_base_name,
        )

    def _usage_grace_s(self) -> int:
        """How long a server may take to end after it was told to."""
        names = ("interrupt_timeout", "term_timeout", "kill_timeout")
        return int(sum(getattr(self, name, 0) for name in names))

    async def _usage_admit(self, run: Run, ask: Ask) -> None:
        """The decision; returns if the server may start."""
        begun = time.monotonic()
        try:
            decision = await self._usage_gateway.admit(ask)
        except UsageError as error:
            run.admitted = False
            raise refusal(self, run.session_id, error.code, error.message) from None
        run.admitted = decision.may_start
        self._usage_gateway.forget_offer(ask.person)
        seconds = time.monotonic() - begun
        word = decision.decision
        if decision.reason.code == "database_unavailable":
            word = "unavailable"
        metrics.observe_decision(word, seconds)
        self._usage_log(decision, seconds)
        if not decision.may_start:
            raise self._usage_refusal(decision)

    def _usage_refusal(self, decision: Decision):
        code, text = decision.reason.code, decision.reason.text
        if decision.decision == "void":
            code, text = "void", "This start was given up before it was decided. Start it again."
        return refusal(self, decision.session_id, code, text)

    def _usage_log(self, decision: Decision, seconds: float) -> None:
        quote = decision.quote
        line = {
            "event": "decision",
            "session": decision.session_id,
            "person": self.user.name,
            "server": self.name or "",
            "wallet": decision.wallet_name,
            "rule": decision.rule_id,
            "decision": decision.decision,
            "reason": decision.reason.code,
            "mode": decision.mode,
            "per_hour_micro": quote.per_hour_micro if quote else None,
            "ms": round(seconds * 1000, 1),
        }
        decisions.info(json.dumps(line, ensure_ascii=False))

    async def _usage_advise_start(self, run: Run) -> None:
        """Where admission comes later: refuse now what would surely be refused then."""

    # -- the start --------------------------------------------------------------------------------

    def start(self):
        with self._usage_within():
            inner = super().start()
        return self._usage_watch_start(inner)

    async def _usage_watch_start(self, inner):
        run = self._usage_run
        try:
            with self._usage_within():
                result = await settle(inner)
        except BaseException as error:
            if run is not None:
                self._usage_start_failed(run, error)
            raise
        if run is not None:
            run.start_returned = True
            self._usage_start_returned(run)
        return result

    def _usage_start_returned(self, run: Run) -> None:
        self._usage_gateway.enqueue(run.starts(utc_now(), "start_returned"))

    def _usage_start_failed(self, run: Run, error: BaseException) -> None:
        """Nothing ran. KubeSpawner may know better."""

    def add_poll_callback(self, callback, *args, **kwargs):
        """The Hub calls this when a server answered: after a start, or when it takes one over."""
        super().add_poll_callback(callback, *args, **kwargs)
        try:
            self._usage_is_up()
        except Exception:
            log.exception("A server that is up was not recorded: %s", self._log_name)

    def _usage_is_up(self) -> None:
        run, gateway = self._usage_run, self._usage_gateway
        if run is None:
            if not self._usage_fresh:
                self._usage_task = asyncio.ensure_future(self._usage_adopt())
        elif run.restored:
            self._usage_adopted(run)
        elif not run.ready:
            run.ready = True
            gateway.enqueue(
                Sighting(run.session_id, "ready", utc_now(), "hub_ready", extra=run.facts)
            )

    async def _usage_adopt(self) -> None:
        """The Hub took over a server whose state it had lost."""
        run = self._usage_run = await self._usage_find_run()
        if run is not None:
            run.start_returned = run.alive = True
            self._usage_adopted(run)

    def _usage_adopted(self, run: Run) -> None:
        gateway, now = self._usage_gateway, utc_now()
        if run.started is None:
            self._usage_adopted_start(run, now)
        gateway.enqueue(run.started)
        gateway.enqueue(Sighting(run.session_id, "ready", now, "adopted"))
        gateway.enqueue(Sighting(run.session_id, "seen", now, "adopted"))

    def _usage_adopted_start(self, run: Run, now: datetime) -> None:
        run.starts(now, "adopted")

    async def _usage_find_run(self) -> Run | None:
        """The session of a server that an earlier process of the Hub started."""
        try:
            found = await self._usage_gateway.open_session_of(person_of(self), self.name or "")
        except Exception as error:
            log.error("The session of %s could not be looked up: %r", self._log_name, error)
            return None
        return Run(found, admitted=True, restored=True) if found else None

    # -- the end ----------------------------------------------------------------------------------

    async def poll(self):
        finished_at = self._usage_finished_at()
        with self._usage_within():
            status = await settle(super().poll())
        run = self._usage_run
        if run is not None:
            run.polled(status, utc_now(), finished_at)
        return status

    def _usage_finished_at(self) -> datetime | None:
        """The exact end, where something other than our own look knows it."""
        return None

    async def stop(self, now=False):
        run = self._usage_run
        # With now=True spawners clean up after themselves; the Hub asks without.
        if run is not None and not now and run.stop_called_at is None:
            run.stop_called_at = utc_now()
            run.cancelled = not self._usage_hub_gave_up()
            run.hub_ends = hub_ends()
            if run.started is not None and run.admitted:
                self._usage_gateway.enqueue(
                    Sighting(run.session_id, "stop_accepted", run.stop_called_at, "stop_called")
                )
        try:
            with self._usage_within():
                return await settle(super().stop(now=True) if now else super().stop())
        except Exception:
            if run is not None and not now:
                run.stop_failed = True
            raise

    def _usage_hub_gave_up(self) -> bool:
        """Whether this stop comes from the failing start itself, not from a person.

        The Hub cleans up inside the spawn that fails; a person's stop cancels that spawn first.
        """
        future = getattr(self, "_spawn_future", None)
        return future is not None and not future.done()

    async def run_post_stop_hook(self):
        try:
            return await settle(super().run_post_stop_hook())
        finally:
            try:
                await self._usage_close()
            except Exception:
                log.exception("The end of %s's session was not recorded", self._log_name)

    async def _usage_close(self) -> None:
        run = self._usage_run
        if run is None and not self._usage_fresh:
            run = await self._usage_find_run()
        if run is None:
            return
        if run.stop_called_at is None:
            run.cancelled = not self._usage_hub_gave_up()
        last = run.close(utc_now())
        if last is not None:
            await self._usage_wait(self._usage_gateway.enqueue(last))
            self._usage_gateway.forget_offer(person_of(self))

    async def _usage_wait(self, task) -> None:
        """Wait for a sighting, but not beyond a deadline; it goes on by itself."""
        span = timedelta(seconds=2 * self._usage_settings.decision_timeout_s)
        await asyncio.wait([task], timeout=span.total_seconds())


def hub_ends() -> bool:
    """Whether the Hub is shutting down, and stops its servers for that."""
    names = (getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks())
    return any(name.endswith(".shutdown_cancel_tasks") for name in names)
