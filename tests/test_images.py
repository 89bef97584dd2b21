"""Decoding: every kind of file that people have, good and bad."""

import os
import struct
import subprocess
import sys
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageOps

from ncl_lightning.errors import InputError
from ncl_lightning.images import Pair, find_images, image_size, read_image, write_image

HEIGHT, WIDTH = 24, 40


@pytest.fixture
def picture() -> np.ndarray:
    """A smooth colour picture (24, 40, 3), no two corners alike."""
    rng = np.random.default_rng(0)
    return cv2.resize(rng.integers(0, 255, (4, 6, 3), dtype=np.uint8), (WIDTH, HEIGHT))


@pytest.fixture
def region() -> np.ndarray:
    """A mask (24, 40) without any symmetry."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[2:9, 3:20] = True
    return mask


def save(path: Path, array: np.ndarray, **options: Any) -> Path:
    Image.fromarray(array).save(path, **options)
    return path


def read_pair(image: Path, mask: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """What can be read has headers that say so."""
    pair = Pair(image, mask)
    pair.check()
    return pair.read()


def close(one: np.ndarray, other: np.ndarray, by: float = 8) -> bool:
    return one.shape == other.shape and float(np.abs(one.astype(float) - other).mean()) < by


# ---- kinds that just work --------------------------------------------------------------------------------------

GOOD: dict[str, Callable[[np.ndarray, Path], Path]] = {
    "jpeg": lambda a, f: save(f / "a.jpg", a, quality=95),
    "jpeg progressive": lambda a, f: save(f / "a.JPEG", a, quality=95, progressive=True),
    "jpeg with bytes behind": lambda a, f: padded(save(f / "a.jpg", a, quality=95), b"\0\0\0"),
    "jpeg with a trailer": lambda a, f: padded(save(f / "a.jpg", a, quality=95), b"maker's block"),
    "cmyk jpeg": lambda a, f: converted(a, f / "a.jpg", "CMYK", quality=95),
    "cmyk tif": lambda a, f: converted(a, f / "a.tif", "CMYK"),
    "heic": lambda a, f: save(f / "a.HEIC", a, quality=95),
    "heif of 10 bit": lambda a, f: heif_of_10_bit(a, f / "a.heif"),
    "avif": lambda a, f: save(f / "a.avif", a, quality=95),
    "png": lambda a, f: save(f / "a.png", a),
    "png with another suffix": lambda a, f: save(f / "a.jpg", a, format="PNG"),
    "alpha": lambda a, f: save(f / "a.png", np.dstack([a, np.full(a.shape[:2], 7, np.uint8)])),
    "palette": lambda a, f: paletted(a, f / "a.png"),
    "palette with transparency": lambda a, f: paletted(a, f / "a.png", transparency=0),
    "bmp": lambda a, f: save(f / "a.bmp", a),
    "webp": lambda a, f: save(f / "a.webp", a, lossless=True),
    "16-bit colour png": lambda a, f: deep(a, f / "a.png", np.uint16),
    "16-bit colour tif": lambda a, f: deep(a, f / "a.tif", np.uint16),
    "float colour tif": lambda a, f: deep(a, f / "a.tif", np.float32),
    "deflated tif": lambda a, f: save(f / "a.tif", a, compression="tiff_adobe_deflate"),
    "animated gif": lambda a, f: animated(a, f / "a.gif"),
    "animated webp": lambda a, f: animated(a, f / "a.webp", lossless=True),
    "multi-page tif": lambda a, f: animated(a, f / "a.tif"),
    "unicode and spaces": lambda a, f: save(f / "été à la mer 图像.png", a),
}


def padded(path: Path, tail: bytes) -> Path:
    path.write_bytes(path.read_bytes() + tail)
    return path


def converted(array: np.ndarray, path: Path, mode: str, **options: Any) -> Path:
    Image.fromarray(array).convert(mode).save(path, **options)
    return path


def paletted(array: np.ndarray, path: Path, **options: Any) -> Path:
    Image.fromarray(array).quantize(256).save(path, **options)
    return path


def deep(array: np.ndarray, path: Path, kind: Any) -> Path:
    scale = 257 if kind is np.uint16 else 1 / 255
    cv2.imwrite(
        str(path), (array[..., ::-1] * scale).astype(kind) if kind is np.float32 else array[..., ::-1] * kind(257)
    )
    return path


def heif_of_10_bit(array: np.ndarray, path: Path) -> Path:
    pillow_heif.encode("RGB;16", (WIDTH, HEIGHT), (array * np.uint16(257)).tobytes(), path, quality=95)
    return path


def animated(array: np.ndarray, path: Path, **options: Any) -> Path:
    Image.fromarray(array).save(path, save_all=True, append_images=[Image.fromarray(255 - array)], **options)
    return path


@pytest.mark.parametrize("kind", GOOD)
def test_kinds_that_just_work(kind: str, picture: np.ndarray, tmp_path: Path) -> None:
    path = GOOD[kind](picture, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = read_image(path)
        assert image_size(path) == (HEIGHT, WIDTH)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert image.flags.writeable
    assert close(image, picture, 20 if "gif" in kind or "palette" in kind or "cmyk jpeg" in kind else 8)


@pytest.mark.parametrize(
    ("suffix", "array"),
    [
        (".png", np.tile(np.arange(WIDTH, dtype=np.uint16) * 1600, (HEIGHT, 1))),
        (".tif", np.tile(np.arange(WIDTH, dtype=np.uint16) * 1600, (HEIGHT, 1))),
        (".tif", np.tile(np.arange(WIDTH, dtype=np.float32) / WIDTH, (HEIGHT, 1))),
        (".tif", np.tile(np.arange(WIDTH, dtype=np.int32) * 6, (HEIGHT, 1))),
        (".png", np.tile(np.arange(WIDTH, dtype=np.uint8) * 6, (HEIGHT, 1))),
        (".png", np.tile(np.arange(WIDTH) > 20, (HEIGHT, 1))),
        (".jpg", np.tile(np.arange(WIDTH, dtype=np.uint8) * 6, (HEIGHT, 1))),
    ],
    ids=["16-bit png", "16-bit tif", "float tif", "32-bit tif", "grey", "1-bit", "grey jpeg"],
)
def test_grey_of_any_depth(suffix: str, array: np.ndarray, tmp_path: Path) -> None:
    """Grey comes as three equal channels over the whole range of 8 bits."""
    image = read_image(save(tmp_path / f"a{suffix}", array))
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert (np.ptp(image, axis=2) == 0).all()
    wanted = array.astype(float) / array.max() * image.max()
    assert image.max() > 200
    assert np.abs(image[..., 0] - wanted).max() < 10


def test_float_that_is_no_number(tmp_path: Path) -> None:
    array = np.full((4, 5), np.nan, np.float32)
    array[0, 0] = np.inf
    array[1, 1] = 0.5
    assert read_image(save(tmp_path / "a.tif", array))[1, 1, 0] == 128


def test_one_pixel(tmp_path: Path) -> None:
    image, mask = read_pair(
        save(tmp_path / "a.png", np.full((1, 1, 3), 9, np.uint8)),
        save(tmp_path / "m.png", np.full((1, 1), 255, np.uint8)),
    )
    assert image.shape == (1, 1, 3)
    assert mask.tolist() == [[True]]


# ---- EXIF ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".avif", ".jpg", ".png", ".tif", ".webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation(orientation: int, suffix: str, picture: np.ndarray, region: np.ndarray, tmp_path: Path) -> None:
    """As Pillow turns it; a mask fits as displayed, and one that fits only the stored picture turns along."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / f"a{suffix}", picture, exif=exif)
    wanted = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))
    assert (read_image(path) == wanted).all()
    assert image_size(path) == wanted.shape[:2]

    bare = Image.Exif()
    bare[0x0112] = orientation
    turned = ImageOps.exif_transpose(_tagged(region, bare, tmp_path))
    shown = np.asarray(turned) > 0
    as_shown = save(tmp_path / "shown.png", shown.astype(np.uint8) * 255)
    assert (read_pair(path, as_shown)[1] == shown).all()
    stored = save(tmp_path / "stored.png", region.astype(np.uint8) * 255)
    if orientation >= 5:
        assert (read_pair(path, stored)[1] == shown).all()


def _tagged(region: np.ndarray, exif: Image.Exif, folder: Path) -> Image.Image:
    path = folder / "tagged.png"
    Image.fromarray(region.astype(np.uint8) * 255).save(path, exif=exif)
    return Image.open(path)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_opencv_and_pillow_turn_alike(orientation: int, picture: np.ndarray, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "a.jpg", picture, exif=exif)
    by_opencv = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR_RGB)
    assert by_opencv is not None
    assert np.array_equal(by_opencv, read_image(path))


def test_broken_exif_is_no_reason_to_refuse(picture: np.ndarray, tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", picture, exif=b"Exif\0\0nonsense")
    assert read_image(path).shape == picture.shape


# ---- masks -----------------------------------------------------------------------------------------------------

MASKS: dict[str, Callable[[np.ndarray], np.ndarray | Image.Image]] = {
    "8-bit": lambda m: m.astype(np.uint8) * 255,
    "1-bit": lambda m: m,
    "labels 0 and 1": lambda m: m.astype(np.uint8),
    "16-bit": lambda m: m.astype(np.uint16) * 65535,
    "16-bit, values of 8": lambda m: m.astype(np.uint16) * 255,
    "16-bit labels": lambda m: m.astype(np.uint16),
    "colour": lambda m: np.repeat(m[..., None].astype(np.uint8) * 255, 3, 2),
    "red": lambda m: np.dstack([m.astype(np.uint8) * 255, m * 0, m * 0]).astype(np.uint8),
    "colour with alpha": lambda m: np.dstack([m, m, m, m | True]).astype(np.uint8) * 255,
    "in the alpha only": lambda m: np.dstack([m * 0, m * 0, m * 0, m]).astype(np.uint8) * 255,
    "white, cut out": lambda m: np.dstack([m | True, m | True, m | True, m]).astype(np.uint8) * 255,
    "grey with alpha": lambda m: np.dstack([m, m | True]).astype(np.uint8) * 255,
    "palette": lambda m: _coloured(m),
}


def _coloured(mask: np.ndarray) -> Image.Image:
    picture = Image.fromarray(mask.astype(np.uint8)).convert("P")
    picture.putpalette([0, 0, 0, 128, 0, 0])
    return picture


@pytest.mark.parametrize("kind", MASKS)
def test_masks_of_any_kind(kind: str, picture: np.ndarray, region: np.ndarray, tmp_path: Path) -> None:
    made = MASKS[kind](region)
    (made if isinstance(made, Image.Image) else Image.fromarray(made)).save(tmp_path / "m.png")
    mask = read_pair(save(tmp_path / "a.png", picture), tmp_path / "m.png")[1]
    assert mask.dtype == bool
    assert (mask == region).all()


@pytest.mark.parametrize("kind", [np.uint16, np.float32])
def test_deep_colour_masks(kind: Any, picture: np.ndarray, region: np.ndarray, tmp_path: Path) -> None:
    """Pillow would cut 16-bit channels of 0 and 255 to their empty upper halves."""
    cv2.imwrite(str(tmp_path / "m.tif"), np.repeat(region[..., None], 3, 2).astype(kind) * kind(255))
    assert (read_pair(save(tmp_path / "a.png", picture), tmp_path / "m.tif")[1] == region).all()


def test_mask_threshold(picture: np.ndarray, tmp_path: Path) -> None:
    levels = np.zeros((HEIGHT, WIDTH), np.uint8)
    levels[0, :4] = (126, 127, 128, 255)
    mask = read_pair(save(tmp_path / "a.png", picture), save(tmp_path / "m.png", levels))[1]
    assert mask[0, :4].tolist() == [False, False, True, True]
    assert mask.sum() == 2


def test_no_mask_is_authentic(picture: np.ndarray, tmp_path: Path) -> None:
    mask = read_pair(save(tmp_path / "a.png", picture), None)[1]
    assert mask.shape == (HEIGHT, WIDTH)
    assert not mask.any()


def test_inverted_and_fitted(picture: np.ndarray, region: np.ndarray, tmp_path: Path) -> None:
    image = save(tmp_path / "a.png", picture)
    small = save(tmp_path / "m.png", (~region[::2, ::2]).astype(np.uint8) * 255)
    pair = Pair(image, small, inverted=True, fit_mask=True)
    pair.check()
    mask = pair.read()[1]
    assert (mask == np.repeat(np.repeat(region[::2, ::2], 2, 0), 2, 1)).all()


@pytest.mark.parametrize("shape", [(HEIGHT, WIDTH - 1), (WIDTH, HEIGHT), (1, 1)])
def test_mask_of_another_size(shape: tuple[int, int], picture: np.ndarray, tmp_path: Path) -> None:
    mask = save(tmp_path / "m.png", np.zeros(shape, np.uint8))
    pair = Pair(save(tmp_path / "a.png", picture), mask)
    for look in (pair.check, pair.read):
        with pytest.raises(InputError) as error:
            look()
        for part in ("m.png", "a.png", f"{shape[1]}×{shape[0]}", f"{WIDTH}×{HEIGHT}"):
            assert part in error.value.line


# ---- bad files -------------------------------------------------------------------------------------------------


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def huge(path: Path, side: int = 20_000) -> Path:
    """A 1-bit PNG of side×side zeros: 50 kB as a file, 1.2 GB as RGB."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(side * (side // 8 + 1)), 9))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b""))
    return path


def cut(path: Path, share: float = 0.6) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def huge_float(path: Path) -> Path:
    """A TIFF of three floats a pixel whose header claims 20000×20000."""
    cv2.imwrite(str(path), np.zeros((4, 5, 3), np.float32))
    data = bytearray(path.read_bytes())
    start = struct.unpack("<I", data[4:8])[0]
    for entry in range(struct.unpack("<H", data[start : start + 2])[0]):
        at = start + 2 + 12 * entry
        if struct.unpack("<H", data[at : at + 2])[0] in (256, 257):
            data[at + 2 : at + 12] = struct.pack("<HII", 4, 1, 20_000)
    path.write_bytes(data)
    return path


def tagged(path: Path, tag: int, value: int) -> Path:
    """A little-endian TIFF with one more tag, or another value of it."""
    data = path.read_bytes()
    start = struct.unpack("<I", data[4:8])[0]
    count = struct.unpack("<H", data[start : start + 2])[0]
    entries = {data[at : at + 2]: data[at : at + 12] for at in range(start + 2, start + 2 + 12 * count, 12)}
    entries[struct.pack("<H", tag)] = struct.pack("<HHIHH", tag, 3, 1, value, 0)
    ordered = sorted(entries.values(), key=lambda entry: struct.unpack("<H", entry[:2]))
    end = data + b"\0" * (len(data) % 2)
    table = struct.pack("<H", len(ordered)) + b"".join(ordered) + bytes(4)
    path.write_bytes(end[:4] + struct.pack("<I", len(end)) + end[8:] + table)
    return path


def wrote(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def folder(path: Path) -> Path:
    path.mkdir()
    return path


NOISE = np.random.default_rng(1).integers(0, 255, (60, 60, 3), dtype=np.uint8)
BAD: dict[str, tuple[Callable[[Path], Path], str]] = {
    "truncated jpeg": (lambda f: cut(save(f / "a.jpg", NOISE)), "truncated"),
    "jpeg without its end": (lambda f: cut(save(f / "a.jpg", NOISE), 0.97), "truncated"),
    "truncated jpeg, padded": (lambda f: padded(cut(save(f / "a.jpg", NOISE)), bytes(500)), "replace"),
    "truncated progressive": (lambda f: cut(save(f / "a.jpg", NOISE, progressive=True)), "truncated"),
    "jpeg header only": (lambda f: cut(save(f / "a.jpg", NOISE), 0.01), "replace"),
    "truncated png": (lambda f: cut(save(f / "a.png", NOISE)), "replace"),
    "truncated tif": (lambda f: cut(save(f / "a.tif", NOISE)), "replace"),
    "16-bit tif in planes": (lambda f: tagged(deep(NOISE, f / "a.tif", np.uint16), 284, 2), "separate planes"),
    "float tif in planes": (lambda f: tagged(deep(NOISE, f / "a.tif", np.float32), 284, 2), "separate planes"),
    "truncated float tif": (lambda f: cut(deep(NOISE, f / "a.tif", np.float32)), "truncated"),
    "truncated webp": (lambda f: cut(save(f / "a.webp", NOISE)), "replace"),
    "truncated bmp": (lambda f: cut(save(f / "a.bmp", NOISE)), "truncated"),
    "truncated heic": (lambda f: cut(save(f / "a.heic", NOISE)), "replace"),
    "truncated avif": (lambda f: cut(save(f / "a.avif", NOISE)), "replace"),
    "truncated gif": (lambda f: cut(save(f / "a.gif", NOISE)), "replace"),
    "zero bytes": (lambda f: wrote(f / "a.jpg", b""), "empty"),
    "text": (lambda f: wrote(f / "a.jpg", b"hello, this is not a picture"), "not an image"),
    "html": (lambda f: wrote(f / "a.png", b"<html>404</html>"), "not an image"),
    "20000×20000": (lambda f: huge(f / "a.png"), "megapixels"),
    "13500×13500": (lambda f: huge(f / "a.png", 13_500), "megapixels"),
    "20000×20000 floats": (lambda f: huge_float(f / "a.tif"), "megapixels"),
    "tif of nothing": (lambda f: wrote(f / "a.tif", b"II*\0\x08\0\0\0"), "replace"),
    "a folder": (lambda f: folder(f / "a.jpg"), "directory"),
    "missing": (lambda f: f / "a.jpg", "No such file"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_files(kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """One line that names the file; nothing of a decoder's own on the terminal."""
    make, says = BAD[kind]
    path = make(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InputError) as error:
            read_image(path)
    assert error.value.line.startswith(str(path))
    assert says.lower() in error.value.line.lower()
    assert "\n" not in str(error.value)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "kind", ["jpeg", "heic", "avif", "png", "deflated tif", "16-bit colour png", "float colour tif", "animated gif"]
)
def test_any_damage_is_an_input_error(kind: str, picture: np.ndarray, tmp_path: Path) -> None:
    """Random bytes changed and the end cut: a picture or an InputError, never another exception."""
    rng = np.random.default_rng(2)
    path = GOOD[kind](picture, tmp_path)
    data = path.read_bytes()
    for _ in range(60):
        damaged = np.frombuffer(data, np.uint8).copy()
        damaged[rng.integers(0, min(len(data), 300), 2)] = rng.integers(0, 255, 2)
        path.write_bytes(damaged[: rng.integers(len(data) // 2, len(data))].tobytes())
        for read in (read_image, image_size):
            try:
                read(path)
            except InputError as error:
                assert error.line.startswith(str(path))  # noqa: PT017


def test_a_bad_mask_is_named(picture: np.ndarray, tmp_path: Path) -> None:
    mask = wrote(tmp_path / "m.png", b"")
    pair = Pair(save(tmp_path / "a.png", picture), mask)
    for look in (pair.check, pair.read):
        with pytest.raises(InputError, match=r"m\.png: the file is empty"):
            look()


def test_a_large_picture_takes_no_memory(tmp_path: Path) -> None:
    """Refused from its header: the process stays below what the decoded picture alone would take."""
    path = huge(tmp_path / "a.png")
    code = (
        "import resource, sys; from ncl_lightning.errors import InputError; "
        "from ncl_lightning.images import read_image, image_size\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for f in (read_image, image_size):\n"
        "    try: f(sys.argv[1])\n"
        "    except InputError: continue\n"
        "    raise SystemExit('not refused')\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 50_000  # kB


def test_unreadable(picture: np.ndarray, tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", picture)
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(InputError, match="Permission denied"):
        read_image(path)


# ---- writing ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.png", "été 图.png", "A.PNG"])
def test_written_and_read_again(name: str, picture: np.ndarray, tmp_path: Path) -> None:
    write_image(tmp_path / name, picture)
    assert (read_image(tmp_path / name) == picture).all()
    assert [path.name for path in tmp_path.iterdir()] == [name]
    write_image(tmp_path / name, picture[..., 0])
    assert (read_image(tmp_path / name)[..., 1] == picture[..., 0]).all()


def test_written_jpeg(picture: np.ndarray, tmp_path: Path) -> None:
    write_image(tmp_path / "a.jpg", picture[:, ::-1])
    assert close(read_image(tmp_path / "a.jpg"), picture[:, ::-1])


@pytest.mark.parametrize("name", ["a.xyz", "a", "file/a.png", "folder.png"])
def test_not_written(name: str, picture: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(InputError, match=name):
        write_image(tmp_path / name, picture)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.png"]


# ---- walking ---------------------------------------------------------------------------------------------------


def test_find_images(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpg", "sub/deep/c.tiff", ".hidden.png", ".git/d.png", "notes.txt", "sub/.x/e.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = [path.relative_to(tmp_path).as_posix() for path in find_images(tmp_path)]
    assert found == ["a.jpg", "b.PNG", "sub/deep/c.tiff"]


def test_links_are_followed_once(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "z").mkdir(parents=True)
    (root / "z" / "a.png").write_bytes(b"")
    (root / "z" / "loop").symlink_to(root)
    (root / "again").symlink_to(root / "z")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "b.png").write_bytes(b"")
    (root / "outside").symlink_to(tmp_path / "outside")
    (root / "itself").symlink_to(root / "itself")
    found = [path.relative_to(root).as_posix() for path in find_images(root)]
    assert found == ["outside/b.png", "z/a.png"]


def test_link_to_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").symlink_to(tmp_path / "gone.jpg")
    with pytest.raises(InputError, match=r"a\.jpg: a link to a missing file"):
        find_images(tmp_path)


def test_folder_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        find_images(tmp_path / "gone")


def test_folder_that_may_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    if os.access(tmp_path / "closed", os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(InputError, match="Permission denied"):
        find_images(tmp_path)


@pytest.mark.parametrize(
    ("kind", "scale", "white"),
    [(np.uint16, 65535, 0), (np.uint16, 65535, 1), (np.float32, 1, 0), (np.float32, 1, 1), (np.uint32, 2**32 - 1, 1)],
)
def test_deep_grey_tiffs_with_white_at_zero(kind: Any, scale: float, white: int, tmp_path: Path) -> None:
    """And 32 bit without a sign, which Pillow reads with one."""
    levels = np.linspace(0, 1, 40 * 30).reshape(30, 40)
    stored = (levels if white else 1 - levels) * scale
    path = tmp_path / "grey.tif"
    signed = stored.astype(kind) if kind != np.uint32 else stored.astype(np.uint32).view(np.int32)
    Image.fromarray(signed).save(path)
    # tags of one short each: 262, what is white, and 339, the kind of samples
    patched = path.read_bytes().replace(
        struct.pack("<HHIHH", 262, 3, 1, 1, 0), struct.pack("<HHIHH", 262, 3, 1, white, 0)
    )
    if kind == np.uint32:
        patched = patched.replace(struct.pack("<HHIHH", 339, 3, 1, 2, 0), struct.pack("<HHIHH", 339, 3, 1, 1, 0))
    path.write_bytes(patched)
    assert close(read_image(path)[..., 0], np.rint(levels * 255).astype(np.uint8), by=1)


def test_a_mask_that_is_transparent_all_over_is_what_is_drawn(
    picture: np.ndarray, region: np.ndarray, tmp_path: Path
) -> None:
    drawn = np.dstack([region * np.uint8(255)] * 3 + [np.zeros(region.shape, np.uint8)])
    mask = read_pair(save(tmp_path / "a.png", picture), save(tmp_path / "m.png", drawn))[1]
    assert (mask == region).all()


def test_a_float_tiff_on_its_side_has_the_size_that_it_is_read_in(picture: np.ndarray, tmp_path: Path) -> None:
    path = tagged(deep(picture, tmp_path / "a.tif", np.float32), 274, 6)
    assert (read_image(path) == np.rot90(picture, -1)).all()
    assert image_size(path) == read_image(path).shape[:2]
    mask = save(tmp_path / "m.png", np.zeros(image_size(path), np.uint8))
    Pair(path, mask).check()


@pytest.mark.parametrize("above", [1.0001, 30.0])
def test_a_highlight_above_white_darkens_no_float_picture(picture: np.ndarray, above: float, tmp_path: Path) -> None:
    values = picture.astype(np.float32) / 255
    values[0, 0] = above
    cv2.imwrite(str(tmp_path / "a.tif"), values[..., ::-1])
    read = read_image(tmp_path / "a.tif")
    assert (read[0, 0] == 255).all()
    assert (read[1:] == picture[1:]).all()
