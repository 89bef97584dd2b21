"""What other code bases mean by F1: their definitions, by name, so that a published number can be met.

Each was read in the source named; the tests hold them to slow transcriptions of it. All take maps in [0,1] and masks
already made binary. They differ from `ImageScores` without a preset, and from one another, in these ways:

`benco` — IMDL-BenCo 0.1.45, `evaluation/F1.py`, `IOU.py`, `AUC.py`, `Accuracy.py`
    F1 from precision and recall with 1e-8 added to each denominator, IoU likewise; `f1_permuted` is its mode
    "double". AUC is ours, ties counting half: theirs leaves ties in the order that torch's sort happens to give, which
    differs by version, so that a constant map has no one score to meet; without ties they agree. NaN where all is
    tampered, and the mean with it. Its tester averages whatever the set holds, authentic images with F1 = IoU =
    AUC = 0 among them: `…_all_images` are those means, the plain names the means over tampered images, the same where
    a set holds no others. Image level: F1 with 1e-9 in the denominators.

`mvss` — MVSS-Net (ICCV 2021), `evaluate.py`, `common/utils.py`, `common/tools.py`
    Maps go through 8-bit pictures, rounded down, so that "above 0.5" means p >= 128/255. 1e-6 in the denominators.
    The image score is the highest pixel; `image_f1` is the harmonic mean of sensitivity and specificity (NaN where both
    are 0), `image_com_f1` that of it and the pixel F1; `image_auc` is 0 where a class is missing. (It takes every
    non-zero pixel of a mask as tampered, and scores at original size.)

`trufor` — TruFor (CVPR 2023), `metrics.py`
    Pixels about the contour of the mask are left out: a tampered pixel counts where its 15×15 neighbourhood is all
    tampered, an authentic one where its 11×11 neighbourhood is all authentic. `f1` is permuted (the better of the map
    and its inverse) at the threshold, `f1_best` at each image's best. NaN, and left out of the mean, where truth and
    prediction of the pixels left are all one class. Image level: AUC and balanced accuracy. (At original size.)
"""

import math

import cv2
import numpy as np
import torch
from torch import Tensor

from ncl_lightning.image_level import image_counts, image_scores

CONVENTIONS = ("benco", "mvss", "trufor")
SCORED_AT_ORIGINAL = ("mvss", "trufor")
"""Those that score at original size, the others at network size."""


def prepare(name: str | None, probability: Tensor, mask: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """What a convention scores: the map (B,1,H,W) as it sees it, and the pixels (B,1,H,W) bool that it judges."""
    if name == "trufor":
        valid = valid & (away_from(~mask & valid, 15) & mask | away_from(mask & valid, 11) & ~mask)
    return in_steps(name, probability), valid


def in_steps(name: str | None, probability: Tensor) -> Tensor:
    """Probabilities as a convention keeps them: MVSS-Net's are rounded down to 8 bits."""
    return torch.floor(probability.float() * 255) / 255 if name == "mvss" else probability


def away_from(pixels: Tensor, size: int) -> Tensor:
    """(B,1,H,W) bool: no pixel of the given ones in the size×size neighbourhood; outside of the picture lie none."""
    # by OpenCV, which is a hundred times as fast as a max-pooling of bytes
    window = np.ones((size, size), np.uint8)
    near = [cv2.dilate(one, window) for one in pixels[:, 0].byte().cpu().numpy()]
    return torch.from_numpy(np.stack(near))[:, None].to(pixels.device) == 0


def summarise(name: str, columns: dict[str, Tensor], threshold: float) -> dict[str, Tensor]:
    """The scores of a set by a convention: scalars float64, from the columns (M,) of `ImageScores.per_image`."""
    return {"benco": _benco, "mvss": _mvss, "trufor": _trufor}[name](columns, threshold)


def _benco(columns: dict[str, Tensor], threshold: float) -> dict[str, Tensor]:
    tp, fp, positives, negatives = _pixel_counts(columns)
    fn, tn = positives - tp, negatives - fp
    tampered = columns["tampered"]
    f1, inverse = _f1_with(1e-8, tp, fp, fn), _f1_with(1e-8, fn, tn, tp)
    scores = {
        "f1": f1,
        "f1_permuted": torch.maximum(f1, inverse),
        "iou": tp / (tp + fp + fn + 1e-8),
        "auc": columns["auc"].where(tampered, 0.0),
        "accuracy": (tp + tn) / (positives + negatives),
    }
    out = {key: _mean(value[tampered]) for key, value in scores.items()}
    out |= {f"{key}_all_images": _mean(value) for key, value in scores.items()}
    known = tampered | columns["authentic"]
    score, label = columns["score"][known], tampered[known]
    hits, false, missed, _ = image_counts(score, label, threshold).double()
    image = image_scores(score, label, threshold)
    out["image_f1"] = _f1_with(1e-9, hits, false, missed)
    return out | {key: image[key] for key in ("image_auc", "image_accuracy")}


def _mvss(columns: dict[str, Tensor], threshold: float) -> dict[str, Tensor]:
    tp, fp, positives, _ = _pixel_counts(columns)
    tampered = columns["tampered"]
    known = tampered | columns["authentic"]
    score, label = columns["score"][known], tampered[known]
    # the image threshold is 0.5 there, whatever the pixels' is
    hits, false, missed, right = image_counts(score, label, 0.5).double()
    sensitivity, specificity = hits / (hits + missed + 1e-6), right / (right + false + 1e-6)
    f1 = _mean((2 * tp / (tp + fp + positives + 1e-6))[tampered])
    image_f1 = 2 * sensitivity * specificity / (sensitivity + specificity)
    return {
        "f1": f1,
        "image_accuracy": (hits + right) / (hits + right + missed + false + 1e-6),
        "image_sensitivity": sensitivity,
        "image_specificity": specificity,
        "image_f1": image_f1,
        "image_auc": image_scores(score, label)["image_auc"].nan_to_num(0.0),
        "image_com_f1": 2 * f1 * image_f1 / (image_f1 + f1 + 1e-6),
    }


def _trufor(columns: dict[str, Tensor], threshold: float) -> dict[str, Tensor]:
    tp, fp, positives, negatives = _pixel_counts(columns)
    fn, tn = positives - tp, negatives - fp
    tampered = columns["tampered"]

    def f1(hits: Tensor, false: Tensor) -> Tensor:
        return 2 * hits / (hits + false + positives).clamp(min=1e-32)

    # scikit-learn's confusion matrix then has one cell only, on which the code fails over to NaN
    one_class = ((positives == 0) & (fp == 0)) | ((negatives == 0) & (fn == 0))
    fixed = torch.maximum(f1(tp, fp), f1(fn, tn)).where(~one_class, torch.nan)
    best = torch.maximum(
        f1(columns["best_tp"].double(), columns["best_fp"].double()),
        f1(columns["inverse_tp"].double(), columns["inverse_fp"].double()),
    ).where(positives + negatives > 0, torch.nan)
    known = tampered | columns["authentic"]
    # the image threshold is 0.5 there, whatever the pixels' is
    image = image_scores(columns["score"][known], tampered[known], 0.5)
    return {
        "f1": _mean(_defined(fixed[tampered])),
        "f1_best": _mean(_defined(best[tampered])),
        "image_auc": image["image_auc"],
        "image_balanced_accuracy": image["image_balanced_accuracy"],
    }


def _pixel_counts(columns: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    tp, fp, positives, negatives = (columns[name].double() for name in ("tp", "fp", "positives", "negatives"))
    return tp, fp, positives, negatives


def _f1_with(epsilon: float, tp: Tensor, fp: Tensor, fn: Tensor) -> Tensor:
    precision, recall = tp / (tp + fp + epsilon), tp / (tp + fn + epsilon)
    return 2 * precision * recall / (precision + recall + epsilon)


def _defined(values: Tensor) -> Tensor:
    return values[~values.isnan()]


def _mean(values: Tensor) -> Tensor:
    """The mean of (N,), NaN if any is, rounded once whatever the order."""
    return torch.tensor(math.fsum(values.tolist()) / len(values) if len(values) else math.nan, dtype=torch.float64)
