"""Features of JPEG's blocks, against a slow transcription; that they tell a foreign grid, wherever the main one is."""

import cv2
import numpy as np
import pytest
import torch

from ncl_lightning.blocks import _luma, _rounded, block_traces, grid_start
from ncl_lightning.camera import jpeg
from ncl_lightning.module import NCLModule

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def normalised(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(((image / 255 - MEAN) / STD).transpose(2, 0, 1)[None]).float()


MIDDLE = [(row, column) for row in range(8) for column in range(8) if 4 <= row + column <= 6]


def votes(luma: np.ndarray) -> np.ndarray:
    """The share of middle coefficients that are 0 in the block that begins at each pixel, (H,W)."""
    framed = np.pad(luma, ((0, 7), (0, 7)), "edge")
    found = np.zeros_like(luma)
    for y, x in np.ndindex(*luma.shape):
        coefficients = cv2.dct(framed[y : y + 8, x : x + 8])
        found[y, x] = np.mean([abs(coefficients[place]) < 0.5 for place in MIDDLE])
    return found


def transcription(image: np.ndarray) -> np.ndarray:
    """Block by block and pixel by pixel, (512,h,w), of a picture whose blocks begin at 0, 0."""
    luma = image @ np.array([0.299, 0.587, 0.114])
    height, width = luma.shape
    detail = np.zeros_like(luma)
    for y in range(height):
        for x in range(width):
            a, b = min(y, height - 2), min(x, width - 2)
            detail[y, x] = abs(luma[a, b] + luma[a + 1, b + 1] - luma[a, b + 1] - luma[a + 1, b])
    begins = votes(luma)
    maps = np.zeros((256, height // 8, width // 8))
    for row in range(height // 8):
        for column in range(width // 8):
            block = np.s_[8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
            places = np.log(detail[block].ravel() + 1)
            coefficients = np.abs(cv2.dct(luma[block] - 128)).ravel()
            rounded = coefficients < 0.5
            begin = begins[block].ravel()
            maps[:, row, column] = [
                *(places - places.mean()),
                *np.log(coefficients + 0.5),
                *rounded,
                *(begin - begin.mean()),
            ]
    rest = maps.mean((1, 2), keepdims=True)
    return np.concatenate([maps - rest, np.broadcast_to(rest, maps.shape)])


def test_each_picture_is_measured_against_itself() -> None:
    images = [np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8) for seed in range(2)]
    both = block_traces(torch.cat([normalised(image) for image in images]))
    for image, found in zip(images, both, strict=True):
        torch.testing.assert_close(block_traces(normalised(image))[0], found)


@pytest.mark.parametrize("shift", [(3, 5), (0, 4), (7, 1)])
def test_a_foreign_grid_shows(shift: tuple[int, int]) -> None:
    """Half of a photograph-like picture has its JPEG grid elsewhere: its blocks are unlike the others'."""
    rng = np.random.default_rng(1)
    scene = cv2.GaussianBlur(rng.integers(0, 256, (128, 256, 3), dtype=np.uint8), (0, 0), 2)
    scene = cv2.normalize(scene, None, 0, 255, cv2.NORM_MINMAX)
    image = jpeg(scene, 60, (0, 0), True)
    image[:, 128:] = jpeg(scene, 60, shift, True)[:, 128:]
    places = block_traces(normalised(image))[0, :64]
    own, foreign = places[:, 1:-1, 1:15].mean((1, 2)), places[:, 1:-1, 17:-1].mean((1, 2))
    # most detail, against the other half, where a half's own blocks end
    lead = (own - foreign).view(8, 8)
    for profile, moved in zip((lead.mean(1), lead.mean(0)), shift, strict=True):
        if moved:
            assert int(profile.argmax()) == 7
            assert int(profile.argmin()) == 7 - moved
    same = block_traces(normalised(jpeg(scene, 60, (0, 0), True)))[0, :64]
    steady = same[:, 1:-1, 1:15].mean((1, 2)) - same[:, 1:-1, 17:-1].mean((1, 2))
    assert (own - foreign).norm() > 3 * steady.norm()


def photograph(height: int = 144, width: int = 208) -> np.ndarray:
    """A soft scene with detail of all sizes, (H,W,3)."""
    rng = np.random.default_rng(2)
    layers = [cv2.GaussianBlur(rng.normal(0, 40 * s, (height, width, 3)), (0, 0), s) for s in (1, 2, 6)]
    return np.clip(np.rint(128 + sum(layers)), 0, 255).astype(np.uint8)


def start_of(image: np.ndarray) -> list[int]:
    height, width = (side - side % 8 for side in image.shape[:2])
    image = image[:height, :width]
    return grid_start(_rounded(_luma(normalised(image))))[0].tolist()


@pytest.mark.parametrize("cut", [(0, 0), (3, 5), (0, 4), (7, 1)])
@pytest.mark.parametrize("quality", [60, 80, 95])
def test_the_grid_of_a_crop_is_found(cut: tuple[int, int], quality: int) -> None:
    image = jpeg(photograph(), quality)[cut[0] :, cut[1] :]
    # of -4..3: the nearest beginning, be it outside of the picture
    assert start_of(image) == [(-side % 8 + 4) % 8 - 4 for side in cut]


def test_without_a_grid_blocks_begin_where_the_picture_does() -> None:
    enlarged = cv2.resize(jpeg(photograph(), 80), None, fx=1.3, fy=1.3, interpolation=cv2.INTER_CUBIC)
    flat = np.full((64, 64, 3), 90, np.uint8)
    half = flat.copy()
    half[:, 32:] = 91
    for image in (photograph(), enlarged, flat, half):
        assert start_of(image) == [0, 0]


def test_a_crop_has_the_blocks_of_its_file() -> None:
    """Cut off anywhere, a picture shows the same features block by block, but for its rim."""
    whole = jpeg(photograph(), 75)
    for top, left in ((3, 5), (6, 2)):
        crop = whole[top : top + 136, left : left + 200]
        found = block_traces(torch.cat([normalised(crop), normalised(whole[:136, :200])]))
        # the first block that is whole, and what is measured against the picture's mean is another by a little
        skip = [1 if -side % 8 < 4 else 0 for side in (top, left)]
        inner = found[0, :256, 1:-2, 1:-2]
        rows, columns = (slice(1 + s, 1 + s + n) for s, n in zip(skip, inner.shape[1:], strict=True))
        same = found[1, :256, rows, columns] - inner
        assert same.abs().median() < 0.05
        assert start_of(crop) != [0, 0]


def test_each_picture_has_its_own_grid() -> None:
    whole = jpeg(photograph(), 75)
    crops = [whole[y : y + 96, x : x + 128] for y, x in ((0, 0), (3, 5), (6, 2))]
    together = block_traces(torch.cat([normalised(crop) for crop in crops]))
    for crop, found in zip(crops, together, strict=True):
        torch.testing.assert_close(block_traces(normalised(crop))[0], found)


def test_halves_are_computed_in_floats() -> None:
    image = normalised(np.full((16, 16, 3), 7, np.uint8))
    with torch.autocast("cpu", torch.bfloat16):
        assert block_traces(image.bfloat16()).dtype == torch.float32


def test_pictures_may_be_normalised_otherwise() -> None:
    image = jpeg(photograph(), 75)
    mean, std = [0.5, 0.4, 0.3], [0.1, 0.2, 0.3]
    given = torch.from_numpy(((image / 255 - mean) / std).transpose(2, 0, 1)[None]).float()
    close = torch.isclose(block_traces(given, mean, std), block_traces(normalised(image)), atol=1e-2)
    # a coefficient may be rounded to 0 by a hair
    assert close.float().mean() > 0.999
    module = NCLModule(encoder="traces", options={"blocks": True}, mean=mean, std=std)
    assert (module.network.encoder.mean, module.network.encoder.std) == (tuple(mean), tuple(std))
