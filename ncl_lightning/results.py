"""What `test` leaves: a table on the terminal and results.json."""

import hashlib
import json
import os
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console
from rich.table import Table

SHOWN = ("images", "f1", "iou", "auc", "f1_original", "iou_original", "auc_original", "f1_all_tampered")


class ResultsWriter(Callback):
    """Prints a table of the scores and writes `results.json`: `{"sets": {NAME: {…}}, "run": {…}}`.

    Args:
        folder: Where to write.
        run: What to say of the run besides the versions: checkpoint, data, options.
    """

    def __init__(self, folder: Path, run: dict[str, Any]) -> None:
        self.folder = folder
        self.run = run

    @rank_zero_only
    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write when every set is done."""
        sets = getattr(pl_module, "results", {})
        show(sets)
        write_json(self.folder / "results.json", {"sets": sets, "run": {**self.run, **environment(trainer)}})
        Console().print(f"results: {self.folder / 'results.json'}", soft_wrap=True, highlight=False)


def environment(trainer: Trainer) -> dict[str, Any]:
    """Versions and machine, as far as they decide a number."""
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": " ".join(["python -m ncl_lightning", *sys.argv[1:]]),
        "versions": {name: version(name) for name in ("ncl_lightning", "torch", "lightning")},
        "python": platform.python_version(),
        "accelerator": trainer.accelerator.__class__.__name__,
        "precision": str(trainer.precision),
        "processes": trainer.world_size,
    }


def show(sets: dict[str, dict[str, Any]]) -> None:
    """A row for each set."""
    table = Table(title="pixel scores: means over tampered images")
    table.add_column("set")
    for name in SHOWN:
        table.add_column(name.replace("_", "\n", 1), justify="right")
    for name, scores in sets.items():
        table.add_row(name, *(_text(scores.get(key)) for key in SHOWN))
    Console().print(table)


def _text(value: float | int | None) -> str:
    if value is None:
        return "–"
    return str(value) if isinstance(value, int) else f"{value:.3f}"


def file_hash(path: str | None) -> str | None:
    """SHA-256 of a file, so that a result names the very checkpoint it came from."""
    if not path or not Path(path).is_file():
        return None
    with open(path, "rb") as stream:
        return (
            hashlib.file_digest(stream, "sha256").hexdigest()
            if sys.version_info >= (3, 11)
            else (hashlib.sha256(stream.read()).hexdigest())
        )


def write_json(path: Path, value: Any) -> None:
    """Write JSON whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    temporary.replace(path)
