"""Pictures of what a network found: heat maps, overlays, patch categories, panels. RGB uint8 throughout."""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from ncl_lightning.patches import AUTHENTIC, CONTOUR, TAMPERED, VOID

Image = npt.NDArray[np.uint8]
Region = npt.NDArray[np.bool_]
_ALIKE = (70, 170, 255)
CATEGORY_COLOURS = {
    AUTHENTIC: (70, 130, 180),
    TAMPERED: (215, 60, 60),
    CONTOUR: (245, 200, 60),
    VOID: (0, 0, 0),
}
_CAPTION = 18


def heat(probability: npt.NDArray[np.floating]) -> Image:
    """Probability (H, W) of 0..1 in the inferno colour map (H, W, 3)."""
    return cv2.applyColorMap(grey(probability), cv2.COLORMAP_INFERNO)[..., ::-1].astype(np.uint8)


def grey(probability: npt.NDArray[np.floating]) -> Image:
    """Probability (H, W) of 0..1 as 8-bit grey (H, W): 255 is certain."""
    return (np.clip(probability, 0, 1) * 255).round().astype(np.uint8)


def overlay(
    image: Image,
    probability: npt.NDArray[np.floating],
    threshold: float = 0.5,
    copies: Sequence[tuple[Region, Region]] = (),
) -> Image:
    """The picture (H, W, 3) under its heat map, with an outline around what is called tampered.

    `copies` are pairs of places (H, W) that are alike: outlined in blue, with a line from one to the other.
    """
    # the picture stays plain where nothing is suspected, so that one sees what is
    weight = (0.15 + 0.6 * np.clip(probability, 0, 1))[..., None]
    mixed = (image * (1 - weight) + heat(probability) * weight).astype(np.uint8)
    contours, _ = cv2.findContours(
        (probability > threshold).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    )
    width = max(1, round(max(image.shape[:2]) / 300))
    drawn = cv2.drawContours(np.ascontiguousarray(mixed), contours, -1, (80, 255, 120), width)
    for pair in copies:
        centres = []
        for place in pair:
            outline, _ = cv2.findContours(place.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
            cv2.drawContours(drawn, outline, -1, _ALIKE, width)
            if place.any():
                rows, columns = place.nonzero()
                centres.append((round(columns.mean()), round(rows.mean())))
        if len(centres) == 2:
            cv2.line(drawn, centres[0], centres[1], _ALIKE, width, cv2.LINE_AA)
    return drawn.astype(np.uint8)


def categories(grid: npt.NDArray[np.integer], stride: int, height: int, width: int) -> Image:
    """Patch categories (rows, columns) as coloured squares, cropped to (height, width, 3)."""
    colours = np.zeros((*grid.shape, 3), np.uint8)
    for category, colour in CATEGORY_COLOURS.items():
        colours[grid == category] = colour
    return colours.repeat(stride, 0).repeat(stride, 1)[:height, :width]


def mask(binary: npt.NDArray[np.bool_]) -> Image:
    """A mask (H, W) in black and white (H, W, 3)."""
    return np.repeat((binary.astype(np.uint8) * 255)[..., None], 3, axis=2)


def panel(cells: dict[str, Image]) -> Image:
    """Pictures of one size side by side, each under its caption."""
    columns = []
    for caption, cell in cells.items():
        bar = np.full((_CAPTION, cell.shape[1], 3), 255, np.uint8)
        cv2.putText(bar, caption, (3, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
        columns.append(np.pad(np.vstack([bar, cell]), ((0, 4), (0, 4), (0, 0)), constant_values=255))
    return np.hstack(columns)


def grid(pictures: list[Image], columns: int) -> Image:
    """Pictures in rows of `columns`, each set on white to the largest size."""
    height = max(picture.shape[0] for picture in pictures)
    width = max(picture.shape[1] for picture in pictures)
    cells = [
        np.pad(
            picture,
            ((0, height - picture.shape[0]), (0, width - picture.shape[1]), (0, 0)),
            constant_values=255,
        )
        for picture in pictures
    ]
    cells += [np.full((height, width, 3), 255, np.uint8)] * (-len(cells) % columns)
    rows = [np.hstack(cells[i : i + columns]) for i in range(0, len(cells), columns)]
    return np.vstack(rows)
