"""Hearts on paper: areas over a beat, anatomies under other ECGs, and motion along one line.

Frame f of F is at f / F of the interval between two R peaks, and the last is followed by the first. The first frame
is end-diastole (ED); end-systole (ES) is where the cavity of the left ventricle is smallest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from stethos.errors import FormatError
from stethos.report import style
from stethos.report.panel import legend_shared, say, styled
from stethos.report.picture import EMPTY, Picture
from stethos.report.table import Cell, Table
from stethos.report.words import shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEVELS = (0.1, 0.9)  # of the draws: a band of 80 %
BEATS = 2  # drawn of a motion: where the cycle closes is seen inside, not at the edge
ACROSS = 3  # panels of areas

_GREY: dict[str, Any] = {"cmap": "gray", "vmin": 0, "vmax": 1, "interpolation": "none"}


@styled
def area(ax: Axes, real: np.ndarray, draws: np.ndarray) -> None:
    """One area over one beat: as it is, and the mean and the 80 % band of what was generated.

    Args:
        ax: Panel.
        real: `(F,)`; NaN where there is none.
        draws: `(S, F)`; draws with a NaN are left out.
    """
    draws = _whole(draws)
    if not len(draws):
        return say(ax, "No draw has\nan area in every frame.")
    phase = np.linspace(0, 1, draws.shape[1] + 1)
    low, high = np.quantile(draws, LEVELS, axis=0)
    own, other = style.look(1), style.look(0)
    ax.fill_between(
        phase, _closed(low), _closed(high), color=own.colour, alpha=0.18, linewidth=0, label="80 % of draws"
    )
    ax.plot(phase, _closed(draws.mean(0)), color=own.colour, linestyle=own.dash, label="mean of draws")
    ax.plot(phase, _closed(real), color=other.colour, linestyle=other.dash, label="real")
    ax.set(xlim=(0, 1), xticks=[0, 0.5, 1])


def area_curves(
    title: str, real: Mapping[str, np.ndarray], draws: Mapping[str, np.ndarray], unit: str = "mm²", caption: str = ""
) -> Picture:
    """Areas of a few hearts over one beat, a panel a heart, all on one scale.

    Args:
        title: Short name.
        real: Heading of the panel, which is shown: no patient's name → area in each frame, `(F,)`.
        draws: The same headings → areas of the hearts generated from that patient's ECG, `(S, F)`.
        unit: Of the areas.
        caption: How to read it.

    Raises:
        FormatError: The headings of both, or their frames, are not the same.
    """
    _same_hearts(real, draws)
    columns = ("heart", "phase", "real", "mean of draws", "low", "high")
    if not real:
        return _empty(title, "No areas: no heart was followed.", columns)
    high = -(-len(real) // ACROSS)
    drawing, axes = style.panels(high, min(ACROSS, len(real)), style.WIDE, 16 + 46.0 * high)
    top = 1.08 * max(float(np.nanmax(curve, initial=1e-6)) for curve in (*real.values(), *draws.values()))
    for spare in axes[len(real) :]:
        spare.set_axis_off()
    for place, (name, ax) in enumerate(zip(real, axes, strict=False)):
        area(ax, real[name], draws[name])
        ax.set_title(_heading(name, draws[name]), fontsize=style.SMALL, loc="left")
        ax.set_ylim(0, top)
        ax.set_xlabel("cardiac phase" if place + ACROSS >= len(real) else "")
        ax.set_ylabel(f"LV area, {unit}" if place % ACROSS == 0 else "")
    legend_shared(drawing, axes[: len(real)])
    rows = [row for name in real for row in _area_rows(name, real[name], draws[name])]
    alt = f"LV area over one beat of {len(real)} hearts, in {unit}, largest and smallest: "
    alt += "; ".join(f"{name} {_range(real[name])} real, {_range(_mean(draws[name]))} drawn" for name in real)
    return Picture(title, drawing, f"{alt}.", Table(columns, rows), caption)


def swap_figure(
    title: str,
    cines: Sequence[Sequence[np.ndarray]],
    fractions: np.ndarray,
    systole: np.ndarray,
    columns: Sequence[str],
    caption: str = "",
) -> Picture:
    """The same noise under other ECGs: a row an anatomy, a column an ECG, each at ED and ES with its EF under it.

    Args:
        title: Short name.
        cines: Anatomies of ECGs of `(F, H, W)` in [0, 1]; every one of a row was started from the same noise.
        fractions: Ejection fraction of each, %, `(anatomies, ECGs)`; NaN where it is not known.
        systole: Frame of ES of each, `(anatomies, ECGs)`.
        columns: What each ECG is; shown.
        caption: How to read it.
    """
    names = ("noise", "ECG", "EF, %", "phase of ES")
    if not len(cines):
        return _empty(title, "No anatomy was generated under another ECG.", names)
    frame = cines[0][0].shape
    wide = style.WIDE / max(3, len(columns))  # mm, a pair of pictures
    high = wide / 2 * frame[1] / frame[2] + 9
    drawing, axes = style.panels(len(cines), len(columns), wide * len(columns), 8 + len(cines) * high)
    rows: list[list[Cell]] = []
    for place, ax in enumerate(axes):
        down, across = divmod(place, len(columns))
        cine, es = cines[down][across], int(systole[down][across])
        fraction = float(fractions[down][across])
        _two(ax, cine[0], cine[es], fraction)
        if not down:
            ax.set_title(shortened(columns[across], 90 // max(3, len(columns))), fontsize=style.SMALL)
        if not across:
            ax.set_ylabel(f"noise {down + 1}", fontsize=style.SMALL)
        rows.append([f"{down + 1}", columns[across], fraction, es / len(cine)])
    alt = f"{len(cines)} anatomies under {len(columns)} ECGs at end-diastole and end-systole. EF: "
    told = np.ndindex(np.shape(fractions))
    alt += "; ".join(f"noise {row + 1}, {columns[ecg]} {_percent(float(fractions[row, ecg]))}" for row, ecg in told)
    return Picture(title, drawing, f"{alt}.", Table(names, rows), caption)


def motion_picture(
    title: str, cines: Mapping[str, np.ndarray], pixel_mm: float, line: int | None = None, caption: str = ""
) -> Picture:
    """What moves along one line of the picture, over two beats: how a film looks on paper.

    Args:
        title: Short name.
        cines: Heading → `(F, H, W)` in [0, 1].
        pixel_mm: Side of a pixel, mm.
        line: Row of the picture; None for its middle.
        caption: How to read it.
    """
    columns = ("heart", "mm from the left", "phase", "grey")
    if not cines:
        return _empty(title, "No motion: no heart was given.", columns)
    drawing, axes = style.panels(len(cines), 1, style.NARROW, 10 + 30.0 * len(cines))
    rows: list[list[Cell]] = []
    for (name, cine), ax in zip(cines.items(), axes, strict=True):
        along = cine[:, cine.shape[1] // 2 if line is None else line].T  # (W, F)
        _strip(ax, along, pixel_mm, name)
        phase, mm = np.arange(along.shape[1]) / along.shape[1], (np.arange(len(along)) + 0.5) * pixel_mm
        rows += [
            [name, round(float(mm[i]), 2), round(float(phase[f]), 4), round(float(along[i, f]), 2)]
            for i, f in np.ndindex(along.shape)
        ]
    axes[-1].set_xlabel("beats, from R peak to R peak")
    alt = f"Grey along one line of the picture over {BEATS} beats, of {', '.join(cines)}."
    return Picture(title, drawing, alt, Table(columns, rows), caption)


@styled
def _strip(ax: Axes, along: np.ndarray, pixel_mm: float, name: str) -> None:
    """One line of a picture downwards, time to the right."""
    extent = (0, BEATS, len(along) * pixel_mm, 0)
    ax.imshow(np.tile(along, BEATS), aspect="auto", extent=extent, **_GREY)
    ax.set(ylabel="mm", xticks=np.arange(0, BEATS + 0.5, 0.5))
    ax.set_title(shortened(name, 60), fontsize=style.SMALL, loc="left")


@styled
def _two(ax: Axes, diastole: np.ndarray, systole: np.ndarray, fraction: float) -> None:
    """ED beside ES, and the ejection fraction under both."""
    gap = np.full((len(diastole), max(1, diastole.shape[1] // 24)), np.nan)
    ax.imshow(np.concatenate([diastole, gap, systole], axis=1), **_GREY)
    width = diastole.shape[1]
    ax.set_xticks([(width - 1) / 2, width * 1.5 + gap.shape[1] - 0.5], ["ED", "ES"])
    ax.set(yticks=[], xlabel=f"EF {_percent(fraction)}")
    ax.xaxis.labelpad = 1
    ax.tick_params(length=0, pad=3)
    ax.spines[:].set_visible(False)


def _whole(draws: np.ndarray) -> np.ndarray:
    """Draws that have an area in every frame."""
    return draws[np.isfinite(draws).all(axis=1)]


def _mean(draws: np.ndarray) -> np.ndarray:
    whole = _whole(draws)
    return whole.mean(axis=0) if len(whole) else np.full(draws.shape[1], np.nan)


def _closed(curve: np.ndarray) -> np.ndarray:
    """The first frame again at the end, where the next beat begins."""
    return np.append(curve, curve[0])


def _heading(name: str, draws: np.ndarray) -> str:
    """A heart's name, and how many of its draws are left out."""
    whole = len(_whole(draws))
    return shortened(name, 24) + (f", {whole} of {len(draws)} draws" if whole < len(draws) else "")


def _range(curve: np.ndarray) -> str:
    known = curve[np.isfinite(curve)]
    return f"{known.max():.0f} and {known.min():.0f}" if len(known) else "unknown"


def _percent(value: float) -> str:
    return f"{value:.0f} %" if np.isfinite(value) else "not known"


def _area_rows(name: str, real: np.ndarray, draws: np.ndarray) -> list[list[Cell]]:
    """The numbers behind one panel."""
    whole = _whole(draws)
    low, high = np.quantile(whole, LEVELS, axis=0) if len(whole) else np.full((2, len(real)), np.nan)
    phase = np.arange(len(real)) / len(real)
    return [[name, *map(float, row)] for row in zip(phase, real, _mean(draws), low, high, strict=True)]


def _same_hearts(real: Mapping[str, np.ndarray], draws: Mapping[str, np.ndarray]) -> None:
    if set(real) != set(draws):
        raise FormatError(f"areas need real and drawn curves of the same hearts; got {[*real]} and {[*draws]}")
    for name, curve in real.items():
        if np.shape(draws[name])[1:] != np.shape(curve):
            raise FormatError(
                f"areas of {name} need frame for frame; got {np.shape(curve)} and draws of {np.shape(draws[name])}"
            )


def _empty(title: str, words: str, columns: Sequence[str]) -> Picture:
    """A picture that only says why there is nothing."""
    drawing, ax = style.canvas(height=EMPTY)
    styled(say)(ax, words)
    return Picture(title, drawing, words, Table(columns, []))
