"""The contrast within groups of patches: InfoNCE for each positive pair, and which patches are anchors.

Within one image, for an anchor i with positives P(i) (its own group without itself) and negatives N(i) (the other
group):

    l_i = mean over p in P(i) of softplus( logsumexp_n(z_i·z_n/τ) − z_i·z_p/τ )                      (1)

which is −log( e^{z_i·z_p/τ} / (e^{z_i·z_p/τ} + Σ_n e^{z_i·z_n/τ}) ), the pair term of van den Oord et al. 2018 and Chen
et al. 2020, in a stable form. An image's contrast in one branch is the mean of l_i within each group, then over the
groups that have anchors with a positive.                                                           (2)

Our reading of the method, whose training code is not published.
"""

import math
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ncl_lightning.patches import AUTHENTIC, BRANCHES, CONTOUR, TAMPERED, Branch, ContourRole, sides

# groups are runs of this order: {T}, {T ∪ C}, {C ∪ A}, {A}
_ORDER = (TAMPERED, CONTOUR, AUTHENTIC)


def anchor_contrast(own: Tensor, other: Tensor, temperature: float, anchors: Tensor | None = None) -> Tensor:
    """Equation (1): l_i of the anchors of one group, each with every positive and every negative.

    Args:
        own: (n,d), the group; n ≥ 2.
        other: (m,d), the other group; m ≥ 1.
        temperature: τ.
        anchors: (a,) which rows of `own` are anchors; None: all n.

    Returns:
        (a,) or (n,).
    """
    rows = torch.arange(len(own), device=own.device) if anchors is None else anchors.to(own.device, non_blocking=True)
    z = (own if anchors is None else own[rows]) / temperature
    negatives = (z @ other.T).logsumexp(1, keepdim=True)  # (a,1)
    # (a,n): logsumexp_n − z_i·z_p/τ, in one pass over the largest matrix
    terms = torch.addmm(negatives, z, own.T, alpha=-1)
    # an anchor is not its own positive: at −∞ the term is an exact zero, and so is its gradient
    # (not by an index, for which a GPU's host waits)
    terms.scatter_(1, rows[:, None], -math.inf)
    return _SoftplusSum.apply(terms) / (len(own) - 1)


class _SoftplusSum(torch.autograd.Function):
    """Sum of softplus over each row, (a,n) -> (a,), keeping one matrix for the way back.

    softplus(x) = max(x, 0) + log(1 + e^-|x|), which neither overflows nor cancels. On a CPU torch's own takes five
    times as long as all else here: its log1p is not vectorised. A log is, and errs by the rounding of 1 at most.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x.sigmoid())
        return x.abs().neg_().exp_().add_(1).log_().add_(x.clamp(min=0)).sum(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        (slope,) = ctx.saved_tensors
        return slope * gradient[:, None]


def image_contrast(
    first: Tensor,
    second: Tensor,
    temperature: float,
    anchors: tuple[Tensor | None, Tensor | None] = (None, None),
) -> Tensor:
    """Equation (2): one image in one branch, two groups set apart; a scalar.

    Args:
        first: (n,d), embeddings of one group.
        second: (m,d), embeddings of the other.
        temperature: τ.
        anchors: Which rows of each group are anchors; None: all.
    """
    means = [
        anchor_contrast(own, other, temperature, chosen).mean()
        for own, other, chosen in ((first, second, anchors[0]), (second, first, anchors[1]))
        if len(own) > 1 and len(other) > 0
    ]
    # the sum over no rows is an exact zero that keeps the graph
    return torch.stack(means).mean() if means else first[:0].sum() + second[:0].sum()


class SortedPatches(NamedTuple):
    """Patches by category, so that both groups of either branch are runs of rows: T, C, A, then void ones.

    `order`: (B,N), patch numbers; `sizes`: (|T|, |C|, |A|) of each image.
    """

    order: Tensor
    sizes: list[tuple[int, int, int]]


def sort_patches(categories: Tensor) -> SortedPatches:
    """Sort patches (B,N) by category. Here the host waits for the device, once a batch."""
    rank = torch.full_like(categories, len(_ORDER))
    for place, category in enumerate(_ORDER):
        rank[categories == category] = place
    sizes = torch.stack([(rank == place).sum(1) for place in range(len(_ORDER))], 1).tolist()
    return SortedPatches(rank.argsort(dim=1, stable=True), [(t, c, a) for t, c, a in sizes])


def branch_contrast(
    embeddings: Tensor,
    patches: SortedPatches,
    branch: Branch,
    temperature: float,
    contour_role: ContourRole = "switch",
    max_anchors: int = 0,
    seeds: Sequence[tuple[int, ...]] = (),
) -> Tensor:
    """Equation (2) for every image of a batch in one branch. What takes no part is never computed.

    Args:
        embeddings: (B,N,d).
        patches: From `sort_patches`.
        branch: Which branch, and so which role contour patches play.
        temperature: τ.
        contour_role: The role of contour patches, see `patches.sides`.
        max_anchors: Most anchors of an image; 0: all. See `draw_anchors`.
        seeds: For each image what its draw depends on; needed with `max_anchors`.

    Returns:
        (B,)
    """
    ordered = embeddings.gather(1, patches.order[..., None].expand_as(embeddings))
    first, second = sides(contour_role, branch)
    out = []
    for i, (z, (t, c, a)) in enumerate(zip(ordered.unbind(), patches.sizes, strict=True)):
        # rows: T is [0, t), C is [t, t+c), A is [t+c, t+c+a)
        n = t + c if CONTOUR in first else t
        m = a + c if CONTOUR in second else a
        anchors: tuple[Tensor | None, Tensor | None] = (None, None)
        if max_anchors:
            anchors = draw_anchors(n, m, max_anchors, (*seeds[i], BRANCHES.index(branch)))
        out.append(image_contrast(z[:n], z[t + c + a - m : t + c + a], temperature, anchors))
    return torch.stack(out)


def draw_anchors(n: int, m: int, most: int, seed: tuple[int, ...]) -> tuple[Tensor | None, Tensor | None]:
    """The anchor cap: at most `most` anchors of two groups of n and m patches, half from each, without replacement.

    A group that has fewer leaves the rest to the other one; a lone patch has no positive and is no anchor. Only
    anchors are drawn: positives and negatives stay complete, so a group's mean over the drawn ones is an unbiased
    estimate of its mean over all.

    Returns:
        Row numbers in each group, on the CPU; None: all of them.
    """
    able = [size if size > 1 else 0 for size in (n, m)]
    share = min(able[0], max(most // 2, most - able[1]))
    shares = share, min(able[1], most - share)
    if shares == tuple(able):
        return None, None
    digest = blake2b(repr(seed).encode(), digest_size=8).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)
    first, second = (torch.randperm(size, generator=generator)[:k] for size, k in zip(able, shares, strict=True))
    return first, second
