"""The last preflight of each environment on this machine, so that a plan can warn if there was none."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ops.local import emulator
from ops.preflight.point import Point


def folder() -> Path:
    """Return the folder of the records."""
    return emulator.FOLDER / "preflight"


def document(env: str, account: str, region: str, points: Sequence[Point]) -> dict[str, Any]:
    """Return a run as JSON."""
    return {
        "environment": env,
        "account": account,
        "region": region,
        "at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "isGood": all(point.is_good for point in points),
        "points": [asdict(point) for point in points],
    }


def keep(run: dict[str, Any]) -> None:
    """Replace the record of the previous run."""
    folder().mkdir(parents=True, exist_ok=True)
    (folder() / f"{run['environment']}.json").write_text(json.dumps(run, indent=2) + "\n")


def warning(env: str, account: str) -> str:
    """Return a warning about the last preflight of an environment; empty if it was good."""
    remedy = f"rollbook preflight --env {env}"
    try:
        run = json.loads((folder() / f"{env}.json").read_text())
        there, at, is_good = run["account"], run["at"], run["isGood"]
    except (OSError, ValueError, KeyError):
        return f"{env} had no preflight on this machine; run: {remedy}"
    if there != account:
        return f"the last preflight of {env} was in the account {there}, and this is {account}; run: {remedy}"
    return "" if is_good else f"the preflight of {env} at {at} found something to look at; run it again: {remedy}"
