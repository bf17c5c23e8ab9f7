"""What each capability costs a month: while idle, from the synthesized stack, and by use, from infra/prices.toml."""

from __future__ import annotations

import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

from docs.prose import wrapped
from infra import prices

_WORDS = tomllib.loads(Path(__file__).with_name("costs.toml").read_text("utf-8"))


def section(stack: dict[str, Any], environment: str, region: str) -> str:
    """Return the section, of a synthesized stack.

    Raises:
        KeyError: a capability of the stack, or a price that it uses, has no words in docs/costs.toml.
    """
    known = prices.of(region)
    idle: Counter[str] = Counter()
    for kind, resources in stack["resource"].items():
        for resource in resources.values():
            idle[resource["//"]["metadata"]["path"].split("/")[1]] += round(100 * known.idle(kind))
    rows = "".join(
        f"| {name} | {_WORDS['capability'][name]['setting']} | {cents / 100:,.2f} | {_use(name, known)} |\n"
        for name, cents in sorted(idle.items())
    )
    words = (
        f"In US dollars, of the environment `{environment}`, by the prices of {known.region} as of {known.as_of}, "
        "without free tiers. *Idle* is the price of a month without any use. *By use* lists what the price table "
        "`infra/prices.toml` has; AWS also charges for requests to API Gateway, CloudFront, SQS, SNS, EventBridge and "
        "CloudWatch Logs. `rollbook report` estimates a month at the sizes of your tables."
    )
    head = "| capability | setting | idle | by use |\n| --- | --- | ---: | --- |\n"
    return f"## What each capability costs\n\n{wrapped(words)}\n\n{head}{rows}"


def _use(capability: str, known: prices.Prices) -> str:
    names = _WORDS["capability"][capability]["prices"]
    return (
        "; ".join(f"{known[name]:.10f}".rstrip("0").rstrip(".") + f" {_WORDS['unit'][name]}" for name in names) or "–"
    )
