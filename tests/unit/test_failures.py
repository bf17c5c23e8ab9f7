"""What AWS, Terraform and the machine answer ends a command with 1 and one sentence, never with a stack trace."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from botocore import exceptions as aws
from botocore.exceptions import ClientError

from infra import settings as settings_module
from infra.settings import SettingsError
from ops import environment, options, plan, state, synth, terraform
from ops.backups import overview
from ops.cloud import Cloud, fetch
from ops.exits import Exit
from ops.failures import OperatorError
from ops.local import emulator
from ops.terraform import Terraform
from tests.unit.commands import cloud, run
from tests.unit.server import closed_address


def answered(code: str, message: str = "said AWS", operation: str = "Scan", status: int = 400) -> ClientError:
    metadata = {"HTTPStatusCode": status}
    return ClientError({"Error": {"Code": code, "Message": message}, "ResponseMetadata": metadata}, operation)  # type: ignore[typeddict-item]


URL = "https://dynamodb.ap-southeast-1.amazonaws.com/"
# What fails, and the words that say what, where, why and what to do.
FAILURES: dict[str, tuple[BaseException, tuple[str, ...]]] = {
    "a missing permission": (answered("AccessDeniedException"), ("Scan", "said AWS", "permission to call Scan")),
    "expired credentials": (
        answered("ExpiredTokenException"),
        ("ExpiredTokenException", "aws sts get-caller-identity"),
    ),
    "invalid credentials": (answered("InvalidClientTokenId"), ("aws sts get-caller-identity",)),
    "throttling": (answered("ThrottlingException"), ("run this again in a minute",)),
    "an absent table": (answered("ResourceNotFoundException"), ("Scan", "Check the name and the Region")),
    "a fault of AWS": (answered("InternalServerError"), ("side of AWS",)),
    "another code": (answered("ValidationException"), ("Scan with ValidationException", "Correct it")),
    "an answer without a message": (ClientError({}, "Scan"), ("Scan", "unknown")),  # type: ignore[typeddict-item]
    "no credentials": (aws.NoCredentialsError(), ("AWS was not called", "AWS_PROFILE")),
    "half credentials": (
        aws.PartialCredentialsError(provider="env", cred_var="aws_secret_access_key"),
        ("aws_secret_access_key", "AWS_PROFILE"),
    ),
    "an unknown profile": (aws.ProfileNotFound(profile="school"), ("school", "AWS_PROFILE")),
    "an expired login": (aws.UnauthorizedSSOTokenError(), ("AWS was not called", "Log in")),
    "no Region": (aws.NoRegionError(), ("region", "environments/")),
    "no connection": (aws.EndpointConnectionError(endpoint_url=URL), (URL, "Check the network")),
    "a slow connection": (aws.ConnectTimeoutError(endpoint_url=URL), (URL, "Check the network")),
    "a slow answer": (aws.ReadTimeoutError(endpoint_url=URL), (URL, "Check the network")),
    "a closed connection": (aws.ConnectionClosedError(endpoint_url=URL), (URL, "Check the network")),
    "a wrong certificate": (aws.SSLError(endpoint_url=URL, error="self-signed"), (URL, "self-signed")),
    "a wrong parameter": (aws.ParamValidationError(report="Key is empty"), ("Key is empty",)),
    "a setting": (SettingsError("local.toml: region: is missing"), ("local.toml: region: is missing",)),
    "a file": (PermissionError(13, "Permission denied", "/there/plan.json"), ("/there/plan.json", "Permission denied")),
    "a full disk": (OSError(28, "No space left on device"), ("No space left on device",)),
    "a program that hangs": (subprocess.TimeoutExpired(["terraform", "apply"], 5), ("terraform", "5 s")),
    "a program that fails": (subprocess.CalledProcessError(3, ["npm", "ci"]), ("npm", "exit code 3")),
    "an operator's error": (OperatorError("there is no table x"), ("there is no table x",)),
    "Ctrl-C": (KeyboardInterrupt(), ("stopped", "Run the same command again")),
}


@pytest.mark.parametrize("as_json", [False, True], ids=["text", "JSON"])
@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_is_one_message(name: str, as_json: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    failure, words = FAILURES[name]

    def fail(_: Any) -> Any:
        raise failure

    monkeypatch.setattr(Cloud, "of", lambda _: cloud())
    monkeypatch.setattr(overview, "overview", fail)
    ended = run("backups", "list", "--env", "local", *(["--json"] if as_json else []))
    assert ended.exit_code == Exit.FAILED, ended.output
    assert isinstance(ended.exception, SystemExit)
    assert ended.stdout == ""
    [line] = ended.stderr.splitlines()
    is_ours = isinstance(failure, OperatorError | KeyboardInterrupt | SettingsError)
    assert line.startswith("error: " if is_ours else "error: local: ")
    for word in words:
        assert word in line
    assert "Traceback" not in ended.output


def test_a_fault_of_the_program_keeps_its_stack_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(Cloud, "of", lambda _: cloud())
    monkeypatch.setattr(overview, "overview", fail)
    assert isinstance(run("backups", "list").exception, ZeroDivisionError)


SAID: dict[str, tuple[str, str]] = {
    "lock": ("Error: Error acquiring the state lock", "rollbook state show"),
    "credentials": ("Error: No valid credential sources found", "aws sts get-caller-identity"),
    "permission": ("api error AccessDenied: not allowed", "Ask for the permission"),
    "registry": ("Error: Failed to query available provider packages", "Check the network"),
    "bucket": ("Error: S3 bucket 'state' does not exist.", "rollbook state bootstrap"),
    "other": ("Error: Invalid block", "Correct what it names"),
    "crash": ("panic: nil pointer\n\ngoroutine 1:\n\t/go/terraform-provider-aws/a.go:1 +0x1", "the provider crashed"),
}


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Terraform that prints `said` and ends with 1."""
    path = tmp_path / "terraform"
    path.write_text('#!/bin/sh\ncat "$(dirname "$0")/said" >&2\nexit 1\n')
    path.chmod(0o755)
    monkeypatch.setattr(terraform, "find", lambda: path)
    monkeypatch.setattr(synth, "synthesize", lambda _: None)
    monkeypatch.setattr(environment, "terraform_of", lambda *_: Terraform(tmp_path))
    return path


@pytest.mark.parametrize("name", SAID)
def test_a_failure_of_terraform_says_what_to_do(name: str, program: Path) -> None:
    said, advice = SAID[name]
    (program.parent / "said").write_text(said)
    ended = run("drift", "--env", "workshop")
    assert (ended.exit_code, ended.stdout) == (Exit.FAILED, "")
    assert ended.stderr.startswith(f"error: terraform init failed in {program.parent}:")
    assert advice in ended.stderr
    assert "Traceback" not in ended.output


def test_output_of_terraform_that_is_not_json_is_one_message(program: Path) -> None:
    program.write_text("#!/bin/sh\necho nothing\n")
    with pytest.raises(OperatorError, match=r"terraform output failed .*\n.*not JSON"):
        Terraform(program.parent).outputs()


def test_a_terraform_that_cannot_run_is_one_message(program: Path) -> None:
    program.chmod(0o644)
    ended = run("drift", "--env", "workshop")
    assert ended.exit_code == Exit.FAILED
    assert "Permission denied" in ended.stderr


@pytest.mark.parametrize("text", ["region = ", "no_such = 1", "\udcff"], ids=["syntax", "key", "encoding"])
def test_a_bad_settings_file_is_one_message(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bad.toml").write_bytes(text.encode(errors="surrogateescape"))
    for module in (environment, options):
        monkeypatch.setattr(module, "ENVIRONMENTS", tmp_path)
    ended = run("backups", "list", "--env", "bad")
    assert ended.exit_code == Exit.FAILED
    assert "bad.toml" in ended.stderr
    assert "Traceback" not in ended.output


def test_an_apply_that_did_not_end_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OperatorError, match="no output 'site_url', so its last apply did not end"):
        Cloud(cloud().settings, {"api_url": "x"})


def test_an_address_that_does_not_answer_is_one_message() -> None:
    with pytest.raises(OperatorError, match=r"does not answer: .*Check the network"):
        fetch(closed_address())


def test_a_state_that_cannot_be_read_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = cloud().settings
    settings = settings.model_copy(update={"state": settings.state.model_copy(update={"bucket": "b"})})

    def client(*_: Any) -> Any:
        raise aws.NoCredentialsError

    monkeypatch.setattr(state, "client", client)
    assert "AWS was not called" in state.state_of(settings)["unknown"]


def test_without_the_embedded_aws_a_command_names_the_command_that_starts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emulator, "FOLDER", tmp_path)
    monkeypatch.setattr(synth, "synthesize", lambda _: None)
    for line in ("backups list", "events dead", "schedule show", "smoke", "report", "drift --env local", "local mail"):
        ended = run(*line.split())
        assert ended.exit_code == Exit.FAILED, line
        assert "start it with: rollbook local up" in ended.stderr, line


def test_a_plan_notes_no_preflight_without_credentials(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def client(*_: Any) -> Any:
        raise aws.NoCredentialsError

    monkeypatch.setattr(environment, "client", client)
    plan._note_preflight(settings_module.load(settings_module.ENVIRONMENTS / "workshop.toml"))
    assert capsys.readouterr() == ("", "")
