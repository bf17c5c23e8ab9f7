"""Completes an execution whose export AWS has finished: its manifest has arrived."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from rollbook.engine import stored
from rollbook.engine.deadline import Clock, Deadline
from rollbook.engine.history import COMPLETED, History, Row, exported_by
from rollbook.engine.notifier import Notifier


def finish(
    manifest: str,
    *,
    s3: Any,
    bucket: str,
    history: History,
    notifier: Notifier,
    clock: Clock,
    holder: str,
    deadline: Deadline,
) -> Row | None:
    """Describe the export, complete its row with the manifest's own counts, and report it.

    Arguments:
        manifest: key of the `manifest-summary.json`.
        s3: a boto3 S3 client.

    Returns:
        The row, or None if the export is no execution of this history: it was made by the scan engine or by hand.

    Raises:
        Corrupted: the manifests are not whole.
        RuntimeError: the execution cannot be taken yet; Lambda tries again.
    """
    prefix = manifest.split("/AWSDynamoDB/")[0]
    pointer = history.get(exported_by(prefix))
    row = history.get(str(pointer["execution"])) if pointer else None
    if row is None:
        return None
    export = stored.Export(s3, bucket, manifest, manifest)
    if row.get("status") == COMPLETED:
        notifier.completed(row)
        return row
    if row.get("exportArn") != export.summary.export_arn:
        if row.get("status") == "running":
            raise RuntimeError(f"{row['id']} does not say yet which export is its own; {manifest} has to wait")
        return None
    now = clock()
    claim = history.take_back(str(row["id"]), holder=holder, now=now, until=deadline.until(now))
    if not claim.granted:
        raise RuntimeError(f"{row['id']} is {row['status']}; {manifest} has to wait")
    key, started_at = str(row["key"]), datetime.fromisoformat(str(row["startedAt"]))
    listing = export.listing_sha256()
    description = stored.Description(
        stored.EXPORT_FORMAT,
        json.loads(str(row["table"])),
        started_at,
        manifest,
        export.summary.item_count,
        listing,
        now,
    )
    stored.put_description(s3, bucket, key, description, replace_equal=True)
    values = {
        "items": export.summary.item_count,
        "bytes": export.stored_bytes(),
        "sha256": listing,
        "crc32": export.crc32(),
        "manifest": manifest,
        "seconds": f"{(now - started_at).total_seconds():.1f}",
    }
    completed = history.complete(str(row["id"]), holder=holder, now=clock(), values=values)
    notifier.completed(completed)
    return completed
