"""Image files to arrays and back: the only place that decodes a file."""

import os
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin, UnidentifiedImageError
from PIL.TiffImagePlugin import BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION, PLANAR_CONFIGURATION, SAMPLEFORMAT
from pillow_heif import register_heif_opener

from ncl_lightning.errors import InputError
from ncl_lightning.faults import report
from ncl_lightning.files import replacing

# what telephones save
register_heif_opener()
SUFFIXES = {
    "JPEG": {".jpg", ".jpeg", ".jfif"},
    "MPO": {".jpg", ".jpeg", ".jfif"},
    "HEIF": {".heic", ".heif"},
    "AVIF": {".avif"},
    "PNG": {".png"},
    "TIFF": {".tif", ".tiff"},
    "BMP": {".bmp"},
    "GIF": {".gif"},
    "WEBP": {".webp"},
    "PPM": {".ppm"},
}
"""How files of a format are called, by its name in Pillow."""
IMAGE_SUFFIXES = frozenset(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)
# where Pillow itself refuses; a 20000×20000 picture is twice that
MAX_PIXELS = 178_956_970

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]

_ORIENTATION = 0x0112  # the tag, of EXIF and of TIFF
# what undoes each EXIF orientation, for arrays (H, W, ...); 1 and nonsense values leave the picture alone
_UPRIGHT: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a.swapaxes(0, 1)[::-1],
}


@dataclass(frozen=True)
class Pair:
    """A picture and its mask, as files.

    Args:
        image: The picture.
        mask: Its mask, bright where tampered; None for an authentic picture.
        inverted: The mask is dark where tampered.
        fit_mask: Bring a mask of another size to the picture's (nearest neighbour) instead of refusing it.
        mask_of: Makes the mask (H, W) bool of its pixels (H, W, 3) uint8 RGB; for masks in colour codes.
    """

    image: Path
    mask: Path | None
    inverted: bool = False
    fit_mask: bool = False
    mask_of: Callable[[Pixels], Mask] | None = None

    def read(self) -> tuple[Pixels, Mask]:
        """The picture (H, W, 3) uint8 RGB and its mask (H, W), True where tampered; all False without a mask.

        The mask is binarised at its own size, above 127.5 of 255, before anything resizes it. One that fits
        only the stored orientation of an EXIF-rotated picture turns with it.

        Raises:
            InputError: A file is unreadable, or the mask has another size.
        """
        pixels, orientation = _decode(self.image, _rgb)
        height, width = pixels.shape[:2]
        if self.mask is None:
            return pixels, np.zeros((height, width), bool)
        if self.mask_of:
            tampered: Mask = self.mask_of(_decode(self.mask, _rgb)[0])
        else:
            tampered = _decode(self.mask, _levels)[0] > 127
        if self.inverted:
            tampered = ~tampered
        if tampered.shape == (height, width):
            return pixels, tampered
        if orientation >= 5 and tampered.shape == (width, height):
            return pixels, np.ascontiguousarray(_UPRIGHT[orientation](tampered))
        if self.fit_mask:
            small = tampered.astype(np.uint8)
            return pixels, cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST_EXACT) > 0
        raise self._misfit((height, width), tampered.shape)

    def check(self) -> None:
        """Look at the headers of both files, which takes a hundredth of the time of reading them.

        Raises:
            InputError: A file is missing, empty, too large or no image, or the mask has another size.
        """
        with _opened(self.image) as (_, header):
            size, turned = header.displayed(), header.orientation >= 5
        if self.mask is None:
            return
        of_mask = image_size(self.mask)
        if of_mask != size and not self.fit_mask and not (turned and of_mask == size[::-1]):
            raise self._misfit(size, of_mask)

    def _misfit(self, size: tuple[int, ...], of_mask: tuple[int, ...]) -> InputError:
        return InputError(
            f"{self.mask}: the mask is {of_mask[1]}×{of_mask[0]} pixels, its picture {self.image} {size[1]}×{size[0]}; "
            "make the mask anew at the picture's size, or remove both"
        )


def read_image(path: Path | str) -> Pixels:
    """The picture as displayed: (H, W, 3) uint8 RGB, EXIF rotation applied, alpha dropped, first frame.

    Raises:
        InputError: The file is missing, truncated, too large or no image.
    """
    return _decode(Path(path), _rgb)[0]


def read_grey(path: Path | str) -> NDArray[np.float32]:
    """A grey picture (H, W) at its full depth, 0 to 1; of floats their values as they are.

    Raises:
        InputError: The file is missing, truncated, too large or no image, or in colours.
    """
    samples = _decode(Path(path), lambda pixels: pixels)[0]
    channels = samples[..., None] if samples.ndim == 2 else samples[..., : 1 if samples.shape[2] < 3 else 3]
    if (channels != channels[..., :1]).any():
        raise InputError(f"{path}: a colour picture has no single value per pixel; give a grey one")
    white = np.iinfo(samples.dtype).max if samples.dtype.kind in "iu" else 1
    return (channels[..., 0] / np.float32(white)).astype(np.float32)


def image_size(path: Path | str) -> tuple[int, int]:
    """Displayed (H, W), from the file's header only.

    Raises:
        InputError: The file is missing, too large or no image.
    """
    with _opened(Path(path)) as (_, header):
        return header.displayed()


def exif_orientation(path: Path | str) -> int:
    """How a picture is to be turned to be displayed: 1 (not at all) to 8, as EXIF counts.

    Raises:
        InputError: The file is missing, too large or no image.
    """
    with _opened(Path(path)) as (_, header):
        return header.orientation


def write_image(path: Path | str, array: Pixels) -> None:
    """Write RGB (H, W, 3) or grey (H, W) uint8 as PNG or JPEG (quality 95), whole or not at all, making folders.

    Raises:
        InputError: The suffix is another one, or the folder can't be written.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in (".png", ".jpg", ".jpeg"):
        raise InputError(f"{path}: can't write {suffix or 'a file without suffix'}; name it .png or .jpg")
    pixels = cv2.cvtColor(array, cv2.COLOR_RGB2BGR) if array.ndim == 3 else np.ascontiguousarray(array)
    data = cv2.imencode(suffix, pixels)[1]
    with replacing(path) as partial:
        partial.write_bytes(data.tobytes())


@contextmanager
def file_readers() -> Iterator[ThreadPoolExecutor]:
    """Threads to read files in: decoders leave the interpreter to others while they work."""
    # filters of warnings are not safe in threads, and are put back here
    with warnings.catch_warnings(), ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
        yield pool


def find_images(folder: Path | str) -> list[Path]:
    """Every image file below a folder, at any depth, sorted; hidden files and folders are left out.

    Links are followed, but not back to a folder above, and each folder is visited once: a loop of links ends,
    and what is reached both directly and by a link counts once.

    Raises:
        InputError: The folder is missing or can't be read, or an image is a link to nothing.
    """
    found: list[Path] = []
    seen = {_identity(above) for above in Path(folder).resolve().parents}
    # links wait behind all that lies in the folder itself
    waiting = deque([Path(folder)])
    while waiting:
        here = waiting.popleft()
        try:
            status = here.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            entries = list(os.scandir(here))
        except OSError as error:
            report("unreadable", [here], f"{here}: can't be read ({error.strerror}); check the path and its rights")
            continue
        for entry in entries:
            if entry.name.startswith("."):
                continue
            # not entry.is_dir(), which raises for a link to itself
            if (here / entry.name).is_dir():
                (waiting.append if entry.is_symlink() else waiting.appendleft)(here / entry.name)
            elif Path(entry.name).suffix.lower() in IMAGE_SUFFIXES:
                file = here / entry.name
                if file.is_file():
                    found.append(file)
                elif entry.is_symlink():
                    report("missing-file", [file], f"{file}: a link to a missing file; fetch it or remove the link")
    return sorted(found)


def other_files(folder: Path) -> list[Path]:
    """Files below a folder that are no pictures by their names, but for hidden ones and those in hidden folders."""
    return sorted(
        file
        for file in folder.rglob("*")
        if file.suffix.lower() not in IMAGE_SUFFIXES
        and file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    )


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


@dataclass(frozen=True)
class _Header:
    """What a file says before its pixels are decoded; `picture` is None where Pillow knows no such pixels."""

    size: tuple[int, int]  # (H, W) as stored
    orientation: int
    picture: Image.Image | None

    def displayed(self) -> tuple[int, int]:
        """(H, W) as displayed."""
        return self.size if self.orientation < 5 else self.size[::-1]


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BinaryIO, _Header]]:
    """The open file and its header; whatever fails inside is an InputError that names the file."""
    try:
        # Pillow warns of odd metadata and of large pictures: nothing that a user has to act on
        with warnings.catch_warnings(), path.open("rb") as file:
            warnings.simplefilter("ignore")
            yield file, _header(file)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except Image.DecompressionBombError as error:
        raise InputError(f"{path}: {_TOO_LARGE}") from error
    except OSError as error:
        if error.errno is not None:
            raise InputError(f"{path}: can't be read ({error.strerror}); check the path and its rights") from error
        raise InputError(f"{path}: truncated or damaged ({error}); replace or remove it") from error
    # decoders raise whatever a damaged file leads them to: struct.error, zlib.error, IndexError, cv2.error, …
    except Exception as error:
        why = " ".join(str(error).split())
        raise InputError(f"{path}: can't be decoded ({why}); replace or remove it") from error


_TOO_LARGE = f"more than {MAX_PIXELS // 10**6} megapixels, too large to decode; reduce or remove it"


def _header(file: BinaryIO) -> _Header:
    try:
        picture = Image.open(file)
    except UnidentifiedImageError:
        tags: Any = _tiff_tags(file)
        header = _Header((int(tags[257]), int(tags[256])), _known(tags.get(_ORIENTATION)), None)
    else:
        # a TIFF's own tags: Pillow's size is the stored one or the displayed one, by its version
        tags = getattr(picture, "tag_v2", {})
        width, height = tags.get(256, picture.width), tags.get(257, picture.height)
        header = _Header((int(height), int(width)), _orientation(picture), picture)
    if header.size[0] * header.size[1] > MAX_PIXELS:
        raise InputError(_TOO_LARGE)
    bits = tags.get(BITSPERSAMPLE, (8,))
    if tags.get(PLANAR_CONFIGURATION) == 2 and len(bits) > 1 and max(bits) > 8:
        # OpenCV and Pillow misread them, and say nothing
        raise InputError("a TIFF of separate planes of more than 8 bits, which can't be read; save it as PNG")
    return header


def _orientation(picture: Image.Image) -> int:
    try:
        # a PNG's own method decodes the whole picture, in search of a block behind the pixels
        return _known(Image.Image.getexif(picture).get(_ORIENTATION))
    except Exception:  # broken metadata of a picture that is fine otherwise
        return 1


def _known(orientation: int | None) -> int:
    return orientation if orientation in _UPRIGHT else 1


def _tiff_tags(file: BinaryIO) -> TiffImagePlugin.ImageFileDirectory_v2:
    """The tags of a TIFF whose pixels Pillow does not know, such as three channels of floats."""
    file.seek(0)
    start = file.read(8)
    if not start:
        raise InputError("the file is empty; replace or remove it")
    if start[:4] not in (b"II*\0", b"MM\0*"):
        raise InputError("not an image, whatever its name says; replace or remove it")
    tags = TiffImagePlugin.ImageFileDirectory_v2(start)
    file.seek(tags.next)
    tags.load(file)
    # OpenCV leaves what a truncated file lacks black; 273, 279: strips, 324, 325: tiles
    for offsets, lengths in ((273, 279), (324, 325)):
        ends = [at + length for at, length in zip(tags.get(offsets, ()), tags.get(lengths, ()), strict=False)]
        if max(ends, default=0) > file.seek(0, os.SEEK_END):
            raise InputError("truncated; replace or remove it")
    return tags


def _decode(path: Path, convert: Callable[[NDArray[Any]], Pixels]) -> tuple[Pixels, int]:
    """Samples of a file, `convert`ed and turned upright, and the EXIF orientation that it had."""
    with _opened(path) as (file, header):
        samples, left = _samples(file, header)
        pixels = convert(samples)
        if left in _UPRIGHT:
            pixels = _UPRIGHT[left](pixels)
        # Pillow's arrays are read-only, which torch warns of
        return np.require(pixels, requirements=("C", "W")), header.orientation


# how a file ends that nothing is cut off from
_ENDS = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}


def _samples(file: BinaryIO, header: _Header) -> tuple[NDArray[Any], int]:
    """Samples (H, W) or (H, W, C), alpha last where C is 2 or 4, and the orientation left to undo."""
    picture = header.picture
    if picture is not None:
        bits = "".join(str(tile[3]) for tile in getattr(picture, "tile", ()))
        plain = picture.mode in ("RGB", "L") and "transparency" not in picture.info
        # OpenCV decodes faster, but fills the rest of a truncated JPEG with grey and says nothing
        if picture.format in _ENDS and plain and ";" not in bits and not getattr(picture, "is_animated", False):
            file.seek(0)
            data = file.read()
            if data.rstrip(b"\0").endswith(_ENDS[picture.format]):
                flags = cv2.IMREAD_COLOR_RGB if picture.mode == "RGB" else cv2.IMREAD_GRAYSCALE
                decoded = cv2.imdecode(np.frombuffer(data, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
                if decoded is not None:
                    return decoded, header.orientation
        channels = len(picture.getbands())
        picture.load()
        # OpenCV fails on a TIFF that lies on its side
        if channels == 1 or ";16" not in bits or header.orientation > 1:
            # newer Pillows turn a TIFF upright by themselves, and forget its orientation then
            return _pillow_samples(picture), _orientation(picture)
    # three channels of 16 bit, which Pillow cuts to their upper halves, or of floats
    file.seek(0)
    decoded = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None:
        raise InputError("truncated, or a kind of file that can't be read; convert it to PNG")
    order = {3: [2, 1, 0], 4: [2, 1, 0, 3]}.get(decoded.shape[-1] if decoded.ndim == 3 else 0)
    # one that lies on its side comes here of floats alone, and OpenCV turns these
    return (decoded[..., order] if order else decoded), 1


def _pillow_samples(picture: Image.Image) -> NDArray[Any]:
    mode = picture.mode
    if mode == "1":
        picture = picture.convert("L")
    elif mode in ("P", "PA"):
        picture = picture.convert("RGBA" if mode == "PA" or "transparency" in picture.info else "RGB")
    elif mode not in ("L", "LA", "RGB", "RGBA", "F") and not mode.startswith("I"):
        picture = picture.convert("RGB")
    elif picture.format == "TIFF" and mode not in ("L", "LA", "RGB", "RGBA"):
        return _tiff_grey(picture)
    # but for TIFFs, what Pillow reads as 32 bit has 16
    return np.asarray(picture).astype(np.uint16) if mode == "I" else np.asarray(picture)


def _tiff_grey(picture: Image.Image) -> NDArray[Any]:
    """Grey samples (H, W) of more than 8 bit, 0 black. Pillow leaves white at 0, and reads 32 bit as signed."""
    samples, tags = np.asarray(picture), picture.tag_v2  # type: ignore[attr-defined]
    if samples.dtype == np.int32 and tags.get(BITSPERSAMPLE, (32,))[0] == 32 and tags.get(SAMPLEFORMAT, (1,))[0] == 1:
        samples = samples.view(np.uint32)
    if tags.get(PHOTOMETRIC_INTERPRETATION, 1) != 0:
        return samples
    if samples.dtype.kind == "f":
        return _full_scale(np.nan_to_num(samples, posinf=0, neginf=0)) - samples
    return np.iinfo(samples.dtype).max - samples


def _eight_bit(samples: NDArray[Any]) -> Pixels:
    """Samples of any depth to 0–255; what white is, `_full_scale` says."""
    if samples.dtype == np.uint8:
        return samples
    values = np.nan_to_num(samples.astype(np.float32), nan=0, posinf=0, neginf=0)
    scaled = values.clip(0) * (255 / _full_scale(values, samples.dtype.kind == "f"))
    return (scaled.clip(0, 255) + 0.5).astype(np.uint8)


def _full_scale(values: NDArray[Any], real: bool = True) -> float:
    """What white is: the least of 1 (floats), 255 and 65535 that holds all values, else the greatest.

    Of floats in 0–1 nearly all: resampling overshoots, and highlights may lie above white.
    """
    top = float(values.max())
    if real and 1 < top < 128 and float(np.quantile(values, 0.98)) <= 1:
        return 1.0
    return next((end for end in (*((1.0,) if real else ()), 255.0, 65535.0) if top <= end), top)


def _rgb(samples: NDArray[Any]) -> Pixels:
    """Samples to (H, W, 3) uint8, alpha dropped."""
    pixels = _eight_bit(samples)
    if pixels.ndim == 3 and pixels.shape[2] >= 3:
        return pixels[..., :3]
    grey = pixels if pixels.ndim == 2 else pixels[..., 0]
    return np.repeat(grey[..., None], 3, axis=2)


def _levels(samples: NDArray[Any]) -> Pixels:
    """A mask's samples to (H, W) levels 0–255: its brightest channel, or its alpha where only that varies."""
    pixels = _eight_bit(samples)
    if pixels.ndim == 2:
        level = pixels
    elif pixels.shape[2] in (2, 4):
        colour, alpha = pixels[..., :-1], pixels[..., -1]
        # transparent means untouched, unless all is (an exporter's slip), or the drawing is all in the alpha channel
        drawn = (alpha > 127) | (not alpha.any())
        level = alpha if np.ptp(alpha) and not np.ptp(colour) else np.where(drawn, colour.max(2), 0)
    else:
        level = pixels.max(2)
    # masks saved as labels: 1 is tampered
    return level * np.uint8(255) if level.max() == 1 else level
