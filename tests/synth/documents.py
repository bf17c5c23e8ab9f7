"""Reading and altering a synthesized stack as a tree of leaves."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

Path = tuple[str | int, ...]


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield every value that has no parts, and every empty list and object, with where it is."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from leaves(inner, (*path, name))
    elif isinstance(value, list) and value:
        for number, inner in enumerate(value):
            yield from leaves(inner, (*path, number))
    else:
        yield path, value


def at(document: Any, path: Path) -> Any:
    """Return what is at a path."""
    for step in path:
        document = document[step]
    return document


def with_value(document: dict[str, Any], path: Path, value: Any) -> dict[str, Any]:
    """Return a copy of a document with another value at a path."""
    changed = copy.deepcopy(document)
    at(changed, path[:-1])[path[-1]] = value
    return changed


def without(document: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return a copy of a document without what is at a path."""
    changed = copy.deepcopy(document)
    del at(changed, path[:-1])[path[-1]]
    return changed
