"""The NCL loss: L = L_seg + λ_ncl L_NCL + λ_pc L_PC.

The authors' training code is not published. That contour patches switch between positives and negatives of two
branches, and that a pivot-consistent loss holds the branches together, is the paper's; the equations below are our
reading of it. Equations (1) and (2), the contrast of one image in one branch, are in `infonce`.

L_NCL is the mean of (2) over the branches, then over all B images.                                 (3)
L_PC is the mean of 1 − z^T·z^A over an image's patches in K, then over all B images.             (4)
L_seg is cross-entropy + Dice over an image's valid pixels, then over all B images.               (5)

An image that has nothing to add adds an exact zero, with its graph kept, so the mean over ranks of equal batches is
the mean of the whole batch. Everything leaves autocast and is computed in float32, or in float64 where the inputs are.
"""

import math
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from ncl_lightning.infonce import branch_contrast, sort_patches
from ncl_lightning.patches import BRANCHES, CONTOUR, VOID, ContourRole, binary, categorise

Consistency = Literal["all", "exclusive", "contour"]
Scope = Literal["image", "batch"]


class Output(Protocol):
    """What the loss reads of a network's output; `network.PivotOutput` is one.

    `tampered` and `authentic`: (B,N,d), L2-normalised, or None; `logits`: (B,1,H,W).
    """

    @property
    def tampered(self) -> Tensor | None: ...
    @property
    def authentic(self) -> Tensor | None: ...
    @property
    def logits(self) -> Tensor: ...


def pivot_consistency(tampered: Tensor, authentic: Tensor, member: Tensor) -> Tensor:
    """Equation (4) for every image: mean of 1 − z^T·z^A over the patches in K.

    Args:
        tampered: (B,N,d), z^T.
        authentic: (B,N,d), z^A.
        member: (B,N) bool, K.

    Returns:
        (B,), an exact zero where K is empty.
    """
    distance = 1 - (tampered * authentic).sum(-1)
    return distance.where(member, 0.0).sum(1) / member.sum(1).clamp(min=1)


def consistency_members(categories: Tensor, consistency: Consistency, contour_role: ContourRole) -> Tensor:
    """K of equation (4), (B,N) bool: `all` = T ∪ A ∪ C, `exclusive` = T ∪ A, `contour` = C.

    With the role `ignore`, contour patches take no part here either (and `contour` leaves nothing).
    """
    contour = categories == CONTOUR
    member = {"all": categories != VOID, "exclusive": (categories != VOID) & ~contour, "contour": contour}[consistency]
    return member & ~contour if contour_role == "ignore" else member


def localization(
    logits: Tensor, mask: Tensor, valid: Tensor, bce_weight: float = 1.0, dice_weight: float = 1.0
) -> Tensor:
    """Equation (5) for every image: BCE + Dice over its valid pixels.

    Dice is 1 − (2 Σpm + 1) / (Σp + Σm + 1); the ones define it for authentic images.

    Args:
        logits: (B,1,H,W).
        mask: (B,1,H,W) of 0 and 1 in any dtype.
        valid: (B,1,H,W) bool.
        bce_weight: Weight of cross-entropy.
        dice_weight: Weight of Dice.

    Returns:
        (B,), an exact zero where no pixel is valid.
    """
    real = valid.bool().flatten(1)
    # a void pixel's logit may be anything
    x = logits.flatten(1).where(real, 0.0)
    m = (binary(mask).flatten(1) & real).to(x.dtype)
    bce = binary_cross_entropy_with_logits(x, m, reduction="none").where(real, 0.0)
    p = x.sigmoid().where(real, 0.0)
    dice = 1 - (2 * (p * m).sum(1) + 1) / (p.sum(1) + m.sum(1) + 1)
    return bce_weight * bce.sum(1) / real.sum(1).clamp(min=1) + dice_weight * dice


class NCLLoss(nn.Module):
    """L = L_seg + λ_ncl L_NCL + λ_pc L_PC, see the module's equations.

    Args:
        stride: Side of a patch in pixels, the network's.
        temperature: Temperature τ of the contrast.
        contour_role: What contour patches are: `switch` (the method: positives of tampered patches in one branch,
            of authentic ones in the other), `ignore` (neither, and left out of L_PC), `tampered` or `authentic`
            (that, in both branches).
        consistency: Patches that pivot consistency holds together: `all`, `exclusive` (tampered and authentic) or
            `contour`.
        lambda_ncl: Weight of the contrast.
        lambda_pc: Weight of pivot consistency.
        max_anchors: Most anchors of an image and branch, half from each group; 0: all of them.
        seed: Seed of the draw of anchors, beside the step and the sample's index.
        bce_weight: Weight of binary cross-entropy in L_seg.
        dice_weight: Weight of Dice in L_seg.
        scope: Which patches are contrasted with each other: those of an `image` (our reading of the method), or those
            of the whole `batch` as if it were one image (of a process's own batch, where there are several). Within
            an image the contrast can be had by contents, one object against the rest, which says nothing of traces.
    """

    TERMS = ("loss", "seg", "ncl", "pc", "ncl_tampered", "ncl_authentic")
    """What it gives."""

    def __init__(
        self,
        stride: int = 16,
        temperature: float = 0.1,
        contour_role: ContourRole = "switch",
        consistency: Consistency = "all",
        lambda_ncl: float = 0.1,
        lambda_pc: float = 0.1,
        max_anchors: int = 0,
        seed: int = 0,
        bce_weight: float = 1.0,
        dice_weight: float = 1.0,
        scope: Scope = "image",
    ) -> None:
        super().__init__()
        if stride < 1:
            raise ValueError(f"stride is {stride}: give a whole number of pixels, 1 or more")
        if not (temperature > 0 and math.isfinite(temperature)):
            raise ValueError(f"temperature is {temperature}: give a number above 0")
        if contour_role not in get_args(ContourRole):
            raise ValueError(f"contour_role is {contour_role!r}: give one of {', '.join(get_args(ContourRole))}")
        if consistency not in get_args(Consistency):
            raise ValueError(f"consistency is {consistency!r}: give one of {', '.join(get_args(Consistency))}")
        if max_anchors < 0 or max_anchors == 1:
            raise ValueError(f"max_anchors is {max_anchors}: give 0 (all), or 2 or more (half from each group)")
        if scope not in get_args(Scope):
            raise ValueError(f"scope is {scope!r}: give one of {', '.join(get_args(Scope))}")
        weights = {
            "lambda_ncl": lambda_ncl,
            "lambda_pc": lambda_pc,
            "bce_weight": bce_weight,
            "dice_weight": dice_weight,
        }
        for name, weight in weights.items():
            if not (weight >= 0 and math.isfinite(weight)):
                raise ValueError(f"{name} is {weight}: give a number, 0 or more")
        self.stride = stride
        self.temperature = temperature
        self.contour_role: ContourRole = contour_role
        self.consistency: Consistency = consistency
        self.lambda_ncl = lambda_ncl
        self.lambda_pc = lambda_pc
        self.max_anchors = max_anchors
        self.seed = seed
        self.bce_weight = bce_weight
        self.dice_weight = dice_weight
        self.scope: Scope = scope

    def forward(
        self, output: Output, mask: Tensor, valid: Tensor | None = None, index: Tensor | None = None, step: int = 0
    ) -> dict[str, Tensor]:
        """The loss and its terms for a batch.

        A term whose λ is 0 is computed for the record only, without a graph; where both are 0 the embeddings are
        untrained and their terms stay 0.

        Args:
            output: The network's, with embeddings (B,N,d) and logits (B,1,H,W).
            mask: (B,1,H,W) of 0 and 1.
            valid: (B,1,H,W) bool; None: all of them.
            index: (B,) each sample's index in its data set, for the draw of anchors; None: its place in the batch.
            step: The training step, for the draw of anchors.

        Returns:
            Scalars `loss`, `seg`, `ncl`, `pc`, `ncl_tampered`, `ncl_authentic`.

        Raises:
            ValueError: Shapes do not fit, or a term with a weight needs embeddings and there are none, or (looked for
                on the CPU) none of length 1.
        """
        logits = output.logits
        valid = torch.ones_like(mask, dtype=torch.bool) if valid is None else valid
        if not logits.shape == mask.shape == valid.shape:
            shapes = ", ".join(str(tuple(x.shape)) for x in (logits, mask, valid))
            raise ValueError(f"logits, mask and valid must have one shape (B,1,H,W), not {shapes}")
        with torch.autocast(logits.device.type, enabled=False):
            seg = localization(_precise(logits), mask, valid, self.bce_weight, self.dice_weight).mean()
            terms = {name: seg.new_zeros(()) for name in ("ncl", "pc", "ncl_tampered", "ncl_authentic")}
            if self.lambda_ncl > 0 or self.lambda_pc > 0:
                terms = self._embedding_terms(output, mask, valid, index, step)
            loss = seg
            for name, weight in (("ncl", self.lambda_ncl), ("pc", self.lambda_pc)):
                if weight > 0:
                    loss = loss + weight * terms[name]
            return {"loss": loss, "seg": seg, **terms}

    def _embedding_terms(
        self, output: Output, mask: Tensor, valid: Tensor, index: Tensor | None, step: int
    ) -> dict[str, Tensor]:
        if output.tampered is None or output.authentic is None:
            raise ValueError(
                "the network gives no embeddings: set lambda_ncl and lambda_pc to 0, "
                "or return `tampered` and `authentic` (B,N,d)"
            )
        z = {"tampered": _precise(output.tampered), "authentic": _precise(output.authentic)}
        for name, vectors in z.items():
            if vectors.device.type == "cpu" and not _of_length_1(vectors):
                raise ValueError(f"embeddings `{name}` are not of length 1: torch.nn.functional.normalize(z, dim=-1)")
        categories = categorise(mask, valid, self.stride, z["tampered"].shape[1])  # (B,N)
        # (1,B·N): the batch as one image
        whole = self.scope == "batch"
        patches = sort_patches(categories.reshape(1, -1) if whole else categories)
        seeds: list[tuple[int, ...]] = []
        if self.max_anchors:
            places = list(range(len(mask))) if index is None else index.tolist()
            seeds = [(self.seed, step, *drawn) for drawn in ([places] if whole else [[place] for place in places])]
        grad = torch.is_grad_enabled()
        with torch.set_grad_enabled(grad and self.lambda_ncl > 0):
            per_branch = {
                f"ncl_{name}": branch_contrast(
                    z[name].reshape(1, -1, z[name].shape[-1]) if whole else z[name],
                    patches,
                    name,
                    self.temperature,
                    self.contour_role,
                    self.max_anchors,
                    seeds,
                ).mean()
                for name in BRANCHES
            }
            ncl = torch.stack(list(per_branch.values())).mean()  # (3)
        with torch.set_grad_enabled(grad and self.lambda_pc > 0):
            member = consistency_members(categories, self.consistency, self.contour_role)
            pc = pivot_consistency(z["tampered"], z["authentic"], member).mean()
        return {"ncl": ncl, "pc": pc, **per_branch}


def _of_length_1(vectors: Tensor) -> bool:
    """Whether vectors (…,d) are, but for rounding and those of zeros, which `normalize` leaves."""
    length = vectors.detach().norm(dim=-1)
    return bool(((length - 1).abs() < 0.02).logical_or(length < 0.02).all())


def _precise(x: Tensor) -> Tensor:
    """At least float32."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
