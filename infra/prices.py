"""The price table that reports and plans use to estimate costs."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path

_FILE = Path(__file__).with_name("prices.toml")


class UnknownPrice(KeyError):
    """The price table does not have a price."""


@dataclass(frozen=True)
class Prices:
    """Prices of one Region, in US dollars.

    Arguments:
        as_of: the date on which they were looked up.
        region: the Region of the prices; the base Region if the table has no prices of the requested one.
    """

    as_of: date
    region: str
    values: Mapping[str, float]
    idle_names: Mapping[str, str]

    def idle(self, kind: str) -> float:
        """Return the monthly cost of an unused resource of a type, in dollars."""
        name = self.idle_names.get(kind)
        return self[name] if name else 0.0

    def __getitem__(self, name: str) -> float:
        if name not in self.values:
            raise UnknownPrice(f"{_FILE.name} has no price {name!r}")
        return self.values[name]


@cache
def of(region: str) -> Prices:
    """Return the prices of a Region. Missing prices are taken from the base Region."""
    table = tomllib.loads(_FILE.read_text("utf-8"))
    own = table.get("regions", {}).get(region, {})
    unknown = set(own) - set(table["base"])
    if unknown:
        raise UnknownPrice(f"{_FILE.name}: [regions.{region}] has prices that [base] does not have: {sorted(unknown)}")
    return Prices(
        date.fromisoformat(table["as_of"]), region if own else table["base_region"], table["base"] | own, table["idle"]
    )
