"""In what options runs differ: nested options as flat ones, and those whose values are not all the same."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_LONGEST = 60  # letters of a value in a table


def flat(options: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Nested mappings as one, `{"model": {"lr": 1}}` as `{"model.lr": 1}`; lists stay values."""
    return dict(_flat(options, above))


def _flat(options: Mapping[str, Any], above: str) -> Iterator[tuple[str, Any]]:
    for key, value in options.items():
        if isinstance(value, Mapping) and value:
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
    """A value as a configuration has it."""
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)


def cut(words: str) -> str:
    """Words for a table's cell, the end of long ones left out."""
    return words if len(words) <= _LONGEST else f"{words[: _LONGEST - 1]}…"
