"""predictions.html: the pictures that `predict` looked at, the most suspicious first. It lies beside their files."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ncl_lightning.files import write_text

_CSS = """
body{font:15px/1.45 system-ui,sans-serif;color:#222;margin:0 auto;max-width:1180px;padding:0 16px}
main{display:grid;grid-template-columns:repeat(auto-fill,minmax(340px,1fr));gap:16px}
figure{margin:0}figure div{display:flex;gap:2px}figure a{flex:1}
img{width:100%;height:220px;object-fit:contain;background:#f1f2f4;display:block}
figcaption{font-size:.88em;overflow-wrap:anywhere}b{display:block}
""".replace("\n", "")
_OWN_CUT = """
The outline encloses the most suspicious part of each picture, and there is one in nearly every picture, manipulated or
not (own_cut: each map was moved so that its best cut comes to lie at 0.5). Go by the highest probability, which was
taken before: the lower it is, the less the outline means.
"""


@dataclass(frozen=True)
class Predicted:
    """What was found in one picture; of one that can't be read only its path, hash and note.

    Attributes:
        picture: Its path, below the folder given.
        files: What the names of its files begin with, below the output folder.
        width: Pixels.
        height: Pixels.
        tampered_share: Share of its pixels above the threshold.
        highest: The highest probability (before `own_cut`): the score of the picture as a whole.
        copies: Pairs of places that are alike.
        sha256: Of its file.
        note: Why it was skipped, or that it was reduced for the network.
    """

    picture: str
    files: str = ""
    width: int | None = None
    height: int | None = None
    tampered_share: float | None = None
    highest: float | None = None
    copies: int | None = None
    sha256: str = ""
    note: str = ""


def write_gallery(path: Path, pictures: Sequence[Predicted], run: Mapping[str, Any]) -> None:
    """Write the page.

    Args:
        path: The HTML file, in the output folder.
        pictures: In the order to show.
        run: `checkpoint`, whose predictions they are, `checkpoint_sha256`, and the options of its `model`.
    """
    looked_at = [one for one in pictures if one.files]
    skipped = [one for one in pictures if not one.files]
    head = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Predictions</title>'
        f"<style>{_CSS}</style><h1>{len(looked_at)} pictures</h1>"
        f"<p>Heat map and overlay of each; those that hold something twice first, then by the highest probability. "
        f"Outlined in green: called tampered (above {run['model']['threshold']:g}); in blue, joined by a line: two "
        "places that are alike. <strong>A heat map is a lead, not a proof: untouched pictures light up, too.</strong>"
        f"{_OWN_CUT if run['model'].get('own_cut') else ''}</p>"
        f"<p>Made by {escape(Path(str(run['checkpoint'])).name)}, SHA-256 {run['checkpoint_sha256']}; predictions.json "
        "has all options and versions, predictions.csv the SHA-256 of each picture. "
        "The pictures shown lie beside this page: hand on the whole folder.</p>"
    )
    lines = "".join(f"<li>{escape(one.note)}</li>" for one in skipped)
    missing = f"<h2>{len(skipped)} could not be read</h2><ul>{lines}</ul>" if skipped else ""
    write_text(path, f"{head}{missing}<main>{''.join(map(_figure, looked_at))}</main></html>\n")


def _figure(one: Predicted) -> str:
    overlay, heat, mask = (
        escape(quote(os.fsencode(f"{one.files}_{kind}.png"))) for kind in ("overlay", "heat", "mask")
    )
    twice = f"; {one.copies} found twice" if one.copies else ""
    note = f"; {escape(one.note)}" if one.note else ""
    return (
        f'<figure><div><a href="{heat}"><img loading="lazy" alt="heat map" src="{heat}"></a>'
        f'<a href="{overlay}"><img loading="lazy" alt="overlay" src="{overlay}"></a></div>'
        f"<figcaption><b>{escape(one.picture)}</b>highest probability {one.highest:.2f}; "
        f'{one.tampered_share:.0%} outlined{twice}{note}; <a href="{mask}">mask</a></figcaption></figure>\n'
    )
