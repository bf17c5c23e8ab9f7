"""How the resources are found that need more than one call or a comparison."""

from __future__ import annotations

import json
from typing import Any

from botocore.exceptions import ClientError

from ops.adoption.finding import AdoptionError, Finder, Found, Place, Values, ask, entries, is_absent


def bucket(place: Place, values: Values) -> Found | None:
    """Find a bucket of this account."""
    name = values["bucket"]
    try:
        place.client("s3").head_bucket(Bucket=name, ExpectedBucketOwner=place.account)
    except ClientError as error:
        if is_absent(error):
            return None
        raise AdoptionError(
            f"s3://{name} belongs to another account than {place.account}, or may not be read; bucket names are "
            "global, so choose another in environments/"
        ) from None
    return Found(name)


def log_group(place: Place, values: Values) -> Found | None:
    """Find a log group by its exact name."""
    name = values["name"]
    groups = entries(place.client("logs"), "describe_log_groups", "logGroups", logGroupNamePrefix=name)
    return Found(name) if any(group["logGroupName"] == name for group in groups) else None


def alarm(place: Place, values: Values) -> Found | None:
    """Find an alarm by its name."""
    name = values["alarm_name"]
    return Found(name) if place.client("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"] else None


def distribution(place: Place, values: Values) -> Found | None:
    """Rollbook names a distribution in its comment, and the wizard of the console in the tag `Name`."""
    client, name = place.client("cloudfront"), values["comment"]
    fitting = []
    for each in entries(client, "list_distributions", "DistributionList.Items"):
        tags = client.list_tags_for_resource(Resource=each["ARN"])["Tags"].get("Items", [])
        if each.get("Comment") == name or {"Key": "Name", "Value": name} in tags:
            fitting.append(each["Id"])
    if len(fitting) > 1:
        raise AdoptionError(
            f"{len(fitting)} distributions are named {name}: {', '.join(fitting)}; name one with --id ADDRESS=ID"
        )
    return Found(fitting[0]) if fitting else None


def bus_policy(place: Place, values: Values) -> Found | None:
    """Find the policy of an event bus."""
    bus = ask(place.client("events").describe_event_bus, Name=values.get("event_bus_name") or "default")
    return Found(bus["Name"]) if bus and bus.get("Policy") else None


def target(place: Place, values: Values) -> Found | None:
    """Find the target of a rule by its ARN."""
    rule, bus = values.get("rule"), values.get("event_bus_name") or "default"
    if rule is None:
        return None
    found = ask(place.client("events").list_targets_by_rule, Rule=rule, EventBusName=bus)
    for each in (found or {}).get("Targets", ()):
        if each["Arn"] == values.get("arn"):
            return Found(f"{bus}/{rule}/{each['Id']}")
    return None


def topic(place: Place, values: Values) -> Found | None:
    """Find a topic by its name."""
    arn = f"arn:aws:sns:{place.region}:{place.account}:{values['name']}"
    return Found(arn) if ask(place.client("sns").get_topic_attributes, TopicArn=arn) else None


def subscription(place: Place, values: Values) -> Found | None:
    """Find a confirmed subscription by its endpoint."""
    if values.get("topic_arn") is None:
        return None
    client = place.client("sns")
    for each in entries(client, "list_subscriptions_by_topic", "Subscriptions", TopicArn=values["topic_arn"]):
        fits = each["Protocol"] == values["protocol"] and each["Endpoint"] == values.get("endpoint")
        # A subscription has no ARN before its confirmation. Subscribing again returns the same one.
        if fits and each["SubscriptionArn"].startswith("arn:"):
            return Found(each["SubscriptionArn"])
    return None


def queue(place: Place, values: Values) -> Found | None:
    """Find a queue by its name."""
    found = ask(place.client("sqs").get_queue_url, QueueName=values["name"])
    return Found(found["QueueUrl"]) if found else None


def queue_policy(place: Place, values: Values) -> Found | None:
    """Find the policy of a queue."""
    url = values.get("queue_url")
    found = url and ask(place.client("sqs").get_queue_attributes, QueueUrl=url, AttributeNames=["Policy"])
    return Found(str(url)) if found and found.get("Attributes", {}).get("Policy") else None


def statements(place: Place, function: str) -> list[dict[str, Any]]:
    """Return the statements of a function's resource policy."""
    found = ask(place.client("lambda").get_policy, FunctionName=function)
    return list(json.loads(found["Policy"])["Statement"]) if found else []


def permission(place: Place, values: Values) -> Found | None:
    """Find the statement that allows the same principal, action and source."""
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


def vault(*, lock: bool) -> Finder:
    """Search the listing. DescribeBackupVault answers a missing vault with AccessDenied."""

    def find(place: Place, values: Values) -> Found | None:
        name = values.get("backup_vault_name") if lock else values["name"]
        for each in entries(place.client("backup"), "list_backup_vaults", "BackupVaultList"):
            if each["BackupVaultName"] == name and (each.get("Locked") or not lock):
                return Found(str(name))
        return None

    return find


def key(place: Place, values: Values) -> Found | None:
    """Search by description, because keys have no names."""
    client, fitting = place.client("kms"), []
    for each in entries(client, "list_keys", "Keys"):
        key = client.describe_key(KeyId=each["KeyId"])["KeyMetadata"]
        if key["Description"] == values["description"] and key["KeyState"] == "Enabled":
            fitting.append(key["KeyId"])
    if len(fitting) > 1:
        raise AdoptionError(
            f"{len(fitting)} keys have the description {values['description']!r}: {', '.join(fitting)}; "
            "name one with --id ADDRESS=ID"
        )
    return Found(fitting[0]) if fitting else None


def attachment(place: Place, values: Values) -> Found | None:
    """Find a managed policy attached to a role."""
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
