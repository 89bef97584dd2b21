"""Time of the contrast, forwards and backwards: ours, a masked dense N×N version, and pytorch-metric-learning's SupCon.

    python benchmarks/bench_loss.py

Both branches of 4 images of 1024 patches, d = 128, float32. Writes benchmarks/results/loss.json. The dense version
computes the same numbers (checked first) by masking all N×N pairs; SupConLoss is another loss over the same groups,
one call for each image and branch. The goals are what a trial of the method reached.
"""

import json
import math
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pytorch_metric_learning.losses import SupConLoss
from torch import Tensor
from torch.nn.functional import normalize, softplus

from ncl_lightning.infonce import branch_contrast, sort_patches
from ncl_lightning.patches import BRANCHES, Branch, categorise, sides

RESULTS = Path(__file__).parent / "results" / "loss.json"
IMAGES, SIDE, STRIDE, DIMENSIONS = 4, 512, 16, 128
TEMPERATURE = 0.1
REPEATS = 9


def main() -> None:
    """Run every measurement and write the rows."""
    torch.manual_seed(0)
    categories = scene()
    vectors = torch.randn(2, IMAGES, categories.shape[1], DIMENSIONS, requires_grad=True)

    def run(contrast: Callable[[Tensor, Tensor, Branch], Tensor]) -> Callable[[], Tensor]:
        def step() -> Tensor:
            vectors.grad = None
            z = normalize(vectors, dim=-1)
            loss = torch.stack([contrast(z[i], categories, branch) for i, branch in enumerate(BRANCHES)]).mean()
            loss.backward()
            return loss.detach()

        return step

    ours = run(gathered)
    torch.testing.assert_close(ours(), run(dense)(), rtol=1e-4, atol=1e-5)
    peers = {
        "the same loss over masked dense N×N matrices": (run(dense), 1 / 11),
        "pytorch-metric-learning's SupConLoss": (run(supcon), 1 / 4),
    }
    rows = [row(f"ms of the contrast: ours against {name}", *alternating(ours, p), g) for name, (p, g) in peers.items()]
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n")
    for entry in rows:
        print(entry)


def scene() -> Tensor:
    """Categories (4,1024) of four pictures with a disc each, of 4 % to 25 % of the picture."""
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    discs = [(x - 220) ** 2 + (y - 270) ** 2 < SIDE**2 * share / math.pi for share in (0.04, 0.08, 0.15, 0.25)]
    mask = torch.stack(discs)[:, None]
    return categorise(mask, torch.ones_like(mask), STRIDE)


def gathered(z: Tensor, categories: Tensor, branch: Branch) -> Tensor:
    """Ours: (B,N,d) -> scalar."""
    return branch_contrast(z, sort_patches(categories), branch, TEMPERATURE).mean()


def dense(z: Tensor, categories: Tensor, branch: Branch) -> Tensor:
    """The same by masks: every one of the N×N pairs is computed, three times over."""
    first = torch.isin(categories, torch.tensor(sides("switch", branch)[0]))
    similarity = z @ z.transpose(1, 2) / TEMPERATURE  # (B,N,N)
    same = first[:, :, None] == first[:, None, :]
    positive = same & ~torch.eye(z.shape[1], dtype=torch.bool)
    negatives = similarity.masked_fill(same, -math.inf).logsumexp(2, keepdim=True)
    terms = softplus(negatives - similarity).masked_fill(~positive, 0).sum(2) / positive.sum(2).clamp(min=1)
    groups = torch.stack([(terms * g).sum(1) / g.sum(1) for g in (first, ~first)])
    return groups.mean()


def supcon(z: Tensor, categories: Tensor, branch: Branch) -> Tensor:
    """pytorch-metric-learning's, with the branch's groups as labels."""
    criterion = SupConLoss(TEMPERATURE)
    first = torch.isin(categories, torch.tensor(sides("switch", branch)[0]))
    return torch.stack([criterion(z[i], first[i].long()) for i in range(len(z))]).mean()


def alternating(a: Callable[[], Any], b: Callable[[], Any]) -> tuple[float, float]:
    """Medians in ms, the two taking turns so that a busy machine slows both."""
    a(), b()
    pairs = [(once(a), once(b)) for _ in range(REPEATS)]
    return statistics.median(p[0] for p in pairs), statistics.median(p[1] for p in pairs)


def once(run: Callable[[], Any]) -> float:
    """One run in ms."""
    start = time.perf_counter()
    run()
    return (time.perf_counter() - start) * 1000


def row(what: str, ours: float, peer: float, goal: float) -> dict[str, Any]:
    """One entry of the results; `holds` where ours / peer is at most the goal."""
    return {
        "what": f"{what} ({torch.get_num_threads()} threads of {os.cpu_count()}, torch {torch.__version__})",
        "ours": round(ours, 2),
        "peer": round(peer, 2),
        "ratio": round(ours / peer, 4),
        "goal": goal,
        "holds": ours / peer <= goal,
    }


if __name__ == "__main__":
    main()
