"""Arms of an experiment against each other: one table and one figure over seeds.

A score of an arm is the mean over its seeds, with their least and greatest. Arms are compared image by image, by a
paired bootstrap of the scores averaged over seeds, and by one that draws the seeds anew, too (`pairing`); seed by seed
where both arms ran with the same ones.
"""

import csv
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ncl_lightning.files import write_json, write_text
from ncl_lightning.pairing import Arm, compare, load, one_run_each
from ncl_lightning.plots import learning_curves
from ncl_lightning.sweeps import Run

SCORES = {"auc": "AUC", "ap": "AP", "f1_val": "F1 (val. threshold)", "f1": "F1 (model.threshold)"}


def summarise(out: Path, runs: Sequence[Run]) -> str:
    """Write table.md, comparisons.json and figure.png of finished runs, and return the table.

    Args:
        out: Folder to write into, and that holds the runs' folders with test/per_image.csv and version_*/metrics.csv.
        runs: The finished runs.
    """
    groups: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        groups[run.arm].append(run)
    arms = [
        Arm(
            name,
            [load(out / run.name / "test") for run in group],
            tuple(run.seed for run in group if run.seed is not None),
        )
        for name, group in groups.items()
    ]
    found = compare(arms, scores=tuple(SCORES)) if len(arms) > 1 else []
    text = f"{_table(arms)}\n{_differences(found)}"
    write_text(out / "table.md", text)
    write_json(out / "comparisons.json", found)
    curves = {
        name: [curve for run in group for curve in [_curve(out / run.name)] if curve["step"]]
        for name, group in groups.items()
    }
    learning_curves(out / "figure.png", curves)
    return text


def _table(arms: Sequence[Arm]) -> str:
    """Rows of Markdown: the arms on each set, and calling everything tampered."""
    lines = [f"| set | arm | seeds | {' | '.join(SCORES.values())} |", f"|{' --- |' * (3 + len(SCORES))}"]
    for name in dict.fromkeys(key[0] for key in arms[0].runs[0]):
        keys = [key for key in arms[0].runs[0] if key[0] == name]
        for arm in arms:
            cells = (_spread(_means(arm.of_runs(keys, score))) for score in SCORES)
            lines.append(f"| {name} | {arm.name} | {len(arm.runs)} | {' | '.join(cells)} |")
        everything = _spread(_means(arms[0].of_runs(keys, "f1_all_tampered")[:1]))
        lines.append(f"| {name} | *everything tampered* | | .500 | | {everything} | {everything} |")
    return "\n".join(lines) + "\n"


def _means(scores: np.ndarray) -> np.ndarray:
    """(R,N) -> (R,), over the images that have the score; NaN where none has."""
    known = ~np.isnan(scores).any(0)
    return scores[:, known].mean(1) if known.any() else np.full(len(scores), np.nan)


def _spread(values: np.ndarray) -> str:
    """The mean over seeds, and their least and greatest."""
    if np.isnan(values).any():
        return "–"
    mean = f"{values.mean():.3f}"
    return mean if len(values) < 2 else f"{mean} ({values.min():.3f}–{values.max():.3f})"


def _differences(found: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        "| set | score | difference | mean | 95 % over images | over images and seeds | holds |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {one['set']} | {SCORES[one['score']]} | {one['b']} − {one['a']} | {one['difference']:+.3f} "
        f"| {_ends(*one['over_images'])} | {' | '.join(_over_seeds(one))} |"
        for one in found
    ]
    note = f"Of {len(found)} differences at most about 5 % would hold where there is none."
    if any(map(one_run_each, found)):
        note += " Of one run each, nothing is known over seeds."
    return "\n".join([*lines, "", note if found else ""]) + "\n"


def _over_seeds(one: Mapping[str, Any]) -> tuple[str, str]:
    """The interval over images and seeds, and whether the difference holds."""
    if one_run_each(one):
        return "–", "–"
    return _ends(one["low"], one["high"]), "yes" if one["holds"] else "no"


def _ends(low: float, high: float) -> str:
    return f"{low:+.3f} … {high:+.3f}"


def _curve(folder: Path) -> dict[str, list[float]]:
    """`step` and the validation `auc` of a run, from its metrics.csv."""
    steps: dict[int, float] = {}
    for file in sorted(folder.glob("version_*/metrics.csv")):
        with file.open(newline="", encoding="utf-8") as stream:
            steps |= {int(row["step"]): float(row["val/auc"]) for row in csv.DictReader(stream) if row.get("val/auc")}
    return {"step": [float(step) for step in sorted(steps)], "auc": [steps[step] for step in sorted(steps)]}
