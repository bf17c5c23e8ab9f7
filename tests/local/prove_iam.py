"""Shows that every action of every function's role is needed: `make prove-iam`.

Takes one action at a time out of a role's policy, by IAM's API on the embedded AWS, and runs what the role is for:
it has to fail. Ends with 1 if an action can go and nothing fails, unless it is listed here with the reason why that
cannot be shown.
"""

from __future__ import annotations

import copy
import json
import shutil
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from infra.observability.report_settings import message
from infra.settings import ENVIRONMENTS, load
from ops.cloud import Cloud, fetch
from ops.console import ROOT, out
from ops.local.aws import mails, open_links, prepare_account
from ops.local.emulator import Emulator
from ops.local.stack import terraform_in
from rollbook.contract.fields import to_texts
from tests.conftest import synthesize
from tests.ports import free_port

_EXPORTS = "no flow here exports (tests/local/test_dynamodb_rules.py)"
# Policies that no flow on the embedded AWS can show to be needed, and why.
NOT_SHOWN = {
    "WriteLog": "the emulator writes a function's log itself",
    "SendDeadLetters": "the emulator sends dead letters itself",
    "TellOfFailures": "the emulator tells a destination itself",
    "ExportRecords": _EXPORTS,
    "LookAtExports": _EXPORTS,
    "ExportFleet": _EXPORTS,
    "LookAtFleetExports": _EXPORTS,
    "OwnExports": _EXPORTS,
    "AnswerRestores": "the emulator has no restore tests",
    "CompareTables": "the emulator has no restore tests",
    "CopyFrom": "the emulator copies no database snapshots",
    "CopyTo": "the emulator copies no database snapshots",
    "DeleteCopies": "the emulator copies no database snapshots",
    "DescribeKeys": "the emulator copies no database snapshots",
    "GrantKeys": "the emulator copies no database snapshots",
    "RecognizeManagedKey": "without it a restore sends the id of the key, which the emulator accepts",
    "LookAtSnapshots": "the emulator copies no database snapshots",
}
NOT_SHOWN_ACTIONS = {
    "s3:AbortMultipartUpload": "only an upload that fails after its first part is aborted (tests/unit/test_faults.py)",
    "s3:ListBucket": "without it S3 says Forbidden of a key that is not there; the emulator says it is not there",
}
_OTHER_TABLES = "only of a table with TTL, stream, tags or protection, which the records locally are not"
NOT_SHOWN_OF_ROLES = {
    ("DrillStudentBackupRole", "ses:SendEmail"): "a drill mails only that it failed (tests/unit/test_restore.py)",
    ("RestoreStudentDataRole", "dynamodb:GetItem"): "only a restore that waits for another reads its row",
    ("RestoreStudentDataRole", "dynamodb:DeleteItem"): "only an incremental export deletes records",
    ("RestoreStudentDataRole", "dynamodb:PutItem"): "into a copy only by a continued restore (test_restore_again.py)",
    ("RestoreStudentDataRole", "dynamodb:DescribeTimeToLive"): _OTHER_TABLES,
    ("RestoreStudentDataRole", "dynamodb:TagResource"): _OTHER_TABLES,
    ("RestoreStudentDataRole", "dynamodb:UpdateTable"): _OTHER_TABLES,
    ("RestoreStudentDataRole", "dynamodb:UpdateTimeToLive"): _OTHER_TABLES,
}
# Roles that only work on what the emulator does not have.
NOT_SHOWN_ROLES = {
    "FinishStudentExportRole": _EXPORTS,
    "ValidateRestoredTableRole": "the emulator has no restore tests",
    "CopyDatabaseSnapshotRole": "the emulator copies no database snapshots",
}


class Failed(RuntimeError):
    """A flow did not do what it is for."""


@dataclass(frozen=True)
class Flows:
    """What the roles are for, each run to its end."""

    cloud: Cloud
    port: int

    def of(self, role: str) -> Callable[[], None] | None:
        """Return the flow of a role, or None if there is none."""
        return {
            "getStudentDataRole": self.get,
            "insertStudentDataRole": self.insert,
            "DynamoDBBackupRoleStudent": self.back_up,
            "VerifyStudentBackupRole": self.verify,
            "RestoreStudentDataRole": self.restore,
            "DrillStudentBackupRole": self.drill,
            "SendWelcomeEmailRole": self.welcome,
            "AuditBackupAccessRole": self.audit,
            "SendBackupReportRole": self.report,
        }.get(role)

    def get(self) -> None:
        answer = fetch(f"{self.cloud.site_url}/students")
        if answer.status != 200:
            raise Failed(str(answer.status))

    def insert(self) -> None:
        record = {"studentid": str(uuid.uuid4()), "name": "An", "class": "1", "birthdate": "2009-01-01"}
        answer = fetch(
            f"{self.cloud.site_url}/students",
            method="POST",
            headers={"Content-Type": "application/json"},
            body=json.dumps(record | {"email": "an@a.example"}).encode(),
        )
        if answer.status != 201 or "warning" in answer.json():
            raise Failed(answer.body.decode())

    def back_up(self) -> None:
        self._invoke("BackupDynamoDBAndSendEmail", {})
        [plan] = self.cloud.settings.backed_up_tables[1:]
        self._invoke("BackupDynamoDBAndSendEmail", {"table": to_texts(plan.job)})
        # Once more what was uploaded while its row was lost: the backup reads it back.
        moment = f"{2100 + uuid.uuid4().int % 7000}-01-01T00:00:00Z"
        event = {"source": "schedule", "scheduledTime": moment}
        self._invoke("BackupDynamoDBAndSendEmail", event)
        table = self.cloud.settings.records.table_name
        self.cloud.client("dynamodb").delete_item(
            TableName=self.cloud.settings.backups.history_table_name, Key={"id": {"S": f"schedule#{table}#{moment}"}}
        )
        self._invoke("BackupDynamoDBAndSendEmail", event)

    def verify(self) -> None:
        key = self._backup()
        self._invoke("VerifyStudentBackup", {"key": key})
        self._invoke("VerifyStudentBackup", {"key": key, "against": self.cloud.settings.records.table_name})

    def restore(self) -> None:
        key, table = self._backup(), self.cloud.settings.records.table_name
        new = f"{table}-restored-{uuid.uuid4().hex[:8]}"
        try:
            self._invoke("RestoreStudentData", {"key": key, "to": new})
            self._damage(table)
            self._invoke("RestoreStudentData", {"key": key, "into": table, "confirm": table, "overwrite": True})
        finally:
            dynamodb = self.cloud.client("dynamodb")
            if new in dynamodb.list_tables()["TableNames"]:
                dynamodb.delete_table(TableName=new)

    def _damage(self, table: str) -> None:
        """Change a record, so that the restore has to read and replace it.

        The value is new each time: a flow that failed leaves the last one in the table, and in the next backup.
        """
        dynamodb = self.cloud.client("dynamodb")
        record = dynamodb.scan(TableName=table, Limit=1)["Items"][0]
        dynamodb.put_item(TableName=table, Item={"studentid": record["studentid"], "name": {"S": str(uuid.uuid4())}})

    def drill(self) -> None:
        self._backup()
        self._invoke("DrillStudentBackup", {})
        [plan], [drill] = self.cloud.settings.backed_up_tables[1:], self.cloud.settings.drill_plans[1:]
        self._invoke("BackupDynamoDBAndSendEmail", {"table": to_texts(plan.job)})
        self._invoke("DrillStudentBackup", {"table": to_texts(drill.job)})

    def welcome(self) -> None:
        event = {"id": str(uuid.uuid4()), "detail": {"name": "An", "email": "an@a.example"}}
        self._invoke("SendWelcomeEmail", event)
        self._invoke("SendWelcomeEmail", event)
        try:
            self._invoke("SendWelcomeEmail", {"id": str(uuid.uuid4()), "detail": {}})
        except Failed as malformed:
            if "is malformed" not in str(malformed):
                raise

    def audit(self) -> None:
        records = json.loads((ROOT / "tests/unit/cloudtrail.json").read_text())
        self._invoke("AuditBackupAccess", {"id": "1", "detail": records["IAM user reads"]["record"]})

    def report(self) -> None:
        self._invoke("SendBackupReport", message(self.cloud.settings))
        newest = [mail for mail in mails(self.port) if mail["Subject"].startswith("Backups:")][-1]
        if "could not be read" in newest["BodyText"]:
            raise Failed(newest["BodyText"])

    def _backup(self) -> str:
        return str(self._invoke("BackupDynamoDBAndSendEmail", {})["key"])

    def _invoke(self, name: str, event: dict[str, Any]) -> Any:
        answer = self.cloud.client("lambda").invoke(FunctionName=name, Payload=json.dumps(event))
        told = answer["Payload"].read().decode()
        if "FunctionError" in answer:
            raise Failed(told)
        return json.loads(told)


def without_each_action(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """Yield each action of a policy, and the policy without it; None if nothing is left."""
    for number, statement in enumerate(document["Statement"]):
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        for action in actions:
            changed = copy.deepcopy(document)
            left = [other for other in actions if other != action]
            if left:
                changed["Statement"][number]["Action"] = left
            else:
                del changed["Statement"][number]
            yield action, changed if changed["Statement"] else None


def prove(cloud: Cloud, port: int) -> int:
    """Take away every action once, print what became of it, and return how many were not needed."""
    iam, flows = cloud.client("iam"), Flows(cloud, port)
    flows.insert()  # a table without records would be restored without a write
    table = Table("Role", "Policy", "Action", "Without it", box=None)
    spare = 0
    for role in sorted(found["RoleName"] for found in iam.list_roles()["Roles"]):
        flow = flows.of(role)
        if flow is not None:
            flow()  # it does what it is for while nothing is taken away
        for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
            document = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
            for action, changed in without_each_action(document):
                reason = NOT_SHOWN_ROLES.get(role) or NOT_SHOWN.get(name) or NOT_SHOWN_ACTIONS.get(action)
                reason = reason or NOT_SHOWN_OF_ROLES.get((role, action))
                if reason is None and flow is None:
                    reason = "a schedule's or a service's role: tests/local/test_iam.py"
                if reason is None and flow is not None:
                    is_needed = _fails_without(iam, role, name, document, changed, flow)
                    reason = "fails" if is_needed else "[bold red]nothing fails[/]"
                    spare += not is_needed
                table.add_row(role, name, action, reason)
    out.print(table)
    out.print(f"{spare} actions that nothing needs" if spare else "every action that can be shown is needed")
    return spare


def _fails_without(
    iam: Any,
    role: str,
    name: str,
    document: dict[str, Any],
    changed: dict[str, Any] | None,
    flow: Callable[[], None],
) -> bool:
    if changed is None:
        iam.delete_role_policy(RoleName=role, PolicyName=name)
    else:
        iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(changed))
    try:
        flow()
    except Failed:
        return True
    else:
        return False
    finally:
        iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(document))


def main() -> None:
    """Raise the local stack on an embedded AWS of its own, and prove."""
    folder = Path(tempfile.mkdtemp(prefix="rollbook-"))
    emulator = Emulator(folder / "emulator", free_port())
    try:
        stacks = synthesize(folder / "cdktf.out")
        emulator.start()
        terraform = terraform_in(stacks.path("local"), emulator.port)
        terraform.init()
        settings = load(ENVIRONMENTS / "local.toml")
        prepare_account(emulator.port, settings)
        terraform.apply()
        open_links(emulator.port, settings.region)
        spare = prove(Cloud(settings, terraform.outputs(), emulator.port), emulator.port)
    finally:
        emulator.stop()
        shutil.rmtree(folder)
    sys.exit(1 if spare else 0)


if __name__ == "__main__":
    main()
