"""Why a command of Lightning's ended: an error from deep within it, of one process or of several, as one line."""

import errno
import os
import re
import signal
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress

import torch
from lightning.pytorch import Trainer

from ncl_lightning.errors import InputError, Stopped

# what gloo and NCCL say of a process that is gone
_LOST = re.compile(r"Connection (closed|reset) by peer|Broken pipe|remote process exited|NCCL communicator was aborted")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def explained(
    error: BaseException, trainer: Trainer, checkpoint: str | None, how_to_go_on: Callable[[], str], killed: str | None
) -> BaseException | None:
    """What to raise in place of an error; None where it is to be met as it is.

    Args:
        error: What ended the command.
        trainer: Whose command it was.
        checkpoint: The one that was loaded.
        how_to_go_on: Says what to type after a stop.
        killed: Which process was, as `which_was_killed` says.
    """
    if isinstance(error, torch.OutOfMemoryError):
        return InputError(
            f"the device's memory is full ({str(error).partition('. ')[0]}); lower data.batch_size, data.size or "
            "data.eval_batch_size, or data.max_size for pictures at their own size"
        )
    if isinstance(error, OSError) and error.errno in _FULL:
        file = error.filename2 or error.filename
        return InputError(f"{file}: can't be written ({error.strerror}); make room there; {how_to_go_on()}")
    if isinstance(error, SystemExit | RuntimeError):
        signum = _stopped_by(error, trainer)
        if signum:
            return Stopped(signum, how_to_go_on())
        if killed:
            return InputError(f"{killed} (is the memory full?); {how_to_go_on()}")
        if trainer.world_size > 1 and _LOST.search(str(error)):
            # the process that is gone has said why
            return SystemExit(1)
        if "loading state_dict" in str(error):
            return InputError(
                f"{checkpoint}: its weights don't fit the network that the options describe; "
                "leave the model's options out (they travel in the checkpoint)"
            )
        return None
    if not isinstance(error, Exception):
        return None
    # other devices and nodes than torchrun or SLURM started processes for
    if "in Lightning, but the " in str(error):
        return InputError(f"{error} {_as_started()}")
    # no account, no key, no network
    if type(error).__module__.partition(".")[0] == "wandb":
        return InputError(f"wandb: {error}; log in with `wandb login`, or set WANDB_MODE=offline")
    return None


def which_was_killed(processes: Sequence[subprocess.Popen[bytes]], error: BaseException) -> str | None:
    """Which of the processes that this one started was killed, where an error says that it lost one."""
    if not _LOST.search(str(error)):
        return None
    for rank, process in enumerate(processes, 1):
        # an error of another one can be met before that one has quite ended
        with suppress(subprocess.TimeoutExpired):
            if process.wait(1) < 0:
                return f"process {rank} was killed by {signal.Signals(-process.returncode).name}"
    return None


def refuse_lone_processes(trainer: Trainer) -> None:
    """Refuse torchrun's processes where Lightning would not join them: each would train a run of its own."""
    if "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ["WORLD_SIZE"]) != trainer.world_size:
        raise InputError(
            f"torchrun started {os.environ['WORLD_SIZE']} processes, of which {trainer.world_size} would work "
            f"together. {_as_started()} --trainer.strategy ddp"
        )


def _as_started() -> str:
    """The devices and nodes that torchrun stands for; SLURM's are in Lightning's words."""
    here, everywhere = (int(os.environ.get(name, 0)) for name in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"))
    return f"Give --trainer.devices {here} --trainer.num_nodes {everywhere // here}" if here else ""


def _stopped_by(error: BaseException, trainer: Trainer) -> int | None:
    """The signal that ended a command, where it is ours to say so; Lightning exits with 0 on SIGTERM, 1 on Ctrl-C."""
    # Lightning kills all processes where one that it started fails; the first one speaks for them
    if not trainer.is_global_zero:
        return None
    # a signal to the whole group ends data-loading workers too, and then that is the error
    if trainer.received_sigterm:
        return signal.SIGTERM
    return signal.SIGINT if isinstance(error.__context__, KeyboardInterrupt) else None
