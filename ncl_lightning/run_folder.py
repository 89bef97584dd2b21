"""A run's folder: config.yaml, metrics.csv, curves.png, checkpoints/ and panels/ in one place, with or without W&B."""

import platform
import shlex
import shutil
import sys
import time
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import torch.distributed as dist
import yaml
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities import rank_zero_only, rank_zero_warn

from ncl_lightning.checkpoints import beside_checkpoint
from ncl_lightning.errors import InputError
from ncl_lightning.files import read_metrics
from ncl_lightning.options import cut, differing, flat, text

K = TypeVar("K")
V = TypeVar("V")
_PLAIN = (bool, int, float, str)


def _rank() -> int:
    return int(getattr(rank_zero_only, "rank", 0))


class RunLogger(CSVLogger):
    """CSVLogger that claims its folder at once, so that runs which start together never share one.

    Given a `version` that exists (a run that resumes), it goes on writing there: the rows up to `keep_step` stay.
    """

    def __init__(self, save_dir: Path, version: str | None = None, keep_step: int = -1) -> None:
        super().__init__(save_dir.absolute(), name="", version=version, flush_logs_every_n_steps=50)
        self.keep_step = keep_step
        self._made: Path | None = None

    def _get_next_version(self) -> int:
        version = super()._get_next_version()
        if _rank() != 0:
            return version
        while True:
            try:
                self._made = _make_new(Path(self.root_dir, f"version_{version}"))
                return version
            except FileExistsError:
                version += 1

    def claim(self) -> None:
        """Make the folder of a new run that has a name.

        Raises:
            InputError: There is one, or it can't be made.
        """
        if self._version is None or self.keep_step >= 0:
            return
        folder = Path(self.log_dir)
        try:
            if _rank() == 0:
                self._made = _make_new(folder)
        except FileExistsError:
            last = folder / "checkpoints" / "last.ckpt"
            other = f"go on with it by --ckpt_path {last}" if last.is_file() else "remove it: it has no last.ckpt"
            raise InputError(f"{folder}: there is a run of that name; give another --name, or {other}") from None

    def give_up(self) -> None:
        """Remove the folder of a new run that did no training step, so that its name is free for the next try."""
        if self._made and not has_trained(self._made):
            shutil.rmtree(self._made, ignore_errors=True)

    @property
    def experiment(self) -> Any:
        """The writer; a run that resumes keeps its rows."""
        if self._experiment is None and _rank() == 0:
            file = Path(self.log_dir, "metrics.csv")
            rows = [row for row in read_metrics(file) if int(row["step"]) <= self.keep_step]
            writer = super().experiment
            if rows:
                writer.metrics.extend(rows)
                writer.save()
            return writer
        return super().experiment


def _make_new(folder: Path) -> Path:
    """Make a run's folder, and return it.

    Raises:
        FileExistsError: There is one.
        InputError: It can't be made.
    """
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise
    except OSError as error:
        raise InputError(
            f"{folder}: can't be made ({error.strerror}); give another --trainer.default_root_dir"
        ) from error
    return folder


def run_folder(trainer: Trainer) -> Path | None:
    """The folder of the run (on the first process; None where nothing is logged)."""
    for logger in trainer.loggers:
        if isinstance(logger, CSVLogger):
            return Path(logger.log_dir)
    return None


def merged(mine: dict[K, V]) -> dict[K, V]:
    """The entries of all processes in one mapping; every process must call it."""
    if not (dist.is_available() and dist.is_initialized()):
        return mine
    everyone: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(everyone, mine)
    return {key: value for part in everyone for key, value in part.items()}


def output_folder(kind: str, given: str | None, checkpoint: str | None) -> Path:
    """Where `test` and `predict` write: the folder given, or `<kind>-<time>` beside the checkpoint."""
    if given:
        return Path(given)
    beside = beside_checkpoint(checkpoint) if checkpoint else Path()
    # to the millisecond, for commands that are started together
    return beside / f"{kind}-{datetime.now().strftime('%Y-%m-%d_%H-%M-%S-%f')[:-3]}"


class SaveRunConfig(SaveConfigCallback):
    """Saves config.yaml into the run's folder, whatever the first logger is."""

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write on the first process, before training starts."""
        folder = run_folder(trainer)
        if stage == "fit" and folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            # but what it resumed from: with --config and another --ckpt_path, the later one would win
            config = self.config.clone()
            config.pop("ckpt_path", None)
            # nor would a second run of this config find its name free
            config.pop("name", None)
            _keep_other_options(folder / "config.yaml", yaml.safe_load(self.parser.dump(config, skip_none=False)))
            self.parser.save(config, folder / "config.yaml", skip_none=False, overwrite=True)
        # the module's and the data's options are logged by themselves
        trained = {name: value for name, value in self.config.trainer.as_dict().items() if isinstance(value, _PLAIN)}
        for logger in trainer.loggers if stage == "fit" else ():
            if not isinstance(logger, CSVLogger):
                logger.log_hyperparams({"seed_everything": self.config.seed_everything, "trainer": trained})

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Make the folder of the checkpoints: it is there from the first training step on."""
        folder = run_folder(trainer)
        if batch_idx == 0 and trainer.is_global_zero and folder is not None:
            (folder / "checkpoints").mkdir(parents=True, exist_ok=True)


def _keep_other_options(file: Path, options: dict[str, Any]) -> None:
    """Where a run goes on with other options, say so, and keep the earlier ones beside them."""
    if not file.is_file():
        return
    # what a user made of it is no matter
    found = yaml.safe_load(file.read_text(encoding="utf-8"))
    before, now = flat(found if isinstance(found, dict) else {}), flat(options)
    if before == now:
        return
    changed = differing([before, now])
    kept = file.with_name(f"config-{datetime.fromtimestamp(file.stat().st_mtime):%Y-%m-%d_%H-%M-%S}.yaml")
    file.rename(kept)
    words = ", ".join(f"{key} {cut(text(before[key]))} -> {cut(text(now[key]))}" for key in changed)
    # options that one version has and another has not
    if changed:
        rank_zero_warn(f"the run goes on with other options than it had: {words}; {kept} has the earlier ones")


def has_trained(root: Path) -> bool:
    """Whether a run below a folder has come as far as its first training step."""
    return any(root.glob("**/checkpoints"))


# what trains, and what decodes and resizes pictures
_DECISIVE = ("ncl_lightning", "torch", "lightning", "numpy", "opencv-python", "pillow", "pillow-heif")


def environment(trainer: Trainer) -> dict[str, Any]:
    """Versions and machine, as far as they decide a number."""
    return {
        **made_by(),
        "accelerator": trainer.accelerator.__class__.__name__,
        "precision": str(trainer.precision),
        "processes": trainer.world_size,
    }


def made_by() -> dict[str, Any]:
    """When, by which command, and by which versions."""
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": shlex.join(["python", "-m", "ncl_lightning", *sys.argv[1:]]),
        "versions": {name: version(name) for name in _DECISIVE},
        "python": platform.python_version(),
    }
