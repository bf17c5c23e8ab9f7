"""The review of a plan: a digest that the applied plan must match."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any


class ReviewError(ValueError):
    """The text is not a review; the message says why."""


@dataclass(frozen=True)
class Review:
    """A reviewed plan.

    Arguments:
        environment: its name.
        lineage, serial: of the state at the time of the plan; empty and 0 before the first apply.
        digest: SHA-256 of all changes with their values and of the synthesized stack. The stack is included because a
            plan does not have the text of a policy that refers to a new resource, the provisioners that an apply runs,
            or the endpoints of the providers.
    """

    environment: str
    lineage: str
    serial: int
    digest: str

    def dumps(self) -> str:
        """Return the review as JSON."""
        return json.dumps(asdict(self), indent=2) + "\n"

    def differences(self, other: Review) -> list[str]:
        """Return in words how another plan differs from this one."""
        found = []
        if other.environment != self.environment:
            found.append(f"the review is of {self.environment}")
        if (other.lineage, other.serial) != (self.lineage, self.serial):
            found.append(f"the state moved from serial {self.serial} to {other.serial}")
        if other.digest != self.digest:
            found.append("the plan differs from the reviewed one")
        return found


def of(plan: bytes, environment: str, state: tuple[str, int], stack: bytes) -> Review:
    """Return the review of a plan.

    Arguments:
        plan: the output of `terraform show -json`.
        state: lineage and serial of the state at the time of the plan.
        stack: the synthesized JSON, which is the same on every machine.
    """
    document = json.loads(plan)
    changes = [
        {
            "address": each["address"],
            "previous_address": each.get("previous_address"),
            **{key: each["change"].get(key) for key in _COMPARED},
        }
        for each in document.get("resource_changes", [])
        if each["mode"] == "managed" and _is_something(each)
    ]
    compared = json.dumps(
        [
            sorted(changes, key=lambda each: str(each["address"])),
            document.get("output_changes", {}),
            hashlib.sha256(stack).hexdigest(),
        ],
        sort_keys=True,
    )
    return Review(environment, *state, hashlib.sha256(compared.encode()).hexdigest())


def _is_something(change: dict[str, Any]) -> bool:
    what = change["change"]
    return bool(what["actions"] != ["no-op"] or change.get("previous_address") or what.get("importing"))


def loads(text: str) -> Review:
    """Return a review from its JSON.

    Raises:
        ReviewError: it is not a review.
    """
    try:
        made = Review(**json.loads(text))
        if not all(isinstance(each, str) for each in (made.environment, made.lineage, made.digest)):
            raise TypeError("environment, lineage and digest must be texts")
        return made
    except (ValueError, TypeError, RecursionError) as error:
        raise ReviewError(f"it is not a review that `rollbook plan --env ENV --out DIR` wrote: {error}") from None


_COMPARED = ("actions", "before", "after", "after_unknown", "replace_paths", "importing")
