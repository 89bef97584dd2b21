"""curves.png: how the losses and the scores of a run went, from its metrics.csv."""

from pathlib import Path

from lightning.pytorch.utilities import rank_zero_warn

from ncl_lightning.files import read_metrics
from ncl_lightning.plots import Points, run_curves

LOSSES, SCORES = ("train/loss", "val/loss"), ("val/f1", "val/auc")


def write_curves(folder: Path) -> None:
    """Write curves.png into a run's folder; nothing where metrics.csv has none of it.

    Whatever goes wrong is a warning: a trained run does not fail for a picture.
    """
    try:
        losses, scores = (points(folder / "metrics.csv", names) for names in (LOSSES, SCORES))
        if losses or scores:
            run_curves(folder / "curves.png", losses, scores)
    except Exception as error:
        rank_zero_warn(f"{folder / 'curves.png'} was not written: {error}")


def points(file: Path, names: tuple[str, ...]) -> dict[str, Points]:
    """Steps, counted as the terminal does, and values of the columns that a metrics.csv has, by name.

    Empty if there is no such file.
    """
    rows = read_metrics(file)
    filled = {name: [row for row in rows if row.get(name)] for name in names}
    return {
        name: ([int(row["step"]) + 1 for row in kept], [float(row[name]) for row in kept])
        for name, kept in filled.items()
        if kept
    }
