"""Pictures of what a network found: heat maps, overlays, patch categories, panels. RGB uint8 throughout."""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from ncl_lightning.patches import AUTHENTIC, CONTOUR, TAMPERED, VOID

Image = npt.NDArray[np.uint8]
Region = npt.NDArray[np.bool_]
_ALIKE = (70, 170, 255)
_CALLED = (80, 255, 120)
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
    dashed: bool = False,
) -> Image:
    """The picture (H, W, 3) under its heat map, clear where the probability is 0, with an outline around what is above.

    `copies` are pairs of places (H, W) that are alike: outlined in blue, with a line from one to the other. `dashed`:
    the outline is one that means little.
    """
    # the square: one sees what is suspected, and hardly a tint on what is not
    weight = (0.75 * np.clip(probability, 0, 1) ** 2)[..., None]
    drawn = np.ascontiguousarray((image * (1 - weight) + heat(probability) * weight).round().astype(np.uint8))
    width = max(1, round(max(image.shape[:2]) / 300))
    drawn[_rim(probability > threshold, width, dashed)] = _CALLED
    for pair in copies:
        centres = []
        for place in pair:
            drawn[_rim(place, width)] = _ALIKE
            if place.any():
                ys, xs = place.nonzero()
                centres.append((round(xs.mean()), round(ys.mean())))
        if len(centres) == 2:
            cv2.line(drawn, centres[0], centres[1], _ALIKE, width, cv2.LINE_AA)
    return drawn


def _rim(region: Region, width: int, dashed: bool = False) -> Region:
    """The outlines of a region (H, W), that many pixels wide."""
    outlines, _ = cv2.findContours(region.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not dashed:
        return cv2.drawContours(np.zeros(region.shape, np.uint8), outlines, -1, 1, width) > 0
    step = 5 * width
    dashes = [line[start : start + step] for line in outlines for start in range(0, len(line), 2 * step)]
    return cv2.polylines(np.zeros(region.shape, np.uint8), dashes, False, 1, width) > 0


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
