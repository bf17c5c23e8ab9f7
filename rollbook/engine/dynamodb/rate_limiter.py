"""Limits how fast a table is read or written, and slows down while DynamoDB throttles."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from rollbook.contract import pauses

# DynamoDB's error codes for throttling (Developer Guide, "Error handling with DynamoDB").
THROTTLING = frozenset(
    {"ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded", "Throttling"}
)
# After botocore's own retries (`raw.py`, 6 s in total), the pauses start at one second and double up to this limit.
_LONGEST_PAUSE_SECONDS = 30.0
_PATIENCE_SECONDS = 900.0
# Additive increase, multiplicative decrease: each throttled request halves the rate, each second restores a tenth.
_DECREASE = 0.5
_RECOVERY_PER_SECOND = 0.1
# Units per second. A page costs up to 128 units; for a table with less capacity than this, the pauses are enough.
_SLOWEST = 16.0


class RateLimiter:
    """Limits the rate of several threads together.

    Arguments:
        units_per_second: the limit in capacity units per second; None for no limit.
        sleep: waits for a number of seconds; raises when no time is left.
        clock: monotonic time.
    """

    def __init__(
        self,
        units_per_second: float | None = None,
        *,
        sleep: Callable[[float], None] = pauses.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ceiling = units_per_second
        self._rate = units_per_second
        self._sleep = sleep
        self._clock = clock
        self._lock = threading.Lock()
        self._spent = 0.0
        self._began = clock()
        self._free_at = self._changed_at = self._began
        self.units = 0.0

    def wait(self) -> None:
        """Wait until the rate allows the next request."""
        with self._lock:
            pause = self._free_at - self._clock()
        if pause > 0:
            self._sleep(pause)

    def spend(self, units: float) -> None:
        """Count the units of a request. The next requests wait accordingly."""
        with self._lock:
            self.units += units
            now = self._clock()
            if self._rate is None:
                return
            if self._ceiling is None:
                self._rate *= 1 + _RECOVERY_PER_SECOND * (now - self._changed_at)
            else:
                self._rate += self._ceiling * _RECOVERY_PER_SECOND * (now - self._changed_at)
                self._rate = min(self._rate, self._ceiling)
            self._changed_at = now
            self._free_at = max(self._free_at, now) + units / self._rate

    def slow_down(self) -> None:
        """Halve the rate because DynamoDB throttled. Without a limit, use half of the mean rate so far."""
        with self._lock:
            now = self._clock()
            reached = self.units / max(now - self._began, 1.0)
            slowest = min(self._ceiling or _SLOWEST, _SLOWEST)
            self._rate = max((self._rate or reached) * _DECREASE, slowest)
            self._changed_at = now

    def retry_throttled(self, request: Callable[[], Any]) -> Any:
        """Send a request, and retry it for up to 15 minutes while DynamoDB throttles it.

        Raises:
            botocore.exceptions.ClientError: any other error, or throttling that did not end.
            OutOfTime: the next pause does not fit into the time.
        """
        pause = 1.0
        patience = self._clock() + _PATIENCE_SECONDS
        while True:
            self.wait()
            try:
                return request()
            except ClientError as error:
                if error.response["Error"]["Code"] not in THROTTLING or self._clock() > patience:
                    raise
            self.slow_down()
            self._sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
