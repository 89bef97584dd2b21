"""A small encoder for fine traces: colours and noise residual at full resolution, and what the whole picture is like.

Ours, not the paper's. Encoders made for objects halve the picture in their first layers and take the traces of
manipulation with it; from random weights on few pictures they learn next to nothing in minutes. Here two convolutions
see every pixel before anything is averaged, how much each kind of fine detail there is at a place is measured against
the rest of the picture, and a summary of the whole picture is laid beside every place: a trace is not noise in itself
but noise unlike the rest.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, interpolate

from ncl_lightning.blocks import CHANNELS, MEAN, STD, block_traces
from ncl_lightning.residual import noise_residual

_FILTERS = 12


class TraceEncoder(nn.Module):
    """Features of stride 4 for pictures whose sides are multiples of 8.

    Args:
        width: Channels at full resolution; deeper layers have 2 and 4 times as many.
        depth: Residual blocks on top, that look ever farther: the k-th adds 2^k + 1 cells of 8 pixels all around. They
            begin as identities, so that a trained network without them can be gone on from (`warm_start`).
        blocks: Look at what JPEG left in each block of 8×8 pixels, too (see `ncl_lightning.blocks`), wherever these
            begin; training goes best where the frame begins with one, as files do. Begins as an identity, too.
        mean: Mean of the channels that was taken off the pictures.
        std: Standard deviation that they were divided by.
    """

    output_stride = 8

    def __init__(
        self,
        width: int = 16,
        depth: int = 0,
        blocks: bool = False,
        mean: Sequence[float] = MEAN,
        std: Sequence[float] = STD,
    ) -> None:
        super().__init__()
        self.mean, self.std = tuple(mean), tuple(std)
        self.fine = nn.Sequential(convolution(6, width), convolution(width, width), nn.AvgPool2d(4))
        self.filters = nn.Conv2d(6, _FILTERS, 5, padding=2, bias=False)
        self.middle = nn.Sequential(convolution(width + _FILTERS + 3, 2 * width), convolution(2 * width, 2 * width))
        self.coarse = nn.Sequential(convolution(2 * width, 4 * width), convolution(4 * width, 4 * width))
        self.blocks = _block_layers(4 * width) if blocks else None
        self.wider = nn.Sequential(*(_Residual(4 * width, 2**k) for k in range(depth)))
        self.summary = nn.Linear(4 * width, 4 * width)

    def forward(self, image: Tensor) -> Tensor:
        """(B,3,H,W) -> (B,11·width+15,H/4,W/4)."""
        seen = torch.cat([image, noise_residual(image)], 1)
        fine = self.fine(seen)  # (B,w,H/4,W/4)
        fine = torch.cat([fine, self._unlike_the_rest(image, seen).to(fine.dtype)], 1)  # (B,w+15,H/4,W/4)
        middle = self.middle(fine)  # (B,2w,H/4,W/4)
        coarse = self.coarse(avg_pool2d(middle, 2))  # (B,4w,H/8,W/8)
        if self.blocks is not None:
            coarse = (coarse + self.blocks(block_traces(image, self.mean, self.std).to(coarse.dtype))).relu()
        coarse = self.wider(coarse)
        summary = self.summary(coarse.mean((2, 3)))[..., None, None].expand(-1, -1, *fine.shape[-2:])
        return torch.cat([fine, middle, interpolate(coarse, scale_factor=2.0), summary], 1)

    def _unlike_the_rest(self, image: Tensor, seen: Tensor) -> Tensor:
        """How strongly each filter answers, and the colours, over 4×4 pixels against the picture: (B,15,H/4,W/4).

        A logarithm, since noise and blur scale what a filter answers; each map has mean 0 and variance 1 over the
        picture.
        """
        with torch.autocast(image.device.type, enabled=False):  # a half's squares overflow
            # the weights are halves, too, where all is (`bf16-true`)
            answers = conv2d(seen.float(), self.filters.weight.float(), padding=2)
            strength = avg_pool2d(answers.square(), 4)
            maps = torch.cat([torch.log(strength + 1e-3), avg_pool2d(image.float(), 4)], 1)
            unlike = maps - maps.mean((2, 3), keepdim=True)
            # not instance_norm, whose gradient comes in another memory format and has to be copied; the bound keeps a
            # picture of one colour from blowing up
            return unlike * torch.rsqrt(unlike.square().mean((2, 3), keepdim=True) + 1e-2)


class _Residual(nn.Module):
    """A residual block (He et al. 2016) of a dilated and a plain convolution; an identity until trained."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )
        _silence(self.body)

    def forward(self, features: Tensor) -> Tensor:
        """(B,C,h,w), not negative, in and out."""
        return (features + self.body(features)).relu()


def _block_layers(channels: int) -> nn.Sequential:
    """Layers that see 5×5 blocks: (B,512,h,w) -> (B,C,h,w), zeros until trained."""
    layers = nn.Sequential(
        nn.Conv2d(CHANNELS, channels, 1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        convolution(channels, channels),
        nn.Conv2d(channels, channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels),
    )
    _silence(layers)
    return layers


def _silence(layers: nn.Sequential) -> None:
    """Let layers that end in a batch norm give zeros until they are trained."""
    nn.init.zeros_(layers[-1].weight)  # type: ignore[arg-type]


def convolution(channels: int, out: int, kernel: int = 3) -> nn.Sequential:
    """Convolution, batch norm and ReLU, which keep the size."""
    return nn.Sequential(
        nn.Conv2d(channels, out, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(out), nn.ReLU()
    )
