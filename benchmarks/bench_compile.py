"""Time of a training step with `model.compile` against one without, for the shipped model's network.

    python benchmarks/bench_compile.py

A step is forward, loss and backward of 8 pictures of 256×256 in bf16 autocast, on one thread. Writes
benchmarks/results/compile.json. On a CPU a C++ compiler is needed, and compiling takes minutes.
"""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml

from ncl_lightning.module import NCLModule

RESULTS = Path(__file__).parent / "results" / "compile.json"
CONFIG = Path(__file__).parent.parent / "configs" / "model.yaml"
REPEATS = 15
GOAL = 0.85


def main() -> None:
    """Let both take turns, and write the row."""
    torch.set_num_threads(1)
    options = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["model"]
    plain, compiled = (step_of(NCLModule(**options, compile=wanted)) for wanted in (False, True))
    times: dict[Callable[[], None], list[float]] = {plain: [], compiled: []}
    # compiled again once a batch norm has counted, say: twice before the clock runs
    for turn in range(2 + REPEATS):
        for step, kept in times.items():
            start = time.perf_counter()
            step()
            if turn >= 2:
                kept.append(1000 * (time.perf_counter() - start))
    slow, fast = min(times[plain]), min(times[compiled])
    row: dict[str, Any] = {
        "what": "ms a training step of 8×256²: compiled against not, configs/model.yaml's network "
        f"(1 thread of {os.cpu_count()}, load {os.getloadavg()[0]:.1f}, torch {torch.__version__})",
        "ours": round(fast, 1),
        "peer": round(slow, 1),
        "ratio": round(fast / slow, 4),
        "goal": GOAL,
        "holds": fast / slow <= GOAL,
    }
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps([row], indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(row)


def step_of(module: NCLModule) -> Callable[[], None]:
    """A training step, its optimizer left out: that one is the same for both."""
    module.setup("fit")
    torch.manual_seed(0)
    image = torch.randint(0, 256, (8, 3, 256, 256), dtype=torch.uint8)
    mask = torch.zeros(8, 1, 256, 256)
    mask[:, :, 40:120, 60:160] = 1
    valid, index = torch.ones_like(mask, dtype=torch.bool), torch.arange(8)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            loss = module.loss(module(image), mask, valid, index, 0)["loss"]
        loss.backward()
        module.zero_grad()

    return step


if __name__ == "__main__":
    main()
