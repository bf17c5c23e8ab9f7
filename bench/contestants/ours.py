"""This project's backup: `python -m bench.contestants.ours ADDRESS COMPRESSION SEGMENTS`."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

from bench.contestants.rows import Rows
from bench.replay import REGION, TABLE
from rollbook.contract import environment
from rollbook.engine import backup as run
from rollbook.engine.deadline import Deadline
from rollbook.engine.dynamodb import raw
from rollbook.engine.notifier import Notifier


def main() -> None:
    """Make one backup."""
    address, compression, segments = sys.argv[1:]
    aws = raw.Aws(endpoint_url=address, region_name=REGION)
    values = dict.fromkeys(environment.Backup.__dataclass_fields__, "x") | {
        "table_name": TABLE,
        "engine": "scan",
        "format": "json",
        "compression": compression,
        "segments": segments,
        "read_units_per_second": "",
        "time_zone": "UTC",
    }
    settings = environment.Backup(**values)
    history = Rows()
    notifier = Notifier(settings, history=history, client=aws.client, clock=lambda: datetime.now(UTC))
    backup = run.Backup(
        settings,
        dynamodb=aws.dynamodb,
        s3=aws.client("s3"),
        history=history,
        notifier=notifier,
        clock=lambda: datetime.now(UTC),
    )
    now = datetime.now(UTC)
    row = backup.run(run.manual(settings, "bench", "1", now), holder="1", deadline=Deadline.after(3600))
    if row is None:
        raise RuntimeError("the backup was not made")
    print(row["items"])


if __name__ == "__main__":
    main()
