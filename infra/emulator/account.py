"""Account Management: opt-in Regions are disabled in a new account. Also adds the IAM actions of some reads.

Sources: Account Management Reference Guide, "Enable or disable AWS Regions in your account"; Service Authorization
Reference, "AWS Account Management" and "AWS Lambda".
"""

from __future__ import annotations

import json
from typing import Any

from ministack.core import iam_actions
from ministack.core.responses import AccountScopedDict
from ministack.services import account

from infra.emulator.replacing import Original

_extract_action = Original(iam_actions, "extract_iam_action")
_get_status = Original(account, "_get_region_opt_status")
_enabled: Any = AccountScopedDict()


def install() -> None:
    """Complete MiniStack's Account Management."""
    _extract_action.replace(extract_iam_action)
    _get_status.replace(get_status)
    account._DISPATCH["/getRegionOptStatus"] = get_status
    account._DISPATCH["/enableRegion"] = enable


def get_status(request: dict[str, Any]) -> Any:
    """Return whether a Region is enabled."""
    status, headers, body = _get_status(request)
    region = request.get("RegionName")
    if status == 200 and region in account._OPT_IN_REQUIRED and region not in _enabled:
        body = json.dumps({"RegionName": region, "RegionOptStatus": "DISABLED"}).encode()
    return status, headers, body


def enable(request: dict[str, Any]) -> Any:
    """Enable a Region immediately. On AWS this takes minutes to hours."""
    _enabled[request["RegionName"]] = True
    return 200, {"Content-Type": "application/json"}, b"{}"


def extract_iam_action(
    service: str, method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]
) -> str | None:
    """Return the IAM action that a request needs. MiniStack allows a request without an action to everyone."""
    if service == "servicequotas":
        return f"servicequotas:{headers.get('x-amz-target', '').rpartition('.')[2]}"
    if service == "account":
        operation = path.strip("/")
        return f"account:{operation[:1].upper()}{operation[1:]}"
    if service == "lambda" and path.rstrip("/").endswith("/account-settings"):
        return "lambda:GetAccountSettings"
    found: str | None = _extract_action(service, method, path, headers, body, query)
    return found
