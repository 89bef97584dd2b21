"""What a picture's file says of itself, and what reading it changed: from its header, for the list of `predict`."""

import io
import warnings
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from ncl_lightning.images import SUFFIXES

FORMULA = ("=", "+", "-", "@")
"""What spreadsheets take for the beginning of one."""
_LONGEST = 120  # characters of an entry


@dataclass(frozen=True)
class Evidence:
    """Plain text, empty where the file says nothing. Whoever writes a file can write anything there.

    Attributes:
        format: As Pillow calls it: JPEG, MPO (a JPEG with further pictures), PNG, HEIF, …
        quality: Of a JPEG, 1 to 100: libjpeg's quality whose table for brightness is nearest to the file's. Other
            programs have tables and scales of their own.
        camera: Make and model, by EXIF.
        software: That wrote the file, by EXIF or a PNG's text.
        taken: When, by EXIF (DateTimeOriginal): YYYY:MM:DD hh:mm:ss.
        note: Where its name says another format, and what reading it changed: depth, colours, transparency, further
            frames, orientation.
    """

    format: str = ""
    quality: str = ""
    camera: str = ""
    software: str = ""
    taken: str = ""
    note: str = ""


def examine(path: Path | str) -> Evidence:
    """What the header of a picture says that `images.read_image` can read."""
    # Pillow warns of odd metadata and of large pictures: nothing that a user has to act on
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(path) as picture:
                found = _of(picture)
            notes = filter(None, [misnamed(Path(path), found.format), found.note])
            return replace(found, note="; ".join(notes))
        except UnidentifiedImageError:
            # such as three channels of floats, which OpenCV reads
            return Evidence(format="TIFF", note="reduced to 8 bits a channel")


def misnamed(path: Path, kind: str) -> str:
    """A note for a file whose suffix does not fit its format; empty where it fits."""
    fits = SUFFIXES.get(kind)
    return f"a {kind} file by its content" if fits and path.suffix.lower() not in fits else ""


def _of(picture: Image.Image) -> Evidence:
    try:
        # a PNG's own method decodes the whole picture, in search of a block behind the pixels
        exif = Image.Image.getexif(picture)
        inner = exif.get_ifd(ExifTags.IFD.Exif)
    except Exception:  # broken metadata of a picture that is fine otherwise
        exif, inner = Image.Exif(), {}
    make, model = _text(exif.get(ExifTags.Base.Make)), _text(exif.get(ExifTags.Base.Model))
    return Evidence(
        format=picture.format or "",
        quality=_quality(picture),
        camera=model if model.lower().startswith(make.lower()) else f"{make} {model}".strip(),
        software=_text(exif.get(ExifTags.Base.Software)) or _text(picture.info.get("Software")),
        taken=_text(inner.get(ExifTags.Base.DateTimeOriginal)),
        note="; ".join(_changes(picture, exif.get(ExifTags.Base.Orientation))),
    )


def _text(value: Any) -> str:
    """One short line of printable characters; no formula for a spreadsheet that opens the list."""
    if not isinstance(value, str):
        return ""
    # nor what changes the direction of writing
    line = " ".join("".join(one if one.isprintable() else " " for one in value).split())[:_LONGEST]
    return f"'{line}" if line.startswith(FORMULA) else line


def _changes(picture: Image.Image, orientation: Any) -> list[str]:
    found = []
    bits = _bits(picture)
    if bits > 8:
        found.append(f"{bits} bits a channel reduced to 8")
    if picture.mode in ("P", "PA"):
        found.append("palette converted to RGB")
    elif picture.mode not in ("1", "L", "LA", "RGB", "RGBA", "F") and not picture.mode.startswith("I"):
        found.append(f"{picture.mode} converted to RGB")
    if picture.has_transparency_data:
        found.append("transparency dropped")
    frames = _frames(picture)
    if frames > 1:
        found.append(f"frame {picture.tell() + 1} of {frames}")
    if orientation in range(2, 9):
        found.append(f"turned upright (EXIF orientation {orientation})")
    return found


def _bits(picture: Image.Image) -> int:
    """Of a channel."""
    stored = getattr(picture, "tag_v2", {}).get(258) or picture.info.get("bit_depth")
    if stored:
        return int(max(stored) if isinstance(stored, tuple) else stored)
    # a PNG of 16 bits a colour is RGB to Pillow; only what its decoder is told gives it away
    raw = "".join(str(tile[3]) for tile in getattr(picture, "tile", ()))
    deep = {"F": 32, "I": 16 if picture.format in ("PNG", "PPM") else 32}.get(picture.mode, 8)
    return 16 if ";16" in picture.mode + raw else deep


def _frames(picture: Image.Image) -> int:
    try:
        return int(getattr(picture, "n_frames", 1))
    except Exception:  # the first one may be fine where others are not
        return 1


def _quality(picture: Image.Image) -> str:
    table = getattr(picture, "quantization", {}).get(0)
    if not table:
        return ""
    return str(min(_tables(), key=lambda one: np.abs(np.subtract(table, one[1])).sum())[0])


@cache
def _tables() -> list[tuple[int, list[int]]]:
    """libjpeg's table for brightness at each quality, the finest first."""
    found = []
    for quality in range(100, 0, -1):
        file = io.BytesIO()
        Image.new("L", (8, 8)).save(file, "JPEG", quality=quality)
        found.append((quality, Image.open(file).quantization[0]))  # type: ignore[attr-defined]
    return found
