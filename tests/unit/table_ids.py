"""moto's tables with the id that DynamoDB gives each of them (API reference, "TableDescription")."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from moto.dynamodb.models.table import Table

_describe = Table.describe


@contextmanager
def table_ids() -> Iterator[None]:
    """Have moto tell the id of each table."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Table, "describe", _with_id)
        yield


def _with_id(table: Any, base_key: str = "TableDescription") -> dict[str, Any]:
    described: dict[str, Any] = _describe(table, base_key)
    if not hasattr(table, "rollbook_id"):
        table.rollbook_id = str(uuid.uuid4())
    described[base_key]["TableId"] = table.rollbook_id
    return described
