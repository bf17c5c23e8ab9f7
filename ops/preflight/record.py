"""The last preflight of each environment, kept on this machine, so that a plan can say when there was none."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ops import local
from ops.preflight.point import Point


def folder() -> Path:
    """Return where the records are."""
    return local.FOLDER / "preflight"


def document(env: str, account: str, region: str, points: Sequence[Point]) -> dict[str, Any]:
    """Return a run as JSON has it."""
    return {
        "environment": env,
        "account": account,
        "region": region,
        "at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "isGood": all(point.is_good for point in points),
        "points": [asdict(point) for point in points],
    }


def keep(run: dict[str, Any]) -> None:
    """Keep a run in place of the one before it."""
    folder().mkdir(parents=True, exist_ok=True)
    (folder() / f"{run['environment']}.json").write_text(json.dumps(run, indent=2) + "\n")


def warning(env: str, account: str) -> str:
    """Return what is to be said of an environment's last preflight, or nothing if it was good."""
    remedy = f"python -m ops preflight --env {env}"
    try:
        run = json.loads((folder() / f"{env}.json").read_text())
        there, at, is_good = run["account"], run["at"], run["isGood"]
    except (OSError, ValueError, KeyError):
        return f"no preflight was made of {env} on this machine; make one: {remedy}"
    if there != account:
        return f"the last preflight of {env} was of the account {there}, this is {account}; make one: {remedy}"
    return "" if is_good else f"the preflight of {env} of {at} found something to look at; make it again: {remedy}"
