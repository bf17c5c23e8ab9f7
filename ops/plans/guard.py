"""The rules that a plan may break only with a written exception."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from infra.constructs.policy import WITHOUT_RESOURCE
from ops.plans.changes import Action, Change, Plan
from ops.plans.words import KEEPS
from rollbook.contract.retention import MARK, YES

# Retentions by type and attribute: a shorter one is refused. None means unlimited.
_RETENTIONS = {
    ("aws_cloudwatch_log_group", "retention_in_days"),
    ("aws_cloudwatch_event_archive", "retention_days"),
    ("aws_sqs_queue", "message_retention_seconds"),
    ("aws_backup_vault_lock_configuration", "min_retention_days"),
    ("aws_kms_key", "deletion_window_in_days"),
}
_RETAINING_LEAVES = (
    "expiration[0].days",
    "noncurrent_version_expiration[0].noncurrent_days",
    "lifecycle[0].delete_after",
)
_GONE = {Action.DESTROY, Action.REPLACE}


class ExceptionsError(ValueError):
    """The file of exceptions is not valid; the message says where and why."""


class Exemption(BaseModel):
    """A written exception from one rule for one resource, until a date, with its approver and its reason."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rule: str
    address: str = Field(min_length=1, description="Address; `*` matches any characters.")
    reason: Annotated[str, Field(min_length=10)]
    approved_by: Annotated[str, Field(min_length=2)]
    expires: date


@dataclass(frozen=True)
class Finding:
    """A change that breaks a rule.

    Arguments:
        rule: its name, as in an exception.
        exemption: the exception that allows it, if any.
        expired: an exception that allowed it until its date.
    """

    rule: str
    address: str
    what: str
    exemption: Exemption | None = None
    expired: Exemption | None = None

    @property
    def is_allowed(self) -> bool:
        """Return whether an exception allows it."""
        return self.exemption is not None


def check(plan: Plan, exemptions: Sequence[Exemption], today: date) -> list[Finding]:
    """Return the changes that break a rule, each with its exception if there is one.

    An exception is valid to the end of its date.
    """
    findings = []
    for change in plan.changes:
        for rule, look in RULES.items():
            for what in look(change):
                fitting = [
                    each for each in exemptions if each.rule == rule and fnmatchcase(change.address, each.address)
                ]
                valid = [each for each in fitting if each.expires >= today]
                findings.append(
                    Finding(
                        rule,
                        change.address,
                        what,
                        exemption=valid[0] if valid else None,
                        expired=None if valid or not fitting else fitting[0],
                    )
                )
    return findings


def load(path: Path) -> list[Exemption]:
    """Read the exceptions, each an `[[exception]]`. Without the file there are none.

    Raises:
        ExceptionsError: the file cannot be read, or an exception is not valid.
    """
    if not path.exists():
        return []
    try:
        found = tomllib.loads(path.read_text("utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ExceptionsError(f"{path}: {error}") from None
    unknown = set(found) - {"exception"}
    if unknown:
        raise ExceptionsError(f"{path}: unknown keys {sorted(unknown)}; write [[exception]]")
    exemptions = []
    for number, values in enumerate(found.get("exception", []), start=1):
        try:
            exemption = Exemption.model_validate(values)
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
            raise ExceptionsError(f"{path}: exception {number}: {faults}") from None
        if exemption.rule not in RULES:
            raise ExceptionsError(
                f"{path}: exception {number}: there is no rule {exemption.rule!r}; there are: {', '.join(RULES)}"
            )
        exemptions.append(exemption)
    return exemptions


def _loses_data(change: Change) -> Iterator[str]:
    if change.kind in KEEPS and change.action in _GONE:
        yield f"{change.action}s {change.name or change.address}: {KEEPS[change.kind]}"
    elif change.kind in KEEPS and change.action is Action.FORGET:
        yield f"forgets {change.name or change.address}: Terraform no longer manages it"


def _unprotects(change: Change) -> Iterator[str]:
    for attribute in change.attributes:
        name = attribute.path.rpartition(".")[2]
        off = attribute.before is True and attribute.after is not True
        if name in {"deletion_protection_enabled", "enable_log_file_validation", "enable_logging"} and off:
            yield f"turns {name} off"
        if name == "force_destroy" and attribute.after is True:
            yield "lets Terraform delete it with its contents (force_destroy)"
        if attribute.path.startswith("point_in_time_recovery") and off:
            yield "turns point-in-time recovery off"
        if attribute.path.endswith("versioning_configuration[0].status") and attribute.after != "Enabled":
            yield "no longer keeps older versions"


def _opens_bucket(change: Change) -> Iterator[str]:
    guards = {"aws_s3_bucket_public_access_block", "aws_s3_bucket_ownership_controls", "aws_s3_bucket_policy"}
    guards.add("aws_s3_bucket_server_side_encryption_configuration")
    if change.kind in guards and change.action is Action.DESTROY:
        yield "removes the protection of a bucket"
    if change.kind == "aws_s3_bucket_public_access_block":
        for attribute in change.attributes:
            if attribute.before is True and attribute.after is not True:
                yield f"{attribute.path} is no longer on"
    if change.kind == "aws_s3_bucket_policy" and change.action in {Action.CHANGE, Action.REPLACE}:
        gone = _denials(change.before) - _denials(change.after)
        for sid in sorted(gone):
            yield f"removes the Deny statement {sid} from the bucket policy"


def _denials(values: Mapping[str, Any]) -> set[str]:
    return {str(each.get("Sid")) for each in _statements(values.get("policy")) if each.get("Effect") == "Deny"}


def _opens_policy(change: Change) -> Iterator[str]:
    if change.action is Action.DESTROY:
        return
    for field in ("policy", "assume_role_policy", "policy_document"):
        before = [json.dumps(each, sort_keys=True) for each in _statements(change.before.get(field))]
        for statement in _statements(change.after.get(field)):
            if statement.get("Effect") != "Allow" or json.dumps(statement, sort_keys=True) in before:
                continue
            sid = statement.get("Sid", "a statement")
            wild = [action for action in _list(statement.get("Action")) if "*" in str(action)]
            if wild or "NotAction" in statement:
                yield f"{sid} allows {', '.join(map(str, wild)) or 'all actions but those of NotAction'}"
            limited = not set(_list(statement.get("Action"))) <= WITHOUT_RESOURCE
            if limited and "*" in _list(statement.get("Resource")) and "*" not in _resources(change.before.get(field)):
                yield f"{sid} allows every resource"
            principal = statement.get("Principal")
            is_public = principal == "*" or (isinstance(principal, dict) and "*" in _list(principal.get("AWS")))
            if is_public and not statement.get("Condition"):
                yield f"{sid} allows every principal"


def _resources(policy: Any) -> list[Any]:
    return [resource for each in _statements(policy) for resource in _list(each.get("Resource"))]


def _statements(policy: Any) -> list[dict[str, Any]]:
    try:
        document = json.loads(policy) if isinstance(policy, str) else {}
    except ValueError:
        return []
    return [each for each in _list(document.get("Statement")) if isinstance(each, dict)]


def _unlocks(change: Change) -> Iterator[str]:
    if change.kind != "aws_backup_vault_lock_configuration":
        return
    if change.action in _GONE:
        yield "unlocks the vault: recovery points can be deleted before their retention ends"


def _shortens(change: Change) -> Iterator[str]:
    yield from _unmarks(change)
    if change.kind == "aws_s3_bucket_lifecycle_configuration" and change.action is Action.ADD:
        # A bucket that the same plan creates has no name yet.
        if bucket := change.after.get("bucket"):
            for name, what, days in _expirations(change.after):
                yield f"{name} begins to delete existing {what} of {bucket} after {days} days"
        return
    for attribute in change.attributes:
        if change.kind == "aws_kms_key" and attribute.before is None:
            continue  # AWS returns the window only for a key that is being deleted, so an adopted key has none
        known = (change.kind, attribute.path) in _RETENTIONS
        if not known and not attribute.path.endswith(_RETAINING_LEAVES):
            continue
        if _is_of_marked(change, attribute.path):
            continue
        before, after = _days(attribute.before), _days(attribute.after)
        if after < before:
            yield f"{attribute.path}: {attribute.before or 'unlimited'} → {attribute.after}"


def _unmarks(change: Change) -> Iterator[str]:
    """Yield the rules that delete only marked objects before the change, and others after it."""
    if change.kind != "aws_s3_bucket_lifecycle_configuration":
        return
    before = {rule.get("id") for rule in change.before.get("rule") or [] if _needs_mark(rule)}
    for rule in change.after.get("rule") or []:
        if rule.get("id") in before and not _needs_mark(rule):
            yield f"the rule {rule['id']} deletes objects without the mark, too"


def _is_of_marked(change: Change, path: str) -> bool:
    """Return whether an attribute belongs to a lifecycle rule that deletes only marked objects."""
    found = re.match(r"rule\[(\d+)\]", path)
    rules = change.after.get("rule") or []
    return found is not None and int(found[1]) < len(rules) and _needs_mark(rules[int(found[1])])


def _needs_mark(rule: Mapping[str, Any]) -> bool:
    return any(
        (both.get("tags") or {}).get(MARK) == YES
        for of_filter in rule.get("filter") or []
        for both in of_filter.get("and") or []
    )


def _expirations(lifecycle: Mapping[str, Any]) -> Iterator[tuple[str, str, int]]:
    parts = (
        ("objects", "expiration", "days"),
        ("older versions", "noncurrent_version_expiration", "noncurrent_days"),
    )
    for rule in lifecycle.get("rule") or []:
        if _needs_mark(rule):
            continue
        for what, part, leaf in parts:
            for block in rule.get(part) or []:
                if block.get(leaf):
                    yield str(rule["id"]), what, int(block[leaf])


def _days(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and value else float("inf")


def _removes_monitoring(change: Change) -> Iterator[str]:
    if change.kind in {"aws_cloudwatch_metric_alarm", "aws_sns_topic", "aws_sns_topic_subscription", "aws_cloudtrail"}:
        if change.action is Action.DESTROY:
            yield f"removes monitoring: {change.name or change.address}"
        for attribute in change.attributes:
            if attribute.path == "actions_enabled" and attribute.after is False:
                yield "the alarm no longer notifies"
            if attribute.path == "treat_missing_data" and attribute.before == "breaching":
                yield "missing data no longer raises the alarm"
            if attribute.path == "alarm_actions" and not attribute.after:
                yield "the alarm no longer notifies"
    if change.kind == "aws_scheduler_schedule":
        if change.action is Action.DESTROY:
            yield f"removes the schedule {change.name}"
        for attribute in change.attributes:
            if attribute.path == "state" and attribute.after == "DISABLED":
                yield f"disables the schedule {change.name}"


def _list(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


RULES: Mapping[str, Callable[[Change], Iterator[str]]] = {
    "keep-data": _loses_data,
    "keep-protection": _unprotects,
    "keep-buckets-private": _opens_bucket,
    "keep-policies-narrow": _opens_policy,
    "keep-vaults-locked": _unlocks,
    "keep-retention": _shortens,
    "keep-watching": _removes_monitoring,
}
