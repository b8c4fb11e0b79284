"""Prices and wallets on the Hub's spawn form, the form for `c.JHubUsage.profiles`, and its answer.

Whatever form the spawner or the admin gives stays as it is; what we know is added below. When the
database does not answer in time, the form comes without prices and says so.
"""

import functools
import inspect
import logging
import uuid
from dataclasses import replace

import jinja2

from ..actions.allowances import facts
from ..domain.allowance_words import left_text
from ..domain.errors import BadInput, NoRate
from ..domain.instants import HOUR_US, elapsed_us, span_text, zone_of
from ..domain.money import show
from ..domain.rates import quote
from ..domain.shapes import Shape
from ..domain.sightings import Sighting
from .gateway import utc_now
from .profiles import read_profiles
from .run import Run
from .shapes import groups_of, person_of, shape_of_limits
from .templates import FOLDER

log = logging.getLogger("jhub_usage.hooks")

#: The field of the form, and of user_options, that names the wallet a person chose.
WALLET = "jhub_usage_wallet"


@functools.cache
def _templates() -> jinja2.Environment:
    return jinja2.Environment(loader=jinja2.FileSystemLoader(FOLDER), autoescape=True)


def slug_of(options) -> str:
    """The profile in user_options, which over REST can be anything."""
    slug = options.get("profile") if isinstance(options, dict) else None
    if isinstance(slug, list) and len(slug) == 1:
        slug = slug[0]
    return slug if isinstance(slug, str) else ""


class FormMixin:
    """The part of `UsageMixin` that people see before they start."""

    # -- what comes back --------------------------------------------------------------------------

    async def run_options_from_form(self, form_data):
        form_data, wallet = without_wallet(form_data)
        if self._usage_has_own_form():
            return await self._usage_answer(own_options(form_data), wallet)
        return await self._usage_answer(super().run_options_from_form(form_data), wallet)

    async def options_from_query(self, query_data):
        query_data, wallet = without_wallet(query_data)
        if self._usage_has_own_form():
            return await self._usage_answer(own_options(query_data), wallet)
        return await self._usage_answer(super().options_from_query(query_data), wallet)

    async def _usage_answer(self, options, wallet: str):
        """The admin's own result with the wallet added, unless it would surely be refused."""
        if inspect.isawaitable(options):
            options = await options
        if wallet and isinstance(options, dict):
            options = {**options, WALLET: wallet}
        await self._usage_advise_form(options)
        return options

    async def _usage_advise_form(self, options) -> None:
        profile, shape, certain = self._usage_form_estimate(options)
        if profile is None:
            return
        run = Run(str(uuid.uuid4()), profile=profile)
        ask = replace(self._usage_ask(run, shape), wallet_name=chosen_wallet(options))
        await self._usage_refuse_early(run, ask, certain)

    async def _usage_refuse_early(self, run: Run, ask, certain: bool) -> bool:
        """Refuse now what would surely be refused later; True if the run was used up for it.

        What people are told is a recorded decision with a UUID. Should the gate say yes after
        all, that answer is given back: it was for an estimate.
        """
        advice = await self._usage_gateway.advise(ask)
        if advice is None or not refuses_surely(advice, certain):
            return False
        await self._usage_admit(run, ask)
        self._usage_gateway.enqueue(
            Sighting(run.session_id, "void", utc_now(), "never_started", "advice_outdated")
        )
        return True

    def _usage_form_estimate(self, options) -> tuple[str | None, Shape, bool]:
        """(profile, shape, whether it is sure); profile None where nothing can be said."""
        names = ("pre_spawn_hook", "auth_state_hook", "apply_user_options", "group_overrides")
        certain = not any(getattr(self, name, None) for name in names)
        if self._usage_has_own_form():
            profile = self._usage_own_profile(options)
            return profile.slug, (profile.shape if certain else Shape()), certain
        declared = self._usage_declared_profile(slug_of(options))
        shape = Shape()
        if certain:
            try:
                gpus = declared.shape.gpus if declared else ()
                shape = shape_of_limits(self, self._usage_settings, gpus)
            except BadInput:
                certain = False
        return (declared.slug if declared else ""), shape, certain

    # -- what is shown ----------------------------------------------------------------------------

    def _usage_has_own_form(self) -> bool:
        """Whether `c.JHubUsage.profiles` makes the form: only where there is no other."""
        return bool(self._usage_settings.profiles) and not self.options_form

    async def get_options_form(self):
        form = await super().get_options_form()
        own = self._usage_has_own_form()
        if not form and not own:
            return form
        offer = await self._usage_gateway.offer(person_of(self), groups_of(self))
        try:
            return self._usage_form(form, own, offer)
        except Exception:
            log.exception("Prices could not be added to the spawn form of %s", self._log_name)
            return form or self._usage_form("", own, None)

    def _usage_form(self, form: str, own: bool, offer) -> str:
        settings = self._usage_settings
        prices = self._usage_prices(offer) if offer is not None else []
        saved = self.user_options if isinstance(self.user_options, dict) else {}
        page = {
            "demo": settings.demo,
            "away": offer is None,
            "mode": offer.mode if offer else "",
            "prices": prices,
            "wallets": [wallet_line(w, settings) for w in offer.wallets] if offer else [],
            "saved_wallet": saved.get(WALLET, ""),
            "saved_profile": slug_of(saved),
            "first": next((p for p in prices if p["default"]), prices[0] if prices else None),
        }
        if own:
            by_slug = {price["slug"]: price for price in prices}
            page["profiles"] = [
                {
                    "slug": p.slug,
                    "name": p.display_name,
                    "description": p.description,
                    "shape": p.shape.text(),
                    "checked": p.slug == page["saved_profile"]
                    or (p.default and page["saved_profile"] not in self._usage_own_slugs()),
                    "price": by_slug.get(p.slug),
                }
                for p in read_profiles(settings.profiles, settings.gpu_weights)
            ]
            form = _templates().get_template("jhub-usage/profiles.html").render(page)
            page["prices_shown"] = True
        return form + _templates().get_template("jhub-usage/prices.html").render(page)

    def _usage_own_slugs(self) -> set[str]:
        return {p["slug"] for p in self._usage_settings.profiles}

    def _usage_choices(self) -> list[tuple]:
        """What there is to price: (slug, name, whether default, choices of options, shape)."""
        settings = self._usage_settings
        if self._usage_has_own_form():
            return [
                (p.slug, p.display_name, p.default, {}, p.shape)
                for p in read_profiles(settings.profiles, settings.gpu_weights)
            ]
        try:
            return [("", "", True, {}, shape_of_limits(self, settings))]
        except BadInput:
            return []

    def _usage_prices(self, offer) -> list[dict]:
        settings = self._usage_settings
        money = settings.currency()
        prices = []
        for slug, name, default, choices, shape in self._usage_choices():
            price = {"slug": slug, "name": name, "default": default, "choices": choices}
            price["listed"] = slug not in {p["slug"] for p in prices}
            if shape is None:
                price |= {"micro": None, "text": "known when it starts", "shape": ""}
            else:
                try:
                    found = quote(
                        shape,
                        slug,
                        offer.rates,
                        offer.at,
                        refuse_unknown_model=settings.unknown_model == "refuse",
                    )
                except NoRate:
                    price |= {"micro": None, "text": "has no price: can not be started"}
                else:
                    text = f"{show(found.per_hour_micro, money)} per hour"
                    if found.start_fee_micro:
                        text += f" + {show(found.start_fee_micro, money)} per start"
                    if not found.per_hour_micro and not found.start_fee_micro:
                        text = "free"
                    price |= {"micro": found.per_hour_micro, "text": text}
                price["shape"] = shape.text() if shape != Shape() else ""
            prices.append(price)
        return prices


def refuses_surely(advice, certain: bool) -> bool:
    """Whether an early look may refuse: about money and limits only if the shape is sure."""
    shaped = advice.reason.code in ("wallet", "limit", "no_rate")
    return not advice.may_start and (certain or not shaped)


def without_wallet(data) -> tuple[dict, str]:
    """The form's data as the admin's code expects it, and the wallet that was chosen."""
    if not isinstance(data, dict) or WALLET not in data:
        return data, ""
    values = data[WALLET]
    value = values[0] if isinstance(values, list) and values else values
    return {k: v for k, v in data.items() if k != WALLET}, value if isinstance(value, str) else ""


def chosen_wallet(options) -> str:
    value = options.get(WALLET) if isinstance(options, dict) else None
    return value.strip()[:255] if isinstance(value, str) else ""


def own_options(data) -> dict:
    slug = slug_of(data)
    return {"profile": slug} if slug else {}


def wallet_line(wallet, settings) -> dict:
    """A wallet for the form and the Hub's pages."""
    money = settings.currency()
    left, burn = wallet.available_micro, wallet.burn_per_hour_micro
    allowance = facts(wallet)
    return {
        "name": wallet.name,
        "title": wallet.title or wallet.name,
        "default": wallet.is_default,
        "left_micro": left,
        "left": "no limit" if left is None else show(left, money),
        "burn_micro": burn,
        "burn": show(burn, money) if burn else "",
        "lasts": lasts(left, burn) if allowance is None else until_dry(wallet),
        "allowance": "" if allowance is None else allowance_line(allowance, settings),
        **ahead(allowance, wallet.at),
        "low": left is not None and left <= 0,
        "running": wallet.running,
    }


def allowance_line(held, settings) -> str:
    """What is left of a wallet's allowance, what comes and what expires."""
    money, zone = settings.currency(), zone_of(settings.timezone)

    def when(at) -> str:
        at = at.astimezone(zone)
        return f"{at:%a} {at.day} {at:%b} {at:%H:%M}"

    text = left_text(held, lambda micro: show(micro, money), when)
    return text[:1].upper() + text[1:]


def ahead(held, at) -> dict:
    """When the next boundary of an allowance is, and what it may take or bring: for the form."""
    if held is None:
        return {"boundary_s": None, "comes": False, "allowance_left_micro": 0}
    return {
        "boundary_s": elapsed_us(at, held["next_at"]) // 1_000_000,
        "comes": held["next_micro"] > 0,
        "allowance_left_micro": held["left_micro"],
    }


def until_dry(wallet) -> str:
    """How long a wallet lasts through what comes and what expires; empty if that is long."""
    return span_text(elapsed_us(wallet.at, wallet.dry_at)) if wallet.dry_at else ""


def lasts(left_micro: int | None, per_hour_micro: int) -> str:
    """How long that much lasts at that price, for people; empty where nothing ends it."""
    if left_micro is None or per_hour_micro <= 0:
        return ""
    return span_text(max(0, left_micro) * HOUR_US // per_hour_micro)
