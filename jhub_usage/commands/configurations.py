"""``jhub-usage apply`` and ``export``: configuration as data."""

import os
import sys
from pathlib import Path

from ..actions import plans
from ..adapters import files
from ..domain.errors import BadInput
from .shell import Shell, print_json, printable


def apply(args) -> int:
    declared = files.read_files(args.files)
    with Shell(args) as shell:
        hub_id = shell.settings.hub_id
        if args.dry_run:
            plan = shell.look(plans.plan, declared, hub_id, timezone=shell.settings.timezone)
        else:
            plan = shell.act(plans.apply, declared, hub_id, policy=shell.context.policy)
    if args.json:
        print_json({"applied": not args.dry_run, "changes": plan.changes,
                    "notes": [x for x in plan.lines if x not in plan.changes]})  # fmt: skip
        return 0
    for line in plan.lines:
        print(printable(line))
    print(plan.summary() + (" Nothing was done: this was --dry-run." if args.dry_run else ""))
    return 0


def export(args) -> int:
    with Shell(args) as shell:
        document = shell.look(plans.export, shell.settings.hub_id)
    text = files.dump_json(document) if args.json else files.dump_yaml(document)
    if args.file == "-":
        sys.stdout.write(text)
        return 0
    # a reader of the file never sees half of it
    target = Path(args.file)
    part = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise BadInput(f"{args.file} can not be written: {error.strerror}.") from None
    return 0
