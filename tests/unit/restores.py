"""What the tests of restores share: a backup of the records, and requests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import boto3

from rollbook.engine.restore_request import Mode, Progress, Request
from tests.unit.engine import JOB, Clock, Mail, backup_of, scheduled, soon


def backed_up(mail: Mail, clock: Clock, layout: tuple[str, str] = ("json", "none")) -> str:
    job = replace(JOB, format=layout[0], compression=layout[1])
    row = backup_of(job, mail, clock).run(scheduled(), holder="a", deadline=soon())
    assert row is not None
    return str(row.key)


def new(key: str, **options: Any) -> Request:
    return Request(key, "restored", is_new=True, **options)


def into(key: str, mode: Mode = "missing", **options: Any) -> Request:
    return Request(key, "studentData", is_new=False, mode=mode, **options)


def delete(*studentids: str, name: str = "studentData") -> None:
    for studentid in studentids:
        boto3.client("dynamodb").delete_item(TableName=name, Key={"studentid": {"S": studentid}})


def once_at(step: str, act: Callable[[], None]) -> Progress:
    """Act once when a restore begins a step."""
    left = [act]

    def begin(what: str, _total: int) -> None:
        if what == step and left:
            left.pop()()

    return Progress(step=begin)
