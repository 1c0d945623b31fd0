"""A recording of a machine, cut into the windows that a network hears."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from stethos.errors import QualityError
from stethos.signal.resample import resample
from stethos.types import Signal

RATE = 16_000.0  # Hz, of every published system
LEVEL_DBFS = -30.0  # where "rms" puts each window
SILENCE = 1e-5  # of full scale, largest deviation from the mean; one step of 16 bit is 3.1e-5
FULL_SCALE = 0.999
CLIPPED = 0.2  # share of samples at full scale above which a clip says more of the microphone than of the machine
REST = 0.1  # of a window: what is left over at the end of a long recording and is shorter than this is not heard


@dataclass(frozen=True)
class ClipWindows:
    """Cuts one channel into windows at 16 kHz.

    A shorter recording is repeated to the length of a window. A longer one gives windows end to end; where more
    than a tenth of a window is left over, one more that ends with the recording.

    Args:
        seconds: Length of a window.
        channel: Name of the channel, "1" for the first.
        level: "as-is", or "rms" to bring every window to −30 dB below full scale, for recordings whose level
            means nothing.
    """

    seconds: float
    channel: str = "1"
    level: Literal["as-is", "rms"] = "as-is"

    @property
    def samples(self) -> int:
        """Length of a window in samples."""
        return round(self.seconds * RATE)

    @property
    def name(self) -> str:
        """Of the preparation, with its version."""
        return f"sound-{self.level}-v1"

    def apply(self, signal: Signal) -> np.ndarray:
        """Any number of channels to windows `(W, 1, T)`, float32.

        Raises:
            ChannelError: The channel is missing.
            QualityError: There is no sound in it, or more than a fifth of it is clipped.
            RateError: Its rate does not lead to 16 kHz.
        """
        chosen = signal.pick(self.channel)
        refuse_unusable(chosen)
        return self.cut(np.nan_to_num(resample(chosen, RATE).values[0]))

    def cut(self, values: np.ndarray) -> np.ndarray:
        """Samples at 16 kHz `(T,)` to windows `(W, 1, T)`, float32, whatever they hold, silence too."""
        windows = np.stack([np.resize(values[start:], self.samples) for start in self._starts(len(values))])
        return self.levelled(windows)[:, None].astype(np.float32)

    def levelled(self, windows: np.ndarray) -> np.ndarray:
        """Windows `(W, T)` at the level that is asked for; silence stays silent."""
        if self.level == "as-is":
            return windows
        power = np.sqrt(np.mean(windows**2, axis=1, keepdims=True))
        return windows * (10 ** (LEVEL_DBFS / 20) / np.maximum(power, SILENCE))

    def _starts(self, count: int) -> list[int]:
        """First sample of every window of a recording of `count` samples."""
        whole = count // self.samples
        starts = [number * self.samples for number in range(max(whole, 1))]
        rest = count - whole * self.samples
        return [*starts, count - self.samples] if whole and rest > REST * self.samples else starts


def refuse_unusable(sound: Signal) -> None:
    """Raise where a microphone, not a machine, made the recording.

    Args:
        sound: One channel in full-scale units.

    Raises:
        QualityError: It is empty, silent, or clipped.
    """
    values = sound.values[0][np.isfinite(sound.values[0])]
    if not len(values):
        raise QualityError("a clip needs samples; it has none that are numbers")
    if np.ptp(values) < 2 * SILENCE:
        raise QualityError("a clip needs sound, and all its samples are the same; look at the microphone")
    clipped = float(np.mean(np.abs(values) >= FULL_SCALE))
    if clipped > CLIPPED:
        raise QualityError(f"{clipped:.0%} of the samples are at full scale (clipped); lower the gain and record again")
