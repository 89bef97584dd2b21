"""Two real processes on a CPU give what one gives, for every arm."""

import csv
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from conftest import ROOT, TINY, command, make_set, stopped, succeed
from lightning.pytorch import Trainer

from ncl_lightning import ManipulationDataModule, NCLModule
from ncl_lightning.endings import which_was_killed

TWO = ["--config", ROOT / "configs" / "ddp.yaml", "--trainer.accelerator=cpu", "--trainer.devices=2"]
ARMS = {
    "switch": ["--model.contour_role=switch"],
    "ignore": ["--model.contour_role=ignore"],
    "tampered": ["--model.contour_role=tampered"],
    "authentic": ["--model.contour_role=authentic"],
    "no consistency": ["--model.lambda_pc=0"],
    "no contrast": ["--model.lambda_ncl=0"],
    "plain": ["--model.lambda_ncl=0", "--model.lambda_pc=0"],
}


def last_row(run: Path) -> dict[str, float]:
    with (run / "metrics.csv").open(newline="") as stream:
        out = {}
        for row in csv.DictReader(stream):
            out |= {key: float(value) for key, value in row.items() if value}
        return out


def validated(checkpoint: Path, source: Path) -> list[Mapping[str, float]]:
    data = ManipulationDataModule(val=str(source), size=64, batch_size=2, num_workers=0, leakage="ignore")
    trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False)
    return trainer.validate(NCLModule.load_from_checkpoint(checkpoint), data, verbose=False)


def test_every_arm_trains_on_two_processes(tmp_path: Path) -> None:
    """All in the same two processes, started by torchrun: to start a process takes longer than to train an arm."""
    train, val = make_set(tmp_path / "train", 12), make_set(tmp_path / "val", 4, 1)
    common = ["fit", *map(str, TWO), *TINY, f"--data.train=[{train}]", f"--data.val={val}", "--panels.count=1"]
    lines = [[*common, *options, f"--trainer.default_root_dir={tmp_path / arm}"] for arm, options in ARMS.items()]
    script = tmp_path / "arms.py"
    script.write_text(
        "import sys\nfrom ncl_lightning.__main__ import main\n"
        f"for line in {lines!r}:\n"
        "    sys.argv[1:] = line\n"
        "    assert main() == 0, line\n"
    )
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(script)]
    done = subprocess.run(launch, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "2 pictures on each of 2 processes: 4 to a step of the optimizer" in done.stderr
    for arm in ARMS:
        row = last_row(tmp_path / arm / "version_0")
        # 12 images in batches of 2 on 2 processes are 3 steps; 5 images on 2 ranks are padded to 6
        assert row["step"] == 2, arm
        assert row["val/images"] == 5, arm
    # each process's BatchNorm counts pictures of its own, but what is validated is what best.ckpt holds
    (alone,) = validated(tmp_path / "switch" / "version_0" / "checkpoints" / "best.ckpt", val)
    row = last_row(tmp_path / "switch" / "version_0")
    for name in ("val/f1", "val/auc", "val/loss", "val/ncl"):
        assert alone[name] == pytest.approx(row[name], abs=1e-5), name


def test_two_processes_give_the_numbers_of_one(trained: Path, tmp_path: Path) -> None:
    data = make_set(tmp_path / "val", 4, 1, seed=3)
    best = trained / "checkpoints" / "best.ckpt"
    common = [f"--ckpt_path={best}", f"--data.test={json.dumps({'set': str(data)})}"]
    succeed("test", *common, f"--trainer.default_root_dir={tmp_path / 'one'}", "--trainer.accelerator=cpu")
    succeed("test", *TWO, *common, f"--trainer.default_root_dir={tmp_path / 'two'}")
    one, two = (json.loads((tmp_path / n / "results.json").read_text())["sets"]["set"] for n in ("one", "two"))
    assert one.keys() == two.keys()
    for key, value in one.items():
        assert value == pytest.approx(two[key], abs=1e-6), key
    assert one["images"] == two["images"] == 5


def test_two_processes_predict_what_one_does(trained: Path, tmp_path: Path) -> None:
    pictures = make_set(tmp_path / "set", 3, seed=4) / "Tp"
    # the last one: read by the second process
    (pictures / "z.png").write_text("no picture")
    # without a folder given each process would name its own by the time
    (tmp_path / "checkpoints").mkdir()
    checkpoint = shutil.copy(trained / "checkpoints" / "best.ckpt", tmp_path / "checkpoints")
    common = [f"--ckpt_path={checkpoint}", f"--data.predict={pictures}"]
    one = command("predict", *common, f"--trainer.default_root_dir={tmp_path / 'one'}", "--trainer.accelerator=cpu")
    two = command("predict", *TWO, *common)
    (folder,) = (tmp_path / "checkpoints").glob("predict-*")
    for done in (one, two):
        assert done.returncode == 1
        assert "heat maps of 3 pictures" in done.stdout
        assert "1 skipped" in done.stdout
    names = sorted(file.name for file in (tmp_path / "one").iterdir())
    assert names == sorted(file.name for file in folder.iterdir())
    assert len(names) == 3 * 3 + 3
    # but for the command, the time and the versions above
    for name, begins in (("predictions.csv", "picture,"), ("predictions.html", "<main>")):
        one, two = ((at / name).read_text().partition(begins)[2] for at in (tmp_path / "one", folder))
        assert one == two != ""


def test_two_processes_that_are_told_to_stop_end_together(tmp_path: Path) -> None:
    """A signal to the whole group, as schedulers and containers send it, that meets the others within a collective."""
    data = make_set(tmp_path / "data", 8)
    (tmp_path / "stopper.py").write_text(
        "import os, signal\nfrom lightning.pytorch import Callback\n"
        "class Stopper(Callback):\n"
        "    def on_before_backward(self, trainer, module, loss):\n"
        "        if trainer.current_epoch == 1 and trainer.is_global_zero:\n"
        "            os.killpg(0, signal.SIGTERM)\n"
    )
    options = [*TINY, f"--data.train=[{data}]", f"--data.val={data}", "--trainer.max_epochs=3", "--panels.count=0"]
    options += ["--trainer.callbacks=[{class_path: stopper.Stopper}]", f"--trainer.default_root_dir={tmp_path}"]
    # its output ends when the last process does
    done = command("fit", *TWO, *options, fresh=True, PYTHONPATH=str(tmp_path))
    assert done.returncode == 143, done.stderr
    assert "Traceback" not in done.stderr
    last = tmp_path / "version_0" / "checkpoints" / "last.ckpt"
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("ncl_lightning: "))
    assert line.startswith("ncl_lightning: stopped by SIGTERM; ")
    assert line.endswith(f" {last}")
    assert last.is_file()


@pytest.mark.parametrize(
    ("strategy", "says"),
    [
        ("ddp", "does not match the world size (2). Give --trainer.devices 2 --trainer.num_nodes 1"),
        ("auto", "torchrun started 2 processes, of which 1 would work together. Give --trainer.devices 2"),
    ],
)
def test_torchrun_with_another_number_of_devices_is_one_line(tmp_path: Path, strategy: str, says: str) -> None:
    data = make_set(tmp_path / "set", 4)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m"]
    words = ["ncl_lightning", "fit", *TINY, f"--data.train=[{data}]", f"--data.val={data}", "--trainer.devices=1"]
    words.append(f"--trainer.strategy={strategy}")
    done = subprocess.run([*launch, *words], cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert done.returncode
    ours = [line for line in done.stderr.splitlines() if line.startswith("ncl_lightning: ")]
    assert ours
    assert says in ours[0]
    assert "ValueError" not in done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_an_error_of_the_first_process_leaves_no_other_behind(tmp_path: Path) -> None:
    """They would wait for it in the next collective, and hold their devices."""
    data = make_set(tmp_path / "data", 8)
    (tmp_path / "one_fails.py").write_text(
        "from pathlib import Path\nimport os\n"
        "from lightning.pytorch import Callback\nfrom ncl_lightning.errors import InputError\n"
        "class OneFails(Callback):\n"
        "    def on_train_batch_end(self, trainer, *_):\n"
        f"        Path({str(tmp_path)!r}, f'pid{{trainer.global_rank}}').write_text(str(os.getpid()))\n"
        "        trainer.strategy.barrier()\n"
        "        if trainer.global_rank == 0:\n            raise InputError('a file went away')\n"
        "        trainer.strategy.barrier()\n"
    )
    words = [*TINY, f"--data.train=[{data}]", f"--data.val={data}", f"--trainer.default_root_dir={tmp_path / 'runs'}"]
    done = command(
        "fit", *TWO, *words, "--trainer.callbacks=[{class_path: one_fails.OneFails}]", PYTHONPATH=str(tmp_path)
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "ncl_lightning: a file went away"
    status = Path("/proc", (tmp_path / "pid1").read_text(), "stat")
    until = time.monotonic() + 20
    # gone, or dead and not waited for
    while status.exists() and status.read_text().rpartition(") ")[2][0] != "Z":
        assert time.monotonic() < until
        time.sleep(0.1)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone ends a process with the one that started it")
def test_what_ends_the_first_process_before_training_ends_the_others(tmp_path: Path) -> None:
    """The second one still imports what it needs, and would wait for the first one."""
    data = make_set(tmp_path / "data", 8)
    # found by its folder when a process starts, before all else
    (tmp_path / "sitecustomize.py").write_text(
        f"import os\nif os.environ.get('LOCAL_RANK') == '1':\n    open({str(tmp_path / 'second')!r}, 'w').close()\n"
    )
    words = [*TINY, f"--data.train=[{data}]", f"--data.val={data}", f"--trainer.default_root_dir={tmp_path / 'runs'}"]
    # SIGKILL comes to the same
    options = {"folder": tmp_path, "sign": "second", "PYTHONPATH": str(tmp_path)}
    told = stopped("fit", *TWO, *words, signum=signal.SIGTERM, **options)
    assert told.returncode in (-signal.SIGTERM, 128 + signal.SIGTERM)


def test_an_error_of_the_second_process_alone_is_one_line(tmp_path: Path) -> None:
    data = make_set(tmp_path / "data", 8)
    (tmp_path / "fails.py").write_text(
        "from lightning.pytorch import Callback\nfrom ncl_lightning.errors import InputError\n"
        "class FailsAlone(Callback):\n"
        "    def on_train_batch_end(self, trainer, *_):\n"
        "        if trainer.global_rank == 1:\n            raise InputError('b.png: its end is missing')\n"
    )
    words = [*TINY, f"--data.train=[{data}]", f"--data.val={data}", f"--trainer.default_root_dir={tmp_path / 'runs'}"]
    words.append("--trainer.callbacks=[{class_path: fails.FailsAlone}]")
    done = command("fit", *TWO, *words, fresh=True, PYTHONPATH=str(tmp_path))
    assert done.returncode
    assert "Traceback" not in done.stderr
    ours = [line for line in done.stderr.splitlines() if line.startswith("ncl_lightning: ")]
    assert ours == ["ncl_lightning: b.png: its end is missing"]


def test_a_process_that_was_killed_is_named() -> None:
    sleeps = [subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) for _ in range(2)]
    lost = RuntimeError("Connection closed by peer")
    try:
        assert which_was_killed(sleeps, lost) is None
        sleeps[1].kill()
        assert which_was_killed(sleeps, lost) == "process 2 was killed by SIGKILL"
        assert which_was_killed(sleeps, RuntimeError("another error")) is None
    finally:
        for process in sleeps:
            process.kill()
            process.wait()


def test_what_all_processes_find_wrong_is_said_once(trained: Path, tmp_path: Path) -> None:
    pictures = make_set(tmp_path / "data", 2) / "Tp"
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "predictions.csv").write_text("horse,odds\n")
    words = [f"--ckpt_path={trained / 'checkpoints' / 'best.ckpt'}", f"--data.predict={pictures}"]
    done = command("predict", *TWO, *words, f"--trainer.default_root_dir={tmp_path / 'out'}", fresh=True)
    assert done.returncode == 1
    assert done.stderr.count("no list of `predict`") == 1
