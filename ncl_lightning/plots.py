"""Plots as SVG text or a picture file: the same numbers give the same bytes."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator

from ncl_lightning.distortions import CLEAN
from ncl_lightning.files import replacing

COLOURS = ("#2563a8", "#d9782d", "#3d8f5f", "#8e4a9e", "#b03a48", "#6b6b6b")
_STYLE: Any = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888",
    "axes.labelcolor": "#333",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "xtick.color": "#555",
    "ytick.color": "#555",
    "font.size": 9,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    # ids and dates would differ from run to run
    "svg.hashsalt": "ncl_lightning",
    # text stays text: small, and it can be searched
    "svg.fonttype": "none",
    "font.family": "sans-serif",
}
_TITLES = {
    "blur": "blur (kernel)",
    "noise": "noise (variance)",
    "jpeg": "JPEG (quality)",
    "resize": "resize (factor)",
    "gamma": "gamma (exponent)",
    "crop": "crop (pixels)",
}
# of more arms than there are colours
_LINES, _MARKERS = ("-", "--", ":"), ("o", "s", "^")
_BASELINE: Any = {"linestyle": ":", "linewidth": 1.3}
Curve = Mapping[str, Sequence[float]]
Points = tuple[Sequence[int], Sequence[float]]


def _axes(xlabel: str, ylabel: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(4.6, 3.1))
    axes = figure.add_subplot()
    axes.set(xlabel=xlabel, ylabel=ylabel)
    return figure, axes


def _svg(figure: Figure) -> str:
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    # the XML prologue has no place inside HTML
    return stream.getvalue()[stream.getvalue().index("<svg") :]


def threshold_curve(network: Curve, original: Curve, threshold: float) -> str:
    """F1 (and the false-positive rate of authentic images) against the threshold, at both sizes.

    Args:
        network: `threshold`, `f1` and `fpr_authentic`, (T,) each.
        original: The same at original size.
        threshold: The one that the scores were taken at.
    """
    with rc_context(_STYLE):
        figure, axes = _axes("threshold", "mean over images")
        axes.plot(network["threshold"], network["f1"], color=COLOURS[0], label="F1, network size")
        axes.plot(original["threshold"], original["f1"], "--", color=COLOURS[1], label="F1, original size")
        if not np.isnan(network["fpr_authentic"]).all():
            axes.plot(
                network["threshold"], network["fpr_authentic"], ":", color=COLOURS[5], label="FPR, authentic images"
            )
        axes.axvline(threshold, color="#999", linewidth=1, linestyle=":")
        axes.set(xlim=(0, 1), ylim=(0, 1.02))
        axes.legend(loc="best", fontsize=8)
        return _svg(figure)


def precision_recall(network: Curve, threshold: float) -> str:
    """Precision against recall, of all pixels as one and as means over images; a dot at the threshold."""
    with rc_context(_STYLE):
        figure, axes = _axes("recall", "precision")
        at = int(np.abs(np.asarray(network["threshold"]) - threshold).argmin())
        kinds = (("pooled_", "all pixels as one", "-"), ("", "mean over images", "--"))
        for (prefix, label, line), colour in zip(kinds, COLOURS, strict=False):
            recall, precision = (np.asarray(network[prefix + key]) for key in ("recall", "precision"))
            # where no pixel of any image is called tampered there is no precision, whatever the means say
            shown = ~np.isnan(np.asarray(network["pooled_precision"]))
            axes.plot(recall[shown], precision[shown], line, color=colour, label=label)
            axes.plot(recall[at], precision[at], "o", color=colour, markersize=5)
        axes.set(xlim=(0, 1.02), ylim=(0, 1.02))
        axes.legend(loc="best", fontsize=8, title=f"● threshold {threshold:g}", title_fontsize=8)
        return _svg(figure)


def histogram(f1: Sequence[float]) -> str:
    """How many tampered images have which F1 (M,): 20 bins of 0.05, with the mean and the median."""
    with rc_context(_STYLE):
        figure, axes = _axes("F1 of an image", "tampered images")
        axes.hist(f1, bins=np.linspace(0, 1, 21).tolist(), color=COLOURS[0], alpha=0.85, edgecolor="white")
        if len(f1):
            mean, median = float(np.mean(f1)), float(np.median(f1))
            axes.axvline(mean, color=COLOURS[1], label=f"mean {mean:.3f}")
            axes.axvline(median, color="#333", linestyle="--", label=f"median {median:.3f}")
            # above: bars may stand anywhere below
            figure.legend(loc="outside upper right", ncols=2, fontsize=8)
        axes.set_xlim(0, 1)
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        return _svg(figure)


def f1_by_size(share: Sequence[float], f1: Sequence[float]) -> str:
    """F1 against the share of a picture that was tampered with, (M,) both, and the mean of each quarter of images."""
    with rc_context(_STYLE):
        figure, axes = _axes("tampered share of the picture (%)", "F1 of an image")
        x, y = np.asarray(share) * 100, np.asarray(f1)
        axes.scatter(x, y, s=14, color=COLOURS[0], alpha=max(0.15, min(0.7, 40 / max(1, len(x)))), linewidths=0)
        if len(x) >= 8:
            parts = np.array_split(np.argsort(x, kind="stable"), 4)
            centres = [float(np.median(x[part])) for part in parts]
            means = [float(y[part].mean()) for part in parts]
            axes.plot(centres, means, "o-", color=COLOURS[1], label="mean of each quarter of the images")
            axes.legend(loc="best", fontsize=8)
        if len(x):
            low, high = x.min() / 2, min(120, x.max() * 2)
            axes.set_xscale("log")
            # between two powers of ten there would be no label: at least two of these lie within any limits
            steps = (1, 2, 3, 5) if high < 300 * low else (1,)
            axes.xaxis.set_major_locator(LogLocator(subs=steps, numticks=20))
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.xaxis.set_minor_formatter(lambda value, _: "")
            axes.set_xlim(low, high)
        axes.set_ylim(-0.02, 1.02)
        return _svg(figure)


def learning_curves(path: Path, arms: Mapping[str, Sequence[Curve]]) -> None:
    """Validation AUC over the steps of training: each arm's mean over its seeds, thin lines for the seeds.

    Args:
        path: A PNG or SVG to write.
        arms: For each arm the curves of its runs, with `step` and `auc` (E,); they may end at different steps.
    """
    with rc_context(_STYLE):
        figure, axes = _axes("training step", "pixel AUC on the validation set\n(mean over tampered images)")
        # room for names and lines of the legend, which stands beside the plot
        longest = max((len(name) for name in arms), default=0)
        figure.set_size_inches(5.6 + 0.08 * longest, max(3.8, 0.8 + 0.19 * len(arms)))
        for i, (name, curves) in enumerate(arms.items()):
            turn = i // len(COLOURS) % len(_LINES)
            look: Any = {"color": COLOURS[i % len(COLOURS)], "linestyle": _LINES[turn], "marker": _MARKERS[turn]}
            for curve in curves:
                axes.plot(curve["step"], curve["auc"], **look, linewidth=0.6, markersize=2, alpha=0.5)
            shared = sorted(set.intersection(*(set(curve["step"]) for curve in curves))) if curves else []
            mean = [np.mean([dict(zip(c["step"], c["auc"], strict=True))[step] for c in curves]) for step in shared]
            axes.plot(shared, mean, **look, linewidth=1.8, markersize=4, label=_plain(f"{name} ({len(curves)})"))
        axes.axhline(0.5, color="#999", linewidth=1, linestyle=":")
        axes.xaxis.set_major_locator(_steps())
        figure.legend(loc="outside right upper", fontsize=8, title="arm (seeds)", title_fontsize=8)
        _save(figure, path)


def run_curves(path: Path, losses: Mapping[str, Points], scores: Mapping[str, Points]) -> None:
    """Losses and scores of one run over the steps of training, side by side.

    Args:
        path: A PNG or SVG to write.
        losses: Steps and values by name.
        scores: The same, of scores in 0..1.
    """
    with rc_context(_STYLE):
        figure = Figure(figsize=(9, 3.4))
        for axes, curves, kind in zip(
            figure.subplots(1, 2), (losses, scores), ("loss", "validation score"), strict=True
        ):
            for (name, points), colour in zip(curves.items(), COLOURS, strict=False):
                axes.plot(*points, "o-", color=colour, markersize=3, linewidth=1.4, label=name)
            axes.set(xlabel="training step", ylabel=kind)
            axes.xaxis.set_major_locator(_steps())
            if curves is scores:
                axes.set_ylim(-0.02, 1.02)
            if curves:
                axes.legend(loc="best", fontsize=8)
        _save(figure, path)


def robustness_plot(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """A panel for each score and distortion, a line with its 95 % band for each set; from clean to severe.

    Dotted, where it is known: what calling every pixel tampered scores.

    Args:
        path: A PNG or SVG to write.
        rows: Rows of robustness.csv, in its order.
    """
    kinds = list(dict.fromkeys(row["distortion"] for row in rows))
    sets = list(dict.fromkeys(row["set"] for row in rows))
    with rc_context(_STYLE):
        figure = Figure(figsize=(max(6.0, 2.7 * len(kinds)), 2.6 * 2 + 0.4), dpi=130)
        grid = figure.subplots(2, len(kinds), sharey="row", squeeze=False)
        for i, score in enumerate(("f1", "auc")):
            for j, kind in enumerate(kinds):
                axes = grid[i][j]
                for name, colour in zip(sets, COLOURS * len(sets), strict=False):
                    _line(axes, [r for r in rows if r["set"] == name and r["distortion"] == kind], score, name, colour)
                axes.set_title(_TITLES.get(kind, kind) if i == 0 else "", fontsize=10)
                if j == 0:
                    axes.set_ylabel(score.upper())
        handles = [
            *grid[0][0].get_legend_handles_labels()[0],
            Line2D([], [], linestyle="", marker="o", markerfacecolor="white", color="#333", label="clean pictures"),
            Line2D([], [], color="#333", label="everything called tampered", **_BASELINE),
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=min(6, len(handles)))
        _save(figure, path)


def _steps() -> MaxNLocator:
    """Ticks at whole steps, also where there is a single one."""
    return MaxNLocator(integer=True, min_n_ticks=1)


def _save(figure: Figure, path: Path) -> None:
    with replacing(path) as partial:
        figure.savefig(partial, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else {})


def _plain(name: str) -> str:
    """A label that stands as it is: matplotlib reads formulas between dollars, and leaves out what begins with _."""
    return f" {name}".replace("$", r"\$")


def _line(axes: Axes, rows: Sequence[Mapping[str, Any]], score: str, name: str, colour: str) -> None:
    labels = [row["level"] for row in rows]
    values, low, high = (
        np.array([np.nan if row[key] is None else row[key] for row in rows], float)
        for key in (score, f"{score}_low", f"{score}_high")
    )
    places = np.arange(len(rows))
    axes.plot(places, values, "o-", color=colour, markersize=3.5, linewidth=1.5, label=_plain(name))
    axes.fill_between(places, low, high, color=colour, alpha=0.15, linewidth=0)
    clean = np.array([label == CLEAN for label in labels])
    axes.plot(places[clean], values[clean], "o", color=colour, markerfacecolor="white", markersize=6)
    # of a map that is the same everywhere the AUC is 0.5, by definition
    everything: list[Any] = [0.5 if score == "auc" else row.get(f"{score}_all_tampered") for row in rows]
    if None not in everything:
        axes.plot(places, everything, color=colour, **_BASELINE)
    axes.set_xticks(places, labels, rotation=45 if max(map(len, labels), default=0) > 3 else 0, fontsize=8)
