"""How fast, and how long: the rate under a ceiling, back-off on throttling, the time of an invocation."""

from __future__ import annotations

from collections.abc import Generator

import pytest
from botocore.exceptions import ClientError

from rollbook.engine.deadline import Deadline, OutOfTime
from rollbook.engine.dynamodb.rate_limiter import RateLimiter
from rollbook.engine.dynamodb.scan import Page


class Time:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Time:
    return Time()


def seconds_for(limiter: RateLimiter, clock: Time, pages: int, units: float = 100.0) -> float:
    began = clock.now
    for _ in range(pages):
        limiter.wait()
        limiter.spend(units)
    limiter.wait()
    return clock.now - began


def test_without_a_ceiling_nothing_waits(clock: Time) -> None:
    assert seconds_for(RateLimiter(sleep=clock.sleep, clock=clock), clock, 100) == 0


def test_a_ceiling_is_kept(clock: Time) -> None:
    assert seconds_for(RateLimiter(50.0, sleep=clock.sleep, clock=clock), clock, 10) == pytest.approx(1000 / 50)


def test_throttling_halves_the_rate_which_then_grows_back_to_the_ceiling(clock: Time) -> None:
    limiter = RateLimiter(100.0, sleep=clock.sleep, clock=clock)
    limiter.slow_down()
    first = seconds_for(limiter, clock, 1)
    assert first == pytest.approx(2.0)
    clock.now += 60
    assert seconds_for(limiter, clock, 1) == pytest.approx(1.0)


def test_a_throttling_before_anything_was_read_does_not_stop_the_scan(clock: Time) -> None:
    limiter = RateLimiter(sleep=clock.sleep, clock=clock)
    limiter.slow_down()
    assert seconds_for(limiter, clock, 10, units=128.5) < 60


def throttle(times: list[int]) -> str:
    if times[0]:
        times[0] -= 1
        raise ClientError({"Error": {"Code": "ThrottlingException", "Message": "slow"}}, "Scan")
    return "answer"


def test_throttling_is_waited_out(clock: Time) -> None:
    left = [20]
    assert RateLimiter(sleep=clock.sleep, clock=clock).retry_throttled(lambda: throttle(left)) == "answer"
    assert left == [0]


def test_throttling_that_does_not_end_is_an_error_after_a_quarter_of_an_hour(clock: Time) -> None:
    began = clock.now
    with pytest.raises(ClientError):
        RateLimiter(sleep=clock.sleep, clock=clock).retry_throttled(lambda: throttle([10_000]))
    assert 900 <= clock.now - began <= 960


def test_any_other_refusal_is_an_error_at_once(clock: Time) -> None:
    def refuse() -> None:
        raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "Scan")

    began = clock.now
    with pytest.raises(ClientError):
        RateLimiter(sleep=clock.sleep, clock=clock).retry_throttled(refuse)
    assert clock.now == began


def pages(clock: Time, count: int, seconds: float) -> Generator[Page, None, None]:
    for _ in range(count):
        clock.now += seconds
        yield Page([b"{}"], 128.0)  # 1 MiB


def test_a_scan_in_time_passes_whole(clock: Time) -> None:
    deadline = Deadline(clock.now + 115, 128, clock)
    assert len(list(deadline.watch(pages(clock, 90, 1.0), 90 * 2**20))) == 90


@pytest.mark.parametrize(
    ("table_mb", "sentence"),
    [
        (
            1000,
            r"read 22 of about 1,000 MB \(1\.0 MB/s\); the whole table .* raise backups.memory_mb from 128 to 1,536",
        ),
        (100_000, r'Set backups.engine to "export" or "auto"'),
    ],
)
def test_a_scan_that_cannot_be_done_in_time_ends_early_and_says_what_it_needs(
    clock: Time, table_mb: int, sentence: str
) -> None:
    deadline = Deadline(clock.now + 115, 128, clock)
    began = clock.now
    with pytest.raises(OutOfTime, match=sentence):
        list(deadline.watch(pages(clock, 1000, 1.0), table_mb * 10**6))
    assert clock.now - began < 30


def test_a_table_that_is_larger_than_dynamodb_said_ends_when_the_time_does(clock: Time) -> None:
    deadline = Deadline(clock.now + 115, 128, clock)
    began = clock.now
    with pytest.raises(OutOfTime):
        list(deadline.watch(pages(clock, 1000, 1.0), 10))
    assert clock.now - began == pytest.approx(100, abs=2)
