"""A history that keeps its rows to itself: what is measured is the backup or the restore."""

from __future__ import annotations

from typing import Any

from rollbook.engine.history import History, Update


class Rows(History):
    """The rows of one process."""

    def __init__(self) -> None:
        super().__init__(None, "", 1)
        self._rows: dict[str, dict[str, Any]] = {}

    def recall(self, name: str) -> dict[str, Any] | None:
        return self._rows.get(name)

    def _update(self, execution_id: str, values: Any, condition: str, operands: Any, remove: str = "") -> Update:
        row = self._rows.setdefault(execution_id, {"id": execution_id})
        row |= values
        return Update(dict(row), granted=True)
