"""`compare RUN RUN …`: which differences between results of `test` hold.

A result is the folder that `test` wrote, or the results.json or per_image.csv in it.
"""

import argparse
import itertools
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ncl_lightning.errors import InputError
from ncl_lightning.files import write_json
from ncl_lightning.pairing import FEWEST, Arm, compare, load, one_run_each

_SHORT = 8  # characters of a name that heads a column


def show(found: Sequence[dict[str, Any]], level: float) -> None:
    """A table for each pair of arms, and how far to trust it."""
    percent = f"{level * 100:g} %"
    for (a, b), group in itertools.groupby(sorted(found, key=_place(found)), key=lambda one: (one["a"], one["b"])):
        # beside longer names the set's would find no room in 80 columns
        called = {a: a, b: b} if max(len(a), len(b)) <= _SHORT else {a: "A", b: "B"}
        title = f"{called[b]} − {called[a]}, over paired images"
        title += "".join(f"\n{short}: {name}" for name, short in called.items() if short != name)
        table = Table(title=escape(title), title_justify="left", box=SIMPLE_HEAD, show_edge=False, padding=0)
        # it folds, so that all else is whole
        table.add_column("set", overflow="fold")
        table.add_column("score", no_wrap=True)
        for head in (called[a], called[b], "change", percent):
            table.add_column(escape(head), justify="right", no_wrap=True)
        table.add_column("better", no_wrap=True)
        last = None
        for one in group:
            verdict = f"[bold]{escape(called[one['better']])}[/bold]" if one["holds"] else "open"
            head = f"{escape(one['set'])} ({one['images']})"
            table.add_row(
                head if head != last else "",
                one["score"],
                _mean(one, "a"),
                _mean(one, "b"),
                f"{one['difference']:+.3f}",
                f"{one['low']:+.3f}…{one['high']:+.3f}",
                verdict,
            )
            last = head
        Console().print(table, "")
    notes = [f"{sum(one['holds'] for one in found)} of {len(found)} differences hold"]
    notes[0] += f" (where nothing differs, about {(1 - level) * 100:g} % would by chance, of few images some more;"
    notes[0] += f" of less than {FEWEST} none does)."
    if any(map(one_run_each, found)):
        notes.append("One run each: the intervals are over images alone. To compare methods, give seeds by --group.")
    Console().print(" ".join(notes), highlight=False)


def _place(found: Sequence[dict[str, Any]]) -> Any:
    """A stable order by pair of arms, in the order of the arms."""
    order = list(dict.fromkeys((one["a"], one["b"]) for one in found))
    return lambda one: order.index((one["a"], one["b"]))


def _mean(one: dict[str, Any], side: str) -> str:
    runs = one[f"runs_{side}"]
    text = f"{one[f'mean_{side}']:.3f}"
    return text if len(runs) == 1 else f"{text}\n[dim]{min(runs):.3f}–{max(runs):.3f}[/dim]"


class _Parser(argparse.ArgumentParser):
    """Raises instead of exiting, so that a complaint is one line like everywhere."""

    def error(self, message: str) -> NoReturn:
        raise argparse.ArgumentError(None, message)


def _arms(runs: Sequence[str], groups: Sequence[str]) -> list[Arm]:
    labels = _labels([Path(run) for run in runs])
    arms = [Arm(label, [load(Path(run))]) for label, run in zip(labels, runs, strict=True)]
    for group in groups:
        name, _, listed = group.partition("=")
        files = [one for one in listed.split(",") if one]
        if not name or not files:
            raise InputError(f"--group {group}: give NAME=RUN,RUN,…")
        arms.append(Arm(name, [load(Path(one)) for one in files]))
    names = [arm.name for arm in arms]
    if len(arms) < 2:
        raise InputError("compare needs two results: give RUN RUN, or --group NAME=RUN,RUN,…")
    if len(set(names)) < len(names):
        raise InputError(f"two results are called {Counter(names).most_common(1)[0][0]}; give each another name")
    return arms


def _labels(paths: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell them apart."""
    parts = [(path.absolute().parent if path.suffix in (".csv", ".json") else path.absolute()).parts for path in paths]
    length = next((n for n in range(1, 100) if len({p[-n:] for p in parts}) == len(parts)), 1)
    return ["/".join(p[-length:]) for p in parts]


def main() -> int:
    """Run the command line."""
    parser = _Parser(
        prog="python -m ncl_lightning compare",
        description="Which differences between results of `test` hold. Images are paired by set and name.",
    )
    parser.add_argument("runs", nargs="*", metavar="RUN", help="folder that test wrote, or its per_image.csv")
    parser.add_argument(
        "--group", action="append", default=[], metavar="NAME=RUN,RUN", help="seeds of one arm: their mean is compared"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the comparisons there, too")
    parser.add_argument("--draws", type=int, default=10000, help="bootstrap draws (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the draws (default %(default)s)")
    parser.add_argument("--level", type=float, default=0.95, help="share inside the interval (default %(default)s)")
    options = parser.parse_args(sys.argv[2:])
    if options.draws < 1 or not 0 < options.level < 1:
        raise InputError("--draws must be at least 1 and --level between 0 and 1")
    arms = _arms(options.runs, options.group)
    found = compare(arms, options.draws, options.seed, options.level)
    if not found:
        raise InputError("no image has a score in all results; test on data with tampered images")
    show(found, options.level)
    if options.json:
        settings = {"level": options.level, "draws": options.draws, "seed": options.seed}
        write_json(options.json, {"settings": settings, "comparisons": found})
    return 0
