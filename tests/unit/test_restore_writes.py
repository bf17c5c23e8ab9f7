"""One refused item blocks no other, and what was saved during a restore is not overwritten."""

from __future__ import annotations

import json
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from rollbook.engine.dynamodb import raw
from rollbook.engine.dynamodb.batch_write import NotWritten, Writer
from rollbook.engine.restore_request import NotEqual
from tests.unit.engine import Clock, Mail, executions, local, put, restorer, table
from tests.unit.restores import backed_up, delete, into, new, once_at
from tests.unit.test_export import put_changes, restored_to_the_beginning

REASON = "One or more parameter values were invalid: Type mismatch for Index Key name Expected: S Actual: N"


def refuse(monkeypatch: pytest.MonkeyPatch, *bad: str) -> list[int]:
    """Refuse each request that contains one of some items, as DynamoDB does, and note the sizes of the batches."""
    client = local().dynamodb
    sizes: list[int] = []

    def refusing(operation: str, text_of: Any) -> None:
        real = getattr(client, operation)

        def call(**request: Any) -> Any:
            text = text_of(request)
            sizes.append(text.count(b'"studentid"'))
            if any(b'"%s"' % studentid.encode() in text for studentid in bad):
                raise ClientError({"Error": {"Code": "ValidationException", "Message": REASON}}, operation)
            return real(**request)

        monkeypatch.setattr(client, operation, call)

    refusing("batch_write_item", lambda request: next(iter(request["RequestItems"].values())))
    refusing("put_item", lambda request: request["Item"] if isinstance(request["Item"], bytes) else b"")
    return sizes


@pytest.mark.parametrize("parallel", [1, 4])
def test_a_refused_item_does_not_block_the_others(
    aws: None, mail: Mail, clock: Clock, monkeypatch: pytest.MonkeyPatch, parallel: int
) -> None:
    put(**{f"SV{number:03}": {"n": {"N": "1"}} for number in range(200)})
    key = backed_up(mail, clock)
    refuse(monkeypatch, "SV000", "SV055", "SV056")
    with pytest.raises(NotWritten) as refused:
        restorer(clock, parallel=parallel).run(new(key), holder="a")
    assert sorted(json.loads(item.key)["studentid"]["S"] for item in refused.value.refused) == [
        "SV000",
        "SV055",
        "SV056",
    ]
    assert {item.reason for item in refused.value.refused} == {REASON}
    assert f'{{"studentid":{{"S":"SV055"}}}}: {REASON}' in str(refused.value)
    assert str(refused.value).endswith("All other items are equal to the backup.")
    assert len(table("restored")) == 197
    [row] = [row for row in executions() if row["kind"]["S"] == "restore"]
    assert row["status"]["S"] == "failed"
    assert "SV056" in row["error"]["S"]


def test_a_refused_item_of_a_batch_is_found_in_few_requests(monkeypatch: pytest.MonkeyPatch, aws: None) -> None:
    sizes = refuse(monkeypatch, "SV07")
    requests = [raw.put(b'{"studentid":{"S":"SV%02d"}}' % number) for number in range(25)]
    with pytest.raises(NotWritten, match="1 writes to studentData failed; 24 succeeded"):
        Writer(local().dynamodb, "studentData", key_names=["studentid"]).write(requests)
    assert len(sizes) <= 1 + 2 * 5


def test_a_refused_item_among_missing_ones_does_not_block_the_others(
    aws: None, mail: Mail, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(SV001={}, SV002={}, SV003={})
    key = backed_up(mail, clock)
    delete("SV001", "SV002", "SV003")
    refuse(monkeypatch, "SV002")
    with pytest.raises(NotWritten, match="1 writes to studentData failed; 2 succeeded"):
        restorer(clock, parallel=1).run(into(key), holder="a")
    assert sorted(table("studentData")) == ["SV001", "SV003"]


def test_an_error_of_every_item_ends_the_writing(
    aws: None, mail: Mail, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(**{f"SV{number:03}": {} for number in range(100)})
    key = backed_up(mail, clock)
    calls: list[int] = []

    def denied(**_: Any) -> Any:
        calls.append(1)
        raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "BatchWriteItem")

    monkeypatch.setattr(local().dynamodb, "batch_write_item", denied)
    with pytest.raises(NotWritten, match="AccessDeniedException"):
        restorer(clock, parallel=1).run(new(key), holder="a")
    assert len(calls) == 1


def test_indexes_can_be_made_after_the_items(aws: None, mail: Mail, clock: Clock) -> None:
    with_index()
    put(SV001={"name": {"S": "An"}})
    key = backed_up(mail, clock)
    indexes: list[Any] = []

    def note() -> None:
        indexes.append(boto3.client("dynamodb").describe_table(TableName="restored")["Table"])

    restorer(clock, progress=once_at("Writing", note)).run(new(key, indexes_after=True), holder="a")
    assert not indexes[0].get("GlobalSecondaryIndexes")
    assert indexes[0]["AttributeDefinitions"] == [{"AttributeName": "studentid", "AttributeType": "S"}]
    made = boto3.client("dynamodb").describe_table(TableName="restored")["Table"]
    assert [index["IndexName"] for index in made["GlobalSecondaryIndexes"]] == ["by-name", "by-class"]


def with_index() -> None:
    for name in ("name", "class"):
        boto3.client("dynamodb").update_table(
            TableName="studentData",
            AttributeDefinitions=[
                {"AttributeName": "studentid", "AttributeType": "S"},
                {"AttributeName": name, "AttributeType": "S"},
            ],
            GlobalSecondaryIndexUpdates=[
                {
                    "Create": {
                        "IndexName": f"by-{name}",
                        "KeySchema": [{"AttributeName": name, "KeyType": "HASH"}],
                        "Projection": {"ProjectionType": "ALL"},
                    }
                }
            ],
        )


def test_what_was_saved_meanwhile_is_not_overwritten_by_only_missing(aws: None, mail: Mail, clock: Clock) -> None:
    put(SV001={"n": {"N": "1"}}, SV002={"n": {"N": "1"}})
    key = backed_up(mail, clock)
    delete("SV001", "SV002")
    saved = once_at("Writing", lambda: put(SV001={"n": {"N": "2"}}))
    row = restorer(clock, progress=saved).run(into(key, "missing"), holder="a")
    assert json.loads(table("studentData")["SV001"])["n"] == {"N": "2"}
    assert sorted(table("studentData")) == ["SV001", "SV002"]
    assert (row.written, row.kept, row.kept_keys) == (1, 1, ['{"studentid":{"S":"SV001"}}'])


@pytest.mark.parametrize("meanwhile", [{"n": {"N": "3"}}, {"n": {"N": "2"}, "new": {"S": "x"}}, {}])
def test_what_was_changed_meanwhile_is_not_overwritten_by_only_differing(
    aws: None, mail: Mail, clock: Clock, meanwhile: dict[str, Any]
) -> None:
    put(SV001={"n": {"N": "1"}}, SV002={"n": {"N": "1"}})
    key = backed_up(mail, clock)
    put(SV001={"n": {"N": "2"}}, SV002={"n": {"N": "2"}})
    changed = once_at("Writing", lambda: put(SV001=meanwhile))
    with pytest.raises(NotEqual, match=r'1 items were changed during the restore.*\n  changed: .*"SV001"'):
        restorer(clock, progress=changed).run(into(key, "differing"), holder="a")
    assert json.loads(table("studentData")["SV001"]) == {"studentid": {"S": "SV001"}} | meanwhile
    assert json.loads(table("studentData")["SV002"])["n"] == {"N": "1"}


def before_request(monkeypatch: pytest.MonkeyPatch, operation: str, act: Any) -> None:
    """Act once immediately before a request of a restore, after it has read the item."""
    client = local().dynamodb
    real = getattr(client, operation)
    left = [act]

    def call(**request: Any) -> Any:
        if any(isinstance(value, bytes) for value in request.values()) and left:
            left.pop()()
        return real(**request)

    monkeypatch.setattr(client, operation, call)


@pytest.mark.parametrize("meanwhile", [{"n": {"N": "3"}}, {"n": {"N": "2"}, "m": {"S": "x"}}, {}])
def test_an_item_that_is_changed_at_the_last_moment_is_not_overwritten(
    aws: None, mail: Mail, clock: Clock, monkeypatch: pytest.MonkeyPatch, meanwhile: dict[str, Any]
) -> None:
    put(SV001={"n": {"N": "1"}, "m": {"S": "old"}})
    key = backed_up(mail, clock)
    put(SV001={"n": {"N": "2"}})
    before_request(monkeypatch, "update_item", lambda: put(SV001=meanwhile))
    with pytest.raises(NotEqual):
        restorer(clock).run(into(key, "differing"), holder="a")
    assert json.loads(table("studentData")["SV001"]) == {"studentid": {"S": "SV001"}} | meanwhile


def test_an_attribute_that_is_added_at_the_last_moment_is_not_lost(
    aws: None, mail: Mail, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No condition can exclude an attribute of an unknown name."""
    put(SV001={"n": {"N": "1"}})
    key = backed_up(mail, clock)
    put(SV001={"n": {"N": "2"}})
    before_request(monkeypatch, "update_item", lambda: put(SV001={"n": {"N": "2"}, "unknown": {"S": "x"}}))
    with pytest.raises(NotEqual):
        restorer(clock).run(into(key, "differing"), holder="a")
    assert json.loads(table("studentData")["SV001"])["unknown"] == {"S": "x"}


def test_a_repeated_request_counts_as_one_write(
    aws: None, mail: Mail, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """botocore repeats a request whose answer was lost; the item is then there already."""
    put(SV001={"b": {"B": b"\x00\xff"}, "s": {"NS": ["1", "2"]}}, SV002={"n": {"N": "1"}})
    key = backed_up(mail, clock)
    delete("SV001")
    put(SV002={"n": {"N": "2"}})
    for operation in ("put_item", "update_item"):
        real = getattr(local().dynamodb, operation)

        def twice(real: Any = real, **request: Any) -> Any:
            if any(isinstance(value, bytes) for value in request.values()):
                real(**request)
            return real(**request)

        monkeypatch.setattr(local().dynamodb, operation, twice)
    row = restorer(clock).run(into(key, "differing"), holder="a")
    assert (row.written, row.kept) == (2, 0)


def test_an_item_is_replaced_whole_with_every_type(aws: None, mail: Mail, clock: Clock) -> None:
    of_all = {
        "s": {"S": ""},
        "n": {"N": "1.5"},
        "b": {"B": b"\x00\xff"},
        "bool": {"BOOL": True},
        "null": {"NULL": True},
        "l": {"L": [{"S": "x"}]},
        "m": {"M": {"a.b": {"N": "1"}}},
        "ss": {"SS": ["a", "b"]},
        "ns": {"NS": ["1", "2"]},
        "bs": {"BS": [b"\x01"]},
        "size": {"S": "reserved word"},
        "a'b\"c": {"S": "quotes"},
    }
    put(SV001=of_all, SV002={"only": {"S": "old"}}, SV003={})
    key = backed_up(mail, clock)
    put(SV001={"l": {"L": []}, "new": {"BS": [b"\x02"]}}, SV002={}, SV003=of_all)
    before = restorer(clock).run(into(key, "differing"), holder="a")
    assert (before.written, before.differing) == (3, 0)
    found = json.loads(table("studentData")["SV001"])
    assert found["m"] == {"M": {"a.b": {"N": "1"}}}
    assert "new" not in found
    assert json.loads(table("studentData")["SV003"]) == {"studentid": {"S": "SV003"}}


def test_an_item_with_more_attributes_than_an_expression_takes_is_named(aws: None, mail: Mail, clock: Clock) -> None:
    many = {f"a{number}": {"N": "1"} for number in range(200)}
    put(SV001=many, SV002={"n": {"N": "1"}})
    key = backed_up(mail, clock)
    put(SV001={}, SV002={})
    with pytest.raises(NotWritten, match="more than 140 attributes"):
        restorer(clock).run(into(key, "differing"), holder="a")
    assert json.loads(table("studentData")["SV002"])["n"] == {"N": "1"}


def test_the_expression_of_the_most_attributes_is_within_the_limits(aws: None, mail: Mail, clock: Clock) -> None:
    """DynamoDB Developer Guide, "Quotas in Amazon DynamoDB": 4 KB and 300 operators for an expression."""
    put(SV001={f"a{number}": {"N": "1"} for number in range(139)})
    key = backed_up(mail, clock)
    put(SV001={f"a{number}": {"N": "2"} for number in range(139)})
    asked: list[dict[str, Any]] = []

    def note(params: dict[str, Any], **_: Any) -> None:
        asked.append(json.loads(params["body"]))

    local().dynamodb.meta.events.register_last("before-call.dynamodb.UpdateItem", note, unique_id="sizes")
    try:
        restorer(clock).run(into(key, "differing"), holder="a")
    finally:
        local().dynamodb.meta.events.unregister("before-call.dynamodb.UpdateItem", unique_id="sizes")
    [body] = [body for body in asked if body["TableName"] == "studentData"]
    for expression in (body["ConditionExpression"], body["UpdateExpression"]):
        assert len(expression) <= 4096
        assert expression.count("=") + expression.count(" AND ") + expression.count("(") <= 300


def test_the_plan_names_keys_by_kind(aws: None, mail: Mail, clock: Clock) -> None:
    put(SV001={}, SV002={}, SV003={})
    key = backed_up(mail, clock)
    delete("SV001")
    put(SV002={"n": {"N": "2"}}, OTHER={})
    plan = restorer(clock).plan(into(key, "differing"))
    # moto's table is younger than this backup, so the table may have been restored since.
    assert plan.keys == {
        "added": ['{"studentid":{"S":"SV001"}}'],
        "newer": [],
        "replaced": ['{"studentid":{"S":"SV002"}}'],
    }
    assert sorted(table("studentData")) == ["OTHER", "SV002", "SV003"]


def test_a_differing_item_of_the_table_that_was_backed_up_is_newer(aws: None, mail: Mail, clock: Clock) -> None:
    clock.now = boto3.client("dynamodb").describe_table(TableName="studentData")["Table"]["CreationDateTime"]
    clock.now = clock.now.replace(year=clock.now.year + 1)
    put(SV001={}, SV002={})
    key = backed_up(mail, clock)
    put(SV002={"n": {"N": "2"}})
    plan = restorer(clock).plan(into(key))
    assert (plan.keys["newer"], plan.keys["replaced"], plan.writes) == (['{"studentid":{"S":"SV002"}}'], [], 0)


@pytest.mark.parametrize("moment", ["before the writing", "at the last moment"])
def test_an_incremental_restore_does_not_delete_what_was_changed_meanwhile(
    aws: None, clock: Clock, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    put(SV001={"n": {"N": "1"}}, SV002={"n": {"N": "1"}})

    def save() -> None:
        put(SV002={"n": {"N": "5"}})

    restored_to_the_beginning()
    progress = once_at("Writing", save)
    if moment == "at the last moment":
        progress = once_at("never", save)
        before_request(monkeypatch, "delete_item", save)
    with pytest.raises(NotEqual, match=r'changed: \{"studentid":\{"S":"SV002"\}\}'):
        restorer(clock, progress=progress).run(into(put_changes(), "differing", allows_unknown=True), holder="a")
    assert {key: json.loads(item)["n"]["N"] for key, item in table("studentData").items()} == {
        "SV001": "2",
        "SV002": "5",
        "SV003": "1",
    }
