"""moto's S3 with the rules of infra/emulator/multipart.py."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import moto.s3.models as models
import pytest
from moto.s3.exceptions import NoSuchUpload, PreconditionFailed, S3ClientError
from moto.s3.models import FakeMultipart
from moto.s3.responses import S3Response

from infra.emulator import multipart
from infra.emulator.multipart import Creation, Part, Refusal

_TRAILER = re.compile(rb"(x-amz-checksum-\w+):([^\r\n]+)")
# A trailer is a name and a checksum.
_TRAILER_BYTES = 200
_upload_part = S3Response.upload_part
_post = S3Response._key_response_post
_put = S3Response._key_response_put
_tagging = S3Response._tagging_from_xml


@contextmanager
def strict_s3() -> Iterator[None]:
    """Have moto refuse what S3 refuses of checksums and uploads in parts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(S3Response, "upload_part", _part)
        patch.setattr(S3Response, "_key_response_post", _create_or_complete)
        patch.setattr(S3Response, "_key_response_put", _object)
        patch.setattr(S3Response, "_tagging_from_xml", _tags)
        yield


def _tags(response: Any) -> dict[str, str]:
    """The tags of a request, which may be none at all: S3 then removes the tags of the object."""
    return _tagging(response) if b"<Tag>" in bytes(response.body) else {}


def _headers(response: Any) -> Mapping[str, str]:
    """The request's headers, with the checksum that comes behind the body."""
    headers = {name.lower(): value for name, value in response.headers.items()}
    if headers.get("x-amz-content-sha256", "").endswith("-TRAILER"):
        trailers = _TRAILER.findall(bytes(response.raw_body)[-_TRAILER_BYTES:])
        headers |= {name.decode(): value.decode() for name, value in trailers}
    return headers


def _object(response: Any, query: dict[str, Any], key: str) -> Any:
    if not query and "x-amz-copy-source" not in response.headers:
        with _answered():
            multipart.body_checksums(_headers(response), bytes(response.body))
    return _put(response, query, key)


def _part(response: Any) -> Any:
    upload, number = _upload(response, response._get_param("uploadId")), response._get_int_param("partNumber")
    with _answered():
        given = multipart.part_checksums(_creation(upload), number, _headers(response), bytes(response.body))
    status, answered, body = _upload_part(response)
    upload.parts[number].given_checksums = given
    return status, answered | {f"x-amz-checksum-{name.lower()}": of for name, of in given.items()}, body


def _create_or_complete(response: Any, request: Any, body: bytes, bucket: str, query: Any, key: str) -> Any:
    headers = _headers(response)
    with _answered():
        if "uploads" in query:
            multipart.creation(headers)
        elif "uploadId" in query:
            upload = response.backend.get_bucket(bucket).multiparts.get(query["uploadId"][0])
            if upload is not None:
                return _complete(response, upload, headers, request, body, bucket, query, key)
    return _post(response, request, body, bucket, query, key)


def _complete(response: Any, upload: FakeMultipart, headers: Mapping[str, str], *request: Any) -> Any:
    _, body, bucket, _, key = request
    if headers.get("if-none-match") == "*" and response.backend.get_object(bucket, key) is not None:
        raise PreconditionFailed("If-None-Match")
    parts = {
        number: Part(part.value, part.etag, getattr(part, "given_checksums", {}))
        for number, part in upload.parts.items()
    }
    multipart.completion(_creation(upload), parts, body, headers, smallest=models.S3_UPLOAD_PART_MIN_SIZE)
    return _post(response, *request)


def _upload(response: Any, upload_id: str) -> FakeMultipart:
    found = response.backend.get_bucket(response.bucket_name).multiparts.get(upload_id)
    if found is None:
        raise NoSuchUpload(upload_id)
    assert isinstance(found, FakeMultipart)
    return found


def _creation(upload: FakeMultipart) -> Creation:
    return multipart.creation({name.lower(): value for name, value in upload.metadata.items()})


@contextmanager
def _answered() -> Iterator[None]:
    try:
        yield
    except Refusal as refusal:
        raise S3ClientError(refusal.code, refusal.message) from None
