"""`synthesize`: a data source, and what each of its samples was made of."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import make_set

from ncl_lightning.audit import walked
from ncl_lightning.errors import InputError
from ncl_lightning.images import read_image
from ncl_lightning.leakage import source_files
from ncl_lightning.sources import open_source
from ncl_lightning.synthesize import synthesize
from ncl_lightning.synthetic import SHARES, SyntheticSource


def listed(folder: Path) -> list[dict[str, str]]:
    """The rows of samples.csv, which must name the pictures written and no others."""
    with (folder / "samples.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    written = [path.relative_to(folder).as_posix() for name in ("Tp", "Au") for path in folder.glob(f"{name}/*")]
    assert sorted(row["file"] for row in rows) == sorted(written)
    for row in rows:
        assert (row["manipulation"] == "authentic") == row["file"].startswith("Au/")
    return rows


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twelve photographs that are mostly of one colour: red, green or blue."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(12):
        image = rng.integers(0, 60, (48, 64, 3), dtype=np.uint8)
        # OpenCV writes BGR
        image[..., 2 - number % 3] += 150
        cv2.imwrite(str(folder / f"{number}_{'rgb'[number % 3]}.png"), image)
    return folder


def test_made_up_samples_are_listed_by_manipulation(tmp_path: Path) -> None:
    # a second epoch begins at the seventh
    synthesize("synthetic:6", tmp_path, count=9, size=64, seed=3)
    rows = listed(tmp_path)
    source = SyntheticSource(6, size=64, seed=3)
    assert [row["manipulation"] for row in rows] == [source.recipe(n % 6, n // 6) for n in range(9)]
    assert {row["original"] for row in rows} == {""}
    assert json.loads((tmp_path / "synthesis.json").read_text())["size"] == 64


def test_samples_name_the_photograph_that_they_were_made_of(tmp_path: Path, photos: Path) -> None:
    out = tmp_path / "out"
    synthesize(f"synthetic:{photos}", out, count=40)
    rows = listed(out)
    assert len({row["original"] for row in rows}) > 5
    assert {row["manipulation"] for row in rows} == {"authentic", *SHARES}
    for row in rows:
        image = read_image(out / row["file"])
        mask = read_image(out / row["file"].replace("Tp", "Gt"))[..., 0] > 0 if row["file"].startswith("Tp") else False
        colour = "rgb"[int(np.argmax(np.median(image[~np.broadcast_to(mask, image.shape[:2])], axis=0)))]
        assert row["original"].removesuffix(".png").endswith(colour), row
    # photographs keep their own size
    assert json.loads((out / "synthesis.json").read_text())["size"] is None


def test_each_part_lists_its_own_photographs(tmp_path: Path, photos: Path) -> None:
    drawn: dict[str, set[str]] = {"train": set(), "val": set(), "test": set()}
    for seed in range(3):
        out = tmp_path / f"out{seed}"
        synthesize(f"synthetic:{photos}", out, count=8, val=3, test=4, seed=seed)
        for part, originals in drawn.items():
            found = {row["original"] for row in listed(out / part)}
            assert found
            originals |= found
    # nor does one seed train on what another one tests on
    assert len(set().union(*drawn.values())) == sum(map(len, drawn.values()))
    assert (tmp_path / "out0" / "train" / "samples.csv").read_text() != (
        tmp_path / "out1" / "train" / "samples.csv"
    ).read_text()


def test_too_few_photographs_leave_nothing_behind(tmp_path: Path, photos: Path) -> None:
    for photo in list(photos.iterdir())[4:]:
        photo.unlink()
    with pytest.raises(InputError, match="4 photographs are too few"):
        synthesize(f"synthetic:{photos}", tmp_path / "out", count=5, val=2)
    assert not (tmp_path / "out").exists()


def test_what_was_done_is_what_is_listed(tmp_path: Path) -> None:
    """A copy of white on white is none: grain is laid there instead, and named."""
    folder = tmp_path / "photos"
    for number in range(3):
        folder.mkdir(exist_ok=True)
        cv2.imwrite(str(folder / f"{number}.png"), np.full((64, 64, 3), 200, np.uint8))
    synthesize(f"synthetic:{folder}", tmp_path / "out", count=60, hard=0)
    done = [row["manipulation"] for row in listed(tmp_path / "out")]
    source = SyntheticSource(60, sorted(folder.iterdir()), hard=0)
    meant = [source.recipe(index) for index in range(60)]
    assert "noise" in done
    assert all(one in (other, "noise") for one, other in zip(done, meant, strict=True))


def test_how_others_were_tampered_is_not_known(tmp_path: Path) -> None:
    synthesize(str(make_set(tmp_path / "set", 2, 1)), tmp_path / "out", count=3)
    found = {(row["original"], row["manipulation"]) for row in listed(tmp_path / "out")}
    assert found == {("tp0.png", ""), ("tp1.png", ""), ("au2.png", "authentic")}
    assert json.loads((tmp_path / "out" / "synthesis.json").read_text())["size"] is None


def test_the_list_of_samples_is_no_data(tmp_path: Path) -> None:
    synthesize("synthetic:5", tmp_path, count=5, size=64)
    source, (pairs, faults) = open_source(str(tmp_path)), walked(str(tmp_path))
    assert len(source) == len(pairs) == 5
    assert faults == []
    files = source_files(source)
    assert files
    assert {file.parent.name for file in files} <= {"Tp", "Gt", "Au"}
    # nor a source itself
    with pytest.raises(InputError, match="not image and mask"):
        open_source(str(tmp_path / "samples.csv"))
