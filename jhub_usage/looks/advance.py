"""Allowances and month ends are booked on time, a batch of wallets in each transaction.

Whoever locks a wallet books what is due for it first, so nothing hangs on this pass; it is for
wallets that nobody touches. One that is too far behind is left alone and told: the clock may be
wrong. So is one that is ahead: the clock was wrong.
"""

import logging

from ..actions import advancing, catching_up
from ..domain.audit import SYSTEM

log = logging.getLogger("jhub_usage.loops")

#: A batch may wait for wallets that others hold.
TIMEOUT_S = 60.0
#: So many wallets are named in the warning.
NAMED = 5


async def run(service) -> dict:
    """One pass: batches until nothing is due; what was booked, in numbers, and who is behind."""
    ctx, after_id, wallets, entries, behind = service.ctx, 0, 0, 0, []
    while True:
        after_id, count, booked, late = await ctx.act_soon(
            advancing.advance_due, after_id, policy=ctx.policy, actor=SYSTEM, timeout_s=TIMEOUT_S
        )
        wallets, entries, behind = wallets + count, entries + booked, [*behind, *late]
        if not after_id:
            break
    if entries:
        log.info({"message": "booked what was due", "wallets": wallets, "entries": entries})
    found = {"wallets": wallets, "entries": entries}
    if behind:
        found |= {"behind": len(behind), "named": behind[:NAMED]}
        log.error({"message": "too far behind the clock", **found})
    ahead = await ctx.look_soon(catching_up.ahead_of_clock, timeout_s=TIMEOUT_S)
    if ahead:
        found |= {"ahead": len(ahead), "ahead_named": ahead[:NAMED]}
    return found


def warnings(notes: dict | None) -> list[dict]:
    """What the last pass left alone, in words; ``notes`` is what it gave back."""
    found, notes = [], notes or {}
    if notes.get("behind"):
        text = (
            f"The books of the {_whose(notes['behind'], notes['named'])} are more than 62 days "
            "behind the clock, so nothing is booked and nothing starts there. If the clock is "
            "right, run `jhub-usage advance`; `jhub-usage advance --dry-run` shows what it would "
            "book."
        )
        found.append({"code": "catch_up", "text": text[:2000]})
    if notes.get("ahead"):
        text = (
            f"A clock that was wrong has put the books of the "
            f"{_whose(notes['ahead'], notes['ahead_named'])} more than a day ahead, and all stands "
            "still there until then. If the clock is right now, run `jhub-usage advance`."
        )
        found.append({"code": "clock_ahead", "text": text[:2000]})
    return found


def _whose(count: int, names: list[str]) -> str:
    named = ", ".join(names) + (f" and {count - NAMED} more" if count > NAMED else "")
    return f"wallet {named}" if count == 1 else f"{count} wallets {named}"
