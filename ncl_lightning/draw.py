"""Pictures of what a network found: heat maps, overlays, patch categories, panels. RGB uint8 throughout."""

import base64
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from ncl_lightning.patches import AUTHENTIC, CONTOUR, TAMPERED, VOID

Image = npt.NDArray[np.uint8]
Region = npt.NDArray[np.bool_]
_ALIKE = (70, 170, 255)
_CALLED = (80, 255, 120)
_EDGE = (15, 25, 20)
CATEGORY_COLOURS = {
    AUTHENTIC: (70, 130, 180),
    TAMPERED: (215, 60, 60),
    CONTOUR: (245, 200, 60),
    VOID: (0, 0, 0),
}
_CAPTION = 18  # pixels, the height of a line of text
# OpenCV's own, which has the letters of file names in most languages
_FONT = cv2.FontFace("sans")
_SIZE, _WEIGHT = 12, 450


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
    weight = np.float32(0.75) * np.clip(probability, 0, 1).astype(np.float32) ** 2
    drawn = cv2.blendLinear(image, heat(probability), 1 - weight, weight).astype(np.uint8, copy=False)
    width = max(1, round(max(image.shape[:2]) / 300))
    _outline(drawn, probability > threshold, _CALLED, width, dashed)
    for pair in copies:
        centres = []
        for place in pair:
            _outline(drawn, place, _ALIKE, width)
            if place.any():
                ys, xs = place.nonzero()
                centres.append((round(xs.mean()), round(ys.mean())))
        if len(centres) == 2:
            cv2.line(drawn, centres[0], centres[1], _ALIKE, width, cv2.LINE_AA)
    return drawn


def _outline(drawn: Image, region: Region, colour: tuple[int, int, int], width: int, dashed: bool = False) -> None:
    """Draw the outlines of a region (H, W) on dark ones, so that they stand out from any colour, and in grey."""
    drawn[_rim(region, width + 2 * max(1, width // 2), dashed)] = _EDGE
    drawn[_rim(region, width, dashed)] = colour


def _rim(region: Region, width: int, dashed: bool = False) -> Region:
    """The outlines of a region (H, W), that many pixels wide."""
    outlines, _ = cv2.findContours(region.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
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


def panel(cells: dict[str, Image], name: str = "", score: str = "") -> Image:
    """Pictures of one size side by side, each under its caption; above all a name, cut to fit, and a score."""
    row = np.hstack(
        [
            np.pad(np.vstack([_line(caption, cell.shape[1]), cell]), ((0, 4), (0, 4), (0, 0)), constant_values=255)
            for caption, cell in cells.items()
        ]
    )
    if not name and not score:
        return row
    # OpenCV crashes on what is no Unicode, as in odd file names
    name = "".join(letter if letter.isprintable() else "?" for letter in name)
    said = f"  {score}" if score else ""
    return np.vstack([_line(_cut(name, row.shape[1] - 6 - _width(said)) + said, row.shape[1]), row])


def legend(width: int, threshold: float = 0.5) -> Image:
    """What the colours of a panel mean, in as many lines as a width of so many pixels takes."""
    scale = heat(np.tile(np.linspace(0, 1, 80), (12, 1)))
    called = np.zeros((12, 12, 3), np.uint8)
    cv2.rectangle(called, (0, 0), (11, 11), _CALLED, 2)
    names = {"authentic": AUTHENTIC, "tampered": TAMPERED, "contour (both)": CONTOUR, "padding": VOID}
    squares: list[list[str | Image]] = [
        [np.full((12, 12, 3), CATEGORY_COLOURS[category], np.uint8), f"{name}  "] for name, category in names.items()
    ]
    entries: list[list[str | Image]] = [
        ["heat map: from 0 ", scale, " to 1, the most suspicious   "],
        [called, f"called tampered (above {threshold:g})   "],
        ["patches: ", *squares[0]],
        *squares[1:],
    ]
    lines: list[list[Image]] = [[]]
    for entry in entries:
        drawn = np.hstack([_line(part, _width(part) + 6) if isinstance(part, str) else _inline(part) for part in entry])
        if lines[-1] and sum(one.shape[1] for one in [*lines[-1], drawn]) > width:
            lines.append([])
        lines[-1].append(drawn)
    return stack([np.hstack(line) for line in lines])


def _inline(picture: Image) -> Image:
    """A small picture as high as a line of text."""
    above = (_CAPTION - picture.shape[0]) // 2
    below = _CAPTION - picture.shape[0] - above
    return np.pad(picture, ((above, below), (0, 0), (0, 0)), constant_values=255)


def _line(words: str, width: int) -> Image:
    """A line of text, black on white, as wide as asked for."""
    bar = np.full((_CAPTION, width, 3), 255, np.uint8)
    cv2.putText(bar, words, (3, 13), (0, 0, 0), _FONT, _SIZE, _WEIGHT)
    return bar


def _width(words: str) -> int:
    """Pixels that a text takes."""
    return int(cv2.getTextSize((0, 0), words, (0, 0), _FONT, _SIZE, _WEIGHT)[2])


def _cut(name: str, width: int) -> str:
    """As much of a name's end as fits: the end is what tells the files of a folder apart."""
    cuts = (f"…{name[at:]}" for at in range(1, len(name)))
    return next((cut for cut in (name, *cuts) if _width(cut) <= width), "")


def to_side(picture: Image, side: int) -> Image:
    """(H,W,3) or grey (H,W) reduced, or a smaller one enlarged, so that its longer side is so many pixels."""
    factor = side / max(picture.shape[:2])
    size = max(1, round(picture.shape[1] * factor)), max(1, round(picture.shape[0] * factor))
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_NEAREST
    return cv2.resize(picture, size, interpolation=how).astype(np.uint8)


def jpeg(picture: Image, quality: int) -> bytes:
    """(H,W,3) or grey (H,W) as a JPEG file."""
    pixels = np.ascontiguousarray(picture[..., ::-1] if picture.ndim == 3 else picture)
    return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def data_uri(data: bytes) -> str:
    """A JPEG file within an address, for a page that stands alone."""
    return "data:image/jpeg;base64," + base64.b64encode(data).decode()


def stack(pictures: Sequence[Image]) -> Image:
    """Pictures under each other, on white, as wide as the widest."""
    width = max(picture.shape[1] for picture in pictures)
    return np.vstack([_on_white(picture, picture.shape[0], width) for picture in pictures])


def grid(pictures: list[Image], columns: int) -> Image:
    """Pictures in rows of `columns`, each set on white to the largest size."""
    height = max(picture.shape[0] for picture in pictures)
    width = max(picture.shape[1] for picture in pictures)
    cells = [_on_white(picture, height, width) for picture in pictures]
    cells += [np.full((height, width, 3), 255, np.uint8)] * (-len(cells) % columns)
    return np.vstack([np.hstack(cells[i : i + columns]) for i in range(0, len(cells), columns)])


def _on_white(picture: Image, height: int, width: int) -> Image:
    right, below = width - picture.shape[1], height - picture.shape[0]
    return np.pad(picture, ((0, below), (0, right), (0, 0)), constant_values=255)
