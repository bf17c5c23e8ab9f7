"""Each row of docs/emulator.md has a source, a place and a test, and both exist."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from ops.console import ROOT

_PAGE = ROOT / "docs" / "emulator.md"


def rows() -> Iterator[list[str]]:
    for line in _PAGE.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and cells[0] not in {"AWS", "---"}:
            yield cells


@pytest.mark.parametrize("row", list(rows()), ids=lambda row: row[0][:60])
def test_a_row_names_its_source_its_place_and_its_test(row: list[str]) -> None:
    assert len(row) == 5, f"five columns are wanted: {row}"
    assert all(row), f"a cell is empty: {row}"
    _, _, _, place, test = row
    for path in re.findall(r"`([\w./-]+\.py)`", place):
        assert (ROOT / path).is_file(), f"there is no {path}"
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", test)
    assert named, f"the row names no test: {test}"
    for path, name in named:
        assert (ROOT / path).is_file(), f"there is no {path}"
        assert not name or f"def {name}(" in (ROOT / path).read_text("utf-8"), f"{path} has no {name}"
