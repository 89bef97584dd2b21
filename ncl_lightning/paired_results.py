"""Results of `test` against each other, image by image.

Images are paired by set and name. The interval of a difference is a bootstrap over pairs, so that how hard an image
is cancels out.
"""

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ncl_lightning.errors import InputError
from ncl_lightning.intervals import difference_of_methods, paired_difference
from ncl_lightning.per_image import Row, read_rows

SCORES = (
    "f1", "f1_val", "iou", "auc", "ap", "f1_original", "iou_original", "auc_original", "ap_original", "fpr_authentic",
)  # fmt: skip
LOWER_IS_BETTER = ("fpr_authentic",)
# same picture, same truth: what must agree between results
_TRUTH = ("height", "width", "positives_original", "negatives_original")

FEWEST = 10
"""Images below which no difference holds: their bootstrap shows too little of how they vary. Of differences that are
none, half would hold with two images, 24 % with four and 12 % with eight; 8 % with twenty, 6 % with fifty."""

Key = tuple[str, str, int]
"""Set, name, and which of the images of that name."""


@dataclass(frozen=True)
class Arm:
    """One or several results (seeds of one arm) under a name.

    Attributes:
        name: The name.
        runs: The rows of each result, by image.
        seeds: The seed of each; runs of two arms with the same seeds are compared seed by seed, since what a seed
            draws (first weights, order, training pictures) is common to them. Empty: not known.
    """

    name: str
    runs: list[dict[Key, Row]]
    seeds: tuple[int, ...] = ()

    def values(self, keys: Sequence[Key], score: str) -> np.ndarray:
        """A score of images (N,), the mean over the runs; NaN where any run leaves it undefined."""
        return self.of_runs(keys, score).mean(0)

    def of_runs(self, keys: Sequence[Key], score: str) -> np.ndarray:
        """The same of each run, (R, N)."""
        return np.array([[_value(run[key], score) for key in keys] for run in self.runs], float)


def _value(row: Row, score: str) -> float:
    if score == "fpr_authentic":
        value = row["fpr"] if row["authentic"] else None
    else:
        # like the means of results.json, over images that are tampered at the size scored at; an older file may lack it
        value = row.get(score) if row["tampered_original" if score.endswith("_original") else "tampered"] else None
    return float("nan") if value is None else float(value)


def load(path: Path) -> dict[Key, Row]:
    """The rows of a result, by image.

    Raises:
        InputError: There is no per_image.csv, or it lacks what `compare` needs.
    """
    file = path if path.suffix == ".csv" else (path.parent if path.suffix == ".json" else path) / "per_image.csv"
    if not file.is_file():
        raise InputError(f"{path}: no result of `test` ({file} is missing); give the folder that `test` wrote")
    rows = read_rows(file)
    lacking = {"set", "name", "f1", "fpr", "tampered_original", *_TRUTH} - set(rows[0] if rows else ())
    if lacking:
        raise InputError(f"{file}: no column {min(lacking)}; run `test` anew to have the file written")
    seen: Counter[tuple[str, str]] = Counter()
    table: dict[Key, Row] = {}
    for row in rows:
        place = str(row["set"]), str(row["name"])
        table[(*place, seen[place])] = row
        seen[place] += 1
    return table


def pair(arms: Sequence[Arm]) -> dict[str, list[Key]]:
    """The images of each set that all results share.

    Raises:
        InputError: A set's images differ, or their truth does, or no set is in all.
    """
    tables = [(arm.name, run) for arm in arms for run in arm.runs]
    sets = [dict.fromkeys(key[0] for key in run) for _, run in tables]
    common = [name for name in sets[0] if all(name in other for other in sets)]
    if not common:
        listed = "; ".join(f"{name}: {', '.join(s)}" for (name, _), s in zip(tables, sets, strict=True))
        raise InputError(f"no test set is in all results ({listed}); name the sets alike in --data.test")
    first_name, first = tables[0]
    paired = {}
    for name in common:
        keys = [key for key in first if key[0] == name]
        for other_name, other in tables[1:]:
            theirs = [key for key in other if key[0] == name]
            same = set(keys) & set(theirs)
            if not len(same) == len(keys) == len(theirs):
                raise InputError(
                    f"set {name}: different images, {len(same)} match by name of {len(keys)} in {first_name} and "
                    f"{len(theirs)} in {other_name}; test both on the same data"
                )
            changed = sum(any(first[key][c] != other[key][c] for c in _TRUTH) for key in keys)
            if changed:
                raise InputError(
                    f"set {name}: {changed} of {len(keys)} images have another size or mask in {other_name} than in "
                    f"{first_name}; test both on the same data"
                )
        paired[name] = keys
    return paired


def compare(
    arms: Sequence[Arm],
    draws: int = 10000,
    seed: int = 0,
    level: float = 0.95,
    scores: Sequence[str] = SCORES,
) -> list[dict[str, Any]]:
    """Every pair of arms on every set and score that both have.

    Returns:
        For each, plain numbers: `set`, `score`, `a`, `b`, `images` (pairs), `mean_a`, `mean_b`, `runs_a`, `runs_b`
        (each run's mean), `difference` (b - a) with its interval over images and runs, `low` and `high`, and the one
        over images alone, `over_images`; `floor`, what calling everything tampered scores (None where that is not
        known); `seeds_paired` (whether runs were paired, by seed; images are); `holds` (`low` to `high` leaves out
        0, and there are FEWEST images or more) and `better` (the name of the better arm; None where none `holds`).
    """
    out = []
    for name, keys in pair(arms).items():
        for score, (a, b) in itertools.product(scores, itertools.combinations(arms, 2)):
            runs_a, runs_b = a.of_runs(keys, score), b.of_runs(keys, score)
            x, y = runs_a.mean(0), runs_b.mean(0)
            both = ~np.isnan(x - y)
            if not both.any():
                continue
            difference, *over_images = paired_difference(y, x, draws, seed, level)
            seeds_paired = bool(a.seeds) and a.seeds == b.seeds
            _, low, high = difference_of_methods(runs_b, runs_a, draws, seed, level, seeds_paired)
            holds = (low > 0 or high < 0) and int(both.sum()) >= FEWEST
            better = b if (difference > 0) != (score in LOWER_IS_BETTER) else a
            out.append(
                {
                    "set": name,
                    "score": score,
                    "a": a.name,
                    "b": b.name,
                    "images": int(both.sum()),
                    "mean_a": float(x[both].mean()),
                    "mean_b": float(y[both].mean()),
                    "runs_a": runs_a[:, both].mean(1).tolist(),
                    "runs_b": runs_b[:, both].mean(1).tolist(),
                    "difference": difference,
                    "low": low,
                    "high": high,
                    "over_images": over_images,
                    "seeds_paired": seeds_paired,
                    "floor": _floor(a, [key for key, known in zip(keys, both, strict=True) if known], score),
                    "holds": holds,
                    "better": better.name if holds else None,
                }
            )
    return out


def too_few(found: Mapping[str, Any]) -> bool:
    """Whether only the small number of images keeps a difference that `compare` found from holding."""
    return bool(found["images"] < FEWEST and (found["low"] > 0 or found["high"] < 0))


def scored_at_one_size(arms: Sequence[Arm]) -> list[str]:
    """The sets that all results scored at original size alone, so that a score and its `…_original` are the same."""
    kinds = ("positives", "negatives")
    sets: dict[str, bool] = {}
    for (name, _, _), row in (item for arm in arms for run in arm.runs for item in run.items()):
        # an older file lacks these
        same = all(kind in row and row[kind] == row[f"{kind}_original"] for kind in kinds)
        sets[name] = sets.get(name, True) and same
    return [name for name, same in sets.items() if same]


def _floor(arm: Arm, keys: Sequence[Key], score: str) -> float | None:
    """What a map without any merit scores: everything tampered, or a constant; None where that is not known."""
    if score.removesuffix("_original") == "auc":
        return 0.5
    if not score.startswith("f1"):
        return None
    everything = arm.values(keys, "f1_all_tampered_original" if score.endswith("_original") else "f1_all_tampered")
    return float(np.nanmean(everything)) if not np.isnan(everything).all() else None


def one_run_each(found: Mapping[str, Any]) -> bool:
    """Whether a difference that `compare` found is of single runs: its interval is over images alone then."""
    return len(found["runs_a"]) == len(found["runs_b"]) == 1
