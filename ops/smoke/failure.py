"""How a step of the smoke test fails."""

from __future__ import annotations


class StepFailed(RuntimeError):
    """A step found a fault; the message says which."""
