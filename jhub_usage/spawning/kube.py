"""What KubeSpawner needs beyond `mixin.py`: admission on the final pod, Kubernetes' own instants.

The pod is final only when `modify_pod_hook` has returned it, the admin's or a profile's own, so
ours wraps whichever is in force. Reads the spawner's pod reflector; makes no request of its own.
"""

import functools
import logging
import re
import uuid
from dataclasses import replace
from datetime import datetime
from html import unescape

from ..domain.errors import BadInput
from ..domain.instants import parse_instant
from ..domain.shapes import Shape
from . import kube_profiles
from .form import slug_of
from .gateway import utc_now
from .mixin import UsageMixin, settle
from .refusal import form_refusal, uncounted
from .run import Run
from .shapes import shape_of_pod

log = logging.getLogger("jhub_usage.hooks")

ANNOTATION = "jhub-usage/session"
#: The container whose life is billed, in KubeSpawner's pods.
CONTAINER = "notebook"


class KubeUsageMixin(UsageMixin):
    """`UsageMixin` for KubeSpawner and its subclasses."""

    _usage_shape_is_final = False
    #: The profile list as the form or the start has last seen it.
    _usage_profile_list: list | None = None
    _usage_loading = False

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._usage_wrap_modify_pod_hook()

    # -- admission --------------------------------------------------------------------------------

    def _usage_wrap_modify_pod_hook(self) -> None:
        """Put ours around the hook in force; once, however often we are asked."""
        theirs = self.modify_pod_hook
        if getattr(theirs, "_usage_theirs", self) is not self:
            return

        async def admit_pod(spawner, pod):
            if theirs is not None:
                pod = await settle(theirs(spawner, pod))
            with uncounted(spawner):
                return await spawner._usage_admit_pod(pod)

        if theirs is not None:
            functools.update_wrapper(admit_pod, theirs, updated=())
        admit_pod._usage_theirs = theirs
        self.modify_pod_hook = admit_pod

    @property
    def _usage_admins_pod_hook(self):
        return getattr(self.modify_pod_hook, "_usage_theirs", self.modify_pod_hook)

    async def load_user_options(self):
        self._usage_loading = True
        try:
            await settle(super().load_user_options())
        finally:
            self._usage_loading = False
        # A profile, a group or a hook may have brought its own.
        self._usage_wrap_modify_pod_hook()

    def _get_profile(self, slug, profile_list):
        """Which profile KubeSpawner really applies: without a slug, its default one."""
        profile = super()._get_profile(slug, profile_list)
        if self._usage_loading and self._usage_run is not None:
            self._usage_run.profile = str(profile.get("slug") or "")[:255]
        return profile

    async def _usage_admit_pod(self, pod):
        run = self._usage_run
        if run is None:
            # Started past the Hub's own way: nobody asked before, so this is the first to know.
            run = self._usage_run = Run(str(uuid.uuid4()))
        shape = self._usage_count(lambda: shape_of_pod(pod, self._usage_settings, run.profile))
        if run.admitted is None:
            await self._usage_admit(run, self._usage_ask(run, shape))
        if pod.metadata.annotations is None:
            pod.metadata.annotations = {}
        pod.metadata.annotations[ANNOTATION] = run.session_id
        return pod

    def _usage_grace_s(self) -> int:
        return int(self.delete_grace_period or 0)

    async def _usage_advise_start(self, run: Run) -> None:
        """Before anything is created, so that a refusal leaves no volume claim behind."""
        slug, shape, certain = self._usage_estimate(self.user_options, early=False)
        if slug is None:
            if not callable(self.profile_list):
                # KubeSpawner would fail on it later, which counts as a failure of the Hub.
                raise form_refusal("profile", "There is no such profile, or no such choice.", 400)
            return
        ask = replace(self._usage_ask(run, shape), profile=slug)
        if await self._usage_refuse_early(run, ask, certain):
            self._usage_run = Run(str(uuid.uuid4()))

    def _usage_shape_is_certain(self, *, early: bool) -> bool:
        """Whether traits and the static profile decide the pod: nobody's code will change it."""
        if self._usage_admins_pod_hook is not None:
            return False
        if not early:
            return True
        names = ("pre_spawn_hook", "auth_state_hook", "apply_user_options", "group_overrides")
        return not any(getattr(self, name, None) for name in names)

    def _usage_estimate(self, options, *, early: bool) -> tuple[str | None, Shape, bool]:
        """(profile, shape, whether it is sure). Where it is not, the shape is empty: what is
        refused for nothing at all is refused for anything. No profile: nothing can be said."""
        if callable(self.profile_list):
            return (slug_of(options) or None), Shape(), False
        profiles = self._usage_static_profiles()
        chosen = kube_profiles.choose(profiles, options)
        if chosen is None:
            return None, Shape(), False
        slug, overrides = chosen
        shape = None
        if self._usage_shape_is_certain(early=early):
            shape = kube_profiles.shape_of(self, overrides, self._usage_settings, slug)
        return slug, shape or Shape(), shape is not None

    def _usage_static_profiles(self) -> list:
        return self._get_initialized_profile_list(self._sorted_dict_values(self.profile_list))

    # -- the form ---------------------------------------------------------------------------------

    def _render_options_form(self, profile_list):
        """KubeSpawner calls this with the list, also when a function made it: once is enough."""
        self._usage_profile_list = self._get_initialized_profile_list(profile_list)
        return super()._render_options_form(profile_list)

    def _usage_has_own_form(self) -> bool:
        return False  # KubeSpawner brings a form of its own with its profiles

    def _usage_declared_profile(self, slug: str) -> None:
        return None  # nothing is declared here: the pod tells

    def _usage_choices(self) -> list:
        profiles = self._usage_profile_list
        if profiles is None and self.options_form:
            return []  # an admin's own form: nothing tells what its choices do
        settings, found = self._usage_settings, []
        for profile in profiles or ():
            slug, name = profile["slug"], plain_text(profile.get("display_name") or profile["slug"])
            for choices, overrides in kube_profiles.combinations(profile):
                shape = kube_profiles.shape_of(self, overrides, settings, slug)
                found.append((slug, name, bool(profile.get("default")), choices, shape))
        return found

    def _usage_form_estimate(self, options) -> tuple[str | None, Shape, bool]:
        return self._usage_estimate(options, early=True)

    # -- what Kubernetes shows --------------------------------------------------------------------

    def _usage_pod(self) -> dict:
        """Our pod as the reflector last saw it; empty where there is none."""
        reflector = getattr(self, "pod_reflector", None)
        pods = getattr(reflector, "pods", None) or {}
        return pods.get(f"{self.namespace}/{self.pod_name}") or {}

    def _usage_container(self) -> dict:
        statuses = (self._usage_pod().get("status") or {}).get("containerStatuses") or ()
        return next((s for s in statuses if s.get("name") == CONTAINER), {})

    def _usage_pod_facts(self) -> dict:
        pod = self._usage_pod()
        meta, spec = pod.get("metadata") or {}, pod.get("spec") or {}
        return {
            "pod_uid": meta.get("uid"),
            "pod_name": meta.get("name") or self.pod_name,
            "namespace": meta.get("namespace") or self.namespace,
            "node": spec.get("nodeName"),
            "restart_count": self._usage_container().get("restartCount") or None,
        }

    def _usage_container_started_at(self) -> datetime | None:
        """When the container began: of a restarted one, when the first did, if that is known."""
        status = self._usage_container()
        ends = status.get("lastState") or {}, status.get("state") or {}
        times = [
            (state.get(kind) or {}).get("startedAt")
            for state in ends
            for kind in ("terminated", "running")
        ]
        return instant(next((t for t in times if t), None))

    def _usage_finished_at(self) -> datetime | None:
        state = self._usage_container().get("state") or {}
        return instant((state.get("terminated") or {}).get("finishedAt"))

    def _usage_container_starts(self, run: Run, otherwise: str, now: datetime):
        at = self._usage_container_started_at()
        evidence = "container_started" if at else otherwise
        return run.starts(at or now, evidence, **self._usage_pod_facts())

    def _usage_start_returned(self, run: Run) -> None:
        if run.admitted is None:
            log.error("%s was started without its pod being seen by us", self._log_name)
            return
        now = utc_now()
        self._usage_gateway.enqueue(self._usage_container_starts(run, "start_returned", now))

    def _usage_start_failed(self, run: Run, error: BaseException) -> None:
        """Container time counts even if the server never answered; a pod that never ran costs
        nothing."""
        if run.admitted and self._usage_container_started_at():
            started = self._usage_container_starts(run, "start_returned", utc_now())
            self._usage_gateway.enqueue(started)

    def _usage_adopted_start(self, run: Run, now: datetime) -> None:
        self._usage_container_starts(run, "adopted", now)

    async def _usage_find_run(self) -> Run | None:
        """The pod itself says which session it is."""
        notes = (self._usage_pod().get("metadata") or {}).get("annotations") or {}
        if notes.get(ANNOTATION):
            return Run(notes[ANNOTATION], admitted=True, restored=True)
        return await super()._usage_find_run()


def plain_text(html: str) -> str:
    """A profile's display name may hold the admin's own HTML; a table of prices shows its words."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())


def instant(text) -> datetime | None:
    """A time of the Kubernetes API, or None for what is none."""
    try:
        return parse_instant(text) if text else None
    except BadInput:
        return None
