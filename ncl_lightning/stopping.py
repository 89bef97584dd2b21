"""SIGTERM ends a run: of several processes all of them, and an evaluation at once."""

import signal
from types import FrameType

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.exceptions import SIGTERMException

from ncl_lightning.slurm import requeues


class StopOnSigterm(Callback):
    """On SIGTERM the first process of several stops at once, and the others are left for it to end.

    Lightning's handler speaks to the other processes before it returns. Where they have come to another collective by
    then, as after a signal to all of them (of a scheduler, or of a container that is stopped), all wait for ever. And
    it is training alone that looks whether there was a signal: tests and predictions would go on to their end.
    """

    def _listen(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # a training of one process stops after its step
        if (trainer.world_size == 1 and trainer.state.fn == "fit") or requeues(trainer):
            return

        def stop(signum: int, frame: FrameType | None) -> None:
            trainer._signal_connector.received_sigterm = True
            raise SIGTERMException

        signal.signal(signal.SIGTERM, stop if trainer.is_global_zero else signal.SIG_IGN)

    # after Lightning has set its own, whatever the command begins with
    on_sanity_check_start = on_train_start = on_validation_start = on_test_start = on_predict_start = _listen
