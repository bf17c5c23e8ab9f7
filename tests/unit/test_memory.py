"""A scan's memory: DynamoDB counts a page by its own rules, and its JSON may be nine times as long."""

from __future__ import annotations

import json
import subprocess
import sys
import zlib

import pytest

from ops.console import ROOT
from tests.unit.server import QuietHandler, serving

# The function's other modules take 10 MB, and it must stay below 110 MB.
MOST_MB = 100
SEGMENTS = 2


def item_of(empty_texts: int) -> bytes:
    """DynamoDB counts a byte for an empty text in a list (Developer Guide, "DynamoDB item sizes and formats")."""
    return b'{"id":{"S":"%06d"},"list":{"L":[' + b",".join([b'{"S":""}'] * empty_texts) + b"]}}"


class Hostile(QuietHandler):
    """A table whose segments all have the same items."""

    item: bytes
    items: int
    items_of_a_page: int

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        first = int(asked["ExclusiveStartKey"]["id"]["S"]) + 1 if "ExclusiveStartKey" in asked else 0
        count = min(self.items_of_a_page, asked.get("Limit", self.items_of_a_page), self.items - first)
        items = b",".join([self.item % number for number in range(first, first + count)])
        body = b'{"Count":%d,"ConsumedCapacity":{"CapacityUnits":128.0},"Items":[' % count + items + b"]"
        if first + count < self.items:
            body += b',"LastEvaluatedKey":{"id":{"S":"%06d"}}' % (first + count - 1)
        body += b"}"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("x-amz-crc32", str(zlib.crc32(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.mark.parametrize(("empty_texts", "items"), [(4_000, 2_000), (350_000, 24)])
def test_items_whose_json_is_long_do_not_fill_the_memory(empty_texts: int, items: int) -> None:
    Hostile.item, Hostile.items, Hostile.items_of_a_page = item_of(empty_texts), items, 1024 * 1024 // empty_texts
    environ = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "PYTHONPATH": str(ROOT)}
    with serving(Hostile) as address:
        command = [sys.executable, "-m", "tests.unit.hostile", address]
        run = subprocess.run(command, env=environ, capture_output=True, check=True, cwd=ROOT)
    peak, found = map(int, run.stdout.split())
    assert found == SEGMENTS * items
    assert peak <= MOST_MB
