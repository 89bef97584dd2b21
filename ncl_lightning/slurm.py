"""A job that SLURM starts again goes on where it was: in its run's folder, from its own checkpoint and no other's.

Lightning leaves that checkpoint in the working folder, and takes the newest that it finds there, of whatever job.
"""

import os
import sys
from hashlib import blake2b
from pathlib import Path

from lightning.pytorch import Trainer
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
    """True where SLURM's signals are Lightning's to handle: it saves, and gives the job again."""
    cluster = trainer._accelerator_connector.cluster_environment
    return isinstance(cluster, SLURMEnvironment) and cluster.auto_requeue
