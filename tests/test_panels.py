"""What a validation panel shows: which pictures, whose they are, and what its colours mean."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from conftest import ROOT, TINY, make_set, succeed

from ncl_lightning import draw
from ncl_lightning.metrics import ImageScores
from ncl_lightning.panels import choose, panel_row


def batch(height: int, width: int, authentic: bool = False, name: str = "a.png", seed: int = 0) -> dict[str, object]:
    """A batch of one picture of noise, its upper left quarter tampered with unless it is authentic."""
    g = torch.Generator().manual_seed(seed)
    mask = torch.zeros(1, 1, height, width)
    mask[..., : height // 2, : width // 2] = not authentic
    return {
        "image": torch.randint(0, 255, (1, 3, height, width), dtype=torch.uint8, generator=g),
        "mask": mask,
        "valid": torch.ones(1, 1, height, width, dtype=torch.bool),
        "content": torch.tensor([[height, width]]),
        "index": torch.tensor([0]),
        "authentic": torch.tensor([authentic]),
        "name": [name],
    }


def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is written into pictures from here on."""
    words: list[str] = []
    line = draw._line
    monkeypatch.setattr(draw, "_line", lambda text, width: words.append(text) or line(text, width))
    return words


def test_the_first_are_shown_and_one_of_each_kind() -> None:
    tampered_first = {i: i >= 6 for i in range(9)}
    assert choose(tampered_first, 4) == [0, 1, 2, 6]
    assert choose({i: i < 6 for i in range(9)}, 4) == [0, 1, 2, 6]
    assert choose({0: False, 1: True, 2: False, 3: False}, 3) == [0, 1, 2]
    # of a single one: tampered
    assert choose(tampered_first, 1) == choose({1: True, 0: False}, 1) == [0]
    assert choose({0: True, 1: False}, 1) == [1]
    assert choose(dict.fromkeys(range(3), True), 1) == [0]
    assert choose({}, 4) == choose({0: True}, 0) == []


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7])
def test_the_f1_said_is_the_scores(threshold: float, monkeypatch: pytest.MonkeyPatch) -> None:
    one = batch(40, 56)
    logits = one["mask"] + torch.randn(1, 1, 40, 56, generator=torch.Generator().manual_seed(1))
    scores = ImageScores(1, threshold=threshold)
    scores.update(logits.sigmoid(), one["mask"], one["valid"], one["index"])
    words = said(monkeypatch)
    panel_row(one, logits.sigmoid(), 0, 8, threshold)
    assert f"a.png  F1 {float(scores.compute()['f1']):.3f}" in words


def test_what_has_no_f1_says_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    logits = torch.full((1, 1, 40, 40), -4.0)
    logits[..., :10, :] = 4
    words = said(monkeypatch)
    panel_row(batch(40, 40, authentic=True), logits.sigmoid(), 0, 8)
    assert "a.png  authentic, 25.0% called tampered" in words
    cropped = batch(40, 40)
    cropped["mask"] = torch.zeros(1, 1, 40, 40)
    panel_row(cropped, logits.sigmoid(), 0, 8)
    assert "a.png  no tampered pixel left" in words


def test_padding_is_neither_shown_nor_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    one = batch(40, 40)
    one["content"] = torch.tensor([[20, 40]])
    one["valid"][..., 20:, :] = False
    # right wherever there is a picture
    logits = one["mask"] * 8 - 4
    logits[..., 20:, :] = 4
    words = said(monkeypatch)
    row = panel_row(one, logits.sigmoid(), 0, 8)
    assert "a.png  F1 1.000" in words
    # 128×64 pixels, two lines of text, a margin
    assert row.shape == (64 + 2 * 18 + 4, 5 * (128 + 4), 3)


@pytest.mark.parametrize(
    ("size", "shown"), [((64, 48), (128, 96)), ((200, 300), (200, 300)), ((1536, 768), (512, 256))]
)
def test_rows_are_neither_tiny_nor_huge(size: tuple[int, int], shown: tuple[int, int]) -> None:
    row = panel_row(batch(*size), torch.full((1, 1, *size), 0.5), 0, 16)
    assert row.shape == (shown[0] + 2 * 18 + 4, 5 * (shown[1] + 4), 3)


@pytest.mark.parametrize("name", ["short.png", "x" * 300 + "_7.png", "写真" * 90 + "é.png", ""])
def test_a_name_is_cut_to_fit_and_its_end_stays(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words = said(monkeypatch)
    row = panel_row(batch(128, 128, name=name), torch.full((1, 1, 128, 128), 0.5), 0, 16)
    assert row.shape[1] == 5 * 132
    (title,) = (text for text in words if "F1" in text)
    shown = title.removesuffix("  F1 0.000")
    assert name.endswith(shown.removeprefix("…"))
    assert shown == name or len(shown) > 20
    # nothing runs over the edge
    assert (row[:18, -3:] == 255).all()
    assert (row[:18] < 128).any()


@pytest.mark.parametrize("letter", ["\udcff", "\n", "\0", "\u202e", "\U0001f600", "\U000e0041", "\ufffe"])
def test_odd_names_do_no_harm(letter: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words = said(monkeypatch)
    panel_row(batch(128, 128, name=f"a{letter}b.png"), torch.full((1, 1, 128, 128), 0.5), 0, 16)
    assert any(text.startswith("a") and text.endswith("b.png  F1 0.000") for text in words)


@pytest.mark.parametrize("width", [170, 660, 2000])
def test_the_legend_has_every_colour_and_fits(width: int) -> None:
    legend = draw.legend(width, 0.5)
    # one entry may be wider than a very narrow panel
    assert legend.shape[1] <= max(width, 400)
    colours = {tuple(pixel) for pixel in legend.reshape(-1, 3).tolist()}
    assert set(draw.CATEGORY_COLOURS.values()) <= colours
    scale = {tuple(pixel) for pixel in draw.heat(np.linspace(0, 1, 80)[None]).reshape(-1, 3).tolist()}
    assert scale <= colours


def test_a_run_shows_an_authentic_picture_on_one_process_and_on_two(tmp_path: Path) -> None:
    # the authentic pictures come last, and to the second process
    data = make_set(tmp_path / "data", 5, 1)
    options = ["fit", *TINY, f"--data.train=[{data}]", f"--data.val={data}", "--panels.count=3", "--model.lr=0"]
    two = ["--config", ROOT / "configs" / "ddp.yaml", "--trainer.accelerator=cpu", "--trainer.devices=2"]
    more = ["--data.authentic_share=0", "--trainer.limit_train_batches=1"]
    succeed(*options, *more, f"--trainer.default_root_dir={tmp_path / 'one'}")
    succeed("fit", *two, *options[1:], *more, f"--trainer.default_root_dir={tmp_path / 'two'}")
    one, other = (
        cv2.imread(str(tmp_path / folder / "version_0" / "panels" / "epoch_0000.png")) for folder in ("one", "two")
    )
    assert one.shape == other.shape
    row = 18 + 18 + 128 + 4
    places = [slice(k * row + 36, (k + 1) * row - 4) for k in range(3)]
    # names, images, truths and categories are the same; the networks are not, after their steps
    for place in places:
        assert np.array_equal(one[place, :264], other[place, :264])
    bright = [(one[place, 132 : 132 + 100] > 200).any() for place in places]
    assert bright == [True, True, False]
