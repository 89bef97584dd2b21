"""per_image.csv: a row for each image of each test set, what every mean was taken over."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ncl_lightning.errors import InputError
from ncl_lightning.files import write_text

# it takes seconds to import, and `runs` goes without
if TYPE_CHECKING:
    from torch import Tensor

Row = dict[str, str | int | float | None]
Pictures = Mapping[int, tuple[str, int, int]]
"""Index in its set: name, height, width."""

KEPT = (
    "tampered", "authentic", "score", "f1", "iou", "auc", "ap", "precision", "recall", "accuracy", "fpr",
    "f1_permuted", "f1_best", "f1_val", "threshold_best", "f1_all_tampered", "tp", "fp", "positives", "negatives",
)  # fmt: skip
"""Columns of `ImageScores.per_image`, at network size; those at original size end in `_original`."""


def image_rows(name: str, pictures: Pictures, network: dict[str, Tensor], original: dict[str, Tensor]) -> list[Row]:
    """The rows of one set, in index order.

    Args:
        name: The set.
        pictures: Names and sizes of (at least) the images seen.
        network: `ImageScores.per_image()` at network size, columns (M,).
        original: The same at original size; it may lack images.
    """
    rows: list[Row] = []
    at = {index: k for k, index in enumerate(original["index"].tolist())}
    first, second = ({key: table[key].tolist() for key in KEPT} for table in (network, original))
    for k, index in enumerate(network["index"].tolist()):
        picture, height, width = pictures[index]
        row: Row = {"set": name, "index": index, "name": picture, "height": height, "width": width}
        row |= {key: _plain(first[key][k]) for key in KEPT}
        row |= {f"{key}_original": _plain(second[key][at[index]]) if index in at else None for key in KEPT}
        rows.append(row)
    return rows


def _plain(value: bool | int | float) -> int | float | None:
    """A number that a CSV holds exactly; None where undefined."""
    if isinstance(value, float):
        return None if math.isnan(value) else value
    return int(value)


def digits(value: str | int | float | None) -> str:
    """A score as tables show it."""
    return "–" if value is None else f"{value:.3f}"


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ("set",)) -> None:
    """Write rows of the same keys as CSV, whole or not at all; None becomes an empty cell.

    `columns` are those of a table without rows.
    """
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]) if rows else columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, stream.getvalue())


def read_rows(path: Path) -> list[Row]:
    """Rows of a CSV, numbers as numbers and empty cells as None; `set`, `name` and the like stay text.

    Raises:
        InputError: The file is missing or no CSV of `write_rows`.
    """
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            rows = [{key: _read(key, cell) for key, cell in row.items()} for row in csv.DictReader(stream, strict=True)]
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; `test` writes one into its folder") from None
    except (OSError, UnicodeDecodeError, csv.Error, AttributeError, TypeError) as error:
        raise InputError(f"{path}: can't be read ({error}); `test` writes such a file anew") from error
    return rows


_TEXT = ("set", "name", "distortion", "level", "run")


def _read(key: str, cell: str) -> str | int | float | None:
    if key in _TEXT:
        return cell
    if cell == "":
        return None
    try:
        return int(cell)
    except ValueError:
        pass
    try:
        return float(cell)
    except ValueError:
        return cell
