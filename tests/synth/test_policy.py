"""What every environment has to keep to, as sentences; for all that general checkers do not know of."""

from __future__ import annotations

import json
from typing import Any

import pytest

from infra.settings import load_all
from tests.conftest import Stacks

ENVIRONMENTS = [settings.name for settings in load_all()]
pytestmark = pytest.mark.parametrize("env", ENVIRONMENTS)


def each(stacks: Stacks, env: str, kind: str) -> list[tuple[str, dict[str, Any]]]:
    found = list(stacks.resources(env, kind).items())
    assert found, f"{env} has no {kind}; this rule would hold for nothing"
    return found


def policy_of(resource: dict[str, Any], field: str = "policy") -> list[dict[str, Any]]:
    statements: list[dict[str, Any]] = json.loads(resource[field])["Statement"]
    return statements


def test_every_schedule_keeps_what_it_could_not_start(stacks: Stacks, env: str) -> None:
    for name, schedule in each(stacks, env, "aws_scheduler_schedule"):
        assert "aws_sqs_queue" in schedule["target"]["dead_letter_config"]["arn"], name
        assert schedule["target"]["retry_policy"]["maximum_retry_attempts"] <= 185, name


def test_every_schedules_role_is_trusted_for_one_group_of_one_account(stacks: Stacks, env: str) -> None:
    roles = dict(each(stacks, env, "aws_iam_role"))
    for name, schedule in each(stacks, env, "aws_scheduler_schedule"):
        role = roles[schedule["target"]["role_arn"].split(".")[1]]
        for statement in policy_of(role, "assume_role_policy"):
            assert statement["Condition"]["StringEquals"].keys() == {"aws:SourceAccount", "aws:SourceArn"}, name


def test_every_role_that_a_service_assumes_for_us_names_the_account(stacks: Stacks, env: str) -> None:
    # Lambda gives no such context when it assumes a function's role, nor does API Gateway for the account's; for S3's
    # replication it is not documented (S3 User Guide, "Setting up permissions for live replication").
    without = {"lambda.amazonaws.com", "apigateway.amazonaws.com", "s3.amazonaws.com"}
    for name, role in each(stacks, env, "aws_iam_role"):
        for statement in policy_of(role, "assume_role_policy"):
            if statement["Principal"]["Service"] not in without:
                assert "aws:SourceAccount" in statement["Condition"]["StringEquals"], name


def test_every_event_bus_says_who_may_put_events(stacks: Stacks, env: str) -> None:
    policies = [policy["event_bus_name"] for _, policy in each(stacks, env, "aws_cloudwatch_event_bus_policy")]
    for name, _ in each(stacks, env, "aws_cloudwatch_event_bus"):
        assert any(f".{name}." in bus for bus in policies), name


def test_every_function_of_a_rule_has_a_queue_for_undelivered_events(stacks: Stacks, env: str) -> None:
    for name, target in each(stacks, env, "aws_cloudwatch_event_target"):
        if "aws_lambda_function" in target["arn"]:
            assert "aws_sqs_queue" in target["dead_letter_config"]["arn"], name


def test_every_log_group_forgets(stacks: Stacks, env: str) -> None:
    for name, group in each(stacks, env, "aws_cloudwatch_log_group"):
        assert group["retention_in_days"] > 0, name


def test_every_function_has_decided_on_its_concurrency_its_log_and_its_processor(stacks: Stacks, env: str) -> None:
    groups = {group["name"] for _, group in each(stacks, env, "aws_cloudwatch_log_group")}
    for name, function in each(stacks, env, "aws_lambda_function"):
        assert function["reserved_concurrent_executions"] >= -1, name
        assert f"/aws/lambda/{function['function_name']}" in groups, name
        assert len(function["architectures"]) == 1, name


def test_every_function_that_is_invoked_asynchronously_keeps_what_failed(stacks: Stacks, env: str) -> None:
    functions = dict(each(stacks, env, "aws_lambda_function"))
    targets = [target["arn"] for _, target in each(stacks, env, "aws_cloudwatch_event_target")]
    targets += [schedule["target"]["arn"] for _, schedule in each(stacks, env, "aws_scheduler_schedule")]
    for name, function in functions.items():
        if any(f"aws_lambda_function.{name}." in arn for arn in targets):
            assert "aws_sqs_queue" in function["dead_letter_config"]["target_arn"], name


def test_every_queue_is_encrypted_and_keeps_its_letters_for_two_weeks(stacks: Stacks, env: str) -> None:
    policies = [policy["queue_url"] for _, policy in each(stacks, env, "aws_sqs_queue_policy")]
    for name, queue in each(stacks, env, "aws_sqs_queue"):
        assert queue["sqs_managed_sse_enabled"] is True, name
        assert queue["message_retention_seconds"] == 14 * 86_400, name
        assert any(f".{name}." in url for url in policies), name


def test_every_table_can_be_brought_back_to_any_second_and_is_encrypted(stacks: Stacks, env: str) -> None:
    for name, table in each(stacks, env, "aws_dynamodb_table"):
        assert table["point_in_time_recovery"]["enabled"] is True, name
        assert table["server_side_encryption"]["enabled"] is True, name


def test_records_and_history_are_protected_from_deletion_where_it_counts(stacks: Stacks, env: str) -> None:
    for name, table in each(stacks, env, "aws_dynamodb_table"):
        if table["name"] in {"studentData", "backup-executions"} and env != "local":
            assert table["deletion_protection_enabled"] is True, name


def test_every_key_is_rotated_and_waits_before_it_is_gone(stacks: Stacks, env: str) -> None:
    for name, key in stacks.resources(env, "aws_kms_key").items():
        assert key["enable_key_rotation"] is True, name
        assert key["deletion_window_in_days"] == 30, name


def test_production_copies_its_recovery_points_and_its_backups_to_another_region(stacks: Stacks, env: str) -> None:
    if env != "production":
        return
    for name, plan in each(stacks, env, "aws_backup_plan"):
        assert any(rule["copy_action"] for rule in plan["rule"]), name
    assert each(stacks, env, "aws_s3_bucket_replication_configuration")


def test_production_never_deletes_what_is_not_empty(stacks: Stacks, env: str) -> None:
    if env != "production":
        return
    for kind in ("aws_s3_bucket", "aws_backup_vault"):
        for name, resource in each(stacks, env, kind):
            assert resource.get("force_destroy", False) is False, name


def test_every_alarm_tells_somebody_and_says_what_to_do(stacks: Stacks, env: str) -> None:
    for name, alarm in each(stacks, env, "aws_cloudwatch_metric_alarm"):
        assert alarm["alarm_actions"], name
        assert len(alarm["alarm_description"]) > 20, name
