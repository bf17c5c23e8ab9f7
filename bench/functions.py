"""The functions' zips: how large, and how long their imports take."""

from __future__ import annotations

import platform
import sys
import tempfile
import zipfile
from dataclasses import fields, is_dataclass
from pathlib import Path

from bench import measure
from infra import zips
from rollbook.contract import environment
from rollbook.contract.jobs import BackupJob

_ENTRIES = (
    "handlers.students.get.handler",
    "handlers.students.insert.handler",
    "handlers.users.welcome.handler",
    "handlers.audit.alert.handler",
    "handlers.snapshots.copy.handler",
    "handlers.weekly_report.handler",
    "handlers.retention.handler",
    "handlers.check_backups.handler",
    *(f"handlers.{name}.handler" for name in ("backup", "finish_export", "verify", "restore", "drill", "validate")),
)
_CLASSES = [found for found in vars(environment).values() if is_dataclass(found)]
_VARIABLES = {field.name.upper(): "1" for each in [*_CLASSES, BackupJob] for field in fields(each)} | {
    "ENGINE": "scan",
    "FORMAT": "json",
    "COMPRESSION": "none",
    "EXPORT_TYPE": "full",
    "TIME_ZONE": "UTC",
    "DESTINATION_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
}


def report(runs: int = 7) -> str:
    """Measure, and return the section of the page."""
    machine = "arm64" if platform.machine() in {"aarch64", "arm64"} else "x86_64"
    native = zips.Target(f"python{sys.version_info.major}.{sys.version_info.minor}", machine, native=True)
    with tempfile.TemporaryDirectory() as folder:
        programs = {"boto3 and one client": ["-c", "import boto3; boto3.client('dynamodb')"]}
        sizes = {}
        for entry in _ENTRIES:
            archive = zips.build(entry, native)
            task = Path(folder, entry)
            zipfile.ZipFile(archive.path).extractall(task)
            sizes[entry] = (len(zipfile.ZipFile(archive.path).namelist()), archive.path.stat().st_size)
            module = entry.rpartition(".")[0]
            programs[entry] = ["-c", f"import sys; sys.path.insert(0, {str(task)!r}); import {module}"]
        costs = measure.compare(programs, runs=runs, environ=_VARIABLES)
    floor = costs["boto3 and one client"]
    rows = f"| boto3 and one client | | | {floor.cpu * 1000:.0f} | 1.00 |\n" + "".join(
        f"| `{entry}` | {files} | {size / 1000:,.0f} | {cost.cpu * 1000:.0f} | {cost.cpu / floor.cpu:.2f} |\n"
        for (entry, (files, size)), cost in zip(sizes.items(), list(costs.values())[1:], strict=True)
    )
    return (
        f"## Functions\n\nUncompressed zips, and the CPU time of starting Python and importing the handler with its "
        f"clients; medians of {runs} alternating runs.\n\n"
        f"| | files | kB | import, CPU ms | ratio |\n| --- | --- | --- | --- | --- |\n{rows}"
    )
