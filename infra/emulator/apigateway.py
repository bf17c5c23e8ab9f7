"""API Gateway: patches as Terraform sends them, and tags that are shown with what they are on."""

from __future__ import annotations

import re
from typing import Any

from ministack.services import apigateway_v1

from infra.emulator.replacing import Original

_apply_patch = Original(apigateway_v1, "_apply_patch")
_tag = Original(apigateway_v1, "_tag_v1_resource")
_untag = Original(apigateway_v1, "_untag_v1_resource")


def install() -> None:
    """Complete MiniStack's API Gateway."""
    _apply_patch.replace(apply_patch)
    _tag.replace(tag_api)
    _untag.replace(untag_api)


def apply_patch(part: dict[str, Any], operations: list[dict[str, Any]]) -> Any:
    """Patch a part of an API: a path may be escaped (RFC 6901), and a limit that is sent as a text is a number."""
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
    """Tag a part of an API, so that asking for the part shows it."""
    answer = _tag(resource_arn, body)
    if answer[0] < 300:
        _api_part(resource_arn).setdefault("tags", {}).update(body.get("tags", {}))
    return answer


def untag_api(resource_arn: str, names: list[str]) -> Any:
    """Take tags off a part of an API."""
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
