"""`python -m ops`."""

import typer

from ops import demo, local, schedule, students

app = typer.Typer(name="ops", help="Rollbook's commands.", no_args_is_help=True, pretty_exceptions_enable=False)
app.add_typer(local.app, name="local")
app.add_typer(students.app, name="students")
app.add_typer(schedule.app, name="schedule")
app.command("demo")(demo.demo)

if __name__ == "__main__":
    app(prog_name="ops")
