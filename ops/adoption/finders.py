"""How each type of resource is found in an account, by the name that the stack gives it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ops.adoption import special
from ops.adoption.finding import Finder, Found, Values, described, listed


def _same(field: str, attribute: str) -> Callable[[Any, Values], bool]:
    return lambda it, values: it.get(field) == values.get(attribute)


def _of_bucket(operation: str, part: str) -> Finder:
    return described("s3", operation, {"Bucket": "bucket"}, "{bucket}", there=lambda answer, _: bool(answer.get(part)))


def _gateway(operation: str, parameters: Mapping[str, str], import_id: str, **more: Any) -> Finder:
    return described("apigateway", operation, {"restApiId": "rest_api_id", **parameters}, import_id, **more)


def _api_named(operation: str) -> Finder:
    return listed("apigateway", operation, "items", _same("name", "name"), "{it[id]}")


def _in_api(operation: str, match: Callable[[Any, Values], bool]) -> Finder:
    return listed(
        "apigateway",
        operation,
        "items",
        match,
        "{rest_api_id}/{it[id]}",
        parameters={"restApiId": "rest_api_id"},
        own="{it[id]}",
    )


_METHOD = {"resourceId": "resource_id", "httpMethod": "http_method"}
_RESPONSE = {**_METHOD, "statusCode": "status_code"}
_METHOD_ID = "{rest_api_id}/{resource_id}/{http_method}"
_BY_BUS = {"Name": "name", "EventBusName": "event_bus_name"}

FINDERS: Mapping[str, Finder] = {
    "aws_api_gateway_account": described(
        "apigateway",
        "get_account",
        {},
        "api-gateway-account",
        there=lambda answer, _: bool(answer.get("cloudwatchRoleArn")),
    ),
    "aws_api_gateway_api_key": _api_named("get_api_keys"),
    "aws_api_gateway_gateway_response": _gateway(
        "get_gateway_response",
        {"responseType": "response_type"},
        "{rest_api_id}/{response_type}",
        there=lambda answer, _: not answer.get("defaultResponse"),
    ),
    "aws_api_gateway_integration": _gateway("get_integration", _METHOD, _METHOD_ID),
    "aws_api_gateway_integration_response": _gateway(
        "get_integration_response", _RESPONSE, f"{_METHOD_ID}/{{status_code}}"
    ),
    "aws_api_gateway_method": _gateway("get_method", _METHOD, _METHOD_ID),
    "aws_api_gateway_method_response": _gateway("get_method_response", _RESPONSE, f"{_METHOD_ID}/{{status_code}}"),
    "aws_api_gateway_method_settings": _gateway(
        "get_stage",
        {"stageName": "stage_name"},
        "{rest_api_id}/{stage_name}/{method_path}",
        there=lambda answer, values: values["method_path"] in answer.get("methodSettings", {}),
    ),
    "aws_api_gateway_model": _gateway("get_model", {"modelName": "name"}, "{rest_api_id}/{name}"),
    "aws_api_gateway_request_validator": _in_api("get_request_validators", _same("name", "name")),
    "aws_api_gateway_resource": _in_api("get_resources", lambda it, values: it["path"] == f"/{values['path_part']}"),
    "aws_api_gateway_rest_api": _api_named("get_rest_apis"),
    "aws_api_gateway_stage": _gateway("get_stage", {"stageName": "stage_name"}, "{rest_api_id}/{stage_name}"),
    "aws_api_gateway_usage_plan": _api_named("get_usage_plans"),
    "aws_api_gateway_usage_plan_key": described(
        "apigateway",
        "get_usage_plan_key",
        {"usagePlanId": "usage_plan_id", "keyId": "key_id"},
        "{usage_plan_id}/{key_id}",
    ),
    "aws_backup_framework": described("backup", "describe_framework", {"FrameworkName": "name"}, "{name}"),
    "aws_backup_plan": listed(
        "backup", "list_backup_plans", "BackupPlansList", _same("BackupPlanName", "name"), "{it[BackupPlanId]}"
    ),
    # The settings belong to the account and always exist.
    "aws_backup_region_settings": lambda place, _: Found(place.region),
    "aws_backup_report_plan": described("backup", "describe_report_plan", {"ReportPlanName": "name"}, "{name}"),
    "aws_backup_restore_testing_plan": described(
        "backup", "get_restore_testing_plan", {"RestoreTestingPlanName": "name"}, "{name}"
    ),
    "aws_backup_restore_testing_selection": described(
        "backup",
        "get_restore_testing_selection",
        {"RestoreTestingPlanName": "restore_testing_plan_name", "RestoreTestingSelectionName": "name"},
        "{name}:{restore_testing_plan_name}",
    ),
    "aws_backup_selection": listed(
        "backup",
        "list_backup_selections",
        "BackupSelectionsList",
        _same("SelectionName", "name"),
        "{plan_id}|{it[SelectionId]}",
        parameters={"BackupPlanId": "plan_id"},
        own="{it[SelectionId]}",
    ),
    "aws_backup_vault": special.vault(lock=False),
    "aws_backup_vault_lock_configuration": special.vault(lock=True),
    "aws_backup_vault_notifications": described(
        "backup", "get_backup_vault_notifications", {"BackupVaultName": "backup_vault_name"}, "{backup_vault_name}"
    ),
    "aws_cloudfront_distribution": special.distribution,
    "aws_cloudfront_function": described(
        "cloudfront", "describe_function", {"Name": "name"}, "{name}", fixed={"Stage": "DEVELOPMENT"}
    ),
    "aws_cloudfront_origin_access_control": listed(
        "cloudfront",
        "list_origin_access_controls",
        "OriginAccessControlList.Items",
        _same("Name", "name"),
        "{it[Id]}",
    ),
    "aws_cloudfront_response_headers_policy": listed(
        "cloudfront",
        "list_response_headers_policies",
        "ResponseHeadersPolicyList.Items",
        lambda it, values: it["ResponseHeadersPolicy"]["ResponseHeadersPolicyConfig"]["Name"] == values["name"],
        "{it[ResponseHeadersPolicy][Id]}",
        fixed={"Type": "custom"},
    ),
    "aws_cloudtrail": described(
        "cloudtrail", "get_trail", {"Name": "name"}, "arn:aws:cloudtrail:{region}:{account}:trail/{name}"
    ),
    "aws_cloudwatch_dashboard": described(
        "cloudwatch", "get_dashboard", {"DashboardName": "dashboard_name"}, "{dashboard_name}"
    ),
    "aws_cloudwatch_event_archive": described("events", "describe_archive", {"ArchiveName": "name"}, "{name}"),
    "aws_cloudwatch_event_bus": described("events", "describe_event_bus", {"Name": "name"}, "{name}"),
    "aws_cloudwatch_event_bus_policy": special.bus_policy,
    "aws_cloudwatch_event_rule": described(
        "events", "describe_rule", _BY_BUS, "{event_bus_name}/{name}", own="{event_bus_name}/{name}"
    ),
    "aws_cloudwatch_event_target": special.target,
    "aws_cloudwatch_log_group": special.log_group,
    "aws_cloudwatch_log_resource_policy": listed(
        "logs", "describe_resource_policies", "resourcePolicies", _same("policyName", "policy_name"), "{policy_name}"
    ),
    "aws_cloudwatch_metric_alarm": special.alarm,
    "aws_dynamodb_table": described("dynamodb", "describe_table", {"TableName": "name"}, "{name}"),
    "aws_iam_role": described("iam", "get_role", {"RoleName": "name"}, "{name}"),
    "aws_iam_role_policy": described(
        "iam", "get_role_policy", {"RoleName": "role", "PolicyName": "name"}, "{role}:{name}"
    ),
    "aws_iam_role_policy_attachment": special.attachment,
    "aws_kms_alias": listed("kms", "list_aliases", "Aliases", _same("AliasName", "name"), "{name}"),
    "aws_kms_key": special.key,
    "aws_lambda_function": described("lambda", "get_function", {"FunctionName": "function_name"}, "{function_name}"),
    "aws_lambda_function_event_invoke_config": described(
        "lambda", "get_function_event_invoke_config", {"FunctionName": "function_name"}, "{function_name}"
    ),
    "aws_lambda_permission": special.permission,
    "aws_s3_bucket": special.bucket,
    "aws_s3_bucket_lifecycle_configuration": _of_bucket("get_bucket_lifecycle_configuration", "Rules"),
    "aws_s3_bucket_notification": described(
        "s3",
        "get_bucket_notification_configuration",
        {"Bucket": "bucket"},
        "{bucket}",
        # Without a configuration the answer is empty. Putting one replaces all existing notifications.
        there=lambda answer, _: any(name.endswith(("Configuration", "Configurations")) for name in answer),
    ),
    "aws_s3_bucket_ownership_controls": _of_bucket("get_bucket_ownership_controls", "OwnershipControls"),
    "aws_s3_bucket_policy": _of_bucket("get_bucket_policy", "Policy"),
    "aws_s3_bucket_public_access_block": _of_bucket("get_public_access_block", "PublicAccessBlockConfiguration"),
    "aws_s3_bucket_replication_configuration": _of_bucket("get_bucket_replication", "ReplicationConfiguration"),
    "aws_s3_bucket_server_side_encryption_configuration": _of_bucket(
        "get_bucket_encryption", "ServerSideEncryptionConfiguration"
    ),
    "aws_s3_bucket_versioning": _of_bucket("get_bucket_versioning", "Status"),
    "aws_s3_object": described("s3", "head_object", {"Bucket": "bucket", "Key": "key"}, "{bucket}/{key}"),
    "aws_scheduler_schedule": described(
        "scheduler", "get_schedule", {"GroupName": "group_name", "Name": "name"}, "{group_name}/{name}"
    ),
    "aws_scheduler_schedule_group": described("scheduler", "get_schedule_group", {"Name": "name"}, "{name}"),
    "aws_sesv2_email_identity": described(
        "sesv2", "get_email_identity", {"EmailIdentity": "email_identity"}, "{email_identity}"
    ),
    "aws_sns_topic": special.topic,
    # A topic always has a policy.
    "aws_sns_topic_policy": lambda _, values: Found(values["arn"]) if values.get("arn") else None,
    "aws_sns_topic_subscription": special.subscription,
    "aws_sqs_queue": special.queue,
    "aws_sqs_queue_policy": special.queue_policy,
}

# Types that are never adopted, and why.
NEVER: Mapping[str, str] = {
    "aws_api_gateway_deployment": "a deployment is a snapshot of the API; the apply makes a new one",
}


def unknown(kinds: Sequence[str]) -> set[str]:
    """Return the types that have no finder."""
    return set(kinds) - FINDERS.keys() - NEVER.keys()
