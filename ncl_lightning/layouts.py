"""Layouts of data sets on disk: where the pictures are, and which mask belongs to which.

Each benchmark is one function from its folder, as distributed, to pairs. Its docstring says where the layout
and the count come from. The sets themselves were not at hand: what no page states is marked "not verified".
"""

import csv
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

import numpy as np

from ncl_lightning.errors import InputError
from ncl_lightning.faults import report
from ncl_lightning.images import Mask, Pair, Pixels, find_images
from ncl_lightning.mask_matching import match, pair_up, stem, without_misfits

# ---- finding files ----------------------------------------------------------------------------------------------


def _below(root: Path, *names: str) -> Path | None:
    """The first of some sub-folders or files that exists, in any case; `/` parts, `*` allowed."""
    for name in names:
        if "*" not in name and (root / name).exists():
            return root / name
        here = [root]
        for part in name.split("/"):
            pattern = re.compile(re.escape(part).replace(r"\*", ".*"), re.IGNORECASE)
            entries = (path for folder in here if folder.is_dir() for path in folder.iterdir())
            here = sorted(path for path in entries if pattern.fullmatch(path.name))
        if here:
            return here[0]
    return None


def _authentic(folder: Path | None) -> list[Pair]:
    return [Pair(image, None) for image in find_images(folder)] if folder else []


def _saw(root: Path) -> str:
    names = sorted(path.name + "/" * path.is_dir() for path in root.iterdir() if not path.name.startswith("."))
    return (", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")) or "nothing"


def _unknown(root: Path, expected: str) -> NoReturn:
    raise InputError(f"{root}: expected {expected}; it holds {_saw(root)}; give the folder above them")


# ---- folders of pictures and masks -------------------------------------------------------------------------------

FOLDERS = (("Tp", "Gt", "Au"), ("images", "masks", "authentic"))
"""What a data set's folders are called: tampered pictures, their masks, authentic pictures. The former is IMDL-BenCo's
ManiDataset: https://scu-zjz.github.io/IMDLBenCo-doc/guide/quickstart/0_dataprepare.html"""


def folder_pairs(root: Path) -> list[Pair]:
    """`Tp/`, `Gt/` and `Au/`, or `images/`, `masks/` and `authentic/`; any depth below each.

    Matched by stem, where IMDL-BenCo matches by order: the mask of `x.jpg` is `x.png`, `x_gt.png` or `x_mask.png`. The
    authentic pictures may be missing, or be all that there is.

    Raises:
        InputError: Another layout, nothing there, or pictures and masks that do not match one to one.
    """
    names = next((names for names in FOLDERS if any((root / name).is_dir() for name in names)), None)
    if names is None:
        hint = "; bring it into that form, or list its files in a .csv (image,mask)" if find_images(root) else ""
        raise InputError(
            f"{root}: expected Tp/ and Gt/, and Au/ for authentic pictures (or images/, masks/ and authentic/); "
            f"it holds {_saw(root)}{hint}"
        )
    tampered, masks, authentic = (root / name for name in names)
    if tampered.is_dir() != masks.is_dir():
        there, missing = (tampered, masks) if tampered.is_dir() else (masks, tampered)
        truths = [path.name for path in root.iterdir() if "groundtruth" in path.name.lower()]
        casia = f"casia{1 if '1' in truths[0] else 2}" if truths else ""
        remedy = f"for CASIA as it unpacks ({truths[0]}/) give {casia}:{root}" if casia else "add it"
        raise InputError(f"{root}: there is no {missing.name}/ beside {there.name}/; {remedy}")
    pairs = match((tampered, masks)) if tampered.is_dir() else []
    pairs += _authentic(authentic if authentic.is_dir() else None)
    if not pairs:
        has = [f"{name}/" for name in names if (root / name).is_dir()]
        raise InputError(f"{root}: no picture in {', '.join(has)}; add some")
    return pairs


# ---- benchmarks ------------------------------------------------------------------------------------------------

# https://github.com/SunnyHaze/IML-Dataset-Corrections gives the first name, github.com/YanLi8858/
# Image-Manipulation-Dataset the second, for what seems to be one picture
CASIA1_LACKING = {"Sp_D_NRN_A_cha0011_sec0011_0542", "Sp_D_NRN_A_sce0011_cha0011_0542"}
# https://github.com/YanLi8858/Image-Manipulation-Dataset, 2.2, case 3
CASIA2_LACKING = {
    "Tp_D_NNN_M_B_art00037_nat10103_10108",
    "Tp_D_NNN_M_N_nat10103_pla10110_10116",
    "Tp_D_NNN_S_N_nat00042_nat00042_00961",
}
# https://github.com/SunnyHaze/IML-Dataset-Corrections, 2.2: some masks lie on their side, so none is stretched
CASIA2_MISFITS = {
    "Tp_D_CNN_M_N_sec00011_cha00085_11227",
    "Tp_D_CRN_S_N_ani10191_ani10190_12437",
    "Tp_D_CRN_S_N_nat10130_pla00049_11524",
    "Tp_D_NND_M_B_nat20098_nat20073_01602",
    "Tp_D_NRN_M_N_nat10134_nat00095_11912",
    "Tp_D_NRN_M_N_nat10134_nat10124_11913",
    "Tp_S_CRN_S_N_art00059_art00059_10508",
    "Tp_S_NND_S_N_sec20064_sec20064_01654",
    "Tp_S_NNN_S_N_art20077_art20077_01883",
    "Tp_S_NNN_S_N_ind20037_ind20037_01778",
    "Tp_S_NNN_S_N_sec00012_sec00012_11230",
    "Tp_S_NNN_S_N_sec00074_sec00074_00751",
    "Tp_S_NRD_S_N_arc20079_arc20079_01719",
    "Tp_S_NRD_S_N_pla20071_pla20071_01971",
    "Tp_S_NRN_S_B_ind10002_ind10002_20010",
    "Tp_S_NRN_S_N_art20077_art20077_02316",
    "Tp_S_NRN_S_N_pla20080_pla20080_01980",
}
# https://github.com/SunnyHaze/IML-Dataset-Corrections, 2.4
IMD2020_MISFITS = {"00030_fake"}


def casia1(root: Path) -> list[Pair]:
    """CASIA v1: `Tp/` (`CM/`, `Sp/`), `Au/` and `CASIA 1.0 groundtruth/` with `<stem>_gt.png`.

    Layout: github.com/namtpham/casia1groundtruth, as unpacked in IMDL-BenCo's guide (docs/zh/guide/quickstart/
    3_demo.md of github.com/scu-zjz/IMDLBenCo-doc) and read by PhotoHolmes (photoholmes/datasets/casia1.py).
    The original files are misnamed in part (YanLi8858/Image-Manipulation-Dataset, 2.1): what no stem matches is
    matched by its last number, the picture's ID by namtpham's README.
    Count: 920 tampered (921 files, one without a mask) and 800 authentic, by YanLi8858's README.
    """
    images = _below(root, "Tp", "Modified Tp/Tp", "CASIA 1.0 dataset/Tp", "CASIA 1.0 dataset/Modified Tp/Tp", "Sp")
    masks = _below(root, "CASIA 1.0 groundtruth", "*groundtruth*/CASIA 1.0 groundtruth", "*groundtruth*", "Gt")
    if not images or not masks:
        _unknown(root, "Tp/ (with CM/ and Sp/) and 'CASIA 1.0 groundtruth/', and Au/ for authentic pictures")
    return match((images, masks), number=True, lacking=CASIA1_LACKING) + _authentic(
        _below(root, "Au", "CASIA 1.0 dataset/Au")
    )


def casia2(root: Path) -> list[Pair]:
    """CASIA v2: `Tp/`, `Au/` and `CASIA 2 Groundtruth/` (or `Gt/`) with `<stem>_gt.png`.

    Layout: github.com/namtpham/casia2groundtruth; `Gt/` in github.com/SunnyHaze/CASIA2.0-Corrected-Groundtruth.
    Names that no stem matches are matched by their last number, the picture's ID by namtpham's README.
    Three pictures are published without a mask, and 17 with one of another size in all but the corrected pack:
    they are left out, with a line on the log.
    Count: 5123 tampered by namtpham's README, 7491 authentic by YanLi8858/Image-Manipulation-Dataset.
    """
    images = _below(root, "Tp", "CASIA2.0_revised/Tp")
    masks = _below(root, "*groundtruth*/CASIA*2*groundtruth", "*groundtruth*", "Gt", "CASIA2.0_revised/Gt")
    if not images or not masks:
        _unknown(root, "Tp/ and 'CASIA 2 Groundtruth/' or Gt/, and Au/ for authentic pictures")
    pairs = match((images, masks), number=True, lacking=CASIA2_LACKING)
    return without_misfits(pairs, CASIA2_MISFITS) + _authentic(_below(root, "Au", "CASIA2.0_revised/Au"))


def green(edges: Pixels) -> Mask:
    """Columbia's edge mask (H, W, 3) to the spliced region (H, W): the greens of both brightnesses."""
    red, green, blue = edges.astype(np.int16).transpose(2, 0, 1)
    # JPEG smears the colours, so compare instead of asking for exact ones
    return np.maximum(green, blue) > np.maximum(red, 64)


def columbia(root: Path) -> list[Pair]:
    """Columbia uncompressed: `4cam_splc/*.tif`, `4cam_splc/edgemask/<stem>_edgemask.jpg`, `4cam_auth/*.tif`.

    Folders and count, 180 spliced and 183 authentic: http://www.ee.columbia.edu/ln/dvmm/downloads/authsplcuncmp/
    Mask names and colours (red: host, green: spliced): PhotoHolmes (photoholmes/datasets/columbia.py). That
    the spliced side is always the green one was not verified on the makers' page.
    """
    spliced, authentic = _below(root, "4cam_splc"), _below(root, "4cam_auth")
    masks = _below(spliced, "edgemask", "4cam_splc/edgemask") if spliced else None
    if not spliced or not masks:
        _unknown(root, "4cam_splc/ with edgemask/ inside, and 4cam_auth/")
    images = [path for path in find_images(spliced) if "edgemask" not in path.relative_to(spliced).parts]
    edges = [path for path in find_images(masks) if stem(path).endswith("_edgemask")]
    pairs = pair_up(images, edges, stem, lambda mask: stem(mask).removesuffix("_edgemask"), (spliced, masks))
    real = [pair for pair in _authentic(authentic) if "edgemask" not in pair.image.parts]
    return [replace(pair, mask_of=green) for pair in pairs] + real


def coverage(root: Path) -> list[Pair]:
    """COVERAGE: `image/<n>.tif` authentic, `image/<n>t.tif` forged, `mask/<n>forged.tif` its mask.

    Layout: PhotoHolmes (photoholmes/datasets/coverage.py); home: github.com/wenbihan/coverage. The masks of nine
    pictures have another size (github.com/SunnyHaze/IML-Dataset-Corrections, 2.3): brought to the picture's.
    Count: 100 and 100, by github.com/YanLi8858/Image-Manipulation-Dataset.
    """
    images, masks = _below(root, "image"), _below(root, "mask")
    if not images or not masks:
        _unknown(root, "image/ and mask/")
    files = find_images(images)
    forged = [path for path in files if stem(path).endswith("t")]
    wanted = [path for path in find_images(masks) if stem(path).endswith("forged")]
    pairs = pair_up(
        forged,
        wanted,
        lambda image: stem(image).removesuffix("t"),
        lambda mask: stem(mask).removesuffix("forged"),
        (images, masks),
    )
    return [replace(pair, fit_mask=True) for pair in pairs] + [Pair(path, None) for path in files if path not in forged]


def nist16(root: Path) -> list[Pair]:
    """NIST16 (NC2016): `reference/manipulation/NC2016-manipulation-ref.csv` names probes and masks; black: tampered.

    Columns (`|` between them) and polarity: SAFIRE's reader (Dataset_NC16, "NC16 treats black as tampered") and
    usnistgov/MediScore. Rows with IsTarget Y are tampered, the others authentic. A mask that is not where the
    row says is looked for under `removal`, as YanLi8858/Image-Manipulation-Dataset does. SAFIRE leaves out
    masks of another size; here they are brought to the picture's.
    Count: 564 tampered, by github.com/DSLJDI/NIST16-data-set-deduplication; 560 authentic, by
    github.com/greatzh/Image-Forgery-Datasets-List.
    """
    table = _below(root, *(f"{top}reference/manipulation/*ref*.csv" for top in ("", "NC2016_Test*/")))
    if not table:
        _unknown(root, "reference/manipulation/NC2016-manipulation-ref.csv, beside probe/ and world/")
    base = table.parent.parent.parent
    with table.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, delimiter="|")
        missing = {"ProbeFileName", "ProbeMaskFileName", "IsTarget"} - set(reader.fieldnames or ())
        if missing:
            raise InputError(f"{table}: line 1 has no column {', '.join(sorted(missing))}; fetch the file anew")
        pairs: dict[Path, Pair] = {}
        for row in reader:
            columns = ["ProbeFileName"]
            if (row["IsTarget"] or "").strip().upper() == "Y":
                columns.append("ProbeMaskFileName")
            found = []
            for column in columns:
                name = (row[column] or "").strip().replace("\\", "/").strip("/")
                path = _below(base, name, name.replace("manipulation", "removal")) if name else None
                if path and path.is_file():
                    found.append(path)
                    continue
                what = f"{name}: no such file" if name else f"no {column}"
                at = f"{table}: line {reader.line_num}"
                report("missing-file", [base / name if name else table], f"{at}: {what}; fetch it, or remove the line")
            if len(found) == len(columns):
                pairs[found[0]] = Pair(found[0], found[1] if len(found) > 1 else None, inverted=True, fit_mask=True)
    return list(pairs.values())


def imd2020(root: Path) -> list[Pair]:
    """IMD2020, real-life part: in each folder `<name>.jpg` or `.png` with `<name>_mask.png`, and `<id>_orig.jpg`.

    Layout: http://staff.utia.cas.cz/novozada/db/ as listed in cainspencerm/image-manipulation-datasets. One
    mask has another size (github.com/SunnyHaze/IML-Dataset-Corrections, 2.4): that picture is left out.
    Count: 2010 tampered, by the same listing; for the authentic ones we found no page that we trust.
    """
    files = find_images(root)
    masks = [path for path in files if stem(path).endswith("_mask")]
    real = [path for path in files if stem(path).endswith("_orig")]
    if not masks:
        _unknown(root, "folders with <name>_mask.png beside <name>.jpg, and <id>_orig.jpg")
    images = sorted(set(files) - set(masks) - set(real))

    def key(path: Path) -> str:
        return (path.parent / stem(path).removesuffix("_mask")).as_posix()

    pairs = pair_up(images, masks, key, key, (root, root))
    return without_misfits(pairs, IMD2020_MISFITS) + [Pair(path, None) for path in real]


def defacto(root: Path) -> list[Pair]:
    """DEFACTO: `<part>_img/img/<stem>.tif` with `<part>_annotations/probe_mask/<stem>.jpg`; nothing authentic.

    Parts: `copymove`, `inpainting`, `splicing_1` to `splicing_7`, here or one folder down. Layout, and that some
    masks have another size (brought to the picture's): cainspencerm/image-manipulation-datasets.
    Count: none exact; about 19,000, 25,000 and 105,000 by https://defactodataset.github.io. The `face` part has
    another layout, which we could not verify, and is not read.
    """
    pairs = []
    for images in sorted([*root.glob("*_img"), *root.glob("*/*_img")]):
        masks = images.with_name(images.name.removesuffix("_img") + "_annotations") / "probe_mask"
        if not masks.is_dir():
            there = f"{masks.parent.name}/probe_mask/"
            report("layout", [images], f"{images}: there is no {there} beside it; unpack it there")
            continue
        pairs += match((images, masks))
    if not pairs:
        _unknown(root, "copymove_img/, inpainting_img/ or splicing_1_img/ …, each beside its _annotations/")
    return [replace(pair, fit_mask=True) for pair in pairs]


@dataclass(frozen=True)
class Benchmark:
    """A published set: how its folder is read, and the stated counts (see the function); None: none stated."""

    pairs: Callable[[Path], list[Pair]]
    tampered: int | None
    authentic: int | None


BENCHMARKS: Mapping[str, Benchmark] = {
    "casia1": Benchmark(casia1, 920, 800),
    "casia2": Benchmark(casia2, 5123, 7491),
    "columbia": Benchmark(columbia, 180, 183),
    "coverage": Benchmark(coverage, 100, 100),
    "nist16": Benchmark(nist16, 564, 560),
    "imd2020": Benchmark(imd2020, 2010, None),
    "defacto": Benchmark(defacto, None, 0),
}


def benchmark_pairs(name: str, root: Path) -> list[Pair]:
    """The pairs of a benchmark in its folder as distributed.

    Raises:
        InputError: The folder is missing, has another layout, or pictures and masks do not match.
    """
    if not root.is_dir():
        raise InputError(f"{name}:{root}: no such folder; give the one that the benchmark was unpacked into")
    pairs = BENCHMARKS[name].pairs(root)
    if not pairs:
        raise InputError(f"{name}:{root}: no picture in it; unpack the benchmark there")
    return pairs
