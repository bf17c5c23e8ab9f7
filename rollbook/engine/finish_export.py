"""Completes an execution whose export AWS has finished: its manifest has arrived."""

from __future__ import annotations

from datetime import datetime

from rollbook.engine import stored
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
    """Describe the export, complete its execution with the manifest's own counts, and announce it.

    Arguments:
        manifest: key of the `manifest-summary.json`.

    Returns:
        The execution, or None if the export belongs to none: the scan engine or a person made it.

    Raises:
        Corrupted: the manifests are damaged.
        RuntimeError: the execution cannot be taken yet; Lambda tries again.
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
            raise RuntimeError(f"{execution.id} does not name its export yet; {manifest} has to wait")
        return None
    now = resources.clock()
    claim = resources.history.take_back(execution.id, holder=holder, now=now, until=deadline.until(now))
    if not claim.granted:
        raise RuntimeError(f"{execution.id} is {execution.status}; {manifest} has to wait")
    completed = _complete(execution, export, manifest, resources, holder=holder, now=now)
    notifier.completed(completed)
    return completed


def _execution_of(manifest: str, resources: Resources) -> Execution | None:
    prefix = manifest.split("/AWSDynamoDB/")[0]
    pointer = resources.history.recall(exported_by(prefix))
    return resources.history.get(str(pointer["execution"])) if pointer else None


def _complete(
    execution: Execution, export: StoredExport, manifest: str, resources: Resources, *, holder: str, now: datetime
) -> Execution:
    listing, items = export.listing_sha256(), export.summary.item_count
    beside = description.Description(
        description.FORMAT, execution.definition or {}, execution.started_at, manifest, items, listing, now
    )
    stored.put_description(resources.s3, resources.bucket, execution.key, beside, replace_equal=True)
    values = {
        "items": items,
        "bytes": export.stored_bytes(),
        "sha256": listing,
        "crc32": export.crc32(),
        "manifest": manifest,
        "seconds": f"{(now - execution.started_at).total_seconds():.1f}",
    }
    return resources.history.complete(execution.id, holder=holder, now=resources.clock(), values=values)
