"""Every file in configs/ parses, and what a sweep gives an agent is run as the agent's child."""

import itertools
import os
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, TINY, make_set, succeed
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

from ncl_lightning.cli import NCLCLI
from ncl_lightning.sweeps import expand

ARMS = sorted((ROOT / "configs").glob("arms/*.yaml"))
PROTOCOLS = sorted((ROOT / "configs").glob("protocols/*.yaml"))
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
EXPERIMENTS = sorted((ROOT / "configs").glob("experiments/*.yaml"))
SWEEPS = sorted((ROOT / "configs").glob("sweeps/*.yaml")) + EXPERIMENTS
# files to stack on another
DELTAS = [ROOT / "configs" / name for name in ("ddp.yaml", "wandb.yaml")] + PROTOCOLS + ARMS


class ParseOnly(NCLCLI):
    def instantiate_classes(self) -> None: ...

    def _run_subcommand(self, subcommand: str) -> None: ...


def parse(monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> Any:
    monkeypatch.setattr(sys, "argv", ["ncl_lightning", *arguments])
    return ParseOnly().config["fit"]


@pytest.mark.parametrize("config", CONFIGS + PROTOCOLS + ARMS, ids=lambda path: path.stem)
def test_every_config_parses(monkeypatch: pytest.MonkeyPatch, config: Path) -> None:
    base = ["--config", str(ROOT / "configs" / "ncl.yaml")] if config in DELTAS else []
    options = parse(monkeypatch, ["fit", *base, "--config", str(config)])
    for section, values in yaml.safe_load(config.read_text()).items():
        for key, value in values.items() if isinstance(values, dict) else ():
            if not isinstance(value, dict):
                assert options[section][key] == value


def test_the_job_for_slurm_is_a_command_that_parses(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "configs" / "slurm.sbatch").read_text()
    asked = dict(re.findall(r"^#SBATCH --([\w-]+)=(\S+)", text, re.M))
    (line,) = [line for line in text.splitlines() if line.startswith("srun ")]
    values = {"SLURM_NTASKS_PER_NODE": asked["ntasks-per-node"], "SLURM_NNODES": asked["nodes"]}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    words = shlex.split(os.path.expandvars(line))
    monkeypatch.chdir(ROOT)
    options = parse(monkeypatch, words[words.index("fit") :])
    assert int(options.trainer.devices) == int(asked["gpus-per-node"]) == int(asked["ntasks-per-node"])
    assert options.trainer.num_nodes == int(asked["nodes"])


def test_plain_differs_from_ncl_in_the_weights_alone() -> None:
    ncl, plain = (yaml.safe_load((ROOT / "configs" / f"{name}.yaml").read_text()) for name in ("ncl", "plain"))
    assert plain["model"].pop("lambda_ncl") == plain["model"].pop("lambda_pc") == 0
    assert ncl["model"].pop("lambda_ncl") > 0
    assert ncl["model"].pop("lambda_pc") > 0
    assert ncl == plain


def combinations(parameters: dict[str, Any]) -> list[dict[str, Any]]:
    """Every value of every parameter at least once; the ends of a distribution."""
    values = {key: p.get("values") or [p["min"], p["max"]] for key, p in parameters.items()}
    longest = max(len(v) for v in values.values())
    return [{key: v[i % len(v)] for key, v in values.items()} for i in range(longest)]


def agent_command(sweep: dict[str, Any], chosen: dict[str, Any]) -> list[str]:
    """The command that wandb's agent makes of a sweep's command and one choice."""
    flags = create_sweep_command_args({"args": {key: {"value": value} for key, value in chosen.items()}})
    out = []
    for word in create_sweep_command(sweep["command"]):
        word = str(word)
        if word == "${args}":
            out.extend(flags["args"])
        elif word == "${args_no_boolean_flags}":
            out.extend(flags["args_no_boolean_flags"])
        elif not word.startswith("${") and word != "/usr/bin/env":
            out.append(word)
    return out


@pytest.mark.parametrize("sweep", SWEEPS, ids=lambda path: path.stem)
def test_every_command_of_a_sweep_parses(monkeypatch: pytest.MonkeyPatch, sweep: Path) -> None:
    monkeypatch.chdir(ROOT)
    settings = yaml.safe_load(sweep.read_text())
    for chosen in combinations(settings["parameters"]):
        words = agent_command(settings, chosen)
        options = parse(monkeypatch, words[words.index("fit") :])
        for key, value in chosen.items():
            if key != "config":
                # the command line reads text as YAML
                assert options[key] == (yaml.safe_load(value) if isinstance(value, str) else value), key
        if "metric" in settings:
            assert f"best/{options['checkpoint']['monitor']}" == settings["metric"]["name"]


@pytest.mark.parametrize("file", EXPERIMENTS, ids=lambda path: path.stem)
def test_a_wandb_agent_would_start_what_we_start(file: Path) -> None:
    settings = yaml.safe_load(file.read_text())
    keys = list(settings["parameters"])
    values = [p.get("values") or [p["value"]] for p in settings["parameters"].values()]
    theirs = [agent_command(settings, dict(zip(keys, chosen, strict=True))) for chosen in itertools.product(*values)]
    ours = expand(file)
    assert [list(run.fit[run.fit.index("-m") :]) for run in ours] == theirs
    assert len({run.name for run in ours}) == len(ours)


def test_a_sweep_agents_child_leaves_config_metrics_and_panels(tmp_path: Path) -> None:
    settings = yaml.safe_load((ROOT / "configs" / "sweeps" / "ncl.yaml").read_text())
    data = make_set(tmp_path / "data", 4)
    words = agent_command(settings, combinations(settings["parameters"])[0])
    words = [word.replace("DATA/train", str(data)).replace("DATA/val", str(data)) for word in words]
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"wandb_version": 1, "model.lr": {"value": 0.0001}}))
    succeed(
        *words[words.index("fit") :],
        *TINY,
        "--trainer.logger.save_dir",
        tmp_path,
        f"--trainer.default_root_dir={tmp_path / 'runs'}",
        fresh=True,
        WANDB_MODE="offline",
        WANDB_SWEEP_ID="abc123",
        WANDB_RUN_ID="run1",
        WANDB_SWEEP_PARAM_PATH=str(tmp_path / "params.yaml"),
    )
    (offline,) = (tmp_path / "wandb").glob("offline-run-*-run1")
    assert list((offline / "files" / "media" / "images").glob("panels_*.png"))
    # offline, wandb keeps config and metrics as records of one file: their keys stand in it as they are
    records = next(offline.glob("*.wandb")).read_bytes()
    assert settings["metric"]["name"].encode() in records
    for key in (
        b"val/f1",
        b"train/loss",
        b"contrast/val/tampered/margin",
        b"contour_role",
        b"temperature",
        b"max_epochs",
    ):
        assert key in records, key
    run = tmp_path / "runs" / "version_0"
    assert {"config.yaml", "metrics.csv", "panels", "checkpoints"} <= set(os.listdir(run))


def test_the_pairs_of_options_that_a_sweep_can_give_are_plain() -> None:
    for sweep in SWEEPS:
        for key, parameter in yaml.safe_load(sweep.read_text())["parameters"].items():
            for value in itertools.chain(parameter.get("values", [])):
                assert isinstance(value, str | int | float | bool), key
