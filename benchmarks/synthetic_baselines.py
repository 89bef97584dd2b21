"""What a mere threshold reaches on synthetic manipulations: on noise, on colour, on the place.

    python benchmarks/synthetic_baselines.py synthetic:200 --size 128
    python benchmarks/synthetic_baselines.py synthetic:photos --count 200

Prints the mean pixel F1 over tampered pictures for each score, at the one threshold over all pictures and
the one polarity that are best for it, chosen on the very pictures that are scored: an upper bound. A network
that learned no more than these has learned a shortcut.
"""

import argparse
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ncl_lightning.synthetic import SyntheticSource

Score = NDArray[np.float32]
GRID = 101


def _averaged(score: NDArray[Any], side: int) -> Score:
    """A score (H, W) averaged over windows of `side` pixels."""
    return np.asarray(cv2.blur(score.astype(np.float32), (side, side)), np.float32)


def noise_scores(image: NDArray[np.uint8]) -> dict[str, Score]:
    """Local noise levels of a picture (H, W, 3): the spread of three residuals in windows, each (H, W)."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    median = cv2.medianBlur(grey.astype(np.uint8), 3).astype(np.float32)
    residuals = {
        "laplacian": cv2.Laplacian(grey, cv2.CV_32F),
        "median residual": grey - median,
        "mosaic residual": cv2.filter2D(grey, cv2.CV_32F, np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]]) / 4.0),
    }
    scores: dict[str, Score] = {}
    for name, residual in residuals.items():
        for side in (9, 21):
            level = np.sqrt(cv2.blur(residual * residual, (side, side)))
            scores[f"noise: {name}, {side}×{side}"] = np.log(level + 0.1).astype(np.float32)
            # small residuals only: edges count less
            scores[f"noise: clipped {name}, {side}×{side}"] = _averaged(np.minimum(abs(residual), 6), side)
    return scores


def colour_scores(image: NDArray[np.uint8]) -> dict[str, Score]:
    """Channels of RGB, HSV and Lab of a picture (H, W, 3), and the distance from its mean, each (H, W)."""
    scores: dict[str, Score] = {}
    lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    spaces = (("RGB", image), ("HSV", cv2.cvtColor(image, cv2.COLOR_RGB2HSV)), ("Lab", lab))
    for space, planes in spaces:
        for channel, name in enumerate(space):
            scores[f"colour: {name} of {space}"] = _averaged(planes[:, :, channel], 5)
    centred = lab - lab.reshape(-1, 3).mean(0)
    scores["colour: distance from the mean"] = _averaged(np.linalg.norm(centred, axis=2), 5)
    spread = np.linalg.inv(np.cov(lab.reshape(-1, 3).T) + np.eye(3))
    mahalanobis = np.sqrt(np.einsum("hwi,ij,hwj->hw", centred, spread, centred))
    scores["colour: Mahalanobis distance from the mean"] = _averaged(mahalanobis, 5)
    return scores


def f1_curve(score: Score, mask: NDArray[np.bool_], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """F1 of `score` (H, W) above each threshold and below it, (2, GRID)."""
    inside = np.histogram(score[mask], edges)[0]
    everything = np.histogram(score, edges)[0]
    hits = np.stack((inside[::-1].cumsum()[::-1], inside.cumsum()))
    called = np.stack((everything[::-1].cumsum()[::-1], everything.cumsum()))
    return np.asarray(2 * hits / np.maximum(called + mask.sum(), 1))


def best_f1(scores: list[Score], masks: list[NDArray[np.bool_]]) -> float:
    """The best mean F1 over pictures that one threshold and one polarity reach."""
    sample = np.concatenate([score.ravel()[::17] for score in scores])
    edges = np.quantile(sample, np.linspace(0, 1, GRID + 1))
    edges = np.maximum.accumulate(edges + np.arange(GRID + 1) * 1e-7)
    edges[0], edges[-1] = -np.inf, np.inf
    curves = [f1_curve(score, mask, edges) for score, mask in zip(scores, masks, strict=True)]
    return float(np.mean(curves, axis=0).max())


def standard(score: Score) -> Score:
    """The score (H, W) of a picture with mean 0 and deviation 1."""
    return np.asarray((score - score.mean()) / (score.std() + 1e-6), np.float32)


def ranks(score: Score) -> Score:
    """The score (H, W) of a picture as quantiles of its own, within 0–1: no level to compare with others."""
    order = np.argsort(score, axis=None, kind="stable")
    quantiles = np.empty(score.size, np.float32)
    quantiles[order] = np.linspace(0, 1, score.size, dtype=np.float32)
    return quantiles.reshape(score.shape)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", help="synthetic:N or synthetic:FOLDER of photographs")
    parser.add_argument("--count", type=int, default=200, help="pictures, for synthetic:FOLDER")
    parser.add_argument("--size", type=int, default=128, help="side of made-up pictures")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    what = arguments.source.removeprefix("synthetic:")
    kinds = (".jpg", ".jpeg", ".png")
    photos = [] if what.isdigit() else sorted(p for p in Path(what).rglob("*") if p.suffix.lower() in kinds)
    if not what.isdigit() and not photos:
        parser.error(f"no photographs in {what}")
    count = int(what) if what.isdigit() else arguments.count
    source = SyntheticSource(count, photos, arguments.size, arguments.seed, authentic_share=0)

    masks = []
    scores: dict[str, list[Score]] = {}
    for index in range(count):
        picture = source.read(index)
        masks.append(picture.mask)
        for name, score in {**noise_scores(picture.image), **colour_scores(picture.image)}.items():
            scores.setdefault(name, []).append(score)
            scores.setdefault(f"{name}, ranked", []).append(ranks(score))
            scores.setdefault(f"{name}, standardised", []).append(standard(score))
    # where manipulations lie on average, learned from the other half of the pictures
    small = [cv2.resize(mask.astype(np.float32), (64, 64), interpolation=cv2.INTER_AREA) for mask in masks]
    priors = [cv2.GaussianBlur(np.mean(small[start::2], 0), (0, 0), 4) for start in (1, 0)]
    for index, mask in enumerate(masks):
        place = cv2.resize(priors[index % 2], mask.shape[::-1]).astype(np.float32)
        scores.setdefault("place: average mask of other pictures", []).append(place)
    shares = np.array([mask.mean() for mask in masks])
    print(f"{count} tampered pictures; tampered share: mean {shares.mean():.3f}, median {np.median(shares):.3f}")
    print(f"{np.mean(2 * shares / (1 + shares)):.3f}  everything called tampered")
    found = sorted(((best_f1(maps, masks), name) for name, maps in scores.items()), reverse=True)
    for kind in ("noise", "colour", "place"):
        for f1, name in [entry for entry in found if entry[1].startswith(kind)][:3]:
            print(f"{f1:.3f}  {name}")


if __name__ == "__main__":
    main()
