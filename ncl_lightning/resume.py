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
    """Let the learning rate and weight decay given win over a checkpoint's; where its schedule stands, it stays.

    Args:
        checkpoint: Of a run with one learning rate; changed in place.
        lr: At its peak.
        weight_decay: Of all weights.
        trained: Weights (tensors) that are trained now; None where the network is another one, which is met elsewhere.

    Raises:
        InputError: The run trained others.
    """
    for state in checkpoint.get("optimizer_states", ()):
        before = sum(len(group["params"]) for group in state["param_groups"])
        if trained is not None and before != trained:
            raise InputError(
                f"the run trained {before} weights, and {trained} with these options (the projections train where "
                "a λ is above 0): no run can go on like that; start anew with --model.warm_start"
            )
        for group in state["param_groups"]:
            group["initial_lr"] = lr
            group["weight_decay"] = weight_decay
    for state in checkpoint.get("lr_schedulers", ()):
        ratio = lr / state["base_lrs"][0] if state["base_lrs"][0] else 1.0
        state["base_lrs"] = [lr] * len(state["base_lrs"])
        state["_last_lr"] = [ratio * one for one in state["_last_lr"]]
        for optimizer in checkpoint["optimizer_states"]:
            for group in optimizer["param_groups"]:
                group["lr"] = ratio * group["lr"]
