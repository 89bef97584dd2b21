"""Pictures and masks of a data set brought together by name, never by order."""

import logging
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from ncl_lightning.faults import report
from ncl_lightning.images import Pair, find_images, image_size

logger = logging.getLogger(__name__)
Folders = tuple[Path, Path]
Files = tuple[list[Path], list[Path]]  # pictures, masks


def stem(path: Path) -> str:
    """A file's name without its suffix; é is one letter, whether a Mac wrote it or not."""
    return unicodedata.normalize("NFC", path.stem)


def match(folders: Folders, number: bool = False, lacking: Collection[str] = ()) -> list[Pair]:
    """Each picture below one folder with its mask below another, of the same stem, or the stem and `_gt` or `_mask`.

    Raises:
        InputError: As `pair_up`.
    """
    images, masks = (find_images(folder) for folder in folders)
    stems = {stem(image) for image in images}

    def key(mask: Path) -> str:
        # a picture may itself be called x_gt: the whole stem comes first
        return stem(mask) if stem(mask) in stems else re.sub("_(gt|mask)$", "", stem(mask))

    return pair_up(images, masks, stem, key, folders, number, lacking)


def pair_up(
    images: Iterable[Path],
    masks: Iterable[Path],
    image_key: Callable[[Path], str],
    mask_key: Callable[[Path], str],
    folders: Folders,
    number: bool = False,
    lacking: Collection[str] = (),
) -> list[Pair]:
    """Pictures and masks of equal keys, sorted by picture; never matched by order.

    Where several have a key, picture and mask must lie in the same sub-folder of their `folders`.

    Args:
        images: Pictures.
        masks: Masks.
        image_key: What a picture is matched by.
        mask_key: The same of a mask.
        folders: The folders that pictures and masks lie below.
        number: Match what is left by the last number in its name, where that is unambiguous.
        lacking: Stems of pictures that are published without a mask: left out instead of refused.

    Raises:
        InputError: A picture without a mask, a mask without a picture, or more than one that fits.
    """
    groups: dict[str, Files] = defaultdict(lambda: ([], []))
    for side, (files, key) in enumerate(((images, image_key), (masks, mask_key))):
        for file in files:
            groups[key(file)][side].append(file)
    pairs, left = _joined(groups.values(), folders)
    if number:
        more, left = _joined(_by_number(left), folders)
        pairs += more
    known = [image for image in left[0] if stem(image) in lacking]
    _left_out(known, "published without a mask")
    _unmatched([image for image in left[0] if image not in known], "picture", "mask", folders[1])
    _unmatched(left[1], "mask", "picture", folders[0])
    return sorted(pairs, key=lambda pair: pair.image)


def _joined(groups: Iterable[Files], folders: Folders) -> tuple[list[Pair], Files]:
    """Pairs of groups of equal keys, and the pictures and masks that are left over."""
    pairs: list[Pair] = []
    left: Files = ([], [])
    for group in groups:
        if len(group[0]) == len(group[1]) == 1:
            pairs.append(Pair(group[0][0], group[1][0]))
            continue
        places: dict[Path, Files] = defaultdict(lambda: ([], []))
        for side in (0, 1):
            for path in group[side]:
                places[path.relative_to(folders[side]).parent][side].append(path)
        for here in places.values():
            for files in here:
                if len(files) > 1:
                    names = ", ".join(sorted(path.name for path in files))
                    report(
                        "ambiguous-names", files, f"{files[0].parent}: {names} fit the same name; rename or remove one"
                    )
            if max(map(len, here)) > 1:
                continue
            if here[0] and here[1]:
                pairs.append(Pair(here[0][0], here[1][0]))
            else:
                left[0].extend(here[0])
                left[1].extend(here[1])
    return pairs, left


def _by_number(left: Files) -> list[Files]:
    """Files grouped by the last number in their names; those that share it on one side stay by themselves."""
    groups: dict[str, Files] = defaultdict(lambda: ([], []))
    for side in (0, 1):
        for file in left[side]:
            numbers = re.findall(r"\d+", stem(file))
            groups[numbers[-1] if numbers else stem(file)][side].append(file)
    clear = [group for group in groups.values() if len(group[0]) == len(group[1]) == 1]
    paired = {file for group in clear for side in group for file in side}
    alone: list[Files] = [([image], []) for image in left[0] if image not in paired]
    return [*clear, *alone, *(([], [mask]) for mask in left[1] if mask not in paired)]


def _some(files: Iterable[Path]) -> str:
    names = sorted(path.name for path in files)
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")


def _unmatched(files: list[Path], what: str, other: str, folder: Path) -> None:
    if files:
        count = f"{len(files)} {what}{'s' * (len(files) > 1)}"
        report(
            f"missing-{other}",
            sorted(files),
            f"{min(files).parent}: {count} without a {other} of that name ({_some(files)}); "
            f"add the {other} below {folder}, or remove the {what}",
        )


def _left_out(files: list[Path], why: str) -> None:
    """Say which files are left out, and why."""
    if files:
        logger.warning("%s: %d left out (%s): %s", files[0].parent, len(files), why, _some(files))


def without_misfits(pairs: list[Pair], suspects: Collection[str]) -> list[Pair]:
    """Pairs without those of `suspects` (stems of pictures) whose mask has another size indeed."""
    misfits = [
        pair
        for pair in pairs
        if pair.mask and stem(pair.image) in suspects and image_size(pair.image) != image_size(pair.mask)
    ]
    _left_out([pair.image for pair in misfits], "published with a mask of another size")
    return [pair for pair in pairs if pair not in misfits]
