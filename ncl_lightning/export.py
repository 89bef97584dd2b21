"""`export CKPT OUT`: a checkpoint to hand on, without what belongs to the machine that trained it."""

import math
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from ncl_lightning.checkpoints import load_checkpoint, named_checkpoint
from ncl_lightning.data import ManipulationDataModule
from ncl_lightning.errors import InputError
from ncl_lightning.files import replacing
from ncl_lightning.function_command import run_typed
from ncl_lightning.leakage import LeakageGuard

# whoever names one of these expects its format
_OTHERS = (".onnx", ".safetensors", ".ts", ".torchscript", ".engine", ".tflite", ".pb", ".h5")
# the others are the optimizer's, the loops' and the callbacks', which hold paths
_KEPT = (
    "state_dict",
    "hyper_parameters",
    "datamodule_hyper_parameters",
    "val_threshold",
    "seed",
    "epoch",
    "global_step",
    "pytorch-lightning_version",
)
# of the data only what evaluation needs: sources are paths of one machine
_DATA = ManipulationDataModule.EVALUATION_KEYS
# where the fingerprints are
_GUARD = ManipulationDataModule.__qualname__


def export(
    ckpt: str,
    out: Path,
    threshold: float = 0.5,
    calibration: tuple[float, float] | None = None,
    second_look: int | None = None,
    fingerprints: bool = True,
    mean_with: list[str] | None = None,
) -> None:
    """Write a checkpoint to hand on: weights, what evaluation needs, and what it was trained on as fingerprints.

    Every command takes it, but no training can be resumed from it: optimizer, callbacks and paths stay behind. The
    fingerprints are small grey thumbnails of the training and validation pictures; `--fingerprints false` keeps them
    back.

    Args:
        ckpt: Checkpoint of a run; `best` or `last`, that of the newest run below runs/; or `shipped`.
        out: File to write, best called .ckpt; it must not exist.
        threshold: A good threshold, such as validation's best one: the logits are moved so that it comes to
            lie at 0.5, where everybody cuts. Ranks, and so AUC and average precision, stay.
        calibration: Scale and shift of the logits by which values become probabilities (Platt 1999), such as
            benchmarks/calibrate.py fits; `[0.8, -2.1]`, say. Each picture is then cut at its own (`model.own_cut`).
        second_look: Set `model.second_look`: pictures whose longer side has so many pixels or more are looked at again
            at half size; 0: none are.
        fingerprints: Keep the fingerprints (32×32 grey thumbnails) of the training and validation pictures, by which
            `test` refuses to score on them.
        mean_with: Checkpoints of other runs of the same network that went on from the same weights: each weight written
            is the mean of all (a model soup, Wortsman et al. 2022), which is often better than either.
    """
    if out.suffix.lower() in _OTHERS:
        raise InputError(f"{out}: export writes PyTorch checkpoints only; name it {out.stem}.ckpt")
    file = named_checkpoint(ckpt, Path("runs"))
    checkpoint = load_checkpoint(file)
    if out.exists():
        raise InputError(f"{out}: the file exists; give a new one")
    if mean_with:
        _average(checkpoint, [named_checkpoint(other, Path("runs")) for other in mean_with])
    kept: dict[str, Any] = {key: checkpoint[key] for key in _KEPT if key in checkpoint}
    data = kept.get("datamodule_hyper_parameters", {})
    kept["datamodule_hyper_parameters"] = {key: data[key] for key in _DATA if key in data}
    # a path of the machine that trained it, and of no use to what has the weights
    kept.get("hyper_parameters", {}).pop("warm_start", None)
    if threshold != 0.5 and calibration:
        raise InputError("threshold and calibration: both move the logits; give one of them")
    if threshold != 0.5:
        if not 0 < threshold < 1:
            raise InputError(f"threshold is {threshold}; give one between 0 and 1")
        _move(kept, 1.0, -math.log(threshold / (1 - threshold)))
        # one cut for all pictures was asked for
        kept["hyper_parameters"]["own_cut"] = False
    if calibration:
        _move(kept, *calibration)
        kept["hyper_parameters"]["own_cut"] = True
    if second_look is not None:
        if second_look < 0:
            raise InputError(f"second_look is {second_look}; give a number of pixels, such as 640, or 0 for none")
        kept["hyper_parameters"]["second_look"] = second_look or None
    if fingerprints and _GUARD in checkpoint:
        kept[_GUARD] = checkpoint[_GUARD]
    kept["ncl_lightning_version"] = version("ncl_lightning")
    with replacing(out) as partial:
        try:
            torch.save(kept, partial)
        except RuntimeError as error:  # torch's word for a full disk
            raise OSError(str(error)) from error
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB, from {file}")
    if count := sum(len(part["digests"]) for part in kept.get(_GUARD, {}).values()):
        print(
            f"in it are {count} fingerprints of training and validation pictures (32×32 grey thumbnails), by which "
            "`test` refuses to score on them; --fingerprints false leaves them out"
        )


def _average(checkpoint: dict[str, Any], files: Sequence[str]) -> None:
    """Let a checkpoint's weights be the mean of its own and those of others, and remember what any was trained on."""
    weights, others = checkpoint["state_dict"], [load_checkpoint(file) for file in files]
    for file, other in zip(files, others, strict=True):
        theirs = other["state_dict"]
        if {name: one.shape for name, one in theirs.items()} != {name: one.shape for name, one in weights.items()}:
            raise InputError(f"{file}: its weights don't fit this network, so they can't be averaged; leave it out")
    for name, own in weights.items():
        # but for what counts: BatchNorm's batches
        if own.is_floating_point():
            own.copy_(torch.stack([own.double(), *(other["state_dict"][name].double() for other in others)]).mean(0))
    # no validation has looked at this network
    checkpoint["val_threshold"] = None
    guard = LeakageGuard()
    for one in (checkpoint, *others):
        guard.load_state_dict(one.get(_GUARD, {}))
    checkpoint[_GUARD] = guard.state_dict()


def _move(checkpoint: dict[str, Any], scale: float, shift: float) -> None:
    """Let a logit x become scale · x + shift, and 0.5 the threshold."""
    options = checkpoint.get("hyper_parameters", {})
    weights = checkpoint["state_dict"]
    bias = None if options.get("network") else weights.get("network.head.bias")
    if not 0 < scale < math.inf or not math.isfinite(shift):
        raise InputError(f"calibration is {scale}, {shift}; give a scale above 0 and a shift")
    if bias is None:
        raise InputError("threshold, calibration: for a PivotNetwork alone; leave them out")
    options["threshold"] = 0.5
    weights["network.head.weight"] *= scale
    bias.mul_(scale).add_(shift)
    # the one that validation chose moves along
    chosen = checkpoint.get("val_threshold")
    if chosen is not None and 0 < chosen < 1:
        odds = (chosen / (1 - chosen)) ** scale * math.exp(shift)
        moved = round(odds / (1 + odds), 2)
        # at the ends, what is above it is everything or nothing
        checkpoint["val_threshold"] = moved if 0 < moved < 1 else None


def main() -> int:
    """Run the command line."""
    run_typed(export)
    return 0
