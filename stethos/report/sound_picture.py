"""Figures of anomalous-sound detection ready for a page; see `picture`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from stethos.report import picture, sound, style
from stethos.report import spectrogram as spectra
from stethos.report.figure import Row
from stethos.report.panel import legend_shared, say, styled
from stethos.report.picture import EMPTY, LINE, Picture
from stethos.report.spectrogram import TRUTHS, Box, Clip
from stethos.report.table import Cell, Table
from stethos.report.words import shortened, spoken
from stethos.types import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_FRAMES = 80  # columns of a CSV, which would otherwise weigh more than the page

Found = Mapping[str, Mapping[str, Estimate]]
"""Row → series → estimate."""


def spectrogram(
    title: str,
    mel_db: np.ndarray,
    seconds: float,
    centres: np.ndarray,
    region: Box | None = None,
    caption: str = "",
) -> Picture:
    """One spectrogram; arguments as for `spectrogram.spectrogram`.

    The CSV holds tenths of a decibel, of more than `MOST_FRAMES` frames the mean over neighbours.
    """
    drawing, ax = style.canvas(height=74)
    spectra.spectrogram(ax, mel_db, seconds, centres, region)
    starts, middles = _blocks(np.shape(mel_db)[1], seconds)
    sums = np.add.reduceat(mel_db, starts, axis=1) if len(starts) else mel_db
    mean = sums / np.diff(starts, append=np.shape(mel_db)[1])
    rows = [[*row] for row in np.column_stack([np.round(centres, 1), np.round(mean, 1)])]
    data = Table(("hertz", *(f"{middle:.3f} s" for middle in middles)), rows)
    alt = f"Mel spectrogram of {seconds:.3g} s in dB."
    alt += f" Outlined: {spectra.named(region)}." if region is not None else ""
    return Picture(title, drawing, alt, data, caption)


def _blocks(frames: int, seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """First frame of each block of neighbours, and its middle in seconds, `(M,)` each."""
    edges = np.unique(np.linspace(0, frames, min(frames, MOST_FRAMES) + 1).round().astype(int))
    return edges[:-1], (edges[:-1] + edges[1:]) / 2 * seconds / max(frames, 1)


def clips(title: str, pairs: Sequence[tuple[Clip, Clip | None]], centres: np.ndarray, caption: str = "") -> Picture:
    """Clips from the top down, each beside the normal one nearest to it; arguments as for `spectrogram.pair`.

    The CSV says what is written over the panels, not what is in them.
    """
    columns = ("pair", "shown", "machine", "section", "truth", "score", "outlined")
    if not pairs:
        return _nothing(title, "No clips: none was scored.", columns)
    drawing, panels = style.panels(len(pairs), 2, style.WIDE, 14 + 37 * len(pairs))
    for place, (clip, nearest) in enumerate(pairs):
        spectra.pair(panels[2 * place], panels[2 * place + 1], clip, nearest, centres)
    for ax in panels[: 2 * len(pairs) - 2]:
        ax.set_xlabel("")
    shown = ("clip", "nearest normal")
    rows: list[list[Cell]] = [
        [place, shown[side], clip.machine, clip.section, TRUTHS.get(clip.truth, ""), clip.score, _outline(clip)]
        for place, both in enumerate(pairs, start=1)
        for side, clip in enumerate(both)
        if clip is not None
    ]
    alt = f"Mel spectrograms of {len(pairs)} clips, each beside its nearest normal clip: "
    alt += "; ".join(clip.words + (f", outlined {_outline(clip)}" if clip.region else "") for clip, _ in pairs)
    return Picture(title, drawing, alt, Table(columns, rows), caption)


def embedding_map(
    title: str, embeddings: np.ndarray, machine: np.ndarray, group: np.ndarray, caption: str = ""
) -> Picture:
    """A map a machine, each with its own two principal directions.

    Args:
        title: Short name.
        embeddings: `(N, D)`.
        machine: `(N,)`.
        group: 0 training, 1 normal test, 2 anomalous test, `(N,)`.
        caption: How to read it.

    Raises:
        ScoreError: A machine has fewer than two clips.
    """
    names, columns = list(dict.fromkeys(np.asarray(machine).tolist())), ("machine", "group", "pc_1", "pc_2")
    if not names:
        return _nothing(title, "No map: no clip has an embedding.", columns)
    drawing, panels = _facets(names, 58)
    rows: list[list[Cell]] = []
    words = []
    for name, ax in zip(names, panels, strict=False):
        here = np.asarray(machine) == name
        points, explained = sound.principal(np.asarray(embeddings)[here])
        sound.embedding(ax, points, np.asarray(group)[here], explained)
        ax.set_title(shortened(name, 30), fontsize=style.SMALL, fontweight="bold")
        places = points.astype(np.float32)  # more figures than a map can show
        rows += [[name, sound.GROUPS[int(kind)], *place] for kind, place in zip(group[here], places, strict=True)]
        words.append(f"{name}, {100 * explained.sum():.0f} % of the variance")
    legend_shared(drawing, panels)
    alt = f"Normal and anomalous clips along two principal directions: {'; '.join(words)}."
    return Picture(title, drawing, alt, Table(columns, rows), caption)


def score_histograms(
    title: str,
    score: np.ndarray,
    truth: np.ndarray,
    machine: np.ndarray,
    thresholds: Mapping[str, float] | None = None,
    caption: str = "",
) -> Picture:
    """A histogram a machine; arguments as for `sound.histogram`. The CSV holds bins, never single clips."""
    names, columns = list(dict.fromkeys(np.asarray(machine).tolist())), ("machine", "from", "to", "normal", "anomalous")
    if not names:
        return _nothing(title, "No scores: no clip was scored.", columns)
    drawing, panels = _facets(names, 50)
    rows: list[list[Cell]] = []
    for name, ax in zip(names, panels, strict=False):
        here = np.asarray(machine) == name
        known = here & np.isfinite(score) & np.isfinite(truth)
        sound.histogram(ax, score[here], truth[here], (thresholds or {}).get(name))
        groups = [score[known & (truth == kind)] for kind in (0, 1)]
        counted = f"{len(groups[0]):,} normal, {len(groups[1]):,} anomalous"
        ax.set_title(f"{shortened(name, 30)}\n{counted}", fontsize=style.SMALL)
        edges = np.histogram_bin_edges(score[known], bins=sound.BIN_COUNT)
        bins = [np.histogram(part, edges)[0] for part in groups]
        rows += [[name, *row] for row in zip(edges[:-1], edges[1:], *bins, strict=True)]
    legend_shared(drawing, panels)
    alt = f"Histograms of the anomaly scores of normal and anomalous clips of {', '.join(names)}."
    alt += "".join(f" Threshold of {name} {value:.3g}." for name, value in (thresholds or {}).items())
    return Picture(title, drawing, alt, Table(columns, rows), caption)


def machines(title: str, found: Found, unit: str = "AUC", reference: float | None = None, caption: str = "") -> Picture:
    """A forest: machine → system or baseline → estimate, from the top down."""
    rows: list[Row] = []
    for machine, systems in found.items():
        rows += [(machine, None, ""), *((system, item, "") for system, item in systems.items())]
    told = [(machine, system, item) for machine, systems in found.items() for system, item in systems.items()]
    alt = f"{unit} of {len(found)} machines. " + _told(told)
    return replace(picture.forest(title, rows, reference, unit, caption), alt=alt.strip())


def machine_table(found: Found, caption: str = "", note: str = "") -> Table:
    """The same as a table: a row a machine, a column a system; a missing one is a dash."""
    systems = list(dict.fromkeys(system for row in found.values() for system in row))
    rows = [[machine, *(row.get(system) for system in systems)] for machine, row in found.items()]
    return Table(("machine", *systems), rows, caption, note)


def alarm_budget(
    title: str,
    threshold: np.ndarray,
    rates: Mapping[str, np.ndarray],
    budget: float,
    chosen: float | None = None,
    caption: str = "",
) -> Picture:
    """False alarms a week; arguments as for `sound.alarm_budget`."""
    drawing, ax = style.canvas(height=78 + LINE * (2 + len(rates)) if rates else EMPTY)
    sound.alarm_budget(ax, threshold, rates, budget, chosen)
    rows = [(*row, budget) for row in zip(threshold, *rates.values(), strict=True)] if rates else []
    data = Table(("threshold", *(f"{name} (a week)" for name in rates), "budget (a week)"), rows)
    alt = f"False alarms a week against the threshold: {', '.join(rates) or 'none'}; the budget is {budget:g} a week."
    alt += f" The threshold taken is {chosen:.3g}." if chosen is not None else ""
    return Picture(title, drawing, alt, data, caption)


def enrolment(
    title: str, clips: np.ndarray, areas: Mapping[str, Sequence[Estimate]], unit: str = "AUC", caption: str = ""
) -> Picture:
    """Enrolment curves; arguments as for `sound.enrolment`."""
    drawing, ax = style.canvas(height=78 + LINE * len(areas) if areas else EMPTY)
    sound.enrolment(ax, clips, areas, unit)
    rows = [(name, int(count), item) for name, found in areas.items() for count, item in zip(clips, found, strict=True)]
    alt = f"{unit} against the number of normal clips enrolled. "
    alt += "; ".join(f"{name}, {count} clips: {spoken(item)}" for name, count, item in rows)
    return Picture(title, drawing, alt.strip(), Table(("curve", "clips", "estimate"), rows), caption)


def miss_rates(title: str, rates: Found, caption: str = "") -> Picture:
    """Miss rates by fault and severity; arguments as for `sound.miss_rates`."""
    drawing, ax = style.canvas(height=_rows_high(rates))
    sound.miss_rates(ax, rates)
    rows = [(fault, severity, item) for fault, found in rates.items() for severity, item in found.items()]
    alt = "Share of faulty clips that raise no alarm. " + _told(rows)
    return Picture(title, drawing, alt.strip(), Table(("fault", "severity", "miss_rate"), rows), caption)


def ablation(title: str, found: Found, unit: str = "AUC", reference: float | None = None, caption: str = "") -> Picture:
    """Points with intervals; arguments as for `sound.ablation`."""
    drawing, ax = style.canvas(height=_rows_high(found))
    sound.ablation(ax, found, unit, reference)
    rows = [(variant, name, item) for variant, series in found.items() for name, item in series.items()]
    alt = f"{unit} with one part changed at a time. " + _told(rows)
    return Picture(title, drawing, alt.strip(), Table(("variant", "series", "estimate"), rows), caption)


def _told(rows: Sequence[tuple[str, str, Estimate]]) -> str:
    return "; ".join(f"{row}, {series}: {spoken(item)}" for row, series, item in rows)


def _rows_high(found: Found) -> float:
    """Height in mm of a panel of rows and the legend under it."""
    series = len({name for row in found.values() for name in row})
    return 18 + len(found) * (3.5 * series + 2.5) + LINE * series if series else EMPTY


def _outline(clip: Clip) -> str:
    return spectra.named(clip.region) if clip.region is not None else ""


def _facets(names: Sequence[str], height: float) -> tuple[Figure, list[Axes]]:
    """A panel a name, at most three side by side, and nothing where names run out."""
    columns = 2 if len(names) in (2, 4) else min(len(names), 3)
    rows = -(-len(names) // columns)
    width = style.WIDE if columns > 1 else style.NARROW
    drawing, panels = style.panels(rows, columns, width, rows * height + 2 * LINE)
    for spare in panels[len(names) :]:
        spare.set_axis_off()
    return drawing, panels


def _nothing(title: str, words: str, columns: Sequence[str]) -> Picture:
    """A picture that only says why there is nothing."""
    drawing, ax = style.canvas(height=EMPTY)
    styled(say)(ax, words)
    return Picture(title, drawing, words, Table(columns, []))
