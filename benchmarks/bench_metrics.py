"""Time of scoring a batch of 4×512² on a CPU, beside IMDL-BenCo's evaluators and the smallest network's forward pass.

    python benchmarks/bench_metrics.py

Writes benchmarks/results/metrics.json. IMDL-BenCo pins numpy<2 and an old albumentations, so it needs an environment
for benchmarks only: a copy of this project's, and in it

    pip install --no-deps imdlbenco fvcore iopath yacs portalocker tabulate termcolor grad_cam ttach appdirs
"""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ncl_lightning import scores
from ncl_lightning.metrics import ImageScores
from ncl_lightning.network import PivotNetwork

RESULTS = Path(__file__).parent / "results" / "metrics.json"
REPEATS = 15
GOAL_BENCO = 1 / 20
GOAL_FORWARD = 1 / 20


def main() -> None:
    """Run every measurement and write the rows."""
    batch = pictures()
    metric, index = ImageScores(4), torch.arange(4)
    rows = [
        against_benco("F1, IoU and AUC", lambda: three_scores(*batch), *batch),
        against_benco("all of ImageScores", lambda: metric.update(*batch, index), *batch),
        against_forward(lambda: metric.update(*batch, index)),
    ]
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    for entry in rows:
        print(entry)


def pictures() -> tuple[Tensor, Tensor, Tensor]:
    """Map, mask and valid (4,1,512,512), such as a network makes: smooth, and somewhat right."""
    torch.manual_seed(0)
    mask = torch.zeros(4, 1, 512, 512)
    mask[:, :, 128:300, 200:420] = 1
    noise = torch.nn.functional.interpolate(torch.randn(4, 1, 64, 64), size=512, mode="bilinear")
    return (noise + 1.5 * mask - 0.75).sigmoid(), mask, torch.ones_like(mask, dtype=torch.bool)


def three_scores(probability: Tensor, mask: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """F1, IoU and AUC of each image by our functions, as ImageScores takes them."""
    images = [scores.rank(*image) for image in zip(probability, mask, valid, strict=True)]
    positives = torch.tensor([image.positives for image in images])
    counts = [torch.cat(scores.counts_above(image, torch.tensor([0.5]))) for image in images]
    tp, fp = torch.stack(counts).unbind(1)
    pairs = torch.tensor([scores.pairs_in_order(image) for image in images])
    total = torch.tensor([2 * image.positives * image.negatives for image in images])
    return scores.f1_score(tp, fp, positives), scores.iou_score(tp, fp, positives), scores.ratio(pairs, total)


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


def against_forward(ours: Callable[[], object]) -> dict[str, Any]:
    """Our scores of a batch against the forward pass of the smallest network on it."""
    network = PivotNetwork(encoder="resnet18", decoder="Unet").eval()
    image = torch.randn(4, 3, 512, 512)

    @torch.no_grad()
    def forward() -> None:
        network(image)

    what = "ms a batch of 4×512²: all of ImageScores against the forward pass of configs/small.yaml's network"
    mine, peer = alternating(ours, forward)
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
        "what": f"{what} ({torch.get_num_threads()} threads of {os.cpu_count()}, torch {torch.__version__})",
        "ours": round(ours, 2),
        "peer": None if peer is None else round(peer, 2),
        "ratio": None if ratio is None else round(ratio, 4),
        "goal": goal,
        "holds": None if ratio is None else ratio <= goal,
    }


if __name__ == "__main__":
    main()
