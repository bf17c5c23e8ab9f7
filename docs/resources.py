"""The page of all resources: what each is for, and what it costs while nothing happens."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docs.prose import wrapped
from infra import prices
from infra.emulator.platform import MISSING

_WORDS = tomllib.loads(Path(__file__).with_name("purposes.toml").read_text("utf-8"))
# Where a resource has its name, the most descriptive attribute first.
_NAMES = (
    "alarm_name",
    "function_name",
    "bucket",
    "name",
    "table_name",
    "email_identity",
    "comment",
    "key",
    "path_part",
)


def page(stack: dict[str, Any], environment: str, region: str) -> str:
    """Return the page, of a synthesized stack.

    Raises:
        KeyError: a type of resource has no purpose in docs/purposes.toml.
    """
    known = prices.of(region)
    capabilities: dict[str, list[tuple[str, str, dict[str, Any]]]] = {}
    for kind, resources in stack["resource"].items():
        for resource in resources.values():
            path = resource["//"]["metadata"]["path"].split("/")
            capabilities.setdefault(path[1], []).append((kind, "/".join(path[2:]), resource))
    total = sum(len(found) for found in capabilities.values())
    monthly = sum(known.idle(kind) for found in capabilities.values() for kind, _, _ in found)
    introduction = (
        f"The environment `{environment}` has {total} resources. An idle month costs {monthly:,.2f} dollars (prices of "
        f"{known.region} as of {known.as_of}, without the free tiers of ten alarms and three dashboards). Everything "
        "else is paid by use."
    )
    head = (
        f"# Resources\n\n{wrapped(introduction)}\n\n"
        "| capability | resources | idle, dollars a month |\n| --- | ---: | ---: |\n"
    )
    table = "".join(
        f"| [{name}](#{name}) | {len(found)} | {sum(known.idle(kind) for kind, _, _ in found):,.2f} |\n"
        for name, found in sorted(capabilities.items())
    )
    sections = "".join(
        f"\n## {name}\n\n| resource | name | purpose | idle |\n| --- | --- | --- | ---: |\n"
        + "".join(_rows(found, known))
        for name, found in sorted(capabilities.items())
    )
    missing = "".join(f"| `{kind}` | {reason} |\n" for kind, reason in sorted(MISSING.items()))
    return (
        f"{head}{table}{sections}\n## Not on the embedded AWS\n\nTests and demo apply all other resources there.\n\n"
        f"| resource | why |\n| --- | --- |\n{missing}"
    )


def _rows(found: list[tuple[str, str, dict[str, Any]]], known: prices.Prices) -> Iterator[str]:
    for kind, path, resource in sorted(found, key=lambda each: (each[0], each[1])):
        name = next((str(resource[key]) for key in _NAMES if isinstance(resource.get(key), str)), "")
        shown = f"`{name}`" if name and "${" not in name else ""
        words = str(resource.get("alarm_description") or resource.get("description") or _WORDS["purpose"][kind])
        idle = known.idle(kind)
        yield f"| `{kind}`<br>{path} | {shown} | {words} | {f'{idle:,.2f}' if idle else '0'} |\n"
