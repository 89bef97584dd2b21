"""Pictures a second of the loader on a CPU, beside IMDL-BenCo's ManiDataset and bare cv2.imread + cv2.resize.

    python benchmarks/bench_loader.py

Writes benchmarks/results/loader.json. All three read the same files, which are made here: JPEG of 1024×768 with PNG
masks, brought to 512×512 and batched by 8 in a DataLoader. ManiDataset also normalises; we do that on the device. The
bare limit reads image and mask and nothing else: no check of the files, no names, no validity, and no DataLoader
where there are no workers. IMDL-BenCo needs the environment that benchmarks/bench_metrics.py describes.
"""

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from ncl_lightning.data import ManipulationDataModule
from ncl_lightning.deadleaves import scene
from ncl_lightning.regions import shape
from ncl_lightning.transforms import augmentations, pipeline

RESULTS = Path(__file__).parent / "results" / "loader.json"
COUNT = 48
SIZE = 512
REPEATS = 12
GOAL_BENCO = 2.5
GOAL_BARE = 0.7


def main() -> None:
    """Run every measurement and write the rows."""
    # as in the loader's own workers
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        root = pictures(Path(folder))
        for workers in (0, 2):
            rows.append(against_benco(root, workers, "usual"))
            rows.append(against_benco(root, workers, "none"))
            rows.append(against_bare(root, workers))
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    for entry in rows:
        print(entry)


def pictures(root: Path) -> Path:
    """A folder with Tp/ and Gt/: made-up scenes with the grain of a camera, and regions."""
    for name in ("Tp", "Gt"):
        (root / name).mkdir()
    rng = np.random.default_rng(0)
    for number in range(COUNT):
        image = 255 * scene(rng, 768, 1024) + rng.normal(0, 3, (768, 1024, 3))
        quality = [cv2.IMWRITE_JPEG_QUALITY, 90]
        cv2.imwrite(str(root / "Tp" / f"{number:03d}.jpg"), image.clip(0, 255).astype(np.uint8), quality)
        mask = shape(rng, 768, 1024, 0.1).astype(np.uint8) * 255
        cv2.imwrite(str(root / "Gt" / f"{number:03d}.png"), mask)
    return root


def ours(root: Path, workers: int, augment: Any) -> Iterable[Any]:
    """Our training loader."""
    data = ManipulationDataModule(
        train=[str(root)], val="synthetic:1", size=SIZE, augment=augment, num_workers=workers, seed=0, leakage="ignore"
    )
    data.setup("fit")
    return data.train_dataloader()


def against_benco(root: Path, workers: int, augment: Any) -> dict[str, Any]:
    """Our loader against ManiDataset, both with our augmentation of a name."""
    what = f"pictures a second, augmentation {augment}, {workers} workers: against IMDL-BenCo's ManiDataset"
    mine = ours(root, workers, augment)
    try:
        from IMDLBenCo.datasets import ManiDataset
    except ImportError as error:
        print(f"IMDL-BenCo skipped ({error}): install it in an environment for benchmarks only")
        return row(what, alternating(mine)[0], None, GOAL_BENCO)
    steps = augmentations(augment)
    peer = ManiDataset(
        str(root),
        is_resizing=True,
        output_size=(SIZE, SIZE),
        common_transforms=pipeline(steps) if steps else None,
    )
    return row(what, *alternating(mine, loader(peer, workers)), GOAL_BENCO)


def against_bare(root: Path, workers: int) -> dict[str, Any]:
    """Our loader without augmentation against the bare reading of the same files."""
    bare = Bare(root)
    limit: Iterable[Any] = loader(bare, workers) if workers else bare
    what = f"pictures a second, no augmentation, {workers} workers: against bare cv2.imread + cv2.resize"
    return row(what, *alternating(ours(root, workers, "none"), limit), GOAL_BARE)


class Bare(Dataset[Any]):
    """Image and mask, read and resized."""

    def __init__(self, root: Path) -> None:
        self.files = [(str(image), str(root / "Gt" / f"{image.stem}.png")) for image in sorted((root / "Tp").iterdir())]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Any:
        if index >= len(self.files):
            raise IndexError
        image, mask = self.files[index]
        return (
            cv2.resize(cv2.imread(image), (SIZE, SIZE)),
            cv2.resize(cv2.imread(mask, cv2.IMREAD_GRAYSCALE), (SIZE, SIZE), interpolation=cv2.INTER_NEAREST),
        )


def loader(dataset: Dataset[Any], workers: int) -> DataLoader[Any]:
    """A loader as ours is set up."""
    return DataLoader(
        dataset,
        batch_size=8,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        worker_init_fn=_quiet_worker,
    )


def _quiet_worker(_: int) -> None:
    cv2.setNumThreads(0)


def alternating(*loaders: Iterable[Any]) -> list[float]:
    """Pictures a second of each in its fastest epoch; they take turns, so that a busy machine slows all."""
    times: list[list[float]] = [[] for _ in loaders]
    # the first epoch starts the workers and fills the page cache
    for turn in range(REPEATS + 1):
        for run, kept in zip(loaders, times, strict=True):
            seconds = timed(lambda run=run: [None for _ in run])  # type: ignore[misc]
            if turn:
                kept.append(seconds)
    return [COUNT / min(kept) for kept in times]


def timed(run: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def row(what: str, mine: float, peer: float | None, goal: float) -> dict[str, Any]:
    """One entry of the results; `holds` where ours / peer is at least the goal, null where no peer was there."""
    ratio = None if peer is None else mine / peer
    return {
        "what": f"{what} ({os.cpu_count()} cores, JPEG 1024×768 to {SIZE}×{SIZE}, OpenCV {cv2.__version__})",
        "ours": round(mine, 1),
        "peer": None if peer is None else round(peer, 1),
        "ratio": None if ratio is None else round(ratio, 3),
        "goal": goal,
        "holds": None if ratio is None else ratio >= goal,
    }


if __name__ == "__main__":
    main()
