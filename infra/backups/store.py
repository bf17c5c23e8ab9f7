"""The bucket of the backups and the history table."""

from __future__ import annotations

from constructs import Construct

from infra.constructs import policy
from infra.constructs.bucket import PrivateBucket
from infra.constructs.function import Function
from infra.constructs.lifecycle import LifecycleRule, expire
from infra.constructs.table import table
from infra.settings import Settings
from infra.settings.backups import TablePlan


class BackupStore(Construct):
    """The bucket, to which only granted roles may write, and the history table.

    `complete` writes the bucket's policy.
    """

    def __init__(self, scope: Construct, id_: str, *, settings: Settings) -> None:
        super().__init__(scope, id_)
        backups = settings.backups
        self._bucket = PrivateBucket(self, "bucket", name=backups.bucket_name, force_destroy=settings.force_destroy)
        self._history = table(
            self,
            "history",
            name=backups.history_table_name,
            key="id",
            expires_by="expiresAt",
            is_protected=settings.records.deletion_protection,
        )
        self._plans = settings.backed_up_tables
        self._objects = [f"{self._bucket.arn}/{plan.key_prefix}*" for plan in settings.backed_up_tables]
        self._tags = any(plan.options.tags for plan in settings.backed_up_tables)
        self._writers: list[str] = []
        self._readers: list[str] = []
        self.bucket_name = self._bucket.name
        self.bucket_arn = self._bucket.arn
        self.bucket_id = self._bucket.id
        self.history_table_name = self._history.name
        # A row must not expire before its backup: without it, nobody knows whether the backup is good.
        kept = max(plan.options.expire_after_days for plan in settings.backed_up_tables)
        self.history_days = max(backups.history_days, kept + backups.noncurrent_expire_days)
        self.versioning = self._bucket.versioning
        rules = [lifecycle_rule_of(plan, backups.noncurrent_expire_days) for plan in settings.backed_up_tables]
        expire(self, "lifecycle", self._bucket, rules, moves_small=backups.move_small_backups)

    def grant_write(self, function: Function) -> None:
        """Allow a function to write backups. `complete` denies it to all other roles."""
        tagging = ["s3:PutObjectTagging"] if self._tags else []
        function.allow("WriteBackups", ["s3:PutObject", "s3:AbortMultipartUpload", *tagging], self._objects)
        self._writers.append(function.role.arn)

    def grant_export(self, function: Function) -> None:
        """Allow DynamoDB to export tables to the bucket with the function's permissions.

        Source: DynamoDB Developer Guide, "Requesting a table export".
        """
        exported = [plan for plan in self._plans if plan.options.engine != "scan"]
        objects = [f"{self._bucket.arn}/{plan.key_prefix}*" for plan in exported]
        function.allow("OwnExports", ["s3:PutObjectAcl"], objects)

    def grant_read(self, function: Function) -> None:
        """Allow a function to read and list backups. Without ListBucket, S3 answers 403 for a missing object."""
        # A recorded version is read by its id (S3 API reference, GetObject, "Permissions").
        function.allow("ReadBackups", ["s3:GetObject", "s3:GetObjectVersion"], self._objects)
        function.allow("ListBackups", ["s3:ListBucket"], [self._bucket.arn])
        self._readers.append(function.role.arn)

    def grant_proof(self, function: Function) -> None:
        """Allow a function to read what the history records of a backup. Old backups are found by reading all rows."""
        function.allow("ReadHistory", ["dynamodb:GetItem", "dynamodb:Scan"], [self._history.arn])

    def grant_list(self, function: Function) -> None:
        """Allow a function to list the backups and to read the whole history."""
        function.allow("ListBackups", ["s3:ListBucket"], [self._bucket.arn])
        function.allow("ScanHistory", ["dynamodb:Scan"], [self._history.arn])

    def add_reader(self, role_arn: str) -> None:
        """Add a role that reads backups with its own policy. The audit then expects its access."""
        self._readers.append(role_arn)

    @property
    def role_arns(self) -> list[str]:
        """Return the roles that may read or write backups."""
        # In the order of the grants. A sorted list of references would change with every new resource.
        return list(dict.fromkeys([*self._writers, *self._readers]))

    def grant_history(self, function: Function) -> None:
        """Allow a function to read and write the history."""
        function.allow("KeepHistory", ["dynamodb:GetItem", "dynamodb:UpdateItem"], [self._history.arn])

    def complete(self) -> None:
        """Write the bucket's policy. It denies writes to every role without a grant, including administrators."""
        only_the_backup = policy.Statement(
            "OnlyTheBackupPuts",
            ["s3:PutObject"],
            [f"{self._bucket.arn}/*"],
            effect="Deny",
            principals="*",
            conditions={"ArnNotEquals": {"aws:PrincipalArn": self._writers}},
        )
        self._bucket.restrict([only_the_backup])


def lifecycle_rule_of(plan: TablePlan, noncurrent_days: int) -> LifecycleRule:
    """Return the lifecycle rule of a table's backups."""
    steps = {"STANDARD_IA": plan.options.infrequent_access_after_days, "GLACIER": plan.options.glacier_after_days}
    classes = {name: days for name, days in steps.items() if days is not None}
    return LifecycleRule(
        f"backups-{plan.table_name}", plan.key_prefix, plan.options.expire_after_days, noncurrent_days, classes
    )
