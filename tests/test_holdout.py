"""What is held out for validation: by name, the same every time, relatives and copies on one side."""

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import make_set
from hypothesis import given
from hypothesis import strategies as st

from ncl_lightning.data import ManipulationDataModule
from ncl_lightning.errors import InputError
from ncl_lightning.holdout import hold_out, originals, sides
from ncl_lightning.sources import FileSource, open_source

CASIA = [
    "Tp/Tp_D_CRN_S_N_cha00063_art00014_11818.jpg",
    "Tp/Tp_S_NRN_M_N_art00014_art00014_10988.tif",
    "Au/Au_cha_00063.jpg",
    "Au/Au_art_00014.jpg",
]


@pytest.mark.parametrize(
    ("file", "made_of"),
    [
        ("Tp/Tp_D_CRN_S_N_cha00063_art00014_11818.jpg", ["cha00063", "art00014"]),
        ("Tp/Sp/Sp_D_CND_A_pla0005_pla0023_0281.jpg", ["pla0005", "pla0023"]),
        ("Au/Au_pla_0005.jpg", ["pla0005"]),
        ("ColorFakeImages/IMG_0007962_IMG_0007497.jpg", ["IMG0007962"]),
        ("ColorRealImages/IMG_0007962.jpg", ["IMG0007962"]),
        ("bcm_images/85_000000415798.jpg_000000415798.jpg_RT-31.5_RS0.76.jpg", ["000000415798"]),
        ("compRAISE/r4ba8b21et_Q82_resize_0.77_Q95.jpg", ["r4ba8b21et"]),
        ("imd/1a1ogs/c8tf5mq_0.png", ["1a1ogs"]),
        # COVERAGE, CoMoFoD
        ("image/5t.tif", ["5"]),
        ("image/5.tif", ["5"]),
        ("005_F_JC1.png", ["005"]),
        ("005_O.png", ["005"]),
        ("Tp/holiday.png", ["holiday"]),
    ],
)
def test_originals(file: str, made_of: list[str]) -> None:
    assert originals(Path(file), [Path("imd/1a1ogs")]) == made_of


@given(st.floats(0, 1))
def test_relatives_lie_on_one_side(share: float) -> None:
    files = [Path(name) for name in CASIA]
    found = dict(zip(CASIA, sides(files, share), strict=True))
    held = {name for file, side in found.items() if side == "val" for name in originals(Path(file))}
    for file, side in found.items():
        assert side != "train" or not held & set(originals(Path(file)))
    folder = [Path("imd/abc/abc_orig.jpg"), Path("imd/abc/x_0.png"), Path("imd/abc/y_1.png")]
    assert len(set(sides(folder, share))) == 1


@given(st.permutations([f"{number}.png" for number in range(40)]), st.floats(0, 1))
def test_names_alone_decide(names: list[str], share: float) -> None:
    flags = dict(zip(names, sides([Path("here", name) for name in names], share), strict=True))
    assert flags == dict(zip(names, sides([Path("there/Tp", name) for name in names], share), strict=True))
    # one more picture changes nothing for the others
    more = sides([Path(name) for name in [*names, "new.png"]], share)
    assert flags == dict(zip(names, more[:-1], strict=True))


def test_the_share_is_kept_and_never_changes() -> None:
    flags = [side == "val" for side in sides([Path(f"picture{number}.jpg") for number in range(5000)], 0.1)]
    assert 420 < sum(flags) < 580
    # a checkpoint of one release must not be scored on what another held out
    assert [number for number, flag in enumerate(flags[:40]) if flag] == [6, 14, 26, 28, 31, 38, 39]


def test_originals_that_come_again_and_again_do_not_pull_all_to_one_side() -> None:
    """CASIA names two originals for each splice, few originals for many splices; some say none in particular."""
    rng = np.random.default_rng(0)
    donors = rng.integers(1, 2000, (1800, 2))
    splices = [f"Tp_D_CRN_S_N_cha{a:05d}_art{b:05d}_{n:05d}.jpg" for n, (a, b) in enumerate(donors)]
    unknown = [f"Tp_D_NRD_M_B_arc{n:05d}_xxx00000_{n:05d}.jpg" for n in range(400)]
    found = sides([Path(name) for name in splices + unknown], 0.1)
    for part in (found[:1800], found[1800:]):
        assert 0.06 < part.count("val") / len(part) < 0.14
        assert part.count("train") / len(part) > 0.7


def module(folder: Path, **options: object) -> ManipulationDataModule:
    options = {"val_share": 0.4, "size": 64, "batch_size": 1, "num_workers": 0, **options}
    return ManipulationDataModule(train=[str(folder)], **options)  # type: ignore[arg-type]


def names(sources: list[FileSource]) -> set[str]:
    return {pair.image.name for source in sources for pair in source.pairs}


def test_the_data_module_holds_the_same_pictures_out_at_every_stage(tmp_path: Path) -> None:
    folder = make_set(tmp_path, 20, 5)
    fit, later = module(folder, seed=1), module(folder, seed=2)
    fit.setup("fit")
    later.setup("validate")
    train, val = (names(fit._datasets[part].sources) for part in ("train", "val"))
    assert len(train) + len(val) == 25
    assert not train & val
    assert 3 <= len(val) <= 16
    assert names(later._datasets["val"].sources) == val
    assert len(fit.train_dataloader().dataset) == len(train)


def test_copies_that_names_do_not_tell_leave_validation(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = make_set(tmp_path, 20)
    train, val = hold_out([open_source(str(folder))], 0.4)
    held = sorted(names(val))
    # a training picture under the name of one that is held out
    shutil.copy(folder / "Tp" / min(names(train)), folder / "Tp" / held[0])
    with caplog.at_level(logging.WARNING):
        assert names(hold_out([open_source(str(folder))], 0.4)[1]) == set(held[1:])
    assert f"1 of {len(held)} held-out pictures are copies of training ones" in caplog.text
    assert names(hold_out([open_source(str(folder))], 0.4, copies=False)[1]) == set(held)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"val": "synthetic:4"}, "give one of them"),
        ({"val_share": 1.0}, "give fractions within 0–1"),
        ({"val_share": 1e-9}, "for validation: raise it"),
        ({"val_share": 1 - 1e-9}, "for training: lower it"),
    ],
)
def test_what_cannot_be_held_out_is_one_line(options: dict[str, object], says: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=says):
        module(make_set(tmp_path, 6), **options).setup("fit")


def test_made_up_pictures_are_not_held_out() -> None:
    with pytest.raises(InputError, match=r"name validation data with --data\.val"):
        ManipulationDataModule(train=["synthetic:9"], val_share=0.5).setup("fit")
