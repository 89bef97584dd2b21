"""curves.png of a run: what metrics.csv says, and never a reason for a run to fail."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import TINY, succeed

from ncl_lightning.curves import points, write_curves
from ncl_lightning.run_folder import RunLogger

HEAD = "epoch,step,train/loss,val/auc,val/f1,val/loss\n"


def test_points_are_those_of_the_table(tmp_path: Path) -> None:
    file = tmp_path / "metrics.csv"
    # a row of validation and one of training for each epoch; the terminal calls the first step 1
    file.write_text(f"{HEAD}0,5,,0.5,0.25,2\n0,5,3,,,\n1,11,,0.75,,1.5\n1,11,2.5,,,\n")
    assert points(file, ("train/loss", "val/loss")) == {
        "train/loss": ([6, 12], [3, 2.5]),
        "val/loss": ([6, 12], [2, 1.5]),
    }
    assert points(file, ("val/f1", "val/nothing")) == {"val/f1": ([6], [0.25])}
    assert points(tmp_path / "none.csv", ("val/f1",)) == {}


@pytest.mark.parametrize("rows", ["0,5,3,,,\n", "0,5,,0.5,0.4,2\n", "0,5,3,0.5,0.4,2\n1,9,2,0.6,0.5,nan\n"])
def test_whatever_is_there_is_drawn(tmp_path: Path, rows: str) -> None:
    (tmp_path / "metrics.csv").write_text(HEAD + rows)
    write_curves(tmp_path)
    picture = cv2.imread(str(tmp_path / "curves.png"))
    # a point at least, in a colour
    assert (np.ptp(picture.astype(int), axis=2) > 60).sum() > 20


def test_a_run_that_logged_nothing_leaves_no_picture(tmp_path: Path) -> None:
    write_curves(tmp_path)
    (tmp_path / "metrics.csv").write_text("epoch,step,lr\n0,1,0.1\n")
    write_curves(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.csv"]


@pytest.mark.parametrize("content", [b"\xff\xfe\x00\n", b"epoch,step,val/f1\n0,1,y\n"])
def test_a_table_that_cannot_be_read_is_a_warning(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "metrics.csv").write_bytes(content)
    with pytest.warns(UserWarning, match="curves.png was not written"):
        write_curves(tmp_path)
    assert not (tmp_path / "curves.png").exists()


@pytest.mark.parametrize("option", ["--trainer.limit_val_batches=0", "--trainer.logger=false", "--trainer.max_steps=0"])
def test_a_run_ends_well_without_validation_logger_or_steps(tmp_path: Path, small_set: Path, option: str) -> None:
    options = ["--panels.count=0", "--trainer.enable_checkpointing=false", option]
    succeed(
        "fit",
        *TINY,
        f"--data.train=[{small_set}]",
        f"--data.val={small_set}",
        *options,
        f"--trainer.default_root_dir={tmp_path / 'runs'}",
    )
    assert len(list(tmp_path.glob("runs/*/curves.png"))) == ("val" in option)


@pytest.mark.parametrize("cut", ["1", "1,", "1,9,2", "1,9,2,0.6,0.", '1,9,"'])
def test_a_row_that_a_kill_cut_short_is_left_out(tmp_path: Path, cut: str) -> None:
    run = tmp_path / "version_0"
    run.mkdir()
    (run / "metrics.csv").write_text(f"{HEAD}0,5,3,0.5,0.4,2\n{cut}")
    assert points(run / "metrics.csv", ("val/f1", "val/loss")).keys() <= {"val/f1", "val/loss"}
    # and the run that goes on keeps the whole ones
    RunLogger(tmp_path, version="version_0", keep_step=20).experiment.save()
    with (run / "metrics.csv").open(newline="") as stream:
        assert [(row["step"], row["val/f1"]) for row in csv.DictReader(stream)] == [("5", "0.4")]
