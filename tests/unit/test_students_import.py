"""`rollbook students`: from a CSV file through an API that sometimes fails."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ops import csv_import, sample
from ops.csv_import import Importer, read_rows
from ops.failures import OperatorError
from tests.unit.server import QuietHandler, closed_address, serving


class Api:
    """An API that answers each record with what `answers` has for it, then with 201."""

    def __init__(self) -> None:
        self.url = ""
        self.answers: dict[str, list[tuple[int, dict[str, Any]]]] = {}
        self.saved: dict[str, dict[str, str]] = {}
        self.paths: set[str] = set()

    def handler(self) -> type[QuietHandler]:
        api = self

        class Handler(QuietHandler):
            def do_POST(self) -> None:
                record = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                api.paths.add(self.path)
                assert self.headers["x-api-key"] == "key"
                planned = api.answers.get(record["studentid"], [])
                created = record["studentid"] not in api.saved
                status, body = planned.pop(0) if planned else (201 if created else 200, {"created": created})
                if status < 300:
                    api.saved[record["studentid"]] = record
                self.answer(status, json.dumps(body).encode())

        return Handler


@pytest.fixture
def api() -> Iterator[Api]:
    served = Api()
    with serving(served.handler()) as served.url:
        yield served


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "students.csv"
    path.write_text(text, encoding="utf-8")
    return path


def read(path: Path, id_template: str | None = None, **defaults: str) -> list[csv_import.Row]:
    return list(read_rows(path, id_template=id_template, defaults=defaults))


def test_columns_become_attributes_and_the_id_follows_a_template(tmp_path: Path) -> None:
    path = write(tmp_path, '\ufeff"school","G1"\n"GP",5\n\n"MS",\n')
    rows = read(path, "{school}-{row:04}", name="Student {row}", G1="none")
    assert [(row.line, dict(row.record)) for row in rows] == [
        (2, {"school": "GP", "G1": "5", "name": "Student 1", "studentid": "GP-0001"}),
        (4, {"school": "MS", "name": "Student 2", "G1": "none", "studentid": "MS-0002"}),
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "is empty"),
        ("a,a\n1,2\n", "names the column 'a' twice"),
        ("a,,b\n1,2,3\n", "has a column without a name"),
        ('a,b\n"1,2\n', "cannot be read"),
    ],
)
def test_a_file_that_is_not_a_table_is_refused(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(OperatorError, match=fault):
        read(write(tmp_path, text))


@pytest.mark.parametrize("template", ["{nothing}", "{row.__class__}", "{0}", "{row", "{row:%}x{"])
def test_a_template_accepts_only_columns_and_the_row(tmp_path: Path, template: str) -> None:
    with pytest.raises(OperatorError):
        read(write(tmp_path, "a\n1\n"), template)


def test_outcomes_are_in_the_order_of_the_rows(api: Api) -> None:
    rows = [csv_import.Row(line, record) for line, record in enumerate(sample.students(60), start=2)]
    outcomes = list(Importer(api.url, "key").send(rows))
    assert [outcome.row for outcome in outcomes] == rows
    assert {outcome.what for outcome in outcomes} == {"created"}
    assert sorted(api.saved.values(), key=lambda record: record["studentid"]) == list(sample.students(60))
    assert api.paths == {"/students?notify=false"}
    assert {outcome.what for outcome in Importer(api.url, "key", notify=True).send(rows)} == {"updated"}
    assert "/students" in api.paths


def test_a_rejected_row_is_reported_and_the_others_are_saved(api: Api) -> None:
    api.answers["B"] = [(400, {"message": "no", "errors": {"email": "is missing", "name": "is missing"}})]
    rows = [csv_import.Row(2, {"studentid": "A"}), csv_import.Row(3, {"studentid": "B"})]
    rows += [csv_import.Row(4, {}, "has 3 values for 2 columns"), csv_import.Row(5, {"studentid": "C"})]
    outcomes = list(Importer(api.url, "key").send(rows))
    assert [(outcome.row.line, outcome.what, outcome.reason) for outcome in outcomes] == [
        (2, "created", ""),
        (3, "rejected", "email is missing; name is missing"),
        (4, "rejected", "has 3 values for 2 columns"),
        (5, "created", ""),
    ]


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_throttling_and_temporary_faults_are_retried(api: Api, status: int) -> None:
    api.answers["A"] = [(status, {"message": "later"})] * 4
    [outcome] = Importer(api.url, "key", pause=0.001).send([csv_import.Row(2, {"studentid": "A"})])
    assert (outcome.what, list(api.saved)) == ("created", ["A"])


def test_a_permanent_fault_is_rejected_with_the_last_answer(api: Api) -> None:
    api.answers["A"] = [(503, {"message": "The service is away."})] * 100
    [outcome] = Importer(api.url, "key", pause=0.001).send([csv_import.Row(2, {"studentid": "A"})])
    assert (outcome.what, outcome.reason) == ("rejected", "The service is away.")


def test_an_unreachable_api_rejects_every_row() -> None:
    importer = Importer(closed_address(), "key", pause=0.001)
    [outcome] = importer.send([csv_import.Row(2, {"studentid": "A"})])
    assert (outcome.what, "does not answer" in outcome.reason) == ("rejected", True)


def test_the_same_seed_makes_the_same_students_and_they_are_valid() -> None:
    from datetime import date

    from handlers.students import record

    made = list(sample.students(300))
    assert made == list(sample.students(300))
    assert made != list(sample.students(300, seed=1))
    assert [student for student in made if record.faults(student, today=date(2026, 1, 1))] == []
    assert len({student["studentid"] for student in made}) == 300
