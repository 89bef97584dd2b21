"""BatchNorm's statistics of a checkpoint taken anew, as the mean of several checkpoints needs them.

    python -m ncl_lightning export before.ckpt mean.ckpt --mean_with '[after.ckpt]'
    python benchmarks/batchnorm.py mean.ckpt configs/model.yaml renewed.ckpt

The mean of two networks' running means and variances is not what the mean of their weights sees (Izmailov et al. 2018,
§3.2). This shows it training batches of a config's `data.train`, without a gradient, and keeps all else.
"""

import argparse
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import torch
import yaml
from torch.optim.swa_utils import update_bn

from ncl_lightning import NCLModule
from ncl_lightning.checkpoints import load_checkpoint
from ncl_lightning.data import ManipulationDataModule


def renewed(checkpoint: str, train: Sequence[object], options: dict[str, object], batches: int) -> dict[str, object]:
    """The checkpoint with statistics over that many batches of training sources, drawn with seed 0."""
    module = NCLModule.load_from_checkpoint(checkpoint, map_location="cpu", weights_only=True)
    data = ManipulationDataModule(train=list(train), val=train[0], seed=0, leakage="ignore", **options)
    data.setup("fit")
    update_bn((batch["image"] for batch in islice(data.train_dataloader(), batches)), module)
    return {**load_checkpoint(checkpoint), "state_dict": module.state_dict()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("config", type=Path, help="its data.train is drawn from, cropped and augmented as it says")
    parser.add_argument("out", type=Path)
    parser.add_argument("--batches", type=int, default=120)
    given = parser.parse_args()
    options = yaml.safe_load(given.config.read_text())["data"]
    train = options.pop("train")
    for key in ("val", "test", "seed", "leakage"):
        options.pop(key, None)
    torch.save(renewed(given.checkpoint, train, options, given.batches), given.out)
    print(f"{given.out}: {given.checkpoint}, its BatchNorm seen by {given.batches} batches")


if __name__ == "__main__":
    main()
