"""What results and predictions say that they come from: the checkpoint, how it was trained, and how it was used."""

from typing import Any

from ncl_lightning.checkpoints import load_checkpoint
from ncl_lightning.data import ManipulationDataModule
from ncl_lightning.files import file_hash


def record(command: str, options: Any) -> dict[str, Any]:
    """The origin of what `test` or `predict` writes, plain values.

    Args:
        command: `test` or `predict`.
        options: Its options as parsed; `ckpt_path` is a file.

    Returns:
        `checkpoint` and `checkpoint_sha256`; `model` and `data`, the options of this command, without those that only
        training uses; `training`, see `trained`.
    """
    unused = {*ManipulationDataModule.TRAINING_KEYS, *({"test", "predict"} - {command})}
    return {
        "checkpoint": options.ckpt_path,
        "checkpoint_sha256": file_hash(options.ckpt_path),
        "model": {key: value for key, value in options.model.as_dict().items() if key != "warm_start"},
        "data": {key: value for key, value in options.data.as_dict().items() if key not in unused},
        "training": trained(load_checkpoint(options.ckpt_path)),
    }


def trained(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """What a checkpoint says of its training; of an exported one less is known, and None stands for what is not.

    Returns:
        `model` and `data`, its options (the test sets that were named there left out); `seed`, that of
        `seed_everything`; `epoch`, counted from 0, and `global_step`, the optimizer's steps until it was saved.
    """
    data = checkpoint.get("datamodule_hyper_parameters", {})
    return {
        "model": checkpoint.get("hyper_parameters", {}),
        "data": {key: value for key, value in data.items() if key not in ("test", "predict")},
        **{key: checkpoint.get(key) for key in ("seed", "epoch", "global_step")},
    }
