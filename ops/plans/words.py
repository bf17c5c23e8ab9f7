"""Describe a change in words: values, policies by statement, schedules with their firings, zips by file."""

from __future__ import annotations

import itertools
import json
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from io import BytesIO
from typing import Any

from ops.plans.changes import Action, Attribute, Change
from rollbook.contract import schedules

# Types whose contents are lost with them, and what is lost.
KEEPS = {
    "aws_backup_vault": "its recovery points are lost; Terraform can delete it only when it is empty or force_destroy",
    "aws_cloudwatch_event_archive": "its events are lost",
    "aws_cloudwatch_log_group": "its log is lost",
    "aws_cloudtrail": "events are not recorded until there is a new trail",
    "aws_dynamodb_table": "its items are lost; with point-in-time recovery DynamoDB keeps a backup of a deleted table "
    "for 35 days",
    "aws_kms_key": "after deletion_window_in_days nothing that it encrypted can be read",
    "aws_s3_bucket": "its objects and all their versions are lost",
    "aws_sqs_queue": "its dead letters are lost",
}
_FIRINGS = 5
_LONGEST = 120
_MOST_FILES = 24


def reversibility(change: Change) -> str:
    """Return whether a change can be undone."""
    if change.action not in {Action.DESTROY, Action.REPLACE}:
        return "can be undone" if change.action is not Action.FORGET else "stays in AWS; Terraform no longer manages it"
    lost = KEEPS.get(change.kind)
    return f"CANNOT be undone: {lost}" if lost else "can be created again"


def lines(change: Change, now: datetime, code: Callable[[Change], list[str]]) -> Iterator[str]:
    """Yield what changes, attribute by attribute.

    Arguments:
        now: schedules show their firings after it (aware).
        code: returns the changed files of a function's zip, as `+ a`, `- b`, `~ c`.
    """
    if change.resource.moved_from:
        yield f"moved from {change.resource.moved_from}; nothing changes in AWS"
    if change.resource.adopted_from:
        yield f"adopted from {change.resource.adopted_from}"
    is_code = {"source_code_hash", "filename", "last_modified", "code_sha256", "qualified_arn", "version"}
    if change.kind == "aws_lambda_function" and any(part.path == "source_code_hash" for part in change.attributes):
        files = code(change)
        yield "code:" if files else "code: the same files"
        yield from (f"  {line}" for line in files)
    for attribute in change.attributes:
        if change.kind == "aws_lambda_function" and attribute.path in is_code:
            continue
        reason = "  ← forces the replacement" if attribute.forces_replacement else ""
        if attribute.is_sensitive:
            yield f"{attribute.path}: (sensitive) → (sensitive){reason}"
        elif attribute.is_unknown:
            yield f"{attribute.path}: {_value(attribute.before)} → (known after apply){reason}"
        elif (documents := _documents(attribute)) is not None:
            yield f"{attribute.path}:{reason}"
            yield from (f"  {line}" for line in _document(*documents))
        elif attribute.path == "schedule_expression":
            yield f"{attribute.path}:{reason}"
            yield f"  - {_schedule(change.before, now)}"
            yield f"  + {_schedule(change.after, now)}"
        else:
            yield f"{attribute.path}: {_value(attribute.before)} → {_value(attribute.after)}{reason}"


def _value(value: Any) -> str:
    if value is None:
        return "(none)"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text):,} characters)"


def _documents(attribute: Attribute) -> tuple[Any, Any] | None:
    """Return both sides if they are texts with a JSON object or list."""
    sides: list[Any] = []
    for side in (attribute.before, attribute.after):
        if side is None:
            sides.append({})
            continue
        if not isinstance(side, str) or not side.lstrip().startswith(("{", "[")):
            return None
        try:
            sides.append(json.loads(side))
        except ValueError:
            return None
    return (sides[0], sides[1]) if any(sides) else None


def _document(before: Any, after: Any) -> Iterator[str]:
    """Yield the differences of two documents: of policies by statement, of others by path."""
    if _is_policy(before) or _is_policy(after):
        old, new = _statements(before), _statements(after)
        for name in [*old, *(name for name in new if name not in old)]:
            if name not in new:
                yield f"- {name}: {_statement(old[name])}"
            elif name not in old:
                yield f"+ {name}: {_statement(new[name])}"
            elif old[name] != new[name]:
                yield f"~ {name}:"
                for key in sorted({*old[name], *new[name]}):
                    yield from (f"    {line}" for line in _values(key, old[name].get(key), new[name].get(key)))
        return
    flat = (dict(_flat("", before)), dict(_flat("", after)))
    for path in sorted({*flat[0], *flat[1]}):
        yield from _values(path, flat[0].get(path), flat[1].get(path))


def _values(key: str, old: Any, new: Any) -> Iterator[str]:
    if old == new:
        return
    before, after = _list(old), _list(new)
    yield from (f"- {key}: {_value(value)}" for value in before if value not in after)
    yield from (f"+ {key}: {_value(value)}" for value in after if value not in before)


def _is_policy(document: Any) -> bool:
    return isinstance(document, dict) and "Statement" in document


def _statements(document: Any) -> dict[str, Any]:
    found = _list(document.get("Statement")) if isinstance(document, dict) else []
    return {str(statement.get("Sid") or f"statement {number}"): statement for number, statement in enumerate(found, 1)}


def _statement(statement: Mapping[str, Any]) -> str:
    def part(*names: str) -> str:
        return ", ".join(str(_value(item)) for name in names for item in _list(statement.get(name)))

    who = f" for {part('Principal')}" if "Principal" in statement else ""
    condition = f" if {_value(statement['Condition'])}" if "Condition" in statement else ""
    return (
        f"{statement.get('Effect')} {part('Action', 'NotAction')} on {part('Resource', 'NotResource')}{who}{condition}"
    )


def _flat(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flat(f"{path}.{key}" if path else key, inner)
    elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        for number, inner in enumerate(value):
            yield from _flat(f"{path}[{number}]", inner)
    else:
        yield path, value


def _list(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _schedule(values: Mapping[str, Any], now: datetime) -> str:
    expression = str(values.get("schedule_expression"))
    zone = str(values.get("schedule_expression_timezone") or "UTC")
    try:
        found = list(itertools.islice(schedules.parse(expression, zone).after(now), _FIRINGS))
    except schedules.ScheduleError as error:
        return f"{expression} {zone}: {error}"
    if expression.startswith("rate("):
        return f"{expression}, counted from the creation of the schedule"
    firings = ", ".join(f"{firing:%Y-%m-%d %H:%M}Z" for firing in found)
    return f"{expression} {zone}: fires {firings or 'never again'}"


def zip_changes(old: bytes, new: bytes) -> list[str]:
    """Return the files that differ between two zips; if too many to list, their number for each top folder."""
    sides = [_files(raw) for raw in (old, new)]
    found = []
    for name in sorted({*sides[0], *sides[1]}):
        before, after = sides[0].get(name), sides[1].get(name)
        if before != after:
            found.append(("+" if before is None else "-" if after is None else "~", name))
    if len(found) > _MOST_FILES:
        folders = Counter((sign, name.partition("/")[0]) for sign, name in found if "/" in name)
        found = [each for each in found if "/" not in each[1]]
        found += [(sign, f"{folder}/ ({count:,} files)") for (sign, folder), count in folders.items()]
    return [f"{sign} {name}" for sign, name in found]


def _files(raw: bytes) -> dict[str, int]:
    with zipfile.ZipFile(BytesIO(raw)) as archive:
        return {entry.filename: entry.CRC for entry in archive.infolist() if not entry.is_dir()}
