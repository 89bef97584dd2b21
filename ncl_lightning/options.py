"""In what options runs differ: nested options as flat ones, and those whose values are not all the same."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ncl_lightning.class_path import arguments_of

_LONGEST = 60  # letters of a value in a table
OF_NETWORK = (
    "encoder", "decoder", "encoder_weights", "options", "branch_channels", "embedding_dim",
)  # fmt: skip
"""Options of the model that only PivotNetwork goes by."""
OF_LOSS = (
    "temperature", "contour_role", "consistency", "lambda_ncl", "lambda_pc", "max_anchors", "scope", "bce_weight",
    "dice_weight",
)  # fmt: skip
"""Options of the model that only NCLLoss goes by."""


def in_use(model: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a model without those that a network or a loss of the user's own leaves unused."""
    idle = (OF_NETWORK if model.get("network") else ()) + (OF_LOSS if model.get("loss") else ())
    return {key: value for key, value in model.items() if key not in idle}


def flat(options: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Nested mappings as one, `{"model": {"lr": 1}}` as `{"model.lr": 1}`; lists and `{class_path: …}` stay values."""
    return dict(_flat(options, above))


def _flat(options: Mapping[str, Any], above: str) -> Iterator[tuple[str, Any]]:
    for key, value in options.items():
        # an object is one value, to differ from none
        if isinstance(value, Mapping) and value and "class_path" not in value:
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def differing(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The options of which two runs have different values, in the order in which they are met.

    A run that lacks an option (it is of an older version) says nothing of it.
    """
    values: dict[str, set[str]] = {}
    for run in runs:
        for key, value in run.items():
            values.setdefault(key, set()).add(text(value))
    return [key for key, found in values.items() if len(found) > 1]


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Each option's name without its part, `lr` of `model.lr`, where that is clear."""
    tails = [key.partition(".")[2] or key for key in keys]
    return {key: tail if tails.count(tail) == 1 else key for key, tail in zip(keys, tails, strict=True)}


def text(value: Any) -> str:
    """A value as a configuration has it; an object as its class and arguments, `mine.Loss(w=2)`."""
    if isinstance(value, Mapping) and "class_path" in value:
        listed = (f"{name}={text(one)}" for name, one in arguments_of(value).items())
        return f"{value['class_path']}({', '.join(listed)})"
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)


def cut(words: str) -> str:
    """Words for a table's cell, the end of long ones left out."""
    return words if len(words) <= _LONGEST else f"{words[: _LONGEST - 1]}…"
