"""A point of the preflight: what was found, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "after apply", "look", "unknown"]


@dataclass(frozen=True)
class Point:
    """The result of one check.

    Arguments:
        name: the same in every run.
        state: `ok`; `after apply`: the first apply creates it; `look`: an action is needed; `unknown`: it could not be
            read.
        found: in one sentence.
        remedy: what to do, if anything.
    """

    name: str
    state: State
    found: str
    remedy: str = ""

    @property
    def is_good(self) -> bool:
        """Return whether no action is needed. Unknown is not good."""
        return self.state in {"ok", "after apply"}


def ok(name: str, found: str) -> Point:
    """Return a good point."""
    return Point(name, "ok", found)


def later(name: str, found: str) -> Point:
    """Return a point that the first apply creates."""
    return Point(name, "after apply", found)


def look(name: str, found: str, remedy: str) -> Point:
    """Return a point that needs an action."""
    return Point(name, "look", found, remedy)


def unknown(name: str, found: str, remedy: str = "") -> Point:
    """Return a point that could not be read."""
    return Point(name, "unknown", found, remedy)
