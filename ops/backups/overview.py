"""List the backups of an environment from its history and its bucket."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from boto3.dynamodb.types import TypeDeserializer

from ops.cloud import Cloud
from ops.failures import OperatorError
from rollbook.contract import moments
from rollbook.engine import executions

UNKNOWN = "not in the history"
# Values of a backup that is not an export.
_CHAIN = {"type": "", "from": "", "until": "", "base": "", "predecessor": ""}
_deserialize = TypeDeserializer().deserialize


def overview(cloud: Cloud) -> list[dict[str, Any]]:
    """Return a row for each backup and each execution without one, newest first; None is an unknown number."""
    backups = cloud.settings.backups
    pages = cloud.client("dynamodb").get_paginator("scan").paginate(TableName=backups.history_table_name)
    history = [
        _row(item, cloud.settings.records.table_name) for page in pages for item in page["Items"] if "kind" in item
    ]
    listed = cloud.client("s3").get_paginator("list_objects_v2")
    objects = {
        found["Key"]: found
        for plan in cloud.settings.backed_up_tables
        for page in listed.paginate(Bucket=backups.bucket_name, Prefix=plan.key_prefix)
        for found in page.get("Contents", [])
        if "/AWSDynamoDB/" not in found["Key"]  # the files of an export; its summary is listed
    }
    made = [row for row in history if row["kind"] == "backup"]
    unknown = {"id": "", "kind": "backup", "table": "", "source": "", "engine": "", "doubt": "", **_CHAIN}
    uploads = tuple(f"{plan.key_prefix}smoke-" for plan in cloud.settings.backed_up_tables)
    rows = [
        {
            **unknown,
            "key": key,
            "status": "upload of a smoke test" if key.startswith(uploads) else UNKNOWN,
            "items": None,
            "bytes": found["Size"],
            "startedAt": f"{found['LastModified']:%Y-%m-%dT%H:%M:%SZ}",
            "error": "",
        }
        for key, found in objects.items()
        if key not in {row["key"] for row in made}
    ]
    for row in made:
        if row["status"] == "completed" and row["key"] not in objects:
            row["status"] = "completed, but the object is missing"
        elif row["status"] == "completed" and row["doubt"]:
            row["status"] = "completed, in doubt"
    return sorted(rows + made, key=lambda row: str(row["startedAt"]), reverse=True)


def _text(when: datetime | None) -> str:
    return moments.to_text(when) if when else ""


def _row(item: dict[str, Any], default_table: str) -> dict[str, Any]:
    try:
        execution = executions.read({name: _deserialize(value) for name, value in item.items()}, default_table)
    except executions.UnreadableRow as error:
        raise OperatorError(str(error)) from None
    return described(execution)


def described(execution: executions.Execution) -> dict[str, Any]:
    """Return the row of an execution."""
    return {
        "id": execution.id,
        "kind": execution.kind,
        "table": execution.table_name,
        "key": execution.key,
        "status": execution.status,
        "source": execution.source,
        "engine": execution.engine,
        **_chain(execution),
        "startedAt": moments.to_text(execution.started_at),
        "runAt": _text(execution.run_at),
        "readFrom": _text(execution.read_from),
        "readUntil": _text(execution.read_until),
        "isConsistent": execution.is_consistent,
        "doubt": execution.doubt,
        "versionId": execution.version_id,
        "error": execution.error,
        "items": execution.items,
        "bytes": execution.bytes,
    }


def _chain(execution: executions.Execution) -> dict[str, str]:
    if not execution.export_type:
        return _CHAIN
    return {
        "type": execution.export_type,
        "from": moments.to_text(execution.exported_from) if execution.exported_from else "",
        "until": moments.to_text(execution.exported_until) if execution.exported_until else "",
        "base": execution.base_key,
        "predecessor": execution.predecessor_key,
    }


def period(row: dict[str, Any]) -> str:
    """Return the time that an export covers, for people; empty if the backup is not an export."""
    return f"{row['from']} to {row['until']}" if row["from"] else row["until"]
