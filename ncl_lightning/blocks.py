"""What JPEG leaves in every block of 8×8 pixels: fixed features, nothing learned.

Not the paper's. A JPEG's blocks lie on a grid, and its coefficients are rounded; a region that comes from another file,
or that was edited, has another grid or another rounding below the last one. Both show in the pixels, but only to what
looks with a period of 8, which convolutions that know no place hardly learn from random weights. The grid is that of
the detector of Chen and Hsu 2011, *Detecting recompression of JPEG images via periodicity analysis of compression
artifacts for tampering detection*; the rounding that of the double-quantization detectors (Lin et al. 2009; CAT-Net,
Kwon et al. 2021, reads it from the file itself).
"""

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad, pixel_unshuffle

SIDE = 8  # pixels of a block
CHANNELS = 6 * SIDE**2

# ImageNet's mean and std, as everything here is normalised by default, and the weights of brightness in JPEG
_MEAN, _STD, _LUMA = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), (0.299, 0.587, 0.114)

# the patterns of JPEG's cosine transform, (64,1,8,8), each of length 1
_UNITS = np.eye(SIDE**2, dtype=np.float32).reshape(-1, SIDE, SIDE)
_DCT = torch.from_numpy(np.stack([cv2.idct(unit) for unit in _UNITS]))[:, None]


def block_traces(image: Tensor) -> Tensor:
    """Features of the blocks of pictures (B,3,H,W), normalised, whose sides are multiples of 8: (B,384,H/8,W/8), fp32.

    64 of each kind: how much detail there is at each place within a block, against the block's mean (a grid shows as
    places that have more); the logarithm of the DCT's coefficients; and which of these are rounded to 0. First less
    the picture's mean, then that mean itself: what is unlike the rest, and what the rest is like.
    """
    with torch.autocast(image.device.type, enabled=False):  # a half's 8 bits end above what is looked for
        luma = _luma(image.float())
        places = pixel_unshuffle(torch.log(_cross_difference(luma) + 1), SIDE)
        coefficients = conv2d(luma - 128, _DCT.to(luma), stride=SIDE).abs()
        maps = torch.cat(
            [places - places.mean(1, keepdim=True), torch.log(coefficients + 0.5), (coefficients < 0.5).float()], 1
        )
        rest = maps.mean((2, 3), keepdim=True)
        return torch.cat([maps - rest, rest.expand_as(maps)], 1)


def _luma(image: Tensor) -> Tensor:
    """Brightness of normalised pictures (B,3,H,W), in grey levels of 0..255: (B,1,H,W)."""
    weights = image.new_tensor([255 * weight * std for weight, std in zip(_LUMA, _STD, strict=True)])
    black = 255 * sum(weight * mean for weight, mean in zip(_LUMA, _MEAN, strict=True))
    return (image * weights.view(-1, 1, 1)).sum(1, keepdim=True) + black


def _cross_difference(luma: Tensor) -> Tensor:
    """|a - b - c + d| of each 2×2 pixels a b / c d (B,1,H,W), at the place of a; the last row and column repeat."""
    rows = luma[..., 1:, :] - luma[..., :-1, :]
    return pad((rows[..., 1:] - rows[..., :-1]).abs(), (0, 1, 0, 1), mode="replicate")
