"""Plots hold whatever people call their sets and arms."""

from pathlib import Path

import pytest

from ncl_lightning.plots import learning_curves, robustness_plot


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
