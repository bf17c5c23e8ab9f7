"""This project's restore: `python -m bench.contestants.restore ADDRESS PART`.

PART is `whole`, into a new table, with the verification before and the comparison after, or `write`, which is what
batch_writer does: the backup read, and checked as it is read, and written by one thread.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime

from bench.contestants.rows import Rows
from bench.replay import DOCUMENT, REGION, RESTORED, TABLE
from rollbook.engine import stored
from rollbook.engine.dynamodb import batch_write, raw
from rollbook.engine.resources import Resources
from rollbook.engine.restore import Restore
from rollbook.engine.restore_request import Request


def main() -> None:
    """Restore the recorded backup into the table."""
    address, part = sys.argv[1:]
    aws = raw.Aws(endpoint_url=address, region_name=REGION)
    if part == "write":
        backup = stored.open_backup(aws.client("s3"), "bucket", DOCUMENT)
        print(
            batch_write.Writer(aws.dynamodb, TABLE, key_names=["studentid"], parallel=1).write(
                map(raw.put, backup.items())
            )
        )
        return
    resources = Resources(aws.dynamodb, aws.client("s3"), "bucket", Rows(), lambda: datetime.now(UTC))
    request = Request(DOCUMENT, RESTORED, is_new=True, allows_unknown=True)
    print(Restore(resources).run(request, holder="1").written)


if __name__ == "__main__":
    main()
