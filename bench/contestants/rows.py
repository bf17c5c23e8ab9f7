"""A history that keeps its rows to itself: what is measured is the backup or the restore."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rollbook.engine.history import History
from rollbook.engine.rows import Update


class Rows(History):
    """The rows of one process."""

    def __init__(self) -> None:
        super().__init__(None, "", 1)
        self._rows: dict[str, dict[str, Any]] = {}

    def recall(self, name: str) -> dict[str, Any] | None:
        return self._rows.get(name)

    def rows(self) -> Iterator[dict[str, Any]]:
        yield from list(self._rows.values())

    def update(
        self,
        row_id: str,
        values: Any,
        condition: str,
        operands: Any,
        *,
        remove: str = "",
        once: Any = None,
        add: str = "",
    ) -> Update:
        row = self._rows.setdefault(row_id, {"id": row_id})
        row |= (once or {}) | values
        row |= {add: row.get(add, 0) + 1} if add else {}
        row.pop(remove, None)
        return Update(dict(row), granted=True)
