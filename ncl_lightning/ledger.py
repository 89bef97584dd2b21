"""robustness.csv as it grows: what is done stays done, whenever a run is killed."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

from ncl_lightning.distortions import CLEAN
from ncl_lightning.errors import InputError
from ncl_lightning.files import make_folder, write_json
from ncl_lightning.per_image import Row, read_rows, write_rows


class Ledger:
    """robustness.csv: the rows that are done, in the order of the ladders however they came.

    Args:
        path: The file; what it holds already is taken over.
        run: What the rows belong to: a hash of checkpoint and settings.
        about: Checkpoint and settings, for robustness.json beside the file.

    Raises:
        InputError: The file holds rows of another checkpoint or of other settings.
    """

    def __init__(self, path: Path, run: str, about: Mapping[str, Any]) -> None:
        self.path = path
        self.run = run
        self.about = dict(about)
        self.done = self._read()

    def _read(self) -> dict[tuple[str, str], list[Row]]:
        """What the file holds, by distortion and level."""
        found: dict[tuple[str, str], list[Row]] = {}
        for row in read_rows(self.path) if self.path.is_file() else []:
            if row.get("run") != self.run:
                raise InputError(
                    f"{self.path}: holds the robustness of another checkpoint or of other settings; "
                    "give another folder by --trainer.default_root_dir, or remove the file"
                )
            found.setdefault((str(row["distortion"]), str(row["level"])), []).append(row)
        return found

    def add(self, kind: str, level: str, sets: Mapping[str, Mapping[str, Any]]) -> None:
        """Take in the scores of a level (`results.json`'s form) of each set."""
        self.done[kind, level] = [
            {"set": name, "distortion": kind, "level": level, **_flat(scores), "run": self.run}
            for name, scores in sets.items()
        ]

    def share_clean(self, kinds: Mapping[str, list[str]]) -> None:
        """The clean pictures are the same whatever the distortion: scored once, they stand in every ladder."""
        rows = next((rows for (_, level), rows in self.done.items() if level == CLEAN), None)
        for kind in kinds if rows else ():
            self.done.setdefault((kind, CLEAN), [{**row, "distortion": kind} for row in rows or ()])

    def rows(self, plan: Mapping[str, list[str]]) -> list[Row]:
        """Set by set and distortion by distortion; levels of earlier plans follow."""
        order = [(kind, level) for kind, ladder in plan.items() for level in ladder]
        order += [key for key in self.done if key not in order]
        found = [row for key in order for row in self.done.get(key, ())]
        sets = list(dict.fromkeys(row["set"] for row in found))
        return [row for name in sets for row in found if row["set"] == name]

    def write(self, plan: Mapping[str, list[str]]) -> None:
        """Write both files whole, with the levels that another command has added meanwhile."""
        make_folder(self.path.parent)
        with FileLock(self.path.with_name(".lock")):
            self.done = {**self._read(), **self.done}
            write_rows(self.path, self.rows(plan))
        # by way of text: the settings hold paths
        write_json(self.path.with_suffix(".json"), json.loads(json.dumps({"run": self.run, **self.about}, default=str)))


def _flat(scores: Mapping[str, Any]) -> Row:
    """Scores with their intervals as `…_low` and `…_high`."""
    flat: Row = {}
    for key, value in scores.items():
        if key.endswith("_ci"):
            low, high = value or (None, None)
            flat |= {f"{key[:-3]}_low": low, f"{key[:-3]}_high": high}
        else:
            flat[key] = value
    return flat
