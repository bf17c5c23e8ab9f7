"""AWS Backup: the opt-in settings of a Region, which MiniStack does not have.

Sources: AWS Backup Developer Guide, "Getting started 1: Service Opt-in" and "Advanced DynamoDB backup"; AWS Backup API
Reference, UpdateRegionSettings.
"""

from __future__ import annotations

import json
from typing import Any

from ministack.core.responses import AccountRegionScopedDict
from ministack.services import backup

from infra.emulator.replacing import Original

# An example of a Region's services. Each Region has its own list, which only DescribeRegionSettings returns.
_OPT_IN = (
    "Aurora",
    "CloudFormation",
    "DocumentDB",
    "DynamoDB",
    "EBS",
    "EC2",
    "EFS",
    "FSx",
    "Neptune",
    "RDS",
    "Redshift",
    "S3",
    "Storage Gateway",
    "VirtualMachine",
)
_MANAGED = ("CloudFormation", "DynamoDB", "EFS")
_handle = Original(backup, "handle_request")
_settings: Any = AccountRegionScopedDict()


def install() -> None:
    """Complete MiniStack's AWS Backup."""
    _handle.replace(handle_request)


async def handle_request(method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]) -> Any:
    """Serve a request for the Region's settings. MiniStack serves all other requests."""
    if path.rstrip("/") != "/account-settings":
        return await _handle(method, path, headers, body, query)
    kept = _settings.get("all") or _new()
    if method == "PUT":
        request = json.loads(body or b"{}")
        for part, known in kept.items():
            given = request.get(part) or {}
            if unknown := sorted(set(given) - set(known)):
                return backup._err(
                    "InvalidParameterValueException", f"Invalid resource types: {', '.join(unknown)}", 400
                )
            kept = kept | {part: known | given}
        _settings["all"] = kept
        return backup._ok({})
    return backup._ok(kept)


def _new() -> dict[str, dict[str, bool]]:
    return {
        "ResourceTypeOptInPreference": dict.fromkeys(_OPT_IN, True),
        "ResourceTypeManagementPreference": {name: name != "DynamoDB" for name in _MANAGED},
    }
