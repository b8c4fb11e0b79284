"""What a pod takes, by Kubernetes' own count, and which GPUs those are (rule 9)."""

from decimal import Decimal

import pytest

from jhub_usage.domain.errors import BadInput
from jhub_usage.domain.shapes import (
    Gpus,
    Shape,
    effective_requests,
    is_gpu_resource,
    model_from_spec,
    parse_quantity,
    pod_shape,
    weight_of,
)

LABELS = ("nvidia.com/gpu.product", "cloud.google.com/gke-accelerator")
GI = 2**30


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("500m", "0.5"), ("2", "2"), (2, "2"), (0.1, "0.1"), ("1.5", "1.5"), (".5", "0.5"),
        ("16Gi", 16 * GI), ("1G", 10**9), ("1e3", 1000), ("12E", 12 * 10**18), ("1Ei", 2**60),
        ("512K", 512 * 1024), ("100u", "0.0001"), ("1n", "0.000000001"), ("-1", -1),
    ],
)  # fmt: skip
def test_quantities(text, value):
    assert parse_quantity(text) == Decimal(str(value))


@pytest.mark.parametrize("text", ["", "lots", "1 Gi", "1gi", "0x10", True, None, "1e", "--1"])
def test_unreadable_quantities(text):
    with pytest.raises(BadInput, match="quantity"):
        parse_quantity(text)


def container(restart=None, **requests):
    requests = {k.replace("gpu", "nvidia.com/gpu"): v for k, v in requests.items()}
    spec = {"resources": {"requests": requests}}
    return spec | ({"restartPolicy": restart} if restart else {})


def sidecar(**requests):
    return container(restart="Always", **requests)


@pytest.mark.parametrize(
    ("story", "containers", "init", "overhead", "cpu"),
    [
        ("one container", [container(cpu="2")], [], {}, 2),
        ("containers add up", [container(cpu="2"), container(cpu="500m")], [], {}, "2.5"),
        ("init containers run one after the other", [container(cpu="1")],
         [container(cpu="3"), container(cpu="2")], {}, 3),
        ("a smaller init container changes nothing", [container(cpu="4")],
         [container(cpu="3")], {}, 4),
        ("a sidecar stays", [container(cpu="2")], [sidecar(cpu="1")], {}, 3),
        ("a sidecar counts beside a later init container", [container(cpu="1")],
         [sidecar(cpu="1"), container(cpu="4")], {}, 5),
        ("but not beside an earlier one", [container(cpu="1")],
         [container(cpu="4"), sidecar(cpu="1")], {}, 4),
        ("overhead comes on top", [container(cpu="1")], [], {"cpu": "250m"}, "1.25"),
        ("nothing asked", [{}], [], {}, 0),
    ],
)  # fmt: skip
def test_effective_request(story, containers, init, overhead, cpu):
    spec = {"containers": containers, "initContainers": init, "overhead": overhead}
    assert effective_requests(spec).get("cpu", 0) == Decimal(cpu), story


def test_limits_fill_in_what_was_not_requested():
    resources = {"requests": {"cpu": "1"}, "limits": {"cpu": "4", "nvidia.com/gpu": "2"}}
    spec = {"containers": [{"resources": resources}]}
    assert effective_requests(spec) == {"cpu": 1, "nvidia.com/gpu": 2}
    assert effective_requests(spec, basis="limit") == {"cpu": 4, "nvidia.com/gpu": 2}


@pytest.mark.parametrize(
    ("resource", "is_gpu"),
    [
        ("nvidia.com/gpu", True), ("amd.com/gpu", True), ("nvidia.com/mig-1g.5gb", True),
        ("nvidia.com/gpu.shared", True), ("gpu.intel.com/i915", True), ("cpu", False),
        ("ephemeral-storage", False), ("rdma/hca", False),
    ],
)  # fmt: skip
def test_gpu_resources(resource, is_gpu):
    assert is_gpu_resource(resource) is is_gpu


@pytest.mark.parametrize(
    ("resource", "weights", "milli"),
    [
        ("nvidia.com/gpu", {}, 1000),
        ("nvidia.com/mig-1g.5gb", {}, 142),
        ("nvidia.com/mig-3g.20gb", {}, 428),
        ("nvidia.com/mig-7g.40gb", {}, 1000),
        ("nvidia.com/mig-1g.5gb", {"nvidia.com/mig-1g.5gb": 125}, 125),
        ("nvidia.com/gpu.shared", {"nvidia.com/gpu.shared": 250}, 250),
    ],
)
def test_parts_of_a_gpu(resource, weights, milli):
    assert weight_of(resource, weights) == milli


def affinity(*terms):
    made = [
        {"matchExpressions": [{"key": k, "operator": op, "values": list(v)} for k, op, v in term]}
        for term in terms
    ]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": made}}
    return {"affinity": {"nodeAffinity": required}}


@pytest.mark.parametrize(
    ("story", "spec", "model"),
    [
        ("a selector", {"nodeSelector": {LABELS[0]: "A100"}}, "A100"),
        ("by another label", {"nodeSelector": {LABELS[1]: "nvidia-l4"}}, "nvidia-l4"),
        ("a label that says nothing of GPUs", {"nodeSelector": {"zone": "a"}}, None),
        ("an affinity", affinity([(LABELS[0], "In", ["H100"])]), "H100"),
        ("one that leaves two open", affinity([(LABELS[0], "In", ["H100", "A100"])]), None),
        ("two terms that agree", affinity([(LABELS[0], "In", ["T4"])], [(LABELS[0], "In", ["T4"])]),
         "T4"),
        ("two terms that differ",
         affinity([(LABELS[0], "In", ["T4"])], [(LABELS[0], "In", ["L4"])]), None),
        ("a term without a model", affinity([(LABELS[0], "In", ["T4"])], [("zone", "In", ["a"])]),
         None),
        ("not this one", affinity([(LABELS[0], "NotIn", ["T4"])]), None),
        ("nothing", {}, None),
    ],
)  # fmt: skip
def test_model(story, spec, model):
    assert model_from_spec(spec, LABELS) == model, story


def test_the_shape_of_a_pod():
    spec = {
        "nodeSelector": {LABELS[0]: "A100"},
        "containers": [container(cpu="1500m", memory="16Gi", gpu="2")],
        "initContainers": [sidecar(cpu="1m", memory="1")],
    }
    assert pod_shape(spec, model_labels=LABELS) == Shape(
        1501, 16 * GI + 1, (Gpus("nvidia.com/gpu", "A100", 2),)
    )


@pytest.mark.parametrize(
    ("profile_model", "model"), [("V100", "V100"), (None, "unknown"), ("", "unknown")]
)
def test_a_model_that_the_pod_does_not_name(profile_model, model):
    spec = {"containers": [container(gpu="1")]}
    shape = pod_shape(spec, model_labels=LABELS, profile_model=profile_model)
    assert [g.model for g in shape.gpus] == [model]


def test_a_fraction_of_a_gpu_is_refused_as_kubernetes_does():
    with pytest.raises(BadInput, match="whole number"):
        pod_shape({"containers": [container(gpu="500m")]}, model_labels=LABELS)


def test_a_shape_survives_json_and_sorts_its_gpus():
    a, b = Gpus("nvidia.com/gpu", "T4", 1), Gpus("amd.com/gpu", "MI300", 2, 500)
    shape = Shape(1000, GI, (a, b, Gpus("x/gpu", "none", 0)))
    assert shape.gpus == (b, a)
    assert Shape.from_json(shape.to_json()) == shape
    assert (shape.gpu_count, shape.gpu_milli) == (3, 2000)
    assert shape.text() == "2 × MI300, 1 × T4, 1 core, 1 GiB"


@pytest.mark.parametrize(
    "values", [(-1, 0), (0, -1), (10**9, 0), (0, 2**60), (0, 0, (Gpus("r", "m", 10**5),))]
)
def test_absurd_shapes(values):
    with pytest.raises(BadInput):
        Shape(*values)
