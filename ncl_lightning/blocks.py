"""What JPEG leaves in every block of 8×8 pixels: fixed features, nothing learned.

Not the paper's. A JPEG's blocks lie on a grid, and its coefficients are rounded; a region that comes from another file,
or that was edited, has another grid or another rounding below the last one. Both show in the pixels, but only to what
looks with a period of 8, which convolutions that know no place hardly learn from random weights. The grid is that of
the detector of Chen and Hsu 2011, *Detecting recompression of JPEG images via periodicity analysis of compression
artifacts for tampering detection*; the rounding that of the double-quantization detectors (Lin et al. 2009; CAT-Net,
Kwon et al. 2021, reads it from the file itself). Where blocks begin is found by the coefficients that are rounded to 0,
as in ZERO (Nikoukhah et al. 2021): a crop or a screenshot of a JPEG has its grid anywhere.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad, pixel_unshuffle

SIDE = 8  # pixels of a block
CHANNELS = 8 * SIDE**2

# ImageNet's, as everything here is normalised by default
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_LUMA = (0.299, 0.587, 0.114)  # the weights of brightness in JPEG

# the patterns of JPEG's cosine transform, (64,1,8,8), each of length 1
_UNITS = np.eye(SIDE**2, dtype=np.float32).reshape(-1, SIDE, SIDE)
_DCT = torch.from_numpy(np.stack([cv2.idct(unit) for unit in _UNITS]))[:, None]
# the 18 of middle frequency: those above are 0 anywhere in soft pictures, and a fine last JPEG hides the grid before it
# in those below
_MIDDLE = [SIDE * row + column for row in range(SIDE) for column in range(SIDE) if 4 <= row + column <= 6]
# by how much a beginning has to stand out, in standard deviations of the other 63
_SURE = 2.0


def block_traces(image: Tensor, mean: Sequence[float] = MEAN, std: Sequence[float] = STD) -> Tensor:
    """Features of the blocks of pictures (B,3,H,W), normalised, whose sides are multiples of 8: (B,512,H/8,W/8), fp32.

    `mean` and `std` are those that the pictures' channels were normalised with.

    64 of each kind: how much detail there is at each place within a block, against the block's mean (a grid shows as
    places that have more); the logarithm of the DCT's coefficients; which of these are rounded to 0; and how many are
    in a block that begins at each place, against the mean of these (each grid, a foreign one too, has its place). First
    less the picture's mean, then that mean itself: what is unlike the rest, and what the rest is like.

    Blocks are those of the picture's main grid, wherever it begins; their features stand at most 4 pixels beside them.
    """
    with torch.autocast(image.device.type, enabled=False):  # a half's 8 bits end above what is looked for
        luma = _luma(image.float(), mean, std)
        rounded = _rounded(luma)
        start = grid_start(rounded)
        luma, rounded = _from(luma, start), _from(rounded, start)
        places = pixel_unshuffle(torch.log(_cross_difference(luma) + 1), SIDE)
        coefficients = conv2d(luma - 128, _DCT.to(luma, non_blocking=True), stride=SIDE).abs()
        votes = pixel_unshuffle(rounded, SIDE)
        maps = torch.cat(
            [
                places - places.mean(1, keepdim=True),
                torch.log(coefficients + 0.5),
                (coefficients < 0.5).float(),
                votes - votes.mean(1, keepdim=True),
            ],
            1,
        )
        rest = maps.mean((2, 3), keepdim=True)
        return torch.cat([maps - rest, rest.expand_as(maps)], 1)


def grid_start(rounded: Tensor) -> Tensor:
    """Row and column (B,2), int64 of -4..3, where the blocks of pictures begin; 0, 0 where no beginning stands out.

    Args:
        rounded: (B,1,H,W), the share of coefficients that are 0 in the block that begins at each pixel.
    """
    each = pixel_unshuffle(rounded, SIDE).mean((2, 3))  # (B,64)
    (best, second), (place, _) = (part.unbind(1) for part in each.topk(2, 1))
    others = (each.sum(1) - best) / (SIDE**2 - 1)
    variance = (each.square().sum(1) - best.square()) / (SIDE**2 - 1) - others.square()
    # the bound: in a picture of one colour, or one that was enlarged, all are alike
    sure = best - second > _SURE * variance.clamp(min=1e-6).sqrt()
    place = torch.where(sure, place, 0)
    return (torch.stack([place // SIDE, place % SIDE], 1) + SIDE // 2) % SIDE - SIDE // 2


def _rounded(luma: Tensor) -> Tensor:
    """The share of middle coefficients that are 0 in the block that begins at each pixel: (B,1,H,W)."""
    framed = pad(luma, (0, SIDE - 1, 0, SIDE - 1), mode="replicate")
    patterns = _DCT[_MIDDLE].to(luma, non_blocking=True)
    # one picture after the other: what lies in a CPU's cache is counted four times as fast
    at_once = 1 if framed.device.type == "cpu" else len(framed)
    parts = (conv2d(part, patterns).abs() < 0.5 for part in framed.split(at_once))
    return torch.cat([part.float().mean(1, keepdim=True) for part in parts])


def _from(maps: Tensor, start: Tensor) -> Tensor:
    """Maps (B,1,H,W) from the given row and column (B,2) on, or from before their edge; what is missing is mirrored."""
    rows, columns = (
        _mirrored(torch.arange(size, device=maps.device) + first[:, None], size)
        for size, first in zip(maps.shape[-2:], start.unbind(1), strict=True)
    )
    batch = torch.arange(len(maps), device=maps.device)[:, None, None]
    return maps[batch, 0, rows[:, :, None], columns[:, None, :]][:, None]


def _mirrored(index: Tensor, size: int) -> Tensor:
    """Indices from -size to 2·size, brought into 0..size-1."""
    index = torch.where(index < 0, -1 - index, index)
    return torch.where(index < size, index, 2 * size - 1 - index)


def _luma(image: Tensor, mean: Sequence[float] = MEAN, std: Sequence[float] = STD) -> Tensor:
    """Brightness of normalised pictures (B,3,H,W), in grey levels of 0..255: (B,1,H,W)."""
    weights = torch.tensor([255 * weight * spread for weight, spread in zip(_LUMA, std, strict=True)])
    black = 255 * sum(weight * centre for weight, centre in zip(_LUMA, mean, strict=True))
    return (image * weights.to(image, non_blocking=True).view(-1, 1, 1)).sum(1, keepdim=True) + black


def _cross_difference(luma: Tensor) -> Tensor:
    """|a - b - c + d| of each 2×2 pixels a b / c d (B,1,H,W), at the place of a; the last row and column repeat."""
    rows = luma[..., 1:, :] - luma[..., :-1, :]
    return pad((rows[..., 1:] - rows[..., :-1]).abs(), (0, 1, 0, 1), mode="replicate")
