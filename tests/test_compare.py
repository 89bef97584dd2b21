"""`compare`: pairs by set and name, differences as a slow bootstrap finds them, one line where it can't."""

import csv
import hashlib
import json
import os
import re
import shutil
import statistics
from pathlib import Path

import numpy as np
import pytest
from conftest import command, make_set, succeed

from ncl_lightning.compare import show
from ncl_lightning.errors import InputError
from ncl_lightning.find_result import find_result, newest_result, run_of, settings
from ncl_lightning.options import cut, differing, short_names, text
from ncl_lightning.paired_results import SCORES, Arm, compare, load, pair
from ncl_lightning.per_image import Row, read_rows, write_rows


def result(folder: Path, f1: list[float | None], offset: float = 0.0, name: str = "set") -> Path:
    """A made-up result: tampered images with these F1, and ten authentic ones."""
    rows: list[Row] = []
    for i, value in enumerate([*f1, *[None] * 10]):
        tampered = int(i < len(f1))
        shared = {"set": name, "index": i, "name": f"{i}.png", "height": 9, "width": 8}
        scores = dict.fromkeys(("f1", "f1_val", "iou", "auc", "ap"), value) | {"fpr": 0.25 + offset}
        row = shared | {"tampered": tampered, "authentic": 1 - tampered} | scores
        row |= {f"{key}_original": row[key] for key in ("tampered", "f1", "iou", "auc", "ap")}
        rows.append(row | {"positives_original": 7 * tampered, "negatives_original": 72 - 7 * tampered})
    write_rows(folder / "per_image.csv", rows)
    return folder


def run_with_test(run: Path, f1: list[float | None], ckpt: str = "best", hour: int = 0, **training: object) -> Path:
    """A made-up run with two checkpoints, and a test of one of them."""
    for name in ("best", "last"):
        (run / "checkpoints").mkdir(parents=True, exist_ok=True)
        (run / "checkpoints" / f"{name}.ckpt").write_text(f"{name} of {run}")
    file = run / "checkpoints" / f"{ckpt}.ckpt"
    folder = result(file.parent / f"test-2026-05-01_{hour:02}-00-00-000", f1)
    about = {
        "checkpoint": str(file),
        "checkpoint_sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "time": f"2026-05-01T{hour:02}:00:00+0000",
        "model": {"lambda_ncl": 9, "threshold": 0.5},
        "data": {"size": 64, "train": None},
        "training": {"model": training, "data": {"size": 32, "train": ["a"]}, "seed": training.pop("seed", None)},
    }
    (folder / "results.json").write_text(json.dumps({"sets": {}, "run": about}))
    return folder


def arm(name: str, *folders: Path) -> Arm:
    return Arm(name, [load(folder) for folder in folders])


def only(found: list[dict[str, object]], score: str) -> dict[str, object]:
    (one,) = [one for one in found if one["score"] == score]
    return one


def test_a_small_steady_difference_holds_and_a_large_unsteady_one_does_not(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    hard = rng.random(40) * 0.8
    a = arm("a", result(tmp_path / "a", hard.tolist()))
    steady = arm("steady", result(tmp_path / "b", (hard + 0.02 + 0.01 * rng.random(40)).tolist(), offset=0.01))
    unsteady = arm("unsteady", result(tmp_path / "c", rng.permutation(hard + 0.04).tolist()))
    one = only(compare([a, steady]), "f1")
    assert one["holds"]
    assert one["better"] == "steady"
    assert one["images"] == 40
    assert one["difference"] == pytest.approx(one["mean_b"] - one["mean_a"])
    other = only(compare([a, unsteady]), "f1")
    assert other["difference"] > one["difference"]
    assert not other["holds"]
    assert other["better"] is None
    # fewer false positives are better
    assert only(compare([a, steady]), "fpr_authentic")["better"] == "a"
    # all pairs of three arms
    assert len(compare([a, steady, unsteady])) == 3 * len(SCORES)
    assert not any(one["holds"] for one in compare([a, Arm("again", a.runs)]))


def test_few_images_hold_nothing(tmp_path: Path) -> None:
    """Nine of nine better is one chance in 256, but a bootstrap of two or four sees certainty in less than that."""
    a, b = (arm(name, result(tmp_path / name, [value] * 9)) for name, value in (("a", 0.2), ("b", 0.9)))
    assert not only(compare([a, b]), "f1")["holds"]
    a, b = (arm(name, result(tmp_path / name, [value] * 10)) for name, value in (("c", 0.2), ("d", 0.9)))
    assert only(compare([a, b]), "f1")["holds"]


def test_the_interval_is_that_of_a_slow_bootstrap_over_pairs(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    x = rng.random(25).tolist()
    y: list[float | None] = rng.random(25).tolist()
    y[3] = None  # undefined in one: left out of both
    one = only(compare([arm("x", result(tmp_path / "x", x)), arm("y", result(tmp_path / "y", y))]), "f1")
    differences = [b - a for a, b in zip(x, y, strict=True) if b is not None]
    assert one["images"] == 24
    assert one["difference"] == pytest.approx(statistics.fmean(differences))
    draws = np.random.default_rng(2)
    means = sorted(statistics.fmean(draws.choice(differences, 24).tolist()) for _ in range(4000))
    spread = statistics.stdev(differences) / 24**0.5
    assert [one["low"], one["high"]] == pytest.approx([means[100], means[3900]], abs=0.2 * spread)


def test_seeds_of_an_arm_are_averaged_image_by_image(tmp_path: Path) -> None:
    seeds = [result(tmp_path / f"s{i}", f1) for i, f1 in enumerate([[0.1, 0.5, 0.9], [0.3, 0.7, 0.5]])]
    other = result(tmp_path / "o", [0.1, 0.6, 0.5])
    one = only(compare([arm("other", other), arm("seeds", *seeds)]), "f1")
    assert one["mean_b"] == pytest.approx((0.2 + 0.6 + 0.7) / 3)
    assert one["runs_b"] == pytest.approx([0.5, 0.5])
    assert one["difference"] == pytest.approx((0.1 + 0.0 + 0.2) / 3)


def test_images_are_paired_by_name_in_any_order(tmp_path: Path) -> None:
    first = result(tmp_path / "a", [0.1, 0.9])
    shutil.copytree(first, tmp_path / "b")
    with (first / "per_image.csv").open() as stream:
        head, *lines = stream.readlines()
    (tmp_path / "b" / "per_image.csv").write_text(head + "".join(reversed(lines)))
    one = only(compare([arm("a", first), arm("b", tmp_path / "b" / "results.json")]), "f1")
    assert (one["difference"], one["low"], one["high"]) == (0, 0, 0)


def test_a_score_that_an_older_result_lacks_is_left_out(tmp_path: Path) -> None:
    new, old = result(tmp_path / "new", [0.1, 0.9]), tmp_path / "old.csv"
    rows = read_rows(new / "per_image.csv")
    write_rows(old, [{key: value for key, value in row.items() if not key.startswith("ap")} for row in rows])
    scores = [one["score"] for one in compare([arm("new", new), arm("old", old)])]
    assert scores == [score for score in SCORES if not score.startswith("ap")]


def test_other_images_or_masks_are_one_line(tmp_path: Path) -> None:
    a, b = result(tmp_path / "a", [0.1, 0.9, 0.3]), result(tmp_path / "b", [0.1, 0.9])
    with pytest.raises(InputError, match="12 match by name of 13 in a and 12 in b"):
        pair([arm("a", a), arm("b", b)])
    with pytest.raises(InputError, match="no test set is in all"):
        pair([arm("a", a), arm("c", result(tmp_path / "c", [0.1, 0.9, 0.3], name="another"))])
    text = (a / "per_image.csv").read_text()
    (tmp_path / "d.csv").write_text(text.replace(",7,65\n", ",8,64\n", 1))
    with pytest.raises(InputError, match="1 of 13 images have another size or mask"):
        pair([arm("a", a), arm("d", tmp_path / "d.csv")])
    with pytest.raises(InputError, match="missing"):
        load(tmp_path / "nowhere")
    (tmp_path / "e.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="no column"):
        load(tmp_path / "e.csv")


def test_the_command_compares_what_test_wrote(trained: Path, tmp_path: Path) -> None:
    data = make_set(tmp_path / "data", 4, 1, seed=9)
    for folder, threshold in (("a", 0.5), ("b", 0.0)):
        succeed(
            "test",
            f"--ckpt_path={trained / 'checkpoints' / 'best.ckpt'}",
            f"--data.test={json.dumps({'mine': str(data)})}",
            f"--trainer.default_root_dir={tmp_path / folder}",
            f"--model.threshold={threshold}",
        )
    done = succeed("compare", tmp_path / "a", tmp_path / "b" / "results.json", "--json", tmp_path / "out.json")
    assert "mine" in done.stdout
    found = json.loads((tmp_path / "out.json").read_text())["comparisons"]
    assert {one["score"] for one in found} >= {"f1", "auc_original", "ap_original", "fpr_authentic"}
    # the threshold does not move the areas
    assert only(found, "auc")["difference"] == only(found, "ap")["difference"] == 0
    with (tmp_path / "b" / "per_image.csv").open(newline="") as stream:
        f1 = [float(row["f1"]) for row in csv.DictReader(stream) if row["tampered"] == "1"]
    assert only(found, "f1")["mean_b"] == pytest.approx(np.mean(f1))
    assert only(found, "f1")["mean_b"] == pytest.approx(
        json.loads((tmp_path / "b" / "results.json").read_text())["sets"]["mine"]["f1"], abs=1e-12
    )
    # two results as seeds of one arm, beside a third: the arm's mean is theirs, image by image
    groups = [f"--group=both={tmp_path / 'a'},{tmp_path / 'b'}", f"--group=one={tmp_path / 'b'}"]
    done = succeed("compare", *groups, "--json", tmp_path / "groups.json")
    assert "one − both" in done.stdout
    grouped = json.loads((tmp_path / "groups.json").read_text())["comparisons"]
    for one in grouped:
        pair_of = only(found, one["score"])
        assert (one["a"], one["b"]) == ("both", "one")
        assert one["runs_a"] == pytest.approx([pair_of["mean_a"], pair_of["mean_b"]])
        assert one["difference"] == pytest.approx(pair_of["difference"] / 2)
    assert {one["score"] for one in grouped} == {one["score"] for one in found}


def test_a_run_or_a_checkpoint_means_its_newest_test(tmp_path: Path) -> None:
    run = tmp_path / "version_3"
    run_with_test(run, [0.1], "best", hour=23)
    # of another day's hour, but written before
    newest = run_with_test(run, [0.3], "best", hour=9)
    about = json.loads((newest / "results.json").read_text())
    about["run"]["time"] = "2026-05-02T09:00:00+0000"
    (newest / "results.json").write_text(json.dumps(about))
    of_last = run_with_test(run, [0.2], "last", hour=1)
    # killed before it was whole
    result(run / "checkpoints" / "test-2026-06-01_00-00-00-000", [0.9])
    assert find_result(run) == newest
    assert find_result(run / "checkpoints" / "best.ckpt") == newest
    assert find_result(run / "checkpoints" / "last.ckpt") == of_last
    assert find_result(newest) == find_result(newest / "results.json") == newest
    assert run_of(newest) == run
    # that run went on
    (run / "checkpoints" / "last.ckpt").write_text("another")
    with pytest.raises(InputError, match=r"test --ckpt_path \S*last.ckpt --data.test"):
        find_result(run / "checkpoints" / "last.ckpt")
    # where `experiment` has it; a test of another run is not this one's
    beside = tmp_path / "arm" / "version_0"
    shutil.copytree(run_with_test(beside, [0.4]), tmp_path / "arm" / "test")
    shutil.rmtree(beside / "checkpoints" / of_last.parent.name, ignore_errors=True)
    shutil.rmtree(next(beside.glob("checkpoints/test-*")))
    assert newest_result(beside) == find_result(tmp_path / "arm") == tmp_path / "arm" / "test"
    assert run_of(tmp_path / "arm" / "test") == tmp_path / "arm"
    (tmp_path / "arm" / "version_1").mkdir()
    assert newest_result(tmp_path / "arm" / "version_1") is None
    # nor one of a run of that name elsewhere
    (tmp_path / "other" / "version_0").mkdir(parents=True)
    shutil.copytree(tmp_path / "arm" / "test", tmp_path / "other" / "test")
    assert newest_result(tmp_path / "other" / "version_0") is None


def test_results_are_called_by_their_runs_and_what_they_differ_in(tmp_path: Path) -> None:
    few: list[float | None] = [0.2, 0.2, 0.3, 0.4]
    run_with_test(tmp_path / "runs" / "version_0", few, lambda_ncl=0.0, lr=0.1, seed=0)
    run_with_test(tmp_path / "runs" / "version_1", [0.9] * 4, "last", lambda_ncl=0.3, lr=0.1, seed=0)
    # what `last` means: the newest
    for number in (0, 1):
        config = tmp_path / "runs" / f"version_{number}" / "config.yaml"
        config.write_text("")
        os.utime(config, (number, number))
    done = succeed("compare", "runs/version_0", "last", "--json=out.json", cwd=tmp_path, COLUMNS="80")
    assert "  A: runs/version_0, lambda_ncl 0.0, checkpoint best.ckpt\n" in done.stdout
    assert "  B: runs/version_1, lambda_ncl 0.3, checkpoint last.ckpt\n" in done.stdout
    # steady, but of four
    assert "too few images" in done.stdout
    assert "(4 < 10)" in done.stdout
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["arms"]["runs/version_1"]["differs"] == "lambda_ncl 0.3, checkpoint last.ckpt"
    assert {one["a"] for one in found["comparisons"]} == {"runs/version_0"}
    # of two tests of one run the folders' names
    run_with_test(tmp_path / "runs" / "version_1", few, "best", hour=1, lambda_ncl=0.3, lr=0.1, seed=0)
    folders = sorted(str(folder) for folder in (tmp_path / "runs" / "version_1" / "checkpoints").glob("test-*"))
    done = succeed("compare", *folders, cwd=tmp_path)
    assert "A: test-2026-05-01_00-00-00-000, checkpoint last.ckpt" in done.stdout
    # not tested
    shutil.rmtree(folders[0])
    done = command("compare", "runs/version_0", "last", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == (
        "ncl_lightning: runs/version_1/checkpoints/last.ckpt: no test of this very file, as it is now, beside its "
        "checkpoint; type: python -m ncl_lightning test --ckpt_path runs/version_1/checkpoints/last.ckpt "
        '--data.test \'{"NAME": "SOURCE"}\' (or give the folder that `test` wrote)\n'
    )


def test_groups_of_the_same_seeds_are_compared_seed_by_seed(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    luck = {3: 0.0, 1: 0.3}
    hard = rng.random(30) * 0.4
    for name, gain in (("a", 0.0), ("b", 0.05)):
        for seed, offset in luck.items():
            run_with_test(tmp_path / f"{name}{seed}", (hard + offset + gain).tolist(), seed=seed, lambda_ncl=gain)
    # in whichever order they are given
    words = ["--group=a=a1,a3", "--group=b=b3,b1", "--json=out.json"]
    done = succeed("compare", *words, cwd=tmp_path, COLUMNS="300")
    assert "seed by seed" in done.stdout
    assert "at most about 5 % would by chance" in done.stdout
    assert "a: lambda_ncl 0.0\n" in done.stdout
    found = json.loads((tmp_path / "out.json").read_text())["comparisons"]
    assert all(one["seeds_paired"] for one in found)
    # luck is common to both
    one = only(found, "f1")
    assert (one["low"], one["high"]) == pytest.approx((0.05, 0.05))
    shutil.rmtree(tmp_path / "b1")
    run_with_test(tmp_path / "b1", (hard + 0.35).tolist(), seed=2, lambda_ncl=0.05)
    done = succeed("compare", *words, cwd=tmp_path)
    assert "seed by seed" not in done.stdout
    assert "seed 1, 3" in done.stdout
    assert not any(one["seeds_paired"] for one in json.loads((tmp_path / "out.json").read_text())["comparisons"])


def test_a_score_that_original_size_would_repeat_is_left_out(tmp_path: Path) -> None:
    for name, f1 in (("a", [0.2, 0.3] * 5), ("b", [0.9, 0.8] * 5)):
        rows = read_rows(result(tmp_path / name, [*f1]) / "per_image.csv")
        for row in rows:
            row |= {kind: row[f"{kind}_original"] for kind in ("positives", "negatives")}
        write_rows(tmp_path / name / "per_image.csv", rows)
    done = succeed("compare", "a", "b", "--json=out.json", cwd=tmp_path)
    assert not re.search(r"(f1|iou|auc|ap)_original", done.stdout)
    assert "set: scored at the pictures' own size, so `…_original` would be the same: left out." in done.stdout
    assert "5 of 6 differences hold" in done.stdout
    # for scripts it is all there
    assert {one["score"] for one in json.loads((tmp_path / "out.json").read_text())["comparisons"]} == set(SCORES)
    # one picture of another size
    rows = read_rows(tmp_path / "a" / "per_image.csv")
    rows[0]["negatives"] = 1
    write_rows(tmp_path / "a" / "per_image.csv", rows)
    done = succeed("compare", "a", "b", cwd=tmp_path)
    assert "f1_original" in done.stdout
    assert "left out" not in done.stdout


def test_the_options_of_a_result_are_the_training_s_and_the_test_s_own(tmp_path: Path) -> None:
    folder = run_with_test(tmp_path / "run", [0.5], lambda_ncl=0.3, seed=7)
    run = json.loads((folder / "results.json").read_text())["run"]
    assert settings(run) == {
        "model.lambda_ncl": 0.3,
        "model.threshold": 0.5,
        "data.size": 64,
        "data.train": ["a"],
        "seed": 7,
        "checkpoint": "best.ckpt",
    }
    # as an older version wrote it
    del run["training"]
    assert settings(run)["model.lambda_ncl"] == 9
    assert settings({}) == {}
    assert differing([{"a": 1, "b": [1]}, {"a": 2, "b": [1], "c": 3}, {"a": None}]) == ["a"]
    # also where a table would show the same
    long = [{"train": [*"a" * 40, end]} for end in "bc"]
    assert differing(long) == ["train"]
    assert len(cut(text(long[0]["train"]))) == 60
    assert short_names(["model.lr", "data.seed", "seed"]) == {
        "model.lr": "lr",
        "data.seed": "data.seed",
        "seed": "seed",
    }


@pytest.mark.parametrize("names", [("test-2026-05-01_10-00-00", "test-2026-05-02_10-00-00"), ("plain", "switched")])
@pytest.mark.parametrize("runs", [1, 2])
def test_names_and_verdicts_are_whole_at_80_columns(
    names: tuple[str, str],
    runs: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    a = [result(tmp_path / f"a{i}", [0.2, 0.21] * 5, name="a_set_of_composites") for i in range(runs)]
    b = [result(tmp_path / f"b{i}", [0.9, 0.91] * 5, 0.25, name="a_set_of_composites") for i in range(runs)]
    show(compare([arm(names[0], *a), arm(names[1], *b)]), 0.95)
    text = capsys.readouterr().out
    rows = [line for line in text.splitlines() if "+0." in line]
    assert len(rows) == len(SCORES)
    assert all(len(line) <= 80 for line in text.splitlines())
    # no dots but those between the ends of an interval
    assert text.count("…") == len(SCORES)
    assert all(re.search(r" \+0\.\d{3} \+0\.\d{3}…\+0\.\d{3} (\w+) *$", line) for line in rows)
    assert all(name in text for name in (*names, *SCORES))
    # folded, where it must be
    width = text[: text.index("score")].rpartition("\n")[2]
    assert "a_set_of_composites" in "".join(line[: len(width)].strip() for line in text.splitlines())
    verdicts = [line.split()[-1] for line in rows]
    # letters only where the names leave no room
    better = [names[1], names[0]] if text.splitlines()[0].startswith(names[1]) else ["B", "A"]
    assert (better[0] == "B") == (len(names[0]) > 12)
    assert verdicts == [better[0]] * (len(SCORES) - 1) + [better[1]]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["RESULT"], 1, "two results"),
        (["RESULT", "nowhere"], 1, "nowhere"),
        (["RESULT", "--group=x"], 1, "NAME=RUN"),
        (["RESULT", "--bogus=1"], 2, "--bogus"),
        (["RESULT", "--group=one=RESULT", "--level=2"], 1, "--level"),
    ],
)
def test_what_a_user_can_mend_is_one_line(tmp_path: Path, arguments: list[str], code: int, says: str) -> None:
    folder = str(result(tmp_path / "one", [0.5, 0.6]))
    done = command("compare", *(argument.replace("RESULT", folder) for argument in arguments))
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


FLOORS = ("f1_all_tampered", "f1_all_tampered_original", "f1_original")


def test_where_neither_beats_calling_everything_tampered_there_is_no_winner(tmp_path: Path) -> None:
    """A difference may hold between two that have learned nothing."""
    for name, lead in (("a", 0.0), ("b", 0.1)):
        folder = result(tmp_path / name, [0.1 + lead + n / 1000 for n in range(20)], name="s")
        rows = [
            row | dict(zip(FLOORS, (0.4, 0.3, row["f1"]), strict=True)) if row["tampered"] else dict.fromkeys(FLOORS)
            for row in read_rows(folder / "per_image.csv")
        ]
        write_rows(folder / "per_image.csv", rows)
    done = succeed("compare", tmp_path / "a", tmp_path / "b", "--json", tmp_path / "found.json")
    said = " ".join(done.stdout.split())
    assert "Neither is above calling everything tampered (s: f1 0.400, s: f1_val 0.400, s: auc 0.500, " in said
    found = json.loads((tmp_path / "found.json").read_text())["comparisons"]
    floors = {
        one["score"]: pytest.approx(one["floor"]) for one in found if one["score"] in ("f1", "f1_original", "auc")
    }
    assert floors == {"f1": 0.4, "f1_original": 0.3, "auc": 0.5}
