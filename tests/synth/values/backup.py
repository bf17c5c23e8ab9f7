"""AWS Backup: what is backed up, when, how long it is kept, what is locked, tested and told."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from infra.settings import Settings
from tests.synth.values.delivery import firings
from tests.synth.values.names import Names
from tests.synth.values.view import View, check, differs

_MONDAY = datetime(2025, 1, 6, tzinfo=UTC)
# From that Monday on: every day at 05:00, on the first of a month, and the restore tests on Sundays.
_FIRINGS = {
    "RuleForDailyBackups": ["2025-01-06 05:00", "2025-01-07 05:00", "2025-01-08 05:00"],
    "RuleForMonthlyBackups": ["2025-02-01 05:00", "2025-03-01 05:00", "2025-04-01 05:00"],
}
_TESTS = ["2025-01-12 07:00", "2025-01-19 07:00", "2025-01-26 07:00"]
# AWS Backup Developer Guide, "AWS Backup Audit Manager controls and remediation".
_CONTROLS = {
    "BACKUP_RESOURCES_PROTECTED_BY_BACKUP_PLAN",
    "BACKUP_RECOVERY_POINT_ENCRYPTED",
    "BACKUP_RECOVERY_POINT_MANUAL_DELETION_DISABLED",
    "BACKUP_RECOVERY_POINT_MINIMUM_RETENTION_CHECK",
    "RESTORE_TIME_FOR_RESOURCES_MEET_TARGET",
}
# The longest time to think better of it (KMS API reference, ScheduleKeyDeletion: 7 to 30 days).
_KEY = {"deletion_window_in_days": 30, "enable_key_rotation": True}


def _vault(s: Settings, region: str | None = None) -> str:
    return Names(s).arn("backup", f"backup-vault:{s.vault.vault_name}", region)


def _regions(s: Settings) -> list[str]:
    return sorted({copy.region for rule in s.vault.rules for copy in rule.copies})


def _one(view: View, kind: str, wanted: bool) -> Iterator[dict[str, Any]]:
    """Yield a type's only resource, if the environment should have it.

    Raises:
        ValueError: there are more or fewer.
    """
    found = list(view.all(kind).values())
    if len(found) != int(wanted):
        raise ValueError(f"{len(found)} resources {kind}")
    yield from found


@check
def recovery_points_are_made_and_kept_as_the_settings_say(view: View) -> Iterator[str]:
    s = view.settings
    for plan in _one(view, "aws_backup_plan", s.vault.enabled):
        yield from differs("the plan's name", plan["name"], s.vault.plan_name)
        rules = {rule["rule_name"]: dict(rule) for rule in plan["rule"]}
        yield from differs("the rules", [r["rule_name"] for r in plan["rule"]], [rule.name for rule in s.vault.rules])
        for wanted in s.vault.rules:
            rule = rules[wanted.name]
            expression, zone = rule.pop("schedule"), rule.pop("schedule_expression_timezone")
            fires = firings(expression, zone, _MONDAY, 3)
            known = _FIRINGS.get(wanted.name, firings(wanted.expression, wanted.time_zone, _MONDAY, 3))
            yield from differs(f"{wanted.name}'s firings", fires, known)
            since = datetime(2028, 2, 28, tzinfo=UTC)
            planned = firings(wanted.expression, wanted.time_zone, since, 15)
            yield from differs(f"{wanted.name}'s firings", firings(expression, zone, since, 15), planned)
            yield from differs(f"{wanted.name}'s time zone", zone, wanted.time_zone)
            copies = [
                {
                    "destination_vault_arn": _vault(s, copy.region),
                    "lifecycle": _lifecycle(copy.delete_after_days, copy.cold_storage_after_days),
                }
                for copy in wanted.copies
            ]
            form = {
                "rule_name": wanted.name,
                "target_vault_name": s.vault.vault_name,
                "start_window": wanted.start_window_minutes,
                "completion_window": wanted.completion_window_minutes,
                "enable_continuous_backup": wanted.continuous,
                "lifecycle": _lifecycle(wanted.delete_after_days, wanted.cold_storage_after_days),
                "copy_action": copies,
            }
            if wanted.recovery_point_tags:
                form["recovery_point_tags"] = wanted.recovery_point_tags
            yield from differs(wanted.name, rule, form)


def _lifecycle(delete: int | None, cold: int | None) -> dict[str, int]:
    found = {"delete_after": delete, "cold_storage_after": cold}
    return {name: days for name, days in found.items() if days is not None}


@check
def what_carries_the_tag_is_backed_up_and_nothing_else(view: View) -> Iterator[str]:
    s, n = view.settings, Names(view.settings)
    found = view.by("aws_backup_selection", "name")
    yield from differs("the selections", sorted(found), sorted(each.name for each in s.vault.selections))
    for wanted in s.vault.selections:
        selection = found[wanted.name]
        tags = {(each["type"], each["key"], each["value"]) for each in selection.get("selection_tag", ())}
        yield from differs("the tags", sorted(tags), sorted(("STRINGEQUALS", k, v) for k, v in wanted.any_tags.items()))
        yield from differs(
            "the plan", selection["plan_id"], f"{n.arn('backup', f'backup-plan:{s.vault.plan_name}')}#id"
        )
        yield from differs("the role", selection["iam_role_arn"], n.role(s.vault.role_name))
        # A selection without tags that names every resource backs up the whole account.
        yield from differs("resources by ARN", selection.get("resources", []), wanted.resources)
    [records] = [
        each for each in view.stack["resource"]["aws_dynamodb_table"].values() if each["name"] == s.records.table_name
    ]
    if s.vault.enabled and records.get("tags", {}).get("backup") != s.records.backup_tag:
        yield "the table of the records does not carry the tag by which it is backed up"


@check
def vaults_are_encrypted_and_locked(view: View) -> Iterator[str]:
    s = view.settings
    regions = [s.region, *_regions(s)] if s.vault.enabled else []
    found = {view.region(vault): vault for vault in view.all("aws_backup_vault").values()}
    yield from differs("the vaults' Regions", sorted(found), sorted(regions))
    yield from differs("the number of vaults", len(view.all("aws_backup_vault")), len(regions))
    for region, vault in found.items():
        key = f"arn:aws_kms_key:{region}:Recovery points in {s.vault.vault_name}"
        wanted: dict[str, Any] = {"name": s.vault.vault_name, "force_destroy": s.force_destroy}
        wanted |= {"kms_key_arn": key} if s.vault.customer_key else {}
        yield from differs(f"the vault in {region}", {k: v for k, v in vault.items() if k != "provider"}, wanted)
    lock = s.vault.lock
    for locked in _one(view, "aws_backup_vault_lock_configuration", lock is not None and not s.emulated):
        assert lock is not None
        form: dict[str, Any] = {
            "backup_vault_name": s.vault.vault_name,
            "min_retention_days": lock.min_retention_days,
            "max_retention_days": lock.max_retention_days,
        }
        if lock.mode == "compliance":
            form["changeable_for_days"] = lock.changeable_for_days
        yield from differs("the lock", locked, form)
    for told in _one(view, "aws_backup_vault_notifications", s.vault.enabled and not s.emulated):
        form = {
            "backup_vault_name": s.vault.vault_name,
            "backup_vault_events": s.vault.notifications,
            "sns_topic_arn": Names(s).topic,
        }
        yield from differs("what the vault tells", told, form)


@check
def keys_are_rotated_and_can_be_had_back(view: View) -> Iterator[str]:
    s = view.settings
    wanted = [s.region, *_regions(s)] if s.vault.enabled and s.vault.customer_key else []
    copies = s.snapshots.destination_region
    if copies and not s.snapshots.kms_key_arn:
        wanted.append(copies)
    keys = list(view.all("aws_kms_key").values())
    yield from differs("the keys' Regions", sorted(map(view.region, keys)), sorted(wanted))
    for key in keys:
        yield from differs("a key", {name: value for name, value in key.items() if name != "provider"}, _KEY)
    for alias in view.all("aws_kms_alias").values():
        yield from differs("the alias's Region", view.region(alias), copies)
        yield from differs("the alias", alias["name"], f"alias/{s.snapshots.copy_prefix}-snapshots")
        key = f"arn:aws_kms_key:{copies}:Copies of database snapshots#id"
        yield from differs("the alias's key", alias["target_key_id"], key)


@check
def the_region_is_opted_in_as_the_settings_say(view: View) -> Iterator[str]:
    s = view.settings
    wanted = s.vault.enabled and bool(s.vault.region_opt_in) and not s.emulated
    for found in _one(view, "aws_backup_region_settings", wanted):
        form = {
            "resource_type_opt_in_preference": s.vault.region_opt_in,
            "resource_type_management_preference": s.vault.region_management,
        }
        yield from differs("the Region's settings", found, form)


@check
def restores_are_tested(view: View) -> Iterator[str]:
    s, n, testing = view.settings, Names(view.settings), view.settings.vault.restore_testing
    there = testing.enabled and not s.emulated
    for plan in _one(view, "aws_backup_restore_testing_plan", there):
        given = dict(plan)
        expression, zone = given.pop("schedule_expression"), given.pop("schedule_expression_timezone")
        yield from differs("the tests' times", firings(expression, zone, _MONDAY, 3), _TESTS)
        yield from differs("the tests' time zone", zone, testing.schedule_time_zone)
        form = {
            "name": testing.plan_name,
            "start_window_hours": testing.start_window_hours,
            "recovery_point_selection": [
                {
                    "algorithm": "LATEST_WITHIN_WINDOW",
                    "include_vaults": [_vault(s)],
                    "recovery_point_types": ["SNAPSHOT"],
                    "selection_window_days": testing.selection_window_days,
                }
            ],
        }
        yield from differs("the tests", given, form)
    for selection in _one(view, "aws_backup_restore_testing_selection", there):
        form = {
            "name": testing.selection_name,
            "restore_testing_plan_name": testing.plan_name,
            "protected_resource_type": "DynamoDB",
            "protected_resource_arns": [n.records],
            "iam_role_arn": n.role(s.vault.role_name),
            "validation_window_hours": testing.validation_window_hours,
        }
        yield from differs("what is tested", selection, form)


@check
def audit_manager_checks_and_reports(view: View) -> Iterator[str]:
    s = view.settings
    there = s.vault.enabled and s.vault.audit_manager and not s.emulated
    for framework in _one(view, "aws_backup_framework", there):
        controls = {
            control["name"]: {each["name"]: each["value"] for each in control.get("input_parameter", [])}
            for control in framework["control"]
        }
        days = min(rule.delete_after_days for rule in s.vault.rules if rule.delete_after_days)
        parameters = {
            "BACKUP_RECOVERY_POINT_MINIMUM_RETENTION_CHECK": {"requiredRetentionDays": str(days)},
            "RESTORE_TIME_FOR_RESOURCES_MEET_TARGET": {"maxRestoreTime": "720"},
        }
        yield from differs("the controls", controls, {name: parameters.get(name, {}) for name in _CONTROLS})
        yield from differs("the framework's name", framework["name"], "rollbook")
    for report in _one(view, "aws_backup_report_plan", there):
        form = {
            "name": "rollbook_restore_jobs",
            "report_setting": {"report_template": "RESTORE_JOB_REPORT"},
            "report_delivery_channel": {
                "formats": ["CSV", "JSON"],
                "s3_bucket_name": f"{s.backups.bucket_name}-reports",
            },
        }
        yield from differs("the report", report, form)
