"""Large pictures are looked at a second time, at half size: against OpenCV's reduction and a slow transcription."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from conftest import TINY, command, make_set, succeed

from ncl_lightning import NCLModule
from ncl_lightning.checkpoints import SHIPPED, load_checkpoint
from ncl_lightning.errors import InputError
from ncl_lightning.maps import look_twice
from ncl_lightning.synthetic import SyntheticSource


def logits(module: NCLModule, picture: np.ndarray) -> torch.Tensor:
    with torch.inference_mode():
        return module.logits(torch.from_numpy(picture).permute(2, 0, 1)[None])[0, 0]


def test_a_second_look_is_at_half_size_and_counts_a_quarter() -> None:
    module = NCLModule.load_from_checkpoint(SHIPPED, map_location="cpu", weights_only=True, second_look=128).eval()
    once = NCLModule.load_from_checkpoint(SHIPPED, map_location="cpu", weights_only=True, second_look=None).eval()
    picture = SyntheticSource(1, size=160, seed=5).read(0).image[:96, :144]
    half = cv2.resize(picture, (72, 48), interpolation=cv2.INTER_AREA)
    second = cv2.resize(logits(once, half).numpy(), (144, 96), interpolation=cv2.INTER_LINEAR)
    expected = 0.75 * logits(once, picture).numpy() + 0.25 * second
    # OpenCV rounds a half up, torch to the even one
    np.testing.assert_allclose(logits(module, picture).numpy(), expected, atol=0.15)
    assert np.abs(expected - logits(once, picture).numpy()).max() > 0.5
    small = picture[:96, :112]
    assert torch.equal(logits(module, small), logits(once, small))


def test_it_goes_by_the_picture_not_by_its_frame() -> None:
    module = NCLModule.load_from_checkpoint(SHIPPED, map_location="cpu", weights_only=True, second_look=128).eval()
    once = NCLModule.load_from_checkpoint(SHIPPED, map_location="cpu", weights_only=True, second_look=None).eval()
    picture = torch.from_numpy(SyntheticSource(1, size=160, seed=5).read(0).image).permute(2, 0, 1)
    frames = picture[None].repeat(2, 1, 1, 1)
    with torch.inference_mode():
        found = module.logits(frames, torch.tensor([[100, 120], [100, 128]]))
        assert torch.equal(found[0], once.logits(frames)[0])
        torch.testing.assert_close(found[1], module.logits(frames)[1])
    assert not torch.equal(found[0], found[1])


def test_odd_sides_are_not_moved() -> None:
    """What a second look sees of a slope lies where the first one sees it."""

    def grey(pictures: torch.Tensor) -> torch.Tensor:
        return pictures[:, :1]

    for columns in (640, 641):
        slope = torch.arange(float(columns)).div(columns).expand(1, 3, 33, columns)
        found = look_twice(grey, slope, torch.tensor([[33, columns]]), 600)
        torch.testing.assert_close(found[..., 2:-2], slope[:, :1, :, 2:-2], atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [(1, 700), (700, 1), (2, 700), (700, 3)])
def test_of_a_row_there_is_no_half(size: tuple[int, int]) -> None:
    module = NCLModule.load_from_checkpoint(SHIPPED, map_location="cpu", weights_only=True).eval()
    picture = np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8)
    assert logits(module, picture).shape == size
    with torch.inference_mode():
        assert module.probability(torch.from_numpy(picture).permute(2, 0, 1)[None]).isfinite().all()


def test_the_shipped_model_looks_twice_at_large_pictures(tmp_path: Path) -> None:
    assert load_checkpoint("shipped")["hyper_parameters"]["second_look"] == 640
    succeed("export", "shipped", tmp_path / "once.ckpt", "--second_look=900")
    assert load_checkpoint(str(tmp_path / "once.ckpt"))["hyper_parameters"]["second_look"] == 900
    succeed("export", "shipped", tmp_path / "never.ckpt", "--second_look=0")
    assert load_checkpoint(str(tmp_path / "never.ckpt"))["hyper_parameters"]["second_look"] is None
    refused = command("export", "shipped", tmp_path / "refused.ckpt", "--second_look=-5")
    assert refused.returncode == 1
    assert "second_look is -5" in refused.stderr
    assert not (tmp_path / "refused.ckpt").exists()


def test_what_is_no_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="second_look is 0"):
        NCLModule(encoder="traces", second_look=0)
    data = make_set(tmp_path / "set", 4)
    words = ["fit", *TINY, f"--data.train=[{data}]", f"--data.val={data}", "--model.second_look=-1"]
    done = command(*words)
    assert done.returncode == 1
    assert "second_look is -1" in done.stderr.splitlines()[-1]
