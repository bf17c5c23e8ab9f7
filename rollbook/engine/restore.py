"""Restores a backup into a table: claims the execution, restores, compares and records the result."""

from __future__ import annotations

from rollbook.engine import applied, chain, stored
from rollbook.engine.comparison import Comparison
from rollbook.engine.deadline import Deadline
from rollbook.engine.dynamodb import definitions, tables
from rollbook.engine.executions import Execution
from rollbook.engine.lease import LeaseRenewer
from rollbook.engine.resources import Resources
from rollbook.engine.restore_request import AlreadyRunning, Options, Plan, Request, RestoreRefused
from rollbook.engine.restore_work import RestoreWork, writes


class Restore:
    """Restores the backups of one bucket."""

    def __init__(self, resources: Resources, options: Options | None = None) -> None:
        self._resources = resources
        self._options = options or Options()

    def plan(self, request: Request) -> Plan:
        """Read the backup and the table, and return what a restore would do. Nothing is changed.

        Raises:
            Corrupted: the backup is damaged.
            RestoreRefused: see `run`.
        """
        with Comparison() as comparison:
            work = self._open(request, comparison)
            total = work.read()
            if request.is_new:
                work.refuse_existing_table()
                return Plan(total, None, total)
            outcome = work.compare()
        return Plan(total, outcome, writes(request.mode, outcome))

    def run(self, request: Request, *, holder: str, deadline: Deadline | None = None) -> Execution:
        """Restore a backup and return the execution.

        A restore that was killed continues where it stopped: the table is compared with the backup, and the missing
        items are written. So no item is written twice, and no item is omitted.

        Arguments:
            holder: identifies the calling invocation or process.

        Raises:
            Corrupted: the backup is damaged. Nothing was changed.
            RestoreRefused: the new target exists already, the existing target is missing, or the key schemas differ.
                Nothing was changed.
            AlreadyRunning: another invocation or process runs the same restore.
            NotWritten: DynamoDB refused items. The message names them.
            NotEqual: the table differs from the backup. The message names keys.
            OutOfTime: the invocation's time is over. The next invocation continues.
        """

        def check() -> None:
            if deadline:
                deadline.check(f"the restore of {request.key} was still running")

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
                applied.remember(self._resources.history, self._resources.dynamodb, request, work.backup, result)
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
            raise AlreadyRunning(
                f"{request.id} is already running; its holder is {claim.execution.holder}", claim.execution.lease_until
            )
        return claim.execution

    def _open(self, request: Request, comparison: Comparison) -> RestoreWork:
        open_ = chain.open_chain if request.chain else stored.open_backup
        backup = open_(self._resources.s3, self._resources.bucket, request.key)
        if request.is_new and backup.table is None:
            raise RestoreRefused(
                f"{request.key} does not contain the table's definition; create the table and name it with --into"
            )
        if backup.change_of and request.is_new:
            raise RestoreRefused(
                f"{request.key} has only the changes from {backup.change_of[0]} to {backup.change_of[1]}; restore it "
                "with its base and all increments between them: --chain"
            )
        if backup.change_of and request.mode == "missing":
            raise RestoreRefused(
                f"{request.key} is incremental; it cannot be restored with the mode missing, which writes only a part "
                "of its changes"
            )
        applied.check(self._resources.history, self._resources.dynamodb, request, backup)
        if request.engine == "import" and (backup.manifest is None or not request.is_new):
            raise RestoreRefused("the engine import needs a new table (--to) and a backup in the export layout")
        names = self._keys(request, backup.table)
        return RestoreWork(request, backup, names, comparison, self._resources, self._options)

    def _keys(self, request: Request, definition: definitions.Definition | None) -> list[str]:
        """Return the key attributes, which must be the same in the backup's table and in the target."""
        if request.is_new and definition:
            return definitions.key_names(definition)
        if not tables.exists(self._resources.dynamodb, request.table_name):
            raise RestoreRefused(f"there is no table {request.table_name}; to create it, name it with --to")
        found = self._resources.dynamodb.describe_table(TableName=request.table_name)["Table"]["KeySchema"]
        names = definitions.key_names({"keySchema": found})
        if definition and names != definitions.key_names(definition):
            raise RestoreRefused(
                f"the key attributes differ: {request.table_name} has {names}, the backup's table has "
                f"{definitions.key_names(definition)}"
            )
        return names
