"""Draws groups of bars on a logarithmic scale: `… bench.plot FILE.svg`, the figures as JSON on standard input."""

from __future__ import annotations

import json
import sys

import matplotlib as mpl
from matplotlib import pyplot

_COLOURS = ("#b9c0c9", "#8d99a6", "#64717f", "#c8102e", "#e9a6ae")


def main() -> None:
    """Draw."""
    groups: dict[str, dict[str, float]] = json.load(sys.stdin)
    # The same figures give the same file, and the text stays text.
    mpl.rcParams.update({"svg.hashsalt": "rollbook", "svg.fonttype": "none", "font.family": "sans-serif"})
    figure, axes = pyplot.subplots(figsize=(9, 4.5), layout="constrained")
    names = list(next(iter(groups.values())))
    width = 0.8 / len(names)
    for number, name in enumerate(names):
        places = [group + (number - (len(names) - 1) / 2) * width for group in range(len(groups))]
        heights = [figures[name] for figures in groups.values()]
        bars = axes.bar(places, heights, width, label=name, color=_COLOURS[number])
        axes.bar_label(bars, fmt="%.3g", fontsize=8, padding=2)
    axes.set_yscale("log")
    axes.set_ylabel("CPU ms for a MB, start included")
    axes.set_xticks(range(len(groups)), list(groups))
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(y=0.15)
    axes.legend(frameon=False, ncols=len(names), loc="upper center", bbox_to_anchor=(0.5, 1.12))
    figure.savefig(sys.argv[1], metadata={"Date": None})


if __name__ == "__main__":
    main()
