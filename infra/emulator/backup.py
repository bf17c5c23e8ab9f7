"""AWS Backup: the resources that a selection assigns to its plan.

Sources: AWS Backup API, BackupSelection and Conditions; AWS re:Post, "How do I assign resources to a Backup plan?".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ministack.core import responses
from ministack.services import backup, dynamodb, efs, rds, s3, tagging

from infra.emulator import paths
from infra.emulator.replacing import Original

_create_selection = Original(backup, "_create_selection")
_OPERATORS = {
    "StringEquals": (False, False),
    "StringLike": (True, False),
    "StringNotEquals": (False, True),
    "StringNotLike": (True, True),
}


def install() -> None:
    """Complete MiniStack's AWS Backup."""
    _create_selection.replace(create_selection)
    paths.add("backup-selection", resolve)


def create_selection(plan_id: str, body: dict[str, Any]) -> Any:
    """Create a selection. An ARN may have a wildcard only at its end."""
    selection = body.get("BackupSelection", {})
    for arn in [*(selection.get("Resources") or []), *(selection.get("NotResources") or [])]:
        if "*" in arn and not arn.endswith("*"):
            return backup._err("InvalidParameterValueException", f"Invalid ARN {arn}: a wildcard must be at the end")
    return _create_selection(plan_id, body)


def resolve(request: dict[str, Any]) -> dict[str, Any]:
    """Return the resources of a selection: maps `{"Region", "SelectionId"}` to `{"ResourceArns"}`.

    Raises:
        ValueError: there is no such selection.
    """
    responses.set_request_region(request["Region"])
    selection = backup._selections.get(request["SelectionId"])
    if selection is None:
        raise ValueError(f"there is no selection {request['SelectionId']}")
    return {"ResourceArns": sorted(arn for arn, tags in _resources() if _is_selected(selection, arn, tags))}


def _resources() -> Iterator[tuple[str, Mapping[str, str]]]:
    """Return the ARNs and tags of resources that AWS Backup supports: tables, buckets, file systems and databases."""
    tags = {
        arn: {tag["Key"]: tag["Value"] for tag in listed}
        for collect in (tagging._collect_dynamodb, tagging._collect_efs, tagging._collect_s3)
        for arn, listed in collect()
    }
    tags |= {arn: {tag["Key"]: tag["Value"] for tag in listed} for arn, listed in rds._tags.items()}
    region = responses.get_region()
    arns = [table["TableArn"] for table in dynamodb._tables.values()]
    arns += [f"arn:aws:s3:::{name}" for name in s3._buckets if s3.bucket_region(name) == region]
    arns += [system["FileSystemArn"] for system in efs._file_systems.values()]
    arns += [instance["DBInstanceArn"] for instance in rds._instances.values()]
    arns += [cluster["DBClusterArn"] for cluster in rds._clusters.values()]
    for arn in arns:
        yield arn, tags.get(arn, {})


def _is_selected(selection: Mapping[str, Any], arn: str, tags: Mapping[str, str]) -> bool:
    listed, any_tags = selection.get("Resources") or [], selection.get("ListOfTags") or []
    if any(_matches(pattern, arn) for pattern in selection.get("NotResources") or []):
        return False
    # Without ARNs and tags, all resources are assigned. With both, a resource must match one of them.
    by_arn = any(_matches(pattern, arn) for pattern in listed) or not (listed or any_tags)
    by_tag = any(tags.get(_tag(condition["ConditionKey"])) == condition["ConditionValue"] for condition in any_tags)
    return (by_arn or by_tag) and all(
        _holds(operator, condition, tags)
        for operator, conditions in (selection.get("Conditions") or {}).items()
        for condition in conditions or []
    )


def _holds(operator: str, condition: Mapping[str, str], tags: Mapping[str, str]) -> bool:
    with_wildcards, negated = _OPERATORS[operator]
    actual, expected = tags.get(_tag(condition["ConditionKey"])), condition["ConditionValue"]
    found = actual is not None and (_matches(expected, actual) if with_wildcards else actual == expected)
    return found != negated


def _tag(key: str) -> str:
    return key.removeprefix("aws:ResourceTag/")


def _matches(pattern: str, text: str) -> bool:
    return bool(re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text, re.DOTALL))
