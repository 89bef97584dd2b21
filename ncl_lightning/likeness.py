"""How alike two thumbnails are, cell by cell: a copy, a shared background, or two pictures."""

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 32  # cells
# Shares of the cells that agree. Of 400 photographs (BSDS500) no two reach 0.6, and of their copies at JPEG quality
# 30, at half size, flipped or cropped by up to 8 % a side at least 97 in 100 reach 0.97; of 1510 photographs and
# composites (iHarmony4) all pairs above 0.6 that we looked at had a background in common.
COPY = 0.97
SHARED = 0.6
FLAT = 2.0  # a thumbnail that varies by less than this has nothing to be told by
_DETAIL = 0.8  # correlation of what is fine in the cells that agree
_COARSE = 0.5  # the same at half the cells
_DETAIL_CROPPED = 0.65  # the same where one was moved onto the other
_ALIGNED = 0.93  # correlation that an alignment of a copy reaches

Thumbs = NDArray[np.uint8]  # (N, SIDE, SIDE)
Floats = NDArray[np.float32]


def agreement(first: Thumbs, second: Thumbs, align: NDArray[np.bool_] | bool = True) -> Floats:
    """Share (N,) of the cells in which thumbnails (N, 32, 32) agree; `align` (N,): one may be cropped.

    It is 0 where only smooth parts agree, as the skies of two photographs may.
    """
    one, two = first.astype(np.float32), second.astype(np.float32)
    # a look at quarters of the cells' number settles most pairs, at a tenth of the price
    best = np.zeros(len(one), np.float32)
    near = np.flatnonzero(_agree(_coarse(one), _coarse(two), 4, 0.2, _COARSE) > 0.8 * SHARED)
    best[near] = _agree(one[near], two[near], 4, 0.2, _DETAIL)
    for n in np.flatnonzero((best < COPY) & align).tolist():
        for a, b in ((one[n], two[n]), (two[n], one[n])):
            moved = _aligned(a, b)
            if moved is None or best[n] >= COPY:
                break
            # cells are cut anew, so those on edges differ more
            best[n] = max(best[n], _agree(a[None], moved[None], 5, 0.3, _DETAIL_CROPPED)[0])
    return best


def _coarse(thumbs: Floats) -> Floats:
    """(N, 32, 32) to means of (N, 16, 16)."""
    return thumbs.reshape(-1, SIDE // 2, 2, SIDE // 2, 2).mean((2, 4))


def _aligned(one: Floats, two: Floats) -> Floats | None:
    """`two` (32, 32) moved and scaled onto `one`, negative where it has no cell; None: not by a slight crop."""
    start = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
    every = np.ones(one.shape, np.uint8)
    steps = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 30, 1e-4)
    try:
        alike, warp = cv2.findTransformECC(one, two, start, cv2.MOTION_AFFINE, steps, every, 3)
    except cv2.error:  # it did not converge
        return None
    if (
        alike < _ALIGNED
        or max(abs(warp[0, 1]), abs(warp[1, 0])) > 0.03
        or max(abs(warp[0, 0] - 1), abs(warp[1, 1] - 1)) > 0.25
    ):
        return None
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(two, warp, (SIDE, SIDE), flags=flags, borderMode=cv2.BORDER_CONSTANT, borderValue=-1e4)
    return moved.astype(np.float32) if (moved >= 0).mean() > 0.7 else None


def _agree(one: Floats, two: Floats, offset: float, edge: float, detail: float) -> Floats:
    """Share (N,) of cells (N, S, S) that differ by at most `offset`, and `edge` of the contrast around them.

    It is 0 where what is fine in the cells that agree correlates by less than `detail`. Cells of `two` below 0 do
    not count.
    """
    inside = (two >= 0).astype(np.float32)
    counts = inside.sum((1, 2), keepdims=True)
    # brightness and contrast may have been changed: a line, fitted again to the cells that lie near it
    keep = inside
    for _ in range(3):
        number = np.maximum(keep.sum((1, 2), keepdims=True), 1)
        mean_one, mean_two = ((keep * part).sum((1, 2), keepdims=True) / number for part in (one, two))
        x = keep * (one - mean_one)
        spread = (x * x).sum((1, 2), keepdims=True) / number
        slope = (x * (two - mean_two)).sum((1, 2), keepdims=True) / number / np.maximum(spread, FLAT**2)
        slope = np.where((slope > 0.6) & (slope < 1.6), slope, 1)
        gap = np.abs(slope * (one - mean_one) + mean_two - two)
        keep = inside * (gap <= (inside * gap).sum((1, 2), keepdims=True) / counts + 1)
    local = _around(one, np.maximum) - _around(one, np.minimum)
    agree = inside * (gap <= offset + edge * local)
    fine = [part - _mean_around(part) for part in (one, np.where(inside > 0, two, one))]
    products = [(agree * a * b).sum((1, 2)) for a, b in ((fine[0], fine[1]), (fine[0], fine[0]), (fine[1], fine[1]))]
    alike = products[0] / np.sqrt(np.maximum(products[1] * products[2], 1e-6))
    return np.where(alike >= detail, (agree.sum((1, 2)) / counts[:, 0, 0]), 0).astype(np.float32)


def _around(cells: Floats, reduce: np.ufunc) -> Floats:
    """`reduce` (largest, smallest, sum) over the 3×3 cells around each of (N, S, S)."""
    for axis in (1, 2):
        padded = np.pad(cells, [(1, 1) if a == axis else (0, 0) for a in range(3)], mode="edge")
        parts = [padded.take(range(k, k + cells.shape[axis]), axis) for k in range(3)]
        cells = reduce(reduce(parts[0], parts[1]), parts[2])
    return cells


def _mean_around(cells: Floats) -> Floats:
    """The mean of the 3×3 cells around each of (N, S, S)."""
    return (_around(cells, np.add) / 9).astype(np.float32)
