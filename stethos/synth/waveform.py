"""What sounds of machines are made of: tones locked to a shaft, passages, ringing, shaped noise, swelling.

All of them are float32 and vectorised. Angles are counted in turns, so that a fluctuating speed bends all tones
of a shaft together.
"""

from __future__ import annotations

import numpy as np
from scipy.fft import irfft
from scipy.signal import lfilter

TABLE = 1 << 14  # points of a period: the 200th harmonic is right within 0.1 %


def periodic(turns: np.ndarray, harmonics: np.ndarray) -> np.ndarray:
    """A function of the angle alone, Σ_k |c_k| cos(2π k turns + arg c_k), `(T,)`.

    Args:
        turns: Angle in periods, `(T,)`.
        harmonics: c_1, c_2, … complex, `(K,)`.
    """
    spectrum = np.zeros(TABLE // 2 + 1, np.complex64)
    spectrum[1 : len(harmonics) + 1] = harmonics
    period = irfft(spectrum, TABLE) * np.float32(TABLE / 2)
    period = np.append(period, period[:2])  # single precision may round an angle up to a whole turn
    place = within_turn(turns) * np.float32(TABLE)
    whole = np.floor(place)
    left = whole.astype(np.intp)
    near = period[left]
    return near + (place - whole) * (period[left + 1] - near)


def within_turn(turns: np.ndarray) -> np.ndarray:
    """The fraction of the turn, 0 to 1, as float32, `(T,)`."""
    return (turns - np.floor(turns)).astype(np.float32)


def cosine(turns: np.ndarray) -> np.ndarray:
    """cos(2π turns) as float32, `(T,)`; turns of any size."""
    return np.cos(np.float32(2 * np.pi) * within_turn(turns))


def passages(turns: np.ndarray, order: float, slip: float, generator: np.random.Generator) -> np.ndarray:
    """When something passes `order` times a turn, in samples, `(N,)`; each interval is off by a little.

    Args:
        turns: Angle of the shaft, rising, `(T,)`.
        order: Passages a turn.
        slip: Standard deviation of an interval as a fraction of it.
        generator: Of the start and the intervals.
    """
    count = int((turns[-1] - turns[0]) * order * (1 + 3 * slip)) + 2
    intervals = 1 + slip * generator.standard_normal(count)
    angle = turns[0] + (np.cumsum(intervals) - generator.random() * intervals[0]) / order
    return np.interp(angle[angle < turns[-1]], turns, np.arange(len(turns)))


def struck(place: np.ndarray, size: np.ndarray, count: int) -> np.ndarray:
    """Impulses at fractional samples, each shared by its two neighbours, `(count,)`."""
    left = np.floor(place).astype(np.int64)
    weight = place - left
    inside = (left >= 0) & (left < count - 1)
    left, weight, size = left[inside], weight[inside], size[inside]
    train = np.bincount(left, size * (1 - weight), count) + np.bincount(left + 1, size * weight, count)
    return train.astype(np.float32)


def ringing(train: np.ndarray, frequency: float, decay: float, rate: float) -> np.ndarray:
    """A train of impulses that each start exp(−t / decay) sin(2π frequency t), `(T,)`.

    Args:
        train: Impulses, `(T,)`.
        frequency: Hz, below half the rate.
        decay: Time constant in seconds.
        rate: Hz.
    """
    radius, angle = np.exp(-1 / (decay * rate)), 2 * np.pi * frequency / rate
    forward = np.array([0.0, radius * np.sin(angle)], np.float32)
    back = np.array([1.0, -2 * radius * np.cos(angle), radius**2], np.float32)
    return lfilter(forward, back, train)


def noise(gain: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """Gaussian noise of unit power, coloured, `(count,)`; it repeats after `count` samples.

    Args:
        gain: Amplitude at the frequencies of a real transform of `count` samples, `(count // 2 + 1,)`.
        count: Samples.
        generator: Of the noise.
    """
    parts = generator.standard_normal((len(gain), 2), np.float32)
    spectrum = parts.view(np.complex64)[:, 0] * gain.astype(np.float32, copy=False)
    # 2 power 2 a bin: from n bins an inverse transform over 2 n samples makes power 1 / n
    scale = np.sqrt(count / 2 / np.mean(np.square(gain, dtype=np.float64)))
    return irfft(spectrum, count) * np.float32(scale)


def swelling(count: int, interval: int, size: float, generator: np.random.Generator) -> np.ndarray:
    """A slow course about zero: normal numbers of standard deviation `size` with lines between, `(count,)`.

    Args:
        count: Samples.
        interval: Samples from one number to the next.
        size: Standard deviation of the numbers.
        generator: Of the numbers.
    """
    levels = (size * generator.standard_normal(count // interval + 2)).astype(np.float32)
    between = np.arange(interval, dtype=np.float32) / np.float32(interval)
    return (levels[:-1, None] + between * np.diff(levels)[:, None]).ravel()[:count]


def tilted(frequency: np.ndarray, corner: float, slope: float) -> np.ndarray:
    """Amplitude that is 1 up to a corner (Hz) and changes by `slope` dB per octave above, of the shape of frequency."""
    return (np.maximum(frequency, corner) / corner) ** (slope / 20 / np.log10(2))


def root_mean_square(values: np.ndarray) -> float:
    """The square root of the mean square."""
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))
