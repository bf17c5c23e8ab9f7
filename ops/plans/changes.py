"""A plan as Terraform's JSON has it (`terraform show -json`), read into changes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

_UNKNOWN = object()
_EMPTY: tuple[Any, ...] = (None, "", [], {})


class PlanError(ValueError):
    """The plan cannot be read, or is one that failed; the message says why."""


class Action(StrEnum):
    """What happens to a resource, the worst first."""

    DESTROY = "destroy"
    REPLACE = "replace"
    FORGET = "forget"
    CHANGE = "change"
    ADOPT = "adopt"
    ADD = "add"


_ACTIONS = {
    ("delete",): Action.DESTROY,
    ("delete", "create"): Action.REPLACE,
    ("create", "delete"): Action.REPLACE,
    ("forget",): Action.FORGET,
    ("create", "forget"): Action.REPLACE,
    ("update",): Action.CHANGE,
    ("create",): Action.ADD,
}


@dataclass(frozen=True)
class Attribute:
    """An attribute that changes. `before` and `after` are None where there is none.

    Arguments:
        path: such as `retry_policy.maximum_retry_attempts` or `rule[0].expiration`.
        is_sensitive: Terraform says that its value is not to be shown.
        is_unknown: what comes after is known only once it is applied.
        forces_replacement: it is the reason why the resource is made anew.
    """

    path: str
    before: Any
    after: Any
    is_sensitive: bool = False
    is_unknown: bool = False
    forces_replacement: bool = False


@dataclass(frozen=True)
class Change:
    """A resource that changes; `before` is empty for a new one, `after` for one that goes.

    Arguments:
        moved_from: its address until now, if that was another one.
        adopted_from: its id in the account, if it is imported from there.
    """

    address: str
    kind: str
    capability: str
    action: Action
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    attributes: tuple[Attribute, ...]
    moved_from: str = ""
    adopted_from: str = ""

    @property
    def name(self) -> str:
        """Return the resource's own name in AWS, if the plan knows it."""
        known = {**self.after, **self.before} if self.action is Action.REPLACE else {**self.before, **self.after}
        names = ("alarm_name", "function_name", "bucket", "table_name", "name", "email_identity", "alias", "id")
        return next((str(known[key]) for key in names if known.get(key)), "")


@dataclass(frozen=True)
class Plan:
    """A whole plan: what changes, by the worst, and the outputs that do."""

    changes: tuple[Change, ...]
    outputs: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        """Return whether nothing would change."""
        return not self.changes and not self.outputs


def drift_of(raw: bytes | str, paths: Mapping[str, str], configured: Mapping[str, Mapping[str, Any]]) -> Plan:
    """Return what the making of a plan found changed outside of Terraform.

    Only of what is configured: a bucket, for one, echoes the policy that another resource gives it.

    Arguments:
        raw, paths: as of `parse`.
        configured: the synthesized resources by address.

    Raises:
        PlanError: see `parse`.
    """
    changes = []
    for change in parse(raw, paths, drift=True).changes:
        known = configured.get(change.address)
        kept = tuple(
            attribute
            for attribute in change.attributes
            if (known is None or re.split(r"[.\[]", attribute.path)[0] in {*known, "tags_all"})
            and not _is_still_off(attribute)
            and not _is_still_none(change.kind, attribute)
        )
        if kept or change.action is not Action.CHANGE:
            changes.append(replace(change, attributes=kept))
    return Plan(tuple(changes), ())


def parse(raw: bytes | str, paths: Mapping[str, str] | None = None, *, drift: bool = False) -> Plan:
    """Return a plan.

    Arguments:
        raw: what `terraform show -json` printed.
        drift: what its making found changed, instead of what it would change.
        paths: address to the construct's path, from the synthesized stack; of what is not there the address tells.

    Raises:
        PlanError: it is no plan, or its planning failed.
    """
    try:
        plan = json.loads(raw)
        listed = plan.get("resource_drift" if drift else "resource_changes", [])
    except (ValueError, AttributeError) as error:
        raise PlanError(f"this is no plan as `terraform show -json` prints it: {error}") from None
    if not isinstance(plan, dict) or "format_version" not in plan:
        raise PlanError("this is no plan as `terraform show -json` prints it: it has no format_version")
    if plan.get("errored"):
        raise PlanError("the plan is incomplete, as planning failed; see what Terraform said, and plan again")
    found = [change for each in listed if (change := _change(each, paths or {}))]
    order = list(Action)
    outputs = (
        []
        if drift
        else [name for name, output in plan.get("output_changes", {}).items() if output["actions"] != ["no-op"]]
    )
    return Plan(
        tuple(sorted(found, key=lambda change: (order.index(change.action), change.address))), tuple(sorted(outputs))
    )


def _change(found: dict[str, Any], paths: Mapping[str, str]) -> Change | None:
    if found["mode"] != "managed":
        return None
    change = found["change"]
    moved_from = found.get("previous_address", "")
    adopted_from = str((change.get("importing") or {}).get("id", ""))
    action = _ACTIONS.get(tuple(change["actions"]))
    if action is None and adopted_from:
        action = Action.ADOPT
    if action is None and not moved_from:
        return None
    before, after = change.get("before") or {}, change.get("after") or {}
    attributes = tuple(_attributes(change, before, after) if action in {Action.CHANGE, Action.REPLACE} else ())
    if adopted_from:
        attributes = tuple(attribute for attribute in attributes if not _is_still_off(attribute))
        action = Action.ADOPT if action is Action.CHANGE and not attributes else action
    address = found["address"]
    path = paths.get(address, "")
    return Change(
        address=address,
        kind=found["type"],
        capability=path.partition("/")[0] or found["name"].partition("_")[0],
        action=action or Action.CHANGE,
        before=before,
        after=after,
        attributes=attributes,
        moved_from=moved_from,
        adopted_from=adopted_from,
    )


def _attributes(change: dict[str, Any], before: dict[str, Any], after: dict[str, Any]) -> Iterator[Attribute]:
    unknown = change.get("after_unknown") or {}
    forcing = {_path(path) for path in change.get("replace_paths", [])}
    hidden = (change.get("before_sensitive") or {}, change.get("after_sensitive") or {})
    for path, old, new in _differences("", before, after, unknown):
        yield Attribute(
            path,
            old,
            None if new is _UNKNOWN else new,
            is_sensitive=any(_is_hidden(side, path) for side in hidden),
            is_unknown=new is _UNKNOWN,
            forces_replacement=any(path == force or path.startswith((f"{force}.", f"{force}[")) for force in forcing),
        )


def _is_still_off(attribute: Attribute) -> bool:
    """Return whether it was not set and is off: the provider says so only when it has read it back."""
    return attribute.before is None and attribute.after is False and not attribute.is_unknown


# What the provider leaves empty at the apply and reads back as nothing at the next look.
_READ_AS_NOTHING = {
    "aws_cloudfront_distribution": r"custom_error_response\[[^\]]*\]\.response_(code|page_path)",
}


def _is_still_none(kind: str, attribute: Attribute) -> bool:
    pattern = _READ_AS_NOTHING.get(kind)
    nothing = attribute.before is None and attribute.after in (0, "") and not attribute.is_unknown
    return bool(pattern and nothing and re.fullmatch(pattern, attribute.path))


def _differences(path: str, before: Any, after: Any, unknown: Any) -> Iterator[tuple[str, Any, Any]]:
    if unknown is True:
        if before is not None or path.count(".") == 0:
            yield path, before, _UNKNOWN
        return
    if isinstance(before, dict | None) and isinstance(after, dict | None) and (before or after or unknown):
        parts: dict[str, Any] = unknown if isinstance(unknown, dict) else {}
        for key in sorted({*(before or {}), *(after or {}), *parts}):
            inner = f"{path}.{key}" if path else key
            yield from _differences(inner, (before or {}).get(key), (after or {}).get(key), parts.get(key))
        return
    if isinstance(before, list) and isinstance(after, list) and _is_block(before, after):
        for number in range(max(len(before), len(after))):
            sides = [side[number] if number < len(side) else None for side in (before, after)]
            part = unknown[number] if isinstance(unknown, list) and number < len(unknown) else None
            yield from _differences(f"{path}[{number}]", sides[0], sides[1], part)
        return
    # To the provider an empty value and none are mostly the same, and it says now this and now that.
    if before != after and not (before in _EMPTY and after in _EMPTY) and not _is_same_document(before, after):
        yield path, before, after


def _is_same_document(*sides: Any) -> bool:
    """Return whether both are JSON in a text, and only written differently."""
    if not all(isinstance(side, str) and side.lstrip().startswith(("{", "[")) for side in sides):
        return False
    try:
        before, after = map(json.loads, sides)
    except ValueError:
        return False
    return bool(before == after)


def _is_block(*sides: list[Any]) -> bool:
    return any(sides) and all(isinstance(item, dict) for side in sides for item in side)


def _path(parts: list[str | int]) -> str:
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _is_hidden(side: Any, path: str) -> bool:
    """Return whether a path, or something that it is in, is marked as sensitive."""
    for part in path.replace("[", ".[").split("."):
        if side is True:
            return True
        if part.startswith("["):
            number = int(part[1:-1])
            side = side[number] if isinstance(side, list) and number < len(side) else None
        else:
            side = side.get(part) if isinstance(side, dict) else None
        if side is None:
            return False
    return _has_true(side)


def _has_true(side: Any) -> bool:
    if isinstance(side, dict):
        return any(map(_has_true, side.values()))
    if isinstance(side, list):
        return any(map(_has_true, side))
    return side is True
