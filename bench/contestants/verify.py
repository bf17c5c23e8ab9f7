"""The check of a stored backup: `python -m bench.contestants.verify ADDRESS`."""

from __future__ import annotations

import sys

from bench.replay import DOCUMENT, REGION
from rollbook.engine import stored, verification
from rollbook.engine.dynamodb import raw


def main() -> None:
    """Read the recorded backup and check it as the function does after each backup."""
    aws = raw.Aws(endpoint_url=sys.argv[1], region_name=REGION)
    print(verification.verify(stored.open_backup(aws.client("s3"), "bucket", DOCUMENT)))


if __name__ == "__main__":
    main()
