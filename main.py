"""What CDKTF starts: every environment of environments/ is synthesized."""

import sys

from infra.settings import SettingsError, load_all

try:
    environments = load_all()
except SettingsError as error:
    sys.exit(str(error))

from infra.app import synthesize

synthesize(environments)
