"""Policies evaluated by request: what is asked of a policy, and what it has to answer.

The evaluator is the embedded AWS's: IAM User Guide, "Policy evaluation logic".
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from ministack.core import iam_evaluator

from tests.synth.values.view import ACCOUNT

OTHER_ACCOUNT = "999988887777"


@dataclass(frozen=True)
class Request:
    """A request.

    Arguments:
        action, resource: what is asked for.
        by: the principal's ARN, or the AWS service's name.
        context: condition keys, in lower case.
        secure: whether it comes by TLS.
    """

    action: str
    resource: str
    by: str = f"arn:aws:iam::{ACCOUNT}:role/somebody"
    context: tuple[tuple[str, str], ...] = ()
    secure: bool = True

    def __str__(self) -> str:
        how = "" if self.secure else " unencrypted"
        return f"{self.action} on {self.resource} by {self.by} with {dict(self.context)}{how}"


def _context(request: Request) -> iam_evaluator.EvalContext:
    is_service = not request.by.startswith("arn:")
    return iam_evaluator.EvalContext(
        principal_arn="*" if is_service else request.by,
        principal_type="Service" if is_service else "AssumedRole",
        principal_account="" if is_service else ACCOUNT,
        action=request.action,
        resource_arn=request.resource,
        region="",
        source_ip="203.0.113.1",
        secure_transport=request.secure,
        service_context=dict(request.context),
    )


@lru_cache(maxsize=4096)
def answer(policy: str, request: Request) -> str:
    """Return what a resource's policy answers: Allow, Deny or ImplicitDeny."""
    service = None if request.by.startswith("arn:") else request.by
    return str(iam_evaluator.evaluate_resource_policy(policy, _context(request), service=service).decision)


def trusts(policy: str, request: Request) -> bool:
    """Return whether a role's trust policy lets somebody take the role.

    A trust policy names no resource, so it gets the request's.
    """
    document = json.loads(policy)
    statements = [statement | {"Resource": request.resource} for statement in document["Statement"]]
    return answer(json.dumps(document | {"Statement": statements}), request) == "Allow"


@dataclass(frozen=True)
class Grant:
    """Something that a role may do.

    Arguments:
        actions: of one service.
        resources: ARNs, `*` for any characters.
        context: the condition keys that it needs.
        why: what it is for.
    """

    why: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    context: Mapping[str, str] = field(default_factory=dict, hash=False)

    def requests(self, with_context: bool = True) -> Iterator[Request]:
        """Yield a request for each of its actions and resources."""
        context = tuple(sorted(self.context.items())) if with_context else ()
        for action in self.actions:
            for resource in self.resources:
                yield Request(action, resource.replace("*", "example"), context=context)

    def covers(self, request: Request) -> bool:
        """Return whether a request is one of these."""
        return (
            request.action in self.actions
            and any(fnmatch.fnmatchcase(request.resource, each) for each in self.resources)
            and all(dict(request.context).get(key) == value for key, value in self.context.items())
        )


def neighbours(resource: str) -> Iterator[str]:
    """Yield an example of a resource and others that are like it."""
    example = resource.replace("*", "example")
    yield example
    yield f"{example}x"
    if "*" in resource:
        before = resource.partition("*")[0]
        yield before.rstrip(":/-.") + "~other"
    head, separator, _ = example.rpartition("/" if "/" in example else ":")
    yield f"{head}{separator}another"


def wrong(policies: tuple[str, ...], wanted: tuple[Grant, ...], universe: tuple[Grant, ...]) -> Iterator[str]:
    """Yield what a role's policies refuse and should not, and what they allow and should not."""
    parsed = [iam_evaluator.parse_policy_document(json.loads(policy)) for policy in policies]

    def allows(request: Request) -> bool:
        return bool(iam_evaluator.evaluate(_context(request), parsed).decision == "Allow")

    for grant in wanted:
        for request in grant.requests():
            if not allows(request):
                yield f"refused, but needed ({grant.why}): {request}"
        if grant.context:
            for request in grant.requests(with_context=False):
                if allows(request) and not any(other.covers(request) for other in wanted):
                    yield f"allowed without the condition ({grant.why}): {request}"
    resources: dict[str, set[str]] = {}
    actions: dict[str, set[str]] = {}
    for grant in (*universe, *wanted):
        service = grant.actions[0].partition(":")[0]
        actions.setdefault(service, set()).update(grant.actions)
        resources.setdefault(service, set()).update(r for each in grant.resources for r in neighbours(each))
    contexts = {tuple(sorted(grant.context.items())) for grant in wanted} | {()}
    for service, asked in actions.items():
        for action in sorted(asked):
            for resource in sorted(resources[service]):
                for context in contexts:
                    request = Request(action, resource, context=context)
                    if allows(request) and not any(grant.covers(request) for grant in wanted):
                        yield f"allowed, and not needed: {request}"


def allows(policies: tuple[str, ...], request: Request) -> bool:
    """Return whether the policies of a role allow a request."""
    parsed = [iam_evaluator.parse_policy_document(json.loads(policy)) for policy in policies]
    return bool(iam_evaluator.evaluate(_context(request), parsed).decision == "Allow")


@lru_cache(maxsize=512)
def wrong_of_role(policies: tuple[str, ...], wanted: tuple[Grant, ...], universe: tuple[Grant, ...]) -> tuple[str, ...]:
    """Return what is wrong with a role's policies; remembered, as most alterations leave most roles as they are."""
    return tuple(wrong(policies, wanted, universe))


def of_roles(view: Any) -> dict[str, tuple[str, ...]]:
    """Return the inline policies of each role, by its name."""
    found: dict[str, list[str]] = {}
    for policy in view.all("aws_iam_role_policy").values():
        found.setdefault(policy["role"], []).append(policy["policy"])
    return {role: tuple(sorted(policies)) for role, policies in found.items()}
