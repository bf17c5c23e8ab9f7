"""The stacks as a synth writes them."""

from __future__ import annotations

import atexit
import functools
import json
import os
import subprocess
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.settings import Settings
from ops.console import ROOT


@dataclass(frozen=True)
class Stacks:
    """The output of one synth."""

    folder: Path

    def json(self, environment: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.path(environment) / "cdk.tf.json").read_text())
        return document

    def resources(self, environment: str, kind: str) -> dict[str, dict[str, Any]]:
        return self.json(environment)["resource"].get(kind, {})

    def path(self, environment: str) -> Path:
        return self.folder / "stacks" / environment


def synthesize(folder: Path, *program: str) -> Stacks:
    done = subprocess.run(
        [sys.executable, *(program or ("main.py",))],
        cwd=ROOT,
        env={**os.environ, "CDKTF_OUTDIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return Stacks(folder)


# Loading cdktf takes most of a synth, so one process makes all stacks of settings that have no file.
_PROGRAM = """
import json, pathlib, sys, traceback
from infra.app import synthesize
from infra.settings import Settings
for line in sys.stdin:
    asked = json.loads(line)
    try:
        synthesize([Settings.model_validate(asked["settings"])], pathlib.Path(asked["folder"]))
        ended = "made"
    except Exception:
        traceback.print_exc(file=sys.stdout)
        ended = "failed"
    print(asked["mark"] + ended, flush=True)
"""


class Synthesizer:
    """A process that synthesizes the settings that it receives."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        atexit.register(self.close)

    def make(self, settings: Settings, folder: Path) -> None:
        """Synthesize into a folder.

        Raises:
            AssertionError: with what the process said.
        """
        mark = f"{uuid.uuid4()} "
        asked = {"settings": settings.model_dump(mode="json", exclude_unset=True), "folder": str(folder), "mark": mark}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        said = []
        for line in self._process.stdout:
            if line.startswith(mark):
                assert line.removeprefix(mark).strip() == "made", "".join(said)
                return
            said.append(line)
        raise AssertionError(f"the synth ended:\n{''.join(said)}")

    def close(self) -> None:
        """End the process."""
        with self._process:  # closes its input, at which it ends
            pass


_synthesizer = functools.cache(Synthesizer)


def synthesize_settings(settings: Settings, folder: Path) -> Stacks:
    """Synthesize an environment that has no file in environments/."""
    _synthesizer().make(settings, folder)
    return Stacks(folder)
