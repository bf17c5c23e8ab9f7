"""Checks whether a resource's policy allows an action to an AWS service, and whether a role trusts the service."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ministack.core import iam_evaluator

# The condition keys that a service sends with an action. Other keys are absent, so a statement with a condition on
# them does not apply.
_SENT = {
    # Lambda Developer Guide, "Invoking a Lambda function using an Amazon API Gateway endpoint".
    ("apigateway.amazonaws.com", "lambda:InvokeFunction"): {"aws:sourcearn"},
    # Amazon S3 User Guide and CloudFront Developer Guide, "Restrict access to an Amazon S3 origin".
    ("cloudfront.amazonaws.com", "s3:ListBucket"): {"aws:sourcearn"},
    # hashicorp/terraform-provider-aws issue 26628, aws-samples/serverless-patterns pull request 618.
    ("events.amazonaws.com", "logs:CreateLogStream"): set(),
    ("events.amazonaws.com", "logs:PutLogEvents"): {"aws:sourcearn"},
    # EventBridge User Guide, "Using resource-based policies": conditions for Lambda and SQS, none for SNS.
    ("events.amazonaws.com", "lambda:InvokeFunction"): {"aws:sourcearn"},
    ("events.amazonaws.com", "sns:Publish"): set(),
    ("events.amazonaws.com", "sqs:SendMessage"): {"aws:sourcearn"},
}


def may(policy: Any, service: str, action: str, resource_arn: str, source_arn: str) -> bool:
    """Return whether a resource's policy allows a service to perform an action.

    Arguments:
        policy: the document, as JSON or decoded; None if there is no policy.
        service: the principal, such as `events.amazonaws.com`.
        source_arn: the resource for which the service acts. Conditions see it only if the service sends it.
    """
    known = {"aws:sourcearn": source_arn}
    context = iam_evaluator.EvalContext(
        principal_arn="*",
        principal_type="Service",
        principal_account="",
        action=action,
        resource_arn=resource_arn,
        region="",
        service_context={key: known[key] for key in _SENT.get((service, action), set())},
    )
    return bool(iam_evaluator.evaluate_resource_policy(policy, context, service=service).decision == "Allow")


def trusts(trust: Any, service: str, role_arn: str, account_id: str, keys: Mapping[str, str] | None = None) -> bool:
    """Return whether a role's trust policy allows a service to assume it.

    Arguments:
        trust: the document, as JSON or decoded.
        keys: condition keys that the service sends, in lower case.
    """
    document = json.loads(trust) if isinstance(trust, str) else trust
    statements = [found for found in document["Statement"] if service in _services(found)]
    root = f"arn:aws:iam::{account_id}:root"
    context = iam_evaluator.EvalContext(
        principal_arn=root,
        principal_type="Root",
        principal_account=account_id,
        action="sts:AssumeRole",
        resource_arn=role_arn,
        region="",
        service_context=dict(keys or {}),
    )
    return bool(iam_evaluator.evaluate_trust_policy({"Statement": statements}, root, context))


def _services(statement: Mapping[str, Any]) -> list[str]:
    principal = statement.get("Principal", {})
    services = principal.get("Service", []) if isinstance(principal, dict) else []
    return services if isinstance(services, list) else [services]
