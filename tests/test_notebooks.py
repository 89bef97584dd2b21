"""The notebooks are stored without outputs, and run."""

import os
from pathlib import Path

import lightning
import nbformat
import pytest
import torch
from conftest import ROOT
from nbclient import NotebookClient

from ncl_lightning.module import NCLModule

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

OWN = """
from torch import nn
from ncl_lightning import PivotOutput


class Net(nn.Conv2d):
    def __init__(self) -> None:
        super().__init__(3, 1, 1)

    def forward(self, image):
        return PivotOutput(tampered=None, authentic=None, features=None, logits=super().forward(image))
"""


def run(path: Path, checkpoint: object, source: str, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    """How many pictures a notebook shows of a checkpoint and data, and what it prints."""
    notebook = nbformat.read(path, as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells)
    monkeypatch.setenv("NCL_CHECKPOINT", str(checkpoint))
    monkeypatch.setenv("NCL_DATA", source)
    NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(path.parent)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return sum("image/png" in o.get("data", {}) for o in outputs), "".join(o.get("text", "") for o in outputs)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path: Path, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # of a path below the project's folder, though the kernel begins in notebooks/
    best = os.path.relpath(trained / "checkpoints" / "best.ckpt", ROOT)
    assert run(path, best, "synthetic:8", monkeypatch)[0] == 3


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_shows_pictures_at_their_own_size(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(path, "shipped", "synthetic:3", monkeypatch)[0] == 3


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_says_that_a_network_has_no_embeddings(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plainly_mine.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    module = NCLModule(network={"class_path": "plainly_mine.Net"})
    stored = {
        "state_dict": module.state_dict(),
        "hyper_parameters": dict(module.hparams),
        "datamodule_hyper_parameters": {"size": 64, "eval_sizing": "resize", "max_size": 512},
        "pytorch-lightning_version": lightning.__version__,
    }
    torch.save(stored, tmp_path / "own.ckpt")
    pictures, text = run(path, tmp_path / "own.ckpt", "synthetic:1", monkeypatch)
    assert pictures == 1
    assert "no embeddings" in text
