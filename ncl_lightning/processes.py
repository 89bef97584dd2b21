"""What a process must know before it imports Lightning: whether it is one of several, and who started it."""

import ctypes
import os
import signal
import sys
import time

_FIRST = "NCL_LIGHTNING_FIRST_PROCESS"


def is_first() -> bool:
    """True in a run's only or first process, which speaks for all."""
    return all(os.environ.get(name, "0") == "0" for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK"))


def started_by_lightning() -> bool:
    """True in a process that the first one started, by Lightning's own launcher: no torchrun or SLURM did."""
    others = {"TORCHELASTIC_RUN_ID", "SLURM_PROCID"} & os.environ.keys()
    return os.environ.get("LOCAL_RANK", "0") != "0" and not others


def end_with_the_first() -> None:
    """Let a process that Lightning started end with the first one, however and whenever that ends (on Linux).

    Lightning tells it of signals, but not before training begins, and can't of a kill: left alone it would wait for
    the first one, for half an hour or for ever, and hold its device.
    """
    if not started_by_lightning():
        os.environ[_FIRST] = str(os.getpid())
    elif sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
        # it had ended before
        if os.environ.get(_FIRST, str(os.getppid())) != str(os.getppid()):
            sys.exit(1)


def let_the_first_speak(seconds: float = 5) -> None:
    """Wait in any other process: what all find wrong the first one says, and ends them."""
    if not is_first():
        # or it would be ignored, as it is in training
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        time.sleep(seconds)
