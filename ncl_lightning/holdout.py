"""A share of training data held out for validation: the same pictures every time, copies on one side."""

import hashlib
import logging
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from ncl_lightning.errors import InputError
from ncl_lightning.fingerprints import matches
from ncl_lightning.leakage import source_prints
from ncl_lightning.likeness import COPY
from ncl_lightning.sources import FileSource, Source

logger = logging.getLogger(__name__)
Side = Literal["train", "val"] | None

# the originals that a stem names: CASIA (github.com/namtpham/casia2groundtruth) both pictures that a splice is made of;
# FantasticReality, tampCOCO and compRAISE by the lists of github.com/mjkwon2021/CAT-Net. That the first one named there
# is the background was not verified
_NAMED = (
    re.compile(r"[TS]p_.*_([a-z]{3}\d+)_([a-z]{3}\d+)_\d+"),
    re.compile(r"Au_([a-z]{3}_\d+)"),
    re.compile(r"(IMG_\d{7})(?:_IMG_\d{7})?"),
    re.compile(r"\d+_(\d{12})\.jpg_.*"),
    re.compile(r"(r[0-9a-f]{8}t)_Q.*"),
    # COVERAGE: 5t is made of 5; CoMoFoD: 005_F_JC1 and 005_O are of 005
    re.compile(r"(\d+)t"),
    re.compile(r"(\d{3})_[FO](?:_.*)?"),
)


def originals(path: Path, folders: Iterable[Path] = ()) -> list[str]:
    """What a picture was made of, as far as its name says; otherwise its own stem.

    Args:
        path: The picture.
        folders: Folders that hold an original and what was made of it (IMD2020).
    """
    if path.parent in folders:
        return [path.parent.name]
    for pattern in _NAMED:
        if found := pattern.fullmatch(path.stem):
            # Au_cha_00063 is cha00063 in the names of what was made of it
            # xxx00000 stands for no picture in particular
            named = [name.replace("_", "") for name in found.groups() if name and not name.startswith("xxx")]
            return named or [path.stem]
    return [path.stem]


def sides(paths: Sequence[Path], share: float) -> list[Side]:
    """The side of each picture (N,): `train`, `val`, or None for neither.

    A hash of the first original that its name tells decides what is held out. No original of a held-out picture is
    trained on, not as the donor of a splice either: what shares one without being held out is left out of both. So
    names alone decide: not the seed, the order, or where the data lies.
    """
    folders = {path.parent for path in paths if path.stem == f"{path.parent.name}_orig"}
    names = [originals(path, folders) for path in paths]
    held = [_place(made_of[0]) < share for made_of in names]
    seen = {name for made_of, flag in zip(names, held, strict=True) if flag for name in made_of}
    return [
        "val" if flag else None if seen & set(made_of) else "train" for made_of, flag in zip(names, held, strict=True)
    ]


def _place(name: str) -> float:
    """A name's place in 0–1, even over names and the same on every machine."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=7).digest(), "big") / 256**7


def hold_out(sources: Sequence[Source], share: float, copies: bool = True) -> tuple[list[Source], list[Source]]:
    """Sources to train on, as many as given, and sources to validate on, fewer where one has nothing held out.

    Args:
        sources: Sources of files.
        share: Share of the pictures to validate on, nearly: within 0–1.
        copies: Look at the pictures too, and leave those that are copies of training ones out of validation.

    Raises:
        InputError: A source that is not of files, or so few pictures that one side is empty.
    """
    files: list[FileSource] = []
    for source in sources:
        if not isinstance(source, FileSource):
            raise InputError(
                "data.val_share is for folders, lists and benchmarks alone: name validation data with --data.val "
                "and leave val_share out"
            )
        files.append(source)
    # all at once: what belongs together may lie in two sources
    chosen = sides([pair.image for source in files for pair in source.pairs], share)
    flags = iter(chosen)
    train, val = [], []
    for source in files:
        taken = [next(flags) for _ in source.pairs]
        train.append(_part(source, [side == "train" for side in taken]))
        val.append(_part(source, [side == "val" for side in taken]))
    if left_out := chosen.count(None):
        logger.warning(f"{left_out} of {len(chosen)} pictures share an original with held-out ones: left out of both")
    if not any(map(len, val)) or not all(map(len, train)):
        side, word = ("validation", "raise") if not any(map(len, val)) else ("training", "lower")
        raise InputError(f"data.val_share {share} leaves a source without pictures for {side}: {word} it")
    return list(train), list(_apart(val, train) if copies else filter(len, val))


def _part(source: FileSource, taken: Iterable[bool]) -> FileSource:
    pairs = [pair for pair, flag in zip(source.pairs, taken, strict=True) if flag]
    return FileSource(pairs, source.name, source.root)


def _apart(val: Sequence[FileSource], train: Sequence[FileSource]) -> list[FileSource]:
    """Validation sources without copies of training pictures, which names did not tell."""
    names, prints = source_prints(val)
    found = {names[match.first] for match in matches(prints, source_prints(train)[1], least=COPY)}
    if found:
        logger.warning(f"{len(found)} of {len(names)} held-out pictures are copies of training ones: left out")
    kept = [_part(source, [str(pair.image) not in found for pair in source.pairs]) for source in val]
    if not any(map(len, kept)):
        raise InputError("data.val_share holds out nothing but copies of training pictures: raise it, or give data.val")
    return [source for source in kept if len(source)]
