"""Fields, lists, names and amounts out of nodes of text, with every problem noted, none raised.

What the fields of a configuration mean is in ``declaring``.
"""

from .declared import KEEP, Node, Problem
from .errors import BadInput
from .money import parse_amount
from .names import require_name

YES, NO = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


class Fields:
    """Reads nodes and collects what is wrong with them."""

    def __init__(self):
        self.problems: list[Problem] = []
        self._seen: dict[tuple, str] = {}

    def fail(self, node: Node | str, path: str, text: str) -> None:
        where = node if isinstance(node, str) else node.where
        self.problems.append(Problem(where, path, text))

    def attempt(self, node: Node, path: str, call, *args, **more):
        """The result of a call, or None after noting what it refused."""
        try:
            return call(*args, **more)
        except BadInput as error:
            self.fail(node, path, error.message)
            return None

    def mapping(self, node: Node, path: str, known, needs=()) -> dict[str, Node] | None:
        """The fields of a mapping, empty ones left out."""
        if not isinstance(node.value, dict):
            self.fail(node, path, f"This must be fields ({', '.join(known)}), not {_kind(node)}.")
            return None
        for name, value in node.value.items():
            if name not in known:
                text = f"There is no field {name[:60]!r} here; the fields are {', '.join(known)}."
                self.fail(value, path, text)
        found = {k: v for k, v in node.value.items() if k in known and v.value is not None}
        missing = [name for name in needs if name not in found]
        for name in missing:
            self.fail(node, path, f"The field {name!r} is missing.")
        return None if missing else found

    def items(self, node: Node, path: str) -> list[tuple[Node, str]]:
        if node.value is None:
            return []
        if not isinstance(node.value, list):
            self.fail(node, path, f"This must be a list, not {_kind(node)}.")
            return []
        return [(item, f"{path}[{number}]") for number, item in enumerate(node.value, 1)]

    def text(self, node: Node, path: str) -> str | None:
        if isinstance(node.value, str):
            return node.value
        self.fail(node, path, f"This must be text or a number, not {_kind(node)}.")
        return None

    def name(self, fields, key: str, path: str, what: str) -> str:
        """A name, empty when it was not given or is no name."""
        node = fields.get(key)
        if node is None:
            return ""
        at = f"{path}.{key}" if path else key
        text = self.text(node, at)
        if text is None:
            return ""
        return self.attempt(node, at, require_name, text, what=what) or ""

    def amount(self, fields, key: str, path: str, *, unlimited: bool = False, default=KEEP):
        """Micro-credits, or None for unlimited where that is allowed."""
        node = fields.get(key)
        if node is None:
            return default
        at = f"{path}.{key}"
        text = self.text(node, at)
        if text is None:
            return default
        if unlimited and text.strip().lower() == "unlimited":
            return None
        micro = self.attempt(node, at, parse_amount, text, what=key.replace("_", " "))
        if micro is not None and micro < 0:
            self.fail(node, at, f"The {key.replace('_', ' ')} must not be negative.")
        return default if micro is None else micro

    def choice(self, fields, key: str, path: str, known, *, default=KEEP):
        node = fields.get(key)
        if node is None:
            return default
        text = self.text(node, f"{path}.{key}" if path else key)
        if text is not None and text not in known:
            self.fail(node, f"{path}.{key}" if path else key,
                      f"This is one of {', '.join(known)}, not {text[:40]!r}.")  # fmt: skip
            return default
        return default if text is None else text

    def flag(self, fields, key: str, path: str, *, default=KEEP):
        word = self.choice(fields, key, path, (*YES, *NO), default=None)
        return default if word is None else word in YES

    def once(self, key: tuple, node: Node, path: str, text: str) -> bool:
        """Whether this was not declared before."""
        if key in self._seen:
            self.fail(node, path, f"{text} It is also at {self._seen[key]}.")
            return False
        self._seen[key] = f"{node.where} ({path})"
        return True

    def names(self, node: Node, path: str, what: str) -> list[str]:
        found = []
        for item, at in self.items(node, path):
            text = self.text(item, at)
            name = None if text is None else self.attempt(item, at, require_name, text, what=what)
            if name:
                found.append(name)
        return found


def _kind(node: Node) -> str:
    if node.value is None:
        return "nothing"
    if isinstance(node.value, str):
        return f"{node.value[:40]!r}"
    return "a list" if isinstance(node.value, list) else "a group of fields"
