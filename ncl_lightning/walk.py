"""A lenient walk of a data source: what `open_source` would refuse at once is collected fault by fault."""

import csv
import json
import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ncl_lightning.benchmarks import BENCHMARKS, benchmark_pairs
from ncl_lightning.errors import InputError
from ncl_lightning.images import IMAGE_SUFFIXES, Pair, find_images
from ncl_lightning.matching import stem


@dataclass(frozen=True)
class Fault:
    """Something wrong: its kind (see `findings.SEVERITIES`), the files and a sentence for people."""

    kind: str
    files: tuple[str, ...]
    message: str


class Walk:
    """The pairs of a source that can be looked into, and the faults of those that can't.

    Raises:
        InputError: There is nothing to look into at all.
    """

    def __init__(self, spec: str) -> None:
        self.pairs: list[Pair] = []
        self.faults: list[Fault] = []
        if spec.lstrip().startswith("{"):
            raise InputError(
                f"audit: {spec}: a source class of one's own has no files to look into; "
                "write its pictures as a folder with Tp/, Gt/ and Au/, and audit that"
            )
        kind, colon, rest = spec.partition(":")
        if colon and kind == "synthetic":
            self._photographs(rest)
        elif colon and kind in BENCHMARKS:
            try:
                self.pairs = benchmark_pairs(kind, Path(rest))
            except InputError as error:
                self._fault("layout", [rest], error.line)
        else:
            self._path(Path(rest if colon and kind == "benco" else spec))
        if not self.pairs and not self.faults and not (kind == "synthetic" and rest.isdecimal()):
            self._fault("layout", [rest or spec], "there is no picture in it")

    def _fault(self, kind: str, files: Iterable[object], message: str) -> None:
        self.faults.append(Fault(kind, tuple(str(file) for file in files), message))

    def _path(self, path: Path) -> None:
        if path.is_dir():
            self._folder(path)
        elif path.suffix.lower() == ".json" and path.is_file():
            self._json(path)
        elif path.suffix.lower() == ".csv" and path.is_file():
            self._csv(path)
        else:
            raise InputError(f"{path}: no folder, .json list or .csv manifest; give a data source")

    def _photographs(self, rest: str) -> None:
        folder, _, count = rest.rpartition(":")
        folder = folder if count.isdecimal() and not Path(rest).is_dir() else rest
        if not rest.isdecimal():
            if not Path(folder).is_dir():
                raise InputError(f"synthetic:{rest}: no such folder of photographs; give one")
            self.pairs += [Pair(path, None) for path in self._images(Path(folder))]

    def _images(self, folder: Path) -> list[Path]:
        """Every image below a folder; links to nothing are faults."""
        try:
            return find_images(folder)
        except InputError:
            found = []
            for here, _, names in os.walk(
                folder, onerror=lambda error: self._fault("unreadable", [folder], str(error))
            ):
                for path in (Path(here, name) for name in sorted(names) if Path(name).suffix.lower() in IMAGE_SUFFIXES):
                    if path.is_file():
                        found.append(path)
                    else:
                        self._fault("missing-file", [path], "a link to a missing file")
            return sorted(found)

    def _folder(self, root: Path) -> None:
        """`Tp/`, `Gt/`, `Au/`, paired by stem as `benchmarks.folder_pairs` does."""
        has = {name: root / name for name in ("Tp", "Gt", "Au") if (root / name).is_dir()}
        if not has:
            self._fault("layout", [root], "there is no Tp/, Gt/ or Au/ in it")
        files = {name: self._images(folder) for name, folder in has.items()}
        images, masks = files.get("Tp", []), files.get("Gt", [])
        stems = {stem(image) for image in images}
        groups: dict[str, tuple[list[Path], list[Path]]] = defaultdict(lambda: ([], []))
        for image in images:
            groups[stem(image)][0].append(image)
        for mask in masks:
            groups[stem(mask) if stem(mask) in stems else stem(mask).removesuffix("_gt")][1].append(mask)
        for group in groups.values():
            if len(group[0]) <= 1 and len(group[1]) <= 1:
                self._pair(*group)
                continue
            # several of a name belong together by sub-folder
            places: dict[Path, tuple[list[Path], list[Path]]] = defaultdict(lambda: ([], []))
            for side, top in ((0, "Tp"), (1, "Gt")):
                for path in group[side]:
                    places[path.relative_to(root / top).parent][side].append(path)
            for here in places.values():
                self._pair(*here)
        self.pairs += [Pair(image, None) for image in files.get("Au", [])]

    def _pair(self, images: list[Path], masks: list[Path]) -> None:
        if len(images) > 1 or len(masks) > 1:
            self._fault("ambiguous-names", [*images, *masks], "which mask belongs to which picture is not clear")
        elif not masks:
            self._fault("missing-mask", images, "a tampered picture without a mask of its name")
        elif not images:
            self._fault("missing-picture", masks, "a mask without a picture of its name")
        else:
            self.pairs.append(Pair(images[0], masks[0]))

    def _json(self, path: Path) -> None:
        try:
            entries = json.loads(path.read_text("utf-8-sig"))
        except (OSError, ValueError) as error:
            self._fault("bad-list", [path], f"not a JSON file ({error})")
            return
        if not isinstance(entries, list) or not entries:
            self._fault("bad-list", [path], "not a list, or an empty one")
            return
        if isinstance(entries[0], list) and entries[0][:1] in (["ManiDataset"], ["JsonDataset"]):
            for entry in entries:
                inner = path.parent / str(entry[-1])
                if not inner.exists() or inner == path:
                    self._fault("missing-file", [inner], f"{path.name} names it, and it is not there")
                else:
                    self._path(inner)
            return
        self._rows(path, [(f"entry {n}", entry) for n, entry in enumerate(entries, 1)])

    def _csv(self, path: Path) -> None:
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                reader = csv.DictReader(file, skipinitialspace=True)
                reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
                if not {"image", "mask"} <= set(reader.fieldnames):
                    self._fault("bad-list", [path], f"line 1 lacks image or mask: {', '.join(reader.fieldnames)}")
                    return
                rows = [
                    (
                        f"line {reader.line_num}",
                        [(row["image"] or "").strip(), (row["mask"] or "").strip() or "Negative"],
                    )
                    for row in reader
                ]
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            self._fault("bad-list", [path], f"not a CSV file in UTF-8 ({error})")
            return
        self._rows(path, rows)

    def _rows(self, path: Path, rows: list[tuple[str, Any]]) -> None:
        """Rows of (where, [image, mask or "Negative"]), paths relative to the list's folder."""
        seen: dict[str, str] = {}
        for where, row in rows:
            if not (isinstance(row, list) and len(row) == 2 and all(isinstance(part, str) and part for part in row)):
                self._fault("bad-list", [path], f"{where} is {row!r}, not an image and a mask")
                continue
            if row[0] in seen:
                self._fault("listed-twice", [path.parent / row[0]], f"{where} lists it again, after {seen[row[0]]}")
                continue
            seen[row[0]] = where
            names = [name for name in row if name != "Negative"]
            spots = [[path.parent / name, path.parent / name.replace("\\", "/")] for name in names]
            files = [next((spot for spot in pair if spot.is_file()), None) for pair in spots]
            lost = [pair[0] for pair, file in zip(spots, files, strict=True) if file is None]
            if lost:
                self._fault("missing-file", lost, f"{path.name}: {where} names it, and it is not there")
            elif files[0]:
                self.pairs.append(Pair(files[0], files[1] if len(files) > 1 else None))
