"""Plots hold whatever people call their sets and arms, and can be read."""

import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

from ncl_lightning.plots import COLOURS, f1_by_size, histogram, learning_curves, robustness_plot

SVG = "{http://www.w3.org/2000/svg}"
Element = ElementTree.Element


def group(root: Element, name: str) -> Element:
    """A part of a plot by matplotlib's name."""
    (found,) = (element for element in root.iter(f"{SVG}g") if element.get("id") == name)
    return found


def texts(element: Element) -> list[str]:
    return ["".join(text.itertext()).strip() for text in element.iter(f"{SVG}text")]


def numbers(text: str | None) -> list[float]:
    return [float(number) for number in re.findall(r"-?\d+\.?\d*", text or "")]


def ticks(root: Element, axis: int) -> dict[str, float]:
    """Labels of an axis (1 and 2: x and y of the first plot, and so on), and where their marks are."""
    out = {}
    for tick in group(root, f"matplotlib.axis_{axis}").findall(f"{SVG}g"):
        uses = list(tick.iter(f"{SVG}use"))
        if texts(tick) and uses:
            out[texts(tick)[0].replace("−", "-")] = float(uses[0].get("yx"[axis % 2]) or "nan")
    return out


@pytest.mark.parametrize("name", [r"$\foo$", "a_b^c", "_hidden", "50 % & more"])
def test_a_name_is_shown_as_it_is(tmp_path: Path, name: str) -> None:
    curves = {name: [{"step": [1, 2], "auc": [0.5, 0.7]}], "plain": [{"step": [1, 2], "auc": [0.5, 0.6]}]}
    learning_curves(tmp_path / "curves.svg", curves)
    row = {"distortion": "jpeg", "level": "90", "f1": 0.5, "f1_low": 0.4, "f1_high": 0.6}
    rows = [{**row, "set": one, "auc": 0.5, "auc_low": None, "auc_high": None} for one in (name, "plain")]
    robustness_plot(tmp_path / "robustness.svg", rows)
    for file in ("curves.svg", "robustness.svg"):
        text = (tmp_path / file).read_text()
        assert name.replace("&", "&amp;") in text


def test_one_validation_is_seen(tmp_path: Path) -> None:
    arms = {"plain": [{"step": [9], "auc": [0.6]}], "switch": [{"step": [9], "auc": [0.7]}], "none": []}
    for suffix in ("png", "svg"):
        learning_curves(tmp_path / f"curves.{suffix}", arms)
    picture = cv2.imread(str(tmp_path / "curves.png"))[..., ::-1].astype(int)
    # left of the legend
    picture = picture[:, : picture.shape[1] * 2 // 3]
    for colour in COLOURS[:2]:
        wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        assert (np.abs(picture - wanted).max(-1) < 30).sum() > 20
    assert list(ticks(ElementTree.parse(tmp_path / "curves.svg").getroot(), 1)) == ["9"]


@pytest.mark.parametrize("steps", [[0, 1], [1, 2, 3], [199, 399], [5, 12000]])
def test_steps_are_whole(tmp_path: Path, steps: list[int]) -> None:
    learning_curves(tmp_path / "curves.svg", {"a": [{"step": steps, "auc": [0.5] * len(steps)}]})
    labels = ticks(ElementTree.parse(tmp_path / "curves.svg").getroot(), 1)
    assert len(labels) > 1
    assert all(re.fullmatch(r"-?\d+", label) for label in labels)


@pytest.mark.parametrize("count", [1, 12, 30])
def test_a_legend_of_many_arms_hides_nothing(tmp_path: Path, count: int) -> None:
    names = [f"arm_number_{i:02d}" for i in range(count)]
    learning_curves(tmp_path / "curves.svg", {name: [{"step": [1, 2], "auc": [0.5, 0.7]}] for name in names})
    root = ElementTree.parse(tmp_path / "curves.svg").getroot()
    _, _, width, height = numbers(root.get("viewBox"))
    legend = group(root, "legend_1")
    assert set(names) <= {text.split(" ")[0] for text in texts(legend)}
    right = max(numbers(group(root, "patch_2")[0].get("d"))[::2])
    for text in legend.iter(f"{SVG}text"):
        x, y = numbers(text.get("transform"))[-2:]
        assert right < x < width
        assert 0 < y < height
    # no two arms look alike
    lines = [line for line in group(root, "axes_1").iter(f"{SVG}path") if "stroke-width: 1.8" in line.get("style", "")]
    looks = [line.get("style") for line in lines if len(numbers(line.get("d"))) == 4]
    assert len(set(looks)) == min(count, 18)


@pytest.mark.parametrize("share", [[0.03], [0.021, 0.022], [0.5, 0.9], [1.0], [0.0005, 0.01, 0.9], [1e-5, 1.0]])
def test_a_log_axis_has_labels(share: Sequence[float]) -> None:
    labels = ticks(ElementTree.fromstring(f1_by_size(share, [0.5] * len(share))), 1)
    values = [float(label) for label in labels]
    assert 2 <= len(values) <= 10
    # and where there is little room they do not run into each other
    places = np.array(list(labels.values()))
    assert np.diff(places).min() > 5 * max(map(len, labels))


def test_a_histograms_legend_is_above_its_bars() -> None:
    root = ElementTree.fromstring(histogram([0.97, 0.98, 0.99, 1.0]))
    top = min(numbers(group(root, "patch_2")[0].get("d"))[1::2])
    for text in group(root, "legend_1").iter(f"{SVG}text"):
        assert numbers(text.get("transform"))[-1] < top


def robustness_rows(**more: float) -> list[dict[str, object]]:
    out = []
    for level, f1 in (("0.5", 0.2), ("clean", 0.6), ("2", 0.3)):
        scores = {"f1": f1, "f1_low": f1, "f1_high": f1, "auc": f1, "auc_low": f1, "auc_high": f1}
        out.append({"set": "mine", "distortion": "gamma", "level": level, **scores, **more})
    return out


def dotted(axes: Element) -> list[list[float]]:
    """Ends of the dotted lines of a plot."""
    paths = (path for path in axes.iter(f"{SVG}path") if "stroke-dasharray" in (path.get("style") or ""))
    return [numbers(path.get("d")) for path in paths]


def test_robustness_shows_what_calling_everything_tampered_scores(tmp_path: Path) -> None:
    robustness_plot(tmp_path / "with.svg", robustness_rows(f1_all_tampered=0.4))
    robustness_plot(tmp_path / "without.svg", robustness_rows())
    root, without = (ElementTree.parse(tmp_path / file).getroot() for file in ("with.svg", "without.svg"))
    # an old table does not have it; for the AUC it is 0.5 by definition
    assert not dotted(group(without, "axes_1"))
    for axes, value, axis in (("axes_1", 0.4, 2), ("axes_2", 0.5, 4)):
        (line,) = dotted(group(root, axes))
        labels = {float(label): place for label, place in ticks(root, axis).items()}
        expected = np.interp(value, sorted(labels), [labels[label] for label in sorted(labels)])
        assert line[1::2] == pytest.approx([expected] * len(line[1::2]), abs=0.01)
    assert {"mine", "clean pictures", "everything called tampered"} <= set(texts(group(root, "legend_1")))


def test_robustness_marks_the_clean_pictures(tmp_path: Path) -> None:
    robustness_plot(tmp_path / "one.svg", robustness_rows())
    root = ElementTree.parse(tmp_path / "one.svg").getroot()
    hollow = [use for use in group(root, "axes_1").iter(f"{SVG}use") if "fill: #ffffff" in (use.get("style") or "")]
    assert [float(use.get("x") or "nan") for use in hollow] == [pytest.approx(ticks(root, 1)["clean"])]
