"""Which scale and shift of a checkpoint's logits make its values probabilities, for `export --calibration`.

    python benchmarks/calibrate.py shipped data/model_eval/val data/web_eval/val data/composites/val

Fits both (Platt 1999) to pictures as they are, cropped by 3 and 5 pixels, and handed on as the web does (reduced to
0.45–1, saved at qualities 65 to 95), by up to 20000 pixels of each. Then, for each of these kinds: tampered pictures,
their mean AUC and F1, cut at 0.5 as they come and each at its own after calibration (`ncl_lightning.cut`), and the
share of authentic pictures' pixels that either calls tampered. The network alone: copies are left out.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, roc_auc_score

from ncl_lightning import NCLModule
from ncl_lightning.camera import passed_on
from ncl_lightning.checkpoints import load_checkpoint, named_checkpoint
from ncl_lightning.cut import expected_cut
from ncl_lightning.data import ManipulationDataModule
from ncl_lightning.datasets import frame
from ncl_lightning.sources import Picture, open_source

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]
PIXELS = 20000  # of a picture that are looked at
KINDS: dict[str, Callable[[Pixels, Mask, int], tuple[Pixels, Mask]]] = {
    "as they are": lambda image, mask, index: (image, mask),
    "cropped": lambda image, mask, index: (image[3:, 5:], mask[3:, 5:]),
    "handed on": lambda image, mask, index: passed_on(image, mask, np.random.default_rng(index)),
}


class Sample(NamedTuple):
    """Logits (n,) of a picture's pixels, and which of them are tampered."""

    logits: NDArray[np.float32]
    tampered: Mask


def samples(module: NCLModule, transform: Any, source: str, most: int) -> dict[str, list[Sample]]:
    """By kind, the first `most` tampered and `most` / 2 authentic pictures of a source, in frames as in `test`."""
    pictures, rng = open_source(source), np.random.default_rng(0)
    found: dict[str, list[Sample]] = {f"{source}, {kind}": [] for kind in KINDS}
    left = {True: most // 2, False: most}
    for index in range(len(pictures)):
        picture = pictures.read(index)
        left[picture.authentic] -= 1
        if left[picture.authentic] < 0:
            continue
        for kind, change in KINDS.items():
            image, mask = change(picture.image, picture.mask, index)
            framed = frame(Picture(image, mask, picture.authentic, picture.name), transform, (0, 0, index), False)
            with torch.inference_mode():
                logits = module.logits(framed["image"][None])[0][framed["valid"]].numpy()
            tampered = framed["mask"][framed["valid"]].numpy() > 0.5
            chosen = rng.choice(len(logits), min(PIXELS, len(logits)), replace=False)
            found[f"{source}, {kind}"].append(Sample(logits[chosen], tampered[chosen]))
    return found


def calibration(pictures: list[Sample]) -> tuple[float, float]:
    """Scale and shift by which the logits fit best."""
    logits, tampered = np.concatenate([s.logits for s in pictures]), np.concatenate([s.tampered for s in pictures])
    fit = LogisticRegression(C=np.inf).fit(logits[:, None], tampered)
    return float(fit.coef_[0, 0]), float(fit.intercept_[0])


def own(logits: NDArray[np.float32], scale: float, shift: float) -> Mask:
    """What a picture's own cut calls tampered."""
    probability = torch.from_numpy(scale * logits + shift).sigmoid()
    return (probability > expected_cut(probability)).numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("sources", nargs="+")
    parser.add_argument("--most", type=int, default=50, help="tampered pictures of each source")
    options = parser.parse_args()
    path = named_checkpoint(options.checkpoint, Path("runs"))
    module = NCLModule.load_from_checkpoint(path, map_location="cpu", weights_only=True).eval()
    data = load_checkpoint(path).get("datamodule_hyper_parameters", {})
    stored = {key: data[key] for key in ManipulationDataModule.EVALUATION_KEYS if key in data}
    transform = ManipulationDataModule(**stored).evaluation()
    found = [samples(module, transform, source, options.most) for source in options.sources]
    kinds = {name: each for source in found for name, each in source.items()}
    for name, each in kinds.items():
        if not any(s.tampered.any() and not s.tampered.all() for s in each):
            sys.exit(f"{name}: no tampered picture; give another source")
    scale, shift = calibration([sample for each in kinds.values() for sample in each])
    print(f"--calibration '[{scale:.3f}, {shift:.3f}]'")
    print(f"{'pictures':<44}{'n':>4}{'AUC':>7}{'F1 at 0.5':>11}{'own cut':>9}{'authentic at 0.5':>18}{'own cut':>9}")
    rows, both = [], cuts(scale, shift)
    for name, each in kinds.items():
        tampered = [s for s in each if s.tampered.any() and not s.tampered.all()]
        authentic = [s for s in each if not s.tampered.any()]
        auc = np.mean([roc_auc_score(s.tampered, s.logits) for s in tampered])
        f1 = [np.mean([f1_score(s.tampered, called(s.logits)) for s in tampered]) for called in both]
        fpr = [np.mean([called(s.logits).mean() for s in authentic] or [np.nan]) for called in both]
        rows.append([auc, *f1, *fpr])
        print(f"{name:<44}{len(tampered):>4}{auc:>7.3f}{f1[0]:>11.3f}{f1[1]:>9.3f}{fpr[0]:>18.3f}{fpr[1]:>9.3f}")
    auc, *f1, first, second = np.nanmean(rows, 0)
    print(f"{'mean':<48}{auc:>7.3f}{f1[0]:>11.3f}{f1[1]:>9.3f}{first:>18.3f}{second:>9.3f}")


def cuts(scale: float, shift: float) -> list[Callable[[NDArray[np.float32]], Mask]]:
    """At 0.5 as it comes, and each picture at its own."""
    return [lambda logits: logits > 0, lambda logits: own(logits, scale, shift)]


if __name__ == "__main__":
    main()
