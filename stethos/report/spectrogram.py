"""Spectrograms: one clip, or a clip beside the normal one that is most like it.

Loudness is told by one colour map whose lightness rises evenly, so that it prints in grey and reads the same to any
colour vision. Frequency is drawn on the mel scale of the bands that are given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stethos.errors import FormatError
from stethos.report import style
from stethos.report.panel import say, styled
from stethos.report.words import shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = "cividis"
KILOHERTZ = np.array([0, 0.25, 0.5, 1, 2, 4, 8, 16])
CLOSEST = 3.6  # mm between two ticks
NAME = 6.0  # mm, the name of a region and what is around it
SOURCE = 22  # letters of machine and section over a panel: truth and score are never cut
TRUTHS = {0.0: "normal", 1.0: "anomaly"}

Box = tuple[float, float, float, float]
"""A region: low and high in Hz, start and stop in seconds."""


@dataclass(frozen=True, eq=False)
class Clip:
    """A clip as it is shown.

    Args:
        mel_db: Mel spectrogram in dB, `(bands, frames)`.
        seconds: How long it is.
        score: Higher means more anomalous; NaN where it has none.
        truth: 0 normal, 1 anomaly, NaN unknown.
        machine: Such as "fan".
        section: Such as "id_00".
        region: What is outlined.
    """

    mel_db: np.ndarray
    seconds: float
    score: float
    truth: float
    machine: str
    section: str
    region: Box | None = None

    @property
    def source(self) -> str:
        """Machine and section."""
        return f"{self.machine}/{self.section}"

    @property
    def scored(self) -> str:
        """The score in words; empty where there is none."""
        return f"score {self.score:.3g}".replace("-", "−") if np.isfinite(self.score) else ""

    @property
    def told(self) -> str:
        """The truth in words."""
        return TRUTHS.get(self.truth, "unknown")

    @property
    def words(self) -> str:
        """Machine, section, truth and score."""
        return _dotted(self.source, self.told, self.scored)


@styled
def spectrogram(
    ax: Axes,
    mel_db: np.ndarray,
    seconds: float,
    centres: np.ndarray,
    region: Box | None = None,
    limits: tuple[float, float] | None = None,
) -> None:
    """One clip with a bar of its decibels, and a region outlined.

    Args:
        ax: Panel.
        mel_db: Mel spectrogram in dB, `(bands, frames)`.
        seconds: How long the clip is.
        centres: Middle of each band, rising, Hz, `(bands,)`.
        region: What is outlined and named.
        limits: Darkest and brightest decibel; None for all but the outermost 1 % and 0.1 %.

    Raises:
        FormatError: There is not one middle for each band.
    """
    if not np.isfinite(mel_db).any():
        return say(ax, "No spectrogram: the clip is empty.")
    low, high = limits or loudness(mel_db)
    _shown(ax, mel_db, seconds, centres, (low, high))
    if region is not None:
        _outlined(ax, region, centres)
    _bar(ax, [ax], mel_db)


@styled
def pair(ax: Axes, right: Axes, clip: Clip, nearest: Clip | None, centres: np.ndarray) -> None:
    """A clip, and beside it on the same decibels the normal clip that is most like it.

    Args:
        ax: Panel of the clip.
        right: Panel of the normal one.
        clip: What was scored.
        nearest: The normal clip nearest to it; None where there is none.
        centres: Middle of each band, rising, Hz, `(bands,)`.

    Raises:
        FormatError: There is not one middle for each band.
    """
    all_db = np.concatenate([item.mel_db.ravel() for item in (clip, nearest) if item is not None])
    over = _dotted(shortened(clip.source, SOURCE), clip.told, clip.scored)
    for panel, item, words in ((ax, clip, over), (right, nearest, _beside(clip, nearest))):
        if item is None or not np.isfinite(item.mel_db).any():
            say(panel, "no clip to show")
            continue
        _shown(panel, item.mel_db, item.seconds, centres, loudness(all_db))
        panel.set_title(words, loc="left", fontsize=style.SMALL)
        if item.region is not None:
            _outlined(panel, item.region, centres)
    right.set_ylabel("")
    if ax.images:
        _bar(ax, [ax, right], all_db)


def loudness(mel_db: np.ndarray) -> tuple[float, float]:
    """Darkest and brightest decibel of a colour scale: all but the lowest 1 % and the highest 0.1 %."""
    low, high = np.nanpercentile(np.where(np.isfinite(mel_db), mel_db, np.nan), (1, 99.9))
    return float(low), float(max(high, low + 1))


def named(region: Box) -> str:
    """A region in words: `2–4 kHz, 1–2 s`."""
    low, high, start, stop = region
    return f"{low / 1000:.3g}–{high / 1000:.3g} kHz, {start:.3g}–{stop:.3g} s"


def _beside(clip: Clip, nearest: Clip | None) -> str:
    """Title of the normal clip; machine and section only where they are not those of the clip."""
    if nearest is None:
        return ""
    source = "" if nearest.source == clip.source else shortened(nearest.source, SOURCE)
    return _dotted("nearest normal", source, nearest.scored)


def _dotted(*words: str) -> str:
    """Words with a dot between; an empty one is left out."""
    return " · ".join(word for word in words if word)


def _shown(ax: Axes, mel_db: np.ndarray, seconds: float, centres: np.ndarray, limits: tuple[float, float]) -> None:
    """The picture itself and its two axes."""
    if len(centres) != len(mel_db):
        raise FormatError(f"a spectrogram needs one middle for each of {len(mel_db)} bands; got {len(centres)}")
    extent = (0, seconds, -0.5, len(centres) - 0.5)
    look: dict[str, Any] = {"cmap": COLOURS, "vmin": limits[0], "vmax": limits[1], "interpolation": "none"}
    ax.imshow(mel_db, origin="lower", aspect="auto", extent=extent, **look)
    kilohertz = _ticks(centres, style.extent(ax)[1])
    ax.set_yticks(_drawn(kilohertz * 1000, centres), [f"{tick:g}" for tick in kilohertz])
    ax.set(xlabel="Time (s)", ylabel="Frequency (kHz, mel)")


def _row(hertz: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Where frequencies lie among the bands, in bands from the middle of the first; infinite where there are none."""
    below, above = np.diff(centres)[[0, -1]] if len(centres) > 1 else (centres[0], centres[0])
    points = [centres[0] - below, *centres, 1.01 * (centres[-1] + above)]  # steps of the mel scale grow
    return np.interp(hertz, points, np.arange(-1, len(centres) + 1), left=-np.inf, right=np.inf)


def _drawn(hertz: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """The same, never off the picture."""
    return np.clip(_row(hertz, centres), -0.5, len(centres) - 0.5)


def _ticks(centres: np.ndarray, height: float) -> np.ndarray:
    """Round kilohertz inside of the bands, from the top down as many as have room on a panel of so many mm."""
    row, bands = _row(KILOHERTZ * 1000, centres), len(centres)
    inside = KILOHERTZ[np.abs(row - (bands - 1) / 2) <= 0.51 * bands]  # off by 1 % of the picture at its ends
    if len(inside) < 2:
        inside = np.unique(np.round(centres[[0, -1]] / 1000, 2))
    place = _drawn(inside * 1000, centres) / len(centres) * height
    kept = [len(inside) - 1]
    for tick in range(len(inside) - 2, -1, -1):
        if place[kept[-1]] - place[tick] >= CLOSEST:
            kept.append(tick)
    return inside[sorted(kept)]


def _outlined(ax: Axes, region: Box, centres: np.ndarray) -> None:
    """A dashed box, dark on light so that it is seen on any colour, and its name where there is room."""
    from matplotlib.patches import Rectangle

    low, high, start, stop = region
    bottom, top = _drawn(np.array([low, high]), centres)
    corner, size = (start, bottom), (stop - start, top - bottom)
    for line, dash in (((style.PAPER, 2.6), "-"), ((style.INK, 1.2), (0, (3, 2)))):
        look: dict[str, Any] = {"edgecolor": line[0], "linewidth": line[1], "linestyle": dash, "fill": False}
        ax.add_patch(Rectangle(corner, *size, clip_on=False, **look))
    (left, right), (floor, roof) = ax.get_xlim(), ax.get_ylim()
    x, side = (start, "left") if start + stop < left + right else (stop, "right")
    above, below = roof - top, bottom - floor
    inside = max(above, below) * style.extent(ax)[1] / (roof - floor) < NAME  # mm: no room but in the box
    y, away = (bottom, -4) if below > above and not inside else (top, -4 if inside else 4)
    box = {"facecolor": style.PAPER, "edgecolor": "none", "pad": 1.2}
    look = {"ha": side, "va": "bottom" if away > 0 else "top", "fontsize": style.SMALL, "bbox": box}
    inward = {"left": 4, "right": -4}[side] if inside else 0
    ax.annotate(named(region), (x, y), (inward, away), textcoords="offset points", **look)


def _bar(ax: Axes, panels: list[Axes], mel_db: np.ndarray) -> None:
    """What the colours mean; a pointed end says that there are decibels beyond it."""
    low, high = ax.images[0].get_clim()
    under, over = bool(np.nanmin(mel_db) < low), bool(np.nanmax(mel_db) > high)
    ends = {(True, True): "both", (True, False): "min", (False, True): "max"}.get((under, over), "neither")
    bar = ax.figure.colorbar(ax.images[0], ax=panels, extend=ends, pad=0.02, aspect=15)
    bar.set_label("Level (dB)")
    bar.locator = _decibels()
    bar.outline.set_visible(False)


def _decibels() -> Any:
    """At most five round ticks, so that they do not touch in a low panel."""
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=4, steps=[1, 2, 5, 10])
