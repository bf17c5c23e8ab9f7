"""AWS Backup on a bare emulator: which resources a selection assigns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.bare import (
    ACCOUNT,
    REGION,
    Clients,
    a_name,
    ask,
)


@dataclass(frozen=True)
class Selections:
    """Backup selections of one plan, and three tables to select."""

    aws: Clients
    port: int
    plan_id: str
    tables: dict[str, str]

    def assigned(self, **wanted: Any) -> set[str]:
        """Return which of the three a selection assigns."""
        selection = {"SelectionName": a_name(), "IamRoleArn": f"arn:aws:iam::{ACCOUNT}:role/backup", **wanted}
        made = self.aws("backup").create_backup_selection(BackupPlanId=self.plan_id, BackupSelection=selection)
        wanted = {"Region": REGION, "SelectionId": made["SelectionId"]}
        arns = ask(self.port, "backup-selection", wanted)["ResourceArns"]
        return {name for name, arn in self.tables.items() if arn in arns}


@pytest.fixture(scope="module")
def selections(bare_port: int) -> Selections:
    aws = Clients(bare_port)
    plan = {"BackupPlanName": a_name(), "Rules": [{"RuleName": "r", "TargetBackupVaultName": "v"}]}
    tables = {}
    for name, tags in {
        "daily": {"backup": "daily", "env": "prod"},
        "weekly": {"backup": "weekly", "env": "production"},
        "none": {},
    }.items():
        tables[name] = aws("dynamodb").create_table(
            TableName=a_name(),
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
            Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
        )["TableDescription"]["TableArn"]
    plan_id = aws("backup").create_backup_plan(BackupPlan=plan)["BackupPlanId"]
    return Selections(aws, bare_port, plan_id, tables)


def tagged(operator: str, *pairs: tuple[str, str]) -> dict[str, list[dict[str, str]]]:
    return {operator: [{"ConditionKey": f"aws:ResourceTag/{key}", "ConditionValue": value} for key, value in pairs]}


def any_tag(key: str, value: str) -> dict[str, str]:
    return {"ConditionType": "STRINGEQUALS", "ConditionKey": key, "ConditionValue": value}


def test_a_selection_with_an_empty_condition_and_a_star_assigns_everything(selections: Selections) -> None:
    everything = {"daily", "weekly", "none"}
    assert selections.assigned(Resources=["*"], Conditions={"StringEquals": []}) == everything
    assert selections.assigned(Resources=["*"], Conditions={}) == everything
    assert selections.assigned(Resources=["*"], Conditions=tagged("StringEquals", ("backup", "daily"))) == {"daily"}


def test_a_selection_assigns_by_arn_by_any_tag_and_by_all_conditions(selections: Selections) -> None:
    assigned, arns = selections.assigned, selections.tables
    assert assigned() == set(arns), "a selection of nothing assigns everything"
    assert assigned(Resources=[arns["none"]]) == {"none"}
    assert assigned(Resources=["arn:aws:s3:::*"]) == set()
    assert assigned(ListOfTags=[any_tag("backup", "daily"), any_tag("backup", "weekly")]) == {"daily", "weekly"}
    assert assigned(ListOfTags=[any_tag("backup", "Daily")]) == set(), "values are case-sensitive"
    assert assigned(ListOfTags=[any_tag("backup", "daily")], Resources=[arns["none"]]) == {"daily", "none"}
    both = tagged("StringEquals", ("backup", "daily"), ("env", "production"))
    assert assigned(Resources=["*"], Conditions=both) == set()
    assert assigned(Resources=["*"], Conditions=tagged("StringLike", ("env", "*rod*"))) == {"daily", "weekly"}
    assert assigned(Resources=["*"], Conditions=tagged("StringNotEquals", ("env", "prod"))) == {"weekly", "none"}
    assert assigned(Resources=["*"], Conditions=tagged("StringNotLike", ("env", "prod*"))) == {"none"}
    assert assigned(Resources=["*"], NotResources=[arns["weekly"]]) == {"daily", "none"}


def test_a_selection_refuses_a_wildcard_that_is_not_at_the_end(selections: Selections) -> None:
    with pytest.raises(ClientError, match="InvalidParameterValueException"):
        selections.assigned(Resources=["arn:aws:s3:::*-logs"])
