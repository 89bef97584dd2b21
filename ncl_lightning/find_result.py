"""The results of `test` that are meant by a folder, a file in it, a run or a checkpoint. Needs no torch."""

import json
from collections.abc import Iterable
from pathlib import Path
from shlex import quote
from typing import Any

from ncl_lightning.errors import InputError
from ncl_lightning.files import file_hash, run_of_checkpoint
from ncl_lightning.options import flat, in_use

# of the options of a test, those that move its scores
_TEST_MODEL = ("threshold", "copies", "own_cut", "second_look")
_TEST_DATA = ("size", "eval_sizing", "max_size")
IDLE_DATA = ("test", "predict", "num_workers", "eval_batch_size", "leakage", "counts")
"""Options of the data that move no score."""


def find_result(given: Path) -> Path:
    """The folder that `test` wrote, or a per_image.csv.

    Args:
        given: That folder, or results.json or a .csv in it; a run's folder or a checkpoint: its newest test.

    Raises:
        InputError: There is none; the line says how to make one.
    """
    if given.suffix == ".csv":
        return given
    if given.suffix == ".json":
        return given.parent
    if (given / "per_image.csv").is_file():
        return given
    found = _of_checkpoint(given) if given.is_file() else newest_result(given)
    if found is None:
        raise InputError(_advice(given))
    return found


def newest_result(run: Path) -> Path | None:
    """The folder of the newest test of a run: beside its checkpoints, or where an experiment has it."""
    beside = run.parent / "test"
    tested = about(beside).get("checkpoint")
    own = tested is not None and run_of_checkpoint(tested) == run.absolute()
    return _newest([*run.glob("checkpoints/test-*"), *run.glob("test*"), *([beside] if own else [])])


def _of_checkpoint(file: Path) -> Path | None:
    """The newest test of this very file: best.ckpt and last.ckpt lie in one folder, and a run goes on."""
    digest = file_hash(file)
    beside = file.parent.glob("test-*")
    return _newest(folder for folder in beside if about(folder).get("checkpoint_sha256") == digest)


def _newest(folders: Iterable[Path]) -> Path | None:
    # where results.json is, all is
    whole = [folder for folder in folders if (folder / "results.json").is_file()]
    # by what is in them: a copy has another date
    return max(whole, key=lambda folder: (str(about(folder).get("time", "")), folder.name), default=None)


def _advice(given: Path) -> str:
    if not given.exists():
        return f"{given}: no such folder or file; give a run's folder, a checkpoint, or the folder that `test` wrote"
    names = [given] if given.is_file() else [given / "checkpoints" / f"{name}.ckpt" for name in ("best", "last")]
    checkpoint = next((name for name in names if name.is_file() and name.suffix == ".ckpt"), None)
    if checkpoint is None:
        return f"{given}: neither a run with a checkpoint nor the folder that `test` wrote (no per_image.csv in it)"
    what = "this very file, as it is now," if given.is_file() else "this run"
    command = f"python -m ncl_lightning test --ckpt_path {quote(str(checkpoint))}"
    return (
        f"{given}: no test of {what} beside its checkpoint; type: {command} "
        """--data.test '{"NAME": "SOURCE"}' (or give the folder that `test` wrote)"""
    )


def run_of(result: Path) -> Path:
    """The folder of the run that a result is of, where it lies in it; else the result's own folder."""
    folder = result.parent if result.suffix == ".csv" else result
    if folder.parent.name == "checkpoints":
        return folder.parent.parent
    return folder.parent if folder.name == "test" else folder


def about(result: Path) -> dict[str, Any]:
    """The `run` of results.json; empty where there is none.

    Raises:
        InputError: The file is damaged.
    """
    return _read(result).get("run", {})


def sets_of(result: Path) -> dict[str, dict[str, Any]]:
    """The `sets` of results.json; empty where there are none.

    Raises:
        InputError: The file is damaged.
    """
    return _read(result).get("sets", {})


def _read(result: Path) -> dict[str, Any]:
    file = (result.parent if result.suffix == ".csv" else result) / "results.json"
    if not file.is_file():
        return {}
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: can't be read ({error}); `test` writes such a file anew") from error
    return found if isinstance(found, dict) else {}


def settings(run: dict[str, Any]) -> dict[str, Any]:
    """The options that a result may depend on, flat: the training's, and the test's own. Older files have fewer.

    Args:
        run: The `run` of results.json.
    """
    training = run.get("training", {})
    model, data = run.get("model", {}), run.get("data", {})
    own = {key: model[key] for key in _TEST_MODEL if key in model}
    options = flat(in_use(model | training.get("model", {}) | own), "model.")
    kept = {key: value for key, value in training.get("data", {}).items() if key not in IDLE_DATA}
    options |= flat(kept | {key: data[key] for key in _TEST_DATA if key in data}, "data.")
    if training.get("seed") is not None:
        options["seed"] = training["seed"]
    if run.get("checkpoint"):
        options["checkpoint"] = Path(run["checkpoint"]).name
    return options
