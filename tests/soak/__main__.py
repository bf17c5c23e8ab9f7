"""Run the soak: `python -m tests.soak --seconds 60`, or one seed again: `python -m tests.soak --seed 17`."""

from __future__ import annotations

import argparse
import os
import sys
import time

from tests import offline

os.environ |= {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "ap-southeast-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


def main() -> None:
    """Live one history after the other, and end at the first difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="begin no new seed after this time")
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--seed", type=int, help="only this seed")
    arguments = parser.parse_args()
    from tests.soak import histories

    offline.forbid()
    began, seed = time.monotonic(), arguments.seed or arguments.first
    while True:
        try:
            histories.live(seed)
        except Exception:
            print(f"\nSeed {seed} fails. The history above is its shortest one. Again: make soak SEED={seed}")
            raise
        seed += 1
        if arguments.seed or time.monotonic() - began >= arguments.seconds:
            break
    seeds = f"seed {seed - 1}" if arguments.seed else f"seeds {arguments.first} to {seed - 1}"
    print(f"{seeds}: no difference in {time.monotonic() - began:,.0f} s")
    for name, count in sorted(histories.COUNTS.items()):
        print(f"{count:>9,}  {name}")


if __name__ == "__main__":
    sys.exit(main())
