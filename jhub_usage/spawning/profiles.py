"""Profiles for spawners that have no profile list of their own (`c.JHubUsage.profiles`).

KubeSpawner's own profile list is read in `kube_profiles.py`. What a profile costs is not known
here: only its shape.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..domain.errors import BadInput
from ..domain.shapes import UNKNOWN_MODEL, Gpus, Shape, parse_quantity, weight_of

KEYS = {"slug", "display_name", "description", "cpu", "memory", "gpus", "default"}
GPU_KEYS = {"model", "count", "resource"}


@dataclass(frozen=True)
class Profile:
    """One choice on the spawn form. ``shape`` is what it declares."""

    slug: str
    display_name: str
    description: str
    shape: Shape
    default: bool = False


def read_profiles(items: Iterable[Mapping], weights: Mapping[str, int]) -> tuple[Profile, ...]:
    """The profiles as values, exactly one of them the default; BadInput says what is wrong."""
    profiles = [_read(item, weights) for item in items]
    slugs = [p.slug for p in profiles]
    for slug in slugs:
        if slugs.count(slug) > 1:
            raise BadInput(f"c.JHubUsage.profiles has two profiles {slug!r}.")
    chosen = [p for p in profiles if p.default]
    if len(chosen) > 1:
        raise BadInput("c.JHubUsage.profiles has more than one default.")
    if profiles and not chosen:
        first = profiles[0]
        profiles[0] = Profile(first.slug, first.display_name, first.description, first.shape, True)
    return tuple(profiles)


def _read(item: Mapping, weights: Mapping[str, int]) -> Profile:
    slug = item.get("slug")
    if not isinstance(slug, str) or not slug.strip():
        raise BadInput("A profile in c.JHubUsage.profiles needs a slug, which is a text.")
    where = f"c.JHubUsage.profiles, profile {slug[:40]!r}"
    if unknown := set(item) - KEYS:
        raise BadInput(f"{where}: there is no {sorted(map(str, unknown))[0]!r}.")
    for key in ("display_name", "description"):
        if not isinstance(item.get(key, ""), str):
            raise BadInput(f"{where}: {key} must be a text.")
    if not isinstance(item.get("default", False), bool):
        raise BadInput(f"{where}: default must be True or False.")
    try:
        shape = Shape(
            cpu_milli=int(parse_quantity(item.get("cpu") or 0) * 1000),
            memory_bytes=int(parse_quantity(_kilo(item.get("memory") or 0))),
            gpus=tuple(_gpus(gpu, weights) for gpu in item.get("gpus") or ()),
        )
    except BadInput as error:
        raise BadInput(f"{where}: {error.message}") from None
    return Profile(
        slug,
        item.get("display_name") or slug,
        item.get("description", ""),
        shape,
        item.get("default", False),
    )


def _kilo(memory):
    """The Hub reads `16G` as 16 times 1024 to the third: so does a profile."""
    if isinstance(memory, str) and memory[-1:] in "KMGT":
        return memory + "i"
    return memory


def _gpus(item: Mapping, weights: Mapping[str, int]) -> Gpus:
    if not isinstance(item, Mapping):
        raise BadInput("gpus must be a list of dicts like {'model': 'A100', 'count': 1}.")
    if unknown := set(item) - GPU_KEYS:
        raise BadInput(f"GPUs have no {sorted(map(str, unknown))[0]!r}.")
    count = item.get("count", 1)
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise BadInput("the count of GPUs must be a whole number from 1 on.")
    resource = item.get("resource", "nvidia.com/gpu")
    model = item.get("model", UNKNOWN_MODEL)
    if not isinstance(model, str) or not isinstance(resource, str) or not model or not resource:
        raise BadInput("a GPU's model and resource must be texts.")
    return Gpus(resource, model, count, weight_of(resource, weights))
