"""docs/scores.md names every key and column that `test` and `fit` write, and none of results.json that they don't."""

import csv
import json
import re
from pathlib import Path

import pytest
from conftest import ROOT, make_set, succeed

TEXT = (ROOT / "docs" / "scores.md").read_text(encoding="utf-8")


def part(heading: str) -> set[str]:
    """What a part of the page names."""
    return set(re.findall(r"`([^`]+)`", TEXT.partition(f"## {heading}\n")[2].partition("\n## ")[0]))


def head(file: Path) -> list[str]:
    with file.open(newline="") as stream:
        return next(csv.reader(stream))


@pytest.fixture(scope="module")
def tested(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("scores")
    data = make_set(root / "data", 3, 2, seed=11)
    succeed(
        "test",
        f"--ckpt_path={trained / 'checkpoints' / 'best.ckpt'}",
        f"--data.test={json.dumps({'mine': str(data)})}",
        "--model.conventions=[benco, mvss, trufor]",
        "--trainer.limit_test_batches=1",
        f"--trainer.default_root_dir={root / 'out'}",
    )
    return root / "out"


def test_every_key_of_results_json_is_named(tested: Path) -> None:
    found = json.loads((tested / "results.json").read_text())
    keys = {key.removesuffix("_ci") for key in found["sets"]["mine"]}
    at_original = {key for key in keys if key.endswith("_original")}
    assert at_original == {f"{key}_original" for key in ("f1", "iou", "auc", "ap", "f1_val")}
    named = part("results.json: `sets`")
    assert not keys - at_original - named
    # and what is named there exists
    tables = TEXT.partition("## results.json: `sets`\n")[2].partition("\n## ")[0]
    first_cells = [line.split("|")[1] for line in tables.splitlines() if line.startswith("| `")]
    assert {key for cell in first_cells for key in re.findall(r"`([^`]+)`", cell)} == keys - at_original
    assert not found["run"].keys() - part("results.json: `run`")
    assert not found["run"]["training"].keys() - part("results.json: `run`")
    # all else is in the file that says so
    assert {"leakage", "partial"} <= part("results.json: `run`")


def test_every_column_of_per_image_csv_is_named(tested: Path) -> None:
    columns = head(tested / "per_image.csv")
    at_original = {column for column in columns if column.endswith("_original")}
    own = columns[: columns.index("tampered")]
    assert at_original == {f"{column}_original" for column in columns if column not in (*own, *at_original)}
    assert not set(columns) - at_original - part("per_image.csv")


def test_every_key_of_compare_is_named(tested: Path, tmp_path: Path) -> None:
    succeed("compare", f"--group=a={tested}", f"--group=b={tested}", "--json", tmp_path / "out.json")
    found = json.loads((tmp_path / "out.json").read_text())
    keys = found.keys() | found["settings"].keys() | found["arms"]["a"].keys() | found["comparisons"][0].keys()
    assert not keys - part("`compare --json`")


def test_every_group_of_metrics_csv_is_named(trained: Path) -> None:
    named = part("metrics.csv") | part("results.json: `sets`")
    terms = {"loss", "seg", "ncl", "ncl_tampered", "ncl_authentic", "pc"}
    assert terms <= named
    columns = head(trained / "metrics.csv")
    for column in columns:
        group, _, name = column.partition("/")
        if group in ("val", "train"):
            assert name in named, column
        elif group == "contrast":
            phase, kind, what = name.split("/")
            assert phase in ("train", "val")
            assert kind in ("count", "share") or what in ("margin", "lean") or "-" in what, column
        else:
            assert column in named, column
    # "counts from 0": three steps were taken
    with (trained / "metrics.csv").open(newline="") as stream:
        assert {row["step"] for row in csv.DictReader(stream)} == {"2"}


def test_the_validation_scores_are_those_named(trained: Path) -> None:
    """`val/f1_val` is left out, as the page says, and nothing else."""
    scores = {column.partition("/")[2] for column in head(trained / "metrics.csv") if column.startswith("val/")}
    assert "f1_val" not in scores
    assert {"f1", "f1_best_set", "threshold_best_set", "image_com_f1", "fpr_authentic", "f1_permuted"} <= scores
