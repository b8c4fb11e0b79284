"""The house rules that can be read from the code itself (docs/architecture.md).

Reads imports and names; does not run anything. What a rule allows is written beside it.
"""

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "jhub_usage"
MODULES = sorted(PACKAGE.rglob("*.py"))
DOORS = (
    "handlers", "cli", "commands", "loops", "looks", "hooks", "spawning", "app", "demo", "agent",
)  # fmt: skip
#: The CLI starts the service and the demonstration, the demonstration starts the service; the
#: hooks are a folder and the module that gives it its public name; the service wires its routes
#: and its periodic work, which replays the spool that the hooks left.
DOORS_ALLOWED = {
    ("cli", "app"), ("cli", "commands"), ("cli", "demo"), ("commands", "cli"), ("commands", "app"),
    ("commands", "demo"), ("hooks", "spawning"), ("spawning", "hooks"), ("app", "handlers"),
    ("app", "loops"), ("app", "looks"), ("loops", "looks"),
    ("loops", "spawning"), ("demo", "app"), ("demo", "cli"), ("demo", "commands"),
}  # fmt: skip
#: Where the clock of a process may be read: the doors, and the one place that passes it on.
CLOCKS = (*DOORS, "adapters")
CLOCK_FILES = ("store/engine.py", "process.py")


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def floor_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def imports(path: Path) -> set[str]:
    """Absolute names of all that a module imports, also within functions."""
    inside = ["jhub_usage", *path.relative_to(PACKAGE).with_suffix("").parts]
    if inside[-1] == "__init__":
        inside = [*inside[:-1], "_"]
    found = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*inside[: -node.level], *filter(None, [node.module])])
            found |= {f"{base}.{alias.name}" for alias in node.names}
    return found


def ours(path: Path) -> set[str]:
    """The floors and doors of ours that a module imports from."""
    names = {i for i in imports(path) if i.startswith("jhub_usage.")}
    return {i.split(".")[1] for i in names}


def foreign(path: Path) -> set[str]:
    return {i.split(".")[0] for i in imports(path)} - {"jhub_usage"} - set(sys.stdlib_module_names)


def of(*floors: str):
    chosen = [p for p in MODULES if floor_of(p) in floors]
    return pytest.mark.parametrize("path", chosen, ids=name_of)


def test_there_is_something_to_look_at():
    assert {"domain", "store", "actions"} <= {floor_of(p) for p in MODULES}


@of("domain")
def test_domain_imports_the_standard_library_and_itself(path):
    assert foreign(path) == set()
    assert ours(path) <= {"domain"}


@of("domain")
def test_domain_reads_no_clock_and_opens_nothing(path):
    names = {n.attr for n in ast.walk(tree_of(path)) if isinstance(n, ast.Attribute)}
    calls = {
        n.func.id
        for n in ast.walk(tree_of(path))
        if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)
    }
    assert not names & {"now", "utcnow", "today", "monotonic", "environ", "getenv"}
    assert not calls & {"open", "print", "input"}


@of("store")
def test_store_imports_domain_and_the_database(path):
    assert foreign(path) <= {"sqlalchemy", "alembic", "psycopg"}
    assert ours(path) <= {"domain", "store"}


@of("adapters")
def test_adapters_see_the_outside_and_never_the_store(path):
    assert ours(path) <= {"domain", "adapters"}


@of("actions")
def test_actions_import_domain_and_store(path):
    assert foreign(path) <= {"sqlalchemy"}
    assert ours(path) <= {"domain", "store", "actions"}


@pytest.mark.parametrize("path", [p for p in MODULES if floor_of(p) in DOORS], ids=name_of)
def test_no_door_imports_another(path):
    mine = floor_of(path)
    others = {o for o in ours(path) & set(DOORS) if o != mine}
    assert {(mine, other) for other in others} <= DOORS_ALLOWED


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_nothing_below_a_door_commits(path):
    if floor_of(path) in ("domain", "adapters", "actions", "store") and name_of(path) not in (
        "store/engine.py",
        "store/migrate.py",
    ):
        attributes = {
            n.func.attr
            for n in ast.walk(tree_of(path))
            if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)
        }
        assert not attributes & {"commit", "rollback", "begin", "begin_nested", "savepoint"}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_the_clock_is_read_at_the_doors(path):
    if floor_of(path) in CLOCKS or name_of(path) in CLOCK_FILES:
        return
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert (node.value.id, node.attr) not in {
                ("datetime", "now"), ("datetime", "utcnow"), ("datetime", "today"),
                ("date", "today"), ("time", "time"),
            }, f"{name_of(path)}:{node.lineno} reads a clock"  # fmt: skip


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_nobody_reads_a_clock_without_a_zone(path):
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            assert node.func.attr not in ("utcnow", "utcfromtimestamp"), f"line {node.lineno}"
            if node.func.attr == "now" and ast.unparse(node.func.value) == "datetime":
                assert node.args or node.keywords, f"line {node.lineno}: local time"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_module_says_what_it_is_for(path):
    text = ast.get_docstring(tree_of(path))
    assert text or not path.read_text().strip(), "no docstring"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_files_stay_readable(path):
    if "migrations" not in path.parts:
        assert len(path.read_text().splitlines()) < 450


@of("actions")
def test_actions_take_the_transaction_first_and_name_the_actor(path):
    """``def verb(tx, ...)``; who changes something passes ``actor`` by name."""
    for node in tree_of(path).body:
        if not isinstance(node, ast.FunctionDef) or node.name.startswith("_"):
            continue
        names = [a.arg for a in node.args.posonlyargs + node.args.args]
        if "tx" in names:
            assert names[0] == "tx", node.name
            assert "actor" not in names or node.name == "acting", f"{node.name}: actor by position"


#: (what must not be said, what to say instead). DESIGN's words have one meaning each.
FORBIDDEN_NAMES = {
    "reservation": "hold or booking",
    "invoice": "charge or statement",
    "billing_account": "wallet",
    "tariff": "rate",
}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_the_words_of_the_house(path):
    defined = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            defined.add(node.name.lower())
        elif isinstance(node, ast.arg):
            defined.add(node.arg.lower())
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            defined.add(node.id.lower())
    for word, instead in FORBIDDEN_NAMES.items():
        used = [name for name in defined if word in name]
        assert not used, f"say {instead}, not {used}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_units_come_last(path):
    """``interval_s``, never ``interval_seconds``; ``amount_micro``; instants end in ``_at``."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.arg):
            assert not re.search(r"_(seconds|secs|msec|millis|microcredits)$", node.arg), node.arg


def test_no_float_holds_money():
    """Nothing in the rules of money divides with ``/`` except where text for people is made."""
    for path in MODULES:
        if name_of(path) not in ("domain/money.py", "domain/rates.py", "domain/sessions.py",
                                 "domain/wallets.py", "domain/admission.py",
                                 "store/ledger.py"):  # fmt: skip
            continue
        for node in ast.walk(tree_of(path)):
            assert not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)), (
                f"{name_of(path)}:{node.lineno}"
            )
            assert not (isinstance(node, ast.Constant) and isinstance(node.value, float)), (
                f"{name_of(path)}:{node.lineno}"
            )


def test_money_is_a_whole_number_in_every_table():
    import sqlalchemy as sa

    from jhub_usage.store.tables import PREFIX, metadata
    from jhub_usage.store.types import Instant

    for table in metadata.sorted_tables:
        assert table.name.startswith(PREFIX)
        for column in table.columns:
            where = f"{table.name}.{column.name}"
            assert not isinstance(column.type, sa.Float) or "cost" not in where, where
            if column.name.endswith("_micro"):
                assert isinstance(column.type, sa.BigInteger), where
            if column.name.endswith(("_at", "_until")):
                assert isinstance(column.type, Instant), where
