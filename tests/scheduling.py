"""Which worker of pytest-xdist runs a test.

Its own groups (`--dist loadgroup`) do nothing under pytest 9.2: pytest-xdist 3.8.0 writes the group into `_nodeid`,
which pytest no longer reads.
"""

from __future__ import annotations

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from tests.stage import LOCAL, Stage


class Scheduling(LoadScopeScheduling):
    """Whole modules, in the order of the collection, and the tests of the applied stack as one.

    Arguments:
        config: pytest's.
        log: pytest-xdist's.
        stage: says which tests use the applied stack.
    """

    def __init__(self, config: pytest.Config, log: Producer | None, stage: Stage) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False
        self._stage = stage
        self._of_local: set[str] = set()

    def schedule(self) -> None:
        self._of_local = self._stage.of_local()
        super().schedule()

    def _split_scope(self, nodeid: str) -> str:
        return LOCAL if nodeid in self._of_local else nodeid.partition("::")[0]
