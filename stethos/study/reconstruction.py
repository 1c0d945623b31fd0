"""The autoencoder that the challenge of 2020 gave as a baseline: what it cannot draw anew is unusual.

Five neighbouring frames of a log-mel spectrogram go through a bottleneck of 8 and back,

    5·bands → 128 → 128 → 128 → 128 → 8 → 128 → 128 → 128 → 128 → 5·bands

with batch norm and ReLU after each layer but the last. It learns from the normal clips of all identities of one
machine type; the score of a clip is the mean squared error over its frames, in dB². The levels of a band are centred
and all divided by one number first, which lets it learn in fewer steps and changes neither the error nor its order.

Reference:
    Koizumi et al. 2020, arXiv:2006.05822; the baseline has 100 epochs, batches of 512 and Adam at 1e-3.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stethos.errors import CohortError, QualityError
from stethos.study.by_class import machines_of, refuse_unknown

FRAMES = 5
WIDTH, BOTTLENECK = 128, 8


@dataclass(frozen=True)
class Autoencoder:
    """The baseline of the module's docstring.

    Args:
        epochs: Passes over all runs of five frames.
        batch: Of them in a step.
        lr: Of Adam.
        seed: Of the weights and of the order.
        device: Of torch.
    """

    epochs: int = 100
    batch: int = 512
    lr: float = 1e-3
    seed: int = 0
    device: str = "cpu"

    def fit(self, mel: Iterable[np.ndarray], clazz: np.ndarray, domain: np.ndarray) -> FittedAutoencoder:
        """Train one network for each machine type; neither section nor domain is looked at.

        Args:
            mel: Log-mel spectrograms of N normal clips, `(bands, frames)` each, dB; all are held in memory.
            clazz: Machine and section, such as "fan/id_00", `(N,)`.
            domain: `(N,)`.

        Raises:
            CohortError: There is no clip, or a level is not finite.
            QualityError: A clip has fewer than five frames.
        """
        held: dict[str, list[Tensor]] = {}
        for item, machine in zip(mel, machines_of(clazz).tolist(), strict=True):
            held.setdefault(machine, []).append(frames_of(item))
        if not held:
            raise CohortError("needs normal training clips; got none")
        broken = sum(not bool(torch.isfinite(clip).all()) for clips in held.values() for clip in clips)
        if broken:
            raise CohortError(
                f"needs finite levels in every normal training clip; {broken} have others: leave them out"
            )
        return FittedAutoencoder({machine: _train(clips, self) for machine, clips in held.items()}, self.device)


@dataclass(frozen=True)
class FittedAutoencoder:
    """Trained networks.

    Args:
        networks: Machine type → network.
        device: Of torch.
    """

    networks: Mapping[str, Redrawn]
    device: str = "cpu"

    def score(self, mel: Iterable[np.ndarray], clazz: np.ndarray) -> np.ndarray:
        """Mean squared error of each clip in dB², `(M,)`; NaN where a level is not finite.

        Args:
            mel: Log-mel spectrograms of M clips, `(bands, frames)` each, dB.
            clazz: Class of each, `(M,)`.

        Raises:
            CohortError: A machine type has no normal clip in training.
            QualityError: A clip has fewer than five frames.
        """
        machines = machines_of(clazz)
        refuse_unknown(machines, self.networks)  # type: ignore[arg-type]
        with torch.inference_mode():
            errors = [
                self.networks[machine].error(frames_of(item).to(self.device))
                for item, machine in zip(mel, machines.tolist(), strict=True)
            ]
        return np.array(errors, np.float64)


class Redrawn(nn.Module):
    """Runs of five frames through a bottleneck and back, `(B, 5·bands)` to `(B, 5·bands)`.

    Args:
        mean: Mean level of each band, dB, `(bands,)`.
        scale: What levels are divided by, dB.
    """

    mean: Tensor

    def __init__(self, mean: Tensor, scale: float) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.scale = scale
        edge = FRAMES * len(mean)
        widths = [edge, *[WIDTH] * 4, BOTTLENECK, *[WIDTH] * 4]
        layers = [
            layer
            for before, after in pairwise(widths)
            for layer in (nn.Linear(before, after), nn.BatchNorm1d(after), nn.ReLU())
        ]
        self.layers = nn.Sequential(*layers, nn.Linear(WIDTH, edge))

    def forward(self, x: Tensor) -> Tensor:
        """Draw anew, both in the units that `levels` gives."""
        return self.layers(x)

    def levels(self, frames: Tensor) -> Tensor:
        """Levels in dB centred and scaled, `(…, bands)`."""
        return (frames - self.mean) / self.scale

    def error(self, frames: Tensor) -> float:
        """Mean squared error of a clip in dB², `(frames, bands)`."""
        x = self.levels(frames).unfold(0, FRAMES, 1).transpose(1, 2).flatten(1)  # (runs, 5·bands)
        return float(F.mse_loss(self(x), x).detach()) * self.scale**2


def frames_of(mel: np.ndarray) -> Tensor:
    """A spectrogram as frames, `(bands, frames)` → `(frames, bands)` float32.

    Raises:
        QualityError: There are fewer than five frames.
    """
    frames = torch.from_numpy(np.ascontiguousarray(np.asarray(mel, np.float32).T))
    if len(frames) < FRAMES:
        raise QualityError(f"the autoencoder reads {FRAMES} frames at once; a clip has {len(frames)}: leave it out")
    return frames


def _train(clips: list[Tensor], how: Autoencoder) -> Redrawn:
    frames = torch.cat(clips).to(how.device)
    mean = frames.mean(0)
    first = torch.cumsum(torch.tensor([0, *(len(clip) for clip in clips)]), 0)
    runs = torch.cat([start + torch.arange(len(clip) - FRAMES + 1) for start, clip in zip(first, clips, strict=False)])
    with torch.random.fork_rng():
        torch.manual_seed(how.seed)
        model = Redrawn(mean, float((frames - mean).square().mean().sqrt()) or 1.0).to(how.device)
    levels, optimiser = model.levels(frames), torch.optim.Adam(model.parameters(), lr=how.lr)
    generator = torch.Generator().manual_seed(how.seed)
    for _ in range(how.epochs):
        for rows in runs[torch.randperm(len(runs), generator=generator)].split(how.batch):
            if len(rows) > 1:  # batch norm needs two
                x = levels[(rows[:, None] + torch.arange(FRAMES)).to(how.device)].flatten(1)
                optimiser.zero_grad()
                F.mse_loss(model(x), x).backward()
                optimiser.step()
    return model.eval()
