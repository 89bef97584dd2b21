"""The manipulations: each recipe takes a picture and gives back a manipulated one and what changed.

A recipe is `(image, rng, …) -> (image, region)` with pictures (H, W, 3) uint8 RGB and regions (H, W) bool.
Outside the region the picture stays as it was, pixel for pixel, but for the feathered rim: at most
`REACH` pixels wide. `share` is how much of the picture to change, `objects` the probability that the region
follows an object; `plain` asks for traces that show, rougher or smoother than the picture, where a recipe
else may leave next to none.
"""

from typing import Literal

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ncl_lightning.camera import ROUGHENING, SMOOTHING, Pixels, add_noise, alter
from ncl_lightning.regions import LARGEST, Region, pick

Plain = Literal["rough", "smooth"] | None

REACH = 8  # pixels: a feathered edge goes no further beyond the region


def blend(image: Pixels, content: Pixels, region: Region, feather: float) -> Pixels:
    """`content` over `image` inside `region`; `feather` is the σ in pixels of the softened edge, 0: hard."""
    if feather < 0.3:
        return np.where(region[:, :, None], content, image)
    # truncated at REACH, so that the rim has an end
    side = 2 * min(REACH, int(np.ceil(3 * feather))) + 1
    alpha = cv2.GaussianBlur(region.astype(np.float32), (side, side), feather)[:, :, None]
    return np.rint(image + alpha * (content.astype(np.float32) - image)).astype(np.uint8)


def _feather(rng: Generator, region: Region) -> float:
    """The σ of an edge, in pixels: three in ten are hard, small regions have narrow rims."""
    if rng.random() < 0.3:
        return 0.0
    return float(rng.uniform(0.4, min(3.0, 0.5 + 0.05 * np.sqrt(np.count_nonzero(region)))))


def _edited(content: Pixels, rng: Generator, chance: float, plain: Plain) -> Pixels:
    """`content` (H, W, 3), with probability `chance` edited; where `plain`, in any case and strongly."""
    if plain is not None:
        return alter(content, rng, rng.uniform(1.2, 2.0), ROUGHENING if plain == "rough" else SMOOTHING)
    return alter(content, rng) if rng.random() < chance else content


def _moved(region: Region, height: int, width: int, share: float, rng: Generator, whole: bool) -> NDArray[np.float32]:
    """The affine map, (2, 3), that brings a region (h, w) into a picture of H × W as `share` of it.

    `whole`: moved by whole pixels only, which leaves every pixel as it was.
    """
    rows, columns = np.nonzero(region)
    centre = np.array([columns.mean(), rows.mean()])
    scale = 1.0 if whole else float(np.clip(np.sqrt(share * height * width / len(rows)), 0.4, 2.0))
    turn = 0.0 if whole or rng.random() < 0.3 else rng.normal(0, 35)
    matrix = cv2.getRotationMatrix2D(tuple(centre), turn, scale)
    mirrored = np.diag([-1.0, 1.0, 1.0]) if rng.random() < 0.3 else np.eye(3)
    mirrored[0, 2] = 2 * round(float(centre[0])) if mirrored[0, 0] < 0 else 0
    matrix = matrix @ mirrored
    # anywhere, cut by the frame too: a place that is never taken would be a giveaway
    target = rng.uniform(0.06, 0.94, 2) * (width, height)
    matrix[:, 2] += target - centre
    if whole:
        matrix[:, 2] = np.rint(matrix[:, 2])
    return np.asarray(matrix, np.float32)


def _carried(
    source: Pixels, region: Region, matrix: NDArray[np.float32], height: int, width: int, rng: Generator
) -> tuple[Pixels, Region]:
    """A source (h, w, 3) and its region after the map, as (H, W, 3) and (H, W)."""
    interpolation = int(rng.choice([cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4]))
    content = cv2.warpAffine(source, matrix, (width, height), flags=interpolation, borderMode=cv2.BORDER_REFLECT_101)
    landed = cv2.warpAffine(region.astype(np.uint8) * 255, matrix, (width, height), flags=cv2.INTER_LINEAR)
    return content.astype(np.uint8, copy=False), landed > 127


def match_colour(content: Pixels, image: Pixels, region: Region, strength: float) -> Pixels:
    """`content` with the Lab mean and spread, inside `region`, brought towards those of `image` there.

    After Reinhard et al. 2001, *Color transfer between images*; `strength` 0 leaves it, 1 matches fully.
    """
    # in floats: 8-bit Lab would posterise and leave a trace of its own
    ours = cv2.cvtColor(content.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    theirs = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    mean, spread = ours[region].mean(0), ours[region].std(0) + 1.0
    new_mean, new_spread = theirs[region].mean(0), theirs[region].std(0) + 1.0
    # spread is matched mildly: it scales the noise too
    gain = np.clip(new_spread / spread, 0.6, 1.6) ** strength
    matched = (ours - mean) * gain + mean + strength * (new_mean - mean)
    back = cv2.cvtColor(matched.astype(np.float32), cv2.COLOR_LAB2RGB)
    return np.clip(np.rint(back * 255), 0, 255).astype(np.uint8)


def splice(
    image: Pixels, rng: Generator, donor: Pixels, share: float, objects: float = 0.6, plain: Plain = None
) -> tuple[Pixels, Region]:
    """An object of `donor` (any size) set into the picture: scaled, turned, its colours mostly matched."""
    height, width = image.shape[:2]
    cut = pick(donor, rng, share, objects, inside=True)
    matrix = _moved(cut, height, width, share, rng, whole=rng.random() < 0.35)
    content, region = _carried(donor, cut, matrix, height, width, rng)
    if not region.any():
        return image, region
    if rng.random() < 0.75:
        content = match_colour(content, image, region, rng.uniform(0.4, 1.0))
    if plain is None and rng.random() < 0.25:  # a plain donor shows by its camera already
        content = alter(content, rng)
    return blend(image, content, region, _feather(rng, region)), region


def copy_move(
    image: Pixels, rng: Generator, share: float, objects: float = 0.6, plain: Plain = None
) -> tuple[Pixels, Region]:
    """A part of the picture copied to another place, turned and scaled; the region is the copy alone."""
    height, width = image.shape[:2]
    cut = pick(image, rng, share, objects, inside=True)
    whole = rng.random() < 0.35
    content, region = image, np.zeros((height, width), bool)
    for _ in range(6):
        matrix = _moved(cut, height, width, share * float(rng.uniform(0.6, 1.5)), rng, whole)
        content, region = _carried(image, cut, matrix, height, width, rng)
        if np.count_nonzero(region & cut) < 0.4 * max(int(np.count_nonzero(region)), 1):
            break
    if not region.any():
        return image, region
    if rng.random() < 0.3:
        content = match_colour(content, image, region, rng.uniform(0.2, 0.8))
    content = _edited(content, rng, 0.5, plain)
    return blend(image, content, region, _feather(rng, region)), region


def _diffused(image: Pixels, region: Region) -> Pixels:
    """The region filled smoothly from its border (Telea 2004), at 96 pixels: fills are smooth anyway."""
    height, width = image.shape[:2]
    scale = min(1.0, 96 / max(height, width))
    size = (max(4, round(width * scale)), max(4, round(height * scale)))
    # a region grown by one small pixel: none of what is removed bleeds into the fill
    touched = cv2.resize(region.astype(np.uint8) * 255, size, interpolation=cv2.INTER_AREA) > 0
    hole = cv2.dilate(touched.astype(np.uint8), np.ones((3, 3), np.uint8))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    filled = cv2.inpaint(small, hole, 3, cv2.INPAINT_TELEA)
    return cv2.resize(filled, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.uint8, copy=False)


def _surroundings(image: Pixels, region: Region, rng: Generator) -> Pixels:
    """The picture moved so that its other parts lie over the region; the move that fits the rim best."""
    height, width = image.shape[:2]
    rim = cv2.dilate(region.astype(np.uint8), np.ones((7, 7), np.uint8)).astype(bool) & ~region
    rows, columns = np.nonzero(region)
    tall, wide = int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1
    framed = cv2.copyMakeBorder(image, height, height, width, width, cv2.BORDER_REFLECT_101)
    best: Pixels = image
    least = np.inf
    for turn in rng.uniform(0, 2 * np.pi, 12):
        away = rng.uniform(1.0, 1.4)
        down, right = round(away * tall * np.sin(turn)), round(away * wide * np.cos(turn))
        top, left = height + int(np.clip(down, -height, height)), width + int(np.clip(right, -width, width))
        candidate = framed[top : top + height, left : left + width].astype(np.uint8, copy=False)
        misfit = float(np.abs(candidate[rim].astype(np.int16) - image[rim]).mean()) if rim.any() else 0.0
        inside = rows.min() + down >= 0 and rows.max() + down < height
        inside &= columns.min() + right >= 0 and columns.max() + right < width
        if not inside:  # mirrored parts catch the eye
            misfit += 30
        if misfit < least:
            best, least = candidate, misfit
    return best


def remove(
    image: Pixels, rng: Generator, share: float, objects: float = 0.6, plain: Plain = None
) -> tuple[Pixels, Region]:
    """A part of the picture painted over: smoothly, with cloned surroundings, or smoothly with their texture."""
    region = pick(image, rng, share, objects)
    if rng.random() < 0.7:  # a brush goes beyond the outline
        grow = int(rng.integers(1, 3)) * 2 + 1
        region = cv2.dilate(region.astype(np.uint8), np.ones((grow, grow), np.uint8)).astype(bool)
    if not 0 < region.mean() <= LARGEST + 0.05:
        return image, np.zeros_like(region)
    way = rng.random()
    if way < 0.35:
        content = _surroundings(image, region, rng)
    else:
        content = _diffused(image, region)
        if way < 0.75:  # the fine part of the surroundings over the smooth fill
            near = _surroundings(image, region, rng)
            fine = near.astype(np.float32) - cv2.GaussianBlur(near, (0, 0), rng.uniform(1.5, 4))
            content = np.clip(np.rint(content + fine * rng.uniform(0.5, 1.0)), 0, 255).astype(np.uint8)
        elif way < 0.9:
            content = add_noise(content, rng, rng.uniform(0.5, 6))
    content = _edited(content, rng, 0.3, plain)
    return blend(image, content, region, _feather(rng, region)), region


def _toned(image: Pixels, rng: Generator) -> Pixels:
    """Another brightness, contrast and tint, (H, W, 3)."""
    levels = np.arange(256)[:, None] / 255
    gamma = np.exp(rng.choice([-1, 1]) * rng.uniform(0.15, 0.5)) * np.exp(rng.normal(0, 0.06, 3))
    curve = np.rint(255 * levels**gamma).astype(np.uint8)
    return np.stack([curve[:, channel][image[:, :, channel]] for channel in range(3)], 2)


def retouch(
    image: Pixels, rng: Generator, share: float, objects: float = 0.6, plain: Plain = None
) -> tuple[Pixels, Region]:
    """A part of the picture edited in place: its traces, its tones, or both."""
    region = pick(image, rng, share, objects)
    content = image
    way = rng.random()
    if way < 0.85 or plain is not None:
        content = _edited(content, rng, 1.0, plain)
    if way > 0.6:
        content = _toned(content, rng)
    return blend(image, content, region, _feather(rng, region)), region
