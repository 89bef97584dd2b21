"""Made-up scenes: a dead-leaves model with 1/f textures, before any camera has seen them.

Overlapping opaque shapes whose sizes follow a power law have the spectra, the edges and the occlusions
of photographs (Lee, Mumford, Huang 2001, *Occlusion models for natural images*); networks that learned
from such pictures alone find their way in real ones (Baradad et al. 2021, *Learning to see by looking at
noise*). A scene is linear light; `camera.Camera` turns it into a photograph.
"""

from functools import lru_cache

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

TILE = 256  # least side of a texture tile; tiles wrap around, so one is no smaller than the scene: nothing repeats
TILES = 12
VERTICES = 28


def outlines(rng: Generator, count: int) -> NDArray[np.float32]:
    """Closed outlines around the origin, (count, VERTICES, 2) as x, y, of mean radius about 1.

    Ellipses, polygons of three to six corners and smooth blobs, stretched and turned at random.
    """
    angle = np.linspace(0, 2 * np.pi, VERTICES, endpoint=False)
    # a regular polygon in polar form: radius 1 at its corners
    corners = rng.integers(3, 7, (count, 1))
    sector = 2 * np.pi / corners
    polygon = np.cos(sector / 2) / np.cos(angle % sector - sector / 2)
    waves = np.arange(2, 6)
    height = rng.normal(0, 0.28, (count, 4)) / (waves - 0.5)
    phase = rng.uniform(0, 2 * np.pi, (count, 4))
    blob = 1 + (height[:, :, None] * np.cos(waves[:, None] * angle + phase[:, :, None])).sum(1)
    kind = rng.integers(0, 3, (count, 1))
    radius = np.where(kind == 0, 1.0, np.where(kind == 1, polygon, np.clip(blob, 0.25, 2)))
    stretch = np.exp(rng.normal(0, 0.3, (count, 1)))
    x, y = radius * np.cos(angle) * stretch, radius * np.sin(angle) / stretch
    turn = rng.uniform(0, 2 * np.pi, (count, 1))
    turned = np.stack((x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)), -1)
    return turned.astype(np.float32)


# two sizes: pictures are also worked on larger than their files
@lru_cache(maxsize=2)
def _tiles(side: int) -> NDArray[np.float32]:
    """Textures with power-law spectra, (TILES · side · side,), mean 0 and variance 1 in each tile.

    Amplitudes fall as f^-0.8 (sand) to f^-1.5 (cloud); half of the tiles have a grain, like wood or
    grass. Fixed for all samples, in every process: each leaf takes its own window.
    """
    rng = np.random.default_rng(20010101)
    vertical, horizontal = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None, :]
    tiles = np.empty((TILES, side, side), np.float32)
    for tile, fall in enumerate(np.linspace(0.8, 1.5, TILES)):
        turn = rng.uniform(0, np.pi)
        grain = 1.0 if tile % 2 else rng.uniform(2, 5)
        along = (horizontal * np.cos(turn) + vertical * np.sin(turn)) * grain
        across = (-horizontal * np.sin(turn) + vertical * np.cos(turn)) / grain
        frequency = np.hypot(along, across)
        frequency[0, 0] = np.inf
        spectrum = rng.normal(size=frequency.shape) + 1j * rng.normal(size=frequency.shape)
        field = np.fft.irfft2(spectrum * np.maximum(frequency, 1 / side) ** -fall, s=(side, side))
        tiles[tile] = np.clip((field - field.mean()) / field.std(), -3, 3)
    return tiles.ravel()


def _leaves(rng: Generator, count: int, height: int, width: int) -> NDArray[np.int32]:
    """Which leaf is on top at each pixel, (H, W); a later leaf hides an earlier one.

    Radii follow p(r) ∝ r^-a. Under a = 3 the picture looks alike at every scale; a nearer 2 shows larger
    objects. The first eight are as large as the picture, so that nothing stays bare.
    """
    side = min(height, width)
    smallest, largest = max(1.0, side / 120), 0.35 * side
    # the inverse of the distribution function of r^-a between both ends
    power = 1 - rng.uniform(2, 3)
    radius = (smallest**power + rng.random(count) * (largest**power - smallest**power)) ** (1 / power)
    radius[:8] = rng.uniform(0.4, 0.9, 8) * max(height, width)
    centre = rng.uniform(-0.05, 1.05, (count, 1, 2)) * (width, height)
    points = outlines(rng, count) * radius[:, None, None] + centre
    # four fractional bits place the outlines more finely than whole pixels
    points = np.rint(points * 16).astype(np.int32)
    labels = np.zeros((height, width), np.int32)
    for leaf in range(count):
        cv2.fillPoly(labels, [points[leaf]], leaf, shift=4)
    return labels


def scene(rng: Generator, height: int, width: int) -> NDArray[np.float32]:
    """One made-up scene in linear light, (H, W, 3) RGB, within 0–1.

    Colours scatter around a palette of the picture's own; each leaf has its texture and its shading,
    and in two pictures of five the far leaves are out of focus, so that neither sharpness nor grain
    alone tells what was pasted.
    """
    count = int(rng.integers(150, 500))
    labels = _leaves(rng, count, height, width)
    flat = labels.ravel()

    # natural colours vary most in brightness, then from blue to yellow, least from green to magenta
    warm, green = np.array([[0.7, 0, -0.7], [-0.4, 0.8, -0.4]])
    spread = rng.uniform(0.1, 0.5)
    tint = rng.normal(0.1, 0.3) + rng.normal(0, spread, (count, 1))
    hue = rng.normal(0, 0.12) + rng.normal(0, 0.5 * spread, (count, 1))
    brightness = rng.normal(rng.normal(-1.5, 0.35), rng.uniform(0.4, 0.8), (count, 1))
    albedo = np.exp(tint * warm + hue * green + brightness).astype(np.float32)
    contrast = np.clip(np.exp(rng.normal(-1.65, 0.7, count)), 0, 0.45).astype(np.float32)
    slope = rng.normal(0, 0.35 / max(height, width), (2, count)).astype(np.float32)

    rows, columns = np.divmod(np.arange(height * width, dtype=np.int32), np.int32(width))
    side = max(TILE, 1 << (max(height, width) - 1).bit_length())
    window = rng.integers(0, side, (2, count), dtype=np.int32)
    tile = rng.integers(0, TILES, count, dtype=np.int32) * np.int32(side * side)
    place = tile[flat] + (rows + window[0][flat]) % side * side + (columns + window[1][flat]) % side
    shade = 1 + contrast[flat] * _tiles(side)[place]
    shade += slope[0][flat] * (rows - height / 2) + slope[1][flat] * (columns - width / 2)
    light = rng.normal(0, 0.25, 2)
    shade *= 1 + light[0] * (rows / height - 0.5) + light[1] * (columns / width - 0.5)
    picture = albedo[flat] * np.maximum(shade, 0.05, dtype=np.float32)[:, None]
    picture = np.minimum(picture.reshape(height, width, 3), 1).astype(np.float32)

    if rng.random() < 0.4:
        near = (labels >= rng.integers(count // 4, count)).astype(np.float32)[:, :, None]
        far = cv2.GaussianBlur(picture, (0, 0), np.exp(rng.uniform(np.log(0.5), np.log(2.5))))
        picture = far + near * (picture - far)
    return np.asarray(picture, np.float32)
