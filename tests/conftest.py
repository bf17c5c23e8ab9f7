"""What the suites share: the synthesized stacks, and the embedded AWS, started once and early."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from infra.settings import ENVIRONMENTS, Settings, load
from ops.cloud import Cloud
from ops.console import ROOT
from ops.local.aws import open_links, prepare_account
from ops.local.emulator import Emulator
from ops.local.stack import terraform_in
from ops.terraform import Terraform
from tests.ports import free_port

# The same examples in every run, however slow the machine.
hypothesis.settings.register_profile("rollbook", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("rollbook")

# Nothing of the caller's AWS reaches a test.
for name in [name for name in os.environ if name.startswith("AWS_")]:
    del os.environ[name]
os.environ |= {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "ap-southeast-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


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


@dataclass(frozen=True)
class Local:
    """The local stack on the embedded AWS."""

    cloud: Cloud
    port: int
    terraform: Terraform
    folder: Path


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


def synthesize_settings(settings: Settings, folder: Path) -> Stacks:
    """Synthesize an environment that has no file in environments/."""
    program = (
        "import pathlib, sys\nfrom infra.app import synthesize\nfrom infra.settings import Settings\n"
        "synthesize([Settings.model_validate_json(sys.stdin.read())], pathlib.Path(sys.argv[1]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder)],
        input=settings.model_dump_json(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return Stacks(folder)


@pytest.fixture(scope="session")
def stacks(_synth: Future[Stacks]) -> Stacks:
    return _synth.result()


@pytest.fixture(scope="session")
def local(_local: Future[Local]) -> Local:
    return _local.result()


@pytest.fixture(scope="session")
def cloud(local: Local) -> Cloud:
    return local.cloud


@pytest.fixture(scope="session")
def _synth(_early: dict[str, Future[Any]]) -> Future[Stacks]:
    return _early["synth"]


@pytest.fixture(scope="session")
def _local(_early: dict[str, Future[Any]]) -> Future[Local]:
    return _early["local"]


@pytest.fixture(scope="session", autouse=True)
def _early(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Any]]]:
    """Begin what takes long before the first test, so that the quick tests run meanwhile."""
    wanted = {name for item in request.session.items for name in getattr(item, "fixturenames", ())}
    folder = tmp_path_factory.mktemp("rollbook")
    emulator = Emulator(folder / "emulator", free_port())
    with ThreadPoolExecutor(max_workers=2) as pool:
        futures: dict[str, Future[Any]] = {}
        try:
            if "ROLLBOOK_STACKS" in os.environ:  # tests.runtimes: the synth runs under the project's own Python
                futures["synth"] = pool.submit(Stacks, Path(os.environ["ROLLBOOK_STACKS"]))
            elif wanted & {"stacks", "local", "cloud"}:
                futures["synth"] = pool.submit(synthesize, folder / "cdktf.out")
            if wanted & {"local", "cloud"}:
                futures["local"] = pool.submit(_raise, emulator, futures["synth"], folder)
            yield futures
        finally:
            for future in futures.values():
                future.exception()
            emulator.stop()
            shutil.rmtree(folder)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run what needs the embedded AWS last, while it comes up."""
    items.sort(key=lambda item: "local" in getattr(item, "fixturenames", ()))


def _raise(emulator: Emulator, synth: Future[Stacks], folder: Path) -> Local:
    emulator.start()
    terraform = terraform_in(synth.result().path("local"), emulator.port)
    terraform.init()
    settings = load(ENVIRONMENTS / "local.toml")
    prepare_account(emulator.port, settings)
    terraform.apply()
    open_links(emulator.port, settings.region)
    cloud = Cloud(settings, terraform.outputs(), emulator.port)
    return Local(cloud, emulator.port, terraform, folder)
