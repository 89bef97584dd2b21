"""Pictures as samples and batches: datasets, collation, and the samplers that say which picture of which epoch."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, DistributedSampler

from ncl_lightning.errors import InputError
from ncl_lightning.images import read_image
from ncl_lightning.sources import Picture, Source

Batch = dict[str, Any]


class ManipulationDataset(Dataset[Batch]):
    """Pictures of several sources, sized to frames.

    Args:
        sources: What to read; indices run through them in order.
        transform: Compose over image, mask and valid, seeded anew for each (seed, epoch, index).
        seed: Run seed of the augmentation.
        keep_original: Also give each picture's mask at its original size.
        name: Name of the set in results.
    """

    def __init__(
        self,
        sources: list[Source],
        transform: Any,
        seed: int = 0,
        keep_original: bool = False,
        name: str = "",
    ) -> None:
        self.sources = sources
        self.transform = transform
        self.seed = seed
        self.keep_original = keep_original
        self.name = name
        self._ends = np.cumsum([len(source) for source in sources])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, item: int | tuple[int, ...]) -> Batch:
        """A sample: see `collate` for the keys.

        `item` is an index of epoch 0, (epoch, index), or (epoch, index, again) where the picture came `again` times
        before in the epoch: it is augmented otherwise each time.
        """
        epoch, index, *again = item if isinstance(item, tuple) else (0, item)
        picture = self.picture(index, epoch)
        if picture.image.ndim != 3 or picture.image.shape != (*picture.mask.shape, 3):
            raise InputError(
                f"{picture.name}: a picture of the shape {picture.image.shape} with a mask of {picture.mask.shape}; "
                "its source must give (H, W, 3) and (H, W)"
            )
        if picture.image.dtype != np.uint8 or picture.mask.dtype != bool:
            raise InputError(
                f"{picture.name}: a picture of {picture.image.dtype} with a mask of {picture.mask.dtype}; its source "
                "must give uint8 and bool (such as `mask > 127`)"
            )
        return frame(picture, self.transform, (self.seed, epoch, index, *again), self.keep_original)

    def picture(self, index: int, epoch: int = 0) -> Picture:
        """A picture as its source has it, and the truth about it."""
        part = int(np.searchsorted(self._ends, index, side="right"))
        start = int(self._ends[part - 1]) if part else 0
        return self.sources[part].read(index - start, epoch)


class PredictionDataset(Dataset[Batch]):
    """Pictures without a truth; a file that can't be read becomes an `error` instead of an exception."""

    def __init__(self, paths: list[Path], transform: Any) -> None:
        self.paths = paths
        self.transform = transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, item: int | tuple[int, int]) -> Batch:
        index = item[1] if isinstance(item, tuple) else item
        path = self.paths[index]
        try:
            image = read_image(path)
        except InputError as error:
            return {"error": (str(path), error.line)}
        picture = Picture(image, np.zeros(image.shape[:2], bool), True, str(path))
        sample = frame(picture, self.transform, (0, 0, index), keep_original=False)
        return {**sample, "original_image": torch.from_numpy(image)}


def frame(picture: Picture, transform: Any, key: tuple[int, ...], keep_original: bool) -> Batch:
    """One picture as a sample; `key` = (seed, epoch, index, …) decides every draw of the transform."""
    transform.set_random_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))
    height, width = picture.image.shape[:2]
    out = transform(
        image=picture.image,
        mask=picture.mask.astype(np.uint8),
        valid=np.ones((height, width), np.uint8),
    )
    image = out["image"]
    if image.shape != (*out["mask"].shape, 3) or out["valid"].shape != out["mask"].shape:
        raise InputError(
            f"data.augment: a picture of the shape {image.shape} with a mask of {out['mask'].shape}; give transforms "
            "of both alike, that leave (H, W, 3) and (H, W)"
        )
    if image.dtype != np.uint8 and not (image.dtype.kind == "f" and image.max(initial=0) <= 2):
        raise InputError(
            f"data.augment: pictures of {image.dtype} up to {image.max():g}; give uint8, or floats of 0 to 1: mean and "
            "std are taken off later"
        )
    mask = torch.from_numpy(np.ascontiguousarray(out["mask"]))[None].float()
    valid = torch.from_numpy(np.ascontiguousarray(out["valid"]))[None].bool()
    # not by torch, which takes ten times as long
    rows, columns = (int(out["valid"].any(axis).sum()) for axis in (1, 0))
    sample = {
        "image": torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))),
        "mask": mask,
        "valid": valid,
        "index": torch.tensor(key[2]),
        "authentic": torch.tensor(picture.authentic),
        "content": torch.tensor([rows, columns]),
        "original_size": torch.tensor([height, width]),
        "name": picture.name,
    }
    if keep_original:
        # a copy: a source may hand out arrays that can't be written
        sample["original_mask"] = torch.from_numpy(picture.mask.copy())[None]
    return sample


def collate(samples: list[Batch]) -> Batch:
    """Samples to a batch; their frames are of one size.

    Keys: `image` (B,3,H,W) uint8 RGB, `mask` (B,1,H,W) float {0,1}, `valid` (B,1,H,W) bool (False: padding),
    `index` (B,), `authentic` (B,) bool, `content` (B,2) rows and columns of the frame that the picture
    fills from the top left, `original_size` (B,2), `name` list of str; where kept, the list `original_mask`
    of (1,h,w) bool; in prediction the list `original_image` of (h,w,3) uint8, and `errors`, name and line of each
    file that can't be read (a batch of nothing else has no other key).
    """
    batch: Batch = {}
    errors = [sample["error"] for sample in samples if "error" in sample]
    if errors:
        batch["errors"] = errors
        samples = [sample for sample in samples if "error" not in sample]
        if not samples:
            return batch
    for key, first in samples[0].items():
        values = [sample[key] for sample in samples]
        if isinstance(first, Tensor) and key not in ("original_mask", "original_image"):
            batch[key] = torch.stack(values)
        else:
            batch[key] = values
    return batch


class EpochSampler(DistributedSampler):  # type: ignore[type-arg]
    """DistributedSampler, for one process or many, that hands over (epoch, index).

    So a dataset can draw by (seed, epoch, index), alike for any number of workers and ranks, and after a
    resume. Lightning leaves a DistributedSampler alone and tells it the epoch.

    `done`: an epoch that a run resumes within, and how many of its samples this process has had.
    """

    done: tuple[int, int] = -1, 0

    def __iter__(self) -> Iterator[tuple[int, int]]:  # type: ignore[override]
        first = self.done[1] if self.epoch == self.done[0] else 0
        return ((self.epoch, index) for index in islice(super().__iter__(), first, None))


class FixedSampler(EpochSampler):
    """The same, always of epoch 0: evaluation sees the same made-up pictures every time."""

    def set_epoch(self, epoch: int) -> None:
        """Do nothing: evaluation has no epochs."""
