"""This project's backup: `python -m bench.contestants.ours ADDRESS COMPRESSION SEGMENTS`."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import cast

from bench.contestants.rows import Rows
from bench.replay import REGION, TABLE
from rollbook.contract.environment import Notifications
from rollbook.contract.jobs import BackupJob, Compression
from rollbook.engine import backup
from rollbook.engine.deadline import Deadline
from rollbook.engine.dynamodb import raw
from rollbook.engine.notifier import Notifier
from rollbook.engine.resources import Resources


def main() -> None:
    """Make one backup."""
    address, compression, segments = sys.argv[1:]
    aws = raw.Aws(endpoint_url=address, region_name=REGION)
    job = BackupJob(
        table_name=TABLE,
        key_prefix="x",
        engine="scan",
        format="json",
        compression=cast(Compression, compression),
        export_type="full",
        segments=int(segments),
    )
    places = Notifications(
        s3_bucket_name="x",
        sender_email="x",
        recipient_email="x",
        history_table_name="x",
        history_days=1,
        event_bus_name="x",
    )

    def clock() -> datetime:
        return datetime.now(UTC)

    history = Rows()
    notifier = Notifier(places, history=history, client=aws.client, clock=clock)
    resources = Resources(aws.dynamodb, aws.client("s3"), places.s3_bucket_name, history, clock)
    request = backup.manual(job, "UTC", "bench", "1", clock())
    done = backup.Backup(job, resources, notifier).run(request, holder="1", deadline=Deadline.after(3600))
    if done is None:
        raise RuntimeError("the backup was not made")
    print(done.items)


if __name__ == "__main__":
    main()
