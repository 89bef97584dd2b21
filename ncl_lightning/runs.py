"""`runs [FOLDER]`: a line for each run below a folder, best first. It reads no checkpoint, and needs no torch."""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ncl_lightning.errors import InputError
from ncl_lightning.files import read_metrics
from ncl_lightning.find_result import IDLE_DATA, newest_result, sets_of
from ncl_lightning.function_command import Parser
from ncl_lightning.options import cut, differing, flat, in_use, short_names, text
from ncl_lightning.per_image import digits, write_rows

# a tenth of the time of yaml's own, where its C library is there
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SHOWN = ("val/f1", "val/auc")
_TEST = ("f1", "auc")
# what does not move a run's scores
_IDLE = (
    *(f"data.{name}" for name in IDLE_DATA),
    "trainer.default_root_dir", "trainer.logger", "trainer.enable_progress_bar", "trainer.enable_model_summary",
)  # fmt: skip


@dataclass(frozen=True)
class RunLine:
    """What is known of a run.

    Attributes:
        name: Its folder, below the one that was asked for.
        began: When it began, or last went on: when its config.yaml was written.
        state: `finished`, or how far it came: `step 120 of 400`, `epoch 3 of 8`.
        steps: Training steps done, as far as metrics.csv says.
        seed: That of `seed_everything`.
        options: Its model, data and trainer options, flat.
        monitor: The score by which best.ckpt is chosen, `val/f1` unless it was told otherwise.
        worse: Whether a higher one is worse, as of a loss.
        best: Its `val/…` scores where that was best; empty before the first validation.
        best_step: The training steps done by then, as the terminal prints them.
        tests: F1 and AUC of each set of its newest test.
    """

    name: str
    began: datetime
    state: str
    steps: int
    seed: Any
    options: dict[str, Any]
    monitor: str
    worse: bool
    best: dict[str, float]
    best_step: int | None
    tests: dict[str, dict[str, float | None]]


def read_runs(folder: Path) -> list[RunLine]:
    """The runs below a folder, best first: by what chose their best.ckpt, where that is the same, else by `val/f1`.

    Those without any validation are last, by name.

    Raises:
        InputError: There is none, or a file of one is damaged.
    """
    found = [line for config in sorted(folder.rglob("config.yaml")) if (line := read_run(config.parent, folder))]
    if not found:
        raise InputError(f"{folder}: no run below it (no config.yaml of a `fit`); give the folder that holds runs")
    alike = len({(line.monitor, line.worse) for line in found}) == 1
    monitor, worse = (found[0].monitor, found[0].worse) if alike else (_SHOWN[0], False)

    def order(line: RunLine) -> float:
        value = line.best.get(monitor)
        return math.inf if value is None else value if worse else -value

    return sorted(found, key=order)


def read_run(folder: Path, root: Path) -> RunLine | None:
    """A run as its files tell it; None where config.yaml is no run's, as W&B's.

    Raises:
        InputError: A file is damaged.
    """
    config = _config(folder / "config.yaml")
    if not all(isinstance(config.get(part), dict) for part in ("model", "data", "trainer")):
        return None
    rows = read_metrics(folder / "metrics.csv")
    steps = max((int(row["step"]) + 1 for row in rows), default=0)
    chooses = config.get("checkpoint") or {}
    monitor, worse = chooses.get("monitor") or _SHOWN[0], chooses.get("mode") == "min"
    validated = [row for row in rows if row.get(monitor)]
    top = (min if worse else max)(validated, key=lambda row: float(row[monitor]), default={})
    tested = newest_result(folder)
    return RunLine(
        name=folder.relative_to(root).as_posix(),
        began=datetime.fromtimestamp((folder / "config.yaml").stat().st_mtime),
        state=_state(config["trainer"], rows, steps),
        steps=steps,
        seed=config.get("seed_everything"),
        options=flat({"model": in_use(config["model"]), "data": config["data"], "trainer": config["trainer"]}),
        monitor=monitor,
        worse=worse,
        best={key: float(value) for key, value in top.items() if key.startswith("val/") and value},
        best_step=int(top["step"]) + 1 if top else None,
        tests={
            name: {score: scores.get(score) for score in _TEST}
            for name, scores in (sets_of(tested) if tested else {}).items()
        },
    )


def _config(file: Path) -> dict[str, Any]:
    try:
        config = yaml.load(file.read_text(encoding="utf-8"), _LOADER)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InputError(f"{file}: can't be read ({' '.join(str(error).split())}); move it away") from error
    return config if isinstance(config, dict) else {}


def _state(trainer: dict[str, Any], rows: Sequence[dict[str, str]], steps: int) -> str:
    """Whether a run came as far as it was to, and if not, how far."""
    planned, epochs = trainer.get("max_steps") or -1, trainer.get("max_epochs") or -1
    # what is logged at an epoch's end
    done = max((int(row["epoch"]) + 1 for row in rows if row.get("train/loss")), default=0)
    if 0 < planned <= steps or 0 < epochs <= done:
        return "finished"
    if planned > 0:
        return f"step {steps} of {planned}"
    return f"epoch {done} of {epochs}" if epochs > 0 else f"step {steps}"


def _table(found: Sequence[RunLine]) -> Table:
    names = short_names([key for key in differing([line.options for line in found]) if key not in _IDLE])
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for head in ("run", "began", "state", "seed", *names.values(), *_SHOWN, "at step", "test: F1, AUC"):
        right = head in ("seed", *_SHOWN, "at step")
        table.add_column(escape(head), overflow="fold", justify="right" if right else "left")
    for line in found:
        cells = [line.name, f"{line.began:%m-%d %H:%M}", line.state, text(line.seed)]
        cells += [cut(text(line.options[key])) if key in line.options else "" for key in names]
        cells += [*(digits(line.best.get(score)) for score in _SHOWN)]
        cells += ["" if line.best_step is None else str(line.best_step)]
        cells += ["\n".join(f"{name} {', '.join(map(digits, s.values()))}" for name, s in line.tests.items())]
        table.add_row(*map(escape, cells))
    return table


def _rows(found: Sequence[RunLine]) -> list[dict[str, Any]]:
    """Everything of each run, in columns that all have."""
    rows = [
        {"run": line.name, "began": f"{line.began:%Y-%m-%dT%H:%M:%S}", "state": line.state, "steps": line.steps}
        | {"seed": line.seed, "best_step": line.best_step}
        | line.best
        | {f"test/{name}/{score}": value for name, scores in line.tests.items() for score, value in scores.items()}
        | {key: value if isinstance(value, int | float | str) else text(value) for key, value in line.options.items()}
        for line in found
    ]
    columns = dict.fromkeys(key for row in rows for key in row)
    return [{key: row.get(key) for key in columns} for row in rows]


def main() -> int:
    """Run the command line."""
    parser = Parser(
        prog="python -m ncl_lightning runs",
        description="The runs below a folder, best first by what chose their best.ckpt (val/f1 where that is not the "
        "same for all), with the options in which they differ and the validation scores of that checkpoint.",
    )
    parser.add_argument("folder", nargs="?", type=Path, default=Path("runs"), metavar="FOLDER", help="default: runs")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write all options and scores there, too")
    options = parser.parse_args(sys.argv[2:])
    found = read_runs(options.folder)
    # a file or a pipe is as wide as it must be
    Console(width=None if sys.stdout.isatty() else 10_000).print(_table(found), highlight=False)
    if options.csv:
        write_rows(options.csv, _rows(found))
        print(f"all options and scores: {options.csv}")
    return 0
