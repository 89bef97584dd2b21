"""Manipulated pictures made on the fly, from photographs or from nothing."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ncl_lightning.camera import SMALLEST, Camera, Pixels, add_noise, history, light_of, passed_on
from ncl_lightning.deadleaves import scene
from ncl_lightning.errors import InputError
from ncl_lightning.images import read_image
from ncl_lightning.recipes import Plain, blend, copy_move, remove, retouch, splice
from ncl_lightning.regions import Region, shape
from ncl_lightning.sources import Picture

SHARES: Mapping[str, float] = {"splice": 0.35, "copy_move": 0.2, "remove": 0.2, "retouch": 0.25}

# every recipe but splicing, which needs a donor
_IN_PLACE = {"copy_move": copy_move, "remove": remove, "retouch": retouch}


def _changed(before: Pixels, after: Pixels, mask: Region) -> float:
    """The share of a region's pixels (H, W) that differ at all between two pictures (H, W, 3)."""
    return float((before[mask] != after[mask]).any(1).mean())


class SyntheticSource:
    """`count` samples of manipulated pictures; the same for a seed, an epoch and an index, in any process.

    Args:
        count: How many samples.
        photos: Photographs to manipulate and to take from; none: all are made up (`deadleaves`).
        size: Side in pixels of made-up pictures; photographs keep their own size.
        seed: Seed of everything drawn, not negative.
        authentic_share: Share of samples that stay authentic; they go through the same cameras and files.
        shares: Relative shares of the recipes `splice`, `copy_move`, `remove` and `retouch`.
        area: Least and largest share of the picture that is manipulated; drawn evenly in its root,
            that is in the region's breadth.
        objects: Share of regions that follow an object of the picture; the others are drawn shapes. None: 0.6 of
            made-up pictures, and 0.95 of photographs, where a drawn shape gives itself away.
        hard: Share of samples, authentic ones too, that are as hard as reality: little or nothing but the
            content differs, or a coarse JPEG came after. In the others the traces are plain enough to learn
            from. None: 0.15 of made-up pictures, which are to be learned from in a minute, and 0.4 of
            those from photographs.
        web: Share of samples, authentic ones too, that were then handed on as the web does, reduced and saved coarsely
            (`camera.passed_on`).

    Raises:
        InputError: For parameters out of range, and for a photograph below 32 pixels a side.
    """

    def __init__(
        self,
        count: int,
        photos: Sequence[Path] = (),
        size: int = 256,
        seed: int = 0,
        authentic_share: float = 0.2,
        shares: Mapping[str, float] = SHARES,
        area: tuple[float, float] = (0.01, 0.35),
        objects: float | None = None,
        hard: float | None = None,
        web: float = 0.0,
    ) -> None:
        if count < 1:
            raise InputError(f"synthetic: {count} samples asked for; ask for at least one")
        if seed < 0:
            raise InputError(f"synthetic: the seed is {seed}; it must not be negative")
        if size < SMALLEST:
            raise InputError(f"synthetic: made-up pictures of {size} pixels; at least {SMALLEST} are needed")
        unknown = set(shares) - set(SHARES)
        if unknown or not sum(shares.values()) > 0 or min(shares.values()) < 0:
            known = ", ".join(SHARES)
            raise InputError(f"synthetic: shares {dict(shares)}; give positive shares of {known}")
        if not 0 < area[0] <= area[1] <= 0.4:
            raise InputError(f"synthetic: area {area}; give two shares within 0–0.4, the smaller first")
        hard = (0.4 if photos else 0.15) if hard is None else hard
        objects = (0.95 if photos else 0.6) if objects is None else objects
        for name, share in (("authentic_share", authentic_share), ("hard", hard), ("objects", objects), ("web", web)):
            if not 0 <= share <= 1:
                raise InputError(f"synthetic: {name} is {share}; give a share within 0–1")
        self.count, self.photos, self.size, self.seed = count, tuple(photos), size, seed
        self.authentic_share, self.area = authentic_share, area
        self.objects, self.hard, self.web = objects, hard, web
        self.recipes = tuple(shares)
        self.chances = np.array([shares[name] for name in self.recipes]) / sum(shares.values())

    def __len__(self) -> int:
        return self.count

    def recipe(self, index: int, epoch: int = 0) -> str:
        """What is done to sample `index`: a recipe's name, or `authentic`."""
        rng = np.random.default_rng([self.seed, epoch, index, 0])
        if rng.random() < self.authentic_share:
            return "authentic"
        return str(rng.choice(self.recipes, p=self.chances))

    def authentic(self, epoch: int = 0) -> NDArray[np.bool_]:
        """Which samples (N,) of an epoch stay authentic."""
        return np.array([self.recipe(index, epoch) == "authentic" for index in range(self.count)], bool)

    def original(self, index: int, epoch: int = 0) -> Path | None:
        """The photograph that sample `index` is made of; None where it is made up."""
        return self.photos[self._begun(index, epoch)[0]] if self.photos else None

    def _begun(self, index: int, epoch: int) -> tuple[int, Generator]:
        """The number of a sample's photograph, and what all else about it is drawn by."""
        rng = np.random.default_rng([self.seed, epoch, index, 1])
        return int(rng.integers(len(self.photos))) if self.photos else index, rng

    def read(self, index: int, epoch: int = 0) -> Picture:
        """Sample `index` of an epoch: the picture (H, W, 3) and its mask (H, W), empty for authentic ones.

        Raises:
            InputError: Where a photograph can't be read or is too small.
        """
        return self.read_as(index, epoch)[0]

    def read_as(self, index: int, epoch: int = 0) -> tuple[Picture, str]:
        """`read`, and what was done to it: the sample's recipe, or `noise` where that one changed nothing."""
        recipe = self.recipe(index, epoch)
        number, rng = self._begun(index, epoch)
        clear = bool(rng.random() >= self.hard)
        camera = Camera.draw(rng, clear)
        base, (height, width) = self._taken(number, camera, rng, final=True)
        mask: Region = np.zeros(base.shape[:2], bool)
        if recipe != "authentic":
            base, mask, recipe = self._manipulated(recipe, base, number, camera, clear, rng)
        if base.shape[:2] != (height, width):
            ways = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC)
            base = cv2.resize(base, (width, height), interpolation=int(rng.choice(ways))).astype(np.uint8)
            area = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
            mask = area >= 0.5
        image = history(base, rng, gentle=clear)
        if rng.random() < self.web:
            image, mask = passed_on(image, mask, rng)
        origin = self.photos[number].stem if self.photos else "leaves"
        name = f"{index:06d}_{origin}_{recipe}"
        return Picture(image=image, mask=mask, authentic=recipe == "authentic", name=name), recipe

    def _taken(
        self, number: int, camera: Camera, rng: Generator, final: bool = False
    ) -> tuple[Pixels, tuple[int, int]]:
        """A photograph (h, w, 3) by `camera`, and the (height, width) of the file that it will end in.

        One base in three (`final`) is worked on at another size than its file has: the file is resized
        after the manipulation. A photograph that somebody took keeps its own traces one time in two.
        """
        scale = float(rng.uniform(0.75, 1.4)) if final and rng.random() < 0.3 else 1.0
        if not self.photos:
            side = round(self.size * scale)
            return camera.shoot(scene(rng, side, side), rng), (self.size, self.size)
        path = self.photos[number]
        photo = read_image(path)
        height, width = photo.shape[:2]
        if min(height, width) < SMALLEST:
            raise InputError(f"{path}: {width}×{height} pixels, at least {SMALLEST} a side are needed; remove it")
        if scale != 1:
            size = (round(width * scale), round(height * scale))
            way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
            photo = cv2.resize(photo, size, interpolation=way).astype(np.uint8, copy=False)
        if rng.random() < 0.5:
            return camera.shoot(light_of(photo), rng), (height, width)
        return camera.develop(photo), (height, width)

    def _manipulated(
        self, recipe: str, base: Pixels, number: int, camera: Camera, clear: bool, rng: Generator
    ) -> tuple[Pixels, Region, str]:
        """The base (h, w, 3) after a recipe, what changed (h, w), never nothing nor above a half, and what was done."""
        plain: Plain = None if not clear else "smooth" if camera.noisy else "rough"
        for _ in range(4):
            share = float(rng.uniform(*np.sqrt(self.area)) ** 2)
            if recipe == "splice":
                other = number
                if len(self.photos) > 1:
                    other = (number + int(rng.integers(1, len(self.photos)))) % len(self.photos)
                lens = camera.unlike(rng) if clear else camera.like(rng)
                donor = self._taken(other, lens, rng)[0]
                image, mask = splice(base, rng, donor, share, self.objects, plain)
            else:
                image, mask = _IN_PLACE[recipe](base, rng, share, self.objects, plain)
            # a copy of sky on sky, or a blur where nothing is sharp, changes nothing: not a manipulation
            if 0.25 * self.area[0] <= mask.mean() <= 0.5 and _changed(base, image, mask) > 0.3:
                return image, mask, recipe
        # a picture of one flat colour: grain shows anywhere
        mask = shape(rng, base.shape[0], base.shape[1], self.area[1] / 2)
        return blend(base, add_noise(base, rng, 6), mask, 0), mask, "noise"
