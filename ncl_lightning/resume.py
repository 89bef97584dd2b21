"""What a checkpoint must be told before a run goes on from it: where its folder is now, and what options are new."""

from pathlib import Path
from typing import Any

from ncl_lightning.errors import InputError


def follow_the_folder(checkpoint: dict[str, Any], file: Path) -> None:
    """Let a run that goes on from `file` know its best checkpoint, also where its folder was moved or copied.

    Lightning's ModelCheckpoint forgets it then, and the next one, maybe a worse one, would take its place.
    """
    folder = file.absolute().parent
    states = [one for one in checkpoint.get("callbacks", {}).values() if isinstance(one, dict) and "dirpath" in one]
    own = [Path(one["dirpath"]) for one in states if Path(one["best_model_path"]).name == file.name]

    def here(name: str) -> str:
        return str(folder / Path(name).relative_to(own[0])) if Path(name).is_relative_to(own[0]) else name

    # those that save elsewhere stay there
    for state in states if own else ():
        state |= {key: here(state[key]) for key in ("dirpath", "best_model_path", "kth_best_model_path")}
        state["best_k_models"] = {here(name): score for name, score in state["best_k_models"].items()}


def retune(checkpoint: dict[str, Any], lr: float, weight_decay: float, trained: int | None) -> None:
    """Let a learning rate and weight decay that were changed win over a checkpoint's; its schedule stays where it is.

    What was not changed stays, and the rates of groups of one's own keep their ratio.

    Args:
        checkpoint: Changed in place.
        lr: At its peak.
        weight_decay: Of all weights that had the one of before.
        trained: Weights (tensors) that are trained now; None where the network is another one, which is met elsewhere.

    Raises:
        InputError: The run trained others.
    """
    before = checkpoint.get("hyper_parameters", {})
    lr_before, decay_before = before.get("lr", lr), before.get("weight_decay", weight_decay)

    def scaled(rate: float) -> float:
        if lr == lr_before:
            # to the last bit
            return rate
        return rate / lr_before * lr if lr_before else lr

    for state in checkpoint.get("optimizer_states", ()):
        then = sum(len(group["params"]) for group in state["param_groups"])
        if trained is not None and then != trained:
            raise InputError(
                f"the run trained {then} weights, and {trained} with these options (the projections train where "
                "a λ is above 0): no run can go on like that; start anew with --model.warm_start"
            )
        for group in state["param_groups"]:
            group |= {key: scaled(group[key]) for key in ("lr", "initial_lr") if key in group}
            if group.get("weight_decay") == decay_before:
                group["weight_decay"] = weight_decay
    # schedules of one's own may have neither
    for state in checkpoint.get("lr_schedulers", ()):
        state |= {key: [scaled(rate) for rate in state[key]] for key in ("base_lrs", "_last_lr") if key in state}


def where_it_stands(loop: dict[str, Any]) -> tuple[int, int]:
    """The epoch that a run goes on with, and how many of its batches are done; of a checkpoint's `fit_loop`."""
    epoch, batches = loop["epoch_progress"]["current"], loop["epoch_loop.batch_progress"]
    within = epoch["ready"] > epoch["processed"] and not batches["is_last_batch"]
    # not `completed`: what is saved after a batch counts that one as processed alone
    return epoch["processed"], batches["current"]["processed"] if within else 0
