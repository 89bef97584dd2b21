"""Arms of an experiment against each other: one table and one figure over seeds.

A score of an arm is the mean over its seeds, with their least and greatest. Arms are compared image by image, by a
paired bootstrap of the scores averaged over seeds, and by one that draws the seeds anew, too (`paired_results`); seed
by seed where both arms ran with the same ones.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ncl_lightning.curves import points
from ncl_lightning.files import write_json, write_text
from ncl_lightning.paired_results import FEWEST, Arm, Key, compare, load, one_run_each, too_few
from ncl_lightning.per_image import write_rows
from ncl_lightning.plots import learning_curves
from ncl_lightning.sweeps import Run

SCORES = {"auc": "AUC", "ap": "AP", "f1_val": "F1 (val. threshold)", "f1": "F1 (model.threshold)"}
EVERYTHING = "everything tampered"
"""The arm of a table that no run is of: what calling every pixel tampered scores."""


def summarise(out: Path, runs: Sequence[Run], notice: str = "") -> str:
    """Write table.md, table.csv, table.tex, comparisons.json and figure.png of finished runs, and return the first.

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
    rows = rows_of(arms)
    legend = [_counted(arms[0], name) for name in dict.fromkeys(row["set"] for row in rows)]
    if len(runs) > len(arms):
        legend.append("Of several seeds: the mean, and in brackets the least and the greatest.")
    text = "\n".join([*said, markdown(rows), *legend, "", *([_differences(found)] if found else [])])
    write_text(out / "table.md", text)
    write_text(out / "table.tex", latex(rows))
    write_rows(out / "table.csv", rows)
    write_json(out / "comparisons.json", found)
    curves = {
        name: [curve for run in group if (curve := _curve(out / run.name))["step"]] for name, group in groups.items()
    }
    learning_curves(out / "figure.png", curves)
    return text


def rows_of(arms: Sequence[Arm]) -> list[dict[str, Any]]:
    """The arms on each set, and calling everything tampered.

    Returns:
        Rows of `set`, `arm`, `seeds` (their number; None of calling everything tampered), and of each of SCORES its
        mean over seeds, and `SCORE_low` and `SCORE_high`, the least and the greatest; None where undefined.
    """
    rows: list[dict[str, Any]] = []
    for name in dict.fromkeys(key[0] for key in arms[0].runs[0]):
        keys = [key for key in arms[0].runs[0] if key[0] == name]
        for arm in arms:
            scores = {score: _means(arm.of_runs(keys, score)) for score in SCORES}
            rows.append({"set": name, "arm": arm.name, "seeds": len(arm.runs), **_cells(scores)})
        rows.append({"set": name, "arm": EVERYTHING, "seeds": None, **_cells(_everything(arms[0], keys))})
    return rows


def _everything(arm: Arm, keys: Sequence[Key]) -> dict[str, np.ndarray]:
    """What calling every pixel tampered scores; its average precision is the tampered share."""
    f1 = _means(arm.of_runs(keys, "f1_all_tampered")[:1])
    positives, negatives = (arm.of_runs(keys, kind)[:1] for kind in ("positives", "negatives"))
    return {"auc": np.array([0.5]), "ap": _means(positives / (positives + negatives)), "f1_val": f1, "f1": f1}


def _counted(arm: Arm, name: str) -> str:
    """How many images of a set its scores are means over."""
    tampered = [bool(row["tampered"]) for key, row in arm.runs[0].items() if key[0] == name]
    return f"{name}: scores are means over {sum(tampered)} tampered images of {len(tampered)}."


def _cells(scores: Mapping[str, np.ndarray]) -> dict[str, float | None]:
    """Each score's values over seeds (R,) as their mean, least and greatest."""
    return {
        f"{score}{end}": None if np.isnan(values).any() else float(take(values))
        for score, values in scores.items()
        for end, take in (("", np.mean), ("_low", np.min), ("_high", np.max))
    }


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """What `rows_of` returned as a table of Markdown."""
    lines = [f"| set | arm | seeds | {' | '.join(SCORES.values())} |", f"|{' --- |' * (3 + len(SCORES))}"]
    for row in rows:
        arm = f"*{EVERYTHING}*" if row["seeds"] is None else row["arm"]
        cells = (_spread(row, score, "–", "{:.3f} ({:.3f}–{:.3f})") for score in SCORES)
        lines.append(f"| {row['set']} | {arm} | {row['seeds'] or ''} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def latex(rows: Sequence[Mapping[str, Any]]) -> str:
    """The same as a `tabular` of LaTeX, for its package booktabs."""
    lines = [rf"\begin{{tabular}}{{llr{'c' * len(SCORES)}}}", r"\toprule"]
    lines.append(" & ".join(["set", "arm", "seeds", *SCORES.values()]) + r" \\")
    last = None
    for row in rows:
        names = [re.sub(r"([_&%#$])", r"\\\1", row[key]) for key in ("set", "arm")]
        if row["set"] == last:
            names[0] = ""
        else:
            lines.append(r"\midrule")
        last = row["set"]
        cells = (_spread(row, score, "--", "{:.3f} ({:.3f}--{:.3f})") for score in SCORES)
        lines.append(" & ".join([*names, str(row["seeds"] or ""), *cells]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _spread(row: Mapping[str, Any], score: str, undefined: str, form: str) -> str:
    """A score's mean, and of several seeds their least and greatest, too."""
    values = [row[f"{score}{end}"] for end in ("", "_low", "_high")]
    if None in values:
        return undefined
    return form.format(*values) if (row["seeds"] or 0) > 1 else f"{values[0]:.3f}"


def _means(scores: np.ndarray) -> np.ndarray:
    """(R,N) -> (R,), over the images that have the score; NaN where none has."""
    known = ~np.isnan(scores).any(0)
    return scores[:, known].mean(1) if known.any() else np.full(len(scores), np.nan)


def _differences(found: Sequence[Mapping[str, Any]]) -> str:
    """Rows of Markdown: each pair of arms in each score, and what `holds` says."""
    lines = [
        "| set | score | difference | mean | 95 % over images | over images and seeds | holds |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {one['set']} | {SCORES[one['score']]} | {one['b']} − {one['a']} | {_signed(one['difference'])} "
        f"| {_ends(*one['over_images'])} | {' | '.join(_over_seeds(one))} |"
        for one in found
    ]
    note = (
        f"`holds`: the interval over images and seeds leaves out 0, and there are {FEWEST} images or more. If no arms "
        f"differed, at most about 1 in 20 of these {len(found)} differences would still hold, by chance."
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
    return f"{_signed(low)} … {_signed(high)}"


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")


def _curve(folder: Path) -> dict[str, list[float]]:
    """`step`, counted as the terminal does, and the validation `auc` of a run, from its metrics.csv."""
    files = sorted(folder.glob("*/metrics.csv"))
    found = [points(file, ("val/auc",)).get("val/auc", ([], [])) for file in files]
    steps = {step: value for pair in found for step, value in zip(*pair, strict=True)}
    return {"step": [float(step) for step in sorted(steps)], "auc": [steps[step] for step in sorted(steps)]}
