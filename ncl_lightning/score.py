"""`score MAPS SOURCE OUT`: maps that another tool made, by the definitions of `test`, so that `compare` takes both."""

import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from ncl_lightning.errors import InputError
from ncl_lightning.files import make_folder, write_json
from ncl_lightning.function_command import run_typed
from ncl_lightning.images import IMAGE_SUFFIXES, read_grey
from ncl_lightning.metrics import ImageScores
from ncl_lightning.per_image import image_rows, write_rows
from ncl_lightning.results import at_one_size, show
from ncl_lightning.run_folder import made_by
from ncl_lightning.sources import open_source

_ARRAYS = (".npy", ".npz")
# endings of a map's name after its picture's, ours and others'; the first one that is there
_ENDINGS = ("", "_map", "_pred", "_heat")


def score(maps: Path, source: str, out: Path, name: str = "test", threshold: float = 0.5, key: str = "map") -> None:
    """Score maps that another tool made, at original size, and leave what `test` leaves but for the report.

    A map is a grey picture of any depth, or an array (H,W) of 0 to 1 in a .npy or .npz file. It is called like its
    picture, with or without the picture's suffix, and may end in _map, _pred or _heat (`a.png`, `a.jpg.npz` or
    `a_pred.png` for `a.jpg`). One of another size than its picture is brought to it, bilinear.

    Args:
        maps: Folder with a map for each picture, at any depth.
        source: The data source, as `test` takes it.
        out: Folder to write results.json and per_image.csv to.
        name: What the set is called; `compare` takes sets of one name.
        threshold: Pixels above it are called tampered.
        key: Name of the array in a .npz file that holds several.

    Raises:
        InputError: A picture has no map, or two, or a map has values outside of 0 to 1.
    """
    if not 0 <= threshold <= 1:
        raise InputError(f"threshold is {threshold}: give a probability, 0–1")
    pictures, files = open_source(source), _by_stem(maps)
    make_folder(out)
    scores = ImageScores(len(pictures), threshold=threshold)
    seen = {}
    for index in range(len(pictures)):
        picture = pictures.read(index, 0)
        found = torch.from_numpy(read_map(_map_of(picture.name, maps, files), key))[None, None]
        mask = torch.from_numpy(picture.mask)[None, None]
        if found.shape != mask.shape:
            found = interpolate(found, size=mask.shape[-2:], mode="bilinear")
        authentic = torch.tensor([picture.authentic])
        scores.update(found, mask, torch.ones_like(mask), torch.tensor([index]), authentic=authentic)
        seen[index] = (picture.name, *picture.mask.shape)
    sets, table = {name: at_one_size(scores)}, scores.per_image()
    show(sets)
    (out / "results.json").unlink(missing_ok=True)
    write_rows(out / "per_image.csv", image_rows(name, seen, table, table))
    # last: where it is, all is
    about = {"maps": str(maps), "data": {"test": {name: source}}, "model": {"threshold": threshold}, **made_by()}
    write_json(out / "results.json", {"sets": sets, "run": about})
    print(f"results: {out / 'results.json'}")


def read_map(file: Path, key: str = "map") -> NDArray[np.float32]:
    """A map (H,W) of 0 to 1.

    Args:
        file: A grey picture, or an array (H,W), or with axes of 1 before, in a .npy or .npz file.
        key: Name of the array in a .npz file that holds several.

    Raises:
        InputError: It is no map.
    """
    values: NDArray[Any] = _array(file, key) if file.suffix.lower() in _ARRAYS else read_grey(file)
    values = values.reshape(values.shape[-2:]) if values.ndim > 2 and math.prod(values.shape[:-2]) == 1 else values
    if values.ndim != 2 or not values.size or values.dtype.kind not in "fiub":
        raise InputError(f"{file}: an array of the shape {values.shape} and type {values.dtype}; give (H,W) numbers")
    if not (values >= 0).all() or not (values <= 1).all():
        raise InputError(f"{file}: values of {values.min():g} to {values.max():g}; give probabilities, 0 to 1")
    return values.astype(np.float32)


def _array(file: Path, key: str) -> NDArray[Any]:
    try:
        # no pickles: these would run what is in them
        loaded = np.load(file, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            names = loaded.files
            if key not in names and len(names) != 1:
                raise InputError(f"{file}: no array {key} in it ({', '.join(names)}); give --key")
            return loaded[key if key in names else names[0]]
    except InputError:
        raise
    # a damaged file leads to errors of many kinds: zipfile's, zlib's, tokenize's
    except Exception as error:
        raise InputError(f"{file}: can't be read ({error}); replace it") from error


def _by_stem(maps: Path) -> dict[str, list[Path]]:
    """The files that may be maps, by their names without suffix."""
    if not maps.is_dir():
        raise InputError(f"{maps}: no such folder; give the one with the maps")
    found = defaultdict(list)
    for file in sorted(maps.rglob("*")):
        if file.suffix.lower() in (*IMAGE_SUFFIXES, *_ARRAYS) and file.is_file():
            found[file.stem].append(file)
    return found


def _map_of(picture: str, maps: Path, files: dict[str, list[Path]]) -> Path:
    """The map of a picture.

    Raises:
        InputError: There is none, or several.
    """
    whole = Path(picture)
    named = ([whole.name + ending, whole.stem + ending] for ending in _ENDINGS)
    all_found = ([file for one in names for file in files.get(one, ())] for names in named)
    found = next(filter(None, all_found), [])
    if not found:
        raise InputError(f"{maps}: no map of {picture} (such as {whole.stem}.png or {whole.name}.npz)")
    if len(found) > 1:
        # of pictures of one name in several folders, each in its own
        found = [file for file in found if file.parent.name == whole.parent.name] or found
    if len(found) > 1:
        raise InputError(f"{maps}: {len(found)} maps of {picture}: {found[0]} and {found[1]}; leave one of them there")
    return found[0]


def main() -> int:
    """Run the command line."""
    run_typed(score)
    return 0
