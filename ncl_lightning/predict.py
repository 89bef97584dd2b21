"""Heat maps, masks and overlays of pictures that have no truth."""

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter

from ncl_lightning import draw
from ncl_lightning.datasets import Batch
from ncl_lightning.images import write_image

OUTPUTS = ("heat", "mask", "overlay")


def without_outputs(files: Sequence[Path]) -> list[Path]:
    """Files but what an earlier run wrote among them: `_heat`, `_mask` and `_overlay` of one stem, all three."""
    known = set(files)
    written = {
        path
        for heat in files
        if heat.name.endswith("_heat.png")
        and known.issuperset(trio := [heat.with_name(f"{heat.stem[:-5]}_{kind}.png") for kind in OUTPUTS])
        for path in trio
    }
    return [path for path in files if path not in written]


def output_stems(files: Sequence[Path], root: Path) -> dict[str, Path]:
    """For each picture, the path below the output folder that its files' names begin with.

    Sub-folders of `root` are kept; a stem that two pictures of a folder share is replaced by the full name.
    """
    stems = [file.relative_to(root).with_suffix("") for file in files]
    shared = Counter(str(stem).casefold() for stem in stems)
    return {
        str(file): stem if shared[str(stem).casefold()] == 1 else file.relative_to(root)
        for file, stem in zip(files, stems, strict=True)
    }


class PredictionWriter(BasePredictionWriter):
    """Writes `<stem>_heat.png` (8-bit grey), `<stem>_mask.png` and `<stem>_overlay.png` at original size.

    Args:
        folder: Where to write.
        threshold: A pixel with a higher probability is white in the mask.
    """

    def __init__(self, folder: Path, threshold: float = 0.5) -> None:
        super().__init__(write_interval="batch")
        self.folder = folder
        self.threshold = threshold
        self.failed: list[str] = []
        self.written = 0
        self._stems: dict[str, Path] = {}

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Settle every output's name."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        root = Path(data.hparams["predict"])
        self._stems = output_stems(data.prediction_files(), root if root.is_dir() else root.parent)

    def write_on_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        prediction: Any,
        batch_indices: Sequence[int] | None,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        """Write the pictures of one batch; name the files that could not be read."""
        for line in batch.get("errors", ()):
            self.failed.append(line)
            print(f"skipped: {line}", file=sys.stderr)
        for i, probability in enumerate(prediction):
            stem = self.folder / self._stems[batch["name"][i]]
            values = probability.float().cpu().numpy()
            write_image(stem.with_name(f"{stem.name}_heat.png"), draw.grey(values))
            write_image(stem.with_name(f"{stem.name}_mask.png"), (values > self.threshold).astype("uint8") * 255)
            picture = batch["original_image"][i].cpu().numpy()
            write_image(stem.with_name(f"{stem.name}_overlay.png"), draw.overlay(picture, values, self.threshold))
            self.written += 1

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say what was done."""
        skipped = f", {len(self.failed)} skipped" if self.failed else ""
        print(f"heat maps of {self.written} pictures in {self.folder}{skipped}")
