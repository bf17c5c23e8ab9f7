"""A table's items as bytes: pages of a Scan, split into items but not parsed.

botocore still signs, retries, checks the CRC and finds the endpoint; only the parsing of Scan's answer is replaced.
msgspec finds where each item begins and ends and copies nothing, so an item reaches the backup as DynamoDB wrote it:
all ten types, every digit, bit for bit.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import botocore.session
import msgspec
from botocore.config import Config
from botocore.parsers import JSONParser, ResponseParserFactory


class _Capacity(msgspec.Struct):
    units: float = msgspec.field(name="CapacityUnits", default=0.0)


class _Answer(msgspec.Struct):
    items: list[msgspec.Raw] = msgspec.field(name="Items")
    last_key: dict[str, dict[str, str]] | None = msgspec.field(name="LastEvaluatedKey", default=None)
    capacity: _Capacity | None = msgspec.field(name="ConsumedCapacity", default=None)


@dataclass(frozen=True)
class Page:
    """One page: its items, a line each and a comma between, and what reading them cost in read units."""

    lines: bytes
    count: int
    read_units: float


class ScanError(RuntimeError):
    """The service's answer cannot be read."""


_decode = msgspec.json.Decoder(_Answer).decode
_SEPARATOR = b",\n"


class _Parser(JSONParser):  # type: ignore[misc]
    """botocore's JSON parser, but for the body of a Scan."""

    def _handle_json_body(self, raw_body: bytes, shape: Any) -> Any:
        if shape is not None and shape.name == "ScanOutput":
            try:
                return {"Answer": _decode(raw_body), "Indented": b"\n" in raw_body}
            except msgspec.DecodeError as error:
                # Not raised here: botocore checks the CRC after parsing, and fetches a damaged body anew.
                return {"Fault": f"{len(raw_body):,} bytes that are no answer of Scan: {error}"}
        return super()._handle_json_body(raw_body, shape)


class _ParserFactory(ResponseParserFactory):  # type: ignore[misc]
    def create_parser(self, protocol_name: str) -> Any:
        return _Parser() if protocol_name == "json" else super().create_parser(protocol_name)


def client(**options: Any) -> Any:
    """Return a DynamoDB client whose `scan` hands out bytes; everything else is botocore's own.

    Arguments:
        options: what `create_client` takes, such as `region_name` and `endpoint_url`.
    """
    session = botocore.session.Session()
    session.register_component("response_parser_factory", _ParserFactory())
    return session.create_client("dynamodb", config=Config(retries={"max_attempts": 10}), **options)


def pages(dynamodb: Any, table_name: str) -> Iterator[Page]:
    """Yield all pages of a table that have items.

    Arguments:
        dynamodb: a client of `client`.

    Raises:
        botocore.exceptions.ClientError: DynamoDB refused, after all retries.
        ScanError: the service answered with what cannot be read, its CRC being right.
    """
    start: dict[str, Any] = {}
    while True:
        response = dynamodb.scan(TableName=table_name, ReturnConsumedCapacity="TOTAL", **start)
        if "Fault" in response:
            raise ScanError(f"DynamoDB answered the scan of {table_name} with {response['Fault']}")
        answer: _Answer = response["Answer"]
        items: list[Any] = answer.items
        if response["Indented"]:
            # DynamoDB sends no line breaks; where a server does, a line per item has to be made.
            items = [msgspec.json.format(bytes(item), indent=-1) for item in items]
        if items:
            yield Page(_SEPARATOR.join(items), len(items), answer.capacity.units if answer.capacity else 0.0)
        if not answer.last_key:
            return
        start = {"ExclusiveStartKey": {name: _key_value(value) for name, value in answer.last_key.items()}}


def _key_value(value: dict[str, str]) -> dict[str, Any]:
    return {"B": base64.b64decode(value["B"])} if "B" in value else dict(value)
