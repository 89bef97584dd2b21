"""Arms of an experiment against each other: one table and one figure over seeds.

A score of an arm is the mean over its seeds, with their least and greatest. Arms are compared image by image, by a
paired bootstrap of the scores averaged over seeds, and by one that draws the seeds anew, too (`pairing`); seed by seed
where both arms ran with the same ones.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ncl_lightning.curves import points
from ncl_lightning.files import write_json, write_text
from ncl_lightning.pairing import FEWEST, Arm, compare, load, one_run_each, too_few
from ncl_lightning.plots import learning_curves
from ncl_lightning.sweeps import Run

SCORES = {"auc": "AUC", "ap": "AP", "f1_val": "F1 (val. threshold)", "f1": "F1 (model.threshold)"}


def summarise(out: Path, runs: Sequence[Run], notice: str = "") -> str:
    """Write table.md, comparisons.json and figure.png of finished runs, and return the table.

    Args:
        out: Folder to write into, and that holds the runs' folders with test/per_image.csv and version_*/metrics.csv.
        runs: The finished runs.
        notice: What a reader of the table must know first.
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
    said = [f"{notice[:1].upper()}{notice[1:]}\n"] if notice else []
    text = "\n".join([*said, _table(arms), *([_differences(found)] if found else [])])
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
    counts: list[str] = []
    lines = [f"| set | arm | seeds | {' | '.join(SCORES.values())} |", f"|{' --- |' * (3 + len(SCORES))}"]
    for name in dict.fromkeys(key[0] for key in arms[0].runs[0]):
        keys = [key for key in arms[0].runs[0] if key[0] == name]
        scored = int(sum(bool(arms[0].runs[0][key]["tampered"]) for key in keys))
        counts.append(f"{name}: scores are means over {scored} tampered images of {len(keys)}.")
        for arm in arms:
            cells = (_spread(_means(arm.of_runs(keys, score))) for score in SCORES)
            lines.append(f"| {name} | {arm.name} | {len(arm.runs)} | {' | '.join(cells)} |")
        everything = _spread(_means(arms[0].of_runs(keys, "f1_all_tampered")[:1]))
        lines.append(f"| {name} | *everything tampered* | | 0.500 | | {everything} | {everything} |")
    return "\n".join([*lines, "", *counts]) + "\n"


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
    """Rows of Markdown: each pair of arms in each score, and what `holds` says."""
    lines = [
        "| set | score | difference | mean | 95 % over images | over images and seeds | holds |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {one['set']} | {SCORES[one['score']]} | {one['b']} − {one['a']} | {one['difference']:+.3f} "
        f"| {_ends(*one['over_images'])} | {' | '.join(_over_seeds(one))} |"
        for one in found
    ]
    note = (
        f"`holds`: the interval over images and seeds leaves out 0, and there are {FEWEST} images or more. Did no arm "
        f"differ from another, at most about one in twenty of these {len(found)} differences would hold, by chance."
    )
    if any(map(one_run_each, found)):
        note += " Of one run each, nothing is known over seeds."
    return "\n".join([*lines, "", note]) + "\n"


def _over_seeds(one: Mapping[str, Any]) -> tuple[str, str]:
    """The interval over images and seeds, and whether the difference holds."""
    if one_run_each(one):
        return "–", "–"
    few = f"too few images ({one['images']} < {FEWEST})" if too_few(one) else "no"
    return _ends(one["low"], one["high"]), "yes" if one["holds"] else few


def _ends(low: float, high: float) -> str:
    return f"{low:+.3f} … {high:+.3f}"


def _curve(folder: Path) -> dict[str, list[float]]:
    """`step`, counted as the terminal does, and the validation `auc` of a run, from its metrics.csv."""
    files = sorted(folder.glob("version_*/metrics.csv"))
    found = [points(file, ("val/auc",)).get("val/auc", ([], [])) for file in files]
    steps = {step: value for pair in found for step, value in zip(*pair, strict=True)}
    return {"step": [float(step) for step in sorted(steps)], "auc": [steps[step] for step in sorted(steps)]}
