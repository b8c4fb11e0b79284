"""From a spawner or a pod to the values that admission asks for.

Reads attributes only: calls nothing of the admin's, changes nothing.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

from ..domain.admission import PersonKey
from ..domain.shapes import Gpus, Shape, parse_quantity, pod_shape


def plain(value):
    """A Kubernetes client's model as plain values in the API's camelCase, as it would be sent."""
    names = getattr(value, "attribute_map", None)
    if names is not None:
        held = ((json, getattr(value, name)) for name, json in names.items())
        return {json: plain(v) for json, v in held if v is not None}
    if isinstance(value, Mapping):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return value


def shape_of_pod(pod, settings, profile: str) -> Shape:
    """The shape of a pod that is about to be created. BadInput for one that can not be counted."""
    return pod_shape(
        plain(pod).get("spec") or {},
        model_labels=settings.gpu_model_labels,
        profile_model=settings.profile_models.get(profile),
        basis=settings.resource_basis,
        weights=settings.gpu_weights,
    )


def shape_of_limits(spawner, settings, gpus: tuple[Gpus, ...] = ()) -> Shape:
    """The shape of a spawner that has limits and guarantees but no pod."""
    order = ("guarantee", "limit")
    if settings.resource_basis == "limit":
        order = ("limit", "guarantee")

    def first(resource):
        for kind in order:
            value = getattr(spawner, f"{resource}_{kind}", None)
            if value:
                return parse_quantity(value)
        return 0

    return Shape(int(first("cpu") * 1000), int(first("mem")), gpus)


def person_of(spawner) -> PersonKey:
    """Who the Hub says the server belongs to."""
    user = spawner.user
    orm_user = getattr(user, "orm_user", None)
    return PersonKey(
        user.name, getattr(orm_user, "id", None), aware(getattr(orm_user, "created", None))
    )


def groups_of(spawner) -> tuple[str, ...]:
    return tuple(sorted(group.name for group in getattr(spawner.user, "groups", None) or ()))


def aware(at: datetime | None) -> datetime | None:
    """The Hub keeps naive UTC."""
    if at is None or at.tzinfo is not None:
        return at
    return at.replace(tzinfo=UTC)
