"""Decisions as metrics in the Hub's own registry: they appear on ``/hub/metrics``.

Labels are words of ours, never names of people or servers.
"""

from prometheus_client import REGISTRY, Counter, Gauge, Histogram

WORDS = ("admitted", "observed", "refused", "failed_open", "unavailable", "void")


def _once(kind, name: str, text: str, *labels, **options):
    """The metric of that name, made only if this process does not have it yet."""
    known = getattr(REGISTRY, "_names_to_collectors", {})
    return known.get(name) or kind(name, text, labels, **options)


DECISIONS = _once(
    Counter, "jhub_usage_decisions_total", "Decisions about starting a server.", "decision"
)
DECISION_SECONDS = _once(
    Histogram,
    "jhub_usage_decision_seconds",
    "Seconds that a decision about starting a server took.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
DATABASE_AWAY = _once(
    Gauge, "jhub_usage_database_away", "1 while starts are decided without the database."
)
SPOOLED = _once(
    Counter, "jhub_usage_spooled_total", "Events that were kept on disk for a later replay."
)


def observe_decision(word: str, seconds: float) -> None:
    DECISIONS.labels(decision=word if word in WORDS else "other").inc()
    DECISION_SECONDS.observe(seconds)
