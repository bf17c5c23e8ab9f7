from __future__ import annotations

import pytest

from rollbook.contract.environment import GetStudents, InsertStudent


def test_an_environment_reads_what_it_set() -> None:
    environment = InsertStudent(table_name="t", allowed_origin="https://o", max_body_bytes="9", event_bus_name="b")
    assert environment.variables() == {
        "TABLE_NAME": "t",
        "ALLOWED_ORIGIN": "https://o",
        "MAX_BODY_BYTES": "9",
        "EVENT_BUS_NAME": "b",
    }
    assert InsertStudent.read(environment.variables()) == environment


def test_a_missing_variable_is_named() -> None:
    with pytest.raises(KeyError, match="ALLOWED_ORIGIN is not set; GetStudents needs it"):
        GetStudents.read({"TABLE_NAME": "t"})
