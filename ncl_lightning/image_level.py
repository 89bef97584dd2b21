"""Is the picture tampered at all: scores over whole images."""

import torch
from torch import Tensor

from ncl_lightning.pixel_scores import auc, ratio


def image_scores(score: Tensor, tampered: Tensor, threshold: float = 0.5) -> dict[str, Tensor]:
    """Scores of a set of images, scalars float64 in [0,1], higher is better.

    Args:
        score: (N,) in [0,1], one for each image: the highest pixel probability (MVSS-Net), or a head's.
        tampered: (N,) bool.
        threshold: An image is called tampered where score > threshold, strictly.

    Returns:
        `image_auc` (ties count half); `image_accuracy`; `image_f1` of the tampered class;
        `image_sensitivity` and `image_specificity`, the share of the tampered and of the authentic images called
        right; `image_balanced_accuracy`, their mean; `image_harmonic`, their harmonic mean, which MVSS-Net calls
        image-level F1. NaN where a class that the score needs is missing; `image_f1` is NaN without a tampered image.
    """
    counts = image_counts(score, tampered, threshold)
    tp, fp, fn, tn = counts
    sensitivity, specificity = ratio(tp, tp + fn), ratio(tn, tn + fp)
    return {
        "image_auc": image_auc(score, tampered),
        "image_accuracy": ratio(tp + tn, counts.sum()),
        "image_f1": ratio(2 * tp, (2 * tp + fp + fn) * ((tp + fn) > 0)),
        "image_sensitivity": sensitivity,
        "image_specificity": specificity,
        "image_balanced_accuracy": (sensitivity + specificity) / 2,
        "image_harmonic": harmonic_mean(sensitivity, specificity),
    }


def image_counts(score: Tensor, tampered: Tensor, threshold: float) -> Tensor:
    """True positives, false positives, false negatives and true negatives (4,) int64 of images."""
    called = score > threshold
    return torch.stack([(called & tampered), (called & ~tampered), (~called & tampered), ~called & ~tampered]).sum(1)


def image_auc(score: Tensor, tampered: Tensor) -> Tensor:
    """Area under the ROC curve over images, a scalar float64; NaN where a class is missing."""
    if not len(score):
        return torch.tensor(torch.nan, dtype=torch.float64)
    row, labels = score.reshape(1, 1, 1, -1), tampered.reshape(1, 1, 1, -1)
    return auc(row, labels, torch.ones_like(labels))[0]


def harmonic_mean(a: Tensor, b: Tensor) -> Tensor:
    """2ab / (a + b), and 0 where both are 0."""
    return (2 * a * b / (a + b)).where((a != 0) | (b != 0), 0.0)
