"""Changes one tag of an object. S3's PutObjectTagging replaces all tags, so they are read, changed and written."""

from __future__ import annotations

from typing import Any


def read(s3: Any, bucket: str, key: str) -> dict[str, str]:
    """Return the tags of an object's current version.

    Raises:
        botocore.exceptions.ClientError: there is no such object, or access is denied.
    """
    found = s3.get_object_tagging(Bucket=bucket, Key=key)["TagSet"]
    return {tag["Key"]: tag["Value"] for tag in found}


def change(s3: Any, bucket: str, key: str, name: str, value: str | None) -> bool:
    """Set a tag of an object, or remove it, and return whether it was different. The other tags stay.

    Arguments:
        value: None to remove the tag.

    Raises:
        botocore.exceptions.ClientError: there is no such object, or access is denied.
    """
    before = read(s3, bucket, key)
    after = {each: text for each, text in before.items() if each != name} | ({} if value is None else {name: value})
    if after == before:
        return False
    tag_set = [{"Key": each, "Value": text} for each, text in after.items()]
    s3.put_object_tagging(Bucket=bucket, Key=key, Tagging={"TagSet": tag_set})
    return True
