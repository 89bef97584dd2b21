"""The audit finds what was planted, and nothing in clean data."""

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import command, make_set
from PIL import Image

from ncl_lightning.audit import audit, walked
from ncl_lightning.audit_findings import CHECKS, SEVERITIES
from ncl_lightning.errors import InputError
from ncl_lightning.sources import open_source
from ncl_lightning.synthetic import SyntheticSource

CLEAN = {"train": 200, "val": 50, "test": 50}


def write(path: Path, image: np.ndarray, quality: int = 92) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if path.suffix == ".jpg" else []
    cv2.imwrite(str(path), image, options)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 different pictures in three splits, the same kind of file throughout."""
    root = tmp_path_factory.mktemp("clean")
    rng = np.random.default_rng(0)
    scenes = SyntheticSource(sum(CLEAN.values()), size=96, authentic_share=1.0)
    number = 0
    for split, count in CLEAN.items():
        for index in range(count):
            image = scenes.read(number).image[..., ::-1].copy()
            if index % 3 == 0:
                write(root / split / "Au" / f"{split}{index}.jpg", image)
            else:
                mask = np.zeros(image.shape[:2], np.uint8)
                top, left = rng.integers(4, 44, 2)
                mask[top : top + 45, left : left + 40] = 255
                image[mask > 0] = 255 - image[mask > 0]
                write(root / split / "Tp" / f"{split}{index}.jpg", image)
                write(root / split / "Gt" / f"{split}{index}.png", mask)
            number += 1
    return root


def run(root: Path, out: Path, **options: Any) -> tuple[int, list[dict[str, Any]]]:
    splits = {split: [str(root / split)] for split in CLEAN if (root / split).exists()}
    code = audit(**splits, json=out / "audit.json", size=96, workers=0, **options)
    return code, json.loads((out / "audit.json").read_text())


def test_nothing_is_found_in_clean_data(clean: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(clean, tmp_path, html=tmp_path / "page.html") == (0, [])
    # what that means is said, here and on the page
    counts = "300 pictures (train 200, val 50, test 50) checked for"
    said = " ".join(capsys.readouterr().out.split())
    page = (tmp_path / "page.html").read_text()
    assert f"no faults: {counts}" in said
    assert "<h1>Audit: no faults</h1>" in page
    assert counts in page
    for words in CHECKS:
        assert words in said
        assert words in page
    # the splits are large enough for all checks
    assert "Not for" not in said


def test_every_kind_of_finding_is_among_the_checks() -> None:
    kinds = [kind for kinds in CHECKS.values() for kind in kinds]
    assert sorted(kinds) == sorted(SEVERITIES)


def test_everything_planted_is_found(clean: Path, tmp_path: Path) -> None:
    root = tmp_path / "set"
    shutil.copytree(clean, root)
    images = {split: sorted((root / split / "Tp").iterdir()) for split in CLEAN}
    real = {split: sorted((root / split / "Au").iterdir()) for split in CLEAN}
    masks = {split: [root / split / "Gt" / f"{image.stem}.png" for image in images[split]] for split in CLEAN}
    tp, gt, au = images["train"], masks["train"], real["train"]
    planted: list[tuple[str, str, tuple[Path, ...]]] = []

    def plant(kind: str, severity: str, *files: Path) -> None:
        planted.append((kind, severity, files))

    def mask_of(place: int, change: Any) -> None:
        cv2.imwrite(str(gt[place]), change(cv2.imread(str(gt[place]), 0)))

    for place in (0, 1):
        gt[place].unlink()
    plant("missing-mask", "error", tp[0], tp[1])
    tp[2].unlink()
    plant("missing-picture", "error", gt[2])
    shutil.copy(tp[3], tp[3].with_suffix(".jpeg"))
    plant("ambiguous-names", "error", tp[3])
    tp[4].write_bytes(tp[4].read_bytes()[:600])
    tp[5].write_bytes(b"")
    tp[6].write_text("not a picture")
    gt[7].write_bytes(gt[7].read_bytes()[:60])
    gt[22].write_text("")
    for file in (tp[4], tp[5], tp[6], gt[7], gt[22]):
        plant("unreadable", "error", file)
    for place in (8, 9):
        mask_of(place, lambda mask: cv2.resize(mask, (80, 60), interpolation=cv2.INTER_NEAREST))
        plant("size-mismatch", "error", tp[place])
    for place in (10, 11):
        mask_of(place, lambda mask: mask * 0)
        plant("empty-mask", "error", gt[place])
    mask_of(12, lambda mask: mask // 255 * 100)
    plant("empty-mask", "error", gt[12])
    for place in (13, 14):
        mask_of(place, lambda mask: mask * 0 + 255)
        plant("full-mask", "warning", gt[place])
    for place in (15, 16):
        mask_of(place, lambda mask: 255 - mask)
        plant("inverted-mask", "warning", gt[place])
    for place in (17, 18):
        mask_of(place, lambda mask: cv2.GaussianBlur(mask, (0, 0), 9))
        plant("non-binary-mask", "error", gt[place])
    # what is no picture by its name, and so is not read
    for name in ("raw.cr2", "raw2.CR2", "notes.txt", ".hidden.txt"):
        (root / "train" / "Tp" / name).write_text("")
    plant("no-pictures", "note", tp[0].with_name("notes.txt"), tp[0].with_name("raw.cr2"), tp[0].with_name("raw2.CR2"))
    # copies within and across splits
    shutil.copy(au[0], au[0].with_name("again.jpg"))
    plant("exact-duplicate", "warning", au[0], au[0].with_name("again.jpg"))
    shutil.copy(au[1], real["test"][0].with_name("taken.jpg"))
    plant("exact-duplicate", "error", au[1], real["test"][0].with_name("taken.jpg"))
    changes = {
        "recompressed": lambda image: image,
        "resized": lambda image: cv2.resize(image, (140, 120)),
        "cropped": lambda image: image[2:-2, 2:-3],
        "flipped": lambda image: image[:, ::-1],
    }
    for place, (name, change) in enumerate(changes.items(), 2):
        copy = real["val"][0].with_name(f"{name}.jpg")
        write(copy, change(cv2.imread(str(au[place]))), 70)
        plant("near-duplicate", "error", au[place], copy)
    again = tp[20].with_name("tampered_again.jpg")
    write(again, cv2.imread(str(tp[20])), 60)
    shutil.copy(gt[20], gt[20].with_name("tampered_again.png"))
    plant("near-duplicate", "warning", tp[20], again)
    shutil.copy(tp[21], au[0].with_name("both.jpg"))
    plant("contradiction", "error", tp[21], au[0].with_name("both.jpg"))
    write(au[6], np.full((96, 96, 3), 90, np.uint8))
    plant("blank-picture", "warning", au[6])
    au[7].write_bytes(cv2.imencode(".png", cv2.imread(str(au[7])))[1].tobytes())
    plant("misnamed", "note", au[7])
    # what only tampered pictures have: a JPEG table of their own
    for image in images["test"]:
        write(image, cv2.imread(str(image)), 55)
    plant("shortcut", "warning", *images["test"])
    code, found = run(root, tmp_path, html=tmp_path / "page.html")
    assert code == 1
    assert len(planted) >= 30
    assert len({kind for kind, _, _ in planted}) >= 12
    for kind, severity, files in planted:
        names = {str(file) for file in files}
        hits = [entry for entry in found if entry["kind"] == kind and names <= set(entry["files"])]
        assert hits, (kind, files)
        assert {entry["severity"] for entry in hits} == {severity}, (kind, files)
    # and next to nothing besides: each planted fault is one finding
    assert Counter(entry["kind"] for entry in found) == Counter(kind for kind, _, _ in planted)
    page = (tmp_path / "page.html").read_text()
    assert page.count("data:image/jpeg") > 40
    assert "http" not in page


def test_lists_are_walked_leniently(tmp_path: Path, small_set: Path) -> None:
    (small_set / "list.json").write_text(
        json.dumps([["Tp/tp0.png", "Gt/tp0.png"], ["Tp/tp0.png", "Negative"], ["gone.png", "Negative"], ["x"]])
    )
    pairs, faults = walked(str(small_set / "list.json"))
    assert len(pairs) == 1
    assert sorted(fault.kind for fault in faults) == ["bad-list", "listed-twice", "missing-file"]
    (small_set / "list.csv").write_bytes("\ufeffimage, mask\r\nTp\\tp1.png,Gt\\tp1.png\r\nAu/au4.png,\r\n".encode())
    pairs, faults = walked(str(small_set / "list.csv"))
    assert [(pair.image.name, pair.mask and pair.mask.name) for pair in pairs] == [
        ("tp1.png", "tp1.png"),
        ("au4.png", None),
    ]
    assert faults == []
    for text, name in (("{", "a.json"), ("[]", "b.json"), ("a,b\n", "c.csv")):
        (tmp_path / name).write_text(text)
        assert [fault.kind for fault in walked(str(tmp_path / name))[1]] == ["bad-list"]
    (small_set / "balanced.json").write_text(json.dumps([["ManiDataset", "."], ["JsonDataset", "nowhere.json"]]))
    pairs, faults = walked(str(small_set / "balanced.json"))
    # an Au/ takes no part in a balanced list
    assert (len(pairs), [fault.kind for fault in faults]) == (4, ["missing-file"])


def test_photographs_and_other_layouts(tmp_path: Path, small_set: Path) -> None:
    assert len(walked(f"synthetic:{small_set / 'Au'}:7")[0]) == 2
    assert walked("synthetic:7") == ([], [])
    # folders of the right names, and nothing in them
    for name in ("Tp", "Gt"):
        (tmp_path / "empty" / name).mkdir(parents=True)
    empty = tmp_path / "empty"
    for spec in (str(tmp_path), f"coverage:{tmp_path}", str(empty), f"synthetic:{empty}", "nowhere"):
        pairs, faults = walked(spec)
        assert (pairs, [(fault.kind, fault.files) for fault in faults]) == ([], [("layout", (spec,))])


@pytest.mark.parametrize("fault", ["none", "no mask", "no picture", "twice", "link", "mask of no picture"])
@pytest.mark.parametrize("kind", ["folder", "columbia", "csv", "json", "balanced"])
def test_the_audit_passes_what_fit_reads(tmp_path: Path, kind: str, fault: str) -> None:
    """One reader: what `open_source` refuses has a fault, and what it reads has none and the same pictures."""
    places = {"columbia": ("4cam_splc", "4cam_splc/edgemask", "_edgemask.png")}
    images, masks, ending = places.get(kind, ("Tp", "Gt", ".png"))
    names = ["a", "b", "c"]
    for name in names:
        write(tmp_path / images / f"{name}.jpg", np.full((40, 40, 3), 90, np.uint8))
        write(tmp_path / masks / f"{name}{ending}", np.zeros((40, 40, 3), np.uint8))
    rows = [[f"{images}/{name}.jpg", f"{masks}/{name}{ending}"] for name in names]
    if fault == "no mask":
        (tmp_path / masks / f"b{ending}").unlink()
    elif fault == "no picture":
        (tmp_path / images / "b.jpg").unlink()
    elif fault == "twice":
        shutil.copy(tmp_path / images / "b.jpg", tmp_path / images / "b.jpeg")
        rows.append(rows[0])
    elif fault == "link":
        (tmp_path / images / "d.jpg").symlink_to(tmp_path / "gone.jpg")
        rows.append([f"{images}/d.jpg", f"{masks}/a{ending}"])
    elif fault == "mask of no picture":
        write(tmp_path / masks / f"e{ending}", np.zeros((40, 40, 3), np.uint8))
        rows.append(["", rows[0][1]])
    (tmp_path / "l.csv").write_text("".join(f"{image},{mask}\n" for image, mask in [["image", "mask"], *rows]))
    (tmp_path / "l.json").write_text(json.dumps(rows))
    (tmp_path / "b.json").write_text(json.dumps([["ManiDataset", "."], ["JsonDataset", "l.json"]]))
    spec = {
        "folder": str(tmp_path),
        "columbia": f"columbia:{tmp_path}",
        "csv": str(tmp_path / "l.csv"),
        "json": str(tmp_path / "l.json"),
        "balanced": str(tmp_path / "b.json"),
    }[kind]
    pairs, faults = walked(spec)
    if fault == "none":
        assert pairs == open_source(spec).pairs  # type: ignore[attr-defined]
        assert faults == []
    else:
        with pytest.raises(InputError) as refused:
            open_source(spec)
        assert refused.value.line in {fault.message for fault in faults}
        # the others are looked into all the same
        assert len(pairs) >= 2


def test_a_mask_is_read_as_its_benchmark_means_it(clean: Path, tmp_path: Path) -> None:
    """In NIST16 black is tampered; read inside out, a small manipulation would be called an untouched copy."""
    base = tmp_path / "NC2016_Test0613"
    original = cv2.imread(str(next((clean / "train" / "Au").iterdir())))
    forged, mask = original.copy(), np.full(original.shape[:2], 255, np.uint8)
    forged[20:48, 20:48], mask[20:48, 20:48] = 255 - forged[20:48, 20:48], 0
    files = {"probe/NC2016_1.png": forged, "world/NC2016_2.png": original, "reference/manipulation/mask/1.png": mask}
    for name, image in files.items():
        write(base / name, image)
    (base / "reference/manipulation/NC2016-manipulation-ref.csv").write_text(
        "TaskID|ProbeFileID|ProbeFileName|ProbeMaskFileName|IsTarget|BaseFileName|IsManipulationTypeRemoval\n"
        "manipulation|A|probe/NC2016_1.png|reference/manipulation/mask/1.png|Y|world/W1.jpg|N\n"
        "manipulation|B|world/NC2016_2.png||N||\n"
    )
    audit(train=[f"nist16:{tmp_path}"], json=tmp_path / "audit.json", size=96, workers=0)
    kinds = {entry["kind"] for entry in json.loads((tmp_path / "audit.json").read_text())}
    assert "shared-content" in kinds
    assert "contradiction" not in kinds


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_source_class_has_no_files_to_audit(split: str) -> None:
    spec = json.dumps({"class_path": "mine.Data", "init_args": {"folder": "here"}})
    with pytest.raises(InputError, match=r"mine\.Data.*no files to look into; write its pictures as a folder"):
        audit(**{split: [spec]})  # type: ignore[arg-type]


def test_the_command(small_set: Path, tmp_path: Path) -> None:
    shutil.copytree(small_set, tmp_path / "other")
    tests = json.dumps({"mine": str(tmp_path / "other")})
    done = command("audit", "--train", small_set, "--test", tests, "--json", tmp_path / "a.json", "--workers=2")
    assert done.returncode == 1, done.stderr
    assert "6 errors, 0 warnings, 0 notes" in done.stdout
    assert "12 pictures (train 6, test mine 6) checked for" in done.stdout
    # of so few, nothing is said of what gives the class away
    assert "give the class away" not in done.stdout
    assert "Not for shortcuts, which takes 10 pictures of each class in a split." in " ".join(done.stdout.split())
    found = json.loads((tmp_path / "a.json").read_text())
    assert Counter(entry["severity"] for entry in found) == {"error": 6}
    nothing = command("audit")
    assert nothing.returncode == 1
    assert "ncl_lightning: audit: no data named" in nothing.stderr


@pytest.mark.parametrize(("levels", "grey"), [((128, 128), False), ((100, 200), True)])
def test_masks_of_two_levels_are_binary(clean: Path, tmp_path: Path, levels: tuple[int, int], grey: bool) -> None:
    """Whichever two: 128 is what a palette of labels has."""
    root = Path(shutil.copytree(clean, tmp_path / "data"))
    path = min((root / "train" / "Gt").iterdir())
    mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) > 0
    left = np.arange(mask.shape[1]) < np.nonzero(mask)[1].mean()
    cv2.imwrite(str(path), np.where(mask, np.where(left, *levels), 0).astype(np.uint8))
    kinds = {fault["kind"] for fault in run(root, tmp_path)[1]}
    assert ("non-binary-mask" in kinds) == grey


@pytest.mark.parametrize(("orientation", "square", "unsure"), [(3, False, True), (6, False, False), (6, True, True)])
def test_a_mask_that_may_lie_otherwise_than_its_picture(
    tmp_path: Path, orientation: int, square: bool, unsure: bool
) -> None:
    """Whoever leaves EXIF alone has drawn it on the stored pixels; it is read as if drawn on the displayed ones."""
    data = make_set(tmp_path / "train", 2, size=(70, 70) if square else (70, 90))
    picture = data / "Tp" / "tp0.png"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.open(picture).save(picture, exif=exif)
    assert ("turned-picture" in {fault["kind"] for fault in run(tmp_path, tmp_path)[1]}) == unsure
