"""Pages in the Hub's own look: its templates, its styles, and words for amounts and times.

Renders what it is given; asks nobody for anything.
Limitations: templates that an operator put over the Hub's own ones are not known here.
"""

import json
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import jinja2
from markupsafe import Markup, escape

from .. import __version__
from ..domain import limits, money
from ..domain.allowance_words import left_text, period_text
from ..domain.instants import elapsed_us, iso, span_text
from ..domain.shapes import Shape

OWN_TEMPLATES = Path(__file__).resolve().parent.parent / "templates" / "service"
STATIC = Path(__file__).resolve().parent.parent / "static"


def content_security_policy(nonce: str, hub: str = "") -> str:
    """Scripts from this address, the Hub's, and those that a template of ours or the Hub's holds.

    The Hub's page has an inline script outside every block, so the templates carry a nonce. ``hub``
    is the Hub's own address where that is another one.
    """
    own = f"'self' {hub}".strip()
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {own} 'nonce-{nonce}'",
            f"style-src {own}",
            f"img-src {own} data:",
            f"font-src {own}",
            "connect-src 'self'",
            f"form-action {own}",
            "base-uri 'none'",
            "frame-ancestors 'none'",
            "object-src 'none'",
        )
    )


def error_title(status: int) -> str:
    return {
        403: "You may not see this",
        404: "There is nothing here",
        503: "Please come back in a moment",
    }.get(status, "This did not work")


class NonceLoader(jinja2.BaseLoader):
    """Gives every script of a template the nonce, in the source: what is rendered gets none."""

    def __init__(self, loader: jinja2.BaseLoader):
        self._loader = loader

    def get_source(self, environment, template):
        source, name, fresh = self._loader.get_source(environment, template)
        return source.replace("<script", '<script nonce="{{ csp_nonce }}"'), name, fresh

    def list_templates(self):
        return self._loader.list_templates()


class Look:
    """Renders pages for one hub and one set of settings."""

    def __init__(self, settings, *, prefix: str, base_url: str = "/", hub_host: str = ""):
        self.settings = settings
        self.prefix = prefix
        self.hub_host = hub_host
        self.hub_url = hub_host + base_url + "hub/"
        self.currency = settings.currency()
        self.zone = ZoneInfo(settings.timezone)
        self._version = str(int(max(f.stat().st_mtime for f in STATIC.iterdir())))
        self.env = self._environment()

    def _environment(self) -> jinja2.Environment:
        from jupyterhub._data import DATA_FILES_PATH

        hub = NonceLoader(jinja2.FileSystemLoader(str(Path(DATA_FILES_PATH) / "templates")))
        own = jinja2.FileSystemLoader(str(OWN_TEMPLATES))
        env = jinja2.Environment(
            loader=jinja2.ChoiceLoader(
                [NonceLoader(own), jinja2.PrefixLoader({"templates": hub}), hub]
            ),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=jinja2.ChainableUndefined,
        )
        env.filters |= {
            "money": self.money,
            "plain": money.plain,
            "exact": self.exact,
            "when": self.when,
            "period": period_text,
            "span": lambda seconds: span_text(int(seconds) * 1_000_000),
            "between": lambda begin, end: span_text(elapsed_us(begin, end)),
            "shape": shape_text,
            "limit_amount": lambda limit: limits.amount_text(limit["resource"], limit["amount"]),
            "iso": iso,
            "words": words,
            "facts": self.facts,
            "allowance": self.allowance,
        }
        env.globals |= {
            "settings": self.settings,
            "currency": self.currency,
            "version": __version__,
            "our_static": lambda name: f"{self.prefix}static/{name}?v={self._version}",
        }
        return env

    def csp(self, nonce: str) -> str:
        return content_security_policy(nonce, self.hub_host)

    def money(self, micro: int | None, none: str = "unlimited") -> str:
        return none if micro is None else money.show(micro, self.currency)

    def when(self, at: datetime | None, none: str = "–", *, seconds: bool = False) -> Markup | str:
        """An instant in the hub's zone; the exact one, in UTC, when pointed at."""
        if at is None:
            return none
        local = at.astimezone(self.zone)
        year = "" if local.year == datetime.now(self.zone).year else f" {local.year}"
        return Markup('<time datetime="{}" title="{} UTC">{}</time>').format(
            iso(at),
            at.strftime("%Y-%m-%d %H:%M:%S"),
            f"{local.day} {local:%b}{year}, {local:{'%H:%M:%S' if seconds else '%H:%M'}}",
        )

    def allowance(self, held) -> Markup:
        """What is left of a wallet's allowance and what comes, in one sentence."""
        # amounts are escaped, and an instant is an element of our own
        text = left_text(held, lambda micro: escape(self.money(micro)), self.when)
        return Markup(text[:1].upper() + text[1:] + ".")

    def facts(self, values) -> str:
        """A row's values before or after a change, in one line; empty ones left out."""
        if not isinstance(values, dict):
            return "" if values is None else str(values)
        shown = []
        for name, value in values.items():
            if value in ("", [], {}) or (value is None and name not in TELLING_NOTHING):
                continue
            if name == "amount" and values.get("resource") in limits.RESOURCES:
                value = limits.amount_text(values["resource"], value)
            elif name.endswith("_micro"):
                name = name.removesuffix("_micro")
                value = "no limit" if value is None else self.exact(value)
            elif isinstance(value, list):
                value = f"{len(value)} in all"
            elif isinstance(value, bool):
                value = "yes" if value else "no"
            shown.append(f"{name.replace('_', ' ')}: {'none' if value is None else value}")
        return ", ".join(shown)

    def exact(self, micro: int) -> str:
        """All decimals that an amount has, at least the currency's: prices may be below a cent."""
        sign = "-" if micro < 0 else ""
        whole, _, part = money.plain(abs(micro)).partition(".")
        part = part.ljust(self.currency.decimals, "0")
        return f"{sign}{self.currency.symbol}{int(whole):,}{'.' if part else ''}{part}"

    def render(self, template: str, *, handler, caller, **shown) -> str:
        model = handler.current_user if caller else None
        user = None
        if model:
            # what the Hub's page.html wants to know of a user; the name stands in a script there
            safe = json.dumps(model["name"])[1:-1].replace("<", "\\u003c")
            user = SimpleNamespace(name=model["name"], json_escaped_name=safe)
        return self.env.get_template(template).render(
            user=user,
            who=caller,
            csp_nonce=handler.nonce,
            xsrf_token=_text(handler.xsrf_token),
            base_url=self.hub_url,
            prefix=self.hub_url.removesuffix("hub/"),
            usage_url=self.prefix,
            static_url=self.static_url,
            # as in the Hub's own pages: our token does not carry the scope that shows the link
            parsed_scopes={"admin-ui": True} if (model or {}).get("admin") else {},
            services=[{"href": self.prefix, "name": "usage"}] if user else [],
            login_url=self.hub_url + "login",
            logout_url=self.hub_url + "logout",
            no_spawner_check=True,
            page_data=json_in_html(
                {
                    "api": self.prefix + "api/",
                    "pages": self.prefix,
                    "xsrf": _text(handler.xsrf_token),
                    "currency": {
                        "code": self.currency.code,
                        "symbol": self.currency.symbol,
                        "decimals": self.currency.decimals,
                    },
                    "timezone": self.settings.timezone,
                }
            ),
            **shown,
        )

    def static_url(self, path: str, include_version: bool = True) -> str:
        return f"{self.hub_url}static/{path}"


def json_in_html(data) -> Markup:
    """JSON that may stand inside a script element."""
    text = json.dumps(data)
    for mark in "<>&\u2028\u2029":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return Markup(text)


def _text(token) -> str:
    return token.decode("ascii") if isinstance(token, bytes) else (token or "")


def shape_text(shape) -> str:
    """``4 × A100, 16 cores, 64 GiB``, broken between its parts only."""
    text = (shape if isinstance(shape, Shape) else Shape.from_json(shape)).text()
    return ", ".join(part.replace(" ", "\u00a0") for part in text.split(", "))


#: Where nothing is something: in an audit row other empty values are left out.
TELLING_NOTHING = ("overdraft_micro", "mode", "role", "price_micro", "carry_micro")

#: What we call the words that the database keeps.
WORDS = {
    "stopped": "stopped",
    "died": "ended by itself",
    "start_failed": "did not start",
    "hub_shutdown": "the hub was shut down",
    "wallet_empty": "the wallet was empty",
    "session_limit": "the time limit was reached",
    "period_limit": "a limit per period was used up",
    "lost": "gone without a trace",
    "refused": "refused",
    "cancelled": "cancelled",
    "timed_out": "took too long",
    "never_started": "never started",
    "start_returned": "the hub started it",
    "container_started": "its container ran",
    "adopted": "found running",
    "hub_ready": "the hub reached it",
    "stop_called": "the hub was asked to stop it",
    "hub_accepted": "the hub agreed to stop it",
    "post_stop_hook": "the hub stopped it",
    "poll_exit": "the hub found it ended",
    "terminated_at": "its container ended",
    "last_seen": "last seen by the hub",
    "operator": "an operator said so",
    "admitted": "admitted",
    "observed": "observed only",
    "failed_open": "admitted while the database was away",
    "void": "never ran",
    "running": "running",
    "ended": "ended",
    "wallet": "not enough in the wallet",
    "limit": "a limit was reached",
    "pass": "an emergency pass",
    "no_wallet": "no wallet pays",
    "no_rate": "no price",
    "wallet_choice": "the wallet is not open to the person",
    "wallet_closed": "the wallet is closed",
    "database_unavailable": "the database was away",
    "catch_up": "the books are too far behind",
    "stop_accepted": "stop accepted",
}


def words(value: str | None, none: str = "–") -> str:
    """A word of the database as people say it."""
    return none if not value else WORDS.get(value, value.replace("_", " "))
