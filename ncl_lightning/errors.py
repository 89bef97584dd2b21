"""What ends a command with one line: bad input, which a user can mend, and a signal to stop."""

import signal
from types import FrameType


class InputError(Exception):
    """Bad input: one line that names the file (or key) and the remedy.

    The command line prints it without a traceback and exits with 1. Raised in a data-loading
    worker it comes back wrapped in that worker's traceback; `line` is the message alone.
    """

    @property
    def line(self) -> str:
        """The message on one line, without the worker's traceback around it."""
        return " ".join(str(self).rpartition("InputError: ")[2].split())


class Stopped(BaseException):
    """Told to stop by a signal; the message says how to go on.

    The command line prints it and exits with 128 + the signal's number, as a shell counts. Like KeyboardInterrupt it
    derives from BaseException, so that error handlers do not swallow it.
    """

    def __init__(self, signum: int, advice: str) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}; {advice}")
        self.code = 128 + signum


def stop_on_sigterm(advice: str) -> None:
    """From here on SIGTERM raises `Stopped` with that advice; by default the process dies and orphans its children."""

    def stop(signum: int, _: FrameType | None) -> None:
        raise Stopped(signum, advice)

    signal.signal(signal.SIGTERM, stop)
