"""Restores a backup into a table: claims the execution, restores, compares and records the result."""

from __future__ import annotations

from rollbook.engine import applied, chain
from rollbook.engine.comparison import Comparison
from rollbook.engine.deadline import Deadline
from rollbook.engine.dynamodb import definitions, tables
from rollbook.engine.executions import Execution
from rollbook.engine.lease import LeaseRenewer
from rollbook.engine.resources import Resources
from rollbook.engine.restore_plan import plan
from rollbook.engine.restore_request import AlreadyRunning, Options, Plan, Request, RestoreRefused
from rollbook.engine.restore_work import RestoreWork
from rollbook.engine.selection import NotSelectable, Selector
from rollbook.engine.stored import StoredBackup


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
            return plan(self._open(request, comparison))

    def run(self, request: Request, *, holder: str, deadline: Deadline | None = None) -> Execution:
        """Restore a backup and return the execution.

        A restore that was killed continues where it stopped: the table is compared with the backup, and the missing
        items are written. So no item is written twice, and no item is omitted.

        Arguments:
            holder: identifies the calling invocation or process.

        Raises:
            Corrupted: the backup is damaged. Nothing was changed.
            RestoreRefused: the new target exists already, the existing target is missing, the keys differ, or the
                target of an interrupted restore may be in use since. Nothing was changed.
            AlreadyRunning: another invocation or process runs the same restore.
            NotWritten: DynamoDB refused items. The error names them; all others are written.
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
                work.target.renewer = LeaseRenewer(
                    self._resources.history, request.id, holder, self._resources.clock, self._options.lease, check
                )
                applied.forget(self._resources.history, request, work.backup)
                with work.target.renewer:
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
        open_ = self._resources.open_backup
        backup = chain.open_chain(open_, request.key) if request.chain else open_(request.key)
        if backup.recorded is None and not request.allows_unknown:
            raise RestoreRefused(
                f"the history does not know {request.key}, so nothing shows that a backup wrote it; verify it, and "
                'restore it with --unknown (in the function\'s event: "unknown": true)'
            )
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
                f"{request.key} is incremental; its changes replace and delete items. To apply them, use --overwrite "
                '(in an event: "overwrite": true)'
            )
        applied.check(self._resources.history, self._resources.dynamodb, request, backup)
        if request.engine == "import":
            self._check_import(request, backup)
        self._check_encryption(request)
        names, types = self._keys(request, backup.table)
        try:
            selector = Selector(request.selection, names, types)
        except NotSelectable as error:
            raise RestoreRefused(str(error)) from None
        return RestoreWork(request, backup, names, selector, comparison, self._resources, self._options)

    def _check_import(self, request: Request, backup: StoredBackup) -> None:
        if backup.manifest is None or not request.is_new:
            raise RestoreRefused("the engine import needs a new table (--to) and a backup in the export layout")
        if request.selection:
            raise RestoreRefused("the engine import restores all items; to select some, use the engine write")
        if (backup.table or {}).get("localSecondaryIndexes"):
            raise RestoreRefused(
                "ImportTable cannot create local secondary indexes, and they cannot be added later; use engine write"
            )

    def _check_encryption(self, request: Request) -> None:
        region = self._resources.dynamodb.meta.region_name
        is_arn = request.kms_key.startswith(f"arn:aws:kms:{region}:")
        if request.kms_key and not is_arn and request.kms_key not in {"aws-managed", "aws-owned"}:
            raise RestoreRefused(
                f"the key is {request.kms_key}; it can be aws-managed, aws-owned, or the ARN of a key in {region}"
            )

    def _keys(self, request: Request, definition: definitions.Definition | None) -> tuple[list[str], list[str]]:
        """Return the key attributes and their types, which must be the same in the backup's table and in the target."""
        known = _key(definition) if definition else None
        if request.is_new and known:
            return known
        found = tables.found(self._resources.dynamodb, request.table_name)
        if found is None:
            raise RestoreRefused(f"there is no table {request.table_name}; to create it, name it with --to")
        there = _key({"keySchema": found["KeySchema"], "attributeDefinitions": found["AttributeDefinitions"]})
        if known and there != known:
            raise RestoreRefused(
                f"the keys differ: {request.table_name} has {_named(there)}, the backup's table has {_named(known)}"
            )
        return there


def _key(definition: definitions.Definition) -> tuple[list[str], list[str]]:
    return definitions.key_names(definition), definitions.key_types(definition)


def _named(key: tuple[list[str], list[str]]) -> str:
    return ", ".join(f"{name} ({kind})" for name, kind in zip(*key, strict=True))
