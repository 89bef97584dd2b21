"""The images that a report shows: chosen by their scores, then read and predicted anew, so that none is kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import torch
from lightning.pytorch import LightningModule, Trainer

from ncl_lightning import draw
from ncl_lightning.datasets import ManipulationDataset, collate
from ncl_lightning.per_image import Row

SIDE = 300
"""Longest side in pixels of a picture in a report."""


@dataclass(frozen=True)
class Example:
    """An image with its row of scores and its pictures (h,w,3) by caption."""

    row: Row
    cells: dict[str, draw.Image]


def choose(rows: Sequence[Row], count: int) -> dict[str, list[Row]]:
    """By title, the `count` best and worst tampered images by F1, then AUC, and the worst authentic ones.

    Of no more than twice `count` tampered images all are shown, under one title.
    """
    # many images share an F1 of 0: the AUC says which of them is worse
    judged = [r for r in rows if r["tampered"]]
    judged.sort(key=lambda r: (-_number(r["f1"]), -_number(r["auc"]), _number(r["index"])))
    wrong = [r for r in rows if r["authentic"] and _number(r["fpr"]) > 0]
    wrong = sorted(wrong, key=lambda r: (-_number(r["fpr"]), _number(r["index"])))[:count]
    few = len(judged) <= 2 * count
    chosen = {
        "All tampered images, the best first": judged if few else [],
        "Best": [] if few else judged[:count],
        "Worst": [] if few else judged[::-1][:count],
        "Authentic images called tampered": wrong,
    }
    return {title: group for title, group in chosen.items() if group}


def _number(value: str | int | float | None) -> float:
    return float(value) if value is not None else -1.0


def examples(
    trainer: Trainer, module: LightningModule, dataset: ManipulationDataset, rows: Sequence[Row], count: int = 4
) -> dict[str, list[Example]]:
    """Pictures of the chosen images, by title; one image at a time is in memory.

    Args:
        trainer: Its precision is that of the test.
        module: An NCLModule in evaluation mode.
        dataset: The set that the rows are of.
        rows: Rows of per_image.csv.
        count: Images under each title.
    """
    return {
        title: [Example(row, _cells(trainer, module, dataset, int(_number(row["index"])))) for row in group]
        for title, group in choose(rows, count).items()
    }


@torch.inference_mode()
def _cells(trainer: Trainer, module: LightningModule, dataset: ManipulationDataset, index: int) -> dict[str, Any]:
    batch = collate([dataset[index]])
    with trainer.precision_plugin.forward_context():
        probability = module.probability(batch["image"].to(module.device), batch["content"])  # type: ignore[operator]
    rows, columns = batch["content"][0].tolist()
    image = draw.to_side(dataset.picture(index).image, SIDE)
    size = image.shape[1], image.shape[0]
    found = cv2.resize(probability[0, 0, :rows, :columns].float().cpu().numpy(), size, interpolation=cv2.INTER_LINEAR)
    truth = draw.to_side(draw.mask(batch["original_mask"][0][0].numpy()), SIDE)
    threshold = float(module.hparams["threshold"])
    return {
        "image": image,
        "truth": truth,
        "heat map": draw.heat(found),
        "overlay": draw.overlay(image, found, threshold),
    }
