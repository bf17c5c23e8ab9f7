"""S3's rules for checksums and multipart uploads, for the embedded AWS and for moto.

Sources: S3 User Guide, "Checking object integrity" and "Multipart upload limits"; S3 API Reference,
"CompleteMultipartUpload", "CompletedPart" and "UploadPart"; aws/aws-sdk-go-v2 issue 3005, aws/aws-sdk-java-v2 issue
6518 and apache/opendal pull requests 4533 and 4580 for the errors.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from xml.etree import ElementTree

SMALLEST_PART_BYTES = 5 * 1024 * 1024
MOST_PARTS = 10_000
COMPOSITE, FULL_OBJECT = "COMPOSITE", "FULL_OBJECT"
_HEADER = "x-amz-checksum-"
_ALGORITHMS = ("CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256")
_ONLY_WHOLE = frozenset({"CRC64NVME"})
_ONLY_COMPOSITE = frozenset({"SHA1", "SHA256"})
_NO_PART = (
    "One or more of the specified parts could not be found. The part may not have been uploaded, or the specified "
    "entity tag may not match the part's entity tag."
)


class Refusal(Exception):
    """S3's error response to an invalid request.

    Arguments:
        code: S3's error code.
    """

    status = 400

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Creation:
    """The checksum algorithm and type with which an upload was created, or neither."""

    algorithm: str | None
    kind: str | None


@dataclass(frozen=True)
class Part:
    """An uploaded part."""

    body: bytes
    etag: str
    checksums: Mapping[str, str]


@dataclass(frozen=True)
class Completion:
    """The result of completing an upload.

    Arguments:
        numbers: of the parts.
        checksum: of the object; None if the upload was created without an algorithm.
    """

    numbers: Sequence[int]
    checksum: str | None


def compute(algorithm: str, data: bytes) -> str | None:
    """Return a checksum in Base64, or None for an algorithm that the standard library does not have."""
    match algorithm:
        case "CRC32":
            digest = zlib.crc32(data).to_bytes(4, "big")
        case "SHA1":
            digest = hashlib.sha1(data, usedforsecurity=False).digest()
        case "SHA256":
            digest = hashlib.sha256(data).digest()
        case _:
            return None
    return base64.b64encode(digest).decode()


def creation(headers: Mapping[str, str]) -> Creation:
    """Return the algorithm and the type of a CreateMultipartUpload request.

    Raises:
        Refusal: the combination is invalid.
    """
    algorithm = headers.get("x-amz-checksum-algorithm")
    kind = headers.get("x-amz-checksum-type")
    if not algorithm:
        if kind:
            raise Refusal("InvalidRequest", "The x-amz-checksum-type header needs x-amz-checksum-algorithm.")
        return Creation(None, None)
    algorithm = algorithm.upper()
    if algorithm not in _ALGORITHMS:
        raise Refusal("InvalidRequest", f"Checksum algorithm provided is unsupported: {algorithm}.")
    kind = (kind or (FULL_OBJECT if algorithm in _ONLY_WHOLE else COMPOSITE)).upper()
    if (
        kind not in {COMPOSITE, FULL_OBJECT}
        or (kind == COMPOSITE and algorithm in _ONLY_WHOLE)
        or (kind == FULL_OBJECT and algorithm in _ONLY_COMPOSITE)
    ):
        raise Refusal("InvalidRequest", f"The {kind} checksum type cannot be used with the {algorithm} algorithm.")
    return Creation(algorithm, kind)


def body_checksums(headers: Mapping[str, str], body: bytes) -> dict[str, str]:
    """Return the checksums of a request's body that its headers contain.

    Raises:
        Refusal: a checksum is wrong, or the announced one is missing.
    """
    given = {name: headers[_HEADER + name.lower()] for name in _ALGORITHMS if headers.get(_HEADER + name.lower())}
    announced = headers.get("x-amz-sdk-checksum-algorithm", "").upper()
    if announced and not given:
        raise Refusal(
            "InvalidRequest",
            "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers "
            "were found.",
        )
    if len(given) > 1:
        raise Refusal("InvalidRequest", "Expecting a single x-amz-checksum- header.")
    for algorithm, value in given.items():
        computed = compute(algorithm, body)
        if computed is not None and computed != value:
            raise Refusal("BadDigest", f"The {algorithm} you specified did not match the calculated checksum.")
    return given


def part_checksums(created: Creation, number: int, headers: Mapping[str, str], body: bytes) -> dict[str, str]:
    """Return the checksums of a part.

    An upload created without an algorithm accepts parts with a checksum, which is the default of the SDKs. It can be
    completed only if the list of parts does not contain these checksums.

    Raises:
        Refusal: the number is out of range, or a checksum is wrong or has another algorithm than the upload.
    """
    if not 1 <= number <= MOST_PARTS:
        raise Refusal("InvalidArgument", f"Part number must be an integer between 1 and {MOST_PARTS}, inclusive")
    given = body_checksums(headers, body)
    if created.algorithm and created.algorithm not in given:
        actual = next(iter(given), "null").lower()
        raise Refusal(
            "InvalidRequest",
            f"Checksum Type mismatch occurred, expected checksum Type: {created.algorithm.lower()}, "
            f"actual checksum Type: {actual}",
        )
    return given


def completion(
    created: Creation,
    parts: Mapping[int, Part],
    listing: bytes,
    headers: Mapping[str, str],
    *,
    smallest: int = SMALLEST_PART_BYTES,
) -> Completion:
    """Check a CompleteMultipartUpload.

    Arguments:
        parts: the uploaded parts by number.
        listing: the request's body.
        smallest: minimum bytes of all parts except the last.

    Raises:
        Refusal: the list does not match the parts, a part is too small, or a checksum does not match.
    """
    listed = _listed(listing)
    _check_order([number for number, _, _ in listed], created)
    for number, etag, checksums in listed:
        part = parts.get(number)
        # S3 knows only checksums of the upload's algorithm. A part listed with any other checksum does not match.
        known = {} if part is None or created.algorithm is None else part.checksums
        if part is None or etag != part.etag.strip('"') or any(known.get(name) != of for name, of in checksums.items()):
            raise Refusal("InvalidPart", _NO_PART)
        if created.kind == COMPOSITE and created.algorithm not in checksums:
            raise Refusal(
                "InvalidRequest",
                f"The upload was created using a {str(created.algorithm).lower()} checksum. The complete request must "
                f"include the checksum for each part. It was missing for part {number} in the request.",
            )
    bodies = [parts[number].body for number, _, _ in listed]
    if any(len(body) < smallest for body in bodies[:-1]):
        raise Refusal("EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size")
    checksum = _of_object(created, [parts[number] for number, _, _ in listed])
    _check_object(created, checksum, sum(map(len, bodies)), headers)
    return Completion([number for number, _, _ in listed], checksum)


def _listed(listing: bytes) -> list[tuple[int, str, dict[str, str]]]:
    try:
        root = ElementTree.fromstring(listing)  # noqa: S314
    except ElementTree.ParseError:
        root = ElementTree.Element("Nothing")
    listed = []
    for element in root.iter():
        if element.tag.rpartition("}")[2] != "Part":
            continue
        fields = {child.tag.rpartition("}")[2]: (child.text or "").strip() for child in element}
        checksums = {name.removeprefix("Checksum"): of for name, of in fields.items() if name.startswith("Checksum")}
        listed.append((int(fields.get("PartNumber", 0)), fields.get("ETag", "").strip('"'), checksums))
    if not listed or len(listed) > MOST_PARTS:
        raise Refusal("MalformedXML", "The XML you provided was not well-formed or did not validate against our schema")
    return listed


def _check_order(numbers: Sequence[int], created: Creation) -> None:
    ascending = all(first < second for first, second in pairwise(numbers))
    # With checksums, the numbers must be consecutive from 1 (S3 API Reference, "CompletedPart").
    if not ascending or (created.algorithm and list(numbers) != list(range(1, len(numbers) + 1))):
        raise Refusal(
            "InvalidPartOrder",
            "The list of parts was not in ascending order. The parts list must be specified in order by part number.",
        )


def _of_object(created: Creation, parts: Sequence[Part]) -> str | None:
    if created.algorithm is None:
        return None
    if created.kind == FULL_OBJECT:
        return compute(created.algorithm, b"".join(part.body for part in parts))
    digests = b"".join(base64.b64decode(part.checksums[created.algorithm]) for part in parts)
    of_digests = compute(created.algorithm, digests)
    return None if of_digests is None else f"{of_digests}-{len(parts)}"


def _check_object(created: Creation, checksum: str | None, size: int, headers: Mapping[str, str]) -> None:
    kind = headers.get("x-amz-checksum-type")
    if kind and kind.upper() != created.kind:
        raise Refusal("BadDigest", f"The upload was created using the {created.kind} checksum type, not {kind}.")
    for algorithm in _ALGORITHMS:
        given = headers.get(_HEADER + algorithm.lower())
        if not given:
            continue
        if algorithm != created.algorithm:
            raise Refusal(
                "InvalidRequest", f"The upload was created using {created.algorithm}, the request has {algorithm}."
            )
        if checksum is not None and given.partition("-")[0] != checksum.partition("-")[0]:
            raise Refusal("BadDigest", f"The {algorithm} you specified did not match the calculated checksum.")
    expected = headers.get("x-amz-mp-object-size")
    if expected and int(expected) != size:
        raise Refusal("InvalidRequest", f"The upload has {size} bytes, not {expected} as x-amz-mp-object-size says.")
