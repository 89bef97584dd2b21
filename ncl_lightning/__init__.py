"""Open training code for NCL: which pixels of a photograph were tampered with."""

import importlib
from importlib.metadata import version
from typing import Any

_PUBLIC = {
    "InputError": "errors",
    "ManipulationDataModule": "data",
    "NCLLoss": "loss",
    "NCLModule": "module",
    "PivotNetwork": "network",
    "PivotOutput": "network",
}
__all__ = list(_PUBLIC)


def __dir__() -> list[str]:
    return [*_PUBLIC, "__version__"]


def __getattr__(name: str) -> Any:
    # imported when asked for: `python -m ncl_lightning --help` needs no torch
    if name in _PUBLIC:
        return getattr(importlib.import_module(f"ncl_lightning.{_PUBLIC[name]}"), name)
    if name == "__version__":
        return version("ncl_lightning")
    raise AttributeError(f"module 'ncl_lightning' has no attribute {name!r}")
