"""What is wrong with a data source: the first fault ends the reading of it, or all are collected, as `audit` does."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from ncl_lightning.errors import InputError


@dataclass(frozen=True)
class Fault:
    """Something wrong: its kind (see `audit_findings.SEVERITIES`), the files and a sentence for people."""

    kind: str
    files: tuple[str, ...]
    message: str


_collected: ContextVar[list[Fault] | None] = ContextVar("collected", default=None)


def report(kind: str, files: Iterable[object], message: str) -> None:
    """Report a fault that does not end the reading: the files it concerns are left out.

    Raises:
        InputError: The message, unless faults are collected.
    """
    faults = _collected.get()
    if faults is None:
        raise InputError(message)
    faults.append(Fault(kind, tuple(str(file) for file in files), message))


@contextmanager
def collected() -> Iterator[list[Fault]]:
    """The faults that are reported inside, instead of an InputError at the first one."""
    faults: list[Fault] = []
    token = _collected.set(faults)
    try:
        yield faults
    finally:
        _collected.reset(token)
