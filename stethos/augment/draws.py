"""Random numbers that belong to a row, wherever the row is computed.

With mix the finaliser of SplitMix64 and γ = ⌊2⁶⁴/φ⌋ made odd, draw i of a row is

    key = mix(mix(mix(mix(γ + seed) + γ + step) + γ + row) + γ + stream)
    bits = mix(key + γ (i + 1))

that is, each (seed, step, row, stream) has a SplitMix64 sequence of its own. All sums are modulo 2⁶⁴. The
uniform numbers are the same on every device and for every division of a batch.

Reference:
    Steele, Lea and Flood 2014, doi:10.1145/2660193.2660195 (SplitMix).
    Box and Muller 1958, doi:10.1214/aoms/1177706645.
"""

import math

import torch
from torch import Tensor


def uniform(seed: int, step: int, rows: Tensor, n: int, stream: int = 0) -> Tensor:
    """Uniform numbers in [0, 1), multiples of 2⁻²⁴.

    Args:
        seed: Of the run.
        step: Of the training, counted over all processes alike.
        rows: What names each row within the step (its record, or its place in the whole step's batch),
            int64 `(B,)`. Equal ids draw equal numbers.
        n: Numbers for each row.
        stream: Tells apart the uses that one step makes of a row.

    Returns:
        float32 `(B, n)`, on the device of `rows`.
    """
    return _fraction(_bits(seed, step, rows, n, stream), 40)


def normal(seed: int, step: int, rows: Tensor, shape: tuple[int, ...], stream: int = 0) -> Tensor:
    """Standard normal numbers, by Box and Muller's √(−2 ln u) cos 2πv.

    Args:
        seed: Of the run.
        step: Of the training, counted over all processes alike.
        rows: What names each row within the step, int64 `(B,)`.
        shape: Of one row, such as `(C, T)`.
        stream: Tells apart the uses that one step makes of a row.

    Returns:
        float32 `(B, *shape)`; none is larger than 5.8 in size, for u has 24 bits.
    """
    bits = _bits(seed, step, rows, math.prod(shape), stream)
    radius = torch.sqrt(-2 * torch.log1p(-_fraction(bits, 40)))
    angle = 2 * math.pi * _fraction(bits << 24, 40)
    return (radius * torch.cos(angle)).view(-1, *shape)


def _bits(seed: int, step: int, rows: Tensor, n: int, stream: int) -> Tensor:
    key = torch.zeros_like(rows)
    for word in (_wrapped(seed), _wrapped(step), rows, _wrapped(stream)):
        key = _mix(key + word + _GAMMA)
    count = torch.arange(1, n + 1, device=rows.device)
    return _mix(key[:, None] + count * _GAMMA)  # (B, n) int64, all 64 bits random


def _mix(z: Tensor) -> Tensor:
    z = (z ^ _shifted(z, 30)) * _wrapped(0xBF58476D1CE4E5B9)
    z = (z ^ _shifted(z, 27)) * _wrapped(0x94D049BB133111EB)
    return z ^ _shifted(z, 31)


def _shifted(z: Tensor, places: int) -> Tensor:
    # torch has no unsigned shift: >> copies the sign bit down, so the copies are cleared.
    return (z >> places) & ((1 << (64 - places)) - 1)


def _wrapped(word: int) -> int:
    return (word + (1 << 63)) % (1 << 64) - (1 << 63)


def _fraction(bits: Tensor, places: int) -> Tensor:
    return _shifted(bits, places).float() * 2.0 ** (places - 64)


_GAMMA = _wrapped(0x9E3779B97F4A7C15)
