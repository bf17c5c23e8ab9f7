"""The limits of the account, compared with the synthesized stack."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ops.preflight.account import GLOBAL_REGION, Account, existing
from ops.preflight.point import Point, look, ok

# Lambda keeps this concurrency for functions without a reservation (Lambda Developer Guide, "Configuring reserved
# concurrency"). An account with a smaller limit can reserve none.
_UNRESERVED = 100
# CloudTrail User Guide, "Quotas in AWS CloudTrail": it cannot be increased.
_TRAILS = 5
_CONCURRENCY = "L-B99A9384"


@dataclass(frozen=True)
class Quota:
    """A quota of Service Quotas.

    Arguments:
        what: its name in words, plural.
        service, code: from AWS General Reference, "Service endpoints and quotas" of the service.
        kind: the Terraform type of the counted resources.
        attribute: the attribute with their names.
        is_global: it is read in us-east-1.
    """

    what: str
    service: str
    code: str
    kind: str
    attribute: str = "name"
    is_global: bool = False


QUOTAS = [
    Quota("REST APIs", "apigateway", "L-AA0FF27B", "aws_api_gateway_rest_api"),
    Quota("distributions", "cloudfront", "L-24B04930", "aws_cloudfront_distribution", "comment", is_global=True),
    Quota("DynamoDB tables", "dynamodb", "L-F98FE922", "aws_dynamodb_table"),
    Quota("rules of the default bus", "events", "L-244521F2", "aws_cloudwatch_event_rule"),
    Quota("buckets", "s3", "L-DC2B2D3D", "aws_s3_bucket", "bucket", is_global=True),
]


def concurrency(account: Account) -> Iterator[Point]:
    """Is the concurrency of Lambda enough? New accounts have 10 (Lambda API Reference, GetAccountSettings)."""
    client = account.aws("lambda")
    limits = client.get_account_settings()["AccountLimit"]
    limit, functions = int(limits["ConcurrentExecutions"]), account.resources("aws_lambda_function")
    raise_it = (
        f"aws service-quotas request-service-quota-increase --service-code lambda --quota-code {_CONCURRENCY} "
        f"--desired-value 1000 --region {account.settings.region}"
    )
    wanted = {
        str(function["function_name"]): int(function.get("reserved_concurrent_executions", -1))
        for function in functions
        if int(function.get("reserved_concurrent_executions", -1)) > 0
    }
    now = sum(_reserved(client, name) for name in wanted)
    left = int(limits["UnreservedConcurrentExecutions"]) + now - sum(wanted.values())
    if wanted and left < min(_UNRESERVED, limit):
        yield look(
            "Lambda concurrency",
            f"of {limit}, {left} would stay unreserved after the {sum(wanted.values())} of the stack; Lambda requires "
            f"{min(_UNRESERVED, limit)}, so the apply fails",
            f"{raise_it}; or remove backups.reserved_concurrency",
        )
    elif limit < len(functions):
        yield look(
            "Lambda concurrency",
            f"{limit} for the whole account, but the stack has {len(functions)} functions: they would be throttled",
            raise_it,
        )
    else:
        reserved = f", {sum(wanted.values())} reserved" if wanted else ", none reserved"
        yield ok("Lambda concurrency", f"{limit} for {len(functions)} functions{reserved}")


def _reserved(client: object, function: str) -> int:
    try:
        found = client.get_function_concurrency(FunctionName=function)  # type: ignore[attr-defined]
    except client.exceptions.ResourceNotFoundException:  # type: ignore[attr-defined]
        return 0
    return int(found.get("ReservedConcurrentExecutions", 0))


def trails(account: Account) -> Iterator[Point]:
    """Can the trail be created? A Region has at most 5, and multi-Region trails of other Regions count."""
    wanted = account.names("aws_cloudtrail")
    if not wanted:
        return
    there = {str(each["Name"]) for each in account.aws("cloudtrail").describe_trails()["trailList"]}
    total = len(there | wanted)
    if total > _TRAILS:
        yield look("trails", f"{total} of {_TRAILS} with this stack", "delete a trail, or set audit.enabled = false")
    else:
        yield ok("trails", f"{total} of {_TRAILS} with this stack")


def roles(account: Account) -> Iterator[Point]:
    """Can the IAM roles be created? (IAM API Reference, GetAccountSummary)."""
    limit = int(account.aws("iam").get_account_summary()["SummaryMap"]["RolesQuota"])
    names = {str(role["name"]) for role in account.resources("aws_iam_role")}
    yield _compared("IAM roles", names | existing(account, "aws_iam_role"), limit, "iam", "L-FE177D64", GLOBAL_REGION)


def quotas(account: Account) -> Iterator[Point]:
    """Can the other resources of the stack be created? (Service Quotas API Reference, GetServiceQuota)."""
    for quota in QUOTAS:
        wanted = {
            str(resource[quota.attribute])
            for resource in account.resources(quota.kind)
            # Only the rules of the default bus count for its quota.
            if resource.get("event_bus_name", "default") == "default"
        }
        if not wanted:
            continue
        region = GLOBAL_REGION if quota.is_global else account.settings.region
        client = account.client("service-quotas", region)
        named = {"ServiceCode": quota.service, "QuotaCode": quota.code}
        try:
            found = client.get_service_quota(**named)["Quota"]
        except client.exceptions.NoSuchResourceException:  # it has the default value in this account
            found = client.get_aws_default_service_quota(**named)["Quota"]
        names = wanted | existing(account, quota.kind)
        yield _compared(quota.what, names, int(found["Value"]), quota.service, quota.code, region)


def _compared(what: str, names: set[str] | frozenset[str], limit: int, service: str, code: str, region: str) -> Point:
    said = f"{len(names)} of {limit:,} with this stack"
    if len(names) <= limit:
        return ok(f"quota: {what}", said)
    return look(
        f"quota: {what}",
        said,
        f"aws service-quotas request-service-quota-increase --service-code {service} --quota-code {code} "
        f"--desired-value {len(names)} --region {region}",
    )
