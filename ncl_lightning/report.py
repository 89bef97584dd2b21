"""report.html: what `test` found, in one file that needs nothing else."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from ncl_lightning import draw, plots
from ncl_lightning.page import write_page
from ncl_lightning.paired_results import FEWEST
from ncl_lightning.per_image import Row
from ncl_lightning.report_examples import Example

LABELS = {
    "f1": "F1",
    "iou": "IoU",
    "auc": "AUC",
    "ap": "average precision",
    "precision": "precision",
    "recall": "recall",
    "accuracy": "accuracy",
    "f1_permuted": "F1, permuted",
    "f1_val": "F1 at the threshold of validation",
    "f1_best": "F1, each image at its best threshold",
    "f1_best_set": "F1, the set at its best threshold",
    "threshold_best_set": "that threshold",
    "f1_all_tampered": "F1 of calling everything tampered",
    "fpr_authentic": "false-positive rate on authentic images ↓",
    "image_auc": "AUC",
    "image_f1": "F1",
    "image_accuracy": "accuracy",
    "image_balanced_accuracy": "balanced accuracy",
    "image_sensitivity": "sensitivity",
    "image_specificity": "specificity",
    "image_harmonic": "harmonic mean (MVSS's F1)",
    "image_com_f1": "Com-F1 (MVSS)",
}


@dataclass(frozen=True)
class SetReport:
    """One test set's part of a report.

    Args:
        name: The set.
        scores: Its entry in results.json.
        rows: Its rows of per_image.csv.
        network: `ImageScores.curve()` at network size, lists of numbers.
        original: The same at original size.
        examples: Images to show, by title.
    """

    name: str
    scores: Mapping[str, Any]
    rows: Sequence[Row]
    network: plots.Curve
    original: plots.Curve
    examples: Mapping[str, Sequence[Example]] = field(default_factory=dict)


def write_report(path: Path, sets: Sequence[SetReport], run: Mapping[str, Any], training: str | None = None) -> None:
    """Write the report.

    Args:
        path: The HTML file.
        sets: A part for each test set.
        run: The `run` of results.json.
        training: The text of the training run's config.yaml, where there is one.
    """
    threshold = float(run.get("model", {}).get("threshold", 0.5))
    links = "".join(f'<a href="#set{i}">{escape(part.name)}</a>' for i, part in enumerate(sets))
    body = [
        "<header><h1>Test report</h1>",
        f"<p class=soft>{escape(str(run.get('checkpoint')))} · {escape(str(run.get('time', '')))}</p>",
        f"<nav>{links}<a href='#run'>run</a></nav></header>",
        _overview(sets) if len(sets) > 1 else "",
        *(_section(i, part, threshold) for i, part in enumerate(sets)),
        _run(run, training),
    ]
    write_page(path, "Test report", _STYLE, body)


def _overview(sets: Sequence[SetReport]) -> str:
    keys = [name + end for end in ("", "_original") for name in ("f1", "iou", "auc", "ap")]
    head = "<th>set<th>images" + "".join(f"<th>{_label(key)}" for key in keys)
    lines = [
        f'<tr><td><a href="#set{i}">{escape(part.name)}</a><td>{part.scores["images"]}'
        + "".join(f"<td>{_value(part.scores, key)}" for key in keys)
        for i, part in enumerate(sets)
    ]
    return f"<section><h2>All sets</h2><table><tr>{head}{''.join(lines)}</table></section>"


def _label(key: str) -> str:
    base = key.removesuffix("_original")
    return LABELS.get(base, base) + (" at original size" if base != key else "")


def _value(scores: Mapping[str, Any], key: str) -> str:
    if key not in scores:
        return ""
    value, interval = scores[key], scores.get(f"{key}_ci")
    if value is None:
        return "–"
    return f"<b>{value:.3f}</b>" + (
        f" <span class=soft>{interval[0]:.3f}–{interval[1]:.3f}</span>" if interval else ""
    )  # fmt: skip


def _section(number: int, part: SetReport, threshold: float) -> str:
    scores = part.scores
    counts = f"{scores['images']} images: {scores['tampered_images']} tampered, {scores['authentic_images']} authentic"
    if scores.get("empty_images"):
        counts += f", {scores['empty_images']} in neither mean (no tampered pixel left, or no valid one)"
    pixel = [
        f"<tr><td>{label}<td>{_value(scores, key)}<td>{_value(scores, f'{key}_original')}"
        for key, label in LABELS.items()
        if scores.get(key) is not None and not key.startswith("image_")
    ]
    image = [
        f"<tr><td>{label}<td>{_value(scores, key)}"
        for key, label in LABELS.items()
        if scores.get(key) is not None and key.startswith("image_")
    ]
    judged = [r for r in part.rows if r["f1"] is not None]
    f1 = [float(r["f1"] or 0) for r in judged]
    # at original size where it is known: there no sizing has moved the edge
    share = [_share(r) for r in judged]
    drawings = [
        ("F1 against the threshold", plots.threshold_curve(part.network, part.original, threshold)),
        ("Precision and recall", plots.precision_recall(part.network, threshold)),
        ("F1 of single images", plots.histogram(f1)),
        ("F1 against the size of the manipulation", plots.f1_by_size(share, f1)),
    ]
    figures = "".join(f"<figure class=plot><figcaption>{title}</figcaption>{svg}</figure>" for title, svg in drawings)
    if not judged:
        figures = "<p>No tampered image: there is nothing to plot.</p>"
    shown = "".join(
        f"<h3>{title}</h3><div class=examples>{''.join(map(_example, group))}</div>"
        for title, group in part.examples.items()
    )
    legend = _legend(threshold) if shown else ""
    return (
        f'<section id="set{number}"><h2>{escape(part.name)}</h2><p>{counts}.</p>'
        "<div class=top><div><table><tr><th>mean over images<th>network size<th>original size"
        f"{''.join(pixel)}</table><p class=soft>Pixel scores are means over tampered images, with bootstrap 95 % "
        f"intervals over images{_few(len(judged))}; a pixel is called tampered above {threshold:g}.</p></div>"
        f"<div><div class=plots>{figures}</div><table class=wide><tr><th>is the image tampered at all?<th>"
        f"{''.join(image)}</table>{_image_floor(scores)}</div></div>{legend}{shown}</section>"
    )


def _few(images: int) -> str:
    return f" (too narrow for as few as {images})" if 0 < images < FEWEST else ""


def _image_floor(scores: Mapping[str, Any]) -> str:
    """What calling every image tampered scores, where there are both kinds."""
    tampered, authentic = scores["tampered_images"], scores["authentic_images"]
    if not (tampered and authentic):
        return ""
    f1, accuracy = 2 * tampered / (2 * tampered + authentic), tampered / (tampered + authentic)
    return f"<p class=soft>Calling every image tampered: F1 {f1:.3f}, accuracy {accuracy:.3f}.</p>"


def _share(row: Row) -> float:
    ends = [row["positives_original"], row["negatives_original"]]
    if None in ends or not ends[0]:
        ends = [row["positives"], row["negatives"]]
    tampered, rest = (float(value or 0) for value in ends)
    return tampered / max(1.0, tampered + rest)


def _legend(threshold: float) -> str:
    """What the colours of the examples mean."""
    stops = (f"rgb({r},{g},{b})" for r, g, b in draw.heat(np.linspace(0, 1, 17)[None])[0].tolist())
    return (
        f"<p class='soft legend'>Heat map (colours: inferno): 0 <i style='background:linear-gradient(90deg,"
        f"{','.join(stops)})'></i> 1, how suspicious a pixel is (a probability, "
        "unless `own_cut` moved it). Overlay: the picture under "
        f"its heat map; outlined in green: called tampered, above {threshold:g}.</p>"
    )


def _example(example: Example) -> str:
    row = example.row
    cells = "".join(
        f"<figure><img alt='{caption}' src='{draw.data_uri(data)}'><figcaption>{caption}</figcaption></figure>"
        for caption, data in ((caption, draw.jpeg(cell, 88)) for caption, cell in example.cells.items())
    )
    numbers = {"F1": row["f1"], "IoU": row["iou"], "AUC": row["auc"], "AP": row["ap"]}
    if row["authentic"]:
        numbers = {"false positives": row["fpr"]}
    text = " · ".join(f"{key} {value:.3f}" for key, value in numbers.items() if isinstance(value, int | float))
    size = f"{row['width']}×{row['height']}" + ("" if row["authentic"] else f", {_share(row):.2%} tampered")
    return (
        f"<div class=example><p><b>{escape(str(row['name']))}</b> <span class=soft>{size}</span><br>{text}</p>"
        f"<div class=cells>{cells}</div></div>"
    )


def _run(run: Mapping[str, Any], training: str | None) -> str:
    facts = {
        "checkpoint": run.get("checkpoint"),
        "SHA-256": run.get("checkpoint_sha256"),
        "command": run.get("command"),
        "versions": ", ".join(f"{name} {value}" for name, value in run.get("versions", {}).items()),
        "precision": run.get("precision"),
        "processes": run.get("processes"),
    }
    table = "".join(f"<tr><td>{key}<td><code>{escape(str(value))}</code>" for key, value in facts.items())
    config = json.dumps({key: run[key] for key in ("model", "data", "training") if key in run}, indent=2)
    folded = f"<details open><summary>model and data of this test</summary><pre>{escape(config)}</pre></details>"
    if training:
        folded += f"<details><summary>config.yaml of the training run</summary><pre>{escape(training)}</pre></details>"
    return f"<section id=run><h2>Run</h2><table class=facts>{table}</table>{folded}</section>"


_STYLE = """
body{background:#f4f5f7}
h1{margin:24px 0 0}h2{margin:0 0 8px}h3{margin:22px 0 6px}
.soft{font-weight:400}header p{margin:4px 0 10px;overflow-wrap:anywhere}
nav a{margin-right:14px}a{color:#2563a8}section{background:#fff;border:1px solid #e3e5e8;border-radius:8px;
padding:18px 20px;margin:16px 0;overflow-x:auto}table{font-variant-numeric:tabular-nums}
th,td{padding:4px 14px 4px 0;border-bottom:1px solid #eee}
th{font-weight:600;color:#555}
td .soft{font-size:.86em;white-space:nowrap;display:block}.facts code{overflow-wrap:anywhere;font-size:.9em}
.top{display:flex;flex-wrap:wrap;gap:24px;align-items:flex-start}
.top>div{min-width:0}.top>div:first-child{flex:1 1 330px}.top>div:last-child{flex:2 1 620px}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(290px,100%),1fr));gap:14px}
.wide{width:100%;margin-top:14px}
figure{margin:0}.plot svg{width:100%;height:auto}figcaption{font-size:.85em;color:#555}.plot figcaption{font-weight:600}
.examples{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(500px,100%),1fr));gap:12px}
.example{border:1px solid #e8e8e8;border-radius:6px;padding:8px 10px}.example p{margin:0 0 6px;overflow-wrap:anywhere}
.cells{display:grid;grid-template-columns:repeat(4,1fr);gap:6px}
.cells img{width:100%;max-height:190px;object-fit:contain;object-position:left top;display:block}
.legend i{display:inline-block;width:90px;height:.8em;vertical-align:-.05em;print-color-adjust:exact}
pre{background:#f7f7f8;padding:10px;overflow-x:auto;font-size:12.5px;max-height:420px}summary{cursor:pointer;margin-top:10px}
@media(max-width:560px){body{padding:0 8px}section{padding:12px}.cells{grid-template-columns:repeat(2,1fr)}}
@media print{@page{margin:12mm}body{background:#fff;font-size:11px;max-width:none;padding:0}nav{display:none}
section{border:0;padding:0;overflow:visible}th,td{padding-right:8px}pre{max-height:none;white-space:pre-wrap}
section+section{break-before:page}h2,h3,.legend{break-after:avoid}figure,tr,.example,.legend{break-inside:avoid}
.top>div:first-child{flex-basis:200px}.top>div:last-child{flex-basis:380px}
.plots{grid-template-columns:repeat(2,1fr)}.examples{grid-template-columns:repeat(2,1fr)}}
"""
