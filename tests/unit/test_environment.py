from __future__ import annotations

from typing import Any

import pytest

from rollbook.contract.environment import Backup, GetStudents, InsertStudent
from rollbook.contract.fields import from_texts, to_texts
from rollbook.contract.jobs import BackupJob
from tests.unit.engine import ENVIRONMENT, JOB


def test_an_environment_reads_what_it_set() -> None:
    environment = InsertStudent(table_name="t", allowed_origin="https://o", max_body_bytes=9, event_bus_name="b")
    assert environment.variables() == {
        "TABLE_NAME": "t",
        "ALLOWED_ORIGIN": "https://o",
        "MAX_BODY_BYTES": "9",
        "EVENT_BUS_NAME": "b",
    }
    assert InsertStudent.read(environment.variables()) == environment


def test_the_fields_of_a_nested_record_are_variables_among_the_others() -> None:
    variables = ENVIRONMENT.variables()
    assert (variables["SEGMENTS"], variables["HISTORY_DAYS"], variables["TABLE_NAME"]) == ("1", "400", "studentData")
    assert Backup.read(variables) == ENVIRONMENT


@pytest.mark.parametrize("units", [None, 0.5, 25.0, 1234567.0])
def test_a_number_in_a_message_is_the_number_of_the_job(units: float | None) -> None:
    job = BackupJob(**{**vars(JOB), "read_units_per_second": units})
    assert from_texts(BackupJob, to_texts(job)) == job


def test_a_missing_variable_is_named() -> None:
    with pytest.raises(KeyError, match="ALLOWED_ORIGIN is not set; GetStudents needs it"):
        GetStudents.read({"TABLE_NAME": "t"})


@pytest.mark.parametrize(
    ("changed", "wrong"),
    [
        ({"segments": "two"}, "segments is 'two'; it must be of the type int"),
        ({"read_units_per_second": "fast"}, "read_units_per_second is 'fast'; it must be of the type float"),
        ({"engine": "pump"}, "engine is 'pump'; it must be one of auto, scan, export"),
    ],
)
def test_a_text_of_the_wrong_type_is_named(changed: dict[str, Any], wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        from_texts(BackupJob, to_texts(JOB) | changed)
