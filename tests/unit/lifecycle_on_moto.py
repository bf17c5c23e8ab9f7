"""A bucket's lifecycle carried out on moto, as of any moment."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends

from infra.emulator import lifecycle


def run_lifecycle(s3: Any, bucket: str, now: datetime) -> list[lifecycle.Action]:
    """Carry out the lifecycle and return what was done. Uploads stay: moto does not know when one was begun."""
    configured = s3.get_bucket_lifecycle_configuration(Bucket=bucket)
    minimum = configured.get("TransitionDefaultMinimumObjectSize", lifecycle.ALL_CLASSES)
    due = lifecycle.plan(configured["Rules"], _versions(s3, bucket), [], now, minimum)
    for action in due:
        _carry_out(s3, bucket, action, now)
    return due


def _versions(s3: Any, bucket: str) -> list[lifecycle.Version]:
    found = []
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        for each in page.get("Versions", []):
            target = {"Bucket": bucket, "Key": each["Key"], "VersionId": each["VersionId"]}
            tags = s3.get_object_tagging(**{k: v for k, v in target.items() if v != "null"})["TagSet"]
            found.append(
                lifecycle.Version(
                    each["Key"],
                    each["VersionId"],
                    each["LastModified"],
                    each["Size"],
                    each["StorageClass"],
                    {tag["Key"]: tag["Value"] for tag in tags},
                    each["IsLatest"],
                )
            )
        found += [
            lifecycle.Version(
                each["Key"], each["VersionId"], each["LastModified"], is_latest=each["IsLatest"], is_marker=True
            )
            for each in page.get("DeleteMarkers", [])
        ]
    return sorted(found, key=lambda version: (version.key, version.is_latest, version.modified), reverse=True)


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
