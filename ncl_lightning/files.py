"""Files written whole or not at all, so that a killed run leaves the former one; and read as a kill left them."""

import csv
import hashlib
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from ncl_lightning.errors import InputError


def make_folder(path: Path) -> None:
    """Make a folder, and those above it.

    Raises:
        InputError: It can't be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path}: can't be made ({error.strerror}); choose another folder") from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file to write to, with the suffix of `path`, whose place it takes at the end; what fails inside leaves none.

    Raises:
        InputError: The folder can't be written.
    """
    # in the same folder, to be renamed within one file system; hidden, so that nothing meets it half-written
    partial = path.with_name(f".{uuid4().hex}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        partial.replace(path)
    except OSError as error:
        raise InputError(f"{path}: can't be written ({error.strerror or error}); choose another folder") from error
    finally:
        with suppress(OSError):
            partial.unlink()


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, line ends as they are; what UTF-8 can't encode (in odd file names) as `\\udc…`.

    Raises:
        InputError: The folder can't be written.
    """
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="backslashreplace", newline="")


def write_json(path: Path, value: Any) -> None:
    """Write JSON; NaN has no place in it and raises ValueError."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def run_of_checkpoint(file: Path | str) -> Path | None:
    """The folder of the run in whose `checkpoints/`, or SLURM folder, a checkpoint lies; None of one elsewhere."""
    folder = Path(file).absolute().parent
    return folder.parent if folder.name == "checkpoints" or folder.name.startswith("slurm-") else None


def read_metrics(file: Path) -> list[dict[str, str]]:
    """Rows of a run's metrics.csv, empty if there is none; a last row that a kill cut short is left out.

    Raises:
        InputError: It can't be read.
    """
    if not file.is_file():
        return []
    try:
        # a run that was killed while it wrote leaves no end of the line
        text = file.read_text(encoding="utf-8").rpartition("\n")[0]
        return [row for row in csv.DictReader(text.splitlines()) if (row.get("step") or "").isdigit()]
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{file}: can't be read ({error}); move it away") from error


def file_hash(path: Path | str | None) -> str | None:
    """SHA-256 of a file, so that a result names the very files it came from; None where there is none."""
    if not path or not Path(path).is_file():
        return None
    with open(path, "rb") as stream:
        return (
            hashlib.file_digest(stream, "sha256").hexdigest()
            if sys.version_info >= (3, 11)
            else (hashlib.sha256(stream.read()).hexdigest())
        )
