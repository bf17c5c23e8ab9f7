"""A server that plays recorded pages and swallows writes, faster than any of those who are measured.

`python -m bench.replay KIND PAGES [different]` listens on a free port of the loopback interface, prints it, and ends
with its standard input. It answers what a backup and a restore ask of DynamoDB, S3, SES and EventBridge. With
`different` no page comes twice, and the backup of just this table is in the bucket.
"""

from __future__ import annotations

import json
import re
import socket
import sys
import threading
import zlib
from collections.abc import Callable
from datetime import UTC, datetime

from bench import pages
from rollbook.engine.dynamodb.scan import Page
from rollbook.engine.formats import compression, document

TABLE = "studentData"
# It is there once it was created.
RESTORED = "restored"
REGION = "ap-southeast-1"
DOCUMENT = "backup.json.gz"
_DESCRIPTION = {
    "TableName": TABLE,
    "TableArn": f"arn:aws:dynamodb:{REGION}:123456789012:table/{TABLE}",
    "TableId": "12345678-1234-1234-1234-123456789012",
    "TableStatus": "ACTIVE",
    "KeySchema": [{"AttributeName": "studentid", "KeyType": "HASH"}],
    "AttributeDefinitions": [{"AttributeName": "studentid", "AttributeType": "S"}],
    "BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"},
    "ProvisionedThroughput": {"ReadCapacityUnits": 0, "WriteCapacityUnits": 0, "NumberOfDecreasesToday": 0},
    "CreationDateTime": 1_700_000_000.0,
}
_ANSWERS: dict[bytes, object] = {
    b"DescribeContinuousBackups": {
        "ContinuousBackupsDescription": {
            "ContinuousBackupsStatus": "ENABLED",
            "PointInTimeRecoveryDescription": {"PointInTimeRecoveryStatus": "ENABLED"},
        }
    },
    b"DescribeTimeToLive": {"TimeToLiveDescription": {"TimeToLiveStatus": "DISABLED"}},
    b"ListTagsOfResource": {"Tags": []},
    b"ListTables": {"TableNames": [TABLE]},
    b"BatchWriteItem": {"UnprocessedItems": {}},
    b"PutEvents": {"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]},
}
_NUMBER = re.compile(rb'"LAST(\d+)"')
_RANGE = re.compile(rb"(?i)\r\nrange: bytes=(\d+)-(\d+)")
_SEGMENT = re.compile(rb'"(Segment|TotalSegments)"\s*:\s*(\d+)')


class Replay:
    """What is played.

    Arguments:
        kind: of `pages.KINDS`.
        count: how many pages the table has.
        is_different: no page comes twice, and there is a backup.
    """

    def __init__(self, kind: str, count: int, *, is_different: bool = False) -> None:
        made = pages.items(kind, count if is_different else pages.DIFFERENT)
        self.document = _document(made) if is_different else b""
        self._count = count
        # The answer up to the key of the next page, and its CRC, to go on from.
        self._heads = [
            b'{"Count":%d,"ScannedCount":%d,"ConsumedCapacity":{"TableName":"%s","CapacityUnits":128.5},"Items":['
            % (len(found), len(found), TABLE.encode())
            + b",".join(found)
            + b"]"
            for found in made
        ]
        self._crcs = [zlib.crc32(head) for head in self._heads]
        self._is_restored = False
        self._description: dict[str, dict[str, object]] = {
            "Table": _DESCRIPTION
            | {"TableSizeBytes": count * pages.PAGE_BYTES, "ItemCount": sum(map(len, made)) * count // len(made)}
        }

    def scan(self, body: bytes) -> tuple[bytes, bytes, int]:
        """Return a page in two parts and its CRC."""
        segment, segments = 0, 1
        for name, value in _SEGMENT.findall(body):
            if name == b"Segment":
                segment = int(value)
            else:
                segments = int(value)
        last = _NUMBER.search(body)
        number = int(last[1]) + 1 if last else self._count * segment // segments
        end = self._count * (segment + 1) // segments
        tail = b"}" if number + 1 >= end else b',"LastEvaluatedKey":{"studentid":{"S":"LAST%d"}}}' % number
        which = number % len(self._heads)
        return self._heads[which], tail, zlib.crc32(tail, self._crcs[which])

    def describe(self, body: bytes) -> object | None:
        """Return the answer to DescribeTable, or None if there is no such table."""
        if RESTORED.encode() not in body:
            return self._description
        return {"Table": self._description["Table"] | {"TableName": RESTORED}} if self._is_restored else None

    def create(self) -> object:
        """Return the answer to CreateTable."""
        self._is_restored = True
        return {"TableDescription": self._description["Table"] | {"TableName": RESTORED}}


def _document(made: list[list[bytes]]) -> bytes:
    now = datetime.now(UTC)
    table = {
        "keySchema": _DESCRIPTION["KeySchema"],
        "attributeDefinitions": _DESCRIPTION["AttributeDefinitions"],
    }
    header = document.Header(document.FORMAT, "schedule#replay#now", table, now)
    chunks = document.Writer().chunks(header, (Page(found, 128.5) for found in made), lambda: now)
    return b"".join(compression.compressed(chunks, "gzip"))


def _serve(connection: socket.socket, replay: Replay) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    buffer = bytearray()
    sink = bytearray(1 << 20)
    with connection:
        while True:
            while (end := buffer.find(b"\r\n\r\n")) < 0:
                received = connection.recv(65536)
                if not received:
                    return
                buffer += received
            head = bytes(buffer[:end])
            del buffer[: end + 4]
            fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
            if fields.get(b"expect") == b"100-continue":
                connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            length = int(fields.get(b"content-length", b"0"))
            body = bytes(buffer[:length])
            del buffer[:length]
            left = length - len(body)
            target = re.search(rb"(?i)x-amz-target: (?:DynamoDB_20120810|AWSEvents)\.(\w+)", head)
            if target and target[1] != b"BatchWriteItem":
                while left:
                    received = connection.recv(left)
                    body += received
                    left -= len(received)
            while left:
                left -= connection.recv_into(sink, min(left, len(sink)))
            _answer(connection, replay, head, target[1] if target else b"", body)


def _answer(connection: socket.socket, replay: Replay, head: bytes, operation: bytes, body: bytes) -> None:
    if operation == b"Scan":
        first, tail, crc = replay.scan(body)
        _send(connection, b"application/x-amz-json-1.0", first, tail, b"x-amz-crc32: %d\r\n" % crc)
    elif operation:
        answer = _ANSWERS.get(operation, {"Attributes": {}})
        if operation == b"DescribeTable":
            answer = replay.describe(body)
        elif operation == b"CreateTable":
            answer = replay.create()
        status = b"200 OK" if answer else b"400 Bad Request"
        encoded = json.dumps(answer or {"__type": "ResourceNotFoundException"}).encode()
        checksum = b"x-amz-crc32: %d\r\n" % zlib.crc32(encoded)
        _send(connection, b"application/x-amz-json-1.0", encoded, b"", checksum, status)
    elif head.startswith((b"HEAD", b"GET")):
        found = _RANGE.search(head)
        part = replay.document[int(found[1]) : int(found[2]) + 1] if found else replay.document
        if head.startswith(b"HEAD"):
            connection.sendall(b'HTTP/1.1 200 OK\r\nETag: "1"\r\nContent-Length: %d\r\n\r\n' % len(part))
        else:
            _send(connection, b"application/gzip", part, b"", b'ETag: "1"\r\n')
    else:
        line = head.split(b"\r\n", 1)[0]
        xml = b'{"MessageId":"1"}' if b"/v2/email" in line else b""
        if b"POST" in line and b"uploads" in line:
            xml = b"<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>"
        elif b"POST" in line and b"uploadId" in line:
            xml = b"<CompleteMultipartUploadResult><ETag>1</ETag></CompleteMultipartUploadResult>"
        _send(connection, b"application/xml", xml, b"", b'ETag: "1"\r\nx-amz-checksum-crc32: AAAAAA==\r\n')


def _send(
    connection: socket.socket, kind: bytes, body: bytes, tail: bytes, more: bytes, status: bytes = b"200 OK"
) -> None:
    head = b"HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n%s\r\n" % (
        status,
        kind,
        len(body) + len(tail),
        more,
    )
    connection.sendall(head)
    connection.sendall(body)
    if tail:
        connection.sendall(tail)


def _accept(server: socket.socket, handle: Callable[[socket.socket], None]) -> None:
    while True:
        connection, _ = server.accept()
        threading.Thread(target=handle, args=(connection,), daemon=True).start()


def main() -> None:
    """Serve until the standard input ends."""
    kind, count = sys.argv[1], int(sys.argv[2])
    replay = Replay(kind, count, is_different=sys.argv[3:] == ["different"])
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(
            target=_accept, args=(server, lambda connection: _serve(connection, replay)), daemon=True
        ).start()
        print(server.getsockname()[1], flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
