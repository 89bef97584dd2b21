"""Logits averaged over sizes of the picture."""

import pytest
import torch
from torch.nn.functional import interpolate

from ncl_lightning.errors import InputError
from ncl_lightning.module import NCLModule


def module(**options: object) -> NCLModule:
    torch.manual_seed(0)
    return NCLModule(
        encoder="traces", options={"width": 4}, stride=8, branch_channels=4, embedding_dim=4, **options
    ).eval()  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [(1, 1), (30, 41), (96, 64)])
def test_the_mean_of_the_logits_of_each_size(size: tuple[int, int]) -> None:
    network = module(scales=[1.0, 0.5, 1.5])
    image = torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8)
    logits = torch.zeros(2, 1, *size)
    with torch.no_grad():
        for scale in (1.0, 0.5, 1.5):
            smaller = [max(1, round(scale * side)) for side in size]
            seen = interpolate(image.float() / 255, size=smaller, mode="bilinear", antialias=True)
            logits += interpolate(network(seen).logits, size=size, mode="bilinear") / 3
        found = network.probability(image)
    torch.testing.assert_close(found, logits.sigmoid(), rtol=0, atol=1e-4)


def test_one_size_is_the_network_alone() -> None:
    network, image = module(), torch.rand(1, 3, 40, 56)
    with torch.no_grad():
        assert torch.equal(network.probability(image), network(image).logits.sigmoid())


@pytest.mark.parametrize("scales", [[], [0.0], [1.0, 9.0]])
def test_sizes_out_of_range_are_refused(scales: list[float]) -> None:
    with pytest.raises(InputError, match=r"model\.scales"):
        module(scales=scales)
