"""The stack on the embedded AWS."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from infra.settings import ENVIRONMENTS, load
from ops import console, synth, terraform
from ops.console import ROOT
from ops.local import aws, emulator
from ops.local.emulator import Emulator

STACK = ROOT / "cdktf.out" / "stacks" / "local"
STATE = ROOT / "terraform.local.tfstate"
# Most of an apply is the provider's own waiting: 25 s for the attributes of a queue, 55 s for a lifecycle. The
# embedded AWS does not throttle. Measured: 155 s with 10 operations at a time, 92 s with 40.
_PARALLELISM = 40


def terraform_in(folder: Path, port: int) -> terraform.Terraform:
    """Return Terraform for a stack on the embedded AWS."""
    return terraform.Terraform(folder, {"emulator_port": str(port)}, _PARALLELISM)


def apply(running: Emulator) -> tuple[int, dict[str, Any]]:
    """Apply the stack to a running emulator; return the number of changed resources and the outputs."""
    settings = load(ENVIRONMENTS / "local.toml")
    synth.synthesize(settings.name)
    stack = terraform_in(STACK, running.port)
    with console.working("Preparing Terraform"):
        stack.init()
    aws.prepare_account(running.port, settings)
    changed = stack.apply()
    aws.open_links(running.port, settings.region)
    console.note(f"✓ {changed} resources changed" if changed else "✓ nothing to change")
    return changed, stack.outputs()


@contextmanager
def started(port: int) -> Iterator[tuple[Emulator, bool]]:
    """Give a running emulator, and whether this call started it; if it did, an error or Ctrl-C stops it again."""
    terraform.find()
    running = Emulator(emulator.FOLDER, emulator.running_port() or port)
    if running.pid() is not None:
        yield running, False
        return
    if not running.has_state:
        STATE.unlink(missing_ok=True)  # it describes an account that no longer exists
    with console.working("Starting the embedded AWS"):
        running.start()
    _stop_on_signals()
    try:
        console.note(f"✓ the embedded AWS listens on 127.0.0.1:{running.port}, IAM enforced")
        yield running, True
    except BaseException:
        running.stop()
        raise


def _stop_on_signals() -> None:
    """Handle SIGTERM and SIGHUP as Ctrl-C: stop what was started."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
