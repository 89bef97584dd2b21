"""`runs`: one line a run, told from its text files; best first, with what differs."""

import csv
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from conftest import command, succeed

from ncl_lightning.runs import read_runs


def copy_of(run: Path, to: Path, best: float | None = None, **options: object) -> Path:
    """A copy of a run with other options, and other validation F1 at its only validation."""
    ignored = shutil.ignore_patterns("*.ckpt", "panels", "test-*")
    shutil.copytree(run, to, ignore=ignored)
    config = yaml.safe_load((to / "config.yaml").read_text())
    for name, value in options.items():
        part, _, key = name.partition("__")
        if key:
            config[part][key] = value
        else:
            config[part] = value
    (to / "config.yaml").write_text(yaml.safe_dump(config))
    if best is None:
        (to / "metrics.csv").unlink()
        return to
    with (to / "metrics.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        row["val/f1"] = str(best) if row["val/f1"] else ""
    with (to / "metrics.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return to


def test_runs_are_listed_best_first_with_what_differs(trained: Path, tmp_path: Path) -> None:
    root = tmp_path / "runs"
    first = copy_of(trained, root / "version_0", 0.25, model__lambda_ncl=0.3)
    os.utime(first / "config.yaml", (86400 * 365, 86400 * 365))
    copy_of(trained, root / "deeper" / "version_1", 0.75, trainer__max_epochs=4, seed_everything=5)
    copy_of(trained, root / "version_2", None, data__num_workers=7)
    # no checkpoint is read
    (first / "checkpoints").mkdir(exist_ok=True)
    (first / "checkpoints" / "best.ckpt").write_text("not a checkpoint")
    # W&B leaves a config.yaml, too
    (root / "wandb" / "files").mkdir(parents=True)
    (root / "wandb" / "files" / "config.yaml").write_text("_wandb: {value: 1}\nmodel: {value: 2}\n")
    best = trained / "checkpoints" / "best.ckpt"
    out = first / "checkpoints" / "test-2026-01-01_00-00-00-000"
    succeed("test", f"--ckpt_path={best}", "--data.test={a: synthetic:4}", f"--trainer.default_root_dir={out}")

    done = succeed("runs", cwd=tmp_path)
    head, _, *lines = [line.rstrip() for line in done.stdout.splitlines() if line.strip()]
    # what is the same everywhere, or moves no score, has no column
    assert re.split(r"  +", head) == [
        "run", "began", "state", "seed", "lambda_ncl", "max_epochs", "val/f1", "val/auc", "at step", "test: F1, AUC"
    ]  # fmt: skip
    assert [line.split()[0] for line in lines] == ["deeper/version_1", "version_0", "version_2"]
    assert " epoch 1 of 4 " in lines[0]
    assert " 0.750 " in lines[0]
    assert " 01-01 " in lines[1]
    assert " finished " in lines[1]
    assert " 0.3 " in lines[1]
    assert " epoch 0 of 1 " in lines[2]
    assert "–" in lines[2]

    succeed("runs", root, "--csv", tmp_path / "all.csv")
    with (tmp_path / "all.csv").open(newline="") as stream:
        rows = {row["run"]: row for row in csv.DictReader(stream)}
    row = rows["version_0"]
    assert row["began"].startswith("1971-01-01T")
    with (out / "per_image.csv").open(newline="") as stream:
        f1 = [float(r["f1"]) for r in csv.DictReader(stream) if r["f1"]]
    assert float(row["test/a/f1"]) == pytest.approx(sum(f1) / len(f1))
    assert f"a {float(row['test/a/f1']):.3f}, {float(row['test/a/auc']):.3f}" in lines[1]
    # as the terminal counts: 7 pictures in batches of 2, the last one dropped
    assert (row["steps"], row["best_step"]) == ("3", "3")
    assert (row["model.stride"], row["data.num_workers"], rows["version_2"]["data.num_workers"]) == ("8", "0", "7")
    assert rows["deeper/version_1"]["seed"] == "5"
    assert rows["deeper/version_1"]["test/a/f1"] == ""


def test_it_takes_its_time_for_no_run(trained: Path, tmp_path: Path) -> None:
    """Nothing heavy is imported, and hundreds of runs are read in moments."""
    code = "import sys, ncl_lightning.runs; sys.exit(any(m in sys.modules for m in ('torch', 'cv2', 'lightning')))"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent.parent).returncode == 0
    for number in range(200):
        folder = tmp_path / f"version_{number}"
        folder.mkdir()
        for name in ("config.yaml", "metrics.csv"):
            shutil.copy(trained / name, folder)
    begin = time.process_time()
    assert len(read_runs(tmp_path)) == 200
    assert time.process_time() - begin < 20


def test_the_best_step_is_that_of_the_highest(trained: Path, tmp_path: Path) -> None:
    run = copy_of(trained, tmp_path / "version_0", 0.5)
    text = (
        "epoch,step,train/loss,val/auc,val/f1\n0,1,,0.5,0.2\n0,1,1.0,,\n1,3,,0.4,0.6\n1,3,1.0,,\n2,5,,0.9,0.3\n3,6,1.0"
    )
    # that it ends within a row is no trouble
    (run / "metrics.csv").write_text(text + ",,\n3,")
    (line,) = read_runs(tmp_path)
    assert (line.best, line.best_step, line.steps) == ({"val/auc": 0.4, "val/f1": 0.6}, 4, 7)
    assert line.state == "finished"

    # best.ckpt is that of what was monitored
    other = copy_of(trained, tmp_path / "version_1", 0.5, checkpoint={"monitor": "val/auc", "mode": "max"})
    (other / "metrics.csv").write_text(text + ",,\n3,")
    found = {line.name: line for line in read_runs(tmp_path)}
    assert (found["version_1"].best["val/auc"], found["version_1"].best_step) == (0.9, 6)
    # by val/f1, which both have
    assert list(found) == ["version_0", "version_1"]
    shutil.rmtree(run)
    lower = copy_of(other, tmp_path / "version_2", 0.5, checkpoint={"monitor": "val/auc", "mode": "max"})
    (lower / "metrics.csv").write_text("epoch,step,train/loss,val/auc,val/f1\n0,1,,0.7,0.9\n")
    assert [line.name for line in read_runs(tmp_path)] == ["version_1", "version_2"]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [(["nowhere"], 1, "no run below it"), (["bad"], 1, "config.yaml"), (["--bogus"], 2, "--bogus")],
)
def test_what_a_user_can_mend_is_one_line(tmp_path: Path, arguments: list[str], code: int, says: str) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "config.yaml").write_text("model: [1\n")
    done = command("runs", *arguments, cwd=tmp_path)
    assert done.returncode == code
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
