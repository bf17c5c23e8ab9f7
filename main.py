"""The CDKTF app: one stack for each file in environments/, with the kept lock of its provider."""

import shutil
import sys
from pathlib import Path

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
for stack in Path(app.outdir, "stacks").iterdir():
    # Beside the stack is where Terraform looks for it; there it has a dot.
    shutil.copyfile(Path(__file__).with_name("terraform.lock.hcl"), stack / ".terraform.lock.hcl")
