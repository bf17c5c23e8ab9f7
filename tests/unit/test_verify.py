"""A backup document is whole, or the first damage is named."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollbook.engine.dynamodb.scan import Page
from rollbook.engine.formats import document, lines

NOW = datetime(2025, 7, 8, tzinfo=UTC)


def made(count: int = 3) -> bytes:
    lines = [b'{"studentid":{"S":"SV%03d"},"n":{"N":"1"}}' % number for number in range(count)]
    pages = [Page(lines[start : start + 2], 0.5) for start in range(0, count, 2)]
    header = document.Header(document.FORMAT, "schedule#t#now", {"name": "t"}, NOW)
    return b"".join(document.Writer().chunks(header, pages, lambda: NOW))


def pieces(whole: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(whole), size):
        yield whole[start : start + size]


def verified_of(chunks: Iterable[bytes]) -> lines.Verified:
    reading = document.items(chunks)
    while True:
        try:
            next(reading)
        except StopIteration as end:
            found: lines.Verified = end.value
            return found


@pytest.mark.parametrize("count", [0, 1, 2, 3, 50])
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_what_was_written_is_whole_however_it_is_cut_into_pieces(count: int, size: int) -> None:
    whole = made(count)
    verified = verified_of(pieces(whole, size))
    assert (verified.items, verified.bytes) == (count, len(whole))
    assert document.header(pieces(whole, size)).table == {"name": "t"}


@pytest.mark.parametrize(
    ("old", "new", "damage"),
    [
        (b"SV001", b'SV"01', "item 2 (bytes "),
        (b'"S":"SV002"', b'"X":"SV002"', "its attribute 'studentid' does not have exactly one DynamoDB type: ['X']"),
        (b'SV000"},"n":{"N":"1"}},', b'SV000"},"n":{"N":"1"}}', "the comma at its end is missing"),
        (b'SV002"},"n":{"N":"1"}}', b'SV002"},"n":{"N":"1"}},', "it is the last item and ends with a comma"),
        (b"SV001", b"SV009", "items 1 to 3 (bytes 0 to "),
        (b'"name":"t"', b'"name":"u"', "items 1 to 3 (bytes 0 to "),
        (b'"isConsistent":false', b'"isConsistent":true', "items 1 to 3 (bytes 0 to "),
        (b'"completedAt":"20', b'"completedAt":"19', "the SHA-256 of all before it is"),
        (b'"itemCount":3', b'"itemCount":4', "it has 3 items, but its footer says 4"),
        (b"rollbook-backup/2", b"rollbook-backup/9", "its format is 'rollbook-backup/9'"),
        (b'"items":[', b'"items":{', "is not a header"),
        (b'"completedAt"', b'"completed"', "its last line (from byte"),
        (b'"}\n', b'"}\nmore', "there is data after its footer: b'more'"),
    ],
)
def test_the_first_damage_is_named(old: bytes, new: bytes, damage: str) -> None:
    whole = made()
    assert whole.count(old) == 1
    with pytest.raises(lines.Corrupted) as found:
        verified_of([whole.replace(old, new)])
    assert damage in str(found.value)


def test_the_range_of_a_damaged_item_is_that_of_its_line() -> None:
    whole = made().replace(b"SV001", b'SV"01')
    start = whole.index(b'{"studentid":{"S":"SV"01')
    end = whole.index(b"\n", start) - 1
    with pytest.raises(lines.Corrupted) as found:
        verified_of(pieces(whole, 10))
    assert str(found.value).startswith(f"item 2 (bytes {start} to {end}) is damaged: JSON is malformed")


def test_a_missing_item_and_a_swapped_one_are_found() -> None:
    parts = made(6).split(b"\n")
    for changed in (parts[:2] + parts[3:], [*parts[:2], parts[3], parts[2], *parts[4:]]):
        with pytest.raises(lines.Corrupted):
            verified_of([b"\n".join(changed)])


def test_every_cut_is_found() -> None:
    whole = made()
    for length in range(len(whole) - 1):
        with pytest.raises(lines.Corrupted):
            verified_of([whole[:length]])


WHOLE = made(20)
STARTED = WHOLE.index(b'"items":[\n') + len(b'"items":[\n')


@given(st.integers(STARTED, WHOLE.index(b"\n],") - 1), st.integers(0, 7))
def test_every_flipped_bit_of_an_item_is_found(position: int, bit: int) -> None:
    damaged = bytearray(WHOLE)
    damaged[position] ^= 1 << bit
    with pytest.raises(lines.Corrupted):
        verified_of(pieces(bytes(damaged), 64))


def test_a_line_without_end_does_not_fill_the_memory() -> None:
    def endless() -> Iterator[bytes]:
        yield WHOLE[:STARTED]
        while True:
            yield b"x" * (1 << 20)

    with pytest.raises(lines.Corrupted, match="no item is that long"):
        verified_of(endless())
