"""`synthesize SOURCE OUT --count N`: made-up manipulations as a folder that is a data source itself."""

from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from ncl_lightning import draw
from ncl_lightning.errors import InputError
from ncl_lightning.files import write_json
from ncl_lightning.function_command import run_typed
from ncl_lightning.images import write_image
from ncl_lightning.per_image import write_rows
from ncl_lightning.sources import SHEET, Picture, Source, open_source
from ncl_lightning.synthetic import SyntheticSource

_SHEET = 24
# of the photographs, by part; each part has its own
_PARTS = {"train": 0.7, "val": 0.1, "test": 0.2}


def synthesize(
    source: str,
    out: Path,
    count: int = 100,
    val: int = 0,
    test: int = 0,
    size: int = 256,
    seed: int = 0,
    hard: float | None = None,
    web: float = 0.0,
) -> None:
    """Write made-up manipulations as a data set, with a contact sheet.

    samples.csv has for each `file` its `original`, the photograph's file name (empty where that is made up, too), and
    its `manipulation`: splice, copy_move, remove, retouch or authentic; noise where, on an even picture, that changed
    nothing.

    Args:
        source: A data source: `synthetic:N`, `synthetic:FOLDER` of photographs, or any other.
        out: Folder to write Tp/, Gt/, Au/, samples.csv and contact_sheet.png into; it must not exist, or be empty.
            With val or test, its folders train/, val/ and test/ instead.
        count: Samples to write.
        val: Samples of a validation set besides; the parts share no photograph (70, 10 and 20 % of them), and other
            seeds divide the same photographs alike.
        test: Samples of a test set besides.
        size: Side of made-up photographs, in pixels; others keep their own size.
        seed: Seed of the draws.
        hard: Share of samples as hard as reality, for `synthetic:` sources; the others' traces are plain enough to
            learn from quickly. By default 0.15 where the photographs are made up and 0.4 where they are real.
        web: Share of samples, for `synthetic:` sources, that were then handed on as the web does: reduced to 0.45–1 of
            their size and saved at qualities 65 to 95.
    """
    if out.exists() and any(out.iterdir()):
        raise InputError(f"{out}: the folder is not empty; give a new one")
    samples = open_source(source, size=size, seed=seed)
    if count < 0 or val < 0 or test < 0 or not (count or val or test):
        raise InputError(f"synthesize: count {count}, val {val} and test {test}; give one of them, above 0")
    if not isinstance(samples, SyntheticSource) and count > len(samples):
        raise InputError(f"{source}: it holds {len(samples)} pictures; give --count {len(samples)} at most")
    made_up = isinstance(samples, SyntheticSource) and not samples.photos
    made: dict[str, Any] = {"source": source, "size": size if made_up else None, "seed": seed, "hard": hard, "web": web}
    if hard is not None or web or val or test:
        if not isinstance(samples, SyntheticSource):
            raise InputError(f"{source}: hard, web, val and test are for synthetic:N and synthetic:FOLDER")
        counts = {"train": count, "val": val, "test": test} if val or test else {"": count}
        # all before the first is written: photographs may be too few
        parts = {part: _part(samples, part, each, size, seed, hard, web) for part, each in counts.items() if each}
        for part, whole in parts.items():
            _write(whole, out / part, counts[part], made)
    else:
        _write(samples, out, count, made)


def _part(
    whole: SyntheticSource, part: str, count: int, size: int, seed: int, hard: float | None, web: float
) -> SyntheticSource:
    """The samples of a part, from photographs that no other part has, whatever the seeds of both."""
    photos = sorted(whole.photos)
    if part:
        # not by the seed: a second draw would train on photographs that the first one tests on
        np.random.default_rng(0).shuffle(photos)  # type: ignore[arg-type]
        ends = np.round(np.cumsum([0, *_PARTS.values()]) * len(photos)).astype(int)
        at = list(_PARTS).index(part)
        chosen = photos[ends[at] : ends[at + 1]]
        if photos and not chosen:
            raise InputError(f"{len(photos)} photographs are too few for parts without a common one; give 10 or more")
        photos = chosen
        seed = int(np.random.SeedSequence([seed, at]).generate_state(1)[0])
    return SyntheticSource(count, sorted(photos), size=size, seed=seed, hard=hard, web=web)


def _write(samples: Source, out: Path, count: int, made: dict[str, Any]) -> None:
    """Write `count` samples, their contact sheet and what they were made of."""
    sheet: list[draw.Image] = []
    rows: list[dict[str, str]] = []
    for number in track(range(count), description=f"synthesizing {out.name}"):
        # after the last picture of a source the next epoch begins: other draws over the same photographs
        epoch, index = divmod(number, len(samples))
        picture, row = _sample(samples, index, epoch)
        file = f"{'Au' if picture.authentic else 'Tp'}/{number:06d}.png"
        write_image(out / file, picture.image)
        rows.append({"file": file, **row})
        if not picture.authentic:
            write_image(out / "Gt" / f"{number:06d}.png", picture.mask.astype(np.uint8) * 255)
        if len(sheet) < _SHEET:
            sheet.append(_cell(picture))
    write_image(out / SHEET, draw.grid(sheet, columns=4))
    write_rows(out / "samples.csv", rows)
    write_json(out / "synthesis.json", {**made, "count": count})
    print(f"{count} pictures in {out}; look at {out / SHEET}")


def _sample(samples: Source, index: int, epoch: int) -> tuple[Picture, dict[str, str]]:
    """A sample, what it was made of and how; of tampered pictures that were not made here, how is not known."""
    if isinstance(samples, SyntheticSource):
        photo = samples.original(index, epoch)
        picture, manipulation = samples.read_as(index, epoch)
        return picture, {"original": photo.name if photo else "", "manipulation": manipulation}
    picture = samples.read(index, epoch)
    return picture, {
        "original": Path(picture.name).name,
        "manipulation": "authentic" if picture.authentic else "",
    }


def _cell(picture: Picture) -> draw.Image:
    caption = "authentic" if picture.authentic else "tampered"
    return draw.panel({caption: picture.image, "mask": draw.mask(picture.mask)})


def main() -> int:
    """Run the command line."""
    run_typed(synthesize)
    return 0
