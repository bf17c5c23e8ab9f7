"""Uploads streams of bytes to S3 in bounded memory. It never replaces an existing object."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

# S3 accepts parts of 5 MiB or more, and up to 10,000 parts (S3 User Guide, "Multipart upload limits").
_PART_BYTES = 5 * 1024 * 1024
# The part size doubles after every 2,500 parts. 10,000 parts are 183 GB, far more than a function reads in 15 minutes.
_PARTS_PER_SIZE = 2500
# Named in every request, because botocore's default differs between versions. If an upload is created without an
# algorithm and completed with checksums, S3 answers InvalidPart (S3 User Guide, "Checking object integrity";
# aws-sdk-go-v2 issue 3005).
_ALGORITHM = {"ChecksumAlgorithm": "CRC32"}
_WHOLE_OBJECT = {"ChecksumType": "FULL_OBJECT"}


class ObjectExists(RuntimeError):
    """An object with that key exists already. It was not changed."""

    def __init__(self, bucket: str, key: str) -> None:
        super().__init__(f"s3://{bucket}/{key} exists already; it was not changed")
        self.key = key


@dataclass(frozen=True)
class Uploaded:
    """A complete object.

    Arguments:
        crc32: of the whole object, in Base64 as in S3.
        version_id: empty if the bucket keeps no versions.
    """

    bytes: int
    crc32: str
    etag: str
    version_id: str


class Upload:
    """The upload of one object. The object is not visible before `complete`. `abort` deletes the uploaded parts.

    Arguments:
        s3: a boto3 S3 client.
        content_type: of the object.
    """

    def __init__(self, s3: Any, *, bucket: str, key: str, content_type: str) -> None:
        self._s3 = s3
        self._target = {"Bucket": bucket, "Key": key}
        self._content_type = content_type
        self._upload_id = ""
        self._parts: list[dict[str, Any]] = []
        self._buffer = bytearray()
        self.key = key
        self.bytes = 0
        self._crc32 = 0

    @property
    def crc32(self) -> str:
        """Return the CRC32 of all written bytes, in Base64 as in S3."""
        return _base64(self._crc32)

    def saved(self) -> dict[str, Any]:
        """Return what `resumed` needs. The upload must be flushed."""
        return {"id": self._upload_id, "parts": self._parts, "bytes": self.bytes, "crc32": self._crc32, "key": self.key}

    @classmethod
    def resumed(cls, s3: Any, *, bucket: str, content_type: str, saved: Mapping[str, Any]) -> Upload:
        """Return an upload that another process began and flushed."""
        upload = cls(s3, bucket=bucket, key=saved["key"], content_type=content_type)
        upload._upload_id, upload._parts = saved["id"], list(saved["parts"])
        upload.bytes, upload._crc32 = saved["bytes"], saved["crc32"]
        return upload

    def write(self, chunk: bytes) -> None:
        """Append bytes. When there are enough for a part, the part is sent."""
        self._buffer += chunk
        self.bytes += len(chunk)
        self._crc32 = zlib.crc32(chunk, self._crc32)
        if len(self._buffer) >= _PART_BYTES << (len(self._parts) // _PARTS_PER_SIZE):
            self.flush()

    def flush(self) -> None:
        """Send the buffered bytes as the last part, which frees their memory. No more bytes may be written."""
        if self._upload_id and not self._buffer:
            return
        if not self._upload_id:
            created = self._s3.create_multipart_upload(
                **self._target, ContentType=self._content_type, **_ALGORITHM, **_WHOLE_OBJECT
            )
            self._upload_id = created["UploadId"]
        number = len(self._parts) + 1
        body, self._buffer = self._buffer, bytearray()
        part = self._s3.upload_part(
            **self._target, UploadId=self._upload_id, PartNumber=number, Body=body, **_ALGORITHM
        )
        self._parts.append({"PartNumber": number, "ETag": part["ETag"], "ChecksumCRC32": part["ChecksumCRC32"]})

    def complete(self) -> Uploaded:
        """Make the object visible and return what S3 answered of it.

        Raises:
            ObjectExists: an object with the key exists.
        """
        try:
            if not self._upload_id:
                body, self._buffer = self._buffer, bytearray()
                done = self._s3.put_object(
                    **self._target,
                    Body=body,
                    ContentType=self._content_type,
                    IfNoneMatch="*",
                    **_ALGORITHM,
                )
            else:
                if self._buffer:
                    self.flush()
                done = self._s3.complete_multipart_upload(
                    **self._target,
                    UploadId=self._upload_id,
                    MultipartUpload={"Parts": self._parts},
                    ChecksumCRC32=self.crc32,
                    IfNoneMatch="*",
                    **_WHOLE_OBJECT,
                )
        except ClientError as error:
            if error.response["Error"]["Code"] != "PreconditionFailed":
                raise
            raise ObjectExists(self._target["Bucket"], self.key) from None
        self._upload_id = ""
        return Uploaded(self.bytes, self.crc32, str(done["ETag"]).strip('"'), version_of(done))

    def complete_once(self) -> str:
        """Make the object visible, unless an earlier invocation did, and return its ETag.

        Raises:
            ObjectExists: another object with the key exists.
            botocore.exceptions.ClientError: S3 has neither the upload nor the object.
        """
        try:
            return self.complete().etag
        except (ObjectExists, ClientError) as error:
            is_known = isinstance(error, ObjectExists) or error.response["Error"]["Code"] == "NoSuchUpload"
            if not is_known or not is_stored(self._s3, self._target["Bucket"], self.key, self.crc32):
                raise
        return str(self._s3.head_object(**self._target)["ETag"]).strip('"')

    def abort(self) -> None:
        """Delete the uploaded parts if the upload is not completed."""
        self._buffer = bytearray()
        if self._upload_id:
            upload_id, self._upload_id = self._upload_id, ""
            self._s3.abort_multipart_upload(**self._target, UploadId=upload_id)


def version_of(answer: Mapping[str, Any]) -> str:
    """Return the version in an answer of S3, or an empty text if the bucket keeps none."""
    version: str = answer.get("VersionId", "")
    return "" if version == "null" else version


def tag_all(s3: Any, tags: str) -> None:
    """Make a client tag every object that it creates.

    Arguments:
        s3: a boto3 S3 client that has no other use.
        tags: as a query string, `key=value&…`.
    """

    def tag(params: dict[str, Any], **_: Any) -> None:
        params["Tagging"] = tags

    for call in ("PutObject", "CreateMultipartUpload"):
        s3.meta.events.register(f"provide-client-params.s3.{call}", tag)


def put(s3: Any, *, bucket: str, key: str, chunks: Iterable[bytes], content_type: str) -> Uploaded:
    """Write an object, which becomes visible when it is complete.

    Arguments:
        s3: a boto3 S3 client.
        chunks: the bytes; at most one part and one chunk are in memory.

    Raises:
        ObjectExists: an object with the key exists.
        botocore.exceptions.ClientError: S3 refused. The uploaded parts are deleted.
    """
    upload = Upload(s3, bucket=bucket, key=key, content_type=content_type)
    try:
        for chunk in chunks:
            upload.write(chunk)
        return upload.complete()
    except BaseException as error:
        abort([upload], error)
        raise


def put_equal(s3: Any, *, bucket: str, key: str, chunks: Iterable[bytes], content_type: str) -> None:
    """Write an object, unless there is one with the same bytes.

    Raises:
        ObjectExists: another object has the key.
    """
    whole = b"".join(chunks)
    try:
        put(s3, bucket=bucket, key=key, chunks=[whole], content_type=content_type)
    except ObjectExists:
        if not is_stored(s3, bucket, key, crc32_of(whole)):
            raise


def is_stored(s3: Any, bucket: str, key: str, crc32: str) -> bool:
    """Return whether an object has this CRC32.

    Arguments:
        crc32: of the whole object, in Base64 as in S3.

    Raises:
        botocore.exceptions.ClientError: there is no such object, or access is denied.
    """
    found = s3.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
    return bool(found.get("ChecksumCRC32") == crc32)


def crc32_of(data: bytes) -> str:
    """Return the CRC32 of bytes, in Base64 as in S3."""
    return _base64(zlib.crc32(data))


def _base64(crc32: int) -> str:
    return base64.b64encode(crc32.to_bytes(4, "big")).decode()


def abort(uploads: Iterable[Upload], error: BaseException) -> None:
    """Abort uploads because of an error. If one cannot be aborted, a note on the error says so."""
    for upload in uploads:
        try:
            upload.abort()
        except (BotoCoreError, ClientError) as fault:
            error.add_note(f"The upload of {upload.key} could not be aborted; S3 deletes it after a day: {fault}")
