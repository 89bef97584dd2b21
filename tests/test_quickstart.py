"""`quickstart` runs the main job by its own commands; here on less data and for one epoch."""

from pathlib import Path

import yaml
from conftest import ROOT, succeed


def test_quickstart_ends_with_its_scores_and_pictures(tmp_path: Path) -> None:
    config = yaml.safe_load((ROOT / "configs" / "quickstart.yaml").read_text())
    config["data"] |= {"train": ["synthetic:16"], "val": "synthetic:4", "test": {"made": "synthetic:6"}}
    config["data"]["num_workers"] = 0
    config["trainer"]["max_epochs"] = 1
    config["panels"]["every_n_epochs"] = 1
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(config))
    done = succeed("quickstart", "--out", tmp_path / "out", "--config", tmp_path / "small.yaml")
    last = done.stdout.strip().splitlines()[-1]
    assert last.startswith("test F1 ")
    assert "everything called tampered 0." in last
    (run,) = (tmp_path / "out").iterdir()
    assert list((run / "heat_maps").glob("*_overlay.png"))
    assert list((run / "version_0" / "panels").glob("*.png"))
