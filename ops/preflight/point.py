"""A point of the preflight: what was found in the account, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "after apply", "look", "unknown"]


@dataclass(frozen=True)
class Point:
    """What was found of one thing.

    Arguments:
        name: of the point, the same in every run.
        state: `ok`; `after apply` is made by the first apply and checked again after it; `look` needs somebody to act;
            `unknown` could not be read.
        found: what is so, in a sentence.
        remedy: what to do, if something is to be done.
    """

    name: str
    state: State
    found: str
    remedy: str = ""

    @property
    def is_good(self) -> bool:
        """Return whether no action is needed. What is unknown is not good."""
        return self.state in {"ok", "after apply"}


def ok(name: str, found: str) -> Point:
    """Return a point that is as it should be."""
    return Point(name, "ok", found)


def later(name: str, found: str) -> Point:
    """Return a point that the first apply makes."""
    return Point(name, "after apply", found)


def look(name: str, found: str, remedy: str) -> Point:
    """Return a point that somebody has to look at."""
    return Point(name, "look", found, remedy)


def unknown(name: str, found: str, remedy: str = "") -> Point:
    """Return a point that could not be read."""
    return Point(name, "unknown", found, remedy)
