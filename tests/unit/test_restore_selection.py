"""A restore of some records changes those alone, and says what they were before."""

from __future__ import annotations

import importlib
import json
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from typer.testing import Result

from ops.cloud import Cloud
from ops.exits import Exit
from rollbook.engine import fingerprints
from rollbook.engine.dynamodb.batch_write import Writer
from rollbook.engine.restore_request import RestoreRefused
from rollbook.engine.selection import NotSelectable, Selection, Selector
from tests.unit.aws import REGION, Context
from tests.unit.commands import run
from tests.unit.engine import PLACES, Clock, Mail, local, put, restorer, table
from tests.unit.restores import backed_up, delete, into, new


@pytest.fixture
def key(aws: None, mail: Mail, clock: Clock) -> str:
    """A backup of five records, two of which are deleted, and two changed since."""
    put(**{f"SV00{number}": {"n": {"N": "1"}} for number in range(5)})
    made = backed_up(mail, clock)
    delete("SV000", "SV001")
    put(SV002={"n": {"N": "2"}}, SV003={"n": {"N": "2"}})
    return made


def numbers() -> dict[str, str]:
    return {studentid: json.loads(item)["n"]["N"] for studentid, item in table("studentData").items()}


def test_only_the_items_that_were_named_are_restored(key: str, clock: Clock) -> None:
    row = restorer(clock).run(into(key, "differing", selection=Selection(("SV000", "SV002"))), holder="a")
    assert numbers() == {"SV000": "1", "SV002": "1", "SV003": "2", "SV004": "1"}
    assert (row.items, row.written, row.differing, row.extra) == (2, 2, 0, 0)


def test_an_excluded_item_does_not_come_back(key: str, clock: Clock) -> None:
    restorer(clock).run(into(key, selection=Selection(excluded=("SV001",))), holder="a")
    assert numbers() == {"SV000": "1", "SV002": "2", "SV003": "2", "SV004": "1"}


def test_a_new_table_can_have_some_items(key: str, clock: Clock) -> None:
    restorer(clock).run(new(key, selection=Selection(("SV000", "SV001"), ("SV001",))), holder="a")
    assert list(table("restored")) == ["SV000"]


def test_an_item_that_the_backup_does_not_have_is_refused_before_anything_is_written(key: str, clock: Clock) -> None:
    before = numbers()
    with pytest.raises(RestoreRefused, match="the backup has no item SV999; nothing was changed"):
        restorer(clock).run(into(key, selection=Selection(("SV000", "SV999"))), holder="a")
    assert numbers() == before


def test_the_plan_has_the_selected_items_before_and_after(key: str, clock: Clock) -> None:
    plan = restorer(clock).plan(into(key, "differing", selection=Selection(("SV000", "SV002"))))
    shown = {
        json.loads(change.key)["studentid"]["S"]: [
            side and json.loads(side)["n"]["N"] for side in (change.before, change.after)
        ]
        for change in plan.changes
    }
    assert shown == {"SV000": [None, "1"], "SV002": ["2", "1"]}
    assert plan.writes == 2


def test_selections_of_one_backup_are_different_executions(key: str) -> None:
    ids = {into(key, selection=Selection(*each)).id for each in [(), (("a",),), ((), ("a",)), (("a", "b"),)]}
    assert len(ids) == 4
    assert into(key, selection=Selection(("a", "b"))).id == into(key, selection=Selection(("b", "a"))).id


ITEMS = [{"class": {"N": str(grade)}, "at": {"S": f"{day}"}} for grade in (1, 2) for day in (1, 2)]


@pytest.mark.parametrize(
    ("chosen", "wanted"),
    [
        (Selection(("1",)), ITEMS[:2]),
        (Selection(("1.0",)), ITEMS[:2]),
        (Selection(('{"at":{"S":"2"},"class":{"N":"1"}}',)), [ITEMS[1]]),
        (Selection(("1",), ('{"class":{"N":"1"},"at":{"S":"2"}}',)), [ITEMS[0]]),
        (Selection(excluded=("2",)), ITEMS[:2]),
        (Selection(), ITEMS),
    ],
)
def test_a_key_names_a_partition_or_one_item(chosen: Selection, wanted: list[Any]) -> None:
    names = ["class", "at"]
    selector = Selector(chosen, names, ["N", "S"])
    encoded = [json.dumps(item).encode() for item in ITEMS]
    found = selector.select(encoded, lambda item: fingerprints.fingerprint_of(names)(item).key)
    assert [json.loads(item) for item in found] == wanted
    selector.check_found()


@pytest.mark.parametrize("is_excluded", [False, True])
@pytest.mark.parametrize(
    "text",
    ['{"class":{"N":"1"}}', "{no", "ten", '{"class":{"S":"1"},"at":{"S":"1"}}', '{"class":{"N":"1"},"at":{"N":"1"}}'],
)
def test_a_key_that_does_not_fit_the_table_is_refused(text: str, is_excluded: bool) -> None:
    """An excluded key of another type would exclude nothing, and the record would come back."""
    chosen = Selection(excluded=(text,)) if is_excluded else Selection((text,))
    with pytest.raises(NotSelectable, match="is not a"):
        Selector(chosen, ["class", "at"], ["N", "S"])


@pytest.fixture
def function(key: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    variables = {
        "RESTORED_PREFIX": "studentData-restored-",
        "S3_BUCKET_NAME": PLACES.s3_bucket_name,
        "HISTORY_TABLE_NAME": PLACES.history_table_name,
        "HISTORY_DAYS": "400",
        "EVENT_BUS_NAME": PLACES.event_bus_name,
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return importlib.reload(importlib.import_module("handlers.restore"))


def event(key: str, **more: Any) -> dict[str, Any]:
    return {"key": key, "into": "studentData", "confirm": "studentData", **more}


def test_the_function_adds_what_is_missing_unless_overwrite_is_said(function: Any, key: str) -> None:
    assert function.handler(event(key), Context("1"))["written"] == 2
    assert numbers() == {"SV000": "1", "SV001": "1", "SV002": "2", "SV003": "2", "SV004": "1"}
    assert function.handler(event(key, overwrite=True), Context("2"))["written"] == 2
    assert set(numbers().values()) == {"1"}


def test_the_function_restores_the_items_of_its_event(function: Any, key: str) -> None:
    chosen = {"overwrite": True, "items": ["SV000", "SV001", "SV002"], "except": ["SV001"]}
    planned = function.handler(event(key, dryRun=True, **chosen), Context("0"))
    assert [(change["existsBefore"], change["changedAttributes"]) for change in planned["changes"]] == [
        (False, ["n", "studentid"]),
        (True, ["n"]),
    ]
    assert planned["keys"]["added"] == ['{"studentid":{"S":"SV000"}}']
    assert '"2"' not in json.dumps(planned["changes"])
    function.handler(event(key, **chosen), Context("1"))
    assert numbers() == {"SV000": "1", "SV002": "1", "SV003": "2", "SV004": "1"}


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"overwrite": "false"}, "overwrite is 'false'; it must be true or false"),
        ({"overwrite": True, "onlyMissing": True}, "onlyMissing excludes"),
        ({"items": "SV001"}, "items must be a list"),
        ({"items": []}, "items must be a list of one or more"),
        ({"except": [1]}, "except must be a list"),
        ({"confirm": "other"}, "changes the table; to confirm"),
        ({"indexesAfter": True}, "indexesAfter is for a new table"),
        ({"item": ["SV001"]}, r"unknown keys: \['item'\]"),
    ],
)
def test_an_event_that_is_unclear_is_refused(function: Any, key: str, more: dict[str, Any], reason: str) -> None:
    with pytest.raises(RestoreRefused, match=reason):
        function.handler(event(key, **more), Context())


@pytest.fixture
def cloud(aws: None, monkeypatch: pytest.MonkeyPatch) -> Any:
    backups = SimpleNamespace(
        bucket_name=PLACES.s3_bucket_name, history_table_name=PLACES.history_table_name, history_days=400
    )
    records = SimpleNamespace(table_name="studentData")
    settings = SimpleNamespace(name="school", region=REGION, backups=backups, records=records)
    made = SimpleNamespace(settings=settings, items=lambda: local().dynamodb, client=boto3.client)
    monkeypatch.setattr(Cloud, "of", lambda _: made)
    return made


def restore(key: str, *options: str, typed: str | None = None) -> Result:
    return run("backups", "restore", key, *options, typed=typed)


CONFIRMED = ("--into", "studentData", "--confirm", "studentData")


def test_the_command_adds_what_is_missing_unless_overwrite_is_said(cloud: Any, key: str) -> None:
    added = restore(key, *CONFIRMED)
    assert added.exit_code == Exit.GOOD, added.output
    assert "Not written: 2 items differ" in added.stdout
    assert numbers() == {"SV000": "1", "SV001": "1", "SV002": "2", "SV003": "2", "SV004": "1"}
    assert restore(key, *CONFIRMED, "--overwrite").exit_code == Exit.GOOD
    assert set(numbers().values()) == {"1"}


def test_the_command_asks_with_everything_that_can_be_wrong(cloud: Any, key: str) -> None:
    asked = restore(key, "--into", "studentData", typed="other\n")
    assert asked.exit_code == Exit.REFUSED
    for fact in ("school", "123456789012", REGION, f"s3://student-backup/{key}", "studentData", "no item is replaced"):
        assert fact in asked.stderr
    assert len(numbers()) == 3
    assert restore(key, "--into", "studentData", typed="studentData\n").exit_code == Exit.GOOD
    assert len(numbers()) == 5


def test_the_command_shows_the_named_items_before_and_after_and_restores_them(
    cloud: Any, key: str, tmp_path: Any
) -> None:
    file = tmp_path / "keys"
    file.write_text("SV002\n\nSV003\n")
    chosen = ("--overwrite", "--item", "SV000", "--item", f"@{file}", "--except", "SV003")
    shown = restore(key, *CONFIRMED, *chosen)
    assert shown.exit_code == Exit.GOOD, shown.output
    lines = shown.stdout.splitlines()
    assert "  before  no item" in lines
    assert [line for line in lines if line.startswith("  before") and '"2"' in line]
    assert numbers() == {"SV000": "1", "SV002": "1", "SV003": "2", "SV004": "1"}


def test_only_items_that_a_restore_would_write_have_an_after(cloud: Any, key: str) -> None:
    """SV004 is equal in both, SV002 and SV003 differ and are left, SV000 is missing."""
    planned = restore(key, "--into", "studentData", "--dry-run", "--except", "SV001")
    assert planned.exit_code == Exit.GOOD, planned.output
    lines = planned.stdout.splitlines()
    assert not [line for line in lines if "SV004" in line]
    assert "1 selected item is in the table as in the backup" in lines
    [after] = [line for line in lines if line.startswith("  after   {")]
    assert "SV000" in after
    assert len([line for line in lines if line.startswith("  after   as before")]) == 2
    overwritten = restore(key, "--into", "studentData", "--dry-run", "--except", "SV001", "--overwrite")
    assert len([line for line in overwritten.stdout.splitlines() if line.startswith("  after   {")]) == 3


def test_the_dry_run_names_keys_by_kind(cloud: Any, key: str) -> None:
    planned = restore(key, "--into", "studentData", "--dry-run")
    assert planned.exit_code == Exit.GOOD
    assert "added: not in the table" in planned.stdout
    assert "replaced: differ, and it is unknown which is newer; they are left without --overwrite" in planned.stdout
    assert '  {"studentid":{"S":"SV002"}}' in planned.stdout
    answer = json.loads(restore(key, "--into", "studentData", "--dry-run", "--json").stdout)
    assert sorted(each["studentid"]["S"] for each in answer["keys"]["added"]) == ["SV000", "SV001"]
    assert answer["writes"] == 2


def test_the_command_names_every_refused_item(
    cloud: Any, mail: Mail, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(**{f"SV0{number:02}": {} for number in range(60)})
    key = backed_up(mail, clock)

    def refusing(*_: Any) -> Any:
        raise ClientError({"Error": {"Code": "ValidationException", "Message": "too odd"}}, "BatchWriteItem")

    monkeypatch.setattr(Writer, "_attempt", refusing)
    ended = restore(key, "--to", "restored")
    assert ended.exit_code == Exit.FINDINGS
    for number in range(60):
        assert ended.stderr.count(f'{{"studentid":{{"S":"SV0{number:02}"}}}}: too odd') == 1


@pytest.mark.parametrize(
    "options",
    [
        ("--into", "t", "--only-missing", "--overwrite"),
        ("--into", "t", "--indexes-after"),
        ("--into", "t", "--kms-key", "aws-owned"),
        ("--into", "t", "--item", "@/nowhere/keys"),
    ],
)
def test_options_that_exclude_each_other_are_refused(cloud: Any, key: str, options: tuple[str, ...]) -> None:
    assert restore(key, *options).exit_code == Exit.FAILED
    assert len(numbers()) == 3


def test_the_event_says_whether_a_chain_is_restored(function: Any, key: str) -> None:
    new_table = {"key": key, "to": "studentData-restored-1"}
    assert not function.parse(new_table).chain
    assert not function.parse(new_table | {"chain": False}).chain
    whole = function.parse(new_table | {"chain": True})
    assert whole.chain
    assert whole.id == f"{function.parse(new_table).id}#chain"
    assert function.parse(event(key, chain=True)).chain


@pytest.mark.parametrize("value", ["true", 1, None, []])
def test_a_chain_that_is_neither_true_nor_false_is_refused(function: Any, key: str, value: Any) -> None:
    with pytest.raises(RestoreRefused, match="it must be true or false"):
        function.parse(event(key, chain=value))
