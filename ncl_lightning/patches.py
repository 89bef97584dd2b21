"""A mask cut into patches: which are authentic, tampered, on a contour, or void.

With f_n the tampered fraction of patch n: A = {f = 0}, T = {f = 1}, C = {0 < f < 1}; a patch with any void pixel
is void and takes no part. The source names the three categories; voids and the exact bounds are our reading.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import pad

AUTHENTIC, TAMPERED, CONTOUR, VOID = 0, 1, 2, -1

ContourRole = Literal["switch", "ignore", "tampered", "authentic"]
Branch = Literal["tampered", "authentic"]
BRANCHES: tuple[Branch, Branch] = ("tampered", "authentic")
Grid = tuple[int, int]


def categorise(mask: Tensor, valid: Tensor, stride: int, count: int | Grid | None = None) -> Tensor:
    """Category of every patch, in raster order.

    The decision is exact (any and all over a patch's pixels, no rounded mean).

    Args:
        mask: (B,1,H,W) of 0 and 1 in any dtype; 1: tampered.
        valid: (B,1,H,W) bool, which pixels are real.
        stride: Side of a patch in pixels.
        count: N, where a network pads further than to a multiple of `stride` (its number of embeddings, see
            `patch_grid`), or its grid (rows, columns). What is padded, to the right and below, is void.

    Returns:
        (B,N) int64 of AUTHENTIC, TAMPERED, CONTOUR and VOID.
    """
    grid = count if isinstance(count, tuple) else patch_grid(mask.shape[-2], mask.shape[-1], stride, count)
    # (B,N,s·s) bool
    real = _cut(valid.bool(), stride, grid).all(-1)
    pixels = _cut(binary(mask), stride, grid)
    category = torch.where(pixels.all(-1), TAMPERED, torch.where(pixels.any(-1), CONTOUR, AUTHENTIC))
    return category.where(real, VOID)


def binary(mask: Tensor) -> Tensor:
    """A mask of 0 and one other value, in any dtype, as bool.

    Raises:
        ValueError: It has more values (looked for on the CPU), as soft edges, JPEG's noise or a label to ignore have.
    """
    if mask.dtype != torch.bool and mask.device.type == "cpu" and mask.numel():
        top = mask.amax()
        if mask.amin() < 0 or ((mask != 0) & (mask != top)).any():
            raise ValueError("a mask is 0 and 1; this one has more values: compare it with a threshold first")
    return mask.bool()


def patch_grid(height: int, width: int, stride: int, count: int | None = None) -> Grid:
    """Rows and columns of the patches that cover a picture.

    Without `count` these are ⌈H/s⌉ and ⌈W/s⌉. A network pads further, to a multiple k·s of its encoder's stride;
    `count` = N then tells k. Where k is a power of two, as with every convolutional encoder, no other power of two
    gives the same N with another grid, so nothing is left to guess.

    Raises:
        ValueError: No padding makes `count` patches.
    """
    rows, columns = -(-height // stride), -(-width // stride)
    if count is None or count == rows * columns:
        return rows, columns
    powers = [2**j for j in range(1, 11)]
    for k in (*powers, *(k for k in range(3, 65) if k not in powers)):
        grid = -(-rows // k) * k, -(-columns // k) * k
        if grid[0] * grid[1] == count:
            return grid
    raise ValueError(
        f"{count} patches fit no frame of {height}×{width} in patches of {stride}: "
        "give the network and the loss the same stride"
    )


def sides(contour_role: ContourRole, branch: Branch) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The two groups of categories that a branch sets apart: the tampered side and the authentic side.

    Our reading of the role switch: contour patches are positives of tampered ones in branch T, {T ∪ C} against {A},
    and positives of authentic ones in branch A, {T} against {A ∪ C}. The other roles are ablations: both branches
    use that one grouping, and `ignore` is {T} against {A}.
    """
    role = branch if contour_role == "switch" else contour_role
    if role == "tampered":
        return (TAMPERED, CONTOUR), (AUTHENTIC,)
    if role == "authentic":
        return (TAMPERED,), (CONTOUR, AUTHENTIC)
    return (TAMPERED,), (AUTHENTIC,)


def _cut(pixels: Tensor, stride: int, grid: Grid) -> Tensor:
    """(B,1,H,W) bool, padded with False to the grid -> (B,N,s·s)."""
    rows, columns = grid
    height, width = pixels.shape[-2:]
    # as bytes: not every backend pads bool
    padded = pad(pixels.byte(), (0, columns * stride - width, 0, rows * stride - height)).bool()
    cells = padded.reshape(-1, rows, stride, columns, stride).transpose(2, 3)
    return cells.reshape(-1, rows * columns, stride * stride)
