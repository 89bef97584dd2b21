"""How untouched photographs score, so that a picture's `highest` has something to be compared with.

`weights/untouched.json` has it for the model that comes with the package; benchmarks/untouched.py measures it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ncl_lightning.checkpoints import SHIPPED

MEASURED = SHIPPED.parent / "untouched.json"


@dataclass(frozen=True)
class Untouched:
    """`highest` of photographs that nobody manipulated and the checkpoint was not trained on.

    Attributes:
        scores: Of each set, by what it is in words.
        pixels: Of the largest of them. What larger ones score was not measured: there is more in them that may score
            high (quarters of photographs score far lower than the whole), and less where they are downscaled.
    """

    scores: Mapping[str, Sequence[float]]
    pixels: int

    def as_high(self, highest: float) -> float:
        """The share (0 to 1) that scores as high or higher, of the set where it is greatest: the smaller, the rarer.

        Sets differ, and nobody knows which one a picture is like: rather too many than too few.
        """
        many, of = self.most(highest)
        return many / of

    def most(self, highest: float) -> tuple[int, int]:
        """How many score as high, and of how many, in the set where that share is greatest."""
        counts = [(sum(s >= highest for s in scores), len(scores)) for scores in self.scores.values()]
        # where none does anywhere, the largest set says most
        return max(counts, key=lambda one: (one[0] / one[1], one[1]))


def untouched_of(run: Mapping[str, Any]) -> Untouched | None:
    """What was measured with a run's checkpoint and options; None where nothing was.

    Args:
        run: `checkpoint_sha256`, the options of its `model` and `data`, and those of its `training`.
    """
    known = json.loads(MEASURED.read_text(encoding="utf-8"))
    if known["checkpoint_sha256"] != run["checkpoint_sha256"] or not as_shipped(run):
        return None
    return Untouched(known["highest"], known["pixels"])


def as_shipped(run: Mapping[str, Any]) -> bool:
    """Whether a run of the shipped model has that checkpoint's own options, where they decide `highest`."""
    deciding = {"model": ("copies", "second_look"), "data": ("eval_sizing", "max_size")}
    stored = run["training"]
    return all(run[part].get(key) == stored[part][key] for part, keys in deciding.items() for key in keys)
