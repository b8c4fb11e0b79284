"""What a session asks for: CPU, memory and GPUs, frozen once its pod exists.

Reads Kubernetes quantities and computes a pod's effective request the way the scheduler does.
Does not see the cluster: what a node really has is evidence that arrives later.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation, Overflow

from .errors import BadInput

#: A model that nobody could name. It has a rate of its own or is refused, by setting.
UNKNOWN_MODEL = "unknown"

_SUFFIX = {
    "": Decimal(1), "m": Decimal("0.001"), "u": Decimal("0.000001"), "n": Decimal("0.000000001"),
    "k": Decimal(10**3), "M": Decimal(10**6), "G": Decimal(10**9), "T": Decimal(10**12),
    "P": Decimal(10**15), "E": Decimal(10**18),
    "K": Decimal(2**10),  # JupyterHub's own "512K" counts in 1024s, Kubernetes has no such suffix
    "Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30), "Ti": Decimal(2**40),
    "Pi": Decimal(2**50), "Ei": Decimal(2**60),
}  # fmt: skip
_QUANTITY = re.compile(
    r"^([+-]?(?:\d+\.?\d*|\.\d+))([eE][+-]?\d+)?(m|u|n|k|K|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$"
)
_MIG = re.compile(r"^nvidia\.com/mig-(\d+)g\.")
#: Most of a resource that one session may ask for; beyond it a request is a mistake.
MAX_COUNT = 10_000


@dataclass(frozen=True, order=True)
class Gpus:
    """GPUs of one resource and model; ``weight_milli`` is 1000 for a whole one, less for a part."""

    resource: str
    model: str
    count: int
    weight_milli: int = 1000

    @property
    def gpu_milli(self) -> int:
        return self.count * self.weight_milli


@dataclass(frozen=True)
class Shape:
    """Requested resources: thousandths of a core, bytes, GPUs sorted by resource and model."""

    cpu_milli: int = 0
    memory_bytes: int = 0
    gpus: tuple[Gpus, ...] = ()

    def __post_init__(self):
        object.__setattr__(self, "gpus", tuple(sorted(g for g in self.gpus if g.count)))
        if self.cpu_milli < 0 or self.memory_bytes < 0 or any(g.count < 0 for g in self.gpus):
            raise BadInput("A server can not ask for less than nothing.")
        if self.cpu_milli > MAX_COUNT * 1000 or self.memory_bytes > 2**50:
            raise BadInput("This asks for more CPU or memory than any machine has.")
        if any(g.count > MAX_COUNT for g in self.gpus):
            raise BadInput("This asks for more GPUs than any cluster has.")

    @property
    def gpu_count(self) -> int:
        """How many devices, whatever their weight."""
        return sum(g.count for g in self.gpus)

    @property
    def gpu_milli(self) -> int:
        """Weighted GPUs in thousandths."""
        return sum(g.gpu_milli for g in self.gpus)

    def text(self) -> str:
        """For people: ``4 x A100, 16 cores, 64 GiB``."""
        parts = [f"{g.count} × {g.model if g.model != UNKNOWN_MODEL else 'GPU'}" for g in self.gpus]
        if self.cpu_milli:
            cores = f"{self.cpu_milli / 1000:.3f}".rstrip("0").rstrip(".")
            parts.append(f"{cores} core" + ("" if self.cpu_milli == 1000 else "s"))
        if self.memory_bytes:
            gib = f"{self.memory_bytes / 2**30:.2f}".rstrip("0").rstrip(".")
            parts.append(f"{gib} GiB")
        return ", ".join(parts) or "no resources named"

    def to_json(self) -> dict:
        return {
            "cpu_milli": self.cpu_milli,
            "memory_bytes": self.memory_bytes,
            "gpus": [
                {
                    "resource": g.resource,
                    "model": g.model,
                    "count": g.count,
                    "weight_milli": g.weight_milli,
                }
                for g in self.gpus
            ],
        }

    @classmethod
    def from_json(cls, data: Mapping) -> "Shape":
        return cls(
            cpu_milli=int(data.get("cpu_milli") or 0),
            memory_bytes=int(data.get("memory_bytes") or 0),
            gpus=tuple(
                Gpus(
                    str(g.get("resource") or "nvidia.com/gpu"),
                    str(g.get("model") or UNKNOWN_MODEL),
                    int(g["count"]),
                    int(g.get("weight_milli", 1000)),
                )
                for g in data.get("gpus") or ()
            ),
        )


def parse_quantity(value) -> Decimal:
    """A Kubernetes or JupyterHub quantity (``"500m"``, ``"16Gi"``, ``2``, ``"2"``) as a Decimal."""
    if isinstance(value, bool):
        raise BadInput(f"{value!r} is not a quantity.")
    if isinstance(value, float):
        value = repr(value)
    found = _QUANTITY.match(str(value).strip())
    if not found:
        raise BadInput(f"{str(value)[:40]!r} is not a quantity like 500m, 2 or 16Gi.")
    number, exponent, suffix = found.groups()
    try:
        return Decimal(number + (exponent or "")) * _SUFFIX[suffix or ""]
    except (InvalidOperation, Overflow):
        raise BadInput(f"{str(value)[:40]!r} is not a quantity like 500m, 2 or 16Gi.") from None


def _up(value: Decimal) -> int:
    return int(value.to_integral_value(rounding="ROUND_CEILING"))


def is_gpu_resource(resource: str, weights: Mapping[str, int] | None = None) -> bool:
    """Whether a Kubernetes resource name stands for GPUs or parts of one."""
    if weights and resource in weights:
        return True
    domain, _, name = resource.partition("/")
    return bool(name) and (name.startswith(("gpu", "mig-")) or domain.startswith("gpu."))


def weight_of(resource: str, weights: Mapping[str, int] | None = None) -> int:
    """Thousandths of a GPU: by setting, else sevenths for MIG, else a whole one."""
    if weights and resource in weights:
        return int(weights[resource])
    mig = _MIG.match(resource)
    return int(mig.group(1)) * 1000 // 7 if mig else 1000


def effective_requests(pod_spec: Mapping, *, basis: str = "request") -> dict[str, Decimal]:
    """What a pod takes, per resource, as the scheduler counts it.

    ``pod_spec`` is a pod's ``spec`` in Kubernetes' camelCase. ``basis`` is ``request`` (limits
    fill in where a request is missing, as the API server does) or ``limit`` (the other way).
    Source: Kubernetes "Resource sharing within containers", sidecars as of 1.29.
    """
    running: dict[str, Decimal] = {}
    for container in pod_spec.get("containers") or ():
        _add(running, _requests(container, basis))
    peak: dict[str, Decimal] = {}
    sidecars: dict[str, Decimal] = {}
    for container in pod_spec.get("initContainers") or ():
        wants = _requests(container, basis)
        if container.get("restartPolicy") == "Always":
            _add(sidecars, wants)
            _most(peak, sidecars)
        else:
            step = dict(sidecars)
            _add(step, wants)
            _most(peak, step)
    _add(running, sidecars)
    _most(running, peak)
    _add(running, {k: parse_quantity(v) for k, v in (pod_spec.get("overhead") or {}).items()})
    return running


def _requests(container: Mapping, basis: str) -> dict[str, Decimal]:
    resources = container.get("resources") or {}
    requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
    first, second = (limits, requests) if basis == "limit" else (requests, limits)
    return {k: parse_quantity(v) for k, v in {**second, **first}.items() if v is not None}


def _add(total: dict[str, Decimal], more: Mapping[str, Decimal]) -> None:
    for key, value in more.items():
        total[key] = total.get(key, Decimal(0)) + value


def _most(total: dict[str, Decimal], other: Mapping[str, Decimal]) -> None:
    for key, value in other.items():
        total[key] = max(total.get(key, Decimal(0)), value)


def model_from_spec(pod_spec: Mapping, labels: Sequence[str]) -> str | None:
    """The GPU model that a pod's node selector or required affinity names, else None.

    An affinity that leaves several models open names none of them.
    """
    selector = pod_spec.get("nodeSelector") or {}
    for label in labels:
        if selector.get(label):
            return str(selector[label])
    affinity = ((pod_spec.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    ) or {}
    named = set()
    terms = affinity.get("nodeSelectorTerms") or ()
    for term in terms:
        values = set()
        for match in term.get("matchExpressions") or ():
            if match.get("key") in labels and match.get("operator") == "In":
                values.update(match.get("values") or ())
        if not values:
            return None
        named |= values
    return str(named.pop()) if len(named) == 1 else None


def pod_shape(
    pod_spec: Mapping,
    *,
    model_labels: Sequence[str],
    profile_model: str | None = None,
    basis: str = "request",
    weights: Mapping[str, int] | None = None,
) -> Shape:
    """The shape of a pod from its final spec (camelCase), by rule 9.

    Raises BadInput for a fractional or unreadable GPU count, as the API server would.
    """
    wants = effective_requests(pod_spec, basis=basis)
    model = model_from_spec(pod_spec, model_labels) or profile_model or UNKNOWN_MODEL
    gpus = []
    for resource, amount in wants.items():
        if not is_gpu_resource(resource, weights) or not amount:
            continue
        if amount != amount.to_integral_value():
            raise BadInput(f"{resource} must be a whole number, not {amount}.")
        gpus.append(Gpus(resource, model, int(amount), weight_of(resource, weights)))
    return Shape(
        cpu_milli=_up(wants.get("cpu", Decimal(0)) * 1000),
        memory_bytes=_up(wants.get("memory", Decimal(0))),
        gpus=tuple(gpus),
    )
