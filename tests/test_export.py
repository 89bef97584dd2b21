"""A checkpoint to hand on, and the one that comes with the package."""

import csv
import hashlib
import json
import math
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, command, make_set, shipped_run, succeed

from ncl_lightning.checkpoints import SHIPPED
from ncl_lightning.data import ManipulationDataModule
from ncl_lightning.errors import InputError
from ncl_lightning.export import export
from ncl_lightning.module import NCLModule
from ncl_lightning.synthetic import SyntheticSource
from ncl_lightning.untouched import untouched_of


def test_an_exported_checkpoint_serves_like_the_run(trained: Path, tmp_path: Path) -> None:
    trained = trained / "checkpoints" / "best.ckpt"
    out = tmp_path / "handed_on.ckpt"
    succeed("export", trained, out)
    assert out.stat().st_size < trained.stat().st_size / 2
    whole, kept = (torch.load(file, weights_only=True) for file in (trained, out))
    assert kept["val_threshold"] == whole["val_threshold"]
    assert not {"callbacks", "optimizer_states", "loops"} & set(kept)
    # no path of the machine that trained it
    assert str(tmp_path.parent).encode() not in out.read_bytes()

    data = make_set(tmp_path / "set", 3, 1, seed=9)
    scores = []
    for number, checkpoint in enumerate((trained, out)):
        folder = tmp_path / str(number)
        succeed(
            "test", f"--ckpt_path={checkpoint}", f"--data.test={{new: {data}}}", f"--trainer.default_root_dir={folder}"
        )
        scores.append(json.loads((folder / "results.json").read_text())["sets"])
    assert scores[0] == scores[1]
    assert 0 <= scores[0]["new"]["f1_val"] <= 1

    # logits move by a constant: the threshold given comes to lie at 0.5
    moved = tmp_path / "moved.ckpt"
    succeed("export", trained, moved, "--threshold=0.2")
    before, after = (
        NCLModule.load_from_checkpoint(file, map_location="cpu", weights_only=True).eval() for file in (out, moved)
    )
    picture = torch.rand(1, 3, 96, 96)
    with torch.no_grad():
        p, q = before.probability(picture), after.probability(picture)
    assert torch.equal(p > 0.2, q > 0.5)
    torch.testing.assert_close(q.logit() - p.logit(), torch.full_like(p, math.log(4)), rtol=0, atol=1e-4)
    # one cut for all, also of a model that gives each picture its own
    export("shipped", tmp_path / "one_cut.ckpt", threshold=0.9)
    assert torch.load(tmp_path / "one_cut.ckpt", weights_only=True)["hyper_parameters"]["own_cut"] is False
    refused = command("export", trained, tmp_path / "other.ckpt", "--threshold=1.5")
    assert refused.returncode == 1
    assert "between 0 and 1" in refused.stderr

    again = command("export", trained, out)
    assert again.returncode == 1
    assert "exists" in again.stderr


def test_predict_uses_the_shipped_model_when_none_is_named(tmp_path: Path) -> None:
    data = make_set(tmp_path / "set", 2, size=(90, 130))
    out = tmp_path / "out"
    done = succeed("predict", f"--data.predict={data / 'Tp'}", f"--trainer.default_root_dir={out}")
    assert "weights" in done.stdout
    assert len(list(out.glob("*_heat.png"))) == 2
    # what untouched photographs score was measured with this very file: benchmarks/untouched.py does it anew
    known = untouched_of(shipped_run())
    assert known is not None
    with (out / "predictions.csv").open(newline="") as stream:
        for row in csv.DictReader(stream):
            assert float(row["untouched_as_high"]) == pytest.approx(known.as_high(float(row["highest"])), abs=1e-3)
    assert "untouched photographs score as high" in (out / "predictions.html").read_text()
    tested = succeed(
        "test", "--ckpt_path=shipped", f"--data.test={{new: {data}}}", f"--trainer.default_root_dir={tmp_path / 'test'}"
    )
    assert "results.json" in tested.stdout


def test_the_shipped_model_is_handed_on_by_name(tmp_path: Path) -> None:
    copy = tmp_path / "copy.ckpt"
    export("shipped", copy)
    ours, theirs = torch.load(SHIPPED, weights_only=True), torch.load(copy, weights_only=True)
    assert all(torch.equal(weights, theirs["state_dict"][name]) for name, weights in ours["state_dict"].items())


def test_a_run_is_handed_on_by_name(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(trained.parent.parent)
    for name in ("best", "last"):
        export(name, tmp_path / name)
        ours, theirs = (
            torch.load(file, weights_only=True) for file in (f"{trained}/checkpoints/{name}.ckpt", tmp_path / name)
        )
        assert all(torch.equal(weights, theirs["state_dict"][key]) for key, weights in ours["state_dict"].items())
        assert "ManipulationDataModule" in theirs
    # pictures are not handed on without a word, be they small
    seen = sum(len(part["digests"]) for part in theirs["ManipulationDataModule"].values())
    assert f"in it are {seen} fingerprints" in capsys.readouterr().out
    export("best", tmp_path / "bare", fingerprints=False)
    assert "fingerprints" not in capsys.readouterr().out
    assert "ManipulationDataModule" not in torch.load(tmp_path / "bare", weights_only=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"no run below it has a checkpoints/best\.ckpt"):
        export("best", tmp_path / "none.ckpt")


def test_the_mean_of_two_runs(trained: Path, tmp_path: Path) -> None:
    """Weight by weight; what either was trained on is remembered, and no threshold was chosen for it."""
    best, root = trained / "checkpoints" / "best.ckpt", tmp_path / "runs"
    data = make_set(tmp_path / "more", 4, 1, seed=77)
    options = [f"--config={trained / 'config.yaml'}", f"--model.warm_start={best}", f"--data.train=[{data}]"]
    succeed("fit", *options, f"--data.val={data}", f"--trainer.default_root_dir={root}", "--data.leakage=ignore")
    other = root / "version_0" / "checkpoints" / "best.ckpt"
    succeed("export", best, tmp_path / "mean.ckpt", f"--mean_with=[{other}]")
    first, second, mean = (torch.load(one, weights_only=True) for one in (best, other, tmp_path / "mean.ckpt"))
    assert mean["val_threshold"] is None
    moved = 0
    for name, weight in mean["state_dict"].items():
        pair = first["state_dict"][name], second["state_dict"][name]
        moved += not torch.equal(*pair)
        if weight.is_floating_point():
            torch.testing.assert_close(weight, (pair[0] + pair[1]) / 2, rtol=1e-6, atol=1e-8)
    assert moved > 10
    # the second run began with the first one's memory, so the mean's is the same
    seen = [one["ManipulationDataModule"]["train"]["digests"].tolist() for one in (first, second, mean)]
    assert set(seen[2]) == set(seen[0]) | set(seen[1])
    assert set(seen[0]) < set(seen[2])
    refused = command("export", best, tmp_path / "none.ckpt", "--mean_with=[shipped]")
    assert refused.returncode == 1
    assert "its weights don't fit this network" in refused.stderr
    assert not (tmp_path / "none.ckpt").exists()


def test_batchnorm_is_taken_anew(trained: Path, tmp_path: Path) -> None:
    """benchmarks/batchnorm.py: of one batch, the statistics are that batch's; all else stays."""
    names = runpy.run_path(str(ROOT / "benchmarks" / "batchnorm.py"))
    best = trained / "checkpoints" / "best.ckpt"
    train, options = [str(make_set(tmp_path / "set", 5))], {"size": 64, "batch_size": 4, "num_workers": 0}
    found = names["renewed"](str(best), train, options, 1)["state_dict"]
    before = torch.load(best, weights_only=True)["state_dict"]
    assert all(
        torch.equal(before[name], one) for name, one in found.items() if "running" not in name and "num_" not in name
    )

    data = ManipulationDataModule(train=train, val=train[0], seed=0, leakage="ignore", **options)
    data.setup("fit")
    module = NCLModule.load_from_checkpoint(best, map_location="cpu", weights_only=True).train()
    seen: dict[str, torch.Tensor] = {}
    for name, layer in module.named_modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.register_forward_pre_hook(lambda _, given, name=name: seen.update({name: given[0].clone()}))
    with torch.no_grad():
        module(next(iter(data.train_dataloader()))["image"])
    assert len(seen) > 10
    for name, values in seen.items():
        torch.testing.assert_close(found[f"{name}.running_mean"], values.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found[f"{name}.running_var"], values.var((0, 2, 3)), rtol=1e-4, atol=1e-5)


def test_the_shipped_model_is_small_and_has_a_card() -> None:
    assert SHIPPED.stat().st_size <= 12e6
    card = (SHIPPED.parent / "README.md").read_text()
    for word in ("research", "a lead, not a proof", "fails", "%"):
        assert word in card
    assert hashlib.sha256(SHIPPED.read_bytes()).hexdigest() in card
    assert (SHIPPED.parent / "../../docs/model.png").is_file()
    checkpoint = torch.load(SHIPPED, weights_only=True)
    assert checkpoint["val_threshold"] is not None


def test_a_threshold_that_moves_to_an_end_is_none(tmp_path: Path) -> None:
    checkpoint = torch.load(SHIPPED, weights_only=True)
    for chosen, threshold, moved in ((0.3, 0.3, 0.5), (0.05, 0.95, None), (0.99, 0.2, None)):
        torch.save({**checkpoint, "val_threshold": chosen}, tmp_path / "run.ckpt")
        out = tmp_path / f"{chosen}.ckpt"
        export(str(tmp_path / "run.ckpt"), out, threshold=threshold)
        assert torch.load(out, weights_only=True)["val_threshold"] == moved


def test_calibration_is_fitted_and_carried_over(tmp_path: Path) -> None:
    """benchmarks/calibrate.py finds how logits were stretched, and export turns them back."""
    names = runpy.run_path(str(ROOT / "benchmarks" / "calibrate.py"))
    rng = np.random.default_rng(0)
    logits = rng.normal(-1, 2, 200_000).astype(np.float32)
    truth = rng.random(len(logits)) < 1 / (1 + np.exp(-(0.7 * logits - 0.4)))
    assert names["calibration"]([names["Sample"](logits, truth)]) == pytest.approx((0.7, -0.4), abs=0.02)

    export("shipped", tmp_path / "calibrated.ckpt", calibration=(0.5, 0.25))
    before, after = (
        NCLModule.load_from_checkpoint(path, map_location="cpu", weights_only=True).eval()
        for path in (SHIPPED, tmp_path / "calibrated.ckpt")
    )
    picture = SyntheticSource(1, size=120, seed=3).read(0).image
    frame = torch.from_numpy(picture).permute(2, 0, 1)[None]
    with torch.no_grad():
        torch.testing.assert_close(after(frame).logits, 0.5 * before(frame).logits + 0.25)
    assert after.hparams["own_cut"]
    for calibration in ((0.0, 1.0), (1.0, math.inf)):
        with pytest.raises(InputError, match="calibration is"):
            export("shipped", tmp_path / "refused.ckpt", calibration=calibration)
    with pytest.raises(InputError, match="both move"):
        export("shipped", tmp_path / "refused.ckpt", threshold=0.4, calibration=(0.5, 0.25))
    assert not (tmp_path / "refused.ckpt").exists()


def test_calibrate_says_what_each_cut_is_worth(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["calibrate.py", "shipped", "synthetic:6", "--most", "2"])
    runpy.run_path(str(ROOT / "benchmarks" / "calibrate.py"), run_name="__main__")
    first, _, *rows, mean = capsys.readouterr().out.splitlines()
    assert first.startswith("--calibration '[")
    assert [row.split()[-6] for row in rows] == ["2"] * 3
    assert len(mean.split()) == 6
