"""Overlays: clear where nothing is suspected, outlined where something is."""

import numpy as np

from ncl_lightning import draw

PICTURE = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)


def greens(drawn: draw.Image) -> int:
    return int((drawn == (80, 255, 120)).all(2).sum())


def test_an_overlay_is_the_picture_where_the_probability_is_0() -> None:
    probability = np.zeros((90, 120), np.float32)
    assert (draw.overlay(PICTURE, probability) == PICTURE).all()
    probability[30:60, 40:80] = 1
    drawn = draw.overlay(PICTURE, probability)
    far = np.ones((90, 120), bool)
    far[28:62, 38:82] = False
    assert (drawn[far] == PICTURE[far]).all()
    assert (drawn[35:55, 45:75] != PICTURE[35:55, 45:75]).any(2).all()


def test_the_more_suspected_the_less_is_left_of_the_picture() -> None:
    changes = [
        np.abs(draw.overlay(PICTURE, np.full((90, 120), value), 1.0).astype(int) - PICTURE).mean()
        for value in (0, 0.2, 0.4, 0.6, 0.8, 1)
    ]
    assert changes == sorted(changes)
    assert changes[0] == 0
    # hardly a tint
    assert changes[1] < 5


def test_an_outline_that_means_little_is_dashed() -> None:
    probability = np.zeros((90, 120))
    probability[10:80, 20:100] = 0.9
    probability[20:70, 30:90] = 0.2
    whole, dashed = (greens(draw.overlay(PICTURE, probability, 0.5, (), dashed)) for dashed in (False, True))
    # around the region, and around the hole in it
    assert whole == (2 * (70 + 80) - 4) + 2 * (50 + 60)
    # on a dark line, which white paper and grey print show
    light = np.full_like(PICTURE, 255)
    assert draw.overlay(light, probability)[9, 30:90].max() < 30
    assert 0.35 * whole < dashed < 0.65 * whole
