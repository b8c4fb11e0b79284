"""Configuration files: YAML, JSON and CSV into nodes of text that know where they stand.

Every scalar stays the text that was written, so 12.5 is exactly that and no float ever holds it.
YAML tags make nothing, anchors are refused. Knows nothing of what the fields mean.
"""

import csv
import io
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from ..domain.declared import Declared, Node, Problem, Problems
from ..domain.declaring import declare

#: Which kind a CSV file holds, by its name or else by these columns.
CSV_COLUMNS = {
    "people": ("person", "wallet", "role"),
    "groups": ("group",),
    "wallets": ("name", "title", "overdraft", "mode", "closed", "starting_credit", "allowance",
                "period", "carry", "owner", "groups"),
    "rates": ("resource", "price", "model", "profile", "starts_at"),
    "limits": ("resource", "amount", "everyone", "person", "group", "wallet", "profile", "each",
               "period"),
    "rules": ("person", "group", "profile", "wallet", "target", "starting_grant", "overdraft"),
    "exemptions": ("kind", "name"),
}  # fmt: skip
#: The columns that no file of this kind is without.
CSV_NEEDS = {
    "people": {"person", "role"}, "groups": {"group"}, "wallets": {"name", "overdraft"},
    "rates": {"resource", "price"}, "limits": {"resource", "amount"},
    "rules": {"wallet", "target"}, "exemptions": {"kind", "name"},
}  # fmt: skip
#: Between the names of several groups in one CSV cell.
LIST_MARK = ";"
MAX_BYTES = 64 * 2**20

_Loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def read_files(paths: Sequence[str | Path]) -> Declared:
    """What these files declare together; raises Problems with all that is wrong in them."""
    return declare(read(paths))


def read(paths: Sequence[str | Path]) -> list[Node]:
    """The documents of these files; ``-`` is standard input. Raises Problems for all of them."""
    documents, problems = [], []
    for path in paths:
        try:
            documents += read_one(str(path))
        except Problems as error:
            problems += error.problems
    if problems:
        raise Problems(problems)
    return documents


def read_one(path: str) -> list[Node]:
    """The documents of one file."""
    if path == "-":
        return parse(sys.stdin.buffer.read(), "standard input")
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise Problems([Problem(path, "", f"This can not be read: {error.strerror}.")]) from None
    if len(data) > MAX_BYTES:
        raise Problems([Problem(path, "", "This is larger than 64 MiB.")])
    return parse(data, path)


def parse(data: bytes, name: str) -> list[Node]:
    """CSV by the file's ending; anything else is YAML, which JSON is too."""
    if name.lower().endswith((".csv", ".tsv")):
        return [_csv(data, name)]
    return _yaml(data, name)


# -- YAML -----------------------------------------------------------------------------------------


def _yaml(data: bytes, name: str) -> list[Node]:
    problems: list[Problem] = []
    try:
        roots = list(yaml.compose_all(data, Loader=_Loader))
    except yaml.MarkedYAMLError as error:
        where = name
        if error.problem_mark is not None:
            where += f", line {error.problem_mark.line + 1}"
        raise Problems([Problem(where, "", f"This is no YAML: {error.problem}.")]) from None
    except (yaml.YAMLError, UnicodeError, RecursionError) as error:
        text = str(error).splitlines()[0][:200] if str(error) else "unreadable"
        raise Problems([Problem(name, "", f"This is no YAML: {text}.")]) from None
    seen: set[int] = set()
    documents = [_node(root, name, seen, problems) for root in roots if root is not None]
    if problems:
        raise Problems(problems)
    return documents


def _node(root, name: str, seen: set[int], problems: list[Problem]) -> Node:
    where = f"{name}, line {root.start_mark.line + 1}"
    if id(root) in seen:
        # a few nested anchors make a file that is larger than any memory
        problems.append(Problem(where, "", "Anchors and aliases can not be used here."))
        return Node(None, where)
    seen.add(id(root))
    if isinstance(root, yaml.ScalarNode):
        empty = not root.style and root.value in ("", "~", "null", "Null", "NULL")
        return Node(None if empty else root.value, where)
    if isinstance(root, yaml.SequenceNode):
        return Node([_node(item, name, seen, problems) for item in root.value], where)
    fields: dict[str, Node] = {}
    for key, value in root.value:
        at = f"{name}, line {key.start_mark.line + 1}"
        if not isinstance(key, yaml.ScalarNode):
            problems.append(Problem(at, "", "The name of a field must be text."))
            continue
        if key.value in fields:
            problems.append(Problem(at, "", f"The field {key.value[:60]!r} is there twice."))
        fields[key.value] = _node(value, name, seen, problems)
    return Node(fields, where)


# -- CSV ------------------------------------------------------------------------------------------


def _csv(data: bytes, name: str) -> Node:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Problems([Problem(name, "", "This is not UTF-8 text.")]) from None
    head = text.split("\n", 1)[0]
    mark = max(",;\t", key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=True)
    problems: list[Problem] = []
    rows: list[Node] = []
    kind, columns = "", []
    try:
        for cells in reader:
            where = f"{name}, line {reader.line_num}"
            if not any(cell.strip() for cell in cells):
                continue
            if not columns:
                columns = [cell.strip().lower() for cell in cells]
                kind = _kind(name, columns, where)
                continue
            if len(cells) > len(columns):
                problems.append(Problem(where, "", f"There are only {len(columns)} columns."))
                continue
            rows.append(_row(kind, columns, cells, where))
    except csv.Error as error:
        problems.append(Problem(f"{name}, line {reader.line_num}", "", f"This is no CSV: {error}."))
    if not columns and not problems:
        problems.append(Problem(name, "", "The first line must name the columns."))
    if problems:
        raise Problems(problems)
    return Node({kind: Node(rows, name)}, name)


def _kind(name: str, columns: list[str], where: str) -> str:
    twice = {c for c in columns if columns.count(c) > 1}
    if twice:
        raise Problems([Problem(where, "", f"The column {sorted(twice)[0]!r} is there twice.")])
    stem = re.match(r"[a-z]*", Path(name).name.lower()).group()
    kind = stem if stem in CSV_COLUMNS else ""
    if not kind:
        fits = [
            k for k, known in CSV_COLUMNS.items()
            if set(columns) <= set(known) and CSV_NEEDS[k] <= set(columns)
        ]  # fmt: skip
        kind = fits[0] if len(fits) == 1 else ""
    if not kind:
        known = "; ".join(f"{k}: {', '.join(c)}" for k, c in CSV_COLUMNS.items())
        text = f"What this file holds is not clear. Name it like wallets.csv. Columns are: {known}."
        raise Problems([Problem(where, "", text)])
    unknown = [c for c in columns if c not in CSV_COLUMNS[kind]]
    if unknown:
        known = ", ".join(CSV_COLUMNS[kind])
        text = f"There is no column {unknown[0][:60]!r} for {kind}; the columns are {known}."
        raise Problems([Problem(where, "", text)])
    return kind


def _row(kind: str, columns: list[str], cells: list[str], where: str) -> Node:
    given = {
        column: cell.strip() for column, cell in zip(columns, cells, strict=False) if cell.strip()
    }
    if kind == "groups":
        return Node(given.get("group"), where)
    if kind == "exemptions" and len(given) == 2:
        return Node({given["kind"]: Node(given["name"], where)}, where)
    fields = {column: Node(cell, where) for column, cell in given.items()}
    if kind == "wallets" and "groups" in given:
        names = [x.strip() for x in given["groups"].split(LIST_MARK) if x.strip()]
        fields["groups"] = Node([Node(x, where) for x in names], where)
    if kind == "wallets" and given.get("allowance") != "none":
        parts = (("amount", "allowance"), ("period", "period"), ("carry", "carry"))
        of_it = {name: fields.pop(column) for name, column in parts if column in fields}
        if of_it:
            fields["allowance"] = Node(of_it, where)
    return Node(fields, where)


# -- writing --------------------------------------------------------------------------------------

_HEAD = "# Written by `jhub-usage export`; `jhub-usage apply` reads it.\n"


def dump_yaml(document: dict) -> str:
    """A document as YAML that ``read`` understands."""
    return _HEAD + yaml.dump(
        document, Dumper=_Dumper, allow_unicode=True, sort_keys=False, default_flow_style=False,
        width=100,
    )  # fmt: skip


def dump_json(document: dict) -> str:
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"
