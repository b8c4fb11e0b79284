"""Closing months by itself, some days after their end, as soon as nothing is missing.

What is missing is told as a warning, and looked at again; nothing is closed by force here.
"""

import logging

from ..actions import months
from ..domain.audit import SYSTEM
from ..domain.errors import Conflict

log = logging.getLogger("jhub_usage.loops")

#: Booking what is due may take many transactions.
TIMEOUT_S = 120.0


async def run(service) -> dict:
    """One pass: the months that it closed, or what the next one waits for."""
    ctx, settings = service.ctx, service.settings
    closed: list[str] = []
    while settings.close_months:
        label = await ctx.look_soon(months.due, settings.month_close_days, policy=ctx.policy)
        if label is None:
            break
        await ctx.run(
            months.prepare, ctx.act, policy=ctx.policy, actor=SYSTEM, timeout_s=TIMEOUT_S
        )  # fmt: skip
        try:
            await ctx.act_soon(
                months.close, label, policy=ctx.policy, actor=SYSTEM, timeout_s=TIMEOUT_S
            )
        except Conflict as error:
            return {"closed": closed, "waiting": error.message}
        closed.append(label)
        log.info({"message": "a month is closed", "month": label})
    return {"closed": closed}


def warnings(notes: dict | None) -> list[dict]:
    """What the next month waits for, in words; ``notes`` is what the last pass gave back."""
    text = (notes or {}).get("waiting")
    return [{"code": "month", "text": text[:2000]}] if text else []
