"""A real Hub with everything of ours on it, for the tests of this folder."""

from jhub_usage.actions import modes, rates, rules, views, wallets
from jhub_usage.config import Settings
from jhub_usage.context import Context
from jhub_usage.domain.audit import SYSTEM
from jhub_usage.domain.money import parse_amount
from jhub_usage.domain.rules import Rule

from ..support.processes import free_port, wait_until

PROFILES = [
    {"slug": "cpu", "display_name": "CPU", "cpu": 1, "memory": "1G", "default": True},
    {"slug": "gpu", "display_name": "One GPU", "gpus": [{"model": "A100", "count": 1}]},
    {"slug": "big", "display_name": "Four GPUs", "gpus": [{"model": "H100", "count": 4}]},
]


def hub_config(url: str, extra: str = "", *, before: str = "", **settings) -> str:
    settings = {
        "database_url": url,
        "service_port": free_port(),
        "profiles": PROFILES,
        "stop_interval_s": 1.0,
        "sync_interval_s": 1.0,
    } | settings
    lines = [f"c.JHubUsage.{name} = {value!r}" for name, value in settings.items()]
    return "\n".join([before, *lines, "import jhub_usage", "jhub_usage.configure(c)", extra])


class Accounts:
    """The accounting database beside the Hub that uses it."""

    def __init__(self, url: str) -> None:
        self.ctx = Context.from_settings(Settings(database_url=url))
        assert wait_until(self._ready, timeout_s=20, every_s=0.1)

    def _ready(self) -> bool:
        try:
            return self.ctx.look(lambda tx: views.hub(tx, "hub")) is not None
        except Exception:
            return False

    def act(self, action, *args, **more):
        return self.ctx.act(action, *args, actor=SYSTEM, **more)

    def wallet(self, name: str, credits: str, *, person: str) -> int:
        """A wallet that pays for one person's servers."""
        wallet_id = self.act(wallets.create, name)
        if parse_amount(credits):
            self.grant(wallet_id, credits)
        self.act(rules.add, Rule(0, "wallet", wallet_id=wallet_id, person=person))
        return wallet_id

    def grant(self, wallet_id: int, credits: str) -> None:
        amount = parse_amount(credits)
        self.act(wallets.grant, wallet_id, amount, policy=self.ctx.policy, note="test")

    def enforce(self) -> None:
        self.act(modes.set_mode, "enforce")

    def price(self, resource: str, price: str, **more) -> None:
        self.act(rates.add, resource, parse_amount(price), **more)

    def sessions(self, person: str) -> list:
        found = self.ctx.look(views.session_views, limit=500)
        return [v for v in found if v.person == person]

    def last(self, person: str):
        found = self.sessions(person)
        return found[0] if found else None

    def wait(self, person: str, condition, timeout_s: float = 15):
        """The person's newest session, once it is as wanted."""

        def there():
            found = self.last(person)
            return found if found is not None and condition(found) else None

        found = wait_until(there, timeout_s=timeout_s, every_s=0.1)
        assert found, (person, self.last(person))
        return found

    def close(self) -> None:
        self.ctx.close()
