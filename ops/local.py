"""`python -m ops local`: the embedded AWS as a process of its own, and the stack on it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import boto3
import typer
from rich.panel import Panel
from rich.table import Table

from infra.settings import ENVIRONMENTS, Settings, load
from ops import terraform
from ops.console import ROOT, OperatorError, command, err, out

PORT = 4566
FOLDER = ROOT / ".local"
STACK = ROOT / "cdktf.out" / "stacks" / "local"
STATE = ROOT / "terraform.local.tfstate"
_MODULE = "infra.emulator.server"
_START_SECONDS = 60
# Most of an apply there is the provider's own waiting, 25 s for a queue's attributes and 55 s for a lifecycle, and no
# service is throttled. Measured: 155 s with 10 at a time, 92 s with 40.
_PARALLELISM = 40
_STOP_SECONDS = 30

app = typer.Typer(help="The embedded AWS: up, down, status, reset, logs, mail.", no_args_is_help=True)
Port = Annotated[int, typer.Option(min=1024, max=65535, help="Port on which the embedded AWS listens.")]


@dataclass
class Emulator:
    """The embedded AWS of one folder, which keeps its state between runs.

    Arguments:
        folder: for state, log and temporary files.
        port: on the loopback interface.
    """

    folder: Path
    port: int = PORT
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)

    @property
    def log(self) -> Path:
        """Return the file that the process writes its log to."""
        return self.folder / "emulator.log"

    @property
    def _record(self) -> Path:
        return self.folder / "emulator.json"

    def start(self) -> None:
        """Start the process and wait until it answers.

        Raises:
            OperatorError: the port is taken, or the process ended or stayed silent.
        """
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", self.port))
            except OSError:
                raise OperatorError(
                    f"port {self.port} is taken by another program; stop it, or choose another with --port"
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
        """Stop the process by its id, and return whether there was one. Its state is written first."""
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
        """Return whether an earlier run left state."""
        return (self.folder / "state").is_dir()

    def _is_alive(self, pid: int) -> bool:
        if self._process is not None and self._process.pid == pid:
            return self._process.poll() is None  # which also takes leave of it, were it gone
        return _alive(pid)

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not _answers(self.port):
            if process.poll() is not None:
                raise OperatorError(f"the embedded AWS ended at once; see {self.log}:\n{_tail(self.log)}")
            if time.monotonic() > deadline:
                raise OperatorError(f"the embedded AWS did not answer in {_START_SECONDS} s; see {self.log}")
            time.sleep(0.1)

    def _environment(self, temporary: Path) -> dict[str, str]:
        # No credentials and no settings of the caller's AWS reach the process or the functions in it.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        return inherited | {
            "AUTH": "true",
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(self.port),
            # A listener of its own, which binds to every interface.
            "IOT_MTLS_ENABLED": "0",
            "LOG_LEVEL": "INFO",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "PERSIST_STATE": "1",
            "S3_DATA_DIR": str(self.folder / "s3"),
            "S3_PERSIST": "1",
            "STATE_DIR": str(self.folder / "state"),
            "TMPDIR": str(temporary),
        }


def client(service: str, port: int, region: str, **given: Any) -> Any:
    """Return a boto3 client of the embedded AWS: as its root user, or with given credentials."""
    return boto3.client(service, **(options(port, region) | given))


def options(port: int, region: str) -> dict[str, str]:
    """Return what makes a client one of the embedded AWS, as its root user."""
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    return {"region_name": region, "endpoint_url": f"http://localhost:{port}", **keys}


def mails(port: int) -> list[dict[str, Any]]:
    """Return the mails that were sent, oldest first."""
    with urllib.request.urlopen(f"http://localhost:{port}/_ministack/ses/messages", timeout=10) as response:
        accounts = json.load(response)["messages"]
    sent = [message for messages in accounts.values() for message in messages]
    return sorted(sent, key=lambda message: str(message["Timestamp"]))


def open_links(port: int, region: str, account: str = "") -> list[str]:
    """Open the links that SES and SNS mailed to the addresses, as their owners do; return what was opened."""
    wanted = json.dumps({"Region": region} | ({"Account": account} if account else {})).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/_rollbook/open-links", data=wanted, method="POST")
    with urllib.request.urlopen(request, timeout=10) as response:
        opened: list[str] = json.load(response)["Opened"]
    return opened


def prepare_account(port: int, settings: Settings, **credentials: str) -> None:
    """Do what a person does once in a new account, before the first apply; docs/first-deploy.md says the same."""
    region = settings.region

    def aws(service: str) -> Any:
        return client(service, port, region, **credentials)

    aws("sesv2").put_account_details(
        MailType="TRANSACTIONAL", WebsiteURL="https://school.example", ProductionAccessEnabled=True
    )
    vault = settings.vault
    if not vault.enabled:
        return
    aws("backup").update_region_settings(
        ResourceTypeOptInPreference={"DynamoDB": True}, ResourceTypeManagementPreference={"DynamoDB": True}
    )
    if not vault.audit_manager:
        return
    iam = aws("iam")
    with contextlib.suppress(iam.exceptions.InvalidInputException):  # it is there already
        iam.create_service_linked_role(AWSServiceName="reports.backup.amazonaws.com")
    config = aws("config")
    account = aws("sts").get_caller_identity()["Account"]
    role = f"arn:aws:iam::{account}:role/aws-service-role/config.amazonaws.com/AWSServiceRoleForConfig"
    config.put_configuration_recorder(ConfigurationRecorder={"name": "default", "roleARN": role})
    config.put_delivery_channel(DeliveryChannel={"name": "default", "s3BucketName": f"config-{account}"})
    config.start_configuration_recorder(ConfigurationRecorderName="default")


def running_port() -> int | None:
    """Return the port of the embedded AWS, if it runs."""
    return Emulator(FOLDER).recorded_port()


def synthesize() -> None:
    """Run the CDKTF app.

    Raises:
        OperatorError: with what it printed.
    """
    done = subprocess.run([sys.executable, "main.py"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OperatorError(f"the synth failed:\n{(done.stderr or done.stdout).strip()}")


def free_port() -> int:
    """Return a port of the loopback interface that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def terraform_in(folder: Path, port: int) -> terraform.Terraform:
    """Return Terraform in a stack that stands on the embedded AWS."""
    return terraform.Terraform(folder, {"emulator_port": str(port)}, _PARALLELISM)


def raise_stack(emulator: Emulator) -> dict[str, Any]:
    """Bring the stack up on a running emulator and return its outputs."""
    with out.status("Synthesizing the stack"):
        synthesize()
    stack = terraform_in(STACK, emulator.port)
    with out.status("Preparing Terraform"):
        stack.init()
    settings = load(ENVIRONMENTS / "local.toml")
    prepare_account(emulator.port, settings)
    changed = stack.apply()
    open_links(emulator.port, settings.region)
    out.print(f"[green]✓[/] {changed} resources changed" if changed else "[green]✓[/] nothing to change")
    return stack.outputs()


@contextmanager
def started(port: int) -> Iterator[tuple[Emulator, bool]]:
    """Give a running emulator and whether it was started for this; if so, an error or Ctrl-C stops it again."""
    terraform.find()
    emulator = Emulator(FOLDER, running_port() or port)
    if emulator.pid() is not None:
        yield emulator, False
        return
    if not emulator.has_state:
        STATE.unlink(missing_ok=True)  # it speaks of an account that is gone
    with out.status("Starting the embedded AWS"):
        emulator.start()
    _end_in_order()
    try:
        out.print(f"[green]✓[/] the embedded AWS listens on 127.0.0.1:{emulator.port}, IAM enforced")
        yield emulator, True
    except BaseException:
        emulator.stop()
        raise


def _end_in_order() -> None:
    """Let a closed terminal and a kill end as Ctrl-C does: with what was started stopped."""

    def end(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)


@app.command()
@command
def up(port: Port = PORT) -> None:
    """Start the embedded AWS and apply the local stack to it."""
    with started(port) as (emulator, _):
        outputs = raise_stack(emulator)
    show(outputs)


@app.command()
@command
def down() -> None:
    """Stop the embedded AWS. Its state is kept for the next start."""
    stopped = Emulator(FOLDER).stop()
    out.print("[green]✓[/] stopped; the state is kept" if stopped else "The embedded AWS does not run.")


@app.command()
@command
def status(as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False) -> None:
    """Tell whether the embedded AWS runs, and where; exit code 3 if it does not."""
    emulator = Emulator(FOLDER)
    port = emulator.recorded_port()
    outputs = terraform.Terraform(STACK).outputs() if port and STACK.is_dir() and STATE.exists() else {}
    if as_json:
        print(json.dumps({"running": port is not None, "port": port, "pid": emulator.pid(), **outputs}))
    elif port is None:
        out.print("The embedded AWS does not run; start it with: python -m ops local up")
    else:
        out.print(f"The embedded AWS runs on 127.0.0.1:{port} (process {emulator.pid()}).")
        if outputs:
            show(outputs)
    if port is None:
        raise typer.Exit(3)


@app.command()
@command
def reset(yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False) -> None:
    """Stop the embedded AWS and forget everything in it."""
    if not yes and not typer.confirm("Delete all that is in the embedded AWS?"):
        raise typer.Exit(1)
    Emulator(FOLDER).stop()
    preflights = FOLDER / "preflight"  # of real accounts, too
    for path in FOLDER.iterdir() if FOLDER.is_dir() else []:
        if path.is_dir() and path != preflights:
            shutil.rmtree(path, ignore_errors=True)
        elif path != preflights:
            path.unlink(missing_ok=True)
    for path in (preflights / "local.json", STATE, STATE.with_name(f"{STATE.name}.backup")):
        path.unlink(missing_ok=True)
    out.print("[green]✓[/] the embedded AWS is as new")


@app.command()
@command
def logs(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option(min=1, help="How many lines from the end.")] = 40,
) -> None:
    """Show what the embedded AWS and the functions in it log."""
    path = Emulator(FOLDER).log
    if not path.exists():
        raise OperatorError("there is no log yet; start the embedded AWS with: python -m ops local up")
    print(_tail(path, lines))
    with path.open(errors="replace") as file:
        file.seek(0, os.SEEK_END)
        while follow:
            line = file.readline()
            print(line, end="", flush=True) if line else time.sleep(0.2)


@app.command()
@command
def mail(as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False) -> None:
    """Show the mails that were sent."""
    port = running_port()
    if port is None:
        raise OperatorError("the embedded AWS does not run; start it with: python -m ops local up")
    sent = mails(port)
    if as_json:
        print(json.dumps(sent))
        return
    if not sent:
        err.print("No mail was sent yet.")
    for message in sent:
        show_mail(message)


def show_mail(message: dict[str, Any]) -> None:
    """Print one mail."""
    head = f"From: {message['Source']}\nTo: {', '.join(message['To'])}\nSubject: {message['Subject']}\n\n"
    out.print(Panel(head + message["BodyText"].rstrip(), title="Mail", title_align="left", expand=False), markup=False)


def show(outputs: dict[str, Any]) -> None:
    """Print where the stack is and what to try."""
    grid = Table.grid(padding=(0, 2))
    grid.add_row("Site", outputs["site_url"])
    grid.add_row("API", outputs["api_url"])
    out.print(Panel(grid, title="Rollbook, local", title_align="left", expand=False))
    out.print(
        "Try:  python -m ops students sample students.csv\n"
        "      python -m ops students import students.csv --env local\n"
        "      python -m ops schedule test --env local\n"
        "      python -m ops local mail",
        highlight=False,
    )


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return False  # the id is that of somebody else's process by now
    return True


def _command_line(pid: int) -> str:
    """Return the command of a process: an id alone may be another's by now."""
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


def _tail(path: Path, lines: int = 15) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
