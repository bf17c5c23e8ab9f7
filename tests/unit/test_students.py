"""The two functions of the API, against moto and the table of the synthesized JSON."""

from __future__ import annotations

import base64
import importlib
import json
from collections.abc import Iterator
from datetime import date
from typing import Any

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

from handlers.students import record
from rollbook.messages.bus import EventNotAccepted
from tests.conftest import Stacks
from tests.unit.aws import Context, create_bus, create_tables, proxy_event

STUDENT = {
    "studentid": "SV001",
    "name": "Nguyễn Văn An",
    "class": "CNTT1",
    "birthdate": "2003-01-15",
    "email": "an@school.example",
}
ORIGIN = "https://site.example"
BUS = "student-events"


@pytest.fixture
def modules(stacks: Stacks, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    variables = {
        "TABLE_NAME": "studentData",
        "ALLOWED_ORIGIN": ORIGIN,
        "MAX_BODY_BYTES": "4096",
        "EVENT_BUS_NAME": BUS,
        "SENDER_EMAIL": "no-reply@school.example",
        "RECIPIENT_EMAIL": "office@school.example",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with mock_aws():
        create_tables(stacks)
        create_bus(BUS)
        boto3.client("sesv2").create_email_identity(EmailIdentity="no-reply@school.example")
        get, insert = (importlib.import_module(f"handlers.students.{name}") for name in ("get", "insert"))
        yield {"get": importlib.reload(get), "insert": importlib.reload(insert)}


def save(modules: dict[str, Any], document: Any, **query: str) -> tuple[int, dict[str, Any]]:
    body = document if isinstance(document, str) else json.dumps(document)
    answer = modules["insert"].handler(proxy_event("POST", body, **query), Context())
    assert answer["headers"]["Access-Control-Allow-Origin"] == ORIGIN
    return answer["statusCode"], json.loads(answer["body"])


def get(modules: dict[str, Any], **query: str) -> tuple[int, dict[str, Any]]:
    answer = modules["get"].handler(proxy_event("GET", **query), Context())
    return answer["statusCode"], json.loads(answer["body"])


def stored(studentid: str = "SV001") -> dict[str, Any]:
    item: dict[str, Any] = boto3.client("dynamodb").get_item(
        TableName="studentData", Key={"studentid": {"S": studentid}}
    )["Item"]
    return item


def test_a_new_record_is_created_and_a_second_save_is_an_update(modules: dict[str, Any]) -> None:
    assert save(modules, STUDENT) == (
        201,
        {"message": "Student SV001 was created.", "studentid": "SV001", "created": True},
    )
    status, body = save(modules, STUDENT | {"class": "CNTT2"})
    assert (status, body["message"], body["created"]) == (200, "Student SV001 was updated.", False)
    assert stored()["class"] == {"S": "CNTT2"}


def test_extra_attributes_are_kept_with_every_digit_and_by_a_later_save_without_them(modules: dict[str, Any]) -> None:
    gpa = "3.1415926535897932384626433832795028841"
    document = json.dumps(STUDENT)[:-1] + f', "gpa": {gpa}, "marks": [1, {{"deep": [null, true, "x"]}}]}}'
    assert save(modules, document)[0] == 201
    assert save(modules, STUDENT | {"name": "An"})[0] == 200
    item = stored()
    assert item["gpa"] == {"N": gpa}
    assert item["marks"] == {"L": [{"N": "1"}, {"M": {"deep": {"L": [{"NULL": True}, {"BOOL": True}, {"S": "x"}]}}}]}
    assert item["name"] == {"S": "An"}


def test_every_fault_is_named_by_its_field(modules: dict[str, Any]) -> None:
    status, body = save(
        modules, {"studentid": "no spaces", "name": 5, "birthdate": "2023-02-30", "email": "nobody", "n": 1e200}
    )
    assert status == 400
    assert body["errors"] == {
        "studentid": "must be 1 to 64 letters, digits, dots, dashes or underscores",
        "name": "must be text, not a number",
        "class": "is missing",
        "birthdate": "is not a date of the calendar",
        "email": "must be an e-mail address such as an@school.example",
        "n": "contains a number of more than 38 digits or outside 1E-130 to 1E+126",
    }
    assert all(f"{field} {fault}" in body["message"] for field, fault in body["errors"].items())


@pytest.mark.parametrize(
    ("birthdate", "fault"),
    [
        ("15/01/2003", "must be written as YYYY-MM-DD"),
        ("20030115", "must be written as YYYY-MM-DD"),
        ("2026-06-01", "must be in the past"),
        ("1899-12-31", "must not be before 1900"),
        ("2024-02-29", ""),
        ("2026-05-31", ""),
    ],
)
def test_a_birthdate_is_a_real_past_date(birthdate: str, fault: str) -> None:
    found = record.faults(STUDENT | {"birthdate": birthdate}, today=date(2026, 6, 1))
    assert found.get("birthdate", "") == fault


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ("", 400, "The body is empty"),
        ("  ", 400, "The body is empty"),
        ('{"studentid": ', 400, "The body is not JSON: Expecting value at line 1, column 15"),
        ("[]", 400, "must be a JSON object"),
        ("null", 400, "must be a JSON object"),
        ('{"a": NaN}', 400, "NaN is not a JSON number"),
        ('{"name": "a", "name": "b"}', 400, "contains the name 'name' twice"),
        ("[" * 100_000, 413, "The body has 100,000 bytes; the limit is 4,096"),
        ("[" * 4000, 400, "nested too deeply; the limit is 96 levels"),
        ("[" * 97 + "]" * 97, 400, "nested too deeply"),
        ("[" * 96 + "]" * 96, 400, "must be a JSON object"),
        (json.dumps({"a": "[" * 200 + '"' + "{" * 200}), 400, "studentid is missing"),
        ('{"a": "' + "[" * 97, 400, "The body is not JSON: Unterminated string"),
        (json.dumps(STUDENT | {"x": "y" * 5000}), 413, "the limit is 4,096"),
        ('{"x": 1E+99999999999999999999}', 400, "a number whose exponent is too large"),
        (json.dumps(STUDENT | {"x": "\ud800"}), 400, "x contains half of a surrogate pair"),
        (json.dumps(STUDENT | {"x": {"\udfff": 1}}), 400, "x contains half of a surrogate pair"),
        (json.dumps(STUDENT | {"\ud800": 1}), 400, "\\ud800 contains half of a surrogate pair"),
        (json.dumps(STUDENT | {"name": "An \ud800"}), 400, "name contains half of a surrogate pair"),
    ],
)
def test_a_body_that_cannot_be_read_is_answered_with_what_is_wrong(
    modules: dict[str, Any], body: str, status: int, message: str
) -> None:
    answered, answer = save(modules, body)
    assert (answered, message in answer["message"]) == (status, True), answer


@pytest.mark.parametrize("content_type", ["text/plain", "", "application/x-www-form-urlencoded"])
def test_another_content_type_is_refused(modules: dict[str, Any], content_type: str) -> None:
    event = proxy_event("POST", json.dumps(STUDENT)) | {"headers": {"content-type": content_type}}
    answer = modules["insert"].handler(event, Context())
    assert answer["statusCode"] == 400
    assert "send application/json" in json.loads(answer["body"])["message"]


def test_a_body_in_base64_is_read(modules: dict[str, Any]) -> None:
    import base64

    event = proxy_event("POST", base64.b64encode(json.dumps(STUDENT).encode()).decode()) | {"isBase64Encoded": True}
    assert modules["insert"].handler(event, Context())["statusCode"] == 201


def test_the_office_is_mailed_unless_the_caller_says_otherwise(modules: dict[str, Any]) -> None:
    from moto.core import DEFAULT_ACCOUNT_ID
    from moto.sesv2.models import sesv2_backends

    save(modules, STUDENT, notify="false")
    save(modules, STUDENT)
    sent = sesv2_backends[DEFAULT_ACCOUNT_ID]["ap-southeast-1"].core_backend.sent_messages
    assert [message.subject for message in sent] == ["Student updated: SV001"]


def test_a_mail_that_fails_is_told_and_the_record_is_saved(modules: dict[str, Any]) -> None:
    boto3.client("sesv2").delete_email_identity(EmailIdentity="no-reply@school.example")
    status, body = save(modules, STUDENT)
    assert (status, stored()["name"]) == (201, {"S": "Nguyễn Văn An"})
    assert "no mail was sent" in body["warning"]


def test_an_event_that_is_not_taken_is_told_and_the_record_is_saved(
    modules: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise EventNotAccepted("not today")

    monkeypatch.setattr(modules["insert"].bus, "put", refuse)
    status, body = save(modules, STUDENT)
    assert (status, stored()["name"]) == (201, {"S": "Nguyễn Văn An"})
    assert body["warning"] == "The record is saved, but no event was put on the bus: EventNotAccepted."


def test_pages_lead_through_the_whole_table_once(modules: dict[str, Any]) -> None:
    for number in range(25):
        save(modules, STUDENT | {"studentid": f"SV{number:03}"}, notify="false")
    seen: list[str] = []
    token: str | None = ""
    pages = 0
    while token is not None:
        status, body = get(modules, limit="7", **({"next": token} if token else {}))
        assert status == 200
        seen += [student["studentid"] for student in body["students"]]
        token = body["next"]
        pages += 1
    assert sorted(seen) == [f"SV{number:03}" for number in range(25)]
    assert pages == 4


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "0"},
        {"limit": "1001"},
        {"limit": "ten"},
        {"limit": "²"},
        {"next": "x"},
        {"next": "e30="},
        {"next": "WzFd"},
    ],
)
def test_a_bad_parameter_is_named(modules: dict[str, Any], query: dict[str, str]) -> None:
    status, body = get(modules, **query)
    assert status == 400
    assert body["message"].startswith(next(iter(query)))


def test_every_type_of_dynamodb_can_be_shown(modules: dict[str, Any]) -> None:
    boto3.client("dynamodb").put_item(
        TableName="studentData",
        Item={
            "studentid": {"S": "SV001"},
            "number": {"N": "12345678901234567890.5"},
            "binary": {"B": b"\x00\xff"},
            "null": {"NULL": True},
            "bool": {"BOOL": False},
            "list": {"L": [{"B": b"\x01"}]},
            "map": {"M": {"a": {"N": "1"}}},
            "strings": {"SS": ["b", "a"]},
            "numbers": {"NS": ["2", "1"]},
            "binaries": {"BS": [b"\x02"]},
        },
    )
    answer = modules["get"].handler(proxy_event("GET"), Context())
    assert '"number":12345678901234567890.5' in answer["body"]
    assert json.loads(answer["body"])["students"] == [
        {
            "studentid": "SV001",
            "number": 12345678901234567890.5,
            "binary": "AP8=",
            "null": None,
            "bool": False,
            "list": ["AQ=="],
            "map": {"a": 1},
            "strings": ["a", "b"],
            "numbers": [1, 2],
            "binaries": ["Ag=="],
        }
    ]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.decimals(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(record.FIELDS) | st.text(), json_values))
def test_the_check_of_a_record_never_raises(document: dict[str, Any]) -> None:
    found = record.faults(document, today=date(2026, 6, 1))
    assert found.keys() <= document.keys() | set(record.FIELDS)
    if not found:
        assert all(isinstance(document[field], str) for field in record.FIELDS)


@pytest.mark.parametrize("decoded", [b"[" * 5000, b"{", b'{"studentid":{"S":""}}', b'{"studentid":{"S":"a","x":{}}}'])
def test_a_token_that_is_not_of_the_api_is_refused(modules: dict[str, Any], decoded: bytes) -> None:
    status, answer = get(modules, next=base64.urlsafe_b64encode(decoded).decode())
    assert (status, answer["message"]) == (400, "next is not a token of this API; omit it to get the first page.")


def test_a_body_of_another_encoding_is_refused(modules: dict[str, Any]) -> None:
    # The bytes show no brackets, and Python would detect the encoding automatically.
    raw = ("\ufeff" + "\u2200[" * 4).encode("utf-16-le")
    event = proxy_event("POST", "") | {"body": base64.b64encode(raw).decode(), "isBase64Encoded": True}
    answer = modules["insert"].handler(event, Context())
    assert answer["statusCode"] == 400


@pytest.mark.parametrize("limit", ["9" * 5000, "0", "1001", "²", "-1", " 1"])
def test_a_limit_that_is_none_is_refused(modules: dict[str, Any], limit: str) -> None:
    answer = modules["get"].handler(proxy_event("GET") | {"queryStringParameters": {"limit": limit}}, Context())
    assert (answer["statusCode"], len(answer["body"]) < 200) == (400, True)


def test_a_token_of_another_encoding_is_refused(modules: dict[str, Any]) -> None:
    raw = ("[" * 5000 + "\u5b5b" * 5000).encode("utf-16")
    token = base64.urlsafe_b64encode(raw).decode()
    answer = modules["get"].handler(proxy_event("GET") | {"queryStringParameters": {"next": token}}, Context())
    assert answer["statusCode"] == 400
