"""What a recording may lose in frequency without meaning something else."""

import torch
from torch import Tensor


def band_drop(x: Tensor, u: Tensor, fraction: float) -> Tensor:
    """Remove one band of frequencies, in all channels.

    Args:
        x: Signals `(B, C, T)`.
        u: Draws `(B, 1)`; from the band at the mean to the one that ends at half the rate.
        fraction: Width of the band, of half the sampling rate.
    """
    bins = x.shape[-1] // 2 + 1
    width = round(fraction * bins)
    start = torch.floor(u.double() * (bins - width + 1)).long()  # (B, 1)
    index = torch.arange(bins, device=x.device)
    inside = (index >= start) & (index < start + width)  # (B, bins)
    return _without(x, inside[:, None])


def band_stop(x: Tensor, low: float, high: float, rate: float) -> Tensor:
    """Remove the frequencies low ≤ f < high, the same in all signals.

    Args:
        x: Signals `(B, C, T)`.
        low: Lower edge, Hz.
        high: Upper edge, Hz.
        rate: Sampling rate, Hz.
    """
    hertz = torch.arange(x.shape[-1] // 2 + 1, device=x.device) * (rate / x.shape[-1])
    return _without(x, (hertz >= low) & (hertz < high))


def _without(x: Tensor, inside: Tensor) -> Tensor:
    """Signals less some bins; the band's part is computed and subtracted, so that no bin returns the input."""
    spectrum = torch.fft.rfft(x.to(torch.promote_types(x.dtype, torch.float32)))  # (B, C, bins)
    band = torch.fft.irfft(spectrum.masked_fill(~inside, 0), n=x.shape[-1])
    return x - band.to(x.dtype)
