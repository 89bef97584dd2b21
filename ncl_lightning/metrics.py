"""Scores of a set of images, exact on any number of processes, in a few numbers an image: no pixel is kept."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ncl_lightning.conventions import CONVENTIONS, in_steps, prepare, summarise
from ncl_lightning.image_level import harmonic_mean, image_scores
from ncl_lightning.image_table import ImageRows, mean
from ncl_lightning.intervals import bootstrap_interval
from ncl_lightning.patches import binary
from ncl_lightning.pixel_scores import (
    Ranked,
    ap_score,
    best_cut,
    counts_above,
    each,
    f1_score,
    highest,
    iou_score,
    pairs_in_order,
    pixel_scores,
    precisions,
    ratio,
    steps_of,
)

GRID = torch.arange(101, dtype=torch.float32) / 100
"""Thresholds 0.00, 0.01, …, 1.00 at which counts are kept for curves and for the best threshold of a set."""

COUNTS = (
    "tp", "fp", "positives", "negatives", "pairs", "best_tp", "best_fp", "inverse_tp", "inverse_fp",
    "precisions", "tampered_pixels", "valid_pixels", "unsound", "untouched",
)  # fmt: skip

MEANS = (
    "f1", "iou", "auc", "ap", "precision", "recall", "accuracy", "f1_permuted", "f1_best", "f1_val",
    "f1_all_tampered",
)  # fmt: skip


class ImageScores(ImageRows):
    """Pixel and image-level scores of a set, each image counted once, whatever the batches, ranks and repeats.

    Prediction: p > threshold, strictly. Pixel scores are taken per image and averaged, unweighted, over the tampered
    images (those with a tampered valid pixel), as IMDL-BenCo does: on an authentic image F1 is always 0. Authentic
    images count apart, by the false-positive rate. A tampered one of which no tampered pixel is left (its region was
    lost in downscaling, or its mask is empty) is neither; at image level it is tampered. What is undefined is NaN and
    left out of its mean: AUC on an image tampered all over, everything on one without a valid pixel.
    `ncl_lightning.pixel_scores` defines each score.

    The state is 14 counts, 2 counts at each of 101 thresholds and 2 floats: about 0.9 KB for an image of any size.
    Sums are exact (`math.fsum`), so the numbers are the same to the bit on 1, 2 or 3 processes.

    Args:
        num_images: Images in the set; indices are 0..num_images-1.
        threshold: In [0,1].
        preset: None, or "benco", "mvss" or "trufor": `compute` gives what that code base would print for these
            maps, by that code base's definitions (see `ncl_lightning.conventions`).
        val_threshold: One of `GRID`, the threshold that suited the validation set best: `f1_val` is F1 there. None:
            that is undefined.
    """

    counts: Tensor
    curves: Tensor
    floats: Tensor

    def __init__(
        self,
        num_images: int,
        threshold: float = 0.5,
        preset: str | None = None,
        val_threshold: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_images, **kwargs)
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold is {threshold}, must be in [0, 1]")
        if preset is not None and preset not in CONVENTIONS:
            raise ValueError(f"preset is {preset!r}, must be one of {', '.join(CONVENTIONS)}")
        # pictures are called by it as pixels are, in float32: .4 is another number there
        self.threshold = torch.tensor(threshold, dtype=torch.float32).item()
        self.val_threshold = val_threshold
        self.preset = preset
        self._thresholds = torch.cat([GRID, torch.tensor([threshold])])
        self._add_table("counts", (len(COUNTS),), torch.int64)
        self._add_table("curves", (2, len(GRID)), torch.int32)
        self._add_table("floats", (2,), torch.float32)

    @torch.no_grad()
    def update(
        self,
        probability: Tensor,
        mask: Tensor,
        valid: Tensor,
        index: Tensor,
        score: Tensor | None = None,
        authentic: Tensor | None = None,
    ) -> None:
        """Add a batch.

        Args:
            probability: (B,1,H,W) in [0,1], any float type.
            mask: (B,1,H,W) bool or {0,1}; 1 = tampered.
            valid: (B,1,H,W) bool; False = padding.
            index: (B,) int64.
            score: (B,) in [0,1], an image-level score of the network's own; else the highest valid probability.
            authentic: (B,) bool, which pictures are; else those without a tampered valid pixel, by which all presets
                go.

        Raises:
            ValueError: The shapes don't fit, or a mask has more values than two (looked for on the CPU).
            IndexError: An index (on the CPU) is outside of the table.
        """
        shape = probability.shape
        if not shape == mask.shape == valid.shape or len(shape) != 4 or shape[1] != 1 or 0 in shape[2:]:
            shapes = ", ".join(str(tuple(t.shape)) for t in (probability, mask, valid))
            raise ValueError(f"probability, mask and valid are {shapes}; all should be (B, 1, H, W)")
        if len(index) != len(probability):
            raise ValueError(f"{len(index)} indices for {len(probability)} images")
        rows = self._place(torch.as_tensor(index))
        probability, mask, valid = probability.detach().float(), binary(mask), valid.bool()
        seen, judged = prepare(self.preset, probability, mask, valid)
        # a step in halves (`bf16-true`) makes halves of floats otherwise
        top = torch.tensor(highest(seen, valid), dtype=torch.float32)
        parts = zip(*each(self._count, seen, mask, judged), strict=True)
        counts, curves, best_at = (torch.from_numpy(np.array(part)) for part in parts)
        tampered, negatives = (counts[:, COUNTS.index(name)] for name in ("positives", "negatives"))
        area = tampered + negatives
        if judged is not valid:
            # the convention judges fewer than the valid pixels
            tampered, area = (pixels.flatten(1).sum(1).cpu() for pixels in (mask & valid, valid))
        given = top if score is None else in_steps(self.preset, score.cpu().float())
        unsound = top.isnan() | ~((given >= 0) & (given <= 1))
        by_mask = authentic is None or self.preset is not None
        untouched = tampered == 0 if by_mask else authentic.cpu() & (tampered == 0)  # type: ignore[union-attr]
        self.counts[rows] = torch.cat([counts, torch.stack([tampered, area, unsound, untouched], 1)], 1).to(self.counts)
        self.curves[rows] = curves.to(self.curves)
        self.floats[rows] = torch.stack([given, best_at], 1).to(self.floats)

    def _count(self, ranked: Ranked) -> tuple[list[int], NDArray[np.int64], float]:
        """Count one image's judged pixels: the first ten of COUNTS, the curves, the best threshold."""
        tp, fp = counts_above(ranked, self._thresholds)
        steps = steps_of(ranked)
        *best, best_at = best_cut(ranked, steps)
        # only TruFor asks for these
        inverse = best_cut(ranked, steps, inverted=True)[:2] if self.preset == "trufor" else (0, 0)
        counts = [int(tp[-1]), int(fp[-1]), ranked.positives, ranked.negatives, pairs_in_order(ranked), *best, *inverse]
        return [*counts, precisions(ranked, steps)], np.stack([tp[:-1], fp[:-1]]), best_at

    def compute(self) -> dict[str, Tensor]:
        """The scores of the set, scalars on the CPU.

        Returns:
            `images`, `tampered_images`, `authentic_images`, `empty_images` (neither: no valid pixel, or no tampered one
            left): int64.
            Means over the tampered images, float64 in [0,1], higher is better: `f1`, `iou`, `auc`, `ap` (average
            precision), `precision`, `recall`, `accuracy`, `f1_permuted`, `f1_best` (each image at its own best
            threshold), `f1_val` (at `val_threshold`), `f1_all_tampered`.
            `f1_best_set` and `threshold_best_set`: the one threshold of `GRID` that suits the set best.
            `fpr_authentic`: the mean share of an authentic image's pixels called tampered; lower is better.
            `image_…`: see `image_scores`; `image_com_f1`: the harmonic mean of `f1` and `image_harmonic` (MVSS-Net).
            With a preset, only what it defines.

        Raises:
            ValueError: A valid pixel's probability was NaN or outside of [0,1].
        """
        columns = self._columns()
        if self.preset is not None:
            return summarise(self.preset, columns, self.threshold)
        tampered, authentic = columns["tampered"], columns["authentic"]
        out = {
            "images": torch.tensor(len(tampered)),
            "tampered_images": tampered.sum(),
            "authentic_images": authentic.sum(),
            "empty_images": (~tampered & ~authentic).sum(),
        }
        out |= {name: mean(columns[name][tampered]) for name in MEANS}
        curve = self._curve(columns)
        if tampered.any():
            out["f1_best_set"], at = curve["f1"].max(0)
            out["threshold_best_set"] = curve["threshold"][at]
        else:
            out["f1_best_set"] = out["threshold_best_set"] = torch.tensor(torch.nan, dtype=torch.float64)
        out["fpr_authentic"] = mean(columns["fpr"][authentic])
        known = ~columns["score"].isnan()
        out |= image_scores(columns["score"][known], ~authentic[known], self.threshold)
        out["image_com_f1"] = harmonic_mean(out["f1"], out["image_harmonic"])
        return out

    def per_image(self) -> dict[str, Tensor]:
        """Columns (M,) over the images seen, in index order, on the CPU; every process must call it.

        `index`, `tampered` and `authentic` (both False: no valid pixel, or no tampered one left), `score`, the counts,
        and every score that `compute` averages, plus `fpr` and `threshold_best` (-1: call everything tampered). Where
        `compute` takes the mean over tampered images, authentic ones have NaN, but for `accuracy`.
        """
        with self._merged():
            return self._columns()

    def curve(self) -> dict[str, Tensor]:
        """Means at each threshold of `GRID`, (101,) float64: every process must call it.

        `threshold`, `f1`, `iou`, `precision`, `recall` over tampered images, `fpr_authentic` over authentic ones;
        `pooled_precision` and `pooled_recall` of all the pixels of all images as one (precision is NaN where nothing
        is predicted).
        """
        with self._merged():
            return self._curve(self._columns())

    def intervals(self, draws: int = 2000, seed: int = 0, level: float = 0.95) -> dict[str, tuple[float, float]]:
        """Bootstrap intervals (low, high) over images of each mean of `compute`; every process must call it."""
        columns = self.per_image()
        chosen = {name: columns[name][columns["tampered"]] for name in MEANS}
        chosen["fpr_authentic"] = columns["fpr"][columns["authentic"]]
        return {name: bootstrap_interval(value, draws, seed, level) for name, value in chosen.items()}

    def _columns(self) -> dict[str, Tensor]:
        rows = self._rows()
        counts = dict(zip(COUNTS, self.counts.cpu()[rows].unbind(1), strict=True))
        score, best_at = self.floats.cpu()[rows].unbind(1)
        if counts["unsound"].any():
            first = int(rows[counts["unsound"].argmax()])
            raise ValueError(f"image {first} of the set: a probability is NaN or outside of [0, 1]")
        tp, fp, positives, negatives = (counts[name] for name in ("tp", "fp", "positives", "negatives"))
        tampered = counts["tampered_pixels"] > 0
        empty = counts["valid_pixels"] == 0
        scores = pixel_scores(tp, fp, positives, negatives)
        return {
            "index": rows,
            "tampered": tampered,
            "authentic": (counts["untouched"] > 0) & ~empty,
            "score": score.double().where(~empty, torch.nan),
            **scores,
            "auc": ratio(counts["pairs"], 2 * positives * negatives),
            "ap": ap_score(counts["precisions"], positives),
            "f1_val": self._at_val_threshold(rows, positives),
            "f1_best": f1_score(counts["best_tp"], counts["best_fp"], positives),
            "threshold_best": best_at.double().where(positives > 0, torch.nan),
            **{name: value for name, value in counts.items() if name not in ("unsound", "precisions", "untouched")},
        }

    def _at_val_threshold(self, rows: Tensor, positives: Tensor) -> Tensor:
        """F1 (M,) at `val_threshold`; NaN without one, and on authentic images."""
        if self.val_threshold is None:
            return torch.full((len(rows),), torch.nan, dtype=torch.float64)
        tp, fp = self.curves.cpu()[rows, :, round(self.val_threshold * 100)].long().unbind(1)
        return f1_score(tp, fp, positives).where(positives > 0, torch.nan)

    def _curve(self, columns: dict[str, Tensor]) -> dict[str, Tensor]:
        rows, tampered, authentic, positives = (columns[k] for k in ("index", "tampered", "authentic", "positives"))
        tp, fp = self.curves.cpu()[rows].long().unbind(1)
        t, f, p = tp[tampered], fp[tampered], positives[tampered, None].expand(-1, len(GRID))
        table = {
            "f1": f1_score(t, f, p),
            "iou": iou_score(t, f, p),
            "precision": ratio(t, t + f, otherwise=0.0),
            "recall": ratio(t, p),
            "fpr_authentic": ratio(fp[authentic], columns["negatives"][authentic, None]),
        }
        return {
            "threshold": (GRID.double() * 100).round() / 100,
            **{name: torch.stack([mean(column) for column in value.unbind(1)]) for name, value in table.items()},
            "pooled_precision": ratio(tp.sum(0), (tp + fp).sum(0)),
            "pooled_recall": ratio(tp.sum(0), positives.sum().expand(len(GRID))),
        }
