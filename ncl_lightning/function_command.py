"""A function as a command: its arguments are what is typed after the command's name."""

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from jsonargparse import auto_cli


class Parser(argparse.ArgumentParser):
    """Raises instead of exiting, so that a complaint is one line like everywhere."""

    def error(self, message: str) -> NoReturn:
        raise argparse.ArgumentError(None, message)


def run_typed(function: Callable[..., Any], arguments: Sequence[str] | None = None, as_positional: bool = True) -> Any:
    """Call a function of a command's name with what was typed, and return what it does.

    Args:
        function: Its parameters are the options, its docstring is the help.
        arguments: The words to parse; None: those after the command's name.
        as_positional: Parameters without a default are given by their place.

    Raises:
        argparse.ArgumentError: Words that the function does not take.
    """
    return auto_cli(
        function,
        args=list(sys.argv[2:] if arguments is None else arguments),
        prog=f"python -m ncl_lightning {function.__name__}",
        exit_on_error=False,
        as_positional=as_positional,
    )
