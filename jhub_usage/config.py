"""Every setting, once: its name, its type, its help with the unit, its default.

Settings are traits of ``c.JHubUsage``; each is also read from the environment variable
``JHUB_USAGE_<NAME>``, secrets from a file named by ``JHUB_USAGE_<NAME>_FILE`` too. What the
configuration file says goes before the environment, which goes before the default.
``resolve`` reads; it writes nothing and connects to nothing.
"""

import difflib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import field, fields, make_dataclass, replace
from pathlib import Path
from typing import Any

from traitlets import Bool, Dict, Enum, Float, Integer, List, Unicode
from traitlets.config import Config, Configurable, LazyConfigValue

from .config_values import checked, freeze, parse, thaw
from .config_values import database_url as read_url
from .domain.addresses import networks
from .domain.admission import Policy
from .domain.errors import BadInput
from .domain.instants import zone_of
from .domain.money import Currency
from .domain.privacy import Keep
from .domain.usage import NodeCores
from .spawning.profiles import read_profiles

PREFIX = "JHUB_USAGE_"
SECTION = "JHubUsage"


def _days(default: int, what: str) -> Integer:
    """A setting of how long rows are kept."""
    text = f"Days for which {what} are kept; 0: for ever."
    return Integer(default, min=0, max=36500, help=text).tag(config=True)


class JHubUsage(Configurable):
    """The settings. Everything that is money or time names its unit."""

    database_url = Unicode(
        "sqlite:///jhub-usage.sqlite",
        help="""The accounting database: `sqlite:///file` or `postgresql+psycopg://...`.
        A relative file is looked for in the Hub's working directory.""",
    ).tag(config=True, secret=True)
    hub_id = Unicode(
        "hub",
        help="Name of this hub in the database; two hubs that share one need two names.",
    ).tag(config=True)
    timezone = Unicode(
        "UTC", help="IANA time zone of days, months, display and reports, like `Europe/Berlin`."
    ).tag(config=True)
    currency_code = Unicode("USD", help="What one credit is called in exports.").tag(config=True)
    currency_symbol = Unicode(
        "$", help="What stands before an amount; empty: the code stands after it."
    ).tag(config=True)
    currency_decimals = Integer(
        2, min=0, max=6, help="Decimals of an amount that people see (0 to 6)."
    ).tag(config=True)

    mode = Enum(
        ["", "off", "observe", "enforce"],
        default_value="",
        help="""`off`, `observe` or `enforce`, used only while the database can not be reached.
        Otherwise the mode in the database counts. Empty: `on_database_error` decides.""",
    ).tag(config=True)
    on_database_error = Enum(
        ["admit", "refuse"],
        default_value="admit",
        help="""What happens to a start while the database can not be reached: `admit` lets it
        run and charges it later, `refuse` says so to the person.""",
    ).tag(config=True)
    decision_timeout_s = Float(
        5.0,
        min=0.1,
        max=60,
        help="Seconds after which a spawn decision is made without the database.",
    ).tag(config=True)
    spool_dir = Unicode(
        "jhub-usage-spool",
        help="Folder (mode 0700) that keeps what could not be written, until it can be.",
    ).tag(config=True)
    runtime_dir = Unicode(
        "",
        help="Folder (mode 0700) of the file that gives the service its settings. "
        "Empty: `jhub-usage-runtime` beside `spool_dir`.",
    ).tag(config=True)

    min_run_s = Integer(
        900, min=0, max=31 * 86400, help="Seconds that a wallet must be able to pay for at a start."
    ).tag(config=True)
    warn_lead_s = Integer(
        600, min=0, max=7 * 86400, help="Seconds between a warning and the stop it warns of."
    ).tag(config=True)
    hold = Enum(
        ["min_run", "session_limit"],
        default_value="min_run",
        help="What is set aside at a start: the minimum run time, or the whole session limit.",
    ).tag(config=True)
    billed_from = Enum(
        ["scheduled", "container", "ready"],
        default_value="container",
        help="Where billing begins: the pod has a node, its container runs, the server answers.",
    ).tag(config=True)
    start_margin_s = Integer(
        120,
        min=0,
        max=86400,
        help="Seconds beyond a server's start timeout until an admission that nothing confirmed "
        "lapses.",
    ).tag(config=True)
    failed_start_refunds_per_day = Integer(
        3, min=0, max=1000, help="Failed starts per person and day that are refunded."
    ).tag(config=True)

    close_months = Bool(
        True,
        help="""Whether the service closes months, `month_close_days` after their end, once all
        that ran in them is settled. Otherwise a person does, by page or `jhub-usage month`.""",
    ).tag(config=True)
    month_close_days = Integer(
        3, min=0, max=365, help="Days after its end at which the service closes a month."
    ).tag(config=True)

    resource_basis = Enum(
        ["request", "limit"],
        default_value="request",
        help="Whether CPU and memory are counted by what is requested or by the limit.",
    ).tag(config=True)
    gpu_model_labels = List(
        Unicode(),
        default_value=[
            "nvidia.com/gpu.product",
            "cloud.google.com/gke-accelerator",
            "k8s.amazonaws.com/accelerator",
            "accelerator",
            "amd.com/gpu.product-name",
        ],
        help="Node labels whose value in a pod's node selector or affinity names the GPU model.",
    ).tag(config=True)
    gpu_weights = Dict(
        value_trait=Integer(min=0, max=1000),
        key_trait=Unicode(),
        help="Thousandths of a GPU that one unit of a Kubernetes resource is, where its name does "
        "not tell: `{'nvidia.com/gpu.shared': 250}`.",
    ).tag(config=True)
    profile_models = Dict(
        value_trait=Unicode(),
        key_trait=Unicode(),
        help="GPU model by profile slug, for profiles whose pods do not name one.",
    ).tag(config=True)
    unknown_model = Enum(
        ["rate", "refuse"],
        default_value="rate",
        help="A GPU whose model nobody names: priced by the rate of the model `unknown` or the "
        "general one, or refused.",
    ).tag(config=True)
    profiles = List(
        Dict(),
        help="""Profiles for spawners without a profile list of their own. Each is a dict with
        `slug`, `display_name`, `description`, `cpu` (cores), `memory` (like `16G`), `gpus`
        (a list of `{"model": "A100", "count": 1}`) and `default`.""",
    ).tag(config=True)
    trusted_proxies = List(
        Unicode(),
        help="""Proxies in front of the Hub's own, such as an ingress, that tell the truth about
        whom they pass on: addresses or networks like `10.0.0.0/8`. The address in the audit trail
        is the last one in X-Forwarded-For that is not one of them.""",
    ).tag(config=True)
    node_cores = Integer(
        0,
        min=0,
        max=100_000,
        help="Cores of a whole node, for node-hours in reports, where `cores_of_nodes` does not "
        "name it; 0: not known, and so are its node-hours.",
    ).tag(config=True)
    cores_of_nodes = Dict(
        value_trait=Integer(min=1, max=100_000),
        key_trait=Unicode(),
        help="Cores of nodes by their names, for node-hours in reports: `{'big-1': 128}`.",
    ).tag(config=True)

    service_host = Unicode("127.0.0.1", help="Address that the service listens on.").tag(
        config=True
    )
    service_port = Integer(8181, min=1, max=65535, help="Port that the service listens on.").tag(
        config=True
    )
    service_url = Unicode(
        "",
        help="Where the Hub's proxy reaches the service, like `http://hub:8181`. "
        "Empty: made from `service_host` and `service_port`.",
    ).tag(config=True)
    stop_interval_s = Float(
        10.0, min=1, max=300, help="Seconds between two looks for servers to warn and stop."
    ).tag(config=True)
    sync_interval_s = Float(
        30.0, min=1, max=3600, help="Seconds between two comparisons with the Hub."
    ).tag(config=True)
    session_protect_s = Integer(
        86400,
        min=0,
        max=31 * 86400,
        help="Seconds after the first install in which servers that ran before are not stopped.",
    ).tag(config=True)

    audit_reads = Bool(
        False,
        help="""Whether reading other people's usage (sessions, wallets, decisions, people) by a
        right leaves an audit row, too. What can not be noted is then not shown.""",
    ).tag(config=True)
    keep_decisions_days = _days(0, "decisions about starts that never became a session")
    keep_audit_days = _days(0, "audit rows of changes")
    keep_reads_days = _days(0, "audit rows of reads (see `audit_reads`)")
    keep_client_keys_days = _days(30, "the answers to an Idempotency-Key")

    lock_timeout_s = Float(
        2.0, min=0.1, max=60, help="Seconds that a transaction waits for a lock."
    ).tag(config=True)
    statement_timeout_s = Float(
        5.0, min=0.1, max=600, help="Seconds that one statement may take."
    ).tag(config=True)
    pool_size = Integer(
        5, min=1, max=100, help="Database connections of each process (Hub, service)."
    ).tag(config=True)
    form_cache_s = Float(
        5.0, min=0, max=300, help="Seconds that prices and balances on the Hub's pages may be old."
    ).tag(config=True)
    page_timeout_s = Float(
        1.0, min=0.05, max=30, help="Seconds that one of the Hub's pages waits for prices."
    ).tag(config=True)
    demo = Bool(False, help="Whether this is the demonstration; its pages say so.").tag(config=True)


TRAITS = JHubUsage.class_traits(config=True)
NAMES = tuple(
    name
    for name in vars(JHubUsage)
    if name in TRAITS  # in the order in which they are written
)
SECRETS = frozenset(name for name, trait in TRAITS.items() if trait.metadata.get("secret"))


class _SettingsMethods:
    """What can be asked of resolved settings."""

    @property
    def hash(self) -> str:
        """Over all settings, secrets by digest: the same in two processes means no drift."""
        data = self.to_json()
        for name in SECRETS:
            data[name] = hashlib.sha256(str(data[name]).encode()).hexdigest()
        text = json.dumps(data, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def to_json(self) -> dict:
        """All settings as plain JSON values, secrets in clear: for a file of mode 0600 only."""
        return {f.name: thaw(getattr(self, f.name)) for f in fields(self)}

    def public_json(self) -> dict:
        """All settings without what is secret, for pages and logs."""
        return {k: ("(set)" if k in SECRETS else v) for k, v in self.to_json().items()}

    @classmethod
    def from_json(cls, data: Mapping) -> "Settings":
        """The settings that ``to_json`` wrote; names of another release are left out."""
        return cls(**{k: freeze(v) for k, v in data.items() if k in TRAITS})

    def currency(self) -> Currency:
        return Currency(self.currency_code, self.currency_symbol, self.currency_decimals)

    def policy(self) -> Policy:
        """What a decision about a start needs of all this."""
        return Policy(
            min_run_s=self.min_run_s,
            warn_lead_s=self.warn_lead_s,
            hold_session_limit=self.hold == "session_limit",
            refuse_unknown_model=self.unknown_model == "refuse",
            currency=self.currency(),
            start_margin_s=self.start_margin_s,
            failed_start_refunds_per_day=self.failed_start_refunds_per_day,
            timezone=self.timezone,
            protect_s=self.session_protect_s,
        )

    def keep(self) -> Keep:
        """How long rows are kept that nothing needs any more."""
        return Keep(
            decisions_days=self.keep_decisions_days,
            audit_days=self.keep_audit_days,
            reads_days=self.keep_reads_days,
            client_keys_days=self.keep_client_keys_days,
        )

    def cores(self) -> NodeCores:
        """How many cores whole nodes have, for reports."""
        return NodeCores(dict(self.cores_of_nodes), self.node_cores)

    @property
    def runtime_path(self) -> Path:
        if self.runtime_dir:
            return Path(self.runtime_dir)
        return Path(self.spool_dir).parent / "jhub-usage-runtime"

    @property
    def url_for_proxy(self) -> str:
        """Where the Hub's proxy reaches the service."""
        if self.service_url:
            return self.service_url.rstrip("/")
        host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(
            self.service_host, self.service_host
        )
        return f"http://{f'[{host}]' if ':' in host else host}:{self.service_port}"


def _default_factory(name):
    return field(default_factory=lambda: freeze(TRAITS[name].default()))


#: The resolved settings: a frozen dataclass with one field per trait of ``JHubUsage``. It has no
#: repr of its own, so that no log shows a password by mistake.
Settings = make_dataclass(
    "Settings",
    [(name, Any, _default_factory(name)) for name in NAMES],
    bases=(_SettingsMethods,),
    namespace={"__module__": __name__},
    frozen=True,
    kw_only=True,
    repr=False,
)


def resolve(config: Config | None, environ: Mapping[str, str]) -> Settings:
    """The settings of a configuration and an environment, or BadInput that says what is wrong."""
    section = _section(config)
    for name in section:
        if name not in TRAITS:
            raise BadInput(f"There is no setting c.{SECTION}.{name}.{_did_you_mean(name)}")
    values, given, owner = {}, set(), JHubUsage(config=Config())
    for name in NAMES:
        if name in section:
            value, source = section[name], f"c.{SECTION}.{name}"
            if isinstance(value, LazyConfigValue):
                value = value.get_value(TRAITS[name].default())
        else:
            value, source = _from_environment(name, environ)
            if source is None:
                value, source = TRAITS[name].default(), ""
        if source:
            given.add(name)
        values[name] = freeze(
            checked(TRAITS[name], value, source, owner=owner, secret=name in SECRETS)
        )
    return _consistent(Settings(**values), given)


def _section(config) -> dict:
    """What the configuration file says under c.JHubUsage, without creating that section."""
    if config is None or SECTION not in config:
        return {}
    return dict(config[SECTION])


def _did_you_mean(name: str) -> str:
    near = difflib.get_close_matches(name, NAMES, 1)
    return f" Did you mean {near[0]}?" if near else ""


def _from_environment(name: str, environ: Mapping[str, str]) -> tuple[Any, str | None]:
    """(value, variable) or (None, None). An empty variable counts as not given."""
    variable = PREFIX + name.upper()
    if name in SECRETS and environ.get(variable + "_FILE"):
        variable += "_FILE"
        try:
            text = Path(environ[variable]).read_text().strip()
        except OSError as error:
            raise BadInput(
                f"{variable} names a file that can not be read: {error.strerror}."
            ) from None
        if not text:
            raise BadInput(f"The file that {variable} names is empty.")
    else:
        text = environ.get(variable, "")
        if not text:
            return None, None
    return parse(TRAITS[name], text, variable), variable


def _consistent(settings: "Settings", given: set[str]) -> "Settings":
    """Checks that one trait alone can not make; paths become absolute, so that all processes
    agree."""
    zone_of(settings.timezone)
    networks(tuple(settings.trusted_proxies))
    if not settings.hub_id.strip():
        raise BadInput("c.JHubUsage.hub_id must not be empty.")
    for name in ("lock_timeout_s", "statement_timeout_s"):
        if getattr(settings, name) <= settings.decision_timeout_s:
            continue
        if name not in given:
            settings = replace(settings, **{name: settings.decision_timeout_s})
        else:
            raise BadInput(
                f"c.JHubUsage.{name} ({getattr(settings, name):g} s) must not be longer than "
                f"decision_timeout_s ({settings.decision_timeout_s:g} s): a hook that gave up "
                "would leave its transaction behind."
            )
    read_profiles(settings.profiles, settings.gpu_weights)
    if settings.service_url and not settings.service_url.startswith(("http://", "https://")):
        raise BadInput("c.JHubUsage.service_url must begin with http:// or https://.")
    return replace(
        settings,
        database_url=read_url(settings.database_url),
        spool_dir=str(Path(settings.spool_dir).absolute()),
        runtime_dir=str(Path(settings.runtime_dir).absolute()) if settings.runtime_dir else "",
    )
