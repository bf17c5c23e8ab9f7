"""Completes an execution when the manifest of its export has arrived."""

from __future__ import annotations

from datetime import datetime

from rollbook.contract import moments
from rollbook.engine import chain, doubt, exporting, stored
from rollbook.engine.deadline import Deadline
from rollbook.engine.executions import COMPLETED, RUNNING, Execution, Row
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
    listing, items, summary = export.listing_sha256(), export.summary.item_count, export.summary
    # AWS's own times, because the next increment must begin where this export ended.
    begin = _time(summary.export_from_time) if export.change_of else None
    end = chain.as_of(export)
    described = description.Description(
        format=description.FORMAT,
        table=execution.definition,
        started_at=execution.started_at,
        manifest=manifest,
        item_count=items,
        sha256=listing,
        completed_at=now,
        execution=execution.id,
        table_id=summary.table_id,
        exported_from=begin,
        exported_until=end,
        base_key=execution.base_key,
        predecessor_key=execution.predecessor_key,
    )
    put = stored.put_description(resources.s3, resources.bucket, execution.key, described, replace_equal=True)
    if execution.base_key and end:
        newest: Row = {"key": execution.key, "tableId": summary.table_id, "until": moments.to_text(end)}
        resources.history.remember(chain.newest_of(execution.table_name), newest, started_at=execution.started_at)
    instant = moments.to_text(end or execution.started_at)
    recent = doubt.recent_of(resources.history.newest_backup(execution.table_name), now)
    limits = doubt.Limits(execution.doubtful_change_percent, execution.doubtful_change_items)
    is_full = execution.export_type != "incremental"
    values: Row = {
        "doubt": doubt.doubt(limits, items, [count for _, count in recent])
        if is_full
        else doubt.doubt_of_base(resources, execution),
        "readFrom": instant,
        "readUntil": instant,
        "etag": put.etag,
        "versionId": put.version_id,
        "items": items,
        "bytes": export.stored_bytes(),
        "sha256": listing,
        "crc32": export.crc32(),
        "manifest": manifest,
        "tableId": summary.table_id,
        "exportType": "incremental" if export.change_of else "full",
        "seconds": f"{(now - execution.started_at).total_seconds():.1f}",
    }
    values |= {"exportedFrom": moments.to_text(begin)} if begin else {}
    values |= {"exportedUntil": moments.to_text(end)} if end else {}
    done = resources.history.complete(execution.id, holder=holder, now=resources.clock(), values=values)
    exporting.discard(resources.history, execution.id)
    return done


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
