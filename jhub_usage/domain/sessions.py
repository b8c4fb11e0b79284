"""A session's meter: cost, hold and claim as functions of time (rules 5 to 8 and 11 to 13).

While a session runs nothing is written; everything is computed from its row and an instant.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from .instants import HOUR_US, after, elapsed_us
from .rates import cost

ADMITTED, RUNNING, ENDED, VOID = "admitted", "running", "ended", "void"
OPEN = (ADMITTED, RUNNING)
STATES = (ADMITTED, RUNNING, ENDED, VOID)
#: What a wallet pays beyond the pod's own grace after a stop that the Hub accepted (rule 8).
STOP_MARGIN_S = 60


@dataclass(frozen=True)
class Meter:
    """The numbers of one session that money needs. Amounts in micro-credits, instants in UTC."""

    session_id: str
    per_hour_micro: int
    fee_micro: int
    hold_micro: int
    #: What was already charged for it, corrections included, goodwill refunds not (S).
    charged_micro: int
    admitted_at: datetime
    start_deadline_at: datetime
    #: The first billed instant; None while no start is known.
    billed_from_at: datetime | None = None
    #: The last billed instant, exclusive; None while it runs.
    billed_until_at: datetime | None = None
    #: Something showed that it exists although no start is known.
    sighted: bool = False
    #: Exempt and unrecorded sessions cost nothing.
    billed: bool = True
    #: The session may not run beyond this instant (limit on hours per session).
    limit_at: datetime | None = None
    #: After a stop that the Hub accepted: from here on the platform bears a stuck pod (rule 8).
    pays_until_at: datetime | None = None
    #: Everything before this instant is charged.
    settled_until: datetime | None = None

    def expired(self, at: datetime) -> bool:
        """Admitted, neither started nor sighted by its deadline: it claims nothing (rule 12)."""
        return self.billed_from_at is None and not self.sighted and at >= self.start_deadline_at

    def cost(self, at: datetime) -> int:
        """C(t): what the session has cost up to ``at``."""
        if not self.billed or self.billed_from_at is None or at < self.billed_from_at:
            return 0
        last = self.billed_until_at or self.pays_until_at
        end = at if last is None else min(at, last)
        return cost(self.per_hour_micro, self.fee_micro, elapsed_us(self.billed_from_at, end))

    def hold(self, at: datetime) -> int:
        """H: what is set aside, gone with the end, or with a deadline that nothing met."""
        if not self.billed or self.billed_until_at is not None or self.expired(at):
            return 0
        return self.hold_micro

    def claim(self, at: datetime) -> int:
        """What an open session takes of its wallet: ``max(C, H) - S``."""
        return max(self.cost(at), self.hold(at)) - self.charged_micro

    def admission_claim(self, at: datetime) -> int:
        """The claim while a start is not known yet: accrual counts from admission (rule 13)."""
        if self.billed_from_at is not None or self.expired(at):
            return self.claim(at)
        if not self.billed or self.billed_until_at is not None:
            return -self.charged_micro
        accrued = 0
        if at >= self.admitted_at:
            accrued = cost(self.per_hour_micro, self.fee_micro, elapsed_us(self.admitted_at, at))
        return max(accrued, self.hold_micro) - self.charged_micro

    def beyond_hold(self, at: datetime) -> bool:
        """Whether it has used up its hold: only such a session may be stopped (rule 14)."""
        return self.billed_from_at is not None and self.cost(at) > self.hold(at)

    def settled(self) -> int:
        """C at the last settlement: what its charges sum to, without corrections."""
        return 0 if self.settled_until is None else self.cost(self.settled_until)

    def unsettled(self, at: datetime) -> int:
        """What it has cost up to ``at`` that is not charged yet."""
        return max(0, self.cost(at) - self.settled())

    def accrues(self, at: datetime) -> bool:
        """Whether its cost grows at that instant."""
        return (
            self.billed
            and self.billed_from_at is not None
            and self.billed_until_at is None
            and (self.pays_until_at is None or at < self.pays_until_at)
        )

    def hold_ends_at(self) -> datetime | None:
        """The first instant at which C > H; None if that never comes or no start is known."""
        if self.billed_from_at is None or not self.billed:
            return None
        room = self.hold_micro - self.fee_micro
        if room < 0:
            return self.billed_from_at
        if self.per_hour_micro <= 0:
            return None
        # the least e with floor(q e / h) >= room + 1
        least = -(-(room + 1) * HOUR_US // self.per_hour_micro)
        ends = after(self.billed_from_at, least)
        return ends if self.pays_until_at is None or ends <= self.pays_until_at else None


def hold_for(per_hour_micro: int, fee_micro: int, span_s: int) -> int:
    """H: the cost of a span, in micro-credits."""
    return cost(per_hour_micro, fee_micro, span_s * 1_000_000)


def pays_until(
    stop_accepted_at: datetime | None, grace_s: int, settled_until: datetime | None = None
) -> datetime | None:
    """Until when the wallet pays at most, once the Hub accepted a stop (rule 8).

    What was settled before the stop was known stays settled.
    """
    if stop_accepted_at is None:
        return None
    last = stop_accepted_at + timedelta(seconds=grace_s + STOP_MARGIN_S)
    return last if settled_until is None else max(last, settled_until)


def billed_from(
    setting: str,
    scheduled_at: datetime | None,
    started_at: datetime | None,
    ready_at: datetime | None,
) -> datetime | None:
    """The first billed instant by the setting that was frozen on the session (rule 6)."""
    if setting == "ready":
        return ready_at
    if setting == "scheduled" and scheduled_at and started_at:
        return min(scheduled_at, started_at)
    return started_at


def billed_end(
    ended_at: datetime, stop_accepted_at: datetime | None, grace_s: int
) -> tuple[datetime, int]:
    """The last instant that the wallet pays, and the microseconds that the platform bears (rule 8).

    ``grace_s`` is the pod's own termination grace in seconds.
    """
    last = pays_until(stop_accepted_at, grace_s)
    if last is None or ended_at <= last:
        return ended_at, 0
    return last, elapsed_us(last, ended_at)
