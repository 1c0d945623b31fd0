"""What breathing does to a pulse: the height of its beats, its baseline and its intervals go up and down with it.

Each of the three is a number per beat: the height from onset to peak, the mean over a beat, and the time from beat to
beat, all relative to the median height or interval, so that gain leaves no trace. They become evenly sampled series at
4 Hz, and these a power spectral density between 0.05 and 0.7 Hz.

The features are those of the classical opponent of every model of breathing rate: log power spectral density from 0.05
to 0.7 Hz of the three, their peaks and centroids, and `HistGradientBoostingRegressor(max_iter=200,
loss="absolute_error")` on them.
"""

import numpy as np
from scipy.ndimage import median_filter

from stethos.signal.pulse import Traced, smoothed, traced
from stethos.types import Signal

SERIES = ("amplitude", "baseline", "interval")
RATE = 4.0  # Hz of the series
BAND = (0.05, 0.7)  # Hz: 3 to 42 breaths a minute
SEGMENT = 128  # samples of a series, 32 s: about eight breaths
FINE = 512  # length of the transform; peaks are looked for on its grid of 1/128 Hz
LEAST_BEATS = 8
LEAST_SECONDS = 8.0
OUTLIER = 3.0  # median absolute deviations of all beats, from the median of five; a sine reaches 1.4
LONGEST = 2.0  # usual intervals: a longer one is a gap, or a beat not found
WIDTH = 0.05  # Hz to either side of a peak that count as its own
LEAST_SHARE = 1e-6  # of a spectrum, at any one frequency: where one says nothing, the others may
FLOOR = 1e-9  # 1/Hz, below what float32 can hold of a modulation
HERTZ = np.arange(2, 23) / 32  # of the features: every fourth of the fine grid

BREATH_FEATURES = (
    *(f"breath_{name}_{hertz:.3f}" for name in SERIES for hertz in HERTZ),
    *(f"breath_{name}_{what}" for name in SERIES for what in ("peak", "centroid")),
    "breath_rate",
    "breath_quality",
)


def breath_series(pulse: Signal) -> np.ndarray:
    """Height, baseline and interval of the beats at 4 Hz, relative to the median height and interval, `(3, T)`.

    Args:
        pulse: One channel in any unit and of either polarity, 25 to 1000 Hz.

    Returns:
        From the first to the last beat; no samples where there are fewer than 8 beats in 8 s.

    Raises:
        ChannelError: The signal has several channels.
        RateError: Its rate is not between 25 and 1000 Hz.
    """
    return series_of(traced(pulse))


def breath_features(pulse: Signal) -> dict[str, float]:
    """Spectra of the three series, by the names of `BREATH_FEATURES`, NaN where there are too few beats.

    `breath_amplitude_0.250` is log10 of the power spectral density in 1/Hz at 0.25 Hz; peaks and centroids are in Hz,
    `breath_rate` is per minute and `breath_quality` from 0 to 1, as of `fused_breath_rate`.

    Args:
        pulse: One channel in any unit and of either polarity, 25 to 1000 Hz.

    Raises:
        ChannelError: The signal has several channels.
        RateError: Its rate is not between 25 and 1000 Hz.
    """
    return breath_features_of(traced(pulse))


def fused_breath_rate(pulse: Signal) -> tuple[float, float]:
    """Breaths per minute where the three spectra together are highest, and a quality.

    Each spectrum is multiplied by the square of frequency, which makes that of a random walk flat (the baseline is
    not far from one), and divided by its sum; fused is their geometric mean, for a breath shows in all three and an
    artefact seldom does. Above half the heart rate beats cannot tell one breath from another.

    On 766 stretches of 32 s of MARSH the mean error is 1.9 per minute and the median 0.5. Square and geometric mean
    were chosen there among six ways; with the first power and the arithmetic mean it is 4.8 and 0.8. On record 01 of
    BIDMC, by which nothing was chosen, the mean error is 0.6.

    Args:
        pulse: One channel in any unit and of either polarity, 25 to 1000 Hz.

    Returns:
        Breaths per minute, and the share of the fused spectrum within 0.05 Hz of its peak, from 0 to 1; both NaN where
        there are too few beats.

    Raises:
        ChannelError: The signal has several channels.
        RateError: Its rate is not between 25 and 1000 Hz.
    """
    features = breath_features(pulse)
    return features["breath_rate"], features["breath_quality"]


def breath_features_of(found: Traced) -> dict[str, float]:
    """As `breath_features`, of a pulse whose beats are known already.

    Args:
        found: From `traced`.
    """
    series = series_of(found)
    if series.shape[1] == 0:
        return dict.fromkeys(BREATH_FEATURES, float("nan"))
    hertz, density = _spectra(series)
    inside = (hertz >= BAND[0]) & (hertz <= BAND[1])
    hertz, density = hertz[inside], density[:, inside]
    chosen = np.searchsorted(hertz, HERTZ)
    logs = np.log10(np.maximum(density[:, chosen], FLOOR))
    total = np.maximum(density.sum(axis=1), np.finfo(float).tiny)
    places = np.stack([_peaks(hertz, density), density @ hertz / total], axis=1)
    beat = found.rate / float(np.median(np.diff(found.beats.steepest)))
    values = [*logs.ravel(), *places.ravel(), *_fused(hertz, density / total[:, None], beat)]
    return dict(zip(BREATH_FEATURES, map(float, values), strict=True))


def series_of(found: Traced) -> np.ndarray:
    """As `breath_series`, of a pulse whose beats are known already.

    Args:
        found: From `traced`.
    """
    beats = found.beats
    if len(beats) < LEAST_BEATS or np.ptp(beats.steepest) < LEAST_SECONDS * found.rate:
        return np.empty((3, 0))
    at = beats.steepest
    apart = np.diff(at)
    usual = np.median(apart)
    known = apart < LONGEST * usual
    trace = smoothed(found.trace, found.rate)
    samples = np.arange(len(trace))
    height = np.interp(beats.peak, samples, trace) - np.interp(beats.onset, samples, trace)
    unit = max(float(np.median(height)), np.finfo(float).tiny)
    below = np.concatenate([[0.0], np.cumsum(trace)])
    level = np.diff(np.interp(at, np.arange(len(below)), below)) / apart
    middle = (at[1:] + at[:-1]) / 2
    grid = np.arange(at[0], at[-1], found.rate / RATE)
    return np.stack(
        [
            np.interp(grid, at, _without_outliers(height / unit)),
            np.interp(grid, middle[known], _without_outliers(level[known] / unit)),
            np.interp(grid, middle[known], _without_outliers(apart[known] / usual)),
        ]
    )


def _without_outliers(values: np.ndarray) -> np.ndarray:
    """Values far from the median of the five around them, moved to where they are no longer far."""
    usual = median_filter(values, 5, mode="nearest")
    most = OUTLIER * float(np.median(np.abs(values - np.median(values))))
    return usual + np.clip(values - usual, -most, most)


def _spectra(series: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Power spectral density over Hann-windowed segments of 32 s without their straight line, `(F,)` and `(3, F)`."""
    size = min(SEGMENT, series.shape[1])
    starts = np.arange(0, series.shape[1] - size + 1, SEGMENT // 2)
    parts = series[:, starts[:, None] + np.arange(size)]  # (3, segments, size)
    line = np.linspace(-1, 1, size)
    parts = parts - parts.mean(axis=2, keepdims=True)
    parts = parts - (parts @ line / (line @ line))[..., None] * line
    bell = np.hanning(size + 2)[1:-1]
    power = np.abs(np.fft.rfft(parts * bell, FINE, axis=2)) ** 2
    return np.fft.rfftfreq(FINE, 1 / RATE), power.mean(axis=1) * 2 / (RATE * (bell @ bell))


def _peaks(hertz: np.ndarray, density: np.ndarray) -> np.ndarray:
    """Frequency of the highest point of each row, between the points of the grid, `(rows,)`."""
    top = np.clip(density.argmax(axis=1), 1, len(hertz) - 2)
    rows = np.arange(len(density))
    left, here, right = (density[rows, top + step] for step in (-1, 0, 1))
    bend = left - 2 * here + right
    off = np.clip(0.5 * (left - right) / np.where(bend < 0, bend, -np.inf), -0.5, 0.5)
    return hertz[top] + off * (hertz[1] - hertz[0])


def _fused(hertz: np.ndarray, share: np.ndarray, beat: float) -> tuple[float, float]:
    """Breaths per minute and quality of spectra that sum to 1, `(3, F)`, at a heart rate in Hz."""
    level = share * hertz**2 * (hertz <= beat / 2)
    level = level / np.maximum(level.sum(axis=1, keepdims=True), np.finfo(float).tiny)
    together = np.exp(np.log(level + LEAST_SHARE).mean(axis=0)) * (hertz <= beat / 2)
    peak = float(_peaks(hertz, together[None])[0])
    return 60 * peak, float(together[np.abs(hertz - peak) <= WIDTH].sum() / together.sum())
