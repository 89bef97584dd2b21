"""predictions.html, and what a second run does to the first one's results."""

import csv
import json
import re
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import command, make_set, shipped_run, stopped, succeed

from ncl_lightning.cli import NCLCLI
from ncl_lightning.predict_page import Predicted, preview, stands_out, write_gallery
from ncl_lightning.untouched import Untouched, untouched_of

RUN = {
    "folder": "/case <7>", "checkpoint": "/somewhere/mine.ckpt", "checkpoint_sha256": "0" * 64, "time": "2030-01-02",
    "command": "python -m ncl_lightning predict", "model": {"threshold": 0.5, "own_cut": True},
    "versions": {"torch": "9"},
}  # fmt: skip
ONE = Predicted("a<b.jpg", "a<b", 640, 480, 0.1, 0.9, None, "yes", 0, "f" * 64, "JPEG", "90", "Canon", "", "", "")
UNTOUCHED = Untouched({"cats": (0.1, 0.2, 0.3, 0.8), "dogs": (0.3, 0.4, 0.6, 0.7, 0.9)}, 640 * 480)


def page_of(tmp_path: Path, pictures: list[Predicted], shown: list[str], untouched: Untouched | None = None) -> str:
    three = [preview(np.zeros((48, 64, 3), np.uint8))] * 3
    write_gallery(tmp_path / "page.html", pictures, dict.fromkeys(shown, three), RUN, untouched)
    return (tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_preview_is_small_and_of_the_same_proportions() -> None:
    for size, wanted in {(3000, 1000, 3): (480, 160, 3), (90, 960): (45, 480), (30, 40, 3): (30, 40, 3)}.items():
        picture = np.random.default_rng(0).integers(0, 255, size, dtype=np.uint8)
        data = preview(picture)
        assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED).shape == wanted
    # red stays red
    red = preview(np.full((40, 40, 3), (250, 10, 10), np.uint8))
    assert np.abs(cv2.imdecode(np.frombuffer(red, np.uint8), 1).astype(int) - (10, 10, 250)).max() < 12


def test_pictures_beyond_those_shown_are_rows_with_links(tmp_path: Path) -> None:
    pictures = [replace(ONE, picture=f"{i}.jpg", files=f"{i}", highest=1 - i / 10) for i in range(5)]
    page = page_of(tmp_path, pictures, ["0.jpg", "1.jpg"])
    assert page.count("<figure>") == 2
    assert page.count("src=") == page.count('src="data:image/jpeg;base64,') == 6
    assert "3 more, less suspicious: the page shows the first 2" in page
    links = re.findall(r'href="([^"]+)"', page)
    assert {f"{i}_{kind}.png" for i in range(5) for kind in ("overlay", "heat", "mask")} == set(links)
    # nothing of a file's name or a folder's is HTML
    assert "/case &lt;7&gt;" in page
    assert "a&lt;b.jpg" in page_of(tmp_path, [ONE], ["a<b.jpg"])
    assert "<b.jpg" not in page_of(tmp_path, [replace(ONE, files="", note="<b.jpg")], [])


def test_a_score_stands_beside_those_of_untouched_photographs(tmp_path: Path) -> None:
    # the set where most score as high
    assert [UNTOUCHED.as_high(score) for score in (0.05, 0.3, 0.75, 0.9, 0.95)] == [1, 1, 0.25, 0.2, 0]

    def said(score: float, **other: object) -> str:
        one = replace(ONE, highest=score, untouched_as_high=UNTOUCHED.as_high(score), **other)
        return re.search(r"score 0[^<;]+(?=<br>)", page_of(tmp_path, [one], [one.picture], UNTOUCHED))[0]

    assert said(0.75) == "score 0.75: 1 of 4 untouched photographs score as high"
    assert said(0.95) == "score 0.95: none of 5 untouched photographs score as high"
    assert said(0.5) == "score 0.50: 3 of 5 untouched photographs score as high: nothing stands out"
    # what was measured is said to be of smaller ones
    assert said(0.75, width=641) == "score 0.75: 1 of 4 untouched photographs score as high (all of them smaller)"
    assert (
        said(0.75, format="GIF") == "score 0.75: 1 of 4 untouched photographs score as high (all of them saved as JPEG)"
    )
    assert said(0.75, height=999, format="PNG").endswith("(all of them smaller and saved as JPEG)")
    assert "4 cats: half score 0.25 or more; 5 dogs" in page_of(tmp_path, [ONE], [ONE.picture], UNTOUCHED)
    page = page_of(tmp_path, [ONE], [ONE.picture])
    assert "not measured with this checkpoint" in page
    assert "score as high" not in page
    assert [stands_out(0.6, None), stands_out(0.5, None), stands_out(0.9, 0.5), stands_out(0.1, 0.4)] == [
        True, False, False, True
    ]  # fmt: skip


def test_scores_of_another_checkpoint_or_by_other_options_are_compared_with_nothing() -> None:
    run = shipped_run()
    assert untouched_of(run)
    assert not untouched_of({**run, "checkpoint_sha256": "0" * 64})
    for part, key, other in (
        ("model", "copies", False),
        ("model", "second_look", None),
        ("data", "max_size", 4096),
        ("data", "eval_sizing", "resize"),
    ):
        assert not untouched_of({**run, part: {**run[part], key: other}})


def predict(trained: Path, pictures: Path, out: Path) -> list[str]:
    best = trained / "checkpoints" / "best.ckpt"
    return ["predict", f"--ckpt_path={best}", f"--data.predict={pictures}", f"--trainer.default_root_dir={out}"]


def rows_of(out: Path) -> dict[str, dict[str, str]]:
    with (out / "predictions.csv").open(newline="", encoding="utf-8") as stream:
        return {row["picture"]: row for row in csv.DictReader(stream)}


def test_results_of_two_cases_are_not_mixed(trained: Path, tmp_path: Path) -> None:
    first = make_set(tmp_path / "first", 2, seed=1) / "Tp"
    out = tmp_path / "out"
    succeed(*predict(trained, first, out))
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    # other pictures of the same names, and one that is gone: nothing is touched
    other = make_set(tmp_path / "other", 2, seed=2) / "Tp"
    fewer = Path(shutil.copytree(first, tmp_path / "fewer"))
    (fewer / "tp0.png").unlink()
    for pictures in (other, fewer):
        refused = command(*predict(trained, pictures, out))
        assert refused.returncode == 1
        assert f"{out}: holds results of other pictures (tp0" in refused.stderr
        assert "Traceback" not in refused.stderr
        assert {file.name: file.read_bytes() for file in out.iterdir()} == before
    # pictures were added, and the first run might have been killed before its list was written
    shutil.copy(other / "tp0.png", first / "tp9.png")
    succeed(*predict(trained, first, out))
    assert set(rows_of(out)) == {"tp0.png", "tp1.png", "tp9.png"}
    (out / "predictions.csv").unlink()
    (out / "tp1_mask.png").unlink()
    succeed(*predict(trained, first, out))
    assert (out / "tp1_mask.png").is_file()
    # what is replaced goes first: maps of two runs would stand beside each other where the second one is cut short
    succeed(*predict(trained, first, out), "--trainer.limit_predict_batches=1", "--data.eval_batch_size=1")
    assert [file.name for file in out.glob("*_heat.png")] == ["tp0_heat.png"]
    assert [row["note"] for row in rows_of(out).values()] == ["", *["not looked at: it was stopped"] * 2]
    # a list of the user's own
    (out / "predictions.csv").write_text("horse,odds\n")
    refused = command(*predict(trained, first, out))
    assert refused.returncode == 1
    assert "predictions.csv: no list of `predict`, and it would be overwritten" in refused.stderr
    assert (out / "predictions.csv").read_text() == "horse,odds\n"


def test_the_same_file_twice_is_said_so(trained: Path, tmp_path: Path) -> None:
    pictures = make_set(tmp_path / "set", 2, seed=1) / "Tp"
    (pictures / "sub").mkdir()
    for name in ("copy.png", "sub/again.png"):
        shutil.copy(pictures / "tp0.png", pictures / name)
    succeed(*predict(trained, pictures, tmp_path / "out"))
    assert {name: row["note"] for name, row in rows_of(tmp_path / "out").items()} == {
        "copy.png": "the same file as sub/again.png and 1 more",
        "sub/again.png": "the same file as copy.png and 1 more",
        "tp0.png": "the same file as copy.png and 1 more",
        "tp1.png": "",
    }


def test_the_page_shows_the_most_suspicious_of_many(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = make_set(tmp_path / "set", 5, seed=3) / "Tp"
    monkeypatch.setattr("ncl_lightning.predict.SHOWN", 2)
    monkeypatch.setattr("sys.argv", ["ncl_lightning", *predict(trained, pictures, tmp_path / "out")])
    NCLCLI()
    page = (tmp_path / "out" / "predictions.html").read_text(encoding="utf-8")
    order = list(rows_of(tmp_path / "out"))
    assert re.findall(r"<figcaption><b>([^<]+)</b>", page) == order[:2]
    assert re.findall(r"<tr><td>([^<]+\.png)<td>score", page) == order[2:]
    assert json.loads((tmp_path / "out" / "predictions.json").read_text())["time"] in page


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_stopped_lists_what_it_has(trained: Path, tmp_path: Path, signum: signal.Signals) -> None:
    pictures, out = make_set(tmp_path / "set", 120, seed=2) / "Tp", tmp_path / "out"
    # the second one's last file: the first one has its row by then
    told = stopped(*predict(trained, pictures, out), signum=signum, folder=out, sign="tp1_overlay.png")
    assert told.returncode == (143 if signum == signal.SIGTERM else -9)
    found = list(rows_of(out).values())
    assert len(found) == 120
    listed = {row["files"] for row in found if row["highest"]}
    assert {row["note"] for row in found if not row["highest"]} == {"not looked at: it was stopped"}
    drawn = {file.name.removesuffix("_overlay.png") for file in out.glob("*_overlay.png")}
    # the last one may have come to its pictures, and not to its row
    assert listed <= drawn
    # what is killed can't list anything, but what it began with
    assert (len(listed) > 0) == (signum == signal.SIGTERM)
    assert len(drawn) < 120
    words = f"stopped before {120 - len(listed)} of 120 pictures"
    assert json.loads((out / "predictions.json").read_text())["partial"] == words
    assert words in (out / "predictions.html").read_text(encoding="utf-8")
    # another case does not mix with it
    other = command(*predict(trained, make_set(tmp_path / "other", 1, seed=9) / "Tp", out))
    assert other.returncode == 1
    assert "holds results of other pictures" in other.stderr
    if signum == signal.SIGTERM:
        succeed(*predict(trained, pictures, out))
        assert len(rows_of(out)) == 120
        assert "partial" not in json.loads((out / "predictions.json").read_text())


def test_names_are_no_formulas_and_say_what_their_files_are(trained: Path, tmp_path: Path) -> None:
    pictures, out = make_set(tmp_path / "set", 2, seed=1) / "Tp", tmp_path / "out"
    (pictures / "tp0.png").rename(pictures / "=1+1.png")
    cv2.imwrite(str(tmp_path / "x.jpg"), cv2.imread(str(pictures / "tp1.png")))
    (tmp_path / "x.jpg").rename(pictures / "tp1.png")
    (pictures / "IMG_0001").write_bytes(b"")
    # a second time, too: its own list is read
    for _ in range(2):
        succeed(*predict(trained, pictures, out))
    rows = rows_of(out)
    assert set(rows) == {"./=1+1.png", "tp1.png", "IMG_0001"}
    assert rows["./=1+1.png"]["files"] == "./=1+1"
    assert (out / "=1+1_heat.png").is_file()
    assert rows["tp1.png"]["note"] == "a JPEG file by its content"
    assert rows["IMG_0001"]["note"] == "left out: no suffix; name the file itself to have it read"
    for row in rows.values():
        assert row["stands_out"] == (("no", "yes")[float(row["highest"]) > 0.5] if row["highest"] else "")
