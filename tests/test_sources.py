"""Data sources: what each string opens, and the one line that a faulty one gets."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import make_set
from PIL import Image

from ncl_lightning.errors import InputError
from ncl_lightning.images import Pair
from ncl_lightning.sources import BalancedSource, FileSource, Picture, open_source


def touch(root: Path, *names: str) -> Path:
    """Empty files: opening a source looks at names only."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


def draw(root: Path, *names: str, level: int = 0) -> Path:
    """Tiny pictures of one level."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (6, 4), level).save(root / name)
    return root


def opened(spec: Any, **options: Any) -> FileSource:
    source = open_source(spec if isinstance(spec, dict) else str(spec), **options)
    assert isinstance(source, FileSource)
    return source


def names(source: FileSource) -> list[tuple[str, str | None]]:
    return [(pair.image.name, pair.mask.name if pair.mask else None) for pair in source.pairs]


# ---- folders ---------------------------------------------------------------------------------------------------


def test_folder(small_set: Path) -> None:
    source = opened(small_set)
    assert len(source) == 6
    for index in range(6):
        picture = source.read(index, epoch=index)
        assert picture.image.shape == (72, 80, 3)
        assert picture.mask.shape == (72, 80)
        assert picture.authentic == (index >= 4) == (not picture.mask.any())
        if not picture.authentic:
            # the pasted square is what make_set greyed
            assert (picture.image[picture.mask] == 128).all()
    assert source.read(0).name == "Tp/tp0.png"
    assert source.read(5).name == "Au/au5.png"


@pytest.mark.parametrize(
    ("files", "pairs"),
    [
        (["Tp/a.jpg", "Gt/a.png"], [("a.jpg", "a.png")]),
        (["Tp/a.jpg", "Gt/a_gt.png"], [("a.jpg", "a_gt.png")]),
        (["images/a.jpg", "masks/a_mask.png"], [("a.jpg", "a_mask.png")]),
        (["Tp/a.JPG", "Gt/a.TIF"], [("a.JPG", "a.TIF")]),
        (["Tp/x/a.jpg", "Gt/a.png"], [("a.jpg", "a.png")]),
        (["Tp/a.jpg", "Gt/x/y/a_gt.png"], [("a.jpg", "a_gt.png")]),
        # the order of names is the reverse of the order of masks
        (
            ["Tp/a.jpg", "Tp/a_1.jpg", "Gt/a_1_gt.png", "Gt/a_gt.png"],
            [("a.jpg", "a_gt.png"), ("a_1.jpg", "a_1_gt.png")],
        ),
        # a picture called like a mask
        (["Tp/a_gt.jpg", "Gt/a_gt.png"], [("a_gt.jpg", "a_gt.png")]),
        (["Tp/a_gt.jpg", "Gt/a_gt_gt.png"], [("a_gt.jpg", "a_gt_gt.png")]),
        (["Tp/été à 1.jpg", "Gt/été à 1.png"], [("été à 1.jpg", "été à 1.png")]),
        # as a Mac writes it
        (["Tp/caf\u00e9.jpg", "Gt/cafe\u0301.png"], [("caf\u00e9.jpg", "cafe\u0301.png")]),
        (["Tp/a.jpg", "Gt/a.png", "Tp/.b.jpg", "Gt/Thumbs.db", "Tp/readme.txt"], [("a.jpg", "a.png")]),
        (["Au/b.jpg", "Au/x/a.jpg"], [("b.jpg", None), ("a.jpg", None)]),
    ],
)
def test_pairs_are_matched_by_stem(files: list[str], pairs: list[tuple[str, str | None]], tmp_path: Path) -> None:
    assert sorted(names(opened(touch(tmp_path, *files))), key=str) == sorted(pairs, key=str)


def test_equal_stems_are_matched_within_sub_folders(tmp_path: Path) -> None:
    source = opened(touch(tmp_path, "Tp/x/a.jpg", "Tp/y/a.jpg", "Gt/y/a.png", "Gt/x/a_gt.png"))
    found = [(pair.image.parent.name, pair.mask.parent.name) for pair in source.pairs if pair.mask]
    assert found == [("x", "x"), ("y", "y")]


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (["Tp/a.jpg", "Tp/b.jpg", "Gt/a.png"], r"Tp: 1 picture without a mask .*\(b\.jpg\)"),
        (["Tp/a.jpg", "Gt/a.png", "Gt/c.png", "Gt/d.png"], r"Gt: 2 masks without a picture .*\(c\.png, d\.png\)"),
        (
            [f"Tp/{n}.jpg" for n in range(9)] + ["Gt/x.png"],
            r"9 pictures without a mask .*\(0\.jpg, 1\.jpg, 2\.jpg, …\)",
        ),
        (["Tp/a.jpg", "Tp/a.png", "Gt/a.png"], r"a\.jpg, a\.png fit the same name"),
        (["Tp/a.jpg", "Gt/a.png", "Gt/a_gt.png"], r"a\.png, a_gt\.png fit the same name"),
        (["Tp/x/a.jpg", "Tp/y/a.jpg", "Gt/a.png"], r"2 pictures without a mask"),
        (["Tp/a.jpg"], r"no Gt/ beside Tp/"),
        (["Tp/a.jpg", "CASIA 2 Groundtruth/a_gt.png"], r"no Gt/ beside Tp/; for CASIA .* give casia2:"),
        (["Gt/a.png", "Au/b.jpg"], r"no Tp/ beside Gt/"),
        (["images/a.jpg", "authentic/b.jpg"], r"no masks/ beside images/"),
        (["a.jpg", "b.jpg"], r"expected Tp/ and Gt/.* holds a\.jpg, b\.jpg.* \.csv"),
        (["pictures/a.jpg", "truth/a.png"], r"holds pictures/, truth/"),
        (["readme.txt"], r"holds readme\.txt$"),
        ([f"{n}.txt" for n in range(9)], r"and 3 more"),
        ([], r"holds nothing"),
        (["Tp/.keep", "Gt/.keep"], r"no picture in Tp/, Gt/"),
    ],
)
def test_faulty_folders(files: list[str], says: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=says) as error:
        open_source(str(touch(tmp_path, *files)))
    assert "\n" not in str(error.value)
    assert str(tmp_path) in str(error.value)


def test_faults_of_contents_show_when_read(tmp_path: Path) -> None:
    source = opened(touch(draw(tmp_path, "Tp/a.png"), "Gt/a.png"))
    with pytest.raises(InputError, match=r"a\.png: the file is empty"):
        source.read(0)


def test_mask_of_another_size(tmp_path: Path) -> None:
    draw(tmp_path, "Tp/a.png")
    (tmp_path / "Gt").mkdir()
    Image.new("L", (5, 4)).save(tmp_path / "Gt" / "a.png")
    with pytest.raises(InputError, match=r"5×4.*6×4"):
        opened(tmp_path).read(0)


def test_symlink_loop(tmp_path: Path) -> None:
    draw(tmp_path, "Tp/a.png", "Gt/a.png")
    (tmp_path / "Tp" / "loop").symlink_to(tmp_path)
    (tmp_path / "Gt" / "back").symlink_to(tmp_path / "Gt")
    source = opened(tmp_path / "Tp" / "loop")
    assert names(source) == [("a.png", "a.png")]


# ---- lists -----------------------------------------------------------------------------------------------------


def test_json(tmp_path: Path) -> None:
    draw(tmp_path, "data/a.png", "data/b c.png", "é.png")
    draw(tmp_path, "data/m.png", level=255)
    entries = [["data/a.png", "data/m.png"], ["data/b c.png", "Negative"], [str(tmp_path / "é.png"), "Negative"]]
    (tmp_path / "list.json").write_text(json.dumps(entries))
    source = opened(tmp_path / "list.json")
    assert [source.read(i).authentic for i in range(3)] == [False, True, True]
    assert [source.read(i).name for i in range(3)] == ["data/a.png", "data/b c.png", "é.png"]
    assert source.read(0).mask.all()


CSV = {
    "plain": "image,mask\na.png,m.png\nb c.png,\né.png,\n",
    "windows": "image,mask\r\na.png,m.png\r\nb c.png,\r\né.png,\r\n",
    "mark": "\ufeffimage,mask\na.png,m.png\nb c.png,\né.png,\n",
    "columns in another order, and more": "split,mask,image\ntrain,m.png,a.png\nval,,b c.png\nval,,é.png\n",
    "spaces around": "image , mask\na.png, m.png\n b c.png , \né.png,\n",
    "quotes": 'image,mask\n"a.png","m.png"\n"b c.png",""\n"é.png",""\n',
    "short lines": "image,mask\na.png,m.png\nb c.png\né.png\n",
    "blank lines": "image,mask\n\na.png,m.png\nb c.png,\n\né.png,\n\n",
    "up and down": "image,mask\n../data/a.png,../data/./m.png\nb c.png,\né.png,\n",
    "windows separators": "image,mask\n..\\data\\a.png,m.png\nb c.png,\né.png,\n",
    "no last line end": "image,mask\na.png,m.png\nb c.png,\né.png,",
}


@pytest.mark.parametrize("kind", CSV)
def test_csv(kind: str, tmp_path: Path) -> None:
    draw(tmp_path / "data", "a.png", "b c.png", "é.png")
    draw(tmp_path / "data", "m.png", level=255)
    (tmp_path / "data" / "list.CSV").write_bytes(CSV[kind].encode())
    source = opened(tmp_path / "data" / "list.CSV")
    assert names(source) == [("a.png", "m.png"), ("b c.png", None), ("é.png", None)]
    assert source.read(0).mask.all()
    assert source.read(1).authentic


def test_csv_with_absolute_paths(tmp_path: Path) -> None:
    draw(tmp_path / "elsewhere", "a.png", "m.png")
    (tmp_path / "list.csv").write_text(f"image,mask\n{tmp_path / 'elsewhere/a.png'},{tmp_path / 'elsewhere/m.png'}\n")
    assert not opened(tmp_path / "list.csv").read(0).authentic


LISTS: dict[str, tuple[str, bytes, str]] = {
    "no such column": (
        "list.csv",
        b"img,msk\na.png,m.png\n",
        r"line 1 names the columns img, msk, but not image and mask",
    ),
    "one column missing": ("list.csv", b"image;mask\na.png;m.png\n", r"line 1 .* image;mask, but not image and mask"),
    "no mask column": ("list.csv", b"image\na.png\n", r"but not mask"),
    "twice, otherwise written": (
        "list.csv",
        b"image,mask\na.png,m.png\n./a.png,\n",
        r"line 3 lists \./a\.png again, after line 2",
    ),
    "missing image": ("list.csv", b"image,mask\na.png,m.png\nz.png,\n", r"line 3: z\.png: no such file"),
    "missing mask": ("list.csv", b"image,mask\r\na.png,z.png\r\n", r"line 2: z\.png: no such file"),
    "missing absolute": ("list.csv", b"image,mask\n/nowhere/a.png,\n", r"line 2: /nowhere/a\.png: no such file"),
    "a folder": ("list.csv", b"image,mask\n.,\n", r"line 2: \.: no such file"),
    "no image": ("list.csv", b"image,mask\n,m.png\n", r"line 2 names no image"),
    "twice": ("list.csv", b"image,mask\na.png,m.png\nb.png,\na.png,\n", r"line 4 lists a\.png again, after line 2"),
    "header only": ("list.csv", b"image,mask\n", r"lists no picture"),
    "empty csv": ("list.csv", b"", r"\(none\)"),
    "not utf-8": ("list.csv", b"image,mask\n\xff\xfe\x00.png,\n", r"not a CSV file in UTF-8"),
    "binary": ("list.csv", b"\x89PNG\r\n\x1a\n\x00\x00", r"not a CSV file|names the columns"),
    "not json": ("list.json", b"{", r"not a JSON file"),
    "empty json": ("list.json", b"", r"not a JSON file"),
    "empty list": ("list.json", b"[]", r"that is not empty"),
    "mapping": ("list.json", b'{"a.png": "m.png"}', r"expected a JSON list"),
    "triple": ("list.json", b'[["a.png", "m.png"], ["a.png", "m.png", 1]]', r"entry 2 is .*Negative"),
    "null mask": ("list.json", b'[["a.png", null]]', r"entry 1 is .*Negative"),
    "empty mask": ("list.json", b'[["a.png", ""]]', r"entry 1 is .*Negative"),
    "json, missing": ("list.json", b'[["a.png", "m.png"], ["b.png", "negative"]]', r"entry 2: negative: no such file"),
    "other file": ("list.txt", b"a.png m.png\n", r"neither \.json nor \.csv"),
    "picture": ("a.png", b"", r"neither \.json nor \.csv"),
}


@pytest.mark.parametrize("kind", LISTS)
def test_faulty_lists(kind: str, tmp_path: Path) -> None:
    name, data, says = LISTS[kind]
    touch(tmp_path, "a.png", "b.png", "m.png")
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=says) as error:
        open_source(str(tmp_path / name))
    assert error.value.line.startswith(str(tmp_path / name))


# ---- IMDL-BenCo's balanced list --------------------------------------------------------------------------------


@pytest.fixture
def balanced(tmp_path: Path) -> Path:
    """A folder of 3 tampered (and 2 authentic) pictures, and a list of 5."""
    make_set(tmp_path / "set", 3, 2)
    draw(tmp_path, *(f"{n}.png" for n in range(5)))
    (tmp_path / "list.json").write_text(json.dumps([[f"{n}.png", "Negative"] for n in range(5)]))
    path = tmp_path / "balanced.json"
    path.write_text(json.dumps([["ManiDataset", "set"], ["JsonDataset", str(tmp_path / "list.json")]]))
    return path


def test_balanced(balanced: Path) -> None:
    """Equally many of each set; its Au/ takes no part, as in BenCo."""
    source = open_source(str(balanced), seed=3)
    assert isinstance(source, BalancedSource)
    assert len(source) == 2 * 1840
    assert len(source.pairs) == 3 + 5
    assert not source.read(0).authentic
    assert not source.read(1839).authentic
    assert source.read(1840).authentic


def test_balanced_draws(balanced: Path) -> None:
    """Every picture of a set as often as any other, give or take one; others in another epoch."""
    made = open_source(str(balanced))
    assert isinstance(made, BalancedSource)

    def draws(epoch: int, seed: int = 0) -> list[str]:
        source = BalancedSource(made.sources, each=7, seed=seed)
        return [source.read(index, epoch).name for index in range(len(source))]

    first = draws(0)
    counts = np.unique(first[7:], return_counts=True)[1]
    assert len(counts) == 5
    assert set(counts) == {1, 2}
    assert draws(0) == first
    assert draws(1) != first
    assert draws(0, seed=1) != first
    # as the loader asks: epochs change under one source, in any order
    source = BalancedSource(made.sources, each=7)
    assert [source.read(3, epoch).name for epoch in (1, 0)] == [draws(1)[3], first[3]]


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ([["ManiDataset", "gone"]], r"entry 1: gone: no such folder"),
        ([["ManiDataset", "set"], ["JsonDataset", "gone.json"]], r"entry 2: gone\.json: no such file"),
        (
            [["ManiDataset", "set"], ["OtherDataset", "set"]],
            r"entry 2 names 'OtherDataset'; .* ManiDataset, JsonDataset",
        ),
        ([["JsonDataset", "bad.json"]], r"entry 1: bad\.json is a balanced list itself"),
        ([["ManiDataset", "real"]], r"no tampered picture"),
    ],
)
def test_faulty_balanced(entries: list[list[str]], says: str, balanced: Path) -> None:
    touch(balanced.parent, "real/Au/a.png")
    path = balanced.with_name("bad.json")
    path.write_text(json.dumps(entries))
    with pytest.raises(InputError, match=says):
        open_source(str(path))


def test_benco_prefix(balanced: Path) -> None:
    assert len(open_source(f"benco:{balanced}")) == 2 * 1840
    assert len(open_source(f"benco:{balanced.parent / 'set'}")) == 5
    with pytest.raises(InputError, match="no such file or folder"):
        open_source("benco:gone")


# ---- made-up pictures, and one's own ---------------------------------------------------------------------------


def test_synthetic(tmp_path: Path) -> None:
    source = open_source("synthetic:3", size=64, seed=5)
    assert len(source) == 3
    assert source.read(1).image.shape == (64, 64, 3)
    assert (source.read(1).image == open_source("synthetic:3", size=64, seed=5).read(1).image).all()
    assert (source.read(1).image != open_source("synthetic:3", size=64, seed=6).read(1).image).any()


def test_synthetic_from_photographs(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("a.png", "sub/b.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (70, 80, 3), dtype=np.uint8)).save(tmp_path / name)
    assert len(open_source(f"synthetic:{tmp_path}")) == 2
    source = open_source(f"synthetic:{tmp_path}:9")
    assert len(source) == 9
    assert source.read(8).image.shape == (70, 80, 3)


def test_synthetic_folder_with_a_colon(tmp_path: Path) -> None:
    """The whole name is tried first."""
    draw(tmp_path / "photos:7", "a.png")
    assert len(open_source(f"synthetic:{tmp_path}/photos:7")) == 1


@pytest.mark.parametrize("rest", ["", "gone", "gone:5", "0", "-3", "1.5", "{empty}", "{empty}:4", ":5"])
def test_faulty_synthetic(rest: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="synthetic"):
        open_source("synthetic:" + rest.format(empty=tmp_path))


class Own:
    """A data set of one's own."""

    def __init__(self, count: int = 2, name: str = "own") -> None:
        if count < 0:
            raise InputError(f"{name}: {count} pictures; give a positive number")
        self.count, self.name = count, name

    def __len__(self) -> int:
        return self.count

    def read(self, index: int, epoch: int = 0) -> Picture:
        return Picture(np.zeros((2, 3, 3), np.uint8), np.zeros((2, 3), bool), True, f"{self.name} {index} {epoch}")


class Broken:
    """Its own fault, which no line of ours should hide."""

    def __init__(self) -> None:
        raise TypeError("a bug in the user's class")


OWN = f"{__name__}.Own"


def test_own_class() -> None:
    source = open_source({"class_path": OWN, "init_args": {"count": 3, "name": "x"}})
    assert len(source) == 3
    assert source.read(1, 2).name == "x 1 2"
    assert len(open_source({"class_path": OWN})) == 2


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"class_path": "no_such_module.X"}, "no_such_module"),
        ({"class_path": f"{__name__}.Missing"}, "Missing"),
        ({"class_path": "Own"}, r"module\.Class"),
        ({"class_path": OWN, "init_args": {"typo": 1}}, "typo"),
        ({"class_path": OWN, "init_args": [1]}, "init_args"),
        ({"class_path": OWN, "args": {}}, "class_path"),
        ({"init_args": {}}, "class_path"),
        ({"class_path": "fractions.Fraction"}, "read"),
        ({"class_path": OWN, "init_args": {"count": 0}}, "holds no picture"),
        ({"class_path": OWN, "init_args": {"count": -1}}, "give a positive number"),
    ],
)
def test_faulty_own_class(spec: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        open_source(spec)


def test_bugs_of_own_classes_are_not_hidden() -> None:
    with pytest.raises(TypeError, match="a bug in the user's class"):
        open_source({"class_path": f"{__name__}.Broken"})


@pytest.mark.parametrize("spec", ["gone", "gone.csv", "gone.json", "casia3:gone", "", "columbia:gone", "casia2:"])
def test_what_is_not_there(spec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError):
        open_source(spec)


@pytest.mark.parametrize("make", [lambda root: str(root), lambda root: "synthetic:2"])
def test_sources_travel_to_workers(make: Callable[[Path], str], small_set: Path) -> None:
    source = open_source(make(small_set), size=64)
    copy = pickle.loads(pickle.dumps(source))
    assert (copy.read(1).image == source.read(1).image).all()


def test_names_without_a_root(small_set: Path) -> None:
    pair = Pair(small_set / "Au" / "au4.png", None)
    assert FileSource([pair]).read(0).name == str(pair.image)
