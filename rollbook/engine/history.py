"""The history table: one row per execution. A claim ensures that one invocation at a time runs an execution."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from rollbook.contract import moments
from rollbook.engine import executions
from rollbook.engine.executions import COMPLETED, CONTINUING, EXPORTING, FAILED, RUNNING, Execution, Row, UnreadableRow
from rollbook.engine.rows import Rows, Update


@dataclass(frozen=True)
class Claim:
    """The outcome of `History.claim`: the execution, and whether the caller must run it."""

    execution: Execution
    granted: bool


class LeaseLost(RuntimeError):
    """The lease of an execution expired, and another invocation holds it now."""


class History(Rows):
    """The table of executions.

    Arguments:
        dynamodb: a DynamoDB client.
        days: after how many days a row expires.
        default_table: the table of old rows that name none.
    """

    def __init__(self, dynamodb: Any, table_name: str, days: int, default_table: str = "") -> None:
        super().__init__(dynamodb, table_name)
        self._default_table = default_table
        self._days = days

    @property
    def place(self) -> tuple[Any, str]:
        """Return the DynamoDB client and the name of the table."""
        return self._dynamodb, self._table_name

    def claim(
        self,
        execution_id: str,
        *,
        holder: str,
        now: datetime,
        until: datetime,
        values: Row,
        once: Row | None = None,
        again: bool = False,
    ) -> Claim:
        """Claim an execution for one invocation, if it is new, failed or to be continued, or if its invocation died.

        Arguments:
            holder: identifies the invocation. The same invocation (a retry by Lambda) may claim it again.
            until: when the invocation has ended in any case (aware).
            values: attributes to write into the row; the others remain.
            once: attributes to write only if the row lacks them.
            again: whether a completed execution may be claimed, too.
        """
        row = values | {
            "status": RUNNING,
            "holder": holder,
            "startedAt": moments.to_text(now),
            "leaseUntil": int(until.timestamp()),
            "expiresAt": self.expires_at(now),
        }
        update = self.update(
            execution_id,
            row,
            condition="attribute_not_exists(id) OR #status = :failed OR #status = :continuing"
            " OR (#status = :running AND (leaseUntil < :now OR holder = :holder))"
            + (" OR #status = :completed" if again else ""),
            operands={
                ":failed": FAILED,
                ":continuing": CONTINUING,
                ":running": RUNNING,
                ":now": int(now.timestamp()),
            }
            | ({":completed": COMPLETED} if again else {}),
            remove="error",
            once={"claimedAt": moments.to_text(now)} | (once or {}),
            add="tries",
        )
        return self._claimed(update, holder, now)

    def extend(self, execution_id: str, *, holder: str, until: datetime, values: Row) -> None:
        """Extend the lease of a running execution and write its progress.

        Raises:
            LeaseLost: another invocation holds it now.
        """
        row = values | {"leaseUntil": int(until.timestamp())}
        self._hold(self.update(execution_id, row, "holder = :holder", {":holder": holder}), execution_id, holder)

    def mark_exporting(self, execution_id: str, *, holder: str, values: Row) -> Execution:
        """Record that AWS now runs the execution's export.

        Raises:
            LeaseLost: another invocation holds it now.
        """
        update = self._end(execution_id, holder, values | {"status": EXPORTING})
        return self._hold(update, execution_id, holder)

    def mark_continuing(self, execution_id: str, *, holder: str, now: datetime, values: Row) -> Execution:
        """Record that the next invocation continues the execution.

        Raises:
            LeaseLost: another invocation holds it now.
        """
        active = {"status": CONTINUING, "activeAt": moments.to_text(now)}
        return self._hold(self._end(execution_id, holder, values | active), execution_id, holder)

    def claim_exporting(self, execution_id: str, *, holder: str, now: datetime, until: datetime) -> Claim:
        """Claim an execution whose export AWS runs or whose next invocation did not start, to record its end."""
        update = self.update(
            execution_id,
            {"status": RUNNING, "holder": holder, "leaseUntil": int(until.timestamp())},
            condition="#status IN (:exporting, :continuing)"
            " OR (#status = :running AND (leaseUntil < :now OR holder = :holder))",
            operands={
                ":exporting": EXPORTING,
                ":continuing": CONTINUING,
                ":running": RUNNING,
                ":now": int(now.timestamp()),
            },
        )
        return self._claimed(update, holder, now)

    def get(self, execution_id: str) -> Execution | None:
        """Return an execution, or None if there is none with that id."""
        row = self.recall(execution_id)
        return executions.read(row, self._default_table) if row else None

    def newest_backup(self, table_name: str) -> Row:
        """Return the values recorded for a table's newest backup, or an empty row."""
        return self.recall(latest(table_name)) or {}

    def expires_at(self, now: datetime) -> int:
        """Return when a row that is written now expires, in seconds since 1970."""
        return int((now + timedelta(days=self._days)).timestamp())

    def complete(self, execution_id: str, *, holder: str, now: datetime, values: Row) -> Execution:
        """Record that an execution is completed, and return it.

        Raises:
            LeaseLost: another invocation holds it now.
        """
        update = self._end(execution_id, holder, values | {"status": COMPLETED, "endedAt": moments.to_text(now)})
        return self._hold(update, execution_id, holder)

    def fail(self, execution_id: str, *, holder: str, now: datetime, error: BaseException) -> bool:
        """Record that a running execution failed and why. The next try may claim it immediately.

        Return whether it was recorded: not if the execution ended, or if another invocation holds it.
        """
        text = f"{type(error).__name__}: {error}"
        values = {"status": FAILED, "endedAt": moments.to_text(now), "error": text[:2000], "leaseUntil": 0}
        condition = "holder = :holder AND #status = :running"
        return self.update(execution_id, values, condition, {":holder": holder, ":running": RUNNING}).granted

    def _claimed(self, update: Update, holder: str, now: datetime) -> Claim:
        try:
            return Claim(executions.read(update.row, self._default_table), update.granted)
        except UnreadableRow as error:
            if update.granted:  # otherwise the row would say "running" until its lease expires
                self.fail(str(update.row["id"]), holder=holder, now=now, error=error)
            raise

    def _hold(self, update: Update, execution_id: str, holder: str) -> Execution:
        if not update.granted:
            raise LeaseLost(
                f"{holder} lost the lease of {execution_id}; {update.row.get('holder')} holds it now and completes it"
            )
        return executions.read(update.row, self._default_table)

    def _end(self, execution_id: str, holder: str, values: Row) -> Update:
        return self.update(execution_id, values | {"leaseUntil": 0}, "holder = :holder", {":holder": holder})


def latest(table_name: str) -> str:
    """Return the id of the row of a table's newest backup."""
    return f"latest#{table_name}"


def exported_by(prefix: str) -> str:
    """Return the id of the row that maps the prefix of an export to its execution."""
    return f"export#{prefix}"


def scratch_of(table_name: str) -> str:
    """Return the id of the row of the last drill's scratch table."""
    return f"scratch#{table_name}"
