"""The description beside an export: what AWS's own files do not say of the table, and where the manifest is."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

FORMAT = "rollbook-export/1"


class Description(msgspec.Struct, rename="camel"):
    """An export's table and manifest.

    Arguments:
        table: the table's definition as `tables.describe` returns it.
        manifest: key of the `manifest-summary.json`.
        sha256: of `manifest-files.json`, which has the MD5 of each file.
    """

    format: str
    table: dict[str, Any]
    started_at: datetime
    manifest: str
    item_count: int
    sha256: str
    completed_at: datetime
