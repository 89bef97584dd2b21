"""A network, a loss and a data set of one's own: one file and one config line each, and checkpoints stay safe."""

from pathlib import Path

import pytest
import torch
from conftest import ROOT, TINY, command, make_set, succeed

from ncl_lightning.module import NCLModule

OWN = """
import numpy as np
import torch
from torch import nn
from ncl_lightning import PivotOutput
from ncl_lightning.sources import Picture


class Net(nn.Module):
    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, 1, 1))

    def forward(self, image):
        return PivotOutput(None, None, None, self.layers(image))


class Loss(nn.Module):
    def forward(self, output, mask, valid, index=None, step=0):
        error = (output.logits.sigmoid() - mask).square()[valid].mean()
        return {"loss": error, "square": error.detach()}


class Data:
    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def read(self, index: int, epoch: int = 0) -> Picture:
        image = np.full((50, 60, 3), 20 * index, np.uint8)
        mask = np.zeros((50, 60), bool)
        mask[:10, :10] = True
        return Picture(image, mask, False, f"mine{index}")
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(OWN)
    return tmp_path


def test_all_three_of_ones_own(own: Path) -> None:
    data = '{"class_path": "mine.Data", "init_args": {"count": 4}}'
    succeed(
        "fit",
        *TINY,
        '--model.network={"class_path": "mine.Net", "init_args": {"width": 6}}',
        '--model.loss={"class_path": "mine.Loss"}',
        f"--data.train=[{data}]",
        f"--data.val={data}",
        f"--trainer.default_root_dir={own / 'runs'}",
        PYTHONPATH=str(own),
    )
    run = own / "runs" / "version_0"
    stored = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    assert stored["hyper_parameters"]["network"] == {"class_path": "mine.Net", "init_args": {"width": 6}}
    assert "val/square" in (run / "metrics.csv").read_text()
    pictures = make_set(own / "set", 1)
    succeed(
        "predict",
        f"--ckpt_path={run / 'checkpoints' / 'best.ckpt'}",
        f"--data.predict={pictures / 'Tp'}",
        f"--trainer.default_root_dir={own / 'out'}",
        PYTHONPATH=str(own),
    )
    assert (own / "out" / "tp0_heat.png").is_file()


def test_logits_alone_train_with_our_loss_where_both_weights_are_zero(own: Path, small_set: Path) -> None:
    common = [
        "fit",
        *TINY,
        "--model.network.class_path=mine.Net",
        f"--data.train=[{small_set}]",
        f"--data.val={small_set}",
        f"--trainer.default_root_dir={own / 'runs'}",
    ]
    succeed(*common, "--model.lambda_ncl=0", "--model.lambda_pc=0", PYTHONPATH=str(own))
    done = command(*common, PYTHONPATH=str(own))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_a_loss_of_ones_own_decides_what_trains(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever λ is: nothing is frozen, and nothing is without a gradient, which DDP would raise for."""
    monkeypatch.syspath_prepend(own)
    options = {"encoder": "traces", "options": {"width": 4}, "branch_channels": 4, "embedding_dim": 4}
    module = NCLModule(**options, loss={"class_path": "mine.Loss"}, lambda_ncl=0.0, lambda_pc=0.0)
    monkeypatch.setattr(module, "log", lambda *_, **__: None)
    batch = {
        "image": torch.rand(2, 3, 32, 32),
        "mask": torch.zeros(2, 1, 32, 32),
        "valid": torch.ones(2, 1, 32, 32, dtype=torch.bool),
        "index": torch.arange(2),
    }
    module.training_step(batch, 0)["loss"].backward()
    assert all(parameter.grad is not None for parameter in module.parameters())
    assert all((parameter.grad == 0).all() for parameter in module.network.contrast_parameters())


def test_a_class_that_is_not_there_is_one_line(small_set: Path) -> None:
    done = command(
        "fit",
        *TINY,
        "--model.network.class_path=nowhere.Net",
        f"--data.train=[{small_set}]",
        f"--data.val={small_set}",
    )
    assert done.returncode == 1
    assert "nowhere.Net" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_the_manual_shows_it() -> None:
    text = (ROOT / "docs" / "training.md").read_text()
    assert "class_path" in text
