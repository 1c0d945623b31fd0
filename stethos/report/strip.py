"""An ECG on its paper: 25 mm/s and 10 mm/mV when printed at its own size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stethos.errors import FormatError, UnitError
from stethos.report import style
from stethos.report.panel import say, styled
from stethos.types import Signal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SPEED = 25.0  # mm/s
GAIN = 10.0  # mm/mV
PULSE = 15.0  # mm kept at the left of a row for the calibration pulse and the name
RIBBON = 10.0  # mm kept under a row for the contributions
FOOT = 7.0  # mm kept at the foot for the scale in words
MILLIVOLTS = {"mV": 1.0, "µV": 1e-3, "uV": 1e-3, "V": 1e3}


@dataclass(frozen=True)
class _Row:
    """One channel from `start` to `stop` seconds; its zero and its floor in mm under the top of the sheet."""

    channel: int
    start: float
    stop: float
    zero: float
    floor: float


def strip(signal: Signal, width: float = style.WIDE, weighted: bool = False) -> tuple[Figure, Axes]:
    """A sheet just large enough for the whole of `signal`.

    Args:
        signal: What `trace` will draw.
        width: The paper is at most so wide, mm; a longer signal is wrapped.
        weighted: Room is kept for the contributions under each row.

    Raises:
        UnitError: The signal is not in volts.
    """
    rows = list(_rows(signal, width, weighted))
    if not rows:
        return style.sheet(style.NARROW, 22)
    longest = PULSE + SPEED * max(row.stop - row.start for row in rows)
    return style.sheet(min(max(float(np.ceil(longest / 5) * 5) + 5, style.NARROW), width), rows[-1].floor + FOOT)


@styled
def trace(ax: Axes, signal: Signal, weight: np.ndarray | None = None, highlight: np.ndarray | None = None) -> None:
    """An ECG wrapped into rows on millimetre paper, each row with a pulse of 1 mV and 0.2 s.

    Contributions are told by colour, by thickness and by a bar under the row (up raises the score), so that
    the figure reads in black. A trace too long for the panel is cut, and the figure says so.

    Args:
        ax: Panel, as `strip` makes it; its printed size sets how much fits.
        signal: In mV, µV or V; NaN where nothing was recorded.
        weight: Signed contribution of every sample, in logits, `(T,)`.
        highlight: True where a band is drawn behind the trace, `(T,)`.

    Raises:
        UnitError: The signal is not in volts.
        FormatError: `weight` or `highlight` does not have one value a sample.
    """
    for name, marks in (("weight", weight), ("highlight", highlight)):
        if marks is not None and np.shape(marks) != signal.values.shape[1:]:
            need = signal.values.shape[1]
            raise FormatError(f"{name} needs one value for each of {need} samples; got shape {np.shape(marks)}")
    width, height = style.extent(ax)
    ax.set(xlim=(0, width), ylim=(0, height))
    ax.set_axis_off()
    _paper(ax, width, height)
    rows = [row for row in _rows(signal, width, weight is not None) if row.floor <= height - FOOT + 1e-6]
    if not rows or not np.isfinite(signal.values).any():
        return say(ax, "No signal was recorded, or none fits this panel.")
    scale = float(np.nanmax(np.abs(weight))) if weight is not None and np.isfinite(weight).any() else 0.0
    for row in rows:
        _pulse(ax, row, height, signal.channels[row.channel])
        _draw(ax, _Piece.of(signal, row, height), weight, scale, highlight)
    _foot(ax, signal, rows, scale)


@dataclass(frozen=True)
class _Piece:
    """Samples `first` to `last` of a channel, placed: `x`, `y`, `zero` and `floor` in mm."""

    first: int
    last: int
    x: np.ndarray
    y: np.ndarray
    zero: float
    floor: float

    @staticmethod
    def of(signal: Signal, row: _Row, height: float) -> _Piece:
        """Where the samples of one row lie on the sheet."""
        first, last = round(row.start * signal.rate), round(row.stop * signal.rate)
        last = min(last + 1, signal.values.shape[1])
        x = PULSE + (np.arange(first, last) / signal.rate - row.start) * SPEED
        millivolts = _millivolts(signal, row.channel)[first:last]
        return _Piece(first, last, x, height - row.zero + millivolts * GAIN, height - row.zero, height - row.floor)


def _rows(signal: Signal, width: float, weighted: bool) -> Iterator[_Row]:
    """The rows from the top down: all channels of the first stretch, then of the next."""
    if not signal.values.size:
        return
    fits = np.floor(round((width - PULSE) / SPEED / 0.2, 6)) * 0.2  # whole large squares
    stretches = int(np.ceil(round(signal.duration / fits, 6)))
    seconds = np.ceil(round(signal.duration / stretches / 0.2, 6)) * 0.2
    top = 0.0
    for stretch in range(stretches):
        start, stop = stretch * seconds, min((stretch + 1) * seconds, signal.duration)
        for channel in range(len(signal.channels)):
            above, below = _reach(signal, channel)
            floor = top + above + below + RIBBON * weighted
            yield _Row(channel, start, stop, top + above, floor)
            top = floor


def _reach(signal: Signal, channel: int) -> tuple[float, float]:
    """Millimetres needed above and below a channel's zero, in large squares, the pulse included."""
    millivolts = _millivolts(signal, channel)
    known = millivolts[np.isfinite(millivolts)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 0.0)
    above, below = max(high * GAIN, 12.0), max(-low * GAIN, 4.0)
    return float(np.ceil((above + 1) / 5) * 5), float(np.ceil((below + 1) / 5) * 5)


def _millivolts(signal: Signal, channel: int) -> np.ndarray:
    """One channel in mV, `(T,)`."""
    if signal.unit not in MILLIVOLTS:
        raise UnitError(f"an ECG strip needs a signal in mV, µV or V; got {signal.unit!r}; convert it first")
    return signal.values[channel] * MILLIVOLTS[signal.unit]


def _paper(ax: Axes, width: float, height: float) -> None:
    """Lines every millimetre, stronger every five."""
    for every, colour, thickness in ((1, "#f6dcd6", 0.35), (5, "#e3b0a5", 0.55)):
        x, y = np.arange(0, width + 1e-6, every), height - np.arange(0, height - FOOT + 1e-6, every)
        ax.vlines(x, y[-1], height, color=colour, linewidth=thickness, zorder=0)
        ax.hlines(y, 0, width, color=colour, linewidth=thickness, zorder=0)


def _pulse(ax: Axes, row: _Row, height: float, name: str) -> None:
    """1 mV for 0.2 s, and under it the lead's name and the time at which the row starts."""
    zero = height - row.zero
    x, y = np.array([2, 3, 3, 8, 8, 9]), zero + np.array([0, 0, GAIN, GAIN, 0, 0])
    ax.plot(x, y, color=style.INK, linewidth=0.9)
    ax.text(2, zero - 0.7, f"{name}  {row.start:g} s", va="top", fontsize=style.SMALL, fontweight="bold")


def _draw(ax: Axes, piece: _Piece, weight: np.ndarray | None, scale: float, highlight: np.ndarray | None) -> None:
    """One row of the trace, with what is marked in it."""
    if highlight is not None:
        marked = highlight[piece.first : piece.last].astype(bool)
        ax.fill_between(piece.x, piece.zero - 4, piece.zero + 14, where=marked, color="#ffe08a", alpha=0.6, linewidth=0)
    ax.plot(piece.x, piece.y, color=style.INK, linewidth=0.8)
    if weight is None or not scale:
        return
    part = np.nan_to_num(weight[piece.first : piece.last]) / scale
    base, reach = piece.floor + RIBBON / 2, RIBBON / 2 - 0.7
    ax.axhline(base, PULSE / ax.get_xlim()[1], piece.x[-1] / ax.get_xlim()[1], color=style.SOFT, linewidth=0.5)
    for sign, colour, hatch in ((1, style.RAISE, "////"), (-1, style.LOWER, "")):
        strong = np.where(sign * part > 0, part, 0)
        look: dict[str, Any] = {"facecolor": colour, "edgecolor": style.PAPER, "hatch": hatch, "linewidth": 0}
        ax.fill_between(piece.x, base, base + reach * strong, step="mid", **look)
        thick = np.where(sign * part > 0.05, piece.y, np.nan)
        ax.plot(piece.x, thick, color=colour, linewidth=1.9)


def _foot(ax: Axes, signal: Signal, rows: list[_Row], scale: float) -> None:
    """The scale in words, what the bars mean, and how much is not shown."""
    words = ["25 mm/s, 10 mm/mV"]
    if scale:
        words.append(f"bar up, hatched: raises the score; bar down: lowers it; full height {scale:.2g} logits")
    shown = rows[-1].stop if rows[-1].channel == len(signal.channels) - 1 else rows[-1].start
    if shown < signal.duration - 1e-6:
        words.append(f"first {shown:.1f} of {signal.duration:.1f} s shown")
    ax.text(2, FOOT / 2 - 0.5, " · ".join(words), va="center", fontsize=style.SMALL)
