"""A share of training data held out for validation: the same pictures every time, copies on one side."""

import hashlib
import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ncl_lightning.errors import InputError
from ncl_lightning.fingerprints import matches
from ncl_lightning.leakage import source_prints
from ncl_lightning.likeness import COPY
from ncl_lightning.sources import FileSource, Source

logger = logging.getLogger(__name__)

# the originals that a stem names: CASIA (github.com/namtpham/casia2groundtruth) both pictures that a splice is made of;
# FantasticReality, tampCOCO and compRAISE by the lists of github.com/mjkwon2021/CAT-Net. That the first one named there
# is the background was not verified
_NAMED = (
    re.compile(r"[TS]p_.*_([a-z]{3}\d+)_([a-z]{3}\d+)_\d+"),
    re.compile(r"Au_([a-z]{3}_\d+)"),
    re.compile(r"(IMG_\d{7})(?:_IMG_\d{7})?"),
    re.compile(r"\d+_(\d{12})\.jpg_.*"),
    re.compile(r"(r[0-9a-f]{8}t)_Q.*"),
)


@dataclass(frozen=True)
class _Groups:
    """Sets of names that belong together, joined step by step."""

    parent: dict[str, str]

    def root(self, name: str) -> str:
        while (above := self.parent.setdefault(name, name)) != name:
            name = above
        return name

    def join(self, names: Sequence[str]) -> None:
        roots = sorted(self.root(name) for name in names)
        for root in roots[1:]:
            self.parent[root] = roots[0]


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
            return [name.replace("_", "") for name in found.groups() if name]
    return [path.stem]


def held_out(paths: Sequence[Path], share: float) -> list[bool]:
    """Whether each picture (N,) is held out: by a hash of the first name of all that belong together.

    It depends on names alone: not on the seed, the order, or where the data lies.
    """
    folders = {path.parent for path in paths if path.stem == f"{path.parent.name}_orig"}
    names = [originals(path, folders) for path in paths]
    groups = _Groups({})
    for made_of in names:
        groups.join(made_of)
    return [_place(groups.root(made_of[0])) < share for made_of in names]


def _place(name: str) -> float:
    """A name's place in 0–1, even over names and the same on every machine."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=7).digest(), "big") / 256**7


def hold_out(sources: Sequence[Source], share: float, copies: bool = True) -> tuple[list[Source], list[Source]]:
    """Sources to train on and sources to validate on, of as many parts.

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
    flags = iter(held_out([pair.image for source in files for pair in source.pairs], share))
    train, val = [], []
    for source in files:
        taken = [next(flags) for _ in source.pairs]
        train.append(_part(source, [not flag for flag in taken]))
        val.append(_part(source, taken))
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
