"""The `jhub_usage` variable of the Hub's templates: a person's balance on its home and spawn pages.

The Hub calls `for_page` on every page it renders, the login page included, so that does nothing;
the database is asked only where a template awaits `balance()`, with a short cache and a time limit.
"""

import logging

from ..domain.admission import PersonKey
from .form import wallet_line
from .registry import hub_application, settings_and_gateway
from .shapes import aware

log = logging.getLogger("jhub_usage.hooks")


def for_page(user) -> "Page":
    """What templates get as `jhub_usage`."""
    return Page(user)


class Page:
    """Read from templates only."""

    def __init__(self, user) -> None:
        self._user = user

    async def balance(self, user=None) -> dict | None:
        """The wallets of a person with what is left; None where there is nothing to show.

        Never raises and never takes longer than `page_timeout_s`: a page is not lost for it.
        """
        user = user or self._user
        orm_user = getattr(user, "orm_user", None)
        if orm_user is None:
            return None
        try:
            settings, gateway = settings_and_gateway()
            person = PersonKey(user.name, orm_user.id, aware(orm_user.created))
            offer = await gateway.offer(person, sorted(g.name for g in user.groups))
            page = {"demo": settings.demo, "href": service_href(), "away": offer is None}
            if offer is not None:
                page |= {
                    "mode": offer.mode,
                    "wallets": [wallet_line(w, settings) for w in offer.wallets],
                    "running": len(offer.running),
                }
            return page
        except Exception:
            log.exception("The balance of %s can not be shown", getattr(user, "name", "?"))
            return None


def service_href() -> str:
    app = hub_application()
    base = getattr(app, "base_url", "/") or "/"
    return f"{base.rstrip('/')}/services/usage/"
