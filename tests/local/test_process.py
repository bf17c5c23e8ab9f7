"""The embedded AWS as a process: it starts, keeps its state, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ops.cloud import fetch
from ops.console import ROOT
from ops.exits import Exit
from ops.failures import OperatorError
from ops.local import aws
from ops.local import emulator as emulated
from ops.local.emulator import Emulator

INTERRUPTED = """
import signal, sys, time
from pathlib import Path
from ops.__main__ import app
from ops.local import emulator, stack
signal.signal(signal.SIGINT, signal.default_int_handler)
emulator.FOLDER, stack.STATE = Path(sys.argv[1], "emulator"), Path(sys.argv[1], "state")
def work(emulator):
    print("working", flush=True)
    time.sleep(60)
stack.apply = work
app(["local", "up", "--port", sys.argv[2]])
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def processes(folder: Path) -> list[str]:
    """The processes whose environment names a folder: the emulator's and those of the functions in it."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            environ = (entry / "environ").read_bytes()
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if f"={folder}".encode() in environ:
            found.append(command)
    return found


def test_a_port_in_use_is_an_error(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(OperatorError, match=rf"port {port} is in use by another program; .* --port"):
            Emulator(tmp_path, port).start()
    assert not (tmp_path / "emulator.json").exists()


def test_state_is_kept_between_runs_and_nothing_else_is_left(tmp_path: Path) -> None:
    emulator = Emulator(tmp_path, free_port())
    emulator.start()
    try:
        s3 = aws.client("s3", emulator.port, "ap-southeast-1")
        s3.create_bucket(Bucket="kept", CreateBucketConfiguration={"LocationConstraint": "ap-southeast-1"})
        s3.put_object(Bucket="kept", Key="k", Body=b"kept")
        with socket.socket() as outside:
            assert outside.connect_ex(("127.0.0.1", emulator.port)) == 0
        assert Emulator(tmp_path).recorded_port() == emulator.port
    finally:
        assert emulator.stop()
    assert (emulator.pid(), processes(tmp_path), (tmp_path / "tmp").exists()) == (None, [], False)
    assert emulator.stop() is False
    emulator.start()
    try:
        assert s3.get_object(Bucket="kept", Key="k")["Body"].read() == b"kept"
    finally:
        emulator.stop()
    assert processes(tmp_path) == []


def test_a_reused_process_id_is_not_killed(tmp_path: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        (tmp_path / "emulator.json").write_text(f'{{"pid": {other.pid}, "port": 1}}')
        assert Emulator(tmp_path).stop() is False
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGINT,
        pytest.param(signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, marks=pytest.mark.slow),
    ],
)
def test_ctrl_c_and_signals_end_with_1_and_leave_nothing_behind(tmp_path: Path, number: int) -> None:
    port = free_port()
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path), str(port)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == "working":
                break
        assert len(processes(tmp_path)) >= 1
        process.send_signal(number)
        process.stdout.read()
        assert process.wait(30) == Exit.FAILED
    deadline = time.monotonic() + 10
    while processes(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert processes(tmp_path) == []
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_command_without_the_embedded_aws_says_how_to_start_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from ops.__main__ import app

    monkeypatch.setattr(emulated, "FOLDER", tmp_path)
    for command in (["local", "mail"], ["students", "import", __file__], ["schedule", "show"]):
        ended = CliRunner().invoke(app, command)
        assert ended.exit_code == 1, ended.output
    assert CliRunner().invoke(app, ["local", "status"]).exit_code == Exit.FINDINGS
    assert CliRunner().invoke(app, ["local", "down"]).exit_code == 0


def test_the_process_does_not_get_the_aws_variables_of_the_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "the-companys")
    environment = Emulator(tmp_path)._environment(tmp_path / "tmp")
    assert [name for name in environment if name.startswith("AWS_")] == []
    assert environment["BIND_HOST"] == "127.0.0.1"
    assert re.match(re.escape(str(Path(sys.executable).parent)) + os.pathsep, environment["PATH"])


def test_what_a_role_may_and_a_stage_serves_is_kept_between_runs(tmp_path: Path) -> None:
    emulator = Emulator(tmp_path, free_port())
    emulator.start()
    try:
        iam = aws.client("iam", emulator.port, "ap-southeast-1")
        gateway = aws.client("apigateway", emulator.port, "ap-southeast-1")
        iam.create_role(RoleName="kept", AssumeRolePolicyDocument='{"Version": "2012-10-17", "Statement": []}')
        api = gateway.create_rest_api(name="kept")["id"]
        [root] = gateway.get_resources(restApiId=api)["items"]
        of_method = {"restApiId": api, "resourceId": root["id"], "httpMethod": "GET"}
        gateway.put_method(**of_method, authorizationType="NONE")
        gateway.put_integration(**of_method, type="MOCK")
        gateway.create_deployment(restApiId=api, stageName="prod")
        gateway.delete_method(**of_method)
    finally:
        emulator.stop()
    emulator.start()
    try:
        assert iam.get_role(RoleName="kept")["Role"]["RoleName"] == "kept"
        answer = fetch(f"http://127.0.0.1:{emulator.port}/_aws/execute-api/{api}/prod/")
        assert answer.status == 200, "the deployment has the method still"
    finally:
        emulator.stop()
