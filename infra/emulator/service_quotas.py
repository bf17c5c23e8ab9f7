"""Service Quotas, which MiniStack does not have: the quotas that the preflight reads, with AWS's defaults.

New accounts have lower quotas. A test sets a quota by `POST /_rollbook/service-quota` with its codes and a Value.
Source: Service Quotas API Reference, GetServiceQuota and GetAWSDefaultServiceQuota.
"""

from __future__ import annotations

import json
from typing import Any

from ministack import app
from ministack.core import router
from ministack.core.responses import error_response_json, json_response

from infra.emulator import paths

_TARGET = "ServiceQuotasV20190624"
# Names and defaults by service and code. Source: AWS General Reference, "Service endpoints and quotas" of each service.
_DEFAULTS = {
    ("apigateway", "L-AA0FF27B"): ("Regional APIs", 600),
    ("cloudfront", "L-24B04930"): ("Web distributions per AWS account", 500),
    ("dynamodb", "L-F98FE922"): ("Maximum number of tables", 2_500),
    ("events", "L-244521F2"): ("Number of rules", 300),
    ("lambda", "L-B99A9384"): ("Concurrent executions", 1_000),
    ("s3", "L-DC2B2D3D"): ("General purpose buckets", 10_000),
}
_applied: dict[tuple[str, str], float] = {}


def install() -> None:
    """Add the service to MiniStack."""
    router.SERVICE_PATTERNS["servicequotas"] = {"target_prefixes": [_TARGET]}
    app.SERVICE_HANDLERS["servicequotas"] = handle_request
    paths.add("service-quota", set_quota)


def value(service: str, code: str) -> float:
    """Return a quota of the account."""
    return _applied.get((service, code), _DEFAULTS[service, code][1])


def set_quota(request: dict[str, Any]) -> dict[str, Any]:
    """Set a quota of the account. Without a value, reset it to AWS's default.

    Raises:
        KeyError: the quota is unknown.
    """
    quota = request["ServiceCode"], request["QuotaCode"]
    _DEFAULTS[quota]
    _applied.pop(quota, None)
    if "Value" in request:
        _applied[quota] = request["Value"]
    return {"Value": value(*quota)}


async def handle_request(method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]) -> Any:
    """Serve a request to Service Quotas."""
    action = headers.get("x-amz-target", "").rpartition(".")[2]
    request = json.loads(body or b"{}")
    if action not in {"GetServiceQuota", "GetAWSDefaultServiceQuota"}:
        return error_response_json("IllegalArgumentException", f"{action} is not supported", 400)
    quota = request["ServiceCode"], request["QuotaCode"]
    if quota not in _DEFAULTS:
        return error_response_json(
            "NoSuchResourceException", f"The request failed because {quota[1]} does not exist", 400
        )
    name, default = _DEFAULTS[quota]
    number = value(*quota) if action == "GetServiceQuota" else default
    found = {"ServiceCode": quota[0], "QuotaCode": quota[1], "QuotaName": name, "Value": float(number)}
    return json_response({"Quota": found})
