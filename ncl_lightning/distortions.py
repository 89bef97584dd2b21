"""What happens to pictures on their way through the world, at original size and the same on every run."""

from collections.abc import Callable, Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from ncl_lightning import camera
from ncl_lightning.errors import InputError
from ncl_lightning.sources import Picture, Source

Image = NDArray[np.uint8]
Levels = Mapping[str, list[float]]

PRESETS: dict[str, dict[str, list[float]]] = {
    "usual": {
        "blur": [3, 7, 15],
        "noise": [5, 25, 100],
        "jpeg": [90, 70, 50],
        "resize": [0.75, 0.5, 0.25],
        "gamma": [0.5, 0.7, 1.5, 2],
        "crop": [1, 3],
    },
    # IMDL-BenCo's; its kernel 0 is the clean baseline, its JPEG draws from {q-1, q}: here it is q
    "benco": {
        "blur": [3, 7, 11, 15, 19, 23],
        "noise": [3, 7, 11, 15, 19, 23],
        "jpeg": [100, 90, 80, 70, 60, 50],
    },
}


def blur(image: Image, kernel: float, rng: np.random.Generator) -> Image:
    """Gaussian blur by an odd kernel size in pixels, with OpenCV's automatic σ.

    Above 7 that is 0.3 · ((kernel - 1) / 2 - 1) + 0.8; up to 7 OpenCV has fixed weights.
    """
    return cv2.GaussianBlur(image, (int(kernel), int(kernel)), 0).astype(np.uint8)


def noise(image: Image, variance: float, rng: np.random.Generator) -> Image:
    """Gaussian noise of a variance in squared grey levels of 255, of each channel by itself; rounded and clipped."""
    return camera.add_noise(image, rng, float(np.sqrt(variance)))


def jpeg(image: Image, quality: float, rng: np.random.Generator) -> Image:
    """JPEG at a quality of 1..100 and back, chroma halved as OpenCV does."""
    return camera.jpeg(image, int(quality))


def resize(image: Image, factor: float, rng: np.random.Generator) -> Image:
    """Resized by a factor and back to its size, so that the truth still fits: area means down, bilinear up."""
    height, width = image.shape[:2]
    size = max(1, round(width * factor)), max(1, round(height * factor))
    there = cv2.resize(image, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
    how = cv2.INTER_LINEAR if factor < 1 else cv2.INTER_AREA
    return cv2.resize(there, (width, height), interpolation=how).astype(np.uint8)


def gamma(image: Image, exponent: float, rng: np.random.Generator) -> Image:
    """255 · (value / 255) ^ exponent: above 1 darker, below 1 brighter."""
    table = np.rint(255 * (np.arange(256) / 255) ** exponent).astype(np.uint8)
    return cv2.LUT(image, table).astype(np.uint8)


def crop(image: Image, pixels: float, rng: np.random.Generator) -> Image:
    """So many rows and columns cut off at the top and the left (one of each is left), as in a crop or a screenshot.

    Next to nothing is lost, but the blocks of a JPEG begin elsewhere.
    """
    top, left = (min(int(pixels), side - 1) for side in image.shape[:2])
    return image[top:, left:].copy()


_APPLY: dict[str, Callable[[Image, float, np.random.Generator], Image]] = {
    "blur": blur,
    "noise": noise,
    "jpeg": jpeg,
    "resize": resize,
    "gamma": gamma,
    "crop": crop,
}
# the level that leaves a picture as it is
_NEUTRAL: dict[str, tuple[float, ...]] = {
    "blur": (0, 1),
    "noise": (0,),
    "jpeg": (),
    "resize": (1,),
    "gamma": (1,),
    "crop": (0,),
}
_ALLOWED: dict[str, tuple[str, Callable[[float], bool]]] = {
    "blur": ("odd kernel sizes in pixels", lambda v: v >= 1 and v % 2 == 1),
    "noise": ("variances above 0", lambda v: 0 < v < np.inf),
    "jpeg": ("whole qualities of 1 to 100", lambda v: 1 <= v <= 100 and v == int(v)),
    "resize": ("factors above 0, up to 8", lambda v: 0 < v <= 8),
    "gamma": ("exponents above 0", lambda v: 0 < v < np.inf),
    "crop": ("whole numbers of pixels", lambda v: 1 <= v < np.inf and v == int(v)),
}
CLEAN = "clean"


def ladders(preset: str, levels: Levels | None) -> dict[str, list[str]]:
    """For each distortion its levels as text, `clean` among them, in the order to show them.

    Args:
        preset: A name in `PRESETS`.
        levels: Levels by distortion instead of the preset's; levels that change nothing are `clean`.

    Raises:
        InputError: No such distortion, or it has no such level.
    """
    out = {}
    for kind, given in (levels or PRESETS[preset]).items():
        if kind not in _APPLY:
            raise InputError(f"levels: no distortion {kind!r}; there are {', '.join(_APPLY)}")
        kept = [value for value in dict.fromkeys(given) if value not in _NEUTRAL[kind]]
        for value in kept:
            says, allowed = _ALLOWED[kind]
            if not allowed(value):
                raise InputError(f"levels: {kind} {value:g} can't be; give {says}")
        at = 0
        if kind == "gamma":
            # it goes both ways: the clean picture lies between
            kept.sort()
            at = sum(value < 1 for value in kept)
        names = [f"{value:g}" for value in kept]
        out[kind] = [*names[:at], CLEAN, *names[at:]]
    return out


def distort(image: Image, kind: str, level: str, index: int) -> Image:
    """A picture (H,W,3) uint8 RGB at a level (text of a ladder); the draws depend on index and level only."""
    if level == CLEAN:
        return image
    value = float(level)
    # the bits of the level: 0.5 and 0.7 must not fall together
    seed = np.random.SeedSequence([index, *np.array([value]).view(np.uint32).tolist()])
    return _APPLY[kind](image, value, np.random.default_rng(seed))


class DistortedSource:
    """A source whose pictures are distorted at their original size, before anything brings them to a frame.

    Args:
        source: Where the pictures come from.
        kind: A distortion.
        level: One of its levels, as text.
        start: Index in the test set of the source's first picture.
    """

    def __init__(self, source: Source, kind: str, level: str, start: int = 0) -> None:
        self.source = source
        self.kind = kind
        self.level = level
        self.start = start

    def __len__(self) -> int:
        return len(self.source)

    def read(self, index: int, epoch: int = 0) -> Picture:
        """Picture `index`, distorted; its mask stays as it is, but for what a crop cuts off."""
        picture = self.source.read(index, epoch)
        image = distort(picture.image, self.kind, self.level, self.start + index)
        # cut off at the top and the left
        mask = picture.mask[-image.shape[0] :, -image.shape[1] :]
        return Picture(image, mask, picture.authentic, picture.name)
