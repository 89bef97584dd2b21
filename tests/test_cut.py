"""Each picture at its own cut, against every cut there is."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_set, succeed
from hypothesis import given, settings
from hypothesis import strategies as st

from ncl_lightning.checkpoints import SHIPPED
from ncl_lightning.cut import LEAST, cut_at_half, expected_cut
from ncl_lightning.module import NCLModule
from ncl_lightning.synthetic import SyntheticSource

maps = st.lists(st.floats(0, 1, width=32), min_size=1, max_size=60)


def expected_f1(values: np.ndarray, called: np.ndarray) -> float:
    """2 E[TP] / (|called| + E[tampered]); 0 of nothing."""
    below = called.sum() + values.sum()
    return float(2 * values[called].sum() / below) if below else 0.0


@settings(max_examples=200, deadline=None)
@given(maps)
def test_no_other_set_of_pixels_lets_expect_more(values: list[float]) -> None:
    p = np.array(values)
    cut = expected_cut(torch.tensor(values))
    # the best set is one above some value, or empty
    best = max(expected_f1(p, p >= v) for v in [*p, 2.0])
    if best / 2 >= LEAST:
        assert cut == pytest.approx(best / 2, abs=1e-6)
        assert expected_f1(p, p > cut) == pytest.approx(best, abs=1e-5)
    else:
        assert cut == LEAST
    assert LEAST <= cut <= 0.5


@settings(max_examples=100, deadline=None)
@given(maps)
def test_the_cut_comes_to_half_and_ranks_stay(values: list[float]) -> None:
    one = torch.tensor(values).view(1, 1, 1, -1)
    moved = cut_at_half(one)
    cut = expected_cut(one)
    # not where rounding decides
    clear = (one - cut).abs() > 1e-5
    assert ((moved > 0.5) == (one > cut))[clear].all()
    order = one.flatten().argsort()
    assert (moved.flatten()[order].diff() >= -1e-6).all()
    assert ((moved >= 0) & (moved <= 1)).all()


def test_what_fills_a_frame_does_not_count() -> None:
    g = torch.Generator().manual_seed(0)
    small = torch.rand(2, 1, 12, 10, generator=g) ** 4
    framed = torch.ones(2, 1, 16, 16)
    framed[0, :, :12, :10] = small[0]
    framed[1, :, :9, :10] = small[1, :, :9]
    moved = cut_at_half(framed, torch.tensor([[12, 10], [9, 10]]))
    torch.testing.assert_close(moved[0, :, :12, :10], cut_at_half(small[:1])[0])
    torch.testing.assert_close(moved[1, :, :9, :10], cut_at_half(small[1:, :, :9])[0])


def test_where_nothing_is_likely_nothing_is_called() -> None:
    faint = torch.full((1, 1, 8, 8), 0.9 * LEAST)
    assert (cut_at_half(faint) < 0.5).all()
    assert not cut_at_half(torch.zeros(1, 1, 4, 4)).any()
    assert cut_at_half(torch.zeros(0, 1, 4, 4)).shape == (0, 1, 4, 4)


@pytest.fixture(scope="module")
def modules() -> tuple[NCLModule, NCLModule]:
    """The shipped model with one cut for all pictures, and with each picture's own."""
    one, own = (
        NCLModule.load_from_checkpoint(SHIPPED, map_location="cpu", weights_only=True, own_cut=own).eval()
        for own in (False, True)
    )
    return one, own


def test_predictions_are_cut_and_pictures_ranked_by_what_was_before(modules: tuple[NCLModule, NCLModule]) -> None:
    pictures = np.stack([SyntheticSource(2, size=96, seed=3).read(i).image for i in range(2)])
    batch = {
        "image": torch.from_numpy(pictures).permute(0, 3, 1, 2),
        "content": torch.tensor([[96, 96], [60, 50]]),
        "original_size": torch.tensor([[96, 96], [60, 50]]),
    }
    with torch.no_grad():
        plain = modules[0].probability(batch["image"])
        moved = modules[1].predict_step(batch, 0)
    assert not any(batch["copies"])
    parts = [plain[:1], plain[1:, :, :60, :50]]
    for part, mine, highest in zip(parts, moved, batch["highest"], strict=True):
        torch.testing.assert_close(mine[None, None], cut_at_half(part))
        assert highest == part.max()


def test_scores_are_of_the_maps_that_were_cut(tmp_path: Path) -> None:
    data = make_set(tmp_path / "set", 3, 1, size=(96, 96), seed=3)
    common = ["test", "--ckpt_path=shipped", f"--data.test={json.dumps({'a': str(data)})}", "--model.copies=false"]
    for own in ("true", "false"):
        succeed(*common, f"--model.own_cut={own}", f"--trainer.default_root_dir={tmp_path / own}")
    cut, plain = (json.loads((tmp_path / own / "results.json").read_text())["sets"]["a"] for own in ("true", "false"))
    # ranks within a picture stay, and pictures are ranked as before
    for score in ("auc", "ap", "f1_best", "image_auc", "image_accuracy"):
        assert cut[score] == pytest.approx(plain[score], abs=1e-3), score
    assert cut["f1"] != plain["f1"]
    # one threshold of all maps as they come
    assert cut["f1_val"] is None
    assert plain["f1_val"] is not None
