"""Where to cut a checkpoint's maps so that it serves several kinds of pictures: the network alone, copies left out.

    python benchmarks/choose_cut.py shipped data/model_eval/val data/web_eval/val data/composites/val

Prints for each source, and for its pictures cropped by 3 and 5 pixels and handed on as the web does (reduced to
0.45–1, saved at qualities 65 to 95), the mean AUC over tampered pictures, the threshold of the best mean F1, that F1,
and the F1 at the one threshold that is best for the mean over all of these; `export --threshold` moves it to 0.5.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from ncl_lightning import NCLModule
from ncl_lightning.checkpoints import named_checkpoint
from ncl_lightning.sources import open_source
from ncl_lightning.traces import passed_on

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]
THRESHOLDS = np.arange(0.01, 1.0, 0.01)
KINDS: dict[str, Callable[[Pixels, Mask, int], tuple[Pixels, Mask]]] = {
    "as they are": lambda image, mask, index: (image, mask),
    "cropped": lambda image, mask, index: (image[3:, 5:], mask[3:, 5:]),
    "handed on": lambda image, mask, index: passed_on(image, mask, np.random.default_rng(index)),
}


def tampered(source: str, most: int) -> Iterator[tuple[int, Pixels, Mask]]:
    """Number, picture (H, W, 3) and mask (H, W) of the first `most` tampered ones."""
    pictures = open_source(source)
    found = 0
    for index in range(len(pictures)):
        picture = pictures.read(index)
        if picture.mask is not None and picture.mask.any() and found < most:
            found += 1
            yield index, picture.image, picture.mask > 0


def scores(probability: NDArray[np.float32], mask: Mask) -> tuple[float, NDArray[np.float64]]:
    """AUC of one picture, and its F1 at each of THRESHOLDS."""
    # pixels above a threshold, counted from the top
    levels = np.append(THRESHOLDS, 2.0)
    called, right = (np.histogram(p, levels)[0][::-1].cumsum()[::-1] for p in (probability, probability[mask]))
    return float(roc_auc_score(mask.ravel(), probability.ravel())), 2 * right / (called + mask.sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("sources", nargs="+")
    parser.add_argument("--most", type=int, default=50, help="tampered pictures of each source")
    options = parser.parse_args()
    path = named_checkpoint(options.checkpoint, Path("runs"))
    module = NCLModule.load_from_checkpoint(path, map_location="cpu", weights_only=True, copies=False).eval()
    rows: dict[str, list[tuple[float, NDArray[np.float64]]]] = {}
    for source in options.sources:
        for index, image, mask in tampered(source, options.most):
            for kind, change in KINDS.items():
                pixels, truth = change(image, mask, index)
                if not truth.any() or truth.all():
                    continue
                frame = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None]
                with torch.inference_mode():
                    probability = module.probability(frame)[0, 0].numpy()
                rows.setdefault(f"{source}, {kind}", []).append(scores(probability, truth))
    curves = {name: np.mean([curve for _, curve in each], 0) for name, each in rows.items()}
    best = int(np.mean(list(curves.values()), 0).argmax())
    print(f"{'pictures':<44}{'n':>4}{'AUC':>7}{'cut':>6}{'F1':>7}{f'F1 at {THRESHOLDS[best]:.2f}':>12}")
    for name, curve in curves.items():
        own, auc = int(curve.argmax()), np.mean([one for one, _ in rows[name]])
        print(f"{name:<44}{len(rows[name]):>4}{auc:>7.3f}{THRESHOLDS[own]:>6.2f}{curve[own]:>7.3f}{curve[best]:>12.3f}")
    print(f"{'mean':<61}{np.mean([curve[best] for curve in curves.values()]):>19.3f}")


if __name__ == "__main__":
    main()
