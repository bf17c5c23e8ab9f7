"""What the synthesized JSON must and must not say."""

from __future__ import annotations

import functools
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.constructs.policy import WITHOUT_RESOURCE
from infra.settings import load_all
from rollbook.contract import environment, retention
from tests.conftest import Stacks
from tests.constants import constant

MISSING = constant("infra.emulator.platform", "MISSING")
ENVIRONMENTS = [settings.name for settings in load_all()]
CLASSES = {"getStudentData": environment.GetStudents, "insertStudentData": environment.InsertStudent} | {
    "BackupDynamoDBAndSendEmail": environment.Backup,
    "FinishStudentExport": environment.FinishExport,
    "VerifyStudentBackup": environment.Verify,
    "CheckStudentBackups": environment.CheckBackups,
    "RestoreStudentData": environment.Restore,
    "DrillStudentBackup": environment.Drill,
    "SendWelcomeEmail": environment.Welcome,
    "AuditBackupAccess": environment.Audit,
    "CopyDatabaseSnapshot": environment.CopySnapshot,
    "ValidateRestoredTable": environment.Validate,
    "SendBackupReport": environment.Report,
    "MarkExpiredBackups": retention.Variables,
}
pytestmark = pytest.mark.parametrize("env", ENVIRONMENTS)


def one(stacks: Stacks, env: str, kind: str, **wanted: Any) -> dict[str, Any]:
    found = [
        resource
        for resource in stacks.resources(env, kind).values()
        if all(resource.get(name) == value for name, value in wanted.items())
    ]
    assert len(found) == 1, f"{env}: {len(found)} resources {kind} with {wanted}"
    return found[0]


def policies(stacks: Stacks, env: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every statement of every policy, with the address of its resource."""
    fields = ("policy", "assume_role_policy")
    for kind, resources in stacks.json(env)["resource"].items():
        for name, resource in resources.items():
            for field in fields:
                if isinstance(resource.get(field), str):
                    for statement in json.loads(resource[field])["Statement"]:
                        yield f"{kind}.{name}", statement


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def test_the_variables_of_each_function_are_what_its_handler_reads(stacks: Stacks, env: str) -> None:
    for function in stacks.resources(env, "aws_lambda_function").values():
        variables = (
            function["environment"][0]["variables"]
            if isinstance(function["environment"], list)
            else function["environment"]["variables"]
        )
        handler_class = CLASSES[function["function_name"]]
        assert handler_class.read(variables).variables() == variables


def test_no_policy_allows_a_wildcard_action_or_resource(stacks: Stacks, env: str) -> None:
    for address, statement in policies(stacks, env):
        if statement["Effect"] == "Deny":
            continue
        assert not [action for action in listed(statement["Action"]) if "*" in action], f"{address} {statement['Sid']}"
        for resource in listed(statement.get("Resource", [])):
            nameless = set(listed(statement["Action"])) <= WITHOUT_RESOURCE
            assert nameless or resource != "*", f"{address} {statement['Sid']} is for every resource"


def test_an_identity_policy_has_no_principal_and_a_resource_policy_has_one(stacks: Stacks, env: str) -> None:
    for address, statement in policies(stacks, env):
        is_identity = address.startswith("aws_iam_role_policy.")
        assert ("Principal" in statement) != is_identity, f"{address} {statement['Sid']}"


def test_the_schedule_is_the_workshops(stacks: Stacks, env: str) -> None:
    schedule = one(stacks, env, "aws_scheduler_schedule", name="DailyDynamoDBBackup")
    assert schedule["schedule_expression"] == "cron(0 0 * * ? *)"
    assert schedule["schedule_expression_timezone"] == "UTC"
    assert schedule["flexible_time_window"] == {"mode": "FLEXIBLE", "maximum_window_in_minutes": 5}
    assert "aws_scheduler_schedule_group" in schedule["group_name"]
    target = schedule["target"]
    assert target["retry_policy"] == {"maximum_retry_attempts": 5, "maximum_event_age_in_seconds": 7200}
    assert "aws_sqs_queue" in target["dead_letter_config"]["arn"]
    assert json.loads(target["input"])["scheduledTime"] == "<aws.scheduler.scheduled-time>"


def test_the_schedules_role_may_invoke_the_backup_function_and_nothing_else(stacks: Stacks, env: str) -> None:
    [name] = [
        name
        for name, role in stacks.resources(env, "aws_iam_role").items()
        if role["name"] == "Amazon_EventBridge_Scheduler_LAMBDA_7e5e967abf"
    ]
    held = [policy for policy in stacks.resources(env, "aws_iam_role_policy").values() if f".{name}." in policy["role"]]
    [statement] = [statement for policy in held for statement in json.loads(policy["policy"])["Statement"]]
    [function] = [
        function_name
        for function_name, function in stacks.resources(env, "aws_lambda_function").items()
        if function["function_name"] == "BackupDynamoDBAndSendEmail"
    ]
    assert (statement["Effect"], statement["Action"]) == ("Allow", "lambda:InvokeFunction")
    assert statement["Resource"] == f"${{aws_lambda_function.{function}.arn}}"
    attachments = stacks.resources(env, "aws_iam_role_policy_attachment").values()
    assert not [attachment for attachment in attachments if f".{name}." in attachment["role"]]
    [trust] = json.loads(stacks.resources(env, "aws_iam_role")[name]["assume_role_policy"])["Statement"]
    assert trust["Principal"] == {"Service": "scheduler.amazonaws.com"}
    conditions = trust["Condition"]["StringEquals"]
    assert conditions.keys() == {"aws:SourceAccount", "aws:SourceArn"}
    assert "aws_scheduler_schedule_group" in conditions["aws:SourceArn"]


def test_each_function_has_a_role_and_a_log_group_of_its_own(stacks: Stacks, env: str) -> None:
    functions = stacks.resources(env, "aws_lambda_function").values()
    assert len({function["role"] for function in functions}) == len(functions)
    groups = {group["name"]: group for group in stacks.resources(env, "aws_cloudwatch_log_group").values()}
    for function in functions:
        assert groups[f"/aws/lambda/{function['function_name']}"]["retention_in_days"] >= 1
        assert function["timeout"] <= 900
        assert function["reserved_concurrent_executions"] >= -1
    assert all(group["retention_in_days"] for group in groups.values())


def test_the_backup_function_is_the_workshops_and_has_a_dead_letter_queue(stacks: Stacks, env: str) -> None:
    function = one(stacks, env, "aws_lambda_function", function_name="BackupDynamoDBAndSendEmail")
    assert function["memory_size"] == 128
    assert function["ephemeral_storage"]["size"] == 512
    assert "aws_sqs_queue" in function["dead_letter_config"]["target_arn"]
    assert one(stacks, env, "aws_iam_role", name="DynamoDBBackupRoleStudent")
    variables = function["environment"]["variables"]
    assert variables.keys() >= {"S3_BUCKET_NAME", "SENDER_EMAIL", "RECIPIENT_EMAIL"}


def test_functions_run_on_arm_where_aws_is_real(stacks: Stacks, env: str) -> None:
    for function in stacks.resources(env, "aws_lambda_function").values():
        if env != "local":
            assert (function["runtime"], function["architectures"]) == ("python3.13", ["arm64"])


def test_the_table_is_on_demand_recoverable_encrypted_protected_and_tagged(stacks: Stacks, env: str) -> None:
    table = one(stacks, env, "aws_dynamodb_table", name="studentData")
    assert (table["billing_mode"], table["hash_key"]) == ("PAY_PER_REQUEST", "studentid")
    assert table["point_in_time_recovery"]["enabled"] is True
    assert table["server_side_encryption"]["enabled"] is True
    assert table["deletion_protection_enabled"] is (env != "local")
    assert table["tags"] == {"backup": "daily"}


def test_every_bucket_is_private_versioned_encrypted_owner_enforced_and_tls_only(stacks: Stacks, env: str) -> None:
    for name in stacks.resources(env, "aws_s3_bucket"):

        def of_bucket(kind: str, bucket: str = name) -> dict[str, Any]:
            [found] = [r for r in stacks.resources(env, kind).values() if f".{bucket}." in r["bucket"]]
            return found

        block = of_bucket("aws_s3_bucket_public_access_block")
        assert all(block[key] is True for key in block if key.startswith(("block", "ignore", "restrict")))
        assert of_bucket("aws_s3_bucket_versioning")["versioning_configuration"]["status"] == "Enabled"
        assert of_bucket("aws_s3_bucket_ownership_controls")["rule"]["object_ownership"] == "BucketOwnerEnforced"
        rule = of_bucket("aws_s3_bucket_server_side_encryption_configuration")["rule"][0]
        assert rule["apply_server_side_encryption_by_default"]["sse_algorithm"] == "AES256"
        statements = json.loads(of_bucket("aws_s3_bucket_policy")["policy"])["Statement"]
        [tls] = [statement for statement in statements if statement["Sid"] == "TlsOnly"]
        assert (tls["Effect"], tls["Principal"], tls["Action"]) == ("Deny", "*", "s3:*")
        assert tls["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_backups_move_to_cheaper_storage_and_expire(stacks: Stacks, env: str) -> None:
    lifecycles = stacks.resources(env, "aws_s3_bucket_lifecycle_configuration").values()
    [rule] = [rule for lifecycle in lifecycles for rule in lifecycle["rule"] if rule["id"] == "backups-studentData"][:1]
    assert [step["storage_class"] for step in rule["transition"]] == ["STANDARD_IA", "GLACIER"]
    assert rule["expiration"][0]["days"] > rule["transition"][-1]["days"]
    assert rule["noncurrent_version_expiration"][0]["noncurrent_days"] >= 1
    assert rule["abort_incomplete_multipart_upload"][0]["days_after_initiation"] == 1


def test_every_method_but_the_preflight_needs_the_key(stacks: Stacks, env: str) -> None:
    methods = stacks.resources(env, "aws_api_gateway_method").values()
    assert sorted(method["http_method"] for method in methods) == ["GET", "OPTIONS", "OPTIONS", "POST", "POST"]
    for method in methods:
        assert method.get("api_key_required", False) is (method["http_method"] != "OPTIONS")


def test_scripts_of_the_sites_origin_only_may_read_the_api(stacks: Stacks, env: str) -> None:
    origins = [
        value
        for kind in ("aws_api_gateway_gateway_response", "aws_api_gateway_integration_response")
        for response in stacks.resources(env, kind).values()
        for name, value in response["response_parameters"].items()
        if name.endswith("Access-Control-Allow-Origin")
    ]
    assert len(origins) == 7
    assert all("aws_cloudfront_distribution" in origin and "*" not in origin for origin in origins)


def test_the_site_is_https_only_with_security_headers_and_no_inline_script(stacks: Stacks, env: str) -> None:
    [distribution] = stacks.resources(env, "aws_cloudfront_distribution").values()
    behaviors = [distribution["default_cache_behavior"], *distribution["ordered_cache_behavior"]]
    assert {behavior["viewer_protocol_policy"] for behavior in behaviors} == {"redirect-to-https"}
    assert all("response_headers_policy_id" in behavior for behavior in behaviors)
    [headers] = stacks.resources(env, "aws_cloudfront_response_headers_policy").values()
    policy = headers["security_headers_config"]["content_security_policy"]["content_security_policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy


def test_cloudfront_adds_the_api_key_and_no_other_text_contains_it(stacks: Stacks, env: str) -> None:
    [distribution] = stacks.resources(env, "aws_cloudfront_distribution").values()
    [key] = stacks.resources(env, "aws_api_gateway_api_key")
    headers = [header for origin in distribution["origin"] for header in origin.get("custom_header", [])]
    assert headers == [{"name": "x-api-key", "value": f"${{aws_api_gateway_api_key.{key}.value}}"}]
    value = stacks.resources(env, "aws_api_gateway_api_key")[key].get("value")
    assert value == ("${uuid()}" if env == "local" else None)


# Long random-looking words, and the forms that secrets of AWS, private keys and tokens have.
SECRETS = (
    re.compile(r"(?<![A-Z0-9])(AKIA|ASIA)[A-Z0-9]{16}(?![A-Z0-9])"),
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    re.compile(r"\beyJ[A-Za-z0-9_-]{20,}\.[A-Za-z0-9_-]{20,}"),
    re.compile(r"(?i)\b(password|passwd|api[_-]?key|secret)\b[\"']?\s*[:=]\s*[\"'](?!\$\{|test[\"'])[^\"'\s]{8,}[\"']"),
)


def contents(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield a file, or the files of a zip: each function's zip has the same packages."""
    if path.suffix != ".zip":
        yield path.name, path.read_bytes()
        return
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if not name.endswith(".so"):
                yield name, archive.read(name)


@functools.cache
def secrets_in(content: bytes) -> list[str]:
    text = content.decode(errors="replace")
    return [found[0] for pattern in SECRETS if (found := pattern.search(text))]


def test_no_secret_is_in_the_output(stacks: Stacks, env: str) -> None:
    files = [path for path in stacks.path(env).rglob("*") if path.is_file() and ".terraform" not in path.parts]
    assert {".json", ".js", ".zip"} <= {path.suffix for path in files}
    for path in files:
        for name, content in contents(path):
            assert not (found := secrets_in(content)), f"{path}, {name}: {found}"
    for provider in stacks.json(env)["provider"]["aws"]:
        credentials = {provider.get(name) for name in ("access_key", "secret_key", "token")} - {None}
        assert credentials == ({"test"} if env == "local" else set())


def test_no_path_of_this_machine_is_in_the_output(stacks: Stacks, env: str) -> None:
    text = json.dumps(stacks.json(env))
    assert str(stacks.folder) not in text
    assert not re.search(r'"/(home|root|tmp|Users|work)/', text)


def test_only_the_local_stack_knows_of_the_emulator(stacks: Stacks, env: str) -> None:
    text = json.dumps(stacks.json(env))
    assert ("localhost" in text) is (env == "local")
    assert ("emulator_port" in text) is (env == "local")


def test_every_function_is_in_an_environment_that_is_whole(stacks: Stacks, env: str) -> None:
    functions = {function["function_name"] for function in stacks.resources(env, "aws_lambda_function").values()}
    missing = {
        "production": set[str](),
        "local": set[str](),
        "workshop": {"CopyDatabaseSnapshot", "ValidateRestoredTable", "MarkExpiredBackups"},
    }[env]
    assert functions == CLASSES.keys() - missing


def test_the_trail_records_the_backups_and_only_cloudtrail_writes_it(stacks: Stacks, env: str) -> None:
    [trail] = stacks.resources(env, "aws_cloudtrail").values()
    [selector] = trail["advanced_event_selector"]
    [backups] = [selected for selected in selector["field_selector"] if selected["field"] == "resources.ARN"]
    [store] = [name for name in stacks.resources(env, "aws_s3_bucket") if name.startswith("store")]
    assert backups["starts_with"] == [f"${{aws_s3_bucket.{store}.arn}}/"]
    assert trail["enable_log_file_validation"] is True
    [policy] = [
        json.loads(policy["policy"])["Statement"]
        for name, policy in stacks.resources(env, "aws_s3_bucket_policy").items()
        if name.startswith("audit")
    ]
    writers = [statement for statement in policy if statement["Effect"] == "Allow"]
    assert {statement["Principal"]["Service"] for statement in writers} == {"cloudtrail.amazonaws.com"}
    assert all(":trail/student-backup-audit" in str(statement["Condition"]) for statement in writers)


def test_the_audit_expects_the_roles_that_were_granted_backups_and_no_others(stacks: Stacks, env: str) -> None:
    audit = one(stacks, env, "aws_lambda_function", function_name="AuditBackupAccess")
    roles = stacks.resources(env, "aws_iam_role")
    expected = {
        roles[arn.split(".")[1]]["name"] for arn in audit["environment"]["variables"]["EXPECTED_ROLE_ARNS"].split(",")
    }
    granted = {
        roles[policy["role"].split(".")[1]]["name"]
        for policy in stacks.resources(env, "aws_iam_role_policy").values()
        for statement in json.loads(policy["policy"])["Statement"]
        if {"s3:GetObject", "s3:PutObject", "s3:GetObjectVersionForReplication"} & set(listed(statement["Action"]))
    }
    assert expected == granted


def test_copies_of_snapshots_are_encrypted_in_their_region_and_only_own_ones_deleted(stacks: Stacks, env: str) -> None:
    if env == "workshop":
        assert not stacks.resources(env, "aws_kms_key")
        return
    [key] = [key for name, key in stacks.resources(env, "aws_kms_key").items() if name.startswith("snapshots")]
    assert (key["provider"], key["enable_key_rotation"]) == ("aws.ap-northeast-1", True)
    [delete] = [
        statement for _, statement in policies(stacks, env) if "rds:DeleteDBSnapshot" in listed(statement["Action"])
    ]
    assert delete["Condition"] == {"StringEquals": {"aws:ResourceTag/rollbook:copied-by": "CopyDatabaseSnapshot"}}
    assert all(":rollbook-*" in arn and ":ap-northeast-1:" in arn for arn in delete["Resource"])


def test_the_workshops_plan_backs_up_what_is_tagged_daily(stacks: Stacks, env: str) -> None:
    [plan] = stacks.resources(env, "aws_backup_plan").values()
    rule = plan["rule"][0]
    assert (rule["rule_name"], rule["schedule"]) == ("RuleForDailyBackups", "cron(0 5 ? * * *)")
    assert (rule["start_window"], rule["completion_window"]) == (60, 120)
    [selection] = stacks.resources(env, "aws_backup_selection").values()
    assert selection["name"] == "TagBasedBackupSelection"
    assert selection["selection_tag"] == [{"type": "STRINGEQUALS", "key": "backup", "value": "daily"}]
    table = one(stacks, env, "aws_dynamodb_table", name="studentData")
    assert table["tags"]["backup"] == "daily"


def test_production_copies_locks_tests_and_audits(stacks: Stacks, env: str) -> None:
    if env != "production":
        return
    [plan] = stacks.resources(env, "aws_backup_plan").values()
    [copy] = plan["rule"][0]["copy_action"]
    [elsewhere] = [name for name, vault in stacks.resources(env, "aws_backup_vault").items() if vault.get("provider")]
    assert copy["destination_vault_arn"] == f"${{aws_backup_vault.{elsewhere}.arn}}"
    assert all("kms_key_arn" in vault for vault in stacks.resources(env, "aws_backup_vault").values())
    assert plan["rule"][1]["lifecycle"] == {"cold_storage_after": 30, "delete_after": 365}
    [lock] = stacks.resources(env, "aws_backup_vault_lock_configuration").values()
    assert (lock["min_retention_days"], lock.get("changeable_for_days")) == (7, None)
    for kind in (
        "restore_testing_plan",
        "restore_testing_selection",
        "framework",
        "report_plan",
        "vault_notifications",
    ):
        assert len(stacks.resources(env, f"aws_backup_{kind}")) == 1, kind
    assert "account_wide" not in stacks.json(env)["output"], "another Region's list of services would not apply"


def test_every_function_and_every_queue_has_its_alarms(stacks: Stacks, env: str) -> None:
    alarms = stacks.resources(env, "aws_cloudwatch_metric_alarm").values()
    watched = {(alarm["metric_name"], value) for alarm in alarms for value in (alarm.get("dimensions") or {}).values()}
    of_backups = ("BackupDynamoDBAndSendEmail", "FinishStudentExport", "student-backup-")
    everything = "" if env != "workshop" else of_backups
    for function in stacks.resources(env, "aws_lambda_function").values():
        if not function["function_name"].startswith(everything):
            continue
        assert {("Errors", function["function_name"]), ("Duration", function["function_name"])} <= watched
    for queue in stacks.resources(env, "aws_sqs_queue").values():
        if not queue["name"].startswith(everything) or ("audit" in queue["name"] and env == "workshop"):
            continue
        assert ("ApproximateNumberOfMessagesVisible", queue["name"]) in watched
    assert all("aws_sns_topic" in arn for alarm in alarms for arn in alarm["alarm_actions"] + alarm["ok_actions"])
    for metric in ("TargetErrorCount", "InvocationDroppedCount"):
        assert (metric, "student-backups") in watched


def test_the_dead_mans_alarm_counts_silence_as_bad(stacks: Stacks, env: str) -> None:
    alarm = one(stacks, env, "aws_cloudwatch_metric_alarm", alarm_name="studentData-no-backup")
    assert alarm["treat_missing_data"] == "breaching"
    assert (alarm["namespace"], alarm["metric_name"]) == ("Rollbook", "BackupsCompleted")
    assert (alarm["comparison_operator"], alarm["threshold"], alarm["statistic"]) == ("LessThanThreshold", 1, "Sum")
    # A day, the window of five minutes and three hours of grace, in whole hours.
    assert (alarm["period"], alarm["evaluation_periods"], alarm["datapoints_to_alarm"]) == (3600, 28, 28)


def test_failed_jobs_of_aws_backup_are_reported(stacks: Stacks, env: str) -> None:
    rules = stacks.resources(env, "aws_cloudwatch_event_rule")
    told = {json.loads(rule["event_pattern"])["detail-type"][0] for rule in rules.values() if "failed" in rule["name"]}
    assert told == {"Backup Job State Change", "Copy Job State Change", "Restore Job State Change"}
    [policy] = stacks.resources(env, "aws_sns_topic_policy").values()
    [publish] = [s for s in json.loads(policy["policy"])["Statement"] if s["Sid"] == "RulesPublish"]
    assert "Condition" not in publish, "EventBridge sends SNS no key that a condition could compare"


def test_the_dashboard_is_json_that_shows_every_table(stacks: Stacks, env: str) -> None:
    [dashboard] = stacks.resources(env, "aws_cloudwatch_dashboard").values()
    widgets = json.loads(dashboard["dashboard_body"])["widgets"]
    titles = " ".join(widget["properties"]["title"] for widget in widgets)
    for word in ("Last good backup", "Success rate", "Items", "Bytes", "Duration", "dollars", "RTO"):
        assert word in titles
    [alarms] = [widget for widget in widgets if widget["type"] == "alarm"]
    assert len(alarms["properties"]["alarms"]) == len(stacks.resources(env, "aws_cloudwatch_metric_alarm"))


def test_a_fleets_tables_have_a_schedule_each_and_what_they_need(stacks: Stacks, env: str) -> None:
    if env != "local":
        return
    schedule = one(stacks, env, "aws_scheduler_schedule", name="Backup-welcomed-users")
    daily = one(stacks, env, "aws_scheduler_schedule", name="DailyDynamoDBBackup")
    assert schedule["schedule_expression"] == "cron(0 * * * ? *)"
    assert (schedule["target"]["arn"], schedule["target"]["role_arn"]) == (
        daily["target"]["arn"],
        daily["target"]["role_arn"],
    )
    told = json.loads(schedule["target"]["input"])
    assert told["scheduledTime"] == "<aws.scheduler.scheduled-time>"
    assert (told["table"]["table_name"], told["table"]["compression"]) == ("welcomed-users", "gzip")
    assert "table" not in json.loads(daily["target"]["input"])
    [read] = [s for _, s in policies(stacks, env) if s["Sid"] == "ReadFleet"]
    assert read["Resource"].endswith(":table/welcomed-users")
    rules = {
        rule["id"]: rule
        for lifecycle in stacks.resources(env, "aws_s3_bucket_lifecycle_configuration").values()
        for rule in lifecycle["rule"]
    }
    assert rules["backups-welcomed-users"]["filter"] == [{"prefix": "welcomed-users/"}]
    assert "days" not in rules["backups-welcomed-users"]["expiration"][0]
    marked = {"prefix": "welcomed-users/", "tags": {"rollbook-expired": "yes"}}
    assert rules["marked-welcomed-users"]["filter"] == [{"and": [marked]}]
    assert rules["marked-welcomed-users"]["expiration"] == [{"days": 1}]
    assert (
        one(stacks, env, "aws_cloudwatch_metric_alarm", alarm_name="welcomed-users-no-backup")["evaluation_periods"]
        == 5
    )


def test_backups_are_copied_to_another_region_and_deletions_are_not(stacks: Stacks, env: str) -> None:
    if env == "workshop":
        assert not stacks.resources(env, "aws_s3_bucket_replication_configuration")
        return
    [replication] = stacks.resources(env, "aws_s3_bucket_replication_configuration").values()
    [rule] = replication["rule"]
    assert rule["filter"] == [{"prefix": "students-backup-"}] or rule["filter"] == {"prefix": "students-backup-"}
    assert rule["delete_marker_replication"] == {"status": "Disabled"}
    assert rule["destination"]["metrics"]["status"] == rule["destination"]["replication_time"]["status"] == "Enabled"
    [copies] = [name for name in stacks.resources(env, "aws_s3_bucket") if name.startswith("replicas")]
    assert stacks.resources(env, "aws_s3_bucket")[copies]["provider"] == "aws.ap-northeast-1"


def test_the_emulator_is_given_all_that_production_has_but_what_it_lacks(stacks: Stacks, env: str) -> None:
    if env != "production":
        return
    production, emulated = (set(stacks.json(name)["resource"]) for name in ("production", "local"))
    # A Region's list of services is no example's to set, but may be set.
    assert production - emulated == MISSING.keys() - {"aws_backup_region_settings"}
    assert all(MISSING.values())
