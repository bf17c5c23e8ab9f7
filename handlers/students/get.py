"""`GET /students`: returns the records in pages."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

import boto3
from aws_lambda_powertools import Logger
from boto3.dynamodb.types import Binary, TypeDeserializer

from handlers import http
from rollbook.contract.environment import GetStudents

environment = GetStudents.read()
logger = Logger(service="students")
table = boto3.client("dynamodb")
_deserialize = TypeDeserializer().deserialize
_DEFAULT_LIMIT = 100
# A token is a key of the table: {"studentid":{"S":…}}.
_TOKEN_NESTING = 2
_MAX_LIMIT = 1000
# Lambda's response is limited to 6 MB (Lambda Developer Guide, "Quotas"). A page of Scan adds at most 1 MB.
_ENOUGH_BYTES = 4_000_000


@logger.inject_lambda_context(correlation_id_path="requestContext.requestId")
def handler(event: http.Event, context: Any) -> dict[str, Any]:
    """Return `{"students": […], "next": token or null}`. Query parameters: `limit` (1 to 1,000) and `next`."""
    try:
        limit = _limit(http.parameter(event, "limit"))
        start = _start(http.parameter(event, "next"))
    except http.Refusal as refusal:
        return http.refuse(refusal, origin=environment.allowed_origin)
    items, last = _page(limit, start)
    students = [{name: _plain(_deserialize(value)) for name, value in item.items()} for item in items]
    token = base64.urlsafe_b64encode(json.dumps(last).encode()).decode() if last else None
    return http.answer(200, {"students": students, "next": token}, origin=environment.allowed_origin)


def _page(limit: int, start: dict[str, Any] | None) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    items: list[dict[str, Any]] = []
    size = 0
    while True:
        start_key = {"ExclusiveStartKey": start} if start else {}
        page = table.scan(TableName=environment.table_name, Limit=limit - len(items), **start_key)
        items += page["Items"]
        size += int(page["ResponseMetadata"]["HTTPHeaders"].get("content-length", 0))
        start = page.get("LastEvaluatedKey")
        if not start or len(items) >= limit or size >= _ENOUGH_BYTES:
            return items, start


def _limit(text: str | None) -> int:
    if text is None:
        return _DEFAULT_LIMIT
    if not (len(text) <= len(str(_MAX_LIMIT)) and text.isascii() and text.isdigit() and 1 <= int(text) <= _MAX_LIMIT):
        raise http.Refusal(400, f"limit is {text[:20]!r}; it must be a number from 1 to {_MAX_LIMIT}.")
    return int(text)


def _start(token: str | None) -> dict[str, Any] | None:
    if not token:
        return None
    try:
        raw = base64.b64decode(token, altchars=b"-_", validate=True)
        # Python's parser fails on deeply nested text, at a depth that differs between versions.
        key: Any = json.loads(raw.decode()) if http.nesting(raw) <= _TOKEN_NESTING else None
    except (binascii.Error, ValueError):
        key = None
    match key:
        case {"studentid": {"S": str(value)}} if value and len(key) == len(key["studentid"]) == 1:
            return {"studentid": {"S": value}}
    raise http.Refusal(400, "next is not a token of this API; omit it to get the first page.")


def _plain(value: Any) -> Any:
    """Return a value that JSON can represent: sets become sorted lists, bytes become Base64."""
    if isinstance(value, Binary | bytes):
        return base64.b64encode(bytes(value)).decode()
    if isinstance(value, set):
        return sorted(_plain(item) for item in value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return value
