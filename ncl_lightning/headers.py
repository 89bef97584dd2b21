"""Data looked at before a run begins that would meet what is wrong with it on its way: headers of files, masks."""

from collections.abc import Iterable
from pathlib import Path

from ncl_lightning.errors import InputError
from ncl_lightning.images import Pair, file_readers, image_size
from ncl_lightning.leakage import source_files
from ncl_lightning.sources import Source


def check_headers(sources: Iterable[Source]) -> None:
    """Look at the headers of all files that some sources read.

    What is damaged further below is found when it is read, and by `audit`.

    Raises:
        InputError: A file is missing, empty, too large or no image, or a mask has another size than its picture.
    """
    items = [item for source in sources for item in getattr(source, "pairs", None) or source_files(source) or ()]
    with file_readers() as pool:
        faults = [line for line in pool.map(_fault, items) if line]
    if faults:
        more = f" (the first of {len(faults)} such files; `audit` names all)" if len(faults) > 1 else ""
        raise InputError(f"{faults[0]}{more}")


def check_masks(name: str, sources: Iterable[Source]) -> None:
    """Look at masks until one has a tampered pixel: none may be learned from, or selected on, where none has.

    Args:
        name: What the sources are called.
        sources: Where one is not made of files, nothing is looked at.

    Raises:
        InputError: There are masks, and all are empty.
    """
    pairs = [getattr(source, "pairs", None) for source in sources]
    masked = [pair for part in pairs for pair in part or () if pair.mask]
    if None in pairs or not masked:
        return
    for pair in masked:
        try:
            if pair.read()[1].any():
                return
        except InputError:
            # damaged further below: who trains on it will say so
            return
    raise InputError(
        f"{name}: none of its {len(masked)} masks has a tampered pixel, that is one brighter than 127 "
        f"(for example {masked[0].mask}); `audit` says what values they have"
    )


def _fault(item: Pair | Path | str) -> str | None:
    try:
        item.check() if isinstance(item, Pair) else image_size(item)
    except InputError as error:
        return str(error)
    return None
