"""Figures of validation: data → Axes.

Each function draws into a panel it is given, saves nothing and returns nothing. Intervals are drawn, not only
points; a panel without data says so in words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from stethos.metrics.calibration import Reliability
from stethos.report import style
from stethos.report.diagram import flow
from stethos.report.panel import legend_below, say, styled
from stethos.report.strip import trace
from stethos.report.words import counts, shortened, spoken, wrapped
from stethos.types import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["calibration", "decision", "flow", "forest", "roc", "scores", "trace", "training"]

Curve = tuple[np.ndarray, np.ndarray]
Band = tuple[np.ndarray, np.ndarray, np.ndarray]
Row = tuple[str, Estimate | None, str]


@styled
def roc(
    ax: Axes,
    curves: Mapping[str, Curve],
    bands: Mapping[str, Band] | None = None,
    areas: Mapping[str, Estimate] | None = None,
) -> None:
    """ROC curves with their bands and, in the legend, their areas.

    Args:
        ax: Panel; made square.
        curves: Name → false-positive rate and sensitivity, `(N,)` each.
        bands: Name → grid of false-positive rates, lower and upper sensitivity, `(N,)` each.
        areas: Name → area under the curve.
    """
    drawn = {name: curve for name, curve in curves.items() if len(curve[0])}
    if not drawn:
        return say(ax, "No ROC curve: no cohort holds both classes.")
    ax.plot([0, 1], [0, 1], color=style.SOFT, linewidth=0.7, linestyle=(0, (1, 3)))
    for place, (name, (x, y)) in enumerate(drawn.items()):
        look = style.look(place)
        if bands and name in bands:
            grid, low, high = bands[name]
            ax.fill_between(grid, low, high, color=look.colour, alpha=0.13, linewidth=0)
        area = ": " + spoken(areas[name]).replace(" ", "\u00a0") if areas and name in areas else ""
        ax.plot(x, y, color=look.colour, linestyle=look.dash, label=wrapped(name + area))
    ax.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    ax.set(xlabel="False-positive rate (1 − specificity)", ylabel="Sensitivity")
    legend_below(ax)


@styled
def calibration(ax: Axes, bins: Mapping[str, Reliability], probability: Mapping[str, np.ndarray] | None = None) -> None:
    """Observed against predicted probability with interval bars, and where the predictions lie.

    Args:
        ax: Panel; made square. A strip along its foot holds the histograms.
        bins: Name → predicted and observed in each bin.
        probability: Name → every predicted probability, `(N,)`.
    """
    drawn = {name: item for name, item in bins.items() if len(item.predicted)}
    if not drawn:
        return say(ax, "No calibration: no record has both a prediction and an outcome.")
    highest = [part for item in drawn.values() for part in (item.predicted, item.observed, item.high)]
    top = float(np.clip(1.08 * np.nanmax(np.concatenate(highest)), 0.05, 1))
    ax.plot([0, top], [0, top], color=style.SOFT, linewidth=0.7, linestyle=(0, (1, 3)))
    for place, (name, item) in enumerate(drawn.items()):
        look = style.look(place)
        ax.vlines(item.predicted, item.low, item.high, color=look.colour, linewidth=1)
        ax.plot(item.predicted, item.observed, color=look.colour, linestyle=look.dash, label=wrapped(name))
        ax.lines[-1].set(marker=look.marker, markeredgecolor=style.PAPER, markeredgewidth=0.5)
    _histograms(ax, {name: p for name, p in (probability or {}).items() if name in drawn}, list(drawn), top)
    ax.set(xlim=(-0.02 * top, 1.02 * top), ylim=(-0.2 * top, 1.02 * top), aspect="equal")
    ax.set(xlabel="Predicted probability", ylabel="Observed fraction")
    ax.set_yticks([tick for tick in ax.get_yticks() if 0 <= tick <= top])
    legend_below(ax)


@styled
def decision(
    ax: Axes,
    thresholds: np.ndarray,
    model: Mapping[str, np.ndarray],
    everyone: np.ndarray,
    bands: Mapping[str, Curve] | None = None,
) -> None:
    """Decision curve: net benefit of acting on a model against acting on everyone and on no one.

    Args:
        ax: Panel.
        thresholds: Probability from which one would act, `(N,)`.
        model: Name → net benefit per subject, `(N,)`.
        everyone: Net benefit of acting on all, `(N,)`.
        bands: Name → lower and upper net benefit, `(N,)` each.
    """
    if not any(np.isfinite(benefit).any() for benefit in model.values()):
        return say(ax, "No decision curve: no record has both a prediction and an outcome.")
    lone = len(thresholds) == 1
    for place, (name, benefit) in enumerate(model.items()):
        look = style.look(place)
        if bands and name in bands:
            ax.fill_between(thresholds, *bands[name], color=look.colour, alpha=0.13, linewidth=0)
        marker = look.marker if lone else "None"
        ax.plot(thresholds, benefit, color=look.colour, linestyle=look.dash, marker=marker, label=wrapped(name))
    marker = "_" if lone else "None"
    ax.plot(thresholds, everyone, color=style.SOFT, linewidth=1, marker=marker, label="act on everyone")
    ax.axhline(0, color=style.INK, linewidth=0.8, linestyle=(0, (1, 2)), label="act on no one")
    highest = [*model.values(), everyone, *(high for _, high in (bands or {}).values())]
    best = max(np.nanmax(np.concatenate(highest)), 1e-3)
    ax.set(ylim=(-0.35 * best, 1.08 * best), xlabel="Threshold probability", ylabel="Net benefit per subject")
    if not lone:
        ax.set_xlim(float(np.min(thresholds)), float(np.max(thresholds)))
    legend_below(ax)


@styled
def forest(ax: Axes, rows: Sequence[Row], reference: float | None = None, unit: str = "") -> None:
    """One line a subgroup: point, interval, and the numbers in words at the right.

    Args:
        ax: Panel.
        rows: Label, estimate and a remark, from the top down; a row without an estimate is a heading.
        reference: Where a line is drawn: no effect, or the whole cohort's value.
        unit: Label of the horizontal axis.
    """
    if not any(estimate and np.isfinite(estimate.value) for _, estimate, _ in rows):
        return say(ax, "No subgroup is large enough to estimate.")
    for place, (label, estimate, remark) in enumerate(rows):
        weight = "normal" if estimate else "bold"
        side: dict[str, Any] = {"va": "center", "fontsize": style.SMALL, "fontweight": weight}
        ax.annotate(
            shortened(label, 30), (0, place), (-6, 0), ("axes fraction", "data"), "offset points", ha="right", **side
        )
        if estimate is None:
            continue
        look = style.LOOKS[0]
        if np.isfinite([estimate.low, estimate.high]).all():
            ax.plot([estimate.low, estimate.high], [place, place], color=look.colour, linewidth=1.3)
        solid = look.colour if np.isfinite(estimate.low) else style.PAPER
        ax.plot(estimate.value, place, color=look.colour, marker="s", markersize=4.5, markerfacecolor=solid)
        words = " · ".join(part for part in (spoken(estimate), counts(estimate), remark) if part)
        ax.annotate(
            shortened(words, 50), (1, place), (8, 0), ("axes fraction", "data"), "offset points", ha="left", **side
        )
    if reference is not None:
        ax.axvline(reference, color=style.SOFT, linewidth=0.8, linestyle=(0, (1, 2)), zorder=0)
    ax.set(ylim=(len(rows) - 0.4, -0.6), yticks=[], xlabel=unit)
    ax.locator_params(axis="x", nbins=6)
    ax.spines["left"].set_visible(False)


@styled
def scores(
    ax: Axes, score: np.ndarray, truth: np.ndarray, threshold: float | None = None, unit: str = "Score (logit)"
) -> None:
    """Histogram of scores by class, each class summing to one.

    Args:
        ax: Panel.
        score: `(N,)`.
        truth: 0 or 1; NaN rows are left out, `(N,)`.
        threshold: Operating point, drawn as a line.
        unit: Label of the horizontal axis.
    """
    score, truth = np.asarray(score, float), np.asarray(truth, float)
    known = np.isfinite(score) & np.isfinite(truth)
    if not known.any():
        return say(ax, "No scores: no record has both a score and an outcome.")
    edges = np.histogram_bin_edges(score[known], bins=30)
    for place, name in enumerate(("without the event", "with the event")):
        group, look = score[known & (truth == place)], style.look(place)
        share, label = np.histogram(group, edges)[0] / max(len(group), 1), f"{name} ({len(group):,} records)"
        ax.stairs(share, edges, color=look.colour, linestyle=look.dash, hatch=look.hatch, label=label)
        ax.stairs(share, edges, color=look.colour, fill=True, alpha=0.15)
    if threshold is not None:
        label = f"operating point {threshold:.2f}".replace("-", "−")
        ax.axvline(threshold, color=style.INK, linewidth=1, label=label)
    ax.set(xlabel=unit, ylabel="Fraction of the class")
    ax.set_ylim(bottom=0)
    legend_below(ax)


@styled
def training(ax: Axes, losses: Mapping[str, Curve], monitor: Mapping[str, Curve] | None = None) -> None:
    """Losses over the steps and, on an axis of its own at the right, what was watched on the validation set.

    Args:
        ax: Panel.
        losses: Name → step and value, `(N,)` each.
        monitor: Name → step and value, `(N,)` each.
    """
    drawn = {name: curve for name, curve in losses.items() if len(curve[0])}
    if not drawn:
        return say(ax, "No training log: nothing was logged.")
    for place, (name, (step, value)) in enumerate(drawn.items()):
        look = style.look(place)
        marker = look.marker if len(step) == 1 else "None"
        ax.plot(step, value, color=look.colour, linestyle=look.dash, marker=marker, label=wrapped(name))
    ax.set(xlabel="Step", ylabel="Loss, training")
    watched = {name: curve for name, curve in (monitor or {}).items() if len(curve[0])}
    if watched:
        _watched(ax, watched, len(drawn))
    legend_below(ax)


def _watched(ax: Axes, monitor: Mapping[str, Curve], after: int) -> None:
    """Validation on a second axis; its names join the legend of the first."""
    right = ax.twinx()
    right.spines["right"].set_visible(True)
    right.set_ylabel(shortened(", ".join(monitor), 28) + ", validation")
    for place, (name, (step, value)) in enumerate(monitor.items(), start=after):
        look = style.look(place)
        shared: dict[str, Any] = {"color": look.colour, "linestyle": look.dash, "marker": look.marker}
        right.plot(step, value, markersize=3.5, **shared)
        ax.plot([], [], label=wrapped(f"{name} (right)"), **shared)


def _histograms(ax: Axes, probability: Mapping[str, np.ndarray], order: list[str], top: float) -> None:
    """Outlines along the foot of a calibration panel, the tallest as high as the strip."""
    edges = np.linspace(0, top, 41)
    shares = {name: np.histogram(p, edges)[0] / max(len(p), 1) for name, p in probability.items()}
    tallest = max((share.max() for share in shares.values()), default=0.0)
    for name, share in shares.items():
        look = style.look(order.index(name))
        height = 0.15 * top * share / max(tallest, 1e-12) - 0.19 * top
        ax.stairs(height, edges, baseline=-0.19 * top, color=look.colour, linestyle=look.dash, linewidth=0.9)
