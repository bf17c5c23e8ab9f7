"""The exit codes of all commands: one table."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum


class Exit(IntEnum):
    """What a command ends with."""

    GOOD = 0
    FAILED = 1
    FINDINGS = 2
    REFUSED = 3
    MOVED = 4


MEANINGS: Mapping[Exit, str] = {
    Exit.GOOD: "good",
    Exit.FAILED: "the command could not do its work",
    Exit.FINDINGS: "done, and there is something to look at",
    Exit.REFUSED: "refused before anything was changed",
    Exit.MOVED: "the state moved since the review; nothing was changed",
}


def described(own: Mapping[Exit, str]) -> str:
    """Return the exit codes of one command as lines of its help.

    Arguments:
        own: what a code means for this command; 0 and 1 have their general meaning unless given.
    """
    meanings = {Exit.GOOD: MEANINGS[Exit.GOOD], Exit.FAILED: MEANINGS[Exit.FAILED], **own}
    return "\n".join(f"  {code:d}  {meanings[code]}" for code in sorted(meanings))
