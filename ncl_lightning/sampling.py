"""Which pictures an epoch of training holds, where sources or authentic pictures are weighed."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ncl_lightning.datasets import EpochSampler
from ncl_lightning.errors import InputError
from ncl_lightning.sources import Source

Draw = tuple[int, int]
"""A picture's index in the data set, and how often it came before in the epoch."""


class Draws:
    """The pictures of each epoch, in shuffled order: decided by seed and epoch alone.

    Shares are kept exactly, up to the rounding to whole pictures: nothing is left to chance but which pictures of a
    source they are, and none of those comes a second time before each came once.

    Args:
        sources: Indices run through them in order.
        weights: The sources' shares of an epoch, relative; None: as many pictures as they hold.
        authentic_share: Share of authentic pictures in an epoch, 0–1; within each class the sources keep their
            proportions. None: as they come.
        samples: Pictures in an epoch; None: as many as there are.
        seed: Run seed.

    Raises:
        InputError: Shares that no such pictures are there for, or a source that does not tell which are authentic.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        weights: Sequence[float] | None = None,
        authentic_share: float | None = None,
        samples: int | None = None,
        seed: int = 0,
    ) -> None:
        self.sources = list(sources)
        self.weights = np.array([len(source) for source in sources] if weights is None else weights, float)
        self.authentic_share = authentic_share
        self.samples = sum(map(len, sources)) if samples is None else samples
        self.seed = seed
        self._strata(0)

    def __len__(self) -> int:
        return self.samples

    def epoch(self, epoch: int) -> list[Draw]:
        """The draws of an epoch."""
        rng = np.random.default_rng([self.seed, epoch])
        members, rates = self._strata(epoch)
        draws: list[Draw] = []
        for indices, quota in zip(members, quotas(rates, self.samples), strict=True):
            rounds = -(-quota // len(indices))
            drawn = [(int(index), again) for again in range(rounds) for index in rng.permutation(indices)]
            draws += drawn[:quota]
        return [draws[place] for place in rng.permutation(len(draws))]

    def _strata(self, epoch: int) -> tuple[list[NDArray[np.int64]], NDArray[np.float64]]:
        """Indices that are drawn alike, and the share of each such group in the epoch."""
        ends = np.cumsum([len(source) for source in self.sources])
        parts = [np.arange(end - len(source), end) for source, end in zip(self.sources, ends, strict=True)]
        shares = self.weights / self.weights.sum()
        if self.authentic_share is None:
            return parts, shares
        members, rates, real = [], [], []
        for source, part, share in zip(self.sources, parts, shares, strict=True):
            flags = authentic_flags(source, epoch)
            for kind in (False, True):
                if (flags == kind).any():
                    members.append(part[flags == kind])
                    rates.append(share * (flags == kind).mean())
                    real.append(kind)
        mass, kinds = np.array(rates), np.array(real)
        for kind, wanted in ((True, self.authentic_share), (False, 1 - self.authentic_share)):
            held = mass[kinds == kind].sum()
            if not held and wanted:
                what = "authentic" if kind else "tampered"
                raise InputError(
                    f"data.authentic_share is {self.authentic_share}, and data.train has no {what} picture: "
                    "add some, or leave authentic_share out"
                )
            mass[kinds == kind] *= wanted / held if held else 0
        return members, mass


def quotas(rates: NDArray[np.float64], total: int) -> list[int]:
    """`total` in whole parts that are nearest to the rates (N,), which sum to 1: by largest remainder."""
    exact = rates * total
    counts = np.floor(exact + 1e-9).astype(int)
    # stable: of equal remainders the first
    for place in np.argsort(counts - exact, kind="stable")[: total - counts.sum()]:
        counts[place] += 1
    return [int(count) for count in counts]


def authentic_flags(source: Source, epoch: int = 0) -> NDArray[np.bool_]:
    """Which pictures (N,) of a source are authentic in an epoch, without a look into files.

    Raises:
        InputError: A source of one's own without a method `authentic(epoch)`.
    """
    tell: Any = getattr(source, "authentic", None)
    if not callable(tell):
        raise InputError(
            f"data source {type(source).__name__}: it does not tell which pictures are authentic; give it a method "
            "authentic(epoch) that returns them as booleans (N,), or leave data.authentic_share out"
        )
    return np.asarray(tell(epoch), bool)


class DrawSampler(EpochSampler):
    """Hands over (epoch, index), or (epoch, index, again) where the picture came before: the draws of an epoch.

    All ranks together give what one gives, but for the last draws where their number is not a multiple of the ranks'.
    """

    def __init__(self, draws: Draws, num_replicas: int = 1, rank: int = 0) -> None:
        # positions in the epoch's draws: all that a DistributedSampler asks of a data set is its length
        super().__init__(range(len(draws)), num_replicas=num_replicas, rank=rank, shuffle=False, drop_last=True)  # type: ignore[arg-type]
        self.draws = draws

    def __iter__(self) -> Iterator[tuple[int, ...]]:  # type: ignore[override]
        draws = self.draws.epoch(self.epoch)
        for epoch, place in super().__iter__():
            index, again = draws[place]
            yield (epoch, index, again) if again else (epoch, index)
