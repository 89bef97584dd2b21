"""Checkpoint files: the one that comes with the package, those of runs, and what is taken from them."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn

from ncl_lightning.errors import InputError

SHIPPED = Path(__file__).parent / "weights" / "traces.ckpt"
"""The model that comes with the package, `--ckpt_path shipped`; weights/README.md is its card."""

_IDENTITIES = ("network.encoder.wider.", "network.encoder.blocks.")


def newest_checkpoint(name: str, root: Path) -> Path | None:
    """The `last.ckpt` or `best.ckpt` of the newest run below a folder that has one; None where there is none."""
    return max(root.glob(f"**/checkpoints/{name}.ckpt"), key=_begun, default=None)


def _begun(checkpoint: Path) -> float:
    """When a checkpoint's run began, or went on: it may be saved anew while another run is newer."""
    config = checkpoint.parent.parent / "config.yaml"
    return (config if config.is_file() else checkpoint).stat().st_mtime


def find_checkpoint(name: str, root: Path) -> Path:
    """The newest `last.ckpt` or `best.ckpt` of the runs below a folder.

    Raises:
        InputError: There is none.
    """
    file = newest_checkpoint(name, root)
    if file is None:
        raise InputError(f"{root}: no run below it has a checkpoints/{name}.ckpt; give the .ckpt file of a run")
    return file


def named_checkpoint(name: str, root: Path, of_run: str = "best") -> str:
    """The file that a name means.

    Args:
        name: `shipped`; `best` or `last`: that of the newest run below `root`; a run's folder; else any path.
        root: Folder of the runs.
        of_run: What to take of a run's folder, `best` or `last`; the other one where there is none.

    Raises:
        InputError: No run has one.
    """
    if name == "shipped":
        return str(SHIPPED)
    if name in ("best", "last"):
        return str(find_checkpoint(name, root))
    if not Path(name).is_dir():
        return name
    kept = [Path(name) / "checkpoints" / f"{kind}.ckpt" for kind in (of_run, "best", "last")]
    file = next((file for file in kept if file.is_file()), None)
    if file is None:
        raise InputError(f"{name}: a folder, but no run with a checkpoint (no {kept[0]}); give the .ckpt file of a run")
    return str(file)


def beside_checkpoint(checkpoint: str) -> Path:
    """A checkpoint's folder; of the shipped model the working folder, since nothing is written into the package."""
    return Path() if Path(checkpoint) == SHIPPED else Path(checkpoint).parent


def load_checkpoint(path: str) -> dict[str, Any]:
    """A checkpoint on the CPU, read with `weights_only=True`; `shipped` is the one that comes with the package.

    Raises:
        InputError: There is no such file, or it is not a checkpoint of this project.
    """
    try:
        checkpoint = torch.load(SHIPPED if path == "shipped" else path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path}: no such checkpoint; give the .ckpt file of a run") from None
    except Exception as error:
        raise InputError(f"{path}: not a checkpoint ({type(error).__name__}); give the .ckpt file of a run") from error
    keys = ("state_dict", "pytorch-lightning_version")
    missing = keys if not isinstance(checkpoint, dict) else [key for key in keys if key not in checkpoint]
    if missing:
        raise InputError(f"{path}: not a checkpoint of a run (no {missing[0]} in it); give the .ckpt file of a run")
    return checkpoint


def take_weights(module: nn.Module, path: str, weights: dict[str, Tensor]) -> None:
    """Load the weights of a module like this one, or of an earlier `traces`: blocks that it lacks stay identities.

    Raises:
        InputError: They are of another network; `path` is where they came from.
    """
    own = module.state_dict()
    further = {name for name in own.keys() - weights.keys() if name.startswith(_IDENTITIES)}
    unlike = (own.keys() ^ weights.keys()) - further
    unlike |= {name for name in own.keys() & weights.keys() if own[name].shape != weights[name].shape}
    if unlike:
        raise InputError(
            f"{path}: the weights of another network ({len(unlike)} of {len(own)} don't fit, {min(unlike)} for one); "
            "give model.encoder, decoder, options and sizes as it was trained with"
        )
    module.load_state_dict(weights, strict=False)
    if further:
        rank_zero_info(f"{path}: blocks that are not in it begin as identities ({len(further)} weights)")
