"""Timing of whole programs, alternating, so that what else the machine does hits all alike."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Cost:
    """Medians of a program's runs: wall and CPU time in seconds (children's included)."""

    wall: float
    cpu: float


def compare(programs: dict[str, list[str]], *, runs: int, environ: dict[str, str] | None = None) -> dict[str, Cost]:
    """Run programs in turn, once unmeasured and then `runs` times, and return what each costs."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in programs}
    for number in range(runs + 1):
        for name, arguments in programs.items():
            cost = _run([sys.executable, *arguments], environ or {})
            if number:
                taken[name].append(cost)
    return {
        name: Cost(statistics.median(wall for wall, _ in costs), statistics.median(cpu for _, cpu in costs))
        for name, costs in taken.items()
    }


def _run(command: list[str], environ: dict[str, str]) -> tuple[float, float]:
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, cwd=ROOT, env={**os.environ, **environ}, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - began, cpu
