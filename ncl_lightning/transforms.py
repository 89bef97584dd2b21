"""Sizing and augmentation: a picture of any size becomes a frame that a network can be given.

Masks come in binary and are resized by nearest neighbour, so they stay binary; by INTER_NEAREST_EXACT, since OpenCV's
plain one takes the upper left neighbour, and masks would lie half a pixel beside their pictures. `valid` says which
pixels of the frame are real; padding is not.
"""

import os
from collections.abc import Sequence
from typing import Any, Literal

# albumentations asks the network for a newer version at import otherwise
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations as A
import cv2
import numpy as np

from ncl_lightning.blocks import SIDE
from ncl_lightning.class_path import instantiate

TrainSizing = Literal["resize", "crop", "pad"]
EvalSizing = Literal["resize", "pad", "native"]
Augmentation = Literal["none", "flips", "usual"] | list[dict[str, Any]]


def sizing_transforms(sizing: TrainSizing | EvalSizing, size: int, largest: int) -> list[Any]:
    """The transforms that bring a picture (H, W) to its frame.

    Args:
        sizing: ``resize``: to size×size, whatever the proportions (the field's usual way; bilinear).
            ``crop``: a size×size part at native resolution that holds tampered pixels if there are any and begins
            where one of JPEG's blocks does, filled up where the picture is smaller. ``pad``: reduced to fit into
            size×size where it is larger, never enlarged, then filled up. ``native``: as it is, reduced only above
            `largest` pixels a side.
        size: Side of the frame in pixels.
        largest: Longest side that ``native`` leaves alone, in pixels.
    """
    if sizing == "resize":
        return [A.Resize(size, size, interpolation=cv2.INTER_LINEAR, mask_interpolation=cv2.INTER_NEAREST_EXACT)]
    if sizing == "crop":
        return [_FillUp(size), _Crop(size, size)]
    if sizing == "pad":
        return [_Shrink(size), _FillUp(size)]
    return [_Shrink(largest)]


class _FillUp(A.PadIfNeeded):
    """Mirrors the picture to the right and below; the mask and `valid` are 0 there.

    Not black, as is usual: a network that compares places with the whole picture takes that for the oddest of all.
    """

    def __init__(self, size: int) -> None:
        super().__init__(size, size, position="top_left", border_mode=cv2.BORDER_REFLECT_101)

    def apply_to_mask(
        self, mask: np.ndarray, pad_top: int, pad_bottom: int, pad_left: int, pad_right: int, **_: Any
    ) -> np.ndarray:
        return cv2.copyMakeBorder(mask, pad_top, pad_bottom, pad_left, pad_right, cv2.BORDER_CONSTANT, value=0)


class _Crop(A.CropNonEmptyMaskIfExists):
    """CropNonEmptyMaskIfExists that begins where one of JPEG's blocks begins, as files do."""

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = super().get_params_dependent_on_data(params, data)
        left, top = (value - value % SIDE for value in found["crop_coords"][:2])
        mask = data["mask"]
        # seven pixels fewer at the right or the bottom may be all that was tampered with
        if mask[top : top + self.height, left : left + self.width].any() or not mask.any():
            found["crop_coords"] = (left, top, left + self.width, top + self.height)
        return found


class _Shrink(A.LongestMaxSize):
    """LongestMaxSize that never enlarges (and averages: reducing by sampling would alias)."""

    def __init__(self, longest: int) -> None:
        super().__init__(
            max_size=longest, interpolation=cv2.INTER_AREA, mask_interpolation=cv2.INTER_NEAREST_EXACT, p=1.0
        )
        self.longest = longest

    def __call__(self, *args: Any, force_apply: bool = False, **data: Any) -> dict[str, Any]:
        if max(data["image"].shape[:2]) <= self.longest:
            return data
        return super().__call__(*args, force_apply=force_apply, **data)


def augmentations(augment: Augmentation) -> list[Any]:
    """Augmentations by name, or one's own as a list of ``{class_path, init_args}``.

    ``flips`` keeps every pixel's value, so the traces of manipulation stay as they are; ``usual`` adds the
    field's colour, JPEG and blur changes, which hide fine traces and so buy robustness with accuracy.
    """
    if isinstance(augment, list):
        return [instantiate(spec, "data.augment") for spec in augment]
    flips = [A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5), A.RandomRotate90(p=0.5)]
    if augment == "usual":
        return [
            *flips,
            A.RandomBrightnessContrast(brightness_limit=0.1, contrast_limit=0.1, p=0.5),
            A.ImageCompression(quality_range=(70, 100), p=0.2),
            A.GaussianBlur(blur_limit=(3, 5), p=0.1),
        ]
    return flips if augment == "flips" else []


def pipeline(steps: Sequence[Any]) -> A.Compose:
    """Compose over `image` (H, W, 3) uint8, `mask` (H, W) uint8 and `valid` (H, W) uint8.

    The caller seeds it before each sample: albumentations 2.0.8 repeats its draws across workers and
    epochs otherwise.
    """
    return A.Compose(list(steps), additional_targets={"valid": "mask"}, seed=0)
