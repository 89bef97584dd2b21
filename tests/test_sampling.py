"""Epochs by weight and by the share of authentic pictures: exact counts, alike on any number of ranks."""

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import make_set
from hypothesis import given, settings
from hypothesis import strategies as st

from ncl_lightning.data import ManipulationDataModule
from ncl_lightning.errors import InputError
from ncl_lightning.images import Pair
from ncl_lightning.sampling import Draws, DrawSampler, authentic_flags, quotas
from ncl_lightning.sources import BalancedSource, FileSource, open_source
from ncl_lightning.synthetic import SyntheticSource

COUNTS = st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)), min_size=1, max_size=4)
SHARE = st.one_of(st.none(), st.floats(0.05, 0.95))


def files(tampered: int, authentic: int = 0) -> FileSource:
    """A source of files that nobody opens."""
    pairs = [Pair(Path(f"{n}.png"), Path("mask.png")) for n in range(tampered)]
    return FileSource(pairs + [Pair(Path(f"au{n}.png"), None) for n in range(authentic)])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9).filter(lambda rates: sum(rates) > 0), st.integers(0, 999))
def test_quotas_are_whole_nearest_and_sum_up(rates: list[float], total: int) -> None:
    shares = np.array(rates) / sum(rates)
    counts = quotas(shares, total)
    assert sum(counts) == total
    assert (np.abs(counts - shares * total) < 1 + 1e-6).all()


@settings(deadline=None)
@given(COUNTS, SHARE, st.integers(1, 60), st.integers(0, 3), st.integers(0, 5), st.data())
def test_an_epochs_counts(
    counts: list[tuple[int, int]],
    share: float | None,
    samples: int,
    epoch: int,
    seed: int,
    data: st.DataObject,
) -> None:
    if share is not None and not any(real for _, real in counts):
        share = None
    size = st.lists(st.floats(0.1, 9), min_size=len(counts), max_size=len(counts))
    weights = data.draw(st.one_of(st.none(), size))
    sources = [files(*count) for count in counts]
    draws = Draws(sources, weights, share, samples, seed)
    drawn = draws.epoch(epoch)
    assert len(drawn) == len(draws) == samples
    assert drawn == draws.epoch(epoch) == Draws(sources, weights, share, samples, seed).epoch(epoch)
    owner = np.repeat(np.arange(len(counts)), [sum(count) for count in counts])
    real = np.concatenate([authentic_flags(source) for source in sources])
    indices = np.array([index for index, _ in drawn])
    if share is not None:
        assert abs(real[indices].sum() - share * samples) <= len(counts)
    else:
        wanted = np.array(weights or [sum(count) for count in counts])
        assert (np.abs(np.bincount(owner[indices], minlength=len(counts)) - wanted / wanted.sum() * samples) < 1).all()
    # within what is drawn alike, every picture as often as any other, give or take one
    times = np.bincount(indices, minlength=len(owner))
    for part in range(len(counts)):
        for kind in (False, True) if share is not None else (slice(None),):
            alike = times[owner == part][(real[owner == part] == kind) if isinstance(kind, bool) else kind]
            assert not len(alike) or np.ptp(alike) <= 1
    # each time has its own number: its own augmentation
    assert len(set(drawn)) == samples
    assert all(again < times[index] for index, again in drawn)


@given(st.integers(1, 40), st.integers(1, 5), st.integers(0, 3))
def test_ranks_draw_what_one_rank_draws(samples: int, world: int, epoch: int) -> None:
    draws = Draws([files(5, 2), files(3)], [3, 1], 0.5, samples, seed=1)

    def drawn(ranks: int) -> Counter[tuple[int, ...]]:
        samplers = [DrawSampler(draws, ranks, rank) for rank in range(ranks)]
        for sampler in samplers:
            sampler.set_epoch(epoch)
        parts = [list(sampler) for sampler in samplers]
        assert len({len(part) for part in parts}) == 1
        return Counter(item for part in parts for item in part)

    one, many = drawn(1), drawn(world)
    # only what would not fill a last round is left out
    assert not many - one
    assert sum((one - many).values()) == samples % world


@pytest.mark.parametrize("count", [15, 103])
@pytest.mark.parametrize("drawn", [True, False])
def test_an_epoch_on_several_processes_holds_as_many_pictures_and_none_twice(count: int, drawn: bool) -> None:
    data = ManipulationDataModule(
        train=[f"synthetic:{count}"], val="synthetic:1", batch_size=8, epoch_samples=count if drawn else None
    )
    data.setup("fit")
    epochs = []
    for world, batch_size in ((1, 8), (2, 4), (4, 2)):
        data.hparams["batch_size"] = batch_size
        seen: list[int] = []
        for rank in range(world):
            data.trainer = SimpleNamespace(
                world_size=world, global_rank=rank, strategy=SimpleNamespace(root_device=torch.device("cpu"))
            )
            batches = list(data.train_dataloader().batch_sampler)
            seen += [index for batch in batches for _, index in batch]
        epochs.append(seen)
    assert [len(seen) for seen in epochs] == [count // 8 * 8] * 3
    assert all(len(set(seen)) == len(seen) for seen in epochs)


def test_epochs_differ_and_seeds_differ() -> None:
    draws = Draws([files(50)], samples=20, seed=0)
    assert draws.epoch(0) != draws.epoch(1)
    assert draws.epoch(0) != Draws([files(50)], samples=20, seed=1).epoch(0)
    # a large source is not seen by its first pictures alone
    assert len({index for epoch in range(20) for index, _ in draws.epoch(epoch)}) == 50


def test_what_sources_say_of_authentic_pictures_is_so(small_set: Path, tmp_path: Path) -> None:
    balanced = BalancedSource([open_source(str(small_set)), open_source(str(make_set(tmp_path / "b", 1, 3)))], each=5)
    for source in (open_source(str(small_set)), SyntheticSource(12, size=32, authentic_share=0.5), balanced):
        for epoch in (0, 1):
            said = authentic_flags(source, epoch)
            assert said.tolist() == [source.read(index, epoch).authentic for index in range(len(source))]
            assert 0 < said.sum() < len(source)


def module(train: list[object], **options: object) -> ManipulationDataModule:
    options = {"size": 64, "batch_size": 2, "num_workers": 0, "seed": 7, "leakage": "ignore", **options}
    data = ManipulationDataModule(train=train, val="synthetic:2", **options)  # type: ignore[arg-type]
    data.setup("fit")
    return data


def test_the_data_module_draws_by_weight_and_share(tmp_path: Path) -> None:
    one, two = make_set(tmp_path / "one", 4, 4), make_set(tmp_path / "two", 3, 1)
    data = module(
        [{"source": str(one), "weight": 1}, {"source": str(two), "weight": 3}], authentic_share=0.25, epoch_samples=40
    )
    loader = data.train_dataloader()
    loader.sampler.set_epoch(3)
    seen = list(loader)
    assert len(loader) == len(seen) == 20
    assert sum(int(batch["authentic"].sum()) for batch in seen) == 10
    # tampered pictures: rates ½·1 and ¾·3, brought to .75 together
    assert sum(int((index < 8).sum()) for batch in seen for index in batch["index"]) == pytest.approx(40 * 0.253, abs=2)


def test_a_picture_that_comes_again_is_augmented_otherwise(tmp_path: Path) -> None:
    data = module([str(make_set(tmp_path / "one", 1))], epoch_samples=12)
    images = torch.cat([batch["image"] for batch in data.train_dataloader()])
    assert len({image.numpy().tobytes() for image in images}) > 6
    again = torch.cat([batch["image"] for batch in data.train_dataloader()])
    assert torch.equal(images, again)


@pytest.mark.parametrize(
    ("train", "options", "says"),
    [
        (["a"], {"authentic_share": 0.5}, "has no authentic picture"),
        (["a"], {"authentic_share": 1.5}, "give fractions within 0–1"),
        (["a"], {"epoch_samples": 1}, "lower data.batch_size"),
        (["a"], {"epoch_samples": 0}, "epoch_samples is 0"),
        ([{"source": "a", "weight": 1}, "b"], {}, "give all of them one"),
        ([{"source": "a", "weight": 0}], {}, "weight is 0; give a positive number"),
        ([{"source": "a", "wieght": 1}], {}, "no such key as wieght; the keys are source, weight"),
        ([{"weight": 1}], {}, "no source"),
        ([{"source": "a", "only": "fake"}], {}, "write tampered or authentic"),
        ([{"source": "a", "only": "authentic"}], {}, "no authentic picture in it"),
        ([{"source": "a", "tampered": "4"}], {}, "give a count"),
        ([{"source": "synthetic:9", "tampered": 9}], {}, "leave them out"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(
    train: list[object], options: dict[str, object], says: str, tmp_path: Path
) -> None:
    make_set(tmp_path / "a", 4)
    make_set(tmp_path / "b", 4)
    with pytest.raises(InputError, match=says) as error:
        module(train, root=str(tmp_path), **options)
    assert error.value.line == str(error.value)


def test_a_source_class_that_does_not_tell(small_set: Path) -> None:
    class Silent:
        def __len__(self) -> int:
            return 3

    with pytest.raises(InputError, match=r"give it a method authentic\(epoch\)"):
        Draws([Silent()], authentic_share=0.5)  # type: ignore[list-item]


def test_no_seed_has_the_order_of_another_ones_epochs(small_set: Path) -> None:
    orders = []
    for seed in range(3):
        sampler = module([str(small_set)], seed=seed).train_dataloader().sampler
        for epoch in range(4):
            sampler.set_epoch(epoch)
            orders.append(tuple(index for _, index in sampler))
    assert len(set(orders)) == len(orders)
