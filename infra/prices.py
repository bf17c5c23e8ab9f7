"""The price table, by which reports and plans estimate what things cost."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path

_FILE = Path(__file__).with_name("prices.toml")


class UnknownPrice(KeyError):
    """The price table has no such entry."""


@dataclass(frozen=True)
class Prices:
    """Prices of one Region, in US dollars.

    Arguments:
        as_of: when they were looked up.
        region: whose they are; the base's where the table has none of the Region asked for.
    """

    as_of: date
    region: str
    values: Mapping[str, float]
    idle_names: Mapping[str, str]

    def idle(self, kind: str) -> float:
        """Return what a resource of a type costs in a month in which nothing happens, in dollars."""
        name = self.idle_names.get(kind)
        return self[name] if name else 0.0

    def __getitem__(self, name: str) -> float:
        if name not in self.values:
            raise UnknownPrice(f"{_FILE.name} has no price {name!r}")
        return self.values[name]


@cache
def of(region: str) -> Prices:
    """Return the prices of a Region, those that it does not have from the base."""
    table = tomllib.loads(_FILE.read_text("utf-8"))
    own = table.get("regions", {}).get(region, {})
    unknown = set(own) - set(table["base"])
    if unknown:
        raise UnknownPrice(f"{_FILE.name}: [regions.{region}] has prices that nothing uses: {sorted(unknown)}")
    return Prices(
        date.fromisoformat(table["as_of"]), region if own else table["base_region"], table["base"] | own, table["idle"]
    )
