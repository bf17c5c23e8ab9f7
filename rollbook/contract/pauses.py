"""Every pause of the functions. A pause that would not end before the invocation does is refused at once."""

from __future__ import annotations

import math
import time

# Reserved for what must be done after the work: aborting uploads, writing the history, sending events and mails.
RESERVE_SECONDS = 15.0
# Of the reserve, this is left for requests when the last pause ends.
_LAST_SECONDS = 3.0
_ends_at = math.inf


class OutOfTime(RuntimeError):
    """The work does not fit into the invocation's time. The message says how much time it needs."""


def end_at(moment: float) -> None:
    """Set when this process's invocation ends, by `time.monotonic`. Outside Lambda, nothing sets it."""
    global _ends_at  # a process of Lambda runs one invocation at a time
    _ends_at = moment


def sleep(seconds: float) -> None:
    """Pause during the work, which must end before the reserve begins.

    Raises:
        OutOfTime: the pause would take too long. It is not begun.
    """
    _sleep(seconds, RESERVE_SECONDS)


def sleep_in_reserve(seconds: float) -> None:
    """Pause between the tries of a notification or a record, for which the reserve is meant.

    Raises:
        OutOfTime: the pause would take too long. It is not begun.
    """
    _sleep(seconds, _LAST_SECONDS)


def check(seconds: float) -> None:
    """Check that a pause by another library ends before the invocation does.

    Raises:
        OutOfTime: it does not.
    """
    left = _ends_at - time.monotonic() - _LAST_SECONDS
    if seconds > left:
        raise _out_of_time(seconds, left)


def _sleep(seconds: float, reserve: float) -> None:
    left = _ends_at - time.monotonic() - reserve
    if seconds > left:
        raise _out_of_time(seconds, left)
    time.sleep(seconds)


def _out_of_time(seconds: float, left: float) -> OutOfTime:
    return OutOfTime(f"a pause of {seconds:,.1f} s does not fit into the {max(left, 0):,.1f} s that the invocation has")
