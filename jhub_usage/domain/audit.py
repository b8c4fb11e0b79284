"""Who did it. Every change carries an actor; names are compared whole."""

from dataclasses import dataclass

KINDS = ("person", "service", "hook", "system", "cli", "import")


@dataclass(frozen=True)
class Actor:
    """A person, a service, the Hub's hook, our own service, the shell, or an import."""

    kind: str
    name: str
    address: str = ""
    #: Our id where the actor is a person that we know.
    person_id: int | None = None


HOOK = Actor("hook", "spawner")
SYSTEM = Actor("system", "jhub-usage")
