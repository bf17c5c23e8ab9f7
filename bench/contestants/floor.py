"""The least that a backup has to do, over plain sockets and without signing: `… floor ADDRESS LEVEL`.

LEVEL is `receive`, which is all that it does then (the server's own rate); `bare`, with the CRC, SHA-256 and gzip; or
`split`, with the items told apart as well.
"""

from __future__ import annotations

import hashlib
import re
import socket
import sys
import zlib
from io import IOBase

import msgspec

from rollbook.engine.formats import compression

_LAST = re.compile(rb'"LAST(\d+)"')
_PART_BYTES = 5 * 1024 * 1024


class _Page(msgspec.Struct):
    items: list[msgspec.Raw] = msgspec.field(name="Items")


def main() -> None:
    """Read all pages once."""
    address, level = sys.argv[1:]
    host, _, port = address.removeprefix("http://").partition(":")
    compressor = compression.compressor("gzip")
    decode = msgspec.json.Decoder(_Page).decode
    digest = hashlib.sha256()
    part = bytearray()
    items = 0
    with socket.create_connection((host, int(port))) as connection, connection.makefile("rb", 1 << 20) as stream:
        start = b""
        while True:
            body = b'{"TableName":"studentData"%s}' % start
            head = b"POST / HTTP/1.1\r\nX-Amz-Target: DynamoDB_20120810.Scan\r\nContent-Length: %d\r\n\r\n" % len(body)
            connection.sendall(head + body)
            page = _receive(stream, is_checked=level != "receive")
            last = _LAST.search(page, len(page) - 200)
            if level == "split":
                found = decode(page).items
                items += len(found)
                page = b",\n".join(found)
            if level != "receive":
                digest.update(page)
                part += compressor.compress(page)
            if len(part) >= _PART_BYTES:
                _send(connection, stream, part)
                part = bytearray()
            if not last:
                break
            start = b',"ExclusiveStartKey":{"studentid":{"S":"%s"}}' % last[0].strip(b'"')
        part += compressor.flush()
        _send(connection, stream, part)
    print(items)


def _receive(stream: IOBase, *, is_checked: bool) -> bytes:
    fields = {}
    while line := stream.readline().strip():
        name, _, value = line.partition(b": ")
        fields[name.lower()] = value
    body: bytes = stream.read(int(fields[b"content-length"]))
    if is_checked and b"x-amz-crc32" in fields and zlib.crc32(body) != int(fields[b"x-amz-crc32"]):
        raise ValueError("the page is damaged")
    return body


def _send(connection: socket.socket, stream: IOBase, part: bytearray) -> None:
    connection.sendall(b"PUT /x HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(part))
    connection.sendall(part)
    _receive(stream, is_checked=False)


if __name__ == "__main__":
    main()
