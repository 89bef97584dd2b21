"""A network, a loss and a data set of one's own: one file and one config line each, and checkpoints stay safe."""

import inspect
import json
import re
from pathlib import Path
from typing import Any

import albumentations
import cv2
import numpy as np
import pytest
import torch
from conftest import ROOT, TINY, command, logged, make_set, succeed
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader, Dataset

from ncl_lightning.datasets import ManipulationDataset
from ncl_lightning.errors import InputError
from ncl_lightning.loss import NCLLoss
from ncl_lightning.module import NCLModule
from ncl_lightning.network import PivotNetwork, PivotOutput
from ncl_lightning.options import OF_LOSS, OF_NETWORK, text
from ncl_lightning.runs import read_runs
from ncl_lightning.sources import Picture, open_source
from ncl_lightning.transforms import pipeline

# the manual's own
BLOCKS = re.findall(r"```python\n(# (\w+)\.py.*?)```", (ROOT / "docs" / "training.md").read_text(), re.DOTALL)
MANUAL = {name: block for block, name in BLOCKS}
OWN = MANUAL["mine"]


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


def training_batch() -> dict[str, torch.Tensor]:
    return {
        "image": torch.rand(2, 3, 32, 32),
        "mask": torch.zeros(2, 1, 32, 32),
        "valid": torch.ones(2, 1, 32, 32, dtype=torch.bool),
        "index": torch.arange(2),
    }


def test_a_loss_of_ones_own_decides_what_trains(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever λ is: nothing is frozen, and nothing is without a gradient, which DDP would raise for."""
    monkeypatch.syspath_prepend(own)
    options = {"encoder": "traces", "options": {"width": 4}, "branch_channels": 4, "embedding_dim": 4}
    module = NCLModule(**options, loss={"class_path": "mine.Loss"}, lambda_ncl=0.0, lambda_pc=0.0)
    monkeypatch.setattr(module, "log", lambda *_, **__: None)
    module.training_step(training_batch(), 0)["loss"].backward()
    assert all(parameter.grad is not None for parameter in module.parameters())
    assert all((parameter.grad == 0).all() for parameter in module.network.projections.parameters())


def test_an_encoder_of_ones_own(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (own / "encoder.py").write_text(MANUAL["encoder"])
    monkeypatch.syspath_prepend(own)
    network = {"class_path": "encoder.network", "init_args": {"branch_channels": 4, "embedding_dim": 4}}
    module = NCLModule(network=network).eval()
    assert module.probability(torch.zeros(1, 3, 50, 70, dtype=torch.uint8)).shape == (1, 1, 50, 70)
    network["init_args"]["decoder"] = "FPN"
    NCLModule(network=network)
    network["init_args"]["decoder"] = "DeepLabV3Plus"
    with pytest.raises(InputError, match="the encoder has no get_stages"):
        NCLModule(network=network)


def test_the_loss_alone_serves_elsewhere() -> None:
    names: dict[str, Any] = {}
    exec(MANUAL["elsewhere"], names)
    assert set(names["terms"]) == set(NCLLoss.TERMS)
    assert all(term.isfinite() for term in names["terms"].values())
    everywhere = torch.ones_like(names["mask"], dtype=torch.bool)
    assert names["loss"](names["output"], names["mask"], everywhere) == names["terms"]
    with pytest.raises(ValueError, match="`authentic` are not of length 1"):
        names["loss"](names["output"]._replace(authentic=50 * names["authentic"]), names["mask"])


class Half(torch.nn.Module):
    """What goes wrong in networks of one's own."""

    def __init__(self, gives: str) -> None:
        super().__init__()
        self.gives = gives

    def forward(self, image: torch.Tensor) -> Any:
        logits = image[:, :1, ::2, ::2]
        return {"dict": {"logits": logits}, "tensor": logits, "half": PivotOutput(None, None, None, logits)}[self.gives]


class Terms(torch.nn.Module):
    """The same of losses."""

    def __init__(self, gives: str) -> None:
        super().__init__()
        self.gives = gives

    def forward(self, output: PivotOutput, *_: Any) -> Any:
        each = output.logits.mean((1, 2, 3))
        given = {
            "tensor": each.mean(),
            "none": {"dice": each.mean()},
            "each": {"loss": each.mean(), "each": each},
            "number": {"loss": each.mean(), "weight": 0.5},
        }
        return given[self.gives]


@pytest.mark.parametrize(
    ("part", "gives", "says"),
    [
        ("network", "dict", "model.network: it gives a dict; let its forward return"),
        ("network", "tensor", "model.network: it gives a Tensor"),
        ("network", "half", r"model.network: its logits are \(2, 1, 16, 16\), but the pictures \(2, 3, 32, 32\)"),
        ("loss", "tensor", "model.loss: it gives a Tensor"),
        ("loss", "none", "model.loss: it gives a dict of dice"),
        ("loss", "each", r"model.loss: each is of the shape \(2,\)"),
        ("loss", "number", None),
    ],
)
def test_what_parts_of_ones_own_give(part: str, gives: str, says: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"encoder": "traces", "options": {"width": 4}, "branch_channels": 4, "embedding_dim": 4}
    own = {"class_path": f"{__name__}.{'Half' if part == 'network' else 'Terms'}", "init_args": {"gives": gives}}
    module = NCLModule(**options, **{part: own})  # type: ignore[arg-type]
    monkeypatch.setattr(module, "log", lambda *_, **__: None)
    if says is None:
        module.training_step(training_batch(), 0)["loss"].backward()
        assert module.train_terms is not None
        assert module.train_terms.compute()["weight"] == 0.5
        return
    with pytest.raises(InputError, match=says):
        module.training_step(training_batch(), 0)


def test_options_that_a_loss_of_ones_own_leaves_unused_are_named(own: Path, small_set: Path) -> None:
    words = [*TINY, f"--data.train=[{small_set}]", f"--data.val={small_set}", f"--trainer.default_root_dir={own}"]
    words += ["--model.loss.class_path=mine.Loss", "--model.lambda_ncl=0.3", "--model.contour_role=ignore"]
    done = succeed("fit", *words, "--trainer.fast_dev_run=true", PYTHONPATH=str(own))
    said = " ".join(done.stderr.split())
    assert "left unused: contour_role ignore, lambda_ncl 0.3; what yours takes" in said


def test_an_optimizer_of_ones_own(small_set: Path, tmp_path: Path) -> None:
    words = [*TINY, f"--data.train=[{small_set}]", f"--data.val={small_set}", f"--trainer.default_root_dir={tmp_path}"]
    words += ["--model.optimizer.class_path=torch.optim.SGD", "--model.lr=0.01", "--model.weight_decay=0.02"]
    succeed("fit", *words, "--model.optimizer.init_args.momentum=0.7")
    last = tmp_path / "version_0" / "checkpoints" / "last.ckpt"
    (group,) = torch.load(last, weights_only=True)["optimizer_states"][0]["param_groups"]
    assert (group["momentum"], group["initial_lr"], group["weight_decay"]) == (0.7, 0.01, 0.02)
    # a run goes on with it
    config = f"--config={tmp_path / 'version_0' / 'config.yaml'}"
    succeed("fit", config, f"--ckpt_path={last}", "--trainer.max_epochs=2")
    refused = command("fit", *words, "--model.optimizer.init_args.lr=1")
    assert refused.returncode == 1
    assert "model.optimizer: lr in its init_args; give model.lr" in refused.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--optimizer", "AdamW"], "give --model.optimizer.class_path torch.optim.SGD"),
        (["--model", "mine.Module"], "a module of your own is for Python"),
        (["--model.class_path", "mine.Module"], "a module of your own is for Python"),
        (["--data.class_path=mine.Data"], "a module of your own is for Python"),
    ],
)
def test_what_other_command_lines_take_is_answered(words: list[str], says: str) -> None:
    done = command("fit", *words)
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


class Plain(Dataset[dict[str, torch.Tensor]]):
    """A data set of one's own that knows of no original size."""

    name = "mine"

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        rng = torch.Generator().manual_seed(index)
        mask = torch.zeros(1, 32, 32)
        mask[:, 8:20, 8:20] = 1
        return {
            "image": torch.randint(0, 255, (3, 32, 32), generator=rng, dtype=torch.uint8),
            "mask": mask,
            "valid": torch.ones(1, 32, 32, dtype=torch.bool),
            "index": torch.tensor(index),
            "authentic": torch.tensor(False),
            "content": torch.tensor([32, 32]),
        }


def test_a_test_of_ones_own_data_needs_no_original_size(tmp_path: Path) -> None:
    module = NCLModule(encoder="traces", options={"width": 4}, branch_channels=4, embedding_dim=4)
    trainer = Trainer(accelerator="cpu", logger=False, default_root_dir=tmp_path, enable_progress_bar=False)
    trainer.test(module, DataLoader(Plain(), batch_size=2), verbose=False)
    assert module.results["mine"]["tampered_images"] == 2
    assert module.results["mine"]["f1_original"] is None


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


class Floats(albumentations.ImageOnlyTransform):
    """An augmentation that forgets to bring its values back."""

    def apply(self, img: np.ndarray, **_: Any) -> np.ndarray:
        return img.astype(np.float32)


@pytest.mark.parametrize(
    ("transform", "says"),
    [
        (Floats(p=1), r"data\.augment: pictures of float32 up to \d+; give uint8, or floats of 0 to 1"),
        (albumentations.ToGray(num_output_channels=1, p=1), r"data\.augment: a picture of the shape"),
    ],
)
def test_what_an_augmentation_of_ones_own_gives(transform: Any, says: str) -> None:
    dataset = ManipulationDataset([open_source("synthetic:1")], pipeline([transform]))
    with pytest.raises(InputError, match=says):
        dataset[0]


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
