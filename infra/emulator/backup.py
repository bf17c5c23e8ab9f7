"""AWS Backup: which resources a selection assigns to its plan.

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
    """Make a selection; a wildcard in an ARN is at its end."""
    wanted = body.get("BackupSelection", {})
    for arn in [*(wanted.get("Resources") or []), *(wanted.get("NotResources") or [])]:
        if "*" in arn and not arn.endswith("*"):
            return backup._err("InvalidParameterValueException", f"Invalid ARN {arn}: a wildcard has to be at the end")
    return _create_selection(plan_id, body)


def resolve(wanted: dict[str, Any]) -> dict[str, Any]:
    """Return what a selection assigns: `{"Region", "SelectionId"}` to `{"ResourceArns"}`.

    Raises:
        ValueError: there is no such selection.
    """
    responses.set_request_region(wanted["Region"])
    selection = backup._selections.get(wanted["SelectionId"])
    if selection is None:
        raise ValueError(f"there is no selection {wanted['SelectionId']}")
    return {"ResourceArns": sorted(arn for arn, tags in _resources() if _is_selected(selection, arn, tags))}


def _resources() -> Iterator[tuple[str, Mapping[str, str]]]:
    """Return the ARNs and tags of what AWS Backup can back up: tables, buckets, file systems and databases."""
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
    # With neither ARNs nor tags everything is assigned, and with both what matches one of them.
    by_arn = any(_matches(pattern, arn) for pattern in listed) or not (listed or any_tags)
    by_tag = any(tags.get(_tag(each["ConditionKey"])) == each["ConditionValue"] for each in any_tags)
    return (by_arn or by_tag) and all(
        _holds(operator, each, tags)
        for operator, conditions in (selection.get("Conditions") or {}).items()
        for each in conditions or []
    )


def _holds(operator: str, condition: Mapping[str, str], tags: Mapping[str, str]) -> bool:
    with_wildcards, negated = _OPERATORS[operator]
    actual, wanted = tags.get(_tag(condition["ConditionKey"])), condition["ConditionValue"]
    found = actual is not None and (_matches(wanted, actual) if with_wildcards else actual == wanted)
    return found != negated


def _tag(key: str) -> str:
    return key.removeprefix("aws:ResourceTag/")


def _matches(pattern: str, text: str) -> bool:
    return bool(re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text, re.DOTALL))
