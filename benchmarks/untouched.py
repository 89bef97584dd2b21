"""How untouched photographs score with the model that comes along: writes ncl_lightning/weights/untouched.json.

    python -m ncl_lightning predict --data.predict PHOTOGRAPHS --trainer.default_root_dir OUT
    python benchmarks/untouched.py 'what they are, in words=OUT' …

Takes `highest` of predictions.csv. The photographs must be ones that the model was not trained on. Prints what share of
each set scores above what.
"""

import argparse
import csv
import json
from pathlib import Path

import numpy as np

from ncl_lightning.checkpoints import SHIPPED
from ncl_lightning.files import file_hash, write_json
from ncl_lightning.untouched import MEASURED, as_shipped


def scores(folder: Path) -> list[tuple[float, int]]:
    """`highest` of a folder's pictures, sorted, and their pixels.

    Raises:
        SystemExit: They were predicted by another checkpoint, or with other options.
    """
    about = json.loads((folder / "predictions.json").read_text(encoding="utf-8"))
    if about["checkpoint_sha256"] != file_hash(SHIPPED) or not as_shipped(about):
        raise SystemExit(f"{folder}: not predicted by the model that comes along with its own options")
    with (folder / "predictions.csv").open(newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["highest"]]
    return sorted((float(row["highest"]), int(row["width"]) * int(row["height"])) for row in rows)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", help="NAME=FOLDER: what they are, and where predict wrote")
    named = dict(one.rsplit("=", 1) for one in parser.parse_args().sets)
    found = {name: scores(Path(folder)) for name, folder in named.items()}
    highest = {name: [score for score, _ in part] for name, part in found.items()}
    for name, part in highest.items():
        levels = ", ".join(f"{share:.0%} above {np.quantile(part, 1 - share):.2f}" for share in (0.5, 0.2, 0.1, 0.05))
        print(f"{name}: {len(part)} pictures, {levels}")
    pixels = max(count for part in found.values() for _, count in part)
    write_json(MEASURED, {"checkpoint_sha256": file_hash(SHIPPED), "pixels": pixels, "highest": highest})


if __name__ == "__main__":
    main()
