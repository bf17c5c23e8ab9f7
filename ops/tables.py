"""Rows for people: columns where they fit the terminal, one line for each value where they do not."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

from ops.console import out, printable

_GAP = "  "


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Arguments:
        values: one for each column.
        style: of the whole row, on a terminal.
        notes: lines below the row.
    """

    values: Sequence[object]
    style: str = ""
    notes: Sequence[str] = ()


def show(columns: Sequence[str], rows: Sequence[Row], *, numbers: Collection[str] = ()) -> None:
    """Print rows without cutting a value. A pipe or a file always gets columns.

    Arguments:
        numbers: the columns that are aligned to the right.
    """
    cells = [[_one_line(value) for value in row.values] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(columns, *cells, strict=True)]
    is_wide = sum(widths) + len(_GAP) * (len(widths) - 1) > out.width
    if out.is_terminal and is_wide:
        _show_records(columns, rows, cells)
        return
    right = [name in numbers for name in columns]
    out.print(Text(_aligned(columns, widths, right), style="bold"))
    for row, values in zip(rows, cells, strict=True):
        out.print(Text(_aligned(values, widths, right), style=row.style))
        for line in row.notes:
            out.print(Text(f"{_GAP}{_one_line(line)}", style=row.style))


def show_facts(facts: Sequence[tuple[str, object]], *, styles: Mapping[str, str] | None = None) -> None:
    """Print names and values, one pair a line.

    Arguments:
        styles: of values, by name.
    """
    width = max((cell_len(name) for name, _ in facts), default=0)
    for name, value in facts:
        out.print(Text.assemble((_padded(name, width), "bold"), _GAP, (_one_line(value), (styles or {}).get(name, ""))))


def _show_records(columns: Sequence[str], rows: Sequence[Row], cells: Sequence[Sequence[str]]) -> None:
    width = max(map(cell_len, columns))
    for number, (row, values) in enumerate(zip(rows, cells, strict=True)):
        if number:
            out.print()
        for name, value in zip(columns, values, strict=True):
            out.print(Text.assemble((_padded(name, width), "bold"), _GAP, (value, row.style)))
        for line in row.notes:
            out.print(Text(f"{_GAP}{_one_line(line)}", style=row.style))


def _aligned(values: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    def padded() -> Iterator[str]:
        for value, width, is_right in zip(values, widths, right, strict=True):
            yield " " * (width - cell_len(value)) + value if is_right else _padded(value, width)

    return _GAP.join(padded()).rstrip()


def _padded(text: str, width: int) -> str:
    return text + " " * (width - cell_len(text))


def _one_line(value: object) -> str:
    return printable(" ".join(str(value).split("\n"))).replace("\t", " ")
