"""Fingerprints of pictures: which are the same one, recompressed, resized, slightly cropped or flipped.

A fingerprint is a 32×32 grey thumbnail and a hash of the file. Candidates are found among all pairs by the low
frequencies of the thumbnails, flattened as natural pictures' spectra are not (a sky above a field is no likeness);
then each is aligned and its thumbnails compared cell by cell, which tells a copy from a shared background.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ncl_lightning.errors import InputError
from ncl_lightning.images import image_size, read_image

SIDE = 32
# shares of the cells that must agree; calibrated on photographs and composites, see tests/test_fingerprints.py
COPY = 0.97
SHARED = 0.6
_FREQUENCIES = 9
_ALIKE = 0.5  # correlation of two descriptors from which a pair is looked at closely
_CROPPED = 0.7  # and from which one may be the other, cropped: to align them costs a millisecond
_CROP = 0.92  # side of the central window that a descriptor of a cropped copy resembles
_FLAT = 2.0  # a thumbnail that varies by less than this has nothing to be told by
_BLOCK = 2048

Thumbs = NDArray[np.uint8]  # (N, SIDE, SIDE)
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Prints:
    """Fingerprints of N pictures.

    Args:
        thumbs: (N, 32, 32) uint8, grey.
        digests: (N,) int64, of the files' bytes; 0 where there is no file.
    """

    thumbs: Thumbs = field(default_factory=lambda: np.zeros((0, SIDE, SIDE), np.uint8))
    digests: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    def __len__(self) -> int:
        return len(self.thumbs)


class Match(NamedTuple):
    """Picture `first` of one set looks like `second` of another; `agreement`: the share of cells that agree."""

    first: int
    second: int
    agreement: float
    exact: bool = False

    @property
    def copy(self) -> bool:
        """The same picture, not just a shared background."""
        return self.agreement >= COPY


def thumbnail(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture (H, W, 3) RGB or (H, W) grey to its thumbnail (32, 32)."""
    small = cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return (cv2.cvtColor(small, cv2.COLOR_RGB2GRAY) if small.ndim == 3 else small).astype(np.uint8)


def digest(data: bytes) -> int:
    """A file's bytes as a number of 63 bits, never 0."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big") >> 1 or 1


def file_print(path: Path) -> tuple[NDArray[np.uint8], int]:
    """Thumbnail (32, 32) and digest of a file.

    Raises:
        InputError: The file is missing, too large or no image.
    """
    height, width = image_size(path)
    data = path.read_bytes()
    if data[:2] == b"\xff\xd8":
        # grey alone is decoded faster; a large picture at a fraction of its size, still far above the thumbnail's
        grey = cv2.imdecode(np.frombuffer(data, np.uint8), _grey_flag(min(height, width)))
        if grey is not None:
            return thumbnail(grey.astype(np.uint8, copy=False)), digest(data)
    return thumbnail(read_image(path)), digest(data)


def _grey_flag(shorter: int) -> int:
    """How OpenCV decodes a JPEG whose shorter side is this; its reduced pixels lie off by half a one."""
    flags = ((8, cv2.IMREAD_REDUCED_GRAYSCALE_8), (4, cv2.IMREAD_REDUCED_GRAYSCALE_4), (2, cv2.IMREAD_REDUCED_GRAYSCALE_2))
    return next((flag for scale, flag in flags if shorter // scale >= 16 * SIDE), cv2.IMREAD_GRAYSCALE)


def stack(prints: Sequence[tuple[NDArray[np.uint8], int]]) -> Prints:
    """Thumbnails and digests, one by one, as one set."""
    if not prints:
        return Prints()
    return Prints(np.stack([thumb for thumb, _ in prints]), np.array([number for _, number in prints], np.int64))


def matches(first: Prints, second: Prints | None = None, least: float = SHARED) -> list[Match]:
    """Pairs that agree in at least a share `least` of their cells, sorted; memory is bounded by blocks.

    Args:
        first: M pictures.
        second: N pictures to compare them with; without, the pairs within `first`, each once (first < second).
        least: SHARED also gives pictures with a common background, COPY only copies.
    """
    other = first if second is None else second
    found = {(i, j): Match(i, j, 1.0, True) for i, j in _equal(first.digests, other.digests)}
    for i, j, flip, alike in _candidates(first.thumbs, other.thumbs, _CROPPED if least >= COPY else _ALIKE):
        known = found.get((i, j), _NONE).agreement
        # within a set every pair comes twice, and alike
        if known >= COPY or second is None and i >= j:
            continue
        share = agreement(first.thumbs[i], _flipped(other.thumbs[j], flip), align=alike >= _CROPPED)
        if share >= max(least, known):
            found[i, j] = Match(i, j, share)
    return sorted(match for match in found.values() if second is not None or match.first < match.second)


_NONE = Match(-1, -1, 0.0)


def agreement(first: NDArray[np.uint8], second: NDArray[np.uint8], align: bool = True) -> float:
    """Share of the cells in which two thumbnails (32, 32) agree; `align`: one may be cropped."""
    one, two = first.astype(np.float32), second.astype(np.float32)
    best = _agree(one, two, 4, 0.2)
    if best >= COPY or not align:
        return best
    for a, b in ((one, two), (two, one)):
        moved = _aligned(a, b)
        # cells are cut anew, so those on edges differ more
        best = best if moved is None else max(best, _agree(a, moved, 5, 0.3))
        if best >= COPY:
            break
    return best


def _aligned(one: Floats, two: Floats) -> Floats | None:
    """`two` (32, 32) moved and scaled onto `one`, negative where it has no cell; None: not by a slight crop."""
    start = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
    steps = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 30, 1e-4)
    try:
        warp = cv2.findTransformECC(one, two, start, cv2.MOTION_AFFINE, steps, None, 3)[1]
    except cv2.error:  # it did not converge
        return None
    if max(abs(warp[0, 1]), abs(warp[1, 0])) > 0.03 or max(abs(warp[0, 0] - 1), abs(warp[1, 1] - 1)) > 0.25:
        return None
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(two, warp, (SIDE, SIDE), flags=flags, borderMode=cv2.BORDER_CONSTANT, borderValue=-1e4)
    return moved.astype(np.float32) if (moved >= 0).mean() > 0.7 else None


def _agree(one: Floats, two: Floats, offset: float, edge: float) -> float:
    """Share of cells (32, 32) that differ by at most `offset`, and `edge` of the contrast around them."""
    inside = two >= 0
    # brightness and contrast may have been changed: a line, fitted again to the cells that lie near it
    keep = inside
    gap = np.zeros_like(one)
    for _ in range(3):
        x, y = one[keep], two[keep]
        mean, spread = x.mean(), float(x.var())
        if spread < _FLAT**2:
            return 0.0
        slope = float(np.dot(x - mean, y)) / x.size / spread
        if not 0.6 < slope < 1.6:
            slope = 1.0
        gap = np.abs(slope * (one - mean) + y.mean() - two)
        keep = inside & (gap <= np.median(gap[inside]) * 1.5 + 1)
    kernel = np.ones((3, 3), np.uint8)
    local = cv2.dilate(one, kernel) - cv2.erode(one, kernel)
    return float((gap <= offset + edge * local)[inside].mean())


def _equal(first: NDArray[np.int64], second: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Indices (i, j) of equal digests; 0 equals none."""
    places: dict[int, list[int]] = {}
    for j, number in enumerate(second.tolist()):
        places.setdefault(number, []).append(j)
    return [(i, j) for i, number in enumerate(first.tolist()) if number for j in places.get(number, ())]


def _candidates(first: Thumbs, second: Thumbs, least: float) -> Iterator[tuple[int, int, int, float]]:
    """Pairs (i, j) whose low frequencies correlate, the flip (0–3) of j under which they do, and how much: above `least`."""
    if not len(first) or not len(second):
        return
    whole, cropped = (_descriptors(second, window) for window in (1.0, _CROP))
    for start in range(0, len(first), _BLOCK):
        block = first[start : start + _BLOCK]
        queries = [(_descriptors(block, window), target) for window, target in ((1, whole), (1, cropped), (_CROP, whole))]
        for flip in range(4):
            signs = _flip_signs(flip)
            for low in range(0, len(second), _BLOCK):
                alike = np.maximum.reduce([(query * signs) @ target[low : low + _BLOCK].T for query, target in queries])
                for i, j in np.argwhere(alike > least).tolist():
                    yield start + i, low + j, flip, float(alike[i, j])


def _basis(window: float) -> Floats:
    """(K, 32): cosines over the central `window` of a thumbnail's cells."""
    place = (np.arange(SIDE) + 0.5) / SIDE
    inner = (place - 0.5) / window + 0.5
    waves = np.cos(np.pi * np.arange(_FREQUENCIES)[:, None] * inner)
    return (waves * ((inner > 0) & (inner < 1))).astype(np.float32)


def _descriptors(thumbs: Thumbs, window: float) -> Floats:
    """(N, D) unit vectors: DCT coefficients without the constant, weighed by frequency; 0 for flat pictures."""
    basis = _basis(window)
    centred = thumbs.astype(np.float32) - thumbs.mean((1, 2), keepdims=True, dtype=np.float32)
    flat = centred.std((1, 2)) < _FLAT
    coefficients = np.einsum("ki,nij,lj->nkl", basis, centred, basis, optimize=True)
    orders = np.arange(_FREQUENCIES)
    coefficients *= np.hypot(orders[:, None], orders)
    rows = coefficients.reshape(len(thumbs), -1)[:, 1:]
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.where(flat[:, None], 0, rows / np.maximum(norms, 1e-6)).astype(np.float32)


def _flip_signs(flip: int) -> Floats:
    """(D,) signs that a flip gives to the coefficients: 1 left-right, 2 upside down, 3 both."""
    odd = 1 - 2 * (np.arange(_FREQUENCIES) % 2)
    rows = odd if flip & 2 else np.ones_like(odd)
    columns = odd if flip & 1 else np.ones_like(odd)
    return np.outer(rows, columns).reshape(-1)[1:].astype(np.float32)


def _flipped(thumb: NDArray[np.uint8], flip: int) -> NDArray[np.uint8]:
    return thumb[:: -1 if flip & 2 else 1, :: -1 if flip & 1 else 1]
