"""Synthetic manipulations: the same for a seed, an epoch and an index; the mask is what changed."""

import hashlib
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import ROOT

from ncl_lightning import recipes, synthetic
from ncl_lightning.camera import Camera, add_noise, alter, history, jpeg, light_of, passed_on
from ncl_lightning.copies import find_copies
from ncl_lightning.deadleaves import outlines, scene
from ncl_lightning.errors import InputError
from ncl_lightning.recipes import REACH, blend, copy_move, match_colour, remove, retouch, splice
from ncl_lightning.regions import pick, segment, shape
from ncl_lightning.synthetic import SHARES, SyntheticSource

RECIPES: dict[str, Callable[..., tuple[np.ndarray, np.ndarray]]] = {
    "splice": splice,
    "copy_move": copy_move,
    "remove": remove,
    "retouch": retouch,
}


def photo(seed: int, height: int = 96, width: int = 96) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return Camera.draw(rng).shoot(scene(rng, height, width), rng)


def manipulated(recipe: str, image: np.ndarray, seed: int, **more: object) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng([seed, 7])
    donor = {"donor": photo(1000 + seed, 80, 120)} if recipe == "splice" else {}
    return RECIPES[recipe](image, rng, share=0.1, **donor, **more)


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    paths = []
    for number, (height, width) in enumerate([(60, 90), (81, 47), (120, 64)]):
        paths.append(tmp_path / f"photo {number}.png")
        cv2.imwrite(str(paths[-1]), photo(number, height, width)[:, :, ::-1])
    return paths


def fingerprint(source: SyntheticSource, epoch: int = 0) -> list[bytes]:
    pictures = [source.read(index, epoch) for index in range(6)]
    return [picture.image.tobytes() + picture.mask.tobytes() for picture in pictures]


def test_the_same_for_a_seed_an_epoch_and_an_index() -> None:
    np.random.seed(1)
    first = fingerprint(SyntheticSource(6, size=64, seed=3))
    np.random.seed(2)
    again = SyntheticSource(6, size=64, seed=3)
    # neither the global generator nor the order of reading counts
    assert first == [again.read(i).image.tobytes() + again.read(i).mask.tobytes() for i in reversed(range(6))][::-1]
    others = fingerprint(SyntheticSource(6, size=64, seed=4)) + fingerprint(SyntheticSource(6, size=64, seed=3), 1)
    assert len(set(first + others)) == 18


def test_the_same_in_another_process() -> None:
    code = (
        "import hashlib; from ncl_lightning.synthetic import SyntheticSource as S; s = S(4, size=64, seed=5);"
        "print(hashlib.sha256(b''.join(s.read(i, 2).image.tobytes() for i in range(4))).hexdigest())"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=True, cwd=ROOT
    )
    source = SyntheticSource(4, size=64, seed=5)
    here = hashlib.sha256(b"".join(source.read(i, 2).image.tobytes() for i in range(4))).hexdigest()
    assert ran.stdout.strip() == here


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_sample_of_a_recipe_has_a_fair_mask(recipe: str) -> None:
    source = SyntheticSource(24, size=64, seed=1, authentic_share=0, shares={recipe: 1})
    shares = []
    for index in range(len(source)):
        picture = source.read(index)
        assert not picture.authentic
        assert recipe in picture.name
        assert picture.image.shape == (64, 64, 3)
        assert picture.image.dtype == np.uint8
        assert picture.mask.shape == (64, 64)
        assert picture.mask.dtype == bool
        shares.append(picture.mask.mean())
    assert 0 < min(shares) < 0.1 < max(shares) <= 0.51


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("plain", [None, "rough", "smooth"])
def test_outside_its_mask_a_recipe_changes_nothing(recipe: str, plain: str | None) -> None:
    within = []
    for seed in range(10):
        image = photo(seed)
        kept = image.copy()
        result, mask = manipulated(recipe, image, seed, plain=plain)
        np.testing.assert_array_equal(image, kept)
        rim = cv2.dilate(mask.astype(np.uint8), np.ones((2 * REACH + 1,) * 2, np.uint8)).astype(bool)
        np.testing.assert_array_equal(result[~rim], image[~rim])
        within.append((result[mask] != image[mask]).any(1).mean())
    assert np.median(within) > 0.7


def test_a_hard_edge_ends_where_the_mask_does() -> None:
    image, content = photo(1), photo(2)
    region = shape(np.random.default_rng(0), 96, 96, 0.1)
    result = blend(image, content, region, feather=0)
    np.testing.assert_array_equal(result[region], content[region])
    np.testing.assert_array_equal(result[~region], image[~region])


def test_what_is_moved_by_whole_pixels_is_the_very_pixels() -> None:
    image = photo(1)
    rng = np.random.default_rng(0)
    region = np.zeros((96, 96), bool)
    region[40:60, 30:55] = True
    for _ in range(10):
        matrix = recipes._moved(region, 96, 96, 0.05, rng, whole=True)
        content, landed = recipes._carried(image, region, matrix, 96, 96, rng)
        across, right, down = matrix[0, 0], round(float(matrix[0, 2])), round(float(matrix[1, 2]))
        rows, columns = np.nonzero(landed)
        came_from = columns - right if across > 0 else right - columns
        assert len(rows) > 0
        np.testing.assert_array_equal(content[rows, columns], image[rows - down, came_from])


def test_shares_of_recipes_are_honoured() -> None:
    source = SyntheticSource(3000, authentic_share=0.3, shares={"splice": 3, "remove": 1})
    seen = Counter(source.recipe(index) for index in range(3000))
    assert set(seen) == {"authentic", "splice", "remove"}
    assert abs(seen["authentic"] / 3000 - 0.3) < 0.03
    assert abs(seen["splice"] / (seen["splice"] + seen["remove"]) - 0.75) < 0.03


def test_authentic_pictures_have_an_empty_mask() -> None:
    source = SyntheticSource(5, size=64, authentic_share=1)
    for index in range(5):
        picture = source.read(index)
        assert picture.authentic
        assert not picture.mask.any()
    assert set(SHARES) == set(RECIPES)


def test_made_up_photographs_have_a_natural_spectrum() -> None:
    """Photographs: f^-1.2 in the median, nine in ten within f^-0.7 to f^-1.6 (192-pixel crops of 60 of BSDS)."""
    side, edges = 128, np.geomspace(0.02, 0.3, 11)
    window = np.outer(np.hanning(side), np.hanning(side))
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)[None, :])
    slopes = []
    for seed in range(12):
        grey = photo(seed, side, side).mean(2)
        amplitude = np.abs(np.fft.fft2((grey - grey.mean()) * window))
        level = [amplitude[(frequency >= low) & (frequency < high)].mean() for low, high in pairwise(edges)]
        slopes.append(np.polyfit(np.log(np.sqrt(edges[1:] * edges[:-1])), np.log(level), 1)[0])
    assert -1.65 < np.median(slopes) < -0.8
    assert -2.3 < min(slopes) < max(slopes) < -0.3


def test_made_up_photographs_differ_in_colour_and_fill_their_frame() -> None:
    pictures = [scene(np.random.default_rng(seed), 48, 70) for seed in range(6)]
    assert all(picture.shape == (48, 70, 3) and picture.dtype == np.float32 for picture in pictures)
    assert all(picture.min() > 0 and picture.max() <= 1 for picture in pictures)
    assert np.std([picture.mean((0, 1)) for picture in pictures], axis=0).min() > 0.01
    assert outlines(np.random.default_rng(0), 5).shape[0] == 5


def test_a_large_made_up_photograph_holds_nothing_twice() -> None:
    """Textures were tiles of 256 pixels once: what wraps around is a copy, and is found as one."""
    source = SyntheticSource(6, size=512, authentic_share=1, hard=0)
    assert [find_copies(source.read(index).image) for index in range(6)] == [[]] * 6


def test_photographs_keep_their_size(photos: list[Path]) -> None:
    source = SyntheticSource(20, photos, seed=2)
    shapes = set()
    for index in range(20):
        picture = source.read(index)
        assert picture.image.shape[:2] == picture.mask.shape
        assert picture.mask.any() != picture.authentic
        shapes.add(picture.mask.shape)
    assert shapes == {(60, 90), (81, 47), (120, 64)}


def test_one_photograph_serves_as_base_and_donor(photos: list[Path]) -> None:
    source = SyntheticSource(4, photos[:1], authentic_share=0, shares={"splice": 1})
    assert all(source.read(index).mask.any() for index in range(4))


@pytest.mark.parametrize("flat", [0, 128, 255])
def test_a_grey_flat_photograph_is_manipulated_too(tmp_path: Path, flat: int) -> None:
    path = tmp_path / "flat.png"
    cv2.imwrite(str(path), np.full((40, 50), flat, np.uint8))
    for recipe in RECIPES:
        source = SyntheticSource(3, [path], authentic_share=0, shares={recipe: 1})
        for index in range(3):
            assert 0 < source.read(index).mask.mean() <= 0.51


def test_a_tiny_photograph_is_named(tmp_path: Path) -> None:
    path = tmp_path / "tiny.png"
    cv2.imwrite(str(path), photo(0, 8, 8))
    with pytest.raises(InputError, match=r"tiny\.png: 8×8 pixels.*remove it"):
        SyntheticSource(1, [path]).read(0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": 0}, "at least one"),
        ({"count": 1, "size": 16}, "at least 32"),
        ({"count": 1, "seed": -1}, "negative"),
        ({"count": 1, "shares": {"paint": 1}}, "splice, copy_move, remove, retouch"),
        ({"count": 1, "shares": {"splice": 0}}, "positive"),
        ({"count": 1, "shares": {}}, "positive"),
        ({"count": 1, "area": (0.2, 0.1)}, "smaller first"),
        ({"count": 1, "hard": 1.5}, "hard"),
        ({"count": 1, "authentic_share": -0.1}, "authentic_share"),
        ({"count": 1, "web": 2.0}, "web"),
    ],
)
def test_parameters_out_of_range_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SyntheticSource(**arguments)  # type: ignore[arg-type]


def test_when_nothing_changes_grain_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    def idle(image: np.ndarray, *_: object) -> tuple[np.ndarray, np.ndarray]:
        return image, np.ones(image.shape[:2], bool)

    monkeypatch.setitem(synthetic._IN_PLACE, "retouch", idle)
    picture = SyntheticSource(1, size=64, authentic_share=0, shares={"retouch": 1}).read(0)
    assert 0 < picture.mask.mean() < 0.5


def test_regions_follow_objects() -> None:
    """A red disc on a grey ground is found as one object, its outline to within a few pixels."""
    rows, columns = np.mgrid[:100, :120]
    disc = (rows - 50) ** 2 + (columns - 60) ** 2 < 24**2
    image = np.where(disc[:, :, None], (190, 60, 50), (120, 125, 130)).astype(np.uint8)
    image = add_noise(image, np.random.default_rng(0), 3)
    best = 0.0
    for seed in range(30):
        found = segment(image, np.random.default_rng(seed), disc.mean())
        if found is not None:
            best = max(best, (found & disc).sum() / (found | disc).sum())
    assert best > 0.9


@pytest.mark.parametrize("objects", [0.0, 1.0])
def test_regions_have_about_the_share_asked_for(objects: float) -> None:
    for share in (0.02, 0.1, 0.3):
        sizes = [pick(photo(seed), np.random.default_rng(seed), share, objects).mean() for seed in range(12)]
        assert 0.5 * share < np.median(sizes) < 2 * share
        assert min(sizes) > 0


def test_a_camera_shows_a_flat_colour_as_it_is() -> None:
    light = np.full((21, 34, 3), (0.8, 0.3, 0.1), np.float32)
    for mosaic in range(4):
        for edge_aware in (False, True):
            camera = Camera(0.5, 0, 0, mosaic, edge_aware, 2.2, 0, 100, (0, 0), True)
            shot = camera.shoot(light, np.random.default_rng(0))
            wanted = np.rint(255 * light ** (1 / 2.2))
            assert shot.shape == light.shape
            assert np.abs(shot[3:-3, 3:-3] - wanted[3:-3, 3:-3]).max() <= 1


def test_a_noisy_camera_is_noisier_and_its_opposite_is_not() -> None:
    light = np.full((64, 64, 3), 0.3, np.float32)
    rng = np.random.default_rng(0)
    for _ in range(10):
        camera = Camera.draw(rng, clear=True)
        other = camera.unlike(rng)
        noise = {c.noisy: c.shoot(light, rng).std() for c in (camera, other)}
        assert noise[True] > 2 * noise[False]


def test_jpeg_keeps_size_and_shifts_its_grid() -> None:
    image = photo(3, 61, 50)
    aligned, shifted = jpeg(image, 40), jpeg(image, 40, (3, 5))
    assert aligned.shape == shifted.shape == image.shape
    # where differences across 8-pixel borders stand out tells the grid's place
    for result, place in ((aligned, 7), (shifted, 2)):
        steps = np.abs(np.diff(result.astype(float), axis=1)).mean((0, 2)) - np.abs(
            np.diff(image.astype(float), axis=1)
        ).mean((0, 2))
        assert np.argmax([steps[offset::8].mean() for offset in range(8)]) == place


def test_the_history_of_a_file_keeps_its_size_and_its_content() -> None:
    image = photo(4)
    for seed in range(12):
        rng = np.random.default_rng(seed)
        told = history(alter(image, rng), rng, gentle=seed % 2 == 0)
        assert told.shape == image.shape
        assert told.dtype == np.uint8
        assert np.abs(told.astype(float) - image).mean() < 25
    assert light_of(image).max() <= 1


def test_what_the_web_hands_on_is_smaller_and_its_mask_goes_with_it() -> None:
    """The red disc stays where its mask is; a speck that reduction would lose keeps its picture's size."""
    rows, columns = np.mgrid[:80, :120]
    disc = (rows - 30) ** 2 + (columns - 70) ** 2 < 20**2
    image = np.where(disc[:, :, None], (200, 40, 40), (90, 120, 130)).astype(np.uint8)
    speck = np.zeros((80, 120), bool)
    speck[11, 11] = True
    sizes = []
    for seed in range(60):
        smaller, mask = passed_on(image, disc, np.random.default_rng(seed))
        sizes.append(smaller.shape[0] / 80)
        assert smaller.shape == (*mask.shape, 3)
        assert abs(mask.mean() - disc.mean()) < 0.02
        red = smaller[..., 0].astype(int) - smaller[..., 2] > 40
        assert (red & mask).sum() / (red | mask).sum() > 0.8
        assert passed_on(image, speck, np.random.default_rng(seed))[1].any()
    assert 0.1 < np.mean(np.array(sizes) == 1) < 0.35
    assert 0.4 < min(sizes) < 0.55


def test_a_share_of_the_pictures_goes_through_the_web() -> None:
    before, half, all_of_them = (
        [SyntheticSource(20, size=64, seed=3, web=web).read(i) for i in range(20)] for web in (0.0, 0.5, 1.0)
    )
    changed = [
        [not np.array_equal(one.image, other.image) for one, other in zip(before, after, strict=True)]
        for after in (half, all_of_them)
    ]
    assert 4 <= sum(changed[0]) <= 16
    assert all(changed[1])
    assert [picture.authentic for picture in half] == [picture.authentic for picture in before]


def test_colours_are_matched_inside_the_region() -> None:
    image, content = photo(5), photo(6)
    region = shape(np.random.default_rng(1), 96, 96, 0.2)
    matched = match_colour(content, image, region, 1.0)
    before = np.abs(content[region].mean(0) - image[region].mean(0)).max()
    assert np.abs(matched[region].mean(0) - image[region].mean(0)).max() < max(0.4 * before, 8)
