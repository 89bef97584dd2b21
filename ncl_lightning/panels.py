"""Picture panels during validation: image, truth, heat map and patch categories."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger

from ncl_lightning import draw
from ncl_lightning.datasets import Batch
from ncl_lightning.images import write_image
from ncl_lightning.patches import categorise, patch_grid
from ncl_lightning.runs import run_folder


class Panels(Callback):
    """Writes `panels/epoch_<n>.png` into the run's folder, and to W&B where it is on.

    Args:
        count: Pictures in a panel; 0: no panels. The first ones of the first process are shown.
        every_n_epochs: Epochs between two panels; 0: none while training.
    """

    def __init__(self, count: int = 4, every_n_epochs: int = 1) -> None:
        self.count = count
        self.every_n_epochs = every_n_epochs
        self._rows: list[draw.Image] = []

    def _wanted(self, trainer: Trainer) -> bool:
        every = self.every_n_epochs
        due = trainer.state.fn == "validate" or (every > 0 and (trainer.current_epoch + 1) % every == 0)
        return trainer.is_global_zero and not trainer.sanity_checking and due

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw a batch's pictures until there are enough."""
        if not self._wanted(trainer) or not isinstance(outputs, dict):
            return
        stride, threshold = pl_module.hparams["stride"], pl_module.hparams["threshold"]
        for i in range(min(self.count - len(self._rows), len(batch["image"]))):
            self._rows.append(panel_row(batch, outputs["output"].logits, i, stride, threshold))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the panel."""
        folder = run_folder(trainer)
        rows, self._rows = self._rows, []
        if not rows or folder is None:
            return
        picture = draw.grid(rows, columns=1)
        write_image(folder / "panels" / f"epoch_{trainer.current_epoch:04d}.png", picture)
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_image("panels", [picture])


def panel_row(batch: Batch, logits: torch.Tensor, i: int, stride: int, threshold: float = 0.5) -> draw.Image:
    """Picture `i` of a batch with its truth, heat map, overlay and patch categories, without the padding."""
    height, width = batch["content"][i].tolist()
    frame_height, frame_width = batch["mask"].shape[-2:]
    rows, columns = patch_grid(frame_height, frame_width, stride)
    grid = categorise(batch["mask"][i : i + 1], batch["valid"][i : i + 1], stride).view(rows, columns)
    image = batch["image"][i].permute(1, 2, 0)[:height, :width].cpu().numpy()
    probability = logits[i, 0, :height, :width].float().sigmoid().cpu().numpy()
    return draw.panel(
        {
            "image": image,
            "truth": draw.mask(batch["mask"][i, 0, :height, :width].bool().cpu().numpy()),
            "heat map": draw.heat(probability),
            "overlay": draw.overlay(image, probability, threshold),
            "patch categories": draw.categories(grid.cpu().numpy(), stride, height, width),
        }
    )
