"""How fast a table is read or written: under a ceiling of capacity units, and slower while it throttles."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

# The codes by which DynamoDB says "slower" (Developer Guide, "Error handling with DynamoDB").
THROTTLING = frozenset(
    {"ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded", "Throttling"}
)
# After botocore's own retries (ten, over some 25 s) the pauses begin with one second and double up to this.
_LONGEST_PAUSE_SECONDS = 30.0
_PATIENCE_SECONDS = 900.0
# Additive increase, multiplicative decrease: each throttling halves the rate, each second gives a tenth back.
_DECREASE = 0.5
_RECOVERY_PER_SECOND = 0.1
# Units a second: a page costs up to 128, and it is the pauses that wait for a table that has less than this.
_SLOWEST = 16.0


class RateLimiter:
    """A rate that several threads share.

    Arguments:
        units_per_second: the ceiling in capacity units per second; None for none.
        check: called before each wait for a table that throttles; raises when there is no more time.
        sleep, clock: the time, monotonic; a test gives its own.
    """

    def __init__(
        self,
        units_per_second: float | None = None,
        *,
        check: Callable[[], None] = lambda: None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ceiling = units_per_second
        self._rate = units_per_second
        self._check = check
        self._sleep = sleep
        self._clock = clock
        self._lock = threading.Lock()
        self._spent = 0.0
        self._began = clock()
        self._free_at = self._changed_at = self._began
        self.units = 0.0

    def wait(self) -> None:
        """Wait until the next request is within the rate."""
        with self._lock:
            pause = self._free_at - self._clock()
        if pause > 0:
            self._sleep(pause)

    def spend(self, units: float) -> None:
        """Count what a request cost; the next ones wait for it."""
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
        """Halve the rate, as the table throttled; without a ceiling, half of what was reached so far."""
        with self._lock:
            now = self._clock()
            reached = self.units / max(now - self._began, 1.0)
            slowest = min(self._ceiling or _SLOWEST, _SLOWEST)
            self._rate = max((self._rate or reached) * _DECREASE, slowest)
            self._changed_at = now

    def retry_throttled(self, request: Callable[[], Any]) -> Any:
        """Make a request, and make it again while the table throttles it, for a quarter of an hour.

        Raises:
            botocore.exceptions.ClientError: any other refusal, or the throttling that did not end.
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
            self._check()
            self.slow_down()
            self._sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
