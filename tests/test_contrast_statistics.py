"""Contrast statistics against a slow loop over every pair of patches."""

import itertools
import math

import pytest
import torch
from torch.nn.functional import normalize

from ncl_lightning.contrast_statistics import CATEGORIES, image_statistics
from ncl_lightning.panels import panel_row
from ncl_lightning.patches import sides

NAMES = {value: name for name, value in CATEGORIES.items()}


def slow(
    z: torch.Tensor, categories: torch.Tensor, groups: tuple[tuple[int, ...], tuple[int, ...]]
) -> dict[str, float]:
    """Every pair of patches of one image, looked at one by one."""
    pairs: dict[str, list[float]] = {}
    within, across = [], []
    named = [(NAMES[int(c)], row) for c, row in zip(categories, z, strict=True) if int(c) in NAMES]
    for (a, x), (b, y) in itertools.combinations(named, 2):
        similarity = float(x @ y)
        for key in {f"{a}-{b}", f"{b}-{a}"}:
            pairs.setdefault(key, []).append(similarity)
        held = [next((i for i, group in enumerate(groups) if CATEGORIES[n] in group), None) for n in (a, b)]
        if None not in held:
            (within if held[0] == held[1] else across).append(similarity)
    mean = {key: sum(values) / len(values) for key, values in pairs.items()}
    stats = {key: mean.get(key, math.nan) for key in mean}
    stats["margin"] = sum(within) / len(within) - sum(across) / len(across) if within and across else math.nan
    stats["lean"] = mean.get("tampered-contour", math.nan) - mean.get("authentic-contour", math.nan)
    return stats


@pytest.mark.parametrize("role", ["switch", "ignore", "tampered", "authentic"])
@pytest.mark.parametrize("branch", ["tampered", "authentic"])
@pytest.mark.parametrize("present", [(0, 1, 2, -1), (0, 1), (0, 2), (0,), (1, 2), (-1,)])
def test_statistics_are_the_means_over_all_pairs(role: str, branch: str, present: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(len(present))
    z = normalize(torch.randn(3, 20, 5, generator=generator), dim=-1)
    choice = torch.randint(len(present), (3, 20), generator=generator)
    categories = torch.tensor(present)[choice]
    groups = sides(role, branch)
    fast = image_statistics(z, categories, groups)
    for i in range(3):
        expected = slow(z[i].double(), categories[i], groups)
        for name, values in fast.items():
            assert float(values[i]) == pytest.approx(expected.get(name, math.nan), abs=1e-5, nan_ok=True), name


def test_separated_embeddings_have_a_margin_and_a_lean() -> None:
    east, north = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    z = torch.stack([east, east, north, north, east])[None]
    categories = torch.tensor([[1, 1, 0, 0, 2]])
    stats = image_statistics(z, categories, sides("switch", "tampered"))
    assert stats["margin"].item() == pytest.approx(1.0)
    assert stats["lean"].item() == pytest.approx(1.0)
    # in the other branch the contour patch sits with the tampered ones, against its role: some margin is lost
    other = image_statistics(z, categories, sides("switch", "authentic"))
    assert other["margin"].item() < 0.5


def test_a_panel_outlines_at_the_models_threshold() -> None:
    g = torch.Generator().manual_seed(0)
    batch = {
        "image": torch.randint(0, 255, (1, 3, 32, 32), dtype=torch.uint8, generator=g),
        "mask": torch.zeros(1, 1, 32, 32),
        "valid": torch.ones(1, 1, 32, 32, dtype=torch.bool),
        "content": torch.tensor([[32, 32]]),
        "authentic": torch.tensor([True]),
        "name": ["a.png"],
    }
    logits = torch.full((1, 1, 32, 32), -4.0)
    logits[..., 8:24, 8:24] = 0.4  # a probability of .6
    # below the line that says how much is called tampered
    below, above, far = (panel_row(batch, logits.sigmoid(), 0, 8, threshold)[18:] for threshold in (0.5, 0.8, 0.9))
    assert (below != above).any()
    assert (above == far).all()
