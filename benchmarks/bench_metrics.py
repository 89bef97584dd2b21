"""Time of scoring a batch on a CPU, beside IMDL-BenCo's evaluators and the smallest networks' forward passes.

    python benchmarks/bench_metrics.py

Writes benchmarks/results/metrics.json. IMDL-BenCo pins numpy<2 and an old albumentations, so it needs an environment
for benchmarks only: a copy of this project's, and in it

    pip install --no-deps imdlbenco fvcore iopath yacs portalocker tabulate termcolor grad_cam ttach appdirs
"""

import functools
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# as the command line does, before torch is loaded: threads that wait would spin, and keep ours from their cores
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
import yaml
from torch import Tensor

from ncl_lightning import pixel_scores
from ncl_lightning.metrics import ImageScores
from ncl_lightning.module import NCLModule

RESULTS = Path(__file__).parent / "results" / "metrics.json"
CONFIGS = Path(__file__).parent.parent / "configs"
SMALLEST = {"small.yaml": (8, 256), "quickstart.yaml": (8, 128)}
"""The smallest networks configured, and their own batches: pictures, side."""
REPEATS = 15
GOAL_BENCO = 1 / 20
GOAL_FORWARD = 1 / 20


def main() -> None:
    """Run every measurement on one thread and on as many as torch takes (OMP_NUM_THREADS), and write the rows."""
    rows = []
    for threads in dict.fromkeys((1, torch.get_num_threads())):
        torch.set_num_threads(threads)
        batch, metric, index = pictures(4, 512), ImageScores(4), torch.arange(4)
        rows += [
            against_benco("F1, IoU and AUC", functools.partial(three_scores, *batch), *batch),
            against_benco("all of ImageScores", functools.partial(metric.update, *batch, index), *batch),
            *(against_forward(config, *frame) for config, own in SMALLEST.items() for frame in ((4, 512), own)),
        ]
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    for entry in rows:
        print(entry)


def pictures(count: int, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Map, mask and valid (B,1,S,S), such as a network makes: smooth, and somewhat right."""
    torch.manual_seed(0)
    mask = torch.zeros(count, 1, size, size)
    mask[:, :, size // 4 : size * 300 // 512, size * 200 // 512 : size * 420 // 512] = 1
    noise = torch.nn.functional.interpolate(torch.randn(count, 1, size // 8, size // 8), size=size, mode="bilinear")
    return (noise + 1.5 * mask - 0.75).sigmoid(), mask, torch.ones_like(mask, dtype=torch.bool)


def three_scores(probability: Tensor, mask: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """F1, IoU and AUC of each image by our functions, as ImageScores takes them."""

    def counts(image: pixel_scores.Ranked) -> tuple[int, ...]:
        (tp,), (fp,) = pixel_scores.counts_above(image, torch.tensor([0.5]))
        return tp, fp, image.positives, pixel_scores.pairs_in_order(image), 2 * image.positives * image.negatives

    tp, fp, positives, pairs, total = torch.tensor(pixel_scores.each(counts, probability, mask, valid)).unbind(1)
    return (
        pixel_scores.f1_score(tp, fp, positives),
        pixel_scores.iou_score(tp, fp, positives),
        pixel_scores.ratio(pairs, total),
    )


def against_benco(
    name: str, ours: Callable[[], object], probability: Tensor, mask: Tensor, valid: Tensor
) -> dict[str, Any]:
    """Our scores of a batch against F1, IoU and AUC of theirs, padding excluded by both."""
    what = f"ms a batch of 4×512²: {name} against IMDL-BenCo's PixelF1 + PixelIOU + PixelAUC"
    try:
        from IMDLBenCo.evaluation import PixelAUC, PixelF1, PixelIOU
    except ImportError as error:
        print(f"IMDL-BenCo skipped ({error}): install it in an environment for benchmarks only, as this file says")
        return row(what, alternating(ours)[0], None, GOAL_BENCO)
    evaluators, shape_mask = [PixelF1(), PixelIOU(), PixelAUC()], valid.float()

    def theirs() -> None:
        for evaluator in evaluators:
            evaluator.batch_update(probability, mask, shape_mask)

    mine, peer = alternating(ours, theirs)
    return row(what, mine, peer, GOAL_BENCO)


def against_forward(config: str, count: int, size: int) -> dict[str, Any]:
    """All our scores of a batch (B,1,S,S) against the forward pass on it of a network of configs/."""
    options = yaml.safe_load((CONFIGS / config).read_text(encoding="utf-8"))
    network = NCLModule(**options["model"]).network.eval()
    image, batch = torch.randn(count, 3, size, size), pictures(count, size)
    metric, index = ImageScores(count), torch.arange(count)

    @torch.no_grad()
    def forward() -> None:
        network(image)

    what = f"ms a batch of {count}×{size}²: all of ImageScores against the forward pass of configs/{config}'s network"
    mine, peer = alternating(lambda: metric.update(*batch, index), forward)
    return row(what, mine, peer, GOAL_FORWARD)


def alternating(*runs: Callable[[], object]) -> list[float]:
    """The fastest run of each in ms, as `timeit` advises; they take turns, so that a busy machine slows all."""
    for run in runs:
        run()
    times: list[list[float]] = [[] for _ in runs]
    for _ in range(REPEATS):
        for run, kept in zip(runs, times, strict=True):
            start = time.perf_counter()
            run()
            kept.append((time.perf_counter() - start) * 1000)
    return [min(kept) for kept in times]


def row(what: str, ours: float, peer: float | None, goal: float) -> dict[str, Any]:
    """One entry of the results; `holds` where ours / peer is at most the goal, null where no peer was there."""
    ratio = None if peer is None else ours / peer
    return {
        "what": f"{what} ({torch.get_num_threads()} threads of {os.cpu_count()}, load {os.getloadavg()[0]:.1f}, "
        f"torch {torch.__version__})",
        "ours": round(ours, 2),
        "peer": None if peer is None else round(peer, 2),
        "ratio": None if ratio is None else round(ratio, 4),
        "goal": goal,
        "holds": None if ratio is None else ratio <= goal,
    }


if __name__ == "__main__":
    main()
