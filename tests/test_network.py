"""The pivot network with every decoder, at odd sizes, and what DDP, autocast and export need of it."""

import functools
import math
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from lightning.pytorch.plugins.precision import HalfPrecision
from torch import nn

from ncl_lightning.checkpoints import take_weights
from ncl_lightning.errors import InputError
from ncl_lightning.loss import NCLLoss
from ncl_lightning.metrics import ImageScores
from ncl_lightning.module import NCLModule
from ncl_lightning.network import DECODERS, PivotNetwork, PivotOutput
from ncl_lightning.residual import median3, noise_residual

SMALL = "timm-mobilenetv3_small_minimal_100"
pytestmark = pytest.mark.filterwarnings("ignore:`timm-` encoders are deprecated:DeprecationWarning")


def network(encoder: str = SMALL, decoder: str = "DeepLabV3Plus", **options: Any) -> PivotNetwork:
    return PivotNetwork(encoder, decoder, **{"branch_channels": 6, "embedding_dim": 5, **options})


def check(net: PivotNetwork, height: int, width: int, batch: int) -> PivotOutput:
    output = net(torch.randn(batch, 3, height, width))
    rows, columns = (-(-side // net.multiple) * net.multiple // net.stride for side in (height, width))
    assert rows * net.stride >= height
    assert columns * net.stride >= width
    assert output.logits.shape == (batch, 1, height, width)
    frame = rows * net.stride // net.decoder_stride, columns * net.stride // net.decoder_stride
    assert output.features.shape == (batch, 6, *frame)
    for z in (output.tampered, output.authentic):
        assert z.shape == (batch, rows * columns, 5)
        torch.testing.assert_close(z.norm(dim=-1), torch.ones(z.shape[:2]))
    return output


@pytest.mark.parametrize("decoder", DECODERS.values())
def test_every_decoder(decoder: str) -> None:
    """Odd sizes, one picture in eval mode; a step in train mode that reaches every parameter left to train."""
    # DPT's own encoders are vision transformers
    options: dict[str, Any] = {"options": {"dynamic_img_size": True}} if decoder == "DPT" else {}
    net = network("tu-test_vit" if decoder == "DPT" else SMALL, decoder, **options).eval()
    with torch.no_grad():
        check(net, 1, 1, 1)
        check(net, 37, 150, 1)
    output = check(net.train(), 37, 45, 2)
    mask = torch.zeros(2, 1, 37, 45)
    mask[..., 5:30, :20] = 1
    NCLLoss()(output, mask, torch.ones_like(mask, dtype=torch.bool))["loss"].backward()
    assert [name for name, p in net.named_parameters() if p.requires_grad and p.grad is None] == []


@pytest.mark.parametrize("encoder", ["resnet18", "mobilenet_v2", "efficientnet-b0", "mit_b0", "tu-convnext_atto"])
def test_encoders_of_every_make(encoder: str) -> None:
    output = check(network(encoder, "FPN"), 33, 47, 2)
    assert output.logits.requires_grad


def test_what_the_features_do_not_depend_on_is_frozen() -> None:
    """EfficientNet's last convolution feeds a classifier that is not there: DDP would wait for its gradient."""
    net = network("efficientnet-b0", "Unet")
    assert not net.encoder._conv_head.weight.requires_grad  # type: ignore[union-attr]
    assert sum(not p.requires_grad for p in net.parameters()) == 3


@pytest.mark.parametrize(("stride", "multiple"), [(4, 16), (8, 16), (16, 16), (24, 48), (32, 32)])
def test_a_frame_is_a_multiple_of_both_strides(stride: int, multiple: int) -> None:
    net = network(stride=stride).eval()
    assert net.multiple == multiple
    with torch.no_grad():
        check(net, 50, 20, 1)
        check(net, multiple, multiple + 1, 1)


def test_patches_lie_in_raster_order() -> None:
    """Embedding n is that of row n // columns, column n % columns of the branch's own map, pooled by hand."""
    net = network("resnet18", "FPN", stride=32).eval()
    image = torch.randn(1, 3, 96, 160)
    with torch.no_grad():
        shared = net.decoder(net.encoder(image))
        output, maps = net(image), {name: branch(shared) for name, branch in net.branches.items()}
        for name, found in (("tampered", output.tampered), ("authentic", output.authentic)):
            for n in range(3 * 5):
                row, column = divmod(n, 5)
                cell = maps[name][:, :, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8].mean((2, 3), keepdim=True)
                z = nn.functional.normalize(net.projections[name](cell).flatten(1), dim=-1)
                torch.testing.assert_close(found[:, n], z)


@pytest.mark.parametrize(("height", "width", "mode"), [(40, 50, "reflect"), (5, 3, "edge")])
def test_a_picture_is_framed_by_its_own_mirror(height: int, width: int, mode: str) -> None:
    """A picture framed by hand gives the same logits; embeddings of the same frame. Tiny ones repeat their rim."""
    net = network().eval()
    image = torch.randn(1, 3, height, width)
    down, right = -height % net.multiple, -width % net.multiple
    framed = torch.from_numpy(np.pad(image.numpy(), ((0, 0), (0, 0), (0, down), (0, right)), mode=mode))
    with torch.no_grad():
        odd, even = net(image), net(framed)
    torch.testing.assert_close(odd.logits, even.logits[..., :height, :width])
    torch.testing.assert_close(odd.tampered, even.tampered)


def test_the_frame_is_no_trace() -> None:
    """Of a picture whose sides are no multiples, the map is much like that of the picture cut to multiples."""
    torch.manual_seed(0)
    net = PivotNetwork(encoder="traces", stride=16, branch_channels=8, embedding_dim=8, options={"width": 8}).eval()
    image = torch.randn(1, 3, 129, 129)
    with torch.no_grad():
        whole, cut = net(image).logits[..., :96, :96], net(image[..., :128, :128]).logits[..., :96, :96]
    assert (whole - cut).abs().mean() < 0.1 * cut.std()


def test_the_branches_have_equal_shape_and_separate_weights() -> None:
    net = network()
    tampered, authentic = (
        [*net.branches[name].parameters(), *net.projections[name].parameters()] for name in ("tampered", "authentic")
    )
    assert [p.shape for p in tampered] == [p.shape for p in authentic]
    assert not {id(p) for p in tampered} & {id(p) for p in authentic}
    assert not tampered[0].equal(authentic[0])
    # both decide the mask
    output = net(torch.randn(2, 3, 32, 32))
    gradients = torch.autograd.grad(output.logits.sum(), [tampered[0], authentic[0]])
    assert all(float(g.abs().sum()) > 0 for g in gradients)


def test_projections_are_what_the_plain_arm_leaves_idle() -> None:
    """Where both λ are 0, exactly the projections get no gradient."""
    net = network()
    mask = torch.zeros(2, 1, 32, 32)
    criterion = NCLLoss(lambda_ncl=0.0, lambda_pc=0.0)
    criterion(net(torch.randn(2, 3, 32, 32)), mask, torch.ones_like(mask, dtype=torch.bool))["loss"].backward()
    idle = {id(p) for p in net.parameters() if p.requires_grad and p.grad is None}
    assert idle == {id(p) for p in net.projections.parameters()}


def test_construction_changes_no_statistics_and_draws_alike() -> None:
    torch.manual_seed(3)
    first = network("resnet18", "Unet")
    after = torch.rand(3)
    torch.manual_seed(3)
    second = network("resnet18", "Unet")
    assert torch.rand(3).equal(after)
    assert all(a.equal(b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True))
    assert first.training
    norms = [m for m in first.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all(float(m.running_mean.abs().sum()) == 0 and int(m.num_batches_tracked) == 0 for m in norms)  # type: ignore[union-attr, arg-type]


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_autocast(half: torch.dtype) -> None:
    net = network().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    image = torch.randn(2, 3, 35, 50).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", half):
        output = net(image)
        mask = torch.zeros(2, 1, 35, 50)
        mask[..., :20, :20] = 1
        loss = NCLLoss()(output, mask, torch.ones_like(mask, dtype=torch.bool))["loss"]
    assert output.tampered.dtype == loss.dtype == torch.float32
    loss.backward()
    assert all(p.grad.isfinite().all() for p in net.parameters() if p.requires_grad and p.grad is not None)


def test_channels_last_gives_the_same() -> None:
    net = network().eval()
    image = torch.randn(2, 3, 48, 33)
    with torch.no_grad():
        plain = net(image)
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        last = net(image.to(memory_format=torch.channels_last))
    for a, b in zip(plain, last, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-3)


class Localize(nn.Module):
    """As an exporter sees it."""

    def __init__(self, net: PivotNetwork) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.net(image).logits


def test_it_compiles_and_exports_whole() -> None:
    """No data-dependent Python in forward: one graph."""
    net = network().eval()
    image = torch.randn(1, 3, 33, 47)
    with torch.no_grad():
        compiled = torch.compile(net, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(image).logits, net(image).logits)
        exported = torch.export.export(Localize(net), (image,)).module()
        torch.testing.assert_close(exported(image), net(image).logits)


def test_a_compiled_module_trains_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same loss, gradients and names of weights; what evaluates goes without, whatever the sizes."""
    # not every machine has the C++ compiler that torch's own backend needs on a CPU
    graphs: list[Any] = []

    def backend(graph: Any, inputs: Any) -> Any:
        graphs.append(graph)
        return graph

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=backend))
    options = {"encoder": "traces", "options": {"width": 4, "depth": 1, "blocks": True}, "embedding_dim": 4}
    plain, compiled = (NCLModule(**options, compile=wanted) for wanted in (False, True))
    compiled.load_state_dict(plain.state_dict())
    image = torch.randint(0, 256, (2, 3, 48, 64), dtype=torch.uint8)
    losses = []
    for module in (plain, compiled):
        module.setup("fit")
        losses.append(module(image).logits.square().mean())
        losses[-1].backward()
    assert len(graphs) == 1
    torch.testing.assert_close(*losses)
    for (name, one), (other, two) in zip(plain.named_parameters(), compiled.named_parameters(), strict=True):
        assert name == other
        torch.testing.assert_close(one.grad, two.grad)
    for size in (40, 72):
        picture = torch.rand(1, 3, size, 64)
        torch.testing.assert_close(plain.eval()(picture).logits, compiled.eval()(picture).logits)
    assert len(graphs) == 1


def test_a_step_lowers_the_loss() -> None:
    torch.manual_seed(0)
    net = network("resnet18", stride=8)
    image = torch.randn(2, 3, 64, 64)
    mask = torch.zeros(2, 1, 64, 64)
    mask[0, :, 10:40, 20:50] = 1
    image[0, :, 10:40, 20:50] += 2
    valid = torch.ones_like(mask, dtype=torch.bool)
    criterion, optimizer = NCLLoss(stride=8), torch.optim.Adam(net.parameters(), 3e-3)
    history = []
    for _ in range(15):
        terms = criterion(net(image), mask, valid)
        optimizer.zero_grad()
        terms["loss"].backward()
        optimizer.step()
        history.append({name: float(value.detach()) for name, value in terms.items()})
    assert all(math.isfinite(v) for row in history for v in row.values())
    for name in ("loss", "seg", "ncl"):
        assert history[-1][name] < 0.7 * history[0][name], name


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"decoder": "DeepLab"}, "DeepLabV3"),
        ({"encoder": "resnet81"}, "resnet18"),
        ({"encoder": "tu-resnet-18"}, "tu-resnet18"),
        ({"encoder": "zzzz"}, "names"),
        ({"encoder": "resnet18", "encoder_weights": "imagine"}, "imagine"),
        ({"stride": 2}, "give a multiple of 4"),
        ({"stride": 12, "decoder": "PSPNet"}, "give a multiple of 8"),
        ({"stride": 0}, "stride is 0"),
        ({"encoder": "vgg11"}, "don't go together"),
        ({"decoder": "DPT"}, "don't go together"),
        ({"encoder": "tu-vit_tiny_patch16_224", "decoder": "DPT"}, "dynamic_img_size"),
        ({"options": {"no_such": 1}}, "no_such"),
    ],
)
def test_bad_arguments_are_one_line(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        network(**arguments)
    assert "\n" not in str(caught.value)


def test_median_is_the_median() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (37, 23), dtype=np.uint8)
    fast = median3(torch.from_numpy(picture)[None, None].float())
    assert torch.equal(fast[0, 0], torch.from_numpy(cv2.medianBlur(picture, 3)).float())


def test_the_encoder_for_traces() -> None:
    net = PivotNetwork("traces", stride=8, branch_channels=6, embedding_dim=5, options={"width": 4})
    check(net, 50, 70, 2)
    assert net.decoder_stride == 4
    assert not noise_residual(torch.full((1, 3, 8, 8), 2.0)).any()


def test_wider_layers_begin_as_identities() -> None:
    """What a trained network without them gives, a deeper one with its weights gives too, until it is trained."""
    narrow = NCLModule(encoder="traces", options={"width": 4}, branch_channels=4, embedding_dim=4)
    options = {"width": 4, "depth": 3, "blocks": True}
    wide = NCLModule(encoder="traces", options=options, branch_channels=4, embedding_dim=4)
    take_weights(wide, "narrow.ckpt", narrow.state_dict())
    image = torch.rand(2, 3, 80, 96)
    narrow.eval()
    wide.eval()
    assert torch.equal(narrow(image).logits, wide(image).logits)
    wide.train()
    wide(image).logits.square().mean().backward()
    encoder = wide.network.encoder
    assert all(layers[-1].weight.grad.any() for layers in (encoder.blocks, *(one.body for one in encoder.wider)))
    with pytest.raises(InputError, match=r"wide\.ckpt: the weights of another network"):
        take_weights(narrow, "wide.ckpt", wide.state_dict())
    # parts of another one's names are no smaller network
    part = {name: value for name, value in narrow.state_dict().items() if "fine" not in name}
    with pytest.raises(InputError, match="fine"):
        take_weights(wide, "part.ckpt", part)


def test_all_in_halves() -> None:
    """As `--trainer.precision bf16-true` casts it."""
    options = {"width": 4, "blocks": True}
    module = NCLModule(encoder="traces", options=options, branch_channels=4, embedding_dim=4).bfloat16().eval()
    assert module.probability(torch.randint(0, 256, (1, 3, 48, 64), dtype=torch.uint8)).dtype == torch.float32


def test_means_are_not_counted_in_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of `bf16-true` makes halves of what it makes: they count to 256 and no further."""
    module = NCLModule(encoder="traces", options={"width": 4}, branch_channels=4, embedding_dim=4).bfloat16()
    monkeypatch.setattr(module, "log", lambda *_, **__: None)
    mask = torch.zeros(2, 1, 32, 32)
    mask[..., :16] = 1
    batch = {"image": torch.rand(2, 3, 32, 32).bfloat16(), "mask": mask, "valid": mask >= 0, "index": torch.arange(2)}
    scores = ImageScores(2)
    probability = torch.full((2, 1, 32, 32), 0.1)
    probability[:, :, 0, 0] = 0.9013
    with HalfPrecision("bf16-true").train_step_context():
        module.training_step(batch, 0)
        scores.update(probability, mask, batch["valid"], batch["index"])
    means = module.train_terms
    assert means is not None
    for _ in range(600):
        means.update(torch.ones(1, len(means.columns)))
    assert means.number.tolist() == [601] * len(means.columns)
    assert scores.per_image()["score"].tolist() == pytest.approx([0.9013] * 2, abs=1e-6)


@pytest.mark.parametrize("options", [{"widht": 8}, {"encoder_depth": 4}])
def test_options_that_traces_does_not_have_are_one_line(options: dict[str, int]) -> None:
    with pytest.raises(InputError, match=f"width, depth and blocks, not {next(iter(options))}"):
        NCLModule(encoder="traces", options=options)


def test_a_picture_of_one_colour_has_no_traces() -> None:
    torch.manual_seed(0)
    options = {"encoder": "traces", "options": {"width": 4}, "stride": 8, "branch_channels": 4, "embedding_dim": 4}
    module = NCLModule(**options).eval()
    flat = torch.tensor([120, 130, 90], dtype=torch.uint8).view(3, 1, 1).expand(3, 40, 56).clone()
    dotted = flat.clone()
    dotted[1, 20, 30] += 1
    with torch.no_grad():
        probability = module.probability(torch.stack([flat, dotted]))
    assert not probability[0].any()
    assert (probability[1] > 0).all()


def test_a_threshold_is_a_probability() -> None:
    with pytest.raises(InputError, match=r"threshold is 1.5: give a probability, 0–1"):
        NCLModule(encoder="traces", stride=8, threshold=1.5)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda x: x.float(), "divide by 255"),
        (lambda x: x.long(), "not torch.int64 of other values: divide by 255"),
        (lambda x: x[0], r"not \(3, 20, 24\)"),
        (lambda x: x.permute(0, 2, 3, 1), r"not \(1, 20, 24, 3\)"),
        (lambda x: x[:, :1], r"not \(1, 1, 20, 24\)"),
        (lambda x: x.numpy(), "not ndarray"),
    ],
)
def test_pictures_in_another_form_are_refused(change: Any, says: str) -> None:
    """The network would find nothing in them, and say nothing."""
    module = NCLModule(encoder="traces", options={"width": 4}, stride=4, branch_channels=4, embedding_dim=4).eval()
    picture = torch.randint(0, 256, (1, 3, 20, 24), dtype=torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(module.probability(picture / 255), module.probability(picture))
        assert module.probability(picture[:0]).shape == (0, 1, 20, 24)
        with pytest.raises(InputError, match=says):
            module.probability(change(picture))
    # each picture would change the network
    with pytest.raises(InputError, match=r"call eval\(\) first"):
        module.train().probability(picture)
