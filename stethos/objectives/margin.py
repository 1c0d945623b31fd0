"""Classification by angle, in which the own class must win by a margin.

    logit_k = s cos θ_k                                 for the other classes
    logit_y = s cos(θ_y + m)            if θ_y < π − m  for the own class
            = s (cos θ_y − m sin m)     otherwise

Beyond θ_y = π − m the cosine of the sum would rise again; the second line keeps falling (the "non-easy" margin).

Reference:
    Deng et al. 2019, arXiv:1801.07698 (ArcFace).
"""

import math

import torch
from torch import Tensor


def arcface(cosine: Tensor, own: Tensor, scale: float = 30.0, margin: float = 0.4) -> Tensor:
    """Logits for a cross-entropy, from cosines to the classes.

    The derivative of sin θ is unbounded at cos θ = ±1. It is cut off there, and so the gradient is finite for every
    cosine, one that rounding has carried past ±1 included. Half precision is widened to float32.

    Args:
        cosine: cos θ of each row with each class, `(B, K)`.
        own: y, the class of each row, int64 `(B,)`.
        scale: s.
        margin: m in radians, from 0 (nothing but the scale) to below π.

    Returns:
        Logits `(B, K)`.
    """
    cosine = cosine.to(torch.promote_types(cosine.dtype, torch.float32))
    near = cosine.gather(1, own[:, None])  # (B, 1)
    # Below its resolution sin² is rounding alone, and is worth no slope.
    sine = (1 - near.square()).clamp(min=torch.finfo(near.dtype).eps).sqrt()
    within = near > -math.cos(margin)
    pushed = torch.where(within, near * math.cos(margin) - sine * math.sin(margin), near - margin * math.sin(margin))
    return scale * cosine.scatter(1, own[:, None], pushed)
