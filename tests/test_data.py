"""The data module: batches, draws that do not depend on the number of workers, samplers."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_set
from PIL import Image

from ncl_lightning.data import ManipulationDataModule
from ncl_lightning.datasets import EpochSampler, FixedSampler
from ncl_lightning.errors import InputError


def batches(folder: Path, epoch: int = 0, **options: object) -> dict[int, torch.Tensor]:
    """Every training image of an epoch by index."""
    data = ManipulationDataModule(
        train=[str(folder)],
        val=str(folder),
        **({"size": 64, "batch_size": 2, "seed": 7, "leakage": "ignore"} | options),
    )
    data.setup("fit")
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)
    return {int(i): image for batch in loader for i, image in zip(batch["index"], batch["image"], strict=True)}


def same(a: dict[int, torch.Tensor], b: dict[int, torch.Tensor]) -> list[bool]:
    return [torch.equal(a[i], b[i]) for i in sorted(a)]


def test_draws_depend_on_seed_epoch_and_index_alone(small_set: Path) -> None:
    alone = batches(small_set, num_workers=0)
    assert len(alone) == 6
    assert all(same(alone, batches(small_set, num_workers=2)))
    assert all(same(alone, batches(small_set, num_workers=1, batch_size=3)))
    assert not all(same(alone, batches(small_set, epoch=1, num_workers=0)))
    assert not all(same(alone, batches(small_set, num_workers=0, seed=8)))


def test_two_workers_draw_different_augmentations(tmp_path: Path) -> None:
    # the same picture under many indices: equal draws would give equal images
    folder = make_set(tmp_path / "one", 1)
    for kind in ("Tp", "Gt"):
        for number in range(1, 12):
            shutil.copy(folder / kind / "tp0.png", folder / kind / f"tp{number}.png")
    images = batches(folder, num_workers=2)
    assert len({image.numpy().tobytes() for image in images.values()}) > 6


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_bad_files_are_met_before_anything_runs(part: str, small_set: Path, tmp_path: Path) -> None:
    """Not when they are drawn: hours into a training, or after another set's test."""
    bad = make_set(tmp_path / "bad", 3, 1)
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(bad / "Gt" / "tp1.png")
    (bad / "Au" / "au3.png").write_bytes(b"")
    given = {"train": [str(small_set)], "val": str(small_set), "test": {"a": str(small_set), "b": str(bad)}}
    data = ManipulationDataModule(
        **given | ({} if part == "test" else {part: str(bad)}), batch_size=2, leakage="ignore"
    )
    with pytest.raises(
        InputError, match=r"tp1\.png: the mask is 9×9 .*\(the first of 2 such files; `audit` names all\)"
    ):
        data.setup("test" if part == "test" else "fit")


@pytest.mark.parametrize("level", [0, 1, 2, 100])
@pytest.mark.parametrize("part", ["train", "val"])
def test_masks_without_a_tampered_pixel_are_not_trained_on(
    part: str, level: int, small_set: Path, tmp_path: Path
) -> None:
    """As of labels, or of grey ones: a network would learn that all is authentic."""
    bad = make_set(tmp_path / "bad", 3)
    for mask in (bad / "Gt").iterdir():
        Image.fromarray((np.array(Image.open(mask)) // 255 * level).astype(np.uint8)).save(mask)
    given = {"train": [str(small_set)], "val": str(small_set)} | {part: str(bad)}
    data = ManipulationDataModule(**given, batch_size=2, leakage="ignore")
    if level == 1:
        # 0 and 1 are what they seem
        data.setup("fit")
        return
    with pytest.raises(InputError, match=rf"^data\.{part}: none of its 3 masks has a tampered pixel, .* \(.*tp0\.png"):
        data.setup("fit")
    # one is enough: other pictures may be authentic ones that are given with an empty mask
    Image.fromarray(np.full((72, 80), 255, np.uint8)).save(bad / "Gt" / "tp2.png")
    data.setup("fit")


def test_evaluation_sees_the_same_made_up_pictures_at_every_epoch() -> None:
    data = ManipulationDataModule(val="synthetic:3", size=32, num_workers=0)
    data.setup("validate")
    loader = data.val_dataloader()
    first = torch.cat([batch["image"] for batch in loader])
    loader.sampler.set_epoch(5)
    assert torch.equal(first, torch.cat([batch["image"] for batch in loader]))


def test_training_validation_and_test_pictures_differ() -> None:
    data = ManipulationDataModule(
        train=["synthetic:4"],
        val="synthetic:4",
        test={"a": "synthetic:4"},
        size=32,
        batch_size=4,
        num_workers=0,
        augment="none",
        seed=0,
    )
    data.setup("fit")
    data.setup("test")
    seen = [data.train_dataloader(), data.val_dataloader(), *data.test_dataloader()]
    pictures = [image.numpy().tobytes() for loader in seen for batch in loader for image in batch["image"]]
    assert len(set(pictures)) == 12


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 5, 6])
def test_samplers_cover_every_index(world: int, count: int) -> None:
    for kind in (EpochSampler, FixedSampler):
        parts = [kind(range(count), num_replicas=world, rank=rank, shuffle=True) for rank in range(world)]
        for part in parts:
            part.set_epoch(4)
        pairs = [pair for part in parts for pair in part]
        assert {index for _, index in pairs} == set(range(count))
        assert {epoch for epoch, _ in pairs} == {4 if kind is EpochSampler else 0}


def test_batch_keys_and_shapes(small_set: Path) -> None:
    data = ManipulationDataModule(
        test={"set": str(small_set)}, size=100, eval_sizing="pad", eval_batch_size=6, num_workers=0
    )
    data.setup("test")
    batch = next(iter(data.test_dataloader()[0]))
    assert batch["image"].shape == (6, 3, 100, 100)
    assert batch["image"].dtype == torch.uint8
    assert batch["mask"].shape == batch["valid"].shape == (6, 1, 100, 100)
    assert batch["content"].tolist() == batch["original_size"].tolist() == [[72, 80]] * 6
    assert batch["valid"].sum().item() == 6 * 72 * 80
    assert batch["authentic"].sum().item() == 2
    assert batch["index"].tolist() == list(range(6))
    for mask, full in zip(batch["mask"], batch["original_mask"], strict=True):
        assert torch.equal(mask[:, :72, :80].bool(), full)


def test_native_pictures_go_one_by_one(tmp_path: Path) -> None:
    make_set(tmp_path / "a", 1, size=(40, 90))
    make_set(tmp_path / "b", 1, size=(60, 50))
    data = ManipulationDataModule(
        val=[str(tmp_path / "a"), str(tmp_path / "b")], eval_sizing="native", batch_size=2, num_workers=0
    )
    data.setup("validate")
    batches = list(data.val_dataloader())
    # padded to a common size, a picture's score would depend on those beside it
    assert [batch["image"].shape for batch in batches] == [(1, 3, 40, 90), (1, 3, 60, 50)]
    assert all(batch["valid"].all() for batch in batches)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"train": None}, "data.train names no data"),
        ({"train": ["nowhere"]}, "nowhere"),
        ({"batch_size": 99}, "lower data.batch_size"),
        ({"size": 0}, "data.size is 0"),
    ],
)
def test_bad_data_is_one_line(small_set: Path, options: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        ManipulationDataModule(**({"train": [str(small_set)], "val": str(small_set)} | options)).setup("fit")


def test_a_source_class_of_ones_own() -> None:
    spec = {"class_path": "ncl_lightning.synthetic.SyntheticSource", "init_args": {"count": 3, "size": 40}}
    data = ManipulationDataModule(val=spec, size=40, num_workers=0)
    data.setup("validate")
    assert len(data.val_dataloader().dataset) == 3
    assert np.isfinite(next(iter(data.val_dataloader()))["image"].float().mean())


def test_one_string_is_one_source() -> None:
    data = ManipulationDataModule(train="synthetic:4", val="synthetic:2", test="synthetic:3")
    assert data.hparams["train"] == ["synthetic:4"]
    assert data.hparams["test"] == {"test": "synthetic:3"}
