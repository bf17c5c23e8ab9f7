"""What a run makes once for all of its processes: the synthesized stacks, and the applied local one.

With pytest-xdist the tests run in workers. The process that was started (the controller) makes these in threads and
ends them; workers say what their tests want and wait for the answer, each by a file of a shared folder. Without
workers the one process does both.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ops.local.emulator import Emulator
from tests import applied
from tests.synthesis import synthesize

SYNTH, LOCAL = "synth", "local"
STACKS = "ROLLBOOK_STACKS"
_WANTED = "wanted"
_POLL_SECONDS = 0.1
_PATIENCE_SECONDS = 900


class Stage:
    """The folder that the processes of a run share.

    Arguments:
        folder: of this run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def want(self, names: Iterable[str], of_local: Iterable[str], worker: str) -> None:
        """Say what the tests of a worker want.

        Arguments:
            names: of `SYNTH` and `LOCAL`.
            of_local: the ids of the tests that use the applied stack.
            worker: pytest-xdist's name of it.
        """
        _write(self.folder / f"{worker}.{_WANTED}", {"names": sorted(names), "of_local": list(of_local)})

    def wanted(self) -> set[str]:
        """Return what the workers want so far."""
        return {name for said in self._said() for name in said["names"]}

    def of_local(self) -> set[str]:
        """Return the ids of the tests that use the applied stack."""
        return {id_ for said in self._said() for id_ in said["of_local"]}

    def _said(self) -> list[dict[str, Any]]:
        return [json.loads(path.read_text()) for path in self.folder.glob(f"*.{_WANTED}")]

    def claim(self, name: str, worker: str) -> None:
        """Take something for one worker alone.

        Raises:
            RuntimeError: another worker has it.
        """
        owner = self.folder / f"{name}.owner"
        try:
            with owner.open("x") as file:
                file.write(worker)
        except FileExistsError:
            raise RuntimeError(f"{owner.read_text()} uses {name} already, and its tests change it") from None

    def result(self, name: str) -> dict[str, Any]:
        """Wait for what the controller makes.

        Raises:
            RuntimeError: it failed, or took too long.
        """
        path = self.folder / f"{name}.json"
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not path.exists():
            if time.monotonic() > deadline:
                raise RuntimeError(f"{name} was not made in {_PATIENCE_SECONDS} s")
            time.sleep(_POLL_SECONDS)
        made: dict[str, Any] = json.loads(path.read_text())
        if "error" in made:
            raise RuntimeError(made["error"])
        return made


class Maker:
    """Makes what is wanted, in threads, and ends it."""

    def __init__(self) -> None:
        self.stage = Stage(Path(tempfile.mkdtemp(prefix="rollbook-")))
        self._pool = ThreadPoolExecutor(max_workers=2)
        self._made: dict[str, Future[dict[str, Any]]] = {}
        self._emulator: Emulator | None = None

    def begin(self, wanted: set[str]) -> None:
        """Begin to make what is wanted and not begun."""
        if wanted:
            self._begin(SYNTH, self._synth)
        if LOCAL in wanted:
            self._begin(LOCAL, self._local)

    def end(self) -> None:
        """Wait for what was begun, stop the embedded AWS, and remove the folder."""
        self._pool.shutdown(wait=True)
        if self._emulator is not None:
            self._emulator.stop()
        shutil.rmtree(self.stage.folder, ignore_errors=True)

    def _begin(self, name: str, make: Callable[[], dict[str, Any]]) -> None:
        if name not in self._made:
            self._made[name] = self._pool.submit(self._make, name, make)

    def _make(self, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        try:
            made = make()
        except BaseException as error:
            made = {"error": f"{name}: {type(error).__name__}: {error}"}
        _write(self.stage.folder / f"{name}.json", made)
        return made

    def _synth(self) -> dict[str, Any]:
        if STACKS in os.environ:  # tests.runtimes: the synth runs under the project's own Python
            return {"folder": os.environ[STACKS]}
        folder = self.stage.folder / "cdktf.out"
        synthesize(folder)
        return {"folder": str(folder)}

    def _local(self) -> dict[str, Any]:
        synthesized = self._made[SYNTH].result()
        if "error" in synthesized:
            return synthesized
        # A copy: a test may synthesize there again, while another process reads the stacks.
        folder = self.stage.folder / LOCAL
        name = Path("stacks", applied.STACK)
        shutil.copytree(Path(synthesized["folder"], name), folder / "cdktf.out" / name, symlinks=True)
        self._emulator, stack, was_planned = applied.bring_up(folder, folder / "cdktf.out")
        return {
            "folder": str(folder),
            "stack": str(stack.folder),
            "port": self._emulator.port,
            "outputs": stack.outputs(),
            "was_planned": was_planned,
        }


def _write(path: Path, content: Any) -> None:
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    unfinished.write_text(json.dumps(content))
    unfinished.rename(path)
