"""Where to cut a map: at each picture's own threshold, the one by which its F1 is expected to be best.

No single threshold suits every picture: maps are confident where traces are strong, and hesitant where a picture was
downscaled and heavily compressed. Where values are probabilities, the set of pixels with the best expected F1 is those
above half of that best F1 (Lipton, Elkan and Narayanaswamy 2014, *Optimal thresholding of classifiers to maximize F1
measure*). Not the paper's.
"""

import torch
from torch import Tensor

LEAST = 0.05  # lower bound: if no pixel is as likely as that, none is predicted as tampered


def expected_cut(probability: Tensor) -> float:
    """Half of the best F1 that the values (…) of a picture let expect, at least LEAST: in [LEAST, 0.5].

    The expected F1 of the k highest of N is 2 Σ_{i≤k} p_i / (k + Σ_{i≤N} p_i): of many pixels, the mean of the ratio
    is the ratio of the means.
    """
    # sums of a million float32 would round too coarsely, and Apple's devices have no float64
    values = probability.detach().cpu().flatten().double().sort(descending=True).values
    sums = values.cumsum(0)
    expected = 2 * sums / (torch.arange(1, len(values) + 1, device=values.device) + sums[-1])
    return max(LEAST, float(expected.max()) / 2)


def cut_at_half(probability: Tensor, content: Tensor | None = None) -> Tensor:
    """Maps (B,1,H,W), each moved so that its `expected_cut` comes to lie at 0.5: by one number in its logits.

    Within a picture ranks stay. `content` (B,2): rows and columns that each picture fills of its frame, which alone
    count; None: all.
    """
    moved = []
    for i, one in enumerate(probability):
        rows, columns = one.shape[-2:] if content is None else content[i].tolist()
        cut = expected_cut(one[:, :rows, :columns])
        # the odds, divided by those of the cut
        moved.append(one * (1 - cut) / (one * (1 - cut) + (1 - one) * cut))
    return torch.stack(moved) if moved else probability
