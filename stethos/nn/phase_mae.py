"""A masked autoencoder of ECGs that knows where in its cycle the heart is, and its cycles laid side by side.

    x (B, C, T) ── encoder, eight samples a token ──►  F (B, D, L)
    F with a share of places hidden ── decoder ──►  x̂ (B, C, T)
    F ── head ──►  (sin φ, cos φ)  (B, 2, L)

Cycles are cut where the predicted phase wraps, and each is laid on as many steps as the cine has frames.

Reference:
    Fang et al. 2026, arXiv:2601.20904 (PA-MAE).
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STRIDE = 8  # samples of a token


class PhaseEncoder(nn.Module):
    """Three strided stages, then wider and wider neighbourhoods: a token sees about three seconds each way.

    Args:
        leads: C.
        width: D, a multiple of 16.
        dilations: Of the blocks after the stages.
        dropout: Chance that a channel of the last blocks is dropped in training.
    """

    def __init__(self, leads: int, width: int, dilations: tuple[int, ...] = (1, 2, 4, 8), dropout: float = 0.0) -> None:
        super().__init__()
        widths = (leads, max(16, width // 4), max(16, width // 2), width)
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv1d(a, b, 9, 2, padding=4), nn.GroupNorm(8, b), nn.SiLU(), _Block(b, 1, 0.0))
            for a, b in pairwise(widths)
        )
        self.blocks = nn.ModuleList(_Block(width, step, dropout) for step in dilations)
        self.last = nn.GroupNorm(1, width)

    def forward(self, x: Tensor) -> Tensor:
        """Recordings `(B, C, T)`, T a multiple of 8, to tokens `(B, D, T / 8)`."""
        for stage in self.stages:
            x = stage(x)
        for block in self.blocks:
            x = block(x)
        return self.last(x)


class _Block(nn.Module):
    def __init__(self, width: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.GroupNorm(8, width),
            nn.SiLU(),
            nn.Conv1d(width, width, 5, padding=2 * dilation, dilation=dilation),
            nn.GroupNorm(8, width),
            nn.SiLU(),
            nn.Dropout1d(dropout),
            nn.Conv1d(width, width, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class PhaseDecoder(nn.Module):
    """Tokens `(B, D, L)` back to recordings `(B, C, 8 L)`.

    Args:
        leads: C.
        width: D.
    """

    def __init__(self, leads: int, width: int) -> None:
        super().__init__()
        self.mix = _Block(width, 1, 0.0)
        self.out = nn.Conv1d(width, leads * STRIDE, 3, padding=1)

    def forward(self, tokens: Tensor) -> Tensor:
        """Each token becomes eight samples."""
        samples = self.out(self.mix(tokens)).unflatten(1, (-1, STRIDE))  # (B, C, 8, L)
        return samples.transpose(2, 3).flatten(2)


def angle(turn: Tensor) -> Tensor:
    """Predicted (sin φ, cos φ) `(B, 2, L)`, of any length, to φ in [0, 2π), `(B, L)`."""
    return torch.atan2(turn[:, 0], turn[:, 1]) % (2 * math.pi)


def wraps(phase: Tensor) -> Tensor:
    """Where a cycle starts: the first token after φ fell by more than half a turn, `(B, L)` bool."""
    fell = phase[:, 1:] - phase[:, :-1] < -math.pi
    return F.pad(fell, (1, 0), value=False)


def starts(phase: Tensor) -> list[Tensor]:
    """For each recording the places, in tokens, at which φ passes 0, between tokens by a straight line.

    Args:
        phase: φ in [0, 2π), `(B, L)`.
    """
    found = []
    for row, at in zip(phase, wraps(phase), strict=True):
        place = at.nonzero()[:, 0]
        before, after = 2 * math.pi - row[place - 1], row[place]
        found.append(place - 1 + before / (before + after).clamp(min=1e-6))
    return found


def align(tokens: Tensor, start: Tensor, stop: Tensor, steps: int) -> Tensor:
    """Stretches of a course, each read at the middles of equal parts, by straight lines.

    Args:
        tokens: `(N, D, L)`.
        start: First place, in tokens, `(N,)`; the middle of token i is at i.
        stop: Where the stretch ends, `(N,)`.
        steps: Parts of each.

    Returns:
        `(N, D, steps)`.
    """
    part = (torch.arange(steps, device=tokens.device, dtype=tokens.dtype) + 0.5) / steps
    place = start[:, None] + (stop - start)[:, None] * part  # (N, steps)
    length = tokens.shape[2]
    grid = torch.stack([(2 * place + 1) / length - 1, torch.zeros_like(place)], dim=-1)[:, None]
    aligned = F.grid_sample(tokens[:, :, None], grid, mode="bilinear", padding_mode="border", align_corners=False)
    return aligned[:, :, 0]


def cycles(tokens: Tensor, phase: Tensor, steps: int, token_seconds: float) -> tuple[Tensor, Tensor]:
    """One cycle a recording: the mean over its ordinary complete cycles, each on the same number of steps.

    A recording without a complete cycle of 0.3 to 2 s gives its mean token at every step.

    Args:
        tokens: `(B, D, L)`.
        phase: φ in [0, 2π), `(B, L)`.
        steps: F.
        token_seconds: Length of a token.

    Returns:
        `(B, D, F)`; and how many cycles went into each, `(B,)`.
    """
    rows, counts = [], []
    for course, place in zip(tokens, starts(phase), strict=True):
        ordinary = _ordinary(place, token_seconds)
        counts.append(int(ordinary.sum()))
        if not counts[-1]:
            rows.append(course.mean(1, keepdim=True).expand(-1, steps))
            continue
        first, last = place[:-1][ordinary], place[1:][ordinary]
        rows.append(align(course.expand(len(first), -1, -1), first, last, steps).mean(0))
    return torch.stack(rows), torch.tensor(counts, device=tokens.device)


def _ordinary(place: Tensor, token_seconds: float) -> Tensor:
    """Which intervals between starts are those of ordinary beats; as `signal.phase.usual_intervals`."""
    length = place.diff() * token_seconds
    possible = (length >= 0.3) & (length <= 2.0)
    if not possible.any():
        return possible
    middle = length[possible].quantile(0.5)  # torch's median is the lower of two middle ones
    usual = possible & ((length - middle).abs() <= 0.2 * middle)
    return usual if usual.any() else possible


BEFORE, AFTER = 0.32, 0.48  # s around an R peak that a mean beat shows
NEAR = 0.07  # s within which the steepest place is looked for


def mean_beat(x: Tensor, phase: Tensor, rate: float) -> Tensor:
    """The median beat of every lead, at the R peaks where the predicted phase wraps, `(B, C, S)`; 0 without any.

    A token is coarser than an R peak is sharp: each beat is moved to the steepest place nearby.

    Args:
        x: Leads `(B, C, T)`.
        phase: φ at the middle of every token, `(B, L)`.
        rate: Hz.
    """
    before, after, near = (round(span * rate) for span in (BEFORE, AFTER, NEAR))
    steep = F.pad((x[:, :, 1:] - x[:, :, :-1]).square().sum(1), (0, 1))  # (B, T)
    around, rows = torch.arange(-before, after, device=x.device), []
    for leads, edge, place in zip(x, steep, starts(phase), strict=True):
        middle = (place * STRIDE + (STRIDE - 1) / 2).round().long().clamp(near, x.shape[2] - near - 1)
        nearby = middle[:, None] + torch.arange(-near, near + 1, device=x.device)
        peak = nearby.gather(1, edge[nearby].argmax(1, keepdim=True))[:, 0] if len(middle) else middle
        peak = peak[(peak >= before) & (peak < x.shape[2] - after)]
        beats = leads[:, peak[:, None] + around]  # (C, beats, S)
        rows.append(beats.median(1).values if len(peak) else leads.new_zeros(len(leads), len(around)))
    return torch.stack(rows)
