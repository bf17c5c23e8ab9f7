"""Shows what a restore would write."""

from __future__ import annotations

import json
from typing import Any

from ops import console
from rollbook.engine import fingerprints
from rollbook.engine.restore_request import Change, Mode, Plan, Request

_KINDS = {
    "added": "not in the table",
    "newer": "differ, and the table's item is newer than the backup",
    "replaced": "differ, and it is unknown which is newer",
}
_SHOWN = 20


def show_changes(plan: Plan, mode: Mode) -> None:
    """Print the selected items before and after; those that are equal are only counted."""
    equal = 0
    for change in plan.changes:
        if _is_equal(change):
            equal += 1
            continue
        console.say(change.key)
        console.say(f"  before  {_compact(change.before)}")
        is_left = change.before is not None and mode == "missing"
        console.say(f"  after   {'as before, without --overwrite' if is_left else _compact(change.after)}")
    if equal:
        console.say(f"{equal:,} selected {'item is' if equal == 1 else 'items are'} in the table as in the backup")
    if plan.changes and len(plan.changes) < plan.items:
        console.say(f"and {plan.items - len(plan.changes):,} more items")


def _is_equal(change: Change) -> bool:
    if change.before is None or change.after is None:
        return change.before is change.after
    return fingerprints.canonical(change.before) == fingerprints.canonical(change.after)


def _compact(item: bytes | None) -> str:
    if item is None:
        return "no item"
    return json.dumps(json.loads(item), ensure_ascii=False, separators=(",", ":"))


def show(plan: Plan, mode: Mode) -> None:
    """Print the first keys of each kind, and the number of writes."""
    for kind, keys in plan.keys.items():
        if not keys:
            continue
        left = "; they are left without --overwrite" if kind != "added" and mode == "missing" else ""
        console.say(f"{kind}: {_KINDS[kind]}{left}")
        for key in keys[:_SHOWN]:
            console.say(f"  {key}")
        if len(keys) > _SHOWN:
            console.say("  and more; --json names up to 1,000 of each kind")
    console.say(f"It would write {plan.writes:,} of {plan.items:,} items. Nothing was changed.")


def changes_as_json(plan: Plan) -> list[dict[str, Any]]:
    """Return the selected items before and after, as JSON objects."""
    return [
        {
            "key": json.loads(change.key),
            "before": json.loads(change.before) if change.before else None,
            "after": json.loads(change.after) if change.after else None,
        }
        for change in plan.changes
    ]


def as_json(plan: Plan, request: Request) -> dict[str, Any]:
    """Return a plan as a JSON object."""
    planned: dict[str, Any] = {"key": request.key, "table": request.table_name}
    planned |= {"items": plan.items, "writes": plan.writes}
    if plan.outcome:
        planned |= {"added": plan.outcome.added, "removed": plan.outcome.removed, "changed": plan.outcome.changed}
        planned |= {"keys": {kind: [json.loads(key) for key in keys] for kind, keys in plan.keys.items()}}
    return planned | ({"changes": changes_as_json(plan)} if plan.changes else {})
