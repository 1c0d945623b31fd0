"""Figures of anomalous-sound detection: data → Axes.

As in `figure`, each function draws into a panel it is given. Scores are higher for what is more anomalous.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from stethos.errors import ScoreError
from stethos.report import style
from stethos.report.panel import legend_below, say, styled
from stethos.report.words import shortened
from stethos.types import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GROUPS = ("normal, training", "normal, test", "anomaly, test")
MOST_POINTS = 400  # of a group in one panel; more only make it black
BIN_COUNT = 24

_POINTS: tuple[dict[str, Any], ...] = (
    {"marker": ".", "markersize": 2.6, "color": "#9a9a9a", "zorder": 1},
    {"marker": "o", "markersize": 4.2, "color": style.LOOKS[0].colour, "markerfacecolor": "none", "zorder": 2},
    {"marker": "^", "markersize": 4.6, "color": style.LOOKS[1].colour, "zorder": 3},
)


def principal(embeddings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The two directions along which embeddings differ most.

    Args:
        embeddings: `(N, D)`, two rows and two columns or more.

    Returns:
        Coordinates `(N, 2)`, and the share of the variance along each, `(2,)`. Each direction points to where its
        largest coordinate lies, so that the same data give the same picture.

    Raises:
        ScoreError: There are fewer than two rows or columns.
    """
    if np.ndim(embeddings) != 2 or min(np.shape(embeddings)) < 2:
        raise ScoreError(f"a map needs two embeddings of two numbers or more; got shape {np.shape(embeddings)}")
    centred = embeddings - np.mean(embeddings, axis=0)
    left, scale, _ = np.linalg.svd(centred.astype(np.float64), full_matrices=False)
    points = left[:, :2] * scale[:2]
    points *= np.where(points[np.abs(points).argmax(axis=0), [0, 1]] < 0, -1, 1)
    return points, scale[:2] ** 2 / max(float(scale @ scale), np.finfo(float).tiny)


@styled
def embedding(ax: Axes, points: np.ndarray, group: np.ndarray, explained: np.ndarray) -> None:
    """Where the clips of one machine lie; groups differ by marker, by size and by whether it is filled.

    Args:
        ax: Panel; one unit is as long across as up.
        points: From `principal`, `(N, 2)`.
        group: 0, 1 or 2, a number in `GROUPS`, `(N,)`; of a large group evenly spaced rows are drawn.
        explained: Share of the variance along each axis, `(2,)`.
    """
    if not len(points):
        return say(ax, "No map: no clip\nhas an embedding.")
    for place, name in enumerate(GROUPS):
        rows = np.flatnonzero(np.asarray(group) == place)
        drawn = rows[:: max(1, -(-len(rows) // MOST_POINTS))]
        if len(rows):
            ax.plot(*points[drawn].T, linestyle="none", markeredgewidth=0.9, label=name, **_POINTS[place])
    ax.set_aspect("equal", adjustable="datalim")
    ax.set(xlabel=f"PC 1 ({100 * explained[0]:.0f} %)", ylabel=f"PC 2 ({100 * explained[1]:.0f} %)")
    ax.locator_params(nbins=4)


@styled
def histogram(ax: Axes, score: np.ndarray, truth: np.ndarray, threshold: float | None = None) -> None:
    """Scores of the normal and of the anomalous clips of one machine, each group summing to one.

    Args:
        ax: Panel.
        score: Anomaly score, `(N,)`.
        truth: 0 or 1; NaN rows are left out, `(N,)`.
        threshold: At which an alarm is raised, drawn as a line.
    """
    score, truth = np.asarray(score, float), np.asarray(truth, float)
    known = np.isfinite(score) & np.isfinite(truth)
    if not known.any():
        return say(ax, "No scores: no clip has\nboth a score and a truth.")
    edges = np.histogram_bin_edges(score[known], bins=BIN_COUNT)
    for place, name in enumerate(("normal", "anomaly")):
        group, look = score[known & (truth == place)], style.look(place)
        share = np.histogram(group, edges)[0] / max(len(group), 1)
        ax.stairs(share, edges, color=look.colour, linestyle=look.dash, hatch=look.hatch, label=name)
        ax.stairs(share, edges, color=look.colour, fill=True, alpha=0.15)
    if threshold is not None:
        ax.axvline(threshold, color=style.INK, linewidth=1, label="threshold")
    ax.set(xlabel="Anomaly score", ylabel="Fraction of the group")
    ax.set_ylim(bottom=0)
    ax.locator_params(nbins=5)


@styled
def alarm_budget(
    ax: Axes, threshold: np.ndarray, rates: Mapping[str, np.ndarray], budget: float, chosen: float | None = None
) -> None:
    """False alarms a week against the threshold, and how many are allowed.

    Args:
        ax: Panel; alarms on a logarithmic axis.
        threshold: Rising, `(N,)`.
        rates: Name, such as "upper bound" → false alarms a week at each threshold, `(N,)`; 0 cannot be drawn.
        budget: False alarms a week that are allowed.
        chosen: The threshold that was taken.
    """
    drawn = {name: np.where(np.asarray(rate, float) > 0, rate, np.nan) for name, rate in rates.items()}
    if not any(np.isfinite(rate).any() for rate in drawn.values()):
        return say(ax, "No alarm budget: no threshold has a number of false alarms.")
    for place, (name, rate) in enumerate(drawn.items()):
        look = style.look(place)
        ax.plot(threshold, rate, color=look.colour, linestyle=look.dash, label=shortened(name, 44))
    ax.axhline(budget, color=style.INK, linewidth=1, linestyle=(0, (1, 2)), label=f"budget: {budget:g} a week")
    if chosen is not None:
        label = f"threshold {chosen:.3g}".replace("-", "−")
        ax.axvline(chosen, color=style.SOFT, linewidth=1, label=label)
    levels = [budget, *(value for rate in drawn.values() for value in rate[np.isfinite(rate)])]
    ax.set(yscale="log", xlabel="Threshold (anomaly score)", ylabel="False alarms a week")
    ax.set_ylim(min(levels) / 2, 2 * max(levels))
    _decades(ax, (1, 2, 5) if max(levels) < 25 * min(levels) else (1,))
    legend_below(ax)


@styled
def enrolment(ax: Axes, clips: np.ndarray, areas: Mapping[str, Sequence[Estimate]], unit: str = "AUC") -> None:
    """How well a new machine is watched after so many of its normal clips.

    Args:
        ax: Panel; clips on a logarithmic axis.
        clips: Normal clips enrolled, rising from 1 or more, `(N,)`.
        areas: Name → one estimate for each of `clips`; an open point has no interval.
        unit: Label of the vertical axis.
    """
    drawn = {name: found for name, found in areas.items() if any(np.isfinite(item.value) for item in found)}
    if not drawn:
        return say(ax, "No enrolment curve: no number of clips was tried.")
    for place, (name, found) in enumerate(drawn.items()):
        look = style.look(place)
        x = np.asarray(clips) * 1.025 ** (place - (len(drawn) - 1) / 2)  # side by side, so that no interval hides one
        ax.vlines(x, [item.low for item in found], [item.high for item in found], color=look.colour, linewidth=1)
        y = np.array([item.value for item in found])
        ax.plot(x, y, color=look.colour, linestyle=look.dash, marker=look.marker, label=shortened(name, 44))
        bare = ~np.isfinite([item.high - item.low for item in found])
        if bare.any():
            ax.plot(x[bare], y[bare], look.marker, color=look.colour, markerfacecolor=style.PAPER)
    ax.set(xscale="log", xlabel="Normal clips enrolled", ylabel=unit)
    ax.set_xticks(clips, [f"{count:g}" for count in clips])
    ax.minorticks_off()
    legend_below(ax)


@styled
def miss_rates(ax: Axes, rates: Mapping[str, Mapping[str, Estimate]]) -> None:
    """Share of the faulty clips that raise no alarm, by kind of fault and by severity.

    Args:
        ax: Panel.
        rates: Fault → severity, such as "weak" → miss rate.
    """
    if not _dots(ax, rates):
        return say(ax, "No miss rate: no fault was tried.")
    ax.set(xlim=(-0.02, 1.02), xlabel="Miss rate")
    legend_below(ax)


@styled
def ablation(
    ax: Axes, found: Mapping[str, Mapping[str, Estimate]], unit: str = "AUC", reference: float | None = None
) -> None:
    """The same measure with one part changed at a time.

    Args:
        ax: Panel.
        found: Variant, such as the band that is augmented → series, such as a machine → estimate.
        unit: Label of the horizontal axis.
        reference: Where a line is drawn: chance, or no difference.
    """
    if not _dots(ax, found):
        return say(ax, "No ablation: no variant was trained.")
    if reference is not None:
        ax.axvline(reference, color=style.SOFT, linewidth=0.8, linestyle=(0, (1, 2)), zorder=0)
    ax.set_xlabel(unit)
    ax.locator_params(axis="x", nbins=6)
    if ax.get_legend_handles_labels()[1] != [shortened(unit, 28)]:
        legend_below(ax)


def _dots(ax: Axes, groups: Mapping[str, Mapping[str, Estimate]]) -> bool:
    """A row a group and in it a point with its interval a series; an open point has no interval. False where empty."""
    names = list(dict.fromkeys(name for found in groups.values() for name in found))
    rows = [
        (place, names.index(name), item)
        for place, found in enumerate(groups.values())
        for name, item in found.items()
        if np.isfinite(item.value)
    ]
    for row, series, item in rows:
        look, y = style.look(series), row + 0.7 * ((series + 0.5) / len(names) - 0.5)
        sure = np.isfinite([item.low, item.high]).all()
        if sure:
            ax.plot([item.low, item.high], [y, y], color=look.colour, linewidth=1.3)
        face = look.colour if sure else style.PAPER
        ax.plot(item.value, y, color=look.colour, marker=look.marker, markerfacecolor=face, linestyle="none")
    for series in sorted({series for _, series, _ in rows}):
        look = style.look(series)
        ax.plot([], [], color=look.colour, marker=look.marker, linestyle="-", label=shortened(names[series], 28))
    for line in range(1, len(groups) if rows else 0):
        ax.axhline(line - 0.5, color=style.HAIR, linewidth=0.6, zorder=0)
    if rows:
        ax.set_yticks(range(len(groups)), [shortened(name, 28) for name in groups])
        ax.set_ylim(len(groups) - 0.45, -0.55)
        ax.tick_params(axis="y", length=0)
    return bool(rows)


def _decades(ax: Axes, steps: Sequence[int]) -> None:
    """Round numbers in plain figures along a logarithmic vertical axis, as many a decade as there are steps."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    ax.yaxis.set_major_locator(LogLocator(subs=steps, numticks=7))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}" if value < 1 else f"{value:,.0f}"))
    ax.yaxis.set_minor_formatter(NullFormatter())
