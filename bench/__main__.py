"""`python -m bench`: measure everything and write docs/benchmarks.md; ends with 1 if a target is missed."""

from __future__ import annotations

import os
import platform
import sys

from bench import checks, engine, functions, keeping, synth
from bench.measure import ROOT
from docs.prose import wrapped


def main() -> None:
    """Measure and write the page."""
    print("Measuring the synth (a minute or two) …", file=sys.stderr)
    synthesis, is_met, synth_seconds = synth.report()
    print("Measuring the checks (two minutes) …", file=sys.stderr)
    checked, is_short = checks.report(synth_seconds)
    print("Measuring the engine (two minutes) …", file=sys.stderr)
    backups, is_fast = engine.report()
    kept = keeping.report()
    print("Measuring the functions …", file=sys.stderr)
    head = (
        f"# Benchmarks\n\nWritten by `make bench` on {platform.system()} {platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}. Machines differ and are shared: the ratios are what counts.\n\n"
    )
    text = wrapped("\n".join([head.rstrip() + "\n", synthesis, checked, backups, kept, functions.report()]))
    (ROOT / "docs" / "benchmarks.md").write_text(text)
    print(text)
    sys.exit(not (is_met and is_short and is_fast))


if __name__ == "__main__":
    main()
