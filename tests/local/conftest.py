"""The embedded AWS as a bare process, for tests of what it answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.local.emulator import Emulator
from tests.ports import free_port


@pytest.fixture(scope="session")
def bare_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of an embedded AWS with nothing in it; each test makes what it needs under names of its own."""
    emulator = Emulator(Path(tmp_path_factory.mktemp("bare")), free_port())
    emulator.start()
    try:
        yield emulator.port
    finally:
        emulator.stop()
