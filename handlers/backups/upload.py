"""One S3 object from a stream of bytes, in bounded memory, never over an object that is there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from botocore.exceptions import ClientError

# The smallest part that S3 takes is 5 MiB, the most parts 10,000 (S3 User Guide, "Multipart upload limits").
PART_BYTES = 8 * 1024 * 1024


class ObjectExists(RuntimeError):
    """There is an object of that key already; it was left as it is."""


def put(s3: Any, *, bucket: str, key: str, chunks: Iterable[bytes], content_type: str) -> None:
    """Write an object; nothing of it is visible before all of it is there.

    Arguments:
        s3: a boto3 S3 client.
        chunks: the bytes; at most one part and one chunk of them are in memory at a time.

    Raises:
        ObjectExists: the key was taken, before or meanwhile.
        botocore.exceptions.ClientError: S3 refused; whatever was uploaded is gone.
    """
    target = {"Bucket": bucket, "Key": key}
    upload_id = ""
    parts: list[dict[str, Any]] = []
    buffer = bytearray()
    try:
        for chunk in chunks:
            buffer += chunk
            if len(buffer) >= PART_BYTES:
                if not upload_id:
                    upload_id = s3.create_multipart_upload(**target, ContentType=content_type)["UploadId"]
                parts.append(_upload_part(s3, target, upload_id, len(parts) + 1, buffer))
                buffer = bytearray()
        if not upload_id:
            s3.put_object(**target, Body=bytes(buffer), ContentType=content_type, IfNoneMatch="*")
            return
        if buffer:
            parts.append(_upload_part(s3, target, upload_id, len(parts) + 1, buffer))
        s3.complete_multipart_upload(**target, UploadId=upload_id, MultipartUpload={"Parts": parts}, IfNoneMatch="*")
    except BaseException as error:
        if upload_id:
            s3.abort_multipart_upload(**target, UploadId=upload_id)
        if isinstance(error, ClientError) and error.response["Error"]["Code"] == "PreconditionFailed":
            raise ObjectExists(f"s3://{bucket}/{key} exists already; it was left as it is") from None
        raise


def _upload_part(s3: Any, target: dict[str, str], upload_id: str, number: int, body: bytearray) -> dict[str, Any]:
    part = s3.upload_part(**target, UploadId=upload_id, PartNumber=number, Body=bytes(body))
    return {"PartNumber": number, "ETag": part["ETag"]} | {
        name: value for name, value in part.items() if name.startswith("Checksum") and name != "ChecksumType"
    }
