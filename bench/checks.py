"""`make check`: how long somebody waits for it before every commit."""

from __future__ import annotations

import os
import subprocess
import time

from bench.measure import ROOT

# The most that it may take on two cores, seconds, the environment of its tools installed.
TARGET_SECONDS = 180.0


def report(synth_seconds: float) -> tuple[str, bool]:
    """Measure, and return the section of the page and whether the target is met.

    Arguments:
        synth_seconds: of the same run, to compare with.

    Raises:
        subprocess.CalledProcessError: the checks fail.
    """
    command = ["make", "--silent", "check"]
    # Without it, the findings of checkov are those of an earlier run.
    fresh = os.environ | {"ROLLBOOK_FRESH": "1"}
    subprocess.run(command, cwd=ROOT, env=fresh, capture_output=True, check=True)
    start = time.perf_counter()
    subprocess.run(command, cwd=ROOT, env=fresh, capture_output=True, check=True)
    wall = time.perf_counter() - start
    section = (
        "## Checks\n\n`make check`, warm: lint, format, types, the lock, the generated pages, checkov over plans of "
        f"production; {wall:.0f} s, {wall / synth_seconds:.1f} times a synth.\n\n"
        f"Target: at most {TARGET_SECONDS:g} s. {'**Met.**' if wall <= TARGET_SECONDS else '**Missed.**'}\n"
    )
    return section, wall <= TARGET_SECONDS
