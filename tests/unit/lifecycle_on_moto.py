"""A bucket's lifecycle carried out on moto, as of any moment."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import FakeDeleteMarker, s3_backends

from infra.emulator import lifecycle


def run_lifecycle(s3: Any, bucket: str, now: datetime) -> list[lifecycle.Action]:
    """Carry out the lifecycle and return what was done. Uploads stay: moto does not know when one was begun."""
    configured = s3.get_bucket_lifecycle_configuration(Bucket=bucket)
    minimum = configured.get("TransitionDefaultMinimumObjectSize", lifecycle.ALL_CLASSES)
    due = lifecycle.plan(configured["Rules"], _versions(bucket), [], now, minimum)
    for action in due:
        _carry_out(s3, bucket, action, now)
    return due


def _versions(bucket: str) -> list[lifecycle.Version]:
    """Return the versions of moto's own objects, because a request for the tags of each one takes milliseconds."""
    backend = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
    kept = backend.buckets[bucket].keys
    found = []
    for name in list(kept):
        newest, *older = reversed(kept.getlist(name))
        for each in (newest, *older):
            modified = each.last_modified.replace(tzinfo=UTC)
            if isinstance(each, FakeDeleteMarker):
                version = lifecycle.Version(
                    name, str(each.version_id), modified, is_latest=each is newest, is_marker=True
                )
            else:
                tags = backend.tagger.get_tag_dict_for_resource(each.arn)
                version = lifecycle.Version(
                    name,
                    str(each.version_id or "null"),
                    modified,
                    each.size,
                    each.storage_class,
                    tags,
                    each is newest,
                )
            found.append(version)
    return found


def _carry_out(s3: Any, bucket: str, action: lifecycle.Action, now: datetime) -> None:
    keys = s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets[bucket].keys
    match action.kind:
        case "delete":
            s3.delete_object(Bucket=bucket, Key=action.key, VersionId=action.id)
        case "expire":
            s3.delete_object(Bucket=bucket, Key=action.key)
            for marker in keys.getlist(action.key, [])[-1:]:
                marker.last_modified = now.replace(tzinfo=None)
        case "move":
            for version in keys.getlist(action.key, []):
                if str(version.version_id) == action.id or action.id == "null":
                    version._storage_class = action.storage_class
