"""Differences of methods: drawn over images and runs."""

import numpy as np
import pytest

from ncl_lightning.intervals import difference_of_methods, paired_difference


def test_one_run_each_is_the_paired_difference() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 1, 50))
    assert difference_of_methods(a, b, 500, 3) == paired_difference(a[0], b[0], 500, 3)


def simulated(rng: np.random.Generator, gap: float, seed_sd: float, runs: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Scores (R, 120) of two methods: hard and easy images, runs that differ as wholes, and noise."""
    images = rng.normal(0.5, 0.2, 120)
    make = lambda shift: images + shift + rng.normal(0, seed_sd, (runs, 1)) + rng.normal(0, 0.05, (runs, 120))  # noqa: E731
    return make(gap), make(0.0)


@pytest.mark.parametrize("runs", [2, 3, 6])
@pytest.mark.parametrize("paired", [True, False])
def test_seeds_that_differ_by_chance_seldom_hold(runs: int, paired: bool) -> None:
    """Runs of one and the same method; over images alone, most such differences would hold."""
    rng = np.random.default_rng(0)
    held = {"runs": 0, "images": 0}
    for number in range(150):
        a, b = simulated(rng, 0.0, 0.03, runs)
        _, low, high = difference_of_methods(a, b, 400, number, paired=paired)
        held["runs"] += low > 0 or high < 0
        _, low, high = paired_difference(a.mean(0), b.mean(0), 400, number)
        held["images"] += low > 0 or high < 0
    assert held["images"] > 60
    # 5 % of 150, and twice the standard deviation of that
    assert held["runs"] <= 13


@pytest.mark.parametrize("runs", [2, 3, 6])
def test_a_single_run_has_the_spread_of_the_others(runs: int) -> None:
    """Against several: as if it had none, one in seven or three such differences would hold."""
    rng = np.random.default_rng(0)
    held = 0
    for number in range(150):
        a, b = simulated(rng, 0.0, 0.03, runs)
        _, low, high = difference_of_methods(a, b[:1], 400, number)
        held += low > 0 or high < 0
    assert held <= 13


def test_a_difference_larger_than_the_spread_of_runs_holds() -> None:
    rng = np.random.default_rng(1)
    a, b = simulated(rng, 0.15, 0.02)
    mean, low, _ = difference_of_methods(a, b)
    assert low > 0
    assert mean == pytest.approx(a.mean() - b.mean())
    a[0, 7] = np.nan
    kept = np.arange(120) != 7
    assert difference_of_methods(a, b)[0] == pytest.approx(a[:, kept].mean() - b[:, kept].mean())
    assert np.isnan(difference_of_methods(np.full((2, 3), np.nan), np.zeros((2, 3)))).all()


def common(rng: np.random.Generator, gap: float) -> tuple[np.ndarray, np.ndarray]:
    """Scores (6, 120) of two methods whose run r shares training pictures of its own."""
    images, pictures = rng.normal(0.5, 0.2, 120), rng.normal(0, 0.05, (6, 1))
    make = lambda shift: images + pictures + shift + rng.normal(0, 0.01, (6, 1)) + rng.normal(0, 0.05, (6, 120))  # noqa: E731
    return make(gap), make(0.0)


def test_runs_with_common_pictures_are_compared_run_by_run() -> None:
    rng = np.random.default_rng(2)
    a, b = common(rng, 0.03)
    assert difference_of_methods(a, b)[1] < 0 < difference_of_methods(a, b, paired=True)[1]
    with pytest.raises(ValueError, match="of one number"):
        difference_of_methods(a, b[:5], paired=True)


@pytest.mark.parametrize("paired", [True, False])
def test_no_interval_goes_beyond_what_scores_can_differ_by(paired: bool) -> None:
    """Student's t of two runs that lie far apart."""
    a, b = np.array([[0.1] * 9, [0.9] * 9]), np.full((2, 9), 0.4)
    mean, low, high = difference_of_methods(a, b, paired=paired)
    assert (low, high) == (-1, 1)
    assert mean == pytest.approx(0.1)
    assert difference_of_methods(b, a, paired=paired)[1:] == (-1, 1)
