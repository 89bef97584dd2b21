"""Features of JPEG's blocks, against a slow transcription, and that they tell a foreign grid."""

import cv2
import numpy as np
import pytest
import torch

from ncl_lightning.blocks import block_traces
from ncl_lightning.traces import jpeg

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def normalised(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(((image / 255 - MEAN) / STD).transpose(2, 0, 1)[None]).float()


def transcription(image: np.ndarray) -> np.ndarray:
    """Block by block and pixel by pixel, (384,h,w)."""
    luma = image @ np.array([0.299, 0.587, 0.114])
    height, width = luma.shape
    detail = np.zeros_like(luma)
    for y in range(height):
        for x in range(width):
            a, b = min(y, height - 2), min(x, width - 2)
            detail[y, x] = abs(luma[a, b] + luma[a + 1, b + 1] - luma[a, b + 1] - luma[a + 1, b])
    maps = np.zeros((192, height // 8, width // 8))
    for row in range(height // 8):
        for column in range(width // 8):
            block = np.s_[8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
            places = np.log(detail[block].ravel() + 1)
            coefficients = np.abs(cv2.dct(luma[block] - 128)).ravel()
            rounded = coefficients < 0.5
            maps[:, row, column] = [*(places - places.mean()), *np.log(coefficients + 0.5), *rounded]
    rest = maps.mean((1, 2), keepdims=True)
    return np.concatenate([maps - rest, np.broadcast_to(rest, maps.shape)])


def test_against_a_slow_transcription() -> None:
    image = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)
    found = block_traces(normalised(image))
    assert found.shape == (1, 384, 3, 5)
    np.testing.assert_allclose(found[0].numpy(), transcription(image), atol=2e-4)


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


def test_halves_are_computed_in_floats() -> None:
    image = normalised(np.full((16, 16, 3), 7, np.uint8))
    with torch.autocast("cpu", torch.bfloat16):
        assert block_traces(image.bfloat16()).dtype == torch.float32
