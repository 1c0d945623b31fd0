"""R peaks, heart rate and polarity of one ECG lead.

A QRS complex is the steepest thing in an ECG. The lead is passed between 5 and 20 Hz, its slope rectified and
smoothed over one QRS width, and the local maxima of that envelope are compared with the level that beats reach
nearby. Nothing depends on the sign of the lead: handheld strips are often upside down.
"""

from dataclasses import replace
from itertools import pairwise

import numpy as np
from scipy.ndimage import uniform_filter1d
from scipy.signal import find_peaks, sosfiltfilt

from stethos.errors import ChannelError, RateError
from stethos.signal.filter import butterworth, highpass
from stethos.signal.gaps import bridge
from stethos.types import Signal

QRS_BAND = (5.0, 20.0)  # Hz: most of a QRS, little of a T wave
QRS_SECONDS = 0.1
LOWEST_RATE = 50.0  # Hz
REFRACTORY_SECONDS = 0.2  # no two QRS complexes are closer
T_WAVE_SECONDS = 0.36  # Pan and Tompkins: so long after a beat, a lower slope is its T wave
T_WAVE_HEIGHT = 0.6  # of the envelope at the beat before
SHARP_BAND = (20.0, 45.0)  # Hz: even a tall T wave of hyperkalaemia has next to nothing here
T_WAVE_SHARPNESS = 0.5  # of that band's envelope at the beat before
LEVEL_SECONDS = 2.0  # a span in which even a slow heart beats once
THRESHOLD = 0.35  # of the level that beats reach nearby
SEARCH_BACK = 0.15  # of that level, where a beat is overdue
OVERDUE = 1.6  # median RR intervals
# Level over median of the envelope: 10 s of white noise reach 1.7 to 2.6, handheld strips that a reader could
# read hardly ever stay under 2.5.
CONTRAST = 2.4
LOWEST = 2.0  # of that median, for one beat


def r_peaks(lead: Signal) -> np.ndarray:
    """Samples at which QRS complexes have their largest deflection, up or down.

    Args:
        lead: One channel of ECG, in any unit, of either polarity, above 50 Hz.

    Returns:
        Sample numbers in rising order, int64, `(beats,)`; empty where no beat stands out.

    Raises:
        ChannelError: The signal has several channels.
        RateError: Its rate is 50 Hz or less.
    """
    trace = _one_channel(lead)
    if lead.duration < 1:
        return np.empty(0, np.int64)
    envelope = _envelope(trace, lead.rate, QRS_BAND)
    level = _level(envelope, lead.rate)
    noise = np.median(envelope)
    if np.median(level) <= CONTRAST * noise + 1e-9 * np.abs(trace).max():
        return np.empty(0, np.int64)
    apart = max(1, round(REFRACTORY_SECONDS * lead.rate))
    candidates, _ = find_peaks(envelope, distance=apart, height=LOWEST * noise)
    height = envelope[candidates] / level[candidates]
    sharp = _envelope(trace, lead.rate, (SHARP_BAND[0], min(SHARP_BAND[1], 0.45 * lead.rate)))[candidates]
    beats = candidates[_search_back(candidates, height, _accept(candidates, height, sharp, lead.rate))]
    return _refine(trace, beats, lead.rate) if len(beats) else np.empty(0, np.int64)


def contrast(lead: Signal) -> float:
    """How far beats stand out: the level that they reach over the median, in slope between 5 and 20 Hz.

    About 2 in noise, 4 to 25 in an ECG; 0 where nothing was recorded.

    Args:
        lead: One channel of ECG, in any unit, above 50 Hz.

    Raises:
        ChannelError: The signal has several channels.
        RateError: Its rate is 50 Hz or less.
    """
    envelope = _envelope(_one_channel(lead), lead.rate, QRS_BAND)
    middle = np.median(envelope)
    return float(np.median(_level(envelope, lead.rate)) / middle) if middle > 0 else 0.0


def heart_rate(peaks: np.ndarray, rate: float) -> float:
    """Beats per minute, 60 / median RR; NaN under two beats.

    Args:
        peaks: Sample numbers of R peaks, `(beats,)`.
        rate: Sampling rate, Hz.
    """
    return float(60 * rate / np.median(np.diff(peaks))) if len(peaks) >= 2 else float("nan")


def inverted(lead: Signal, peaks: np.ndarray) -> bool:
    """Whether the lead seems upside down: QRS points down, and P and T together do as well.

    A deep S wave alone, as in a heart that points to the right, leaves P and T upright. P counts twice: it is
    small, and seldom turns over alone as T does.

    Args:
        lead: One channel of ECG whose normal QRS points up, such as lead I.
        peaks: Sample numbers of R peaks, `(beats,)`.

    Returns:
        False where it cannot be told, as with under two beats.

    Raises:
        ChannelError: The signal has several channels.
        RateError: Its rate is 50 Hz or less.
    """
    beat, r = median_beat(lead, peaks)
    if len(beat) == 0:
        return False
    qrs = round(0.06 * lead.rate)
    around = beat[max(0, r - qrs) : r + qrs + 1]
    before = beat[: max(1, r - round(0.07 * lead.rate))]
    p = _largest(before - np.median(before))
    t = _largest(beat[r + round(0.12 * lead.rate) :])
    return bool(-around.min() > around.max() and 2 * p + t < 0)


def median_beat(lead: Signal, peaks: np.ndarray) -> tuple[np.ndarray, int]:
    """Median over beats, from up to 0.28 s before R to up to 0.45 s after, around its own median.

    Args:
        lead: One channel of ECG.
        peaks: Sample numbers of R peaks, `(beats,)`.

    Returns:
        The beat, empty under two beats, and which of its samples is R.

    Raises:
        ChannelError: The signal has several channels.
        RateError: Its rate is 50 Hz or less.
    """
    beats, r = cut_beats(lead, peaks)
    if beats.size == 0:
        return np.empty(0), r
    # median, not mean: one ectopic beat or artefact does not move it
    beat = np.median(beats, axis=0)
    return beat - np.median(beat), r


def cut_beats(lead: Signal, peaks: np.ndarray) -> tuple[np.ndarray, int]:
    """Every beat that lies wholly in the lead, without baseline wander.

    Args:
        lead: One channel of ECG.
        peaks: Sample numbers of R peaks, `(beats,)`.

    Returns:
        Beats `(beats, T)`, none under two peaks, and which sample of each is R.

    Raises:
        ChannelError: The signal has several channels.
        RateError: Its rate is 50 Hz or less.
    """
    trace = _one_channel(lead)
    if len(peaks) < 2:
        return np.empty((0, 0)), 0
    trace = highpass(replace(lead, values=trace[None]), 0.5, order=2).values[0]
    apart = np.median(np.diff(peaks))
    before = int(min(0.28 * lead.rate, 0.4 * apart))
    after = int(min(0.45 * lead.rate, 0.6 * apart))
    whole = peaks[(peaks >= before) & (peaks + after <= len(trace))]
    return trace[whole[:, None] + np.arange(-before, after)], before


def _one_channel(lead: Signal) -> np.ndarray:
    """The lead without gaps, `(T,)`."""
    if len(lead.channels) != 1:
        raise ChannelError(
            f"beats are found in one lead; got {', '.join(lead.channels)}; pick one, such as signal.pick('I')"
        )
    if lead.rate <= LOWEST_RATE:
        raise RateError(f"beats need a sampling rate above {LOWEST_RATE:g} Hz; the lead has {lead.rate:g} Hz")
    return bridge(lead.values)[0][0]


def _envelope(trace: np.ndarray, rate: float, band: tuple[float, float]) -> np.ndarray:
    """Rectified slope of a band (Hz), smoothed twice over a QRS width, `(T,)`."""
    sos = butterworth(2, band, "bandpass", rate)
    slope = np.abs(np.gradient(sosfiltfilt(sos, trace - np.median(trace))))
    width = max(1, round(QRS_SECONDS * rate))
    return uniform_filter1d(uniform_filter1d(slope, width), max(1, width // 2))


def _level(envelope: np.ndarray, rate: float) -> np.ndarray:
    """Height that beats reach around every sample: the median over 5 spans of their highest point, `(T,)`."""
    span = max(1, min(round(LEVEL_SECONDS * rate), len(envelope)))
    count = max(1, len(envelope) // span)
    highest = np.array([part.max() for part in np.array_split(envelope, count)])
    around = [np.median(highest[max(0, i - 2) : i + 3]) for i in range(count)]
    centres = (np.arange(count) + 0.5) * len(envelope) / count
    return np.maximum(np.interp(np.arange(len(envelope)), centres, around), np.finfo(float).tiny)


def _accept(candidates: np.ndarray, height: np.ndarray, sharp: np.ndarray, rate: float) -> np.ndarray:
    """Which candidates are high enough and not the T wave of the one before, Boolean `(candidates,)`.

    A T wave is lower than its QRS in the QRS band or, where it is as tall and narrow as in hyperkalaemia, at least
    blunter.
    """
    accepted = height > THRESHOLD
    last = -1
    for i in np.flatnonzero(accepted):
        soon = last >= 0 and candidates[i] - candidates[last] < T_WAVE_SECONDS * rate
        lower, blunter = height[i] < T_WAVE_HEIGHT * height[last], sharp[i] < T_WAVE_SHARPNESS * sharp[last]
        if soon and (lower or blunter):
            accepted[i] = False
        else:
            last = int(i)
    return accepted


def _search_back(candidates: np.ndarray, height: np.ndarray, accepted: np.ndarray) -> np.ndarray:
    """Add the highest lower candidate inside each gap that is too long for one RR, Boolean `(candidates,)`."""
    beats = np.flatnonzero(accepted)
    if len(beats) < 3:
        return accepted
    found = accepted.copy()
    usual = np.median(np.diff(candidates[beats]))
    for before, after in pairwise(beats):
        if candidates[after] - candidates[before] <= OVERDUE * usual:
            continue
        between = np.arange(before + 1, after)
        clear = (candidates[between] - candidates[before] > 0.5 * usual) & (
            candidates[after] - candidates[between] > 0.4 * usual
        )
        between = between[clear & (height[between] > SEARCH_BACK)]
        if len(between):
            found[between[np.argmax(height[between])]] = True
    return found


def _refine(trace: np.ndarray, beats: np.ndarray, rate: float) -> np.ndarray:
    """Move each beat to its largest deflection from the median around it.

    An R about as tall as its S is deep would be found now here, now there; beats go the way that most go,
    unless the other way reaches twice as far, as in an ectopic beat.
    """
    reach, around = round(0.08 * rate), round(0.3 * rate)
    level = np.median(_near(trace, beats, around), axis=1)
    near = _near(trace, beats, reach) - level[:, None]  # (beats, T)
    up, down = near.max(axis=1), -near.min(axis=1)
    usual = 1.0 if np.median(up) >= np.median(down) else -1.0
    opposite = (down > 2 * up) if usual > 0 else (up > 2 * down)
    sign = np.where(opposite, -usual, usual)
    refined = beats + np.argmax(sign[:, None] * near, axis=1) - reach
    return np.unique(np.clip(refined, 0, len(trace) - 1))


def _near(trace: np.ndarray, beats: np.ndarray, reach: int) -> np.ndarray:
    """Samples from `reach` before to `reach` after each beat, ends held, `(beats, 2 reach + 1)`."""
    return trace[np.clip(beats[:, None] + np.arange(-reach, reach + 1), 0, len(trace) - 1)]


def _largest(values: np.ndarray) -> float:
    """The value farthest from 0, with its sign; 0 of none."""
    return float(values[np.argmax(np.abs(values))]) if len(values) else 0.0
