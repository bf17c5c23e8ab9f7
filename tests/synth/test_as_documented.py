"""What AWS documents of the resources, where the stand-in or the provider would let something else pass."""

from __future__ import annotations

import fnmatch
import json
import re
from pathlib import Path
from typing import Any

import pytest

from infra.settings import ENVIRONMENTS, load, load_all
from tests.conftest import Stacks, synthesize, synthesize_settings
from tests.constants import constant

REPLICATION_EVENTS = constant("infra.backups.function", "REPLICATION_EVENTS")
BACKUP_SERVICES, READS = constant("infra.github", "BACKUP_SERVICES"), constant("infra.github", "READS")

ALL = [settings.name for settings in load_all()]


def statements(policy: str) -> dict[str, dict[str, Any]]:
    return {statement["Sid"]: statement for statement in json.loads(policy)["Statement"]}


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_no_environment_names_the_services_of_one_region() -> None:
    """AWS Backup refuses a service that the Region lacks: terraform-provider-aws issue 21801."""
    for settings in load_all():
        assert settings.vault.region_opt_in == {}, settings.name


def test_a_list_of_services_sets_no_management_that_the_region_may_lack(tmp_path: Path) -> None:
    local = load(ENVIRONMENTS / "production.toml")
    vault = local.vault.model_copy(update={"region_opt_in": {"DynamoDB": True, "EBS": False}})
    stacks = synthesize_settings(local.model_copy(update={"vault": vault}), tmp_path)
    [made] = stacks.resources("production", "aws_backup_region_settings").values()
    assert made["resource_type_opt_in_preference"] == {"DynamoDB": True, "EBS": False}
    assert "resource_type_management_preference" not in made


def test_the_deploying_role_may_do_all_that_the_provider_does_with_the_sites_files(stacks: Stacks) -> None:
    """Default tags are sent with a file: s3:PutObjectTagging; a file that goes loses all its versions."""
    policies = stacks.resources("production-github", "aws_iam_role_policy").values()
    [deploy] = [statements(each["policy"]) for each in policies if each["name"] == "Deploy"]
    assert set(deploy["Site"]["Action"]) == {
        "s3:DeleteObject",
        "s3:DeleteObjectVersion",
        "s3:PutObject",
        "s3:PutObjectTagging",
    }
    linked = deploy["ServiceLinkedRoles"]
    assert linked["Action"] == "iam:CreateServiceLinkedRole"
    assert linked["Condition"] == {"StringEquals": {"iam:AWSServiceName": list(BACKUP_SERVICES)}}
    for service, resource in zip(BACKUP_SERVICES, linked["Resource"], strict=True):
        assert resource.endswith(f":role/aws-service-role/{service}/*")


def actions_of(stacks: Stacks, role: str, *sids: str) -> list[str]:
    """Return what some statements of a role of the workflows allow."""
    kinds = ("aws_iam_policy", "aws_iam_role_policy")
    policies = {id_: each for kind in kinds for id_, each in stacks.resources("production-github", kind).items()}
    known = [statements(each["policy"]) for id_, each in policies.items() if id_.startswith(f"{role}-")]
    return [action for each in known for sid in sids if sid in each for action in listed(each[sid]["Action"])]


@pytest.mark.parametrize("role", ["plan", "deploy"])
@pytest.mark.parametrize("action", READS)
def test_both_roles_may_read_what_the_provider_reads(stacks: Stacks, role: str, action: str) -> None:
    allowed = actions_of(stacks, role, "ReadConfiguration", "Unnamed")
    assert any(fnmatch.fnmatchcase(action, pattern) for pattern in allowed)


def test_the_provider_describes_a_cloudfront_function(stacks: Stacks) -> None:
    """It reads both stages by DescribeFunction, which no Get* or List* allows (aws_cloudfront_function)."""
    assert "cloudfront:DescribeFunction" in actions_of(stacks, "plan", "ReadConfiguration")


def test_the_deploying_role_may_make_a_vault_with_a_key_of_its_own(stacks: Stacks) -> None:
    """AWS Backup Developer Guide, "Access control": CreateBackupVault."""
    allowed = actions_of(stacks, "deploy", "ReadConfiguration", "Unnamed", "VaultKeys")
    needed = {"CreateGrant", "Decrypt", "DescribeKey", "GenerateDataKey", "RetireGrant"}
    assert {f"kms:{action}" for action in needed} <= set(allowed)
    assert "backup-storage:MountCapsule" in allowed


@pytest.mark.parametrize("env", ["local", "production"])
def test_a_late_copy_is_told_where_s3_publishes_it(stacks: Stacks, env: str) -> None:
    """ReplicationLatency is a metric of the destination's Region; the events are the source bucket's."""
    [notification] = stacks.resources(env, "aws_s3_bucket_notification").values()
    [topic] = notification["topic"]
    assert topic["events"] == REPLICATION_EVENTS
    assert "s3:Replication:OperationMissedThreshold" in topic["events"]
    assert len(notification["lambda_function"]) == 1, "the manifests' function is in the same resource"
    [policy] = stacks.resources(env, "aws_sns_topic_policy").values()
    may = statements(policy["policy"])["BucketsPublish"]
    assert (may["Principal"], may["Action"]) == ({"Service": "s3.amazonaws.com"}, "sns:Publish")
    assert may["Condition"]["StringEquals"].keys() == {"aws:SourceAccount"}
    assert "aws_s3_bucket.store_bucket" in json.dumps(may["Condition"]["ArnLike"]["aws:SourceArn"])
    # S3 tries to publish when it is given the topic.
    assert any(each.startswith("aws_sns_topic_policy.") for each in notification["depends_on"])
    names = {alarm["metric_name"] for alarm in stacks.resources(env, "aws_cloudwatch_metric_alarm").values()}
    assert not names & {"ReplicationLatency", "OperationsFailedReplication"}


def test_a_framework_that_aws_could_not_deploy_fails_the_apply(stacks: Stacks) -> None:
    [framework] = stacks.resources("production", "aws_backup_framework").values()
    [condition] = framework["lifecycle"]["postcondition"]
    assert condition["condition"] == '${self.status != "FAILED"}'
    assert "AWS Config" in condition["error_message"]


@pytest.mark.parametrize("env", ALL)
def test_no_bucket_policy_allows_everybody(stacks: Stacks, env: str) -> None:
    """A wildcard principal may count as public (S3 User Guide, "The meaning of public")."""
    for name, each in stacks.resources(env, "aws_s3_bucket_policy").items():
        for sid, statement in statements(each["policy"]).items():
            if statement["Effect"] == "Allow":
                assert statement["Principal"] != "*", f"{name} {sid}"


def test_the_reports_bucket_names_the_service_linked_role(stacks: Stacks) -> None:
    [policy] = [
        statements(each["policy"])
        for name, each in stacks.resources("production", "aws_s3_bucket_policy").items()
        if name.startswith("vault_reports")
    ]
    role = ":role/aws-service-role/reports.backup.amazonaws.com/AWSServiceRoleForBackupReports"
    assert policy["BackupReports"]["Principal"]["AWS"].endswith(role)


def test_the_trust_of_the_replication_role_has_only_what_s3_documents(stacks: Stacks) -> None:
    [role] = [
        each
        for each in stacks.resources("production", "aws_iam_role").values()
        if each["name"] == "BackupReplicationRole"
    ]
    [trust] = json.loads(role["assume_role_policy"])["Statement"]
    assert "Condition" not in trust


@pytest.mark.parametrize("env", ALL)
def test_cloudfront_keeps_no_error_and_replaces_no_answer_of_the_api(stacks: Stacks, env: str) -> None:
    """Without a row an error is kept for 10 seconds, and a page replaces every answer of its status."""
    [distribution] = stacks.resources(env, "aws_cloudfront_distribution").values()
    rows = {row["error_code"]: row for row in distribution["custom_error_response"]}
    assert rows.keys() == {400, 403, 404, 405, 414, 416, 500, 501, 502, 503, 504}
    for status, row in rows.items():
        assert row == {"error_code": status, "error_caching_min_ttl": 0}
    [made] = stacks.resources(env, "aws_cloudfront_function").values()
    [association] = distribution["default_cache_behavior"]["function_association"]
    assert (association["event_type"], made["runtime"]) == ("viewer-request", "cloudfront-js-2.0")
    assert all("function_association" not in each for each in distribution["ordered_cache_behavior"])


# What is changed in infra/school/, and that a new deployment must come of it.
_CHANGES = {
    "header": 'api.PREFLIGHT_HEADERS["Access-Control-Max-Age"] = "601"',
    "template": "api.PREFLIGHT_TEMPLATE = '{}'",
    "answer": 'api.GATEWAY_RESPONSES["DEFAULT_4XX"] = (None, "{}")',
    "schema": 'api_answers.STUDENT_SCHEMA["minProperties"] = 2',
}
# Each change stays for the next, so each has to differ from the one before.
_CHANGED = """
import json, os, pathlib
import infra.school.api as api
import infra.school.api_answers as api_answers
from infra.app import synthesize
from infra.settings import ENVIRONMENTS, load
for name, change in json.loads(os.environ["CHANGES"]).items():
    exec(change)
    synthesize([load(ENVIRONMENTS / "workshop.toml")], pathlib.Path(os.environ["CDKTF_OUTDIR"], name))
"""


def test_a_change_of_any_part_of_the_api_makes_a_new_deployment(
    stacks: Stacks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHANGES", json.dumps(_CHANGES))
    synthesize(tmp_path, "-c", _CHANGED)

    def triggers(made: Stacks) -> str:
        [deployment] = made.resources("workshop", "aws_api_gateway_deployment").values()
        return json.dumps(deployment["triggers"])

    seen = [triggers(made) for made in (stacks, *(Stacks(tmp_path / name) for name in _CHANGES))]
    same = [name for name, before, after in zip(_CHANGES, seen, seen[1:], strict=False) if before == after]
    assert same == [], "these change the API and not the deployment"


def test_what_is_no_part_of_the_api_makes_no_new_deployment(stacks: Stacks) -> None:
    parts = {
        deployment["triggers"]["parts"]
        for env in ("production", "workshop")
        for deployment in stacks.resources(env, "aws_api_gateway_deployment").values()
    }
    assert len(parts) == 1, "production has many more resources, and the same API"


@pytest.mark.parametrize("env", ALL)
def test_what_small_objects_do_is_written_out(stacks: Stacks, env: str) -> None:
    """S3 moves no object under 128 KB unless told (S3 User Guide, "Transitioning objects using S3 Lifecycle")."""
    for name, lifecycle in stacks.resources(env, "aws_s3_bucket_lifecycle_configuration").items():
        assert lifecycle["transition_default_minimum_object_size"] == "all_storage_classes_128K", name


def test_small_backups_move_if_the_settings_say_so(tmp_path: Path) -> None:
    local = load(ENVIRONMENTS / "local.toml")
    backups = local.backups.model_copy(update={"move_small_backups": True})
    stacks = synthesize_settings(local.model_copy(update={"backups": backups}), tmp_path)
    sizes = {
        name.partition("_lifecycle")[0]: each["transition_default_minimum_object_size"]
        for name, each in stacks.resources("local", "aws_s3_bucket_lifecycle_configuration").items()
        if name.startswith(("store", "replicas"))
    }
    assert sizes == dict.fromkeys(("replicas", "store"), "varies_by_storage_class")


def test_s3_in_aws_backup_has_its_own_two_policies(stacks: Stacks, tmp_path: Path) -> None:
    production = load(ENVIRONMENTS / "production.toml")
    vault = production.vault.model_copy(update={"s3_buckets": True})
    with_s3 = synthesize_settings(production.model_copy(update={"vault": vault}), tmp_path)

    def policies(made: Stacks) -> set[str]:
        attached = made.resources("production", "aws_iam_role_policy_attachment").values()
        return {each["policy_arn"] for each in attached if "Backup" in each["policy_arn"]}

    assert policies(with_s3) - policies(stacks) == {
        f"arn:aws:iam::aws:policy/AWSBackupServiceRolePolicyForS3{what}" for what in ("Backup", "Restore")
    }


def test_the_workshop_is_in_its_own_region_with_its_own_words(stacks: Stacks) -> None:
    assert load(ENVIRONMENTS / "workshop.toml").region == "us-east-1"
    schedules = {each["name"]: each for each in stacks.resources("workshop", "aws_scheduler_schedule").values()}
    assert schedules["DailyDynamoDBBackup"]["description"] == "Backup DynamoDB and send email daily at 7:00 AM +07."


@pytest.mark.parametrize("env", ALL)
def test_every_schedule_says_what_it_is_for_and_that_it_is_on(stacks: Stacks, env: str) -> None:
    for name, schedule in stacks.resources(env, "aws_scheduler_schedule").items():
        assert schedule["state"] == "ENABLED", name
        assert len(schedule["description"]) > 20, name


KEY = "arn:aws:kms:ap-southeast-1:123456789012:key/1"


@pytest.fixture(scope="module")
def with_a_key(tmp_path_factory: pytest.TempPathFactory) -> Stacks:
    """The local environment, whose further tables have a key of their own."""
    local = load(ENVIRONMENTS / "local.toml")
    tables = [table.model_copy(update={"kms_key_arn": KEY}) for table in local.backups.tables]
    backups = local.backups.model_copy(update={"tables": tables})
    return synthesize_settings(local.model_copy(update={"backups": backups}), tmp_path_factory.mktemp("key"))


def key_grants(stacks: Stacks) -> dict[str, dict[str, Any]]:
    made = stacks.resources("local", "aws_iam_role_policy").values()
    return {
        name: found for each in made for name, found in statements(each["policy"]).items() if KEY in found["Resource"]
    }


@pytest.mark.parametrize(
    ("statement", "uses"),
    [
        # DynamoDB decrypts in the name of who reads the table: aws/aws-cdk issue 10010.
        ("UseFleetKeys", ["Decrypt", "DescribeKey"]),
        # DynamoDB Developer Guide, "Key policy for a customer managed key": who chooses the key of a new table.
        (
            "EncryptScratchTables",
            [
                "CreateGrant",
                "Decrypt",
                "DescribeKey",
                "Encrypt",
                "GenerateDataKey",
                "GenerateDataKeyWithoutPlaintext",
                "ReEncryptFrom",
                "ReEncryptTo",
            ],
        ),
    ],
)
def test_backup_and_drill_may_use_the_key_of_a_table_that_has_one_of_its_own(
    with_a_key: Stacks, statement: str, uses: list[str]
) -> None:
    found = key_grants(with_a_key)
    assert set(found) == {"UseFleetKeys", "EncryptScratchTables"}
    assert (found[statement]["Action"], found[statement]["Resource"]) == ([f"kms:{use}" for use in uses], KEY)
    via = {"StringEquals": {"kms:ViaService": "dynamodb.ap-southeast-1.amazonaws.com"}}
    assert found[statement]["Condition"] == via


def test_the_drill_of_such_a_table_encrypts_its_scratch_table_with_the_key(with_a_key: Stacks) -> None:
    inputs = [each["target"]["input"] for each in with_a_key.resources("local", "aws_scheduler_schedule").values()]
    drills = [json.loads(text).get("table", {}) for text in inputs if "scratch_prefix" in text]
    assert drills
    assert {drill["kms_key_arn"] for drill in drills} == {KEY}


def test_without_such_a_table_the_backup_may_use_no_key(stacks: Stacks) -> None:
    for env in ALL:
        names = {each["name"] for each in stacks.resources(env, "aws_iam_role_policy").values()}
        assert not names & {"UseFleetKeys", "EncryptScratchTables"}


def test_the_roles_of_the_workflows_leave_room_for_longer_names(stacks: Stacks) -> None:
    """IAM counts 10,240 characters of a role's inline policies, without white space (IAM User Guide, "Quotas")."""
    for role in ("plan", "deploy"):
        inline = [
            re.sub(r"\s", "", re.sub(r"\$\{[^}]*\}", "0" * 12, each["policy"]))
            for id_, each in stacks.resources("production-github", "aws_iam_role_policy").items()
            if id_.startswith(f"{role}-")
        ]
        # A name of 63 characters where the example has 26, in each of some 40 places.
        assert sum(map(len, inline)) < 10_240 - 40 * 37, role
