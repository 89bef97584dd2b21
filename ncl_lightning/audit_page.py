"""The audit as one HTML file that needs nothing else: every finding with thumbnails."""

from collections import Counter
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path

from ncl_lightning import draw
from ncl_lightning.audit_findings import ORDER, Finding
from ncl_lightning.errors import InputError
from ncl_lightning.images import read_image
from ncl_lightning.page import write_page

_THUMB = 128  # pixels, the longer side
_EACH = 6  # thumbnails of a finding
_MOST = 400  # findings that get thumbnails; the others are listed

_STYLE = """
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem;border-bottom:1px solid #ccc}
td,th{padding:.2rem .8rem .2rem 0;text-align:right}td:first-child,th:first-child{text-align:left}
article{margin:1rem 0}article p{margin:.2rem 0}
figure{display:inline-block;margin:.3rem .6rem .3rem 0;vertical-align:top;width:132px}
figure img{max-width:128px;border:1px solid #bbb}figcaption{font-size:.72rem;overflow-wrap:anywhere}
.kind{font-weight:600}.error{color:#b00020}.warning{color:#9a5b00}.note{color:#3a5a80}details{font-size:.8rem}
"""


def write_findings(
    path: Path,
    findings: Sequence[Finding],
    table: Sequence[Sequence[str]],
    checked: str,
    tick: Callable[[], None] = lambda: None,
) -> None:
    """Write the page.

    Args:
        path: The file.
        findings: What was found, in the order to show.
        table: Rows of the overview of the splits, the head first.
        checked: What was looked at, and for what.
        tick: Called for each finding done.
    """
    counts = Counter(finding.severity for finding in findings)
    says = ", ".join(f"{counts[severity]} {severity}s" for severity in ORDER) if findings else "no faults"
    rows = "".join(
        "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in row) + "</tr>"
        for tag, row in zip(["th"] + ["td"] * len(table), table, strict=False)
    )
    parts = [f"<h1>Audit: {says}</h1><p>{escape(checked)}</p><table>{rows}</table>"]
    heading = None
    for number, finding in enumerate(findings):
        if finding.severity != heading:
            heading = finding.severity
            parts.append(f'<h2 class="{heading}">{heading.capitalize()}s</h2>')
        parts.append(_article(finding, number < _MOST))
        tick()
    write_page(path, "Audit", _STYLE, parts)


def _article(finding: Finding, pictured: bool) -> str:
    shown = finding.files[:_EACH] if pictured else ()
    figures = "".join(_figure(file) for file in shown)
    rest = [escape(file) for file in finding.files[len(shown) :]]
    more = f"<details><summary>{len(rest)} more</summary>{'<br>'.join(rest)}</details>" if rest else ""
    title = f'<span class="kind {finding.severity}">{finding.kind}</span> in {escape(", ".join(finding.splits))}'
    return f"<article><p>{title}: {escape(finding.message)}</p>{figures}{more}</article>"


def _figure(file: str) -> str:
    caption = f"<figcaption>{escape('/'.join(Path(file).parts[-3:]))}</figcaption>"
    try:
        image = read_image(file)
    except InputError:
        return f"<figure>(no picture){caption}</figure>"
    picture = draw.data_uri(draw.jpeg(draw.to_side(image, _THUMB), quality=80))
    return f'<figure><img alt="" src="{picture}">{caption}</figure>'
