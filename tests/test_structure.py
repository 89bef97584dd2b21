"""Imports point one way, down, and every file can be found."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

from conftest import ROOT

PACKAGE = ROOT / "ncl_lightning"


def imports(file: Path) -> set[str]:
    tree = ast.parse(file.read_text())
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ncl_lightning"):
            tail = (node.module or "").split(".")[1:]
            names |= {tail[0]} if tail else {alias.name for alias in node.names}
    return names


def test_imports_point_one_way() -> None:
    modules = {file.stem: imports(file) for file in PACKAGE.glob("*.py") if not file.stem.startswith("__")}
    # raises CycleError, which names the modules
    order = list(TopologicalSorter(modules).static_order())
    assert order.index("loss") < order.index("module") < order.index("cli")


def test_every_file_has_its_place_in_the_layout() -> None:
    named = re.findall(r"`(\w+\.py)`", (ROOT / "docs" / "layout.md").read_text())
    assert sorted(named) == sorted(file.name for file in PACKAGE.glob("*.py"))
