"""Computes the actions of a bucket's lifecycle rules at a moment, for the embedded AWS and for moto.

Sources: S3 User Guide, "Lifecycle configuration elements", "Transitioning objects using Amazon S3 Lifecycle" and
"Conflicts in lifecycle configurations".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

Rule = Mapping[str, Any]
ALL_CLASSES, VARIES = "all_storage_classes_128K", "varies_by_storage_class"
# Smaller objects are not moved, unless the rule has a size filter or the configuration's minimum varies by class.
_SMALLEST_BYTES = 128 * 1024
# From the most to the least expensive. An object can only move to a cheaper class.
_CLASSES = ("STANDARD", "STANDARD_IA", "INTELLIGENT_TIERING", "ONEZONE_IA", "GLACIER_IR", "GLACIER", "DEEP_ARCHIVE")
_ANY_SIZE = frozenset({"GLACIER", "DEEP_ARCHIVE"})


@dataclass(frozen=True)
class Version:
    """A version of an object, or a delete marker.

    Arguments:
        id: the version's id; None in a bucket that never had versioning.
        modified: when it was written (aware).
        size: in bytes.
    """

    key: str
    id: str | None
    modified: datetime
    size: int = 0
    storage_class: str = "STANDARD"
    tags: Mapping[str, str] = field(default_factory=dict)
    is_latest: bool = True
    is_marker: bool = False


@dataclass(frozen=True)
class Upload:
    """An incomplete multipart upload."""

    key: str
    id: str
    started: datetime


@dataclass(frozen=True)
class Action:
    """An action: expire the current version, delete or move a version, or abort an upload.

    Arguments:
        id: of the version or the upload.
        storage_class: the target of a move.
    """

    kind: Literal["expire", "delete", "move", "abort"]
    key: str
    id: str | None
    storage_class: str = ""


def plan(
    rules: Sequence[Rule],
    versions: Sequence[Version],
    uploads: Sequence[Upload],
    now: datetime,
    minimum: str = ALL_CLASSES,
) -> list[Action]:
    """Return the actions that are due.

    Arguments:
        rules: in the form of GetBucketLifecycleConfiguration.
        versions: all versions; those of a key are ordered from the newest to the oldest.
        minimum: the configuration's default minimum object size for transitions.
    """
    enabled = [rule for rule in rules if rule.get("Status") == "Enabled"]
    by_key: dict[str, list[Version]] = defaultdict(list)
    for version in versions:
        by_key[version.key].append(version)
    return [
        *(action for of_key in by_key.values() for action in _of_key(enabled, of_key, now, minimum)),
        *(Action("abort", upload.key, upload.id) for upload in uploads if _is_abandoned(enabled, upload, now)),
    ]


def _of_key(rules: Sequence[Rule], versions: Sequence[Version], now: datetime, minimum: str) -> Iterator[Action]:
    for place, version in enumerate(versions):
        matching = [rule for rule in rules if _matches(rule, version)]
        if version.is_latest:
            steps = [_current(rule, version, now, is_alone=len(versions) == 1, minimum=minimum) for rule in matching]
        else:
            since = versions[place - 1].modified if place else version.modified
            newer = sum(not earlier.is_marker and not earlier.is_latest for earlier in versions[:place])
            steps = [_noncurrent(rule, version, since, newer, now, minimum) for rule in matching]
        due = [action for of_rule in steps for action in of_rule]
        if due:
            # A deletion has priority over a move. Of two moves, the one to the cheaper class has priority.
            yield min(due, key=lambda action: (action.kind == "move", -_rank(action.storage_class)))


def _current(rule: Rule, version: Version, now: datetime, *, is_alone: bool, minimum: str) -> list[Action]:
    expiration = rule.get("Expiration", {})
    is_due = _is_due(expiration, version.modified, now)
    if version.is_marker:
        is_left = is_alone and (expiration.get("ExpiredObjectDeleteMarker") or is_due)
        return [Action("delete", version.key, version.id)] if is_left else []
    if is_due:
        return [Action("expire", version.key, version.id)]
    return [
        Action("move", version.key, version.id, step["StorageClass"])
        for step in rule.get("Transitions", [])
        if _is_due(step, version.modified, now) and _may_move(rule, version, step["StorageClass"], minimum)
    ]


def _noncurrent(rule: Rule, version: Version, since: datetime, newer: int, now: datetime, minimum: str) -> list[Action]:
    expiration = rule.get("NoncurrentVersionExpiration")
    if expiration and _is_old(expiration, since, newer, now):
        return [Action("delete", version.key, version.id)]
    return [
        Action("move", version.key, version.id, step["StorageClass"])
        for step in rule.get("NoncurrentVersionTransitions", [])
        if _is_old(step, since, newer, now) and _may_move(rule, version, step["StorageClass"], minimum)
    ]


def _is_old(step: Rule, since: datetime, newer: int, now: datetime) -> bool:
    return newer >= step.get("NewerNoncurrentVersions", 0) and now >= _day_after(since, step["NoncurrentDays"])


def _is_due(step: Rule, modified: datetime, now: datetime) -> bool:
    date = step.get("Date")
    if date:
        moment = date if isinstance(date, datetime) else datetime.fromisoformat(date)
        return now >= moment
    return "Days" in step and now >= _day_after(modified, step["Days"])


def _day_after(moment: datetime, days: int) -> datetime:
    """Return the first midnight (UTC) that is at least some days after a moment."""
    late = moment.astimezone(UTC) + timedelta(days=days)
    midnight = late.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight if midnight == late else midnight + timedelta(days=1)


def _may_move(rule: Rule, version: Version, storage_class: str, minimum: str) -> bool:
    if version.is_marker or _rank(storage_class) <= _rank(version.storage_class):
        return False
    conditions = _conditions(rule)
    has_size = "ObjectSizeGreaterThan" in conditions or "ObjectSizeLessThan" in conditions
    is_any_size = has_size or (minimum == VARIES and storage_class in _ANY_SIZE)
    return is_any_size or version.size >= _SMALLEST_BYTES


def _rank(storage_class: str) -> int:
    return _CLASSES.index(storage_class) if storage_class in _CLASSES else len(_CLASSES)


def _conditions(rule: Rule) -> Mapping[str, Any]:
    found = dict(rule.get("Filter") or {})
    conditions: dict[str, Any] = found.pop("And", {}) | found
    tags = [*conditions.pop("Tags", []), *([conditions.pop("Tag")] if "Tag" in conditions else [])]
    return {"Prefix": rule.get("Prefix", ""), "Tags": tags} | conditions


def _matches(rule: Rule, version: Version) -> bool:
    conditions = _conditions(rule)
    if not version.key.startswith(conditions["Prefix"] or ""):
        return False
    if any(version.tags.get(tag["Key"]) != tag["Value"] for tag in conditions["Tags"]):
        return False
    above, below = conditions.get("ObjectSizeGreaterThan"), conditions.get("ObjectSizeLessThan")
    return (above is None or version.size > above) and (not below or version.size < below)


def _is_abandoned(rules: Sequence[Rule], upload: Upload, now: datetime) -> bool:
    steps = [
        rule["AbortIncompleteMultipartUpload"]
        for rule in rules
        if rule.get("AbortIncompleteMultipartUpload") and upload.key.startswith(_conditions(rule)["Prefix"] or "")
    ]
    return any(now >= _day_after(upload.started, step["DaysAfterInitiation"]) for step in steps)
