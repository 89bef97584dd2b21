"""The folder that `predict` writes to: whose results lie there, and which of them give way to new ones."""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

from ncl_lightning.errors import InputError
from ncl_lightning.files import file_hash
from ncl_lightning.images import other_files
from ncl_lightning.predict_inputs import OUTPUTS, RAW, output_file

CSV, PAGE, ABOUT = "predictions.csv", "predictions.html", "predictions.json"


def no_pictures(given: Path, out: Path) -> list[Path]:
    """Files below a folder that are no pictures by their names, and nothing that `predict` wrote."""
    lists = [out / name for name in (CSV, PAGE, ABOUT)]
    return [
        file
        for file in (other_files(given) if given.is_dir() else ())
        if file not in lists
        and not (file.name.endswith(f"_{RAW}.npy") and file.with_name(f"{file.stem[:-4]}_heat.png").exists())
    ]


def earlier_results(folder: Path, stems: Mapping[str, Path]) -> list[Path]:
    """The stems (see `output_stems`) of the images that an earlier predictions.csv lists; empty without one.

    Args:
        folder: Where `predict` writes.
        stems: By each picture's path, what its images' names begin with.

    Raises:
        InputError: Pictures in the list are not among these (two cases would be one folder), or it is another file.
    """
    if not (folder / CSV).exists():
        return []
    before = _listed(folder / CSV)
    names = {_as_written(stem.as_posix()): name for name, stem in stems.items()}
    # a run that was killed knew no hash; of those files alone that are listed, since hashing reads all of a file
    others = [stem for stem, code in before.items() if stem not in names or (code and file_hash(names[stem]) != code)]
    if others:
        raise InputError(
            f"{folder}: holds results of other pictures ({others[0]}{', …' if len(others) > 1 else ''}; "
            f"{len(others)} of them); give another --trainer.default_root_dir, or remove {CSV} and what it lists"
        )
    return [stems[names[stem]] for stem in before]


def refuse_to_overwrite(folder: Path, stems: Iterable[Path], pictures: Iterable[Path]) -> None:
    """Look for files that are not ours where images will be written.

    Raises:
        InputError: There is one, or a picture that is to be read.
    """
    read = {picture.absolute() for picture in pictures}
    for stem in stems:
        files = [folder / output_file(stem, kind) for kind in (*OUTPUTS, RAW)]
        # ours begin with a heat map, also where a run was killed; what stands alone is the user's: a mask, say
        theirs = [] if files[0].exists() else [file for file in files if file.exists()]
        for file in (*theirs, *(file for file in files if file.absolute() in read)):
            raise InputError(f"{file}: the file would be overwritten; give another --trainer.default_root_dir")


def remove(folder: Path, stems: Iterable[Path]) -> None:
    """Remove the images of an earlier run."""
    for stem in stems:
        # heat maps last: what stands without one is the user's
        for kind in (RAW, *reversed(OUTPUTS)):
            (folder / output_file(stem, kind)).unlink(missing_ok=True)


def _listed(file: Path) -> dict[str, str]:
    """The SHA-256 of each picture that an earlier predictions.csv lists, by the stem of its images.

    Raises:
        InputError: The file is no such list.
    """
    try:
        with file.open(newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream, strict=True)
            if {"picture", "files", "sha256"} <= set(reader.fieldnames or ()):
                return {Path(row["files"]).as_posix(): row["sha256"] for row in reader if row["files"]}
    except (OSError, UnicodeDecodeError, csv.Error):
        pass
    raise InputError(
        f"{file}: no list of `predict`, and it would be overwritten; give another --trainer.default_root_dir"
    )


def _as_written(text: str) -> str:
    """A name as `write_text` writes it."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
