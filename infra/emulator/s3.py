"""S3 of the embedded AWS: what MiniStack leaves out."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from ministack.services import s3

from infra.emulator import multipart
from infra.emulator.multipart import Creation, Part, Refusal

_create_upload = s3._create_multipart_upload
_upload_part = s3._upload_part
_complete_upload = s3._complete_multipart_upload
_composite_checksum = s3._composite_checksum
_put_object = s3._put_object
# The checksum of the object that is being completed, where MiniStack would compute a composite one.
_checksum: ContextVar[str | None] = ContextVar("checksum", default=None)


def create_upload(bucket: str, key: str, headers: dict[str, str]) -> Any:
    """Create an upload with the checksum's algorithm and type."""
    try:
        created = multipart.creation(headers)
    except Refusal as refusal:
        return _refused(refusal, bucket, key)
    # The SDK's own name of it belongs to parts and objects.
    plain = {name: value for name, value in headers.items() if name != "x-amz-sdk-checksum-algorithm"}
    before = set(s3._multipart_uploads)
    status, answered, body = _create_upload(bucket, key, plain)
    if status == 200:
        [upload_id] = set(s3._multipart_uploads) - before
        s3._multipart_uploads[upload_id]["checksum_type"] = created.kind
        if created.kind:
            answered["x-amz-checksum-type"] = created.kind
    return status, answered, body


def upload_part(bucket: str, key: str, body: bytes, query: dict[str, Any], headers: dict[str, str]) -> Any:
    """Take a part, if its checksum is right and of the upload's algorithm."""
    upload = s3._multipart_uploads.get(s3._qp(query, "uploadId"))
    number = s3._qp(query, "partNumber")
    if upload is not None and number.isdigit():
        try:
            multipart.part_checksums(_creation(upload), int(number), headers, body)
        except Refusal as refusal:
            return _refused(refusal, bucket, key)
    return _upload_part(bucket, key, body, query, headers)


def complete_upload(
    bucket: str, key: str, body: bytes, query: dict[str, Any], headers: dict[str, str] | None = None
) -> Any:
    """Complete an upload that fits its parts and checksums."""
    upload = s3._multipart_uploads.get(s3._qp(query, "uploadId"))
    if upload is None:
        return _complete_upload(bucket, key, body, query, headers)
    created = _creation(upload)
    parts = {
        number: Part(part["body"], part["etag"], part["checksums"]) for number, part in dict(upload["parts"]).items()
    }
    try:
        done = multipart.completion(created, parts, body, headers or {})
    except Refusal as refusal:
        return _refused(refusal, bucket, key)
    token = _checksum.set(done.checksum)
    try:
        status, answered, xml = _complete_upload(bucket, key, body, query, headers)
    finally:
        _checksum.reset(token)
    if status == 200 and created.kind == multipart.FULL_OBJECT:
        s3._ensure_bucket(bucket)["objects"][key]["checksum_type"] = created.kind
        xml = xml.replace(b"<ChecksumType>COMPOSITE<", b"<ChecksumType>FULL_OBJECT<")
        s3._completed_multipart_uploads[s3._qp(query, "uploadId")]["response"] = (status, answered, xml)
    return status, answered, xml


def composite_checksum(algorithm: str, checksums: list[str]) -> Any:
    """Return the checksum of the object that is being completed."""
    return _checksum.get() or _composite_checksum(algorithm, checksums)


def put_object(bucket: str, key: str, body: bytes, headers: dict[str, str]) -> Any:
    """Put an object and answer with its checksum."""
    try:
        given = multipart.body_checksums(headers, body)
    except Refusal as refusal:
        return _refused(refusal, bucket, key)
    status, answered, content = _put_object(bucket, key, body, headers)
    if status == 200 and given:
        answered |= {f"x-amz-checksum-{name.lower()}": value for name, value in given.items()}
        answered["x-amz-checksum-type"] = multipart.FULL_OBJECT
    return status, answered, content


def _creation(upload: dict[str, Any]) -> Creation:
    return Creation(upload.get("checksum_algorithm"), upload.get("checksum_type"))


def _refused(refusal: Refusal, bucket: str, key: str) -> Any:
    return s3._error(refusal.code, refusal.message, refusal.status, f"/{bucket}/{key}")


def install() -> None:
    """Put the completions in MiniStack's place."""
    s3._create_multipart_upload = create_upload
    s3._upload_part = upload_part
    s3._complete_multipart_upload = complete_upload
    s3._composite_checksum = composite_checksum
    s3._put_object = put_object
