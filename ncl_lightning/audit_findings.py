"""What the audit has to say of a data set: faults of files, copies, shortcuts and odd shares, by severity."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ncl_lightning.audit_picture import Record
from ncl_lightning.errors import InputError
from ncl_lightning.faults import Fault
from ncl_lightning.fingerprints import Match, matches, stack
from ncl_lightning.images import read_image

# of what lies in one split; copies across splits are errors, backgrounds across splits warnings
SEVERITIES = {
    "layout": "error",
    "bad-list": "error",
    "missing-file": "error",
    "missing-mask": "error",
    "missing-picture": "error",
    "ambiguous-names": "error",
    "listed-twice": "error",
    "unreadable": "error",
    "size-mismatch": "error",
    "empty-mask": "error",
    "non-binary-mask": "error",
    "contradiction": "error",
    "full-mask": "warning",
    "inverted-mask": "warning",
    "turned-picture": "warning",
    "blank-picture": "warning",
    "exact-duplicate": "warning",
    "near-duplicate": "warning",
    "shortcut": "warning",
    "odd-shares": "warning",
    "misnamed": "note",
    "no-pictures": "note",
    "shared-content": "note",
    "no-authentic": "note",
}
ORDER = ("error", "warning", "note")
CHECKS = {
    "files unmatched, missing, listed twice or unreadable": (
        "layout", "bad-list", "missing-file", "missing-mask", "missing-picture", "ambiguous-names", "listed-twice",
        "unreadable",
    ),
    "masks of another size, empty, full, inverted or not binary": (
        "size-mismatch", "empty-mask", "full-mask", "inverted-mask", "non-binary-mask",
    ),
    "masks of pictures that EXIF turns": ("turned-picture",),
    "pictures of one colour": ("blank-picture",),
    "files of another format than their names say, or that are no pictures": ("misnamed", "no-pictures"),
    "copies and common backgrounds, within and across splits": (
        "exact-duplicate", "near-duplicate", "shared-content", "contradiction",
    ),
    "odd shares of patches": ("odd-shares",),
    "splits without authentic pictures": ("no-authentic",),
    "formats, sizes and JPEG tables that give the class away": ("shortcut",),
}  # fmt: skip
"""What is looked for, in words, and the kinds of findings that it may give."""
_ACROSS = {"exact-duplicate": "error", "near-duplicate": "error", "shared-content": "warning", "contradiction": "error"}
_COPIES = {
    "exact-duplicate": "the same file {count} times",
    "near-duplicate": "{count} copies of one picture: recompressed, resized, cropped or flipped",
    "shared-content": "{count} pictures with a background in common",
    "contradiction": "one picture, both tampered and authentic",
}
_RARE = 1e-4  # chance that a trait keeps to one class by accident
_FEW = 10  # pictures of a class below which nothing is said of shortcuts


@dataclass(frozen=True)
class Finding:
    """A finding about one or several files of some splits."""

    kind: str
    severity: str
    files: tuple[str, ...]
    message: str
    splits: tuple[str, ...]


def checked(records: Sequence[Record]) -> str:
    """How many pictures were looked at, and for what, in words."""
    splits: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for record in records:
        splits[record.split][record.mask is None] += 1
    counts = ", ".join(f"{name} {sum(of_class)}" for name, of_class in splits.items())
    enough = any(min(of_class) >= _FEW for of_class in splits.values())
    looked_for = [words for words, kinds in CHECKS.items() if enough or "shortcut" not in kinds]
    left = "" if enough else f" Not for shortcuts, which takes {_FEW} pictures of each class in a split."
    return f"{len(records)} pictures ({counts}) checked for {'; '.join(looked_for)}.{left}"


def of_faults(split: str, faults: Iterable[Fault]) -> list[Finding]:
    """Faults of files, as findings."""
    return [Finding(f.kind, SEVERITIES[f.kind], f.files, f.message, (split,)) for f in faults]


def duplicates(records: Sequence[Record]) -> list[Finding]:
    """Exact and near-duplicates, shared backgrounds and contradictions, within and across splits; one a group."""
    readable = [record for record in records if record.digest]
    links: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    for match in matches(stack([(record.thumb, record.digest) for record in readable])):
        one, two = readable[match.first], readable[match.second]
        kind = _kind(match, one, two)
        severity = SEVERITIES[kind] if one.split == two.split else _ACROSS[kind]
        links[kind, severity].append((match.first, match.second))
    found = []
    for (kind, severity), pairs in links.items():
        for group in _groups(pairs):
            members = [readable[index] for index in group]
            splits = tuple(dict.fromkeys(record.split for record in members))
            where = f", across {', '.join(splits)}" if len(splits) > 1 else ""
            files = tuple(str(record.image) for record in members)
            found.append(Finding(kind, severity, files, _COPIES[kind].format(count=len(files)) + where, splits))
    return found


def _kind(match: Match, one: Record, two: Record) -> str:
    if (one.mask is None) != (two.mask is None):
        if match.exact or (match.copy and _untouched(*((one, two) if one.mask else (two, one)))):
            return "contradiction"
        return "near-duplicate" if match.copy and one.split != two.split else "shared-content"
    if match.exact:
        return "exact-duplicate"
    same = one.mask is None or one.split != two.split or _same_region(one.region, two.region)
    return "near-duplicate" if match.copy and same else "shared-content"


def _untouched(tampered: Record, authentic: Record) -> bool:
    """The tampered picture is the authentic one within its mask too, but for compression."""
    try:
        image, mask = tampered.pair.read()
        other = read_image(authentic.image)
    except InputError:
        return False
    if other.shape != image.shape:
        other = cv2.resize(other, (image.shape[1], image.shape[0]), interpolation=cv2.INTER_AREA).astype(np.uint8)
    gap = cv2.absdiff(image, other).mean(2)
    return bool(mask.mean() > 0.01 and not mask.all() and gap[mask].mean() < gap[~mask].mean() + 3)


def _same_region(one: np.ndarray, two: np.ndarray) -> bool:
    """Masks (32, 32) overlap by half at least, in one of the flips."""
    a = one.astype(float)
    for rows in (1, -1):
        for columns in (1, -1):
            b = two[::rows, ::columns].astype(float)
            if np.minimum(a, b).sum() >= 0.5 * np.maximum(a, b).sum():
                return True
    return False


def _groups(pairs: list[tuple[int, int]]) -> list[list[int]]:
    """Connected groups of indices, each sorted."""
    parent: dict[int, int] = {}

    def root(index: int) -> int:
        while parent.setdefault(index, index) != index:
            index = parent[index]
        return index

    for one, two in pairs:
        parent[root(one)] = root(two)
    groups: dict[int, list[int]] = defaultdict(list)
    for index in sorted(parent):
        groups[root(index)].append(index)
    return list(groups.values())


def shortcuts(split: str, records: Sequence[Record]) -> list[Finding]:
    """Traits that only one class has, and too many of it for an accident."""
    found = []
    traits = dict.fromkeys(trait for record in records for trait in record.traits)
    for trait in traits:
        having = [record for record in records if trait in record.traits]
        totals = [sum((r.mask is not None) == tampered for r in having) for tampered in (True, False)]
        if min(totals) < _FEW:
            continue
        values: dict[str, list[Record]] = defaultdict(list)
        for record in having:
            values[record.traits[trait]].append(record)
        given_away = False
        for value, members in sorted(values.items(), key=lambda item: item[1][0].mask is None):
            tampered = members[0].mask is not None
            # that the other class has the other value says nothing new
            if given_away and not tampered:
                break
            others = totals[1] if tampered else totals[0]
            if any((r.mask is not None) != tampered for r in members):
                continue
            if (1 - len(members) / len(having)) ** others < _RARE:
                given_away = True
                who, whom = ("tampered", "authentic") if tampered else ("authentic", "tampered")
                message = (
                    f"{trait} {value}: {len(members)} of {totals[not tampered]} {who} pictures have it, "
                    f"and none of {others} {whom}: it gives the class away"
                )
                found.append(Finding("shortcut", "warning", tuple(str(r.image) for r in members), message, (split,)))
    return found


def shares(split: str, records: Sequence[Record]) -> list[Finding]:
    """Odd shares of patch categories, and a split without authentic pictures."""
    tampered = [record for record in records if record.mask and record.digest]
    found = []
    if tampered and not any(record.mask is None for record in records):
        message = "no authentic picture: false alarms on authentic ones can't be measured"
        found.append(Finding("no-authentic", "note", (), message, (split,)))
    counts = patch_shares(tampered)
    without = [r for r in tampered if sum(r.patches) and not r.patches[1]]
    if tampered and len(without) > len(tampered) / 2:
        message = f"{len(without)} of {len(tampered)} tampered pictures have no patch that is tampered all over"
        found.append(Finding("odd-shares", "warning", tuple(str(r.image) for r in without), message, (split,)))
    if tampered and counts[1] > 0.6:
        message = f"{counts[1]:.0%} of the tampered pictures' patches are tampered: are the masks inverted?"
        found.append(Finding("odd-shares", "warning", (), message, (split,)))
    return found


def patch_shares(records: Sequence[Record]) -> tuple[float, float, float]:
    """Shares of authentic, tampered and contour patches in the tampered pictures."""
    counts = np.array([record.patches for record in records if record.mask], float).reshape(-1, 3).sum(0)
    total = max(1.0, counts.sum())
    return float(counts[0] / total), float(counts[1] / total), float(counts[2] / total)
