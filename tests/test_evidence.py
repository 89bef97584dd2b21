"""What files say of themselves, and what reading them changed."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from ncl_lightning.evidence import examine
from ncl_lightning.images import read_image
from ncl_lightning.synthetic import SyntheticSource

PICTURE = Image.fromarray(SyntheticSource(1, size=64, seed=2).read(0).image)
DEEP = np.asarray(PICTURE).astype(np.uint16) * 257


def exif(software: str = "Photoshop 25") -> Image.Exif:
    block = Image.Exif()
    block.update({0x010F: "Canon", 0x0110: "Canon EOS 5D", 0x0112: 6, 0x0131: software})
    block.get_ifd(0x8769)[0x9003] = "2024:05:01 12:00:00"
    return block


WAYS: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "plain.jpg": (lambda path: PICTURE.save(path), "JPEG", ""),
    "plain.png": (lambda path: PICTURE.save(path), "PNG", ""),
    "grey.png": (lambda path: PICTURE.convert("L").save(path), "PNG", ""),
    "phone.heic": (lambda path: PICTURE.save(path), "HEIF", ""),
    "deep.png": (lambda path: cv2.imwrite(str(path), DEEP), "PNG", "16 bits a channel reduced to 8"),
    "deep_grey.png": (lambda path: cv2.imwrite(str(path), DEEP[..., 0]), "PNG", "16 bits a channel reduced to 8"),
    "deep.tif": (lambda path: cv2.imwrite(str(path), DEEP), "TIFF", "16 bits a channel reduced to 8"),
    "float.tif": (lambda path: cv2.imwrite(str(path), DEEP / np.float32(65535)), "TIFF", "reduced to 8 bits a channel"),
    "print.jpg": (lambda path: PICTURE.convert("CMYK").save(path), "JPEG", "CMYK converted to RGB"),
    "palette.png": (lambda path: PICTURE.quantize(16).save(path), "PNG", "palette converted to RGB"),
    "clear.png": (lambda path: PICTURE.convert("RGBA").save(path), "PNG", "transparency dropped"),
    "pages.tif": (
        lambda path: PICTURE.save(path, save_all=True, append_images=[PICTURE.rotate(9)] * 2), "TIFF", "frame 1 of 3"
    ),
    "moving.gif": (
        lambda path: PICTURE.save(path, save_all=True, append_images=[PICTURE.rotate(9)]),
        "GIF",
        "palette converted to RGB; frame 1 of 2",
    ),
    "turned.jpg": (lambda path: PICTURE.save(path, exif=exif()), "JPEG", "turned upright (EXIF orientation 6)"),
}  # fmt: skip


@pytest.mark.parametrize("name", WAYS)
def test_what_reading_changed_is_said(name: str, tmp_path: Path) -> None:
    write, kind, note = WAYS[name]
    write(tmp_path / name)
    found = examine(tmp_path / name)
    assert (found.format, found.note) == (kind, note)
    assert read_image(tmp_path / name).shape == (64, 64, 3)


@pytest.mark.parametrize("quality", [100, 95, 75, 50, 10])
def test_the_quality_of_a_jpeg_is_that_of_its_tables(quality: int, tmp_path: Path) -> None:
    PICTURE.save(tmp_path / "a.jpg", quality=quality)
    assert examine(tmp_path / "a.jpg").quality == str(quality)
    PICTURE.save(tmp_path / "a.png")
    assert examine(tmp_path / "a.png").quality == ""


def test_camera_software_and_time_are_plain_text(tmp_path: Path) -> None:
    PICTURE.save(tmp_path / "a.jpg", exif=exif())
    found = examine(tmp_path / "a.jpg")
    # the make is not said twice
    assert (found.camera, found.software, found.taken) == ("Canon EOS 5D", "Photoshop 25", "2024:05:01 12:00:00")
    PICTURE.save(tmp_path / "without.jpg")
    found = examine(tmp_path / "without.jpg")
    assert (found.camera, found.software, found.taken) == ("", "", "")
    # no line of a table, no escape code of a terminal, no formula, no book
    for software, text in {"a\n\x1b[31mb": "a [31mb", "=1+1": "'=1+1", "x" * 999: "x" * 120}.items():
        PICTURE.save(tmp_path / "odd.jpg", exif=exif(software=software))
        assert examine(tmp_path / "odd.jpg").software == text


def test_broken_metadata_costs_the_metadata_alone(tmp_path: Path) -> None:
    PICTURE.save(tmp_path / "a.jpg", exif=b"Exif\0\0" + b"\xff" * 40)
    found = examine(tmp_path / "a.jpg")
    assert (found.format, found.camera, found.note) == ("JPEG", "", "")
