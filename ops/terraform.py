"""Find or download Terraform, configure its provider, and run it with progress."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.progress import Progress

from ops import console
from ops.console import ROOT
from ops.failures import OperatorError

VERSION = "1.11.4"
# S3 native state locking is generally available from this version on (Terraform 1.11 release notes).
MINIMUM = (1, 11)
RELEASES = "https://releases.hashicorp.com/terraform"
# SHA-256 of the archives, from HashiCorp's terraform_1.11.4_SHA256SUMS.
SHA256 = {
    "darwin_amd64": "a56d5002b9f7647291faccc3dd1a70350e60fb61e4c45037629508b8fdc2575b",
    "darwin_arm64": "867e0808fa971217043e25b7a792b10720c79b1546f8a68479b74f138be73e18",
    "linux_amd64": "1ce994251c00281d6845f0f268637ba50c0005657eb3cf096b92f753b42ef4dc",
    "linux_arm64": "a43d1d0da9b9bab214a8305a39db0e40869572594ccf50c416a7756499143633",
}
PROVIDER = "registry.terraform.io/hashicorp/aws"
LOCK = ROOT / "terraform.lock.hcl"
_CACHE = ROOT / ".cache" / "terraform"
_KEPT = ROOT / ".cache" / "provider"
_TIMEOUT_SECONDS = 30


def this_platform() -> str:
    """Return the name that HashiCorp uses for this system and processor."""
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    return f"{platform.system().lower()}_{machine}"


def find() -> Path:
    """Return Terraform in the minimum version or newer: from the PATH, from the cache, or downloaded.

    Raises:
        OperatorError: there is none, and it cannot be downloaded.
    """
    on_path = shutil.which("terraform")
    if on_path and _version(Path(on_path)) >= MINIMUM:
        return Path(on_path)
    cached = _CACHE / VERSION / "terraform"
    if cached.exists():
        return cached
    return fetch(cached.parent)


def fetch(folder: Path, *, releases: str = RELEASES, sha256: Mapping[str, str] = SHA256) -> Path:
    """Download the pinned version and return the path of the program.

    Arguments:
        folder: where to put it.
        releases: the URL of the folder with the archives.
        sha256: of the archives, by platform; other bytes are not unpacked.

    Raises:
        OperatorError: there is no archive for this platform, or it cannot be downloaded, or its SHA-256 is wrong.
    """
    here = this_platform()
    remedy = f"Install Terraform {'.'.join(map(str, MINIMUM))} or newer and run this again."
    if here not in sha256:
        raise OperatorError(f"Terraform is not on the PATH, and there is no pinned archive for {here}. {remedy}")
    address = f"{releases}/{VERSION}/terraform_{VERSION}_{here}.zip"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        archive = Path(temporary, "terraform.zip")
        try:
            digest = _download(address, archive)
        except (OSError, urllib.error.URLError, ValueError) as error:
            raise OperatorError(
                f"Terraform is not on the PATH, and {address} cannot be downloaded ({error}). {remedy}"
            ) from None
        if digest != sha256[here]:
            raise OperatorError(f"{address} has the SHA-256 {digest}, not {sha256[here]}; it was deleted. {remedy}")
        with zipfile.ZipFile(archive) as unpacked:
            unpacked.extract("terraform", temporary)
        program = Path(temporary, "terraform")
        program.chmod(0o755)
        return program.replace(folder / "terraform")


def _download(address: str, path: Path) -> str:
    digest = hashlib.sha256()
    with urllib.request.urlopen(address, timeout=_TIMEOUT_SECONDS) as response, path.open("wb") as file:
        expected = response.headers.get("Content-Length")
        received = 0
        while chunk := response.read(1 << 20):
            digest.update(chunk)
            received += file.write(chunk)
    if expected is not None and received != int(expected):
        raise ValueError(f"{received:,} of {int(expected):,} bytes were received")
    return digest.hexdigest()


def _version(program: Path) -> tuple[int, ...]:
    environment = {**os.environ, "CHECKPOINT_DISABLE": "1"}
    done = subprocess.run([program, "version", "-json"], capture_output=True, text=True, check=False, env=environment)
    match = re.search(r'"terraform_version":\s*"(\d+)\.(\d+)', done.stdout)
    return tuple(map(int, match.groups())) if match else (0,)


def mirrors() -> Iterator[Path]:
    """Yield the usual folders of provider mirrors.

    Source: Terraform CLI configuration, "Implied Local Mirror Directories"; container images also use /opt.
    """
    home = Path.home()
    yield home / ".terraform.d" / "plugins"
    yield Path(os.environ.get("XDG_DATA_HOME", home / ".local" / "share")) / "terraform" / "plugins"
    yield home / "Library" / "Application Support" / "io.terraform" / "plugins"
    for share in os.environ.get("XDG_DATA_DIRS", "/usr/local/share:/usr/share").split(os.pathsep):
        yield Path(share) / "terraform" / "plugins"
        yield Path(share) / "terraform"
    yield from sorted(Path("/opt").glob("*"))
    yield _KEPT / ".terraform" / "providers"  # written by `keep_provider`


def cli_configuration(folder: Path, candidates: Iterator[Path] | None = None) -> Path:
    """Write a CLI configuration and return its path. It names a mirror of the provider if there is one."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "terraform.rc"
    for mirror in candidates if candidates is not None else mirrors():
        if (mirror / PROVIDER).is_dir():
            path.write_text(
                "provider_installation {\n"
                f'  filesystem_mirror {{\n    path    = {json.dumps(str(mirror))}\n    include = ["{PROVIDER}"]\n  }}\n'
                f'  direct {{\n    exclude = ["{PROVIDER}"]\n  }}\n}}\n'
            )
            break
    else:
        path.write_text("provider_installation {\n  direct {}\n}\n")
    return path


def keep_provider(folder: Path = _KEPT, candidates: Iterator[Path] | None = None) -> bool:
    """Install the locked provider once for all stacks, unless a mirror has it; return whether it was installed.

    Terraform stores it in the layout of a mirror, so the stacks do not download it again.

    Raises:
        OperatorError: it cannot be downloaded, or it is not the locked one.
    """
    if any((mirror / PROVIDER).is_dir() for mirror in (candidates if candidates is not None else mirrors())):
        return False
    folder.mkdir(parents=True, exist_ok=True)
    version = re.search(r'version += "([^"]+)"', LOCK.read_text("utf-8"))
    assert version is not None  # a test checks the lock file
    asked = {"required_providers": {"aws": {"source": PROVIDER, "version": version[1]}}}
    (folder / "main.tf.json").write_text(json.dumps({"terraform": asked}))
    shutil.copyfile(LOCK, folder / ".terraform.lock.hcl")
    Terraform(folder).init()
    return True


def environment(configuration: Path) -> dict[str, str]:
    """Return the environment variables of Terraform: no version checks, and our CLI configuration if none is set."""
    values = {**os.environ, "CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1"}
    own = os.environ.get("TF_CLI_CONFIG_FILE")
    if not own or not Path(own).exists():
        values["TF_CLI_CONFIG_FILE"] = str(configuration)
    return values


@dataclass
class Terraform:
    """Terraform in one folder.

    Arguments:
        folder: the synthesized stack.
        variables: values of its Terraform variables.
        parallelism: number of concurrent operations; 10 is the default of Terraform.
    """

    folder: Path
    variables: Mapping[str, str] = field(default_factory=dict)
    parallelism: int = 10

    def __post_init__(self) -> None:
        self._program = find()
        self._environment = environment(cli_configuration(ROOT / ".cache"))
        self._environment |= {f"TF_VAR_{name}": value for name, value in self.variables.items()}

    def init(self) -> None:
        """Install the locked provider, unless it is installed."""
        self._run("init", "-input=false", "-no-color", "-lockfile=readonly")

    def apply(self, plan: Path | None = None) -> int:
        """Apply the stack with live progress and return the number of resources changed.

        Arguments:
            plan: a saved plan; without it, Terraform makes a new one and applies it.

        Raises:
            OperatorError: with the message of Terraform.
        """
        with console.progress() as progress:
            return self._apply(progress, plan)

    def has_changes(self) -> bool:
        """Return whether a plan would change anything."""
        return self._run("plan", "-input=false", "-no-color", "-detailed-exitcode", codes=(0, 2)).returncode == 2

    def plan_json(self, path: Path, *options: str) -> bytes:
        """Write a plan to a file, and return it as JSON.

        Arguments:
            options: of `terraform plan`, such as `-refresh-only`.

        Raises:
            OperatorError: with the message of Terraform.
        """
        self._run("plan", "-input=false", "-no-color", f"-out={path}", *options)
        return self._run("show", "-json", str(path)).stdout.encode()

    def plan(self) -> str:
        """Return a plan as text."""
        return self._run("plan", "-input=false", "-no-color").stdout

    def managed(self) -> set[str]:
        """Return the addresses in the state; none before the first apply."""
        done = self._run("state", "list", codes=(0, 1))
        if done.returncode and "No state file was found" not in done.stderr:
            raise OperatorError(self._failed("state list", done.stderr))
        return {line for line in done.stdout.splitlines() if not line.startswith("data.")}

    def identity(self) -> tuple[str, int]:
        """Return the lineage and serial of the state; an empty text and 0 before the first apply."""
        pulled = self._run("state", "pull").stdout
        state = self._decoded(pulled, "state pull") if pulled.strip() else {}
        return str(state.get("lineage", "")), int(state.get("serial", 0))

    def outputs(self) -> dict[str, Any]:
        """Return the values of the outputs; empty before the first apply."""
        outputs = self._decoded(self._run("output", "-json", "-no-color").stdout, "output")
        return {name: output["value"] for name, output in outputs.items()}

    def _apply(self, progress: Progress, plan: Path | None) -> int:
        what = [str(plan)] if plan else ["-auto-approve"]
        command = [str(self._program), "apply", "-json", "-input=false", f"-parallelism={self.parallelism}", *what]
        task = progress.add_task("Reading the state", total=None)
        faults: list[str] = []
        changed = 0
        active: dict[str, None] = {}
        # Ctrl-C interrupts Terraform too. It then writes its state, and leaving the block waits for that.
        with subprocess.Popen(
            command, cwd=self.folder, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            for line in process.stdout or ():
                event = _event(line)
                address = event.get("hook", {}).get("resource", {}).get("addr", "")
                match event.get("type"):
                    case "change_summary" if event["changes"]["operation"] == "plan":
                        progress.update(task, total=sum(event["changes"][kind] for kind in ("add", "change", "remove")))
                    case "apply_start" if event["hook"]["action"] != "read":
                        active[address] = None
                    case "apply_complete" if event["hook"]["action"] != "read":
                        active.pop(address, None)
                        changed += 1
                        progress.advance(task)
                    case "diagnostic" if event["diagnostic"]["severity"] == "error":
                        faults.append(
                            f"{event['diagnostic']['summary']}\n{event['diagnostic'].get('detail', '')}".strip()
                        )
                if active:
                    progress.update(task, description=next(iter(active)).partition(".")[0])
        code = process.returncode
        if code:
            raise OperatorError(self._failed("apply", "\n".join(faults or [f"exit code {code}, without a reason"])))
        return changed

    def _run(self, *arguments: str, codes: tuple[int, ...] = (0,)) -> subprocess.CompletedProcess[str]:
        command = [str(self._program), *arguments]
        done = subprocess.run(
            command, cwd=self.folder, env=self._environment, capture_output=True, text=True, check=False
        )
        if done.returncode not in codes:
            raise OperatorError(self._failed(arguments[0], done.stderr or done.stdout))
        return done

    def _failed(self, operation: str, said: str) -> str:
        reason = _reason(said)
        advice = next((advice for pattern, advice in _ADVICE if re.search(pattern, reason)), _OTHERWISE)
        return f"terraform {operation} failed in {self.folder}:\n{reason}\n{advice}"

    def _decoded(self, text: str, operation: str) -> Any:
        try:
            return json.loads(text)
        except ValueError as error:
            raise OperatorError(self._failed(operation, f"its output is not JSON: {error}")) from None


# What to do about a message of Terraform.
_ADVICE = (
    (r"Error acquiring the state lock|state blob is already locked", "Another run holds the lock: rollbook state show"),
    (
        r"No valid credential sources|ExpiredToken|InvalidClientTokenId|security token included in the request",
        "Log in or set AWS_PROFILE, and check with: aws sts get-caller-identity",
    ),
    (r"AccessDenied|UnauthorizedOperation|not authorized to perform", "Ask for the permission that it names."),
    (r"Failed to query available provider|could not connect to registry", "Check the network, and run this again."),
    (r"bucket.*does not exist|NoSuchBucket", "Create the bucket of the state: rollbook state bootstrap --env ENV"),
)
_OTHERWISE = "Correct what it names, and run this again."


def _reason(said: str) -> str:
    """Return the message of Terraform. A crashed provider fails every resource, so only the crash is returned."""
    crash = re.search(r"^panic: .*$", said, re.MULTILINE)
    if crash is None:
        return said.strip()
    place = re.search(r"^\t(\S+\.go:\d+)", said[crash.end() :], re.MULTILINE)
    where = place[1].rpartition("terraform-provider-aws/")[2] if place else "an unknown place"
    return f"the provider crashed: {crash[0].removeprefix('panic: ')}, in {where}"


def _event(line: str) -> dict[str, Any]:
    try:
        event = json.loads(line)
    except json.JSONDecodeError:
        return {}
    return event if isinstance(event, dict) else {}
