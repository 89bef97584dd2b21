"""Patch-contrast statistics: how near the embeddings of each pair of categories lie.

Means over pairs are exact and cost O(N·d): the sum of the similarities of all pairs from X and Y is the
dot product of the sums of X and Y.
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from ncl_lightning.datasets import Batch
from ncl_lightning.errors import InputError
from ncl_lightning.image_table import ImageTable, Means
from ncl_lightning.patches import AUTHENTIC, BRANCHES, CONTOUR, TAMPERED, categorise, sides

Groups = tuple[tuple[int, ...], tuple[int, ...]]
CATEGORIES = {"tampered": TAMPERED, "authentic": AUTHENTIC, "contour": CONTOUR}
PAIRS = [
    ("tampered", "tampered"),
    ("authentic", "authentic"),
    ("contour", "contour"),
    ("tampered", "authentic"),
    ("tampered", "contour"),
    ("authentic", "contour"),
]


def pair_sums(embeddings: Tensor, categories: Tensor) -> dict[tuple[str, str], tuple[Tensor, Tensor]]:
    """Sum of cosine similarities and number of pairs, for each pair of categories and image.

    Args:
        embeddings: (B, N, d), L2-normalised.
        categories: (B, N), as `patches.categorise` gives them.

    Returns:
        For each pair (sum (B,), count (B,)); a patch is never paired with itself, and each pair counts once.
    """
    z = embeddings.float()
    member = {name: (categories == value).float() for name, value in CATEGORIES.items()}
    sums = {name: torch.einsum("bn,bnd->bd", m, z) for name, m in member.items()}
    counts = {name: m.sum(1) for name, m in member.items()}
    own = {name: (m * z.square().sum(-1)).sum(1) for name, m in member.items()}
    out = {}
    for a, b in PAIRS:
        dot = (sums[a] * sums[b]).sum(-1)
        if a == b:
            out[a, b] = ((dot - own[a]) / 2, counts[a] * (counts[a] - 1) / 2)
        else:
            out[a, b] = (dot, counts[a] * counts[b])
    return out


def image_statistics(embeddings: Tensor, categories: Tensor, groups: Groups) -> dict[str, Tensor]:
    """Statistics (B,) of one branch by name; NaN where an image has no such pair.

    `a-b`: mean cosine similarity of patches from a and b. `margin`: mean similarity within the branch's two
    groups less that across them (higher: better set apart). `lean`: similarity of contour patches to tampered
    ones less that to authentic ones (above 0: they lean to the tampered side).
    """
    pairs = pair_sums(embeddings, categories)
    means = {pair: _mean([sums]) for pair, sums in pairs.items()}
    stats = {f"{a}-{b}": mean for (a, b), mean in means.items()}
    within = _mean([pairs[a, b] for a, b in PAIRS if _together(a, b, groups)])
    across = _mean([pairs[a, b] for a, b in PAIRS if _apart(a, b, groups)])
    stats["margin"] = within - across
    stats["lean"] = means["tampered", "contour"] - means["authentic", "contour"]
    return stats


def _apart(a: str, b: str, groups: Groups) -> bool:
    one, other = groups
    x, y = CATEGORIES[a], CATEGORIES[b]
    return (x in one and y in other) or (x in other and y in one)


def _together(a: str, b: str, groups: Groups) -> bool:
    return any(CATEGORIES[a] in group and CATEGORIES[b] in group for group in groups)


def _mean(parts: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """The mean (B,) over sums and counts of pairs (B,); NaN where there is no pair."""
    total, count = (torch.stack(side).sum(0) for side in zip(*parts, strict=True))
    return total / count.where(count > 0, torch.nan)


STATISTICS = [f"{a}-{b}" for a, b in PAIRS] + ["margin", "lean"]
COLUMNS = [f"count/{name}" for name in CATEGORIES] + [f"share/{name}" for name in CATEGORIES]
COLUMNS += [f"{branch}/{name}" for branch in BRANCHES for name in STATISTICS]


class ContrastStatistics(Callback):
    """Logs the contrast of patch embeddings, for training and validation.

    `contrast/<phase>/<branch>/<pair>` is the mean cosine similarity of a pair of categories in a branch's space,
    `…/margin` and `…/lean` what they amount to (see `image_statistics`), `contrast/<phase>/count/<category>` and
    `…/share/<category>` the patches of each category in an image. All are taken in each image and averaged over the
    images that have them, so large regions count no more than small ones; on any number of processes. A validation
    image counts once, a training one each time that it is drawn, since it comes augmented otherwise.

    Args:
        train: Log the training statistics (over the epoch).
        val: Log the validation statistics.
    """

    def __init__(self, train: bool = True, val: bool = True) -> None:
        self.enabled = {"train": train, "val": val}
        self.tables: dict[str, ImageTable | Means] = {}

    def _start(self, phase: Literal["train", "val"], table: ImageTable | Means, module: LightningModule) -> None:
        if self.enabled[phase]:
            self.tables[phase] = table.to(module.device)

    @torch.no_grad()
    def _update(self, phase: Literal["train", "val"], module: LightningModule, outputs: Any, batch: Batch) -> None:
        output = outputs.get("output") if isinstance(outputs, dict) else None
        # a network of one's own may have no embeddings
        if phase not in self.tables or output is None or output.tampered is None:
            return
        try:
            categories = categorise(batch["mask"], batch["valid"], module.hparams["stride"], output.tampered.shape[1])
        except ValueError as error:
            raise InputError(f"model.stride: {error}") from error
        member = torch.stack([(categories == value).sum(1) for value in CATEGORIES.values()], 1).float()
        columns = [member, member / member.sum(1, keepdim=True)]
        for branch in BRANCHES:
            groups = sides(module.hparams["contour_role"], branch)
            stats = image_statistics(getattr(output, branch), categories, groups)
            columns.append(torch.stack([stats[name] for name in STATISTICS], 1))
        rows = torch.cat(columns, 1)
        table = self.tables[phase]
        if isinstance(table, Means):
            table.update(rows)
        else:
            table.update(batch["index"], rows)

    def _end(self, phase: Literal["train", "val"], module: LightningModule) -> None:
        table = self.tables.pop(phase, None)
        # a network of one's own may have no embeddings, on any process
        if table is None or not table.update_called:
            return
        for name, value in table.compute().items():
            module.log(f"contrast/{phase}/{name}", value.float(), rank_zero_only=False)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget an epoch that was not finished."""
        self.tables.pop("train", None)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Add a training batch."""
        # not at the epoch's start: a run that resumes within one never comes by there
        if self.enabled["train"] and "train" not in self.tables:
            self._start("train", Means(COLUMNS), pl_module)
        self._update("train", pl_module, outputs, batch)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reduce and log the epoch's statistics."""
        self._end("train", pl_module)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin a table with a row for each validation image."""
        loader: Any = trainer.val_dataloaders
        self._start("val", ImageTable(len(loader.dataset), COLUMNS), pl_module)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Add a validation batch."""
        self._update("val", pl_module, outputs, batch)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reduce and log the validation statistics."""
        self._end("val", pl_module)
