"""Cohort flow: who came in, who was left out and why, and which part went where."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from stethos.report import style
from stethos.report.panel import say, styled
from stethos.report.words import shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Step = tuple[str, int, int, str]
Part = tuple[str, int, int]

BOX = 13.0  # mm, height of a box of two lines
PART = 17.0  # mm, of a box of three
GAP = 12.0  # mm, between two boxes


def flow_canvas(steps: Sequence[Step], parts: Sequence[Part] = (), width: float = style.NARROW) -> tuple[Figure, Axes]:
    """A sheet just high enough for the boxes of `flow`."""
    height = len(steps) * BOX + (len(steps) - 1) * GAP + 4 + (GAP + PART if parts else 0)
    return style.sheet(width, max(height, 22))


@styled
def flow(
    ax: Axes, steps: Sequence[Step], parts: Sequence[Part] = (), units: tuple[str, str] = ("records", "subjects")
) -> None:
    """Boxes from the top down, what was lost at the right, and the parts side by side at the foot.

    Args:
        ax: Panel in millimetres, as `flow_canvas` makes it.
        steps: Label, records, subjects, and why those missing since the step above were left out.
        parts: Label, records and subjects of what the last step was split into.
        units: What both are called.
    """
    if not steps:
        return say(ax, "No cohort flow: no step was recorded.")
    width, height = style.extent(ax)
    ax.set(xlim=(0, width), ylim=(0, height))
    ax.set_axis_off()
    main, top = 0.52 * width, height - 2
    middle = main / 2 + 1
    for place, (label, records, subjects, reason) in enumerate(steps):
        if place:
            lost = steps[place - 1][1] - records, steps[place - 1][2] - subjects
            _lost(ax, (middle, width), (top, top - GAP), _counted(lost, units, ", "), reason)
            top -= GAP
        _box(ax, (1, main + 1), (top, top - BOX), label, _counted((records, subjects), units, ", "))
        top -= BOX
    told = [(label, _counted(counts, units, "\n")) for label, *counts in parts]
    _split(ax, (middle, width), top, told)


def _counted(counts: Sequence[int], units: tuple[str, str], between: str) -> str:
    return between.join(f"{count:,} {unit}" for count, unit in zip(counts, units, strict=True))


def _box(ax: Axes, across: tuple[float, float], down: tuple[float, float], head: str, body: str) -> None:
    """A box with a heading, shortened to its width, and its numbers."""
    from matplotlib.patches import Rectangle

    (left, right), (top, floor) = across, down
    ax.add_patch(Rectangle((left, floor), right - left, top - floor, facecolor="none", edgecolor=style.SOFT, lw=0.8))
    head, middle = shortened(head, int((right - left) / 1.8)), (left + right) / 2
    look: dict[str, Any] = {"ha": "center", "fontsize": style.SMALL, "linespacing": 1.35}
    ax.text(middle, top - 2.8, head, va="top", fontweight="bold", **look)
    ax.text(middle, floor + 2.8, body, va="bottom", **look)


def _lost(ax: Axes, across: tuple[float, float], down: tuple[float, float], number: str, reason: str) -> None:
    """The arrow to the next box, and beside it who was left out and why."""
    middle, width = across
    _arrow(ax, (middle, down[0]), (middle, down[1]))
    half, left = (down[0] + down[1]) / 2, 0.58 * width
    ax.plot([middle, left - 2], [half, half], color=style.SOFT, linewidth=0.8)
    words = "\n".join([f"left out: {number}", *textwrap.wrap(reason, 40, max_lines=3, placeholder="…")])
    ax.text(left, half, words, va="center", fontsize=style.SMALL, linespacing=1.35)


def _split(ax: Axes, across: tuple[float, float], top: float, parts: Sequence[tuple[str, str]]) -> None:
    """The parts side by side under the last box."""
    if not parts:
        return
    middle, width = across
    each, bar = width / len(parts), top - GAP / 2
    centres = [each * (place + 0.5) for place in range(len(parts))]
    ax.plot([middle, middle], [top, bar], color=style.SOFT, linewidth=0.8)
    ax.plot([min(*centres, middle), max(*centres, middle)], [bar, bar], color=style.SOFT, linewidth=0.8)
    for centre, (label, numbers) in zip(centres, parts, strict=True):
        _arrow(ax, (centre, bar), (centre, top - GAP))
        down = top - GAP, top - GAP - PART
        _box(ax, (centre - each / 2 + 1, centre + each / 2 - 1), down, label, numbers)


def _arrow(ax: Axes, start: tuple[float, float], stop: tuple[float, float]) -> None:
    """A thin arrow."""
    line: dict[str, Any] = {
        "arrowstyle": "-|>",
        "color": style.SOFT,
        "linewidth": 0.8,
        "shrinkA": 0,
        "shrinkB": 0,
    }
    ax.annotate("", stop, start, arrowprops=line)
