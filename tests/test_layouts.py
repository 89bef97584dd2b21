"""Benchmarks as distributed: tiny made-up trees of their layouts, faults included."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ncl_lightning.errors import InputError
from ncl_lightning.layouts import BENCHMARKS, CASIA1_LACKING, CASIA2_LACKING, CASIA2_MISFITS
from ncl_lightning.sources import FileSource, open_source

SIZE = (8, 6)  # width, height
REGION = np.zeros((6, 8), bool)
REGION[1:4, 2:7] = True


def picture(path: Path, size: tuple[int, int] = SIZE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (90, 120, 60)).save(path)


def truth(path: Path, region: np.ndarray = REGION, bright: int = 255, dark: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.where(region, bright, dark).astype(np.uint8)).save(path)


def edges(path: Path, region: np.ndarray = REGION) -> None:
    """Columbia's colours: red and green, bright at the boundary, as JPEG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    large = np.repeat(np.repeat(region, 8, 0), 8, 1)
    colours = np.zeros((*large.shape, 3), np.uint8)
    colours[~large] = (200, 0, 0)
    colours[large] = (0, 200, 0)
    colours[:, 30:34][~large[:, 30:34]] = (255, 0, 0)
    colours[:, 30:34][large[:, 30:34]] = (0, 255, 0)
    Image.fromarray(colours).save(path, quality=75)


def casia1(root: Path) -> None:
    picture(root / "Tp/CM/Sp_S_CND_A_pla0016_pla0016_0196.jpg")
    picture(root / "Tp/Sp/Sp_D_CND_A_pla0005_pla0023_0281.jpg")
    truth(root / "CASIA 1.0 groundtruth/CM/Sp_S_CND_A_pla0016_pla0016_0196_gt.png")
    truth(root / "CASIA 1.0 groundtruth/Sp/Sp_D_CND_A_pla0005_pla0023_0281_gt.png")
    (root / "CASIA 1.0 groundtruth/Splicing_groundtruth_list.txt").write_text("")
    picture(root / "Au/Au_ani_0001.jpg")


def casia2(root: Path) -> None:
    picture(root / "Tp/Tp_D_CRN_S_N_cha00063_art00014_11818.jpg")
    picture(root / "Tp/Tp_S_NRN_M_N_pla00020_pla00020_10988.tif")
    truth(root / "CASIA 2 Groundtruth/Tp_D_CRN_S_N_cha00063_art00014_11818_gt.png")
    truth(root / "CASIA 2 Groundtruth/Tp_S_NRN_M_N_pla00020_pla00020_10988_gt.png")
    picture(root / "Au/Au_ani_00001.jpg")


def columbia(root: Path) -> None:
    for name in ("canong3_canonxt_sub_01", "canong3_canonxt_sub_02"):
        picture(root / f"4cam_splc/{name}.tif", (64, 48))
        edges(root / f"4cam_splc/edgemask/{name}_edgemask.jpg")
    picture(root / "4cam_auth/canong3_02_sub_01.tif")


def coverage(root: Path) -> None:
    for number in (1, 12):
        picture(root / f"image/{number}.tif")
        picture(root / f"image/{number}t.tif")
        truth(root / f"mask/{number}copy.tif", ~REGION)
        truth(root / f"mask/{number}paste.tif", ~REGION)
        truth(root / f"mask/{number}forged.tif")
    # one of the nine: its mask has twice the size
    truth(root / "mask/12forged.tif", np.repeat(np.repeat(REGION, 2, 0), 2, 1))
    picture(root / "label/ignored.tif")
    (root / "label/ignored.tif").rename(root / "label/1.mat")


NIST = (
    "TaskID|ProbeFileID|ProbeFileName|ProbeMaskFileName|IsTarget|BaseFileName|IsManipulationTypeRemoval\n"
    "manipulation|A|probe/NC2016_0001.jpg|reference/manipulation/mask/NC2016_1.png|Y|world/W1.jpg|N\n"
    "manipulation|B|probe/NC2016_0002.JPG|reference/manipulation/mask/NC2016_2.png|Y|world/W1.jpg|Y\n"
    "manipulation|C|world/NC2016_0003.jpg||N||\n"
)


def nist16(root: Path) -> None:
    """Black is tampered; the removal's mask lies in another folder; one name is written in another case."""
    base = root / "NC2016_Test0613"
    for name in ("probe/NC2016_0001.jpg", "probe/NC2016_0002.jpg", "world/NC2016_0003.jpg", "world/W1.jpg"):
        picture(base / name)
    truth(base / "reference/manipulation/mask/NC2016_1.png", bright=0, dark=255)
    truth(base / "reference/removal/mask/NC2016_2.png", bright=0, dark=255)
    (base / "reference/manipulation/NC2016-manipulation-ref.csv").write_text(NIST)


def imd2020(root: Path) -> None:
    picture(root / "1a1ogs/1a1ogs_orig.jpg")
    picture(root / "1a1ogs/c8tf5mq_0.png")
    truth(root / "1a1ogs/c8tf5mq_0_mask.png")
    # the same name in two folders
    for folder in ("z13", "z14"):
        picture(root / folder / "00109_fake.jpg")
        truth(root / folder / "00109_fake_mask.png")


def defacto(root: Path) -> None:
    for part in ("splicing_1", "splicing_2", "copymove", "nested/inpainting"):
        # the same names in every part
        picture(root / f"{part}_img/img/0_000000195755.tif")
        truth(root / f"{part}_annotations/probe_mask/0_000000195755.jpg")
        truth(root / f"{part}_annotations/donor_mask/0_000000195755.tif", ~REGION)
    truth(root / "copymove_annotations/probe_mask/0_000000195755.jpg", np.repeat(np.repeat(REGION, 2, 0), 2, 1))


TREES: dict[str, tuple[Callable[[Path], None], int, int]] = {
    "casia1": (casia1, 2, 1),
    "casia2": (casia2, 2, 1),
    "columbia": (columbia, 2, 1),
    "coverage": (coverage, 2, 2),
    "nist16": (nist16, 2, 1),
    "imd2020": (imd2020, 3, 1),
    "defacto": (defacto, 4, 0),
}


def opened(name: str, root: Path) -> FileSource:
    source = open_source(f"{name}:{root}")
    assert isinstance(source, FileSource)
    return source


def names(source: FileSource) -> list[str]:
    return [pair.image.stem for pair in source.pairs if pair.mask]


def test_every_benchmark_has_a_tree() -> None:
    assert set(TREES) == set(BENCHMARKS)


@pytest.mark.parametrize("name", TREES)
def test_layout(name: str, tmp_path: Path) -> None:
    """Counts, and the tampered region of every picture."""
    make, tampered, authentic = TREES[name]
    make(tmp_path)
    source = opened(name, tmp_path)
    pictures = [source.read(index) for index in range(len(source))]
    assert [picture.authentic for picture in pictures].count(False) == tampered
    assert [picture.authentic for picture in pictures].count(True) == authentic
    assert len({picture.name for picture in pictures}) == len(pictures)
    region = np.repeat(np.repeat(REGION, 8, 0), 8, 1) if name == "columbia" else REGION
    for picture in pictures:
        assert picture.mask.any() != picture.authentic
        if not picture.authentic:
            # JPEG masks are not exact at their edges
            assert (picture.mask != region).mean() < (0.05 if name in ("columbia", "defacto") else 1e-9)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_another_layout(name: str, tmp_path: Path) -> None:
    """It says what it saw and what it expected."""
    picture(tmp_path / "pictures/a.jpg")
    with pytest.raises(InputError, match=r"expected .*; it holds pictures/") as error:
        open_source(f"{name}:{tmp_path}")
    assert error.value.line.startswith(str(tmp_path))
    with pytest.raises(InputError, match="no such folder"):
        open_source(f"{name}:{tmp_path / 'gone'}")


@pytest.mark.parametrize("name", [name for name in TREES if name != "nist16"])
def test_missing_mask(name: str, tmp_path: Path) -> None:
    TREES[name][0](tmp_path)
    pair = opened(name, tmp_path).pairs[0]
    assert pair.mask
    pair.mask.unlink()
    with pytest.raises(InputError, match=rf"1 picture without a mask .*{pair.image.name}"):
        opened(name, tmp_path)


@pytest.mark.parametrize("name", [name for name in TREES if name != "nist16"])
def test_missing_picture(name: str, tmp_path: Path) -> None:
    TREES[name][0](tmp_path)
    pair = opened(name, tmp_path).pairs[0]
    assert pair.mask
    pair.image.unlink()
    with pytest.raises(InputError, match=rf"1 mask without a picture .*{pair.mask.name}"):
        opened(name, tmp_path)


# ---- CASIA: misnamed files, missing masks, masks of another size -----------------------------------------------


@pytest.mark.parametrize(
    "images", ["Tp", "Modified Tp/Tp", "CASIA 1.0 dataset/Tp", "CASIA 1.0 dataset/Modified Tp/Tp", "Sp"]
)
@pytest.mark.parametrize("masks", ["CASIA 1.0 groundtruth", "casia1groundtruth-master/CASIA 1.0 groundtruth", "Gt"])
def test_casia1_as_unpacked(images: str, masks: str, tmp_path: Path) -> None:
    picture(tmp_path / images / "Sp_D_CND_A_pla0005_pla0023_0281.jpg")
    truth(tmp_path / masks / "Sp_D_CND_A_pla0005_pla0023_0281_gt.png")
    assert len(opened("casia1", tmp_path)) == 1


@pytest.mark.parametrize("masks", ["Gt", "CASIA 2 Groundtruth", "groundtruth", "casia2groundtruth/CASIA 2 Groundtruth"])
def test_casia2_as_unpacked(masks: str, tmp_path: Path) -> None:
    picture(tmp_path / "Tp/Tp_D_CRN_S_N_cha00063_art00014_11818.jpg")
    truth(tmp_path / masks / "Tp_D_CRN_S_N_cha00063_art00014_11818_gt.png")
    assert len(opened("casia2", tmp_path)) == 1


def test_misnamed_files_match_by_their_number(tmp_path: Path) -> None:
    casia1(tmp_path)
    picture(tmp_path / "Tp/Sp/Sp_D_NND_A_nat0054_nat0054_0189.jpg")
    truth(tmp_path / "CASIA 1.0 groundtruth/CM/Sp_S_NND_A_nat0054_nat0054_0189_gt.png")
    pairs = {pair.image.stem: pair.mask.stem for pair in opened("casia1", tmp_path).pairs if pair.mask}
    assert pairs["Sp_D_NND_A_nat0054_nat0054_0189"] == "Sp_S_NND_A_nat0054_nat0054_0189_gt"
    assert len(pairs) == 3


def test_no_match_by_a_number_that_repeats(tmp_path: Path) -> None:
    casia1(tmp_path)
    picture(tmp_path / "Tp/Sp/Sp_D_NND_A_nat0054_nat0054_0189.jpg")
    for letter in "SX":
        truth(tmp_path / f"CASIA 1.0 groundtruth/CM/Sp_{letter}_NND_A_nat0054_nat0054_0189_gt.png")
    with pytest.raises(InputError, match="1 picture without a mask"):
        opened("casia1", tmp_path)


@pytest.mark.parametrize(("name", "lacking"), [("casia1", CASIA1_LACKING), ("casia2", CASIA2_LACKING)])
def test_published_without_a_mask(
    name: str, lacking: set[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Left out, and said; a picture that has got its mask is used."""
    TREES[name][0](tmp_path)
    for known in lacking:
        picture(tmp_path / f"Tp/{known}.jpg")
    with caplog.at_level(logging.WARNING):
        source = opened(name, tmp_path)
    assert len(names(source)) == 2
    assert f"{len(lacking)} left out (published without a mask)" in caplog.text
    mended = sorted(lacking)[0]
    truth(next(tmp_path.glob("CASIA*")) / f"{mended}_gt.png")
    assert mended in names(opened(name, tmp_path))


def test_published_with_a_mask_of_another_size(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """In the first packs they lie on their side; in the corrected one they fit and stay."""
    casia2(tmp_path)
    wrong, right = sorted(CASIA2_MISFITS)[:2]
    for known, region in ((wrong, REGION.T), (right, REGION)):
        picture(tmp_path / f"Tp/{known}.jpg")
        truth(tmp_path / f"CASIA 2 Groundtruth/{known}_gt.png", region)
    with caplog.at_level(logging.WARNING):
        found = names(opened("casia2", tmp_path))
    assert right in found
    assert wrong not in found
    assert wrong in caplog.text


def test_unknown_mask_of_another_size_is_refused_when_read(tmp_path: Path) -> None:
    casia2(tmp_path)
    truth(tmp_path / "CASIA 2 Groundtruth/Tp_D_CRN_S_N_cha00063_art00014_11818_gt.png", REGION.T)
    with pytest.raises(InputError, match="11818"):
        opened("casia2", tmp_path).read(0)


# ---- the others' own faults ------------------------------------------------------------------------------------


def test_columbia_unpacked_twice(tmp_path: Path) -> None:
    """Some archives hold 4cam_splc/4cam_splc, and edge masks of authentic pictures too."""
    columbia(tmp_path / "x")
    for folder in ("4cam_splc", "4cam_auth"):
        (tmp_path / folder).mkdir()
        (tmp_path / "x" / folder).rename(tmp_path / folder / folder)
    edges(tmp_path / "4cam_auth/4cam_auth/edgemask/canong3_02_sub_01_edgemask.jpg")
    assert len(opened("columbia", tmp_path)) == 3


def test_imd2020_known_misfit(tmp_path: Path) -> None:
    imd2020(tmp_path)
    picture(tmp_path / "z14/00030_fake.jpg")
    truth(tmp_path / "z14/00030_fake_mask.png", REGION.T)
    assert "00030_fake" not in names(opened("imd2020", tmp_path))


def test_defacto_without_annotations(tmp_path: Path) -> None:
    defacto(tmp_path)
    picture(tmp_path / "splicing_3_img/img/1_000000000001.tif")
    with pytest.raises(InputError, match=r"no splicing_3_annotations/probe_mask/"):
        opened("defacto", tmp_path)


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("ProbeMaskFileName", "Mask", r"line 1 has no column ProbeMaskFileName"),
        ("probe/NC2016_0001.jpg", "probe/gone.jpg", r"line 2: probe/gone\.jpg: no such file"),
        ("mask/NC2016_2.png", "mask/gone.png", r"line 3: .*gone\.png: no such file"),
        ("reference/manipulation/mask/NC2016_1.png", "", r"line 2: no ProbeMaskFileName"),
    ],
)
def test_faulty_nist_table(before: str, after: str, says: str, tmp_path: Path) -> None:
    nist16(tmp_path)
    table = tmp_path / "NC2016_Test0613/reference/manipulation/NC2016-manipulation-ref.csv"
    table.write_text(NIST.replace(before, after))
    with pytest.raises(InputError, match=says):
        opened("nist16", tmp_path)


def test_nist_from_windows(tmp_path: Path) -> None:
    nist16(tmp_path)
    base = tmp_path / "NC2016_Test0613"
    text = NIST.replace("/", "\\").replace("\n", "\r\n")
    (base / "reference/manipulation/NC2016-manipulation-ref.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    # the folder itself may be given, too
    assert len(opened("nist16", base)) == 3
