"""Compares a backup with a table, or two backups."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rollbook.engine import chain, fingerprints
from rollbook.engine.comparison import Comparison, Outcome
from rollbook.engine.dynamodb import definitions, scan
from rollbook.engine.fingerprints import Fingerprint
from rollbook.engine.resources import Resources

Counter = Callable[[Iterator[bytes]], Iterator[bytes]]
_NAMED = 100


class NotComparable(ValueError):
    """The two have different key attributes."""


def is_backup(name: str) -> bool:
    """Return whether a name is a backup's key and not a table's name."""
    return name.endswith((".json", ".json.gz"))


def compare(
    comparison: Comparison,
    names: Sequence[str],
    resources: Resources,
    first: str,
    second: str,
    counted: Counter,
) -> Outcome:
    """Compare a backup with a table or another backup.

    Arguments:
        names: the key attributes that `keys` returned.
        counted: returns the items unchanged; used to show progress.

    Raises:
        Corrupted: a backup is damaged.
    """

    def side(name: str) -> Iterator[Fingerprint]:
        # An eventually consistent read may miss recent writes.
        items = (
            chain.open_chain(resources.open_backup, name).items()
            if is_backup(name)
            else scan.items(resources.dynamodb, name, is_consistent=True)
        )
        return map(fingerprints.fingerprint_of(names), counted(items))

    comparison.read(side(first))
    return comparison.compare(side(second))


def keys(resources: Resources, first: str, second: str) -> list[str]:
    """Return the key attributes of both.

    Raises:
        NotComparable: the key attributes differ.
        ChainBroken: an increment cannot be read because its chain is not whole.
    """
    found = [_keys(resources, name) for name in (first, second)]
    known = [names for names in found if names is not None]
    if not known:
        raise NotComparable("neither backup names its key attributes; compare each of them with the table")
    if any(names != known[0] for names in known):
        raise NotComparable(f"the key attributes differ: {first} has {found[0]}, {second} has {found[1]}")
    return known[0]


def _keys(resources: Resources, name: str) -> list[str] | None:
    if not is_backup(name):
        described = resources.dynamodb.describe_table(TableName=name)["Table"]
        return definitions.key_names({"keySchema": described["KeySchema"]})
    backup = chain.open_chain(resources.open_backup, name)
    return definitions.key_names(backup.table) if backup.table else None


def summary(resources: Resources, first: str, second: str) -> dict[str, Any]:
    """Return the difference as a JSON object, with the first hundred keys.

    Raises:
        NotComparable, Corrupted: see `keys` and `compare`.
    """
    names = keys(resources, first, second)
    with Comparison() as comparison:
        outcome = compare(comparison, names, resources, first, second, iter)
        named = [{"kind": found.kind, "key": found.key} for found in itertools.islice(comparison.differences(), _NAMED)]
    return described(first, second, outcome) | {"differences": named}


def described(first: str, second: str, outcome: Outcome) -> dict[str, Any]:
    """Return an outcome as a JSON object."""
    return {
        "first": first,
        "second": second,
        "isEqual": outcome.is_equal,
        "firstItems": outcome.first,
        "secondItems": outcome.second,
        "added": outcome.added,
        "removed": outcome.removed,
        "changed": outcome.changed,
    }
