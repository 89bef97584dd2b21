"""What cameras, editors and file formats leave behind in a picture.

A photograph carries the lens blur, the sensor noise, the interpolated colours of the Bayer mosaic and the
8×8 grid of the JPEG that its camera wrote; what was pasted into it carries another camera's. `Camera` lays
these traces down, `alter` disturbs them as local edits do, and `history` is what befalls the finished file
as a whole, authentic or not.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

SMALLEST = 32  # pixels a side: below that no region has an inside

# the colour of the pixels at rows and columns (0,0) (0,1) (1,0) (1,1), and OpenCV's two interpolations
_MOSAICS: tuple[tuple[tuple[int, int, int, int], int, int], ...] = (
    ((0, 1, 1, 2), cv2.COLOR_BayerRGGB2RGB, cv2.COLOR_BayerRGGB2RGB_EA),
    ((1, 0, 2, 1), cv2.COLOR_BayerGRBG2RGB, cv2.COLOR_BayerGRBG2RGB_EA),
    ((1, 2, 0, 1), cv2.COLOR_BayerGBRG2RGB, cv2.COLOR_BayerGBRG2RGB_EA),
    ((2, 1, 1, 0), cv2.COLOR_BayerBGGR2RGB, cv2.COLOR_BayerBGGR2RGB_EA),
)


def jpeg(image: Pixels, quality: int, shift: tuple[int, int] = (0, 0), halved_colour: bool = True) -> Pixels:
    """`image` (H, W, 3) after one JPEG compression; its 8×8 grid starts `shift` = (rows, columns) before it.

    `halved_colour` stores the colour at half resolution (4:2:0), as most cameras do.
    """
    down, right = shift
    framed = cv2.copyMakeBorder(image, down, 0, right, 0, cv2.BORDER_REFLECT) if down or right else image
    sampling = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420 if halved_colour else cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    # the encoder and the decoder speak BGR
    _, stored = cv2.imencode(".jpg", cv2.cvtColor(framed, cv2.COLOR_RGB2BGR), options)
    read = cv2.imdecode(stored, cv2.IMREAD_COLOR)
    assert read is not None, "what was just encoded decodes"
    return np.ascontiguousarray(read[down:, right:, ::-1], np.uint8)


def add_noise(image: Pixels, rng: Generator, sigma: float, grain: float = 0.0) -> Pixels:
    """`image` (H, W, 3) plus Gaussian noise of `sigma` grey levels; `grain` > 0 (pixels) makes it coarser."""
    height, width = image.shape[:2]
    noise: NDArray[np.float32] = rng.standard_normal((height, width, 3), np.float32)
    if grain > 0:
        noise = np.asarray(cv2.GaussianBlur(noise, (0, 0), grain), np.float32)
        noise /= max(float(noise.std()), 1e-6)
    return np.clip(np.rint(image + sigma * noise), 0, 255).astype(np.uint8)


def resample(image: Pixels, scale: float, interpolation: int = cv2.INTER_LINEAR) -> Pixels:
    """`image` (H, W, 3) brought to `scale` times its size and back."""
    height, width = image.shape[:2]
    size = (max(2, round(width * scale)), max(2, round(height * scale)))
    there = cv2.resize(image, size, interpolation=interpolation)
    back = cv2.resize(there, (width, height), interpolation=interpolation)
    return back.astype(np.uint8, copy=False)


@dataclass(frozen=True)
class Camera:
    """One camera at one setting. Levels are of linear light within 0–1, lengths in pixels."""

    blur: float  # σ of the lens
    shot_noise: float  # variance per unit of light: grows with the signal
    read_noise: float  # standard deviation in the dark
    mosaic: int  # which of the four Bayer patterns
    edge_aware: bool  # the kinder of the two interpolations
    gamma: float
    sharpening: float  # weight of the unsharp mask
    quality: int  # of the camera's JPEG; 100: none is written
    shift: tuple[int, int]  # of its grid: a cropped photograph
    halved_colour: bool

    @classmethod
    def draw(cls, rng: Generator, clear: bool = False) -> "Camera":
        """A camera at random: noise over a factor of 20, sharp or soft, its JPEG fine to coarse.

        `clear`: clean (three in four) or noisy, none between, and no JPEG coarse enough to level the noise.
        """
        least, most = (0.0035, 0.07) if not clear else (0.0025, 0.006) if rng.random() < 0.75 else (0.045, 0.09)
        noise = float(np.exp(rng.uniform(np.log(least), np.log(most))))
        cropped = rng.random() < 0.5
        return cls(
            blur=float(rng.uniform(0.35, 0.8)),
            shot_noise=noise**2,
            read_noise=0.25 * noise,
            mosaic=int(rng.integers(4)),
            edge_aware=bool(rng.random() < 0.5),
            gamma=float(rng.uniform(1.9, 2.4)),
            sharpening=float(rng.uniform(0.2, 1.2)) if rng.random() < 0.5 else 0.0,
            quality=int(rng.integers(90 if clear else 70, 100)) if rng.random() < 0.6 else 100,
            shift=(int(rng.integers(8)), int(rng.integers(8))) if cropped else (0, 0),
            halved_colour=bool(rng.random() < 0.6),
        )

    @property
    def noisy(self) -> bool:
        """Whether its noise shows at a glance: edits that smooth are plain in such photographs."""
        return self.shot_noise > 0.016**2

    def like(self, rng: Generator) -> "Camera":
        """The same camera at the same setting, another frame: another grid only. A hard donor."""
        return replace(self, shift=(int(rng.integers(8)), int(rng.integers(8))))

    def unlike(self, rng: Generator) -> "Camera":
        """Another camera, clean where this one is noisy, noisy where it is clean: a donor that shows."""
        other = Camera.draw(rng, clear=True)
        while other.noisy == self.noisy:
            other = Camera.draw(rng, clear=True)
        return other

    def shoot(self, light: NDArray[np.float32], rng: Generator) -> Pixels:
        """A photograph of `light` (H, W, 3), linear within 0–1, as 8-bit RGB of the same size."""
        seen = cv2.GaussianBlur(light, (0, 0), self.blur)
        colours, plain, edge_aware = _MOSAICS[self.mosaic]
        raw = np.empty(light.shape[:2], np.float32)
        for place, colour in enumerate(colours):
            row, column = divmod(place, 2)
            raw[row::2, column::2] = seen[row::2, column::2, colour]
        # Foi et al. 2008: the variance of sensor noise is affine in the signal
        deviation = np.sqrt(self.shot_noise * raw + self.read_noise**2)
        raw += deviation * rng.standard_normal(raw.shape, np.float32)
        digital = np.clip(np.rint(raw * 4095), 0, 4095).astype(np.uint16)
        full = cv2.cvtColor(digital, edge_aware if self.edge_aware else plain)
        curve = np.rint(255 * (np.arange(4096) / 4095) ** (1 / self.gamma)).astype(np.uint8)
        photo: Pixels = curve[np.minimum(full, 4095)]
        return self.develop(photo)

    def develop(self, photo: Pixels) -> Pixels:
        """What the camera does after demosaicing: sharpening and JPEG; (H, W, 3) in and out."""
        if self.sharpening:
            soft = cv2.GaussianBlur(photo, (0, 0), 1.0)
            sharp = cv2.addWeighted(photo, 1 + self.sharpening, soft, -self.sharpening, 0)
            photo = sharp.astype(np.uint8, copy=False)
        return photo if self.quality == 100 else jpeg(photo, self.quality, self.shift, self.halved_colour)


def light_of(photo: Pixels) -> NDArray[np.float32]:
    """The linear light that a photograph (H, W, 3) shows, to be shot anew, (H, W, 3) within 0–1."""
    return ((np.arange(256) / 255) ** 2.2).astype(np.float32)[photo]


def _noisier(image: Pixels, rng: Generator, strength: float) -> Pixels:
    return add_noise(image, rng, rng.uniform(3, 8) * strength, grain=rng.choice([0.0, 0.5, 0.8]))


def _softer(image: Pixels, rng: Generator, strength: float) -> Pixels:
    return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.7, 1.4) * strength).astype(np.uint8, copy=False)


def _cleaner(image: Pixels, rng: Generator, strength: float) -> Pixels:
    return cv2.medianBlur(image, 3 if rng.random() > 0.3 * strength else 5).astype(np.uint8, copy=False)


def _compressed(image: Pixels, rng: Generator, strength: float) -> Pixels:
    shift = (int(rng.integers(8)), int(rng.integers(8)))
    return jpeg(image, int(rng.integers(30, 75) / strength), shift, bool(rng.random() < 0.5))


def _resampled(image: Pixels, rng: Generator, strength: float) -> Pixels:
    way = int(rng.choice([cv2.INTER_LINEAR, cv2.INTER_CUBIC]))
    return resample(image, rng.uniform(0.5, 0.8) / strength, way)


def _sharper(image: Pixels, rng: Generator, strength: float) -> Pixels:
    weight = rng.uniform(0.6, 1.5) * strength
    soft = cv2.GaussianBlur(image, (0, 0), 1.2)
    return cv2.addWeighted(image, 1 + weight, soft, -weight, 0).astype(np.uint8, copy=False)


Edit = Callable[[Pixels, Generator, float], Pixels]
# noise twice: of the roughening edits it is the one that sets pasted content apart most often
ROUGHENING: tuple[Edit, ...] = (_noisier, _noisier, _compressed, _sharper)
SMOOTHING: tuple[Edit, ...] = (_softer, _cleaner, _resampled)


def alter(
    image: Pixels, rng: Generator, strength: float = 1.0, edits: tuple[Edit, ...] = ROUGHENING + SMOOTHING
) -> Pixels:
    """`image` (H, W, 3) with its traces disturbed by one edit: noise, blur, median, JPEG, scale, sharpening.

    `strength` from 1 (may be hard to see) to 2 scales what the edit does.
    """
    return edits[int(rng.integers(len(edits)))](image, rng, strength)


def history(image: Pixels, rng: Generator, gentle: bool = False) -> Pixels:
    """What befalls the finished file as a whole, (H, W, 3) in and out: light noise, JPEG once or twice.

    Two files in five stay as they are; of the JPEGs one in three is coarse enough to hide most traces,
    unless `gentle`. A second JPEG has its grid on the first one's or beside it. Authentic pictures go the
    same way.
    """
    if rng.random() < 0.2:
        image = add_noise(image, rng, rng.uniform(0.3, 1.5))
    if rng.random() < 0.4:
        return image
    if rng.random() < 0.3:
        shift = (int(rng.integers(8)), int(rng.integers(8))) if rng.random() < 0.5 else (0, 0)
        image = jpeg(image, int(rng.integers(90 if gentle else 75, 98)), shift, bool(rng.random() < 0.6))
    coarse = not gentle and rng.random() < 0.33
    quality = rng.integers(60, 85) if coarse else rng.integers(88, 99)
    return jpeg(image, int(quality), (0, 0), bool(rng.random() < 0.6))


def passed_on(image: Pixels, mask: NDArray[np.bool_], rng: Generator) -> tuple[Pixels, NDArray[np.bool_]]:
    """A finished file (H, W, 3) and its mask (H, W) as the web hands them on: reduced to 0.45–1, saved coarsely.

    One in five keeps its size, and so does one whose region would be lost. Authentic pictures go the same way.
    """
    height, width = image.shape[:2]
    if rng.random() < 0.8:
        scale = rng.uniform(0.45, 1)
        size = (max(SMALLEST, round(width * scale)), max(SMALLEST, round(height * scale)))
        way = int(rng.choice([cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4]))
        reduced = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) >= 0.5
        if reduced.any() or not mask.any():
            image, mask = cv2.resize(image, size, interpolation=way).astype(np.uint8, copy=False), reduced
    return jpeg(image, int(rng.integers(65, 96)), halved_colour=bool(rng.random() < 0.7)), mask
