"""Accounts for the hooks' tests: a database set up without the service, and what it then holds."""

from sqlalchemy import select

from jhub_usage.actions import hubs, limits, modes, rules, wallets
from jhub_usage.config import Settings
from jhub_usage.context import Context
from jhub_usage.domain.audit import SYSTEM
from jhub_usage.domain.limits import Limit
from jhub_usage.domain.money import parse_amount
from jhub_usage.domain.rules import Rule
from jhub_usage.store import tables as t

from ..support.processes import wait_until

CPU, GPU, BIG = "cpu", "gpu", "big"
PROFILES = [
    {"slug": CPU, "display_name": "CPU", "cpu": 1, "memory": "2G", "default": True},
    {"slug": GPU, "display_name": "One GPU", "gpus": [{"model": "A100", "count": 1}]},
    {"slug": BIG, "display_name": "<b>Big</b>", "gpus": [{"model": "H100", "count": 4}]},
]


class Books:
    """A database in mode enforce; personal wallets start with ``grant`` credits."""

    def __init__(self, url: str, *, mode: str = "enforce", grant: str = "100") -> None:
        self.url = url
        self.ctx = Context.from_settings(Settings(database_url=url))
        self.ctx.db.upgrade()
        self.ctx.act(hubs.install, "hub", actor=SYSTEM)
        self.act(modes.set_mode, mode)
        self.pay_from_own_wallets(grant)

    def act(self, action, *args, **more):
        return self.ctx.act(action, *args, actor=SYSTEM, **more)

    def pay_from_own_wallets(self, grant: str = "100") -> None:
        rule = Rule(0, "personal", starting_grant_micro=parse_amount(grant))
        self.act(rules.replace, [rule])

    def wallet(self, name: str, credits: str, *, group: str = "") -> int:
        made = self.act(wallets.create, name)
        wallet_id = getattr(made, "id", made)
        if parse_amount(credits):
            self.act(wallets.grant, wallet_id, parse_amount(credits), policy=self.ctx.policy)
        if group:
            self.act(wallets.set_group, wallet_id, group)
        return wallet_id

    def pay_group_from(self, group: str, wallet_id: int) -> None:
        self.act(rules.add, Rule(0, "wallet", wallet_id=wallet_id, group=group))

    def limit(self, **fields) -> None:
        self.act(limits.add, Limit(**fields))

    # -- what is there --------------------------------------------------------------------------

    def _rows(self, statement) -> list:
        return self.ctx.look(lambda tx: list(tx.execute(statement)))

    def sessions(self, person: str = "", server: str | None = None) -> list:
        """Oldest first."""
        s, p = t.sessions_.c, t.people.c
        query = select(t.sessions_).join(t.people, p.id == s.person_id).order_by(s.admitted_at)
        if person:
            query = query.where(p.name == person)
        if server is not None:
            query = query.where(s.server_name == server)
        return self._rows(query)

    def last(self, person: str, server: str = ""):
        found = self.sessions(person, server)
        return found[-1] if found else None

    def admissions(self, person: str = "") -> list:
        a, p = t.admissions_.c, t.people.c
        query = select(t.admissions_).order_by(a.decided_at)
        if person:
            query = query.join(t.people, p.id == a.person_id).where(p.name == person)
        return self._rows(query)

    def charges(self, session_id: str) -> int:
        """What a session was charged, as a positive number."""
        e = t.entries.c
        query = select(e.amount_micro).where(e.session_id == session_id, e.kind == "charge")
        return -sum(row[0] for row in self._rows(query))

    def wait_state(self, person: str, *states: str, server: str = "", timeout_s: float = 10):
        """The newest session of a server once it is in one of these states."""

        def there():
            row = self.last(person, server)
            return row if row is not None and row.state in states else None

        row = wait_until(there, timeout_s=timeout_s)
        assert row is not None, (person, states, self.last(person, server))
        return row

    def close(self) -> None:
        self.ctx.close()


def hub_config(url: str, extra: str = "", *, before: str = "", **settings) -> str:
    """A Hub with our hooks on this database and without our service, which has its own tests."""
    settings = {"database_url": url, "profiles": PROFILES} | settings
    lines = [f"c.JHubUsage.{name} = {value!r}" for name, value in settings.items()]
    return "\n".join(
        [
            before,
            *lines,
            "import jhub_usage",
            "jhub_usage.configure(c)",
            "jhub_usage.configure(c)",
            "c.JupyterHub.services = [s for s in c.JupyterHub.services if s['name'] != 'usage']",
            "c.JupyterHub.load_roles = [r for r in c.JupyterHub.load_roles",
            "    if r['name'] not in ('jhub-usage-service', 'user')]",
            "c.JupyterHub.pop('extra_user_scopes', None)",
            extra,
        ]
    )
