"""The least that a backup has to do: receive the bytes, check their CRC, hash, compress, send them off.

`python -m bench.contestants.floor ADDRESS COMPRESSION`: plain sockets, no signing, no splitting into items.
"""

from __future__ import annotations

import hashlib
import re
import socket
import sys
import zlib
from typing import cast

from handlers.backups import compression

_LAST = re.compile(rb'"LAST(\d+)"')
_SCAN = b"POST / HTTP/1.1\r\nX-Amz-Target: DynamoDB_20120810.Scan\r\nContent-Length: %d\r\n\r\n"
_PART_BYTES = 5 * 1024 * 1024


def main() -> None:
    """Read all pages once."""
    address, method = sys.argv[1:]
    host, _, port = address.removeprefix("http://").partition(":")
    compressor = compression.compressor(cast(compression.Method, method))
    digest = hashlib.sha256()
    part = bytearray()
    with socket.create_connection((host, int(port))) as connection:
        stream = connection.makefile("rb", buffering=1 << 20)
        start = b""
        while True:
            body = b'{"TableName":"studentData"%s}' % start
            connection.sendall(
                b"POST / HTTP/1.1\r\nX-Amz-Target: DynamoDB_20120810.Scan\r\nContent-Length: %d\r\n\r\n" % len(body)
                + body
            )
            page = _receive(stream)
            digest.update(page)
            part += compressor.compress(page)
            if len(part) >= _PART_BYTES:
                _send(connection, stream, part)
                part = bytearray()
            last = _LAST.search(page, len(page) - 200)
            if not last:
                break
            start = b',"ExclusiveStartKey":{"studentid":{"S":"%s"}}' % last[0].strip(b'"')
        part += compressor.flush()
        _send(connection, stream, part)
    print(digest.hexdigest(), file=sys.stderr)


def _receive(stream: object) -> bytes:
    fields = {}
    while line := stream.readline().strip():  # type: ignore[attr-defined]
        name, _, value = line.partition(b": ")
        fields[name.lower()] = value
    body: bytes = stream.read(int(fields[b"content-length"]))  # type: ignore[attr-defined]
    if b"x-amz-crc32" in fields and zlib.crc32(body) != int(fields[b"x-amz-crc32"]):
        raise ValueError("the page is damaged")
    return body


def _send(connection: socket.socket, stream: object, part: bytearray) -> None:
    connection.sendall(b"PUT /x HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(part))
    connection.sendall(part)
    _receive(stream)


if __name__ == "__main__":
    main()
