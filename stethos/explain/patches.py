"""One prepared sound of which any patch of time and frequency can be made usual.

The short-time spectrum is cut into patches, bands by pieces of time. Within a patch, the magnitudes at each frequency
take the values that are usual there, in the order that they have, and the phases stay; the change is then put back into
the waveform by overlap-add:

    x' = x + STFT⁻¹(ΔX)        |X'(f, t)| = Q_f((k − ½) / M),  k the rank of |X(f, t)| among the M frames of the patch

Q_f are usual quantiles at f: those of normal recordings, or those of the rest of the same clip. A tone or a click
that is too loud is lowered, a sound that is missing is filled in, and a patch that is usual already stays as it is. One
typical level instead, such as the median, would take 1.9 dB from every patch of plain noise, and its flutter with it.

Reference:
    Hyndman and Fan 1996, doi:10.1080/00031305.1996.10473566, definition 5 (quantiles).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann

from stethos.errors import ChannelError, QualityError, RecipeError

WINDOW = 0.064  # seconds; bins are 16 Hz apart
HOP = 0.016  # seconds
HERTZ = (0.0, 500.0, 1000.0, 2000.0, 3000.0, 4000.0, 6000.0, 8000.0)
SHORTEST = WINDOW + HOP  # seconds, a sound that holds a whole window wherever frames fall
PIECE = 1.0  # seconds
LEVELS = 100  # quantiles kept of the usual magnitudes


@dataclass(frozen=True, eq=False)
class Patches:
    """A sound, and what each of its patches can be exchanged for.

    Args:
        wave: Prepared samples, float64 `(T,)`.
        rate: Hz.
        hertz: Edges of the bands, `(F + 1,)`.
        seconds: Edges of the pieces, `(L + 1,)`.
        usual: Usual magnitudes of every bin of the spectrum, as `usual_levels` gives them, `(bins, Q)`; None for those
            of the clip itself outside of the piece.
    """

    wave: np.ndarray
    rate: float
    hertz: np.ndarray
    seconds: np.ndarray
    usual: np.ndarray | None = None

    def __post_init__(self) -> None:
        for name, cells, count in (("Hz", self.bands, len(self.hertz)), ("seconds", self.pieces, len(self.seconds))):
            missing = sorted(set(range(count - 1)) - set(cells.tolist()))
            if count < 2 or missing:
                edges = self.hertz if name == "Hz" else self.seconds
                raise RecipeError(
                    f"patches need rising edges inside of the sound, {1 / WINDOW:g} Hz and {HOP:g} s apart or more; "
                    f"got {', '.join(f'{edge:g}' for edge in edges)} {name}"
                )
        rest = [np.any(self.whole & (self.pieces != piece)) for piece in range(len(self.seconds) - 1)]
        if self.usual is None and not all(rest):
            raise RecipeError("a clip in one piece has no rest to be compared with; give usual levels or more pieces")
        if self.usual is not None and len(self.usual) != len(self.bands):
            raise RecipeError(
                f"usual levels need one row for each of {len(self.bands)} bins; got {len(self.usual)}; take them from "
                f"sounds of {self.rate:g} Hz"
            )

    @staticmethod
    def of(
        x: np.ndarray,
        rate: float,
        usual: np.ndarray | None = None,
        hertz: np.ndarray | None = None,
        seconds: np.ndarray | None = None,
    ) -> Patches:
        """Cut a prepared window.

        Args:
            x: What the model sees, one channel, `(1, T)`.
            rate: Hz.
            usual: From `usual_levels`; None for the rest of the clip.
            hertz: Edges of the bands; None for `HERTZ`, up to half the rate.
            seconds: Edges of the pieces; None for one every second, for halves where there would be one without a rest.

        Raises:
            ChannelError: There are several channels.
            QualityError: The sound is shorter than one window of the spectrum.
            RecipeError: A patch holds no bin, or `usual` is of another rate.
        """
        if np.ndim(x) != 2 or len(x) != 1:
            raise ChannelError(f"an occlusion needs one channel of shape (1, T); got {np.shape(x)}")
        wave = np.asarray(x, dtype=np.float64)[0]
        if len(wave) < SHORTEST * rate:
            raise QualityError(f"an occlusion needs {SHORTEST:g} s of sound; got {len(wave) / rate:.3f} s")
        if hertz is None:
            hertz = np.array([*(edge for edge in HERTZ if edge < rate / 2), rate / 2])
        if seconds is None:
            whole = np.arange(0, max(len(wave) / rate - PIECE / 2, PIECE / 2), PIECE)  # no crumb at the end
            whole = np.array([0, len(wave) / rate / 2]) if len(whole) == 1 and usual is None else whole
            seconds = np.append(whole, len(wave) / rate)
        return Patches(wave, rate, np.asarray(hertz, float), np.asarray(seconds, float), usual)

    @property
    def words(self) -> str:
        """What an occluded patch is replaced by, for the report."""
        return "the rest of the clip" if self.usual is None else "what is usual in normal recordings"

    @cached_property
    def bands(self) -> np.ndarray:
        """Which band each bin of the spectrum lies in, −1 for none, `(bins,)`."""
        return _cell(_transform(self.rate).f, self.hertz)

    @cached_property
    def pieces(self) -> np.ndarray:
        """Which piece the middle of each frame lies in, −1 for none, `(frames,)`."""
        middle = _transform(self.rate).t(len(self.wave))
        return _cell(np.clip(middle, 0, len(self.wave) / self.rate), self.seconds)

    @cached_property
    def whole(self) -> np.ndarray:
        """Which frames hold a full window of sound, and can say what is usual, `(frames,)`."""
        return _whole(self.rate, len(self.wave))

    @cached_property
    def spectrum(self) -> np.ndarray:
        """Short-time spectrum, complex `(bins, frames)`."""
        return _transform(self.rate).stft(self.wave)

    def occluded(self, band: int, piece: int) -> np.ndarray:
        """The sound with one patch made usual, float32 `(1, T)`; away from the patch's frames it is unchanged."""
        rows, columns = self.bands == band, self.pieces == piece
        patch = self.spectrum[np.ix_(rows, columns)]
        rest = np.abs(self.spectrum[np.ix_(rows, self.whole & ~columns)]) if self.usual is None else self.usual[rows]
        change = np.zeros_like(self.spectrum)
        change[np.ix_(rows, columns)] = _as_usual(patch, rest) - patch
        wave = self.wave + _transform(self.rate).istft(change, k1=len(self.wave))
        return wave.astype(np.float32)[None]


def usual_levels(normals: np.ndarray, rate: float) -> np.ndarray:
    """Usual magnitudes at every bin of the spectrum: quantiles over time, and of those the median over recordings.

    Args:
        normals: Prepared windows of the machine without a fault, `(N, 1, T)`.
        rate: Hz.

    Returns:
        Rising levels, `(bins, 100)`.

    Raises:
        QualityError: There is no recording, or they are shorter than one window of the spectrum.
    """
    if not len(normals) or normals.shape[-1] < SHORTEST * rate:
        raise QualityError(f"usual levels need a normal recording of {SHORTEST:g} s or more; got shape {normals.shape}")
    share, whole = (np.arange(LEVELS) + 0.5) / LEVELS, _whole(rate, normals.shape[-1])
    spectra = (np.abs(_transform(rate).stft(np.asarray(x[0], np.float64))) for x in normals)
    each = [np.quantile(magnitude[:, whole], share, axis=1, method="hazen").T for magnitude in spectra]
    return np.median(each, axis=0)


def _transform(rate: float) -> ShortTimeFFT:
    return ShortTimeFFT(hann(round(WINDOW * rate), sym=False), round(HOP * rate), fs=rate)


def _whole(rate: float, samples: int) -> np.ndarray:
    """Which frames do not reach over an end of the sound, `(frames,)`."""
    middle, half = _transform(rate).t(samples) * rate, round(WINDOW * rate) / 2
    return (middle >= half) & (middle <= samples - half)


def _cell(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Number of the cell low ≤ value < high, the last closed at both ends; −1 outside."""
    place = np.searchsorted(edges, values, side="right") - 1
    place[values == edges[-1]] = len(edges) - 2
    return np.where(place < len(edges) - 1, place, -1)


def _as_usual(patch: np.ndarray, usual: np.ndarray) -> np.ndarray:
    """The phases of a patch with usual magnitudes in the order of its own, complex `(bins, M)`."""
    rank = np.abs(patch).argsort(axis=1).argsort(axis=1)
    share = (np.arange(patch.shape[1]) + 0.5) / patch.shape[1]
    levels = np.quantile(usual, share, axis=1, method="hazen").T
    return np.take_along_axis(levels, rank, axis=1) * np.exp(1j * np.angle(patch))
