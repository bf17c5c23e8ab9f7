"""Writes the pages of docs/ that are made from the code: `python -m docs.generate`; with --check it only compares."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from docs import commands, costs, resources
from docs import settings as settings_page
from docs.prose import wrapped
from handlers.users import signup
from infra.settings import ENVIRONMENTS, Settings, load
from rollbook.contract import events

DOCS = Path(__file__).resolve().parent
NOTE = "<!-- Written by `make docs`; change the code, not this page. -->\n\n"
ENVIRONMENT = "production"


def iam_page(stack: dict[str, Any]) -> str:
    """Return who may do what, from the synthesized policies."""
    roles = {name: role["name"] for name, role in stack["resource"]["aws_iam_role"].items()}
    rows = []
    for address, policy in stack["resource"]["aws_iam_role_policy"].items():
        role = roles[policy["role"].split(".")[1]]
        for statement in json.loads(policy["policy"])["Statement"]:
            condition = "; ".join(
                f"{key} {operator} {value}"
                for operator, keys in statement.get("Condition", {}).items()
                for key, value in keys.items()
            )
            actions = "<br>".join(f"`{action}`" for action in _list(statement["Action"]))
            resources = "<br>".join(f"`{_short(resource, stack)}`" for resource in _list(statement["Resource"]))
            rows.append((role, statement["Sid"], actions, resources, condition, address))
    lines = [
        f"| `{role}` | {sid} | {actions} | {resources} | {condition} |\n"
        for role, sid, actions, resources, condition, _ in sorted(rows)
    ]
    trusts = [
        f"| `{role['name']}` | {statement['Principal']['Service']} | {_conditions(statement)} |\n"
        for role in stack["resource"]["aws_iam_role"].values()
        for statement in json.loads(role["assume_role_policy"])["Statement"]
    ]
    nameless = sorted({f"{sid} of `{role}`" for role, sid, _, resources, _, _ in rows if resources == "`*`"})
    introduction = (
        f"The roles of the environment `{ENVIRONMENT}`. Each statement is a policy of its own, with a name that says "
        "its purpose. No statement has a wildcard action. Statements that apply to every resource have actions for "
        f"which AWS defines no resource: {' and '.join(nameless) or 'none'} (`tests/synth/test_stacks.py`). "
        "`tests/local/test_iam.py` shows with IAM enforced that the permissions are enough, and what each role is "
        "refused. `make prove-iam` shows that each action is needed, by removing it."
    )
    return (
        f"{NOTE}# Who may do what\n\n{wrapped(introduction)}\n\n"
        "| role | statement | may | on | if |\n| --- | --- | --- | --- | --- |\n" + "".join(lines) + "\n"
        "## Who may assume the roles\n\n| role | service | if |\n| --- | --- | --- |\n" + "".join(sorted(trusts))
    )


def _conditions(statement: dict[str, Any]) -> str:
    return "; ".join(
        f"`{key}` is that of {'this account' if 'Account' in key else 'the schedule group'}"
        for keys in statement.get("Condition", {}).values()
        for key in keys
    )


def _short(resource: str, stack: dict[str, Any]) -> str:
    """Return `${aws_s3_bucket.x.arn}/y*` as `bucket-name/y*`, and an ARN that is spelled out without its account."""
    if not resource.startswith("${"):
        return re.sub(r"\$\{data\.[^}]*\}", "", resource)
    inner, _, rest = resource.removeprefix("${").partition("}")
    kind, name, _ = inner.split(".")
    values = stack["resource"][kind][name]
    known = ("function_name", "bucket", "email_identity", "name")
    name = next(
        (str(values[key]) for key in known if key in values), values["//"]["metadata"]["path"].partition("/")[2]
    )
    return name + rest


def _list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def events_page() -> str:
    """Return the catalogue of events: of each kind its fields, its JSON Schema and an example."""
    rows = "".join(
        f"| [{kind.DETAIL_TYPE}](#{kind.DETAIL_TYPE.replace(' ', '-')}) | `{kind.SOURCE}` | {kind.__doc__} |\n"
        for kind in events.CATALOGUE
    )
    introduction = (
        wrapped(
            "The functions publish an event for everything that happens, on the bus `student-events`. The classes in "
            "`rollbook/contract/events.py` define the events; an event is checked before it is sent. The log group "
            "`/aws/events/student-events` keeps events for a week, the archive for a month."
        )
        + "\n\n"
        "- `rollbook events tail --env ENV` prints events as they arrive.\n"
        "- `rollbook events put FILE --env ENV` checks the events of a file and publishes them.\n"
        "- `rollbook events replay --from 2h --env ENV` publishes archived events again.\n"
    )
    head = f"# Events\n\n{introduction}\n| event | source | when |\n| --- | --- | --- |\n{rows}"
    foreign = (
        "\n# Events of other applications\n\n"
        + wrapped(
            "Rollbook handles these events on the same bus. A malformed event goes to the dead-letter queue, with the "
            "place of the fault. `rollbook events dead --env ENV` lists it. `rollbook events redrive ID --body FILE "
            "--env ENV` sends the corrected event to the function."
        )
        + "\n"
    )
    signups = Settings.model_fields["signups"].default
    return (
        NOTE
        + head
        + "".join(_event(kind, kind.SOURCE, kind.DETAIL_TYPE) for kind in events.CATALOGUE)
        + foreign
        + _event(signup.SignUp, signups.source, signups.detail_type)
    )


def _event(kind: type[msgspec.Struct], source: str, detail_type: str) -> str:
    schema = msgspec.json.schema(kind)["$defs"][kind.__name__]
    detail = {name: field["examples"][0] for name, field in schema["properties"].items()}
    msgspec.convert(detail, kind)
    fields = "".join(
        f"| `{name}` | {field['type']} | {field['description']} |\n" for name, field in schema["properties"].items()
    )
    example = {"source": source, "detail-type": detail_type, "detail": detail}
    return (
        f"\n## {detail_type}\n\n{kind.__doc__}\n\n| detail | type | meaning |\n| --- | --- | --- |\n{fields}\n"
        f"```json\n{json.dumps(example, indent=2, ensure_ascii=False)}\n```\n\n<details><summary>JSON Schema of the "
        f"detail</summary>\n\n```json\n{json.dumps(schema, indent=2)}\n```\n\n</details>\n"
    )


def pages() -> dict[Path, str]:
    """Return the text of every generated page."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "main.py"], cwd=DOCS.parent, env={**os.environ, "CDKTF_OUTDIR": folder}, check=True
        )
        stack = json.loads(Path(folder, "stacks", ENVIRONMENT, "cdk.tf.json").read_text())
    region = load(ENVIRONMENTS / f"{ENVIRONMENT}.toml").region
    return {
        DOCS / "settings.md": NOTE + settings_page.page(costs.section(stack, ENVIRONMENT, region)),
        ENVIRONMENTS / "schema.json": settings_page.schema(),
        DOCS / "commands.md": NOTE + commands.page(),
        DOCS / "events.md": events_page(),
        DOCS / "iam.md": iam_page(stack),
        DOCS / "resources.md": NOTE + resources.page(stack, ENVIRONMENT, region),
    }


def main() -> None:
    """Write the pages, or with --check end with 1 if one is stale."""
    texts = pages()
    if "--check" in sys.argv:
        stale = [path for path, text in texts.items() if not path.exists() or path.read_text("utf-8") != text]
        if stale:
            names = ", ".join(str(path.relative_to(DOCS.parent)) for path in stale)
            sys.exit(f"{names}: stale; run make docs and commit what it writes")
        return
    for path, text in texts.items():
        path.write_text(text)


if __name__ == "__main__":
    main()
