"""One prepared window of which any coalition of waves can be shown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stethos.errors import ChannelError
from stethos.explain.baseline import Baseline
from stethos.explain.segments import Segments, segments
from stethos.explain.timing import even_positions, retimed
from stethos.signal.prepare import Preparation
from stethos.types import Signal

TIMING = "timing"


@dataclass(frozen=True, eq=False)
class Scene:
    """A window, its parts, and what stands in for each of them.

    Args:
        prepared: What the model sees, float32 `(T,)`.
        baseline: What it would see without any wave, float64 `(T,)`.
        segments: The parts.
        positions: Where each sample of the evenly timed window comes from, `(T,)`; None where timing does not play.
    """

    prepared: np.ndarray
    baseline: np.ndarray
    segments: Segments
    positions: np.ndarray | None

    @staticmethod
    def of(lead: Signal, preparation: Preparation, baseline: Baseline, timing: bool) -> Scene:
        """Prepare a lead, find its parts, and lay the baseline under it.

        Raises:
            QualityError: Fewer than two beats are found, or the lead is too short.
            ChannelError: It has several channels.
            RateError: Its rate does not suit the preparation.
        """
        if len(lead.channels) != 1:
            raise ChannelError(
                f"an explanation by waves needs one lead; got {', '.join(lead.channels)}; pick one, such as "
                f"signal.pick('I')"
            )
        parts = segments(lead, preparation)
        prepared = preparation.apply(lead)[0]
        return Scene(prepared, baseline(prepared, parts), parts, even_positions(parts) if timing else None)

    @property
    def names(self) -> tuple[str, ...]:
        """One a player: the parts, and timing where it plays."""
        return self.segments.names if self.positions is None else (*self.segments.names, TIMING)

    @property
    def bounds(self) -> np.ndarray:
        """Median start and stop of each player in seconds from R, NaN where it has no samples, `(n, 2)`."""
        of_timing = np.full((len(self.names) - len(self.segments.names), 2), np.nan)
        return np.concatenate([self.segments.bounds, of_timing])

    @property
    def active(self) -> np.ndarray:
        """Numbers of the players that can change anything; all others contribute exactly 0."""
        uneven = self.positions is not None and not np.array_equal(self.positions, np.arange(len(self.positions)))
        timing = [len(self.segments.names)] if uneven else []
        return np.append(np.flatnonzero(self.segments.present), timing).astype(np.int64)

    def masked(self, present: np.ndarray) -> np.ndarray:
        """x_S = b + m_S (x − b), at even times where timing is absent.

        Args:
            present: Which of the `active` players are there, Boolean `(M, active)`.

        Returns:
            float32 `(M, 1, T)`.
        """
        waves = self.active[self.active < len(self.segments.names)]
        share = present[:, : len(waves)].astype(np.float64) @ self.segments.windows[waves]  # (M, T)
        shown = (self.baseline + share * (self.prepared - self.baseline)).astype(np.float32)
        if self.positions is not None and present.shape[1] > len(waves):
            even = ~present[:, -1]
            shown[even] = retimed(shown[even], self.positions)
        return shown[:, None]

    def curve(self, values: np.ndarray) -> np.ndarray:
        """Contributions spread over samples, in proportion to how far each part moves each sample from the baseline.

            c(t) = Σ_p φ_p d_p(t) / Σ_t d_p(t)        d_p = m_p |x − b|

        Timing has no samples of its own and is left out.

        Args:
            values: φ of each player, `(n, K)`.

        Returns:
            Logits a sample, `(T, K)`; sums to the contributions of all waves.
        """
        moved = self.segments.windows * np.abs(self.prepared - self.baseline)  # (parts, T)
        flat = ~moved.any(axis=1, keepdims=True)
        moved = np.where(flat, self.segments.windows, moved)
        total = moved.sum(axis=1, keepdims=True)
        spread = np.divide(moved, total, out=np.zeros_like(moved), where=total > 0)
        return spread.T @ values[: len(self.segments.names)]
