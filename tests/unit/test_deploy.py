"""`rollbook deploy` applies the plan that it made and checked, and no file next to the review.

Real Terraform, on resources that it has built in, so that no provider and no AWS is needed.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ops import deploy, environment, plan, synth
from ops.__main__ import app
from ops.exits import Exit
from ops.terraform import Terraform


def write_stack(folder: Path, command: str) -> Path:
    """A stack with one resource that runs a command when it is made."""
    folder.mkdir(parents=True)
    resource = {
        "provisioner": [{"local-exec": {"command": command}}],
        "//": {"metadata": {"path": "local/part/resource", "uniqueId": "resource"}},
    }
    document = {
        "terraform": {"backend": {"local": {"path": str(folder / "terraform.tfstate")}}},
        "resource": {"terraform_data": {"resource": resource}},
    }
    (folder / "cdk.tf.json").write_text(json.dumps(document))
    return folder


@pytest.fixture
def honest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The stack that the commands see, and its review in `review`."""
    stack = write_stack(tmp_path / "honest", f"touch {tmp_path / 'honest.ran'}")
    monkeypatch.setattr(synth, "synthesize", lambda _: None)
    monkeypatch.setattr(plan, "_note_preflight", lambda _: None)  # it asks AWS which account this is
    monkeypatch.setattr(environment, "terraform_of", lambda _, folder: Terraform(folder))
    for module in (deploy, plan):
        monkeypatch.setattr(module, "stack_of", lambda _: stack)
    planned = CliRunner().invoke(app, ["plan", "--env", "workshop", "--out", str(tmp_path / "review")])
    assert planned.exit_code == Exit.FINDINGS, planned.output
    return stack


def test_a_plan_file_next_to_the_review_is_not_applied(honest: Path, tmp_path: Path) -> None:
    foreign = Terraform(write_stack(tmp_path / "foreign", f"touch {tmp_path / 'foreign.ran'}"))
    foreign.init()
    foreign.plan_json(tmp_path / "review" / "plan.bin")

    done = CliRunner().invoke(app, ["deploy", "--env", "workshop", "--reviewed", str(tmp_path / "review")])

    assert done.exit_code == 0, done.output
    assert not (tmp_path / "foreign.ran").exists(), "the foreign plan was applied"
    assert (tmp_path / "honest.ran").exists()


def test_no_plan_file_is_left_for_others_to_read_or_replace(honest: Path, tmp_path: Path) -> None:
    assert sorted(path.name for path in (tmp_path / "review").iterdir()) == ["plan.json", "review.json", "summary.md"]
    done = CliRunner().invoke(app, ["deploy", "--env", "workshop", "--reviewed", str(tmp_path / "review")])
    assert done.exit_code == 0, done.output
    assert list(tmp_path.rglob("plan.bin")) == []


def test_a_changed_stack_is_refused(honest: Path, tmp_path: Path) -> None:
    document = json.loads((honest / "cdk.tf.json").read_text())
    document["resource"]["terraform_data"]["resource"]["input"] = "another"
    (honest / "cdk.tf.json").write_text(json.dumps(document))
    done = CliRunner().invoke(app, ["deploy", "--env", "workshop", "--reviewed", str(tmp_path / "review")])
    assert done.exit_code == Exit.MOVED
    assert "the plan differs from the reviewed one" in done.stderr
    assert not (tmp_path / "honest.ran").exists()


def test_a_value_known_after_the_apply_is_reviewed_too(honest: Path, tmp_path: Path) -> None:
    """A text with a reference is unknown until the apply, so the plans are equal and the stacks are not."""
    path = honest / "cdk.tf.json"
    document = json.loads(path.read_text())
    resources = document["resource"]["terraform_data"]
    resources["policy"] = {"input": "allow reading ${terraform_data.resource.id}", "//": resources["resource"]["//"]}
    path.write_text(json.dumps(document))
    planned = CliRunner().invoke(app, ["plan", "--env", "workshop", "--out", str(tmp_path / "review")])
    assert planned.exit_code == Exit.FINDINGS, planned.output
    path.write_text(path.read_text().replace("allow reading", "allow everything on"))
    done = CliRunner().invoke(app, ["deploy", "--env", "workshop", "--reviewed", str(tmp_path / "review")])
    assert done.exit_code == Exit.MOVED, done.output
    assert not (tmp_path / "honest.ran").exists()


def test_a_recorded_plan_removes_an_old_review(honest: Path, tmp_path: Path) -> None:
    review = tmp_path / "review"
    (tmp_path / "benign.json").write_bytes((review / "plan.json").read_bytes())
    shown = CliRunner().invoke(
        app, ["plan", "--env", "workshop", "--plan", str(tmp_path / "benign.json"), "--out", str(review)]
    )
    assert shown.exit_code == Exit.FINDINGS, shown.output
    assert not (review / "review.json").exists()
    assert (review / "plan.json").stat().st_mode & 0o077 == 0, "it holds the state's secrets"


@pytest.mark.parametrize("text", [b"\xff\xfe", b"[" * 200_000, b'{"digest": 1}'], ids=["no UTF-8", "deep", "a number"])
def test_a_file_that_is_not_a_review_is_one_message(honest: Path, tmp_path: Path, text: bytes) -> None:
    (tmp_path / "review" / "review.json").write_bytes(text)
    done = CliRunner().invoke(app, ["deploy", "--env", "workshop", "--reviewed", str(tmp_path / "review")])
    assert done.exit_code == 1
    assert "review.json" in done.stderr
    assert "Traceback" not in done.output
