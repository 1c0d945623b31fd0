"""Named preparations: from one window of a recording to the array a network sees.

A preparation is part of a model. Its name is stored with the weights, and a change of a single number in one
needs a new name.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

import numpy as np
from scipy.ndimage import median_filter
from scipy.signal import butter, iirnotch, sosfiltfilt, tf2sos

from stethos.errors import QualityError
from stethos.signal.filter import highpass, lowpass
from stethos.signal.gaps import bridge
from stethos.signal.quality import LACKING, Window, windows
from stethos.signal.resample import resample
from stethos.types import Signal


@dataclass(frozen=True)
class Preparation:
    """A named, versioned way from a window to a network's input.

    Args:
        name: With its version, such as "lead-v1".
        rate: Sampling rate of the result, Hz.
        seconds: Length of the window.
        apply: Signal of at least `seconds` (less 1 %) → float32 `(C, samples)`; what is longer is cut.
    """

    name: str
    rate: float
    seconds: float
    apply: Callable[[Signal], np.ndarray]

    @property
    def samples(self) -> int:
        """Length of the result."""
        return round(self.rate * self.seconds)


def ecgfounder_v1(signal: Signal, edge: Literal["constant", "reflect"] = "constant") -> np.ndarray:
    """10 s at 500 Hz as the ECGFounder weights expect them.

    In the published order: missing is 0; notch at 50 Hz; band-pass 0.67 to 40 Hz; minus a running median of
    201 samples; then z = (x − mean) / (standard deviation + 1e-8) over all channels and samples together. The
    median removes much of the ST level and of broad T waves: right for those weights, wrong for potassium from
    scratch. Two departures: other rates come to 500 Hz through a band-limited filter, where the published code
    stretches by straight lines; and filters are cascades of second order, where one fraction of order 8 is a few
    millionths of the standard deviation off by its rounding.

    Args:
        signal: ECG at any rate and in any unit, `(C, T)`.
        edge: What the median sees beyond the ends: "constant" for zeros, as published, which bends the first
            and last 0.2 s; "reflect" for the mirrored signal.

    Returns:
        float32 `(C, 5000)`.

    Raises:
        QualityError: The signal lasts under 9.9 s.
        RateError: Its rate does not lead to 500 Hz.

    Reference:
        Li et al. 2025, doi:10.1056/AIoa2401033.
    """
    values = np.nan_to_num(_fit(resample(_crop(signal, 10.0), 500.0), 5000))  # (C, 5000)
    # sections, for one fraction of order 8 loses 5 digits; the ends are continued as `filtfilt` does for fractions
    values = sosfiltfilt(tf2sos(*iirnotch(50, 30, fs=500)), values, axis=1, padlen=9)
    values = sosfiltfilt(butter(4, (0.67, 40), "bandpass", fs=500, output="sos"), values, axis=1, padlen=27)
    values = values - np.stack([median_filter(row, size=201, mode=edge) for row in values])
    return ((values - values.mean()) / (values.std() + 1e-8)).astype(np.float32)


def lead_v1(signal: Signal) -> np.ndarray:
    """10 s at 125 Hz that keep the ST level and the shape of T.

    High-pass 0.5 Hz and low-pass 40 Hz, both zero-phase; each channel around its median; missing is 0; divided
    by the 99th percentile of |x| over all channels, which is about the height of R; cut to ±5.

    Args:
        signal: ECG at a rate above 80 Hz, in any unit, `(C, T)`.

    Returns:
        float32 `(C, 1250)`; all 0 where nothing moves.

    Raises:
        QualityError: The signal lasts under 9.9 s.
        RateError: Its rate is 80 Hz or less.
    """
    window = _crop(signal, 10.0)
    filtered = lowpass(highpass(window, 0.5, order=2), 40.0)
    values = _fit(resample(filtered, 125.0), 1250)  # (C, 1250)
    known = np.isfinite(values)
    values = np.where(known, values - np.median(bridge(values)[0], axis=1, keepdims=True), 0.0)
    scale = np.percentile(np.abs(values), 99)
    # a constant leaves rounding errors behind, which must not be blown up
    if scale <= 1e-6 * np.abs(np.nan_to_num(window.values)).max():
        return np.zeros(values.shape, np.float32)
    return np.clip(values / scale, -5, 5).astype(np.float32)


PREPARATIONS: Mapping[str, Preparation] = MappingProxyType(
    {
        "ecgfounder-v1": Preparation("ecgfounder-v1", 500.0, 10.0, ecgfounder_v1),
        "lead-v1": Preparation("lead-v1", 125.0, 10.0, lead_v1),
    }
)


def prepare_windows(
    lead: Signal, preparation: Preparation, correct_polarity: bool = False
) -> tuple[np.ndarray, list[Window]]:
    """Prepare the windows of one lead that can be judged.

    Args:
        lead: One channel of ECG of any length.
        preparation: One of `PREPARATIONS`.
        correct_polarity: Turn over a recording that seems upside down.

    Returns:
        Prepared windows that are ok, `(W, C, T)`, none if none is; and all windows with their reasons.

    Raises:
        ChannelError: The signal has several channels.
        RateError: Its rate does not lead to that of the preparation.
    """
    judged = windows(lead, preparation.seconds)
    prepared = []
    for window in judged:
        if window.ok:
            part = lead.crop(window.start, window.stop)
            upright = replace(part, values=-part.values) if correct_polarity and window.inverted else part
            prepared.append(preparation.apply(upright))
    empty = np.empty((0, len(lead.channels), preparation.samples), np.float32)
    return (np.stack(prepared) if prepared else empty), judged


def _crop(signal: Signal, seconds: float) -> Signal:
    """The first seconds of what lasts long enough."""
    if signal.duration < (1 - LACKING) * seconds:
        raise QualityError(
            f"this preparation needs {seconds:g} s; the signal lasts {signal.duration:.2f} s; record for longer"
        )
    return signal.crop(0, seconds)


def _fit(signal: Signal, samples: int) -> np.ndarray:
    """Cut to a number of samples, or hold the last one, float64 `(C, samples)`."""
    values = signal.values[:, :samples].astype(np.float64)
    return np.pad(values, ((0, 0), (0, samples - values.shape[1])), mode="edge")
