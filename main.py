"""The CDKTF app: one stack for each file in environments/."""

import sys

from infra.settings import SettingsError, load_all

try:
    environments = load_all()
except SettingsError as error:
    sys.exit(str(error))

from cdktf import App

from infra.stack import RollbookStack

app = App()
for settings in environments:
    RollbookStack(app, settings)
app.synth()
