"""What would train in vain, for hours maybe, found before the first step."""

import difflib
import math
from collections.abc import Sequence
from typing import Any

from lightning.pytorch import Trainer

from ncl_lightning.errors import InputError


def refuse_late_validation(trainer: Trainer) -> None:
    """Look whether the checkpoint will be chosen at all.

    Raises:
        InputError: Training ends before the first validation, which chooses it.
    """
    # an epoch's last batches make a step of their own, however few they are
    of_epoch, of_step = trainer.num_training_batches, trainer.accumulate_grad_batches
    epochs, steps = divmod(trainer.max_steps, math.ceil(of_epoch / of_step))
    planned = trainer.max_epochs or -1
    ends = {
        "max_steps": epochs * of_epoch + steps * of_step if trainer.max_steps > 0 else math.inf,
        "max_epochs": planned * of_epoch if planned > 0 else math.inf,
    }
    option = min(ends, key=ends.__getitem__)
    # counted within each epoch that has a validation, or over all of them
    first = (trainer.val_check_batch or 0) + ((trainer.check_val_every_n_epoch or 1) - 1) * of_epoch
    chooses = any(getattr(callback, "monitor", None) for callback in trainer.checkpoint_callbacks)
    if chooses and trainer.enable_validation and ends[option] < first:
        raise InputError(
            f"trainer.{option} is {getattr(trainer, option)}, which is {ends[option]:g} batches, but the first "
            f"validation comes after {first:g}: no checkpoint could be chosen. Raise it, or validate sooner, "
            "--trainer.check_val_every_n_epoch null --trainer.val_check_interval BATCHES"
        )


def refuse_mistyped_monitors(trainer: Trainer, known: Sequence[str]) -> None:
    """Look at what callbacks monitor; Lightning does so after the first validation.

    Args:
        trainer: With the callbacks.
        known: Scores that will be logged. Others may be, too, by callbacks of the user's own.

    Raises:
        InputError: One is none of these, but so like one that it must be mistyped.
    """
    callbacks: Sequence[Any] = trainer.callbacks  # type: ignore[attr-defined]
    for callback in callbacks:
        monitor = getattr(callback, "monitor", None)
        if monitor is None or monitor in known:
            continue
        close = difflib.get_close_matches(monitor.lower(), known, n=1, cutoff=0.9)
        if close:
            raise InputError(f"{type(callback).__name__} monitors {monitor}: did you mean {close[0]}?")
