"""What is said of a source, `{source, weight, only, tampered, authentic, take, anew}`; the folder that all lie in."""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ncl_lightning.errors import InputError
from ncl_lightning.layouts import BENCHMARKS
from ncl_lightning.sources import FileSource, Source, SourceSpec, open_source

logger = logging.getLogger(__name__)
OnCount = Literal["error", "warn", "ignore"]
Count = int | list[int] | None


@dataclass(frozen=True)
class Entry:
    """A source as a protocol names it.

    Args:
        source: The source.
        weight: Its share of a training epoch, relative to the others'; None: as many pictures as it holds.
        only: Take these alone: `tampered` or `authentic`.
        tampered: How many tampered pictures it is to hold, or the least and the most; None: not checked.
        authentic: The same of authentic ones.
        take: Use only so many of its pictures, the same for every run; a smaller number takes a part of a larger one's.
        anew: In training, `take` draws other pictures for every seed of a run: to tell methods apart whatever the
            pictures. Evaluation is the same for every seed.
    """

    source: SourceSpec
    weight: float | None = None
    only: Literal["tampered", "authentic"] | None = None
    tampered: Count = None
    authentic: Count = None
    take: int | None = None
    anew: bool = False


def entry(spec: SourceSpec) -> Entry:
    """A source alone, or a mapping with `source` and what is said of it.

    Raises:
        InputError: An unknown key or value.
    """
    if not isinstance(spec, Mapping) or "class_path" in spec:
        return Entry(spec)
    known = [field.name for field in fields(Entry)]
    unknown = sorted(set(spec) - set(known))
    if unknown or "source" not in spec:
        what = f"no such key as {', '.join(unknown)}" if unknown else "no source"
        raise InputError(f"data source {dict(spec)}: {what}; the keys are {', '.join(known)}")
    made = Entry(**spec)
    if not isinstance(made.source, str | Mapping):
        raise InputError(
            f"data source {dict(spec)}: source is {made.source!r}; give a folder, a list or another source"
        )
    if made.only not in (None, "tampered", "authentic"):
        raise InputError(f"data source {made.source}: only is {made.only!r}; write tampered or authentic")
    if not (made.weight is None or (_number(made.weight) and 0 < made.weight < math.inf)):
        raise InputError(f"data source {made.source}: weight is {made.weight!r}; give a positive number")
    if made.take is not None and not (type(made.take) is int and made.take > 0):
        raise InputError(f"data source {made.source}: take is {made.take!r}; give a number of pictures")
    if not isinstance(made.anew, bool) or (made.anew and made.take is None):
        raise InputError(f"data source {made.source}: anew is {made.anew!r}; write true, beside `take`")
    for kind in ("tampered", "authentic"):
        count = getattr(made, kind)
        bounds = count if isinstance(count, list) else [count]
        if count is not None and not (len(bounds) in (1, 2) and all(type(bound) is int for bound in bounds)):
            raise InputError(f"data source {made.source}: {kind} is {count!r}; give a count, or [least, most]")
    return made


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def open_entry(made: Entry, size: int, seed: int, root: str | None = None, on_count: OnCount = "error") -> Source:
    """The source of an entry, with the pictures that it is to take.

    Args:
        made: The entry.
        size: Side of made-up pictures, in pixels.
        seed: Seed of made-up pictures, and of what is drawn anew.
        root: Folder that relative paths lie below.
        on_count: Where a count differs: `error`: refuse; `warn`: say so; `ignore`: do not look.

    Raises:
        InputError: The source can't be opened, or holds another number of pictures.
    """
    source = open_source(below(made.source, root), size=size, seed=seed)
    if made.only is None and made.tampered is None and made.authentic is None and made.take is None:
        return source
    if not isinstance(source, FileSource):
        raise InputError(
            f"data source {made.source}: only, tampered, authentic and take are for folders, lists and benchmarks; "
            "leave them out"
        )
    real = sum(pair.mask is None for pair in source.pairs)
    if on_count != "ignore":
        _check(made, {"tampered": len(source) - real, "authentic": real}, on_count)
    pairs = source.pairs
    if made.only is not None:
        pairs = [pair for pair in pairs if (pair.mask is None) == (made.only == "authentic")]
    if not pairs:
        raise InputError(f"data source {made.source}: no {made.only} picture in it; fetch them, or leave the entry out")
    if made.take is not None:
        if made.take > len(pairs):
            raise InputError(f"data source {made.source}: take is {made.take}, but it holds {len(pairs)}; lower it")
        # nested: the first ones of one order
        order = np.random.default_rng(seed if made.anew else 0)
        chosen = sorted(order.permutation(len(pairs))[: made.take])
        pairs = [pairs[i] for i in chosen]
    return FileSource(pairs, source.name, source.root)


def _check(made: Entry, held: Mapping[str, int], on_count: OnCount) -> None:
    wrong = []
    for kind, count in held.items():
        expected = getattr(made, kind)
        bounds = expected if isinstance(expected, list) else [expected]
        # what `only` leaves out does not matter
        if expected is None or made.only not in (None, kind) or bounds[0] <= count <= bounds[-1]:
            continue
        wrong.append(f"{kind} pictures: {count} instead of {' to '.join(map(str, bounds))}")
    if not wrong:
        return
    line = f"{made.source}: {', '.join(wrong)}: not the data of the protocol"
    if on_count == "error":
        raise InputError(f"{line}; complete it, or give --data.counts=warn to go on with what is there")
    logger.warning(line)


def below(spec: SourceSpec, root: str | None) -> SourceSpec:
    """A source with its relative path taken below `root`; made-up pictures and sources of one's own stay."""
    if root is None or not isinstance(spec, str):
        return spec
    kind, colon, path = spec.partition(":")
    if not colon or kind not in ("synthetic", "benco", *BENCHMARKS):
        return str(Path(root) / spec)
    if kind == "synthetic" and path.isdecimal():
        return spec
    return f"{kind}:{Path(root) / path}"
