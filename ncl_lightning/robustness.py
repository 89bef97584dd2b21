"""`robustness`: the scores of a checkpoint under distortions of growing severity.

Options are those of `test`, and `--preset` or `--levels`. Each level is written to robustness.csv when it is done, so
a killed run goes on where it stopped when the same command is given again.
"""

import hashlib
import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import Trainer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ncl_lightning.checkpoints import beside_checkpoint, load_checkpoint
from ncl_lightning.cli import NCLCLI
from ncl_lightning.data import ManipulationDataModule
from ncl_lightning.distortions import CLEAN, DistortedSource, ladders
from ncl_lightning.files import file_hash
from ncl_lightning.leakage import leaks
from ncl_lightning.ledger import Ledger
from ncl_lightning.module import NCLModule
from ncl_lightning.per_image import Row, digits
from ncl_lightning.plots import robustness_plot
from ncl_lightning.progress import quiet
from ncl_lightning.results import with_intervals
from ncl_lightning.sources import Source


class RobustnessTrainer(Trainer):
    """A Trainer that tests once for each level of each distortion."""

    ledger: Ledger

    def robustness(
        self,
        model: NCLModule,
        datamodule: ManipulationDataModule,
        ckpt_path: str | None = None,
        preset: Literal["usual", "benco"] = "usual",
        levels: dict[str, list[float]] | None = None,
    ) -> None:
        """Score a checkpoint under blur, noise, JPEG, resizing, gamma and cropping.

        Args:
            model: The network.
            datamodule: The test sets.
            ckpt_path: Checkpoint to score.
            preset: Levels by name: `usual`, or `benco`, those of IMDL-BenCo (blur, noise and JPEG).
            levels: Levels of each distortion instead: blur by odd kernel size, noise by variance (of grey levels
                0..255), jpeg by quality, resize by factor (and back), gamma by exponent, crop by the rows and columns
                cut off at the top and the left.
        """
        plan = ladders(preset, levels)
        ledger = self.ledger
        ledger.share_clean(plan)
        pending = _pending(plan, ledger)
        checkpoint = load_checkpoint(str(ckpt_path))
        model.load_state_dict(checkpoint["state_dict"])
        model.val_threshold = checkpoint.get("val_threshold")
        datasets: list[Any] = [loader.dataset for loader in datamodule.test_dataloader()]
        # as in `test`, and before anything is distorted: what was trained on is not scored on
        datamodule.guard.load_state_dict(checkpoint.get(type(datamodule).__qualname__, {}))
        for dataset in datasets:
            datamodule.guard.check(f"data.test: {dataset.name}", dataset.sources)
        if found := leaks(datamodule):
            ledger.about["leakage"] = found
        clean = [dataset.sources for dataset in datasets]
        began = time.monotonic()
        for number, (kind, level) in enumerate(pending):
            self._say(_heading(kind, level, number, len(pending), time.monotonic() - began))
            for dataset, sources in zip(datasets, clean, strict=True):
                starts = [sum(map(len, sources[:i])) for i in range(len(sources))]
                dataset.sources = [DistortedSource(s, kind, level, n) for s, n in zip(sources, starts, strict=True)]
            self.test(model, datamodule=datamodule, verbose=False)
            # every process takes part in the scores, the first one writes
            ledger.add(kind, level, with_intervals(model))
            ledger.share_clean(plan)
            if self.is_global_zero:
                ledger.write(plan)
        if self.is_global_zero:
            ledger.write(plan)
            robustness_plot(ledger.path.with_suffix(".png"), _within(ledger, plan))
            _show(_within(ledger, plan), plan)
            self._say(f"table: {ledger.path}\nplot:  {ledger.path.with_suffix('.png')}")

    def _say(self, text: str) -> None:
        if self.is_global_zero:
            Console().print(text, highlight=False, markup=False, soft_wrap=True)


def _pending(plan: Mapping[str, list[str]], ledger: Ledger) -> list[tuple[str, str]]:
    """What is still to do: the clean pictures once and first, for all else is held against them."""
    todo = [(kind, level) for kind, ladder in plan.items() for level in ladder if (kind, level) not in ledger.done]
    clean = [step for step in todo if step[1] == CLEAN]
    return clean[:1] + [step for step in todo if step[1] != CLEAN]


def _heading(kind: str, level: str, done: int, count: int, seconds: float) -> str:
    left = f", about {seconds / done * (count - done):.0f} s left" if done else ""
    return f"{'clean pictures' if level == CLEAN else f'{kind} {level}'} ({done + 1} of {count}{left})"


def _within(ledger: Ledger, plan: Mapping[str, list[str]]) -> list[Row]:
    return [row for row in ledger.rows(plan) if row["level"] in plan.get(str(row["distortion"]), ())]


def _show(rows: list[Row], plan: Mapping[str, list[str]]) -> None:
    table = Table(title="from mild to severe, at network size")
    for head in ("set", "distortion", "score", "level: value"):
        table.add_column(head)
    for name in dict.fromkeys(str(row["set"]) for row in rows):
        for kind in plan:
            mine = [row for row in rows if row["set"] == name and row["distortion"] == kind]
            f1, auc = ("  ".join(f"[dim]{r['level']}:[/dim]{digits(r[key])}" for r in mine) for key in ("f1", "auc"))
            table.add_row(escape(name), kind, "F1", f1)
            table.add_row("", "", "AUC", auc, end_section=True)
    Console().print(table)


class RobustnessCLI(NCLCLI):
    """The options of `test`, and those of `RobustnessTrainer.robustness`."""

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """One command."""
        return {"robustness": {"model", "datamodule"}}

    def before_instantiate_classes(self) -> None:
        """Say what is missing before anything is made."""
        super().before_instantiate_classes()
        options = self.config[self.subcommand]
        ladders(options.preset, options.levels)

    def before_robustness(self) -> None:
        """Find the rows that an earlier run left: the folder's name says of which checkpoint and settings."""
        options = self.config[self.subcommand]
        datasets = [loader.dataset for loader in self.datamodule.test_dataloader()]
        run: dict[str, Any] = {
            "checkpoint_sha256": file_hash(options.ckpt_path),
            "model": options.model.as_dict(),
            "data": {key: options.data[key] for key in ("test", *ManipulationDataModule.EVALUATION_KEYS)},
            # what relative paths lie below: the same names elsewhere are other pictures
            "root": str(Path(options.data.root or "").absolute()),
            "images": [len(dataset) for dataset in datasets],
            "files": _state_of_files(source for dataset in datasets for source in dataset.sources),
            "precision": str(self.trainer.precision),
            "limit_test_batches": self.trainer.limit_test_batches,
        }
        name = hashlib.sha256(json.dumps(run, sort_keys=True, default=str).encode()).hexdigest()[:12]
        given = options.trainer.default_root_dir
        folder = Path(given) if given else beside_checkpoint(options.ckpt_path) / f"robustness-{name}"
        about = {"checkpoint": options.ckpt_path, **run}
        self.trainer.ledger = Ledger(folder / "robustness.csv", name, about)  # type: ignore[attr-defined]


def _state_of_files(sources: Iterable[Source]) -> str:
    """A number that changes where a picture or a mask of the sources is replaced or mended; as files tell."""
    state = hashlib.sha256()
    for source in sources:
        for pair in getattr(source, "pairs", ()):
            for file in filter(None, (pair.image, pair.mask)):
                status = file.stat()
                state.update(f"{file.name} {status.st_size} {status.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return state.hexdigest()


def main() -> int:
    """Run the command line."""
    quiet()
    # as in `test`
    torch.backends.cudnn.allow_tf32 = False
    RobustnessCLI(trainer_class=RobustnessTrainer)
    return 0
