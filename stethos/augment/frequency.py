"""What a recording may lose in frequency without meaning something else."""

import torch
from torch import Tensor


def band_drop(x: Tensor, u: Tensor, fraction: float) -> Tensor:
    """Remove one band of frequencies, in all channels.

    The band's part of the signal is computed and subtracted, so that a band of no width returns the input.

    Args:
        x: Signals `(B, C, T)`.
        u: Draws `(B, 1)`; from the band at the mean to the one that ends at half the rate.
        fraction: Width of the band, of half the sampling rate.
    """
    spectrum = torch.fft.rfft(x.to(torch.promote_types(x.dtype, torch.float32)))  # (B, C, bins)
    bins = spectrum.shape[-1]
    width = round(fraction * bins)
    start = torch.floor(u.double() * (bins - width + 1)).long()  # (B, 1)
    index = torch.arange(bins, device=x.device)
    inside = (index >= start) & (index < start + width)  # (B, bins)
    band = torch.fft.irfft(spectrum * inside[:, None], n=x.shape[-1])
    return x - band.to(x.dtype)
