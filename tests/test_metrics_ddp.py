"""The same numbers to the bit on 1, 2 and 3 processes, for any number of images and batch size."""

import itertools
import os
import time
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.utils.data import DistributedSampler, TensorDataset

from ncl_lightning.image_table import ImageTable
from ncl_lightning.metrics import ImageScores

GRID = list(itertools.product(range(1, 13), range(1, 5)))
TIMEOUT = 120


def pictures(count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(N,1,9,7) each; every fourth one is authentic, each partly padded."""
    g = torch.Generator().manual_seed(0)
    probability = torch.rand(12, 1, 9, 7, generator=g)
    mask = torch.rand(12, 1, 9, 7, generator=g) < 0.3
    mask[::4] = False
    valid = torch.rand(12, 1, 9, 7, generator=g) < 0.9
    return probability[:count], mask[:count], valid[:count]


def worker(rank: int, world: int, folder: str) -> None:
    """Score every (N, batch) on one rank, the shares padded as Lightning's sampler pads them; save all numbers."""
    if world > 1:
        dist.init_process_group("gloo", f"file://{folder}/store{world}", rank=rank, world_size=world)
    results = {}
    for count, batch in GRID:
        p, m, v = pictures(count)
        scores, table = ImageScores(count), ImageTable(count, ["mean", "undefined"])
        images = TensorDataset(torch.arange(count))
        share: list[int] = list(DistributedSampler(images, world, rank, shuffle=False))
        for start in range(0, len(share), batch):
            index = torch.tensor(share[start : start + batch])
            scores.update(p[index], m[index], v[index], index)
            means = p[index].flatten(1).mean(1)
            table.update(index, torch.stack([means, means.where(index % 2 == 0, torch.nan)], 1))
        out = scores.compute() | {f"table/{k}": x for k, x in table.compute().items()}
        if batch == 1:
            out |= {f"rows/{k}": x for k, x in scores.per_image().items()}
            out |= {f"curve/{k}": x for k, x in scores.curve().items()}
            # a look at the merged rows leaves each process its own
            assert scores.seen.sum() == len(set(share))
        results[count, batch] = {k: x.clone() for k, x in out.items()}
    torch.save(results, f"{folder}/{world}-{rank}.pt")
    if world > 1:
        dist.destroy_process_group()


@pytest.mark.timeout(2 * TIMEOUT)
@pytest.mark.parametrize("world", [2, 3])
def test_any_number_of_processes_gives_the_same_bits(world: int, tmp_path: Path) -> None:
    worker(0, 1, str(tmp_path))
    # from a server that has imported torch, see commands.py
    context = mp.start_processes(worker, (world, str(tmp_path)), world, join=False, start_method="forkserver")
    assert context is not None
    try:
        end = time.monotonic() + TIMEOUT
        # returns, False, when the first process ends
        while not context.join(timeout=max(0.0, end - time.monotonic())):
            assert time.monotonic() < end, f"{world} processes hang"
    finally:
        for process in context.processes:
            if process.is_alive():
                process.kill()
    one = torch.load(tmp_path / "1-0.pt", weights_only=True)
    for rank in range(world):
        many = torch.load(tmp_path / f"{world}-{rank}.pt", weights_only=True)
        for key in GRID:
            assert int(many[key]["images"]) == key[0], key
            assert one[key].keys() == many[key].keys()
            for name, value in one[key].items():
                assert value.dtype == many[key][name].dtype
                assert bits(value) == bits(many[key][name]), (key, name)


def bits(value: torch.Tensor) -> bytes:
    """The very bits, NaN's too."""
    return value.numpy().tobytes()


def test_batches_of_any_size_give_the_same_bits(tmp_path: Path) -> None:
    worker(0, 1, str(tmp_path))
    one = torch.load(tmp_path / "1-0.pt", weights_only=True)
    for count, batch in GRID:
        assert all(bits(x) == bits(one[count, 1][k]) for k, x in one[count, batch].items())


def test_environment_is_not_distributed() -> None:
    """The reference above is one process indeed."""
    assert not dist.is_initialized()
    assert "WORLD_SIZE" not in os.environ
