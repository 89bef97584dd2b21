"""Maps of other tools are scored as `test` scores a network's, and refused where they are none."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import command, make_set, succeed
from sklearn.metrics import f1_score, roc_auc_score

from ncl_lightning.errors import InputError
from ncl_lightning.score import read_map, score


def noisy(data: Path, seed: int = 0) -> dict[str, np.ndarray]:
    """A map for each tampered picture of a set, by its stem."""
    rng = np.random.default_rng(seed)
    found = {}
    for file in sorted((data / "Gt").iterdir()):
        mask = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) > 127
        found[file.stem] = np.clip(0.3 * mask + rng.random(mask.shape) * 0.7, 0, 1).astype(np.float32)
    return found


def rows(out: Path) -> dict[str, dict[str, str]]:
    with (out / "per_image.csv").open(newline="", encoding="utf-8") as stream:
        return {Path(row["name"]).stem: row for row in csv.DictReader(stream)}


def test_scores_are_those_of_scikit_learn_in_every_format(tmp_path: Path) -> None:
    data, maps = make_set(tmp_path / "set", 4), tmp_path / "maps"
    maps.mkdir()
    given = noisy(data)
    np.save(maps / "tp0.npy", given["tp0"])
    np.savez(maps / "tp1.png.npz", map=given["tp1"][None], score=0.7)
    np.savez(maps / "tp2_pred.npz", anything=given["tp2"].astype(np.float64))
    cv2.imwrite(str(maps / "tp3_heat.png"), (given["tp3"] * 65535).round().astype(np.uint16))
    (maps / "notes.txt").write_text("by hand")
    score(maps, str(data), tmp_path / "out", name="set", threshold=0.6)
    found = rows(tmp_path / "out")
    expected = []
    for stem, values in given.items():
        truth = cv2.imread(str(data / "Gt" / f"{stem}.png"), cv2.IMREAD_GRAYSCALE).ravel() > 127
        expected.append(f1_score(truth, values.ravel() > 0.6))
        for end in ("", "_original"):
            assert float(found[stem][f"f1{end}"]) == pytest.approx(expected[-1], abs=1e-3), stem
            assert float(found[stem][f"auc{end}"]) == pytest.approx(roc_auc_score(truth, values.ravel()), abs=1e-4)
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["sets"]["set"]["f1_original"] == pytest.approx(np.mean(expected), abs=1e-3)
    assert results["run"]["maps"] == str(maps)


def test_maps_of_predict_score_as_test_does_and_can_be_compared(trained: Path, tmp_path: Path) -> None:
    """Authentic pictures are in it, too."""
    data = make_set(tmp_path / "set", 10, 2, seed=5)
    best = f"--ckpt_path={trained / 'checkpoints' / 'best.ckpt'}"
    sizing = ["--data.eval_sizing=native", "--data.leakage=ignore"]
    succeed("test", best, f"--data.test={{a: {data}}}", *sizing, f"--trainer.default_root_dir={tmp_path / 'test'}")
    predicted = [best, f"--data.predict={data}", *sizing, f"--trainer.default_root_dir={tmp_path / 'maps'}"]
    succeed("predict", *predicted, "--raw=true")
    values = np.load(tmp_path / "maps" / "Tp" / "tp0_map.npy")
    grey = cv2.imread(str(tmp_path / "maps" / "Tp" / "tp0_heat.png"), cv2.IMREAD_GRAYSCALE)
    assert (np.rint(values * 255) == grey).all()
    done = succeed("score", tmp_path / "maps", data, tmp_path / "scored", "--name=a")
    assert "10 of 12" in done.stdout
    ours, theirs = (json.loads((tmp_path / name / "results.json").read_text()) for name in ("test", "scored"))
    assert ours["sets"]["a"].keys() == theirs["sets"]["a"].keys()
    for key in ("f1_original", "auc_original", "image_auc", "fpr_authentic"):
        assert theirs["sets"]["a"][key] == pytest.approx(ours["sets"]["a"][key], abs=1e-9), key
    # those of an earlier run go with the rest
    succeed("predict", *predicted)
    assert not list((tmp_path / "maps").rglob("*_map.npy"))
    compared = succeed("compare", tmp_path / "test", tmp_path / "scored")
    assert "a: scored at the pictures' own size" in compared.stdout


def colours(file: Path) -> None:
    cv2.imwrite(str(file.with_suffix(".png")), np.random.default_rng(0).integers(0, 255, (72, 80, 3), np.uint8))


def cut_short(file: Path) -> None:
    np.savez_compressed(file, np.random.default_rng(0).random((72, 80)))
    data = bytearray(file.read_bytes())
    data[200:220] = bytes(20)
    file.write_bytes(data)


def test_a_grey_map_of_16_bits_in_portable_format(tmp_path: Path) -> None:
    """Pillow reads it as 32 bits."""
    values = np.array([[0, 1000, 65535]], ">u2")
    (tmp_path / "a.ppm").write_bytes(b"P5 3 1 65535\n" + values.tobytes())
    np.testing.assert_allclose(read_map(tmp_path / "a.ppm"), [[0, 1000 / 65535, 1]], rtol=1e-6)


BAD: dict[str, tuple[Any, str]] = {
    "logits": (lambda file: np.save(file, np.full((72, 80), -2.0)), "values of -2 to -2; give probabilities, 0 to 1"),
    "no numbers": (lambda file: np.save(file, np.full((72, 80), np.nan)), "give probabilities"),
    "bytes": (lambda file: np.save(file, np.full((72, 80), 255, np.uint8)), "values of 255 to 255"),
    "two channels": (lambda file: np.save(file, np.zeros((2, 72, 80))), r"an array of the shape \(2, 72, 80\)"),
    "objects": (lambda file: np.save(file, np.array([{}])), "can't be read"),
    "several": (lambda file: np.savez(file.with_suffix(".npz"), a=[[0.0]], b=[[0.0]]), "no array map .*give --key"),
    "damaged": (lambda file: file.with_suffix(".npz").write_bytes(b"PK\3\4"), "can't be read"),
    "cut short": (lambda file: cut_short(file.with_suffix(".npz")), "can't be read"),
    "empty": (lambda file: np.save(file, np.zeros((1, 0, 5))), r"an array of the shape \(0, 5\)"),
    "colours": (colours, "a colour picture has no single value"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_map_is_refused(kind: str, tmp_path: Path) -> None:
    make, says = BAD[kind]
    make(tmp_path / "a.npy")
    (file,) = tmp_path.iterdir()
    with pytest.raises(InputError, match=says) as raised:
        read_map(file)
    assert str(raised.value).startswith(str(file))


def test_a_picture_without_a_map_or_with_two_is_one_line(tmp_path: Path) -> None:
    data, maps = make_set(tmp_path / "set", 2), tmp_path / "maps"
    maps.mkdir()
    shutil.copy(data / "Gt" / "tp0.png", maps / "tp0.png")
    done = command("score", maps, data, tmp_path / "out")
    assert done.returncode == 1
    assert f"{maps}: no map of Tp/tp1.png (such as tp1.png or tp1.png.npz)" in done.stderr
    assert "Traceback" not in done.stderr
    # of another size: brought to the picture's
    np.save(maps / "tp1.npy", np.zeros((36, 40)))
    score(maps, str(data), tmp_path / "out")
    assert float(rows(tmp_path / "out")["tp0"]["f1"]) == 1
    # our own heat map beside the map itself, of 255 levels
    np.save(maps / "tp1_heat.npy", np.ones((72, 80)))
    score(maps, str(data), tmp_path / "out")
    assert float(rows(tmp_path / "out")["tp1"]["f1"]) == 0
    np.save(maps / "tp1.png.npy", np.zeros((72, 80)))
    with pytest.raises(InputError, match="2 maps of Tp/tp1"):
        score(maps, str(data), tmp_path / "out")
