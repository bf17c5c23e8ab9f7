"""The backup engine against the usual handler and against the least that a backup has to do."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

from bench import pages
from bench.measure import ROOT

# At most this part of the usual handler's CPU, and this many times the floor's.
TARGET_OF_USUAL = 1 / 25
TARGET_OF_FLOOR = 1.8
TARGET_RSS_MB = 90
_PAGES = 300
_USUAL_PAGES = 60
_SEGMENTS = "2"
# Lambda gives one core at 1,769 MB (Developer Guide, "Configure Lambda function memory").
_MEMORY = (128, 512, 1769)
_CORE_MB = 1769
_SECONDS = 900
# arm64, US East, 2026: dollars for a GB-second (Lambda pricing page).
_GB_SECOND = 0.0000133334


@dataclass(frozen=True)
class Run:
    """What one process took: CPU seconds, peak resident MB, MB of pages."""

    cpu: float
    rss: float
    megabytes: float

    @property
    def cpu_ms(self) -> float:
        """Return the CPU milliseconds for a megabyte."""
        return self.cpu / self.megabytes * 1000


@contextmanager
def _replaying(kind: str, count: int) -> Iterator[str]:
    command = [sys.executable, "-m", "bench.replay", kind, str(count)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        if server.stdout is None or server.stdin is None:
            raise RuntimeError("the replay server has no pipes")
        try:
            yield f"http://127.0.0.1:{server.stdout.readline().strip()}"
        finally:
            server.stdin.close()


def _run(program: str, kind: str, count: int, *arguments: str) -> Run:
    environ = {**os.environ, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    with _replaying(kind, count) as address:
        command = [sys.executable, "-m", f"bench.contestants.{program}", address, *arguments]
        process = subprocess.Popen(command, cwd=ROOT, env=environ, stderr=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = status
    if status:
        raise RuntimeError(f"{' '.join(command)} ended with {status}")
    return Run(used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / 1e6, count * _page_bytes(kind) / 1e6)


@cache
def _page_bytes(kind: str) -> float:
    made = pages.items(kind)
    return sum(len(item) for page in made for item in page) / len(made)


def report() -> tuple[str, bool]:
    """Measure, and return the section of the page and whether the targets are met."""
    rows = ""
    is_met = True
    first = 0.0
    for kind in pages.KINDS:
        usual = _run("usual", kind, _USUAL_PAGES)
        floor = _run("floor", kind, _PAGES, "gzip")
        ours = _run("ours", kind, _PAGES, "gzip", _SEGMENTS)
        first = first or ours.cpu_ms
        rows += (
            f"| {kind} | {usual.cpu_ms:.1f} | {floor.cpu_ms:.2f} | {ours.cpu_ms:.2f} "
            f"| 1/{usual.cpu_ms / ours.cpu_ms:.0f} | {ours.cpu_ms / floor.cpu_ms:.2f} | {ours.rss:.0f} |\n"
        )
        if kind == next(iter(pages.KINDS)):
            is_met = ours.cpu_ms <= usual.cpu_ms * TARGET_OF_USUAL and ours.cpu_ms <= floor.cpu_ms * TARGET_OF_FLOOR
    sizes = {count: _run("ours", next(iter(pages.KINDS)), count, "gzip", _SEGMENTS) for count in (10, 100, 1000)}
    memory = "".join(f"| {count} MB | {run.rss:.0f} | {run.cpu_ms:.2f} |\n" for count, run in sizes.items())
    is_met = is_met and max(run.rss for run in sizes.values()) <= TARGET_RSS_MB
    per_mb = sizes[1000].cpu_ms / 1000
    lambdas = "".join(
        f"| {size} MB | {_SECONDS * size / _CORE_MB / per_mb / 1000:,.0f} "
        f"| {per_mb * 1000 * _CORE_MB / size * size / 1024 * _GB_SECOND:.5f} |\n"
        for size in _MEMORY
    )
    return (
        f"## Engine\n\nWhole processes, start included, reading recorded pages of 1 MB from a local replay server: "
        f"{_PAGES} pages compressed with gzip for this project ({_SEGMENTS} segments) and for the floor, "
        f"{_USUAL_PAGES} pages uncompressed for the usual handler (boto3's paginator, TypeDeserializer, json.dumps). "
        "The floor receives over a plain socket, checks the CRC, hashes and compresses; it neither "
        "signs nor splits into items.\n\n"
        "| items | usual, CPU ms/MB | floor | this project | of the usual | times the floor | peak RSS, MB |\n"
        f"| --- | --- | --- | --- | --- | --- | --- |\n{rows}\n"
        f"Targets, small items: at most 1/{1 / TARGET_OF_USUAL:.0f} of the usual, at most {TARGET_OF_FLOOR} times the "
        f"floor, at most {TARGET_RSS_MB} MB. **{'Met' if is_met else 'Not met'}.**\n\n"
        f"| table | peak RSS, MB | CPU ms/MB |\n| --- | --- | --- |\n{memory}\n"
        "What the processor time means on Lambda, which gives one core at 1,769 MB (network and DynamoDB's own time "
        f"not counted; arm64, ${_GB_SECOND} a GB-second):\n\n"
        f"| memory | GB in {_SECONDS} s | $ for a GB |\n| --- | --- | --- |\n{lambdas}",
        is_met,
    )
