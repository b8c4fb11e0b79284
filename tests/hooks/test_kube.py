"""KubeSpawner: admission on the pod that is really created, boundaries as Kubernetes has them."""

from datetime import timedelta

import pytest
from tornado.web import HTTPError

from jhub_usage.spawning.kube import ANNOTATION
from jhub_usage.spawning.registry import settings_and_gateway

from .nocluster import BEGAN, kube_spawner, of_kubernetes, spawn, stop

GPU = {"extra_resource_limits": {"nvidia.com/gpu": "1"}, "node_selector": {"accelerator": "A100"}}
PROFILES = [
    {"display_name": "CPU", "kubespawner_override": {"cpu_guarantee": 0.5}},
    {
        "display_name": "<b>GPU</b> & more",
        "slug": "gpu",
        "kubespawner_override": GPU,
        "profile_options": {
            "count": {
                "display_name": "GPUs",
                "choices": {
                    "1": {"display_name": "one", "default": True},
                    "4": {
                        "display_name": "four",
                        "kubespawner_override": {"extra_resource_limits": {"nvidia.com/gpu": "4"}},
                    },
                },
            },
            "image": {
                "display_name": "Image",
                "choices": {"a": {"kubespawner_override": {"image": "a"}}},
            },
        },
    },
]


@pytest.fixture
def make(monkeypatch, config, books):
    def made(**options):
        return kube_spawner(monkeypatch, config, **options)

    config.KubeSpawner.profile_list = PROFILES
    config.KubeSpawner.storage_pvc_ensure = True
    return made


async def drained(spawner, books, person="ada"):
    await spawner._usage_gateway.drain()
    return books.last(person)


async def test_one_run_is_one_session_with_kubernetes_own_instants(make, books):
    spawner = make(options={"profile": "gpu"}, groups=["lab"])
    await spawn(spawner)
    session = spawner.pod["metadata"]["annotations"][ANNOTATION]
    spawner.add_poll_callback(lambda: None)
    row = await drained(spawner, books)
    assert row.id == session and row.state == "running"
    assert (row.profile, row.gpu_model, row.gpu_count) == ("gpu", "A100", 1)
    assert row.started_evidence == "container_started" and row.ready_evidence == "hub_ready"
    assert row.pod_uid == "uid-1" and row.node == "node-7" and row.pod_name == spawner.pod_name
    assert row.billed_from == "container" and row.grace_s == spawner.delete_grace_period
    assert row.spawner == "NoCluster" and row.per_hour_micro == 4_000_000
    assert spawner.get_state()["jhub_usage"]["session"] == session
    await stop(spawner)
    row = await drained(spawner, books)
    assert (row.state, row.end_reason, row.ended_evidence) == ("ended", "stopped", "post_stop_hook")
    assert row.stop_accepted_evidence == "stop_called"
    assert "jhub_usage" not in spawner.get_state()


async def test_the_default_profile_has_a_name_too(make, books):
    spawner = make()
    await spawn(spawner)
    assert (await drained(spawner, books)).profile == "cpu"
    await stop(spawner)


async def test_choices_of_a_profile_count(make, books):
    spawner = make(options={"profile": "gpu", "count": "4"})
    await spawn(spawner)
    row = await drained(spawner, books)
    assert row.gpu_count == 4 and row.per_hour_micro == 16_000_000


@pytest.mark.parametrize("where", ["KubeSpawner", "Spawner-profile", "async"])
async def test_the_price_is_that_of_the_pod_that_the_admins_hook_returns(
    make, books, config, where
):
    def more(spawner, pod):
        resources = pod.spec.containers[0].resources
        resources.limits["nvidia.com/gpu"] = "3"
        pod.metadata.annotations = {"theirs": "yes"}
        return pod

    async def more_soon(spawner, pod):
        return more(spawner, pod)

    if where == "Spawner-profile":
        gpu = PROFILES[1] | {
            "kubespawner_override": GPU | {"modify_pod_hook": lambda spawner: more}
        }
        config.KubeSpawner.profile_list = [PROFILES[0], gpu]
    else:
        config.KubeSpawner.modify_pod_hook = more if where == "KubeSpawner" else more_soon
    spawner = make(options={"profile": "gpu"})
    await spawn(spawner)
    assert (await drained(spawner, books)).gpu_count == 3
    notes = spawner.pod["metadata"]["annotations"]
    assert notes == {"theirs": "yes", ANNOTATION: books.last("ada").id}
    assert len(books.sessions()) == 1


async def test_init_containers_and_extra_pod_config_count(make, books, config):
    config.KubeSpawner.init_containers = [
        {"name": "warm", "image": "x", "resources": {"limits": {"nvidia.com/gpu": "2"}}}
    ]
    config.KubeSpawner.extra_pod_config = {"nodeSelector": {"accelerator": "H100"}}
    spawner = make(options={"profile": "gpu"})
    await spawn(spawner)
    row = await drained(spawner, books)
    assert (row.gpu_count, row.gpu_model) == (2, "H100")


async def test_a_refusal_creates_nothing_not_even_a_volume_claim(make, books):
    books.pay_from_own_wallets("0.5")
    spawner = make(options={"profile": "gpu"})
    with pytest.raises(HTTPError) as caught:
        await spawn(spawner)
    assert caught.value.status_code == 403 and spawner.created == []
    text = caught.value.jupyterhub_message
    (admission,) = books.admissions()
    assert admission.decision == "refused" and admission.session_id in text
    assert "$0.50 left" in text and "1 × A100" in text
    assert books.sessions() == []


async def test_a_refusal_that_only_the_pod_can_tell_comes_before_the_pod(make, books, config):
    def more(spawner, pod):
        pod.spec.containers[0].resources.limits["nvidia.com/gpu"] = "400"
        return pod

    config.KubeSpawner.modify_pod_hook = more
    spawner = make(options={"profile": "gpu"})
    with pytest.raises(HTTPError) as caught:
        await spawn(spawner)
    assert caught.value.status_code == 403
    assert [kind for kind, _ in spawner.created] == ["pvc"]
    assert "400 × A100" in caught.value.jupyterhub_message


async def test_an_admins_hook_may_make_it_cheap_enough(make, books, config):
    """The early check must not refuse what the pod will not ask for."""

    def none(spawner, pod):
        pod.spec.containers[0].resources.limits.pop("nvidia.com/gpu")
        return pod

    books.pay_from_own_wallets("0.5")
    config.KubeSpawner.modify_pod_hook = none
    spawner = make(options={"profile": "gpu"})
    await spawn(spawner)
    assert (await drained(spawner, books)).gpu_count == 0


async def test_callables_of_a_profile_run_once(make, books, config):
    calls = []

    def listed(spawner):
        calls.append("list")
        return [{"display_name": "V", "kubespawner_override": {"volumes": volumes}}]

    def volumes(spawner):
        calls.append("volumes")
        return [*spawner.volumes, {"name": "v", "emptyDir": {}}]

    config.KubeSpawner.profile_list = listed
    spawner = make(options={"profile": "v"})
    await spawn(spawner)
    assert calls == ["list", "volumes"]
    assert [v["name"] for v in spawner.pod["spec"]["volumes"]].count("v") == 1


@pytest.mark.parametrize("options", [{"profile": "nope"}, {"profile": "gpu", "count": "9"}])
async def test_what_the_list_does_not_have_is_a_wrong_question(make, books, options):
    """KubeSpawner alone would raise ValueError or KeyError, which counts as the Hub's failure."""
    spawner = make(options=options)
    with pytest.raises(HTTPError) as caught:
        await spawn(spawner)
    assert caught.value.status_code == 400 and spawner.created == []
    assert books.admissions() == []


async def test_a_fractional_gpu_is_a_wrong_question(make, books, config):
    config.KubeSpawner.extra_resource_limits = {"nvidia.com/gpu": "0.5"}
    spawner = make()
    with pytest.raises(HTTPError) as caught:
        await spawn(spawner)
    assert caught.value.status_code == 400 and "whole number" in caught.value.jupyterhub_message
    assert books.sessions() == []


async def test_a_pod_that_cannot_be_created_is_void_and_costs_nothing(make, books):
    spawner = make(options={"profile": "gpu"})
    spawner.fail_create = RuntimeError("quota")
    with pytest.raises(RuntimeError):
        await spawn(spawner)
    row = await drained(spawner, books)
    assert (row.state, row.started_at, books.charges(row.id)) == ("void", None, 0)


async def test_a_container_that_ran_is_billed_though_the_start_failed(make, books):
    spawner = make(options={"profile": "gpu"})
    spawner.is_pod_running = lambda pod: 1 / 0
    with pytest.raises(ZeroDivisionError):
        await spawn(spawner)
    row = await drained(spawner, books)
    assert row.state == "ended" and row.end_reason == "start_failed"
    assert row.started_evidence == "container_started"


async def test_the_end_of_a_container_is_read_before_its_pod_is_deleted(make, books):
    spawner = make(options={"profile": "gpu"})
    await spawn(spawner)
    spawner.add_poll_callback(lambda: None)
    (pod,) = spawner.seen.pods.values()
    pod["status"]["containerStatuses"][0]["state"] = {
        "terminated": {
            "exitCode": 0,
            "startedAt": of_kubernetes(BEGAN),
            "finishedAt": of_kubernetes(BEGAN + timedelta(hours=2)),
        }
    }
    assert await spawner.poll() == 0
    assert spawner.seen.pods == {}
    await stop(spawner)
    row = await drained(spawner, books)
    assert (row.ended_evidence, row.end_reason) == ("terminated_at", "died")
    # the pod's own clock is hours behind the test's: never before its admission or start
    assert row.ended_at >= row.started_at


async def test_a_pod_that_does_not_go_away_is_not_called_ended(make, books):
    spawner = make(options={"profile": "gpu"})
    await spawn(spawner)
    spawner.add_poll_callback(lambda: None)

    async def broken(*_):
        raise RuntimeError("the API server is gone")

    spawner._make_delete_pod_request = broken
    with pytest.raises(RuntimeError):
        await stop(spawner)
    row = await drained(spawner, books)
    assert row.state == "running" and row.stop_accepted_at is not None


async def test_a_pod_that_a_killed_hub_left_behind_says_which_session_it_is(make, books):
    first = make(options={"profile": "gpu"})
    await spawn(first)
    await drained(first, books)
    second = make(options={"profile": "gpu"})
    second.seen = first.seen
    second.load_state({})
    assert await second.poll() is None
    second.add_poll_callback(lambda: None)
    await second._usage_task
    row = await drained(second, books)
    assert row.ready_evidence == "adopted" and row.seen_at is not None
    await stop(second)
    row = await drained(second, books)
    assert (row.state, row.end_reason) == ("ended", "stopped")
    assert len(books.sessions()) == 1


async def test_the_form_prices_each_choice(make, books):
    spawner = make()
    form = await spawner.get_options_form()
    assert 'value="gpu"' in form  # KubeSpawner's own form
    assert "$4.00 per hour" in form and "$16.00 per hour" in form
    assert "GPU &amp; more" in form
    assert '"choices": {"count": "4"}' in form and "image" not in form.split("jhub-usage-data")[1]


async def test_the_form_comes_without_a_database(make, config, tmp_path):
    config.JHubUsage.database_url = "postgresql://nobody@127.0.0.1:1/none"
    spawner = make()
    form = await spawner.get_options_form()
    assert 'value="gpu"' in form and "not available right now" in form


async def test_an_early_refusal_is_said_in_the_form(make, books):
    books.pay_from_own_wallets("0.5")
    spawner = make()
    with pytest.raises(HTTPError) as caught:
        await spawner.run_options_from_form({"profile": ["gpu"]})
    assert "$0.50 left" in caught.value.jupyterhub_message
    options = await spawner.run_options_from_form({"profile": ["cpu"]})
    assert options == {"profile": "cpu"}


async def test_the_chosen_wallet_is_kept(make, books):
    books.wallet("lab", "50", group="lab")
    spawner = make(groups=["lab"])
    spawner.user_options = await spawner.run_options_from_form(
        {"profile": ["gpu"], "jhub_usage_wallet": ["lab"]}
    )
    assert spawner.user_options == {"profile": "gpu", "jhub_usage_wallet": "lab"}
    await spawn(spawner)
    row = await drained(spawner, books)
    assert books.admissions("ada")[0].wallet_id == row.wallet_id != None  # noqa: E711
    with pytest.raises(HTTPError) as caught:
        await spawner.run_options_from_form({"jhub_usage_wallet": ["other"]})
    assert "lab" in caught.value.jupyterhub_message


async def test_our_hook_is_put_around_once(make):
    spawner = make()
    hook = spawner.modify_pod_hook
    await spawner.load_user_options()
    await spawner.load_user_options()
    assert spawner.modify_pod_hook is hook and hook._usage_theirs is None
    assert settings_and_gateway(spawner.config)[0].hub_id == "hub"
