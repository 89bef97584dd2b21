"""`quickstart`: the main job on data that the project makes itself, by the commands that anyone types."""

import json
import subprocess
import sys
import time
from pathlib import Path

from jsonargparse import ArgumentParser

from ncl_lightning.checkpoints import find_checkpoint
from ncl_lightning.errors import InputError, stop_on_sigterm


def run(*arguments: str) -> None:
    """One command of this package, shown as it is typed.

    Raises:
        InputError: The command failed (it has said why).
    """
    print("$ python -m ncl_lightning", *arguments, flush=True)
    if subprocess.run([sys.executable, "-m", "ncl_lightning", *arguments]).returncode:
        raise InputError(f"quickstart stopped: `python -m ncl_lightning {arguments[0]}` failed, see above")


def quickstart(out: Path = Path("quickstart"), config: Path = Path("configs/quickstart.yaml")) -> None:
    """Train, test and predict on made-up data in a few minutes.

    Args:
        out: Folder for the run, the results and the heat maps; earlier ones in it stay.
        config: What to train.
    """
    if not config.is_file():
        raise InputError(f"{config}: no such file; run quickstart in the project's folder, or give --config")
    root = out / time.strftime("%Y-%m-%d_%H-%M-%S")
    run("fit", f"--config={config}", f"--trainer.default_root_dir={root}")
    checkpoint = find_checkpoint("best", root)
    results, maps, pictures = root / "test", root / "heat_maps", root / "pictures"
    run("test", f"--config={config}", f"--ckpt_path={checkpoint}", f"--trainer.default_root_dir={results}")
    # pictures of another seed than the training's
    run("synthesize", "synthetic:12", str(pictures), "--count=12", "--size=192", "--seed=2026")
    run(
        "predict",
        f"--ckpt_path={checkpoint}",
        f"--data.predict={pictures / 'Tp'}",
        f"--trainer.default_root_dir={maps}",
        "--trainer.accelerator=cpu",
    )
    scores = next(iter(json.loads((results / "results.json").read_text())["sets"].values()))
    print(
        f"test F1 {scores['f1']:.3f}, everything called tampered {scores['f1_all_tampered']:.3f}; "
        f"heat maps in {maps}, panels in {checkpoint.parent.parent / 'panels'}"
    )


def main() -> int:
    """Run the command line."""
    stop_on_sigterm("give the command again")
    # not by auto_cli, which takes an argument called config for its own and leaves it out
    parser = ArgumentParser(exit_on_error=False)
    parser.add_function_arguments(quickstart)
    quickstart(**parser.parse_args(sys.argv[2:]).as_dict())
    return 0
