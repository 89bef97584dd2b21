"""The front door: every command, and nothing else.

python -m ncl_lightning fit --config configs/ncl.yaml --data.train '[DATA/train]' --data.val DATA/val
python -m ncl_lightning test --ckpt_path RUN/checkpoints/best.ckpt --data.test '{"NAME": "DATA/test"}'
python -m ncl_lightning predict --ckpt_path RUN/checkpoints/best.ckpt --data.predict PICTURES
"""

import argparse
import difflib
import importlib
import os
import signal
import sys
import traceback

from ncl_lightning.errors import InputError, Stopped
from ncl_lightning.processes import end_with_the_first, let_the_first_speak

# name: (what it does, the module whose main() does it)
COMMANDS = {
    "fit": ("train a network, validating as it goes", "ncl_lightning.cli"),
    "validate": ("score a checkpoint on the validation data", "ncl_lightning.cli"),
    "test": ("score a checkpoint on named test sets: tables and a report", "ncl_lightning.cli"),
    "predict": ("heat maps, masks and overlays of pictures", "ncl_lightning.cli"),
    "runs": ("list the runs below a folder, best first, with what they differ in", "ncl_lightning.runs"),
    "score": ("score maps that another tool made, by the definitions of `test`", "ncl_lightning.score"),
    "compare": ("say which differences between results of test hold", "ncl_lightning.compare"),
    "robustness": (
        "score a checkpoint under blur, noise, JPEG, resizing, gamma, cropping",
        "ncl_lightning.robustness",
    ),
    "audit": ("find what is wrong with data: files, masks, copies, leaks, shortcuts", "ncl_lightning.audit"),
    "synthesize": (
        "write made-up manipulations as a data set, with a contact sheet",
        "ncl_lightning.synthesize",
    ),
    "experiment": (
        "run a sweep file here: what is not done yet, then a table and a figure",
        "ncl_lightning.experiment",
    ),
    "export": ("strip a checkpoint for sharing: no optimizer state, callbacks or paths", "ncl_lightning.export"),
    "quickstart": ("train, test and predict on made-up data in a few minutes", "ncl_lightning.quickstart"),
}


def usage() -> str:
    """Every command with a line each."""
    lines = [f"  {name:<12}{what}" for name, (what, _) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: python -m ncl_lightning COMMAND [OPTIONS]",
            "",
            "Image manipulation localization with NCL: which pixels of a photograph were tampered with.",
            "",
            "commands:",
            *lines,
            "",
            "`python -m ncl_lightning COMMAND --help` lists a command's options.",
        ]
    )


def _stop(message: str, code: int) -> int:
    print(f"ncl_lightning: {' '.join(message.split())}", file=sys.stderr)
    return code


def _of_lightning(error: BaseException) -> str | None:
    """What Lightning itself says of options that go together badly, or of a package that is not installed.

    None for any other error: one from elsewhere, or that Lightning's code ran into.
    """
    # jsonargparse has many words of its own for what the making of a class raised
    while error.__cause__ is not None and _raised_in(error) == "jsonargparse":
        error = error.__cause__
    # by name: its module would take seconds to import here
    meant = isinstance(error, ValueError | RuntimeError | ImportError)
    meant |= type(error).__name__ == "MisconfigurationException"
    return str(error) if meant and _raised_in(error) == "lightning" else None


def _raised_in(error: BaseException) -> str:
    """The package whose code raised it."""
    module = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)][-1]
    return str(module).partition(".")[0]


def main() -> int:
    """Run a command.

    Exit code 0: done; 1: bad input (one line says which); 2: mistyped command line; 130 and 143: stopped by Ctrl-C and
    by SIGTERM.
    """
    command = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if command in ("-h", "--help"):
        print(usage())
        return 0
    if command not in COMMANDS:
        close = difflib.get_close_matches(command, COMMANDS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"the commands are {', '.join(COMMANDS)}"
        return _stop(f"no command {command!r}; {hint}", 2)
    # that one starts commands, maybe by a launcher of another kind
    if command != "experiment":
        end_with_the_first()
    # threads that wait spin otherwise, and on few cores they keep the data loaders from theirs: up to 4 times slower
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        return int(importlib.import_module(COMMANDS[command][1]).main())
    except InputError as error:
        let_the_first_speak()
        return _stop(error.line, 1)
    except argparse.ArgumentError as error:
        return _stop(str(error), 2)
    except Exception as error:
        line = _of_lightning(error)
        if line is None:
            raise
        let_the_first_speak()
        return _stop(line, 1)
    except KeyboardInterrupt:
        stop = Stopped(signal.SIGINT, "give the command again")
        return _stop(str(stop), stop.code)
    except Stopped as stop:
        return _stop(str(stop), stop.code)


if __name__ == "__main__":
    sys.exit(main())
