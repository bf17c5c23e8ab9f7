"""S3's rules for checksums and uploads in parts, on both stand-ins, and the engine's uploader under them."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterator
from itertools import count
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from moto import mock_aws

from infra.emulator.multipart import MOST_PARTS, SMALLEST_PART_BYTES, Creation, Refusal, part_checksums
from ops.local import aws
from rollbook.engine.s3 import upload
from tests.unit.aws import REGION
from tests.unit.strict_s3 import strict_s3

# botocore tries a BadDigest again, with pauses; here it is the answer.
ONCE = Config(retries={"total_max_attempts": 1})
BIG, SMALL = b"x" * SMALLEST_PART_BYTES, b"the last part"
_names = count()


def crc32(data: bytes) -> str:
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


@pytest.fixture(params=["embedded", "moto"])
def s3(request: pytest.FixtureRequest) -> Iterator[Any]:
    if request.param == "embedded":
        yield aws.client("s3", request.getfixturevalue("bare_port"), REGION, config=ONCE)
        return
    with mock_aws(), strict_s3():
        yield boto3.client("s3", config=ONCE)


@pytest.fixture
def bucket(s3: Any) -> str:
    name = f"uploads-{next(_names)}"
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    return name


class Trial:
    """An upload of two parts whose requests a test can alter."""

    def __init__(self, s3: Any, bucket: str, **created: Any) -> None:
        self.s3 = s3
        self.target = {"Bucket": bucket, "Key": "k"}
        self.id = s3.create_multipart_upload(**self.target, **created)["UploadId"]
        self.parts: list[dict[str, Any]] = []

    def part(self, body: bytes, **given: Any) -> dict[str, Any]:
        number = len(self.parts) + 1
        done = self.s3.upload_part(**self.target, UploadId=self.id, PartNumber=number, Body=body, **given)
        self.parts.append({"PartNumber": number, "ETag": done["ETag"], "ChecksumCRC32": done.get("ChecksumCRC32")})
        return dict(done)

    def both(self, **given: Any) -> Trial:
        self.part(BIG, **given)
        self.part(SMALL, **given)
        return self

    def complete(self, **given: Any) -> dict[str, Any]:
        return dict(
            self.s3.complete_multipart_upload(
                **self.target, UploadId=self.id, MultipartUpload={"Parts": self.parts}, **given
            )
        )

    def refusal(self, **given: Any) -> str:
        with pytest.raises(ClientError) as refused:
            self.complete(**given)
        listed = self.s3.list_objects_v2(Bucket=self.target["Bucket"])
        assert "Contents" not in listed, "a refused completion made an object"
        return str(refused.value.response["Error"]["Code"])


def whole(s3: Any, bucket: str) -> Trial:
    return Trial(s3, bucket, ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT").both(ChecksumAlgorithm="CRC32")


def test_the_engines_upload_in_parts_is_taken_and_has_the_checksum_of_the_whole_object(s3: Any, bucket: str) -> None:
    chunks = [BIG[:3_000_000], BIG, SMALL]
    done = upload.put(s3, bucket=bucket, key="k", chunks=chunks, content_type="text/plain")
    assert (done.bytes, done.crc32) == (sum(map(len, chunks)), crc32(b"".join(chunks)))
    found = s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert found["Body"].read() == b"".join(chunks)
    assert (found["ChecksumCRC32"], found["ChecksumType"]) == (crc32(b"".join(chunks)), "FULL_OBJECT")


def test_the_engines_small_object_is_put_with_its_checksum(s3: Any, bucket: str) -> None:
    upload.put(s3, bucket=bucket, key="k", chunks=[SMALL], content_type="text/plain")
    assert s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")["ChecksumCRC32"] == crc32(SMALL)


def test_parts_listed_with_a_checksum_that_the_upload_was_not_created_with_are_not_found(s3: Any, bucket: str) -> None:
    trial = Trial(s3, bucket).both()  # botocore adds a CRC32 to each part
    assert trial.refusal() == "InvalidPart"
    for part in trial.parts:
        del part["ChecksumCRC32"]
    trial.complete()


def test_a_part_of_another_algorithm_than_the_uploads_is_refused(s3: Any, bucket: str) -> None:
    trial = Trial(s3, bucket, ChecksumAlgorithm="CRC32")
    with pytest.raises(ClientError, match="expected checksum Type: crc32, actual checksum Type: sha256") as refused:
        trial.part(SMALL, ChecksumAlgorithm="SHA256")
    assert refused.value.response["Error"]["Code"] == "InvalidRequest"


def test_a_composite_upload_completes_only_with_the_checksum_of_each_part(s3: Any, bucket: str) -> None:
    trial = Trial(s3, bucket, ChecksumAlgorithm="CRC32").both(ChecksumAlgorithm="CRC32")
    kept = [dict(part) for part in trial.parts]
    del trial.parts[1]["ChecksumCRC32"]
    assert trial.refusal() == "InvalidRequest"
    trial.parts = kept
    trial.complete()


def test_a_part_whose_checksum_is_wrong_is_refused(s3: Any, bucket: str) -> None:
    trial = Trial(s3, bucket, ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT")
    with pytest.raises(ClientError, match="BadDigest"):
        trial.part(SMALL, ChecksumCRC32=crc32(b"something else"))


def test_an_object_whose_checksum_is_wrong_is_refused(s3: Any, bucket: str) -> None:
    with pytest.raises(ClientError, match="BadDigest"):
        s3.put_object(Bucket=bucket, Key="k", Body=SMALL, ChecksumCRC32=crc32(b"something else"))


def test_the_checksum_of_the_whole_object_is_verified(s3: Any, bucket: str) -> None:
    trial = whole(s3, bucket)
    assert trial.refusal(ChecksumCRC32=crc32(BIG), ChecksumType="FULL_OBJECT") == "BadDigest"
    trial.complete(ChecksumCRC32=crc32(BIG + SMALL), ChecksumType="FULL_OBJECT")


def test_a_completion_of_another_type_than_the_uploads_is_refused(s3: Any, bucket: str) -> None:
    assert whole(s3, bucket).refusal(ChecksumCRC32=crc32(BIG + SMALL), ChecksumType="COMPOSITE") == "BadDigest"


def test_a_type_that_the_algorithm_does_not_have_is_refused(s3: Any, bucket: str) -> None:
    with pytest.raises(ClientError, match="InvalidRequest"):
        Trial(s3, bucket, ChecksumAlgorithm="SHA256", ChecksumType="FULL_OBJECT")


def test_a_completion_never_replaces_an_object_that_it_was_told_to_spare(s3: Any, bucket: str) -> None:
    trial = whole(s3, bucket)
    s3.put_object(Bucket=bucket, Key="k", Body=b"first")
    with pytest.raises(ClientError, match="PreconditionFailed"):
        trial.complete(IfNoneMatch="*")
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"first"


def test_a_small_part_is_refused_unless_it_is_the_last(s3: Any, bucket: str) -> None:
    trial = Trial(s3, bucket, ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT")
    trial.part(BIG[:-1], ChecksumAlgorithm="CRC32")
    trial.part(SMALL, ChecksumAlgorithm="CRC32")
    assert trial.refusal() == "EntityTooSmall"


@pytest.mark.parametrize("field", ["ETag", "PartNumber", "ChecksumCRC32"])
def test_a_part_that_is_listed_wrong_is_not_found(s3: Any, bucket: str, field: str) -> None:
    trial = whole(s3, bucket)
    if field == "PartNumber":
        trial.parts.append(trial.parts[1] | {field: 3})
    else:
        trial.parts[1][field] = trial.parts[0][field]
    assert trial.refusal() == "InvalidPart"


def test_parts_out_of_order_are_refused(s3: Any, bucket: str) -> None:
    trial = whole(s3, bucket)
    trial.parts.reverse()
    assert trial.refusal() == "InvalidPartOrder"


def test_with_checksums_the_numbers_of_the_parts_have_no_gap(s3: Any, bucket: str) -> None:
    trial = whole(s3, bucket)
    del trial.parts[0]
    assert trial.refusal() == "InvalidPartOrder"


def test_a_part_beyond_the_last_number_is_refused(s3: Any, bucket: str) -> None:
    trial = Trial(s3, bucket)
    with pytest.raises(ClientError, match="InvalidArgument"):
        s3.upload_part(**trial.target, UploadId=trial.id, PartNumber=MOST_PARTS + 1, Body=SMALL)
    with pytest.raises(Refusal, match="between 1 and 10000"):
        part_checksums(Creation(None, None), MOST_PARTS + 1, {}, SMALL)


def test_an_upload_that_is_completed_twice_answers_the_same(s3: Any, bucket: str) -> None:
    trial = whole(s3, bucket)
    first = trial.complete()
    assert trial.complete()["ETag"] == first["ETag"]
