"""Rows are readable at 80 columns, whole in a pipe, and foreign text is never markup."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from ops import console, tables
from ops.tables import Row

KEY = "students-backup-20260210T070000-0123456789ab.json"
ROW = Row((KEY, "completed", "schedule", "scan", "1,000,000", "123,456,789"))
COLUMNS = ("Key", "Status", "Source", "Engine", "Items", "Bytes")


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Print on a terminal of some width, or into a pipe."""

    def show(width: int | None, *rows: Row, columns: tuple[str, ...] = COLUMNS) -> list[str]:
        written = io.StringIO()
        plain: dict[str, Any] = {"markup": False, "highlight": False, "emoji": False, "soft_wrap": True}
        out = Console(file=written, force_terminal=width is not None, width=width, color_system=None, **plain)
        for module in (console, tables):
            monkeypatch.setattr(module, "out", out)
        tables.show(columns, rows, numbers={"Items", "Bytes"})
        return written.getvalue().splitlines()

    return show


def test_rows_that_fit_are_columns(shown: Any) -> None:
    lines = shown(120, ROW, ROW)
    assert len(lines) == 3
    assert lines[0].split() == list(COLUMNS)


def test_rows_that_do_not_fit_are_one_line_for_each_value(shown: Any) -> None:
    lines = shown(80, ROW, ROW)
    assert len(lines) == 2 * len(COLUMNS) + 1
    assert f"Key     {KEY}" in lines
    assert "Status  completed" in lines
    assert max(map(cell_len, lines)) <= 80


def test_a_pipe_gets_columns_with_whole_values(shown: Any) -> None:
    long = Row(("k" * 300, *ROW.values[1:]), notes=["an error"])
    header, line, note = shown(None, long)
    assert line.split() == ["k" * 300, "completed", "schedule", "scan", "1,000,000", "123,456,789"]
    assert header.index("Status") == line.index("completed")
    assert note == "  an error"


def test_wide_characters_keep_the_columns_aligned(shown: Any) -> None:
    lines = shown(80, Row(("学生", "x")), Row(("ab", "y")), columns=("Name", "Class"))
    assert [cell_len(line[: line.index(end)]) for line, end in zip(lines[1:], "xy", strict=True)] == [6, 6]


def test_control_characters_are_escaped(shown: Any) -> None:
    [_, line] = shown(80, Row(("\x1b[2J\x07", "a\nb", "\u202e")), columns=("A", "B", "C"))
    assert line.split("  ") == [r"\x1b[2J\x07", "a b", r"\u202e"]


def test_letters_of_all_languages_stay(capsys: pytest.CaptureFixture[str]) -> None:
    console.say("Nguyễn Thị Đỗ 学生 e\u0301 :smile: [bold]")
    assert capsys.readouterr().out == "Nguyễn Thị Đỗ 学生 e\u0301 :smile: [bold]\n"


def test_the_words_of_an_error_are_not_markup(capsys: pytest.CaptureFixture[str]) -> None:
    console.error("[/x] [red]")
    console.note("[/x] [red]")
    assert capsys.readouterr().err == "error: [/x] [red]\n[/x] [red]\n"
