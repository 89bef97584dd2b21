"""Text files written whole or not at all, so that a killed run leaves the former one."""

import json
import os
from pathlib import Path
from typing import Any


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, line ends as they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # hidden and in the same folder, to be renamed within one file system
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8", newline="")
    temporary.replace(path)


def write_json(path: Path, value: Any) -> None:
    """Write JSON; NaN has no place in it and raises ValueError."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")
