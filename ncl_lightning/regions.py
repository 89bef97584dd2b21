"""Where a picture is manipulated: object-like segments of it, or drawn shapes."""

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ncl_lightning.camera import Pixels
from ncl_lightning.deadleaves import outlines

Region = NDArray[np.bool_]

LARGEST = 0.45  # no region covers more of a picture
WORKING = 96  # the longer side at which a picture is segmented
SEEDS = 10  # watershed seeds along that side


def shape(rng: Generator, height: int, width: int, share: float, inside: bool = False) -> Region:
    """An ellipse, a polygon or a smooth blob, (H, W), that covers about `share` of the picture.

    Its centre lies anywhere, near the frame too: regions kept inside would make the place a giveaway.
    `inside` keeps it from the frame, for what is cut out to be moved: a straight cut would show elsewhere.
    """
    outline = outlines(rng, 1)[0]
    wanted = share * height * width
    radius = np.sqrt(wanted / max(cv2.contourArea(outline), 0.3))
    reach = np.minimum(np.abs(outline).max(0) * radius, np.array([width, height]) / 2) if inside else np.zeros(2)
    centre = rng.uniform(reach, np.array([width, height]) - reach)
    mask = np.zeros((height, width), np.uint8)
    for _ in range(4):
        mask[:] = 0
        cv2.fillPoly(mask, [np.rint((outline * radius + centre) * 16).astype(np.int32)], 1, shift=4)
        seen = np.count_nonzero(mask) / wanted
        if seen > 0.7:
            break
        # what the frame cuts off is made up for
        radius *= min(1.5, max(seen, 0.1) ** -0.5)
    return mask.astype(bool)


def _pieces(small: Pixels, rng: Generator) -> NDArray[np.int32]:
    """A picture (h, w, 3) cut along its edges into pieces numbered from 0, (h, w).

    Watershed (Meyer 1992) from a jittered grid of seeds.
    """
    height, width = small.shape[:2]
    markers = np.zeros((height, width), np.int32)
    step = max(height, width) / SEEDS
    rows, columns = np.mgrid[step / 2 : height : step, step / 2 : width : step]
    jitter = rng.uniform(-0.3, 0.3, (2, rows.size)) * step
    rows = np.clip(rows.ravel() + jitter[0], 1, height - 2).astype(int)
    columns = np.clip(columns.ravel() + jitter[1], 1, width - 2).astype(int)
    markers[rows, columns] = np.arange(1, rows.size + 1)
    labels = cv2.watershed(cv2.medianBlur(small, 5), markers).astype(np.float32)
    # the ridges between pieces (-1, and the frame) go to a neighbour
    spread = cv2.dilate(labels, np.ones((3, 3), np.uint8))
    numbers = np.where(labels > 0, labels, np.maximum(spread, 1)).astype(np.int32)
    return np.unique(numbers, return_inverse=True)[1].reshape(height, width).astype(np.int32)


def _grown(
    pieces: NDArray[np.int32], lab: NDArray[np.float32], rng: Generator, share: float, inside: bool
) -> Region | None:
    """Pieces joined from one anywhere, nearest colour first, up to `share` of the picture.

    `pieces` (h, w), `lab` (h, w, 3). Stops before a piece that looks unlike the object once half of the
    share is there; `inside` avoids the frame. None where the object would overflow.
    """
    count = int(pieces.max()) + 1
    area = np.bincount(pieces.ravel(), minlength=count).astype(np.float64)
    total = np.stack([np.bincount(pieces.ravel(), lab[..., c].ravel(), count) for c in range(3)], 1)
    colour = total / area[:, None]
    touching = np.zeros((count, count), bool)
    for one, other in ((pieces[:, 1:], pieces[:, :-1]), (pieces[1:], pieces[:-1])):
        touching[one, other] = touching[other, one] = True
    reluctance = np.zeros(count)
    if inside:
        reluctance[np.concatenate((pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]))] = 30.0
    candidates = np.flatnonzero(reluctance == 0)
    first = int(rng.choice(candidates if len(candidates) else np.arange(count)))
    wanted = share * pieces.size
    chosen = np.zeros(count, bool)
    chosen[first] = True
    while area[chosen].sum() < wanted:
        around = np.flatnonzero(touching[chosen].any(0) & ~chosen)
        if not len(around):
            break
        mean = (colour[chosen] * area[chosen, None]).sum(0) / area[chosen].sum()
        distance = np.linalg.norm(colour[around] - mean, axis=1) + reluctance[around]
        nearest = int(distance.argmin())
        if distance[nearest] > 25 and area[chosen].sum() > 0.5 * wanted:
            break
        chosen[around[nearest]] = True
    covered = area[chosen].sum() / pieces.size
    return None if covered > LARGEST else chosen[pieces]


def _snapped(rough: Region, image: Pixels) -> Region:
    """A rough region (h, w) enlarged to the picture (H, W, 3) and drawn to its edges, (H, W).

    A guided filter (He, Sun, Tang 2010) with the brightness as guide, cut at a half.
    """
    height, width = image.shape[:2]
    target = cv2.resize(rough.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    guide = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    side = 2 * max(2, round(max(height, width) / 40)) + 1
    window = (side, side)
    mean_guide, mean_target = cv2.blur(guide, window), cv2.blur(target, window)
    covariance = cv2.blur(guide * target, window) - mean_guide * mean_target
    slope = covariance / (cv2.blur(guide * guide, window) - mean_guide**2 + 1e-3)
    offset = mean_target - slope * mean_guide
    return np.asarray(cv2.blur(slope, window) * guide + cv2.blur(offset, window) > 0.5)


def _largest(region: Region) -> Region:
    """The largest connected part of a region (H, W), its holes filled and its fringe rounded."""
    smooth = cv2.medianBlur(region.astype(np.uint8), 5)
    contours, _ = cv2.findContours(smooth, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros(region.shape, np.uint8)
    if contours:
        cv2.drawContours(filled, [max(contours, key=cv2.contourArea)], -1, 1, cv2.FILLED)
    return filled.astype(bool)


def segment(image: Pixels, rng: Generator, share: float, inside: bool = False) -> Region | None:
    """An object-like region of a picture (H, W, 3), (H, W), of about `share` of it; None where none is found."""
    height, width = image.shape[:2]
    scale = min(1.0, WORKING / max(height, width))
    size = (max(8, round(width * scale)), max(8, round(height * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    lab = cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    rough = _grown(_pieces(small, rng), np.asarray(lab, np.float32), rng, share, inside)
    if rough is None:
        return None
    found = _largest(_snapped(rough, image))
    return found if 0.3 * share < found.mean() < LARGEST else None


def pick(image: Pixels, rng: Generator, share: float, objects: float, inside: bool = False) -> Region:
    """A region of a picture (H, W, 3), (H, W): with probability `objects` one of its objects, else a shape.

    `inside` keeps it from the frame.
    """
    found = segment(image, rng, share, inside) if rng.random() < objects else None
    return shape(rng, image.shape[0], image.shape[1], share, inside) if found is None else found
