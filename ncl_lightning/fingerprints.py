"""Fingerprints of pictures: which are the same one, recompressed, resized, slightly cropped or flipped.

A fingerprint is a 32×32 grey thumbnail and a hash of the file. Candidates are found among all pairs by the low
frequencies of the thumbnails, flattened as natural pictures' spectra are not (a sky above a field is no likeness);
then each is compared cell by cell (`likeness`), which tells a copy from a shared background.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ncl_lightning.images import image_size, read_image
from ncl_lightning.likeness import COPY, FLAT, SHARED, SIDE, Floats, Thumbs, agreement

_FREQUENCIES = 9
_ALIKE = 0.5  # correlation of two descriptors from which a pair is looked at closely
_CROPPED = 0.7  # and from which one may be the other, cropped: to align them costs a millisecond
_CROP = 0.92  # side of the central window that a descriptor of a cropped copy resembles
_BLOCK = 1024


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
    flags = (
        (8, cv2.IMREAD_REDUCED_GRAYSCALE_8),
        (4, cv2.IMREAD_REDUCED_GRAYSCALE_4),
        (2, cv2.IMREAD_REDUCED_GRAYSCALE_2),
    )
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
    for rows, columns, flips, alike in _candidates(first.thumbs, other.thumbs, _CROPPED if least >= COPY else _ALIKE):
        # within a set every pair comes twice, and alike
        keep = rows < columns if second is None else np.ones(len(rows), bool)
        rows, columns, flips, alike = rows[keep], columns[keep], flips[keep], alike[keep]
        shares = agreement(first.thumbs[rows], _flipped(other.thumbs[columns], flips), alike >= _CROPPED)
        for place in np.flatnonzero(shares >= least).tolist():
            key = int(rows[place]), int(columns[place])
            if key not in found or shares[place] > found[key].agreement:
                found[key] = Match(*key, float(shares[place]))
    return sorted(match for match in found.values() if second is not None or match.first < match.second)


def _equal(first: NDArray[np.int64], second: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Indices (i, j) of equal digests; 0 equals none."""
    places: dict[int, list[int]] = {}
    for j, number in enumerate(second.tolist()):
        places.setdefault(number, []).append(j)
    return [(i, j) for i, number in enumerate(first.tolist()) if number for j in places.get(number, ())]


def _candidates(first: Thumbs, second: Thumbs, least: float) -> Iterator[tuple[NDArray[Any], ...]]:
    """Pairs whose low frequencies correlate: i (N,), j (N,), the flips of j under which they do, and how much."""
    if not len(first) or not len(second):
        return
    whole, cropped = (_descriptors(second, window) for window in (1.0, _CROP))
    for start in range(0, len(first), _BLOCK):
        block = first[start : start + _BLOCK]
        queries = [
            (_descriptors(block, window), target) for window, target in ((1, whole), (1, cropped), (_CROP, whole))
        ]
        for flip in range(4):
            signs = _flip_signs(flip)
            for low in range(0, len(second), _BLOCK):
                alike = np.maximum.reduce([(query * signs) @ target[low : low + _BLOCK].T for query, target in queries])
                i, j = np.nonzero(alike > least)
                for part in range(0, len(i), _BLOCK):
                    a, b = i[part : part + _BLOCK], j[part : part + _BLOCK]
                    yield start + a, low + b, np.full(len(a), flip), alike[a, b]


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
    flat = centred.std((1, 2)) < FLAT
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


def _flipped(thumbs: Thumbs, flips: NDArray[Any]) -> Thumbs:
    """Thumbnails (N, 32, 32), each flipped as its entry in (N,) says."""
    out = np.where((flips & 1)[:, None, None] > 0, thumbs[:, :, ::-1], thumbs)
    return np.where((flips & 2)[:, None, None] > 0, out[:, ::-1], out).astype(np.uint8)
