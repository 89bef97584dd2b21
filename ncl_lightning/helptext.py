"""What `--help` says of fit, validate, test and predict, where it is not what Lightning says."""

import argparse

from lightning.pytorch.cli import LightningArgumentParser

# of the 150 options that each command takes, those that change what an evaluation gives; the others are of training
_OF_EVALUATION = {
    "help",
    "config",
    "ckpt_path",
    "model.threshold",
    "model.copies",
    "model.own_cut",
    "model.second_look",
    "data.size",
    "data.eval_sizing",
    "data.max_size",
    "data.root",
    "data.eval_batch_size",
    "data.num_workers",
    "trainer.accelerator",
    "trainer.devices",
    "trainer.num_nodes",
    "trainer.strategy",
    "trainer.precision",
    "trainer.default_root_dir",
}
_OF_ONE = {
    "validate": {"data.val", "data.val_share", "data.leakage", "data.counts"},
    "test": {"data.test", "data.leakage", "data.counts", "model.conventions"},
    "predict": {"data.predict", "raw"},
    "robustness": {"data.test", "data.leakage", "data.counts", "preset", "levels"},
}
_PURPOSES = {
    "fit": "Train a network, and validate it as it goes.",
    "validate": "Score a checkpoint on the validation data of its run, or on others (--data.val).",
    "test": 'Score a checkpoint on named sets (--data.test \'{"NAME": "SOURCE"}\'): tables and a report.',
    "predict": (
        "Heat maps, masks and overlays of pictures: --data.predict PICTURES, with the model that comes along or "
        "another one (--ckpt_path), into a folder (--trainer.default_root_dir). Outlined is what lies above "
        "--model.threshold."
    ),
    "robustness": "Score a checkpoint on named sets (--data.test) under blur, noise, JPEG, resizing, gamma, cropping.",
}
_STORED = (
    " Options that are not given come from the checkpoint (model.*, data.size, data.eval_sizing, data.max_size), "
    "whatever default is shown below. `fit --help` lists the other options, which are rarely needed here."
)


def explain(command: str, parser: LightningArgumentParser) -> None:
    """Say what a command is for and what its options mean here; leave out those of training in evaluation."""
    shown = _OF_EVALUATION | _OF_ONE[command] if command in _OF_ONE else None
    parser.description = _PURPOSES[command] + (_STORED if shown else "")
    other = "Checkpoint: a file, a run's folder, `best` or `last` of the newest run below runs/, or `shipped`"
    texts = {
        "ckpt_path": {
            "fit": "Checkpoint to resume from: a run's folder, a file, or `last`, that of the newest run below runs/.",
            "predict": f"{other}, the default.",
        }.get(command, f"{other}."),
        "trainer.default_root_dir": {
            "fit": "Folder of the runs; by default runs/. Each run has a folder version_N of its own in it, or --name.",
        }.get(command, "Folder to write to; by default one named by the time, beside the checkpoint."),
    }
    for action in parser._actions:
        action.help = texts.get(action.dest, action.help)
        if shown and action.dest not in shown:
            action.help = argparse.SUPPRESS
