"""The notebooks are stored with what they show, which names no machine, and run from scratch."""

import base64
import os
import re
from pathlib import Path
from typing import Any

import cv2
import lightning
import nbformat
import numpy as np
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


# /home/me/…, C:\Users\…: what a public page would tell of the machine; not the / of a fraction or of an address
MACHINE = re.compile(r"(?<![\w.:/<])/(?:[\w.-]+/)+|\b[A-Za-z]:\\|\bfile://|\blocalhost\b")


def code(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def run(path: Path, checkpoint: object, source: str, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    """How many pictures a notebook shows of a checkpoint and data, and what it prints."""
    notebook = nbformat.read(path, as_version=4)
    for cell in code(notebook):
        cell.outputs, cell.execution_count = [], None
    monkeypatch.setenv("NCL_CHECKPOINT", str(checkpoint))
    monkeypatch.setenv("NCL_DATA", source)
    NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(path.parent)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return len(images(outputs)), "".join(o.get("text", "") for o in outputs)


def images(outputs: list[Any]) -> list[bytes]:
    """The pictures among a notebook's outputs, as files."""
    found = [data for o in outputs for kind, data in o.get("data", {}).items() if kind in ("image/png", "image/jpeg")]
    return [base64.b64decode(data) for data in found]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_is_stored_is_whole_and_names_no_machine(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert path.stat().st_size < 2**20
    # run once, from the top, in one go
    assert [cell.execution_count for cell in code(notebook)] == list(range(1, len(code(notebook)) + 1))
    outputs = [output for cell in code(notebook) for output in cell.outputs]
    # neither errors nor warnings
    assert all(o.output_type in ("display_data", "execute_result") or o.name == "stdout" for o in outputs)
    assert len(images(outputs)) == 3
    for picture in images(outputs):
        decoded = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
        # no empty frame
        assert decoded.std() > 10
        # in what a file says of itself before its pixels
        assert not MACHINE.search(picture[:400].decode("latin-1"))
    texts = [cell.source for cell in notebook.cells]
    texts += [o.text if o.output_type == "stream" else str(o.data.get("text/plain", "")) for o in outputs]
    assert not MACHINE.search("\n".join(texts))
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert notebook.metadata.language_info == {"name": "python"}


@pytest.mark.parametrize("text", ["/home/me/best.ckpt", 'in "/data/x/y"', r"C:\Users\me", "file:///x", "at /tmp/a/"])
def test_a_machines_path_is_found(text: str) -> None:
    assert MACHINE.search(text)


@pytest.mark.parametrize("text", ["1/2", "val/f1", "weights/shipped.ckpt", "https://matplotlib.org/", "../x/y"])
def test_what_is_no_machines_path_may_stand(text: str) -> None:
    assert not MACHINE.search(text)


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
