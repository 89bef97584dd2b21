"""`synthesize SOURCE OUT --count N`: made-up manipulations as a folder that is a data source itself."""

import sys
from pathlib import Path

import numpy as np
from jsonargparse import auto_cli
from rich.progress import track

from ncl_lightning import draw
from ncl_lightning.errors import InputError
from ncl_lightning.files import write_json
from ncl_lightning.images import write_image
from ncl_lightning.sources import Picture, open_source

_SHEET = 24


def synthesize(source: str, out: Path, count: int = 100, size: int = 256, seed: int = 0) -> None:
    """Write made-up manipulations as a data set, with a contact sheet.

    Args:
        source: A data source: `synthetic:N`, `synthetic:FOLDER` of photographs, or any other.
        out: Folder to write Tp/, Gt/, Au/ and contact_sheet.png into; it must not exist, or be empty.
        count: Samples to write.
        size: Side of made-up photographs, in pixels.
        seed: Seed of the draws.
    """
    if out.exists() and any(out.iterdir()):
        raise InputError(f"{out}: the folder is not empty; give a new one")
    samples = open_source(source, size=size, seed=seed)
    sheet: list[draw.Image] = []
    for number in track(range(count), description="synthesizing"):
        # after the last picture of a source the next epoch begins: other draws over the same photographs
        epoch, index = divmod(number, len(samples))
        picture = samples.read(index, epoch)
        folder = "Au" if picture.authentic else "Tp"
        write_image(out / folder / f"{number:06d}.png", picture.image)
        if not picture.authentic:
            write_image(out / "Gt" / f"{number:06d}.png", picture.mask.astype(np.uint8) * 255)
        if len(sheet) < _SHEET:
            sheet.append(_cell(picture))
    write_image(out / "contact_sheet.png", draw.grid(sheet, columns=4))
    made = {"source": source, "count": count, "size": size, "seed": seed}
    write_json(out / "synthesis.json", made)
    print(f"{count} pictures in {out}; look at {out / 'contact_sheet.png'}")


def _cell(picture: Picture) -> draw.Image:
    caption = "authentic" if picture.authentic else "tampered"
    return draw.panel({caption: picture.image, "mask": draw.mask(picture.mask)})


def main() -> int:
    """Run the command line."""
    auto_cli(synthesize, args=sys.argv[2:], exit_on_error=False, as_positional=True)
    return 0
