"""The texts of the mails about backups."""

from __future__ import annotations

from rollbook.contract import events, moments
from rollbook.engine.executions import Execution


def completed(bucket: str, done: Execution) -> str:
    """Return the body of the mail about a completed backup."""
    digest = "of the document" if done.format == "json" else "of manifest-files.json"
    manifest = f"Manifest:  {done.manifest}\n" if done.manifest else ""
    run = f"Run of:    {moments.to_text(done.run_at)}\n" if done.run_at else ""
    return f"""{_doubt(done)}Backup saved to s3://{bucket}/{done.key}

Table:     {done.table_name}
Items:     {done.items or 0:,}
Bytes:     {done.bytes or 0:,}
Data:      {data_of(done)}
{run}Duration:  {done.seconds or 0:.1f} s
SHA-256:   {done.sha256} ({digest})
{manifest}Engine:    {done.engine} ({done.reason})
Source:    {done.source}
Execution: {done.id}
"""


def data_of(done: Execution) -> str:
    """Return of which time the data of a backup is."""
    if done.read_from is None:
        return f"of {moments.to_text(done.started_at)} or later"
    if done.engine == "export":
        return f"of the instant {moments.to_text(done.read_from)}"
    until = moments.to_text(done.read_until or done.read_from)
    how = "strongly" if done.is_consistent else "eventually"
    return f"read from {moments.to_text(done.read_from)} to {until}, {how} consistent"


def failed(event: events.BackupFailed) -> str:
    """Return the body of the mail about the first failure of a table."""
    return f"""The backup of {event.table} failed: {event.error}

Table:     {event.table}
Execution: {event.correlation_id}

Lambda tries again twice. If all tries fail, the run is in the dead-letter queue. Further failures of this table
send no mail until a backup is complete. What to do: docs/runbook.md, "No backup came".
"""


def damaged(event: events.BackupDamaged) -> str:
    """Return the body of the mail about a damaged backup."""
    return f"""The backup s3://{event.bucket}/{event.key} is not what it was: {event.error}

Check:     {event.correlation_id}

Do not rely on this backup. Make a new one, and look for an older version of the object.
What to do: docs/runbook.md, "A backup is damaged".
"""


def _doubt(done: Execution) -> str:
    if not done.doubt:
        return ""
    return f"""This backup is complete, and it is not called good: {done.doubt}.
The last good backup stays the newest one. If the change is intended:
rollbook backups accept {done.key} --env ENV

"""
