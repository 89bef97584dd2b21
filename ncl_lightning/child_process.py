"""Run a command with its output in a file: its end is ours, and a failure is told in one line."""

import os
import re
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_EVERY = 2.0  # seconds between two looks at what a command says


def run_logged(
    command: Sequence[str],
    file: Path,
    held: Sequence[int] = (),
    variables: Mapping[str, str] | None = None,
    show: Callable[[str], None] | None = None,
) -> str | None:
    """Run a command, its output appended to a file. None where it succeeded, else why not, in one line.

    Args:
        command: Its words.
        file: Where its output goes.
        held: Descriptors that it keeps open, too: a lock that lasts as long as either process.
        variables: Of its environment, besides those of this process, which win.
        show: Told its last line, again and again while it runs.
    """
    with file.open("a", encoding="utf-8") as log:
        log.write(f"$ {' '.join(command)}\n")
        log.flush()
        begin = log.tell()
        watch = (lambda: show(_last_line(file, begin))) if show else None
        code = _run_to_its_end(command, log.fileno(), held, {**(variables or {}), **os.environ}, watch)
    if code == 0:
        return None
    with file.open(encoding="utf-8", errors="replace") as log:
        log.seek(begin)
        output = log.read()
    if code < 0:
        # Lightning kills a first process with which another one has failed
        return own_line(output) or f"killed by {signal.Signals(-code).name}"
    return telling_line(output) or f"exit code {code}"


def _run_to_its_end(
    command: Sequence[str],
    output: int,
    held: Sequence[int],
    environment: Mapping[str, str],
    watch: Callable[[], None] | None,
) -> int:
    with subprocess.Popen(command, stdout=output, stderr=output, pass_fds=held, env=environment) as process:
        try:
            while watch:
                try:
                    return process.wait(_EVERY)
                except subprocess.TimeoutExpired:
                    watch()
            return process.wait()
        except BaseException:
            # we are told to stop: so is it, and what it does then (a GPU, a folder) is over before we are
            process.terminate()
            try:
                process.wait()
            finally:
                # told twice: no more waiting (nothing is sent to what has ended)
                process.kill()
            raise


def _last_line(file: Path, begin: int) -> str:
    """The last line that is not empty, of what was written since."""
    with file.open("rb") as log:
        log.seek(max(begin, log.seek(0, os.SEEK_END) - 2000))
        lines = log.read().decode("utf-8", "replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def own_line(output: str) -> str:
    """The last line in which a command of ours says why it failed; a reason rather than that it was told to stop."""
    said = re.findall(r"^\s*ncl_lightning: (.*\S)", output, re.MULTILINE)
    reasons = [line for line in said if not line.startswith("stopped by ")]
    return (reasons or said or [""])[-1]


def telling_line(output: str) -> str:
    """The line of a failed command's output that says why: ours, else the last error's, else the last one."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"(?:\w+\.)*\w*(?:Error|Exception)\b", line)]
    return own_line(output) or (errors or lines or [""])[-1]
