"""This project's engine: `python -m bench.contestants.ours ADDRESS COMPRESSION SEGMENTS`."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Any

from bench.replay import TABLE
from handlers import environment
from handlers.backups import run, wire
from handlers.backups.deadline import Deadline
from handlers.backups.history import History
from handlers.backups.report import Reporter


class _Row(History):
    """A history that keeps its row to itself: what is measured is the backup."""

    def __init__(self) -> None:
        super().__init__(None, "", 1)
        self._kept: dict[str, Any] = {}

    def get(self, execution_id: str) -> None:
        return None

    def _update(self, execution_id: str, values: Any, condition: str, operands: Any, remove: str = "") -> Any:
        from handlers.backups.history import Claim

        self._kept |= values | {"id": execution_id}
        return Claim(dict(self._kept), granted=True)


def main() -> None:
    """Make one backup."""
    address, compression, segments = sys.argv[1:]
    aws = wire.Aws(endpoint_url=address, region_name="ap-southeast-1")
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
    history = _Row()
    reporter = Reporter(settings, history=history, client=aws.client, clock=lambda: datetime.now(UTC))
    backup = run.Backup(
        settings,
        dynamodb=aws.dynamodb,
        s3=aws.client("s3"),
        history=history,
        reporter=reporter,
        clock=lambda: datetime.now(UTC),
    )
    now = datetime.now(UTC)
    row = backup.run(run.manual(settings, "bench", "1", now), holder="1", deadline=Deadline.after(3600))
    print(row and (row["items"], row["bytes"]), file=sys.stderr)


if __name__ == "__main__":
    main()
