"""`rollbook`, also `python -m ops`: all commands."""

from ops import adopt, cdktf, demo, deploy, plan, report, schedule, state, students
from ops.backups import command as backups
from ops.commands import group
from ops.events import command as events
from ops.local import command as local
from ops.preflight import command as preflight
from ops.smoke import command as smoke

app = group("Rollbook's commands.", name="rollbook")
app.add_typer(local.app, name="local")
app.add_typer(students.app, name="students")
app.add_typer(backups.app, name="backups")
app.add_typer(schedule.app, name="schedule")
app.add_typer(events.app, name="events")
app.add_typer(state.app, name="state")
for part in (preflight, plan, deploy, adopt, report, smoke, demo, cdktf):
    app.add_typer(part.app)


def main() -> None:
    """Run the command line."""
    app(prog_name="rollbook")


if __name__ == "__main__":
    main()
