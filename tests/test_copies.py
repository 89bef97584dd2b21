"""Copy-move: what was copied is found, at both places, and nothing else."""

import csv
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from conftest import succeed
from numpy.typing import NDArray

from ncl_lightning.camera import Camera, add_noise, jpeg
from ncl_lightning.copies import OFF_GRID, copies_of, find_copies, with_copies
from ncl_lightning.deadleaves import scene
from ncl_lightning.module import NCLModule

Pixels = NDArray[np.uint8]


def photograph(seed: int, side: int = 256) -> Pixels:
    """A made-up scene by a made-up camera that writes no JPEG, (side, side, 3)."""
    rng = np.random.default_rng(seed)
    return replace(Camera.draw(rng, True), quality=100).shoot(scene(rng, side, side), rng)


def ellipse(side: int, x: int, y: int) -> NDArray[np.bool_]:
    return cv2.ellipse(np.zeros((side, side), np.uint8), (x, y), (44, 34), 0, 0, 360, 1, -1) > 0


MOVES = {
    "moved": np.float32([[1, 0, 130], [0, 1, 120]]),  # even numbers: on the camera's mosaic
    "turned and larger": np.float32([[1.1, -0.35, 146], [0.35, 1.1, 98]]),
    "turned and smaller": np.float32([[0.85, 0.2, 120], [-0.2, 0.85, 140]]),
    "mirrored": np.float32([[-1, 0, 262], [0, 1, 120]]),
}


def copied(image: Pixels) -> NDArray[np.bool_]:
    """Both places of every copy, (H, W)."""
    return np.any([copy.one | copy.other for copy in find_copies(image)] or [np.zeros(image.shape[:2], bool)], axis=0)


def forged(seed: int, move: str, quality: int = 0) -> tuple[Pixels, NDArray[np.bool_], NDArray[np.bool_]]:
    """A picture, the place copied from and the place copied to; as a JPEG of `quality`, unless that is 0."""
    image, source = photograph(seed), ellipse(256, 66, 68)
    content = cv2.warpAffine(image, MOVES[move], (256, 256), flags=cv2.INTER_CUBIC)
    copy = cv2.warpAffine(source.astype(np.uint8), MOVES[move], (256, 256)) > 0
    image = np.where(copy[..., None], content, image)
    if quality:
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return image, source, copy


@pytest.mark.parametrize("quality", [0, 90])
@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("seed", range(3))
def test_both_places_are_found(seed: int, move: str, quality: int) -> None:
    image, source, copy = forged(seed, move, quality)
    found = copied(image)
    truth = source | copy
    assert (found & truth).sum() / (found | truth).sum() > 0.75
    assert (found & source).any()
    assert (found & copy).any()


@pytest.mark.parametrize("seed", range(8))
def test_nothing_is_found_in_authentic_pictures(seed: int) -> None:
    assert not copied(photograph(seed)).any()


def test_likeness_without_the_same_detail_is_no_copy() -> None:
    # the same thing photographed twice: equal shapes, grain of its own
    rng = np.random.default_rng(0)
    half = cv2.GaussianBlur(photograph(0)[:128], (0, 0), 1.2)
    twice = np.concatenate([add_noise(half, rng, 5), add_noise(half, rng, 5)])
    assert not copied(twice).any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (5, 300), (64, 64), (128, 96)])
def test_pictures_without_anything_to_match(shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    assert not copied(np.full((*shape, 3), 200, np.uint8)).any()
    assert not copied(noise).any()


@pytest.mark.parametrize("grain", [0.0, 1.0, 2.5])
def test_a_flat_background_is_no_copy(grain: float) -> None:
    thing, rng = photograph(3)[60:140, 60:140], np.random.default_rng(0)
    image = np.full((400, 400, 3), 200, np.uint8)
    truth = np.zeros((400, 400), bool)
    for top, left in ((60, 60), (250, 230)):
        # with a border, as a careless hand takes it along
        truth[top - 10 : top + 90, left - 10 : left + 90] = True
        image[top : top + 80, left : left + 80] = thing
    image = add_noise(image, rng, grain)
    image[240:340, 220:320] = image[50:150, 50:150]
    found = copied(image)
    assert (found & truth).sum() / (found | truth).sum() > 0.6


def test_a_thing_copied_twice_is_found_at_all_three_places() -> None:
    image = photograph(2)
    thing = image[20:100, 20:100].copy()
    places = [(20, 20), (150, 20), (140, 150)]
    for top, left in places[1:]:
        image[top : top + 80, left : left + 80] = thing
    found = copied(image)
    for top, left in places:
        assert found[top : top + 80, left : left + 80].mean() > 0.6


def test_beside_a_copy_a_lookalike_is_left_out() -> None:
    image, rng = photograph(0, 384), np.random.default_rng(0)
    thing = photograph(3)[60:140, 60:140]
    for left in (20, 150):
        image[20:100, left : left + 80] = add_noise(thing, rng, 4)
    alone = copied(image)
    assert alone[20:100, 20:230].mean() > 0.3
    image[280:370, 20:110] = image[180:270, 250:340]
    found = copied(image)
    assert found[280:370, 20:110].mean() > 0.6
    assert not found[20:100, 20:230].any()


def test_both_places_are_apart_and_agree_at_most_wholly() -> None:
    for move in MOVES:
        for copy in find_copies(forged(0, move)[0]):
            assert not (copy.one & copy.other).any()
            assert 0.65 <= copy.agreement <= 1


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_maps_of_any_float_and_with_gradients(kind: torch.dtype) -> None:
    picture = torch.from_numpy(forged(0, "moved")[0]).permute(2, 0, 1)[None]
    suspected = torch.full((1, 1, 256, 256), 0.4, dtype=kind, requires_grad=True)
    after = with_copies(suspected, copies_of(picture))
    assert after.dtype == kind
    assert ((after > 0.5)[0, 0].numpy() == copied(picture[0].permute(1, 2, 0).numpy())).all()
    assert with_copies(suspected[:0], copies_of(picture[:0])).shape == (0, 1, 256, 256)


def test_maps_of_other_pictures_stay_and_what_a_copy_explains_is_halved() -> None:
    image = forged(0, "moved")[0]
    pictures = torch.from_numpy(np.stack([image, photograph(1)])).permute(0, 3, 1, 2)
    before = 0.9 * torch.rand(2, 1, 256, 256, generator=torch.Generator().manual_seed(0))
    after = with_copies(before, copies_of(pictures))
    assert torch.equal(after, with_copies(before, copies_of(pictures.float() / 255)))
    assert torch.equal(after[1], before[1])
    found = torch.from_numpy(copied(image))
    assert (after[0, 0][found] > 0.8).all()
    assert torch.equal(after[0, 0][~found], before[0, 0][~found] / 2)


def test_what_the_map_is_sure_of_stays_where_the_copy_is_a_part_of_it() -> None:
    """Of a large thing that was copied, only a part may be found; what is elsewhere is explained by the copy."""
    image, _, copy = forged(0, "moved")
    whole = cv2.dilate(copy.astype(np.uint8), np.ones((41, 41), np.uint8)) > 0
    elsewhere = np.zeros_like(copy)
    elsewhere[200:240, 10:50] = True
    before = torch.from_numpy(np.where(whole | elsewhere, np.float32(0.97), np.float32(0.1)))[None, None]
    after = with_copies(before, [find_copies(image)])[0, 0].numpy()
    assert (after[whole] > 0.8).all()
    assert (after[elsewhere] < 0.5).all()
    unsure = with_copies(before.clamp(max=0.9), [find_copies(image)])[0, 0].numpy()
    assert (unsure[whole & ~copied(image)] < 0.5).all()


@pytest.mark.parametrize("move", MOVES)
def test_the_map_tells_the_copy_from_what_was_copied(move: str) -> None:
    image, *places = forged(0, move)
    picture = torch.from_numpy(image).permute(2, 0, 1)[None]
    for place, other in (places, reversed(places)):
        suspected = torch.from_numpy(np.where(place, np.float32(0.6), np.float32(0.1)))
        called = with_copies(suspected[None, None], copies_of(picture))[0, 0].numpy() > 0.5
        assert (called & place).sum() / (called | place).sum() > 0.7
        assert not (called & other & ~place)[5:-5].sum() > 0.1 * other.sum()


@pytest.mark.parametrize("quality", [0, 95])
@pytest.mark.parametrize("seed", range(3))
def test_what_was_interpolated_is_the_copy(seed: int, quality: int) -> None:
    """Where the map can't tell; a copy that was only moved is as good as its original, and both are called."""
    undecided = torch.full((1, 1, 256, 256), 0.2)
    for move in MOVES:
        image, source, copy = forged(seed, move, quality)
        called = with_copies(undecided, [find_copies(image)])[0, 0].numpy() > 0.5
        assert (called & copy).sum() > 0.7 * copy.sum()
        rest = (called & source & ~copy).sum() / source.sum()
        if move == "turned and smaller":
            assert rest < 0.1
        elif move == "moved":
            assert rest > 0.6


@pytest.mark.parametrize("seed", range(4))
def test_what_stands_off_the_picture_s_grid_is_the_copy(seed: int) -> None:
    """Whatever the map says. A copy moved by whole blocks stands on it, and so does all in a picture without one.

    A camera's mosaic shows as a grid of 2 pixels: moved by an even number, a copy stands on that.
    """
    source = ellipse(256, 66, 68)
    for grid, move, tells in (((3, 5), (130, 121), True), ((0, 0), (128, 120), False), (None, (130, 122), False)):
        image = photograph(seed)
        if grid is not None:
            image = jpeg(image, 88, grid)
        matrix = np.float32([[1, 0, move[0]], [0, 1, move[1]]])
        content = cv2.warpAffine(image, matrix, (256, 256), flags=cv2.INTER_NEAREST)
        copy = cv2.warpAffine(source.astype(np.uint8), matrix, (256, 256)) > 0
        image = np.where(copy[..., None], content, image)
        (found,) = find_copies(image)
        lead = found.off_grid if (found.one & copy).sum() > (found.one & source).sum() else -found.off_grid
        assert lead > OFF_GRID if tells else abs(lead) < OFF_GRID
        if tells:
            suspected = torch.from_numpy(np.where(source, np.float32(0.9), np.float32(0.1)))[None, None]
            called = with_copies(suspected, [[found]])[0, 0].numpy() > 0.5
            assert (called & copy).sum() > 0.7 * copy.sum()
            assert not (called & source & ~copy).any()


def test_the_option_is_the_model_s() -> None:
    options = {"encoder": "traces", "options": {"width": 4}, "stride": 8, "branch_channels": 4, "embedding_dim": 4}
    image = torch.from_numpy(forged(0, "moved")[0]).permute(2, 0, 1)[None]
    torch.manual_seed(0)
    plain = NCLModule(**options).eval()
    torch.manual_seed(0)
    module = NCLModule(**options, copies=True).eval()
    with torch.no_grad():
        before = plain.probability(image)
        assert torch.equal(module.probability(image), with_copies(before, copies_of(image)))
    assert module.hparams["copies"]
    assert not torch.equal(before, with_copies(before, copies_of(image)))


def test_what_fills_a_frame_is_no_copy() -> None:
    """A small picture's frame is filled up with its own mirror."""
    frame = np.pad(photograph(0)[:192], ((0, 64), (0, 0), (0, 0)), mode="reflect")
    image = torch.from_numpy(frame).permute(2, 0, 1)[None]
    assert copies_of(image)[0]
    assert not copies_of(image, torch.tensor([[192, 256]]))[0]
    # and a copy in the content is laid where it is in the frame
    frame = np.pad(forged(0, "moved")[0], ((0, 40), (0, 64), (0, 0)), mode="reflect")
    found = copies_of(torch.from_numpy(frame).permute(2, 0, 1)[None], torch.tensor([[256, 256]]))
    after = with_copies(torch.full((1, 1, 296, 320), 0.1), found)[0, 0] > 0.5
    assert (after[:256, :256].numpy() == copied(forged(0, "moved")[0])).all()
    assert not after[256:].any()
    assert not after[:, 256:].any()


def test_predict_shows_both_places(tmp_path: Path) -> None:
    image, source, copy = forged(0, "moved")
    cv2.imwrite(str(tmp_path / "in.png"), image[..., ::-1])
    cv2.imwrite(str(tmp_path / "other.png"), photograph(1)[..., ::-1])
    out = tmp_path / "out"
    # the larger side is above max_size: places must come back to the original size
    succeed("predict", f"--data.predict={tmp_path}", "--data.max_size=200", f"--trainer.default_root_dir={out}")
    with (out / "predictions.csv").open(newline="") as stream:
        listed = {row["picture"]: int(row["copies"]) for row in csv.DictReader(stream)}
    assert listed == {"in.png": 1, "other.png": 0}
    assert (out / "predictions.html").read_text().count(">two places alike<") == 1
    blue = (cv2.imread(str(out / "in_overlay.png"))[..., ::-1] == (70, 170, 255)).all(2)
    for place in (source, copy):
        rim = cv2.morphologyEx(place.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((9, 9), np.uint8)) > 0
        assert (blue & rim).sum() > 100
    assert not (cv2.imread(str(out / "other_overlay.png"))[..., ::-1] == (70, 170, 255)).all(2).any()
