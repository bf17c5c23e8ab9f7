"""Renews the lease of a running execution."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from types import TracebackType

from botocore.exceptions import BotoCoreError, ClientError

from rollbook.contract import moments
from rollbook.contract.pauses import OutOfTime
from rollbook.engine.deadline import Clock
from rollbook.engine.executions import Row
from rollbook.engine.history import History, LeaseLost

# Seconds between two renewals that report progress.
_INTERVAL_SECONDS = 5.0


class LeaseRenewer:
    """Renews the lease of one execution while it is running.

    As a context, it also renews the lease while the work waits: for a throttled table, a slow upload, a new table.

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
        self._lost: LeaseLost | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._renew_while_waiting, daemon=True)
        self.check = check

    def __enter__(self) -> LeaseRenewer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

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
        if self._lost:
            raise self._lost
        if time.monotonic() - self._renewed_at > min(_INTERVAL_SECONDS, self._lease.total_seconds() / 3):
            self.renew(values)

    def _renew_while_waiting(self) -> None:
        interval = self._lease.total_seconds() / 3
        while not self._stop.wait(max(interval - (time.monotonic() - self._renewed_at), interval / 10)):
            if time.monotonic() - self._renewed_at < interval:
                continue
            try:
                self.renew({})
            except LeaseLost as lost:
                self._lost = lost  # the work learns it at its next renewal, or when it records its result
                return
            except (BotoCoreError, ClientError, OutOfTime):
                continue  # the lease lasts for two more tries
