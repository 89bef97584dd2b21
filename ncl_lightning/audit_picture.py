"""One picture and its mask looked into: what the audit knows of it, in a few kilobytes."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ncl_lightning.errors import InputError
from ncl_lightning.evidence import misnamed
from ncl_lightning.faults import Fault
from ncl_lightning.fingerprints import digest, thumbnail
from ncl_lightning.images import Mask, Pair, Pixels, exif_orientation, read_image
from ncl_lightning.likeness import SIDE
from ncl_lightning.patches import AUTHENTIC, CONTOUR, TAMPERED, categorise

_MISFIT = 0.02  # share of grey pixels from which a mask is no longer just smoothed at its edges


@dataclass
class Record:
    """A picture of a split.

    Args:
        split: Which part it belongs to.
        image: The picture.
        mask: Its mask; None for an authentic one.
        pair: Both, as they are to be read.
        faults: What is wrong with it.
        traits: What a network could tell the class by: `size`, `format`, `JPEG table`, `mode`.
        thumb: (32, 32) uint8.
        digest: Of the file's bytes; 0 where it can't be read.
        region: (32, 32) uint8, the mask's share of each cell.
        patches: How many patches are authentic, tampered, contour.
    """

    split: str
    image: Path
    mask: Path | None
    pair: Pair
    faults: list[Fault] = field(default_factory=list)
    traits: dict[str, str] = field(default_factory=dict)
    thumb: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((SIDE, SIDE), np.uint8))
    digest: int = 0
    region: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((SIDE, SIDE), np.uint8))
    patches: tuple[int, int, int] = (0, 0, 0)

    def fault(self, kind: str, message: str, *files: Path) -> None:
        """Note a fault of some files, by default the picture's."""
        self.faults.append(Fault(kind, tuple(str(file) for file in files or (self.image,)), message))


def inspect(task: tuple[str, Pair, int, int]) -> Record:
    """Look into (split, pair, size, stride); `size`: side of the frame that patches are counted in, 0: the picture's.

    Faults are noted, none raised.
    """
    split, pair, size, stride = task
    record = Record(split, pair.image, pair.mask, pair)
    try:
        image, mask = pair.read()
    except InputError as error:
        _explain(record, pair, error)
        return record
    record.thumb = thumbnail(image)
    data = pair.image.read_bytes()
    record.digest = digest(data)
    _traits(record, image)
    if image.std((0, 1)).max() < 1:
        record.fault("blank-picture", "one colour all over")
    if pair.mask is None:
        return record
    record.region = cv2.resize(mask.astype(np.uint8) * 255, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.uint8)
    _mask_faults(record, pair, mask)
    frame = mask.astype(np.uint8)
    if size:
        frame = cv2.resize(frame, (size, size), interpolation=cv2.INTER_NEAREST_EXACT).astype(np.uint8)
    grid = categorise(torch.from_numpy(frame)[None, None], torch.ones(1, 1, *frame.shape, dtype=torch.bool), stride)
    record.patches = (
        int((grid == AUTHENTIC).sum()),
        int((grid == TAMPERED).sum()),
        int((grid == CONTOUR).sum()),
    )
    return record


def _explain(record: Record, pair: Pair, error: InputError) -> None:
    """Which file is to blame for a pair that can't be read."""
    for path in filter(None, (pair.image, pair.mask)):
        try:
            read_image(path)
        except InputError as own:
            record.fault("unreadable", own.line.removeprefix(f"{path}: "), path)
    if not record.faults and pair.mask:
        record.fault("size-mismatch", error.line, pair.image, pair.mask)


def _traits(record: Record, image: Pixels) -> None:
    try:
        with Image.open(record.image) as header:
            kind, mode = header.format or "?", header.mode
            tables = getattr(header, "quantization", None)
    except (OSError, ValueError):
        return
    record.traits = {"size": f"{image.shape[1]}×{image.shape[0]}", "format": kind, "mode": mode}
    if tables:
        number = hashlib.blake2b(repr(sorted(tables.items())).encode(), digest_size=3).hexdigest()
        first = tables[min(tables)]
        record.traits["JPEG table"] = f"{number} (mean step {sum(first) / len(first):.1f})"
    if said := misnamed(record.image, kind):
        record.fault("misnamed", said)


def _mask_faults(record: Record, pair: Pair, mask: Mask) -> None:
    """Empty, full, inverted-looking and non-binary masks."""
    assert pair.mask is not None
    levels = read_image(pair.mask).max(2) if pair.mask_of is None else (mask * np.uint8(255))
    # two levels are told apart, whichever they are
    grey = float(((levels > 16) & (levels < 240)).mean()) if len(np.unique(levels)) > 2 else 0.0
    border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]]).mean()
    both = (pair.image, pair.mask)
    if not mask.any():
        which, end = ("darkest", levels.min()) if pair.inverted else ("brightest", levels.max())
        more = f": its {which} pixel is {end} of 255" if levels.any() else ""
        record.fault("empty-mask", f"a tampered picture, and no tampered pixel{more}", *both)
    elif mask.all():
        record.fault("full-mask", "every pixel is tampered", *both)
    elif mask.mean() > 0.5 and border > 0.9:
        record.fault("inverted-mask", f"{mask.mean():.0%} tampered, the border with it: is it inverted?", *both)
    turned = exif_orientation(pair.image)
    # the size tells how the mask of one on its side lies, unless that is square
    unsure = turned in (2, 3, 4) or (turned > 4 and mask.shape[0] == mask.shape[1])
    if unsure and exif_orientation(pair.mask) != turned:
        record.fault(
            "turned-picture",
            f"EXIF says to turn it (orientation {turned}), and the mask says nothing: was it drawn on the picture as "
            "displayed (as it is read here), or as stored?",
            *both,
        )
    if grey > _MISFIT and mask.any():
        record.fault("non-binary-mask", f"{grey:.0%} of its pixels are grey", *both)
