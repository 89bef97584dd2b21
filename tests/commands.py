"""`python -m ncl_lightning …` as a process of its own: forked from one that has imported torch and Lightning, or new.

A fork starts in a tenth of a second instead of five, and there are some two hundred. All else is as the shell has it:
own process group, folder, environment, output, exit code, and `__main__`, from which Lightning starts more processes
(these are new ones).
"""

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

_FORKS = multiprocessing.get_context("forkserver")
_COMMANDS = ("cli", "audit", "compare", "experiment", "export", "score", "robustness", "synthesize")
_FORKS.set_forkserver_preload([f"ncl_lightning.{name}" for name in _COMMANDS])


def run_forked(
    words: list[str], cwd: Path, environment: Mapping[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run a command in a fork. What waits for the interpreter's end (atexit; wandb does) is left out.

    Raises:
        AssertionError: It was still running at the time limit; then its process group is killed.
    """
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder) / "out", Path(folder) / "err"
        process = _FORKS.Process(target=_front_door, args=(words, cwd, dict(environment), out, err))
        process.start()
        process.join(timeout)
        late = process.exitcode is None
        if late:
            os.killpg(process.pid, signal.SIGKILL)  # type: ignore[arg-type]
            process.join()
        done = subprocess.CompletedProcess(words, process.exitcode or 0, out.read_text(), err.read_text())
    assert not late, _late(timeout, done.stdout, done.stderr)
    return done


def run_fresh(
    words: list[str], cwd: Path, environment: Mapping[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """The same in a new interpreter, and to the end of all that writes to its output."""
    process = subprocess.Popen(
        [sys.executable, "-m", "ncl_lightning", *words],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise AssertionError(_late(timeout, *process.communicate())) from None
    return subprocess.CompletedProcess(words, process.returncode, out, err)


def _front_door(words: list[str], cwd: Path, environment: dict[str, str], out: Path, err: Path) -> None:
    os.setsid()
    for stream, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND), stream)
    # what it starts itself is started by the usual way again
    multiprocessing.set_start_method(None, force=True)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = [str(cwd), *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    sys.argv = ["ncl_lightning", *words]
    runpy.run_module("ncl_lightning", run_name="__main__", alter_sys=True)


def _late(timeout: float, out: str, err: str) -> str:
    return f"still running after {timeout} s\n{out[-3000:]}\n{err[-3000:]}"
