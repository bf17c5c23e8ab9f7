"""Parts of adopted resources that Rollbook does not manage and that still have an effect."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ops.adoption.finding import Found, Place, ask, entries
from ops.adoption.search import Search
from ops.adoption.special import statements


@dataclass(frozen=True)
class Leftover:
    """A part that stays in the account.

    Arguments:
        what: its name, in words.
        why: its effect.
        command: removes it.
    """

    what: str
    why: str
    command: str


def leftovers(search: Search) -> Iterator[Leftover]:
    """Yield what an adoption leaves unmanaged in the account. Call it after the search."""
    yield from _policies(search)
    yield from _functions(search)
    yield from _schedules(search)
    yield from _api(search)


def _found(search: Search, kind: str) -> Iterator[tuple[str, Found, Place]]:
    for address in search.resources:
        if address.partition(".")[0] == kind and (found := search.find(address)):
            yield address, found, search.place(address)


def _wanted(search: Search, kind: str, *attributes: str) -> set[tuple[str | None, ...]]:
    """Return the values of some attributes of the stack's resources of a type."""
    values = (search.values(address) for address in search.resources if address.partition(".")[0] == kind)
    return {tuple(each.get(attribute) for attribute in attributes) for each in values}


def _policies(search: Search) -> Iterator[Leftover]:
    inline = _wanted(search, "aws_iam_role_policy", "role", "name")
    attached = _wanted(search, "aws_iam_role_policy_attachment", "role", "policy_arn")
    for _, role, place in _found(search, "aws_iam_role"):
        iam, name = place.client("iam"), role.own_id
        why = "the role keeps its permissions, in addition to those of Rollbook"
        for policy in entries(iam, "list_role_policies", "PolicyNames", RoleName=name):
            if (name, policy) not in inline:
                yield Leftover(
                    f"policy {policy} of the role {name}",
                    why,
                    f"aws iam delete-role-policy --role-name {name} --policy-name {policy}",
                )
        for policy in entries(iam, "list_attached_role_policies", "AttachedPolicies", RoleName=name):
            if (name, policy["PolicyArn"]) not in attached:
                yield Leftover(
                    f"policy {policy['PolicyName']} attached to the role {name}",
                    why,
                    f"aws iam detach-role-policy --role-name {name} --policy-arn {policy['PolicyArn']}",
                )


def _functions(search: Search) -> Iterator[Leftover]:
    roles = {name for (name,) in _wanted(search, "aws_iam_role", "name")}
    permissions = {found.import_id for _, found, _ in _found(search, "aws_lambda_permission")}
    for _, function, place in _found(search, "aws_lambda_function"):
        name = function.own_id
        role = place.client("lambda").get_function_configuration(FunctionName=name)["Role"].rpartition("/")[2]
        if role not in roles:
            yield Leftover(
                f"role {role}, now used by {name}",
                "the function gets a new role, and this one is no longer used",
                f"aws iam delete-role --role-name {role}  # after its policies are detached",
            )
        for statement in statements(place, name):
            if f"{name}/{statement['Sid']}" not in permissions:
                yield Leftover(
                    f"permission {statement['Sid']} of {name}",
                    f"{_who(statement['Principal'])} may invoke the function",
                    f"aws lambda remove-permission --function-name {name} --statement-id {statement['Sid']}",
                )


def _who(principal: object) -> str:
    return ", ".join(map(str, principal.values())) if isinstance(principal, dict) else str(principal)


def _schedules(search: Search) -> Iterator[Leftover]:
    managed = _wanted(search, "aws_scheduler_schedule", "group_name", "name")
    rules = {name for (name,) in _wanted(search, "aws_cloudwatch_event_rule", "name")}
    listed = None
    for address, function, place in _found(search, "aws_lambda_function"):
        arn = search.text(f"${{{address}.arn}}")
        why = f"it still starts {function.own_id}, in addition to the schedules of Rollbook"
        if listed is None:
            scheduler = place.client("scheduler")
            listed = [
                (each["GroupName"], each["Name"], each["Target"]["Arn"])
                for each in entries(scheduler, "list_schedules", "Schedules")
            ]
        for group, name, target in listed:
            if target == arn and (group, name) not in managed:
                yield Leftover(
                    f"schedule {name} in the group {group}",
                    why,
                    f"aws scheduler delete-schedule --group-name {group} --name {name}",
                )
        names = ask(place.client("events").list_rule_names_by_target, TargetArn=arn)
        for rule in (names or {}).get("RuleNames", ()):
            if rule not in rules:
                yield Leftover(f"rule {rule}", why, f"aws events disable-rule --name {rule}")


def _api(search: Search) -> Iterator[Leftover]:
    paths = {f"/{part}" for (part,) in _wanted(search, "aws_api_gateway_resource", "path_part")} | {"/"}
    stages = {name for (name,) in _wanted(search, "aws_api_gateway_stage", "stage_name")}
    methods = _wanted(search, "aws_api_gateway_method", "resource_id", "http_method")
    for _, api, place in _found(search, "aws_api_gateway_rest_api"):
        client, of_api = place.client("apigateway"), f"--rest-api-id {api.own_id}"
        for resource in entries(client, "get_resources", "items", restApiId=api.own_id):
            if resource["path"] not in paths:
                yield Leftover(
                    f"path {resource['path']} of the API",
                    "Rollbook does not serve it, and it is deployed with the API",
                    f"aws apigateway delete-resource {of_api} --resource-id {resource['id']}",
                )
                continue
            for method in resource.get("resourceMethods", {}):
                if (resource["id"], method) not in methods:
                    yield Leftover(
                        f"method {method} {resource['path']} of the API",
                        "Rollbook does not control who may call it, and it is deployed with the API",
                        f"aws apigateway delete-method {of_api} --resource-id {resource['id']} --http-method {method}",
                    )
        for stage in client.get_stages(restApiId=api.own_id)["item"]:
            if stage["stageName"] not in stages:
                yield Leftover(
                    f"stage {stage['stageName']} of the API",
                    "it serves the API of its own deployment",
                    f"aws apigateway delete-stage {of_api} --stage-name {stage['stageName']}",
                )
