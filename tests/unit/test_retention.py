"""Which backups are kept: restic's periods, whole chains, and never zero. A second model says the same."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollbook.contract.retention import Policy, RetainedTable, from_text, to_text
from rollbook.engine.retention import Backup, Decision, decide

ZONE = ZoneInfo("Asia/Ho_Chi_Minh")
START = datetime(2024, 12, 20, 17, tzinfo=UTC)
DAY = timedelta(days=1)
LAST_ONLY = Policy(keep_last=1)


def full(number: int, state: Any = "verified", **values: Any) -> Backup:
    return Backup(key=f"full-{number}", taken_at=START + number * DAY, state=state, **values)


def increment(number: int, base: str = "", state: Any = "verified", **values: Any) -> Backup:
    when = START + number * DAY
    return Backup(key=f"inc-{number}", taken_at=when, state=state, is_full=False, base_key=base, **values)


def kept(backups: Iterable[Backup], policy: Policy = LAST_ONLY) -> dict[str, tuple[str, ...]]:
    return {each.backup.key: each.reasons for each in decide(backups, policy, ZONE) if each.is_kept}


def test_the_periods_are_those_of_restic() -> None:
    # 60 daily backups at midnight in the zone, from 21 December 2024 to 18 February 2025.
    policy = Policy(keep_last=2, daily=3, weekly=3, monthly=3, yearly=2)
    found = kept([full(number) for number in range(60)], policy)
    days = {f"{(START + int(key[5:]) * DAY).astimezone(ZONE):%Y-%m-%d}": reasons for key, reasons in found.items()}
    assert days == {
        "2025-02-18": ("last", "daily", "weekly", "monthly", "yearly", "last good full"),
        "2025-02-17": ("last", "daily"),
        "2025-02-16": ("daily", "weekly"),
        "2025-02-09": ("weekly",),
        "2025-01-31": ("monthly",),
        "2024-12-31": ("monthly", "yearly"),
    }


def test_the_oldest_is_kept_while_periods_are_left() -> None:
    found = kept([full(number) for number in range(3)], Policy(keep_last=1, yearly=5))
    assert found["full-0"] == ("oldest yearly",)
    assert "full-1" not in found


def test_days_without_a_backup_do_not_count() -> None:
    found = kept([full(0), full(1), full(50)], Policy(keep_last=1, daily=2))
    assert found == {"full-50": ("last", "daily", "last good full"), "full-1": ("daily",)}


def test_a_day_begins_in_the_time_zone_of_the_settings() -> None:
    evening = datetime(2025, 7, 7, 16, 59, tzinfo=UTC)  # 23:59 in Ho Chi Minh City
    two = [replace(full(0), key="before", taken_at=evening), replace(full(1), key="after", taken_at=evening + DAY / 24)]
    assert set(kept(two, Policy(keep_last=1, daily=2))) == {"before", "after"}
    decided = decide(two, Policy(keep_last=1, daily=1, weekly=1), UTC)
    assert [each.backup.key for each in decided if each.is_kept] == ["after"]


def test_the_last_good_full_backup_and_newer_ones_are_never_marked() -> None:
    later = [full(2, "damaged"), full(3, "unknown"), full(4, "completed"), increment(5, "full-4", "completed")]
    found = kept([full(0), full(1), *later])
    assert "last good full" in found["full-1"]
    assert set(found) == {"full-1", "full-2", "full-3", "full-4", "inc-5"}


def test_nothing_is_marked_before_a_full_backup_is_verified() -> None:
    found = kept([full(number, "completed") for number in range(9)])
    assert len(found) == 9
    assert found["full-0"] == ("no full backup is verified",)


def test_a_verified_increment_marks_nothing() -> None:
    assert len(kept([full(0, "completed"), full(1, "completed"), increment(2, "full-1")])) == 3


def test_damaged_backups_take_no_place_in_the_policy() -> None:
    backups = [full(0), full(1), full(2, "damaged"), full(3, "damaged"), full(4)]
    assert "full-1" in kept(backups, Policy(keep_last=2))
    assert "full-0" not in kept(backups, Policy(keep_last=2))


def test_pinned_and_unknown_backups_stay() -> None:
    found = kept([full(0, is_pinned=True), full(1, "unknown"), full(2)])
    assert found["full-0"] == ("pinned",)
    assert found["full-1"] == ("not in the history",)


@pytest.mark.parametrize("held", [0, 1, 2])
def test_a_chain_goes_only_as_a_whole(held: int) -> None:
    chain = [full(0), increment(1, "full-0"), increment(2, "full-0")]
    chain[held] = replace(chain[held], is_pinned=True)
    assert {each.key for each in chain} <= set(kept([*chain, full(8)]))
    free = [replace(each, is_pinned=False) for each in chain]
    assert set(kept([*free, full(8)])) == {"full-8"}


def test_a_chain_is_found_by_its_predecessors() -> None:
    chain = [full(0), increment(1, predecessor_key="full-0"), increment(2, predecessor_key="inc-1", is_pinned=True)]
    assert set(kept([*chain, full(8)])) == {"full-0", "inc-1", "inc-2", "full-8"}


def test_an_increment_without_a_known_base_keeps_all_that_may_be_its_base() -> None:
    found = kept([full(0), full(1), increment(2), full(3), full(4)])
    assert set(found) == {"full-0", "full-1", "inc-2", "full-4"}
    assert found["full-0"] == ("may be needed by inc-2",)


def test_a_broken_chain_is_kept_and_takes_no_place_in_the_policy() -> None:
    backups = [full(0), full(1), increment(2, "gone"), increment(3, "full-1", predecessor_key="gone")]
    found = kept([*backups, full(9)], Policy(keep_last=2))
    assert found["inc-2"] == found["inc-3"] == ("its chain is broken",)
    assert "last" in found["full-1"]


def test_the_rest_of_a_marked_chain_stays_marked_while_s3_deletes_it() -> None:
    marked = [increment(1, "full-0", is_marked=True), increment(2, "full-0", is_marked=True)]
    assert set(kept([*marked, full(8)])) == {"full-8"}


def test_predecessors_that_form_a_circle_end() -> None:
    circle = [increment(1, predecessor_key="inc-2"), increment(2, predecessor_key="inc-1")]
    assert set(kept([full(0), *circle, full(8)])) == {"full-0", "inc-1", "inc-2", "full-8"}


def test_a_policy_is_written_and_read_again() -> None:
    tables = {"a": RetainedTable("a", "a/", Policy(keep_last=3, yearly=7)), "b": RetainedTable("b", "b/", LAST_ONLY)}
    assert from_text(to_text(tables)) == tables


# --- the second model: sets, and no loop over the backups in order ---


def model(backups: list[Backup], policy: Policy) -> set[str]:
    """Return the keys that are kept, from the rules as sentences."""
    by_key = {each.key: each for each in backups}
    rank = {each.key: (each.taken_at, each.key) for each in backups}

    def links(each: Backup, seen: frozenset[str] = frozenset()) -> list[str] | None:
        """The keys before it in its chain, as far as they are named; None in a circle."""
        if each.is_full or not each.predecessor_key:
            return []
        if each.key in seen:
            return None
        before = by_key.get(each.predecessor_key)
        rest = links(before, seen | {each.key}) if before else []
        return None if rest is None else [each.predecessor_key, *rest]

    def base(each: Backup, seen: frozenset[str] = frozenset()) -> str:
        if each.is_full or each.base_key:
            return each.key if each.is_full else each.base_key
        before = by_key.get(each.predecessor_key)
        return "" if before is None or each.key in seen else base(before, seen | {each.key})

    def is_sound(key: str) -> bool:
        return key in by_key and by_key[key].state in {"verified", "completed"}

    def usable(each: Backup) -> bool:
        before = links(each)
        return before is not None and all(is_sound(key) for key in [each.key, base(each), *before])

    good = [each for each in backups if usable(each)]
    keep: set[str] = set(sorted((each.key for each in good), key=rank.__getitem__)[-policy.keep_last :])

    def monday(day: date) -> date:
        return day - timedelta(days=day.weekday())

    for count, start in (
        (policy.daily, lambda day: day),
        (policy.weekly, monday),
        (policy.monthly, lambda day: day.replace(day=1)),
        (policy.yearly, lambda day: day.replace(month=1, day=1)),
    ):
        newest: dict[date, str] = {}
        for each in good:
            period = start(each.taken_at.astimezone(ZONE).date())
            newest[period] = max(newest.get(period, each.key), each.key, key=rank.__getitem__)
        keep |= {newest[period] for period in sorted(newest)[-count:]} if count else set()
        if good and len(newest) < count:
            keep.add(min((each.key for each in good), key=rank.__getitem__))

    anchors = [each.key for each in backups if each.is_full and each.state == "verified"]
    if not anchors:
        return set(by_key)
    anchor = max(anchors, key=rank.__getitem__)
    keep |= {key for key in by_key if rank[key] >= rank[anchor]}
    for each in backups:
        if each.is_pinned:
            keep.add(each.key)
        if each.is_marked:
            continue
        if not usable(each):
            keep.add(each.key)
        if not base(each):
            keep |= {key for key in by_key if rank[key] <= rank[each.key]}
    held = {base(by_key[key]) for key in keep} - {""}
    return keep | {each.key for each in backups if base(each) in held}


@st.composite
def tables(draw: st.DrawFn) -> list[Backup]:
    count = draw(st.integers(0, 25))
    hours = sorted(draw(st.lists(st.integers(0, 24 * 500), min_size=count, max_size=count)))
    states = st.sampled_from(["verified", "completed", "completed", "damaged", "unknown"])
    made: list[Backup] = []
    for number, hour in enumerate(hours):
        is_full = draw(st.integers(0, 2)) > 0
        names = ["", "gone", *(each.key for each in made)]
        fulls = ["", "gone", *(each.key for each in made if each.is_full)]
        made.append(
            Backup(
                key=f"k{number:02}",
                taken_at=START + timedelta(hours=hour),
                state=draw(states),
                is_full=is_full,
                base_key="" if is_full else draw(st.sampled_from(fulls)),
                predecessor_key="" if is_full else draw(st.sampled_from(names)),
                is_pinned=draw(st.integers(0, 9)) == 0,
                is_marked=draw(st.integers(0, 4)) == 0,
            )
        )
    return draw(st.permutations(made))


POLICIES = st.builds(
    Policy,
    keep_last=st.integers(1, 4),
    daily=st.integers(0, 5),
    weekly=st.integers(0, 5),
    monthly=st.integers(0, 5),
    yearly=st.integers(0, 3),
)


@settings(max_examples=300, deadline=None)
@given(tables(), POLICIES)
def test_a_second_model_decides_the_same(backups: list[Backup], policy: Policy) -> None:
    decided = decide(backups, policy, ZONE)
    assert [each.backup for each in decided] == sorted(backups, key=lambda each: (each.taken_at, each.key))[::-1]
    assert {each.backup.key for each in decided if each.is_kept} == model(backups, policy)


@settings(max_examples=200, deadline=None)
@given(tables(), POLICIES)
def test_no_decision_marks_the_last_good_a_pin_or_a_part_of_a_kept_chain(backups: list[Backup], policy: Policy) -> None:
    decided = {each.backup.key: each for each in decide(backups, policy, ZONE)}
    good = [each for each in backups if each.is_full and each.state == "verified"]
    marked = [each.backup for each in decided.values() if not each.is_kept]
    assert not [each for each in marked if each.is_pinned]
    assert not marked or good
    if good:
        newest = max(good, key=lambda each: (each.taken_at, each.key))
        assert _is_kept(decided, newest.key)
        assert all((each.taken_at, each.key) < (newest.taken_at, newest.key) for each in marked)
    for each in marked:
        if each.base_key in decided:
            assert not _is_kept(decided, each.base_key)


def _is_kept(decided: dict[str, Decision], key: str) -> bool:
    return decided[key].is_kept


def test_a_backup_of_a_wrong_clock_does_not_take_the_place_of_the_others() -> None:
    backups = [full(0), full(1), full(2), full(400)]
    found = {each.backup.key: each.reasons for each in decide(backups, LAST_ONLY, ZONE, START + 3 * DAY)}
    assert found["full-400"] == ("its time has not come yet", "newer than full-2")
    assert found["full-2"] == ("last", "last good full")
    assert found["full-1"] == ()
