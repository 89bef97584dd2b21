"""Which pictures `predict` takes, and what its files are called."""

import os
from pathlib import Path

import pytest

from ncl_lightning.errors import InputError
from ncl_lightning.layouts import FOLDERS
from ncl_lightning.predict_inputs import named_paths, named_pictures, output_stems


@pytest.mark.parametrize("names", FOLDERS)
def test_of_a_data_set_s_folder_no_mask_is_predicted(names: tuple[str, str, str], small_set: Path) -> None:
    """Gt/ beside Tp/ holds masks; a folder that is merely called Gt holds pictures."""
    for before, name in zip(("Tp", "Gt", "Au"), names, strict=True):
        (small_set / before).rename(small_set / name)
    tampered, _, authentic = names
    files = named_pictures(str(small_set))
    assert {file.parent.name for file in files} == {tampered, authentic}
    assert len(files) == 6
    (small_set / tampered).rename(small_set / "others")
    assert len(named_pictures(str(small_set))) == 10


def test_a_pattern_and_a_list_name_several(small_set: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(small_set)
    # two of four, and one of them by its name, too
    given = ["Tp/tp[01].png", "Tp/tp1.png", str(Path("Au"))]
    files = named_pictures(given)
    assert [file.relative_to(small_set).as_posix() for file in files[:2]] == ["Tp/tp0.png", "Tp/tp1.png"]
    assert {file.parent.name for file in files[2:]} == {"Au"}
    assert len(files) == 4
    # one may be absolute
    mixed = named_pictures([str(small_set / "Tp" / "tp0.png"), "**/tp1.png"])
    assert all(file.is_absolute() for file in mixed)
    assert [file.relative_to(small_set).as_posix() for file in mixed] == ["Tp/tp0.png", "Gt/tp1.png", "Tp/tp1.png"]
    # what begins with .. has a place below the folder that holds all
    monkeypatch.chdir(small_set / "Au")
    folders = [path.parent for path in named_paths(["../Tp/tp0.png", "*.png"])]
    assert os.path.commonpath(folders) == str(small_set)
    monkeypatch.chdir(small_set)
    # folders and other files are no pictures, whatever a pattern says
    (small_set / "Tp" / "notes.txt").write_text("")
    assert len(named_pictures("Tp/*")) == 4
    with pytest.raises(InputError, match="no picture matches"):
        named_pictures("*")
    # a name is a name before it is a pattern
    (small_set / "Tp" / "tp0.png").rename(small_set / "Tp" / "[a].png")
    assert len(named_pictures("Tp/[a].png")) == 1
    for nothing in ("Tp/none*.png", "Tp/none.png"):
        with pytest.raises(InputError, match="none"):
            named_pictures(nothing)


def test_every_picture_has_files_of_its_own() -> None:
    names = ("x.jpg", "x.png", "x.jpg.png", "y.png", "sub/x.png", "z.jpg", "Z.png", "z.jpg.jpg")
    stems = output_stems([Path("in", name) for name in names], Path("in"))
    assert len({str(stem).casefold() for stem in stems.values()}) == len(names)
    assert stems["in/y.png"] == Path("y")
    assert stems["in/sub/x.png"] == Path("sub/x")
    # room for `_overlay.png` in 255 bytes, of letters of two bytes each as well
    long = [Path("in", f"{'ü' * 120}{end}.png") for end in ("a", "b")]
    short = output_stems(long, Path("in")).values()
    assert len(set(short)) == 2
    assert all(len(stem.name.encode()) <= 200 for stem in short)
