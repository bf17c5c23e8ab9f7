"""What was reviewed of a plan, to be held against the plan that is applied."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any


class ReviewError(ValueError):
    """What should say what was reviewed does not; the message says why."""


@dataclass(frozen=True)
class Review:
    """A plan as its reviewers saw it.

    Arguments:
        environment: by name.
        lineage, serial: of the state that it was made against; empty and 0 before the first apply.
        digest: SHA-256 of all that it changes, values included.
        holds_secrets: a value that is marked as sensitive is in the plan's file.
    """

    environment: str
    lineage: str
    serial: int
    digest: str
    holds_secrets: bool

    def dumps(self) -> str:
        """Return it as JSON."""
        return json.dumps(asdict(self), indent=2) + "\n"

    def differences(self, other: Review) -> list[str]:
        """Return in words why another plan is not this one."""
        found = []
        if other.environment != self.environment:
            found.append(f"it was of {self.environment}")
        if (other.lineage, other.serial) != (self.lineage, self.serial):
            found.append(f"the state moved since, from serial {self.serial} to {other.serial}")
        if other.digest != self.digest:
            found.append("what would change now is not what was reviewed")
        return found


def of(plan: bytes, environment: str, state: tuple[str, int]) -> Review:
    """Return the review of a plan, as `terraform show -json` prints it.

    Arguments:
        state: lineage and serial of the state that it was made against.
    """
    document = json.loads(plan)
    changes = [
        {"address": each["address"], **{key: each["change"].get(key) for key in _COMPARED}}
        for each in document.get("resource_changes", [])
        if each["mode"] == "managed" and each["change"]["actions"] != ["no-op"]
    ]
    outputs = document.get("output_changes", {})
    told = json.dumps([sorted(changes, key=lambda each: str(each["address"])), outputs], sort_keys=True)
    secret = any(_is_secret(part) for part in (document.get("prior_state", {}), document.get("planned_values", {})))
    return Review(environment, *state, hashlib.sha256(told.encode()).hexdigest(), secret)


def loads(text: str) -> Review:
    """Return a review from its JSON.

    Raises:
        ReviewError: it is none.
    """
    try:
        return Review(**json.loads(text))
    except (ValueError, TypeError) as error:
        raise ReviewError(f"this is no review as `ops plan --out` writes it: {error}") from None


_COMPARED = ("actions", "before", "after", "after_unknown", "replace_paths", "importing")


def _is_secret(part: Any) -> bool:
    """Return whether a state or planned values have something that is marked as sensitive, and is set."""
    if isinstance(part, list):
        return any(map(_is_secret, part))
    if not isinstance(part, dict):
        return False
    marks = part.get("sensitive_values")
    if marks is not None and _is_marked(marks, part.get("values")):
        return True
    if part.get("sensitive") is True and part.get("value") is not None:
        return True
    return any(_is_secret(value) for value in part.values())


def _is_marked(marks: Any, values: Any) -> bool:
    if marks is True:
        return values not in (None, "", [], {})
    if isinstance(marks, dict) and isinstance(values, dict):
        return any(_is_marked(mark, values.get(name)) for name, mark in marks.items())
    if isinstance(marks, list) and isinstance(values, list):
        return any(_is_marked(mark, value) for mark, value in zip(marks, values, strict=False))
    return False
