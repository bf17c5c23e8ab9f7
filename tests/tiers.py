"""Two tiers: `make test` leaves out what is marked slow, `make test-all` leaves out nothing. docs/tests.md says why."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any

import pytest


def slow_beyond(quick: int, values: Iterable[Any]) -> list[Any]:
    """Return a test's parameters, all but the first ones marked slow.

    Arguments:
        quick: how many are not.
        values: of one parameter.
    """
    iterator = iter(values)
    return [*islice(iterator, quick), *(pytest.param(value, marks=pytest.mark.slow) for value in iterator)]
