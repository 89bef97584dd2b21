"""Every command that the README and the manual of training show does what it says, as it is typed."""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import ROOT, TINY, make_set, succeed
from test_protocols import data_of, plant, sources_of

from ncl_lightning.images import write_image
from ncl_lightning.synthetic import SyntheticSource

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SHOWN = "".join(page.read_text(encoding="utf-8") for page in PAGES)
BLOCKS = re.findall(r"```bash\n(.*?)```", SHOWN, re.S)
LINES = [line.split("  #")[0].strip() for block in BLOCKS for line in block.splitlines() if line.strip()]
PYTHON = re.findall(r"```python\n(.*?)```", SHOWN, re.S)
COMMANDS = [line for line in LINES if "python -m ncl_lightning " in line]


@pytest.mark.timeout(900)
def test_commands_shown(tmp_path: Path) -> None:
    for number, part in enumerate(("train", "val", "test", "more")):
        make_set(tmp_path / "DATA" / part, 4, 1, seed=number)
    shutil.copytree(tmp_path / "DATA" / "test" / "Tp", tmp_path / "PICTURES")
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    for needed in sources_of(data_of(ROOT / "configs" / "protocols" / "mvss.yaml")):
        plant(tmp_path / "DATASETS", needed)
    for block in PYTHON:
        if named := re.match(r"# (\w+\.py)", block):
            (tmp_path / named[1]).write_text(block)
    assert len(COMMANDS) >= 9
    # this checkout, wherever the installed one lies
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    for line in COMMANDS:
        # every test is offline, as WANDB_MODE=offline says there
        words = shlex.split(line.removeprefix("WANDB_MODE=offline "))[3:]
        # small enough for a test; what the line itself says stays
        small = TINY if words[0] == "fit" and "--help" not in words else []
        if "configs/finetune.yaml" in words:
            # the shipped network is what it is
            small = [*TINY[TINY.index("--data.size=64") :], "--trainer.max_steps=1", "--trainer.val_check_interval=1"]
        if words[0] == "experiment":
            # it takes hours: tests/test_experiment.py runs one of its own
            small = ["--only_table=true"]
        if "--data.root" in words:
            # a dozen flat pictures are not the protocol's data, and copies of each other
            small = [*small, "--data.counts=warn", "--data.leakage=ignore", "--data.val_share=0.5"]
        succeed(*words, *small, cwd=tmp_path, PYTHONPATH=path)
    assert list((tmp_path / "OUT").glob("*_heat.png"))
    assert (tmp_path / "MADE" / "contact_sheet.png").is_file()


def test_readme_python_gives_what_predict_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = SyntheticSource(1, size=120, seed=3).read(0).image
    write_image(tmp_path / "picture.jpg", picture)
    (block,) = [block for block in PYTHON if not block.startswith("#")]
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(block, names)
    assert names["heat_map"].shape == picture.shape[:2]
    succeed("predict", "--data.predict=picture.jpg", "--trainer.default_root_dir=OUT", cwd=tmp_path)
    heat = cv2.imread(str(tmp_path / "OUT" / "picture_heat.png"), cv2.IMREAD_GRAYSCALE)
    assert np.abs(heat / 255 - names["heat_map"].numpy()).max() < 0.01


def test_every_other_command_is_a_make_target() -> None:
    others = [line for line in LINES if line not in COMMANDS]
    assert {"make quickstart", "make test"} <= set(others)
    for line in others:
        assert line.startswith("make ")
        done = subprocess.run(["make", "-n", *line.split()[1:]], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
            assert (page.parent / target).exists(), (page, target)
        anchors = {
            re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in re.findall(r"^#+ (.+)", text, re.M)
        }
        for anchor in re.findall(r"\]\(#([^)]+)\)", text):
            assert anchor in anchors, (page, anchor)
