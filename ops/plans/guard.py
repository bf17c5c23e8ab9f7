"""What a plan may not do without a written exception: lose data, open access, shorten what is kept, look away."""

from __future__ import annotations

import json
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

# Retentions, by type and attribute: less than before is refused. None is for ever.
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
    """The file of exceptions is not usable; the message says where and why."""


class Exemption(BaseModel):
    """A written exception: one rule, one resource, until a day, by whom and why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rule: str
    address: str = Field(min_length=1, description="Address; `*` stands for any characters.")
    reason: Annotated[str, Field(min_length=10)]
    approved_by: Annotated[str, Field(min_length=2)]
    expires: date


@dataclass(frozen=True)
class Finding:
    """Something that a plan may not do.

    Arguments:
        rule: its name, as an exception has it.
        exemption: what lets it pass; None if it does not.
        expired: an exception that would have, until its day.
    """

    rule: str
    address: str
    what: str
    exemption: Exemption | None = None
    expired: Exemption | None = None

    @property
    def is_allowed(self) -> bool:
        """Return whether a written exception lets it pass."""
        return self.exemption is not None


def check(plan: Plan, exemptions: Sequence[Exemption], today: date) -> list[Finding]:
    """Return what a plan may not do, with the exception of each that has one.

    An exception holds to the end of its day.
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
    """Read the exceptions, `[[exception]]` each; without the file there are none.

    Raises:
        ExceptionsError: it cannot be read, or one is not whole.
    """
    if not path.exists():
        return []
    try:
        found = tomllib.loads(path.read_text("utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ExceptionsError(f"{path}: {error}") from None
    unknown = set(found) - {"exception"}
    if unknown:
        raise ExceptionsError(f"{path}: there is {sorted(unknown)}; write [[exception]]")
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
        yield f"forgets {change.name or change.address}: nobody looks after it any more"


def _unprotects(change: Change) -> Iterator[str]:
    for attribute in change.attributes:
        name = attribute.path.rpartition(".")[2]
        off = attribute.before is True and attribute.after is not True
        if name in {"deletion_protection_enabled", "enable_log_file_validation", "enable_logging"} and off:
            yield f"turns {name} off"
        if name == "force_destroy" and attribute.after is True:
            yield "lets Terraform delete it with all that is in it (force_destroy)"
        if attribute.path.startswith("point_in_time_recovery") and off:
            yield "turns point-in-time recovery off"
        if attribute.path.endswith("versioning_configuration[0].status") and attribute.after != "Enabled":
            yield "stops keeping older versions"


def _opens_bucket(change: Change) -> Iterator[str]:
    guards = {"aws_s3_bucket_public_access_block", "aws_s3_bucket_ownership_controls", "aws_s3_bucket_policy"}
    guards.add("aws_s3_bucket_server_side_encryption_configuration")
    if change.kind in guards and change.action is Action.DESTROY:
        yield "takes a bucket's protection away"
    if change.kind == "aws_s3_bucket_public_access_block":
        for attribute in change.attributes:
            if attribute.before is True and attribute.after is not True:
                yield f"{attribute.path} is no longer on"
    if change.kind == "aws_s3_bucket_policy" and change.action in {Action.CHANGE, Action.REPLACE}:
        gone = _denials(change.before) - _denials(change.after)
        for sid in sorted(gone):
            yield f"takes the refusal {sid} out of the bucket's policy"


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
                yield f"{sid} allows {', '.join(map(str, wild)) or 'all but some actions'}"
            limited = not set(_list(statement.get("Action"))) <= WITHOUT_RESOURCE
            if limited and "*" in _list(statement.get("Resource")) and "*" not in _resources(change.before.get(field)):
                yield f"{sid} is for every resource"
            principal = statement.get("Principal")
            everybody = principal == "*" or (isinstance(principal, dict) and "*" in _list(principal.get("AWS")))
            if everybody and not statement.get("Condition"):
                yield f"{sid} is for everybody"


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
        yield "unlocks the vault: recovery points can be deleted before their time"


def _shortens(change: Change) -> Iterator[str]:
    if change.kind == "aws_s3_bucket_lifecycle_configuration" and change.action is Action.ADD:
        # The name of a bucket that is made with it is not known yet.
        if bucket := change.after.get("bucket"):
            for name, what, days in _expirations(change.after):
                yield f"{name} begins to delete {what} that {bucket} holds already, after {days} days"
        return
    for attribute in change.attributes:
        if change.kind == "aws_kms_key" and attribute.before is None:
            continue  # an adopted key's window is not known: AWS tells it only of a key that is being deleted
        known = (change.kind, attribute.path) in _RETENTIONS
        if not known and not attribute.path.endswith(_RETAINING_LEAVES):
            continue
        before, after = _days(attribute.before), _days(attribute.after)
        if after < before:
            yield f"{attribute.path}: {attribute.before or 'for ever'} → {attribute.after}"


def _expirations(lifecycle: Mapping[str, Any]) -> Iterator[tuple[str, str, int]]:
    parts = (
        ("objects", "expiration", "days"),
        ("older versions", "noncurrent_version_expiration", "noncurrent_days"),
    )
    for rule in lifecycle.get("rule") or []:
        for what, part, leaf in parts:
            for block in rule.get(part) or []:
                if block.get(leaf):
                    yield str(rule["id"]), what, int(block[leaf])


def _days(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and value else float("inf")


def _looks_away(change: Change) -> Iterator[str]:
    if change.kind in {"aws_cloudwatch_metric_alarm", "aws_sns_topic", "aws_sns_topic_subscription", "aws_cloudtrail"}:
        if change.action is Action.DESTROY:
            yield f"takes away what tells: {change.name or change.address}"
        for attribute in change.attributes:
            if attribute.path == "actions_enabled" and attribute.after is False:
                yield "the alarm no longer tells anybody"
            if attribute.path == "treat_missing_data" and attribute.before == "breaching":
                yield "silence no longer counts as bad"
            if attribute.path == "alarm_actions" and not attribute.after:
                yield "the alarm no longer tells anybody"
    if change.kind == "aws_scheduler_schedule":
        if change.action is Action.DESTROY:
            yield f"takes the schedule {change.name} away"
        for attribute in change.attributes:
            if attribute.path == "state" and attribute.after == "DISABLED":
                yield f"switches the schedule {change.name} off"


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
    "keep-watching": _looks_away,
}
