"""Open a backup, and say in one sentence why it cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import typer
from botocore.exceptions import ClientError

from ops.cloud import Cloud
from ops.failures import OperatorError, explain
from rollbook.engine.formats.lines import Corrupted
from rollbook.engine.history import History
from rollbook.engine.resources import Resources

_ABSENT = {"404", "NoSuchKey"}
_DENIED = {"403", "AccessDenied"}


def resources_of(cloud: Cloud) -> Resources:
    """Return the resources of an environment, with the operator's credentials."""
    backups = cloud.settings.backups
    dynamodb = cloud.items()
    history = History(dynamodb, backups.history_table_name, backups.history_days, cloud.settings.records.table_name)
    return Resources(dynamodb, cloud.client("s3"), backups.bucket_name, history, lambda: datetime.now(UTC))


@contextmanager
def explained(cloud: Cloud, key: str) -> Iterator[None]:
    """Turn what the backup engine raises into an `OperatorError`."""
    try:
        yield
    except (OperatorError, typer.Exit):
        raise
    except Corrupted as damage:
        raise OperatorError(f"{key} is damaged: {damage}") from None
    except ClientError as error:
        code = error.response["Error"]["Code"]
        where = f"s3://{cloud.settings.backups.bucket_name}/{key}"
        if code in _ABSENT:
            advice = f"list the keys with: rollbook backups list --env {cloud.settings.name}"
            raise OperatorError(f"{where} cannot be read: there is no such object; {advice}") from None
        if code in _DENIED:
            raise OperatorError(f"{where} cannot be read: {explain(error)} on this bucket") from None
        raise
    except (RuntimeError, ValueError) as error:
        raise OperatorError(f"{key}: {error}") from None
