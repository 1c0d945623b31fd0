"""Rows of unit length, drawn towards their kin and away from the rest.

    p_ij = exp(z_i·z_j / τ) / Σ_{k≠i} exp(z_i·z_k / τ)
    ℓ_i  = −Σ_{j≠i} w_ij log p_ij / Σ_{j≠i} w_ij              w_ij ≥ 0: how far row j is kin to row i

With w_ij ∈ {0, 1} this is the supervised contrastive loss; with one kin a row, NT-Xent. A row is never its own kin.

Which rows are there to be told apart is part of a method. These functions take what they are given: on several
processes gather the rows, and what kin is made from, before. They compute in float32 or better whatever the autocast
around them: at a temperature of 0.02 a cosine rounded to bfloat16 is a logit wrong by 0.1.

Reference:
    Khosla et al. 2020, arXiv:2004.11362, eq. 2 (L_out).
    Chen et al. 2020, arXiv:2002.05709 (NT-Xent). Radford et al. 2021, arXiv:2103.00020 (the symmetric form).
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def sup_con(
    z: Tensor, kin: Tensor, temperature: float, valid: Tensor | None = None, count_lonely: bool = True
) -> Tensor:
    """Supervised contrastive loss with graded kin: the mean of ℓ_i over the anchors.

    Args:
        z: Rows of unit length, `(N, D)`.
        kin: w, how far row j is kin to row i, 0 or more, `(N, N)`; its diagonal is not read.
        temperature: τ, above 0.
        valid: True where a row is an anchor, `(N,)`; the others are still what anchors are compared with. None takes
            every row.
        count_lonely: Whether an anchor without kin, whose ℓ is 0, counts in the mean. The published code of OS-SCL
            counts it, so that the loss weakens as kin grow rare; without, the mean is over the anchors with kin.

    Returns:
        A scalar; 0 where no anchor has kin.
    """
    itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
    # The lowest number and not −∞: a row alone would be −∞ / −∞.
    cosine = _cosines(z, z)
    log_p = F.log_softmax((cosine / temperature).masked_fill(itself, torch.finfo(cosine.dtype).min), dim=1)
    weight = kin.to(log_p.dtype).masked_fill(itself, 0)
    total = weight.sum(1)  # (N,)
    loss = -(weight * log_p).sum(1) / total.clamp(min=torch.finfo(total.dtype).tiny)
    anchor = torch.ones_like(total, dtype=torch.bool) if valid is None else valid
    counted = anchor if count_lonely else anchor & (total > 0)
    return torch.where(anchor, loss, 0.0).sum() / counted.sum().clamp(min=1)


def kin_of(labels_a: Tensor, labels_b: Tensor, weight: Tensor, classes: int) -> Tensor:
    """How far rows are kin that are mixtures of two classes each: the chance that draws from both agree.

        w_ij = Σ_c p_ic p_jc,   p_i = weight_i · onehot(a_i) + (1 − weight_i) · onehot(b_i)

    Args:
        labels_a: Class of the first part, int64 `(N,)`.
        labels_b: Class of the second part, int64 `(N,)`.
        weight: Share of the first part, in [0, 1], `(N,)`; 1 throughout makes kin of equal `labels_a` alone.
        classes: How many there are.

    Returns:
        w in [0, 1], symmetric, `(N, N)`.
    """
    share = weight[:, None]
    p = share * F.one_hot(labels_a, classes) + (1 - share) * F.one_hot(labels_b, classes)  # (N, K)
    return p @ p.T


def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Two views of each thing find each other among all views: the mean over the 2 N of them.

    Args:
        first: One view of each thing, rows of unit length, `(N, D)`.
        second: The other views, in the same order, `(N, D)`.
        temperature: τ, above 0.

    Returns:
        A scalar.
    """
    thing = torch.arange(len(first), device=first.device).repeat(2)
    return sup_con(torch.cat([first, second]), thing[:, None] == thing, temperature)


def info_nce(a: Tensor, b: Tensor, scale: Tensor | float, kin: Tensor | None = None) -> Tensor:
    """Each row of one kind finds its own among those of the other kind, and the reverse.

        ℓ = ½ [CE(s a bᵀ, i) + CE(s b aᵀ, i)]

    Args:
        a: Rows of unit length, `(N, D)`.
        b: Their counterparts, in the same order, `(N, D)`.
        scale: s, one over the temperature.
        kin: Ids of each row, integers `(N,)` or `(N, k)` for k kinds of kinship, such as subject and text; an id
            below 0 is kin to none. Counterparts of other rows that share an id are not told apart: they are left out
            of the denominator. None tells all rows apart.

    Returns:
        A scalar.
    """
    logits = scale * _cosines(a, b)
    own = torch.arange(len(a), device=a.device)
    if kin is not None:
        ids = kin.reshape(len(kin), -1)  # (N, k)
        alike = ((ids[:, None] == ids) & (ids >= 0)).any(-1) & (own[:, None] != own)
        logits = logits.masked_fill(alike, torch.finfo(logits.dtype).min)
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def _cosines(a: Tensor, b: Tensor) -> Tensor:
    wide = torch.promote_types(a.dtype, torch.float32)
    with torch.autocast(a.device.type, enabled=False):
        return a.to(wide) @ b.to(wide).T
