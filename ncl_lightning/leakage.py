"""The leakage guard: what a checkpoint was trained and selected on, and the refusal to score on any of it."""

import logging
from collections.abc import Iterable, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ncl_lightning.errors import InputError
from ncl_lightning.fingerprints import Prints, file_print, matches, stack, thumbnail
from ncl_lightning.images import file_readers
from ncl_lightning.likeness import COPY
from ncl_lightning.sources import Source

logger = logging.getLogger(__name__)
OnLeakage = Literal["error", "warn", "ignore"]
_PARTS = ("train", "val")
_Print = tuple[str, tuple[NDArray[np.uint8], int]]


class LeakageGuard:
    """Remembers the pictures of training and validation, and compares others with them.

    Args:
        action: On a shared picture: `error` refuses, `warn` says so on the log and in `found`, `ignore` looks at none.
    """

    def __init__(self, action: OnLeakage = "error") -> None:
        self.action = action
        self.seen = {part: Prints() for part in _PARTS}
        self.found: dict[str, list[str]] = {}

    def remember(self, part: str, sources: Iterable[Source]) -> None:
        """Add the pictures of some sources to what was trained on (`train`) or selected on (`val`)."""
        # to ignore leakage is no reason to leave a checkpoint without a memory
        self.seen[part] = _joined(self.seen[part], source_prints(sources)[1])

    def check(self, name: str, sources: Iterable[Source], against: Iterable[str] = _PARTS) -> None:
        """Compare the pictures of a set with those remembered of the parts `against`.

        Raises:
            InputError: The action is `error`, and a picture is one of them, or a copy of one.
        """
        if self.action == "ignore" or not any(len(self.seen[part]) for part in against):
            return
        names, prints = source_prints(sources)
        leaks: dict[int, str] = {}
        for part in against:
            for match in matches(prints, self.seen[part], least=COPY):
                leaks.setdefault(match.first, part)
        if not leaks:
            return
        files = [names[index] for index in sorted(leaks)]
        verb = " and ".join(_VERBS[part] for part in against if part in leaks.values())
        shown = ", ".join(files[:12]) + (f" and {len(files) - 12} more" if len(files) > 12 else "")
        line = f"{name}: {len(files)} of {len(names)} pictures, or copies of them, were {verb}: {shown}"
        if self.action == "error":
            raise InputError(f"{line}; remove them, or give --data.leakage=warn to score on them all the same")
        logger.warning(line)
        self.found[name] = files

    def state_dict(self) -> dict[str, dict[str, Tensor]]:
        """Plain tensors: of `train` and `val` each `thumbs` (N, 32, 32) uint8 and `digests` (N,) int64."""
        return {
            part: {"thumbs": torch.from_numpy(prints.thumbs), "digests": torch.from_numpy(prints.digests)}
            for part, prints in self.seen.items()
        }

    def load_state_dict(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Add what a checkpoint remembers."""
        for part in _PARTS:
            if part in state:
                stored = Prints(state[part]["thumbs"].cpu().numpy(), state[part]["digests"].cpu().numpy())
                self.seen[part] = _joined(self.seen[part], stored)


_VERBS = {"train": "trained on", "val": "selected on"}


def source_prints(sources: Iterable[Source]) -> tuple[list[str], Prints]:
    """Names and fingerprints of the pictures of some sources; files that can't be read are left out.

    Of files they are the files', of `synthetic:FOLDER` its photographs'; a source of one's own is read once, as it
    is in epoch 0.
    """
    found: list[_Print | None] = []
    with file_readers() as pool:
        for source in sources:
            files = source_files(source)
            # a source of one's own may not bear several threads
            found += (
                map(partial(_print, source), range(len(source)))
                if files is None
                else pool.map(partial(_print, source), files)
            )
    known = [one for one in found if one is not None]
    return [name for name, _ in known], stack([made for _, made in known])


def _print(source: Source, item: int | Path) -> _Print | None:
    """A picture's name and fingerprint; None where it can't be read: whoever loads it says what is wrong with it."""
    try:
        if isinstance(item, Path):
            return str(item), _cached(item, item.stat().st_mtime_ns)
        picture = source.read(item, 0)
        return picture.name, (thumbnail(picture.image), 0)
    except (InputError, OSError):
        return None


def source_files(source: Source) -> list[Path] | None:
    """The files that a source's pictures come from; none where they are made up, None where it does not say."""
    if hasattr(source, "pairs"):
        return list(dict.fromkeys(pair.image for pair in source.pairs))
    if hasattr(source, "photos"):
        return list(dict.fromkeys(Path(photo) for photo in source.photos))
    return None


@lru_cache(maxsize=200_000)
def _cached(path: Path, changed: int) -> tuple[NDArray[np.uint8], int]:
    # sets are looked at in several stages of one run
    return file_print(path)


def _joined(first: Prints, second: Prints) -> Prints:
    """Both sets, each picture once."""
    thumbs = np.concatenate([first.thumbs, second.thumbs])
    digests = np.concatenate([first.digests, second.digests])
    places: dict[tuple[bytes, int], int] = {}
    for place, (thumb, number) in enumerate(zip(thumbs, digests.tolist(), strict=True)):
        places.setdefault((thumb.tobytes(), number), place)
    order = list(places.values())
    return Prints(thumbs[order], digests[order])


def leaks(datamodule: Any) -> dict[str, list[str]]:
    """What a data module's guard found and let pass, by the name of the set."""
    guard = getattr(datamodule, "guard", None)
    return dict(guard.found) if guard else {}
