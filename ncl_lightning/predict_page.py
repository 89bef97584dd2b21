"""predictions.html: what `predict` found, the most suspicious first, on a page that stands alone."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import quote

from ncl_lightning import draw
from ncl_lightning.page import write_page
from ncl_lightning.untouched import Untouched

SHOWN = 200  # pictures on a page, so that it stays a file of some 20 MB; the others are rows of a table
_SIDE = 480  # pixels, the longest of a picture shown

_STYLE = """
table{font-size:.9em}td,th{padding:2px 14px 2px 0;overflow-wrap:anywhere}
figure{margin:22px 0;break-inside:avoid}figure div{display:grid;grid-template-columns:repeat(3,1fr);gap:4px}
figure img{width:100%;height:300px;object-fit:contain;background:#f1f2f4;display:block}
figcaption{overflow-wrap:anywhere;margin-bottom:4px}figcaption b{margin-right:8px}.soft{font-size:.9em}
.name{white-space:nowrap}.badge{background:#1769c2;color:#fff;border-radius:9px;padding:0 9px;font-size:.85em}
"""
_KINDS = {"overlay": "overlay", "heat": "heat map", "mask": "mask"}


@dataclass(frozen=True)
class Predicted:
    """What was found in one picture; of one not looked at, and of a file skipped or left out, only its path and note.

    Attributes:
        picture: Its path, below the folder given.
        files: Its three images are this and `_heat.png`, `_mask.png` and `_overlay.png`, below the output folder.
        width: Pixels.
        height: Pixels.
        outlined_share: Share of its pixels above the threshold.
        highest: The highest probability (before `own_cut`): the score of the picture as a whole.
        untouched_as_high: Share of untouched photographs that score as high; None where it was not measured.
        stands_out: `yes` or `no`, see the function of that name.
        copies: Pairs of places that are alike.
        sha256: Of its file.
        format: This and the next four: `evidence.Evidence`.
        quality: Of a JPEG.
        camera: By EXIF.
        software: By EXIF.
        taken: By EXIF.
        note: What reading it changed, that it was reduced for the network, what it equals, or why there are no images.
    """

    picture: str
    files: str = ""
    width: int | None = None
    height: int | None = None
    outlined_share: float | None = None
    highest: float | None = None
    untouched_as_high: float | None = None
    stands_out: str = ""
    copies: int | None = None
    sha256: str = ""
    format: str = ""
    quality: str = ""
    camera: str = ""
    software: str = ""
    taken: str = ""
    note: str = ""


def stands_out(highest: float, untouched_as_high: float | None) -> bool:
    """Whether a score is above the middle: of the untouched photographs, or of probabilities."""
    return untouched_as_high < 0.5 if untouched_as_high is not None else highest > 0.5


def preview(picture: draw.Image) -> bytes:
    """A JPEG of a picture, (H, W, 3) or grey (H, W), reduced to what a page shows."""
    larger = max(picture.shape[:2]) > _SIDE
    return draw.jpeg(draw.to_side(picture, _SIDE) if larger else picture, 75)


def write_gallery(
    path: Path,
    pictures: Sequence[Predicted],
    previews: Mapping[str, Sequence[bytes]],
    run: Mapping[str, Any],
    untouched: Untouched | None,
) -> None:
    """Write the page.

    Args:
        path: The HTML file, in the output folder.
        pictures: In the order to show; those without a score are listed below.
        previews: Of each picture to show by its path: `preview` of itself, its overlay and its heat map.
        run: `folder` of the pictures, `checkpoint`, whose predictions they are, `checkpoint_sha256`, the options of its
            `model`, `time`, `command` and `versions`.
        untouched: What scores are compared with.
    """
    looked_at = [one for one in pictures if one.highest is not None]
    shown = [one for one in looked_at if one.picture in previews]
    further = [one for one in looked_at if one.picture not in previews]
    without = [one for one in pictures if one.highest is None]
    parts = [
        f"<h1>{len(looked_at)} pictures</h1>",
        _facts(run),
        _legend(run["model"], untouched),
        "<main>",
        *(_figure(one, previews[one.picture], untouched) for one in shown),
        "</main>",
    ]
    if further:
        parts.append(f"<h2>{len(further)} more, less suspicious: the page shows the first {len(shown)}</h2>")
        parts.append(_table([(escape(one.picture), _score(one, untouched), _links(one)) for one in further]))
    if without:
        parts.append(f"<h2>{len(without)} files without a heat map</h2>")
        parts.append(_table([(escape(one.picture), escape(one.note)) for one in without]))
    write_page(path, "Predictions", _STYLE, parts)


def _table(rows: Sequence[Sequence[str]]) -> str:
    lines = "".join(f"<tr><td>{cells}" for cells in map("<td>".join, rows))
    return f"<table>{lines}</table>"


def _facts(run: Mapping[str, Any]) -> str:
    facts = {
        **({"PARTIAL": run["partial"]} if "partial" in run else {}),
        "made": run["time"],
        "by": run["command"],
        "pictures": run["folder"],
        "checkpoint": f"{Path(str(run['checkpoint'])).name}, SHA-256 {run['checkpoint_sha256']}",
        "versions": ", ".join(f"{name} {value}" for name, value in run["versions"].items()),
        "more": "predictions.json has all options, predictions.csv the SHA-256 of each picture",
    }
    # the names stay whole, whatever the values break into
    return _table([(f"<span class=name>{name}</span>", escape(str(value))) for name, value in facts.items()])


def _legend(model: Mapping[str, Any], untouched: Untouched | None) -> str:
    if untouched:
        sets = "; ".join(
            f"{len(scores)} {escape(name)}: half score {median(scores):.2f} or more"
            for name, scores in untouched.scores.items()
        )
        scale = (
            f"{sets}. Under each picture stands how many of them score as high, in the set with most of those; where "
            "half or more do, nothing stands out. They are few: none of 100 may still be 3 % of all. Larger ones were "
            "not measured, and may well score higher, since there is more in them."
        )
    else:
        scale = (
            "not measured with this checkpoint, so that a score says nothing by itself: predict some of your own, and "
            "compare. Nothing stands out at 0.5 or less."
        )
    outline = f"in green, around the part above {model['threshold']:g}; dashed where nothing stands out."
    heat = "the brighter, the more suspicious."
    if model.get("own_cut"):
        outline += " That is the most suspicious part of each picture, and nearly every one has such a part."
        heat += " It is shifted so that grey 128 is the picture's own threshold (own_cut): its values are no scores."
    points = {
        "Score": "the highest probability in a picture (<code>highest</code> in predictions.csv), and the order of "
        "this page. <strong>It does not say that the outline is in the right place</strong>: in a manipulated picture, "
        "too, something else may be outlined.",
        "Untouched photographs to compare with": scale,
        "Outline": outline,
        "Blue, joined by a line": "two places that are alike; tiles, windows and text are, by nature.",
        "Heat map": heat,
        "Sizes": "pictures are reduced here; links lead to the full size, where the page lies in its folder.",
    }
    return (
        "<p><strong>A heat map is a lead, not a proof: untouched pictures light up, too.</strong></p><ul>"
        + "".join(f"<li><b>{name}</b>: {text}" for name, text in points.items())
        + "</ul>"
    )


def _score(one: Predicted, untouched: Untouched | None) -> str:
    highest, share = one.highest or 0, one.untouched_as_high
    compared = []
    if untouched is not None and share is not None:
        # the legend says which set is of so many
        many, of = untouched.most(highest)
        unlike = ["smaller"] if (one.width or 0) * (one.height or 0) > untouched.pixels else []
        # at one time or another
        unlike += ["saved as JPEG"] if one.format != "JPEG" else []
        words = f" (all of them {' and '.join(unlike)})" if unlike else ""
        compared.append(f"{many or 'none'} of {of} untouched photographs score as high{words}")
    odd = stands_out(highest, share)
    if not odd:
        compared.append("nothing stands out")
    # certain is 1 alone
    said = ": ".join([f"score {highest if highest == 1 else min(highest, 0.99):.2f}", *compared])
    return f"{said}; it may be by the places alike, as of text, tiles or windows" if odd and one.copies else said


def _links(one: Predicted) -> str:
    return ", ".join(f'<a href="{_address(one, kind)}">{name}</a>' for kind, name in _KINDS.items())


def _address(one: Predicted, kind: str) -> str:
    return escape(quote(os.fsencode(f"{one.files}_{kind}.png")))


def _figure(one: Predicted, previews: Sequence[bytes], untouched: Untouched | None) -> str:
    pictures = [
        f'<img loading="lazy" alt="{name}" src="{draw.data_uri(data)}">'
        for name, data in zip(("picture", "overlay", "heat map"), previews, strict=True)
    ]
    pictures[1:] = [
        f'<a href="{_address(one, kind)}">{picture}</a>'
        for kind, picture in zip(("overlay", "heat"), pictures[1:], strict=True)
    ]
    places = "two places alike" if one.copies == 1 else f"{one.copies} pairs of places alike"
    badge = f' <span class="badge">{places}</span>' if one.copies else ""
    saved = f"{one.format} quality {one.quality}" if one.quality else one.format
    share = one.outlined_share or 0
    facts = [
        f"{'under 1%' if 0 < share < 0.01 else f'{share:.0%}'} outlined",
        f"{one.width}×{one.height}",
        saved,
        one.camera,
        one.software,
    ]
    facts += [one.taken, one.note]
    return (
        f"<figure><figcaption><b>{escape(one.picture)}</b> {_score(one, untouched)}{badge}<br><span class=soft>"
        f"{escape('; '.join(filter(None, facts)))}; {_links(one)}</span></figcaption><div>{''.join(pictures)}</div>"
        "</figure>"
    )
