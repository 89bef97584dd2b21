"""Sizing keeps manipulated content, and says which pixels are real."""

import numpy as np
import pytest

from ncl_lightning.datasets import frame
from ncl_lightning.sources import Picture
from ncl_lightning.transforms import augmentations, pipeline, sizing_transforms


def picture(height: int, width: int, seed: int = 0) -> Picture:
    rng = np.random.default_rng(seed)
    image = rng.integers(1, 255, (height, width, 3), dtype=np.uint8)
    mask = np.zeros((height, width), bool)
    top, left = rng.integers(0, height - 3), rng.integers(0, width - 3)
    mask[top : top + 3, left : left + 3] = True
    return Picture(image, mask, False, "made")


@pytest.mark.parametrize("size", [(40, 200), (200, 40), (64, 64), (10, 10), (150, 151)])
@pytest.mark.parametrize("sizing", ["crop", "pad", "native", "resize"])
def test_frames_and_what_is_real(sizing: str, size: tuple[int, int]) -> None:
    transform = pipeline(sizing_transforms(sizing, 64, 100))
    made = picture(*size)
    sample = frame(made, transform, (0, 0, 0), keep_original=False)
    height, width = sample["image"].shape[-2:]
    if sizing != "native":
        assert (height, width) == (64, 64)
    else:
        assert max(height, width) == min(max(size), 100)
    rows, columns = sample["content"].tolist()
    valid = np.zeros((height, width), bool)
    valid[:rows, :columns] = True
    assert (sample["valid"][0].numpy() == valid).all()
    if sizing in ("crop", "pad") and max(size) <= 64:
        mirrored = np.pad(made.image, ((0, 64 - rows), (0, 64 - columns), (0, 0)), mode="reflect")
        assert (sample["image"].numpy() == mirrored.transpose(2, 0, 1)).all()
    assert not sample["mask"][:, ~sample["valid"][0]].any()
    assert set(sample["mask"].unique().tolist()) <= {0.0, 1.0}
    if sizing == "resize":
        assert valid.all()


@pytest.mark.parametrize("sizing", ["pad", "native", "resize"])
def test_a_reduced_mask_lies_on_its_picture(sizing: str) -> None:
    """Not half a pixel beside it: a picture of its own mask, reduced by averaging or bilinearly, says where it is."""
    transform = pipeline(sizing_transforms(sizing, 64, 64))
    rng, moved = np.random.default_rng(0), []
    for _ in range(200):
        mask = np.zeros((512, 512), bool)
        top, left = rng.integers(0, 400, 2)
        mask[top : top + rng.integers(40, 100), left : left + rng.integers(40, 100)] = True
        image = np.repeat(mask[..., None].astype(np.uint8) * 255, 3, axis=2)
        sample = frame(Picture(image, mask, False, ""), transform, (0, 0, 0), keep_original=False)
        places = np.indices((64, 64))
        shown, drawn = sample["image"][0].numpy() / 255, sample["mask"][0].numpy()
        moved.append([(places * of / of.sum()).sum((1, 2)) for of in (shown, drawn)])
    # in pixels of the frame; INTER_NEAREST is off by .44
    assert np.abs(np.mean(np.diff(moved, axis=1), axis=0)).max() < 0.1


@pytest.mark.parametrize("augment", ["none", "flips", "usual"])
def test_a_crop_never_drops_the_tampered_region(augment: str) -> None:
    transform = pipeline([*sizing_transforms("crop", 64, 64), *augmentations(augment)])
    for index in range(40):
        sample = frame(picture(150, 300, index), transform, (0, 0, index), keep_original=False)
        assert sample["mask"].any()


def test_a_crop_begins_where_a_block_begins() -> None:
    """So that what JPEG left lies alike in training and in evaluation; other places only where all else is lost."""
    transform = pipeline(sizing_transforms("crop", 64, 64))
    places = np.indices((150, 203)).transpose(1, 2, 0).astype(np.uint8)
    image = np.dstack([places, places[..., :1]])
    empty = np.zeros(image.shape[:2], bool)
    seen = set()
    for index in range(60):
        sample = frame(Picture(image, empty, True, ""), transform, (0, 0, index), keep_original=False)
        seen.add(tuple(sample["image"][:2, 0, 0].tolist()))
    assert all(row % 8 == 0 and column % 8 == 0 for row, column in seen)
    assert len(seen) > 30
    # the last pixel is in no crop that begins at a block
    corner = empty.copy()
    corner[-1, -1] = True
    sample = frame(Picture(image, corner, False, ""), transform, (0, 0, 0), keep_original=False)
    assert sample["mask"][0, -1, -1] == 1


def test_image_and_mask_move_together() -> None:
    made = picture(60, 90)
    image = np.repeat(made.mask[..., None].astype(np.uint8) * 255, 3, axis=2)
    transform = pipeline([*sizing_transforms("crop", 48, 48), *augmentations("flips")])
    for index in range(20):
        sample = frame(Picture(image, made.mask, False, ""), transform, (3, 1, index), keep_original=False)
        assert (sample["image"][0] == sample["mask"][0] * 255).all()


def test_augmentations_of_ones_own() -> None:
    transform = pipeline(augmentations([{"class_path": "albumentations.InvertImg", "init_args": {"p": 1.0}}]))
    made = picture(20, 20)
    sample = frame(made, transform, (0, 0, 0), keep_original=False)
    assert (sample["image"].permute(1, 2, 0).numpy() == 255 - made.image).all()
