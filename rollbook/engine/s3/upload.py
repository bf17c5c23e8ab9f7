"""S3 objects from streams of bytes, in bounded memory, never over an object that is there."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

# The smallest part that S3 takes is 5 MiB, the most parts are 10,000 (S3 User Guide, "Multipart upload limits").
_PART_BYTES = 5 * 1024 * 1024
# Parts double in size every 2,500: 10,000 of them are 183 GB, far beyond what a function reads in its time.
_PARTS_OF_A_SIZE = 2500
# Named in every request, as botocore's own choice differs by version. S3 answers InvalidPart to a completion that lists
# checksums of an upload created without them (S3 User Guide, "Checking object integrity"; aws-sdk-go-v2 issue 3005).
_ALGORITHM = {"ChecksumAlgorithm": "CRC32"}
_WHOLE_OBJECT = {"ChecksumType": "FULL_OBJECT"}


class ObjectExists(RuntimeError):
    """There is an object of that key already; it was left as it is."""

    def __init__(self, bucket: str, key: str) -> None:
        super().__init__(f"s3://{bucket}/{key} exists already; it was left as it is")
        self.key = key


@dataclass(frozen=True)
class Uploaded:
    """A complete object.

    Arguments:
        crc32: of the whole object, in Base64, as S3 has it.
    """

    bytes: int
    crc32: str


class Upload:
    """One object to be. Nothing of it is visible before `complete`; after `abort` nothing is left.

    Arguments:
        s3: a boto3 S3 client.
        content_type: the object's.
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
        """Return the CRC32 of all bytes that were written, in Base64, as S3 has it."""
        return base64.b64encode(self._crc32.to_bytes(4, "big")).decode()

    def write(self, chunk: bytes) -> None:
        """Take bytes; a part is sent as soon as there are enough of them."""
        self._buffer += chunk
        self.bytes += len(chunk)
        self._crc32 = zlib.crc32(chunk, self._crc32)
        if len(self._buffer) >= _PART_BYTES << (len(self._parts) // _PARTS_OF_A_SIZE):
            self.flush()

    def flush(self) -> None:
        """Send what there is as a part: after this nothing of the object is in memory, and no more may be written."""
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

    def complete(self) -> str:
        """Make the object visible and return its ETag.

        Raises:
            ObjectExists: the key was taken, before or meanwhile.
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
        return str(done["ETag"]).strip('"')

    def abort(self) -> None:
        """Drop whatever was uploaded and not completed."""
        self._buffer = bytearray()
        if self._upload_id:
            upload_id, self._upload_id = self._upload_id, ""
            self._s3.abort_multipart_upload(**self._target, UploadId=upload_id)


def tag_all(s3: Any, tags: str) -> None:
    """Have a client tag every object that it makes.

    Arguments:
        s3: a boto3 S3 client, which nothing else uses.
        tags: as a query string, `key=value&…`.
    """

    def tag(params: dict[str, Any], **_: Any) -> None:
        params["Tagging"] = tags

    for call in ("PutObject", "CreateMultipartUpload"):
        s3.meta.events.register(f"provide-client-params.s3.{call}", tag)


def put(s3: Any, *, bucket: str, key: str, chunks: Iterable[bytes], content_type: str) -> Uploaded:
    """Write an object. Nothing of it is visible before all of it is there.

    Arguments:
        s3: a boto3 S3 client.
        chunks: the bytes; at most one part and one chunk of them are in memory at a time.

    Raises:
        ObjectExists: the key was taken, before or meanwhile.
        botocore.exceptions.ClientError: S3 refused; whatever was uploaded is gone.
    """
    upload = Upload(s3, bucket=bucket, key=key, content_type=content_type)
    try:
        for chunk in chunks:
            upload.write(chunk)
        upload.complete()
        return Uploaded(upload.bytes, upload.crc32)
    except BaseException as error:
        abort([upload], error)
        raise


def abort(uploads: Iterable[Upload], error: BaseException) -> None:
    """Drop uploads because of an error; what cannot be dropped is said in a note on that error."""
    for upload in uploads:
        try:
            upload.abort()
        except (BotoCoreError, ClientError) as fault:
            error.add_note(f"and its upload of {upload.key} could not be aborted, so S3 drops it in a day: {fault}")
