"""The one exception for what a user can mend."""


class InputError(Exception):
    """Bad input: one line that names the file (or key) and the remedy.

    The command line prints it without a traceback and exits with 1. Raised in a data-loading
    worker it comes back wrapped in that worker's traceback; `line` is the message alone.
    """

    @property
    def line(self) -> str:
        """The message on one line, without the worker's traceback around it."""
        return " ".join(str(self).rpartition("InputError: ")[2].split())
