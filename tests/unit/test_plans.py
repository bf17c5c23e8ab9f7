"""The summary of ten recorded plans, as files that a reviewer can read; `ACCEPT=1 pytest` rewrites them."""

from __future__ import annotations

import io
import json
import os
import zipfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from infra import prices
from ops import plan as command
from ops.__main__ import app
from ops.exits import Exit
from ops.plans import guard, summary
from ops.plans.changes import Action, Plan, PlanError, drift_of, parse
from ops.plans.words import zip_changes
from rollbook.contract.retention import MARK

FOLDER = Path(__file__).parent / "plans"
RECORDED = ("add", "change", "code-change", "destroy", "huge", "iam-change", "no-change", "replace", "schedule-change")
NOW = datetime(2026, 2, 10, 12, tzinfo=UTC)
TODAY = NOW.date()


def recorded(name: str) -> Plan:
    return parse((FOLDER / f"{name}.json").read_text())


def context(plan: Plan, *exemptions: guard.Exemption) -> summary.Context:
    return summary.Context(
        environment="local",
        now=NOW,
        prices=prices.of("ap-southeast-1"),
        code=lambda _: ["~ rollbook/messages/mail.py"],
        findings=guard.check(plan, exemptions, TODAY),
    )


@pytest.mark.parametrize("name", RECORDED)
def test_a_summary_is_what_its_reviewers_agreed_on(name: str) -> None:
    plan = recorded(name)
    found = summary.markdown(plan, context(plan))
    path = FOLDER / f"{name}.md"
    if os.environ.get("ACCEPT"):
        path.write_text(found)
    assert found == path.read_text()
    assert len(found) <= summary.LONGEST


def test_a_plan_that_failed_is_refused() -> None:
    with pytest.raises(PlanError, match="planning failed"):
        recorded("failing")


@pytest.mark.parametrize("raw", ["", "[]", "{}", '{"resource_changes": 5}'])
def test_a_document_that_is_not_a_plan_is_refused(raw: str) -> None:
    with pytest.raises(PlanError, match="this is not a plan"):
        parse(raw)


def many(kind: str, action: str, count: int) -> Plan:
    values = {"name": "n" * 60}
    sides = {"before": values, "after": None} if action == "delete" else {"before": None, "after": values}
    changes = [
        {
            "address": f"{kind}.number_{number:05}",
            "mode": "managed",
            "type": kind,
            "name": f"number_{number:05}",
            "change": {"actions": [action], **sides},
        }
        for number in range(count)
    ]
    return parse(json.dumps({"format_version": "1.2", "resource_changes": changes}))


def test_a_long_comment_is_shortened_but_keeps_every_destroy() -> None:
    destroyed, added = many("aws_sqs_queue", "delete", 300), many("aws_iam_role", "create", 2000)
    whole = Plan(destroyed.changes + added.changes, ())
    text = summary.markdown(whole, context(whole))
    assert len(text) <= summary.LONGEST
    assert all(change.address in text for change in destroyed.changes)
    assert "Shortened to fit a comment" in text
    assert "2,000" in text


def test_a_comment_with_many_losses_keeps_the_address_of_each_destroyed_resource() -> None:
    plan = many("aws_sqs_queue", "delete", 1000)
    text = summary.markdown(plan, context(plan))
    assert len(text) <= summary.LONGEST
    assert all(change.address in text for change in plan.changes)
    too_many = many("aws_sqs_queue", "delete", 3000)
    with pytest.raises(PlanError, match="3,000 resources are destroyed or replaced"):
        summary.markdown(too_many, context(too_many))


def test_sensitive_values_are_not_shown() -> None:
    change = {
        "actions": ["update"],
        "before": {"secret": "old-value", "nested": [{"token": "old-token", "name": "a"}]},
        "after": {"secret": "new-value", "nested": [{"token": "new-token", "name": "b"}]},
        "before_sensitive": {"secret": True, "nested": [{"token": True}]},
        "after_sensitive": {"secret": True, "nested": [{}]},
    }
    resource = {"address": "a.b", "mode": "managed", "type": "a", "name": "b", "change": change}
    plan = parse(json.dumps({"format_version": "1.2", "resource_changes": [resource]}))
    for shown in (summary.markdown(plan, context(plan)), json.dumps(summary.as_json(plan, context(plan)))):
        assert "old-" not in shown
        assert "new-" not in shown
        assert "nested[0].name: a" in shown


def test_changes_of_a_zip_are_listed_by_file() -> None:
    def packed(**files: str) -> bytes:
        raw = io.BytesIO()
        with zipfile.ZipFile(raw, "w") as archive:
            for name, text in files.items():
                archive.writestr(name, text)
        return raw.getvalue()

    assert zip_changes(packed(a="1", b="2", c="3"), packed(a="1", b="4", d="5")) == ["~ b", "- c", "+ d"]
    many = packed(**{f"library/{number}.py": "1" for number in range(100)}, a="2")
    assert zip_changes(packed(a="1", z="1"), many) == ["~ a", "- z", "+ library/ (100 files)"]


def changed(name: str, kind: str, **values: tuple[Any, Any]) -> Plan:
    """A plan that changes attributes of one resource."""
    sides = [{key: value[side] for key, value in values.items()} for side in (0, 1)]
    change = {"actions": ["update"], "before": sides[0], "after": sides[1]}
    resource = {"address": f"{kind}.{name}", "mode": "managed", "type": kind, "name": name, "change": change}
    return parse(json.dumps({"format_version": "1.2", "resource_changes": [resource]}))


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


READ = {"Sid": "Read", "Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*"}
TLS = {"Sid": "TlsOnly", "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::b"}
FORBIDDEN = {
    "keep-protection": changed("t", "aws_dynamodb_table", deletion_protection_enabled=(True, False)),
    "keep-buckets-private": changed("b", "aws_s3_bucket_public_access_block", block_public_acls=(True, False)),
    "keep-policies-narrow": changed(
        "p", "aws_iam_role_policy", policy=(policy(READ), policy(READ | {"Action": "s3:*"}))
    ),
    "keep-retention": changed("g", "aws_cloudwatch_log_group", retention_in_days=(365, 30)),
    "keep-watching": changed("a", "aws_cloudwatch_metric_alarm", treat_missing_data=("breaching", "notBreaching")),
    "keep-data": many("aws_s3_bucket", "delete", 1),
    "keep-vaults-locked": many("aws_backup_vault_lock_configuration", "delete", 1),
}


@pytest.mark.parametrize("rule", guard.RULES)
def test_each_rule_stops_its_plan_until_an_exception_allows_it(rule: str) -> None:
    plan = FORBIDDEN[rule]
    [finding] = guard.check(plan, [], TODAY)
    assert (finding.rule, finding.is_allowed) == (rule, False)
    exemption = guard.Exemption(
        rule=rule, address=finding.address, reason="agreed in the review", approved_by="An", expires=TODAY
    )
    assert guard.check(plan, [exemption], TODAY)[0].is_allowed
    [late] = guard.check(plan, [exemption], TODAY + timedelta(days=1))
    assert (late.is_allowed, late.expired) == (False, exemption)
    elsewhere = exemption.model_copy(update={"address": "aws_other.thing"})
    assert not guard.check(plan, [elsewhere], TODAY)[0].is_allowed


@pytest.mark.parametrize(
    "plan",
    [
        changed("p", "aws_iam_role_policy", policy=(policy(READ), policy(READ | {"Resource": "arn:aws:s3:::c/*"}))),
        changed("g", "aws_cloudwatch_log_group", retention_in_days=(30, 365)),
        changed("b", "aws_s3_bucket_policy", policy=(policy(TLS), policy(TLS, READ | {"Principal": {"AWS": "1"}}))),
        many("aws_iam_role", "delete", 1),
        many("aws_s3_bucket", "create", 1),
    ],
)
def test_a_harmless_plan_has_no_findings(plan: Plan) -> None:
    assert guard.check(plan, [], TODAY) == []


def lifecycle(tags: dict[str, str] | None, days: int | None = 1, id_: str = "marked") -> dict[str, Any]:
    """A lifecycle rule as a plan has it."""
    of_filter = {"and": [{"prefix": "b-", "tags": tags}], "prefix": None} if tags else {"and": [], "prefix": "b-"}
    return {"id": id_, "filter": [of_filter], "expiration": [{"days": days}]}


MARKED = lifecycle({MARK: "yes"})
UNMARKED = lifecycle(None, None, "backups")


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ([UNMARKED], [UNMARKED, MARKED], []),
        ([lifecycle(None, 730, "backups")], [UNMARKED, MARKED], []),
        ([UNMARKED, MARKED], [UNMARKED, lifecycle(None)], ["the rule marked deletes objects without the mark, too"]),
        ([UNMARKED], [lifecycle(None, 9, "backups")], ["rule[0].expiration[0].days: unlimited → 9"]),
    ],
)
def test_a_lifecycle_may_delete_only_what_is_marked(
    before: list[dict[str, Any]], after: list[dict[str, Any]], found: list[str]
) -> None:
    plan = changed("store", "aws_s3_bucket_lifecycle_configuration", rule=(before, after))
    assert [each.what for each in guard.check(plan, [], TODAY)] == found


def test_removing_a_deny_statement_is_a_finding() -> None:
    [finding] = guard.check(changed("b", "aws_s3_bucket_policy", policy=(policy(TLS), policy(READ))), [], TODAY)
    assert finding.what == "removes the Deny statement TlsOnly from the bucket policy"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[[exceptions]]", "write [[exception]]"),
        ('[[exception]]\nrule = "keep-data"', "exception 1: address: Field required"),
        (
            '[[exception]]\nrule = "keep-it"\naddress = "a.b"\nreason = "because I say so"\napproved_by = "An"\n'
            "expires = 2026-02-10",
            "there is no rule 'keep-it'; there are: keep-data",
        ),
        ("[[exception", "exceptions.toml"),
    ],
)
def test_an_incomplete_exception_is_refused(tmp_path: Path, text: str, fault: str) -> None:
    path = tmp_path / "exceptions.toml"
    path.write_text(text)
    with pytest.raises(guard.ExceptionsError) as refused:
        guard.load(path)
    assert fault in str(refused.value)


def test_plan_and_guard_end_with_their_exit_codes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exceptions = tmp_path / "exceptions.toml"
    monkeypatch.setattr(command, "EXCEPTIONS", exceptions)

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(app, list(arguments))

    def plan_of(name: str) -> str:
        return str(FOLDER / f"{name}.json")

    assert run("plan", "--env", "local", "--plan", plan_of("no-change")).exit_code == 0
    shown = run("plan", "--env", "local", "--plan", plan_of("replace"))
    assert shown.exit_code == Exit.FINDINGS
    assert "CANNOT be undone" in shown.stdout
    assert run("plan", "--env", "local", "--plan", plan_of("failing")).exit_code == 1
    assert run("plan", "--env", "local", "--plan", "no-such.json").exit_code == 1
    assert run("plan", "--env", "nowhere", "--plan", plan_of("add")).exit_code == 1
    written = run("plan", "--env", "local", "--plan", plan_of("add"), "--out", str(tmp_path / "out"), "--json")
    assert json.loads(written.stdout)["counts"]["add"] > 0
    assert (tmp_path / "out" / "summary.md").read_text().startswith("## Plan of `local`")

    assert run("guard", "--env", "local", "--plan", plan_of("add")).exit_code == 0
    stopped = run("guard", "--env", "local", "--plan", plan_of("replace"))
    assert stopped.exit_code == Exit.REFUSED
    assert "keep-data aws_dynamodb_table." in stopped.stdout
    exemptions = [
        f'[[exception]]\nrule = "{rule}"\naddress = "*"\nreason = "a test that is over"\napproved_by = "An"\n'
        f"expires = {date.today() + timedelta(days=1)}\n"
        for rule in guard.RULES
    ]
    exceptions.write_text("".join(exemptions))
    allowed = run("guard", "--env", "local", "--plan", plan_of("replace"))
    assert allowed.exit_code == 0, allowed.output
    assert "allowed until" in " ".join(allowed.stdout.split())


def test_losses_come_first() -> None:
    plan = recorded("replace")
    actions = [change.action for change in plan.changes]
    assert actions == sorted(actions, key=list(Action).index)
    text = summary.markdown(plan, context(plan))
    assert text.index("Replaced") < text.index("Changed")


def test_only_configured_attributes_drift() -> None:
    change = {"actions": ["update"], "before": {"policy": "", "name": "a"}, "after": {"policy": "x", "name": "b"}}
    resource = {"address": "aws_x.y", "mode": "managed", "type": "aws_x", "name": "y", "change": change}
    gone = resource | {"address": "aws_x.z", "change": {"actions": ["delete"], "before": {"name": "z"}, "after": None}}
    raw = json.dumps({"format_version": "1.2", "resource_drift": [resource, gone]})
    found = drift_of(raw, {}, {"aws_x.y": {"name": "a"}, "aws_x.z": {"name": "z"}})
    assert [(each.action, [part.path for part in each.attributes]) for each in found.changes] == [
        (Action.DESTROY, []),
        (Action.CHANGE, ["name"]),
    ]
    echo = drift_of(raw, {}, {"aws_x.y": {"id": "1"}, "aws_x.z": {}})
    assert [each.address for each in echo.changes] == ["aws_x.z"]


@pytest.mark.parametrize(
    ("after", "is_drift"),
    [
        ({"error_code": 404, "response_code": 0, "response_page_path": ""}, False),
        ({"error_code": 404, "response_code": 200, "response_page_path": "/"}, True),
    ],
)
def test_an_empty_value_from_the_provider_is_not_drift(after: dict[str, object], is_drift: bool) -> None:
    address = "aws_cloudfront_distribution.d"
    row = {"error_code": 404, "response_code": None, "response_page_path": None}
    change = {
        "actions": ["update"],
        "before": {"custom_error_response": [row]},
        "after": {"custom_error_response": [after]},
    }
    kind, name = address.split(".")
    resource = {"address": address, "mode": "managed", "type": kind, "name": name, "change": change}
    raw = json.dumps({"format_version": "1.2", "resource_drift": [resource]})
    found = drift_of(raw, {}, {address: {"custom_error_response": [row]}})
    assert bool(found.changes) is is_drift
