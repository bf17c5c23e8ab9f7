"""The description of an export: the table's definition, which AWS's files do not contain, and the manifest's key."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

FORMAT = "rollbook-export/1"


class Description(msgspec.Struct, rename="camel"):
    """An export's table and manifest.

    Arguments:
        table: the table's definition that `definitions.describe` returned.
        manifest: key of the `manifest-summary.json`.
        sha256: of `manifest-files.json`, which contains the MD5 of each data file.
        table_id: the id that DynamoDB assigned to the table.
        exported_from, exported_until: the period of the export by AWS's clock. A full export has only the end.
        base_key: the full export with which the chain begins. Its own key if it is full, empty if an earlier release
            wrote the description.
        predecessor_key: the export that an incremental export continues.
    """

    format: str
    table: dict[str, Any]
    started_at: datetime
    manifest: str
    item_count: int
    sha256: str
    completed_at: datetime
    # Id of the execution that made it; empty in a description of an earlier release.
    execution: str = ""
    table_id: str = ""
    exported_from: datetime | None = None
    exported_until: datetime | None = None
    base_key: str = ""
    predecessor_key: str = ""
