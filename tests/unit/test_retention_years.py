"""Years of backups with the stack's lifecycle rules at each midnight: never zero, and what the policy keeps is there.

There are outages of months, damaged backups, lost rows of the history, pins, and objects that somebody deletes.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from infra.emulator import lifecycle
from infra.settings import ENVIRONMENTS, load
from rollbook.contract.retention import MARK, Policy
from rollbook.engine.retention import Backup, State, decide
from tests.conftest import Stacks
from tests.lifecycle_rules import api_rules
from tests.tiers import slow_beyond
from tests.unit.test_retention import model

SETTINGS = load(ENVIRONMENTS / "production.toml")
ZONE = ZoneInfo(SETTINGS.time_zone)
PRODUCTION = SETTINGS.retained_tables["studentData"].policy
START = datetime(2024, 1, 1, tzinfo=UTC)
# How often a backup is full, and whether rows and objects are lost.
KINDS = [(1, False), (14, False), (1, True), (14, True)]
DAY = timedelta(days=1)


@dataclass
class World:
    """A bucket with its versions, and what is known of its backups.

    Arguments:
        full_every: 1 for full backups alone; n for a full one and n - 1 increments.
        whole: the full backups that are not damaged, also those without a row in the history.
    """

    rules: list[dict[str, Any]]
    policy: Policy
    full_every: int
    chance: random.Random
    made: dict[str, Backup] = field(default_factory=dict)
    versions: dict[str, list[lifecycle.Version]] = field(default_factory=dict)
    whole: set[str] = field(default_factory=set)

    def present(self) -> dict[str, Backup]:
        """The backups whose objects are current, with their marks."""
        return {
            key: replace(self.made[key], is_marked=MARK in versions[0].tags)
            for key, versions in self.versions.items()
            if versions and not versions[0].is_marker
        }

    def back_up(self, when: datetime) -> None:
        """Make a backup, verify it, and mark, as the function does."""
        number = len(self.made)
        key = f"students-backup-{when:%Y%m%dT%H%M}-{number:05}.json"
        fulls = [each for each in self.made.values() if each.is_full and each.state == "verified"]
        is_full = number % self.full_every == 0 or not fulls
        state: State = "damaged" if self.chance.random() < 0.03 and fulls else "verified"
        base = "" if is_full else fulls[-1].key
        self.made[key] = Backup(key=key, taken_at=when, state=state, is_full=is_full, base_key=base)
        self.versions[key] = [lifecycle.Version(key, "1", when, 200_000)]
        if is_full and state == "verified":
            self.whole.add(key)
        self.mark()

    def stops(self) -> bool:
        """Return whether a damaged newest backup stops the marking."""
        return max(self.present().values(), key=lambda each: each.taken_at).state == "damaged"

    def mark(self, only_unmark: bool = False) -> None:
        if self.stops() and not only_unmark:
            return
        for decision in decide(self.present().values(), self.policy, ZONE):
            if only_unmark and not decision.is_kept:
                continue
            newest, *older = self.versions[decision.backup.key]
            tags = {} if decision.is_kept else {MARK: "yes"}
            self.versions[decision.backup.key] = [replace(newest, tags=tags), *older]

    def midnight(self, now: datetime) -> None:
        flat = [version for versions in self.versions.values() for version in versions]
        for action in lifecycle.plan(self.rules, flat, [], now):
            if action.kind == "expire":
                self.delete(action.key, now)
            elif action.kind == "delete":
                self.versions[action.key] = [each for each in self.versions[action.key] if each.id != action.id]

    def delete(self, key: str, now: datetime) -> None:
        marker = lifecycle.Version(key, f"marker-{now:%Y%m%d}", now, is_marker=True)
        older = [replace(version, is_latest=False) for version in self.versions[key]]
        self.versions[key] = [marker, *older]

    def good(self) -> list[Backup]:
        return [each for key, each in self.present().items() if key in self.whole]


@pytest.fixture(scope="module")
def rules(stacks: Stacks) -> list[dict[str, Any]]:
    [configured] = [
        each
        for key, each in stacks.resources("production", "aws_s3_bucket_lifecycle_configuration").items()
        if key.startswith("store_")
    ]
    return api_rules(configured["rule"])


def years(world: World, days: int, loses: bool) -> Iterator[datetime]:
    """Live some days; yield each midnight after the lifecycle was carried out."""
    chance, outage = world.chance, 0
    for day in range(1, days + 1):
        now = START + day * DAY
        outage = outage - 1 if outage else chance.choice([20, 100, 500]) if chance.random() < 0.004 else 0
        if not outage:
            world.back_up(now - timedelta(hours=chance.choice([1, 7, 13])))
        keys = sorted(world.present())
        if chance.random() < 0.05:
            key = chance.choice(keys)
            world.made[key] = replace(world.made[key], is_pinned=not world.made[key].is_pinned)
            world.mark(only_unmark=True)
        if loses and chance.random() < 0.02:
            key = chance.choice(keys)
            world.made[key] = replace(world.made[key], state="unknown")  # its row is gone
        good = [each for each in world.good() if not each.is_marked]
        if loses and chance.random() < 0.02 and len(good) > 1:
            world.delete(chance.choice(good).key, now)
        if chance.random() < 0.1:
            world.mark()  # by hand
        world.midnight(now)
        yield now


# The first takes a second, the long ones a minute.
LIVES = [
    *((400, policy, full_every, loses) for policy in (Policy(keep_last=1), PRODUCTION) for full_every, loses in KINDS),
    *((3000, PRODUCTION, full_every, loses) for full_every, loses in KINDS),
]


@pytest.mark.parametrize("life", slow_beyond(4, LIVES), ids=lambda life: "-".join(map(str, (life[0], *life[2:]))))
def test_no_midnight_is_without_a_good_full_backup_and_what_the_policy_keeps_is_there(
    rules: list[dict[str, Any]], life: tuple[int, Policy, int, bool]
) -> None:
    days, policy, full_every, loses = life
    world = World(rules, policy, full_every, random.Random(f"{days} {policy} {full_every} {loses}"))
    for number, now in enumerate(years(world, days, loses)):
        assert world.good(), f"no good full backup on {now:%Y-%m-%d}"
        present = world.present()
        assert all(each.key in present for each in world.made.values() if each.is_pinned and not loses)
        if not loses:
            broken = [each.key for each in present.values() if each.base_key and each.base_key not in present]
            assert not broken, f"increments without their base on {now:%Y-%m-%d}"
        if not loses and number % 40 == 0 and not world.stops():
            # The second model over all backups that ever were, as if S3 had never deleted one.
            kept = {key for key in model([*world.made.values()], policy) if world.made[key].state == "verified"}
            assert kept <= present.keys(), f"gone on {now:%Y-%m-%d}: {sorted(kept - present.keys())}"
    assert len(world.present()) < len(world.made), "nothing was ever deleted"


def test_without_a_backup_the_last_ones_stay(rules: list[dict[str, Any]]) -> None:
    world = World(rules, PRODUCTION, 1, random.Random(1))
    for day in range(100):
        world.back_up(START + day * DAY)
        world.midnight(START + (day + 1) * DAY)
    before = set(world.present())
    for day in range(100, 3000):
        world.midnight(START + day * DAY)
    assert set(world.present()) == before
    assert len(world.good()) > 30


def test_by_age_alone_the_bucket_would_be_empty() -> None:
    """The rule of a table without a retention, and a year without backups: what the retention is for."""
    by_age = {"ID": "r", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 365}}
    world = World([by_age], PRODUCTION, 1, random.Random(1))
    world.back_up(START)
    world.midnight(START + 366 * DAY)
    assert world.good() == []
