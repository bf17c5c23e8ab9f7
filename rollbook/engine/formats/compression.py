"""Compresses and decompresses streams of bytes with gzip (by isal if installed, otherwise by zlib) and zstd."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, Literal

gzip_library: Any = zlib
with suppress(ImportError):
    from isal import isal_zlib as gzip_library

Method = Literal["none", "gzip", "zstd"]
SUFFIXES: dict[Method, str] = {"none": "", "gzip": ".gz", "zstd": ".zst"}
# The fastest levels: the CPU time of a higher level costs more than a month of storing the bytes that it saves.
_GZIP_LEVEL = 1
_ZSTD_LEVEL = 1
# Selects gzip's header and trailer instead of zlib's (zlib manual, "windowBits").
_GZIP_WINDOW = 31
_PIECE_BYTES = 1 << 20


class CompressionError(ValueError):
    """The compressed stream is damaged."""


class Stored:
    """The compressor of the method `none`."""

    def compress(self, data: bytes) -> bytes:
        """Return the bytes unchanged."""
        return data

    def flush(self) -> bytes:
        """Return no bytes, because `compress` buffers none."""
        return b""


def compressor(method: Method) -> Any:
    """Return a compressor with the methods `compress` and `flush`."""
    if method == "gzip":
        return gzip_library.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
    if method == "zstd":
        from backports import zstd

        return zstd.ZstdCompressor(level=_ZSTD_LEVEL)
    return Stored()


def compressed(chunks: Iterable[bytes], method: Method) -> Iterator[bytes]:
    """Yield the chunks, compressed as one stream."""
    made = compressor(method)
    for chunk in chunks:
        yield made.compress(chunk)
    yield made.flush()


def method_of(key: str) -> Method:
    """Return the compression method that a key's suffix names."""
    return next((method for method, suffix in SUFFIXES.items() if suffix and key.endswith(suffix)), "none")


def decompressed(chunks: Iterable[bytes], method: Method) -> Iterator[bytes]:
    """Yield the decompressed bytes in pieces of at most 1 MiB. The method `none` yields the chunks unchanged.

    Raises:
        CompressionError: the stream is damaged or truncated.
    """
    if method == "none":
        yield from chunks
        return
    try:
        yield from (_gunzipped if method == "gzip" else _unzstd)(chunks)
    except _errors(method) as error:
        raise CompressionError(f"the {method} stream is damaged: {error}") from None


def _gunzipped(chunks: Iterable[bytes]) -> Iterator[bytes]:
    decoder: Any = None
    for chunk in chunks:
        data = chunk
        while data:
            if decoder is None or decoder.eof:  # a file may be several concatenated streams (RFC 1952, 2.2)
                decoder = gzip_library.decompressobj(_GZIP_WINDOW)
            yield decoder.decompress(data, _PIECE_BYTES)
            data = decoder.unused_data if decoder.eof else decoder.unconsumed_tail
    if decoder is not None and not decoder.eof:
        yield decoder.flush()
    if decoder is None or not decoder.eof:
        raise CompressionError("the gzip stream is truncated")


def _unzstd(chunks: Iterable[bytes]) -> Iterator[bytes]:
    from backports import zstd

    decoder: Any = None
    for chunk in chunks:
        data = chunk
        while data or not (decoder is None or decoder.eof or decoder.needs_input):
            if decoder is None or decoder.eof:
                decoder = zstd.ZstdDecompressor()
            yield decoder.decompress(data, _PIECE_BYTES)
            data = decoder.unused_data if decoder.eof else b""
    if decoder is None or not decoder.eof:
        raise CompressionError("the zstd stream is truncated")


def _errors(method: Method) -> tuple[type[Exception], ...]:
    if method == "gzip":
        return (zlib.error, gzip_library.error)
    from backports import zstd

    return (zstd.ZstdError,)
