"""Every protocol file: loaded against tiny trees of the benchmarks' layouts, and trained on for a step."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import test_layouts
import yaml
from conftest import ROOT, TINY, command, make_set, succeed

from ncl_lightning.data import ManipulationDataModule
from ncl_lightning.errors import InputError
from ncl_lightning.layouts import BENCHMARKS
from ncl_lightning.source_entries import entry, open_entry

PROTOCOLS = sorted((ROOT / "configs" / "protocols").glob("*.yaml"))


def data_of(protocol: Path) -> dict[str, Any]:
    (section,) = yaml.safe_load(protocol.read_text(encoding="utf-8")).values()
    return section


def sources_of(data: dict[str, Any]) -> list[str]:
    return [str(entry(spec).source) for spec in [*data["train"], *data["test"].values()]]


def plant(root: Path, source: str) -> None:
    """A tiny tree of a source's layout; each picture another one, since copies are told apart by content."""
    kind, colon, folder = source.partition(":")
    if not colon:
        place = (root / source).parent
        made = make_set(place / Path(source).stem, 12, 12, size=(32, 32), seed=len(source))
        rows = [[f"{made.name}/Tp/{file.name}", f"{made.name}/Gt/{file.name}"] for file in (made / "Tp").iterdir()]
        rows += [[f"{made.name}/Au/{file.name}", "Negative"] for file in (made / "Au").iterdir()]
        (root / source).write_text(json.dumps(rows))
    elif kind == "casia2":
        # more than one picture, so that some are held out
        for number in range(12):
            name = f"Tp_D_CRN_S_N_cha{number:05d}_art{number:05d}_{number:05d}"
            test_layouts.picture(root / folder / f"Tp/{name}.jpg")
            test_layouts.truth(root / folder / f"CASIA 2 Groundtruth/{name}_gt.png")
            test_layouts.picture(root / folder / f"Au/Au_nat_{number:05d}.jpg")
    elif kind == "imd2020":
        for number in range(12):
            test_layouts.picture(root / folder / f"{number}/x_{number}.png")
            test_layouts.truth(root / folder / f"{number}/x_{number}_mask.png")
            test_layouts.picture(root / folder / f"{number}/{number}_orig.jpg")
    else:
        test_layouts.TREES[kind][0](root / folder)


@pytest.fixture
def datasets(tmp_path: Path) -> Path:
    root = tmp_path / "DATASETS"
    for source in {source for protocol in PROTOCOLS for source in sources_of(data_of(protocol))}:
        plant(root, source)
    return root


def test_there_are_protocols() -> None:
    assert {"mvss", "cat", "catnet2"} <= {protocol.stem for protocol in PROTOCOLS}


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda path: path.stem)
def test_a_protocol_is_versioned_and_tests_on_nothing_it_trained_on(protocol: Path) -> None:
    data = data_of(protocol)
    name, version = data["protocol"].split()
    assert name == protocol.stem
    assert float(version) >= 1
    assert data["val"] is None
    assert 0 < data["val_share"] < 1
    assert "authentic_share" in data
    trained = {str(entry(spec).source) for spec in data["train"]}
    assert not trained & {str(entry(spec).source) for spec in data["test"].values()}
    weights = [entry(spec).weight for spec in data["train"]]
    assert all(weights) or not any(weights)


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda path: path.stem)
def test_the_counts_are_those_of_the_layouts(protocol: Path) -> None:
    data = data_of(protocol)
    for spec in [*data["train"], *data["test"].values()]:
        made = entry(spec)
        stated = BENCHMARKS.get(str(made.source).partition(":")[0])
        for kind in ("tampered", "authentic"):
            count = getattr(made, kind)
            number = getattr(stated, kind, None)
            if count is not None and number is not None:
                assert min([count] if isinstance(count, int) else count) <= number
                assert max([count] if isinstance(count, int) else count) >= number


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda path: path.stem)
def test_fit_and_another_count(protocol: Path, datasets: Path, tmp_path: Path) -> None:
    options = [
        "fit",
        "--config",
        ROOT / "configs" / "small.yaml",
        "--config",
        protocol,
        *TINY,
        f"--data.root={datasets}",
        f"--trainer.default_root_dir={tmp_path / 'runs'}",
    ]
    wrong = command(*options)
    assert wrong.returncode == 1
    assert "not the data of the protocol; complete it, or give --data.counts=warn" in " ".join(wrong.stderr.split())
    assert not (tmp_path / "runs").exists()
    succeed(
        *options,
        "--data.counts=warn",
        # the made-up trees are a dozen pictures
        "--data.val_share=0.3",
        "--data.epoch_samples=20",
        "--trainer.limit_val_batches=2",
        "--trainer.limit_train_batches=2",
    )
    config = yaml.safe_load((tmp_path / "runs" / "version_0" / "config.yaml").read_text())
    assert config["data"]["protocol"].split()[0] == protocol.stem


def test_a_protocols_own_weights_and_test_sets(datasets: Path) -> None:
    """catnet2 on the tiny trees: every list alike, and of the two halves of CASIA v2 as many."""
    given = data_of(ROOT / "configs" / "protocols" / "catnet2.yaml") | {"epoch_samples": 200, "val_share": 0.3}
    # the trees repeat pictures: what is a copy is no matter here
    data = ManipulationDataModule(
        **given, root=str(datasets), counts="ignore", size=32, batch_size=20, num_workers=0, leakage="ignore"
    )
    data.setup("fit")
    data.setup("test")
    batches = list(data.train_dataloader())
    ends = [0]
    for source in data._datasets["train"].sources:
        ends.append(ends[-1] + len(source))
    drawn = [int(index) for batch in batches for index in batch["index"]]
    assert [sum(a <= index < b for index in drawn) for a, b in itertools.pairwise(ends)] == [20] * 10
    assert len(data.test_dataloader()) == 4


def test_a_wrong_count_names_the_source_and_both_numbers(small_set: Path) -> None:
    for said, line in (
        ({"tampered": 5}, "tampered pictures: 4 instead of 5"),
        ({"authentic": [3, 4]}, "authentic pictures: 2 instead of 3 to 4"),
    ):
        data = ManipulationDataModule(test={"a": {"source": small_set.name, **said}}, root=str(small_set.parent))
        with pytest.raises(InputError, match=f"{small_set.name}: {line}"):
            data.setup("test")
    right = {"source": small_set.name, "tampered": [4, 5], "authentic": 2}
    ManipulationDataModule(test={"a": right}, root=str(small_set.parent)).setup("test")


def test_take_draws_a_part_once_for_all(small_set: Path) -> None:
    names = [
        [pair.image.name for pair in open_entry(entry({"source": str(small_set), "take": n}), 64, seed).pairs]  # type: ignore[attr-defined]
        for n, seed in ((2, 0), (4, 0), (4, 1), (6, 0))
    ]
    assert [len(part) for part in names] == [2, 4, 4, 6]
    assert set(names[0]) < set(names[1]) < set(names[3])
    assert names[1] == names[2]
    with pytest.raises(InputError, match="holds 6"):
        open_entry(entry({"source": str(small_set), "take": 7}), 64, 0)


def test_take_draws_anew_for_each_seed_where_told_to(small_set: Path) -> None:
    given = entry({"source": str(small_set), "take": 3, "anew": True})
    draws = [[pair.image.name for pair in open_entry(given, 64, seed).pairs] for seed in (*range(12), 5)]  # type: ignore[attr-defined]
    assert {len(set(draw)) for draw in draws} == {3}
    assert len({tuple(draw) for draw in draws}) > 3
    assert draws[5] == draws[-1]
    # the seed of a run reaches it in training, and never what is validated on
    for part, differ in (("train", True), ("val", False)):
        names = []
        for seed in range(6):
            given = {"source": str(small_set), "take": 3, "anew": True}
            data = ManipulationDataModule(train=[given], val=given, seed=seed, size=32, batch_size=2, leakage="ignore")
            data.setup("fit")
            names.append(tuple(pair.image.name for pair in data._datasets[part].sources[0].pairs))  # type: ignore[attr-defined]
        assert (len(set(names)) > 1) == differ
    held_out = ManipulationDataModule(train=[given], val_share=0.3, size=32, batch_size=2)
    with pytest.raises(InputError, match="val_share"):
        held_out.setup("fit")
    for wrong in ({"anew": True}, {"take": 3, "anew": "yes"}):
        with pytest.raises(InputError, match="anew"):
            entry({"source": str(small_set), **wrong})
