"""What a command says as it goes: a bar on a terminal, lines in the logs of SLURM, nohup and CI, and no noise."""

import logging
import time
import warnings
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelSummary, RichProgressBar
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.model_summary import get_human_readable_count

# what Lightning says of its own working, and of what is meant to be so here
_WARNINGS = (
    "isinstance.treespec, LeafSpec.",
    "Be aware that when using `ckpt_path`, callbacks used to create the checkpoint",
    "The dirpath has changed from",
    "It is recommended to use `self.log",
    # a run that resumes keeps its rows: RunLogger
    "Experiment logs directory .* exists and is not empty",
    "The number of training batches .* is smaller than the logging interval",
)
_LINES = (
    "Tip:",
    "TPU available",
    "Trainer already configured with model summary callbacks",
    "Loading `train_dataloader` to estimate",
)


def quiet() -> None:
    """Leave out advertisements, and warnings of what is meant to be so."""
    for message in _WARNINGS:
        warnings.filterwarnings("ignore", message=f".*{message}")
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(
        lambda line: not any(part in line.getMessage() for part in _LINES)
    )


class Bar(RichProgressBar):
    """Lightning's bar, which is gone before results are printed and says no number that means nothing here."""

    _between = False
    _shown: dict[str, Any] = {}  # noqa: RUF012 (replaced, never changed)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Show the loss anew after every twentieth step: to show it is to wait for the device."""
        self._between = batch_idx % 20 != 0
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        self._between = False

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """The scores, without `v_num`, the number of the run's folder, which Lightning adds."""
        if not self._between:
            found = super().get_metrics(trainer, pl_module)
            self._shown = {name: value for name, value in found.items() if name != "v_num"}
        return self._shown

    def _get_train_description(self, current_epoch: int) -> str:
        """A run that ends by its steps has no last epoch; Lightning calls it -2."""
        epochs = self.trainer.max_epochs
        last = f"/{epochs - 1}" if epochs is not None and epochs > 0 else ""
        return f"Epoch {current_epoch}{last}"

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End before the table is printed, not below it."""
        super().on_test_end(trainer, pl_module)
        self._stop_progress()

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End before it is said where the maps are."""
        super().on_predict_end(trainer, pl_module)
        self._stop_progress()


class Summary(ModelSummary):
    """One line; Lightning's table of the modules of NCLModule names two, and FLOPs that it can't know."""

    @staticmethod
    def summarize(
        summary_data: list[tuple[str, list[str]]],
        total_parameters: int,
        trainable_parameters: int,
        model_size: float,
        total_training_modes: dict[str, int],
        total_flops: int,
        **summarize_kwargs: Any,
    ) -> None:
        """Print it."""
        trained = "" if trainable_parameters == total_parameters else f", {trainable_parameters} of them trained"
        print(f"network: {get_human_readable_count(total_parameters).strip()} parameters{trained}, {model_size:.1f} MB")


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
