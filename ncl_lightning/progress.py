"""Lines of progress where no terminal shows a bar: logs of SLURM, nohup and CI."""

import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only


class ProgressLines(Callback):
    """Prints a line once a minute of training, and one with the scores after each validation.

    Args:
        seconds: Least time between two lines of training.
    """

    def __init__(self, seconds: float = 60.0) -> None:
        self.seconds = seconds
        self._said = 0.0
        self._begun = (0.0, 0)  # when, and at which step, this process began

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note where training begins, or goes on."""
        self._said = time.monotonic()
        self._begun = self._said, trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """The step, the loss and how fast it goes."""
        now = time.monotonic()
        if now - self._said < self.seconds:
            return
        self._said = now
        start, first = self._begun
        rate = (trainer.global_step - first) / (now - start)
        loss = outputs["loss"] if isinstance(outputs, dict) else outputs
        _say(f"{_place(trainer)}: loss {float(loss):.3f}, {rate:.2g} steps/s")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The scores of validation."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        scores = {
            name: float(value) for name, value in trainer.callback_metrics.items() if name in ("val/f1", "val/auc")
        }
        _say(f"{_place(trainer)}: " + ", ".join(f"{name} {value:.3f}" for name, value in scores.items()))


def _place(trainer: Trainer) -> str:
    """Epoch and step, and of how many."""
    total = trainer.estimated_stepping_batches
    return f"epoch {trainer.current_epoch}, step {trainer.global_step} of {total}"


@rank_zero_only
def _say(line: str) -> None:
    print(line, flush=True)
