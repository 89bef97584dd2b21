"""predictions.html: the pictures that `predict` looked at, the most suspicious first. It lies beside their files."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from urllib.parse import quote

from ncl_lightning.files import write_text

_CSS = """
body{font:15px/1.45 system-ui,sans-serif;color:#222;margin:0 auto;max-width:1180px;padding:0 16px}
main{display:grid;grid-template-columns:repeat(auto-fill,minmax(260px,1fr));gap:16px}
figure{margin:0}img{width:100%;height:220px;object-fit:contain;background:#f1f2f4;display:block}
figcaption{font-size:.88em;overflow-wrap:anywhere}b{display:block}
""".replace("\n", "")


@dataclass(frozen=True)
class Predicted:
    """What was found in one picture.

    Attributes:
        picture: Its path, below the folder given.
        files: What the names of its files begin with, below the output folder.
        width: Pixels.
        height: Pixels.
        tampered_share: Share of its pixels above the threshold.
        highest: The highest probability (before `own_cut`): the score of the picture as a whole.
        copies: Pairs of places that are alike.
    """

    picture: str
    files: str
    width: int
    height: int
    tampered_share: float
    highest: float
    copies: int


def write_gallery(path: Path, pictures: Sequence[Predicted], checkpoint: str, threshold: float) -> None:
    """Write the page.

    Args:
        path: The HTML file, in the output folder.
        pictures: In the order to show.
        checkpoint: Whose predictions they are.
        threshold: What is above it is called tampered.
    """
    head = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Predictions</title>'
        f"<style>{_CSS}</style><h1>{len(pictures)} pictures</h1>"
        f"<p>{escape(checkpoint)}, threshold {threshold:g}. Those that hold something twice first, then by "
        "the highest probability. "
        "Outlined in green: called tampered; in blue, joined by a line: two places that are alike. "
        "A heat map is a lead, not a proof: untouched pictures light up, too.</p>"
    )
    write_text(path, f"{head}<main>{''.join(map(_figure, pictures))}</main></html>\n")


def _figure(one: Predicted) -> str:
    overlay, heat, mask = (
        escape(quote(os.fsencode(f"{one.files}_{kind}.png"))) for kind in ("overlay", "heat", "mask")
    )
    twice = f"; {one.copies} found twice" if one.copies else ""
    return (
        f'<figure><a href="{overlay}"><img loading="lazy" alt="" src="{overlay}"></a>'
        f"<figcaption><b>{escape(one.picture)}</b>highest {one.highest:.2f}; {one.tampered_share:.0%} called tampered"
        f'{twice}; <a href="{heat}">heat map</a>, <a href="{mask}">mask</a></figcaption></figure>\n'
    )
