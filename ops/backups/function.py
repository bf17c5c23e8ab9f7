"""Invoke the functions of an environment and wait for their answers."""

from __future__ import annotations

import json
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from ops import console
from ops.cloud import Cloud
from ops.failures import OperatorError, SomethingFound, explain
from rollbook.contract.fields import to_texts

# A function may run for 15 minutes (Lambda quota), and a retry would be a second execution.
_CONFIG = Config(read_timeout=910, retries={"max_attempts": 0})
_FOUND_BY_DRILL = "DrillFailed"


class FunctionFailed(OperatorError):
    """A function raised an error.

    Arguments:
        error_type: the name of the exception in the function.
    """

    def __init__(self, message: str, error_type: str) -> None:
        super().__init__(message)
        self.error_type = error_type


def invoke(cloud: Cloud, function: str, event: dict[str, Any]) -> dict[str, Any]:
    """Invoke a function of the environment, wait for it and return its answer.

    Raises:
        FunctionFailed: the function raised an error.
        OperatorError: the function cannot be invoked.
    """
    try:
        answer = cloud.client("lambda", config=_CONFIG).invoke(FunctionName=function, Payload=json.dumps(event))
    except (BotoCoreError, ClientError) as error:
        raise OperatorError(f"{function} cannot be invoked: {explain(error)}") from None
    body: dict[str, Any] = json.load(answer["Payload"])
    if "FunctionError" in answer:
        reason = body.get("errorMessage", body)
        raise FunctionFailed(
            f"{function} failed: {reason}. Its log is in the log group /aws/lambda/{function}",
            str(body.get("errorType", "")),
        )
    return body


def make_drill(cloud: Cloud, table: str | None = None) -> dict[str, Any]:
    """Run a drill with the environment's own function and return its answer.

    Arguments:
        table: one of the backed-up tables; the records if None.

    Raises:
        SomethingFound: the newest backup could not be restored.
        OperatorError: the function failed for another reason.
    """
    plans = {plan.job.table_name: plan.job for plan in cloud.settings.drill_plans}
    if table is not None and table not in plans:
        raise OperatorError(f"{table} has no drills in {cloud.settings.name}; there are: {', '.join(plans) or 'none'}")
    event = {"table": to_texts(plans[table])} if table and table != cloud.settings.records.table_name else {}
    with console.working("Restoring the newest backup into a scratch table"):
        try:
            return invoke(cloud, cloud.settings.drills.function_name, event)
        except FunctionFailed as error:
            if error.error_type == _FOUND_BY_DRILL:
                raise SomethingFound(str(error)) from None
            raise
