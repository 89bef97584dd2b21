"""Copy-move: what a picture holds twice, by keypoints that match others of the same picture.

Not the paper's: its network compares a place with the whole picture by traces, not with each other place by content.
Keypoints (SIFT) are matched within the picture, as Amerini et al. 2011, *A SIFT-based forensic method for copy-move
attack detection*; each affine map that many pairs agree on is followed by correlation of the pixels, as Christlein et
al. 2012, *An evaluation of popular copy-move forgery detection approaches*. Which of the two places is the copy, three
signs say. It does not stand on the picture's grid: that of the blocks of a JPEG that it was, or of the mosaic of its
camera's colours. The network's map suspects it more. And it can be made from the other place: what was turned or scaled
was interpolated, so that the original can't be made from it as well.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ncl_lightning.blocks import SIDE

Array = NDArray[Any]  # OpenCV's functions give no types

NEAR = 16  # pixels: places nearer than that are alike anyway
LARGEST = 2048  # pixels a side in which keypoints are looked for: SIFT takes 200 bytes for each
CONTRAST = 0.008  # SIFT's threshold, a fifth of the usual: smooth things are copied, too
KEYPOINTS = 5000
NEIGHBOURS = 12  # of a keypoint that are looked at; some are its own place at another scale
RATIO = 0.6  # of a match's distance to the next best one's
PAIRS = 12  # fewest that make a map
MAPS = 6  # most of a picture
WINDOW = 9  # pixels, of the correlation
ALIKE = 0.75  # correlation of grey values from which two places are the same
FINE = 0.65  # correlation of fine detail, below which two things only look alike
# from which lead one of two places is the copy, tried in this order
OFF_GRID = 5.0  # by which it stands worse on the picture's grid, in standard deviations
SUSPECT = 2.0  # in mean logit
RESAMPLED = 0.01  # in how well it can be made from the other: a correlation
SUSPECT_ELSE = 1.0  # in mean logit, where resampling does not tell

SURE = 0.95  # probability from which a map counts beside a copy
COVERED = 0.1  # share of a place that is called a copy, from which both are one manipulation


class Copy(NamedTuple):
    """Two places of a picture that agree.

    Attributes:
        one: (H,W) bool.
        other: (H,W) bool, without what is in `one`, too; may be empty where they overlap.
        agreement: Correlation of their fine detail, at most 1; the higher one of both directions.
        lean: By how much better `one` can be made from `other` than `other` from `one`: a difference of correlations,
            or 0 where the energies disagree.
        off_grid: By how much worse `one` stands on the picture's grid than `other`, in standard deviations.
    """

    one: Array
    other: Array
    agreement: float
    lean: float
    off_grid: float = 0.0


def find_copies(image: Array) -> list[Copy]:
    """What a picture (H,W,3) uint8 RGB holds twice.

    A thing that was photographed twice (windows of a facade, say) agrees in shape but not in its fine detail, noise
    included: what agrees by less than FINE there is left out. What a machine drew (text, an icon) repeats exactly and
    is found; what repeats many times, as tiles do, is not, since no match stands out there.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    found = [_copy(grey, matrix, pairs) for matrix, pairs in _maps(_pairs(grey))]
    # beside a copy, what merely looks alike agrees less well
    least = max([FINE, *(0.9 * copy.agreement for copy in found)])
    return [copy for copy in found if copy.agreement >= least]


def copies_of(image: Tensor, content: Tensor | None = None) -> list[list[Copy]]:
    """What each of some pictures (B,3,H,W), uint8 or float of 0..1, holds twice.

    `content` (B,2) are the rows and columns that a picture fills of its frame, from the top left; None: all.
    """
    pixels = image if image.dtype == torch.uint8 else (image.clamp(0, 1) * 255).round().byte()
    sizes = [image.shape[-2:]] * len(image) if content is None else content.tolist()
    pictures = pixels.permute(0, 2, 3, 1).cpu().numpy()
    return [
        # a frame is filled up with the picture's own mirror
        find_copies(np.ascontiguousarray(picture[:rows, :columns]))
        for picture, (rows, columns) in zip(pictures, sizes, strict=True)
    ]


def with_copies(probability: Tensor, copies: Sequence[Sequence[Copy]]) -> Tensor:
    """Probability maps (B,1,H,W) in the light of the copies that each picture holds.

    Where a picture holds something twice, the copy is called tampered (above 0.8): the place that stands worse on the
    picture's grid; else the one that the map suspects much more; else the one that can better be made from the
    other; else the one that the map suspects more; both where nothing tells. All else is halved: one manipulation
    that is certain explains the picture better than two. What the map is sure of stays where the copy is a part of it.
    Other pictures' maps stay.
    """
    maps = [_with_copies(one, found) for one, found in zip(probability, copies, strict=True)]
    return torch.stack(maps) if maps else probability


def _with_copies(probability: Tensor, copies: Sequence[Copy]) -> Tensor:
    """The map (1,H,W) of one picture."""
    own = probability.detach().float()[0].cpu()
    logits, called = own.logit(1e-6).numpy(), np.zeros(own.shape, np.float32)
    for copy in copies:
        rows, columns = copy.one.shape
        places = _suspect(copy, logits[:rows, :columns])
        inside = called[:rows, :columns]
        inside[places] = np.maximum(inside[places], 0.5 + copy.agreement / 2)
    if not called.any():
        return probability
    kept = torch.from_numpy(_joined(own.numpy() > SURE, called > 0)).to(probability.device)
    certain = torch.from_numpy(called).to(probability)
    # where the map is surer than the copies agree, it stays
    return torch.where(
        certain > 0,
        torch.maximum(certain, probability),
        torch.where(kept, probability, probability / 2),
    )


def _joined(places: Array, called: Array) -> Array:
    """Those connected parts of `places` (H,W) of which at least COVERED is called a copy (H,W), too."""
    _, parts = cv2.connectedComponents(places.astype(np.uint8))
    covered = np.bincount(parts.ravel(), called.ravel()) >= COVERED * np.bincount(parts.ravel())
    return places & covered[parts]


def _suspect(copy: Copy, logits: Array) -> Array:
    """The place (H,W) of the two that is the copy, by the logits (H,W) and its own traces; both where nothing tells."""
    if copy.one.any() and copy.other.any():
        lead = logits[copy.one].mean() - logits[copy.other].mean()
        signs = ((copy.off_grid, OFF_GRID), (lead, SUSPECT), (copy.lean, RESAMPLED), (lead, SUSPECT_ELSE))
        for sign, least in signs:
            if abs(sign) > least:
                return copy.one if sign > 0 else copy.other
    return copy.one | copy.other


def _pairs(grey: Array) -> Array:
    """Places (n,4) x, y, x', y' whose surroundings match, turned, scaled or mirrored, and match no others as well."""
    scale = min(1.0, LARGEST / max(grey.shape))
    reduced = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else grey
    places, descriptors = _keypoints(reduced)
    if len(places) <= NEIGHBOURS:
        return np.zeros((0, 4), np.float32)
    mirrored = _mirrored(descriptors)
    return np.concatenate([_matches(places, descriptors, other) for other in (descriptors, mirrored)]) / scale


def _keypoints(grey: Array) -> tuple[Array, Array]:
    """Places (n,2) x, y and descriptors (n,128) of length 1."""
    # precise: else every place lies a quarter of a pixel off, which mirroring doubles
    sift = cv2.SIFT.create(
        nfeatures=KEYPOINTS, contrastThreshold=CONTRAST, edgeThreshold=20, enable_precise_upscale=True
    )
    keypoints, descriptors = sift.detectAndCompute(grey, None)
    if descriptors is None:
        return np.zeros((0, 2), np.float32), np.zeros((0, 128), np.float32)
    # the square root: Arandjelović and Zisserman 2012, *Three things everyone should know*
    root = np.sqrt(descriptors / np.maximum(descriptors.sum(1, keepdims=True), 1))
    return np.array([point.pt for point in keypoints], np.float32), root


def _mirrored(descriptors: Array) -> Array:
    """The descriptors (n,128) that the mirrored picture has at the same places.

    4×4 cells of 8 directions, laid along the keypoint's own direction: its two sides change places.
    """
    cells = descriptors.reshape(-1, 4, 4, 8)[:, ::-1]
    return cells[..., -np.arange(8) % 8].reshape(-1, 128)


def _matches(places: Array, descriptors: Array, others: Array) -> Array:
    """Pairs (n,4) of which the angle is less than RATIO of the next best's; two of them where there are two."""
    best = torch.from_numpy(descriptors @ others.T).topk(NEIGHBOURS, 1)
    likeness, nearest = best.values.numpy(), best.indices.numpy()
    # itself does not count
    apart = np.linalg.norm(places[:, None] - places[nearest], axis=2) > NEAR
    angle = np.where(apart, np.arccos(likeness.clip(-1, 1)), np.pi)
    order = angle.argsort(1)[:, :3]
    nearest, angle = np.take_along_axis(nearest, order, 1), np.take_along_axis(angle, order, 1)
    known = apart.sum(1)
    one = (known > 1) & (angle[:, 0] < RATIO * angle[:, 1])
    two = ~one & (known > 2) & (angle[:, 1] < RATIO * angle[:, 2])
    chosen = [(one, 0), (two, 0), (two, 1)]
    return np.concatenate([np.hstack([places[rows], places[nearest[rows, k]]]) for rows, k in chosen])


def _maps(pairs: Array) -> Iterator[tuple[Array, Array]]:
    """Affine maps (2,3) that at least PAIRS pairs agree on, to two pixels, either way; each with its pairs (n,4)."""
    for _ in range(MAPS):
        if len(pairs) < PAIRS:
            return
        start, end = np.ascontiguousarray(pairs[:, :2]), np.ascontiguousarray(pairs[:, 2:])
        matrix, _ = cv2.estimateAffine2D(start, end, ransacReprojThreshold=2, maxIters=4000, confidence=0.999)
        if matrix is None:
            return
        there, back = _misfit(matrix, start, end) < 2, _misfit(matrix, end, start) < 2
        if there.sum() + back.sum() < PAIRS:
            return
        stretch = np.linalg.svd(matrix[:, :2], compute_uv=False)
        # what is squeezed to a line can't be brought back
        if stretch[1] > 0.4 and stretch[0] < min(2.5, 1.5 * stretch[1]):
            meant = np.concatenate([pairs[there], pairs[back & ~there][:, [2, 3, 0, 1]]])
            yield _whole(matrix, meant[:, :2]), meant
        pairs = pairs[~(there | back)]


def _whole(matrix: Array, places: Array) -> Array:
    """The map (2,3), by whole pixels where that is what it means at the places (n,2): nothing was interpolated then."""
    whole = np.rint(matrix)
    regular = abs(round(np.linalg.det(whole[:, :2]))) == 1
    there = places @ matrix[:, :2].T + matrix[:, 2]
    return whole if regular and _misfit(whole, places, there).mean() < 0.5 else matrix


def _misfit(matrix: Array, start: Array, end: Array) -> Array:
    """How far from `end` (n,2) the map brings `start`, in pixels."""
    return np.linalg.norm(start @ matrix[:, :2].T + matrix[:, 2] - end, axis=1)


def _copy(grey: Array, matrix: Array, pairs: Array) -> Copy:
    """What the map and its inverse bring to agree."""
    values, back = grey.astype(np.float32), cv2.invertAffineTransform(matrix)
    one, other = _alike(values, matrix, pairs[:, :2]), _alike(values, back, pairs[:, 2:])
    agreement = max(_agreement(values, matrix, one), _agreement(values, back, other))
    lean = _lean(_made(values, matrix, one), _made(values, back, other))
    return Copy(one, other & ~one, agreement, lean, _off_grid(values, one, other))


def _alike(ours: Array, matrix: Array, keypoints: Array) -> Array:
    """Where (H,W) a picture of grey values agrees with itself at the mapped place, about the keypoints (n,2)."""
    height, width = ours.shape
    theirs = _warped(ours, matrix)
    correlation, variance = _correlation(ours, theirs)
    # where nothing is to be seen, grey values must agree, and only between the keypoints: all sky is alike
    flat = (variance < 20) & (np.abs(cv2.boxFilter(ours - theirs, -1, (WINDOW, WINDOW))) < 3)
    hull = cv2.convexHull(np.rint(keypoints).astype(np.int32))
    between = cv2.dilate(cv2.fillConvexPoly(np.zeros((height, width), np.uint8), hull, 1), _disc(2 * NEAR + 1)) > 0
    same = ((correlation > ALIKE) | (flat & between)).astype(np.uint8)
    _, parts = cv2.connectedComponents(cv2.morphologyEx(same, cv2.MORPH_OPEN, _disc(9)))
    columns, rows = np.rint(keypoints).astype(int).T
    hit = parts[rows.clip(0, height - 1), columns.clip(0, width - 1)]
    meant = np.isin(parts, hit[hit > 0]).astype(np.uint8)
    return cv2.morphologyEx(meant, cv2.MORPH_CLOSE, _disc(11)) > 0


def _agreement(grey: Array, matrix: Array, places: Array) -> float:
    """Correlation of the fine detail of places (H,W) with that of the mapped ones, by how much there is of it."""
    fine = grey - cv2.GaussianBlur(grey, (0, 0), 1.5)
    return _mean_correlation(fine, _warped(fine, matrix), places)


def _made(grey: Array, matrix: Array, places: Array) -> tuple[float, float]:
    """How well the map makes places (H,W) from the others, by their second derivatives, where interpolation shows most.

    Gallagher 2005, *Detection of linear and cubic interpolation in JPEG compressed images*.

    Returns:
        Their correlation, and the logarithm of what is lost: how much more energy there is than is made.
    """
    inside = cv2.erode(places.astype(np.uint8), np.ones((WINDOW, WINDOW), np.uint8)) > 0
    ours, theirs = (cv2.Laplacian(values, cv2.CV_32F) for values in (grey, _warped(grey, matrix)))
    energy, made = (float(np.square(values[inside]).sum()) + 1.0 for values in (ours, theirs))
    return _mean_correlation(ours, theirs, inside), float(np.log(energy / made))


def _lean(one: tuple[float, float], other: tuple[float, float]) -> float:
    """The lead of `one` in correlation, or 0 where it is not the one that loses less.

    A JPEG afterwards, or noise, lowers the correlation of what is smooth, so of a copy that was enlarged.
    """
    lead = one[0] - other[0]
    return lead if lead * (other[1] - one[1]) > 0 else 0.0


def _off_grid(grey: Array, one: Array, other: Array) -> float:
    """The lead of place `other` (H,W) over `one` in how it stands on the grid of the rest of the picture.

    A grid of 8 or 2 pixels shows as more detail at some of the 64 places within blocks (see `blocks`): the lead is that
    of the projections on the rest's pattern, by its standard deviation were there no grid.
    """
    detail = np.log1p(np.abs(cv2.filter2D(grey, cv2.CV_32F, np.array([[1, -1], [-1, 1]], np.float32))))
    edge = cv2.dilate((one | other).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    patterns = [_pattern(detail, places) for places in (~edge, one & ~other, other & ~one)]
    (rest, _), (ours, our_variance), (theirs, their_variance) = patterns
    rest -= rest.mean()
    return float((theirs - ours) @ rest / np.sqrt((our_variance + their_variance) @ rest**2 + 1e-12))


def _pattern(detail: Array, places: Array) -> tuple[Array, Array]:
    """The mean detail (64,) of places (H,W) at each of the 64 places within a block, and the variance of that mean.

    Where there are next to no pixels, the variance is without bound.
    """
    rows, columns = np.nonzero(places)
    phase = rows % SIDE * SIDE + columns % SIDE
    count = np.bincount(phase, minlength=SIDE**2)
    if count.min() < 5:
        return np.zeros(SIDE**2), np.full(SIDE**2, 1e12)
    values = detail[rows, columns].astype(np.float64)
    mean = np.bincount(phase, values, SIDE**2) / count
    return mean, np.bincount(phase, (values - mean[phase]) ** 2, SIDE**2) / count**2


def _mean_correlation(ours: Array, theirs: Array, places: Array) -> float:
    """Correlation of two maps (H,W) over places (H,W), by how much there is to be seen; 0 where it is too little."""
    correlation, variance = _correlation(ours, theirs)
    seen = places & (variance > 4)
    if np.count_nonzero(seen) < 50:
        return 0.0
    return min(1.0, float(np.average(correlation[seen], weights=np.sqrt(variance[seen]))))


def _warped(values: Array, matrix: Array) -> Array:
    """At each place the value (H,W) of the place that it is mapped to; 0 outside."""
    size = values.shape[::-1]
    return cv2.warpAffine(values, matrix, size, flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP, borderValue=0)


def _correlation(ours: Array, theirs: Array) -> tuple[Array, Array]:
    """Correlation of two maps (H,W) in windows about each place, and the variance of the first."""

    def mean(values: Array) -> Array:
        return cv2.boxFilter(values, -1, (WINDOW, WINDOW))

    our, their = mean(ours), mean(theirs)
    variance, other = mean(ours * ours) - our**2, mean(theirs * theirs) - their**2
    both = mean(ours * theirs) - our * their
    # grey values are whole numbers: a window of one value has no correlation
    return both / np.sqrt(variance.clip(0) * other.clip(0) + 4), variance


def _disc(size: int) -> Array:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
