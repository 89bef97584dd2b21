"""Heat maps, masks and overlays of pictures that have no truth, and a list of what was found."""

import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter

from ncl_lightning import draw
from ncl_lightning.copies import Copy
from ncl_lightning.datasets import Batch
from ncl_lightning.errors import InputError
from ncl_lightning.files import file_hash, write_json
from ncl_lightning.gallery import Predicted, write_gallery
from ncl_lightning.images import IMAGE_SUFFIXES, write_image
from ncl_lightning.per_image import write_rows
from ncl_lightning.pictures import OUTPUTS, named_paths, named_pictures, output_stems
from ncl_lightning.runs import environment, of_all_processes

CSV, PAGE, ABOUT = "predictions.csv", "predictions.html", "predictions.json"


def _others(given: Path, out: Path) -> list[Path]:
    """Files below a folder that are no pictures by their names, and no lists of `predict`; hidden ones do not count."""
    lists = [out / name for name in (CSV, PAGE, ABOUT)]
    return [
        file
        for file in (given.rglob("*") if given.is_dir() else ())
        if file.is_file()
        and file.suffix.lower() not in IMAGE_SUFFIXES
        and file not in lists
        and not any(part.startswith(".") for part in file.relative_to(given).parts)
    ]


class PredictionWriter(BasePredictionWriter):
    """Writes `<stem>_heat.png` (8-bit grey), `<stem>_mask.png` and `<stem>_overlay.png` at original size.

    And, for all pictures, `predictions.csv` (the fields of `Predicted`) and `predictions.html`, the most suspicious
    first, and what they were made with in `predictions.json`.

    Args:
        folder: Where to write.
        run: What to say of the run besides the versions: checkpoint, model (its `threshold`: a pixel with a higher
            probability is white in the mask), data.
    """

    def __init__(self, folder: Path, run: dict[str, Any]) -> None:
        super().__init__(write_interval="batch")
        self.folder = folder
        self.run = run
        self.threshold: float = run["model"]["threshold"]
        self.failed: dict[str, str] = {}
        self._found: dict[str, Predicted] = {}
        self._root = Path()
        self._stems: dict[str, Path] = {}

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Settle every output's name, the same in all processes.

        Raises:
            InputError: A picture would be overwritten.
        """
        # a folder named by the time is the first process's
        self.folder = trainer.strategy.broadcast(self.folder)
        named = trainer.datamodule.hparams["predict"]  # type: ignore[attr-defined]
        given = named_paths(named)
        self._root = Path(os.path.commonpath([path if path.is_dir() else path.parent for path in given]))
        pictures = named_pictures(named)
        self._stems = output_stems(pictures, self._root)
        left = Counter(file.suffix.lower() or file.name for path in given for file in _others(path, self.folder))
        if left and trainer.is_global_zero:
            kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(left.items()))
            print(f"left out, not read as pictures: {kinds}", file=sys.stderr)
        if (self.folder / CSV).exists() and trainer.is_global_zero:
            print(
                f"{self.folder}: contains an earlier run's results; its list and files of the same names are replaced",
                file=sys.stderr,
            )
        read = {picture.absolute() for picture in pictures}
        for stem in self._stems.values():
            files = [self._file(stem, kind) for kind in OUTPUTS]
            # ours begin with a heat map, also where a run was killed; what stands alone is the user's: a mask, say
            theirs = [] if files[0].exists() else [file for file in files if file.exists()]
            for file in (*theirs, *(file for file in files if file.absolute() in read)):
                raise InputError(f"{file}: the file would be overwritten; give another --trainer.default_root_dir")
        # no process writes before all have looked
        trainer.strategy.barrier()

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
        for name, line in batch.get("errors", ()):
            self.failed[name] = line
            print(f"skipped: {line}", file=sys.stderr)
        for i, probability in enumerate(prediction):
            name = batch["name"][i]
            stem = self._stems[name]
            values = probability.float().cpu().numpy()
            write_image(self._file(stem, "heat"), draw.grey(values))
            write_image(self._file(stem, "mask"), (values > self.threshold).astype("uint8") * 255)
            picture = batch["original_image"][i].cpu().numpy()
            rows, columns = batch["content"][i].tolist()
            alike = [_at_size(copy, *values.shape) for copy in batch["copies"][i]]
            drawn = draw.overlay(picture, values, self.threshold, alike)
            write_image(self._file(stem, "overlay"), drawn)
            self._found[name] = Predicted(
                picture=Path(name).relative_to(self._root).as_posix(),
                files=stem.as_posix(),
                width=values.shape[1],
                height=values.shape[0],
                tampered_share=round(float((values > self.threshold).mean()), 4),
                highest=round(float(batch["highest"][i] if "highest" in batch else values.max()), 4),
                copies=len(alike),
                sha256=file_hash(name) or "",
                note=f"looked at as {columns}×{rows} pixels" if (rows, columns) != values.shape else "",
            )

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """List what was found by all processes, and say what was done."""
        # a sampler may give two processes the same picture
        found = {name: one for part in of_all_processes(self._found) for name, one in part.items()}
        self.failed = {name: line for part in of_all_processes(self.failed) for name, line in sorted(part.items())}
        if not trainer.is_global_zero:
            return
        # what is found twice is confirmed pixel by pixel; a high probability alone is common in untouched pictures
        listed = sorted(found.values(), key=lambda one: (not one.copies, -(one.highest or 0), one.picture))
        listed += [
            Predicted(Path(name).relative_to(self._root).as_posix(), note=line, sha256=file_hash(name) or "")
            for name, line in sorted(self.failed.items())
        ]
        columns = [field.name for field in fields(Predicted)]
        write_rows(self.folder / CSV, [asdict(one) for one in listed], columns)
        write_gallery(self.folder / PAGE, listed, self.run)
        write_json(self.folder / ABOUT, {**self.run, **environment(trainer)})
        skipped = f", {len(self.failed)} skipped" if self.failed else ""
        print(f"heat maps of {len(found)} pictures in {self.folder}{skipped}{f'; look at {PAGE}' if found else ''}")

    def _file(self, stem: Path, kind: str) -> Path:
        return self.folder / stem.with_name(f"{stem.name}_{kind}.png")


def _at_size(copy: Copy, height: int, width: int) -> tuple[draw.Region, draw.Region]:
    """The two places of a copy in a picture of that size."""
    one, other = (
        cv2.resize(place.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0
        for place in (copy.one, copy.other)
    )
    return one, other
