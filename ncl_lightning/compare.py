"""`compare RUN RUN …`: which differences between results of `test` hold.

A result is named by its run's folder or by the checkpoint tested, which mean its newest test, or by the folder that
`test` wrote (or the results.json or per_image.csv in it).
"""

import itertools
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ncl_lightning.errors import InputError
from ncl_lightning.files import write_json
from ncl_lightning.find_result import about, find_result, run_of, settings
from ncl_lightning.function_command import Parser
from ncl_lightning.options import cut, differing, short_names, text
from ncl_lightning.paired_results import FEWEST, Arm, compare, load, one_run_each, scored_at_one_size, too_few


def show(found: Sequence[dict[str, Any]], level: float, differences: Mapping[str, str] | None = None) -> None:
    """A table for each pair of arms, and how far to trust it.

    Args:
        found: What `paired_results.compare` found.
        level: Of its intervals.
        differences: A few words about arms, such as the options in which they differ.
    """
    differences = differences or {}
    for (a, b), group in itertools.groupby(sorted(found, key=_place(found)), key=lambda one: (one["a"], one["b"])):
        rows = list(group)
        console = Console()
        called, table = {a: a, b: b}, _table(rows, {a: a, b: b}, level)
        # as wide as it would like to be
        if console.measure(table, options=console.options.update(max_width=1000)).maximum > console.width:
            # names as long as these leave no room
            called = {a: "A", b: "B"}
            table = _table(rows, called, level)
        console.print(f"{called[b]} − {called[a]}, over paired images", markup=False, highlight=False)
        for name, short in called.items():
            words = ", ".join(filter(None, (name if short != name else "", differences.get(name, ""))))
            if words:
                console.print(f"  {short}: {words}", markup=False, highlight=False)
        console.print(table, "")
    console.print(" ".join(_notes(found, level)), highlight=False)


def _table(found: Sequence[dict[str, Any]], called: Mapping[str, str], level: float) -> Table:
    """Rows of one pair of arms, whose names are shortened."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=0)
    # it folds, so that all else is whole: there are rows enough below
    table.add_column("set", overflow="fold", max_width=12)
    table.add_column("score", no_wrap=True)
    for head in (*called.values(), "change", f"{level * 100:g} %"):
        table.add_column(escape(head), justify="right", no_wrap=True)
    table.add_column("better", no_wrap=True)
    last = None
    for one in found:
        head = f"{escape(one['set'])} ({one['images']})"
        table.add_row(
            head if head != last else "",
            one["score"],
            _mean(one, "a"),
            _mean(one, "b"),
            f"{one['difference']:+.3f}",
            f"{one['low']:+.3f}…{one['high']:+.3f}",
            _verdict(one, called),
        )
        last = head
    return table


def _verdict(one: dict[str, Any], called: Mapping[str, str]) -> str:
    if one["holds"]:
        return f"[bold]{escape(called[one['better']])}[/bold]"
    return f"too few images\n({one['images']} < {FEWEST})" if too_few(one) else "open"


def _notes(found: Sequence[dict[str, Any]], level: float) -> list[str]:
    """How many hold, how many would by chance, and what of."""
    single = [one_run_each(one) for one in found]
    by_chance = f"about {(1 - level) * 100:g} % would by chance"
    by_chance = f"{by_chance}, of few images some more" if any(single) else f"at most {by_chance}"
    notes = [f"{sum(one['holds'] for one in found)} of {len(found)} differences hold"]
    notes[0] += f" (where nothing differs, {by_chance}; of fewer than {FEWEST} images none does)."
    if any(single):
        notes.append("One run each: the intervals are over images alone. To compare methods, give seeds by --group.")
    low = [one for one in found if one["floor"] is not None and max(one["mean_a"], one["mean_b"]) <= one["floor"]]
    if low:
        named = dict.fromkeys(f"{one['set']}: {one['score']} {one['floor']:.3f}" for one in low)
        notes.append(
            f"Neither is above calling everything tampered ({', '.join(named)}): no winner there, whatever holds."
        )
    if any(one["seeds_paired"] for one in found):
        notes.append("Groups of the same seeds are compared seed by seed.")
    return notes


def _place(found: Sequence[dict[str, Any]]) -> Any:
    """A stable order by pair of arms, in the order of the arms."""
    order = list(dict.fromkeys((one["a"], one["b"]) for one in found))
    return lambda one: order.index((one["a"], one["b"]))


def _mean(one: dict[str, Any], side: str) -> str:
    runs = one[f"runs_{side}"]
    text = f"{one[f'mean_{side}']:.3f}"
    return text if len(runs) == 1 else f"{text}\n[dim]{min(runs):.3f}–{max(runs):.3f}[/dim]"


@dataclass(frozen=True)
class _Results:
    """What an arm is made of: its name, and the results that were found for it."""

    name: str
    folders: list[Path]

    def arm(self) -> Arm:
        """The scores; with seeds, where each run has one of its own."""
        seeds = [_seed(folder) for folder in self.folders]
        known = [seed for seed in dict.fromkeys(seeds) if seed is not None]
        runs = [load(folder) for folder in self.folders]
        return Arm(self.name, runs, tuple(known) if len(known) == len(runs) else ())

    def options(self) -> dict[str, str]:
        """Each option's value, or its values in the order of the runs."""
        found = [settings(about(folder)) for folder in self.folders]
        keys = dict.fromkeys(key for one in found for key in one)
        return {key: ", ".join(dict.fromkeys(text(one[key]) for one in found if key in one)) for key in keys}


def _seed(result: Path) -> int | None:
    """The seed of the training, where results.json says so."""
    return about(result).get("training", {}).get("seed")


def _results(runs: Sequence[str], groups: Sequence[str]) -> list[_Results]:
    """What the words of the command line name.

    Raises:
        InputError: There is no such result, or fewer than two are named, or two alike.
    """
    alone = [find_result(_meant(run)) for run in runs]
    found = [_Results(label, [folder]) for label, folder in zip(_labels(alone), alone, strict=True)]
    for group in groups:
        name, _, listed = group.partition("=")
        words = [one for one in listed.split(",") if one]
        if not name or not words:
            raise InputError(f"--group {group}: give NAME=RUN,RUN,…")
        folders = [find_result(_meant(one)) for one in words]
        # in whichever order they were given
        found.append(_Results(name, sorted(folders, key=lambda folder: (_seed(folder) is None, _seed(folder) or 0))))
    names = [one.name for one in found]
    if len(found) < 2:
        raise InputError("compare needs two results: give RUN RUN, or --group NAME=RUN,RUN,…")
    if len(set(names)) < len(names):
        raise InputError(f"two results are called {Counter(names).most_common(1)[0][0]}; give each another name")
    return found


def _meant(word: str) -> Path:
    """The path, or the checkpoint that `best` or `last` means."""
    if word not in ("best", "last") or Path(word).exists():
        return Path(word)
    # it takes seconds to import
    from ncl_lightning.checkpoints import find_checkpoint

    return find_checkpoint(word, Path("runs"))


def _labels(results: Sequence[Path]) -> list[str]:
    """The run of each, and of two results of one run the folder: the shortest ends that tell them apart."""
    runs = [run_of(result).absolute() for result in results]
    folders = [result.absolute().parent if result.suffix == ".csv" else result.absolute() for result in results]
    paths = [run if runs.count(run) == 1 else folder for run, folder in zip(runs, folders, strict=True)]
    # by itself, `version_3` says little
    least = 2 if any(path.name.startswith("version_") for path in paths) else 1
    parts = [path.parts for path in paths]
    length = next((n for n in range(least, 100) if len({p[-n:] for p in parts}) == len(parts)), least)
    return ["/".join(p[-length:]) for p in parts]


def _differences(results: Sequence[_Results]) -> dict[str, str]:
    """Of each arm the options in which it differs from another one, `lambda_ncl 0.3, lr 0.001`."""
    options = [one.options() for one in results]
    names = short_names(differing(options))
    return {
        one.name: ", ".join(f"{name} {cut(own[key])}" for key, name in names.items() if key in own)
        for one, own in zip(results, options, strict=True)
    }


def main() -> int:
    """Run the command line."""
    parser = Parser(
        prog="python -m ncl_lightning compare",
        description="Which differences between results of `test` hold. Images are paired by set and name.",
    )
    parser.add_argument(
        "runs",
        nargs="*",
        metavar="RUN",
        help="a run's folder or checkpoint (best, last: of the newest run): its newest test; or the folder of a test",
    )
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
    results = _results(options.runs, options.group)
    arms = [one.arm() for one in results]
    found = compare(arms, options.draws, options.seed, options.level)
    if not found:
        raise InputError("no image has a score in all results; test on data with tampered images")
    differences = _differences(results)
    once = scored_at_one_size(arms)
    show([one for one in found if not _repeats(one, once)], options.level, differences)
    if repeated := [name for name in once if any(one["set"] == name for one in found)]:
        print(f"{', '.join(repeated)}: scored at the pictures' own size, so `…_original` would be the same: left out.")
    if options.json:
        asked = {"level": options.level, "draws": options.draws, "seed": options.seed}
        named = {
            one.name: {"results": [str(folder) for folder in one.folders], "differs": differences[one.name]}
            for one in results
        }
        write_json(options.json, {"settings": asked, "arms": named, "comparisons": found})
    return 0


def _repeats(one: Mapping[str, Any], once: Sequence[str]) -> bool:
    """Whether another row says the same."""
    return one["set"] in once and one["score"].endswith("_original")
