"""What the suites share: the synthesized stacks and the applied local stack, made once a run and early."""

from __future__ import annotations

import gc
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from infra.settings import ENVIRONMENTS, load
from ops.cloud import Cloud
from ops.local.stack import terraform_in
from ops.terraform import Terraform
from tests import inventory, offline
from tests.stage import LOCAL, SYNTH, Maker, Stage
from tests.synthesis import Stacks, synthesize, synthesize_settings

__all__ = ["Local", "Stacks", "synthesize", "synthesize_settings"]

_MAKER = pytest.StashKey[Maker]()
_STAGE = pytest.StashKey[Stage]()

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
class Local:
    """The local stack on the embedded AWS.

    Arguments:
        was_planned: whether a plan was seen to be empty when it came up, as one of a kept stack has to be.
    """

    cloud: Cloud
    port: int
    terraform: Terraform
    folder: Path
    was_planned: bool


@pytest.fixture(scope="session")
def stacks(request: pytest.FixtureRequest) -> Stacks:
    return Stacks(Path(request.config.stash[_STAGE].result(SYNTH)["folder"]))


@pytest.fixture(scope="session")
def local(request: pytest.FixtureRequest) -> Local:
    request.config.stash[_STAGE].claim(LOCAL, _worker())
    made = request.config.stash[_STAGE].result(LOCAL)
    stack, port = Path(made["stack"]), made["port"]
    cloud = Cloud(load(ENVIRONMENTS / "local.toml"), made["outputs"], port)
    return Local(cloud, port, terraform_in(stack, port), Path(made["folder"]), made["was_planned"])


@pytest.fixture(autouse=True)
def _usual_tables(request: pytest.FixtureRequest) -> None:
    """Let no test's records make the backups of another test doubtful: each begins without a usual number of items."""
    if "local" not in request.fixturenames:
        return
    cloud = request.getfixturevalue("local").cloud
    dynamodb = cloud.client("dynamodb")
    record = {"studentid": {"S": "USUAL-1"}, "name": {"S": "An"}, "class": {"S": "10A1"}}
    record |= {"birthdate": {"S": "2009-01-01"}, "email": {"S": "an@students.example"}}
    if not dynamodb.scan(TableName=cloud.settings.records.table_name, Limit=1)["Count"]:
        dynamodb.put_item(TableName=cloud.settings.records.table_name, Item=record)
    for plan in cloud.settings.backed_up_tables:
        dynamodb.update_item(
            TableName=cloud.settings.backups.history_table_name,
            Key={"id": {"S": f"latest#{plan.table_name}"}},
            UpdateExpression="REMOVE recent",
        )


@pytest.fixture(scope="session")
def cloud(local: Local) -> Cloud:
    return local.cloud


def _end(number: int, frame: object) -> None:
    """Stop what the run started, as at Ctrl-C. A second signal must not stop that: `timeout` sends two."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    pytest.exit("terminated", 128 + number)


def pytest_configure(config: pytest.Config) -> None:
    gc.disable()
    offline.forbid()
    shared = getattr(config, "workerinput", {}).get("stage")
    if shared is None:
        signal.signal(signal.SIGTERM, _end)
        maker = config.stash[_MAKER] = Maker()
        config.stash[_STAGE] = maker.stage
    else:
        config.stash[_STAGE] = Stage(Path(shared))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of pytest-xdist where the shared folder is."""
    node.workerinput["stage"] = str(node.config.stash[_STAGE].folder)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each worker whole modules, and all tests of the applied stack to one."""
    from tests.scheduling import Scheduling

    return Scheduling(config, log, config.stash[_STAGE])


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order the tests; workers take the modules in this order.

    The tests of the applied stack change it, so they run one after the other: they are the longest group, which begins
    as soon as the stack is up, and the unit tests run beside it.
    """
    config.stash[inventory.COLLECTED] = inventory.functions(item.nodeid for item in items)
    items.sort(key=_turn)


def _uses_local(item: pytest.Item) -> bool:
    return "local" in getattr(item, "fixturenames", ())


def _turn(item: pytest.Item) -> int:
    return 1 if _uses_local(item) else 2 * item.nodeid.startswith("tests/unit/")


def _worker() -> str:
    return os.environ.get("PYTEST_XDIST_WORKER", "only")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Begin what takes long before the first test, so that the quick tests run meanwhile."""
    if session.config.option.collectonly:
        return
    # What was collected lives to the end: half a million objects. The garbage collector need not visit them.
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    gc.enable()
    fixtures = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    wanted = {name for name, given in ((SYNTH, "stacks"), (LOCAL, "local")) if given in fixtures}
    stage = session.config.stash[_STAGE]
    stage.want(wanted, [item.nodeid for item in session.items if _uses_local(item)], _worker())
    if _MAKER in session.config.stash:
        session.config.stash[_MAKER].begin(stage.wanted())


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: Any) -> None:
    """Begin in the controller what its worker's tests want."""
    maker = node.config.stash[_MAKER]
    maker.begin(maker.stage.wanted())


def pytest_unconfigure(config: pytest.Config) -> None:
    if _MAKER in config.stash:
        config.stash[_MAKER].end()
