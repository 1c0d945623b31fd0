"""Figures ready for a page: drawing, caption, words for those who cannot see it, numbers behind it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stethos.metrics.calibration import Reliability
from stethos.report import diagram, figure, grid, strip, style
from stethos.report.figure import Band, Curve, Row
from stethos.report.table import Cell, Table
from stethos.report.words import spoken, wrapped
from stethos.types import Estimate, Signal

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LINE = 4.6  # mm, one line of a legend
EMPTY = 24.0  # mm, a panel that only says why there is nothing


@dataclass(frozen=True, eq=False)
class Picture:
    """A figure and what belongs to it.

    Args:
        title: Short name.
        drawing: The figure.
        alt: What it shows, in words.
        data: The numbers behind it.
        caption: How to read it, and what its intervals are.
        fixed: The size in millimetres is part of the meaning.
    """

    title: str
    drawing: Figure
    alt: str
    data: Table
    caption: str = ""
    fixed: bool = False


def roc(
    title: str,
    curves: Mapping[str, Curve],
    bands: Mapping[str, Band] | None = None,
    areas: Mapping[str, Estimate] | None = None,
    caption: str = "",
) -> Picture:
    """ROC curves; arguments as for `figure.roc`."""
    drawing, ax = style.canvas(height=_high(112, curves))
    figure.roc(ax, curves, bands, areas)
    rows: list[list[Cell]] = [
        [name, x, y, None, None] for name, curve in curves.items() for x, y in zip(*curve, strict=True)
    ]
    for name, (rate, low, high) in (bands or {}).items():
        rows += [[name, *item] for item in zip(rate, np.interp(rate, *curves[name]), low, high, strict=True)]
    data = Table(("curve", "false_positive_rate", "sensitivity", "low", "high"), rows)
    found = [f"{name}, area {spoken(item)}" for name, item in (areas or {}).items()]
    alt = f"ROC curves of {', '.join(curves) or 'nothing'}. " + "; ".join(found)
    return Picture(title, drawing, alt.strip(), data, caption)


def calibration(
    title: str,
    bins: Mapping[str, Reliability],
    probability: Mapping[str, np.ndarray] | None = None,
    caption: str = "",
) -> Picture:
    """Calibration; arguments as for `figure.calibration`."""
    drawing, ax = style.canvas(height=_high(128, bins))
    figure.calibration(ax, bins, probability)
    parts = [(name, (item.predicted, item.observed, item.low, item.high, item.count)) for name, item in bins.items()]
    rows = [(name, *cells) for name, columns in parts for cells in zip(*columns, strict=True)]
    alt = f"Observed against predicted probability of {', '.join(bins) or 'nothing'}, in {len(rows)} bins."
    return Picture(
        title, drawing, alt, Table(("curve", "predicted", "observed", "low", "high", "records"), rows), caption
    )


def decision(
    title: str,
    thresholds: np.ndarray,
    model: Mapping[str, np.ndarray],
    everyone: np.ndarray,
    bands: Mapping[str, Curve] | None = None,
    caption: str = "",
) -> Picture:
    """Decision curve; arguments as for `figure.decision`."""
    drawing, ax = style.canvas(height=_high(82, [*model, "", ""]) if model else EMPTY)
    figure.decision(ax, thresholds, model, everyone, bands)
    columns, values = ["threshold", "everyone", "no_one"], [thresholds, everyone, np.zeros(len(thresholds))]
    for name, benefit in model.items():
        low, high = (bands or {}).get(name, (np.full(len(benefit), np.nan),) * 2)
        columns += [name, f"{name} low", f"{name} high"]
        values += [benefit, low, high]
    data = Table(columns, list(zip(*values, strict=True)))
    alt = f"Net benefit of {', '.join(model) or 'nothing'} against acting on everyone and on no one."
    return Picture(title, drawing, alt, data, caption)


def forest(
    title: str, rows: Sequence[Row], reference: float | None = None, unit: str = "", caption: str = ""
) -> Picture:
    """Forest of subgroups; arguments as for `figure.forest`."""
    drawing, ax = style.canvas(style.WIDE, 18 + 5.2 * len(rows) if rows else EMPTY)
    figure.forest(ax, rows, reference, unit)
    cells: list[list[Cell]] = []
    heading = ""
    for label, estimate, remark in rows:
        heading = heading if estimate else label
        if estimate:
            cells.append([heading, label, estimate, remark])
    alt = f"{unit or 'Estimate'} of {len(cells)} groups with intervals: "
    alt += "; ".join(f"{label} {spoken(item)}" for label, item, _ in rows if item)
    return Picture(title, drawing, alt, Table(("heading", "group", "estimate", "remark"), cells), caption)


def pairs(title: str, names: Sequence[str], found: grid.Pairs, unit: str = "", caption: str = "") -> Picture:
    """A number for every pair; arguments as for `grid.pairs`, and the unit for the words."""
    drawing, ax = style.canvas(style.WIDE, 10 + grid.CELL * (len(names) - 1) if found else EMPTY)
    grid.pairs(ax, names, found)
    cells = [(first, second, item) for (first, second), item in found.items()]
    alt = f"{unit or 'Estimate'} of {len(cells)} pairs with intervals: "
    alt += "; ".join(f"{first} and {second} {spoken(item)}" for first, second, item in cells)
    return Picture(title, drawing, alt, Table(("first", "second", "estimate"), cells), caption)


def scores(
    title: str, score: np.ndarray, truth: np.ndarray, threshold: float | None = None, caption: str = ""
) -> Picture:
    """Histogram of scores; arguments as for `figure.scores`. The CSV holds bins, never single records."""
    drawing, ax = style.canvas(height=92)
    figure.scores(ax, score, truth, threshold)
    known = np.isfinite(score) & np.isfinite(truth)
    edges = np.histogram_bin_edges(score[known], bins=30)
    groups = [np.histogram(score[known & (truth == value)], edges)[0] for value in (0, 1)]
    rows = list(zip(edges[:-1], edges[1:], *groups, strict=True))
    data = Table(("from", "to", "records_without_event", "records_with_event"), rows)
    return Picture(title, drawing, "Histogram of scores of records with and without the event.", data, caption)


def training(
    title: str, losses: Mapping[str, Curve], monitor: Mapping[str, Curve] | None = None, caption: str = ""
) -> Picture:
    """Training log; arguments as for `figure.training`."""
    watched = dict(monitor or {})
    drawing, ax = style.canvas(height=_high(78, [*losses, *watched]))
    figure.training(ax, losses, monitor)
    series = [("training", losses), ("validation", watched)]
    rows = [
        (part, name, step, value)
        for part, curves in series
        for name, curve in curves.items()
        for step, value in zip(*curve, strict=True)
    ]
    alt = f"Training: {', '.join([*losses, *watched]) or 'nothing'} over the steps."
    return Picture(title, drawing, alt, Table(("part", "name", "step", "value"), rows), caption)


def flow(
    title: str,
    steps: Sequence[diagram.Step],
    parts: Sequence[diagram.Part] = (),
    caption: str = "",
    units: tuple[str, str] = ("records", "subjects"),
) -> Picture:
    """Cohort flow; arguments as for `figure.flow`."""
    drawing, ax = diagram.flow_canvas(steps, parts)
    diagram.flow(ax, steps, parts, units)
    rows = [*steps, *((label, records, subjects, "part") for label, records, subjects in parts)]
    alt = "; ".join(f"{label}: {count} {units[0]} of {whose} {units[1]}" for label, count, whose, _ in rows)
    return Picture(title, drawing, alt, Table(("step", *units, "left_out_because"), rows), caption)


def trace(
    title: str,
    signal: Signal,
    weight: np.ndarray | None = None,
    highlight: np.ndarray | None = None,
    caption: str = "",
) -> Picture:
    """An ECG strip at its physical size; arguments as for `strip.trace`."""
    drawing, ax = strip.strip(signal, weighted=weight is not None)
    strip.trace(ax, signal, weight, highlight)
    seconds = np.round(np.arange(signal.values.shape[1]) / signal.rate, 5)
    columns = ["seconds", *(f"{name} ({signal.unit})" for name in signal.channels)]
    values = [seconds, *np.round(signal.values.astype(float), 5)]
    if weight is not None:
        columns, values = [*columns, "contribution (logits)"], [*values, weight]
    data = Table(columns, list(zip(*values, strict=True)))
    alt = f"ECG of {signal.duration:.1f} s, {', '.join(signal.channels)}, at 25 mm/s and 10 mm/mV."
    return Picture(title, drawing, alt, data, caption, fixed=True)


def _high(panel: float, names: Iterable[str]) -> float:
    """Height in mm of a panel and its legend under it."""
    lines = sum(1 + wrapped(f"{name}: 0.000_(0.000_to_0.000)").count("\n") for name in names)
    return panel + LINE * lines if lines else EMPTY
