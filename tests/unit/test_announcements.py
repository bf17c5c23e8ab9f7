"""One caller sends a notification, and the next one sends it if that caller dies."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from rollbook.engine import announcements
from rollbook.engine.announcements import Announcement, once
from tests.unit.engine import MINUTE, Clock, resources

KINDS = (announcements.of_execution("run-1"), announcements.of_incident("studentData"), announcements.of_damage("key"))


def claims(announcement: Announcement, clock: Clock) -> bool:
    with once(resources(clock).history, announcement, clock) as is_mine:
        return is_mine


@pytest.fixture(params=KINDS, ids=lambda kind: kind.told)
def kind(request: pytest.FixtureRequest, aws: None, clock: Clock) -> Announcement:
    announcement: Announcement = request.param
    if announcement.needs_row:
        resources(clock).history.remember(announcement.row, {"status": "completed"})
    return announcement


def test_one_caller_sends_once(kind: Announcement, clock: Clock) -> None:
    assert claims(kind, clock)
    clock.now += 2 * MINUTE
    assert not claims(kind, clock)


def test_while_one_sends_no_other_does(kind: Announcement, clock: Clock) -> None:
    with once(resources(clock).history, kind, clock) as is_mine:
        assert is_mine
        assert not claims(kind, clock)


def test_after_a_failure_the_next_caller_sends_immediately(kind: Announcement, clock: Clock) -> None:
    with pytest.raises(RuntimeError), once(resources(clock).history, kind, clock):
        raise RuntimeError
    assert claims(kind, clock)


def test_after_a_kill_lambdas_first_retry_sends(kind: Announcement, clock: Clock) -> None:
    """Lambda's first retry comes after a minute (Lambda Developer Guide, "Asynchronous invocation")."""
    with ExitStack() as killed:
        assert killed.enter_context(once(resources(clock).history, kind, clock))
        clock.now += MINUTE
        assert claims(kind, clock)


def test_an_execution_without_a_row_is_not_announced(aws: None, clock: Clock) -> None:
    assert not claims(KINDS[0], clock)
