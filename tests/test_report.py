"""What `test` leaves: numbers that can be recomputed from per_image.csv, and a report that stands alone."""

import base64
import csv
import hashlib
import json
import math
import random
import re
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from conftest import ROOT, make_set, succeed
from sklearn.metrics import f1_score

from ncl_lightning.draw import heat
from ncl_lightning.per_image import KEPT, read_rows, write_rows
from ncl_lightning.report_examples import choose

MEANS = ("f1", "iou", "auc", "ap", "precision", "recall", "accuracy", "f1_permuted", "f1_best", "f1_all_tampered")


def table(folder: Path) -> list[dict[str, str]]:
    """Read by the csv module alone, not by the code under test."""
    with (folder / "per_image.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def column(rows: list[dict[str, str]], name: str) -> np.ndarray:
    return np.array([float(row[name]) if row[name] else math.nan for row in rows])


@pytest.fixture(scope="module")
def options(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    """Test options: a mixed set with a name that HTML must escape, and one of authentic pictures only."""
    root = tmp_path_factory.mktemp("sets")
    mixed = make_set(root / "mixed", 7, 2, size=(90, 110), seed=5)
    sets = {"a <b> & c": str(mixed), "authentic": str(make_set(root / "authentic", 0, 2, seed=6))}
    return ["test", f"--ckpt_path={trained / 'checkpoints' / 'best.ckpt'}", f"--data.test={json.dumps(sets)}"]


@pytest.fixture(scope="module")
def tested(options: list[object], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("one")
    done = succeed(*options, f"--trainer.default_root_dir={folder}", "--model.threshold=0.45")
    return folder, done.stdout


def test_every_mean_is_that_of_the_table(tested: tuple[Path, str]) -> None:
    folder, stdout = tested
    sets = json.loads((folder / "results.json").read_text())["sets"]
    for name, scores in sets.items():
        rows = [row for row in table(folder) if row["set"] == name]
        assert len(rows) == scores["images"]
        tampered = column(rows, "tampered") > 0
        assert tampered.sum() == scores["tampered_images"]
        for key in (*MEANS, "f1_original", "iou_original", "auc_original", "ap_original"):
            kept = column(rows, key)[tampered]
            kept = kept[~np.isnan(kept)]
            if not len(kept):
                assert scores[key] is scores[f"{key}_ci"] is None
                continue
            assert scores[key] == pytest.approx(kept.mean(), abs=1e-12)
            low, high = scores[f"{key}_ci"]
            assert kept.min() - 1e-12 <= low <= scores[key] + 1e-12
            assert scores[key] - 1e-12 <= high <= kept.max() + 1e-12
        assert scores["fpr_authentic"] == pytest.approx(column(rows, "fpr")[column(rows, "authentic") > 0].mean())
    shown = sets["a <b> & c"]
    assert f"{shown['f1']:.3f}" in stdout
    assert "{:.3f}–{:.3f}".format(*shown["f1_ci"]) in stdout


def test_results_say_what_was_tested_and_what_was_trained(tested: tuple[Path, str], trained: Path) -> None:
    run = json.loads((tested[0] / "results.json").read_text())["run"]
    config = yaml.safe_load((trained / "config.yaml").read_text())
    # this test's
    assert (run["model"]["threshold"], run["data"]["size"], run["data"]["eval_sizing"]) == (0.45, 96, "pad")
    assert not run["data"].keys() & {"train", "val", "augment", "train_sizing", "seed", "val_share", "predict"}
    # the training's
    training = run["training"]
    assert training["model"] == config["model"]
    expected = {key: value for key, value in config["data"].items() if key not in ("test", "predict")}
    # one string is one source
    assert training["data"] == expected | {"train": [expected["train"]]}
    # 7 pictures, 2 a batch, the last one dropped
    assert (training["seed"], training["epoch"], training["global_step"]) == (0, 0, 3)


def test_a_score_is_that_of_its_counts(tested: tuple[Path, str]) -> None:
    rows = [row for row in table(tested[0]) if row["tampered"] == "1"]
    for end in ("", "_original"):
        tp, fp, positives = (column(rows, key + end) for key in ("tp", "fp", "positives"))
        assert column(rows, "f1" + end) == pytest.approx(2 * tp / (tp + fp + positives), abs=1e-15)
        assert column(rows, "iou" + end) == pytest.approx(tp / (fp + positives), abs=1e-15)
    assert {(row["height"], row["width"]) for row in rows} == {("90", "110")}
    # the truth at original size is the file's
    assert set(column(rows, "positives_original")) == {30.0 * 36}
    assert sorted(row["name"] for row in rows) == [f"Tp/tp{i}.png" for i in range(7)]


def test_an_interval_is_that_of_a_slow_bootstrap(tested: tuple[Path, str]) -> None:
    scores = json.loads((tested[0] / "results.json").read_text())["sets"]["a <b> & c"]
    values = column([row for row in table(tested[0]) if row["tampered"] == "1"], "auc").tolist()
    draw = random.Random(1)
    means = sorted(sum(draw.choice(values) for _ in values) / len(values) for _ in range(4000))
    spread = float(np.std(values) / math.sqrt(len(values)))
    assert scores["auc_ci"] == pytest.approx([means[100], means[3900]], abs=0.2 * spread)


class Page(HTMLParser):
    """Tags, attributes and open elements of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for key, value in attrs if key in ("src", "href", "xlink:href", "data", "action")]


def test_the_report_stands_alone(tested: tuple[Path, str], trained: Path) -> None:
    text = (tested[0] / "report.html").read_text()
    page = Page(text)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert all(link.startswith(("#", "data:image/jpeg;base64,")) for link in page.links)
    assert "url(" not in text.replace("url(#", "")
    # four plots of the one set that has tampered images
    assert page.tags.count("svg") == 4
    pictures = [link for link in page.links if link.startswith("data:")]
    # all 7, since 4 best and 4 worst would be more, and authentic images with a false positive
    wrong = sum(row["authentic"] == "1" and float(row["fpr"]) > 0 for row in table(tested[0]))
    assert len(pictures) == 4 * (7 + wrong)
    for link in pictures:
        data = np.frombuffer(base64.b64decode(link.split(",")[1]), np.uint8)
        assert max(cv2.imdecode(data, cv2.IMREAD_COLOR).shape[:2]) == 300
    assert "a &lt;b&gt; &amp; c" in text
    assert "<b> & c" not in text
    assert hashlib.sha256((trained / "checkpoints" / "best.ckpt").read_bytes()).hexdigest() in text
    assert "eval_sizing: pad" in text  # of the run's config.yaml
    scores = json.loads((tested[0] / "results.json").read_text())["sets"]["a <b> & c"]
    assert f"<b>{scores['f1']:.3f}</b>" in text
    # 7 tampered and 2 authentic; of the set of authentic images alone there is nothing to say
    calling_all = f1_score([1] * 7 + [0] * 2, [1] * 9)
    assert text.count("Calling every image tampered") == 1
    assert f"Calling every image tampered: F1 {calling_all:.3f}, accuracy 0.778." in text
    assert text.count("too narrow for as few as 7") == 1


def test_two_processes_leave_the_same(tested: tuple[Path, str], options: list[object], tmp_path: Path) -> None:
    two = ["--config", ROOT / "configs" / "ddp.yaml", "--trainer.accelerator=cpu", "--trainer.devices=2"]
    succeed(*options[:1], *two, *options[1:], f"--trainer.default_root_dir={tmp_path}", "--model.threshold=0.45")
    one = table(tested[0])
    for row, other in zip(one, table(tmp_path), strict=True):
        assert [row[key] for key in ("set", "index", "name")] == [other[key] for key in ("set", "index", "name")]
        for key in ("f1", "iou", "auc", "f1_original", "auc_original", "score"):
            assert column([row], key) == pytest.approx(column([other], key), abs=1e-6, nan_ok=True)
    first, second = ((folder / "report.html").read_text() for folder in (tested[0], tmp_path))
    shown = r"<div class=example><p><b>([^<]*)</b>"
    assert re.findall(shown, first) == re.findall(shown, second)
    assert second.count("data:image/jpeg") == first.count("data:image/jpeg")
    assert {p.name for p in tmp_path.iterdir()} == {"results.json", "per_image.csv", "report.html"}


def test_the_chosen_are_the_best_and_the_worst() -> None:
    rows = [
        {"index": i, "tampered": 1, "authentic": 0, "f1": f1, "auc": auc, "fpr": 0.0}
        for i, (f1, auc) in enumerate([(0.5, 0.9), (0.0, 0.2), (0.9, 0.9), (0.0, 0.6), (0.7, None)])
    ]
    rows += [{"index": 5 + i, "tampered": 0, "authentic": 1, "f1": None, "fpr": fpr} for i, fpr in enumerate([0.1, 0])]
    chosen = {title: [row["index"] for row in group] for title, group in choose(rows, 2).items()}
    assert chosen == {"Best": [2, 4], "Worst": [1, 3], "Authentic images called tampered": [5]}
    # none is shown twice
    for tampered, count in ((3, 4), (3, 2), (4, 2)):
        few = choose(rows[:tampered], count)
        shown = [[row["index"] for row in group] for group in few.values()]
        assert shown == [[index for index in (2, 0, 3, 1) if index < tampered]]
    assert choose([], 4) == {}
    assert list(choose(rows, 0)) == []


def test_the_report_says_what_its_colours_mean(tested: tuple[Path, str]) -> None:
    text = (tested[0] / "report.html").read_text()
    legend = re.findall(r"<p class='soft legend'>.*?</p>", text)[0]
    assert "above 0.45" in legend
    stops = [tuple(map(int, stop)) for stop in re.findall(r"rgb\((\d+),(\d+),(\d+)\)", legend)]
    # the colours of the heat maps themselves, from 0 to 1
    assert [stops[0], stops[len(stops) // 2], stops[-1]] == [
        tuple(heat(np.array([[value]]))[0, 0].tolist()) for value in (0, 0.5, 1)
    ]
    assert text.index(legend) < text.index("data:image/jpeg")


def test_the_report_fits_phones_and_paper(tested: tuple[Path, str]) -> None:
    (style,) = re.findall(r"<style>(.*?)</style>", (tested[0] / "report.html").read_text())
    # columns that are wider than the screen would be cut off
    assert not re.findall(r"minmax\(\d\d\dpx", style)
    (printed,) = re.findall(r"@media print\{((?:[^{}]*\{[^{}]*\})*)\}", style)
    kept = re.findall(r"([^{}]+)\{break-inside:avoid\}", printed)[0].split(",")
    assert {"figure", "tr", ".example"} <= set(kept)


def test_rows_survive_the_file(tmp_path: Path) -> None:
    rows = [{"set": "1", "name": 'x,"y"\nz', "index": 3, "f1": 0.1 + 0.2, "auc": None}]
    write_rows(tmp_path / "sub" / "a.csv", rows)
    assert read_rows(tmp_path / "sub" / "a.csv") == rows
    assert len(set(KEPT)) == len(KEPT)
