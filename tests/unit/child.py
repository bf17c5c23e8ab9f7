"""What a process does until it is killed. The server that it is forked from has imported this, clients included."""

from __future__ import annotations

import functools
import os

from rollbook.contract.jobs import BackupJob
from rollbook.engine.dynamodb import raw
from rollbook.engine.restore_request import Request
from rollbook.engine.s3 import upload
from tests.unit.aws import REGION
from tests.unit.engine import Clock, backup_of, restorer, scheduled, soon

GATEWAY = "ROLLBOOK_TEST_GATEWAY"
# S3's smallest part, a thousandth of it: many parts of few bytes.
PART_BYTES = 5 * 1024


@functools.cache
def remote_of(address: str) -> raw.Aws:
    return raw.Aws(endpoint_url=address, region_name=REGION)


def back_up(address: str, job: BackupJob) -> None:
    upload._PART_BYTES = PART_BYTES
    backup_of(job, None, Clock(), remote_of(address)).run(scheduled(), holder="a", deadline=soon())


def bring_back(address: str, key: str) -> None:
    request = Request(key, "restored", is_new=True)
    restorer(Clock(), remote_of(address), parallel=2).run(request, holder="a")


if GATEWAY in os.environ:
    remote_of(os.environ[GATEWAY])
