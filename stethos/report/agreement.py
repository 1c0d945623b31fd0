"""How an estimate agrees with what was measured, what refusing costs, where recordings lie, and what was looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stethos.report import style
from stethos.report.figure import spoken
from stethos.report.panel import legend_below, say, styled
from stethos.report.picture import Picture
from stethos.report.table import Cell, Table
from stethos.types import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_DOTS = 2000
_HEIGHT = 78.0  # mm


@styled
def differences(ax: Axes, truth: np.ndarray, said: np.ndarray, limits: Sequence[Estimate], unit: str) -> None:
    """Bland and Altman's plot: estimate minus measurement against their mean.

    Args:
        ax: Panel.
        truth: Measured, `(N,)`.
        said: Estimated, `(N,)`.
        limits: Bias, and the lower and upper limit of agreement, with intervals.
        unit: Of both.
    """
    look = style.look(0)
    shown = _some(len(truth))
    middle = (truth + said)[shown] / 2
    ax.plot(middle, (said - truth)[shown], ".", color=look.colour, markersize=2, alpha=0.5)
    for item, dash in zip(limits, ("-", "--", "--"), strict=True):
        ax.axhline(item.value, color=style.INK, linewidth=0.8, linestyle=dash)
        ax.axhspan(item.low, item.high, color=style.HAIR, alpha=0.5, linewidth=0)
    ax.set(xlabel=f"mean of estimate and measurement, {unit}", ylabel=f"estimate − measurement, {unit}")


@styled
def against(ax: Axes, truth: np.ndarray, said: np.ndarray, unit: str) -> None:
    """Estimate against measurement, and the line where they are the same."""
    look, shown = style.look(0), _some(len(truth))
    ends = float(min(truth.min(), said.min())), float(max(truth.max(), said.max()))
    ax.plot(ends, ends, color=style.SOFT, linewidth=0.8)
    ax.plot(truth[shown], said[shown], ".", color=look.colour, markersize=2, alpha=0.5)
    ax.set(xlabel=f"measured, {unit}", ylabel=f"estimated, {unit}")


def _some(count: int) -> np.ndarray:
    """All rows, or so many as can still be told apart."""
    return np.arange(count) if count <= _MOST_DOTS else np.random.default_rng(0).permutation(count)[:_MOST_DOTS]


def agreement_picture(
    title: str, truth: np.ndarray, said: np.ndarray, limits: Sequence[Estimate], unit: str, caption: str = ""
) -> Picture:
    """Estimate against measurement, and their difference with its limits of agreement.

    Args:
        title: Short name.
        truth: Measured, `(N,)`.
        said: Estimated, `(N,)`.
        limits: Bias, lower and upper limit, with intervals.
        unit: Of both.
        caption: How to read it.
    """
    drawing, axes = style.panels(1, 2, style.WIDE, _HEIGHT)
    against(axes[0], truth, said, unit)
    differences(axes[1], truth, said, limits, unit)
    names = ("bias", "lower limit", "upper limit")
    alt = "; ".join(f"{name} {spoken(item)} {unit}" for name, item in zip(names, limits, strict=True))
    rows: list[list[Cell]] = [[name, item] for name, item in zip(names, limits, strict=True)]
    return Picture(title, drawing, f"{alt}.", Table(("of estimate minus measurement", unit), rows), caption)


@styled
def coverage(ax: Axes, curves: Mapping[str, Any], ylabel: str) -> None:
    """Error of the recordings that are still answered, as the poorest are refused.

    Args:
        ax: Panel.
        curves: Name → (coverage, error, low, high), each `(P,)`.
        ylabel: What the error is, with its unit.
    """
    for place, (name, (share, error, low, high)) in enumerate(curves.items()):
        look = style.look(place)
        ax.fill_between(100 * share, low, high, color=look.colour, alpha=0.12, linewidth=0)
        shape: dict[str, Any] = {"linestyle": look.dash, "marker": look.marker, "markersize": 3}
        ax.plot(100 * share, error, color=look.colour, label=name, **shape)
    ax.set(xlabel="recordings answered, %", ylabel=ylabel)
    ax.invert_xaxis()
    legend_below(ax)


def coverage_picture(title: str, curves: Mapping[str, Any], ylabel: str, caption: str = "") -> Picture:
    """Error against coverage for several arms; arguments as of `coverage`."""
    drawing, ax = style.canvas(style.NARROW, _HEIGHT + 5 * len(curves))
    if curves:
        coverage(ax, curves, ylabel)
    else:
        say(ax, "Nothing was refused.")
    rows: list[list[Cell]] = []
    for name, (share, error, *_) in curves.items():
        rows += [[name, float(c), float(e)] for c, e in zip(share, error, strict=True)]
    alt = "; ".join(
        f"{name}: {error[0]:.2f} of all, {error[-1]:.2f} of the best {100 * share[-1]:.0f} %"
        for name, (share, error, *_) in curves.items()
    )
    return Picture(title, drawing, f"{alt}.", Table(("arm", "answered", ylabel), rows), caption)


def map_picture(title: str, points: Mapping[str, np.ndarray], caption: str = "") -> Picture:
    """Where recordings lie in the two directions in which they differ most, coloured by what is known of them.

    Args:
        title: Short name.
        points: "x" and "y", `(N,)`, and further columns, one a panel: numbers, or 0 and 1; NaN for not known.
        caption: How to read it.
    """
    names = [name for name in points if name not in ("x", "y")]
    across = min(2, max(1, len(names)))
    high = -(-max(1, len(names)) // across)
    drawing, axes = style.panels(high, across, style.WIDE, 70.0 * high)
    for ax in axes[len(names) :]:
        ax.set_axis_off()
    for ax, name in zip(axes, names, strict=False):
        _place(ax, points["x"], points["y"], points[name], name)
    if not names:
        say(axes[0], "Nothing is known of the recordings to colour them by.")
    told = "; ".join(f"{name}: {_slope(points, name)}" for name in names)
    rows: list[list[Cell]] = [[name, _slope(points, name)] for name in names]
    return Picture(title, drawing, f"{told}.", Table(("coloured by", "correlation with the directions"), rows), caption)


@styled
def _place(ax: Axes, x: np.ndarray, y: np.ndarray, known: np.ndarray, name: str) -> None:
    """One panel of the map."""
    there = np.isfinite(known)
    ax.plot(x[~there], y[~there], ".", color=style.HAIR, markersize=2)
    if np.isin(known[there], (0, 1)).all():
        for value, place in ((0, 0), (1, 1)):
            own, look = there & (known == value), style.look(place)
            label = ("no", "yes")[value]
            ax.plot(x[own], y[own], look.marker, color=look.colour, markersize=2.5, alpha=0.6, label=label)
        ax.legend(loc="upper right", fontsize=style.SMALL, markerscale=2)
    else:
        dots = ax.scatter(x[there], y[there], c=known[there], s=4, cmap="viridis", linewidths=0)
        ax.figure.colorbar(dots, ax=ax, pad=0.02)
    ax.set_title(name, fontsize=style.TEXT, loc="left")
    ax.set(xticks=[], yticks=[], xlabel="first direction", ylabel="second direction")


def _slope(points: Mapping[str, np.ndarray], name: str) -> str:
    """How a column goes with either direction, in words."""
    known = np.isfinite(points[name])
    if known.sum() < 3 or np.ptp(points[name][known]) == 0:
        return "not known of enough"
    found = [np.corrcoef(points[axis][known], points[name][known])[0, 1] for axis in ("x", "y")]
    return " and ".join(f"{value:.2f}" for value in found)


def attention_picture(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Attention and pulse rate of each patch of a recording against time, refused patches shaded, into a file.

    Args:
        rows: Each with `start` and `stop` in s, `attention`, `pulse_rate` (1/min, None where refused) and `refused`.
        path: Ends in .png or .svg.
    """
    drawing, axes = style.panels(2, 1, style.WIDE, 110.0)
    _attention(axes[0], rows)
    _rates(axes[1], rows)
    drawing.savefig(path, dpi=150)


@styled
def _attention(ax: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    scale, _ = _scale(rows)
    start = np.array([row["start"] for row in rows]) / scale
    width = np.array([row["stop"] - row["start"] for row in rows]) / scale
    share = [100 * row["attention"] for row in rows]
    ax.bar(start, share, width, align="edge", color=style.look(0).colour, linewidth=0)
    _shade(ax, rows)
    ax.set(ylabel="attention, %", xlim=(0, float(start[-1] + width[-1])))


@styled
def _rates(ax: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    scale, unit = _scale(rows)
    middle = [(row["start"] + row["stop"]) / 2 / scale for row in rows]
    rate = [np.nan if row["pulse_rate"] is None else row["pulse_rate"] for row in rows]
    if np.isfinite(rate).any():
        ax.plot(middle, rate, color=style.look(1).colour, marker="o", markersize=2.5, linewidth=0.8)
    _shade(ax, rows)
    ax.set(xlabel=f"time, {unit}", ylabel="pulse rate, 1/min", xlim=(0, rows[-1]["stop"] / scale))


def _shade(ax: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    """Grey over refused patches, named once."""
    scale, _ = _scale(rows)
    label = "refused"
    for row in rows:
        if row["refused"]:
            ax.axvspan(row["start"] / scale, row["stop"] / scale, color=style.HAIR, linewidth=0, label=label)
            label = ""
    if not label:
        ax.legend(loc="upper right", fontsize=style.SMALL)


def _scale(rows: Sequence[Mapping[str, Any]]) -> tuple[float, str]:
    """Seconds of the unit that times are told in, and its name."""
    long = rows[-1]["stop"]
    return (3600.0, "h") if long > 7200 else (60.0, "min") if long > 300 else (1.0, "s")
