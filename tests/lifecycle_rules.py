"""The lifecycle rules of the stack in the form of S3's API."""

from __future__ import annotations

from typing import Any


def api_rules(rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return Terraform's rules in the form of S3's API."""
    found = []
    for rule in rules:
        [of_filter] = rule["filter"]
        made: dict[str, Any] = {"ID": rule["id"], "Status": rule["status"]}
        if "and" in of_filter:
            [both] = of_filter["and"]
            of_tags = [{"Key": name, "Value": value} for name, value in both["tags"].items()]
            made["Filter"] = {"And": {"Prefix": both["prefix"], "Tags": of_tags}}
        else:
            made["Filter"] = {"Prefix": of_filter["prefix"]}
        names = {"days": "Days", "expired_object_delete_marker": "ExpiredObjectDeleteMarker"}
        made["Expiration"] = {names[name]: value for name, value in rule["expiration"][0].items()}
        for each in rule.get("noncurrent_version_expiration", []):
            made["NoncurrentVersionExpiration"] = {"NoncurrentDays": each["noncurrent_days"]}
        for each in rule.get("abort_incomplete_multipart_upload", []):
            made["AbortIncompleteMultipartUpload"] = {"DaysAfterInitiation": each["days_after_initiation"]}
        if rule["transition"]:
            made["Transitions"] = [
                {"Days": each["days"], "StorageClass": each["storage_class"]} for each in rule["transition"]
            ]
        found.append(made)
    return found
