"""The fixtures of the engine's tests."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
from moto import mock_aws
from moto.core.config import default_user_config

from rollbook.contract import pauses
from rollbook.engine import backup as run
from tests.conftest import Stacks
from tests.unit.aws import create_bucket, create_bus, create_tables
from tests.unit.engine import JOB, PLACES, Clock, Mail, backup_of
from tests.unit.strict_s3 import strict_s3
from tests.unit.table_ids import table_ids

# moto gives each test a session of boto3, which parses AWS's models again: half a second for four services.
default_user_config["core"]["reset_boto3_session"] = False


@pytest.fixture(autouse=True)
def endless() -> Iterator[None]:
    """A handler sets when its invocation ends, for the whole process."""
    yield
    pauses.end_at(math.inf)


@pytest.fixture
def aws(stacks: Stacks) -> Iterator[None]:
    with mock_aws(), strict_s3(), table_ids():
        create_tables(stacks)
        create_bucket(PLACES.s3_bucket_name)
        create_bus(PLACES.event_bus_name)
        yield


@pytest.fixture
def mail() -> Mail:
    return Mail()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def backup(aws: None, mail: Mail, clock: Clock) -> run.Backup:
    return backup_of(JOB, mail, clock)
