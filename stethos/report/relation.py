"""Figures of outputs against measured values: a map of correlations, and means over groups of an output."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from stethos.report import style
from stethos.report.panel import say, styled
from stethos.report.picture import EMPTY, Picture
from stethos.report.table import Cell, Table
from stethos.report.words import decimal, shortened, spoken
from stethos.types import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FULL = 0.6  # how far a correlation of 1 is tinted; ink on it stays readable
ROW = 6.5  # mm, height of a row of cells
HEADS = 34.0  # mm, above the rows
ACROSS = 3  # panels side by side
PANEL = 46.0  # mm, height of a panel of means


@styled
def heat(
    ax: Axes,
    rows: Sequence[str],
    columns: Sequence[str],
    rho: np.ndarray,
    clear: np.ndarray,
    framed: Collection[tuple[int, int]] = (),
) -> None:
    """A correlation in every cell, tinted by size and sign where it is clear.

    Without colour the sign is in the number, what is clear is bold, and what is not is hatched and grey.

    Args:
        ax: Panel.
        rows: Their names, from the top down, R of them.
        columns: Their names, C of them.
        rho: Correlations, NaN where there is none, `(R, C)`.
        clear: Whether it is told from 0, `(R, C)`.
        framed: Row and column of cells with a heavy frame.
    """
    if not np.isfinite(rho).any():
        return say(ax, "No correlation: no measurement is known of enough records.")
    for row, column in np.argwhere(np.isfinite(rho)).tolist():
        _cell(ax, (row, column), float(rho[row, column]), bool(clear[row, column]))
    for row, column in framed:
        _box(ax, (row, column), edgecolor=style.INK, linewidth=1.4, zorder=3)
    ax.set(xlim=(-0.53, len(columns) - 0.47), ylim=(len(rows) - 0.46, -0.54))  # whole frames
    ax.set_xticks(range(len(columns)), [fill(name, 18) for name in columns], rotation=90)
    ax.set_yticks(range(len(rows)), [shortened(name, 30) for name in rows])
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)


def _cell(ax: Axes, place: tuple[int, int], rho: float, clear: bool) -> None:
    """Tint or hatch, and number, of one cell."""
    if clear:
        colour = style.RAISE if rho > 0 else style.LOWER
        _box(ax, place, facecolor=colour, edgecolor="none", alpha=FULL * abs(rho))
    else:
        _box(ax, place, edgecolor=style.HAIR, hatch="///", linewidth=0)
    _box(ax, place, edgecolor=style.HAIR, linewidth=0.6)
    look: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": style.SMALL}
    free = {"color": style.SOFT, "bbox": {"facecolor": style.PAPER, "edgecolor": "none", "pad": 0.8}}
    look |= {"fontweight": "bold"} if clear else free
    ax.text(place[1], place[0], decimal(round(rho, 2) + 0.0, 2), **look)


def _box(ax: Axes, place: tuple[int, int], facecolor: str = "none", **look: Any) -> None:
    from matplotlib.patches import Rectangle

    ax.add_patch(Rectangle((place[1] - 0.5, place[0] - 0.5), 1, 1, facecolor=facecolor, **look))


@styled
def rise(ax: Axes, means: Sequence[Estimate], unit: str = "", remark: str = "") -> None:
    """Mean of a measured value in every group of an output, from the lowest output to the highest.

    Args:
        ax: Panel.
        means: One a group, in order.
        unit: Label of the vertical axis.
        remark: Over the panel; lines of more than 28 letters are cut.
    """
    if not any(np.isfinite(item.value) for item in means):
        return say(ax, "Not known of\nenough records.")
    place, look = np.arange(1, len(means) + 1), style.look(0)
    ends = np.array([(item.low, item.high) for item in means])
    ax.vlines(place, ends[:, 0], ends[:, 1], color=look.colour, linewidth=1.2)
    ax.plot(place, [item.value for item in means], color=look.colour, marker=look.marker, linewidth=0.8)
    ax.set(xlim=(0.4, len(means) + 0.6), ylabel=unit)
    ax.set_xticks([1, len(means)], ["lowest", "highest"])
    ax.locator_params(axis="y", nbins=5)
    if remark:
        lines = [shortened(line, 28) for line in remark.splitlines()]
        ax.set_title("\n".join(lines), fontsize=style.SMALL, loc="left")


def heat_picture(
    title: str,
    names: tuple[Sequence[str], Sequence[str]],
    found: Mapping[tuple[int, int], Estimate],
    adjusted: Mapping[tuple[int, int], float],
    framed: Collection[tuple[int, int]] = (),
    caption: str = "",
) -> Picture:
    """A map of correlations.

    Args:
        title: Short name.
        names: Of the rows and of the columns.
        found: Row and column → correlation.
        adjusted: Row and column → adjusted p; below 0.05 it is clear.
        framed: As in `heat`.
        caption: How to read it.
    """
    rows, columns = names
    shape = len(rows), len(columns)
    rho, p = np.full(shape, np.nan), np.ones(shape)
    for place, item in found.items():
        rho[place], p[place] = item.value, adjusted[place]
    drawing, ax = style.canvas(style.WIDE, HEADS + ROW * len(rows) if found else EMPTY)
    heat(ax, rows, columns, rho, p < 0.05, framed)
    cells = [(rows[row], columns[column], item, float(p[row, column])) for (row, column), item in found.items()]
    clear = [f"{row} and {column} {spoken(item)}" for row, column, item, own in cells if own < 0.05]
    alt = f"{len(clear)} of {len(cells)} correlations are told from 0" + (": " + "; ".join(clear) if clear else "")
    return Picture(title, drawing, alt + ".", Table(("output", "measurement", "rho", "adjusted_p"), cells), caption)


def rise_picture(
    title: str, panels: Mapping[str, tuple[Sequence[Estimate], str, str]], unit: str = "", caption: str = ""
) -> Picture:
    """A panel a measured value.

    Args:
        title: Short name.
        panels: Name → means by group, unit and a remark; as for `rise`.
        unit: What the groups are groups of, under all panels.
        caption: How to read it.
    """
    if not panels:
        drawing, ax = style.canvas(style.WIDE, EMPTY)
        say(ax, "No means: no measurement belongs to an output.")
        return Picture(title, drawing, "Nothing is shown.", Table(("panel", "group", "mean"), []), caption)
    high = -(-len(panels) // ACROSS)
    drawing, axes = style.panels(high, ACROSS, style.WIDE, 8 + PANEL * high)
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
    cells: list[list[Cell]] = []
    for ax, (name, (means, own, remark)) in zip(axes, panels.items(), strict=False):
        rise(ax, means, own, f"{name}\n{remark}")
        cells += [[name, group, item] for group, item in enumerate(means, start=1)]
    drawing.supxlabel(unit, fontsize=style.TEXT, color=style.INK)
    alt = "; ".join(
        f"{name} {decimal(means[0].value, 1)} {own} in the lowest group, {decimal(means[-1].value, 1)} in the highest"
        for name, (means, own, _) in panels.items()
    )
    return Picture(title, drawing, alt + ".", Table(("panel", "group", "mean"), cells), caption)
