"""API Gateway: stages serve their deployment, and patches and tags work as Terraform expects."""

from __future__ import annotations

import copy
import json
import re
from contextvars import ContextVar
from typing import Any

from ministack.core.responses import AccountRegionScopedDict
from ministack.services import apigateway_v1

from infra.emulator.replacing import Original

_apply_patch = Original(apigateway_v1, "_apply_patch")
_tag = Original(apigateway_v1, "_tag_v1_resource")
_untag = Original(apigateway_v1, "_untag_v1_resource")
_create_deployment = Original(apigateway_v1, "_create_deployment")
_execute = Original(apigateway_v1, "_execute_in_scope")
# MiniStack's stores of the parts that a deployment contains (API Gateway Developer Guide, "Deploy REST APIs").
_PARTS = ("_authorizers_v1", "_models", "_request_validators", "_resources")
_SNAPSHOT = "_parts"
# The API that serves this request, and the parts of its deployment by store.
_served: ContextVar[tuple[str, dict[int, Any]] | None] = ContextVar("served", default=None)


class _DeployedStore(AccountRegionScopedDict):  # type: ignore[misc]
    """A store of the parts of APIs. A request sees the deployed parts."""

    __slots__ = ()

    def get(self, key: Any, default: Any = None) -> Any:
        served = _served.get()
        if served and served[0] == key:
            return served[1].get(id(self), default)
        return super().get(key, default)


def install() -> None:
    """Complete MiniStack's API Gateway."""
    for name in _PARTS:
        # Changed in place, because MiniStack's functions and its persistence refer to the same object.
        getattr(apigateway_v1, name).__class__ = _DeployedStore
    _create_deployment.replace(create_deployment)
    _execute.replace(execute)
    _apply_patch.replace(apply_patch)
    _tag.replace(tag_api)
    _untag.replace(untag_api)


def create_deployment(api_id: str, data: dict[str, Any]) -> Any:
    """Create a deployment with a copy of the API's parts."""
    answer = _create_deployment(api_id, data)
    if answer[0] == 201:
        made = apigateway_v1._deployments_v1[api_id][json.loads(answer[2])["id"]]
        made[_SNAPSHOT] = {name: copy.deepcopy(getattr(apigateway_v1, name).get(api_id, {})) for name in _PARTS}
    return answer


async def execute(request: Any, api_id: str, stage_name: str, *details: Any, **named: Any) -> Any:
    """Serve a request from the stage's deployment. Changes that are not deployed have no effect."""
    stage = apigateway_v1._stages_v1.get(api_id, {}).get(stage_name) or {}
    deployment = apigateway_v1._deployments_v1.get(api_id, {}).get(stage.get("deploymentId")) or {}
    if _SNAPSHOT not in deployment:
        return await _execute(request, api_id, stage_name, *details, **named)
    parts = {id(getattr(apigateway_v1, name)): part for name, part in deployment[_SNAPSHOT].items()}
    token = _served.set((api_id, parts))
    try:
        return await _execute(request, api_id, stage_name, *details, **named)
    finally:
        _served.reset(token)


def apply_patch(part: dict[str, Any], operations: list[dict[str, Any]]) -> Any:
    """Patch a part of an API. Unescapes the path (RFC 6901), and converts limits that are sent as texts to numbers."""
    for operation in operations:
        path = operation.get("path", "")
        if re.fullmatch(r"/(throttle|quota)/(burstLimit|rateLimit|limit|offset)", path):
            number = float(operation["value"])
            operation["value"] = int(number) if number.is_integer() else number
        if "~" in path:
            *parents, name = (key.replace("~1", "/").replace("~0", "~") for key in path.lstrip("/").split("/"))
            target = part
            for key in parents:
                target = target.setdefault(key, {})
            if operation["op"] == "remove":
                target.pop(name, None)
            else:
                target[name] = operation.get("value")
        else:
            _apply_patch(part, [operation])
    return part


def tag_api(resource_arn: str, body: dict[str, Any]) -> Any:
    """Tag a part of an API, so that the part's description shows the tags."""
    answer = _tag(resource_arn, body)
    if answer[0] < 300:
        _api_part(resource_arn).setdefault("tags", {}).update(body.get("tags", {}))
    return answer


def untag_api(resource_arn: str, names: list[str]) -> Any:
    """Remove tags from a part of an API."""
    answer = _untag(resource_arn, names)
    if answer[0] < 300:
        for name in names:
            _api_part(resource_arn).get("tags", {}).pop(name, None)
    return answer


def _api_part(resource_arn: str) -> dict[str, Any]:
    _, kind, id_, *stage = resource_arn.split(":", 5)[5].split("/")
    if stage:
        return apigateway_v1._stages_v1[id_][stage[1]]  # type: ignore[no-any-return]
    parts = {
        "restapis": apigateway_v1._rest_apis,
        "apikeys": apigateway_v1._api_keys,
        "usageplans": apigateway_v1._usage_plans,
        "domainnames": apigateway_v1._domain_names,
    }
    return parts[kind][id_]  # type: ignore[no-any-return]
