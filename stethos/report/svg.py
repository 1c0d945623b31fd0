"""A figure as SVG that can stand inside a page beside others."""

from __future__ import annotations

import io
import re
from html import escape
from typing import TYPE_CHECKING

from stethos.report import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHRINK = 0.78  # below this 8 pt text is hard to read: a narrower screen scrolls instead

MARK = 10  # pt, room for the mark

_MARK_LOOK = f'text-anchor="end" style="font-size:{style.SMALL}px;fill:{style.SOFT}"'
_NOTHING = dict.fromkeys(("Creator", "Date", "Format", "Type"))
_TAG = re.compile(r"<[a-zA-Z][^>]*>")


def inline(figure: Figure, key: str, title: str, alt: str, mark: str = "", fixed: bool = False) -> str:
    """SVG text with a title and a description, every id of which starts with `key`.

    Args:
        figure: What to draw.
        key: Unique within the page; letters, digits and hyphens.
        title: Short name, read aloud first.
        alt: What the figure shows, for a reader who cannot see it.
        mark: Word under the figure that stays with it when it is copied out of the page.
        fixed: The size in millimetres is part of the meaning; never scaled on a screen.
    """
    width, height = figure.get_size_inches() * style.INCH
    body = _TAG.sub(lambda tag: _apart(tag[0], key), _drawn(figure))
    least = width * (1 if fixed else SHRINK)
    right, foot = (float(side) / style.INCH * 72 for side in (width, height))
    size = f"{right:g} {foot + (MARK if mark else 0):g}"
    note = f'<text x="{right - 1:g}" y="{foot + MARK - 2:g}" {_MARK_LOOK}>{escape(mark)}</text>' if mark else ""
    described = f"{alt} Data: {mark}." if mark else alt
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-labelledby="{key}-title {key}-desc" '
        f'viewBox="0 0 {size}" style="width:{width:g}mm;min-width:{least:g}mm">'
        f'<title id="{key}-title">{escape(title)}</title><desc id="{key}-desc">{escape(described)}</desc>'
        f"{body}{note}</svg>"
    )


def _drawn(figure: Figure) -> str:
    """What matplotlib writes, without its prologue, its global style and the outer element."""
    from matplotlib import rc_context

    out = io.StringIO()
    with rc_context(style.SETTINGS):
        figure.savefig(out, format="svg", metadata=_NOTHING, transparent=True)
    text = re.sub(r"<!--.*?-->|<style.*?</style>", "", out.getvalue(), flags=re.DOTALL)
    return text[text.index(">", text.index("<svg")) + 1 : text.rindex("</svg>")]


def _apart(tag: str, key: str) -> str:
    """One tag with its ids and references made the figure's own, and the font left to the page."""
    own = "" if tag.startswith("<image") else rf' id="{key}-\1"'  # two images alike share an id, which nothing needs
    tag = re.sub(r' id="([^"]*)"', own, tag)
    tag = re.sub(r'(?:xlink:)?href="#', f'href="#{key}-', tag)
    tag = tag.replace("url(#", f"url(#{key}-")
    return re.sub(r"font-family: [^;\"]*;? ?", "", tag)
