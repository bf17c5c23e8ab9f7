"""AWS Backup: the opt-ins of a Region. MiniStack describes none and takes none.

Sources: AWS Backup Developer Guide, "Getting started 1: Service Opt-in" and "Advanced DynamoDB backup"; AWS Backup API
Reference, UpdateRegionSettings.
"""

from __future__ import annotations

import json
from typing import Any

from ministack.core.responses import AccountRegionScopedDict
from ministack.services import backup

from infra.emulator.replacing import Original

# A Region's services. Each Region has its own list, which only its answer tells; this one is an example of one.
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
    """Answer a request: the Region's settings here, all else as MiniStack."""
    if path.rstrip("/") != "/account-settings":
        return await _handle(method, path, headers, body, query)
    kept = _settings.get("all") or _new()
    if method == "PUT":
        wanted = json.loads(body or b"{}")
        for part, known in kept.items():
            given = wanted.get(part) or {}
            if strangers := sorted(set(given) - set(known)):
                return backup._err(
                    "InvalidParameterValueException", f"Invalid resource types: {', '.join(strangers)}", 400
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
