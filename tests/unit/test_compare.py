"""Items are the same however they are written, and two sets of them are compared in bounded memory."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollbook.engine import comparison as compare
from rollbook.engine import fingerprints


def encoded(value: Any) -> bytes:
    return json.dumps(value).encode()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": {"S": "x"}, "b": {"S": "y"}}, {"b": {"S": "y"}, "a": {"S": "x"}}),
        ({"a": {"SS": ["x", "y"]}}, {"a": {"SS": ["y", "x"]}}),
        ({"a": {"NS": ["1.0", "2E1"]}}, {"a": {"NS": ["20", "1"]}}),
        ({"a": {"N": "-0"}}, {"a": {"N": "0"}}),
        ({"a": {"N": "1E+3"}}, {"a": {"N": "1000"}}),
        ({"a": {"M": {"N": {"N": "0.10"}}}}, {"a": {"M": {"N": {"N": "0.1"}}}}),
    ],
)
def test_an_item_is_the_same_however_it_is_written(one: Any, other: Any) -> None:
    assert fingerprints.digest(encoded(one)) == fingerprints.digest(encoded(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": {"S": "1"}}, {"a": {"N": "1"}}),
        ({"a": {"L": [{"N": "1"}, {"N": "2"}]}}, {"a": {"L": [{"N": "2"}, {"N": "1"}]}}),
        ({"a": {"N": "1"}}, {"a": {"N": "1.00000000000000000000000000000000000001"}}),
        ({"a": {"S": '"N":"1.0"'}}, {"a": {"S": '"N":"1"'}}),
        ({"a": {"NULL": True}}, {}),
        ({"a": {"S": ""}}, {"a": {"B": ""}}),
    ],
)
def test_another_item_is_another(one: Any, other: Any) -> None:
    assert fingerprints.digest(encoded(one)) != fingerprints.digest(encoded(other))


def test_an_item_that_is_none_or_has_no_key_is_an_error() -> None:
    with pytest.raises(ValueError, match="it is not an item"):
        fingerprints.digest(b'{"a":{"X":"1"}}')
    with pytest.raises(ValueError, match="the key attributes id are missing"):
        fingerprints.fingerprint_of(["id"])(b'{"a":{"S":"1"}}')


tables = st.dictionaries(st.integers(0, 40), st.integers(0, 2), max_size=40)


def items(table: dict[int, int]) -> list[bytes]:
    made = [encoded({"id": {"S": str(key)}, "x": {"N": str(value)}}) for key, value in table.items()]
    random.Random(len(made)).shuffle(made)
    return made


def run(comparison: compare.Comparison, first: list[bytes], second: list[bytes]) -> compare.Outcome:
    fingerprint = fingerprints.fingerprint_of(["id"])
    comparison.read(map(fingerprint, first))
    return comparison.compare(map(fingerprint, second))


@given(tables, tables, st.sampled_from([200, 10_000]))
def test_the_differences_are_those_of_two_dictionaries(
    first: dict[int, int], second: dict[int, int], size: int
) -> None:
    whole, compare._LARGEST_FILE = compare._LARGEST_FILE, size
    try:
        with compare.Comparison() as comparison:
            made = items(first)
            outcome = run(comparison, made, items(second))
            found = {(d.kind, json.loads(d.key)["id"]["S"]) for d in comparison.differences()}
            for difference in comparison.differences():
                if difference.number >= 0:
                    assert json.loads(made[difference.number])["id"] == json.loads(difference.key)["id"]
    finally:
        compare._LARGEST_FILE = whole
    wanted = {("added", str(key)) for key in second.keys() - first.keys()}
    wanted |= {("removed", str(key)) for key in first.keys() - second.keys()}
    wanted |= {("changed", str(key)) for key in first.keys() & second.keys() if first[key] != second[key]}
    assert found == wanted
    assert outcome.is_equal is (first == second)
    assert (outcome.first, outcome.second) == (len(first), len(second))


def test_a_duplicate_key_is_an_error() -> None:
    twice = items({1: 1}) * 2
    for sides in ((twice, []), ([], twice)):
        with compare.Comparison() as comparison, pytest.raises(compare.Duplicate, match=r"contains the key .* twice"):
            run(comparison, *sides)
