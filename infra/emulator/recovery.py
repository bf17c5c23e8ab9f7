"""Point-in-time recovery: the times that it covers.

Source: DynamoDB API Reference, "PointInTimeRecoveryDescription". The earliest time is when recovery was switched on, at
most 35 days ago. The latest time is typically five minutes ago.
"""

from __future__ import annotations

import json
import time
from typing import Any

from ministack.core.responses import get_account_id, get_region
from ministack.services import dynamodb

_KEPT_SECONDS, _LATE_SECONDS = 35 * 86_400, 5 * 60
_describe = dynamodb._describe_continuous_backups
_update = dynamodb._update_continuous_backups
# When recovery was switched on, in seconds since 1970. Identified by the table's id, because a later table with the
# same name has another beginning.
_since: dict[tuple[str, str, str], float] = {}


def update(request: dict[str, Any]) -> Any:
    """Switch recovery on or off."""
    answer = _update(request)
    if answer[0] == 200:
        name = dynamodb._normalize_table_name(request.get("TableName"))
        if dynamodb._pitr_settings.get(name, False):
            _since.setdefault(_key(name), time.time())
        else:
            _since.pop(_key(name), None)
    return answer


def describe(request: dict[str, Any]) -> Any:
    """Describe recovery with the times that it covers."""
    status, headers, body = _describe(request)
    answer = json.loads(body)
    recovery = answer.get("ContinuousBackupsDescription", {}).get("PointInTimeRecoveryDescription", {})
    if recovery.get("PointInTimeRecoveryStatus") == "ENABLED":
        now = time.time()
        name = dynamodb._normalize_table_name(request.get("TableName"))
        earliest = max(int(_since.setdefault(_key(name), now)), int(now) - _KEPT_SECONDS)
        recovery["EarliestRestorableDateTime"] = earliest
        recovery["LatestRestorableDateTime"] = max(earliest, int(now) - _LATE_SECONDS)
    return status, headers, json.dumps(answer).encode()


def _key(name: str) -> tuple[str, str, str]:
    return get_account_id(), get_region(), str(dynamodb._tables[name].get("TableId") or name)


def install() -> None:
    """Complete MiniStack's point-in-time recovery."""
    dynamodb._describe_continuous_backups = describe
    dynamodb._update_continuous_backups = update
