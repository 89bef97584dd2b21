"""Run the notebooks and store what they show: python notebooks/execute.py (as they stand: made-up pictures)."""

import os
from pathlib import Path

import nbformat
from nbclient import NotebookClient

# of progress bars for which no widgets are installed: there are none to show
os.environ["PYTHONWARNINGS"] = "ignore:IProgress not found"
for path in sorted(Path(__file__).parent.glob("*.ipynb")):
    notebook = nbformat.read(path, as_version=4)
    # without the kernel's version and times, which differ from machine to machine
    metadata = dict(notebook.metadata)
    NotebookClient(notebook, record_timing=False, resources={"metadata": {"path": str(path.parent)}}).execute()
    notebook.metadata = nbformat.from_dict(metadata)
    nbformat.write(notebook, path)
