"""Text files written whole or not at all, so that a killed run leaves the former one."""

import json
import os
from pathlib import Path
from typing import Any

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


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, line ends as they are; what has no UTF-8, as in odd file names, with a backslash.

    Raises:
        InputError: The folder can't be written.
    """
    # hidden and in the same folder, to be renamed within one file system
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    make_folder(path.parent)
    try:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="")
        temporary.replace(path)
    except OSError as error:
        raise InputError(f"{path}: can't be written ({error.strerror}); choose another folder") from error


def write_json(path: Path, value: Any) -> None:
    """Write JSON; NaN has no place in it and raises ValueError."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")
