"""How far a mean over images can be trusted: bootstrap intervals, the same on every run."""

import numpy as np
import torch
from torch import Tensor

Values = Tensor | np.ndarray | list[float]


def bootstrap_interval(values: Values, draws: int = 2000, seed: int = 0, level: float = 0.95) -> tuple[float, float]:
    """Percentile bootstrap interval of a mean (Efron 1979): where means of images drawn anew with replacement fall.

    Args:
        values: (N,) one for each image; NaN is left out, as in the mean.
        draws: Sets of N images drawn.
        seed: The same seed and N draw the same images.
        level: Share of the drawn means inside.

    Returns:
        (low, high); NaN where no value is. One image alone gives its own value twice: no width can be told from it.

    Raises:
        ValueError: `draws` is below 1 or `level` not inside (0,1).
    """
    if draws < 1 or not 0 < level < 1:
        raise ValueError(f"draws is {draws} and level {level}; must be at least 1, and between 0 and 1")
    x = _array(values)
    x = x[~np.isnan(x)]
    if not len(x):
        return float("nan"), float("nan")
    generator = np.random.default_rng(seed)
    # a block of draws at a time: 2000 draws of 10 000 images at once would take 160 MB
    block = max(1, 2**21 // len(x))
    means = np.concatenate(
        [
            x[generator.integers(0, len(x), (min(block, draws - start), len(x)))].mean(1)
            for start in range(0, draws, block)
        ]
    )
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def paired_difference(
    a: Values, b: Values, draws: int = 2000, seed: int = 0, level: float = 0.95
) -> tuple[float, float, float]:
    """The mean of a - b over images, with its bootstrap interval.

    Pairing takes out what both share, above all how hard an image is, so that a difference far smaller than either
    interval can hold. It does where the interval leaves out 0.

    Args:
        a: (N,) one result's scores, image by image.
        b: (N,) the other's, of the same images in the same order. An image that either leaves undefined (NaN) is
            left out.
        draws: As in `bootstrap_interval`.
        seed: As in `bootstrap_interval`.
        level: As in `bootstrap_interval`.

    Returns:
        (mean, low, high); above 0: a is higher. NaN where no image is left.

    Raises:
        ValueError: The lengths differ.
    """
    x, y = _array(a), _array(b)
    if len(x) != len(y):
        raise ValueError(f"{len(x)} images against {len(y)}: pair the same images first")
    difference = x - y
    low, high = bootstrap_interval(difference, draws, seed, level)
    kept = difference[~np.isnan(difference)]
    return float(kept.mean()) if len(kept) else float("nan"), low, high


def difference_of_methods(
    a: np.ndarray, b: np.ndarray, draws: int = 2000, seed: int = 0, level: float = 0.95, paired: bool = False
) -> tuple[float, float, float]:
    """The mean of a - b over runs and images, with an interval over both.

    Images are drawn anew (bootstrap). Runs of one method vary by more than the images explain, and a few runs are
    too few to bootstrap: the uncertainty of the mean over runs is drawn from Student's t distribution. Of two runs
    its tails go beyond what scores within 0–1 can differ by: the interval is cut to -1 and 1. A single run shows no
    spread: it is taken to have the other method's.

    Args:
        a: (R,N) scores within 0–1 of R runs on N images; NaN leaves an image out.
        b: (S,N) scores of S runs of another method, on the same images.
        draws: As in `bootstrap_interval`.
        seed: As in `bootstrap_interval`.
        level: As in `bootstrap_interval`.
        paired: Run r of either method shares what varies between runs, such as its training pictures: drawn together.

    Returns:
        (mean, low, high); with one run each, `paired_difference`'s.

    Raises:
        ValueError: Paired runs of unequal number.
    """
    if paired and len(a) != len(b):
        raise ValueError(f"{len(a)} runs against {len(b)}: paired runs must be of one number")
    if len(a) == len(b) == 1:
        return paired_difference(a[0], b[0], draws, seed, level)
    known = ~np.isnan(a).any(0) & ~np.isnan(b).any(0)
    if not known.any():
        return float("nan"), float("nan"), float("nan")
    generator = np.random.default_rng(seed)
    count = int(known.sum())
    # a block of draws at a time: 10000 draws of 10 000 images at once would take 800 MB
    block = max(1, 2**21 // count)
    drawn = []
    for start in range(0, draws, block):
        size = min(block, draws - start)
        images = generator.multinomial(count, np.full(count, 1 / count), size) / count  # (size, N)
        of_a, of_b = (images @ runs[:, known].T for runs in (a, b))
        spread = _spread_of_mean([of_a - of_b] if paired else [of_a, of_b], generator)
        drawn.append(of_a.mean(1) - of_b.mean(1) + spread)
    low, high = np.quantile(np.concatenate(drawn), [(1 - level) / 2, (1 + level) / 2]).clip(-1, 1)
    return float(a[:, known].mean() - b[:, known].mean()), float(low), float(high)


def _spread_of_mean(groups: list[np.ndarray], generator: np.random.Generator) -> np.ndarray:
    """How far means over more runs might lie from those over these, drawn: groups of (D,R) -> (D,).

    Welch 1947: Student's t with degrees of freedom by how much each group adds to the variance. Beside a group of one
    run, the other's variance counts for both (Student).
    """
    alone = sum(runs.shape[1] == 1 for runs in groups)
    several = [(runs.var(1, ddof=1), runs.shape[1]) for runs in groups if runs.shape[1] > 1]
    shares = [(variance * (1 / count + alone), count - 1) for variance, count in several]
    variance = sum(share for share, _ in shares)
    # equal runs have no spread
    freedom = variance**2 / np.maximum(sum(share**2 / more for share, more in shares), 1e-300)
    return np.sqrt(variance) * generator.standard_t(np.maximum(freedom, 1.0))


def _array(values: Values) -> np.ndarray:
    """(N,) float64."""
    array = values.detach().cpu().double().numpy() if isinstance(values, torch.Tensor) else np.asarray(values, float)
    if array.ndim != 1:
        raise ValueError(f"values have the shape {array.shape}, should be (N,)")
    return array
