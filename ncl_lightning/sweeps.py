"""W&B sweep files expanded on this machine: the runs of a grid, and the command of each."""

import hashlib
import itertools
import json
import sys
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ncl_lightning.errors import InputError
from ncl_lightning.options import flat

SEED = "seed_everything"
# what a training does not go by: a finished one can be tested anew
_OF_TEST = ("data.test", "model.conventions")
_LONGEST = 100  # letters of an arm in a folder's name


@dataclass(frozen=True)
class Run:
    """One run of a grid.

    Attributes:
        arm: What tells it from the others but for the seed, such as `switch` or `lr=0.001`.
        seed: Its seed; None where the file sweeps none.
        fit: The command, from the interpreter on.
    """

    arm: str
    seed: int | None
    fit: tuple[str, ...]

    @property
    def name(self) -> str:
        """A folder's name."""
        safe = "".join(c if c.isalnum() or c in "-_=.," else "_" for c in self.arm)
        if len(safe) > _LONGEST:
            safe = f"{safe[:_LONGEST]}-{hashlib.sha256(self.arm.encode()).hexdigest()[:8]}"
        return safe if self.seed is None else f"{safe}-seed{self.seed}"

    def configs(self) -> list[Path]:
        """The config files that its command names."""
        return [Path(value) for name, value in self.options() if name == "config" and Path(value).is_file()]

    def options(self) -> list[tuple[str, str]]:
        """Names and values of its command's options, in their order."""
        return _options(self.fit)

    def settings(self) -> dict[str, Any]:
        """What its configs and options say, by dotted name."""
        return settings(self.fit, {str(path): path.read_text("utf-8") for path in self.configs()})

    def test(self, checkpoint: Path) -> tuple[str, ...]:
        """The same command with `test` for `fit`, on a checkpoint; on its validation data where no test set is named.

        Raises:
            InputError: Neither is named.
        """
        at = self.fit.index("fit")
        return (*self.fit[:at], "test", *self.fit[at + 1 :], *self.on_validation(), f"--ckpt_path={checkpoint}")

    def on_validation(self) -> tuple[str, ...]:
        """Options by which `test` scores the validation data; none where test sets are named.

        Raises:
            InputError: Neither is named.
        """
        said = self.settings()
        if any(is_below(name, "data.test") and value is not None for name, value in said.items()):
            return ()
        parts = {name.removeprefix("data.val."): value for name, value in said.items() if name.startswith("data.val.")}
        val = parts or said.get("data.val")
        if not val:
            raise InputError(
                f'{self.arm}: its command names nothing to test on; give it --data.test \'{{"NAME": "SOURCE"}}\''
            )
        sources = val if isinstance(val, list) else [val]
        named = {f"val{number}" if len(sources) > 1 else "val": source for number, source in enumerate(sources, 1)}
        return (f"--data.test={json.dumps(named)}", "--data.leakage=ignore")


def settings(command: Sequence[str], configs: Mapping[str, str]) -> dict[str, Any]:
    """What a command says, by dotted name: its options and the text of its configs, of which the later one wins."""
    said: dict[str, Any] = {}
    for name, text in _options(command):
        value = yaml.safe_load(configs.get(text, "")) if name == "config" else _read_as_yaml(text)
        above = "" if name == "config" else name
        if name.endswith("+"):
            # each of them is appended
            name = name.removesuffix("+")
            one, before = value if isinstance(value, list) else [value], said.get(name) or []
            value, above = [*(before if isinstance(before, list) else [before]), *one], name
        said |= flat({above: value} if above else value or {})
    return said


def _read_as_yaml(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def of_training(said: Mapping[str, Any]) -> dict[str, Any]:
    """Those settings that a training goes by, which is not what it is tested on."""
    return {name: value for name, value in said.items() if not any(is_below(name, other) for other in _OF_TEST)}


def is_below(name: str, other: str) -> bool:
    """A dotted name is another one or a part of it."""
    return f"{name}.".startswith(f"{other}.")


def _options(command: Sequence[str]) -> list[tuple[str, str]]:
    found = []
    for word, following in itertools.zip_longest(command, command[1:], fillvalue=""):
        if word.startswith("--"):
            name, given, value = word.removeprefix("--").partition("=")
            found.append((name, value if given else following))
    return found


def expand(file: Path) -> list[Run]:
    """The runs of a sweep file, in the order of its parameters, the last one fastest.

    Only what a grid needs is read: `command`, and `parameters` with `value` or `values`. W&B's agent, given the same
    file, starts the same commands.

    Raises:
        InputError: The file is missing, or it is no grid with a `fit` command, or names a config that is missing.
    """
    if not file.is_file():
        raise InputError(f"{file}: no such file; give a sweep file, as in configs/experiments")
    sweep = _mapping(file)
    if sweep.get("method") != "grid":
        raise InputError(f"{file}: method is {sweep.get('method')}, only a grid can be run here; use a W&B agent")
    parameters = sweep.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise InputError(f"{file}: parameters is {parameters!r}; write NAME: {{values: [...]}} for each")
    choices: dict[str, list[Any]] = {}
    for name, given in parameters.items():
        if not isinstance(given, dict) or not given.keys() & {"value", "values"}:
            raise InputError(f"{file}: parameters.{name} needs `value` or `values`")
        if "values" in given and not (isinstance(given["values"], list) and given["values"]):
            raise InputError(f"{file}: parameters.{name}.values is {given['values']!r}; give a list that is not empty")
        choices[str(name)] = list(given["values"]) if "values" in given else [given["value"]]
    command = sweep.get("command")
    command = [str(part) for part in command] if isinstance(command, list) else []
    if "fit" not in command or "${args}" not in command:
        raise InputError(f"{file}: its command must hold `fit` and `${{args}}`")
    varied = [name for name, values in choices.items() if len(values) > 1 and name != SEED]
    runs = []
    for values in itertools.product(*choices.values()):
        chosen = dict(zip(choices, values, strict=True))
        arm = ",".join(_label(name, chosen[name]) for name in varied) or file.stem
        runs.append(Run(arm, chosen.get(SEED), _filled(command, chosen)))
    twice = [name for name, count in Counter(run.name for run in runs).items() if count > 1]
    if twice:
        raise InputError(f"{file}: two runs are called {twice[0]}; give their config files different names")
    for run in runs:
        _none_overruled(file, run, choices)
    return runs


def _none_overruled(file: Path, run: Run, swept: Collection[str]) -> None:
    """What comes later wins, and runs that are called different would be alike.

    Raises:
        InputError: A config file or an option sets what is swept before it.
    """
    before: list[str] = []
    for name, value in run.options():
        if name == "config":
            if not Path(value).is_file():
                raise InputError(f"{file}: {value}: no such config file; mend its path (from {Path.cwd()})")
            set_there = flat(_mapping(Path(value)))
            again = [key for key in set_there if any(_overlap(key, other) for other in before)]
            if again:
                raise InputError(
                    f"{file}: {value} sets {again[0]}, too, and comes later, so it would win; put `config` before it"
                )
            continue
        if any(_overlap(name, other) for other in before):
            raise InputError(f"{file}: --{name} comes after what is swept, so it would win; put it before `${{args}}`")
        if name in swept:
            before.append(name)


def _overlap(one: str, other: str) -> bool:
    """One is the other, or a part of it."""
    return is_below(one, other) or is_below(other, one)


def _mapping(file: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: no YAML ({error})") from error
    if not isinstance(found, dict):
        raise InputError(f"{file}: no mapping of names to values; see configs/experiments")
    return found


def _label(name: str, value: Any) -> str:
    """A file by its stem, anything else as key=value."""
    if isinstance(value, str) and value.endswith((".yaml", ".yml")):
        return Path(value).stem
    return f"{name.rpartition('.')[2]}={value}"


def _filled(command: list[str], chosen: dict[str, Any]) -> tuple[str, ...]:
    """The command with `${interpreter}` and `${args}` filled in as W&B's agent does."""
    arguments = [f"--{name}={_text(value)}" for name, value in chosen.items()]
    out: list[str] = []
    for part in command:
        if part == "${env}":
            continue
        out += arguments if part == "${args}" else [sys.executable if part == "${interpreter}" else part]
    return tuple(out)


def _text(value: Any) -> str:
    """A value as an argument: the command line reads it as YAML."""
    if isinstance(value, str):
        return value
    return str(yaml.safe_dump(value, default_flow_style=True)).removesuffix("\n...\n").strip()
