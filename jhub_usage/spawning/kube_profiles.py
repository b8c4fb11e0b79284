"""KubeSpawner's profile list as shapes, without applying or calling anything.

What only a function can tell is not known here, and said so by None: prices are then left out and
early refusals wait for the pod.
"""

import copy
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

from ..domain.errors import BadInput
from ..domain.shapes import Shape, pod_shape

#: More combinations of a profile's options than this are not priced one by one.
MOST = 256
#: Spawner attributes that decide a pod's resources and its GPU model.
RESOURCES = (
    "cpu_limit",
    "cpu_guarantee",
    "mem_limit",
    "mem_guarantee",
    "extra_resource_limits",
    "extra_resource_guarantees",
    "node_selector",
    "node_affinity_required",
    "init_containers",
    "extra_containers",
    "extra_container_config",
    "extra_pod_config",
)
#: Overrides after which nothing here holds any more.
OPAQUE = ("modify_pod_hook", "profile_list")


def choose(profiles: Sequence[Mapping], options) -> tuple[str, list[Mapping]] | None:
    """(slug, overrides in their order) for a person's options; None where KubeSpawner would refuse
    them. ``profiles`` is initialised: slugs and defaults are filled in."""
    options = options if isinstance(options, Mapping) else {}
    if not profiles:
        return "", []
    slug = options.get("profile")
    if slug:
        profile = next((p for p in profiles if p["slug"] == slug), None)
    else:
        profile = next(p for p in profiles if p.get("default"))
    if profile is None:
        return None
    overrides = [profile.get("kubespawner_override") or {}]
    for name, option in (profile.get("profile_options") or {}).items():
        if options.get(f"{name}--unlisted-choice"):
            unlisted = (option.get("unlisted_choice") or {}).get("kubespawner_override") or {}
            overrides.append(dict.fromkeys(unlisted, _unknown))
            continue
        choices = option.get("choices") or {}
        choice = options.get(name) or default_choice(option)
        if choice not in choices:
            return None
        overrides.append(choices[choice].get("kubespawner_override") or {})
    return profile["slug"], overrides


def default_choice(option: Mapping) -> str | None:
    choices = option.get("choices") or {}
    return next((k for k, c in choices.items() if c.get("default")), next(iter(choices), None))


def combinations(profile: Mapping) -> Iterator[tuple[dict, list[Mapping]]]:
    """Each way to choose the options that change a profile's resources: (choices, overrides).

    The default way comes first. Options that change none are left out; where there are too many
    ways, only the default one is there.
    """
    base = profile.get("kubespawner_override") or {}
    priced = {
        name: option.get("choices") or {}
        for name, option in (profile.get("profile_options") or {}).items()
        if any(
            set(choice.get("kubespawner_override") or {}) & {*RESOURCES, *OPAQUE}
            for choice in (option.get("choices") or {}).values()
        )
    }
    options = profile.get("profile_options") or {}
    default = tuple(default_choice(options[name]) for name in priced)
    picks = [default]
    if math.prod(len(choices) for choices in priced.values()) <= MOST:
        picks += [p for p in itertools.product(*priced.values()) if p != default]
    for pick in picks:
        chosen = dict(zip(priced, pick, strict=True))
        yield (
            chosen,
            [base, *(priced[n][c].get("kubespawner_override") or {} for n, c in chosen.items())],
        )


def shape_of(spawner, overrides: Sequence[Mapping], settings, slug: str) -> Shape | None:
    """The shape of the pod that these overrides make, or None if only a function knows."""
    values = {name: getattr(spawner, name, None) for name in RESOURCES}
    for override in overrides:
        for name, value in override.items():
            if name in OPAQUE or (name in RESOURCES and callable(value)):
                return None
            if name not in values:
                continue
            if isinstance(value, Mapping) and isinstance(values[name], Mapping):
                values[name] = _merged(values[name], value)
            else:
                values[name] = value
    try:
        return pod_shape(
            _spec(values),
            model_labels=settings.gpu_model_labels,
            profile_model=settings.profile_models.get(slug),
            basis=settings.resource_basis,
            weights=settings.gpu_weights,
        )
    except (BadInput, TypeError, ValueError, AttributeError):
        return None


def _unknown():
    """Stands for a value that a person types."""


def _merged(into: Mapping, more: Mapping) -> dict:
    """KubeSpawner's own way: dicts merge, None removes."""
    result = copy.deepcopy(dict(into))
    for key, value in more.items():
        if isinstance(value, Mapping) and isinstance(result.get(key), Mapping):
            result[key] = _merged(result[key], value)
        elif value is None:
            result.pop(key, None)
        else:
            result[key] = value
    return result


def _spec(values: Mapping) -> dict:
    """Those parts of the pod's spec that resources and GPU model are read from."""
    limits = {"cpu": values["cpu_limit"], "memory": values["mem_limit"]}
    requests = {"cpu": values["cpu_guarantee"], "memory": values["mem_guarantee"]}
    limits |= values["extra_resource_limits"] or {}
    requests |= values["extra_resource_guarantees"] or {}
    notebook = {
        "resources": {
            "limits": {k: v for k, v in limits.items() if v is not None},
            "requests": {k: v for k, v in requests.items() if v is not None},
        }
    }
    notebook |= values["extra_container_config"] or {}
    spec = {
        "containers": [notebook, *_items(values["extra_containers"])],
        "initContainers": _items(values["init_containers"]),
        "nodeSelector": values["node_selector"] or {},
    }
    terms = _items(values["node_affinity_required"])
    if terms:
        spec["affinity"] = {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}
            }
        }
    for name, value in (values["extra_pod_config"] or {}).items():
        spec[_camel(name)] = value
    return spec


def _items(value) -> list:
    """KubeSpawner takes a list, or a dict whose values count."""
    return list(value.values()) if isinstance(value, Mapping) else list(value or ())


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.title() for part in rest)
