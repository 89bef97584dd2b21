"""A job that SLURM starts again goes on where it was: in its run's folder, from its own checkpoint and no other's.

Lightning leaves that checkpoint in the working folder, and takes the newest that it finds there, of whatever job.
"""

import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.plugins.environments import SLURMEnvironment


def handover() -> str | None:
    """The folder, within a run's, for the checkpoints of this command in this SLURM job; None outside of one."""
    job = os.environ.get("SLURM_JOB_ID")
    if job is None or not SLURMEnvironment.detect():
        return None
    # a job may train several runs, one after the other
    return f"slurm-{job}-{blake2b(repr(sys.argv[1:]).encode(), digest_size=4).hexdigest()}"


def handed_over(root: Path) -> Path | None:
    """The newest checkpoint that the same command left below a folder before its job was started again."""
    name = handover()
    found = root.glob(f"**/{name}/hpc_ckpt_*.ckpt") if name else ()
    return max(found, key=lambda file: int(file.stem.rpartition("_")[2]), default=None)


def requeues(trainer: Trainer) -> bool:
    """True where SLURM's signals are Lightning's to handle: it saves, and requeues the job."""
    return _requeueing(trainer) is not None


def _requeueing(trainer: Trainer) -> SLURMEnvironment | None:
    cluster = trainer._accelerator_connector.cluster_environment
    return cluster if isinstance(cluster, SLURMEnvironment) and cluster.auto_requeue else None


class SaveBetweenSteps(Callback):
    """On SLURM's signal before a job's end, all processes save after the same step.

    Lightning's handler saves at once, wherever a process is just then. To save is a collective: where one process is
    already within the next step's and another is not, all wait until the job is over, and nothing is saved.

    Args:
        every: Steps of training after which several processes ask each other whether there was a signal.
    """

    def __init__(self, every: int = 10) -> None:
        self.every = every
        self._save: Callable[[], Any] | None = None
        self._told = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the place of Lightning's handler."""
        cluster = _requeueing(trainer)
        if cluster is None or cluster.requeue_signal is None:
            return
        handler = signal.getsignal(cluster.requeue_signal)
        if not callable(handler):
            # ignored, by whoever started this
            return
        self._save = partial(handler, cluster.requeue_signal, None)
        signal.signal(cluster.requeue_signal, lambda signum, frame: setattr(self, "_told", True))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Let Lightning save, and requeue the job, if any process was told to."""
        steps, begun = divmod(batch_idx + 1, trainer.accumulate_grad_batches)
        if self._save is None or begun or (trainer.world_size > 1 and (steps - 1) % self.every):
            return
        if trainer.strategy.reduce_boolean_decision(self._told, all=False):
            self._told = False
            self._save()
