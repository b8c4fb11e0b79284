"""Spawners without a Hub, and a real KubeSpawner without Kubernetes: its own
`start`, its own manifests, pods kept in a dict.

Only the calls that would leave the process are replaced. Limitations: a pod runs as soon as it is
created; nothing schedules, restarts or evicts it unless the test changes the dict.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

from kubespawner import KubeSpawner
from traitlets.config import Config

from jhub_usage.hooks import usage_spawner
from jhub_usage.spawning.shapes import plain

CREATED = datetime(2026, 1, 2, 3, 4, 5, 6, UTC)
#: What Kubernetes says of the container: whole seconds, by another clock than ours.
BEGAN = (datetime.now(UTC) - timedelta(hours=3)).replace(microsecond=0)


def of_kubernetes(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


class Pods:
    """Stands for the spawner's reflector."""

    def __init__(self):
        self.pods = {}


class NoCluster(KubeSpawner):
    """KubeSpawner with the calls to the API server replaced."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.seen = Pods()
        self.created = []
        self.fail_create = None

    @property
    def pod_reflector(self):
        return self.seen

    @property
    def event_reflector(self):
        return None

    async def _start_watching_pods(self, replace=False):
        pass

    async def _start_watching_events(self, replace=False):
        pass

    async def _make_create_pvc_request(self, pvc, request_timeout):
        self.created.append(("pvc", pvc))
        return True

    async def _make_create_pod_request(self, pod, request_timeout):
        if self.fail_create is not None:
            raise self.fail_create
        self.created.append(("pod", pod))
        data = plain(pod)
        data["metadata"] |= {"uid": "uid-1", "namespace": self.namespace}
        data["spec"]["nodeName"] = "node-7"
        data["status"] = {
            "phase": "Running",
            "podIP": "127.0.0.1",
            "containerStatuses": [
                {
                    "name": "notebook",
                    "ready": True,
                    "restartCount": 0,
                    "state": {"running": {"startedAt": of_kubernetes(BEGAN)}},
                }
            ],
        }
        self.seen.pods[f"{self.namespace}/{self.pod_name}"] = data
        return True

    async def _make_delete_pod_request(self, pod_name, options, grace, timeout):
        self.seen.pods.pop(f"{self.namespace}/{pod_name}", None)
        return True

    @property
    def pod(self):
        """The pod that was created, as the API would get it."""
        return next((plain(thing) for kind, thing in self.created if kind == "pod"), None)


def kube_spawner(monkeypatch, config: Config, **more):
    """A wrapped KubeSpawner of a user, as the Hub would make it."""
    import kubespawner.spawner as module

    monkeypatch.setattr(module, "load_config", lambda **_: None)
    monkeypatch.setattr(module, "shared_client", lambda *_: None)
    config.KubeSpawner.setdefault("events_enabled", False)
    return make_spawner(NoCluster, config, _mock=True, **more)


def make_spawner(base, config: Config, *, name="ada", groups=(), options=None, **more):
    """A wrapped spawner of any class."""
    user = SimpleNamespace(
        name=name,
        id=7,
        url="/user/ada/",
        escaped_name=name,
        orm_user=SimpleNamespace(id=7, created=CREATED.replace(tzinfo=None)),
        groups=[SimpleNamespace(name=g) for g in groups],
        spawners={},
    )
    hub = SimpleNamespace(
        public_host="", url="http://hub", base_url="/hub/", api_url="http://hub/hub/api"
    )
    spawner = usage_spawner(base)(config=config, user=user, hub=hub, **more)
    # what the trait would do with a row of the Hub's database is not needed here
    spawner._trait_values["orm_spawner"] = SimpleNamespace(
        name="", started=CREATED.replace(tzinfo=None), server=None, user_options=None
    )
    spawner.user_options = options or {}
    spawner.api_token = "token"
    return spawner


async def spawn(spawner):
    """What the Hub does, in its order (User.spawn)."""
    spawner.clear_state()
    spawner._spawn_future = asyncio.get_running_loop().create_future()
    try:
        await spawner.run_pre_spawn_hook()
        return await spawner.start()
    except Exception:
        await stop(spawner)
        raise
    finally:
        spawner._spawn_future.cancel()


async def stop(spawner):
    """User.stop."""
    try:
        if await spawner.poll() is None:
            await spawner.stop()
    finally:
        await spawner.run_post_stop_hook()
        spawner.clear_state()
