"""A network, a loss and a data set of one's own: one file and one config line each, and checkpoints stay safe."""

import inspect
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from conftest import ROOT, TINY, command, logged, make_set, succeed

from ncl_lightning.datasets import ManipulationDataset
from ncl_lightning.errors import InputError
from ncl_lightning.loss import NCLLoss
from ncl_lightning.module import NCLModule
from ncl_lightning.network import PivotNetwork
from ncl_lightning.options import OF_LOSS, OF_NETWORK, text
from ncl_lightning.overview import read_runs
from ncl_lightning.sources import Picture
from ncl_lightning.transforms import pipeline

# the manual's own
OWN = re.findall(r"```python\n(# mine\.py.*?)```", (ROOT / "docs" / "training.md").read_text(), re.DOTALL)[0]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(OWN)
    made = make_set(tmp_path / "made", 4)
    (tmp_path / "pictures").mkdir()
    for number in range(4):
        for kind, suffix in (("Tp", ".jpg"), ("Gt", ".png")):
            picture = cv2.imread(str(made / kind / f"tp{number}.png"))
            cv2.imwrite(str(tmp_path / "pictures" / f"{number}{suffix}"), picture)
    return tmp_path


def test_all_three_of_ones_own(own: Path) -> None:
    data = json.dumps({"class_path": "mine.Data", "init_args": {"folder": str(own / "pictures")}})
    succeed(
        "fit",
        *TINY,
        '--model.network={"class_path": "mine.Net", "init_args": {"width": 6}}',
        # one by one, as a sweep gives them
        "--model.loss.class_path=mine.Loss",
        "--model.loss.init_args.weight=2",
        f"--data.train=[{data}]",
        f"--data.val={data}",
        f"--trainer.default_root_dir={own / 'runs'}",
        PYTHONPATH=str(own),
    )
    run = own / "runs" / "version_0"
    stored = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    assert stored["hyper_parameters"]["network"] == {"class_path": "mine.Net", "init_args": {"width": 6}}
    assert logged(run, "val/loss") == pytest.approx([2 * value for value in logged(run, "val/square")])
    # what a loss and a network of one's own leave unused says nothing of a run
    (line,) = read_runs(own / "runs")
    assert text(line.options["model.network"]) == "mine.Net(width=6)"
    assert text(line.options["model.loss"]) == "mine.Loss(weight=2)"
    assert not {"model.encoder", "model.lambda_ncl"} & set(line.options)
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


def test_options_that_one_s_own_leave_unused_are_those_of_ours() -> None:
    shared, seeds = {"stride", "mean", "std"}, {"seed"}
    assert set(OF_NETWORK) == set(inspect.signature(PivotNetwork).parameters) - shared
    assert set(OF_LOSS) == set(inspect.signature(NCLLoss).parameters) - shared - seeds


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        (np.zeros((9, 8, 3), np.float32), np.zeros((9, 8), bool)),
        (np.zeros((9, 8, 3), np.uint8), np.full((9, 8), 255, np.uint8)),
    ],
)
def test_data_of_one_s_own_is_of_the_types_that_are_asked_for(image: np.ndarray, mask: np.ndarray) -> None:
    class Own:
        def __len__(self) -> int:
            return 1

        def read(self, index: int, epoch: int) -> Picture:
            return Picture(image, mask, False, "mine")

    dataset = ManipulationDataset([Own()], pipeline([]))
    with pytest.raises(
        InputError, match=f"mine: a picture of {image.dtype} with a mask of {mask.dtype}; .* uint8 and bool"
    ):
        dataset[0]
