"""S3: condition keys of object tags, and the lifecycle rules with tags that S3 refuses.

Sources: S3 User Guide, "Tagging and access control policies"; Service Authorization Reference, "Actions, resources, and
condition keys for Amazon S3".
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any
from urllib.parse import parse_qsl

from ministack.core import iam_evaluator
from ministack.services import s3

from infra.emulator.replacing import Original

_REQUEST_TAG, _REQUEST_TAG_KEYS = "s3:requestobjecttag/", "s3:requestobjecttagkeys"
_EXISTING_TAG = "s3:existingobjecttag/"
_WITH_REQUEST_TAGS = frozenset({"s3:PutObject", "s3:PutObjectTagging", "s3:PutObjectVersionTagging"})
# S3 does not support the existing tags for these two.
_WITHOUT_EXISTING_TAGS = frozenset({"s3:PutObject", "s3:DeleteObject"})
# MiniStack forgets the request after it has checked its signature.
_request: ContextVar[iam_evaluator.SignedRequest | None] = ContextVar("request", default=None)
_authenticate = Original(iam_evaluator, "authenticate")
_resolve_condition_key = Original(iam_evaluator, "_resolve_condition_key")
_rules_error = Original(s3, "_lifecycle_rules_error")


def install() -> None:
    """Complete MiniStack's IAM and S3."""
    _authenticate.replace(authenticate)
    _resolve_condition_key.replace(resolve_condition_key)
    _rules_error.replace(lifecycle_rules_error)


def authenticate(access_key_id: str, account_id: str) -> Any:
    """Check a request's signature, and store the request, which contains values of condition keys."""
    request = iam_evaluator._signed_request.get()
    if request is not None:
        _request.set(request)
    return _authenticate(access_key_id, account_id)


def resolve_condition_key(key: str, context: iam_evaluator.EvalContext) -> Any:
    """Return a condition key's value. Adds the tags of a request and those of its object."""
    name = key.lower()
    if name == _REQUEST_TAG_KEYS:
        return list(_requested(context)) or None
    if name.startswith(_REQUEST_TAG):
        return _requested(context).get(key[len(_REQUEST_TAG) :])
    if name.startswith(_EXISTING_TAG):
        return _existing(context).get(key[len(_EXISTING_TAG) :])
    return _resolve_condition_key(key, context)


def _requested(context: iam_evaluator.EvalContext) -> dict[str, str]:
    request = _request.get()
    if request is None or context.action not in _WITH_REQUEST_TAGS:
        return {}
    if "tagging" in request.query_params:
        tags: dict[str, str] = s3._parse_tags_xml(request.body) if request.body else {}
        return tags
    headers = {name.lower(): value for name, value in request.headers.items()}
    header = s3._merge_hoisted_amz_headers(headers, request.query_params).get("x-amz-tagging", "")
    return dict(parse_qsl(header, keep_blank_values=True))


def _existing(context: iam_evaluator.EvalContext) -> dict[str, str]:
    request = _request.get()
    bucket, _, key = context.resource_arn.removeprefix("arn:aws:s3:::").partition("/")
    if request is None or not key or context.action in _WITHOUT_EXISTING_TAGS:
        return {}
    tags: dict[str, str] = s3.object_tags_for_condition(bucket, key, request.query_params)
    return tags


def lifecycle_rules_error(rules: list[dict[str, Any]]) -> Any:
    """Refuse actions on uploads and delete markers in a rule with tags, because neither has tags.

    Sources: aws-samples/sample-spec-driven-presentation-maker pull request 267; S3 User Guide, "Lifecycle configuration
    elements".
    """
    for rule in rules:
        conditions = rule.get("Filter", {})
        has_tags = "Tag" in conditions or "Tags" in conditions.get("And", {})
        is_of_markers = rule.get("Expiration", {}).get("ExpiredObjectDeleteMarker")
        for part, is_given in (
            ("AbortIncompleteMultipartUpload", "AbortIncompleteMultipartUpload" in rule),
            ("ExpiredObjectDeleteMarker", is_of_markers),
        ):
            if has_tags and is_given:
                return s3._error("InvalidRequest", f"{part} cannot be specified with Tags.", 400)
    return _rules_error(rules)
