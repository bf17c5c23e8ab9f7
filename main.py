"""What CDKTF starts: `python main.py` synthesizes every environment, `python main.py NAME…` only the named ones."""

import sys

from infra.settings import ENVIRONMENTS, SettingsError, load, load_all

try:
    environments = [load(ENVIRONMENTS / f"{name}.toml") for name in sys.argv[1:]] or load_all()
except SettingsError as error:
    sys.exit(str(error))

from infra.app import synthesize

synthesize(environments)
