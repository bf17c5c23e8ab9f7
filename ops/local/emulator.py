"""The process of the embedded AWS: start it, stop it, and know whether it runs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from ops.console import ROOT
from ops.failures import OperatorError

PORT = 4566
FOLDER = ROOT / ".local"
_MODULE = "infra.emulator.server"
_START_SECONDS = 60
_STOP_SECONDS = 30

Port = Annotated[int, typer.Option(min=1024, max=65535, help="Port on which the embedded AWS listens.")]


@dataclass
class Emulator:
    """The embedded AWS with its state in one folder.

    Arguments:
        folder: for state, log and temporary files.
        port: on the loopback interface.
    """

    folder: Path
    port: int = PORT
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)

    @property
    def log(self) -> Path:
        """Return the log file of the process."""
        return self.folder / "emulator.log"

    @property
    def _record(self) -> Path:
        return self.folder / "emulator.json"

    def start(self) -> None:
        """Start the process and wait until it answers.

        Raises:
            OperatorError: the port is in use, or the process ended or did not answer in time.
        """
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", self.port))
            except OSError:
                raise OperatorError(
                    f"port {self.port} is in use by another program; stop it, or choose another port with --port"
                ) from None
        temporary = self.folder / "tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", _MODULE],
                cwd=ROOT,
                env=self._environment(temporary),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._record.write_text(json.dumps({"pid": self._process.pid, "port": self.port}))
        try:
            self._wait(self._process)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> bool:
        """Stop the process by its id and return whether there was one. It writes its state before it ends."""
        pid = self.pid()
        self._record.unlink(missing_ok=True)
        if pid is None:
            return False
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + _STOP_SECONDS
        while self._is_alive(pid):
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
                raise OperatorError(f"the embedded AWS (process {pid}) did not end in {_STOP_SECONDS} s; it was killed")
            time.sleep(0.05)
        shutil.rmtree(self.folder / "tmp", ignore_errors=True)
        return True

    def pid(self) -> int | None:
        """Return the id of the process, if it runs."""
        try:
            record = json.loads(self._record.read_text())
        except (OSError, ValueError):
            return None
        pid = int(record["pid"])
        return pid if self._is_alive(pid) and _MODULE in _command_line(pid) else None

    def recorded_port(self) -> int | None:
        """Return the port of the process, if it runs."""
        return None if self.pid() is None else int(json.loads(self._record.read_text())["port"])

    @property
    def has_state(self) -> bool:
        """Return whether there is state of an earlier run."""
        return (self.folder / "state").is_dir()

    def _is_alive(self, pid: int) -> bool:
        if self._process is not None and self._process.pid == pid:
            return self._process.poll() is None  # it also reaps the child
        return _alive(pid)

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not _answers(self.port):
            if process.poll() is not None:
                raise OperatorError(f"the embedded AWS ended during its start; see {self.log}:\n{tail(self.log)}")
            if time.monotonic() > deadline:
                raise OperatorError(f"the embedded AWS did not answer in {_START_SECONDS} s; see {self.log}")
            time.sleep(0.1)

    def _environment(self, temporary: Path) -> dict[str, str]:
        # The process and its functions must not see the AWS credentials and settings of the caller.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        return inherited | {
            "AUTH": "true",
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(self.port),
            # It would start a second listener on all interfaces.
            "IOT_MTLS_ENABLED": "0",
            "LOG_LEVEL": "INFO",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "PERSIST_STATE": "1",
            "S3_DATA_DIR": str(self.folder / "s3"),
            "S3_PERSIST": "1",
            "STATE_DIR": str(self.folder / "state"),
            "TMPDIR": str(temporary),
        }


def running_port() -> int | None:
    """Return the port of the embedded AWS, if it runs."""
    return Emulator(FOLDER).recorded_port()


def required_port() -> int:
    """Return the port of the embedded AWS.

    Raises:
        OperatorError: it does not run.
    """
    port = running_port()
    if port is None:
        raise OperatorError("the embedded AWS does not run; start it with: rollbook local up")
    return port


def tail(path: Path, lines: int = 15) -> str:
    """Return the last lines of a log."""
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return False  # another user's process has the id now
    return True


def _command_line(pid: int) -> str:
    """Return the command line of a process, because ids are reused."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return subprocess.run(
            ["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
        ).stdout


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/_ministack/health", timeout=5) as response:
            return "services" in json.load(response)
    except (OSError, ValueError):
        return False
