"""Renews the lease of a running execution."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

from rollbook.contract import moments
from rollbook.engine.deadline import Clock
from rollbook.engine.executions import Row
from rollbook.engine.history import History

# Seconds between two renewals.
_INTERVAL_SECONDS = 5.0


class LeaseRenewer:
    """Renews the lease of one execution while it is running.

    Arguments:
        check: raises when no time is left.
    """

    def __init__(
        self,
        history: History,
        execution: str,
        holder: str,
        clock: Clock,
        lease: timedelta,
        check: Callable[[], None],
    ) -> None:
        self._history = history
        self._execution = execution
        self._holder = holder
        self._clock = clock
        self._lease = lease
        self._renewed_at = time.monotonic()
        self.check = check

    def renew(self, values: Row) -> None:
        """Extend the lease, and write values and the time into the row.

        Raises:
            LeaseLost: another invocation holds it now.
        """
        now = self._clock()
        self._history.extend(
            self._execution,
            holder=self._holder,
            until=now + self._lease,
            values=values | {"activeAt": moments.to_text(now)},
        )
        self._renewed_at = time.monotonic()

    def renew_if_due(self, values: Row) -> None:
        """Check the time, and extend the lease if the last renewal is some seconds old.

        Raises:
            LeaseLost: see `renew`.
        """
        self.check()
        if time.monotonic() - self._renewed_at > min(_INTERVAL_SECONDS, self._lease.total_seconds() / 3):
            self.renew(values)
