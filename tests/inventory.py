"""Which tests there are, by function and number of parameters.

`pytest --collect-only | python -m tests.inventory` prints the list; tests/moved/ has the one of the commit after which
tests began to move.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable

import pytest

# What a run collected before it chose, of pytest's configuration.
COLLECTED = pytest.StashKey[Counter[str]]()


def functions(ids: Iterable[str]) -> Counter[str]:
    """Return how many tests each function makes.

    Arguments:
        ids: pytest's, such as `tests/unit/test_x.py::test_a[1]`.
    """
    return Counter(each.partition("[")[0].strip() for each in ids)


def dumps(counts: Counter[str]) -> str:
    """Return the list as text: a function a line."""
    return "".join(f"{name} {count}\n" for name, count in sorted(counts.items()))


def loads(text: str) -> Counter[str]:
    """Return the list that a text has."""
    rows = (line.rpartition(" ") for line in text.splitlines())
    return Counter({name: int(count) for name, _, count in rows})


if __name__ == "__main__":
    sys.stdout.write(dumps(functions(line for line in sys.stdin if line.startswith("tests/") and "::" in line)))
