"""Read the changes of a plan from Terraform's JSON (`terraform show -json`)."""

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
    """The plan cannot be read, or its planning failed; the message says why."""


class Action(StrEnum):
    """What happens to a resource, in descending order of risk."""

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
    """An attribute that changes. `before` and `after` are None where it has no value.

    Arguments:
        path: such as `retry_policy.maximum_retry_attempts` or `rule[0].expiration`.
        is_sensitive: Terraform marks its value as secret.
        is_unknown: the value after is known only after the apply.
        forces_replacement: its change replaces the resource.
    """

    path: str
    before: Any
    after: Any
    is_sensitive: bool = False
    is_unknown: bool = False
    forces_replacement: bool = False


@dataclass(frozen=True)
class Resource:
    """A resource of the stack.

    Arguments:
        kind: its Terraform type.
        capability: the part of the stack that it belongs to.
        moved_from: its previous address, if the plan moves it.
        adopted_from: its id in the account, if the plan imports it.
    """

    address: str
    kind: str
    capability: str
    moved_from: str = ""
    adopted_from: str = ""


@dataclass(frozen=True)
class Change:
    """A resource that changes; `before` is empty for a new resource, `after` for a destroyed one."""

    resource: Resource
    action: Action
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    attributes: tuple[Attribute, ...]

    @property
    def address(self) -> str:
        """Return the address of the resource."""
        return self.resource.address

    @property
    def kind(self) -> str:
        """Return the Terraform type of the resource."""
        return self.resource.kind

    @property
    def name(self) -> str:
        """Return the name of the resource in AWS, if the plan has it."""
        known = {**self.after, **self.before} if self.action is Action.REPLACE else {**self.before, **self.after}
        names = ("alarm_name", "function_name", "bucket", "table_name", "name", "email_identity", "alias", "id")
        return next((str(known[key]) for key in names if known.get(key)), "")


@dataclass(frozen=True)
class Plan:
    """A plan: the changes, in descending order of risk, and the outputs that change."""

    changes: tuple[Change, ...]
    outputs: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        """Return whether nothing would change."""
        return not self.changes and not self.outputs


def drift_of(raw: bytes | str, paths: Mapping[str, str], configured: Mapping[str, Mapping[str, Any]]) -> Plan:
    """Return what changed outside of Terraform, according to a plan.

    Only configured attributes count. A bucket, for example, also shows the policy that another resource sets.

    Arguments:
        raw, paths: as in `parse`.
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
        raw: the output of `terraform show -json`.
        drift: return what changed outside of Terraform instead of what the plan would change.
        paths: of the constructs by address, from the synthesized stack; without one the address names the capability.

    Raises:
        PlanError: it is not a plan, or its planning failed.
    """
    try:
        plan = json.loads(raw)
        listed = plan.get("resource_drift" if drift else "resource_changes", [])
    except (ValueError, AttributeError) as error:
        raise PlanError(f"this is not a plan that `terraform show -json` printed: {error}") from None
    if not isinstance(plan, dict) or "format_version" not in plan:
        raise PlanError("this is not a plan that `terraform show -json` printed: it has no format_version")
    if plan.get("errored"):
        raise PlanError("the plan is incomplete, because planning failed; correct what Terraform named, and plan again")
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
    capability = path.partition("/")[0] or found["name"].partition("_")[0]
    return Change(
        Resource(address, found["type"], capability, moved_from, adopted_from),
        action or Action.CHANGE,
        before,
        after,
        attributes,
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
    """Return whether an unset attribute is read back as false; the provider does so after the first refresh."""
    return attribute.before is None and attribute.after is False and not attribute.is_unknown


# Attributes that the provider leaves unset at the apply and reads back as empty at the next refresh.
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
    # The provider treats an empty value and no value alike, and reports either.
    if before != after and not (before in _EMPTY and after in _EMPTY) and not _is_same_document(before, after):
        yield path, before, after


def _is_same_document(*sides: Any) -> bool:
    """Return whether both are texts with equal JSON."""
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
    """Return whether a path or one of its parents is marked as sensitive."""
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
