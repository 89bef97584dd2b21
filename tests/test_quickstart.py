"""`quickstart` runs the main job by its own commands; here on less data and for one epoch."""

import json
import signal
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, stopped, succeed


@pytest.fixture
def config(tmp_path: Path) -> Path:
    options = yaml.safe_load((ROOT / "configs" / "quickstart.yaml").read_text())
    options["data"] |= {"train": ["synthetic:16"], "val": "synthetic:4", "test": {"made": "synthetic:6"}}
    options["data"]["num_workers"] = 0
    options["trainer"]["max_epochs"] = 1
    options["panels"]["every_n_epochs"] = 1
    file = tmp_path / "small.yaml"
    file.write_text(yaml.safe_dump(options))
    return file


def test_quickstart_ends_with_its_scores_and_pictures(tmp_path: Path, config: Path) -> None:
    done = succeed("quickstart", "--out", tmp_path / "out", "--config", config)
    last = done.stdout.strip().splitlines()[-1]
    assert last.startswith("test F1 ")
    assert "everything called tampered 0." in last
    # by the config that it was given
    (run,) = (tmp_path / "out").iterdir()
    assert set(json.loads((run / "test" / "results.json").read_text())["sets"]) == {"made"}
    assert list((run / "heat_maps").glob("*_overlay.png"))
    assert list((run / "version_0" / "panels").glob("*.png"))


def test_quickstart_stops_what_it_started(tmp_path: Path, config: Path) -> None:
    options = ("quickstart", "--out", tmp_path, "--config", config)
    told = stopped(*options, signum=signal.SIGTERM, folder=tmp_path, sign="*/version_0")
    assert told.returncode == 143
    assert told.stderr.splitlines()[-1] == "ncl_lightning: stopped by SIGTERM; give the command again"
