"""`robustness`: distortions as OpenCV makes them, and a killed run that ends like an unbroken one."""

import csv
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import command, make_set, succeed

from ncl_lightning.distortions import PRESETS, DistortedSource, distort, ladders
from ncl_lightning.errors import InputError
from ncl_lightning.ledger import Ledger
from ncl_lightning.sources import Picture, open_source

RNG = np.random.default_rng(0)
IMAGE = cv2.resize(RNG.integers(0, 256, (9, 12, 3), dtype=np.uint8), (61, 47), interpolation=cv2.INTER_CUBIC)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b.astype(float)) ** 2)))


def test_blur_has_opencvs_automatic_sigma() -> None:
    for kernel in (3, 7, 23):
        blurred = distort(IMAGE, "blur", str(kernel), 0)
        assert np.array_equal(blurred, cv2.GaussianBlur(IMAGE, (kernel, kernel), 0))
        # up to 7 OpenCV has fixed weights, above σ follows from the kernel
        sigma = 0.3 * ((kernel - 1) / 2 - 1) + 0.8
        distance = (np.arange(kernel) - (kernel - 1) / 2)[:, None]
        weights = cv2.getGaussianKernel(kernel, 0) if kernel <= 7 else np.exp(-(distance**2) / (2 * sigma**2))
        expected = cv2.sepFilter2D(IMAGE, cv2.CV_64F, weights / weights.sum(), weights / weights.sum())
        assert np.abs(blurred - expected).max() < 1.01


def test_noise_has_its_variance() -> None:
    grey = np.full((256, 256, 3), 128, np.uint8)
    for variance in (3, 23, 100):
        added = distort(grey, "noise", str(variance), 0).astype(float) - 128
        # rounding to whole grey levels adds a twelfth
        assert added.var() == pytest.approx(variance + 1 / 12, rel=0.02)
        assert abs(added.mean()) < 0.1
        assert abs(np.corrcoef(added[..., 0].ravel(), added[..., 1].ravel())[0, 1]) < 0.02


def test_jpeg_is_that_of_opencv() -> None:
    for quality in (100, 50):
        data = cv2.imencode(".jpg", IMAGE[..., ::-1].copy(), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        assert np.array_equal(distort(IMAGE, "jpeg", str(quality), 3), cv2.imdecode(data, 1)[..., ::-1])
    # colours are not swapped
    assert psnr(distort(IMAGE, "jpeg", "100", 0), IMAGE) > 28


def test_resize_comes_back_to_its_size() -> None:
    half = cv2.resize(IMAGE, (round(61 / 2), round(47 / 2)), interpolation=cv2.INTER_AREA)
    expected = cv2.resize(half, (61, 47), interpolation=cv2.INTER_LINEAR)
    assert np.array_equal(distort(IMAGE, "resize", "0.5", 0), expected)
    assert distort(IMAGE[:2, :3], "resize", "0.1", 0).shape == (2, 3, 3)


def test_gamma_is_a_power_of_every_value() -> None:
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    for exponent in (0.5, 2.0):
        expected = [round(255 * (value / 255) ** exponent) for value in range(256)]
        assert distort(ramp, "gamma", str(exponent), 0)[0, :, 1].tolist() == expected


def test_a_crop_cuts_picture_and_mask_alike(small_set: Path) -> None:
    source = open_source(str(small_set))
    cropped = DistortedSource(source, "crop", "3")
    for index in range(len(source)):
        before, after = source.read(index), cropped.read(index)
        assert np.array_equal(before.image[3:, 3:], after.image)
        assert np.array_equal(before.mask[3:, 3:], after.mask)
    assert distort(IMAGE[:2, :9], "crop", "4", 0).shape == (1, 5, 3)


@pytest.mark.parametrize("kind", [kind for kind in PRESETS["usual"] if kind != "crop"])
def test_a_distortion_grows_with_its_level_and_repeats(kind: str) -> None:
    levels = [level for level in ladders("usual", None)[kind] if level != "clean"]
    before = IMAGE.copy()
    first, again = ([distort(IMAGE, kind, level, 5) for level in levels] for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert np.array_equal(IMAGE, before)
    assert all(one.dtype == np.uint8 and one.shape == IMAGE.shape for one in first)
    quality = [psnr(one, IMAGE) for one in first]
    assert quality == sorted(quality, reverse=True) if kind != "gamma" else quality[0] < quality[1]


def test_noise_is_another_for_each_image_and_level() -> None:
    grey = np.full((40, 40, 3), 128, np.uint8)
    a, b = (distort(grey, "noise", "25", index).astype(int) - 128 for index in (0, 1))
    assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.1

    # whatever source of the set an image is in
    class Grey:
        def __len__(self) -> int:
            return 3

        def read(self, index: int, epoch: int = 0) -> object:
            return Picture(grey, grey[..., 0] > 0, False, str(index))

    assert np.array_equal(DistortedSource(Grey(), "noise", "25", start=1).read(0).image - 128, b.astype(np.uint8))


def test_ladders_hold_the_clean_picture() -> None:
    assert ladders("benco", None) == {
        "blur": ["clean", "3", "7", "11", "15", "19", "23"],
        "noise": ["clean", "3", "7", "11", "15", "19", "23"],
        "jpeg": ["clean", "100", "90", "80", "70", "60", "50"],
    }
    assert ladders("usual", {"blur": [0, 3, 3], "gamma": [2, 1, 0.5]}) == {
        "blur": ["clean", "3"],
        "gamma": ["0.5", "clean", "2"],
    }
    for wrong in (
        {"rain": [1]},
        {"blur": [4]},
        {"noise": [-1]},
        {"jpeg": [0]},
        {"jpeg": [50.5]},
        {"resize": [0]},
        {"crop": [1.5]},
    ):
        with pytest.raises(InputError, match=next(iter(wrong))):
            ladders("usual", wrong)


def test_a_source_keeps_its_masks(small_set: Path) -> None:
    source = open_source(str(small_set))
    blurred = DistortedSource(source, "blur", "7")
    assert len(blurred) == len(source)
    for index in range(len(source)):
        before, after = source.read(index), blurred.read(index)
        assert np.array_equal(before.mask, after.mask)
        assert (before.name, before.authentic) == (after.name, after.authentic)
        assert np.array_equal(after.image, cv2.GaussianBlur(before.image, (7, 7), 0))


def test_rows_keep_their_order_however_they_came(tmp_path: Path) -> None:
    plan = {"blur": ["clean", "3"], "jpeg": ["clean", "50"]}
    sets = {"b": {"f1": 0.5, "f1_ci": [0.25, 0.75]}, "a": {"f1": None, "f1_ci": None}}
    whole = Ledger(tmp_path / "whole.csv", "x", {"checkpoint": tmp_path})
    for kind, level in (("blur", "clean"), ("blur", "3"), ("jpeg", "50")):
        whole.add(kind, level, sets)
    whole.share_clean(plan)
    whole.write(plan)
    part = Ledger(tmp_path / "part.csv", "x", {})
    part.add("jpeg", "50", sets)
    part.write(plan)
    part = Ledger(tmp_path / "part.csv", "x", {})
    assert list(part.done) == [("jpeg", "50")]
    part.add("jpeg", "clean", sets)
    part.add("blur", "3", sets)
    part.share_clean(plan)
    part.write(plan)
    assert (tmp_path / "part.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert (tmp_path / "whole.csv").read_text().splitlines()[:3] == [
        "set,distortion,level,f1,f1_low,f1_high,run",
        "b,blur,clean,0.5,0.25,0.75,x",
        "b,blur,3,0.5,0.25,0.75,x",
    ]
    with pytest.raises(InputError, match="another checkpoint"):
        Ledger(tmp_path / "whole.csv", "y", {})
    assert json.loads((tmp_path / "whole.json").read_text()) == {"run": "x", "checkpoint": str(tmp_path)}


# the process ends as by a power cut, in the midst of a level
KILLER = """
import os
from lightning.pytorch import Callback
class Killer(Callback):
    tests = 0
    def on_test_start(self, trainer, module):
        self.tests += 1
    def on_test_batch_end(self, *_):
        if self.tests == int(os.environ.get("CUT", "0")):
            os._exit(9)
"""


@pytest.fixture(scope="module")
def options(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    root = tmp_path_factory.mktemp("sets")
    sets = {"one": str(make_set(root / "one", 3, 1, seed=1)), "two": str(make_set(root / "two", 2, 1, seed=2))}
    levels = {"noise": [25, 100], "jpeg": [50]}
    best = trained / "checkpoints" / "best.ckpt"
    return ["robustness", f"--ckpt_path={best}", f"--data.test={json.dumps(sets)}", f"--levels={json.dumps(levels)}"]


def test_a_killed_run_ends_like_an_unbroken_one(trained: Path, options: list[object], tmp_path: Path) -> None:
    done = succeed(*options, f"--trainer.default_root_dir={tmp_path / 'whole'}")
    assert "jpeg 50 (4 of 4" in done.stdout
    table = tmp_path / "whole" / "robustness.csv"
    with table.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    steps = [("noise", "clean"), ("noise", "25"), ("noise", "100"), ("jpeg", "clean"), ("jpeg", "50")]
    assert [(r["set"], r["distortion"], r["level"]) for r in rows] == [
        (s, *step) for s in ("one", "two") for step in steps
    ]
    assert {k: v for k, v in rows[0].items() if k != "distortion"} == {
        k: v for k, v in rows[3].items() if k != "distortion"
    }
    assert float(rows[2]["auc"]) != float(rows[0]["auc"])
    plot = cv2.imread(str(table.with_suffix(".png")))
    assert plot.shape[1] > 600
    assert plot.std() > 10

    (tmp_path / "killer.py").write_text(KILLER)
    broken = [*options, "--trainer.callbacks=[{class_path: killer.Killer}]"]
    broken += [f"--trainer.default_root_dir={tmp_path / 'broken'}"]
    killed = command(*broken, PYTHONPATH=str(tmp_path), CUT="3")
    assert killed.returncode == 9
    part = tmp_path / "broken" / "robustness.csv"
    assert {row.split(",")[2] for row in part.read_text().splitlines()[1:]} == {"clean", "25"}
    resumed = succeed(*broken, PYTHONPATH=str(tmp_path))
    assert "noise 100 (1 of 2" in resumed.stdout
    assert part.read_bytes() == table.read_bytes()
    # the same names below another folder are other pictures
    other = command(*options, f"--data.root={tmp_path}", f"--trainer.default_root_dir={tmp_path / 'broken'}")
    assert other.returncode == 1
    assert "other settings" in other.stderr.splitlines()[-1]
    # another threshold is another run
    other = command(*options, "--model.threshold=0.3", f"--trainer.default_root_dir={tmp_path / 'broken'}")
    assert other.returncode == 1
    assert "robustness.csv" in other.stderr.splitlines()[-1]
    assert part.read_bytes() == table.read_bytes()


def test_clean_pictures_score_as_in_test(trained: Path, options: list[object], tmp_path: Path) -> None:
    moved = shutil.copy(trained / "checkpoints" / "best.ckpt", tmp_path / "moved.ckpt")
    mine = [f"--ckpt_path={moved}", options[2]]
    succeed("test", *mine, f"--trainer.default_root_dir={tmp_path / 'test'}")
    succeed("robustness", *mine, "--levels={resize: [0.5]}")
    # beside the checkpoint where no folder is given, in one that the same command finds again
    (table,) = tmp_path.glob("robustness-*/robustness.csv")
    with table.open(newline="") as stream:
        rows = {(row["set"], row["level"]): row for row in csv.DictReader(stream)}
    for name, scores in json.loads((tmp_path / "test" / "results.json").read_text())["sets"].items():
        for key in ("images", "f1", "iou", "auc_original", "fpr_authentic"):
            assert float(rows[name, "clean"][key]) == pytest.approx(scores[key], abs=1e-9)
        assert float(rows[name, "clean"]["f1_low"]) == pytest.approx(scores["f1_ci"][0], abs=1e-9)
    # pictures that were mended are scored anew
    mask = next((Path(json.loads(str(options[2]).partition("=")[2])["one"]) / "Gt").iterdir())
    shutil.copy(mask, tmp_path / "mask")
    cv2.imwrite(str(mask), 255 - cv2.imread(str(mask)))
    assert "clean pictures (1 of" in succeed("robustness", *mine, "--levels={resize: [0.5]}").stdout
    shutil.move(tmp_path / "mask", mask)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--data.test={a: synthetic:2}"], 1, "--ckpt_path"),
        (["--ckpt_path=CKPT", "--levels={rain: [3]}"], 1, "rain"),
        (["--ckpt_path=CKPT", "--preset=bencho"], 2, "preset"),
        (["--ckpt_path=CKPT"], 1, "--data.test"),
        (["--ckpt_path=CKPT", "--data.test={a: TRAINED_ON}"], 1, "trained on"),
    ],
)
def test_what_a_user_can_mend_is_one_line(
    trained: Path, tmp_path: Path, arguments: list[str], code: int, says: str
) -> None:
    # results go beside it, and the run is other tests', too
    best = str(shutil.copy(trained / "checkpoints" / "best.ckpt", tmp_path))
    words = {"CKPT": best, "TRAINED_ON": str(trained.parent.parent / "data")}
    for word, path in words.items():
        arguments = [argument.replace(word, path) for argument in arguments]
    done = command("robustness", *arguments)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("ncl_lightning: ")]
    assert len(lines) == 1
    assert says in lines[0]
    # and nothing behind
    assert {path.name for path in tmp_path.iterdir()} <= {"best.ckpt"}


def test_two_commands_share_a_ledger(tmp_path: Path) -> None:
    """Other levels of one checkpoint, at the same time: neither loses the other's."""
    first, second = (Ledger(tmp_path / "robustness.csv", "x", {}) for _ in range(2))
    first.add("jpeg", "90", {"a": {"f1": 0.5}})
    first.write({"jpeg": ["90"]})
    second.add("blur", "3", {"a": {"f1": 0.4}})
    second.write({"blur": ["3"]})
    first.add("jpeg", "50", {"a": {"f1": 0.3}})
    first.write({"jpeg": ["90", "50"]})
    assert set(Ledger(tmp_path / "robustness.csv", "x", {}).done) == {("jpeg", "90"), ("blur", "3"), ("jpeg", "50")}
