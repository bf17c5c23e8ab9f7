"""The bucket of the backups and the history table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from constructs import Construct

from infra.constructs import policy
from infra.constructs.bucket import PrivateBucket
from infra.constructs.function import Function
from infra.constructs.lifecycle import LifecycleRule, expire
from infra.constructs.table import table
from infra.settings import Settings
from infra.settings.backups import TablePlan
from rollbook.contract.retention import MARK, OWN_TAGS, PIN, SMOKE, SMOKE_DAYS, YES


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
        self._markers: list[str] = []
        self.bucket_name = self._bucket.name
        self.bucket_arn = self._bucket.arn
        self.bucket_id = self._bucket.id
        self.history_table_name = self._history.name
        self.history_table_arn = self._history.arn
        # A row must not expire before its backup, because it shows whether the backup is good. Of a table with
        # a retention, the function that marks backups extends the rows of those that it keeps.
        kept = max(plan.options.expire_after_days for plan in settings.backed_up_tables)
        self.history_days = max(backups.history_days, kept + backups.noncurrent_expire_days)
        self.versioning = self._bucket.versioning
        noncurrent = backups.noncurrent_expire_days
        rules = [
            rule
            for plan in settings.backed_up_tables
            for rule in (
                marked_rules_of(plan, noncurrent) if plan.options.retention else [lifecycle_rule_of(plan, noncurrent)]
            )
        ]
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

    def grant_mark(self, function: Function) -> None:
        """Allow a function to mark and pin backups. `complete` denies it to all other roles.

        The function writes all tags of an object, so the tags of the backups are allowed, too. `ForAllValues` is also
        true for a request without tags, which removes the last one (IAM User Guide, "Set operators for multivalued
        context keys").
        """
        retained = [plan for plan in self._plans if plan.options.retention]
        objects = [f"{self._bucket.arn}/{plan.key_prefix}*" for plan in retained]
        names = sorted(OWN_TAGS.union(*(plan.options.tags for plan in retained)))
        function.allow("ReadTags", ["s3:GetObjectTagging"], objects)
        function.allow(
            "MarkBackups",
            ["s3:PutObjectTagging"],
            objects,
            {
                "ForAllValues:StringEquals": {"s3:RequestObjectTagKeys": names},
                "StringEqualsIfExists": {f"s3:RequestObjectTag/{name}": YES for name in sorted(OWN_TAGS)},
            },
        )
        self._markers.append(function.role.arn)

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
        self._bucket.restrict([only_the_backup, *(self._tagging() if self._markers else [])])

    def _tagging(self) -> list[policy.Statement]:
        """Deny changes of tags. An upload with tags is a PutObject and a PutObjectTagging with the same tags.

        Sources: S3 User Guide, "Tagging and access control policies"; Service Authorization Reference, "Amazon S3".
        """
        objects = [f"{self._bucket.arn}/*"]
        own: dict[str, Mapping[str, Any]] = {"ForAnyValue:StringEquals": {"s3:RequestObjectTagKeys": sorted(OWN_TAGS)}}
        pinned: dict[str, Mapping[str, Any]] = {"StringEquals": {f"s3:ExistingObjectTag/{PIN}": YES}}
        not_the_marker: dict[str, Mapping[str, Any]] = {"ArnNotEquals": {"aws:PrincipalArn": self._markers}}
        uploaders = self._writers if self._tags else []
        return [
            policy.Statement(
                "OnlyTheRetentionMarks",
                ["s3:PutObject", "s3:PutObjectTagging"],
                objects,
                effect="Deny",
                principals="*",
                conditions=own | not_the_marker,
            ),
            # The request would remove the tags that it does not name.
            policy.Statement(
                "OnlyTheRetentionUnpins",
                ["s3:PutObjectTagging"],
                objects,
                effect="Deny",
                principals="*",
                conditions=pinned | not_the_marker,
            ),
            policy.Statement(
                "OnlyBackupsAndRetentionTag",
                ["s3:PutObjectTagging"],
                objects,
                effect="Deny",
                principals="*",
                conditions={"ArnNotEquals": {"aws:PrincipalArn": [*self._markers, *uploaders]}},
            ),
            policy.Statement(
                "NoOtherWayToTag",
                [
                    "s3:DeleteObjectTagging",
                    "s3:DeleteObjectVersionTagging",
                    "s3:PutObjectVersionTagging",
                    "s3:ReplicateTags",
                ],
                objects,
                effect="Deny",
                principals="*",
            ),
        ]


def marked_rules_of(plan: TablePlan, noncurrent_days: int) -> list[LifecycleRule]:
    """Return the lifecycle rules of a table with a retention: what has no mark is kept.

    S3 counts the days of an expiration from the object's creation. So a marked object becomes noncurrent at the next
    midnight (UTC), and the mark can be undone for the noncurrent days.
    """
    rule = lifecycle_rule_of(plan, noncurrent_days)
    smoke = f"{plan.key_prefix}{SMOKE}"
    return [
        replace(rule, expire_days=None, noncurrent_days=None),
        LifecycleRule(f"marked-{plan.table_name}", plan.key_prefix, 1, noncurrent_days, tags={MARK: YES}),
        LifecycleRule(f"smoke-{plan.table_name}", smoke, SMOKE_DAYS, SMOKE_DAYS),
    ]


def lifecycle_rule_of(plan: TablePlan, noncurrent_days: int) -> LifecycleRule:
    """Return the lifecycle rule of a table's backups."""
    steps = {"STANDARD_IA": plan.options.infrequent_access_after_days, "GLACIER": plan.options.glacier_after_days}
    classes = {name: days for name, days in steps.items() if days is not None}
    return LifecycleRule(
        f"backups-{plan.table_name}", plan.key_prefix, plan.options.expire_after_days, noncurrent_days, classes
    )
