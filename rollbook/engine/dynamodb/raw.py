"""A DynamoDB client whose items are bytes: it does not parse the items of Scan, nor build those of BatchWriteItem.

PutItem, UpdateItem and DeleteItem take a whole request as bytes, too.

botocore still signs, retries, checks the CRC and finds the endpoint. msgspec finds where each item begins and ends and
does not convert it. So a backup and a restored table have each item exactly as DynamoDB wrote it: all ten types, every
digit.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import botocore.session
import msgspec
from botocore.config import Config
from botocore.parsers import JSONParser, ResponseParserFactory

from rollbook.contract import pauses
from rollbook.engine.dynamodb.rate_limiter import THROTTLING


class _Capacity(msgspec.Struct):
    units: float = msgspec.field(name="CapacityUnits", default=0.0)


class Scanned(msgspec.Struct):
    """The response of Scan."""

    items: list[msgspec.Raw] = msgspec.field(name="Items")
    count: int = msgspec.field(name="Count")
    last_key: dict[str, dict[str, str]] | None = msgspec.field(name="LastEvaluatedKey", default=None)
    capacity: _Capacity | None = msgspec.field(name="ConsumedCapacity", default=None)


class Request(msgspec.Struct):
    """One write of a batch: an item to put or the key of one to delete."""

    put: dict[str, msgspec.Raw] | None = msgspec.field(name="PutRequest", default=None)
    delete: dict[str, msgspec.Raw] | None = msgspec.field(name="DeleteRequest", default=None)


class Written(msgspec.Struct):
    """The response of BatchWriteItem: the unprocessed requests by table, and the consumed capacity."""

    unprocessed: dict[str, list[Request]] = msgspec.field(name="UnprocessedItems", default_factory=dict)
    capacity: list[_Capacity] = msgspec.field(name="ConsumedCapacity", default_factory=list)


# botocore builds its own user agent twice for each call, which takes a tenth of the time of a BatchWriteItem.
_USER_AGENT = "rollbook"
# Explicit, because the Lambda runtime determines botocore's version, and defaults differ between versions. Only this
# mode compares DynamoDB's answers with their CRC32 (botocore, `data/_retry.json`).
_RETRIES = {"mode": "legacy", "total_max_attempts": 5}
# DynamoDB's pauses double from 0.05 s to 3.2 s, 6 s in total. `RateLimiter` waits longer, and renews leases meanwhile.
_BATCH_RETRIES = {"mode": "legacy", "total_max_attempts": 8}
# The longest first pause of a retry (botocore, `data/_retry.json`); it doubles with each try.
_FIRST_PAUSE_SECONDS = {"dynamodb": 0.05}
_CHECKSUMS = {
    "request_checksum_calculation": "when_supported",
    "response_checksum_validation": "when_supported",
}
_DECODERS = {
    "ScanOutput": msgspec.json.Decoder(Scanned).decode,
    "BatchWriteItemOutput": msgspec.json.Decoder(Written).decode,
}
# The parameter that may carry a whole request as bytes, instead of its own value.
_WHOLE_BODIES = {"PutItem": "Item", "UpdateItem": "Key", "DeleteItem": "Key"}
# botocore validates this placeholder. The bytes of the batch replace it before the request is signed.
_PLACEHOLDER: list[dict[str, dict[str, dict[str, Any]]]] = [{"PutRequest": {"Item": {}}}]


class _Parser(JSONParser):  # type: ignore[misc]
    """botocore's JSON parser, with other decoders for Scan and BatchWriteItem."""

    def _handle_json_body(self, raw_body: bytes, shape: Any) -> Any:
        decode = _DECODERS.get(shape.name) if shape is not None else None
        if decode is None:
            return super()._handle_json_body(raw_body, shape)
        try:
            return {"Answer": decode(raw_body), "Indented": b"\n" in raw_body, "Bytes": len(raw_body)}
        except msgspec.DecodeError as error:
            # Not raised here: botocore checks the CRC after parsing and then repeats the request.
            return {"Fault": f"{len(raw_body):,} bytes that cannot be read: {error}"}


class _ParserFactory(ResponseParserFactory):  # type: ignore[misc]
    def create_parser(self, protocol_name: str) -> Any:
        return _Parser() if protocol_name == "json" else super().create_parser(protocol_name)


class Aws:
    """The clients of one process. They share a session, because each session loads AWS's endpoints (13 MB, 0.1 s).

    Arguments:
        options: arguments of `create_client`, such as `region_name` and `endpoint_url`.
    """

    def __init__(self, **options: Any) -> None:
        self._session = botocore.session.Session()
        self._session.register_component("response_parser_factory", _ParserFactory())
        self._options = options
        self.dynamodb = _with_batches(self._session, options)

    def client(self, service: str) -> Any:
        """Return a client of another service."""
        config = Config(retries=_RETRIES, **_CHECKSUMS)
        return _in_time(self._session.create_client(service, **({"config": config} | self._options)))


def client(**options: Any) -> Any:
    """Return a DynamoDB client whose `scan` returns bytes and whose `batch_write_item` accepts bytes."""
    return Aws(**options).dynamodb


def _with_batches(session: Any, options: dict[str, Any]) -> Any:
    made = session.create_client(
        "dynamodb",
        config=Config(retries=_BATCH_RETRIES, max_pool_connections=32, user_agent=_USER_AGENT, **_CHECKSUMS),
        **options,
    )
    made.meta.events.register("before-parameter-build.dynamodb.BatchWriteItem", _set_aside)
    made.meta.events.register("before-call.dynamodb.BatchWriteItem", _put_in)
    for operation, name in _WHOLE_BODIES.items():
        made.meta.events.register(
            f"before-parameter-build.dynamodb.{operation}", functools.partial(_set_body_aside, name=name)
        )
        made.meta.events.register(f"before-call.dynamodb.{operation}", _put_body_in)
    return _in_time(made)


def _in_time(made: Any) -> Any:
    """Refuse botocore's pauses that do not end before the invocation."""
    first = _FIRST_PAUSE_SECONDS.get(made.meta.service_model.service_name, 1.0)
    made.meta.events.register_first("needs-retry", functools.partial(_check_pause, first=first))
    return made


def _check_pause(response: Any, attempts: int, first: float, **_: Any) -> None:
    if response is None or response[0].status_code >= 500 or _is_throttled(response):
        pauses.check(first * 2 ** (attempts - 1))


def _is_throttled(response: Any) -> bool:
    return response[1].get("Error", {}).get("Code") in THROTTLING


def batch(table_name: str, requests: Sequence[bytes]) -> dict[str, bytes]:
    """Return the argument `RequestItems` of `batch_write_item`.

    Arguments:
        requests: up to 25 requests of `put` and `delete`.
    """
    return {table_name: b'{"RequestItems":{"%s":[%s]}' % (table_name.encode(), b",".join(requests))}


def put(item: bytes) -> bytes:
    """Return the request that puts an item."""
    return b'{"PutRequest":{"Item":%s}}' % item


def delete(key: bytes) -> bytes:
    """Return the request that deletes the item with a key."""
    return b'{"DeleteRequest":{"Key":%s}}' % key


def _set_aside(params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
    [(table_name, context["batch"])] = params["RequestItems"].items()
    params["RequestItems"] = {table_name: _PLACEHOLDER}


def _put_in(params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
    capacity = b',"ReturnConsumedCapacity":"TOTAL"}'
    params["body"] = context["batch"] + capacity


def _set_body_aside(params: dict[str, Any], context: dict[str, Any], *, name: str, **_: Any) -> None:
    if isinstance(params.get(name), bytes):
        context["body"] = params[name]
        params[name] = {}


def _put_body_in(params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
    if "body" in context:
        params["body"] = context["body"]
