"""The steps of the smoke test, and their order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from botocore.exceptions import BotoCoreError, ClientError

from ops import console
from ops.cloud import Cloud
from ops.failures import OperatorError, explain
from ops.smoke.failure import StepFailed
from ops.smoke.run import Smoke
from rollbook.engine.formats.lines import Corrupted


@dataclass(frozen=True)
class Outcome:
    """The outcome of a step.

    Arguments:
        seconds: its duration.
        found: the result, in one sentence.
        look_at: what to check if it failed.
    """

    name: str
    state: Literal["passed", "failed", "not tried"]
    seconds: float
    found: str
    look_at: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the outcome as JSON."""
        values = asdict(self)
        return values | {"lookAt": values.pop("look_at")}


@dataclass(frozen=True)
class Step:
    """A step of the smoke test.

    Arguments:
        needs: the step that must pass before, if any.
        look_at: what to check after a failure, with `{…}` for names of the environment.
    """

    name: str
    run: Callable[[Smoke], str]
    look_at: str
    needs: str = ""


STEPS = (
    Step(
        "record",
        Smoke.record,
        "the log groups /aws/lambda/{insert} and /aws/lambda/{get}, the status of CloudFront, and the API key",
    ),
    Step(
        "mail",
        Smoke.mail,
        "the point SES of `rollbook preflight --env {env}`, and the log group /aws/lambda/{insert}",
        needs="record",
    ),
    Step(
        "event",
        Smoke.event,
        "the log policies of the account (`aws logs describe-resource-policies`): events.amazonaws.com needs "
        "logs:CreateLogStream without a condition on aws:SourceArn; the metric FailedInvocations of the rule {bus}-log",
        needs="record",
    ),
    Step(
        "upload",
        Smoke.upload,
        "the log group /aws/lambda/{backup}: InvalidPart or InvalidRequest is a fault in the checksums of the upload, "
        "AccessDenied a fault in the role or the bucket policy",
    ),
    Step(
        "backup",
        Smoke.backup,
        'docs/runbook.md, "No backup came"; the log group /aws/lambda/{backup}',
    ),
    Step("verification", Smoke.whole, 'docs/runbook.md, "Read a backup"', needs="backup"),
    Step("drill", Smoke.drill, 'docs/runbook.md, "A drill failed"', needs="backup"),
    Step(
        "metric",
        Smoke.metric,
        "the log group /aws/lambda/{backup} for a line that begins with _aws, and the CloudWatch namespace Rollbook",
        needs="backup",
    ),
    Step("alarms", Smoke.alarms, "the dashboard {dashboard}, and the description of each alarm"),
    Step(
        "audit",
        Smoke.audit,
        "the status of the trail {trail} (`aws cloudtrail get-trail-status`), its rule, and the log policy {trail}-log",
        needs="verification",
    ),
)


def run(test: Smoke) -> Iterator[Outcome]:
    """Run the steps and yield their outcomes. It cleans up, also after an interruption."""
    passed: set[str] = set()
    names = _names(test.cloud)
    try:
        for step in STEPS:
            look_at = step.look_at.format(**names)
            if step.needs and step.needs not in passed:
                yield Outcome(step.name, "not tried", 0.0, f"it needs the step {step.needs}", look_at)
                continue
            began = time.monotonic()
            try:
                with console.working(f"{step.name}, since {datetime.now(UTC):%H:%M:%S}Z"):
                    found = step.run(test)
            except (BotoCoreError, ClientError, OperatorError, StepFailed, Corrupted) as error:
                yield Outcome(step.name, "failed", round(time.monotonic() - began, 1), _reason(error), look_at)
            except (KeyError, ValueError) as error:
                found = f"an answer has an unexpected form: {error!r}"
                yield Outcome(step.name, "failed", round(time.monotonic() - began, 1), found, look_at)
            else:
                passed.add(step.name)
                yield Outcome(step.name, "passed", round(time.monotonic() - began, 1), found)
    finally:
        test.clean()


def _names(cloud: Cloud) -> dict[str, str]:
    settings = cloud.settings
    return {
        "env": settings.name,
        "insert": settings.functions.insert_name,
        "get": settings.functions.get_name,
        "backup": settings.backups.function_name,
        "bus": settings.events.bus_name,
        "dashboard": settings.monitoring.dashboard_name,
        "trail": settings.audit.trail_name,
    }


def _reason(error: Exception) -> str:
    return explain(error) or str(error)
