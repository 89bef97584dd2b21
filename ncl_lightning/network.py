"""The pivot network: an encoder and a decoder of segmentation-models-pytorch with two branches on top.

That two branches share one pivot is the paper's; their make is our reading of it. The decoder's features feed two
branches of equal shape and separate weights. Each branch's map is averaged over every patch and projected to an
embedding of length 1; the two maps, concatenated (a sum or a mean could cancel tampered against authentic), are fused
by a 1×1 convolution and give the mask, so that what the contrast shapes also decides the mask.
"""

import math
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

import segmentation_models_pytorch as smp
import timm
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, normalize, pad

from ncl_lightning.blocks import MEAN, STD
from ncl_lightning.patches import BRANCHES
from ncl_lightning.trace_encoder import TraceEncoder, convolution

DECODERS = {
    architecture.__name__.lower(): architecture.__name__ for architecture in smp.MODEL_ARCHITECTURES_MAPPING.values()
}


class PivotOutput(NamedTuple):
    """What a network returns, the localization logits last. One that has no embeddings returns None for them.

    For pictures of H×W, padded to a frame of N patches:
        tampered: (B,N,d), embeddings z^T of branch T, of length 1.
        authentic: (B,N,d), embeddings z^A of branch A, of length 1.
        features: (B,C,h,w), the fused features, at the decoder's stride over the frame.
        logits: (B,1,H,W).
    """

    tampered: Tensor | None
    authentic: Tensor | None
    features: Tensor | None
    logits: Tensor


class PivotNetwork(nn.Module):
    """The dual-branch pivot network. Any picture size works: it is padded inside, to the right and below.

    Args:
        encoder: Encoder of segmentation-models-pytorch, by name; or `traces`, our small one for fine traces, which
            goes without a decoder (see `trace_encoder`; not the paper's).
        decoder: Decoder of segmentation-models-pytorch, by name.
        encoder_weights: Pre-trained weights of the encoder; None: random ones, as the method means it.
        stride: Side of a patch in pixels, a multiple of the decoder's stride.
        branch_channels: Channels of each branch's map and of the fused features.
        embedding_dim: Dimensions d of a patch embedding.
        options: Further arguments for segmentation-models-pytorch's encoder and decoder.
        mean: Mean of the channels that is taken off the pictures.
        std: Standard deviation that they are divided by.

    Raises:
        ValueError: An unknown name, an encoder and a decoder that do not go together, or a stride that the decoder
            cannot give. DPT wants an encoder of timm (`tu-…`; a vision transformer with the option
            `dynamic_img_size: true`), the DeepLabs and PAN one that can be dilated (no VGG, no DenseNet); mit_b… have
            no UnetPlusPlus and no Linknet.
    """

    def __init__(
        self,
        encoder: str = "resnet50",
        decoder: str = "DeepLabV3Plus",
        encoder_weights: str | None = None,
        stride: int = 16,
        branch_channels: int = 64,
        embedding_dim: int = 128,
        options: dict[str, Any] | None = None,
        mean: Sequence[float] = MEAN,
        std: Sequence[float] = STD,
    ) -> None:
        super().__init__()
        for name, size in (("stride", stride), ("branch_channels", branch_channels), ("embedding_dim", embedding_dim)):
            if size < 1:
                raise ValueError(f"{name} is {size}: give a whole number, 1 or more")
        self.encoder: nn.Module
        self.decoder: nn.Module
        if encoder == "traces":
            self.encoder, self.decoder = _traces(options or {}, mean, std), nn.Identity()
        else:
            model = _create(encoder, decoder, encoder_weights, options or {})
            self.encoder, self.decoder = model.encoder, model.decoder
        self.stride = stride
        # what a frame's sides are multiples of
        self.multiple, channels, self.decoder_stride = self._probe(encoder, decoder)
        if stride % self.decoder_stride:
            raise ValueError(
                f"stride is {stride}, but {encoder if encoder == 'traces' else decoder} gives features of stride "
                f"{self.decoder_stride}: give a multiple of {self.decoder_stride}"
            )
        self.branches = nn.ModuleDict({name: convolution(channels, branch_channels) for name in BRANCHES})
        # a projection as in SimCLR and SupCon, one hidden layer
        self.projections = nn.ModuleDict(
            {
                name: nn.Sequential(
                    nn.Conv2d(branch_channels, branch_channels, 1),
                    nn.ReLU(),
                    nn.Conv2d(branch_channels, embedding_dim, 1),
                )
                for name in BRANCHES
            }
        )
        self.fuse = convolution(2 * branch_channels, branch_channels, 1)
        self.head = nn.Conv2d(branch_channels, 1, 3, padding=1)

    def forward(self, image: Tensor) -> PivotOutput:
        """Embeddings, fused features and logits for pictures (B,3,H,W), normalised as the encoder expects."""
        height, width = image.shape[-2:]
        frame = self._frame(height, width)
        shared = self._decode(_framed(image, *frame))  # (B,c,h,w)
        maps = {name: branch(shared) for name, branch in self.branches.items()}  # (B,C,h,w) each
        embeddings = {name: self._embed(name, branch_map) for name, branch_map in maps.items()}
        features = self.fuse(torch.cat(list(maps.values()), 1))
        logits = self.head(features)
        if self.decoder_stride > 1:
            logits = interpolate(logits, size=frame, mode="bilinear", align_corners=False)
        return PivotOutput(embeddings["tampered"], embeddings["authentic"], features, logits[..., :height, :width])

    def _frame(self, height: int, width: int) -> tuple[int, int]:
        return -(-height // self.multiple) * self.multiple, -(-width // self.multiple) * self.multiple

    def _decode(self, frame: Tensor) -> Tensor:
        """(B,3,H',W') -> (B,c,H'/t,W'/t), t the decoder's stride."""
        features = self.encoder(frame)
        # vision transformers give their prefix tokens beside the features
        return self.decoder(*features) if isinstance(features, tuple) else self.decoder(features)

    def _embed(self, name: str, branch_map: Tensor) -> Tensor:
        """(B,C,h,w) -> (B,N,d), each row of length 1."""
        patches = avg_pool2d(branch_map, self.stride // self.decoder_stride)
        z = self.projections[name](patches).flatten(2).transpose(1, 2)
        # lengths in float32: a half's squares overflow; the bound keeps the gradient finite at a zero row
        return normalize(z.float() if z.dtype in (torch.float16, torch.bfloat16) else z, dim=-1, eps=1e-6)

    def _probe(self, encoder: str, decoder: str) -> tuple[int, int, int]:
        """The multiple that a frame's sides need, and channels and stride of the decoder's features.

        Found by small runs on zeros in eval mode, so that no statistic changes and nothing is drawn. Some decoders
        want more than the encoder's stride (PAN's pyramid 128 pixels, DPT an even number of tokens): the smallest
        multiple is taken whose frames of 1×3 cells work. Parameters that the features do not depend on
        (EfficientNet's last convolution, the layers below those that PSPNet reads) are frozen, or DDP would wait
        for their gradients.
        """
        self.eval()
        # an encoder of the user's own need not say it, by segmentation-models-pytorch's manual
        coarsest = getattr(self.encoder, "output_stride", 2 ** getattr(self.encoder, "_depth", 5))
        smallest = math.lcm(self.stride, int(coarsest))
        failure: Exception | None = None
        for multiple in (smallest * 2**j for j in range(5)):
            try:
                with torch.enable_grad():
                    features = self._decode(torch.zeros(1, 3, multiple, 3 * multiple))
                break
            except _COMPLAINTS as error:
                failure = error
        else:
            # a vision transformer is made for one picture size unless told otherwise
            hint = ", try options: {dynamic_img_size: true}" if "vit" in encoder else ""
            raise ValueError(_mismatch(encoder, decoder, failure) + hint) from failure
        self.train()
        parameters = [parameter for parameter in self.parameters() if parameter.requires_grad]
        gradients = torch.autograd.grad(features.sum(), parameters, allow_unused=True)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.requires_grad_(gradient is not None)
        return multiple, features.shape[1], multiple // features.shape[-2]


def _framed(image: Tensor, height: int, width: int) -> Tensor:
    """(B,3,H,W) -> (B,3,height,width), mirrored at the right and the bottom.

    Not padded with zeros: what compares a place with the whole picture takes an empty rim for the oddest place of all.
    """
    down, right = height - image.shape[-2], width - image.shape[-1]
    # a mirror shows no more than there is
    small = down >= image.shape[-2] or right >= image.shape[-1]
    return pad(image, (0, right, 0, down), mode="replicate" if small else "reflect")


# what segmentation-models-pytorch raises on names and options that it can't combine
_COMPLAINTS = (
    KeyError,
    ValueError,
    TypeError,
    NotImplementedError,
    RuntimeError,
    AttributeError,
    AssertionError,
    IndexError,
)


def _create(encoder: str, decoder: str, weights: str | None, options: dict[str, Any]) -> Any:
    """A model of segmentation-models-pytorch, its complaints turned into a line each."""
    if decoder.lower() not in DECODERS:
        close = [DECODERS[name] for name in get_close_matches(decoder.lower(), DECODERS, n=3)]
        raise ValueError(f"decoder {decoder!r} is not known: give one of {', '.join(close or DECODERS.values())}")
    if not _known_encoder(encoder):
        names = [*smp.encoders.get_encoder_names(), *(f"tu-{name}" for name in timm.list_models())]
        close = get_close_matches(encoder, names, n=3) or ["resnet50"]
        raise ValueError(
            f"encoder {encoder!r} is not known: give {' or '.join(close)}, or another of the names that "
            "segmentation-models-pytorch has ('tu-' before one of timm); one of your own goes by "
            "model.network.class_path, see docs/training.md"
        )
    try:
        return smp.create_model(decoder, encoder_name=encoder, encoder_weights=weights, **options)
    except OSError as error:
        raise ValueError(
            f"encoder_weights {weights!r} can't be fetched ({_brief(error)}): null gives random ones"
        ) from error
    except _COMPLAINTS as error:
        raise ValueError(_mismatch(encoder, decoder, error)) from error


def _traces(options: dict[str, Any], mean: Sequence[float], std: Sequence[float]) -> TraceEncoder:
    unknown = options.keys() - {"width", "depth", "blocks"}
    if unknown:
        raise ValueError(f"options of traces are width, depth and blocks, not {min(unknown)}")
    for name in ("width", "depth"):
        size = options.get(name, 1)
        if type(size) is not int or size < (name == "width"):
            raise ValueError(f"options of traces: {name} is {size!r}, give a whole number")
    if not isinstance(options.get("blocks", True), bool):
        raise ValueError(f"options of traces: blocks is {options['blocks']!r}, give true or false")
    return TraceEncoder(**options, mean=mean, std=std)


def _known_encoder(name: str) -> bool:
    if name in smp.encoders.get_encoder_names():
        return True
    prefix, _, rest = name.partition("-")
    # segmentation-models-pytorch reads a few `timm-` names as `tu-` ones
    return (prefix == "timm" and smp.encoders.is_equivalent_to_timm_universal(name)) or (
        prefix == "tu" and timm.is_model(rest)
    )


def _mismatch(encoder: str, decoder: str, error: Exception | None) -> str:
    # what make_dilated of segmentation-models-pytorch runs into
    hint = ": the encoder has no get_stages, which it is dilated by" if isinstance(error, NotImplementedError) else ""
    return f"encoder {encoder} and decoder {decoder} don't go together ({_brief(error)}{hint})"


def _brief(error: Exception | None) -> str:
    """An exception's first line, short."""
    text = str(error.args[0] if error and error.args else error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0] if text else ''}"[:200]
