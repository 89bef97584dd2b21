"""From a network's logits to the map that is scored and drawn: a second look, copies, each picture's own cut.

Plain torch; none of it is the paper's, and each part is an option that is off by default.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, pad

from ncl_lightning.copies import Copy, copies_of, with_copies
from ncl_lightning.cut import cut_at_half
from ncl_lightning.datasets import Batch
from ncl_lightning.errors import InputError

SECOND = 0.25  # weight of a second look


class Localized(NamedTuple):
    """Where pictures were tampered with, as far as can be told.

    Attributes:
        probability: (B,1,H,W), fp32; after `own_cut` no longer probabilities.
        copies: What each picture holds twice.
        highest: Each map's highest value (B,) before `own_cut`; None without.
    """

    probability: Tensor
    copies: list[list[Copy]]
    highest: Tensor | None


def in_unit_range(image: Tensor, look: bool) -> Tensor:
    """Pictures (B,3,H,W) as floats of 0..1.

    Args:
        image: RGB, uint8 or float of 0..1.
        look: Look at the values of floats, too: to look is to wait for the device.

    Raises:
        InputError: They have another shape, type or range.
    """
    if not isinstance(image, Tensor) or image.ndim != 4 or image.shape[1] != 3:
        given = tuple(image.shape) if isinstance(image, Tensor) else type(image).__name__
        raise InputError(f"pictures are a tensor (B,3,H,W) of RGB, uint8 or floats of 0..1, not {given}")
    if image.dtype == torch.uint8:
        return image.float() / 255
    # a resampled picture overshoots a little
    if not image.is_floating_point() or (look and image.numel() and image.amax() > 2):
        raise InputError(f"pictures are uint8, or floats of 0..1, not {image.dtype} of other values: divide by 255")
    return image


def look_twice(network: Callable[[Tensor], Tensor], image: Tensor, content: Tensor, least: int | None) -> Tensor:
    """Logits (B,1,H,W), fp32, with those of a second look at half size, which count a quarter, for large pictures.

    Args:
        network: Gives logits (B,1,H,W) of pictures (B,3,H,W).
        image: (B,3,H,W) RGB, uint8 or float of 0..1.
        content: (B,2): rows and columns that each picture fills of its frame.
        least: Pixels of the longer side from which a picture is large; None: none is.
    """
    first = network(image).float()
    large = [max(size) >= (least or math.inf) for size in content.tolist()]
    # of one row there is no half
    if not any(large) or min(image.shape[-2:]) < 2:
        return first
    rows, columns = image.shape[-2:]
    # an odd side has half a pixel more at its end, or all before it would be moved
    half = avg_pool2d(pad(image.float(), (0, columns % 2, 0, rows % 2), mode="replicate"), 2)
    # in whole grey values, as pictures come
    second = network(half.round().to(image.dtype) if image.dtype == torch.uint8 else half).float()
    second = interpolate(second, scale_factor=2, mode="bilinear")[..., :rows, :columns]
    weight = SECOND * torch.tensor(large, device=first.device).view(-1, 1, 1, 1)
    return (1 - weight) * first + weight * second


def localize(logits: Tensor, image: Tensor, content: Tensor, copies: bool, own_cut: bool) -> Localized:
    """Maps from logits (B,1,H,W) of pictures (B,3,H,W); 0 in a picture of one colour.

    Args:
        logits: Of `image`.
        image: RGB, uint8 or float of 0..1.
        content: (B,2): rows and columns that each picture fills of its frame.
        copies: Look for what a picture holds twice (`ncl_lightning.copies`).
        own_cut: Move each map so that 0.5 is its own cut (`ncl_lightning.cut`).

    Raises:
        InputError: A logit is no number.
    """
    # a picture of one colour has no traces, and a network that looks for what is unlike the rest finds anything
    varied = (image.flatten(2) != image.flatten(2)[..., :1]).any(2).any(1)
    probability = finite(logits).sigmoid() * varied.view(-1, 1, 1, 1)
    found = copies_of(image, content) if copies else [[] for _ in image]
    explained = with_copies(probability, found)
    if not own_cut:
        return Localized(explained, found, None)
    # a picture's own cut says nothing of it beside others
    sizes = zip(explained, content.tolist(), strict=True)
    highest = [one[:, :rows, :columns].max() for one, (rows, columns) in sizes]
    moved = with_copies(cut_at_half(probability, content), found)
    return Localized(moved, found, torch.stack(highest) if highest else probability.new_zeros(0))


def finite(logits: Tensor) -> Tensor:
    """Return the logits as they are, if all of them are numbers.

    Raises:
        InputError: One is no number.
    """
    if not logits.isfinite().all():
        raise InputError(
            "the network's output is no number: the checkpoint is damaged, or the precision too low for it "
            "(try --trainer.precision 32-true)"
        )
    return logits


def to_original(maps: Tensor, batch: Batch) -> list[Tensor]:
    """Maps (B,1,H,W) of frames to their pictures' original sizes: (1,1,h,w) each, bilinear."""
    out = []
    for one, content, size in zip(maps, batch["content"].tolist(), batch["original_size"].tolist(), strict=True):
        picture = one[None, :, : content[0], : content[1]]
        out.append(picture if content == size else interpolate(picture, size=size, mode="bilinear"))
    return out
