"""The shell of an HTML page that stands alone, as `test`, `predict` and `audit` leave one: it can be mailed."""

from collections.abc import Iterable
from html import escape
from pathlib import Path

from ncl_lightning.files import write_text

_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;color:#222;margin:0 auto;max-width:1180px;padding:0 16px}
.soft{color:#5b6470}table{border-collapse:collapse}th,td{text-align:left;vertical-align:top}
"""


def write_page(path: Path, title: str, style: str, body: Iterable[str]) -> None:
    """Write a page.

    Args:
        path: The file.
        title: In words.
        style: CSS of its own, after what all pages have.
        body: Parts of it as HTML; what comes from elsewhere is escaped already.

    Raises:
        InputError: The folder can't be written.
    """
    css = (_STYLE + style).replace("\n", "")
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
    parts = ["<!doctype html>", f'<html lang="en"><head>{head}<style>{css}</style></head>', "<body>", *body]
    write_text(path, "\n".join([*parts, "</body></html>\n"]))
