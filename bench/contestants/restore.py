"""This project's restore, with its verification before and its comparison after: `… restore ADDRESS`."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

from bench.contestants.rows import Rows
from bench.replay import DOCUMENT, REGION, TABLE
from handlers.backups import restore, wire


def main() -> None:
    """Restore the recorded backup into the table."""
    aws = wire.Aws(endpoint_url=sys.argv[1], region_name=REGION)
    restorer = restore.Restore(
        dynamodb=aws.dynamodb,
        s3=aws.client("s3"),
        bucket="bucket",
        history=Rows(),
        clock=lambda: datetime.now(UTC),
    )
    row = restorer.run(restore.Request(DOCUMENT, TABLE, is_new=False), holder="1")
    print(row["written"])


if __name__ == "__main__":
    main()
