"""The backup engine and the restore against those of others, and against the least that a backup has to do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bench import pages, tools
from bench.measure import ROOT
from bench.replay import REGION, TABLE

# At most this part of the usual handler's CPU, this many times the floor's, this part of batch_writer's.
TARGET_OF_USUAL = 1 / 25
TARGET_OF_FLOOR = 1.8
TARGET_OF_BATCH_WRITER = 1 / 5
TARGET_RSS_MB = 90
PLOT = ROOT / "docs" / "benchmarks.svg"
_SMALL = next(iter(pages.KINDS))
_PAGES, _USUAL_PAGES, _CLI_PAGES = 600, 40, 10
_ROUNDS = 3
_RESTORE_PAGES = (4, 24)
_SIZES = (10, 100, 1000)
# Lambda gives one core at 1,769 MB (Developer Guide, "Configure Lambda function memory").
_MEMORY_MB = (128, 512, 1769)
_CORE_MB = 1769
_SECONDS = 900
# arm64, US East: dollars for a GB-second (Lambda pricing page, November 2026).
_GB_SECOND = 0.0000133334


@dataclass(frozen=True)
class Run:
    """What one process took, its start included: CPU and wall seconds, peak resident MB; and what it was given."""

    cpu: float
    wall: float
    rss: float
    megabytes: float
    items: int

    @property
    def cpu_ms(self) -> float:
        """Return the CPU milliseconds for a megabyte."""
        return self.cpu / self.megabytes * 1000

    @property
    def wall_ms(self) -> float:
        """Return the milliseconds for a megabyte."""
        return self.wall / self.megabytes * 1000


@contextmanager
def _replaying(kind: str, count: int, *more: str) -> Iterator[str]:
    command = [sys.executable, "-m", "bench.replay", kind, str(count), *more]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        if server.stdout is None or server.stdin is None:
            raise RuntimeError("the replay server has no pipes")
        try:
            yield f"http://127.0.0.1:{server.stdout.readline().strip()}"
        finally:
            server.stdin.close()


def _measure(command: list[str], kind: str, count: int) -> Run:
    """Run a program to its end."""
    environ = {**os.environ, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": REGION}
    environ["PYTHONPATH"] = str(ROOT)
    with tempfile.TemporaryDirectory() as folder, Path(folder, "output").open("w+b") as output:
        began = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, env=environ, stdout=output, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = status
        if status:
            output.seek(0)
            raise RuntimeError(f"{' '.join(command)} ended with {status}: {output.read()[-2000:].decode()}")
    size, items = _page(kind)
    cpu = used.ru_utime + used.ru_stime
    return Run(cpu, wall, used.ru_maxrss * 1024 / 1e6, count * size / 1e6, int(count * items))


def _run(program: str, kind: str, count: int, *arguments: str) -> Run:
    different = ["different"] if program in {"restore", "batch_writer", "verify"} else []
    with _replaying(kind, count, *different) as address:
        return _measure([sys.executable, "-m", f"bench.contestants.{program}", address, *arguments], kind, count)


def _run_cli(kind: str, count: int) -> Run:
    with _replaying(kind, count) as address:
        scan = ["dynamodb", "scan", "--table-name", TABLE, "--endpoint-url", address]
        return _measure([str(tools.folder() / "aws"), *scan], kind, count)


def _run_dynamodump(kind: str, count: int) -> Run:
    with _replaying(kind, count) as address:
        port = address.rpartition(":")[2]
        where = ["-r", REGION, "--host", "127.0.0.1", "--port", port, "--accessKey", "x", "--secretKey", "x"]
        return _measure([str(tools.folder() / "dynamodump"), "-m", "backup", *where, "-s", TABLE], kind, count)


@cache
def _page(kind: str) -> tuple[float, float]:
    """Return the bytes and the items of a page, on average."""
    made = pages.items(kind)
    return sum(len(item) for page in made for item in page) / len(made), sum(map(len, made)) / len(made)


def tell(what: str) -> None:
    """Say what is being measured."""
    print(f"  {what} …", file=sys.stderr)


def report() -> tuple[str, bool]:
    """Measure, and return the section of the page and whether the targets are met."""
    backups, are_fast, ours, usual = _backups()
    memory, is_small = _memory()
    restores, is_quick = _restores()
    text = "\n".join([backups, memory, _lambda(ours, usual), restores])
    return text, are_fast and is_small and is_quick


def _backups() -> tuple[str, bool, Run, Run]:
    text = (
        f"## Backup\n\nWhole processes, start included, medians of {_ROUNDS} alternating runs, reading the same "
        "recorded pages of 1 MB from a replay server on "
        f"the loopback interface: CPU milliseconds for a megabyte. This project reads {_PAGES} pages in two segments, "
        "and compresses and uploads them; the floor does the same in one loop over a plain socket: receive, CRC, "
        "split into items, SHA-256, gzip (isal), without signing, retries or multipart uploads; the bare floor leaves "
        f"the splitting out too. The usual handler is boto3's paginator, TypeDeserializer and json.dumps, "
        f"uncompressed, of {_USUAL_PAGES} pages; `aws dynamodb scan` and dynamodump read {_CLI_PAGES}.\n\n"
        "| items | usual | aws dynamodb scan | dynamodump | this project | floor | bare floor | of the usual "
        "| times the floor | times the bare floor |\n"
        f"|{' --- |' * 10}\n"
    )
    wall = "| items | usual | aws dynamodb scan | dynamodump | this project | floor |\n|" + " --- |" * 6 + "\n"
    bars: dict[str, dict[str, float]] = {}
    are_met = True
    first: tuple[Run, Run] | None = None
    for kind in pages.KINDS:
        tell(f"backup, {kind}")
        cli, dump = _run_cli(kind, _CLI_PAGES), _run_dynamodump(kind, _CLI_PAGES)
        usual, ours, floor, bare = medians(
            ("usual", kind, _USUAL_PAGES),
            ("ours", kind, _PAGES, "gzip", "2"),
            ("floor", kind, _PAGES, "split"),
            ("floor", kind, _PAGES, "bare"),
        )
        first = first or (ours, usual)
        of_usual, of_floor = ours.cpu_ms / usual.cpu_ms, ours.cpu_ms / floor.cpu_ms
        if kind == _SMALL:
            are_met = of_usual <= TARGET_OF_USUAL and of_floor <= TARGET_OF_FLOOR
        text += (
            f"| {kind} | {usual.cpu_ms:.1f} | {cli.cpu_ms:.0f} | {dump.cpu_ms:.0f} | **{ours.cpu_ms:.2f}** "
            f"| {floor.cpu_ms:.2f} | {bare.cpu_ms:.2f} | 1/{1 / of_usual:.0f} | {of_floor:.2f} "
            f"| {ours.cpu_ms / bare.cpu_ms:.2f} |\n"
        )
        runs = {"usual": usual, "aws dynamodb scan": cli, "dynamodump": dump, "this project": ours, "floor": floor}
        wall += f"| {kind} | " + " | ".join(f"{run.wall_ms:.1f} / {run.rss:.0f}" for run in runs.values()) + " |\n"
        bars[kind] = {name: run.cpu_ms for name, run in runs.items()}
    if first is None:
        raise RuntimeError("there are no kinds of items")
    server = _run("floor", _SMALL, _PAGES, "receive")
    _plot(bars)
    text += (
        f"\nTargets, for {_SMALL}: at most 1/{1 / TARGET_OF_USUAL:.0f} of the usual handler and {TARGET_OF_FLOOR} "
        f"times the floor. **{'Met' if are_met else 'Not met'}.** With large items less is left of the usual handler's "
        "work, as there is less to parse, and the floor alone is then a quarter of it. Where the time goes, a megabyte "
        "of small items, in Python's own profile: isal 1.2 ms, msgspec 1.2, receiving and joining the body 0.9, "
        "botocore's signing and endpoint 0.9, SHA-256 0.6, CRC 0.3; the bare floor is out of reach for what tells "
        "items apart and signs.\n\n"
        f"![CPU milliseconds for a megabyte, on a logarithmic scale]({PLOT.name})\n\n"
        f"Wall milliseconds for a megabyte / peak resident MB of the same runs. The replay server itself hands out "
        f"{server.megabytes / server.wall:,.0f} MB/s to a client that only receives, "
        f"{server.megabytes / server.wall * first[0].wall / first[0].megabytes:.0f} times what this project takes.\n\n"
        f"{wall}"
    )
    return text, are_met, *first


def _memory() -> tuple[str, bool]:
    rows, is_met = "", True
    for count in _SIZES:
        tell(f"memory, {count:,} MB")
        run = _run("ours", _SMALL, count, "gzip", "2")
        is_met = is_met and run.rss <= TARGET_RSS_MB
        rows += f"| {count:,} MB | {run.rss:.0f} | {run.cpu_ms:.2f} |\n"
    verdict = f"Target: at most {TARGET_RSS_MB} MB at each size. **{'Met' if is_met else 'Not met'}.**"
    head = "| table | peak RSS, MB | CPU ms/MB, start included |\n| --- | --- | --- |\n"
    return f"## Memory of a backup\n\n{head}{rows}\n{verdict}\n", is_met


def _lambda(ours: Run, usual: Run) -> str:
    rows = ""
    for size in _MEMORY_MB:
        share = size / _CORE_MB
        cells = [f"{size:,} MB"]
        for run in (ours, usual):
            seconds = run.cpu_ms / share  # for a GB, as milliseconds for a MB
            cells += [f"{_SECONDS / seconds:,.1f}", f"{seconds * size / 1024 * _GB_SECOND * 1000:.2f}"]
        rows += "| " + " | ".join(cells) + " |\n"
    return (
        "## What it means on Lambda\n\nLambda gives one core at 1,769 MB and less in proportion. From the processor "
        f"time above, small items, taking a core for one of this machine's: how many GB fit into {_SECONDS} s, and "
        f"what 1,000 GB cost at ${_GB_SECOND:.10f} a GB-second (arm64). Where the processor is not what a function "
        "waits for, as with more memory, the network decides instead. DynamoDB's own price comes to both: 1 GB is "
        "122,000 eventually consistent read units.\n\n"
        f"| memory | this project, GB in {_SECONDS} s | $ for 1,000 GB | usual, GB in {_SECONDS} s | $ for 1,000 GB |\n"
        f"|{' --- |' * 5}\n{rows}"
    )


def _restores() -> tuple[str, bool]:
    rows, is_met = "", True
    for kind in pages.KINDS:
        tell(f"restore, {kind}")
        few, many = (
            medians(
                ("batch_writer", kind, count),
                ("restore", kind, count, "write"),
                ("restore", kind, count, "whole"),
            )
            for count in _RESTORE_PAGES
        )
        usual, written, whole = (
            (more.cpu - less.cpu) / (more.items - less.items) * 1e6 for less, more in zip(few, many, strict=True)
        )
        if kind == _SMALL:
            is_met = written <= usual * TARGET_OF_BATCH_WRITER
        rows += (
            f"| {kind} | {usual:,.0f} | **{written:,.0f}** | 1/{usual / written:.1f} "
            f"| {whole:,.0f} | 1/{usual / whole:.1f} |\n"
        )
    least, most = _RESTORE_PAGES
    return (
        f"## Restore\n\nA gzipped backup from the replay server into its table: CPU microseconds that a further item "
        f"costs, from {least} to {most} MB. boto3's `batch_writer` is fed by json.loads and TypeDeserializer, in one "
        "thread. The column `writing` shows the same work in this project, also in one thread: it reads the backup, "
        "checks it while reading, and writes its bytes. The whole restore does more, in four threads: it verifies the "
        "whole backup before it changes the table, and then compares the whole table with the backup, key by key.\n\n"
        "| items | batch_writer | writing | of it | whole restore, with its proof | of it |\n"
        f"|{' --- |' * 6}\n{rows}\n"
        f"Target, for {_SMALL}: the writing at most 1/{1 / TARGET_OF_BATCH_WRITER:.0f}. "
        f"**{'Met' if is_met else 'Not met'}.** What is left of it is botocore's call, about 0.75 ms for 25 items.\n",
        is_met,
    )


def medians(*programs: tuple[Any, ...]) -> list[Run]:
    """Run programs in turn, so that what else the machine does hits all alike; return each one's median by CPU."""
    rounds = [[_run(*program) for program in programs] for _ in range(_ROUNDS)]
    return [sorted(runs, key=lambda run: run.cpu)[_ROUNDS // 2] for runs in zip(*rounds, strict=True)]


def _plot(bars: dict[str, dict[str, float]]) -> None:
    command = [str(tools.folder() / "python"), "-m", "bench.plot", str(PLOT)]
    subprocess.run(command, cwd=ROOT, input=json.dumps(bars).encode(), check=True)
