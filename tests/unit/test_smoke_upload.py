"""The upload of a smoke test: of several parts, whole, and marked as what it is."""

from __future__ import annotations

from datetime import UTC, datetime

import boto3
import pytest

from rollbook.engine import smoke, stored
from tests.unit.engine import JOB, PLACES

NOW = datetime(2025, 7, 8, tzinfo=UTC)


def test_it_is_a_whole_backup_of_a_made_up_table_in_several_parts(aws: None) -> None:
    s3 = boto3.client("s3")
    bucket = PLACES.s3_bucket_name
    done = smoke.put(s3, bucket=bucket, key_prefix=JOB.key_prefix, marked="ab12", clock=lambda: NOW)
    assert done["key"] == "students-backup-smoke-ab12.json"
    found = s3.head_object(Bucket=bucket, Key=done["key"], ChecksumMode="ENABLED")
    assert (found["ContentLength"], found["ChecksumCRC32"]) == (done["bytes"], done["crc32"])
    assert done["bytes"] > smoke.BYTES
    assert found["ETag"].strip('"').endswith("-2"), "an upload of two parts"
    backup = stored.open_backup(s3, bucket, done["key"])
    assert backup.table is not None
    assert backup.table["name"] == "smoke-ab12"
    whole = stored.verify(backup)
    assert (whole.items, whole.sha256) == (done["items"], done["sha256"])


@pytest.mark.parametrize("mark", ["", "A", "a/b", "../a", "a" * 41, 7, None])
def test_a_mark_that_could_name_another_key_is_refused(mark: object) -> None:
    with pytest.raises(ValueError, match="a mark must have 1 to 40"):
        smoke.mark(mark)
