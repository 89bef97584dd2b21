"""Copies are found however they were saved; other pictures are not."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from ncl_lightning.fingerprints import Prints, digest, file_print, matches, stack, thumbnail
from ncl_lightning.likeness import COPY, SHARED, agreement
from ncl_lightning.synthetic import SyntheticSource

Pixels = np.ndarray


def recompressed(image: Pixels, quality: int) -> Pixels:
    encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.imdecode(encoded, cv2.IMREAD_COLOR)


COPIES = {
    "recompressed": lambda image: recompressed(image, 30),
    "halved": lambda image: cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_LINEAR),
    "enlarged": lambda image: recompressed(cv2.resize(image, None, fx=1.7, fy=1.7), 70),
    "stretched": lambda image: cv2.resize(image, (180, 120), interpolation=cv2.INTER_AREA),
    "left-right": lambda image: recompressed(image[:, ::-1], 80),
    "upside down": lambda image: image[::-1],
    "turned": lambda image: image[::-1, ::-1],
    "cropped": lambda image: recompressed(image[8:-6, 5:-9], 80),
    "cropped on one side": lambda image: image[:, 9:],
    "cropped and flipped": lambda image: image[10:, :-10][:, ::-1],
    "brighter": lambda image: np.clip(image * 0.85 + 20, 0, 255).astype(np.uint8),
}


@pytest.fixture(scope="module")
def scenes() -> list[Pixels]:
    """Sixty made-up photographs (192, 192, 3)."""
    source = SyntheticSource(60, size=192, authentic_share=1.0)
    return [source.read(i).image for i in range(len(source))]


def prints(images: list[Pixels]) -> Prints:
    return stack([(thumbnail(np.ascontiguousarray(image)), 0) for image in images])


def test_other_pictures_do_not_match(scenes: list[Pixels]) -> None:
    assert matches(prints(scenes)) == []


@pytest.mark.parametrize("kind", COPIES)
def test_copies_match_their_original_only(scenes: list[Pixels], kind: str) -> None:
    copies = [COPIES[kind](image) for image in scenes]
    found = matches(prints(copies), prints(scenes), least=COPY)
    assert all(match.first == match.second and match.copy for match in found)
    # one in twenty may be missed, none be found wrongly
    assert len(found) >= len(scenes) - 3


def test_a_shared_background_is_no_copy(scenes: list[Pixels]) -> None:
    changed = [image.copy() for image in scenes]
    for image, other in zip(changed, scenes[1:] + scenes[:1], strict=True):
        image[60:150, 40:150] = other[60:150, 40:150]
    found = [match for match in matches(prints(scenes), prints(changed)) if match.first == match.second]
    assert len(found) > 40
    assert all(SHARED <= match.agreement < COPY for match in found)


def test_the_same_bytes_are_an_exact_match_whatever_is_in_them() -> None:
    flat = np.full((64, 64, 3), 90, np.uint8)
    same = stack([(thumbnail(flat), digest(b"a")), (thumbnail(flat), digest(b"b")), (thumbnail(flat), digest(b"a"))])
    # a flat picture has nothing to be told by but its bytes
    assert [(match.first, match.second, match.exact) for match in matches(same)] == [(0, 2, True)]


def test_within_a_set_each_pair_counts_once(scenes: list[Pixels]) -> None:
    both = prints(scenes[:9] + [recompressed(image, 50) for image in scenes[:9]])
    assert [match[:2] for match in matches(both)] == [(i, i + 9) for i in range(9)]


def test_blocks_do_not_change_what_is_found(scenes: list[Pixels], monkeypatch: pytest.MonkeyPatch) -> None:
    both = prints(scenes + [recompressed(image, 50) for image in scenes])
    whole = matches(both)
    monkeypatch.setattr("ncl_lightning.fingerprints._BLOCK", 7)
    assert matches(both) == whole


def test_nothing_matches_nothing(scenes: list[Pixels]) -> None:
    assert matches(Prints()) == []
    assert matches(prints(scenes[:1]), Prints()) == []
    assert agreement(prints(scenes[:2]).thumbs, prints(scenes[:2]).thumbs).tolist() == [1, 1]


def test_files_of_any_format_and_size(scenes: list[Pixels], tmp_path: Path) -> None:
    large = cv2.resize(scenes[0], (1400, 1100))
    for name in ("a.jpg", "b.png", "c.tif"):
        cv2.imwrite(str(tmp_path / name), large)
    three = stack([file_print(tmp_path / name) for name in ("a.jpg", "b.png", "c.tif")])
    assert [match[:2] for match in matches(three) if match.copy] == [(0, 1), (0, 2), (1, 2)]
    assert len(set(three.digests.tolist())) == 3
