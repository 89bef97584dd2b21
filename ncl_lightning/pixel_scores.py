"""Scores of single images from whole-number counts: plain functions of tensors.

Shapes everywhere: `probability` (B,1,H,W) in [0,1], any float type; `mask` (B,1,H,W) bool or {0,1}, 1 = tampered;
`valid` (B,1,H,W) bool, False = padding, which takes no part. A pixel is predicted tampered where p > threshold,
strictly: exactly 0.5 is authentic, as in torchmetrics and IMDL-BenCo. All counting is in whole numbers, so the same
picture gives the same counts on any device; the divisions are in float64 on the CPU (MPS has none).

Degenerate pictures, the same in every function here:

=====================  ===========================================================================================
no tampered pixel      recall, F1, IoU, AUC and their kin are undefined (NaN); accuracy and false-positive rate are not
every pixel tampered   AUC and false-positive rate are NaN, average precision is 1; the others are defined
constant map           AUC is exactly 0.5 (all pairs tie), average precision the tampered share
nothing predicted      precision, F1 and IoU of a tampered picture are 0 (scikit-learn's `zero_division=0`)
no valid pixel         everything is NaN
=====================  ===========================================================================================
"""

import functools
import itertools
import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

T = TypeVar("T")
_PADDING = 1.9999998807907104  # the float below 2: sorts last
_PADDING_KEY = np.int32(2**31 - 2)
_FIRST = np.zeros(1, np.int64)
_LARGE = 2**16  # pixels
UNIT = 2**32
"""Precisions are summed as whole numbers of this part, so that no order of the sum can change it."""


class Ranked(NamedTuple):
    """The n valid pixels of one image in rising order of probability: one sort answers every question.

    Attributes:
        keys: (H·W,) int32, rising, padding last. The float's bits shifted up by one, the label in the lowest bit.
        place: (P,) int64, where in it the tampered pixels are.
        value: (P,) int32, their keys.
        mixed: (M,) int64, which of them have authentic pixels of their value right before them.
        tied: (M,) int64, how many.
        positives: Tampered pixels, P.
        negatives: Authentic pixels.
    """

    keys: NDArray[np.int32]
    place: NDArray[np.int64]
    value: NDArray[np.int32]
    mixed: NDArray[np.int64]
    tied: NDArray[np.int64]
    positives: int
    negatives: int


class Steps(NamedTuple):
    """The G values of an image's tampered pixels, rising; columns are (G,) int64.

    Between two of them a threshold changes nothing but false positives.

    Attributes:
        found: Tampered pixels of this value.
        missed: Tampered pixels of a lower value.
        below: Pixels of a lower value.
        tied: Authentic pixels of this value.
    """

    found: NDArray[np.int64]
    missed: NDArray[np.int64]
    below: NDArray[np.int64]
    tied: NDArray[np.int64]


def each(measure: Callable[[Ranked], T], probability: Tensor, mask: Tensor, valid: Tensor) -> list[T]:
    """What `measure` makes of each image, its pixels sorted once: three tensors of one shape (B,…), no image empty.

    The bits of a non-negative float rise with its value, so whole numbers can be sorted; the label rides along in the
    lowest bit, where a sort of floats would have to make a permutation. It happens on the CPU, one image after another,
    so that what is sorted stays in its cache; large images in as many threads as torch uses.
    What is no probability is for `highest` to find: here it gives numbers without sense.
    """
    inside = valid.flatten(1).bool()
    labels = mask.flatten(1).bool() & inside
    floats = _where(inside, probability.detach().flatten(1).float(), _PADDING)
    images = list(zip(floats.cpu().numpy(), labels.cpu().numpy(), strict=True))
    # below, threads would mostly wait for the interpreter
    threads = max(1, min(len(images), torch.get_num_threads() if floats[:1].numel() >= _LARGE else 1))
    ends = [len(images) * k // threads for k in range(threads + 1)]

    def measured(start: int, end: int) -> list[T]:
        return [measure(_ranked(*image)) for image in images[start:end]]

    first, *shares = itertools.pairwise(ends)
    others = [_helpers(os.getpid(), threads).submit(measured, *share) for share in shares]
    return [*measured(*first), *(one for other in others for one in other.result())]


@functools.lru_cache(1)
def _helpers(process: int, threads: int) -> ThreadPoolExecutor:
    """Threads beside the caller's, that stay; those of one process are of no use to one forked from it."""
    return ThreadPoolExecutor(threads - 1, thread_name_prefix=f"scores-{process}")


def _ranked(floats: NDArray[np.float32], labels: NDArray[np.bool_]) -> Ranked:
    """Of one image (H·W,) its values, padding included, and which of them are tampered."""
    # the shift drops the sign of -0.0
    keys = floats.view(np.int32) << 1
    keys |= labels
    # vectorised: 1/30 of the time of torch's, which makes a permutation too
    keys.sort()
    place = (keys.astype(np.uint8) & 1).view(bool).nonzero()[0]
    value = keys[place]
    mixed = (keys[place - 1] == value - 1).nonzero()[0]
    tied = place[mixed] - keys.searchsorted(value[mixed] - 1)
    return Ranked(keys, place, value, mixed, tied, len(place), int(keys.searchsorted(_PADDING_KEY)) - len(place))


def steps_of(ranked: Ranked) -> Steps:
    """The values that a threshold may lie at."""
    value, positives = ranked.value, ranked.positives
    # where a value's tampered pixels begin, and the end of the last
    ends = (value[1:] != value[:-1]).nonzero()[0]
    edges = np.concatenate([_FIRST[:positives], ends + 1, [positives]])
    missed, found = edges[:-1], edges[1:] - edges[:-1]
    tied = np.zeros_like(missed)
    tied[missed.searchsorted(ranked.mixed)] = ranked.tied
    return Steps(found, missed, ranked.place[missed] - tied, tied)


def highest(probability: Tensor, valid: Tensor) -> list[float]:
    """The highest valid value of each image (B,…); NaN where a valid one is NaN or outside of [0,1]; 0 if none is."""
    floats = _where(valid.flatten(1).bool(), probability.detach().flatten(1).float(), 0.0)
    low, high = floats.amin(1).tolist(), floats.amax(1).tolist()
    return [top if bottom >= 0 and top <= 1 else math.nan for bottom, top in zip(low, high, strict=True)]


def _where(inside: Tensor, floats: Tensor, otherwise: float) -> Tensor:
    """`torch.where`, without work where all is inside, as it mostly is."""
    # 1/30 of the time of torch's `all`
    return floats if not len(inside) or inside.view(torch.uint8).amin() else floats.where(inside, otherwise)


def counts_above(ranked: Ranked, thresholds: Tensor) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """True and false positives (T,) of `p > t` for each of the thresholds (T,) in [0,1]."""
    limits = (thresholds.float().view(torch.int32).numpy() << 1) | 1
    rejected = ranked.keys.searchsorted(limits, side="right")
    tp = ranked.positives - ranked.place.searchsorted(rejected)
    return tp, ranked.positives + ranked.negatives - rejected - tp


def pairs_in_order(ranked: Ranked) -> int:
    """Twice the number of pairs (tampered, authentic) that the map puts in order; a tie counts half.

    The Mann-Whitney statistic: AUC = this / (2 · positives · negatives).
    """
    first = ranked.place[ranked.mixed]
    found = ranked.keys.searchsorted(ranked.value[ranked.mixed], side="right") - first
    # a tie's authentic pixels come first, and were counted as below it
    return 2 * int(ranked.place.sum()) - ranked.positives * (ranked.positives - 1) - int(found @ ranked.tied)


def precisions(ranked: Ranked, steps: Steps) -> int:
    """The sum over tampered pixels of the precision of calling tampered what is as probable or more, in `UNIT`s.

    Average precision, Σ (R_n - R_(n-1)) P_n, is its mean over tampered pixels; rounding moves that by at most 2^-33.
    """
    size = ranked.positives + ranked.negatives
    precision = (ranked.positives - steps.missed) / (size - steps.below)
    return int(steps.found @ np.rint(precision * UNIT).astype(np.int64))


def best_cut(ranked: Ranked, steps: Steps, inverted: bool = False) -> tuple[int, int, float]:
    """The threshold t with the highest F1 of `p > t` (or of `p <= t`, if inverted).

    Tried are all the image's own values and -1, which calls every pixel tampered (inverted: none); the lowest of
    equals wins.

    Returns:
        True positives, false positives, t.
    """
    positives, negatives = ranked.positives, ranked.negatives
    found, missed, below, tied = steps
    if not positives:
        return 0, 0 if inverted else negatives, -1.0
    # the best cut has tampered pixels next to it, on the side it calls tampered
    if inverted:
        tp, called, last = missed + found, below + found + tied, below + tied
    else:
        tp, called, last = positives - missed, positives + negatives - below, below - 1
    # F1 / 2 = TP / (called + P); argmax names the first of equals
    at = int((tp / (called + positives)).argmax())
    threshold = float((ranked.keys[last[at]] >> 1).view(np.float32)) if last[at] >= 0 else -1.0
    return int(tp[at]), int(called[at] - tp[at]), threshold


def auc(probability: Tensor, mask: Tensor, valid: Tensor) -> Tensor:
    """Area under the ROC curve (B,) float64 on the CPU, in [0,1], higher is better, chance is 0.5.

    Exact, ties counting half (Mann-Whitney; scikit-learn's `roc_auc_score`). NaN where a class is missing.
    torchmetrics' exact AUROC agrees but takes one image at a time and no padding, at many times the cost.
    """
    counts = each(
        lambda image: (pairs_in_order(image), 2 * image.positives * image.negatives), probability, mask, valid
    )
    pairs, total = torch.tensor(counts).reshape(-1, 2).unbind(1)
    return ratio(pairs, total)


def ratio(numerator: Tensor, denominator: Tensor, otherwise: float = torch.nan) -> Tensor:
    """numerator / denominator in float64 on the CPU; `otherwise` where the denominator is 0."""
    numerator, denominator = numerator.cpu().double(), denominator.cpu().double()
    return (numerator / denominator).where(denominator != 0, otherwise)


def f1_score(tp: Tensor, fp: Tensor, positives: Tensor) -> Tensor:
    """2TP / (2TP + FP + FN) in [0,1], higher is better; NaN where nothing is tampered. Any one shape."""
    return ratio(2 * tp, (tp + fp + positives) * (positives > 0))


def iou_score(tp: Tensor, fp: Tensor, positives: Tensor) -> Tensor:
    """TP / (TP + FP + FN) of the tampered class in [0,1], higher is better; NaN where nothing is tampered."""
    return ratio(tp, (fp + positives) * (positives > 0))


def ap_score(precisions: Tensor, positives: Tensor) -> Tensor:
    """Average precision in [0,1] from the sums of `precisions`, higher is better; NaN where nothing is tampered."""
    return ratio(precisions, positives * UNIT)


def pixel_scores(tp: Tensor, fp: Tensor, positives: Tensor, negatives: Tensor) -> dict[str, Tensor]:
    """Scores of images from their counts, each (B,) float64 in [0,1], NaN where undefined.

    Higher is better but for `fpr`. `f1_permuted` is the higher of the F1 of the prediction and of its inverse
    (IMDL-BenCo's mode "double"); `f1_all_tampered` what calling every pixel tampered scores: the floor that any
    useful method clears.
    """
    tampered = positives > 0
    f1 = f1_score(tp, fp, positives)
    return {
        "f1": f1,
        "iou": iou_score(tp, fp, positives),
        "precision": torch.where(tampered.cpu(), ratio(tp, tp + fp, otherwise=0.0), torch.nan),
        "recall": ratio(tp, positives),
        "accuracy": ratio(tp + negatives - fp, positives + negatives),
        "fpr": ratio(fp, negatives),
        "f1_permuted": torch.maximum(f1, f1_score(positives - tp, negatives - fp, positives)),
        "f1_all_tampered": f1_score(positives, negatives, positives),
    }
