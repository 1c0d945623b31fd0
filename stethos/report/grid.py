"""One number for every pair of a few things, as a triangle of cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from stethos.report import style
from stethos.report.panel import say, styled
from stethos.report.words import spoken
from stethos.types import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Pairs = Mapping[tuple[str, str], Estimate]

CELL = 12.0  # mm, height of a cell of two lines
FULL = 0.45  # how far the strongest cell is tinted; ink on it stays readable


@styled
def pairs(ax: Axes, names: Sequence[str], found: Pairs) -> None:
    """A cell a pair with its number and interval, tinted by size and sign.

    Without colour the sign is in the number, cells above 0 are hatched, and what leaves out 0 is bold.

    Args:
        ax: Panel.
        names: In order.
        found: Of the pairs of `names`, the earlier first; a pair that is missing leaves its cell empty.
    """
    sizes = [abs(item.value) for item in found.values() if np.isfinite(item.value)]
    if not sizes:
        return say(ax, "No pair was estimated.")
    for (first, second), item in found.items():
        _cell(ax, names.index(first), names.index(second) - 1, item, max(*sizes, 1e-12))
    side = len(names) - 1
    ax.set(xlim=(-0.5, side - 0.5), ylim=(side - 0.5, -0.5))
    ax.set_xticks(range(side), names[:-1])
    ax.set_yticks(range(side), names[1:])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)


def _cell(ax: Axes, column: int, row: int, item: Estimate, strongest: float) -> None:
    """Tint, hatch and number of one pair."""
    from matplotlib.patches import Rectangle

    if not np.isfinite(item.value):
        return
    colour, corner = style.RAISE if item.value > 0 else style.LOWER, (column - 0.5, row - 0.5)
    ax.add_patch(Rectangle(corner, 1, 1, facecolor=colour, edgecolor="none", alpha=FULL * abs(item.value) / strongest))
    if item.value > 0:
        ax.add_patch(Rectangle(corner, 1, 1, facecolor="none", edgecolor=style.HAIR, hatch="//", linewidth=0))
    ax.add_patch(Rectangle(corner, 1, 1, facecolor="none", edgecolor=style.HAIR, linewidth=0.6))
    number, _, interval = spoken(item).partition(" (")
    look: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": style.SMALL}
    look["fontweight"] = "bold" if item.excludes(0) else "normal"
    ax.text(column, row - 0.2, number, **look)
    ax.text(column, row + 0.22, interval.rstrip(")"), **look)
