"""A sweep file run on this machine: real runs, stopped and given again, and the table against the files."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import ROOT, TINY, command, make_set, stopped, succeed
from filelock import FileLock

from ncl_lightning.arms import summarise
from ncl_lightning.child_process import run_logged, telling_line
from ncl_lightning.errors import InputError
from ncl_lightning.intervals import difference_of_methods, paired_difference
from ncl_lightning.per_image import write_rows
from ncl_lightning.sweeps import Run, expand, settings

# each run is two new interpreters, and where cores are few and slow that is a minute
pytestmark = pytest.mark.timeout(900)
ARGS = [option for option in TINY if "max_epochs" not in option]


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Two arms, two seeds, four steps each, on a tiny set."""
    data = make_set(tmp_path / "data", 4, 1)
    for name, weight in (("plain", 0.0), ("switch", 0.3)):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump({"model": {"lambda_ncl": weight, "lambda_pc": weight}}))
    sources = [f"--data.train=[{data}]", f"--data.val={data}", f"--data.test={{tiny: {data}}}"]
    file = tmp_path / "tiny.yaml"
    file.write_text(
        yaml.safe_dump(
            {
                "method": "grid",
                "parameters": {
                    "seed_everything": {"values": [0, 1]},
                    "config": {"values": [str(tmp_path / f"{name}.yaml") for name in ("plain", "switch")]},
                    "trainer.max_epochs": {"value": 2},
                },
                "command": ["${env}", "${interpreter}", "-m", "ncl_lightning", "fit", *ARGS, *sources, "${args}"],
            },
            sort_keys=False,
        )
    )
    return file


def by_the_program(sweep: Path, *more: str, seeds: Sequence[int] = (0,)) -> dict[str, Any]:
    """The sweep, its runs by `program.py`; `more` options stand before what is swept."""
    content: dict[str, Any] = yaml.safe_load(sweep.read_text())
    content["command"] = ["${interpreter}", str(ROOT / "tests" / "program.py"), "fit", *more, "${args}"]
    content["parameters"]["seed_everything"] = {"values": list(seeds)}
    sweep.write_text(yaml.safe_dump(content, sort_keys=False))
    return content


def images(folder: Path, score: str) -> np.ndarray:
    with (folder / "test" / "per_image.csv").open() as stream:
        return np.array([float(row[score]) for row in csv.DictReader(stream) if row["tampered"] == "1"])


def test_an_experiment_is_stopped_and_given_again(tmp_path: Path, sweep: Path) -> None:
    content = yaml.safe_load(sweep.read_text())
    content["parameters"]["seed_everything"] = {"values": [0]}
    content["parameters"]["config"] = {"values": [str(tmp_path / "switch.yaml")]}
    sweep.write_text(yaml.safe_dump(content, sort_keys=False))
    out = tmp_path / "out"
    # as soon as the run has a checkpoint to go on from
    sign = "tiny-seed0/version_*/checkpoints/last.ckpt"
    told = stopped("experiment", sweep, "--out", out, signum=signal.SIGTERM, folder=out, sign=sign)
    assert told.returncode == 143
    assert told.stderr.strip() == "ncl_lightning: stopped by SIGTERM; the same command goes on with what is left"
    assert not (out / "tiny-seed0" / "test" / "results.json").exists()

    done = succeed("experiment", sweep, "--out", out)
    assert "1 of 1 runs are done" in done.stdout
    # it went on in its folder
    assert [folder.name for folder in out.glob("tiny-seed0/version_*")] == ["version_0"]
    assert (out / "figure.png").stat().st_size > 5000
    scores = json.loads((out / "tiny-seed0" / "test" / "results.json").read_text())["sets"]["tiny"]
    assert f"| tiny | tiny | 1 | {scores['auc']:.3f} | {scores['ap']:.3f} |" in (out / "table.md").read_text()


def test_the_table_is_what_the_files_say(tmp_path: Path, sweep: Path) -> None:
    by_the_program(sweep, '--data.test={"tiny": "x"}', seeds=(0, 1))
    out = tmp_path / "out"
    done = succeed("experiment", sweep, "--out", out)
    assert "plain-seed0" in done.stdout
    assert (out / "figure.png").stat().st_size > 5000

    # the table and the comparisons are what the files say
    runs = {arm: [out / f"{arm}-seed{seed}" for seed in (0, 1)] for arm in ("plain", "switch")}
    table = (out / "table.md").read_text()
    for arm, folders in runs.items():
        for score in ("auc", "ap", "f1_val", "f1"):
            means = [json.loads((f / "test" / "results.json").read_text())["sets"]["tiny"][score] for f in folders]
            assert f"{np.mean(means):.3f} ({min(means):.3f}–{max(means):.3f})" in table, (arm, score)
    # and as files that other programs read
    with (out / "table.csv").open() as stream:
        rows = {row["arm"]: row for row in csv.DictReader(stream)}
    assert list(rows) == ["plain", "switch", "everything tampered"]
    assert rows["plain"]["seeds"] == "2"
    means = [json.loads((f / "test" / "results.json").read_text())["sets"]["tiny"]["auc"] for f in runs["plain"]]
    spread = [float(rows["plain"][key]) for key in ("auc", "auc_low", "auc_high")]
    assert spread == pytest.approx([np.mean(means), min(means), max(means)])
    positives, negatives = (images(runs["plain"][0], kind) for kind in ("positives", "negatives"))
    shares = positives / (positives + negatives)
    assert float(rows["everything tampered"]["ap"]) == pytest.approx(shares.mean())
    tex = (out / "table.tex").read_text().splitlines()
    assert [line.split("&")[0].strip() for line in tex[4:7]] == ["tiny", "", ""]
    (line,) = [line for line in tex if " & switch &" in line]
    assert line.endswith(r" \\")
    cells = re.findall(r"\| tiny \| switch \|(.*)\|", table)[0].replace("–", "--").split("|")
    assert [cell.strip() for cell in line.removesuffix(r" \\").split("&")[2:]] == [cell.strip() for cell in cells]
    (auc,) = [one for one in json.loads((out / "comparisons.json").read_text()) if one["score"] == "auc"]
    a, b = (np.mean([images(folder, "auc") for folder in runs[arm]], 0) for arm in ("plain", "switch"))
    assert [auc["difference"], *auc["over_images"]] == pytest.approx(paired_difference(b, a, 10000, 0))
    # seed by seed
    a, b = (np.array([images(folder, "auc") for folder in runs[arm]]) for arm in ("plain", "switch"))
    both = difference_of_methods(b, a, 10000, 0, paired=True)
    assert [auc["difference"], auc["low"], auc["high"]] == pytest.approx(both)
    assert auc["seeds_paired"]

    # other settings are not mixed in
    arm = tmp_path / "switch.yaml"
    text = arm.read_text()
    arm.write_text("model: {lambda_ncl: 0.5}\n")
    refused = command("experiment", sweep, "--out", out)
    assert refused.returncode == 1
    assert "other settings (model.lambda_ncl was 0.3, now 0.5)" in refused.stderr
    # the same said otherwise is the same
    arm.write_text(f"# by another hand\n{text}")

    # nothing is done twice
    before = {file: file.stat().st_mtime_ns for file in out.rglob("results.json")}
    again = succeed("experiment", sweep, "--out", out)
    assert "[1 of 4]" not in again.stdout
    assert {file: file.stat().st_mtime_ns for file in out.rglob("results.json")} == before
    assert len(before) == 4


def test_other_test_sets_take_no_other_training(tmp_path: Path, sweep: Path) -> None:
    """Named at last, or others: what is trained stays, and is scored on them."""
    content = by_the_program(sweep, "--data.val=valid")
    content["parameters"]["config"] = {"values": [str(tmp_path / "plain.yaml")]}
    sweep.write_text(yaml.safe_dump(content, sort_keys=False))
    out = tmp_path / "out"
    done = succeed("experiment", sweep, "--out", out)
    assert "names no test set (data.test): runs are scored on their validation data" in done.stdout
    table = (out / "table.md").read_text()
    assert "| val | tiny |" in table
    assert table.startswith("Runs are scored on their validation data")
    assert "val: scores are means over 4 tampered images of 5." in table
    weights = {file: file.stat().st_mtime_ns for file in out.rglob("best.ckpt")}

    content["command"].insert(-1, '--data.test={"other": "elsewhere"}')
    sweep.write_text(yaml.safe_dump(content, sort_keys=False))
    assert "0 of 1 runs are done" in succeed("experiment", sweep, "--out", out, "--only_table=true").stdout
    done = succeed("experiment", sweep, "--out", out)
    assert "1 of 1 runs are done" in done.stdout
    assert "validation data" not in done.stdout
    # what was trained is not trained again, and no results are lost
    assert (out / "tiny-seed0" / "log.txt").read_text().count(" fit ") == 1
    (aside,) = (out / "tiny-seed0").glob("test-*")
    assert list(json.loads((aside / "results.json").read_text())["sets"]) == ["val"]
    table = (out / "table.md").read_text()
    assert "| other | tiny |" in table
    assert "| val |" not in table
    assert {file: file.stat().st_mtime_ns for file in out.rglob("best.ckpt")} == weights


def test_nothing_to_score_on_is_said_before_anything_is_trained(tmp_path: Path, sweep: Path) -> None:
    content = yaml.safe_load(sweep.read_text())
    content["command"] = [word for word in content["command"] if not word.startswith(("--data.test", "--data.val"))]
    content["command"].insert(-1, "--data.val_share=0.5")
    sweep.write_text(yaml.safe_dump(content))
    refused = command("experiment", sweep, "--out", tmp_path / "out")
    assert refused.returncode == 1
    (line,) = refused.stderr.splitlines()
    assert "names nothing to test on; give it --data.test" in line
    assert not (tmp_path / "out").exists()


def test_settings_are_what_the_last_word_says(tmp_path: Path) -> None:
    configs = {"a.yaml": "{model: {lr: 1, options: {width: 8}}, data: {test: {x: y}}}", "b.yaml": "model: {lr: 2}"}
    words = ["-m", "x", "fit", "--config", "a.yaml", "--config=b.yaml", "--data.train=[A, B]", "--c+=1", "--c+=[2"]
    assert settings(words, configs) == {
        "model.lr": 2,
        "model.options.width": 8,
        "data.test.x": "y",
        "data.train": ["A", "B"],
        "c": [1, "[2"],
    }


def test_ctrl_c_stops_what_the_experiment_started(tmp_path: Path, sweep: Path) -> None:
    content = yaml.safe_load(sweep.read_text())
    code = (
        "import os, sys, time; file = sys.argv[-1].partition('=')[2] + '/started'; "
        "open(file + '.tmp', 'w').write(os.environ['WANDB_NAME'] + ' of ' + os.environ['WANDB_RUN_GROUP']); "
        "os.rename(file + '.tmp', file); time.sleep(200)"
    )
    content["command"] = ["${interpreter}", "-c", code, "fit", "--data.test=x", "${args}"]
    sweep.write_text(yaml.safe_dump(content))
    out = tmp_path / "out"
    told = stopped("experiment", sweep, "--out", out, signum=signal.SIGINT, folder=out, sign="plain-seed0/started")
    assert told.returncode == 130
    # what W&B would call it
    assert (out / "plain-seed0" / "started").read_text() == "plain-seed0 of out"
    assert told.stderr.strip() == "ncl_lightning: stopped by SIGINT; the same command goes on with what is left"


@pytest.mark.skipif(os.name != "posix", reason="a child keeps a lock on POSIX alone")
def test_a_run_that_outlives_the_experiment_is_left_alone(tmp_path: Path, sweep: Path) -> None:
    """As after kill -9; a second `fit` would write into the same folder."""
    content = yaml.safe_load(sweep.read_text())
    code = (
        "import os, sys, time; folder = sys.argv[-1].partition('=')[2]; "
        "open(folder + '/pid.tmp', 'w').write(str(os.getpid())); os.rename(folder + '/pid.tmp', folder + '/pid'); "
        "time.sleep(200)"
    )
    content["command"] = ["${interpreter}", "-c", code, "fit", "--data.test=x", "${args}"]
    content["parameters"]["seed_everything"] = {"values": [0]}
    content["parameters"]["config"] = {"values": [str(tmp_path / "plain.yaml")]}
    sweep.write_text(yaml.safe_dump(content))
    folder = tmp_path / "out" / "tiny-seed0"
    words = [sys.executable, "-m", "ncl_lightning", "experiment", str(sweep), "--out", str(tmp_path / "out")]
    killed = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL)
    until = time.monotonic() + 100
    while not (folder / "pid").is_file() and time.monotonic() < until:
        time.sleep(0.05)
    killed.kill()
    killed.wait()
    try:
        assert (
            "tiny-seed0 is being run by another process" in succeed("experiment", sweep, "--out", folder.parent).stdout
        )
    finally:
        os.kill(int((folder / "pid").read_text()), signal.SIGKILL)


def test_one_seed_each_says_nothing_over_seeds(tmp_path: Path) -> None:
    for arm, lead in (("plain", 0.0), ("switch", 0.2)):
        make_result(tmp_path / f"{arm}-seed0" / "test", lead)
    text = summarise(tmp_path, [Run(arm, 0, ("fit",)) for arm in ("plain", "switch")])
    (line,) = [line for line in text.splitlines() if "| AUC | switch − plain" in line]
    assert line.endswith("| – | – |")
    assert "+0.200" in line
    assert "nothing is known over seeds" in text


def make_result(folder: Path, lead: float) -> None:
    """What `test` leaves, of eight images."""
    folder.mkdir(parents=True)
    truth = ("height", "width", "positives_original", "negatives_original", "tampered", "tampered_original", "fpr")
    rows = [
        {"set": "a", "name": f"{n}.png", **dict.fromkeys(truth, 1)}
        | dict.fromkeys(("auc", "ap", "f1_val", "f1", "f1_all_tampered"), 0.3 + n / 20 + lead)
        for n in range(8)
    ]
    write_rows(folder / "per_image.csv", rows)


def test_a_run_that_fails_at_once_ends_it_and_a_later_failure_does_not(tmp_path: Path, sweep: Path) -> None:
    by_the_program(sweep, '--data.test={"tiny": "x"}')
    out, arm = tmp_path / "out", tmp_path / "plain.yaml"
    arm.write_text("model: {encoder: nonsense}\n")
    done = command("experiment", sweep, "--out", out)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("ncl_lightning: plain-seed0 failed before its first training step: ")
    assert "nonsense" in line
    assert str(out / "plain-seed0" / "log.txt") in line
    assert not (out / "switch-seed0").exists()

    # once mended the same command does what is left; this arm now fails in its training
    arm.write_text("model: {encoder: breaks}\n")
    done = command("experiment", sweep, "--out", out)
    assert done.returncode == 1
    first, last = done.stderr.splitlines()
    assert first == f"plain-seed0 failed: ValueError: it broke ({out / 'plain-seed0' / 'log.txt'})"
    assert "1 of 2 runs failed (plain-seed0)" in last
    assert (out / "switch-seed0" / "test" / "results.json").is_file()


@pytest.mark.parametrize(
    ("output", "line"),
    [
        ("step 1\nncl_lightning: a.png: no such file\n\nwandb: synced\n", "a.png: no such file"),
        (
            "Traceback (most …):\n  File x\ntorch.OutOfMemoryError: 8 GiB\nwandb: synced",
            "torch.OutOfMemoryError: 8 GiB",
        ),
        ("one\nSegmentation fault\n", "Segmentation fault"),
        # one process of several speaks, and another one is stopped for it
        ("ncl_lightning: b.png: damaged\nncl_lightning: stopped by SIGTERM; …\n", "b.png: damaged"),
        ("ncl_lightning: stopped by SIGTERM; …\nChildFailedError: [Fail]\n", "stopped by SIGTERM; …"),
        ("", ""),
    ],
)
def test_the_line_that_tells_why(output: str, line: str) -> None:
    assert telling_line(output) == line


def test_what_a_run_says_is_shown_while_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ncl_lightning.child_process._EVERY", 0.02)
    code = "import sys, time\nfor line in ('one', 'two é\\n'): print(line, flush=True); time.sleep(1)\nsys.exit('why')"
    log, said = tmp_path / "log.txt", list[str]()
    log.write_text("of an earlier run\n")
    reason = run_logged([sys.executable, "-c", code], log, variables={"PYTHONUTF8": "1"}, show=said.append)
    assert reason == "why"
    shown = list(dict.fromkeys(said))
    assert shown[shown.index("one") :][:2] == ["one", "two é"]
    # nothing said yet
    assert {"of an earlier run"}.isdisjoint(shown)
    assert log.read_text("utf-8").startswith("of an earlier run\n$ ")


def test_a_config_that_would_undo_what_is_swept_is_refused(tmp_path: Path, sweep: Path) -> None:
    """Of options and config files the later one wins: four runs of two seeds would be two."""
    content = yaml.safe_load(sweep.read_text())
    (tmp_path / "switch.yaml").write_text("{seed_everything: 0, model: {lambda_ncl: 0.3}}")
    with pytest.raises(InputError, match=r"switch\.yaml sets seed_everything"):
        expand(sweep)
    content["parameters"] = {"config": content["parameters"].pop("config"), **content["parameters"]}
    sweep.write_text(yaml.safe_dump(content, sort_keys=False))
    assert len(expand(sweep)) == 4
    # a config may hold comments alone
    (tmp_path / "plain.yaml").write_text("# the defaults")
    assert len(expand(sweep)) == 4
    (tmp_path / "plain.yaml").write_text("[a, list]")
    with pytest.raises(InputError, match=r"plain\.yaml: no mapping"):
        expand(sweep)
    (tmp_path / "plain.yaml").unlink()
    with pytest.raises(InputError, match=r"plain\.yaml: no such config file"):
        expand(sweep)
    (tmp_path / "plain.yaml").write_text("")
    content["parameters"] = {"model": {"value": {"lambda_ncl": 1.0}}, **content["parameters"]}
    sweep.write_text(yaml.safe_dump(content, sort_keys=False))
    with pytest.raises(InputError, match=r"sets model\.lambda_ncl"):
        expand(sweep)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"method": "bayes"}, "grid"),
        ({"command": ["python", "fit"]}, "args"),
        ({"parameters": {"model.lr": {"min": 0.1, "max": 1}}}, "model.lr"),
        ({"parameters": {"model.lr": {"values": []}}}, "not empty"),
        ({"parameters": {"model.lr": {"values": 3}}}, "not empty"),
        ({"parameters": [1]}, "NAME"),
        ({"parameters": {5: {"values": [1, 2]}}, "command": 5}, "args"),
        (
            {
                "parameters": {"model.lr": {"values": [0.1, 0.2]}},
                "command": ["fit", "${args}", "--model.lr", "0.3"],
            },
            r"--model\.lr comes after",
        ),
    ],
)
def test_what_is_no_grid_is_refused(sweep: Path, change: dict[str, object], words: str) -> None:
    sweep.write_text(yaml.safe_dump(yaml.safe_load(sweep.read_text()) | change))
    with pytest.raises(InputError, match=words):
        expand(sweep)
    with pytest.raises(InputError, match="no such file"):
        expand(sweep.with_name("absent.yaml"))


def test_an_arm_of_many_words_has_a_folder(sweep: Path) -> None:
    content = yaml.safe_load(sweep.read_text())
    content["parameters"] = {"data.train": {"values": [[{"source": f"{'x' * 300}{n}"}] for n in range(2)]}}
    content["command"] = ["fit", "${args}"]
    sweep.write_text(yaml.safe_dump(content))
    names = [run.name for run in expand(sweep)]
    assert len(set(names)) == 2
    assert max(map(len, names)) < 200


def test_two_runs_never_share_a_folder(tmp_path: Path, sweep: Path) -> None:
    content = yaml.safe_load(sweep.read_text())
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "plain.yaml").write_text("model: {lambda_ncl: 0.0}\n")
    content["parameters"]["config"]["values"].append(str(tmp_path / "more" / "plain.yaml"))
    sweep.write_text(yaml.safe_dump(content))
    with pytest.raises(InputError, match="two runs are called plain-seed0"):
        expand(sweep)


def test_a_run_of_another_process_is_left_to_it(tmp_path: Path, sweep: Path) -> None:
    content = yaml.safe_load(sweep.read_text())
    content["parameters"]["seed_everything"] = {"values": [0]}
    content["parameters"]["config"] = {"values": [str(tmp_path / "plain.yaml")]}
    sweep.write_text(yaml.safe_dump(content))
    folder = tmp_path / "out" / expand(sweep)[0].name
    folder.mkdir(parents=True)
    with FileLock(folder / "lock"):
        done = succeed("experiment", sweep, "--out", tmp_path / "out")
    assert "left to it" in done.stdout
    assert not (folder / "version_0").exists()
