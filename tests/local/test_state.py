"""The state in S3, on the embedded AWS: the bucket, the lock, two at once, and the way from a local state and back."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from infra.settings import Settings, State
from ops import state, terraform
from ops.console import ROOT
from ops.exits import Exit
from tests.conftest import Local, synthesize_settings
from tests.local.aws import wait_for


@pytest.fixture
def settings(local: Local, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """The local environment with a state in a bucket of its own."""
    bucket = f"state-{uuid.uuid4()}"
    changed = local.cloud.settings.model_copy(update={"state": State(bucket=bucket)})
    monkeypatch.setattr(state, "settings_of", lambda _: changed)
    monkeypatch.setattr(state, "load_all", lambda: [changed])
    monkeypatch.setattr(state, "client", lambda _, service, __: local.cloud.client(service))
    yield changed
    s3 = local.cloud.client("s3")
    try:
        listed = s3.list_object_versions(Bucket=bucket)
        for version in [*listed.get("Versions", []), *listed.get("DeleteMarkers", [])]:
            s3.delete_object(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"])
        s3.delete_bucket(Bucket=bucket)
    except s3.exceptions.NoSuchBucket:
        pass


def bootstrap(*arguments: str) -> Result:
    return CliRunner().invoke(state.app, ["bootstrap", "--env", "local", *arguments])


def shown() -> dict[str, Any]:
    [row] = json.loads(CliRunner().invoke(state.app, ["show", "--json"]).stdout)
    return dict(row)


def test_the_bucket_is_created_once_and_corrected(settings: Settings, local: Local) -> None:
    s3, bucket = local.cloud.client("s3"), settings.state.bucket
    declined = CliRunner().invoke(state.app, ["bootstrap", "--env", "local"], input="n\n")
    assert declined.exit_code == Exit.REFUSED
    assert bucket not in {found["Name"] for found in s3.list_buckets()["Buckets"]}
    made = bootstrap("--yes")
    assert made.exit_code == 0, made.output
    assert made.stderr.index("+ versioning") < made.stderr.index("✓ versioning")
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    assert all(s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"].values())
    assert "is configured correctly" in bootstrap("--yes").stdout
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    s3.delete_bucket_policy(Bucket=bucket)
    mended = bootstrap("--yes").stderr
    assert "+ versioning" in mended
    assert "+ TLS only" in mended
    assert "encryption" not in mended
    assert "is configured correctly" in bootstrap().stdout


class Person:
    """Somebody with a working folder of their own."""

    def __init__(self, folder: Path, backend: dict[str, Any], port: int, seconds: float = 0) -> None:
        self._folder, self._port = folder, port
        folder.mkdir()
        self.write(backend, seconds)
        configuration = terraform.cli_configuration(ROOT / ".cache")
        self._environment = terraform.environment(configuration) | {"TF_DATA_DIR": str(folder / ".terraform")}

    def write(self, backend: dict[str, Any], seconds: float = 0, value: str = "1") -> None:
        resource = {"input": value, "provisioner": [{"local-exec": {"command": f"sleep {seconds}"}}]}
        stack = {"terraform": {"backend": backend}, "resource": {"terraform_data": {"it": resource}}}
        (self._folder / "main.tf.json").write_text(json.dumps(stack))

    def init(self, *arguments: str) -> None:
        extra = [f'-backend-config=endpoints={{s3="http://localhost:{self._port}"}}'] if "s3" in self._stack() else []
        self.run("init", "-input=false", *extra, *arguments)

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [terraform.find(), *arguments, "-no-color"],
            cwd=self._folder,
            env={**os.environ, **self._environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def has_changes(self) -> bool:
        return self.run("plan", "-input=false", "-detailed-exitcode", check=False).returncode == 2

    def _stack(self) -> str:
        return str(json.loads((self._folder / "main.tf.json").read_text())["terraform"]["backend"])


def s3_backend(settings: Settings, folder: Path) -> dict[str, Any]:
    """The backend as the constructs synthesize it for such an environment."""
    return dict(synthesize_settings(settings, folder).json(settings.name)["terraform"]["backend"])


@pytest.mark.slow
def test_a_state_in_s3_is_shared_locked_and_can_be_moved(settings: Settings, local: Local, tmp_path: Path) -> None:
    assert bootstrap("--yes").exit_code == 0
    remote, here = s3_backend(settings, tmp_path / "synth"), {"local": {"path": "terraform.tfstate"}}
    assert remote["s3"]["use_lockfile"] is True
    first = Person(tmp_path / "first", here, local.port)
    first.init()
    first.run("apply", "-auto-approve")

    # The state moves from the file to the bucket: no resource is recreated, and a second person sees the state.
    first.write(remote)
    first.init("-migrate-state", "-force-copy")
    assert not first.has_changes()
    second = Person(tmp_path / "second", remote, local.port)
    second.init()
    assert not second.has_changes()
    assert (shown()["resources"], shown()["lock"]) == (1, None)

    # Two at once: the second is refused by the lock, and loses nothing.
    first.write(remote, seconds=4, value="2")
    second.write(remote, value="3")
    applying = threading.Thread(target=lambda: first.run("apply", "-auto-approve", "-replace=terraform_data.it"))
    applying.start()
    holder = wait_for(lambda: shown()["lock"])
    refused = second.run("apply", "-auto-approve", check=False)
    applying.join()
    assert refused.returncode == 1
    assert "Error acquiring the state lock" in refused.stderr
    assert "apply" in holder
    assert shown()["lock"] is None
    assert not first.has_changes()
    assert second.has_changes()

    # And back into a file.
    first.write(here, value="2")
    first.init("-migrate-state", "-force-copy")
    assert not first.has_changes()
