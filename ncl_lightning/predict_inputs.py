"""The pictures that `predict` names, and what the files are called that it writes for each."""

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from glob import glob, has_magic
from pathlib import Path

from ncl_lightning.errors import InputError
from ncl_lightning.images import IMAGE_SUFFIXES, find_images
from ncl_lightning.layouts import FOLDERS
from ncl_lightning.sources import SHEET

OUTPUTS = ("heat", "mask", "overlay")
RAW = "map"
"""What `predict` writes for each picture: images, and where asked for the map itself."""
_LONGEST = 200  # bytes of a name that more is appended to, also while it is written


def named_paths(given: Sequence[str] | str | None) -> list[Path]:
    """The files and folders that are named, patterns filled in.

    Raises:
        InputError: Nothing is named, or nothing has a pattern.
    """
    if not given:
        raise InputError("data.predict names nothing: give a picture or a folder, --data.predict PATH")
    if isinstance(given, str):
        return _matching(given)
    # one of them may be absolute, and what begins with .. is below no other's folder
    return [path for name in given for path in _matching(os.path.abspath(name))]


def named_pictures(given: Sequence[str] | str | None) -> list[Path]:
    """The pictures that are named: files, and every image below folders; each once.

    What `predict` wrote there is left out, and so are the masks in a data set's folder.

    Raises:
        InputError: Nothing is named, it does not exist, or a folder has no picture.
    """
    # a file may be named beside its folder, and a pattern takes outputs too
    return without_outputs(list(dict.fromkeys(file for path in named_paths(given) for file in _pictures(path))))


def _matching(name: str) -> list[Path]:
    """What a path names, be it there or not, and the pictures that a pattern names."""
    if Path(name).exists() or not has_magic(name):
        return [Path(name)]
    matches = sorted(Path(match) for match in glob(name, recursive=True))
    found = [path for path in matches if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()]
    if not found:
        raise InputError(f"{name}: no picture matches; give a picture, a folder or a pattern to --data.predict")
    return found


def _pictures(path: Path) -> list[Path]:
    """A file, or the images below a folder."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputError(f"{path}: no such file or folder; give a picture or a folder to --data.predict")
    files = without_outputs([file for file in find_images(path) if not _of_a_data_set(file)])
    if not files:
        raise InputError(f"{path}: no picture in this folder; give one with images to --data.predict")
    return files


def _of_a_data_set(file: Path) -> bool:
    """A mask in a Gt/ beside Tp/, or in masks/ beside images/; or the sheet that `synthesize` lays there."""
    sheet = file.name == SHEET and (file.parent / "Tp").is_dir()
    beside = {masks: tampered for tampered, masks, _ in FOLDERS}
    return sheet or any(
        folder.name in beside and (folder.parent / beside[folder.name]).is_dir() for folder in file.parents
    )


def without_outputs(files: Sequence[Path]) -> list[Path]:
    """Files but what an earlier run wrote among them: `_heat`, `_mask` and `_overlay` of one stem, all three."""
    known = set(files)
    written = {
        path
        for heat in files
        if heat.name.endswith("_heat.png")
        and known.issuperset(trio := [output_file(heat.with_name(heat.stem[:-5]), kind) for kind in OUTPUTS])
        for path in trio
    }
    return [path for path in files if path not in written]


def output_file(stem: Path, kind: str) -> Path:
    """The file of a kind (of OUTPUTS, or RAW) whose name begins with a stem."""
    return stem.with_name(f"{stem.name}_{kind}.{'npy' if kind == RAW else 'png'}")


def output_stems(files: Sequence[Path], root: Path) -> dict[str, Path]:
    """For each picture, the path below the output folder that its files' names begin with.

    Sub-folders of `root` are kept; a stem that two pictures of a folder share is replaced by the full name. One so long
    that no file could be called that and `_overlay.png` is cut, and ends in a number of its own.
    """
    whole = {str(file): _short(file.relative_to(root)) for file in files}
    stems = {str(file): _short(file.relative_to(root).with_suffix("")) for file in files}
    while True:
        count = Counter(str(stem).casefold() for stem in stems.values())
        shared = [name for name, stem in stems.items() if count[str(stem).casefold()] > 1 and stem != whole[name]]
        # a full name may be another's stem: x.jpg and x.jpg.png
        if not shared:
            break
        stems |= {name: whole[name] for name in shared}
    return stems


def _short(stem: Path) -> Path:
    """The path, its last name cut to what leaves room in the 255 bytes of a file's name."""
    name = os.fsencode(stem.name)
    if len(name) <= _LONGEST:
        return stem
    number = hashlib.sha256(name).hexdigest()[:8]
    return stem.with_name(f"{name[: _LONGEST - 9].decode(errors='ignore')}-{number}")
