"""The scan over a connection that fails: nothing is lost, nothing comes twice, nothing wrong is taken."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator

import pytest
from botocore import retryhandler
from botocore.exceptions import BotoCoreError, ClientError

from rollbook.engine.dynamodb import raw, scan
from rollbook.engine.dynamodb.rate_limiter import RateLimiter
from tests.unit.server import QuietHandler, serving

PAGES = 4
THROTTLED = json.dumps(
    {"__type": "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException", "message": "x"}
)
Fault = Callable[["Table", bytes], None]


def page(number: int) -> bytes:
    answer: dict[str, object] = {
        "Items": [{"id": {"S": f"{number}-{index}"}, "text": {"S": "x" * 100}} for index in range(50)],
        "Count": 50,
        "ScannedCount": 50,
        "ConsumedCapacity": {"TableName": "t", "CapacityUnits": 2.5},
    }
    if number < PAGES - 1:
        answer["LastEvaluatedKey"] = {"id": {"S": str(number)}}
    return json.dumps(answer).encode()


class Table(QuietHandler):
    """A table of four pages; the third is served through the faults, one each, before it is served well."""

    faults: list[Fault]

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        start = asked.get("ExclusiveStartKey")
        number = int(start["id"]["S"]) + 1 if start else 0
        if number == 2 and self.faults:
            self.faults.pop(0)(self, page(number))
        else:
            self.send(page(number))

    def send(self, body: bytes, *, crc_of: bytes | None = None, status: int = 200, length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.0")
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.send_header("x-amz-crc32", str(zlib.crc32(body if crc_of is None else crc_of)))
        self.end_headers()
        self.wfile.write(body)


def flipped(table: Table, body: bytes) -> None:
    middle = len(body) // 2
    table.send(body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :], crc_of=body)


def truncated(table: Table, body: bytes) -> None:
    table.send(body[:-100], crc_of=body, length=len(body))
    table.close_connection = True


def shortened(table: Table, body: bytes) -> None:
    table.send(body[:-100], crc_of=body)


def reset(table: Table, body: bytes) -> None:
    table.connection.close()
    table.close_connection = True


def throttled(table: Table, body: bytes) -> None:
    table.send(THROTTLED.encode(), status=400)


def broken(table: Table, body: bytes) -> None:
    table.send(b'{"__type": "InternalServerError", "message": "x"}', status=500)


def refused(table: Table, body: bytes) -> None:
    table.send(b'{"__type": "AccessDeniedException", "message": "not any more"}', status=400)


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(retryhandler, "delay_exponential", lambda **_: 0.0)
    with serving(Table) as served:
        yield served


def scanned(address: str, *faults: Fault, segments: int = 1) -> list[scan.Page]:
    Table.faults = list(faults)
    client = raw.client(endpoint_url=address, region_name="ap-southeast-1")
    waited = [0.0]
    limiter = RateLimiter(sleep=lambda seconds: waited.append(waited.pop() + seconds), clock=lambda: waited[0])
    return list(scan.pages(client, "t", segments=segments, limiter=limiter))


def ids(pages: list[scan.Page]) -> list[str]:
    return [json.loads(bytes(found))["id"]["S"] for page in pages for found in page.items]


WHOLE = [f"{number}-{index}" for number in range(PAGES) for index in range(50)]


@pytest.mark.parametrize("fault", [flipped, truncated, shortened, reset, throttled, broken])
def test_a_fault_is_tried_again_until_the_page_is_whole(address: str, fault: Fault) -> None:
    pages = scanned(address, *[fault] * 3)
    assert ids(pages) == WHOLE
    assert sum(page.read_units for page in pages) == PAGES * 2.5


@pytest.mark.parametrize("fault", [flipped, truncated, shortened, reset, throttled, broken])
def test_a_fault_that_stays_is_an_error_and_never_a_page(address: str, fault: Fault) -> None:
    with pytest.raises((BotoCoreError, ClientError)):
        scanned(address, *[fault] * 2000)


def test_an_answer_that_is_no_answer_with_a_right_crc_is_an_error(address: str) -> None:
    with pytest.raises(scan.ScanError, match="scan of t with 9 bytes that cannot be read"):
        scanned(address, lambda table, _: table.send(b'{"Items":'))


def miscounted(table: Table, body: bytes) -> None:
    table.send(body.replace(b'"Count": 50, "Sc', b'"Count": 51, "Sc'))


def test_a_page_with_fewer_items_than_it_counts_is_an_error(address: str) -> None:
    with pytest.raises(scan.ScanError, match="with 50 of 51 items"):
        scanned(address, miscounted)


@pytest.mark.parametrize("mode", ["standard", "adaptive"])
def test_the_retry_mode_checks_the_crc(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_RETRY_MODE", mode)
    monkeypatch.setenv("AWS_NEW_RETRIES_2026", "true")
    aws = raw.Aws(region_name="eu-central-1")
    for client in (aws.dynamodb, aws.client("s3")):
        assert client.meta.config.retries["mode"] == "legacy"


def test_a_permission_that_is_lost_midway_is_an_error_at_once(address: str) -> None:
    with pytest.raises(ClientError, match="not any more"):
        scanned(address, refused, refused)
    assert Table.faults == [refused]
