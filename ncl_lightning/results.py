"""What `test` leaves: a table on the terminal, results.json, per_image.csv and report.html."""

import math
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ncl_lightning.datasets import Batch
from ncl_lightning.files import make_folder, run_of_checkpoint, write_json
from ncl_lightning.leakage import leaks
from ncl_lightning.metrics import ImageScores
from ncl_lightning.module import AT_ORIGINAL, plain
from ncl_lightning.per_image import digits, image_rows, write_rows
from ncl_lightning.report import SetReport, write_report
from ncl_lightning.report_examples import examples
from ncl_lightning.run_folder import environment, merged

# four do not fit into 80 columns
SHOWN = ("f1", "iou", "auc")


class ResultsWriter(Callback):
    """Prints a table of the scores and writes what a test leaves.

    `results.json`: `{"sets": {NAME: {"f1": …, "f1_ci": [low, high], …}}, "run": {…}}`, null where undefined;
    `per_image.csv`: a row for each image; `report.html`: both, to look at.

    Args:
        folder: Where to write.
        run: What to say of the run besides the versions: checkpoint, data, options.
        shown: Best and worst images of each set in the report.
    """

    def __init__(self, folder: Path, run: dict[str, Any], shown: int = 4) -> None:
        self.folder = folder
        self.run = run
        self.shown = shown
        # by set and index: name, height, width
        self._pictures: dict[tuple[str, int], tuple[str, int, int]] = {}

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make the folder: better no test than one whose results can't be kept."""
        if trainer.is_global_zero:
            make_folder(self.folder)

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Note the names and sizes of a batch's pictures."""
        of_set = list(_scores(pl_module))[dataloader_idx]
        for index, name, size in zip(
            batch["index"].tolist(), batch["name"], batch["original_size"].tolist(), strict=True
        ):
            self._pictures[of_set, index] = (name, *size)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write when every set is done: all processes gather, the first one writes."""
        pictures: dict[str, dict[int, tuple[str, int, int]]] = defaultdict(dict)
        for (name, index), picture in merged(self._pictures).items():
            pictures[name][index] = picture
        sets = with_intervals(pl_module)
        tables = {name: [s.per_image() for s in pair] for name, pair in _scores(pl_module).items()}
        curves = {name: [s.curve() for s in pair] for name, pair in _scores(pl_module).items()}
        if not trainer.is_global_zero:
            return
        run = {**self.run, **environment(trainer)}
        # what was scored on though it was trained or selected on, by --data.leakage=warn
        found = leaks(getattr(trainer, "datamodule", None))
        if found:
            run["leakage"] = found
        loaders: Any = trainer.test_dataloaders
        loaders = loaders if isinstance(loaders, list) else [loaders]
        counts = {name: (sets[name]["images"], len(loader.dataset)) for name, loader in zip(sets, loaders, strict=True)}
        # as by trainer.limit_test_batches
        partial = {name: count for name, count in counts.items() if count[0] < count[1]}
        for name, (seen, count) in partial.items():
            print(f"PARTIAL: {name} was scored on {seen} of its {count} pictures", file=sys.stderr)
        if partial:
            run["partial"] = partial
        rows = {name: image_rows(name, pictures[name], *pair) for name, pair in tables.items()}
        show(sets)
        # of an earlier test: it would stand beside the tables of this one, were this one killed
        (self.folder / "results.json").unlink(missing_ok=True)
        write_rows(self.folder / "per_image.csv", [row for part in rows.values() for row in part])
        parts = []
        for name, loader in zip(sets, loaders, strict=True):
            network, original = ({key: v.tolist() for key, v in curve.items()} for curve in curves[name])
            chosen = examples(trainer, pl_module, loader.dataset, rows[name], self.shown)
            parts.append(SetReport(name, sets[name], rows[name], network, original, chosen))
        write_report(self.folder / "report.html", parts, run, _training_config(self.run.get("checkpoint")))
        # last: where it is, all is
        write_json(self.folder / "results.json", {"sets": sets, "run": run})
        Console().print(f"results: {self.folder / 'results.json'}", soft_wrap=True, highlight=False)
        Console().print(f"report:  {self.folder / 'report.html'}", soft_wrap=True, highlight=False)


def with_intervals(module: LightningModule) -> dict[str, dict[str, Any]]:
    """The scores of each set (`module.results`) with bootstrap 95 % intervals beside the means.

    Every process must call it.
    """
    results: Any = module.results
    return {name: results[name] | _intervals(*tables) for name, tables in _scores(module).items()}


def _intervals(network: ImageScores, original: ImageScores) -> dict[str, Any]:
    """`…_ci` of the means at network size and at original size; every process must call it."""
    found = network.intervals()
    found |= {f"{key}_original": value for key, value in original.intervals().items() if key in AT_ORIGINAL}
    undefined = {key for key, ends in found.items() if any(map(math.isnan, ends))}
    return {f"{key}_ci": None if key in undefined else list(ends) for key, ends in found.items()}


def at_one_size(scores: ImageScores) -> dict[str, Any]:
    """The scores of a set, with intervals, whose maps have no other size than the original one."""
    found = {key: plain(value) for key, value in scores.compute().items()}
    return found | {f"{key}_original": found[key] for key in AT_ORIGINAL} | _intervals(scores, scores)


def _scores(module: LightningModule) -> dict[str, tuple[ImageScores, ImageScores]]:
    """Of each set at network size and at original size."""
    tables: Any = module.test_scores
    return {name: (of_set["network"], of_set["original"]) for name, of_set in tables.items()}


def _training_config(checkpoint: str | None) -> str | None:
    """config.yaml of the run that a checkpoint lies in."""
    run = run_of_checkpoint(checkpoint) if checkpoint else None
    file = run / "config.yaml" if run else None
    return file.read_text(encoding="utf-8") if file and file.is_file() else None


def show(sets: dict[str, dict[str, Any]]) -> None:
    """A table of every set, at network size and at original size, with intervals; what is in no mean is said before."""
    for name, scores in sets.items():
        if scores["empty_images"]:
            print(
                f"{name}: {scores['empty_images']} of {scores['images']} pictures are tampered by their source and "
                "have no tampered pixel (an empty mask, or a region lost in reducing; docs/scores.md)",
                file=sys.stderr,
            )
    table = Table(title="pixel scores: means over tampered images, bootstrap 95 % intervals")
    for name in ("set\n[dim]tampered\nof all[/dim]", "scored at", *SHOWN, "F1 of all\ntampered"):
        words = name.startswith(("set", "scored at"))
        table.add_column(name, justify="left" if words else "right", overflow="fold", no_wrap=not words)
    for name, scores in sets.items():
        head = f"{escape(name)}\n[dim]{scores['tampered_images']} of {scores['images']}[/dim]"
        table.add_row(head, "network", *(_cell(scores, key) for key in SHOWN), digits(scores["f1_all_tampered"]))
        table.add_row("", "original", *(_cell(scores, f"{key}_original") for key in SHOWN), "", end_section=True)
    Console().print(table)


def _cell(scores: dict[str, Any], key: str) -> str:
    ends = scores.get(f"{key}_ci")
    return digits(scores.get(key)) + (f"\n[dim]{ends[0]:.3f}–{ends[1]:.3f}[/dim]" if ends else "")
