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
