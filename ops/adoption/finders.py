"""How each type of resource is found in an account: by the names that the stack gives it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

Values = Mapping[str, Any]
# What an absent thing is answered with; the services agree on no code and no status.
_ABSENT = ("NotFound", "NoSuch", "NonExistent", "DoesNotExist", "404")


class AdoptionError(RuntimeError):
    """Something cannot be adopted; the message says what, why, and what to do.

    Arguments:
        address: of the resource; a finder does not know it.
    """

    def __init__(self, message: str, address: str = "") -> None:
        super().__init__(f"{address}: {message}" if address else message)
        self.address = address


@dataclass(frozen=True)
class Place:
    """Where a resource is looked for.

    Arguments:
        account: 12 digits.
        client: returns the boto3 client of a service in the resource's Region.
    """

    account: str
    region: str
    client: Callable[[str], Any]


@dataclass(frozen=True)
class Found:
    """A resource that is there.

    Arguments:
        import_id: as `terraform import` wants it; source of the forms: each resource's "Import" in the documentation of
            the AWS provider 5.100.
        id: the resource's attribute `id`, where it is another one.
    """

    import_id: str
    id: str = ""

    @property
    def own_id(self) -> str:
        """Return the attribute `id`."""
        return self.id or self.import_id


# Returns what is there, or None; `values` is the synthesized resource with its references filled in.
Finder = Callable[[Place, Values], Found | None]


def is_absent(error: ClientError) -> bool:
    """Return whether an answer says that there is no such thing."""
    answer = error.response
    code = str(answer["Error"]["Code"])
    return answer["ResponseMetadata"]["HTTPStatusCode"] == 404 or any(word in code for word in _ABSENT)


def ask(call: Callable[..., Any], **parameters: Any) -> Any:
    """Return a call's answer, or None if what it asks for is not there."""
    try:
        return call(**parameters)
    except ClientError as error:
        if is_absent(error):
            return None
        raise


def entries(client: Any, operation: str, key: str, **parameters: Any) -> Iterator[Any]:
    """Yield what a listing has, over all its pages; `key` may be a path such as `DistributionList.Items`.

    Raises:
        AdoptionError: there is more than a page of what boto3 does not page through.
    """
    *path, last = key.split(".")
    is_paged = client.can_paginate(operation)
    pages = client.get_paginator(operation).paginate(**parameters) if is_paged else None
    for page in pages or [ask(getattr(client, operation), **parameters)]:
        part = page or {}
        for name in path:
            part = part.get(name) or {}
        if not is_paged and part.get("NextMarker"):
            raise AdoptionError(f"{operation} has more than one page; say which with --id ADDRESS=ID")
        yield from part.get(last) or ()


def _described(
    service: str,
    operation: str,
    parameters: Mapping[str, str],
    import_id: str,
    *,
    own: str = "",
    there: Callable[[Any, Values], bool] | None = None,
    fixed: Mapping[str, Any] | None = None,
) -> Finder:
    """Return a finder that asks for one thing by name.

    Arguments:
        parameters: of the call, and the attributes that have their values.
        import_id, own: `Found.import_id` and `Found.id`, formats over the attributes.
        there: whether the answer speaks of what is wanted.
        fixed: parameters that are the same for each.
    """

    def find(place: Place, values: Values) -> Found | None:
        given = {name: values.get(attribute) for name, attribute in parameters.items()}
        if None in given.values():
            return None  # what it hangs on is not there
        answer = ask(getattr(place.client(service), operation), **given, **(fixed or {}))
        if answer is None or (there and not there(answer, values)):
            return None
        known = {**values, "account": place.account, "region": place.region}
        return Found(import_id.format_map(known), own.format_map(known))

    return find


def _listed(
    service: str,
    operation: str,
    key: str,
    match: Callable[[Any, Values], bool],
    import_id: str,
    *,
    parameters: Mapping[str, str] | None = None,
    fixed: Mapping[str, Any] | None = None,
    own: str = "",
) -> Finder:
    """Return a finder that looks a listing through; formats are over the attributes and `it`, the entry.

    Raises:
        AdoptionError: (the finder) more than one entry fits.
    """

    def find(place: Place, values: Values) -> Found | None:
        given = {name: values.get(attribute) for name, attribute in (parameters or {}).items()}
        if None in given.values():
            return None
        client = place.client(service)
        try:
            fitting = [it for it in entries(client, operation, key, **given, **(fixed or {})) if match(it, values)]
        except ClientError as error:
            if is_absent(error):
                return None
            raise
        known = [{**values, "account": place.account, "region": place.region, "it": it} for it in fitting]
        found = [Found(import_id.format_map(each), own.format_map(each)) for each in known]
        if len(found) > 1:
            ids = ", ".join(each.import_id for each in found)
            raise AdoptionError(f"{len(found)} fit: {ids}; say which with --id ADDRESS=ID, or delete the others")
        return found[0] if found else None

    return find


def _same(field: str, attribute: str) -> Callable[[Any, Values], bool]:
    return lambda it, values: it.get(field) == values.get(attribute)


def _bucket(place: Place, values: Values) -> Found | None:
    name = values["bucket"]
    try:
        place.client("s3").head_bucket(Bucket=name, ExpectedBucketOwner=place.account)
    except ClientError as error:
        if is_absent(error):
            return None
        raise AdoptionError(
            f"s3://{name} is not the account {place.account}'s, or may not be looked at; bucket names are global, so "
            "choose another in environments/"
        ) from None
    return Found(name)


def _of_bucket(operation: str, part: str) -> Finder:
    return _described("s3", operation, {"Bucket": "bucket"}, "{bucket}", there=lambda answer, _: bool(answer.get(part)))


def _log_group(place: Place, values: Values) -> Found | None:
    name = values["name"]
    groups = entries(place.client("logs"), "describe_log_groups", "logGroups", logGroupNamePrefix=name)
    return Found(name) if any(group["logGroupName"] == name for group in groups) else None


def _alarm(place: Place, values: Values) -> Found | None:
    name = values["alarm_name"]
    return Found(name) if place.client("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"] else None


def _distribution(place: Place, values: Values) -> Found | None:
    """The comment is the name that Rollbook gives; the console's wizard puts it into the tag `Name`."""
    client, name = place.client("cloudfront"), values["comment"]
    fitting = []
    for each in entries(client, "list_distributions", "DistributionList.Items"):
        tags = client.list_tags_for_resource(Resource=each["ARN"])["Tags"].get("Items", [])
        if each.get("Comment") == name or {"Key": "Name", "Value": name} in tags:
            fitting.append(each["Id"])
    if len(fitting) > 1:
        raise AdoptionError(
            f"{len(fitting)} distributions are named {name}: {', '.join(fitting)}; say which with --id ADDRESS=ID"
        )
    return Found(fitting[0]) if fitting else None


def _bus_policy(place: Place, values: Values) -> Found | None:
    bus = ask(place.client("events").describe_event_bus, Name=values.get("event_bus_name") or "default")
    return Found(bus["Name"]) if bus and bus.get("Policy") else None


def _target(place: Place, values: Values) -> Found | None:
    rule, bus = values.get("rule"), values.get("event_bus_name") or "default"
    if rule is None:
        return None
    found = ask(place.client("events").list_targets_by_rule, Rule=rule, EventBusName=bus)
    for each in (found or {}).get("Targets", ()):
        if each["Arn"] == values.get("arn"):
            return Found(f"{bus}/{rule}/{each['Id']}")
    return None


def _topic(place: Place, values: Values) -> Found | None:
    arn = f"arn:aws:sns:{place.region}:{place.account}:{values['name']}"
    return Found(arn) if ask(place.client("sns").get_topic_attributes, TopicArn=arn) else None


def _subscription(place: Place, values: Values) -> Found | None:
    if values.get("topic_arn") is None:
        return None
    client = place.client("sns")
    for each in entries(client, "list_subscriptions_by_topic", "Subscriptions", TopicArn=values["topic_arn"]):
        fits = each["Protocol"] == values["protocol"] and each["Endpoint"] == values.get("endpoint")
        # One that nobody has confirmed has no ARN yet; asked for again, it is the same one.
        if fits and each["SubscriptionArn"].startswith("arn:"):
            return Found(each["SubscriptionArn"])
    return None


def _queue(place: Place, values: Values) -> Found | None:
    found = ask(place.client("sqs").get_queue_url, QueueName=values["name"])
    return Found(found["QueueUrl"]) if found else None


def _queue_policy(place: Place, values: Values) -> Found | None:
    url = values.get("queue_url")
    found = url and ask(place.client("sqs").get_queue_attributes, QueueUrl=url, AttributeNames=["Policy"])
    return Found(str(url)) if found and found.get("Attributes", {}).get("Policy") else None


def statements(place: Place, function: str) -> list[dict[str, Any]]:
    """Return the statements of a function's own policy."""
    found = ask(place.client("lambda").get_policy, FunctionName=function)
    return list(json.loads(found["Policy"])["Statement"]) if found else []


def _permission(place: Place, values: Values) -> Found | None:
    function = values.get("function_name")
    for statement in statements(place, function) if function else ():
        conditions = statement.get("Condition", {})
        sources = [test.get("AWS:SourceArn") or test.get("aws:SourceArn") for test in conditions.values()]
        principal = statement["Principal"]
        if (
            (principal.get("Service") if isinstance(principal, dict) else principal) == values["principal"]
            and statement["Action"] == values["action"]
            and values.get("source_arn") in sources
        ):
            return Found(f"{function}/{statement['Sid']}")
    return None


def _vault(lock: bool) -> Finder:
    """Ask the listing: a vault that is not there answers DescribeBackupVault as one that may not be looked at."""

    def find(place: Place, values: Values) -> Found | None:
        name = values.get("backup_vault_name") if lock else values["name"]
        for each in entries(place.client("backup"), "list_backup_vaults", "BackupVaultList"):
            if each["BackupVaultName"] == name and (each.get("Locked") or not lock):
                return Found(str(name))
        return None

    return find


def _key(place: Place, values: Values) -> Found | None:
    """Keys have no names; the description is what the stack knows one by."""
    client, fitting = place.client("kms"), []
    for each in entries(client, "list_keys", "Keys"):
        key = client.describe_key(KeyId=each["KeyId"])["KeyMetadata"]
        if key["Description"] == values["description"] and key["KeyState"] == "Enabled":
            fitting.append(key["KeyId"])
    if len(fitting) > 1:
        raise AdoptionError(f"{len(fitting)} keys are for {values['description']!r}: {', '.join(fitting)}; use --id")
    return Found(fitting[0]) if fitting else None


def _attachment(place: Place, values: Values) -> Found | None:
    role, arn = values.get("role"), values["policy_arn"]
    if role is None:
        return None
    try:
        attached = list(entries(place.client("iam"), "list_attached_role_policies", "AttachedPolicies", RoleName=role))
    except ClientError as error:
        if is_absent(error):
            return None
        raise
    return Found(f"{role}/{arn}") if any(policy["PolicyArn"] == arn for policy in attached) else None


def _gateway(operation: str, parameters: Mapping[str, str], import_id: str, **more: Any) -> Finder:
    return _described("apigateway", operation, {"restApiId": "rest_api_id", **parameters}, import_id, **more)


def _api_named(operation: str) -> Finder:
    return _listed("apigateway", operation, "items", _same("name", "name"), "{it[id]}")


def _in_api(operation: str, match: Callable[[Any, Values], bool]) -> Finder:
    return _listed(
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
    "aws_api_gateway_account": _described(
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
    "aws_api_gateway_usage_plan_key": _described(
        "apigateway",
        "get_usage_plan_key",
        {"usagePlanId": "usage_plan_id", "keyId": "key_id"},
        "{usage_plan_id}/{key_id}",
    ),
    "aws_backup_framework": _described("backup", "describe_framework", {"FrameworkName": "name"}, "{name}"),
    "aws_backup_plan": _listed(
        "backup", "list_backup_plans", "BackupPlansList", _same("BackupPlanName", "name"), "{it[BackupPlanId]}"
    ),
    # The settings are the account's and always there.
    "aws_backup_region_settings": lambda place, _: Found(place.region),
    "aws_backup_report_plan": _described("backup", "describe_report_plan", {"ReportPlanName": "name"}, "{name}"),
    "aws_backup_restore_testing_plan": _described(
        "backup", "get_restore_testing_plan", {"RestoreTestingPlanName": "name"}, "{name}"
    ),
    "aws_backup_restore_testing_selection": _described(
        "backup",
        "get_restore_testing_selection",
        {"RestoreTestingPlanName": "restore_testing_plan_name", "RestoreTestingSelectionName": "name"},
        "{name}:{restore_testing_plan_name}",
    ),
    "aws_backup_selection": _listed(
        "backup",
        "list_backup_selections",
        "BackupSelectionsList",
        _same("SelectionName", "name"),
        "{plan_id}|{it[SelectionId]}",
        parameters={"BackupPlanId": "plan_id"},
        own="{it[SelectionId]}",
    ),
    "aws_backup_vault": _vault(lock=False),
    "aws_backup_vault_lock_configuration": _vault(lock=True),
    "aws_backup_vault_notifications": _described(
        "backup", "get_backup_vault_notifications", {"BackupVaultName": "backup_vault_name"}, "{backup_vault_name}"
    ),
    "aws_cloudfront_distribution": _distribution,
    "aws_cloudfront_function": _described(
        "cloudfront", "describe_function", {"Name": "name"}, "{name}", fixed={"Stage": "DEVELOPMENT"}
    ),
    "aws_cloudfront_origin_access_control": _listed(
        "cloudfront",
        "list_origin_access_controls",
        "OriginAccessControlList.Items",
        _same("Name", "name"),
        "{it[Id]}",
    ),
    "aws_cloudfront_response_headers_policy": _listed(
        "cloudfront",
        "list_response_headers_policies",
        "ResponseHeadersPolicyList.Items",
        lambda it, values: it["ResponseHeadersPolicy"]["ResponseHeadersPolicyConfig"]["Name"] == values["name"],
        "{it[ResponseHeadersPolicy][Id]}",
        fixed={"Type": "custom"},
    ),
    "aws_cloudtrail": _described(
        "cloudtrail", "get_trail", {"Name": "name"}, "arn:aws:cloudtrail:{region}:{account}:trail/{name}"
    ),
    "aws_cloudwatch_dashboard": _described(
        "cloudwatch", "get_dashboard", {"DashboardName": "dashboard_name"}, "{dashboard_name}"
    ),
    "aws_cloudwatch_event_archive": _described("events", "describe_archive", {"ArchiveName": "name"}, "{name}"),
    "aws_cloudwatch_event_bus": _described("events", "describe_event_bus", {"Name": "name"}, "{name}"),
    "aws_cloudwatch_event_bus_policy": _bus_policy,
    "aws_cloudwatch_event_rule": _described(
        "events", "describe_rule", _BY_BUS, "{event_bus_name}/{name}", own="{event_bus_name}/{name}"
    ),
    "aws_cloudwatch_event_target": _target,
    "aws_cloudwatch_log_group": _log_group,
    "aws_cloudwatch_log_resource_policy": _listed(
        "logs", "describe_resource_policies", "resourcePolicies", _same("policyName", "policy_name"), "{policy_name}"
    ),
    "aws_cloudwatch_metric_alarm": _alarm,
    "aws_dynamodb_table": _described("dynamodb", "describe_table", {"TableName": "name"}, "{name}"),
    "aws_iam_role": _described("iam", "get_role", {"RoleName": "name"}, "{name}"),
    "aws_iam_role_policy": _described(
        "iam", "get_role_policy", {"RoleName": "role", "PolicyName": "name"}, "{role}:{name}"
    ),
    "aws_iam_role_policy_attachment": _attachment,
    "aws_kms_alias": _listed("kms", "list_aliases", "Aliases", _same("AliasName", "name"), "{name}"),
    "aws_kms_key": _key,
    "aws_lambda_function": _described("lambda", "get_function", {"FunctionName": "function_name"}, "{function_name}"),
    "aws_lambda_function_event_invoke_config": _described(
        "lambda", "get_function_event_invoke_config", {"FunctionName": "function_name"}, "{function_name}"
    ),
    "aws_lambda_permission": _permission,
    "aws_s3_bucket": _bucket,
    "aws_s3_bucket_lifecycle_configuration": _of_bucket("get_bucket_lifecycle_configuration", "Rules"),
    "aws_s3_bucket_notification": _of_bucket("get_bucket_notification_configuration", "LambdaFunctionConfigurations"),
    "aws_s3_bucket_ownership_controls": _of_bucket("get_bucket_ownership_controls", "OwnershipControls"),
    "aws_s3_bucket_policy": _of_bucket("get_bucket_policy", "Policy"),
    "aws_s3_bucket_public_access_block": _of_bucket("get_public_access_block", "PublicAccessBlockConfiguration"),
    "aws_s3_bucket_replication_configuration": _of_bucket("get_bucket_replication", "ReplicationConfiguration"),
    "aws_s3_bucket_server_side_encryption_configuration": _of_bucket(
        "get_bucket_encryption", "ServerSideEncryptionConfiguration"
    ),
    "aws_s3_bucket_versioning": _of_bucket("get_bucket_versioning", "Status"),
    "aws_s3_object": _described("s3", "head_object", {"Bucket": "bucket", "Key": "key"}, "{bucket}/{key}"),
    "aws_scheduler_schedule": _described(
        "scheduler", "get_schedule", {"GroupName": "group_name", "Name": "name"}, "{group_name}/{name}"
    ),
    "aws_scheduler_schedule_group": _described("scheduler", "get_schedule_group", {"Name": "name"}, "{name}"),
    "aws_sesv2_email_identity": _described(
        "sesv2", "get_email_identity", {"EmailIdentity": "email_identity"}, "{email_identity}"
    ),
    "aws_sns_topic": _topic,
    # A topic always has one.
    "aws_sns_topic_policy": lambda _, values: Found(values["arn"]) if values.get("arn") else None,
    "aws_sns_topic_subscription": _subscription,
    "aws_sqs_queue": _queue,
    "aws_sqs_queue_policy": _queue_policy,
}

# What is made anew all the same, and why.
NEVER: Mapping[str, str] = {
    "aws_api_gateway_deployment": "a deployment is a copy of the API as it was; a new one is made of what it becomes",
}


def unknown(kinds: Sequence[str]) -> set[str]:
    """Return the types for which nothing here tells how they are found."""
    return set(kinds) - FINDERS.keys() - NEVER.keys()
