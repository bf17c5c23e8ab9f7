"""The functions behave the same under Lambda's Python and under the oldest and the newest boto3."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.conftest import Stacks
from tests.runtimes.__main__ import QUICK, ROOT, STACKS, files_of_handlers, python_of


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--oldest-boto3",)], ids=["newest", "oldest"])
def test_upload_scan_and_api_work_as_on_lambda(stacks: Stacks, options: tuple[str, ...]) -> None:
    if python_of("3.13") is None:
        pytest.skip("there is no Python 3.13 on the PATH or in pyenv")
    done = subprocess.run(
        [sys.executable, "-m", "tests.runtimes", "3.13", "--quick", *options],
        cwd=ROOT,
        env={**os.environ, STACKS: str(stacks.folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def test_what_is_run_exists() -> None:
    for test in QUICK:
        path, _, name = test.partition("::")
        assert f"def {name}" in (ROOT / path).read_text("utf-8")
    assert set(files_of_handlers()) >= {test.partition("::")[0] for test in QUICK}
