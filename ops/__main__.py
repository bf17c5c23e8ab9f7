"""`python -m ops`."""

import typer

from ops import adopt, backups, cdktf, demo, deploy, events, local, plan, report, schedule, smoke, state, students
from ops.preflight import command as preflight

app = typer.Typer(name="ops", help="Rollbook's commands.", no_args_is_help=True, pretty_exceptions_enable=False)
app.add_typer(local.app, name="local")
app.add_typer(students.app, name="students")
app.add_typer(backups.app, name="backups")
app.add_typer(schedule.app, name="schedule")
app.add_typer(events.app, name="events")
app.add_typer(state.app, name="state")
app.command("preflight")(preflight.preflight)
app.command("plan")(plan.plan)
app.command("guard")(plan.guard)
app.command("deploy")(deploy.deploy)
app.command("drift")(plan.drift)
app.command("adopt")(adopt.adopt)
app.command("report")(report.report)
app.command("smoke")(smoke.smoke)
app.command("demo")(demo.demo)
app.command("terraform")(cdktf.check_terraform)
app.command("cdktf", context_settings={"ignore_unknown_options": True})(cdktf.cdktf)

if __name__ == "__main__":
    app(prog_name="ops")
