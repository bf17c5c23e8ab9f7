"""Completes an execution when the manifest of its export has arrived."""

from __future__ import annotations

from datetime import datetime

from rollbook.contract import moments
from rollbook.engine import doubt, stored
from rollbook.engine.deadline import Deadline
from rollbook.engine.executions import COMPLETED, RUNNING, Execution
from rollbook.engine.formats import description
from rollbook.engine.history import exported_by
from rollbook.engine.notifier import Notifier
from rollbook.engine.resources import Resources
from rollbook.engine.stored_export import StoredExport


def finish(
    manifest: str, resources: Resources, notifier: Notifier, *, holder: str, deadline: Deadline
) -> Execution | None:
    """Write the export's description, complete its execution with the manifest's counts, and send the notifications.

    Arguments:
        manifest: key of the `manifest-summary.json`.

    Returns:
        The execution, or None if the export belongs to none: the engine `scan` or a person made it.

    Raises:
        Corrupted: the manifests are damaged.
        RuntimeError: the execution cannot be claimed yet. Lambda retries.
    """
    execution = _execution_of(manifest, resources)
    if execution is None:
        return None
    export = StoredExport(resources.s3, resources.bucket, manifest, manifest)
    if execution.status == COMPLETED:
        notifier.completed(execution)
        return execution
    if execution.export_arn != export.summary.export_arn:
        if execution.status == RUNNING:
            raise RuntimeError(f"{execution.id} does not name its export yet; {manifest} must wait for the retry")
        return None
    now = resources.clock()
    claim = resources.history.claim_exporting(execution.id, holder=holder, now=now, until=deadline.until(now))
    if not claim.granted:
        raise RuntimeError(f"{execution.id} is {execution.status}; {manifest} must wait for the retry")
    completed = _complete(execution, export, manifest, resources, holder=holder, now=now)
    notifier.count(completed)
    notifier.completed(completed)
    return completed


def _execution_of(manifest: str, resources: Resources) -> Execution | None:
    prefix = manifest.split("/AWSDynamoDB/")[0]
    pointer = resources.history.recall(exported_by(prefix))
    return resources.history.get(str(pointer["execution"])) if pointer else None


def _complete(
    execution: Execution, export: StoredExport, manifest: str, resources: Resources, *, holder: str, now: datetime
) -> Execution:
    if execution.definition is None:
        raise RuntimeError(f"{execution.id} lacks the definition of its table; {manifest} cannot become a backup")
    listing, items = export.listing_sha256(), export.summary.item_count
    described = description.Description(
        format=description.FORMAT,
        table=execution.definition,
        started_at=execution.started_at,
        manifest=manifest,
        item_count=items,
        sha256=listing,
        completed_at=now,
        execution=execution.id,
    )
    put = stored.put_description(resources.s3, resources.bucket, execution.key, described, replace_equal=True)
    instant = moments.to_text(execution.exported_until or execution.started_at)
    recent = doubt.recent_of(resources.history.newest_backup(execution.table_name), now)
    limits = doubt.Limits(execution.doubtful_change_percent, execution.doubtful_change_items)
    is_full = execution.export_type != "incremental"
    values = {
        "doubt": doubt.doubt(limits, items, [count for _, count in recent]) if is_full else "",
        "readFrom": instant,
        "readUntil": instant,
        "etag": put.etag,
        "versionId": put.version_id,
        "items": items,
        "bytes": export.stored_bytes(),
        "sha256": listing,
        "crc32": export.crc32(),
        "manifest": manifest,
        "seconds": f"{(now - execution.started_at).total_seconds():.1f}",
    }
    return resources.history.complete(execution.id, holder=holder, now=resources.clock(), values=values)
