"""All files of the data looked at by their headers, before a run begins that would meet a bad one on its way."""

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


def _fault(item: Pair | Path | str) -> str | None:
    try:
        item.check() if isinstance(item, Pair) else image_size(item)
    except InputError as error:
        return str(error)
    return None
