"""S3: checksums, permissions for ACLs and tags, and lifecycle rules, which MiniStack lacks."""

from __future__ import annotations

from contextvars import ContextVar
from datetime import datetime
from typing import Any

from ministack.core import iam_actions
from ministack.services import s3

from infra.emulator import lifecycle, multipart, paths
from infra.emulator.multipart import Creation, Part, Refusal

_create_upload = s3._create_multipart_upload
_upload_part = s3._upload_part
_complete_upload = s3._complete_multipart_upload
_composite_checksum = s3._composite_checksum
_put_object = s3._put_object
_dispatch = s3._dispatch
_additional_checks = iam_actions.s3_additional_checks
_MINIMUM = "x-amz-transition-default-minimum-object-size"
_ACLS = (
    "x-amz-acl",
    "x-amz-grant-full-control",
    "x-amz-grant-read",
    "x-amz-grant-read-acp",
    "x-amz-grant-write-acp",
)
# The checksum of the object that is being completed. MiniStack would compute a composite checksum.
_checksum: ContextVar[str | None] = ContextVar("checksum", default=None)


def create_upload(bucket: str, key: str, headers: dict[str, str]) -> Any:
    """Create an upload with a checksum algorithm and type."""
    try:
        created = multipart.creation(headers)
    except Refusal as refusal:
        return _refused(refusal, bucket, key)
    # The header of the SDK names the algorithm of parts and objects, not of uploads.
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
    """Accept a part, if its checksum is correct and has the upload's algorithm."""
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
    """Complete an upload, if the request matches its parts and checksums."""
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
    """Put an object and return its checksum."""
    try:
        given = multipart.body_checksums(headers, body)
    except Refusal as refusal:
        return _refused(refusal, bucket, key)
    status, answered, content = _put_object(bucket, key, body, headers)
    if status == 200 and given:
        answered |= {f"x-amz-checksum-{name.lower()}": value for name, value in given.items()}
        answered["x-amz-checksum-type"] = multipart.FULL_OBJECT
    return status, answered, content


def additional_checks(
    method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]
) -> list[tuple[str, str]]:
    """Return additional permissions that a request needs: an object with an ACL or tags needs those to set them.

    Source: S3 API Reference, "PutObject" and "CreateMultipartUpload", "Permissions".
    """
    checks: list[tuple[str, str]] = _additional_checks(method, path, headers, body, query)
    bucket, _, key = path.lstrip("/").partition("/")
    is_write = (method == "PUT" and not query) or (method == "POST" and "uploads" in query)
    if key and is_write:
        arn = f"arn:aws:s3:::{bucket}/{key}"
        if any(headers.get(name) for name in _ACLS):
            checks.append(("s3:PutObjectAcl", arn))
        if headers.get("x-amz-tagging"):
            checks.append(("s3:PutObjectTagging", arn))
    return checks


def dispatch(method: str, bucket: str, key: str, headers: dict[str, str], body: bytes, query: dict[str, Any]) -> Any:
    """Serve a request. A lifecycle configuration includes the default minimum object size of its transitions.

    Source: S3 API Reference, "PutBucketLifecycleConfiguration".
    """
    answer = _dispatch(method, bucket, key, headers, body, query)
    if key or "lifecycle" not in query or answer[0] != 200:
        return answer
    rules = s3._bucket_lifecycle.get(bucket)
    if not isinstance(rules, list) or not rules:
        return answer
    if method == "PUT":
        # Stored in the first rule, so that it is persisted with the rules.
        rules[0][_MINIMUM] = headers.get(_MINIMUM, lifecycle.ALL_CLASSES)
    return answer[0], answer[1] | {_MINIMUM: rules[0].get(_MINIMUM, lifecycle.ALL_CLASSES)}, answer[2]


def run_lifecycle(request: dict[str, Any]) -> dict[str, Any]:
    """Apply all buckets' lifecycle rules at a moment: `{"now": "2030-01-01T00:00:00Z"}`. Return the actions.

    Objects under Object Lock remain. No notifications of expirations are sent.
    """
    now = datetime.fromisoformat(request["now"])
    done = []
    for name in list(s3._buckets):
        rules = s3._bucket_lifecycle.get(name)
        if not isinstance(rules, list) or not rules:
            continue
        minimum = rules[0].get(_MINIMUM, lifecycle.ALL_CLASSES)
        for action in lifecycle.plan(rules, _versions(name), _uploads(name), now, minimum):
            if _apply(name, action, now):
                done.append({"bucket": name, "action": action.kind, "key": action.key, "to": action.storage_class})
    return {"done": done}


def _versions(bucket: str) -> list[lifecycle.Version]:
    found = []
    objects = s3._buckets[bucket]["objects"]
    tracked = {key: versions for (name, key), versions in s3._object_versions.items() if name == bucket and versions}
    for key in sorted({*objects, *tracked}):
        # Without a history there is one version, which has no id.
        history = tracked.get(key) or [objects[key] | {"is_latest": True}]
        for version in reversed(history):
            version_id = version.get("version_id")
            found.append(
                lifecycle.Version(
                    key,
                    version_id,
                    datetime.fromisoformat(version["last_modified"]),
                    int(version.get("size", 0)),
                    version.get("storage_class") or "STANDARD",
                    s3._object_tags.get((bucket, key, None if version_id == "null" else version_id)) or {},
                    bool(version.get("is_latest")),
                    bool(version.get("is_delete_marker")),
                )
            )
    return found


def _uploads(bucket: str) -> list[lifecycle.Upload]:
    return [
        lifecycle.Upload(upload["key"], upload_id, datetime.fromisoformat(upload["created"]))
        for upload_id, upload in s3._multipart_uploads.items()
        if upload["bucket"] == bucket
    ]


def _apply(bucket: str, action: lifecycle.Action, now: datetime) -> bool:
    """Perform an action, and return whether S3 allowed it."""
    match action.kind:
        case "abort":
            answer = s3._abort_multipart_upload(bucket, action.key, {"uploadId": [action.id]})
        case "delete" if action.id:
            answer = s3._delete_object(bucket, action.key, {}, {"versionId": [action.id]})
        case "expire" | "delete":
            answer = s3._delete_object(bucket, action.key, {}, {})
            history = s3._object_versions.get((bucket, action.key))
            if history:
                history[-1]["last_modified"] = now.isoformat()
        case "move":
            return _move(bucket, action)
    return bool(answer[0] < 300)


def _move(bucket: str, action: lifecycle.Action) -> bool:
    current = s3._buckets[bucket]["objects"].get(action.key)
    history = s3._object_versions.get((bucket, action.key)) or []
    for version in [*history, *([current] if current else [])]:
        if version.get("version_id") == action.id:
            version["storage_class"] = action.storage_class
    s3._persist_version_state(bucket, action.key, s3._buckets[bucket])
    return True


def _creation(upload: dict[str, Any]) -> Creation:
    return Creation(upload.get("checksum_algorithm"), upload.get("checksum_type"))


def _refused(refusal: Refusal, bucket: str, key: str) -> Any:
    return s3._error(refusal.code, refusal.message, refusal.status, f"/{bucket}/{key}")


def install() -> None:
    """Complete MiniStack's S3."""
    s3._create_multipart_upload = create_upload
    s3._upload_part = upload_part
    s3._complete_multipart_upload = complete_upload
    s3._composite_checksum = composite_checksum
    s3._put_object = put_object
    s3._dispatch = dispatch
    iam_actions.s3_additional_checks = additional_checks
    paths.add("lifecycle", run_lifecycle)
