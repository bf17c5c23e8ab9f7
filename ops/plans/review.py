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
        digest: SHA-256 of all that it changes, values included, and of the whole synthesized stack. A plan does not
            know the text of a policy that refers to a resource it makes; the stack does. The stack also has what an
            apply runs on this machine (provisioners), what it moves and imports, and where its providers connect to.
    """

    environment: str
    lineage: str
    serial: int
    digest: str

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


def of(plan: bytes, environment: str, state: tuple[str, int], stack: bytes) -> Review:
    """Return the review of a plan, as `terraform show -json` prints it.

    Arguments:
        state: lineage and serial of the state that it was made against.
        stack: the synthesized JSON that it was made of, the same on every machine.
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
    told = json.dumps(
        [
            sorted(changes, key=lambda each: str(each["address"])),
            document.get("output_changes", {}),
            hashlib.sha256(stack).hexdigest(),
        ],
        sort_keys=True,
    )
    return Review(environment, *state, hashlib.sha256(told.encode()).hexdigest())


def _is_something(change: dict[str, Any]) -> bool:
    what = change["change"]
    return bool(what["actions"] != ["no-op"] or change.get("previous_address") or what.get("importing"))


def loads(text: str) -> Review:
    """Return a review from its JSON.

    Raises:
        ReviewError: it is none.
    """
    try:
        made = Review(**json.loads(text))
        if not all(isinstance(each, str) for each in (made.environment, made.lineage, made.digest)):
            raise TypeError("a text is wanted")
        return made
    except (ValueError, TypeError, RecursionError) as error:
        raise ReviewError(f"this is no review as `python -m ops plan ENV --out DIR` writes it: {error}") from None


_COMPARED = ("actions", "before", "after", "after_unknown", "replace_paths", "importing")
