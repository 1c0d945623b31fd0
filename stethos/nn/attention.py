"""From the patches of a recording to one row, by attention that knows when each patch was."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

LONGEST = 4000  # patches in the slowest wave of the places: more than a day of half minutes


class PatchPool(nn.Module):
    """One learned question to all patches of a recording, `(B, P, D)` to `(B, W)`.

        q = c,   k = v = [c; LN(h_p) + place(p)],   row = W attention(q, k, v)

    Without places the row does not change when patches change places, as in the published form: nothing slower than a
    patch can be seen then. Memory grows with P, not with its square.

    Args:
        width: D.
        heads: Of the attention.
        space: W.
        positions: Whether a patch knows its place in the recording.
    """

    def __init__(self, width: int, heads: int, space: int, positions: bool = True) -> None:
        super().__init__()
        self.positions = positions
        self.question = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.norm = nn.LayerNorm(width)
        self.attend = nn.MultiheadAttention(width, heads, batch_first=True)
        self.out = nn.Linear(width, space)

    def forward(self, patches: Tensor, valid: Tensor) -> Tensor:
        """A row a recording.

        Args:
            patches: `(B, P, D)`.
            valid: True where a patch holds anything, `(B, P)`.
        """
        return self.out(self._attended(patches, valid, False)[0][:, 0])

    def weights(self, patches: Tensor, valid: Tensor) -> Tensor:
        """How much of the attention each patch gets, mean over heads; with the question's own share 1, `(B, P)`."""
        return self._attended(patches, valid, True)[1][:, 0, 1:]

    def _attended(self, patches: Tensor, valid: Tensor, weights: bool) -> tuple[Tensor, Tensor]:
        held = self.norm(patches)
        if self.positions:
            held = held + places(held.shape[1], held.shape[2]).to(held)
        question = self.question.expand(held.shape[0], 1, -1).to(held.dtype)
        keys = torch.cat([question, held], dim=1)  # (B, 1 + P, D)
        ignored = nn.functional.pad(~valid, (1, 0), value=False)
        return self.attend(question, keys, keys, key_padding_mask=ignored, need_weights=weights)


def places(count: int, width: int) -> Tensor:
    """Sines and cosines of falling frequency that tell places apart, `(count, width)`.

    Reference:
        Vaswani et al. 2017, arXiv:1706.03762, section 3.5.
    """
    turn = torch.exp(-math.log(LONGEST) * torch.arange(0, width, 2) / width)  # (width / 2,) radians a place
    angle = torch.arange(count)[:, None] * turn
    return torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)[:, :width]


class Swing(nn.Module):
    """How tokens rise and fall over a patch, as one row: `(N, L, D)` to `(N, D)`.

        s = W tokens, around its mean   (N, L, K)
        row = W′ log(1 + |DFT of s|²)   over the K traces

    The mean of a patch's tokens tells what a beat looks like and not how often beats grow and shrink: breath and Mayer
    waves are swings from token to token. Power alone is kept, so that when a breath began does not matter. The
    transform is two products with fixed matrices, which every runtime has.

    Args:
        tokens: L.
        width: D.
        traces: K.
    """

    def __init__(self, tokens: int, width: int, traces: int) -> None:
        super().__init__()
        self.wave: Tensor
        angle = 2 * math.pi * torch.arange(tokens)[:, None] * torch.arange(1, tokens // 2 + 1) / tokens
        bell = torch.hann_window(tokens + 1)[1:, None] if tokens > 2 else torch.ones(tokens, 1)
        self.register_buffer("wave", torch.cat([angle.cos(), angle.sin()], dim=1) * bell, persistent=False)
        self.trace = nn.Linear(width, traces, bias=False)
        self.out = nn.Linear(traces * (tokens // 2), width)

    def forward(self, tokens: Tensor, there: Tensor) -> Tensor:
        """The row; tokens that are not there are taken for the mean of the others."""
        weight = there.to(tokens.dtype)[..., None]  # (N, L, 1)
        trace = self.trace(tokens)
        trace = (trace - (trace * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp(min=1)) * weight
        both = trace.transpose(1, 2) @ self.wave.to(trace)  # (N, K, 2 F)
        real, imaginary = both.chunk(2, dim=2)
        return self.out(torch.log1p(real.square() + imaginary.square()).flatten(1))
