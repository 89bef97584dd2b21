"""Data sources: one string names pictures and masks, wherever they come from."""

import csv
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ncl_lightning.class_path import instantiate
from ncl_lightning.errors import InputError
from ncl_lightning.faults import report
from ncl_lightning.images import Pair, find_images
from ncl_lightning.layouts import BENCHMARKS, benchmark_pairs, folder_pairs

SourceSpec = str | dict[str, Any]
SHEET = "contact_sheet.png"
"""What `synthesize` lays beside Tp/, Gt/ and Au/ to look at."""
_KINDS = (
    "a folder with Tp/, Gt/ and optionally Au/ (or images/, masks/, authentic/), "
    "a .json list, a .csv manifest, synthetic:N, synthetic:FOLDER, or "
    f"BENCHMARK:FOLDER with one of {', '.join(BENCHMARKS)}, benco"
)


@dataclass(frozen=True)
class Picture:
    """A picture and the truth about it.

    Args:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) bool, True where tampered; all False for an authentic picture.
        authentic: Nothing was tampered with.
        name: For people: stable, and short where it can be.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    authentic: bool
    name: str


class Source(Protocol):
    """What a data set of one's own implements.

    With a method `authentic(epoch)`, booleans (N,), authentic pictures can be drawn by share: `data.authentic_share`.
    """

    def __len__(self) -> int:
        """How many pictures."""
        ...

    def read(self, index: int, epoch: int = 0) -> Picture:
        """Picture `index`; sources that make pictures up may give others in another epoch."""
        ...


class FileSource:
    """Pictures in files.

    Args:
        pairs: The files; they must exist, what is in them is checked when it is read.
        name: What the source was opened as.
        root: Folder that the pictures' names are relative to.
    """

    def __init__(self, pairs: Sequence[Pair], name: str = "", root: Path | None = None) -> None:
        self.pairs = list(pairs)
        self.name = name
        self.root = root

    def __len__(self) -> int:
        return len(self.pairs)

    def authentic(self, epoch: int = 0) -> NDArray[np.bool_]:
        """Which pictures (N,) are authentic."""
        return np.array([pair.mask is None for pair in self.pairs], bool)

    def read(self, index: int, epoch: int = 0) -> Picture:
        """Picture `index`, the same in every epoch.

        Raises:
            InputError: A file is unreadable, or the mask has another size.
        """
        pair = self.pairs[index]
        image, mask = pair.read()
        path, root = pair.image, self.root
        name = path.relative_to(root).as_posix() if root and path.is_relative_to(root) else str(path)
        return Picture(image, mask, pair.mask is None, name)


class BalancedSource:
    """Equally many pictures of each of several sources, drawn anew every epoch.

    IMDL-BenCo's BalancedDataset draws with replacement and unseeded; here an epoch sees each picture of a
    source as often as any other of it, give or take one, and the draw is fixed by seed and epoch.

    Args:
        sources: What to draw from.
        each: Pictures of each source in an epoch; 1840 is IMDL-BenCo's number.
        seed: Seed of the draws.
    """

    def __init__(self, sources: Sequence[FileSource], each: int = 1840, seed: int = 0) -> None:
        self.sources = list(sources)
        self.each = each
        self.seed = seed
        self._order: tuple[int, list[NDArray[np.int64]]] | None = None

    @property
    def pairs(self) -> list[Pair]:
        """All files that may be drawn."""
        return [pair for source in self.sources for pair in source.pairs]

    def __len__(self) -> int:
        return self.each * len(self.sources)

    def authentic(self, epoch: int = 0) -> NDArray[np.bool_]:
        """Which pictures (N,) of an epoch's draw are authentic."""
        drawn = [source.authentic()[self._draw(part, epoch)] for part, source in enumerate(self.sources)]
        return np.concatenate(drawn)

    def read(self, index: int, epoch: int = 0) -> Picture:
        """Picture `index` of an epoch's draw.

        Raises:
            InputError: A file is unreadable, or the mask has another size.
        """
        if self._order is None or self._order[0] != epoch:
            self._order = (epoch, [self._draw(part, epoch) for part in range(len(self.sources))])
        part, place = divmod(index, self.each)
        return self.sources[part].read(int(self._order[1][part][place]))

    def _draw(self, part: int, epoch: int) -> NDArray[np.int64]:
        rng = np.random.default_rng([self.seed, epoch, part])
        count = len(self.sources[part])
        rounds = -(-self.each // count)
        return np.concatenate([rng.permutation(count) for _ in range(rounds)])[: self.each]


def open_source(spec: SourceSpec, size: int = 256, seed: int = 0) -> Source:
    """A data source by its string, or by `{class_path, init_args}` for a class of one's own.

    Args:
        spec: A folder with `Tp/`, `Gt/` and optionally `Au/`, or `images/`, `masks/` and optionally `authentic/`; a
            `.json` list of `[image, mask or "Negative"]`, or IMDL-BenCo's balanced list of `[class, folder or json]`;
            a `.csv` manifest with columns `image,mask`; `synthetic:N`; `synthetic:FOLDER` or `synthetic:FOLDER:N`
            (photographs; as many samples as there are, or N); `BENCHMARK:FOLDER` with a name of `layouts.BENCHMARKS`;
            `benco:` before one of the first two.
        size: Side of made-up pictures, in pixels.
        seed: Seed of made-up pictures and of balanced draws.

    Raises:
        InputError: The source is missing, empty, faulty or of an unknown kind. All files are known to exist
            after this; what is in them is checked when they are read.
    """
    if isinstance(spec, Mapping):
        return _own(spec)
    kind, colon, rest = spec.partition(":")
    if colon and kind == "synthetic":
        return _synthetic(rest, size, seed)
    if colon and kind == "benco":
        # IMDL-BenCo's forms are the first two below
        spec = rest
    if colon and kind in BENCHMARKS:
        root = Path(rest)
        return FileSource(benchmark_pairs(kind, root), spec, root)
    path = Path(spec)
    try:
        path.stat()
    except FileNotFoundError:
        raise InputError(f"{spec}: no such file or folder; a data source is {_KINDS}") from None
    except OSError as error:
        # a name that no file can have, or in a folder that may not be entered
        raise InputError(f"{spec}: can't be read ({error.strerror}); a data source is {_KINDS}") from error
    if path.is_dir():
        return FileSource(folder_pairs(path), spec, path)
    if path.suffix.lower() == ".json":
        return _from_json(path, seed)
    if path.suffix.lower() == ".csv":
        return FileSource(_manifest_pairs(path), spec, path.parent)
    raise InputError(f"{spec}: a file, but neither .json nor .csv; a data source is {_KINDS}")


def _own(spec: Mapping[str, Any]) -> Source:
    """A source of the user's own class."""
    made, name = instantiate(spec, "data source"), f"data source {spec['class_path']}"
    if not (hasattr(made, "__len__") and hasattr(made, "read")):
        raise InputError(f"{name}: it needs __len__ and read(index, epoch), as sources.Source shows")
    if not len(made):
        raise InputError(f"{name}: it holds no picture; mend its init_args")
    return made


def _synthetic(rest: str, size: int, seed: int) -> Source:
    """`N`, `FOLDER` or `FOLDER:N` after `synthetic:`; a folder whose whole name is given comes first."""
    arguments: dict[str, Any] = {"size": size, "seed": seed}
    folder, _, count = rest.rpartition(":")
    if rest.isdecimal():
        arguments["count"] = int(rest)
    else:
        if Path(rest).is_dir() or not count.isdecimal():
            folder, count = rest, ""
        if not folder or not Path(folder).is_dir():
            raise InputError(
                f"synthetic:{rest}: no such folder of photographs; give a number (synthetic:100) or a folder"
            )
        photos = find_images(folder)
        if not photos:
            raise InputError(f"synthetic:{rest}: no photograph in this folder; give one with images")
        arguments |= {"count": int(count or len(photos)), "photos": photos}
    # by its path: the module of made-up pictures is built on this one
    return _own({"class_path": "ncl_lightning.synthetic.SyntheticSource", "init_args": arguments})


def _from_json(path: Path, seed: int) -> Source:
    """A list of `[image, mask or "Negative"]`, or IMDL-BenCo's balanced list of `[class, folder or json]`.

    Both forms: https://scu-zjz.github.io/IMDLBenCo-doc/guide/quickstart/0_dataprepare.html. As there, a
    ManiDataset is what lies in `Tp/` and `Gt/`, and an `Au/` beside them takes no part.
    """
    entries = _json_entries(path)
    if not _is_balanced(entries):
        return FileSource(_list_pairs(path, entries), str(path), path.parent)
    sources = []
    for number, (kind, place) in enumerate(entries, 1):
        inner = path.parent / place
        where = f"{path}: entry {number}: {place}"
        if kind not in _BENCO:
            classes = ", ".join(_BENCO)
            report("bad-list", [path], f"{path}: entry {number} names {kind!r}; the classes are {classes}")
            continue
        what, there = ("folder", inner.is_dir()) if kind == "ManiDataset" else ("file", inner.is_file())
        if not there:
            report("missing-file", [inner], f"{where}: no such {what} (paths are relative to the list's folder)")
            continue
        pairs = _tampered(inner) if kind == "ManiDataset" else _list_pairs(inner, _unbalanced(inner, where))
        if not pairs:
            report("layout", [inner], f"{where}: no tampered picture in it; remove the entry")
            continue
        sources.append(FileSource(pairs, str(inner), inner if inner.is_dir() else inner.parent))
    return BalancedSource(sources, seed=seed)


def _tampered(folder: Path) -> list[Pair]:
    return [pair for pair in folder_pairs(folder) if pair.mask]


def _unbalanced(path: Path, where: str) -> list[list[str]]:
    """The entries of a list within a balanced one."""
    entries = _json_entries(path)
    if _is_balanced(entries):
        raise InputError(f"{where} is a balanced list itself; name its parts here")
    return entries


_BENCO = ("ManiDataset", "JsonDataset")


def _is_balanced(entries: list[list[str]]) -> bool:
    return bool(entries) and entries[0][0] in _BENCO


def _json_entries(path: Path) -> list[list[str]]:
    try:
        entries = json.loads(path.read_text("utf-8-sig"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a JSON file ({error}); mend it") from error
    if not isinstance(entries, list) or not entries:
        raise InputError(f'{path}: expected a JSON list of [image, mask or "Negative"] that is not empty')
    for number, entry in enumerate(entries, 1):
        if not _is_entry(entry):
            report("bad-list", [path], f'{path}: entry {number} is {entry!r}; write [image, mask or "Negative"]')
    return [entry for entry in entries if _is_entry(entry)]


def _is_entry(entry: object) -> bool:
    return isinstance(entry, list) and len(entry) == 2 and all(isinstance(part, str) and part for part in entry)


def _list_pairs(path: Path, entries: list[list[str]]) -> list[Pair]:
    rows = [(f"entry {n}", image, "" if mask == "Negative" else mask) for n, (image, mask) in enumerate(entries, 1)]
    return _checked(path, rows)


def _manifest_pairs(path: Path) -> list[Pair]:
    """Rows of a .csv with columns `image` and `mask`; an empty mask is an authentic picture."""
    try:
        # the mark that some editors put first is not part of the first column's name
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            columns = [name.strip() for name in reader.fieldnames or ()]
            missing = [name for name in ("image", "mask") if name not in columns]
            if missing:
                raise InputError(
                    f"{path}: line 1 names the columns {', '.join(columns) or '(none)'}, but not "
                    f"{' and '.join(missing)}; write image,mask there"
                )
            reader.fieldnames = columns
            rows = [(f"line {reader.line_num}", row["image"], row["mask"]) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a CSV file in UTF-8 ({error}); save it anew") from error
    return _checked(path, [(where, (image or "").strip(), (mask or "").strip()) for where, image, mask in rows])


def _checked(path: Path, rows: list[tuple[str, str, str]]) -> list[Pair]:
    """Rows of (where, image, mask or "") as pairs, relative to the file's folder; each file must exist, once."""
    if not rows:
        raise InputError(f"{path}: it lists no picture; add lines of image,mask")
    pairs = []
    seen: dict[str, str] = {}
    for where, image, mask in rows:
        if not image:
            report("bad-list", [path], f"{path}: {where} names no image; fill it in or remove it")
            continue
        # by where it is, however that is spelled
        place = os.path.normpath(path.parent / image.replace("\\", "/"))
        if place in seen:
            report("listed-twice", [place], f"{path}: {where} lists {image} again, after {seen[place]}; remove one")
            continue
        seen[place] = where
        names = [image, mask] if mask else [image]
        files = [_located(path.parent, name) for name in names]
        for name, file in zip(names, files, strict=True):
            if file is None:
                where_to = "paths are relative to the list's folder"
                report("missing-file", [path.parent / name], f"{path}: {where}: {name}: no such file ({where_to})")
        if files[0] and all(files):
            pairs.append(Pair(files[0], files[1] if mask else None))
    return pairs


def _located(folder: Path, name: str) -> Path | None:
    # a list written on Windows has its separators
    found = (folder / written for written in (name, name.replace("\\", "/")))
    return next((path for path in found if path.is_file()), None)
