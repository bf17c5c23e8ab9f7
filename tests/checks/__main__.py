"""`python -m tests.checks`: prose, zizmor over the workflows, checkov over the plans of production.

What is planned is the production environment as it is, in an empty account; the only thing asked of a cloud is the
account's number, and the embedded AWS answers that.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from bench import tools
from infra import app
from infra.constructs.accepted import ACCEPTED, Accepted
from infra.settings import ENVIRONMENTS, load
from ops.console import ROOT, done, error, note
from ops.local.emulator import Emulator
from ops.terraform import Terraform
from tests.checks import prose
from tests.ports import free_port

_REQUIREMENTS = Path(__file__).with_name("requirements.txt")


def main() -> int:
    """Run all three; return the exit code."""
    programs = tools.folder(_REQUIREMENTS)
    with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor() as pool:
        workflows = pool.submit(_zizmor, programs)
        texts = pool.submit(prose.main)
        return max(_checkov(programs, Path(temporary)), workflows.result(), texts.result())


def _zizmor(programs: Path) -> int:
    ran = subprocess.run(
        [programs / "zizmor", "--offline", "--no-progress", "--persona=pedantic", ".github"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode:
        note(ran.stdout + ran.stderr)
    else:
        done("zizmor: nothing about the workflows")
    return ran.returncode


def _checkov(programs: Path, folder: Path) -> int:
    production = load(ENVIRONMENTS / "production.toml")
    app.synthesize([production], folder / "cdktf.out")
    emulator = Emulator(folder / "emulator", free_port())
    emulator.start()
    try:
        with ThreadPoolExecutor() as pool:
            found = list(
                pool.map(
                    lambda name: _findings(programs, folder / "cdktf.out" / "stacks" / name, emulator.port),
                    production.stack_names,
                )
            )
    finally:
        emulator.stop()
    findings = [each for some in found for each in some]
    new = [each for each in findings if not any(_fits(accepted, each) for accepted in ACCEPTED)]
    for check, name, kind, path in new:
        error(f"{check} {kind} {path}: {name}", "✗")
    stale = [accepted for accepted in ACCEPTED if not any(_fits(accepted, each) for each in findings)]
    for accepted in stale:
        error(f"{accepted.check} {accepted.kind} {accepted.path}: accepted, but nothing has it any more", "✗")
    if new or stale:
        note("Fix the resource, or accept the finding there with a reason: infra/constructs/accepted.py")
        return 1
    done(f"checkov: {len(findings)} findings, each accepted beside its resource with a reason")
    return 0


def _fits(accepted: Accepted, finding: tuple[str, str, str, str]) -> bool:
    check, _, kind, path = finding
    return (accepted.check, accepted.kind) == (check, kind) and fnmatchcase(path, accepted.path)


def _findings(programs: Path, stack: Path, port: int) -> list[tuple[str, str, str, str]]:
    """Return checkov's findings of one stack: id, name, type, construct's path.

    They are kept in `.cache/checkov` by all that they depend on, because a plan and checkov take half a minute.
    """
    depends = [stack / "cdk.tf.json", ROOT / "terraform.lock.hcl", Path(__file__), _REQUIREMENTS]
    digest = hashlib.sha256(b"".join(hashlib.sha256(path.read_bytes()).digest() for path in depends)).hexdigest()
    kept = ROOT / ".cache" / "checkov" / f"{stack.name}.json"
    if kept.exists() and not os.environ.get("ROLLBOOK_FRESH"):
        before = json.loads(kept.read_text("utf-8"))
        if before["digest"] == digest:
            return [tuple(each) for each in before["findings"]]
    found = _ask_checkov(programs, stack, port)
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps({"digest": digest, "findings": found}), "utf-8")
    return found


def _ask_checkov(programs: Path, stack: Path, port: int) -> list[tuple[str, str, str, str]]:
    synthesized = json.loads((stack / "cdk.tf.json").read_text("utf-8"))
    paths = {
        f"{kind}.{name}": resource["//"]["metadata"]["path"].partition("/")[2]
        for kind, resources in synthesized["resource"].items()
        for name, resource in resources.items()
    }
    (stack / "plan.json").write_bytes(_plan(stack, synthesized, port))
    done = subprocess.run(
        [
            *(programs / "checkov", "--file", stack / "plan.json", "--framework", "terraform_plan"),
            *("--skip-download", "--compact", "--quiet", "--soft-fail", "--output", "json"),
        ],
        env={**os.environ, "LOG_LEVEL": "ERROR"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"checkov failed on {stack.name}:\n{done.stderr}")
    report = json.loads(done.stdout)
    if report["summary"]["resource_count"] < len(paths) or report["summary"]["parsing_errors"]:
        raise RuntimeError(f"checkov did not understand the plan of {stack.name}: {report['summary']}")
    return [
        (each["check_id"], each["check_name"], each["resource"].partition(".")[0], paths[each["resource"]])
        for each in report["results"]["failed_checks"]
    ]


def _plan(stack: Path, synthesized: dict[str, Any], port: int) -> bytes:
    local = {
        **dict.fromkeys(("skip_credentials_validation", "skip_region_validation"), True),
        "skip_metadata_api_check": "true",
        "access_key": "test",
        "secret_key": "test",
        "endpoints": [{"sts": f"http://localhost:{port}"}],
    }
    for provider in synthesized["provider"]["aws"]:
        provider |= local
    synthesized["terraform"]["backend"] = {"local": {}}
    (stack / "cdk.tf.json").write_text(json.dumps(synthesized))
    terraform = Terraform(stack)
    terraform.init()
    return terraform.plan_json(stack / "plan.bin")


if __name__ == "__main__":
    sys.exit(main())
