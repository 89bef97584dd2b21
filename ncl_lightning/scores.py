"""Scores of single images from whole-number counts: plain functions of tensors.

Shapes everywhere: `probability` (B,1,H,W) in [0,1], any float type; `mask` (B,1,H,W) bool or {0,1}, 1 = tampered;
`valid` (B,1,H,W) bool, False = padding, which takes no part. A pixel is predicted tampered where p > threshold,
strictly: exactly 0.5 is authentic, as in torchmetrics and IMDL-BenCo. All counting is in whole numbers, so the same
picture gives the same counts on any device; the divisions are in float64 on the CPU (MPS has none).

Degenerate pictures, the same in every function here:

=====================  ===========================================================================================
no tampered pixel      recall, F1, IoU and their kin are undefined (NaN); accuracy and false-positive rate are not
every pixel tampered   AUC and false-positive rate are NaN; the others are defined
constant map           AUC is exactly 0.5 (all pairs tie)
nothing predicted      precision, F1 and IoU of a tampered picture are 0 (scikit-learn's `zero_division=0`)
no valid pixel         everything is NaN
=====================  ===========================================================================================
"""

from typing import NamedTuple

import torch
from torch import Tensor

_PADDING = 1.9999998807907104  # the float below 2: sorts last


class Ranked(NamedTuple):
    """The valid pixels of B images in rising order of probability, padding last; n = H·W.

    One sort answers AUC, the best threshold and the counts at any threshold.

    Attributes:
        keys: (B,n) int32, rising. The float's bits shifted up by one, with the label in the lowest bit.
        below: (B,n) int32, tampered pixels up to and with each place.
        steps: (B,n-1) int32, neighbouring keys' bits that differ: 0 in a tie of one class, 1 where a tie turns from
            authentic to tampered, more where the probability rises.
        positives: (B,) int64, tampered valid pixels.
        negatives: (B,) int64, authentic valid pixels.
        highest: (B,) float32, the highest probability; without sense where no pixel is valid.
        sound: (B,) bool, False where a valid pixel is NaN or outside of [0,1]: then nothing else here has sense.
    """

    keys: Tensor
    below: Tensor
    steps: Tensor
    positives: Tensor
    negatives: Tensor
    highest: Tensor
    sound: Tensor


def rank(probability: Tensor, mask: Tensor, valid: Tensor) -> Ranked:
    """Sort the pixels of each image (B,1,H,W) once; H and W at least 1.

    The bits of a non-negative float rise with its value, so whole numbers can be sorted; the label rides along in the
    lowest bit, where a sort of floats would have to make a permutation.
    """
    inside = valid.flatten(1).bool()
    labels = mask.flatten(1).bool() & inside
    size = inside.sum(1)
    # adding 0.0 makes 0.0 of -0.0
    floats = torch.where(inside, probability.detach().flatten(1).float() + 0.0, _PADDING)
    lowest = floats.amin(1)
    keys = _sort(floats.view(torch.int32).bitwise_left_shift_(1).bitwise_or_(labels))
    highest = (keys.gather(1, (size - 1).clamp(min=0)[:, None]) >> 1).view(torch.float32)[:, 0]
    # the shift turns 2.0 and above, and NaN, into negative keys
    sound = (lowest >= 0) & (keys[:, 0] >= 0) & ((highest <= 1) | (size == 0))
    below = (keys & 1).cumsum(1, dtype=torch.int32)
    positives = below[:, -1].long()
    return Ranked(keys, below, keys[:, 1:] ^ keys[:, :-1], positives, size - positives, highest, sound)


# numpy's vectorised kernels take 1/30 (sort, which makes a permutation in torch too), 1/30 and 1/2 of the time of
# torch's on a CPU


def _sort(keys: Tensor) -> Tensor:
    """Rows (B,n) int32 in rising order; may be the argument itself."""
    if keys.device.type != "cpu":
        return keys.sort(1).values
    keys.numpy().sort(axis=1)
    return keys


def _argmax(values: Tensor) -> Tensor:
    """The first place (B,) of the highest value of each row (B,n)."""
    if values.device.type != "cpu":
        return values.max(1).indices
    return torch.from_numpy(values.numpy().argmax(1))


def _nonzero(flags: Tensor) -> tuple[Tensor, ...]:
    """Rows and places of what is True in (B,n) bool."""
    if flags.device.type != "cpu":
        return flags.nonzero(as_tuple=True)
    return tuple(torch.from_numpy(part) for part in flags.numpy().nonzero())


def counts_above(ranked: Ranked, thresholds: Tensor) -> tuple[Tensor, Tensor]:
    """True and false positives (B,T) int64 of `p > t` for each of the thresholds (T,) in [0,1]."""
    bits = (thresholds.to(ranked.keys.device, torch.float32) + 0.0).view(torch.int32)
    limit = ((bits << 1) | 1).expand(len(ranked.keys), -1).contiguous()
    rejected = torch.searchsorted(ranked.keys, limit, right=True)
    missed = ranked.below.gather(1, (rejected - 1).clamp(min=0)).where(rejected > 0, 0)
    tp = ranked.positives[:, None] - missed
    return tp, (ranked.positives + ranked.negatives)[:, None] - rejected - tp


def pairs_in_order(ranked: Ranked) -> Tensor:
    """Twice the number (B,) int64 of pairs (tampered, authentic) that the map puts in order; a tie counts half.

    The Mann-Whitney statistic: AUC = this / (2 · positives · negatives). From the tampered pixels' rank sum, in which
    ties rank as in order (authentic sorts first), less the pairs that tie.
    """
    keys, below, steps, positives, *_ = ranked
    # a tampered pixel at place r adds n + 1 - r to the sum of `below`
    rank_sum = positives * (keys.shape[1] + 1) - below.sum(1, dtype=torch.int64)
    pairs = 2 * rank_sum - positives * (positives + 1)
    # only ties of both classes take part, and each has one place where the label turns
    image, place = _nonzero(steps == 1)
    for i in range(len(keys)):
        turn = place[image == i]
        first = torch.searchsorted(keys[i], keys[i][turn])
        last = torch.searchsorted(keys[i], keys[i][turn + 1], right=True)
        pairs[i] -= ((turn + 1 - first) * (last - turn - 1)).sum()
    return pairs


def best_cut(ranked: Ranked, inverted: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """The threshold t of each image with the highest F1 of `p > t` (or of `p <= t`, if inverted).

    Tried are all the image's own values and -1, which calls every pixel tampered (inverted: none); the lowest of
    equals wins.

    Returns:
        True positives (B,) int64, false positives (B,) int64, t (B,) float32.
    """
    keys, below, steps, positives, negatives, *_ = ranked
    places = torch.arange(1, keys.shape[1] + 1, dtype=torch.int32, device=keys.device)
    p, size = positives[:, None].int(), (positives + negatives)[:, None].int()
    # F1 / 2 = TP / (predicted + P)
    found, predicted = (below, places) if inverted else (p - below, size - places)
    f1 = found.float().div_((predicted + p).clamp_(min=1).float())
    # no cut runs through a tie or through the padding
    f1[:, :-1].masked_fill_(steps <= 1, -1.0)
    f1.masked_fill_(places > size, -1.0)
    at = _argmax(f1)[:, None]
    hits, place = below.gather(1, at)[:, 0].long(), at[:, 0] + 1
    tp, fp = (hits, place - hits) if inverted else (positives - hits, negatives - place + hits)
    threshold = (keys.gather(1, at)[:, 0] >> 1).view(torch.float32)
    all_tp, all_fp = (0 * tp, 0 * fp) if inverted else (positives, negatives)
    # all_tp / (all_tp + all_fp + P) >= tp / (tp + fp + P), multiplied out
    cut_all = all_tp * (tp + fp + positives) >= tp * (all_tp + all_fp + positives)
    return (
        torch.where(cut_all, all_tp, tp),
        torch.where(cut_all, all_fp, fp),
        torch.where(cut_all, -1.0, threshold),
    )


def confusion(probability: Tensor, mask: Tensor, valid: Tensor, threshold: float = 0.5) -> Tensor:
    """Counts (B,4) int64 of valid pixels: true positives, false positives, false negatives, true negatives."""
    predicted = (probability.float() > threshold).flatten(1)
    tampered, inside = mask.flatten(1).bool(), valid.flatten(1).bool()
    tp = (predicted & tampered & inside).sum(1)
    fp = (predicted & inside).sum(1) - tp
    fn = (tampered & inside).sum(1) - tp
    return torch.stack([tp, fp, fn, inside.sum(1) - tp - fp - fn], 1)


def auc(probability: Tensor, mask: Tensor, valid: Tensor) -> Tensor:
    """Area under the ROC curve (B,) float64 on the CPU, in [0,1], higher is better, chance is 0.5.

    Exact, ties counting half (Mann-Whitney; scikit-learn's `roc_auc_score`). NaN where a class is missing.
    torchmetrics' exact AUROC agrees but takes one image at a time and no padding, at many times the cost.
    """
    ranked = rank(probability, mask, valid)
    return ratio(pairs_in_order(ranked), 2 * ranked.positives * ranked.negatives)


def f1_best(probability: Tensor, mask: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """The best F1 (B,) float64 over all thresholds, and that threshold (B,) float32: see `best_cut`."""
    ranked = rank(probability, mask, valid)
    tp, fp, threshold = best_cut(ranked)
    return f1_score(tp, fp, ranked.positives), threshold


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
