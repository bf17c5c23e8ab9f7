"""What the checks read: the settings, the synthesized stack, and the account."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from infra.settings import Settings

# The Region of the account-wide quotas of IAM, CloudFront and S3, and of the Account API (AWS General Reference,
# "Service Quotas endpoints and quotas").
GLOBAL_REGION = "us-east-1"
_ROLE = re.compile(r"\$\{aws_iam_role\.([A-Za-z0-9_-]+)\.arn\}")


@dataclass(frozen=True)
class Account:
    """The account of an environment.

    Arguments:
        settings: of the environment.
        stack: the contents of `cdk.tf.json`.
        id: 12 digits.
        client: returns the boto3 client of a service in a Region.
        is_applied: Terraform's state has resources; None if it cannot be read.
    """

    settings: Settings
    stack: Mapping[str, Any]
    id: str
    client: Callable[[str, str], Any]
    is_applied: bool | None

    def __hash__(self) -> int:
        return id(self)

    def aws(self, service: str) -> Any:
        """Return a client in the environment's own Region."""
        return self.client(service, self.settings.region)

    def resources(self, kind: str) -> list[Mapping[str, Any]]:
        """Return the stack's resources of a type."""
        return list(self.stack["resource"].get(kind, {}).values())

    def region_of(self, resource: Mapping[str, Any]) -> str:
        """Return the Region of a resource."""
        alias = str(resource.get("provider", "aws")).partition(".")[2]
        return alias or self.settings.region

    def names(self, kind: str, attribute: str = "name") -> set[str]:
        """Return the names of the stack's resources of a type in the environment's own Region."""
        own = self.settings.region
        return {str(found[attribute]) for found in self.resources(kind) if self.region_of(found) == own}

    def role_name(self, reference: str) -> str:
        """Return the name of the role in a reference to an ARN; empty if it is not such a reference."""
        found = _ROLE.fullmatch(reference)
        return str(self.stack["resource"]["aws_iam_role"][found[1]]["name"]) if found else ""

    @functools.cached_property
    def regions(self) -> list[str]:
        """Return the Regions that the environment uses, its own first."""
        settings = self.settings
        providers = [str(provider["region"]) for provider in self.stack["provider"]["aws"]]
        copies = (
            [copy.region for rule in settings.vault.rules for copy in rule.copies] if settings.vault.enabled else []
        )
        named = [settings.region, *providers, *copies, settings.snapshots.destination_region, settings.state.region]
        return list(dict.fromkeys(region for region in named if region))


@functools.cache
def existing(account: Account, kind: str) -> frozenset[str]:
    """Return the names of the account's resources of a type in the environment's Region; read once.

    Raises:
        botocore.exceptions.ClientError: the caller may not list it.
    """
    return frozenset(_LISTS[kind](account))


def _listed(service: str, operation: str, result: str, name: str) -> Callable[[Account], Iterator[str]]:
    def names(account: Account) -> Iterator[str]:
        for page in account.aws(service).get_paginator(operation).paginate():
            for found in page.get(result) or []:
                yield str(found[name])

    return names


def _tables(account: Account) -> Iterator[str]:
    for page in account.aws("dynamodb").get_paginator("list_tables").paginate():
        yield from page["TableNames"]


def _buckets(account: Account) -> Iterator[str]:
    for found in account.aws("s3").list_buckets()["Buckets"]:
        yield str(found["Name"])


def _distributions(account: Account) -> Iterator[str]:
    for page in account.client("cloudfront", GLOBAL_REGION).get_paginator("list_distributions").paginate():
        for found in page["DistributionList"].get("Items") or []:
            yield str(found["Comment"] or found["Id"])


def _addresses(account: Account) -> Iterator[str]:
    client = account.aws("sesv2")
    token: dict[str, str] = {}
    while True:
        page = client.list_email_identities(**token)
        for found in page["EmailIdentities"]:
            yield str(found["IdentityName"])
        if not page.get("NextToken"):
            return
        token = {"NextToken": page["NextToken"]}


_LISTS: dict[str, Callable[[Account], Iterator[str]]] = {
    "aws_api_gateway_rest_api": _listed("apigateway", "get_rest_apis", "items", "name"),
    "aws_cloudfront_distribution": _distributions,
    "aws_cloudwatch_event_rule": _listed("events", "list_rules", "Rules", "Name"),
    "aws_dynamodb_table": _tables,
    "aws_iam_role": _listed("iam", "list_roles", "Roles", "RoleName"),
    "aws_lambda_function": _listed("lambda", "list_functions", "Functions", "FunctionName"),
    "aws_s3_bucket": _buckets,
    "aws_scheduler_schedule_group": _listed("scheduler", "list_schedule_groups", "ScheduleGroups", "Name"),
    "aws_sesv2_email_identity": _addresses,
}
