"""`python -m tests.checks.lock`: keep the user's pip configuration out of Pipfile.lock.

Pipenv writes the indexes of the user's pip configuration into the lock, and hashes them with the Pipfile where that has
no `[[source]]`. Run it in an empty environment with `PIP_CONFIG_FILE=/dev/null`, as `make lock` does:
then the hash is the same on every machine.
"""

from __future__ import annotations

import json
import sys

from pipenv.project import Project

from ops.console import ROOT


def main() -> None:
    """Write the lock without sources, with the hash that an empty configuration gives."""
    path = ROOT / "Pipfile.lock"
    lock = json.loads(path.read_text("utf-8"))
    lock["_meta"]["sources"] = []
    lock["_meta"]["hash"]["sha256"] = Project().pipfile.calculate_hash()
    path.write_text(json.dumps(lock, indent=4, sort_keys=True) + "\n", "utf-8")


if __name__ == "__main__":
    sys.exit(main())
