"""Patch categories against a loop over every pixel."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ncl_lightning.patches import AUTHENTIC, CONTOUR, TAMPERED, VOID, categorise, patch_grid, sides


def slow(mask: Tensor, valid: Tensor, stride: int, grid: tuple[int, int]) -> list[int]:
    """Categories of one picture (H,W), pixel by pixel; outside of it lies void."""
    height, width = mask.shape
    out = []
    for row in range(grid[0]):
        for column in range(grid[1]):
            seen = set()
            for y in range(row * stride, (row + 1) * stride):
                for x in range(column * stride, (column + 1) * stride):
                    inside = y < height and x < width and bool(valid[y, x])
                    seen.add(int(mask[y, x]) if inside else VOID)
            if VOID in seen:
                out.append(VOID)
            else:
                out.append({(0,): AUTHENTIC, (1,): TAMPERED, (0, 1): CONTOUR}[tuple(sorted(seen))])
    return out


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 19),
    width=st.integers(1, 19),
    stride=st.integers(1, 5),
    multiple=st.sampled_from([1, 2, 4]),
    seed=st.integers(0, 2**31),
)
def test_categories_are_those_of_the_loop(height: int, width: int, stride: int, multiple: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    # blocks, so that uniform patches occur
    coarse = torch.rand(2, 1, 4, 4, generator=generator) < 0.5
    mask = coarse.repeat_interleave(5, 2).repeat_interleave(5, 3)[..., :height, :width].float()
    valid = torch.rand(2, 1, height, width, generator=generator) < 0.97
    rows, columns = (-(-size // (stride * multiple)) * multiple for size in (height, width))
    found = categorise(mask, valid, stride, rows * columns)
    assert found.tolist() == [slow(m[0], v[0], stride, (rows, columns)) for m, v in zip(mask, valid, strict=True)]
    assert categorise(mask, valid, stride, (rows, columns)).equal(found)


def test_one_pixel_decides() -> None:
    # one of 16 384 pixels: a rounded mean would not see it
    mask = torch.ones(1, 1, 128, 384, dtype=torch.float16)
    mask[..., 5, 5] = 0
    mask[..., 128:256] = 0
    mask[..., 100, 200] = 1
    valid = torch.ones_like(mask, dtype=torch.bool)
    valid[..., 7, 300] = False
    assert categorise(mask, valid, 128).tolist() == [[CONTOUR, CONTOUR, VOID]]


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float16, torch.float32])
def test_masks_of_any_type(dtype: torch.dtype) -> None:
    mask = torch.tensor([[1, 1, 0, 0, 1, 0]]).expand(2, 6).to(dtype)[None, None]
    valid = torch.ones(1, 1, 2, 6, dtype=torch.bool)
    assert categorise(mask, valid, 2).tolist() == [[TAMPERED, AUTHENTIC, CONTOUR]]


@settings(max_examples=200, deadline=None)
@given(
    height=st.integers(1, 4000), width=st.integers(1, 4000), stride=st.sampled_from([4, 8, 16, 24]), j=st.integers(0, 5)
)
def test_the_number_of_patches_tells_the_grid(height: int, width: int, stride: int, j: int) -> None:
    rows, columns = (-(-size // (stride * 2**j)) * 2**j for size in (height, width))
    assert patch_grid(height, width, stride, rows * columns) == (rows, columns)


def test_a_number_that_fits_no_grid_is_an_error() -> None:
    with pytest.raises(ValueError, match="same stride"):
        patch_grid(64, 64, 16, 17)


def test_roles_switch_between_the_branches() -> None:
    assert sides("switch", "tampered") == ((TAMPERED, CONTOUR), (AUTHENTIC,))
    assert sides("switch", "authentic") == ((TAMPERED,), (CONTOUR, AUTHENTIC))
    assert sides("ignore", "tampered") == sides("ignore", "authentic") == ((TAMPERED,), (AUTHENTIC,))
    assert sides("tampered", "authentic") == sides("switch", "tampered")
    assert sides("authentic", "tampered") == sides("switch", "authentic")


@pytest.mark.parametrize("mask", [[0.0, 0.5, 1.0], [0, 1, 255], [-1, 0, 1]])
def test_a_mask_of_more_than_two_values_is_refused(mask: list[float]) -> None:
    """Soft edges, a label to ignore: all would be taken for tampered, and the contrast be 0."""
    given = torch.tensor(mask).view(1, 1, 1, 3)
    valid = torch.ones_like(given, dtype=torch.bool)
    with pytest.raises(ValueError, match="compare it with a threshold first"):
        categorise(given, valid, 1)
    assert categorise((given == given.max()) * given.max(), valid, 1).tolist() == [[AUTHENTIC, AUTHENTIC, TAMPERED]]
