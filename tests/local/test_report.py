"""The report on the embedded AWS: by the operator, by its own function's role, and the metric behind the alarm."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from infra.observability.report_settings import message
from ops import schedule
from ops.__main__ import app
from ops.cloud import Cloud, fetch
from ops.exits import Exit
from tests.conftest import Local, Stacks
from tests.local.aws import mails, wait_for


@pytest.fixture
def backed_up(local: Local, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(Cloud, "of", lambda _: local.cloud)
    return str(fetch(f"{local.cloud.site_url}/backup", method="POST").json()["key"])


def test_the_report_of_a_deployed_stack_has_nothing_unknown(backed_up: str, tmp_path: Path) -> None:
    shown = CliRunner().invoke(app, ["report", "--hours", "1", "--json"])
    found = json.loads(shown.stdout)
    table = found["tables"][0]
    assert [each["table"] for each in found["tables"]] == ["studentData", "welcomed-users"]
    assert (table["table"], table["state"], table["lastKey"]) == ("studentData", "on time", backed_up)
    assert found["unknown"] == []
    assert set(found["vault"]["nextRuns"]) == {"RuleForDailyBackups", "RuleForMonthlyBackups"}
    assert shown.exit_code == (0 if found["isGood"] else Exit.FINDINGS)
    page = tmp_path / "report.html"
    CliRunner().invoke(app, ["report", "--days", "30", "--html", str(page)])
    assert backed_up in page.read_text()
    assert "studentData" in CliRunner().invoke(app, ["report"]).stdout
    assert CliRunner().invoke(app, ["report", "--hours", "1", "--days", "1"]).exit_code == 1


def test_the_report_names_a_disabled_schedule(backed_up: str, local: Local) -> None:
    scheduler = local.cloud.client("scheduler")
    as_it_is = schedule._get(local.cloud)
    kept = {name: as_it_is[name] for name in schedule._FIELDS if name in as_it_is}
    scheduler.update_schedule(**kept | {"State": "DISABLED"})
    try:
        table = json.loads(CliRunner().invoke(app, ["report", "--json"]).stdout)["tables"][0]
    finally:
        scheduler.update_schedule(**kept)
    assert (table["isScheduled"], table["nextAt"], table["why"]) == (False, None, "its schedule is disabled")


def test_the_weekly_mail_is_sent_by_a_role_that_may_read_it_all(backed_up: str, local: Local) -> None:
    function = local.cloud.settings.weekly_report.function_name
    answer = local.cloud.client("lambda").invoke(
        FunctionName=function, Payload=json.dumps(message(local.cloud.settings))
    )
    told = json.loads(answer["Payload"].read())
    assert "FunctionError" not in answer, told
    mail = wait_for(lambda: mails(local, f"Backups: {told['message']}"))[-1]
    assert backed_up in mail["BodyText"]
    assert "could not be read" not in mail["BodyText"]


def test_a_backup_is_a_data_point_of_the_dead_mans_alarm(backed_up: str, local: Local, stacks: Stacks) -> None:
    alarms = stacks.resources("local", "aws_cloudwatch_metric_alarm").values()
    [alarm] = [each for each in alarms if each["alarm_name"] == "studentData-no-backup"]
    now = datetime.now(UTC)

    def points() -> list[float]:
        found = local.cloud.client("cloudwatch").get_metric_statistics(
            Namespace=alarm["namespace"],
            MetricName=alarm["metric_name"],
            Dimensions=[{"Name": name, "Value": value} for name, value in alarm["dimensions"].items()],
            StartTime=now - timedelta(hours=1),
            EndTime=now + timedelta(hours=1),
            Period=alarm["period"],
            Statistics=[alarm["statistic"]],
        )
        return [point[alarm["statistic"]] for point in found["Datapoints"]]

    assert sum(wait_for(points)) >= alarm["threshold"]
