"""Live 400 days with each way of making backups: at every midnight a backup can be restored that is young enough.

`python -m tests.soak.years` runs all lives; `--life TEXT` those whose name contains a text.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import os
import random
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

os.environ |= {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "ap-southeast-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}

from infra.settings.timing import spread
from rollbook.contract import schedules
from rollbook.contract.retention import Policy
from tests import offline
from tests.soak import school as schools
from tests.soak.combinations import VALID, Combination
from tests.soak.faults import Fault
from tests.soak.machine import COUNTS, DAY, MINUTE, NONE, Soak
from tests.soak.model import Made

DAYS, RESTORED_EVERY_DAYS = 400, 20
RPO = timedelta(hours=25)
FAULTS = ("failed run", "killed run", "lost object", "recovery off and on", "expired base")
FREQUENCIES = ("daily", "weekly", "monthly")
RETAINED = Policy(keep_last=3, daily=7, weekly=4, monthly=3)


@dataclass(frozen=True)
class Life:
    """A way of making backups.

    Arguments:
        full_every_days: of incremental exports.
    """

    combination: Combination
    frequency: str
    is_retained: bool
    full_every_days: int = 7

    @property
    def name(self) -> str:
        kept = "retention" if self.is_retained else "by age"
        return " ".join((*self.combination, self.frequency, kept, f"full every {self.full_every_days}"))


def lives() -> Iterator[Life]:
    """Yield all lives: every combination, and with each frequency those that differ in more than the compression."""
    for combination, is_retained in itertools.product(VALID, (True, False)):
        if combination.compression != "none":
            if is_retained:
                yield Life(combination, "weekly", is_retained)
            continue
        for full_every in (1, 7, 25) if combination.export_type == "incremental" else (7,):
            for frequency in FREQUENCIES:
                yield Life(combination, frequency, is_retained, full_every)


class Years:
    """One life."""

    def __init__(self, life: Life) -> None:
        self.life = life
        self.chance = random.Random(life.name)
        self.soak = Soak()
        self.soak.open(policy=RETAINED if life.is_retained else None, full_every=life.full_every_days)
        expression = spread(life.frequency, 0, 1, 60)
        self.schedule = schedules.parse(expression)
        self.longest = schedules.longest_silence(expression, "UTC", 5, RPO)
        self.is_excused_until = self.soak.school.times.now
        self.restores = 0

    def run(self, days: int) -> None:
        """Live some days, and check each midnight."""
        times = self.soak.school.times
        runs = self.schedule.after(times.now)
        following = next(runs)
        midnight = times.now.replace(hour=0, minute=0, second=0, microsecond=0)
        for day in range(1, days + 1):
            midnight += DAY
            fault = self.chance.choice(FAULTS) if self.chance.random() < 0.03 else ""
            while following < midnight:
                times.now = max(times.now, following + self.chance.randrange(300) * timedelta(seconds=1))
                self._back_up(fault if fault in {"failed run", "killed run"} else "")
                following = next(runs)
            if fault not in {"", "failed run", "killed run"}:
                self._break(fault, following)
            times.now = max(times.now, midnight)
            self._midnight()
            newest = self._check(midnight)
            if newest and (day % RESTORED_EVERY_DAYS == 0 or fault):
                self.soak.restore(place=sorted(self.soak.model.made).index(newest.key), fault=NONE)
                self.restores += 1

    def _back_up(self, fault: str) -> None:
        soak = self.soak
        for _ in range(2):
            soak.save(key=f"SV{self.chance.randrange(25):03}", value=self.chance.randrange(100))
        happens = NONE
        if fault == "killed run":
            happens = Fault(self.chance.choice(["kill before", "kill after"]), self.chance.randrange(1, 20))
        elif fault == "failed run":
            happens = Fault("throttle", 3, 10_000)
            COUNTS["runs that failed"] += 1
            following = next(self.schedule.after(soak.school.times.now))
            self.is_excused_until = following + timedelta(hours=1)
        soak._back_up(VALID.index(self.life.combination), happens, is_manual=False)
        if fault == "killed run":
            for run in list(soak.model.open_runs()):
                soak._attempt(run, run.holder, NONE)
        elif fault == "failed run":
            for run in list(soak.model.open_runs()):
                run.is_open = False
        soak.school.times.now += 16 * MINUTE
        for arn in sorted(soak.exports):
            soak._end(arn, fails=False)
        for manifest in sorted(soak.manifests):
            soak._finish(manifest, NONE)

    def _break(self, fault: str, following: datetime) -> None:
        soak, COUNTS[fault] = self.soak, COUNTS[fault] + 1
        if fault == "recovery off and on":
            soak.school.exporting.recovery_since = soak.school.times.now
            return
        versions = soak.school.versions()
        made = [each for each in soak.model.made.values() if each.is_untouched(versions)]
        newest = max(made, key=lambda each: each.began)
        if fault == "expired base":
            while not newest.is_full:
                newest = soak.model.made[newest.predecessor]
        soak.school.s3.delete_object(Bucket=schools.BUCKET, Key=newest.key)
        # A backup that somebody deletes is missing until the next run.
        self.is_excused_until = following + timedelta(hours=1)

    def _midnight(self) -> None:
        taken = self.soak.school.midnight()
        for made in self.soak.model.made.values():
            made.is_expired = made.is_expired or bool(taken & made.objects.keys())

    def _check(self, midnight: datetime) -> Made | None:
        soak, versions = self.soak, self.soak.school.versions()
        can = [made for made in soak.model.made.values() if soak.model.is_restorable(made, versions)]
        assert can, f"{midnight:%Y-%m-%d}: nothing can be restored"
        newest = max(can, key=lambda each: each.began)
        age = midnight - newest.began
        is_excused = midnight < self.is_excused_until + DAY
        assert is_excused or age <= self.longest, f"{midnight:%Y-%m-%d}: {newest.key} is the newest, {age} old"
        return newest


def live(life: Life, days: int = DAYS) -> tuple[str, Counter[str], str]:
    """Live a life; return its name, what was done, and the difference that ended it, if any."""
    logging.getLogger("botocore").setLevel(logging.ERROR)
    COUNTS.clear()
    years = Years(life)
    fault = ""
    try:
        years.run(days)
    except Exception as error:  # the other lives go on
        at = traceback.extract_tb(error.__traceback__)[-1]
        fault = f"{type(error).__name__}: {error} ({Path(at.filename).name}:{at.lineno})"
    finally:
        years.soak.teardown()
    COUNTS["midnights"] += days
    return life.name, Counter(COUNTS), fault


def main() -> int:
    """Live all lives on all cores, and list those that ended early."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--life", default="", help="only lives whose name contains this text")
    parser.add_argument("--days", type=int, default=DAYS)
    arguments = parser.parse_args()
    offline.forbid()
    chosen = [life for life in lives() if arguments.life in life.name]
    began, total, ended = time.monotonic(), Counter[str](), 0
    with ProcessPoolExecutor() as pool:
        for name, counts, fault in pool.map(live, chosen, itertools.repeat(arguments.days)):
            total += counts
            ended += bool(fault)
            print(f"{'DIFFERENCE' if fault else 'ok':10}  {name}  {fault}", flush=True)
    print(f"{len(chosen)} lives of {arguments.days} days in {time.monotonic() - began:,.0f} s")
    for name, count in sorted(total.items()):
        print(f"{count:>9,}  {name}")
    return ended > 0


if __name__ == "__main__":
    sys.exit(main())
