"""Runs that are stopped, killed, moved, requeued or gone on with: nothing is lost, and they say how to go on."""

import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from conftest import ROOT, TINY, command, logged, make_set, succeed
from lightning.pytorch import Trainer

from ncl_lightning import ManipulationDataModule, NCLModule
from ncl_lightning.checkpoints import find_checkpoint
from ncl_lightning.resume import follow_the_folder
from ncl_lightning.run_folder import _keep_other_options

BY_STEPS = ["--trainer.check_val_every_n_epoch=null", "--trainer.val_check_interval=2", "--trainer.max_epochs=-1"]


@pytest.mark.parametrize(
    "ends",
    [
        ["--trainer.max_epochs=3"],
        [*BY_STEPS, "--trainer.max_steps=9"],
        # which read ahead
        ["--trainer.max_epochs=3", "--data.num_workers=1"],
        ["--trainer.max_epochs=3", "--data.num_workers=1", "--data.epoch_samples=6"],
    ],
)
def test_a_killed_run_goes_on_where_it_stopped(tmp_path: Path, ends: list[str]) -> None:
    """With the pictures that an unbroken run has then, to the same weights."""
    data = make_set(tmp_path / "data", 6)
    options = ["fit", *TINY, f"--data.train=[{data}]", f"--data.val={data}", "--panels.count=0"]
    options += ["--model.warmup=0.0", *ends]
    succeed(*options, f"--trainer.default_root_dir={tmp_path / 'whole'}")
    # the callback stops the process as a power cut would, after the second epoch's checkpoint
    killer = tmp_path / "killer.py"
    killer.write_text(
        "import os\nfrom lightning.pytorch import Callback\n"
        "class Killer(Callback):\n"
        "    def on_train_epoch_start(self, trainer, module):\n"
        "        if trainer.current_epoch == 2 and 'CUT' in os.environ:\n"
        "            os._exit(9)\n"
    )
    root = f"--trainer.default_root_dir={tmp_path / 'broken'}"
    callback = "--trainer.callbacks=[{class_path: killer.Killer}]"
    killed = command(*options, root, callback, PYTHONPATH=str(tmp_path), CUT="1")
    assert killed.returncode == 9
    run = tmp_path / "broken" / "version_0"
    succeed("fit", f"--config={run / 'config.yaml'}", "--ckpt_path=last", root, PYTHONPATH=str(tmp_path))
    assert [p.name for p in run.parent.iterdir()] == ["version_0"]
    whole = tmp_path / "whole" / "version_0"
    for name in ("val/f1", "val/auc", "val/loss", "train/loss", "step"):
        assert logged(run, name) == pytest.approx(logged(whole, name), abs=1e-6), name
    weights = [torch.load(one / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"] for one in (run, whole)]
    torch.testing.assert_close(*weights)
    assert logged(run, "best/val/f1") == list(itertools.accumulate(logged(run, "val/f1"), max))
    assert {p.name for p in (run / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    # with the same options
    assert [p.name for p in run.glob("config*")] == ["config.yaml"]


SLURM = {"SLURM_NTASKS": "1", "SLURM_JOB_NAME": "fit", "SLURM_JOB_ID": "1", "SLURM_NODELIST": "localhost"}

SLURM |= {"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}


@pytest.mark.parametrize(
    ("signum", "epoch", "cluster", "code", "says"),
    [
        ("SIGTERM", 1, {}, 143, "last whole epoch, give the command again with --ckpt_path "),
        ("SIGINT", 0, {}, 130, "nothing is saved: give the command again"),
        ("SIGTERM", 0, SLURM, 143, "if SLURM starts the job again, it goes on by itself"),
    ],
)
def test_a_run_that_is_told_to_stop_says_how_to_go_on(
    tmp_path: Path, signum: str, epoch: int, cluster: dict[str, str], code: int, says: str
) -> None:
    data = make_set(tmp_path / "data", 4)
    (tmp_path / "stopper.py").write_text(
        "import os, signal\nfrom lightning.pytorch import Callback\n"
        # what a shell starts in the background ignores it
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "class Stopper(Callback):\n"
        "    def on_train_batch_start(self, trainer, module, batch, index):\n"
        f"        if trainer.current_epoch == {epoch}:\n"
        f"            os.kill(os.getpid(), signal.{signum})\n"
    )
    options = [*TINY, f"--data.train=[{data}]", f"--data.val={data}", "--trainer.max_epochs=3", "--panels.count=0"]
    options += ["--trainer.callbacks=[{class_path: stopper.Stopper}]", f"--trainer.default_root_dir={tmp_path}"]
    done = command("fit", *options, PYTHONPATH=str(tmp_path), **cluster)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("ncl_lightning: ")]
    assert len(lines) == bool(code)
    assert not lines or (lines[0].startswith(f"ncl_lightning: stopped by {signum}; ") and says in lines[0])
    saved = list((tmp_path / "version_0" / "checkpoints").glob("last.ckpt"))
    assert len(saved) == epoch
    # what it names is there, and it is what is said of it
    for last in saved:
        assert lines[0].endswith(f" {last}")
        assert torch.load(last, weights_only=True)["epoch"] == epoch - 1


def path_with_scontrol(folder: Path) -> str:
    """A PATH whose scontrol writes what it is asked into `asked`."""
    scontrol = folder / "bin" / "scontrol"
    scontrol.parent.mkdir()
    scontrol.write_text(f"#!/bin/sh\necho $* >> {folder / 'asked'}\n")
    scontrol.chmod(0o755)
    return f"{scontrol.parent}:{os.environ['PATH']}"


def test_a_job_that_slurm_starts_again_goes_on_in_its_run(tmp_path: Path) -> None:
    data, root = make_set(tmp_path / "data", 6), tmp_path / "runs"
    (tmp_path / "preempted.py").write_text(
        "import os, signal\nfrom lightning.pytorch import Callback\n"
        "class Preempted(Callback):\n"
        "    def on_train_batch_start(self, trainer, module, batch, index):\n"
        f"        with open({str(tmp_path / 'seen')!r}, 'a') as seen:\n"
        "            print(trainer.current_epoch, *batch['index'].tolist(), file=seen)\n"
        "        if trainer.current_epoch == 1 and index < 2 and 'SLURM_RESTART_COUNT' not in os.environ:\n"
        # saved and queued again; then the job is ended
        "            os.kill(os.getpid(), [signal.SIGUSR1, signal.SIGTERM][index])\n"
    )
    job = SLURM | {"PYTHONPATH": str(tmp_path), "PATH": path_with_scontrol(tmp_path)}
    options = [*TINY, f"--data.train=[{data}]", f"--data.val={data}", "--trainer.max_epochs=3", "--panels.count=0"]
    options += [f"--trainer.default_root_dir={root}", "--trainer.callbacks=[{class_path: preempted.Preempted}]"]
    options += ["--name=named"]
    first = command("fit", *options, cwd=tmp_path, **job)
    assert first.returncode == 143, first.stderr
    assert (tmp_path / "asked").read_text() == "requeue 1\n"

    # the same command in the same job
    again = succeed("fit", *options, cwd=tmp_path, **job, SLURM_RESTART_COUNT="1")
    assert "SLURM started this job again: it goes on from " in again.stderr
    assert [folder.name for folder in root.iterdir()] == ["named"]
    assert len(logged(root / "named", "val/f1")) == len(logged(root / "named", "train/loss")) == 3
    last = torch.load(root / "named" / "checkpoints" / "last.ckpt", weights_only=True)
    assert (last["epoch"], last["global_step"]) == (2, 9)
    # in each epoch every picture once, but for the batch that was seen again: after the save and before the end
    seen = [[int(word) for word in line.split()] for line in (tmp_path / "seen").read_text().splitlines()]
    epochs = [[index for epoch, *batch in seen if epoch == number for index in batch] for number in range(3)]
    assert [sorted(epoch) for epoch in epochs[::2]] == [list(range(6))] * 2
    first, lost, again, final = (batch for epoch, *batch in seen if epoch == 1)
    assert again == lost
    assert sorted(first + again + final) == list(range(6))
    # as do the statistics
    assert len(logged(root / "named", "contrast/train/tampered/margin")) == 3
    # the best of all epochs, of those before, too
    scores = logged(root / "named", "val/f1")
    kept = torch.load(root / "named" / "checkpoints" / "best.ckpt", weights_only=True)["epoch"]
    assert scores[kept] == max(scores)

    # nothing of it is taken up by another job, nor by another command
    refused = command("fit", *options, cwd=tmp_path, **job | {"SLURM_JOB_ID": "2"})
    assert "there is a run of that name" in refused.stderr
    begun = succeed("fit", *options[:-1], cwd=tmp_path, **job, SLURM_RESTART_COUNT="1")
    assert "Restoring states" not in begun.stderr
    assert sorted(folder.name for folder in root.iterdir()) == ["named", "version_0"]
    assert not list(tmp_path.glob("hpc_ckpt*"))


def test_one_process_that_slurm_signals_lets_all_save(tmp_path: Path) -> None:
    """Saved at once, it would wait within a step of which the other process is elsewhere."""
    data = make_set(tmp_path / "data", 8)
    (tmp_path / "told.py").write_text(
        "import os, signal\nfrom lightning.pytorch import Callback\n"
        "class Told(Callback):\n"
        "    def on_before_backward(self, trainer, module, loss):\n"
        "        if trainer.global_step == 2 and trainer.global_rank == 1:\n"
        "            os.kill(os.getpid(), signal.SIGUSR1)\n"
    )
    words = [*TINY, f"--data.train=[{data}]", f"--data.val={data}", "--trainer.max_epochs=3", "--panels.count=0"]
    words += ["--trainer.callbacks=[{class_path: told.Told}]", f"--trainer.default_root_dir={tmp_path / 'runs'}"]
    words += ["--trainer.devices=2", "--trainer.strategy=ddp"]
    job = os.environ | SLURM | {"SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "SLURM_JOB_ID": str(os.getpid())}
    job |= {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]), "PATH": path_with_scontrol(tmp_path)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "ncl_lightning", "fit", *words],
            cwd=tmp_path,
            env=job | {"SLURM_PROCID": rank, "SLURM_LOCALID": rank},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in ("0", "1")
    ]
    try:
        said = [process.communicate(timeout=120)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], said
    assert (tmp_path / "asked").read_text() == f"requeue {os.getpid()}\n"
    (kept,) = (tmp_path / "runs" / "version_0").glob("slurm-*/hpc_ckpt_*.ckpt")
    # after the first of the two steps of the second epoch
    assert torch.load(kept, weights_only=True)["global_step"] == 3


def test_the_newest_run_is_the_one_that_began_last(tmp_path: Path) -> None:
    """An older one may still be saving."""
    for age, (run, files) in enumerate({"new": ["best", "last"], "old": ["best"], "newest": []}.items()):
        for name in files:
            (tmp_path / run / "checkpoints").mkdir(parents=True, exist_ok=True)
            (tmp_path / run / "checkpoints" / f"{name}.ckpt").touch()
            os.utime(tmp_path / run / "checkpoints" / f"{name}.ckpt", (age, age))
        (tmp_path / run).mkdir(exist_ok=True)
        (tmp_path / run / "config.yaml").touch()
    for run, began in (("old", 10), ("new", 20), ("newest", 30)):
        os.utime(tmp_path / run / "config.yaml", (began, began))
    assert find_checkpoint("best", tmp_path).parent.parent.name == "new"


@pytest.mark.parametrize("batch", [1, 2], ids=["within an epoch", "in its last step"])
@pytest.mark.parametrize("validation", [[], ["--trainer.check_val_every_n_epoch=3"]], ids=["often", "seldom"])
def test_a_run_that_diverges_ends_in_one_line(tmp_path: Path, validation: list[str], batch: int) -> None:
    data = make_set(tmp_path / "data", 6)
    (tmp_path / "breaker.py").write_text(
        "from lightning.pytorch import Callback\n"
        "class Breaker(Callback):\n"
        # its own loss is sound yet
        "    def on_train_batch_end(self, trainer, module, outputs, batch, index):\n"
        f"        if trainer.current_epoch == 1 and index == {batch}:\n"
        "            module.network.head.weight.data.fill_(float('nan'))\n"
    )
    options = [*TINY, f"--data.train=[{data}]", f"--data.val={data}", "--trainer.max_epochs=3", "--panels.count=0"]
    options += ["--trainer.callbacks=[{class_path: breaker.Breaker}]", f"--trainer.default_root_dir={tmp_path}"]
    done = command("fit", *options, *validation, PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "training diverged before step 6: the loss is no longer finite; lower model.lr" in done.stderr
    # the last sound one is kept
    last = torch.load(tmp_path / "version_0" / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["epoch"] == 0
    assert all(torch.isfinite(weights).all() for weights in last["state_dict"].values())


def test_a_run_that_ended_within_an_epoch_goes_on_with_the_next(tmp_path: Path) -> None:
    data = make_set(tmp_path / "data", 6)
    options = ["fit", *TINY, f"--data.train=[{data}]", f"--data.val={data}", "--panels.count=0"]
    root = f"--trainer.default_root_dir={tmp_path / 'runs'}"
    succeed(*options, *BY_STEPS, "--trainer.max_steps=5", root)
    run = tmp_path / "runs" / "version_0"
    stopped = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["global_step"]
    succeed("fit", f"--config={run / 'config.yaml'}", "--ckpt_path=last", "--trainer.max_steps=8", root)
    resumed = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    # epochs of three steps: one whole, one of two, one whole
    assert (stopped, resumed["global_step"], resumed["epoch"]) == (5, 8, 2)
    assert len(logged(run, "train/loss")) == 3


def test_only_what_lay_in_the_folder_moves_along(tmp_path: Path) -> None:
    def saved(folder: str, name: str) -> dict[str, object]:
        path = f"{folder}/{name}"
        return {"dirpath": folder, "best_model_path": path, "kth_best_model_path": "", "best_k_models": {path: 0.5}}

    checkpoint = {"callbacks": {"last": saved("/a", "last.ckpt"), "best": saved("/a", "best.ckpt")}}
    checkpoint["callbacks"] |= {"other": saved("/b", "epoch.ckpt"), "another": {"count": 1}}
    follow_the_folder(checkpoint, tmp_path / "last.ckpt")
    folder = str(tmp_path)
    wanted = {
        "last": saved(folder, "last.ckpt"),
        "best": saved(folder, "best.ckpt"),
        "other": saved("/b", "epoch.ckpt"),
    }
    assert checkpoint["callbacks"] == wanted | {"another": {"count": 1}}
    # of a checkpoint under another name nothing is known
    follow_the_folder(checkpoint, Path("/c/renamed.ckpt"))
    assert checkpoint["callbacks"]["best"] == wanted["best"]


@pytest.mark.parametrize("moved", [False, True])
def test_a_run_that_was_moved_keeps_its_best_checkpoint(tmp_path: Path, small_set: Path, moved: bool) -> None:
    root = tmp_path / "runs"
    options = [*TINY, f"--data.train=[{small_set}]", f"--data.val={small_set}", "--panels.count=0"]
    succeed("fit", *options, f"--trainer.default_root_dir={root}")
    if moved:
        root = root.rename(tmp_path / "elsewhere")
    best, last = (root / "version_0" / "checkpoints" / f"{name}.ckpt" for name in ("best", "last"))
    # as if it had been perfect once
    stored = torch.load(last, weights_only=True)
    (state,) = (one for one in stored["callbacks"].values() if one.get("monitor") == "val/f1")
    score = torch.tensor(1.0)
    state |= {"best_model_score": score, "kth_value": score, "best_k_models": {state["best_model_path"]: score}}
    torch.save(stored, last)
    before = best.read_bytes()
    config = f"--config={root / 'version_0' / 'config.yaml'}"
    succeed("fit", config, f"--ckpt_path={last}", "--trainer.max_epochs=3", f"--trainer.default_root_dir={root}")
    assert best.read_bytes() == before
    assert logged(root / "version_0", "best/val/f1")[-1] == 1
    assert sorted(path.name for path in best.parent.iterdir()) == ["best.ckpt", "last.ckpt"]


def test_an_explicit_learning_rate_wins_on_resume(trained: Path, tmp_path: Path) -> None:
    last = trained / "checkpoints" / "last.ckpt"
    config = f"--config={trained / 'config.yaml'}"
    root = f"--trainer.default_root_dir={tmp_path}"
    succeed("fit", config, f"--ckpt_path={last}", "--model.lr=0.5", "--trainer.max_epochs=2", root)
    stored = torch.load(tmp_path / "version_0" / "checkpoints" / "last.ckpt", weights_only=True)
    assert stored["hyper_parameters"]["lr"] == 0.5
    assert stored["optimizer_states"][0]["param_groups"][0]["initial_lr"] == 0.5


def test_a_run_that_goes_on_with_other_options_says_so(trained: Path, tmp_path: Path) -> None:
    run = tmp_path / "runs" / "version_0"
    shutil.copytree(trained, run)
    before = (run / "config.yaml").read_text()
    words = [f"--config={run / 'config.yaml'}", f"--ckpt_path={run}"]
    words += [f"--trainer.default_root_dir={run.parent}", "--model.lambda_ncl=0.7", "--trainer.max_epochs=2"]
    done = succeed("fit", *words)
    (kept,) = run.glob("config-*.yaml")
    assert kept.read_text() == before
    assert yaml.safe_load((run / "config.yaml").read_text())["model"]["lambda_ncl"] == 0.7
    said = " ".join(done.stderr.split())
    assert "other options than it had: " in said
    assert "model.lambda_ncl 0.1 -> 0.7" in said
    assert "trainer.max_epochs 1 -> 2" in said


def test_a_checkpoint_of_no_run_leaves_its_surroundings_alone(trained: Path, tmp_path: Path) -> None:
    """Its folder's folder may be anybody's, with a config.yaml of another kind."""
    (tmp_path / "project" / "models").mkdir(parents=True)
    last = shutil.copy(trained / "checkpoints" / "last.ckpt", tmp_path / "project" / "models")
    other = tmp_path / "project" / "config.yaml"
    other.write_text("token: of another project\n")
    words = [f"--config={trained / 'config.yaml'}", f"--ckpt_path={last}", "--trainer.max_epochs=2"]
    succeed("fit", *words, f"--trainer.default_root_dir={tmp_path / 'runs'}")
    assert (tmp_path / "runs" / "version_0" / "metrics.csv").is_file()
    assert sorted(path.name for path in (tmp_path / "project").iterdir()) == ["config.yaml", "models"]
    assert other.read_text() == "token: of another project\n"

    succeed("test", f"--ckpt_path={last}", "--data.test={a: synthetic:2}", "--data.leakage=ignore")
    (report,) = (tmp_path / "project" / "models").glob("test-*/report.html")
    assert "of another project" not in report.read_text()


@pytest.mark.parametrize("text", ["", "- 1\n", "unrelated: 1\n"])
def test_a_config_of_another_kind_is_kept(text: str, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    _keep_other_options(file, {"model": {"lr": 1}})
    (kept,) = tmp_path.iterdir()
    assert kept.name.startswith("config-")
    assert kept.read_text() == text


class TwoRates(NCLModule):
    """As the manual has it: another schedule, and rates of its own."""

    schedule: Callable[[torch.optim.Optimizer], Any]

    def configure_optimizers(self) -> Any:
        halves = [p for p in self.parameters() if p.requires_grad]
        groups = [
            {"params": halves[::2], "lr": 1e-4, "weight_decay": 0.0},
            {"params": halves[1::2], "lr": 1e-3, "weight_decay": 1e-2},
        ]
        optimizer = torch.optim.AdamW(groups)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": type(self).schedule(optimizer)}}


@pytest.mark.parametrize("name", ["StepLR", "SequentialLR"])
def test_rates_of_ones_own_stay_when_a_run_resumes(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    schedules = torch.optim.lr_scheduler
    made = {
        "StepLR": lambda optimizer: schedules.StepLR(optimizer, 10),
        "SequentialLR": lambda optimizer: schedules.SequentialLR(
            optimizer, [schedules.ConstantLR(optimizer, 1.0), schedules.StepLR(optimizer, 10)], [5]
        ),
    }
    monkeypatch.setattr(TwoRates, "schedule", staticmethod(made[name]), raising=False)

    def run(epochs: int, checkpoint: Path | None = None) -> Trainer:
        options = {"width": 4, "depth": 1}
        module = TwoRates(encoder="traces", options=options, stride=8, branch_channels=4, embedding_dim=4)
        data = ManipulationDataModule(
            train=["synthetic:4"], val="synthetic:2", test="synthetic:2", size=32, batch_size=2, num_workers=0
        )
        trainer = Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            logger=False,
            enable_progress_bar=False,
            enable_checkpointing=False,
            default_root_dir=tmp_path,
        )
        trainer.fit(module, data, ckpt_path=checkpoint)
        return trainer

    saved = tmp_path / "saved.ckpt"
    run(1).save_checkpoint(saved)
    trainer = run(2, saved)
    groups = trainer.optimizers[0].param_groups
    assert [(group["lr"], group["weight_decay"]) for group in groups] == [(1e-4, 0.0), (1e-3, 1e-2)]
    # nothing of it is in the way of a test
    trainer.test(trainer.lightning_module, trainer.datamodule, ckpt_path=saved, verbose=False)


def test_a_test_takes_other_options_of_the_loss(trained: Path, tmp_path: Path) -> None:
    data = make_set(tmp_path / "data", 2, seed=3)
    common = [f"--ckpt_path={trained / 'checkpoints' / 'last.ckpt'}", f"--data.test={json.dumps({'set': str(data)})}"]
    for name, options in (("as", []), ("other", ["--model.lambda_ncl=0", "--model.lambda_pc=0"])):
        succeed("test", *common, *options, f"--trainer.default_root_dir={tmp_path / name}")
    one, two = (json.loads((tmp_path / name / "results.json").read_text())["sets"] for name in ("as", "other"))
    assert one == two


def test_warm_start_takes_weights_only(trained: Path, tmp_path: Path) -> None:
    succeed(
        "fit",
        f"--config={trained / 'config.yaml'}",
        "--model.lr=0.0",
        "--model.weight_decay=0.0",
        f"--model.warm_start={trained / 'checkpoints' / 'last.ckpt'}",
        f"--trainer.default_root_dir={tmp_path}",
    )
    before = torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)
    after = torch.load(tmp_path / "version_0" / "checkpoints" / "last.ckpt", weights_only=True)
    assert after["epoch"] == before["epoch"]
    for key, value in before["state_dict"].items():
        if "running" not in key and "num_batches" not in key:
            assert torch.equal(value, after["state_dict"][key]), key


def test_a_runs_config_says_nothing_of_what_it_resumed_from(trained: Path, tmp_path: Path) -> None:
    """Given after --ckpt_path it would win: another checkpoint, or none, without a word."""
    run = tmp_path / "runs" / "version_0"
    shutil.copytree(trained, run)
    config, last = run / "config.yaml", run / "checkpoints" / "last.ckpt"
    assert "ckpt_path" not in yaml.safe_load(config.read_text())
    # a single callback, as Lightning takes it
    callback = "--trainer.callbacks=lightning.pytorch.callbacks.RichModelSummary"
    words = [f"--ckpt_path={last}", f"--config={config}", f"--trainer.default_root_dir={run.parent}"]
    succeed("fit", *words, "--trainer.max_epochs=2", callback)
    assert [folder.name for folder in run.parent.iterdir()] == ["version_0"]
    assert torch.load(last, weights_only=True)["epoch"] == 1
    assert "ckpt_path" not in yaml.safe_load(config.read_text())


def test_a_run_goes_on_with_what_trained(trained: Path, tmp_path: Path) -> None:
    """Where both weights become 0 the projections train no more, and AdamW's state fits nothing."""
    run = tmp_path / "runs" / "version_0"
    shutil.copytree(trained, run)
    words = [f"--config={run / 'config.yaml'}", f"--ckpt_path={run / 'checkpoints' / 'last.ckpt'}"]
    words += [f"--trainer.default_root_dir={run.parent}"]
    done = command("fit", *words, "--model.lambda_ncl=0", "--model.lambda_pc=0", "--trainer.max_epochs=2")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "--model.warm_start" in done.stderr.splitlines()[-1]


def test_last_knows_what_best_is(trained: Path) -> None:
    """Else a run that resumes takes its next epoch for the best one, and loses a better one."""
    folder = trained / "checkpoints"
    states = torch.load(folder / "last.ckpt", weights_only=True)["callbacks"]
    (best,) = [state for key, state in states.items() if key.startswith("ModelCheckpoint") and "val/f1" in key]
    assert Path(best["best_model_path"]).name == "best.ckpt"
    assert best["best_model_score"] is not None


def test_no_run_goes_on_from_an_exported_checkpoint(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "handed_on.ckpt"
    succeed("export", trained / "checkpoints" / "best.ckpt", out)
    done = command("fit", f"--config={trained / 'config.yaml'}", f"--ckpt_path={out}")
    assert done.returncode == 1
    assert "warm_start" in done.stderr
    assert "Traceback" not in done.stderr
