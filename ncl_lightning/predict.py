"""Heat maps, masks and overlays of pictures that have no truth, and a list of what was found."""

import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, fields, replace
from heapq import nlargest
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
from ncl_lightning.evidence import FORMULA, examine
from ncl_lightning.files import file_hash, replacing, write_json
from ncl_lightning.images import write_image
from ncl_lightning.per_image import write_rows
from ncl_lightning.predict_folder import (
    ABOUT,
    CSV,
    PAGE,
    earlier_results,
    no_pictures,
    refuse_to_overwrite,
    remove,
)
from ncl_lightning.predict_inputs import RAW, named_paths, named_pictures, output_file, output_stems
from ncl_lightning.predict_page import SHOWN, Predicted, preview, stands_out, write_gallery
from ncl_lightning.run_folder import environment, merged
from ncl_lightning.untouched import untouched_of

_LEAST = 64  # pixels of the shorter side: smaller ones hold some few blocks of JPEG


def _no_formula(path: str) -> str:
    """A path that no spreadsheet takes for a formula."""
    return f"./{path}" if path.startswith(FORMULA) else path


def _with_twins(found: Iterable[Predicted]) -> list[Predicted]:
    """The same, each with a note of the pictures whose file is the same to the byte."""
    alike = defaultdict(list)
    for one in found:
        alike[one.sha256].append(one)
    noted = []
    for group in alike.values():
        for one in group:
            twins = sorted(other.picture for other in group if other is not one)
            more = f" and {len(twins) - 1} more" if len(twins) > 1 else ""
            notes = [one.note, f"the same file as {twins[0]}{more}" if twins else ""]
            noted.append(replace(one, note="; ".join(filter(None, notes))))
    return noted


class PredictionWriter(BasePredictionWriter):
    """Writes `<stem>_heat.png` (8-bit grey), `<stem>_mask.png` and `<stem>_overlay.png` at original size.

    And, for all pictures, `predictions.csv` (the fields of `Predicted`) and `predictions.html`, the most suspicious
    first, and what they were made with in `predictions.json`.

    Args:
        folder: Where to write.
        run: What to say of the run besides the versions: checkpoint, model (its `threshold`: a pixel with a higher
            probability is white in the mask), data.
        raw: Also write `<stem>_map.npy`, the map itself: float32 (H,W).
    """

    def __init__(self, folder: Path, run: dict[str, Any], raw: bool = False) -> None:
        super().__init__(write_interval="batch")
        self.folder = folder
        self.run = run
        self.raw = raw
        self.threshold: float = run["model"]["threshold"]
        self.untouched = untouched_of(run)
        self.failed: dict[str, str] = {}
        self._found: dict[str, Predicted] = {}
        self._previews: dict[str, list[bytes]] = {}
        self._left_out: list[Path] = []
        self._root = Path()
        self._stems: dict[str, Path] = {}

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Settle every output's name, the same in all processes.

        Raises:
            InputError: A picture would be overwritten, or results of other pictures lie there.
        """
        # a folder named by the time is the first process's
        self.folder = trainer.strategy.broadcast(self.folder)
        named = trainer.datamodule.hparams["predict"]  # type: ignore[attr-defined]
        given = named_paths(named)
        self._root = Path(os.path.commonpath([path if path.is_dir() else path.parent for path in given]))
        pictures = named_pictures(named)
        self._stems = output_stems(pictures, self._root)
        self._left_out = sorted({file for path in given for file in no_pictures(path, self.folder)})
        left = Counter(file.suffix.lower() or file.name for file in self._left_out)
        if left and trainer.is_global_zero:
            kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(left.items()))
            print(f"left out, not read as pictures: {kinds}; {CSV} names them", file=sys.stderr)
        replaced = earlier_results(self.folder, self._stems)
        if replaced and trainer.is_global_zero:
            print(f"{self.folder}: contains results of these pictures; they are replaced", file=sys.stderr)
        refuse_to_overwrite(self.folder, self._stems.values(), pictures)
        # no process writes before all have looked
        trainer.strategy.barrier()
        if trainer.is_global_zero:
            # were this run stopped, they would stand beside its own as if they were
            remove(self.folder, replaced)
            # a run that is killed leaves this one: unlisted, its maps could be taken for a part of the next case there
            self._list(trainer, {})
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
            if self.raw:
                with replacing(self._file(stem, RAW)) as partial:
                    np.save(partial, values)
            write_image(self._file(stem, "mask"), (values > self.threshold).astype("uint8") * 255)
            picture = batch["original_image"][i].cpu().numpy()
            alike = [_at_size(copy, *values.shape) for copy in batch["copies"][i]]
            highest = round(float(batch["highest"][i] if "highest" in batch else values.max()), 4)
            as_high = round(self.untouched.as_high(highest), 3) if self.untouched else None
            odd = stands_out(highest, as_high)
            drawn = draw.overlay(picture, values, self.threshold, alike, dashed=not odd)
            write_image(self._file(stem, "overlay"), drawn)
            evidence = examine(name)
            reduced = _reduced(values.shape, tuple(batch["content"][i].tolist()))
            self._found[name] = Predicted(
                picture=self._named(name),
                files=_no_formula(stem.as_posix()),
                width=values.shape[1],
                height=values.shape[0],
                outlined_share=round(float((values > self.threshold).mean()), 4),
                highest=highest,
                untouched_as_high=as_high,
                stands_out="yes" if odd else "no",
                copies=len(alike),
                sha256=file_hash(name) or "",
                **{**asdict(evidence), "note": "; ".join(filter(None, [evidence.note, reduced]))},
            )
            self._previews[name] = [preview(one) for one in (picture, drawn, draw.grey(values))]
        # those of a large folder would fill the memory
        if len(self._previews) > SHOWN:
            self._previews = {name: self._previews[name] for name in self._highest(self._previews)}

    def _highest(self, names: Iterable[str]) -> list[str]:
        """Those of the most suspicious pictures that the page shows."""
        return nlargest(SHOWN, sorted(names), key=lambda name: self._found[name].highest or 0)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """List what was found by all processes, and say what was done."""
        # a sampler may give two processes the same picture
        self._found = merged(self._found)
        previews = merged(self._previews)
        self.failed = merged(self.failed)
        if trainer.is_global_zero:
            self._list(trainer, previews)
            skipped = f", {len(self.failed)} skipped" if self.failed else ""
            pictures = f"{len(self._found)} picture{'s' * (len(self._found) != 1)}"
            done = f"heat maps of {pictures} in {self.folder}{skipped}"
            print(f"{done}; look at {PAGE}" if self._found else done)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """List what there is by then."""
        # other processes do not come to tell
        if trainer.world_size == 1 and self._found:
            with suppress(InputError):
                self._list(trainer, self._previews)

    def _list(self, trainer: Trainer, previews: Mapping[str, list[bytes]]) -> None:
        """Write the list, the page, and what they were made with; pictures that were not looked at are so listed."""
        listed = sorted(_with_twins(self._found.values()), key=lambda one: (-(one.highest or 0), one.picture))
        listed += [
            Predicted(self._named(name), note=_no_formula(line), sha256=file_hash(name) or "")
            for name, line in sorted(self.failed.items())
        ]
        missing = [name for name in self._stems if name not in self._found and name not in self.failed]
        listed += [
            Predicted(
                self._named(name), _no_formula(self._stems[name].as_posix()), note="not looked at: it was stopped"
            )
            for name in missing
        ]
        listed += [
            Predicted(
                self._named(file),
                note=f"left out: {file.suffix} is no picture's"
                if file.suffix
                else "left out: no suffix; name the file itself to have it read",
            )
            for file in self._left_out
        ]
        columns = [field.name for field in fields(Predicted)]
        write_rows(self.folder / CSV, [asdict(one) for one in listed], columns)
        about = {**self.run, **environment(trainer)}
        if missing:
            about["partial"] = f"stopped before {len(missing)} of {len(self._stems)} pictures"
        shown = {self._found[name].picture: previews[name] for name in self._highest(previews)}
        page = {**about, "folder": self._root.absolute()}
        write_gallery(self.folder / PAGE, listed, shown, page, self.untouched)
        write_json(self.folder / ABOUT, about)

    def _named(self, file: Path | str) -> str:
        """What the list calls a file: its path below the folder given."""
        return _no_formula(Path(file).relative_to(self._root).as_posix())

    def _file(self, stem: Path, kind: str) -> Path:
        return self.folder / output_file(stem, kind)


def _at_size(copy: Copy, height: int, width: int) -> tuple[draw.Region, draw.Region]:
    """The two places of a copy in a picture of that size."""
    one, other = (
        cv2.resize(place.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST_EXACT) > 0
        for place in (copy.one, copy.other)
    )
    return one, other


def _reduced(size: tuple[int, ...], network: tuple[int, ...]) -> str:
    """What a picture (H, W) became for the network, if anything."""
    if min(size) < _LEAST:
        return "too small to say anything of"
    if size == network:
        return ""
    how = "downscaled" if network[0] * network[1] < size[0] * size[1] else "resized"
    return f"{how} to {network[1]}×{network[0]} for the network"
