"""Picture panels during validation: image, truth, heat map and patch categories."""

from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger

from ncl_lightning import draw
from ncl_lightning.datasets import Batch
from ncl_lightning.images import write_image
from ncl_lightning.patches import categorise, patch_grid
from ncl_lightning.run_folder import merged, run_folder

_LEAST, _MOST = 128, 512  # pixels, the longer side of a picture in a panel


class Panels(Callback):
    """Writes `panels/epoch_<n>.png` into the run's folder, and to W&B where it is on.

    The first pictures of the validation set, whatever the number of processes; an authentic one among them where the
    set has any, and a tampered one.

    Args:
        count: Pictures in a panel; 0: no panels.
        every_n_epochs: Epochs between two panels; 0: none while training.
    """

    def __init__(self, count: int = 4, every_n_epochs: int = 1) -> None:
        self.count = count
        self.every_n_epochs = every_n_epochs
        # by index in the validation set: what this process has drawn, and which of that is authentic
        self._rows: dict[int, draw.Image] = {}
        self._authentic: dict[int, bool] = {}

    def _wanted(self, trainer: Trainer) -> bool:
        """Whether there is a panel to make; the same in every process."""
        every = self.every_n_epochs
        due = trainer.state.fn == "validate" or (every > 0 and (trainer.current_epoch + 1) % every == 0)
        return self.count > 0 and not trainer.sanity_checking and due

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin anew."""
        self._rows, self._authentic = {}, {}

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw a batch's pictures until there are enough, and some of both kinds."""
        if not self._wanted(trainer) or not isinstance(outputs, dict):
            return
        stride, threshold = pl_module.hparams["stride"], pl_module.hparams["threshold"]
        for i, authentic in enumerate(batch["authentic"].tolist()):
            if len(self._rows) < self.count or authentic not in self._authentic.values():
                index = int(batch["index"][i])
                self._authentic[index] = authentic
                maps = outputs["output"].logits.float().sigmoid()
                self._rows[index] = panel_row(batch, maps, i, stride, threshold)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the panel: all processes gather, the first one writes."""
        if not self._wanted(trainer):
            return
        chosen = choose(merged(self._authentic), self.count)
        rows = merged({index: self._rows[index] for index in chosen if index in self._rows})
        folder = run_folder(trainer)
        if not chosen or not trainer.is_global_zero or folder is None:
            return
        pictures = [rows[index] for index in chosen]
        width = max(picture.shape[1] for picture in pictures)
        picture = draw.stack([*pictures, draw.legend(width, pl_module.hparams["threshold"])])
        write_image(folder / "panels" / f"epoch_{trainer.current_epoch:04d}.png", picture)
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_image("panels", [picture])


def choose(authentic: Mapping[int, bool], count: int) -> list[int]:
    """The first `count` indices; the last of them gives way to the first picture of a kind that they lack.

    Of a single one it is a tampered picture that is shown.
    """
    order = sorted(authentic)
    first = order[:count]
    for kind in (True, False) if count > 1 else (False,):
        lacking = [index for index in order if authentic[index] == kind]
        if first and lacking and not set(lacking) & set(first):
            first[-1] = lacking[0]
    return first


def panel_row(batch: Batch, maps: torch.Tensor, i: int, stride: int, threshold: float = 0.5) -> draw.Image:
    """Picture `i` of a batch with its truth, heat map, overlay and patch categories, without the padding.

    `maps` are the probabilities (B,1,H,W). Above the row its name and its F1, as `val/f1` has it. The longer side of
    each cell is 128 to 512 pixels.
    """
    height, width = batch["content"][i].tolist()
    frame_height, frame_width = batch["mask"].shape[-2:]
    rows, columns = patch_grid(frame_height, frame_width, stride)
    grid = categorise(batch["mask"][i : i + 1], batch["valid"][i : i + 1], stride).view(rows, columns)
    image = batch["image"][i].permute(1, 2, 0)[:height, :width].cpu().numpy()
    probability = maps[i, 0, :height, :width].float().cpu().numpy()
    truth = batch["mask"][i, 0, :height, :width].bool().cpu().numpy()
    found = probability > threshold
    cells = {
        "image": image,
        "truth": draw.mask(truth),
        "heat map": draw.heat(probability),
        "overlay": draw.overlay(image, probability, threshold),
        "patch categories": draw.categories(grid.cpu().numpy(), stride, height, width),
    }
    side = max(height, width)
    if not _LEAST <= side <= _MOST:
        cells = {name: draw.to_side(cell, min(max(side, _LEAST), _MOST)) for name, cell in cells.items()}
    if truth.any():
        score = f"F1 {2 * (found & truth).sum() / (found.sum() + truth.sum()):.3f}"
    elif batch["authentic"][i]:
        score = f"authentic, {found.mean():.1%} called tampered"
    else:
        score = "no tampered pixel left"
    return draw.panel(cells, batch["name"][i], score)
