"""Limits: caps on resources at once, and on the hours of one session (rule 21).

Amounts are whole numbers in the resource's smallest unit: thousandths of a GPU or core, bytes,
servers, seconds. The strictest limit wins and is the one that a refusal names.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from .errors import BadInput
from .shapes import Shape

SUBJECTS = ("everyone", "group", "person", "wallet", "wallet_person", "profile")
AT_ONCE = ("gpus", "cpu", "memory", "servers")
PER_SESSION = ("session_hours",)
RESOURCES = AT_ONCE + PER_SESSION
#: What one unit that people write is in the stored unit.
SCALE = {"gpus": 1000, "cpu": 1000, "memory": 2**30, "servers": 1, "session_hours": 3600}
UNIT = {"gpus": "GPUs", "cpu": "cores", "memory": "GiB", "servers": "servers",
        "session_hours": "hours per session"}  # fmt: skip
#: Each person on their own.
EACH = "*"


@dataclass(frozen=True)
class Limit:
    """A cap. ``person`` is a name or ``*`` for each person; a group counts together or each."""

    subject: str
    resource: str
    amount: int
    person: str = ""
    group: str = ""
    wallet_id: int | None = None
    profile: str = ""
    each: bool = False
    id: int = 0

    def applies(
        self, person: str, groups: Collection[str], wallet_id: int | None, profile: str
    ) -> bool:
        """Whether a session of this person, groups, wallet and profile falls under it."""
        if self.subject == "everyone":
            return True
        if self.subject == "group":
            return self.group in groups
        if self.subject == "person":
            return self.person in (EACH, person)
        if self.subject == "wallet":
            return self.wallet_id == wallet_id
        if self.subject == "wallet_person":
            return self.wallet_id == wallet_id and self.person in (EACH, person)
        return self.profile == profile

    def scope(self, person_id: int) -> tuple:
        """What is summed up against it: a key for ``Usage``; open sessions that match it."""
        if self.subject == "everyone":
            return ("everyone",)
        if self.subject == "group":
            return ("group", self.group, person_id if self.each else None)
        if self.subject == "person":
            return ("person", person_id)
        if self.subject == "wallet":
            return ("wallet", self.wallet_id)
        if self.subject == "wallet_person":
            return ("wallet_person", self.wallet_id, person_id)
        return ("profile", self.profile)

    def subject_text(self) -> str:
        """For people: whom it binds."""
        if self.subject == "everyone":
            return "everyone together"
        if self.subject == "group":
            return f"each member of {self.group}" if self.each else f"group {self.group} together"
        if self.subject == "person":
            return "each person" if self.person == EACH else self.person
        if self.subject == "wallet":
            return "the wallet"
        if self.subject == "wallet_person":
            return (
                "each person within the wallet"
                if self.person == EACH
                else f"{self.person} within the wallet"
            )
        return f"profile {self.profile}"


def require_limit(limit: Limit) -> Limit:
    """The limit, or BadInput that says what is wrong with it."""
    if limit.subject not in SUBJECTS:
        raise BadInput(f"A limit is for one of {', '.join(SUBJECTS)}, not {limit.subject[:40]!r}.")
    if limit.resource not in RESOURCES:
        raise BadInput(f"A limit is on one of {', '.join(RESOURCES)}, not {limit.resource[:40]!r}.")
    if isinstance(limit.amount, bool) or not isinstance(limit.amount, int) or limit.amount < 0:
        raise BadInput("A limit's amount must not be negative.")
    if limit.amount > 2**53:
        raise BadInput("A limit's amount is too large.")
    needs = {
        "everyone": (), "group": ("group",), "person": ("person",), "wallet": ("wallet_id",),
        "wallet_person": ("wallet_id", "person"), "profile": ("profile",),
    }[limit.subject]  # fmt: skip
    for field in ("group", "person", "wallet_id", "profile"):
        given = bool(getattr(limit, field))
        if given != (field in needs):
            name = field.removesuffix("_id")
            raise BadInput(
                f"A limit for {limit.subject} {'needs' if not given else 'has no'} {name}."
            )
    if limit.resource in PER_SESSION and limit.subject not in ("profile", "person", "group"):
        raise BadInput("Hours per session are limited for a profile, a person or a group.")
    if limit.each and limit.subject != "group":
        raise BadInput("Only a limit for a group can count each member on their own.")
    return limit


def amount_text(resource: str, amount: int) -> str:
    """For people: ``4 GPUs``."""
    value = f"{amount / SCALE[resource]:.3f}".rstrip("0").rstrip(".")
    return f"{value} {UNIT[resource]}"


def asked(resource: str, shape: Shape) -> int:
    """What one more session of this shape adds to a limit."""
    if resource == "gpus":
        return shape.gpu_milli
    if resource == "cpu":
        return shape.cpu_milli
    if resource == "memory":
        return shape.memory_bytes
    return 1


@dataclass(frozen=True)
class Breach:
    """A limit that a start would break."""

    limit: Limit
    used: int
    asked: int


def strictest_breach(
    limits: Iterable[Limit],
    usage: Mapping[tuple, Mapping[str, int]],
    shape: Shape,
    person_id: int,
) -> Breach | None:
    """The broken limit with the least room, or None. ``usage`` is by ``Limit.scope``."""
    worst: tuple[Fraction, int, Breach] | None = None
    for limit in limits:
        if limit.resource in PER_SESSION:
            continue
        used = usage.get(limit.scope(person_id), {}).get(limit.resource, 0)
        more = asked(limit.resource, shape)
        if not more or used + more <= limit.amount:
            continue
        room = Fraction(limit.amount - used, more)
        if worst is None or (room, limit.id) < worst[:2]:
            worst = (room, limit.id, Breach(limit, used, more))
    return worst[2] if worst else None


def session_limit_s(limits: Iterable[Limit]) -> int | None:
    """The shortest allowed session in seconds among limits that apply, or None."""
    return min((x.amount for x in limits if x.resource in PER_SESSION), default=None)
