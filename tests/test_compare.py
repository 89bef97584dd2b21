"""`compare`: pairs by set and name, differences as a slow bootstrap finds them, one line where it can't."""

import csv
import json
import re
import shutil
import statistics
from pathlib import Path

import numpy as np
import pytest
from conftest import command, make_set, succeed

from ncl_lightning.compare import show
from ncl_lightning.errors import InputError
from ncl_lightning.pairing import SCORES, Arm, compare, load, pair
from ncl_lightning.per_image import Row, read_rows, write_rows


def result(folder: Path, f1: list[float | None], offset: float = 0.0, name: str = "set") -> Path:
    """A made-up result: tampered images with these F1, and ten authentic ones."""
    rows: list[Row] = []
    for i, value in enumerate([*f1, *[None] * 10]):
        tampered = int(i < len(f1))
        shared = {"set": name, "index": i, "name": f"{i}.png", "height": 9, "width": 8}
        scores = dict.fromkeys(("f1", "iou", "auc", "ap"), value) | {"fpr": 0.25 + offset}
        row = shared | {"tampered": tampered, "authentic": 1 - tampered} | scores
        row |= {f"{key}_original": row[key] for key in ("tampered", "f1", "iou", "auc", "ap")}
        rows.append(row | {"positives_original": 7 * tampered, "negatives_original": 72 - 7 * tampered})
    write_rows(folder / "per_image.csv", rows)
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
    assert len(compare([a, steady, unsteady])) == 3 * 9
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
    assert len(rows) == 9
    assert all(len(line) <= 80 for line in text.splitlines())
    # no dots but those between the ends of an interval
    assert text.count("…") == 9
    assert all(re.search(r" \+0\.\d{3} \+0\.\d{3}…\+0\.\d{3} (\w+) *$", line) for line in rows)
    assert all(name in text for name in (*names, *SCORES))
    # folded, where it must be
    width = text[: text.index("score")].rpartition("\n")[2]
    assert "a_set_of_composites" in "".join(line[: len(width)].strip() for line in text.splitlines())
    verdicts = [line.split()[-1] for line in rows]
    better = [names[1] if len(names[1]) <= 8 else "B", names[0] if len(names[1]) <= 8 else "A"]
    assert verdicts == [better[0]] * 8 + [better[1]]


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
