"""The command line, run as users run it."""

import csv
import hashlib
import html
import json
import os
import re
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote

import cv2
import numpy as np
import pytest
import torch
import yaml
from conftest import TINY, command, logged, make_set, rows, succeed
from lightning.pytorch import Trainer

from ncl_lightning import cli
from ncl_lightning.cli import NCLCLI


@pytest.mark.parametrize(
    ("fast", "precision", "warns"),
    [(False, "bf16-mixed", True), (False, "bf16-true", True), (False, "32-true", False), (True, "bf16-mixed", False)],
)
def test_a_cpu_that_is_slow_at_halves_says_so(
    fast: bool, precision: str, warns: bool, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: fast, raising=False)
    cli._warn_of_slow_halves(Trainer(accelerator="cpu", precision=precision, logger=False))
    assert any("--trainer.precision 32-true" in str(one.message) for one in recwarn) == warns


def test_help_lists_every_command() -> None:
    done = succeed("--help")
    for name in ("fit", "validate", "test", "predict", "synthesize", "quickstart"):
        assert f"\n  {name} " in done.stdout


def test_options_are_documented() -> None:
    done = succeed("fit", "--help")
    for text in ("--model.contour_role", "--data.train_sizing", "Temperature τ", "--panels.count"):
        assert text in done.stdout


def test_a_run_keeps_everything_in_its_folder(trained: Path) -> None:
    assert {"config.yaml", "metrics.csv", "curves.png", "checkpoints", "panels"} <= {p.name for p in trained.iterdir()}
    assert {p.name for p in (trained / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    names = rows(trained)[0].keys()
    wanted = {
        "train/loss",
        "train/seg",
        "train/ncl",
        "train/pc",
        "val/f1",
        "val/auc",
        "val/images",
        "val/loss",
        "best/val/f1",
    }
    wanted |= {
        f"contrast/{phase}/{branch}/{pair}"
        for phase in ("train", "val")
        for branch in ("tampered", "authentic")
        for pair in ("tampered-tampered", "tampered-authentic", "authentic-contour", "margin", "lean")
    }
    assert wanted <= set(names)
    assert logged(trained, "val/images") == [7.0]
    panel = cv2.imread(str(next((trained / "panels").iterdir())))
    assert panel.shape[0] > 4 * 64
    config = yaml.safe_load((trained / "config.yaml").read_text())
    assert config["data"]["eval_sizing"] == "pad"


def test_two_runs_never_share_a_folder(trained: Path, tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    again = ["fit", f"--config={trained / 'config.yaml'}", f"--trainer.default_root_dir={tmp_path}"]
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda _: succeed(*again), range(2)))
    # where no terminal shows a bar
    assert all(
        re.search(r"^epoch 0, step 3 of 3: val/f1 0\.\d+, val/auc 0\.\d+$", d.stdout, re.MULTILINE) for d in done
    )
    assert {p.name for p in tmp_path.iterdir()} == {"version_0", "version_1"}
    # and one seed gives one result
    assert logged(tmp_path / "version_0", "val/f1") == logged(tmp_path / "version_1", "val/f1")
    assert logged(tmp_path / "version_0", "val/loss") == logged(trained, "val/loss")


def test_checkpoints_are_plain(trained: Path) -> None:
    stored = torch.load(trained / "checkpoints" / "best.ckpt", weights_only=True)
    assert stored["hyper_parameters"]["stride"] == 8
    assert stored["datamodule_hyper_parameters"]["size"] == 96


def results(folder: Path) -> dict[str, object]:
    sets = json.loads((folder / "results.json").read_text())["sets"]
    # pytest.approx takes no nested lists; tests/test_report.py looks at the intervals
    return {name: {k: v for k, v in scores.items() if not k.endswith("_ci")} for name, scores in sets.items()}


def test_a_checkpoint_is_enough_to_test(trained: Path, tmp_path: Path) -> None:
    data = make_set(tmp_path / "set", 3, 2, size=(90, 110), seed=5)
    best = trained / "checkpoints" / "best.ckpt"
    sets = json.dumps({"mine": str(data)})
    without = succeed(
        "test", f"--ckpt_path={best}", f"--data.test={sets}", f"--trainer.default_root_dir={tmp_path / 'a'}"
    )
    succeed(
        "test",
        f"--config={trained / 'config.yaml'}",
        f"--ckpt_path={best}",
        f"--data.test={sets}",
        f"--trainer.default_root_dir={tmp_path / 'b'}",
        "--data.batch_size=3",
    )
    scores = results(tmp_path / "a")["mine"]
    assert scores["images"] == 5
    assert scores["authentic_images"] == 2
    keys = {f"{name}{end}" for name in ("f1", "iou", "auc", "ap") for end in ("", "_original")}
    assert keys <= scores.keys()
    assert scores == pytest.approx(results(tmp_path / "b")["mine"], abs=1e-6)
    assert "mine" in without.stdout
    # an explicit option wins over what the checkpoint stores
    succeed(
        "test",
        f"--ckpt_path={best}",
        f"--data.test={sets}",
        f"--trainer.default_root_dir={tmp_path / 'c'}",
        "--data.size=64",
        "--model.threshold=0.0",
    )
    assert results(tmp_path / "c")["mine"]["f1"] == pytest.approx(scores["f1_all_tampered"], abs=0.05)
    # beside the checkpoint where no folder is given
    moved = shutil.copy(best, tmp_path / "moved.ckpt")
    succeed("test", f"--ckpt_path={moved}", f"--data.test={sets}")
    assert len(list(tmp_path.glob("test-*/results.json"))) == 1


def test_a_part_of_a_set_is_called_one(trained: Path, tmp_path: Path) -> None:
    best = trained / "checkpoints" / "best.ckpt"
    words = [f"--ckpt_path={best}", "--data.test={a: synthetic:8}", f"--trainer.default_root_dir={tmp_path}"]
    assert "PARTIAL" not in succeed("test", *words).stderr
    assert "partial" not in json.loads((tmp_path / "results.json").read_text())["run"]
    done = succeed("test", *words, "--data.eval_batch_size=2", "--trainer.limit_test_batches=1")
    assert "PARTIAL: a was scored on 2 of its 8 pictures" in done.stderr
    assert json.loads((tmp_path / "results.json").read_text())["run"]["partial"] == {"a": [2, 8]}


def test_pictures_with_empty_masks_are_spoken_of(trained: Path, tmp_path: Path) -> None:
    data = make_set(tmp_path / "set", 3, seed=6)
    shutil.copy(data / "Tp" / "tp0.png", data / "Tp" / "tp9.png")
    cv2.imwrite(str(data / "Gt" / "tp9.png"), np.full((72, 80), 100, np.uint8))
    words = [f"--ckpt_path={trained / 'checkpoints' / 'best.ckpt'}", f"--data.test={{a: {data}}}"]
    done = succeed("test", *words, f"--trainer.default_root_dir={tmp_path}")
    assert "a: 1 of 4 pictures are tampered by their source and have no tampered pixel" in done.stderr


def test_help_says_how_to_type_it() -> None:
    for name in ("predict", "audit", "experiment"):
        assert (
            f"usage: python -m ncl_lightning {'[options] ' * (name == 'predict')}{name}"
            in succeed(name, "--help").stdout
        )
    text = " ".join(succeed("predict", "--help").stdout.split())
    assert "or `shipped`, the default" in text


@pytest.mark.parametrize("held_out", [False, True])
def test_validate_looks_at_what_the_run_looked_at(tmp_path: Path, held_out: bool) -> None:
    data, other = make_set(tmp_path / "data", 8), make_set(tmp_path / "other", 3, seed=1)
    val = "--data.val_share=0.4" if held_out else f"--data.val={data}"
    root = f"--trainer.default_root_dir={tmp_path / 'runs'}"
    succeed("fit", *TINY, f"--data.train=[{data}]", val, "--panels.count=0", root)
    run = tmp_path / "runs" / "version_0"
    # with what the run did about copies, too
    words = ["validate", f"--ckpt_path={run}"]
    for more, images in ([], logged(run, "val/images")[0]), ([f"--data.val={other}"], 3.0):
        table = succeed(*words, *more).stdout
        shown = dict(re.findall(r"(val/\w+)\W+([\d.]+)", table))
        assert float(shown["val/images"]) == images
        if not more:
            assert float(shown["val/f1"]) == pytest.approx(logged(run, "val/f1")[0], abs=1e-4)


def test_undefined_scores_are_null(trained: Path, tmp_path: Path) -> None:
    data = make_set(tmp_path / "set", 0, 2)
    sets = json.dumps({"authentic": str(data)})
    succeed(
        "test",
        f"--ckpt_path={trained / 'checkpoints' / 'best.ckpt'}",
        f"--data.test={sets}",
        f"--trainer.default_root_dir={tmp_path}",
    )
    scores = results(tmp_path)["authentic"]
    assert scores["f1"] is None
    assert scores["auc_original"] is None
    assert scores["images"] == scores["authentic_images"] == 2


def test_what_other_code_bases_would_print(trained: Path, tmp_path: Path) -> None:
    data = make_set(tmp_path / "set", 3, 1, seed=6)
    best = trained / "checkpoints" / "best.ckpt"
    options = ["test", f"--ckpt_path={best}", f"--data.test={{new: {data}}}", f"--trainer.default_root_dir={tmp_path}"]
    succeed(*options, "--model.conventions=[benco, trufor, mvss]")
    scores = results(tmp_path)["new"]
    # theirs adds 1e-8 to each denominator
    for key in ("f1", "iou"):
        assert scores[f"{key}_benco"] == pytest.approx(scores[key], abs=1e-6)
        assert scores[f"{key}_all_images_benco"] == pytest.approx(0.75 * scores[key], abs=1e-6)
    # permuted, and at the original size
    assert scores["f1_trufor"] >= 0
    assert {"f1_best_trufor", "image_com_f1_mvss"} <= scores.keys()
    refused = command(*options, "--model.conventions=[bench]")
    assert refused.returncode == 2
    assert "benco" in refused.stderr


def test_predict_keeps_folders_and_sizes_and_skips_bad_files(trained: Path, tmp_path: Path) -> None:
    pictures, out = tmp_path / "in", tmp_path / "out"
    (pictures / "deep er").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name, size in {
        "a.png": (50, 70),
        "deep er/bü.jpg": (120, 90),
        "same.png": (30, 30),
        "same.jpg": (31, 30),
    }.items():
        encoded = cv2.imencode(Path(name).suffix, rng.integers(0, 255, (*size, 3), dtype=np.uint8))[1]
        (pictures / name).write_bytes(encoded.tobytes())
    (pictures / "bad.jpg").write_text("not a picture")
    (pictures / "deep er" / "scan.PDF").write_text("not read")
    (pictures / ".hidden.txt").write_text("nobody's business")
    best = trained / "checkpoints" / "best.ckpt"
    done = command("predict", f"--ckpt_path={best}", f"--data.predict={pictures}", f"--trainer.default_root_dir={out}")
    assert done.returncode == 1
    assert "bad.jpg" in done.stderr
    assert "left out, not read as pictures: 1 .pdf; predictions.csv names them\n" in done.stderr
    assert "Traceback" not in done.stderr
    stems = ["a", "deep er/bü", "same.png", "same.jpg"]
    written = {str(p.relative_to(out)) for p in out.rglob("*.png")}
    assert written == {f"{stem}_{kind}.png" for stem in stems for kind in ("heat", "mask", "overlay")}
    heat = cv2.imdecode(np.fromfile(out / "deep er" / "bü_heat.png", np.uint8), cv2.IMREAD_UNCHANGED)
    assert heat.shape == (120, 90)
    assert heat.dtype == np.uint8
    mask = cv2.imread(str(out / "a_mask.png"), cv2.IMREAD_UNCHANGED)
    assert mask.shape == (50, 70)
    assert set(np.unique(mask)) <= {0, 255}
    assert ((cv2.imread(str(out / "a_heat.png"), cv2.IMREAD_UNCHANGED) > 128) <= (mask == 255)).all()
    assert cv2.imread(str(out / "a_overlay.png")).shape == (50, 70, 3)

    # the list agrees with the files, and the page leads to each of them
    with (out / "predictions.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["picture"]: row["files"] for row in rows} == {
        "a.png": "a", "deep er/bü.jpg": "deep er/bü", "same.png": "same.png", "same.jpg": "same.jpg", "bad.jpg": "",
        "deep er/scan.PDF": "",
    }  # fmt: skip
    left_out = rows.pop()
    assert left_out["picture"] == "deep er/scan.PDF"
    assert left_out["note"] == "left out: .PDF is no picture's"
    for row in rows:
        assert row["sha256"] == hashlib.sha256((pictures / row["picture"]).read_bytes()).hexdigest()
    skipped = rows.pop()
    assert (skipped["picture"], skipped["highest"]) == ("bad.jpg", "")
    assert "bad.jpg: " in skipped["note"]
    # at network size 96
    assert {row["picture"]: row["note"] for row in rows} == {
        **dict.fromkeys(("a.png", "same.png", "same.jpg"), "too small to say anything of"),
        "deep er/bü.jpg": "downscaled to 72×96 for the network",
    }  # fmt: skip
    about = json.loads((out / "predictions.json").read_text())
    assert about["checkpoint_sha256"] == hashlib.sha256(best.read_bytes()).hexdigest()
    assert about["model"]["stride"] == 8
    assert str(pictures) in about["data"]["predict"]
    assert not about["data"].keys() & {"train", "augment", "test"}
    assert about["training"]["global_step"] == 3
    assert {"ncl_lightning", "torch"} <= set(about["versions"])
    page = (out / "predictions.html").read_text(encoding="utf-8")
    assert "2 files without a heat map" in page
    for fact in (about["checkpoint_sha256"], about["time"], about["command"], str(pictures)):
        assert html.escape(fact) in page
    assert {unquote(link) for link in re.findall(r'href="([^"]+)"', page)} == written
    # of each the picture, its overlay and its heat map, within the page
    assert len(re.findall(r'src="data:image/jpeg;base64,', page)) == page.count("src=") == 3 * len(rows)
    # nobody measured how untouched photographs score with this one
    assert {row["untouched_as_high"] for row in rows} == {""}
    assert [row["format"] for row in rows if row["picture"] == "a.png"] == ["PNG"]
    for row in rows:
        heat, mask = (cv2.imread(str(out / f"{row['files']}_{kind}.png"), 0) for kind in ("heat", "mask"))
        if heat is None:  # OpenCV opens no name beyond ASCII on every system
            continue
        assert [int(row["height"]), int(row["width"])] == list(heat.shape)
        assert float(row["outlined_share"]) == pytest.approx((mask > 0).mean(), abs=1e-4)
        assert float(row["highest"]) == pytest.approx(heat.max() / 255, abs=1 / 255)
    order = [-float(row["highest"]) for row in rows]
    assert order == sorted(order)


def test_predict_overwrites_no_picture(trained: Path, tmp_path: Path) -> None:
    """IMD2020, for one, calls its truth `<stem>_mask.png`; it is not overwritten where it is not read, either."""
    best = trained / "checkpoints" / "best.ckpt"
    for name in ("1.png", "1_mask.png"):
        cv2.imwrite(str(tmp_path / name), np.full((40, 40, 3), 90, np.uint8))
    before = (tmp_path / "1_mask.png").read_bytes()
    for pictures in (tmp_path, tmp_path / "1.png"):
        options = ["predict", f"--ckpt_path={best}", f"--data.predict={pictures}"]
        refused = command(*options, f"--trainer.default_root_dir={tmp_path}")
        assert refused.returncode == 1
        assert "1_mask.png: the file would be overwritten" in refused.stderr
        assert "Traceback" not in refused.stderr
        assert (tmp_path / "1_mask.png").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are Unicode")
def test_names_that_are_no_unicode(trained: Path, tmp_path: Path) -> None:
    """As old archives have them; a list and a page of all pictures are written at the very end."""
    pictures, out = make_set(tmp_path / "set", 2, seed=5) / "Tp", tmp_path / "out"
    odd = os.fsdecode(b"caf\xe9.png")
    first = min(pictures.iterdir())
    first.rename(pictures / odd)
    (tmp_path / "set" / "Gt" / first.name).rename(tmp_path / "set" / "Gt" / odd)
    options = [f"--ckpt_path={trained / 'checkpoints' / 'best.ckpt'}", f"--trainer.default_root_dir={out}"]
    succeed("predict", f"--data.predict={pictures}", *options)
    assert "caf%E9_heat.png" in (out / "predictions.html").read_text()
    assert "caf\\udce9.png" in (out / "predictions.csv").read_text()
    # it is known again
    succeed("predict", f"--data.predict={pictures}", *options)
    succeed("test", f"--data.test={{set: {tmp_path / 'set'}}}", *options)
    assert "caf\\udce9" in (out / "per_image.csv").read_text()


def test_predict_takes_none_of_its_own_pictures(trained: Path, tmp_path: Path) -> None:
    best = trained / "checkpoints" / "best.ckpt"
    for name in ("a.png", "sub/b.png", "c_mask.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / name), np.full((40, 40, 3), 90, np.uint8))
    # into the folder itself, then below it
    for out in (tmp_path, tmp_path / "out"):
        options = ["predict", f"--ckpt_path={best}", f"--data.predict={tmp_path}", f"--trainer.default_root_dir={out}"]
        assert "heat maps of 3 pictures" in succeed(*options).stdout
    # by a pattern and a name: files are laid out below the deepest folder that holds all
    several = [f"--data.predict=[{tmp_path}/*.png, {tmp_path}/sub/b.png]", f"--trainer.default_root_dir={tmp_path}/two"]
    assert "heat maps of 3 pictures" in succeed("predict", f"--ckpt_path={best}", *several).stdout
    assert (tmp_path / "two" / "sub" / "b_heat.png").is_file()
    # only what predict writes is left out: a picture may well be called c_mask
    wanted = {f"{stem}_{kind}.png" for stem in ("a", "sub/b", "c_mask") for kind in ("heat", "mask", "overlay")}
    assert {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.png")} == wanted


def test_a_run_without_checkpoints_and_panels(tmp_path: Path, small_set: Path) -> None:
    options = [*TINY, f"--data.train=[{small_set}]", f"--data.val={small_set}", "--panels.every_n_epochs=0"]
    succeed("fit", *options, "--trainer.enable_checkpointing=false", f"--trainer.default_root_dir={tmp_path}")
    run = tmp_path / "version_0"
    assert logged(run, "val/f1")
    assert not list(run.glob("checkpoints/*"))
    assert not (run / "panels").exists()


def test_predict_keeps_no_map_in_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, small_set: Path) -> None:
    words = ["predict", f"--data.predict={small_set}", f"--trainer.default_root_dir={tmp_path / 'out'}"]
    monkeypatch.setattr(sys, "argv", ["ncl_lightning", *words])
    assert not NCLCLI().trainer.predict_loop.return_predictions


def test_a_fault_in_code_keeps_its_traceback(tmp_path: Path, small_set: Path) -> None:
    """What is not bad input is not told in one line, be it in a callback that Lightning calls."""
    code = (
        "from lightning.pytorch import Callback\n"
        "class Faulty(Callback):\n    def on_fit_start(self, *_):\n        raise ValueError('a fault')\n"
    )
    (tmp_path / "faulty.py").write_text(code)
    words = [*TINY, f"--data.train=[{small_set}]", f"--data.val={small_set}", f"--trainer.default_root_dir={tmp_path}"]
    done = command("fit", *words, "--trainer.callbacks=[{class_path: faulty.Faulty}]", PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert done.stderr.splitlines()[-1] == "ValueError: a fault"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["fitt"], 2, "fit"),
        (["fit", "--confg=a.yaml"], 2, "did you mean --config?"),
        (["export", "shipped", "out.onnx"], 1, "out.onnx: export writes PyTorch checkpoints only"),
        (["fit", "--model.lrr=1"], 2, "did you mean --model.lr?"),
        (["fit", "--model.lr=fast"], 2, "model.lr"),
        (["fit", "--model.contour_role=both"], 2, "contour_role"),
        (["fit", "--config=nowhere.yaml"], 2, "nowhere.yaml"),
        (
            ["fit", "--model.encoder=resnet19", "--data.train=[synthetic:8]", "--data.val=synthetic:2"],
            1,
            "resnet",
        ),
        (["fit", "--data.train=[{source: 5}]", "--data.val=synthetic:2"], 1, "source is 5"),
        (
            [
                *("fit", "--data.train=[synthetic:8]", "--data.val=synthetic:2"),
                '--data.augment=[{"class_path": "albumentations.HorizontalFlop"}]',
            ],
            1,
            "HorizontalFlop",
        ),
        (["predict", "README.md"], 2, "did you mean --data.predict README.md?"),
        (["predict", "--data.predict=README.md", "--trainer.accelerator=mps"], 1, "MPS"),
        (["export", "shipped", "/proc/nowhere/x.ckpt"], 1, "/proc/nowhere"),
        (["fit"], 1, "--data.train"),
        (["fit", "--data.seed=-1"], 1, "data.seed is -1"),
        (["fit", "--data.num_workers=-1"], 1, "num_workers"),
        (["fit", "--data.eval_batch_size=0"], 1, "eval_batch_size"),
        (["fit", "--model.lr=-1", "--data.train=[synthetic:8]", "--data.val=synthetic:2"], 1, "model.lr is -1"),
        (["fit", "--checkpoint.save_top_k=2"], 1, "--checkpoint.filename"),
        (["synthesize", "synthetic:5", "nowhere", "--count=0"], 1, "above 0"),
        (["fit", "--data.train=[nowhere]", "--data.val=nowhere"], 1, "nowhere"),
        (["test", "--data.test={a: synthetic:2}"], 1, "--ckpt_path"),
        (["test", "--ckpt_path=nowhere.ckpt"], 1, "nowhere.ckpt"),
        (["validate", "--ckpt_path=tests"], 1, "tests: a folder, but no run with a checkpoint"),
        (["predict", "--ckpt_path=README.md", "--data.predict=README.md"], 1, "README.md"),
        (["validate", "--ckpt_path=best", "--trainer.default_root_dir=tests"], 1, "best.ckpt"),
    ],
)
def test_what_a_user_can_mend_is_one_line(arguments: list[str], code: int, says: str) -> None:
    done = command(*arguments)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("ncl_lightning: ")]
    assert len(lines) == 1
    assert says in lines[0]


ACCUMULATED = ["--trainer.accumulate_grad_batches=2", "--trainer.max_epochs=-1"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        # ASPP averages over the whole picture
        (
            ["--model.encoder=resnet18", "--model.decoder=DeepLabV3Plus", "--model.options={}", "--data.batch_size=1"],
            "data.batch_size is 1",
        ),
        (["--data.val=AUTHENTIC"], "no tampered picture"),
        (["--model.encoder=traces", "--model.options={width: abc}"], "width is 'abc'"),
        (["--model.encoder=traces", "--model.options={depth: -1}"], "depth is -1"),
        (["--model.encoder=traces", "--model.options={width: true}"], "width is True"),
        (["--model.encoder=traces", "--model.options={blocks: 1}"], "blocks is 1"),
        (["--model.warmup=5"], "model.warmup is 5.0"),
        (["--model.encoder=traces", "--model.options={}", "--model.stride=15"], "traces gives features of stride 4"),
        (["--checkpoint.monitor=val/aucc"], "ModelCheckpoint monitors val/aucc: did you mean val/auc?"),
        (
            ["--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=val/Loss"],
            "EarlyStopping monitors val/Loss: did you mean val/loss?",
        ),
        (["--model.mean=[0.5, 0.5]"], "model.mean is [0.5, 0.5]"),
        (["--model.std=[1.0, 0.0, 1.0]"], "std above 0"),
        (["--trainer.max_epochs=-1", "--trainer.max_steps=1"], "no checkpoint could be chosen"),
        # 3 batches are 2 steps, the last one of one batch: 3 steps are over before the second epoch is
        (
            [*ACCUMULATED, "--trainer.max_steps=3", "--trainer.check_val_every_n_epoch=2"],
            "no checkpoint could be chosen",
        ),
        # within the second epoch, of 3 batches
        (
            ["--trainer.max_epochs=2", "--trainer.max_steps=4", "--trainer.check_val_every_n_epoch=2"],
            "4 batches, but the first validation comes after 6",
        ),
        (["--trainer.check_val_every_n_epoch=2"], "trainer.max_epochs is 1, which is 3 batches"),
        (["--trainer.sync_batchnorm=true", "--trainer.devices=2", "--trainer.strategy=ddp"], "is for GPUs alone"),
        (["--name=../other"], "--name ../other"),
        (["--trainer.default_root_dir=/proc/nowhere"], "give another --trainer.default_root_dir"),
        # in Lightning's words
        (["--trainer.strategy=nope"], "invalid strategy name"),
        (["--trainer.val_check_interval=50"], "must be less than or equal to the number of the training batches"),
        pytest.param(
            ["--trainer.logger=lightning.pytorch.loggers.CometLogger"],
            "comet-ml",
            marks=pytest.mark.skipif(find_spec("comet_ml") is not None, reason="comet-ml is installed"),
        ),
        (
            [
                "--model.network.class_path=ncl_lightning.PivotNetwork",
                "--model.network.init_args={encoder: traces, options: {width: 4}, stride: 4}",
            ],
            "model.stride is 16",
        ),
    ],
)
def test_what_would_train_in_vain_is_one_line(options: list[str], says: str, small_set: Path, tmp_path: Path) -> None:
    shutil.copytree(small_set / "Au", tmp_path / "real" / "Au")
    words = [*TINY, f"--data.train=[{small_set}]", f"--data.val={small_set}", f"--trainer.default_root_dir={tmp_path}"]
    done = command("fit", *words, *(option.replace("AUTHENTIC", str(tmp_path / "real")) for option in options))
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert says in done.stderr.splitlines()[-1]


def test_a_run_has_the_name_that_it_is_given(tmp_path: Path, small_set: Path) -> None:
    words = ["fit", *TINY, f"--data.train=[{small_set}]", f"--data.val={small_set}", "--name=first"]
    words += [f"--trainer.default_root_dir={tmp_path}"]
    # what comes to no step takes no name
    refused = command(*words, "--trainer.max_steps=1")
    assert "no checkpoint could be chosen" in refused.stderr
    assert not list(tmp_path.glob("first"))
    done = succeed(*words)
    run = tmp_path / "first"
    assert f"run: {run}" in done.stdout
    assert (run / "metrics.csv").is_file()
    assert "name" not in yaml.safe_load((run / "config.yaml").read_text())
    # another one is not mixed in
    refused = command(*words)
    assert refused.returncode == 1
    assert "there is a run of that name" in refused.stderr.splitlines()[-1]
    last = run / "checkpoints" / "last.ckpt"
    assert str(last) in refused.stderr
    # it goes on by the words that are advised; where it is at its end, it says so
    done = succeed(*words, f"--ckpt_path={last}")
    assert "nothing was left to train: the run had ended at step 3" in done.stdout
    assert [folder.parent.name for folder in tmp_path.glob("*/config.yaml")] == ["first"]
    # of a run whose data can't be opened no name is left
    assert command(*words, "--name=second", "--data.val=absent").returncode == 1
    assert not (tmp_path / "second").exists()


def test_what_a_run_says(tmp_path: Path, small_set: Path) -> None:
    """Nothing of Lightning's that means nothing here."""
    words = ["fit", *TINY, f"--data.train=[{small_set}]", f"--data.val={small_set}", "--model.lambda_ncl=0"]
    words += ["--trainer.max_epochs=-1", "--trainer.max_steps=4", f"--trainer.default_root_dir={tmp_path}"]
    done = succeed(*words)
    said = done.stdout + done.stderr
    for noise in ("TPU", "FLOPs", "v_num", "/-2", "Tip", "logging interval", "Warning", "Skipping", "to estimate"):
        assert noise not in said, noise
    assert "lambda_ncl is 0, but lambda_pc 0.1" in said
    assert re.search(r"network: \d+ K parameters, \d\.\d MB", said)
    done = succeed(*words, "--trainer.max_steps=6", f"--ckpt_path={tmp_path}/version_0/checkpoints/last.ckpt")
    assert "deleted" not in done.stdout + done.stderr


def test_help_of_an_evaluation_is_of_evaluation() -> None:
    for name, least in (("predict", "--data.predict"), ("test", "--model.conventions"), ("validate", "--data.val ")):
        text = succeed(name, "--help").stdout
        assert least in text
        assert "--model.own_cut" in text
        for other in ("--model.lambda_ncl", "--checkpoint.", "--trainer.max_epochs"):
            assert other not in text, (name, other)


def test_a_network_that_gives_no_number_says_so(trained: Path, tmp_path: Path, small_set: Path) -> None:
    checkpoint = torch.load(trained / "checkpoints" / "best.ckpt", weights_only=True)
    checkpoint["state_dict"]["network.head.bias"].fill_(float("nan"))
    torch.save(checkpoint, tmp_path / "nan.ckpt")
    commands = (
        ["predict", f"--data.predict={small_set / 'Tp'}"],
        ["test", f"--data.test={{a: {small_set}}}"],
        ["validate", f"--data.val={small_set}"],
    )
    for words in commands:
        done = command(*words, f"--ckpt_path={tmp_path / 'nan.ckpt'}", "--data.leakage=ignore")
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert "is no number" in done.stderr.splitlines()[-1]


def test_another_projects_checkpoint_is_one_line(tmp_path: Path, small_set: Path) -> None:
    file = tmp_path / "foreign.ckpt"
    torch.save({"state_dict": {"a": torch.zeros(1)}}, file)
    for words in (
        ["predict", f"--ckpt_path={file}", f"--data.predict={small_set}"],
        ["fit", *TINY, f"--ckpt_path={file}", f"--data.train=[{small_set}]", f"--data.val={small_set}"],
        ["export", str(file), str(tmp_path / "out.ckpt")],
    ):
        done = command(*words)
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1].startswith(f"ncl_lightning: {file}: not a checkpoint of a run")
    assert not (tmp_path / "out.ckpt").exists()


def test_a_pretrained_encoder_is_not_fetched_to_be_overwritten(trained: Path, tmp_path: Path, small_set: Path) -> None:
    checkpoint = torch.load(trained / "checkpoints" / "best.ckpt", weights_only=True)
    # to fetch these would fail: there are none of that name
    checkpoint["hyper_parameters"]["encoder_weights"] = "of_long_ago"
    torch.save(checkpoint, tmp_path / "pretrained.ckpt")
    words = ["test", f"--data.test={{a: {small_set}}}", "--data.leakage=ignore"]
    succeed(*words, f"--ckpt_path={tmp_path / 'pretrained.ckpt'}", f"--trainer.default_root_dir={tmp_path / 'out'}")
    run = json.loads((tmp_path / "out" / "results.json").read_text())["run"]
    assert run["training"]["model"]["encoder_weights"] == "of_long_ago"


def test_runs_without_a_logger_overwrite_no_checkpoint(tmp_path: Path, small_set: Path) -> None:
    words = [*TINY, f"--data.train=[{small_set}]", f"--data.val={small_set}", f"--trainer.default_root_dir={tmp_path}"]
    before: dict[str, bytes] = {}
    for number in range(2):
        succeed("fit", *words, "--trainer.logger=false", f"--seed_everything={number}", "--panels.count=0")
        files = {file.name: file.read_bytes() for file in (tmp_path / "checkpoints").iterdir()}
        assert len(files) == 2 * (number + 1)
        assert before.items() <= files.items()
        before = files


def test_bad_input_leaves_nothing_behind(tmp_path: Path, small_set: Path) -> None:
    next((small_set / "Gt").iterdir()).unlink()
    root = tmp_path / "runs"
    done = command(
        "fit",
        *TINY,
        f"--data.train=[{small_set}]",
        f"--data.val={small_set}",
        f"--trainer.default_root_dir={root}",
    )
    assert done.returncode == 1
    assert "tp" in done.stderr
    assert "Traceback" not in done.stderr
    assert not root.exists()


def test_a_truncated_file_in_a_worker_is_one_line(tmp_path: Path, small_set: Path) -> None:
    bad = next((small_set / "Tp").iterdir())
    bad.write_bytes(bad.read_bytes()[:200])
    done = command(
        "fit",
        *TINY,
        "--data.num_workers=2",
        f"--data.train=[{small_set}]",
        f"--data.val={small_set}",
        f"--trainer.default_root_dir={tmp_path / 'runs'}",
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert bad.name in [line for line in done.stderr.splitlines() if line.startswith("ncl_lightning: ")][-1]


def test_another_networks_checkpoint_is_one_line(trained: Path) -> None:
    best = trained / "checkpoints" / "best.ckpt"
    done = command("test", f"--ckpt_path={best}", "--model.encoder=resnet34", "--data.test={a: synthetic:2}")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "best.ckpt" in done.stderr.splitlines()[-1]


def test_synthesize_makes_a_data_source(tmp_path: Path) -> None:
    out = tmp_path / "made"
    succeed("synthesize", "synthetic:6", out, "--count=9", "--size=64")
    assert (out / "contact_sheet.png").is_file()
    assert len(list(out.glob("Tp/*")) + list(out.glob("Au/*"))) == 9
    assert len(list(out.glob("Gt/*"))) == len(list(out.glob("Tp/*")))
    from ncl_lightning.sources import open_source

    assert len(open_source(str(out))) == 9
    again = command("synthesize", "synthetic:6", out)
    assert again.returncode == 1
    assert "not empty" in again.stderr


def test_wandb_without_an_account_is_one_line(small_set: Path, tmp_path: Path) -> None:
    options = [*TINY, f"--data.train={small_set}", f"--data.val={small_set}", "--config=configs/wandb.yaml"]
    nobody = {"HOME": str(tmp_path), "WANDB_MODE": "online", "WANDB_API_KEY": ""}
    root = f"--trainer.default_root_dir={tmp_path / 'runs'}"
    refused = command("fit", *options, root, fresh=True, **nobody)
    assert refused.returncode == 1
    assert re.search("^ncl_lightning: wandb: .*WANDB_MODE=offline$", refused.stderr, re.MULTILINE)
    assert "Traceback" not in refused.stderr


def test_predict_leaves_out_the_masks_of_sets_below(trained: Path, tmp_path: Path) -> None:
    make_set(tmp_path / "sets" / "train", 1, 1)
    cv2.imwrite(str(tmp_path / "sets" / "train" / "contact_sheet.png"), np.zeros((9, 9, 3), np.uint8))
    best = trained / "checkpoints" / "best.ckpt"
    options = [f"--data.predict={tmp_path / 'sets'}", f"--trainer.default_root_dir={tmp_path / 'out'}"]
    assert "heat maps of 2 pictures" in succeed("predict", f"--ckpt_path={best}", *options).stdout
    # what is there already is spoken of before it is replaced
    again = succeed("predict", f"--ckpt_path={best}", *options)
    assert f"{tmp_path / 'out'}: contains results of these pictures; they are replaced" in again.stderr


def test_a_sanity_check_chooses_no_threshold(tmp_path: Path, small_set: Path) -> None:
    options = [*TINY, f"--data.train=[{small_set}]", f"--data.val={small_set}", "--trainer.check_val_every_n_epoch=2"]
    options += ["--checkpoint.monitor=null"]
    succeed("fit", *options, "--trainer.num_sanity_val_steps=2", f"--trainer.default_root_dir={tmp_path}")
    assert torch.load(tmp_path / "version_0" / "checkpoints" / "last.ckpt", weights_only=True)["val_threshold"] is None


def test_a_test_that_is_cut_short_leaves_no_older_results(
    monkeypatch: pytest.MonkeyPatch, trained: Path, tmp_path: Path
) -> None:
    best, data = trained / "checkpoints" / "best.ckpt", make_set(tmp_path / "set", 2, 1, seed=5)
    words = ["test", f"--ckpt_path={best}", f"--data.test={json.dumps({'a': str(data)})}"]
    words += [f"--trainer.default_root_dir={tmp_path / 'out'}"]
    succeed(*words)

    def cut_short(*_: object) -> None:
        raise RuntimeError("power cut")

    monkeypatch.setattr("ncl_lightning.results.write_report", cut_short)
    monkeypatch.setattr(sys, "argv", ["ncl_lightning", *words])
    with pytest.raises(RuntimeError, match="power cut"):
        NCLCLI()
    assert not (tmp_path / "out" / "results.json").exists()
