"""The main job on the embedded AWS, IAM enforced: records in, schedule fires, backup lands, mail goes out."""

from __future__ import annotations

import csv
import json
import os
import random
import re
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ops import csv_import
from ops.cloud import Answer, Cloud, fetch
from tests.conftest import Local
from tests.local.aws import keys, mails, scheduled_in_a_moment, table, wait_for

STUDENT = {
    "studentid": "E2E-1",
    "name": "Trần Thị Bình",
    "class": "11A1",
    "birthdate": "2008-03-04",
    "email": "binh@students.example",
}
JSON = {"Content-Type": "application/json"}


def save(cloud: Cloud, record: Any, **headers: str) -> Answer:
    body = record if isinstance(record, bytes) else json.dumps(record).encode()
    return fetch(f"{cloud.site_url}/students", method="POST", headers=JSON | headers, body=body)


def document(cloud: Cloud, key: str) -> dict[str, Any]:
    found = cloud.client("s3").get_object(Bucket=cloud.settings.backups.bucket_name, Key=key)
    parsed: dict[str, Any] = json.loads(found["Body"].read())
    return parsed


def test_a_plan_right_after_the_apply_is_empty(local: Local) -> None:
    assert local.was_planned or not local.terraform.has_changes(), local.terraform.plan()


def test_the_api_keys_value_is_in_no_file_of_the_synth_after_the_apply(local: Local) -> None:
    key = local.cloud.api_key().encode()
    files = [path for path in (local.folder / "cdktf.out").rglob("*") if path.is_file() and not path.is_symlink()]
    assert len(files) > 15
    assert [path for path in files if key in path.read_bytes()] == []
    assert key in (local.folder / "terraform.local.tfstate").read_bytes(), "Terraform's state has it, so keep that safe"


def test_the_site_is_served_with_its_security_headers(cloud: Cloud) -> None:
    page = fetch(f"{cloud.site_url}/")
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert page.headers["strict-transport-security"].startswith("max-age=63072000")
    assert page.headers["x-frame-options"] == "DENY"
    assert not [name for name in page.headers if name.startswith("x-amz-version")]
    for name, kind in (("scripts.js", "text/javascript"), ("styles.css", "text/css"), ("icon.svg", "image/svg+xml")):
        assert fetch(f"{cloud.site_url}/{name}").headers["content-type"].startswith(kind)


def test_what_is_not_there_is_the_error_page_and_the_bucket_is_closed(local: Local) -> None:
    cloud = local.cloud
    page = fetch(f"{cloud.site_url}/nothing.html")
    assert (page.status, b"There is no such page" in page.body) == (404, True)
    direct = fetch(f"http://localhost:{local.port}/{cloud.settings.site.bucket_name}/index.html")
    assert direct.status == 403


def test_without_tls_the_site_redirects(cloud: Cloud) -> None:
    import http.client
    from urllib.parse import urlsplit

    parts = urlsplit(cloud.site_url)
    connection = http.client.HTTPConnection("127.0.0.1", parts.port or 80, timeout=30)
    connection.request("GET", "/", headers={"Host": parts.netloc, "x-forwarded-proto": "http"})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    assert (answer.status, answer.headers["location"]) == (301, f"https://{parts.netloc}/")


def test_the_api_wants_its_key_and_through_the_site_it_has_it(cloud: Cloud) -> None:
    for method, path in (("GET", "/students"), ("POST", "/students"), ("POST", "/backup")):
        refused = fetch(f"{cloud.api_url}{path}", method=method, headers=JSON, body=b"{}" if method == "POST" else None)
        assert (refused.status, refused.json()) == (403, {"message": "Forbidden"})
    wrong = fetch(f"{cloud.api_url}/students", headers={"x-api-key": "not-the-key"})
    assert wrong.status == 403
    assert fetch(f"{cloud.site_url}/students").status == 200


def test_a_record_is_saved_updated_listed_and_mailed(local: Local) -> None:
    created = save(local.cloud, STUDENT | {"gpa": 3.75})
    assert (created.status, created.json()["created"]) == (201, True)
    updated = save(local.cloud, STUDENT | {"class": "12A1"})
    assert (updated.status, updated.json()["message"]) == (200, "Student E2E-1 was updated.")
    listed = fetch(f"{local.cloud.site_url}/students?limit=1000").json()["students"]
    assert [student for student in listed if student["studentid"] == "E2E-1"] == [
        STUDENT | {"class": "12A1", "gpa": 3.75}
    ]
    assert len(mails(local, "Student created: E2E-1")) == len(mails(local, "Student updated: E2E-1")) == 1


@pytest.mark.parametrize(
    ("body", "content_type", "status", "message"),
    [
        (b'{"studentid": ', "application/json", 400, "is not JSON"),
        (b"", "application/json", 400, "is empty"),
        (b"[]", "application/json", 400, "is not an object"),
        (json.dumps(STUDENT | {"x": "y" * 300_000}).encode(), "application/json", 413, "the limit is 262,144"),
        (json.dumps({"name": ""}).encode(), "application/json", 400, "birthdate is missing"),
        (json.dumps(STUDENT).encode(), "text/plain", 400, "send application/json"),
    ],
)
def test_a_bad_body_is_answered_with_what_is_wrong(
    cloud: Cloud, body: bytes, content_type: str, status: int, message: str
) -> None:
    answer = save(cloud, body, **{"Content-Type": content_type})
    assert (answer.status, message in answer.json()["message"]) == (status, True), answer.body


def test_a_preflight_is_answered_for_the_sites_origin(cloud: Cloud) -> None:
    answer = fetch(f"{cloud.api_url}/students", method="OPTIONS")
    assert answer.status == 204
    assert answer.headers["access-control-allow-origin"] == cloud.site_url
    assert answer.headers["access-control-allow-methods"] == "GET,POST"


def test_the_log_has_the_line_that_the_insights_query_finds(cloud: Cloud) -> None:
    fetch(f"{cloud.site_url}/backup", method="POST")
    group = f"/aws/lambda/{cloud.settings.backups.function_name}"

    def found() -> list[str]:
        events = cloud.client("logs").filter_log_events(logGroupName=group)["events"]
        return [line for event in events for line in event["message"].splitlines() if "Backup completed" in line]

    line = json.loads(wait_for(found)[0])
    assert (line["message"], line["level"]) == ("Backup completed", "INFO")


def test_many_invocations_of_one_scheduled_run_make_one_backup_and_one_mail(local: Local) -> None:
    cloud = local.cloud
    # Within the hour in which the key is that of the run.
    moment = datetime.now(UTC).replace(second=0) - timedelta(minutes=40)
    payload = json.dumps({"source": "schedule", "scheduledTime": f"{moment:%Y-%m-%dT%H:%M:%SZ}"})
    name = cloud.settings.backups.function_name
    key = f"students-backup-{moment.astimezone(ZoneInfo(cloud.settings.time_zone)):%Y%m%dT%H%M}.json"
    results: list[dict[str, Any]] = []

    def invoke() -> None:
        results.append(cloud.client("lambda").invoke(FunctionName=name, Payload=payload))

    threads = [threading.Thread(target=invoke) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    invoke()
    assert [result.get("FunctionError") for result in results] == [None] * 6
    assert json.load(results[-1]["Payload"])["message"] == f"Backup completed: {key}"
    versions = cloud.client("s3").list_object_versions(Bucket=cloud.settings.backups.bucket_name, Prefix=key)[
        "Versions"
    ]
    assert len(versions) == 1
    assert len(mails(local, f"Backup Completed: {key}")) == 1


def test_the_backup_button_makes_a_backup_of_its_own(local: Local) -> None:
    before = keys(local.cloud)
    answers = [fetch(f"{local.cloud.site_url}/backup", method="POST") for _ in range(2)]
    assert [answer.status for answer in answers] == [200, 200]
    made = {answer.json()["key"] for answer in answers}
    assert len(made) == 2
    # A schedule may fire meanwhile; the keys of its runs have no request id.
    assert {key for key in keys(local.cloud) - before if re.search(r"T\d{6}-", key)} == made


def dead_letter(cloud: Cloud, queue: str, is_it: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Wait for a message in a queue that may hold others, and delete it from the queue."""
    sqs = cloud.client("sqs")
    url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]

    def look() -> dict[str, Any] | None:
        received = sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"], VisibilityTimeout=0
        )
        found: dict[str, Any] | None = next((m for m in received.get("Messages", []) if is_it(m)), None)
        return found

    message = wait_for(look)
    assert message is not None
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return message


def test_a_backup_that_fails_three_times_is_in_the_dead_letter_queue(cloud: Cloud) -> None:
    backups = cloud.settings.backups
    event = {"source": "nobody", "mark": str(uuid.uuid4())}
    cloud.client("lambda").invoke(FunctionName=backups.function_name, InvocationType="Event", Payload=json.dumps(event))
    dead_letter(cloud, backups.dead_letter_queue_name, lambda message: event["mark"] in message["Body"])


def test_a_schedule_may_not_invoke_another_function_and_says_so_in_its_queue(cloud: Cloud) -> None:
    other = cloud.client("lambda").get_function(FunctionName=cloud.settings.functions.get_name)

    def attribute(message: dict[str, Any], name: str) -> str:
        return str(message.get("MessageAttributes", {}).get(name, {}).get("StringValue", ""))

    with scheduled_in_a_moment(cloud, Arn=other["Configuration"]["FunctionArn"]) as firing:
        message = dead_letter(
            cloud,
            cloud.settings.backups.schedule_dead_letter_queue_name,
            lambda message: attribute(message, "SCHEDULE_ARN").endswith(firing.schedule),
        )
    assert "AccessDenied" in attribute(message, "ERROR_MESSAGE")


def write_csv(path: Path) -> None:
    """395 rows in the shape of a school's export: quoted names, numbers, and no id."""
    chance = random.Random(33)
    names = ["school", "sex", "age", "address", *(f"answer{number}" for number in range(26)), "G1", "G2", "G3"]
    with path.open("w", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC)
        writer.writerow(names)
        for _ in range(395):
            row: list[str | int] = [chance.choice(("GP", "MS")), chance.choice("FM"), chance.randint(15, 22), "U"]
            row += [chance.choice(("yes", "no, not yet", 'so "and" so', 3)) for _ in range(26)]
            writer.writerow([*row, *(chance.randint(0, 20) for _ in range(3))])


def test_a_csv_file_goes_in_through_the_api_and_its_backup_is_equal_to_the_table(local: Local, tmp_path: Path) -> None:
    """The main job. With STUDENTS_CSV=<file> it is that file that is taken, such as UCI's student-mat.csv."""
    cloud = local.cloud
    path = Path(os.environ.get("STUDENTS_CSV") or tmp_path / "students.csv")
    if not path.exists():
        write_csv(path)
    defaults = {"name": "Student {row}", "class": "{school}", "birthdate": "2008-01-31"}
    defaults["email"] = "student{row}@students.example"
    rows = list(csv_import.read_rows(path, id_template="GP-{row:04}", defaults=defaults))
    outcomes = list(csv_import.Importer(cloud.api_url, cloud.api_key()).send(rows))
    assert [outcome.reason for outcome in outcomes if outcome.what == "rejected"] == []
    with scheduled_in_a_moment(cloud) as firing:
        [key] = wait_for(lambda: firing.keys(cloud))
    assert key.startswith("students-backup-")
    assert len(key) == len("students-backup-20250708T0700.json")
    backed_up = {item["studentid"]["S"]: item for item in document(cloud, key)["items"]}
    assert backed_up == table(cloud)
    with path.open(newline="") as file:
        for number, row in enumerate(csv.DictReader(file), start=1):
            item = backed_up[f"GP-{number:04}"]
            assert {name: {"S": value} for name, value in row.items() if value}.items() <= item.items()
    assert len(rows) == 395
    [mail] = wait_for(lambda: mails(local, f"Backup Completed: {key}"))
    assert (mail["Source"], mail["To"]) == ("no-reply@studentapp.com", ["admin@studentapp.com"])
    assert mail["BodyText"].startswith(f"Backup saved to s3://{cloud.settings.backups.bucket_name}/{key}\n")
