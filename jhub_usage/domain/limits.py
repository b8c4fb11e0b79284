"""Limits: caps on resources at once, per period, and on the hours of one session (rule 21).

Amounts are whole numbers in the resource's smallest unit: thousandths of a GPU or core, bytes,
servers, seconds; per period thousandths of a GPU or core times seconds, and micro-credits. The
strictest limit wins and is the one that a refusal names. What is used of a limit per period is
reckoned in ``period_limits``.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from .errors import BadInput
from .periods import PERIODS, require_period
from .shapes import Shape

SUBJECTS = ("everyone", "group", "person", "wallet", "wallet_person", "profile")
AT_ONCE = ("gpus", "cpu", "memory", "servers")
PER_PERIOD = ("gpu_hours", "core_hours", "credits")
PER_SESSION = ("session_hours",)
RESOURCES = AT_ONCE + PER_PERIOD + PER_SESSION
#: What one unit that people write is in the stored unit.
SCALE = {"gpus": 1000, "cpu": 1000, "memory": 2**30, "servers": 1, "session_hours": 3600,
         "gpu_hours": 3_600_000, "core_hours": 3_600_000, "credits": 1_000_000}  # fmt: skip
UNIT = {"gpus": "GPUs", "cpu": "cores", "memory": "GiB", "servers": "servers",
        "session_hours": "hours per session", "gpu_hours": "GPU-hours",
        "core_hours": "core-hours", "credits": "credits"}  # fmt: skip
#: Written in hours, or in seconds with an ``s`` behind.
HOURS = ("session_hours", "gpu_hours", "core_hours")
#: For whom there are limits per period.
PERIOD_SUBJECTS = ("person", "group", "wallet", "wallet_person")
#: Why a server is warned and stopped when a limit per period is used up.
PERIOD_LIMIT = "period_limit"
#: Each person on their own.
EACH = "*"


@dataclass(frozen=True)
class Limit:
    """A cap. ``person`` is a name or ``*`` for each person; a group counts together or each.

    ``period`` is day, week or month for what is counted per period, else empty. ``by_manager``: a
    manager of the wallet set it, beside what administrators set; all of them bind.
    """

    subject: str
    resource: str
    amount: int
    person: str = ""
    group: str = ""
    wallet_id: int | None = None
    profile: str = ""
    each: bool = False
    id: int = 0
    period: str = ""
    by_manager: bool = False

    @property
    def per_period(self) -> bool:
        return self.resource in PER_PERIOD

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
    if limit.by_manager and limit.wallet_id is None:
        raise BadInput("A wallet's manager sets limits within the wallet.")
    if limit.resource in PER_SESSION and limit.subject not in ("profile", "person", "group"):
        raise BadInput("Hours per session are limited for a profile, a person or a group.")
    if limit.each and limit.subject != "group":
        raise BadInput("Only a limit for a group can count each member on their own.")
    if not limit.per_period:
        if limit.period:
            raise BadInput(f"A limit on {limit.resource} has no period.")
        return limit
    if limit.subject not in PERIOD_SUBJECTS:
        raise BadInput(
            f"What is used per period ({', '.join(PER_PERIOD)}) is limited for a person, a group, "
            "a wallet or a person within a wallet."
        )
    if not limit.period:
        raise BadInput(f"A limit on {limit.resource} needs a period: {', '.join(PERIODS)}.")
    require_period(limit.period)
    return limit


def value_text(resource: str, amount: int) -> str:
    """For people, without the unit: ``1.5``; rounded to three decimals."""
    units = (abs(amount) * 2000 + SCALE[resource]) // (2 * SCALE[resource])
    value = f"{units // 1000}.{units % 1000:03d}".rstrip("0").rstrip(".")
    return f"-{value}" if amount < 0 and units else value


def amount_text(resource: str, amount: int) -> str:
    """For people: ``4 GPUs``."""
    return f"{value_text(resource, amount)} {UNIT[resource]}"


def unit_text(limit: Limit) -> str:
    """For people: ``GPUs at once``, ``GPU-hours per month``, ``hours per session``."""
    if limit.per_period:
        return f"{UNIT[limit.resource]} per {limit.period}"
    return UNIT[limit.resource] + (" at once" if limit.resource in AT_ONCE else "")


def cap_text(limit: Limit) -> str:
    """For people: ``4 GPUs at once``, ``20 GPU-hours per month``."""
    return f"{value_text(limit.resource, limit.amount)} {unit_text(limit)}"


def whom_text(limit: Limit, wallet: str = "") -> str:
    """For people: whom it binds, the wallet by its name."""
    whom = limit.subject_text()
    if limit.wallet_id is None or not wallet:
        return whom
    return whom.replace("the wallet", f"the wallet {wallet}")


def asked(resource: str, shape: Shape) -> int:
    """What one more session of this shape adds to a limit."""
    if resource == "gpus":
        return shape.gpu_milli
    if resource == "cpu":
        return shape.cpu_milli
    if resource == "memory":
        return shape.memory_bytes
    return 1


def full_text(limit: Limit, wallet: str = "") -> str:
    """For people: ``20 GPU-hours per month for ada within the wallet lab``."""
    return f"{cap_text(limit)} for {whom_text(limit, wallet)}"


@dataclass(frozen=True)
class Breach:
    """A limit that a start would break. Amounts are in the limit's own unit."""

    limit: Limit
    used: int
    asked: int

    @property
    def room(self) -> Fraction:
        """What is left, relative to what is asked: the least is the strictest."""
        return Fraction(self.limit.amount - self.used, self.asked)


def strictest_breach(
    limits: Iterable[Limit],
    usage: Mapping[tuple, Mapping[str, int]],
    shape: Shape,
    person_id: int,
    per_period: Iterable[Breach] = (),
) -> Breach | None:
    """The broken limit with the least room, or None. ``usage`` is by ``Limit.scope``.

    Looks at limits at once; those per period that would be broken are given.
    """
    found = list(per_period)
    for limit in limits:
        if limit.resource not in AT_ONCE:
            continue
        used = usage.get(limit.scope(person_id), {}).get(limit.resource, 0)
        more = asked(limit.resource, shape)
        if more and used + more > limit.amount:
            found.append(Breach(limit, used, more))
    return min(found, key=lambda b: (b.room, b.limit.id), default=None)


def session_limit_s(limits: Iterable[Limit]) -> int | None:
    """The shortest allowed session in seconds among limits that apply, or None."""
    return min((x.amount for x in limits if x.resource in PER_SESSION), default=None)
