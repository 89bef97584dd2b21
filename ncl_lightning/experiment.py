"""`experiment FILE`: every run of a sweep file on this machine, then one table and one figure.

Runs that are done are skipped and killed ones go on where they stopped, so the same command may be given again at any
time. A run is done once its `test` has written results.json; where the file names other test sets since, it is tested
anew. A run that fails is named with its reason, and the others go on; one that fails before its first training step
ends it all, since they would most likely fail alike.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock, Timeout
from rich.console import Console
from rich.markdown import Markdown
from rich.text import Text

from ncl_lightning.arms import summarise
from ncl_lightning.checkpoints import newest_checkpoint
from ncl_lightning.child_process import run_logged
from ncl_lightning.errors import InputError, Stopped, stop_on_sigterm
from ncl_lightning.files import write_json
from ncl_lightning.function_command import run_typed
from ncl_lightning.run_folder import has_trained
from ncl_lightning.sweeps import Run, expand, of_training, settings

_ON_VALIDATION = (
    "runs are scored on their validation data, by which their best checkpoint was chosen. That serves to choose "
    "settings, not to report scores."
)


def experiment(file: Path, out: Path | None = None, only_table: bool = False) -> None:
    """Run a sweep file's grid here, skipping what is done, and write one table and one figure.

    Args:
        file: A W&B sweep file of method `grid`, as in configs/experiments.
        out: Folder of the runs, table.md (.csv, .tex) and figure.png; by default experiments/NAME.
        only_table: Start no run; table and figure of what is done.
    """
    runs = expand(file)
    out = out or Path("experiments", file.stem)
    for run in runs:
        _same_training(run, out / run.name)
    untested = [run for run in runs if run.on_validation()]
    if untested:
        print(f"{file} names no test set (data.test): {_ON_VALIDATION}")
    failed = []
    hopeless = None
    for number, run in enumerate(runs, 1):
        folder = out / run.name
        if only_table or _is_done(run, folder):
            continue
        folder.mkdir(parents=True, exist_ok=True)
        try:
            # let go of when this process and the run have ended, however they end
            with FileLock(folder / "lock", timeout=0) as lock:
                begun = time.monotonic()
                print(f"[{number} of {len(runs)}] {run.name}: what it says is in {folder / 'log.txt'}", flush=True)
                _same_training(run, folder)
                reason = _finish(run, folder, _descriptors(lock), trained=_note(run, folder))
                if not reason:
                    print(f"  done in {timedelta(seconds=round(time.monotonic() - begun))}", flush=True)
                if reason and not has_trained(folder):
                    hopeless = f"{run.name} failed before its first training step: {reason} ({folder / 'log.txt'})"
                    # it came to nothing that other settings could be mixed into: they may be mended
                    (folder / "run.json").unlink()
                    break
                if reason:
                    failed.append(run.name)
                    print(f"{run.name} failed: {reason} ({folder / 'log.txt'})", file=sys.stderr, flush=True)
        except Timeout:
            print(f"[{number} of {len(runs)}] {run.name} is being run by another process: left to it", flush=True)
    done = [run for run in runs if _is_done(run, out / run.name)]
    if done:
        text = summarise(out, done, _ON_VALIDATION if untested else "")
        if sys.stdout.isatty():
            Console().print(Markdown(text))
        else:
            print(text)
    print(f"{len(done)} of {len(runs)} runs are done in {out}{': table.md (.csv, .tex), figure.png' if done else ''}")
    if hopeless:
        raise InputError(f"{hopeless}; no further run was started: mend that and give the command again")
    if failed:
        raise InputError(
            f"{len(failed)} of {len(runs)} runs failed ({', '.join(failed)}), for the reasons above; "
            "once they are mended, the same command goes on with these"
        )


def _same_training(run: Run, folder: Path) -> None:
    """Refuse to mix a run's folder with other settings.

    Raises:
        InputError: The folder's run was trained by others, which are named.
    """
    noted = _noted(folder)
    if noted is None:
        return
    before, now = of_training(noted), of_training(run.settings())
    other = [name for name in before | now if before.get(name) != now.get(name)]
    if other:
        raise InputError(
            f"{folder}: its run had other settings ({other[0]} was {before.get(other[0])}, now {now.get(other[0])}); "
            "remove the folder, or give another --out"
        )


def _noted(folder: Path) -> dict[str, Any] | None:
    """The settings that a folder is for; None where none are known."""
    note = folder / "run.json"
    if not note.is_file():
        return None
    found = json.loads(note.read_text("utf-8"))
    return settings(found["fit"], found["configs"])


def _is_done(run: Run, folder: Path) -> bool:
    """It has been tested on what it is to be tested on."""
    return (folder / "test" / "results.json").is_file() and _noted(folder) in (None, run.settings())


def _note(run: Run, folder: Path) -> bool:
    """Note what a run's folder is for, and put aside a test on other sets than that; whether there was one."""
    results = folder / "test" / "results.json"
    other = _noted(folder) not in (None, run.settings()) and results.is_file()
    if other:
        aside = folder / f"test-{datetime.fromtimestamp(results.stat().st_mtime):%Y-%m-%d_%H-%M-%S}"
        results.parent.rename(aside)
        print(f"  trained before, and tested on other sets: those results are in {aside}", flush=True)
    configs = {str(path): path.read_text("utf-8") for path in run.configs()}
    write_json(folder / "run.json", {"fit": list(run.fit[1:]), "configs": configs})
    return other


def _descriptors(lock: BaseFileLock) -> list[int]:
    """What holds a lock, to be held by a child as well: one that outlives us (kill -9) would train on unguarded."""
    held = lock._context.lock_file_fd
    return [held] if os.name == "posix" and held is not None else []


def _finish(run: Run, folder: Path, held: list[int], trained: bool) -> str | None:
    """Train, or go on training, and test the best checkpoint. None where both succeeded, else why not."""
    log = folder / "log.txt"
    fit = [*run.fit, f"--trainer.default_root_dir={folder}"]
    last = newest_checkpoint("last", folder)
    if last:
        fit.append(f"--ckpt_path={last}")
    # where it logs to W&B: what it is called there
    called = {"WANDB_NAME": run.name, "WANDB_RUN_GROUP": folder.parent.name}
    with _shown() as show:
        reason = None if trained else run_logged(fit, log, held, called, show)
        if reason:
            return reason
        best = newest_checkpoint("best", folder)
        if best is None:
            return "its training left no best.ckpt"
        test = [*run.test(best), f"--trainer.default_root_dir={folder / 'test'}"]
        return run_logged(test, log, held, show=show)


@contextmanager
def _shown() -> Iterator[Callable[[str], None] | None]:
    """What shows a line in the place of the one before: on a terminal alone."""
    if not sys.stdout.isatty():
        yield None
        return
    with Console().status("starting") as status:
        # one row, however long
        yield lambda line: status.update(Text(line or "starting", no_wrap=True, overflow="ellipsis"))


_ADVICE = "the same command goes on with what is left"


def main() -> int:
    """Run the command line."""
    stop_on_sigterm(_ADVICE)
    try:
        run_typed(experiment)
    except KeyboardInterrupt:
        raise Stopped(signal.SIGINT, _ADVICE) from None
    return 0
