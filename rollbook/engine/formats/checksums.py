"""The digest of a document, and the checksums of its blocks."""

from __future__ import annotations

import hashlib
import zlib

# 4 GB have 4,000 blocks, whose checksums take 44 KB in the footer.
BLOCK_BYTES = 1024 * 1024


class Checksums:
    """The SHA-256 of bytes that arrive in pieces, and the CRC32 of each of their blocks."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self._blocks: list[str] = []
        self._crc32 = 0
        self._filled = 0

    def update(self, piece: bytes) -> None:
        """Add bytes."""
        self._sha256.update(piece)
        rest = memoryview(piece)
        while rest:
            part = rest[: BLOCK_BYTES - self._filled]
            self._crc32 = zlib.crc32(part, self._crc32)
            self._filled += len(part)
            rest = rest[len(part) :]
            if self._filled == BLOCK_BYTES:
                self._blocks.append(f"{self._crc32:08x}")
                self._crc32 = self._filled = 0

    def blocks(self) -> list[str]:
        """Return the CRC32 of each block in hexadecimal. The last block may be shorter."""
        return [*self._blocks, f"{self._crc32:08x}"] if self._filled else list(self._blocks)

    def sha256(self, last: bytes) -> str:
        """Return the SHA-256 of all bytes and of some more, which belong to no block."""
        digest = self._sha256.copy()
        digest.update(last)
        return digest.hexdigest()
