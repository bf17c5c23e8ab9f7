"""Live random histories of one seed with Hypothesis, which shortens one that fails."""

from __future__ import annotations

import logging

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.internal.conjecture import engine
from hypothesis.stateful import run_state_machine_as_test

from tests.soak.machine import COUNTS, Soak

__all__ = ["COUNTS", "live"]

HISTORIES, STEPS = 10, 60
# Hypothesis shortens a history for up to five minutes.
SHORTENING_SECONDS = 60


def live(number: int, histories: int = HISTORIES, steps: int = STEPS) -> None:
    """Live the histories of a seed.

    Raises:
        Exception: what a history found. Its shortest form is printed.
    """
    logging.getLogger("botocore").setLevel(logging.ERROR)

    class Life(Soak):
        pass

    Life.__name__ = Life.__qualname__ = "Soak"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "MAX_SHRINKING_SECONDS", SHORTENING_SECONDS)
        run_state_machine_as_test(
            seed(number)(Life),
            settings=settings(
                max_examples=histories,
                stateful_step_count=steps,
                deadline=None,
                database=None,
                derandomize=False,
                suppress_health_check=list(HealthCheck),
                phases=[Phase.generate, Phase.shrink],
            ),
        )
