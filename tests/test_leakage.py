"""Nothing is scored that was trained or selected on: units, then the command line."""

import json
from pathlib import Path

import cv2
import pytest
import torch
from conftest import TINY, command, make_set, succeed

from ncl_lightning.data import ManipulationDataModule
from ncl_lightning.errors import InputError
from ncl_lightning.leakage import LeakageGuard, source_prints
from ncl_lightning.sources import open_source

GUARDED = [option for option in TINY if "leakage" not in option]


def copies(folder: Path, out: Path, count: int) -> Path:
    """Some tampered pictures of a set, at another size and recompressed, with masks, among others."""
    make_set(out, 3, 1, seed=99)
    for image in sorted((folder / "Tp").iterdir())[:count]:
        for side, suffix in (("Tp", ".jpg"), ("Gt", ".png")):
            picture = cv2.resize(cv2.imread(str(folder / side / image.name)), (100, 90), interpolation=cv2.INTER_AREA)
            name = str(out / side / f"copy_{image.stem}{suffix}")
            cv2.imwrite(name, picture, [cv2.IMWRITE_JPEG_QUALITY, 80] if side == "Tp" else [])
    return out


def test_copies_are_refused_by_name_and_others_are_not(tmp_path: Path) -> None:
    train = make_set(tmp_path / "train", 6, 2)
    guard = LeakageGuard()
    guard.remember("train", [open_source(str(train))])
    guard.check("others", [open_source(str(make_set(tmp_path / "others", 5, seed=1)))])
    source = open_source(str(copies(train, tmp_path / "copies", 2)))
    with pytest.raises(InputError, match=r"2 of 6 .* trained on: .*copy_tp0\.jpg, .*copy_tp1\.jpg; ") as raised:
        guard.check("copies", [source])
    assert "tp5" not in raised.value.line
    # selected on is not trained on
    guard.check("copies", [source], against=["val"])


def test_a_warning_is_kept_and_ignoring_looks_at_nothing(tmp_path: Path) -> None:
    source = open_source(str(make_set(tmp_path / "set", 2, 1)))
    for action, found in (("warn", 3), ("ignore", 0)):
        guard = LeakageGuard(action)
        guard.remember("val", [source])
        guard.check("set", [source])
        assert len(guard.found.get("set", [])) == found
        # the memory is there all the same
        assert len(guard.seen["val"]) == 3


def test_the_memory_is_plain_tensors_and_adds_up(tmp_path: Path) -> None:
    guard = LeakageGuard()
    guard.remember("train", [open_source(str(make_set(tmp_path / "a", 3)))])
    torch.save(guard.state_dict(), tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert state["train"]["thumbs"].dtype == torch.uint8
    again = LeakageGuard()
    again.remember("train", [open_source(str(make_set(tmp_path / "b", 2, seed=1)))])
    for _ in range(2):
        # once is as good as twice
        again.load_state_dict(state)
    assert len(again.seen["train"]) == 5


def test_photographs_behind_synthesis_count_and_made_up_pictures_do_not(tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set", 0, 4)
    names, prints = source_prints([open_source(f"synthetic:{folder / 'Au'}:9"), open_source("synthetic:5")])
    assert len(names) == len(prints) == 4
    with pytest.raises(InputError, match=r"data\.val: 4 of 4"):
        ManipulationDataModule([f"synthetic:{folder / 'Au'}"], str(folder), size=64, batch_size=2).setup("fit")
    ManipulationDataModule(["synthetic:4"], "synthetic:4", size=64, batch_size=2).setup("fit")


def test_unreadable_files_are_left_to_the_loader(tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set", 3)
    (folder / "Tp" / "tp1.png").write_bytes(b"")
    assert len(source_prints([open_source(str(folder))])[0]) == 2


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on twelve pictures, selected on two others."""
    root = tmp_path_factory.mktemp("leakage")
    train, val = make_set(root / "train", 12, 2), make_set(root / "val", 2, seed=5)
    options = [f"--data.train=[{train}]", f"--data.val={val}", "--panels.count=0"]
    succeed("fit", *GUARDED, *options, f"--trainer.default_root_dir={root / 'runs'}")
    copies(train, root / "copies", 10)
    return root


def test_fit_refuses_to_select_on_what_it_trains_on(run: Path) -> None:
    options = [f"--data.train=[{run / 'train'}]", f"--data.val={run / 'train'}"]
    done = command("fit", *GUARDED, *options, f"--trainer.default_root_dir={run / 'other'}")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "tp0.png" in done.stderr
    assert not (run / "other").exists()


def test_test_refuses_copies_and_names_them(run: Path) -> None:
    best = run / "runs" / "version_0" / "checkpoints" / "best.ckpt"
    sets = json.dumps({"mine": str(run / "copies")})
    options = ["test", f"--ckpt_path={best}", f"--data.test={sets}", f"--trainer.default_root_dir={run / 'out'}"]
    done = command(*options)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert all(f"copy_tp{number}.jpg" in done.stderr for number in (0, 1, 7)), done.stderr
    assert "10 of 14" in done.stderr
    assert not (run / "out" / "results.json").exists()
    succeed(*options, "--data.leakage=warn")
    found = json.loads((run / "out" / "results.json").read_text())["run"]["leakage"]
    assert [len(files) for files in found.values()] == [10]


def test_a_run_that_resumes_or_starts_warm_keeps_the_memory(run: Path) -> None:
    last = run / "runs" / "version_0" / "checkpoints" / "last.ckpt"
    other = make_set(run / "more", 3, seed=8)
    options = ["fit", *GUARDED, f"--data.train=[{other}]", f"--data.val={run / 'val'}", "--panels.count=0"]
    succeed(*options, f"--model.warm_start={last}", f"--trainer.default_root_dir={run / 'warm'}")
    stored = torch.load(run / "warm" / "version_0" / "checkpoints" / "last.ckpt", weights_only=True)
    assert len(stored["ManipulationDataModule"]["train"]["thumbs"]) == 14 + 3
    assert len(stored["ManipulationDataModule"]["val"]["thumbs"]) == 2
