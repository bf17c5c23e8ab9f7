"""Restores a backup into a table: claims the execution, restores, compares, and keeps the history."""

from __future__ import annotations

from rollbook.engine import stored
from rollbook.engine.comparison import Comparison
from rollbook.engine.deadline import Deadline
from rollbook.engine.dynamodb import definitions, tables
from rollbook.engine.executions import Execution
from rollbook.engine.lease import LeaseRenewer
from rollbook.engine.resources import Resources
from rollbook.engine.restore_request import AlreadyRunning, Options, Plan, Request, RestoreRefused
from rollbook.engine.restore_work import RestoreWork, writes


class Restore:
    """Restores backups of one bucket."""

    def __init__(self, resources: Resources, options: Options | None = None) -> None:
        self._resources = resources
        self._options = options or Options()

    def plan(self, request: Request) -> Plan:
        """Read backup and table and tell what a restore would do; nothing is changed.

        Raises:
            Corrupted: the backup is damaged.
            RestoreRefused: see `run`.
        """
        with Comparison() as comparison:
            work = self._open(request, comparison)
            total = work.read()
            if request.is_new:
                work.refuse_if_there()
                return Plan(total, None, total)
            outcome = work.compare()
        return Plan(total, outcome, writes(request.mode, outcome))

    def run(self, request: Request, *, holder: str, deadline: Deadline | None = None) -> Execution:
        """Restore a backup and return the execution.

        A restore that was killed continues where it stopped: the table is compared with the backup, and the missing
        items are written. So no item is written twice and none is left out.

        Arguments:
            holder: the invocation or process that asks.

        Raises:
            Corrupted: the backup is damaged; nothing was changed.
            RestoreRefused: a new target exists, another one does not, or its key schema differs; nothing was changed.
            AlreadyRunning: the same restore is at work elsewhere.
            NotWritten: DynamoDB refused items, which are named.
            NotEqual: the table differs from the backup; names keys.
            OutOfTime: the invocation's time is over; the next one continues from there.
        """

        def check() -> None:
            if deadline:
                deadline.check(f"the restore of {request.key} was at work")

        with Comparison() as comparison:
            work = self._open(request, comparison)
            work.read()
            check()
            execution = self._claim(request, holder)
            try:
                work.renewer = LeaseRenewer(
                    self._resources.history, request.id, holder, self._resources.clock, self._options.lease, check
                )
                result = work.run(execution)
                ended = self._resources.clock()
                result["seconds"] = f"{(ended - execution.started_at).total_seconds():.1f}"
                return self._resources.history.complete(
                    request.id, holder=holder, now=ended, values=result | {"hasBegun": False}
                )
            except BaseException as error:
                self._resources.history.fail(request.id, holder=holder, now=self._resources.clock(), error=error)
                raise

    def _claim(self, request: Request, holder: str) -> Execution:
        now = self._resources.clock()
        values = {"kind": "restore", "key": request.key, "tableName": request.table_name, "engine": request.engine}
        claim = self._resources.history.claim(
            request.id, holder=holder, now=now, until=now + self._options.lease, values=values, again=True
        )
        if not claim.granted:
            raise AlreadyRunning(f"{request.id} is at work as {claim.execution.holder}", claim.execution.lease_until)
        return claim.execution

    def _open(self, request: Request, comparison: Comparison) -> RestoreWork:
        backup = stored.open_backup(self._resources.s3, self._resources.bucket, request.key)
        if request.is_new and backup.table is None:
            raise RestoreRefused(
                f"{request.key} does not say what the table was; make the table and name it with --into"
            )
        if backup.change_of and request.is_new:
            raise RestoreRefused(
                f"{request.key} has only what changed from {backup.change_of[0]} to {backup.change_of[1]}; restore the "
                "full export before it first, and this one into the same table with --into"
            )
        if backup.change_of and request.mode == "missing":
            raise RestoreRefused(f"{request.key} has changes; those of missing items alone are no state of the table")
        if request.engine == "import" and (backup.manifest is None or not request.is_new):
            raise RestoreRefused("the engine import makes a new table (--to) of a backup in the export layout")
        names = self._keys(request, backup.table)
        return RestoreWork(request, backup, names, comparison, self._resources, self._options)

    def _keys(self, request: Request, definition: definitions.Definition | None) -> list[str]:
        """Return the key attributes, in which the backup's table and the target must be alike."""
        if request.is_new and definition:
            return definitions.key_names(definition)
        if not tables.exists(self._resources.dynamodb, request.table_name):
            raise RestoreRefused(f"there is no table {request.table_name}; to make it, name it with --to")
        found = self._resources.dynamodb.describe_table(TableName=request.table_name)["Table"]["KeySchema"]
        names = definitions.key_names({"keySchema": found})
        if definition and names != definitions.key_names(definition):
            raise RestoreRefused(
                f"the key of {request.table_name} is {names}, and that of the backup's table "
                f"{definitions.key_names(definition)}"
            )
        return names
