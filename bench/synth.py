"""The synth, with the provider's submodules loaded one by one and as the package loads them."""

from __future__ import annotations

import tempfile

from bench import measure

# The most that a warm synth may take, seconds.
TARGET_SECONDS = 4.0
_PLAIN = "import runpy, cdktf_cdktf_provider_aws; runpy.run_path('main.py', run_name='__main__')"


def report(runs: int = 5) -> tuple[str, bool, float]:
    """Measure, and return the section of the page, whether the target is met, and the seconds of a warm synth."""
    with tempfile.TemporaryDirectory() as folder:
        programs = {"`python main.py`": ["main.py"], "the same after the plain import": ["-c", _PLAIN]}
        costs = measure.compare(programs, runs=runs, environ={"CDKTF_OUTDIR": folder})
    plain = list(costs.values())[1]
    rows = "".join(
        f"| {name} | {cost.wall:.1f} | {cost.cpu:.1f} | {cost.wall / plain.wall:.2f} |\n"
        for name, cost in costs.items()
    )
    wall = next(iter(costs.values())).wall
    section = (
        "## Synth\n\nAll three environments, zips included, warm; medians of "
        f"{runs} alternating runs. That both write the same bytes is a test (`tests/synth/test_reproducible.py`).\n\n"
        f"| | wall, s | CPU, s | ratio |\n| --- | --- | --- | --- |\n{rows}\n"
        f"Target: at most {TARGET_SECONDS:g} s. Reached: {wall:.1f} s.\n"
    )
    return section, wall <= TARGET_SECONDS, wall
