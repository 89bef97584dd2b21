"""One row of numbers for each image: what makes a score the same on any number of processes.

A sampler for several processes repeats images to even out its shares, and means of batch means weigh a small last
batch too heavily. A table with a row for each image, filled with a value below every other and merged by the
maximum, knows neither fault: what is seen twice lands in one row.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric


class ImageRows(Metric):
    """Tables with a row for each image."""

    full_state_update = False
    higher_is_better = None
    is_differentiable = False
    seen: Tensor

    def __init__(self, num_images: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if num_images < 0:
            raise ValueError(f"num_images is {num_images}, must be 0 or more")
        self.num_images = num_images
        self.add_state("seen", torch.zeros(num_images, dtype=torch.int64), dist_reduce_fx="max")

    def _add_table(self, name: str, columns: tuple[int, ...], dtype: torch.dtype) -> None:
        fill = -torch.inf if dtype.is_floating_point else -1
        self.add_state(name, torch.full((self.num_images, *columns), fill, dtype=dtype), dist_reduce_fx="max")

    def _place(self, index: Tensor) -> Tensor:
        """The rows of a batch (B,), marked as seen."""
        # on an accelerator the check would wait for the network; there the device asserts the upper bound
        if index.device.type == "cpu" and not all(0 <= i < self.num_images for i in index.tolist()):
            raise IndexError(f"index {index.tolist()} outside of the table's {self.num_images} images")
        rows = index.to(self.seen.device, torch.int64)
        self.seen[rows] = 1
        return rows

    def _merged(self) -> Any:
        """A context in which the states are those of all processes: every process must enter it."""
        return self.sync_context(
            dist_sync_fn=self.dist_sync_fn,
            should_sync=not self._is_synced,
            should_unsync=not self._is_synced,
            distributed_available=self.distributed_available_fn,
        )

    def _rows(self) -> Tensor:
        """The images seen (M,) int64, on the CPU, in order."""
        return self.seen.cpu().nonzero()[:, 0]


class ImageTable(ImageRows):
    """One row of numbers for each image, by the sample's index, so that what a sampler repeats can't count twice.

    An index given again writes its row anew; across processes the larger number of each column stays, so an image
    that is repeated must come with the same numbers (which one does, where nothing is random). NaN, "undefined for
    this image", outlives that merge.

    Args:
        num_images: Images in the set; indices are 0..num_images-1.
        columns: The names of the K numbers.
    """

    values: Tensor

    def __init__(self, num_images: int, columns: Sequence[str], **kwargs: Any) -> None:
        super().__init__(num_images, **kwargs)
        self.columns = list(columns)
        self._add_table("values", (len(self.columns),), torch.float32)

    def update(self, index: Tensor, values: Tensor) -> None:
        """Write the rows of a batch.

        Args:
            index: (B,) int64.
            values: (B,K) float; NaN for undefined.

        Raises:
            ValueError: The shapes don't fit.
            IndexError: An index (on the CPU) is outside of the table.
        """
        if tuple(values.shape) != (len(index), len(self.columns)):
            raise ValueError(f"values {tuple(values.shape)} should be {(len(index), len(self.columns))}")
        rows = self._place(index)
        self.values[rows] = values.detach().to(self.values)

    def compute(self) -> dict[str, Tensor]:
        """The mean of each column over the images where it is defined: scalars, float64; NaN where there is none."""
        values = self.values.cpu()[self._rows()]
        return {name: mean(column) for name, column in zip(self.columns, values.unbind(1), strict=True)}


class Means(Metric):
    """The mean of each of K numbers over all rows that were given, where it is not NaN; on any number of processes.

    What is repeated counts each time: for training, where a picture that comes again comes otherwise.

    Args:
        columns: The names of the K numbers.
    """

    full_state_update = False
    higher_is_better = None
    is_differentiable = False
    total: Tensor
    number: Tensor

    def __init__(self, columns: Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.columns = list(columns)
        for name in ("total", "number"):
            # not in the halves of a step of `bf16-true`, which count no further than 256
            self.add_state(name, torch.zeros(len(self.columns), dtype=torch.float32), dist_reduce_fx="sum")

    def update(self, values: Tensor) -> None:
        """Add rows (B,K) float; NaN for undefined."""
        known = ~values.isnan()
        self.total += values.detach().float().where(known, 0.0).sum(0)
        self.number += known.sum(0)

    def compute(self) -> dict[str, Tensor]:
        """The mean of each column: scalars; NaN where there is none."""
        return dict(zip(self.columns, (self.total / self.number).unbind(), strict=True))


def mean(values: Tensor) -> Tensor:
    """The mean of (N,) over what is not NaN, a scalar float64; NaN where nothing is.

    The sum is rounded once, so neither order nor threads can change it.
    """
    kept = [value for value in values.tolist() if not math.isnan(value)]
    return torch.tensor(math.fsum(kept) / len(kept) if kept else math.nan, dtype=torch.float64)
