"""Moving pictures inside a page, and as files: no script, nothing fetched, a still frame in print.

A cine becomes one picture, its frames side by side, seen through a window as wide as one frame. What moves is the
film around all windows: it says which frame is seen, so that all of them are at the same phase whenever they came in.
Who asked for less motion sees the first frame, at the R peak: end-diastole; so does paper.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from stethos.errors import FormatError
from stethos.io.files import write_atomic
from stethos.report.mark import burnt_in
from stethos.report.table import MISSING

ROOM = 500  # CSS pixels for all windows of a row; beside them is its heading
LARGEST = 192  # CSS pixels, a window
SHORTEST = 0.02  # s; browsers show a frame of a GIF that is meant to be shorter for 0.1 s

STILL = "Moving on a screen; still, the first frame: at the R peak."

_RULES = """
.film { font-family: "Helvetica Neue", Helvetica, Arial, "Liberation Sans", sans-serif; }
.film figure, .film table { margin: 0; }
.film img { display: block; object-fit: cover; object-position: var(--seen, 0%) 0; image-rendering: pixelated; }
.film .reel { display: flex; flex-wrap: wrap; gap: .9rem .6rem; }
.film figcaption, .film th { font-size: .8rem; font-weight: 400; line-height: 1.3; overflow-wrap: anywhere; }
.film figcaption { margin: .25rem 0 0; width: var(--wide); }
.film table, .film tr, .film th, .film td, .film tbody tr + tr td {
  width: auto; border: 0; padding: 0 .5rem .4rem 0; vertical-align: middle;
}
.film th { text-align: left; }
.film thead th { vertical-align: bottom; max-width: var(--wide); }
.film tbody th { min-width: 5.5rem; max-width: 7rem; }
.film .aside { font-size: .75rem; color: #5c5c5c; margin: .4rem 0 0; }
.film .hold { display: block; font-size: .8rem; margin: 0 0 .5rem; }
.film:has(.hold :checked) { animation-play-state: paused !important; }
@media (prefers-reduced-motion: reduce) { .film { animation: none !important; } .film .hold { display: none; } }
@media print {
  .film { animation: none !important; } .film .hold { display: none; }
  .film img { max-width: calc(130mm / var(--across)); height: auto !important; }
}
"""


@dataclass(frozen=True, eq=False)
class Film:
    """Moving pictures and what belongs to them, a block of a page.

    Args:
        title: Short name.
        html: From `film_row` or `film_table`; put into the page as it is.
        caption: What to look at.
    """

    title: str
    html: str
    caption: str = ""


def film_row(cines: Sequence[np.ndarray], titles: Sequence[str], interval_s: float, description: str) -> str:
    """Cines side by side, playing in step, each with its title under it.

    Args:
        cines: `(F, H, W)` each with the same F; 0 is black, 1 and above white.
        titles: One a cine.
        interval_s: From frame to frame, s.
        description: What is shown, for a reader who cannot see it.

    Returns:
        HTML that may stand anywhere in a page whose pictures may be data addresses.

    Raises:
        FormatError: A cine is no `(F, H, W)` of finite numbers, their frames are not as many, or titles are missing.
    """
    _paired(cines, titles, "a row of films")
    if not cines:
        return _nothing()
    _even(cines)
    wide = _wide(cines, len(cines))
    shown = "".join(
        f"<figure>{_window(cine, wide, title)}<figcaption>{escape(title)}</figcaption></figure>"
        for cine, title in zip(cines, titles, strict=True)
    )
    return _film(f'<div class="reel">{shown}</div>', cines, interval_s, description, len(cines))


def film_table(
    rows: Mapping[str, Sequence[np.ndarray | None]], columns: Sequence[str], interval_s: float, description: str
) -> str:
    """A grid of cines, all playing in step: what made them down, whose they are across.

    Args:
        rows: Heading, such as "real" or "generated" → one cine `(F, H, W)` a column; None leaves a dash.
        columns: Titles.
        interval_s: From frame to frame, s.
        description: What is shown, for a reader who cannot see it.

    Returns:
        HTML, as of `film_row`.

    Raises:
        FormatError: A cine is no `(F, H, W)` of finite numbers, their frames are not as many, or a row is not as long
            as `columns`.
    """
    for heading, cines in rows.items():
        _paired(cines, columns, f"the row {heading!r} of films")
    every = [cine for cines in rows.values() for cine in cines if cine is not None]
    if not every:
        return _nothing()
    _even(every)
    wide = _wide(every, len(columns))
    top = "".join(f'<th scope="col">{escape(title)}</th>' for title in columns)
    body = "".join(_row(heading, cines, columns, wide) for heading, cines in rows.items())
    table = f"<table><thead><tr><td></td>{top}</tr></thead><tbody>{body}</tbody></table>"
    return _film(table, every, interval_s, description, len(columns))


def write_gif(path: Path, cine: np.ndarray, interval_s: float, mark: str = "generated") -> None:
    """An animated GIF that repeats for ever, written whole or not at all.

    The format counts in hundredths of a second: `interval_s` is rounded, and never below 0.02 s.

    Args:
        path: Of the file.
        cine: `(F, H, W)`; 0 is black, 1 and above white.
        interval_s: From frame to frame, s.
        mark: Burnt into every frame; "" for a real heart, which has none.

    Raises:
        FormatError: `cine` is no `(F, H, W)` of finite numbers, or too small for the mark.
        RecipeError: The mark has a letter that is not drawn.
    """
    from PIL import Image

    frames = _grey(burnt_in(cine, mark) if mark else cine)
    first, *rest = (Image.fromarray(frame) for frame in frames)
    hundredths = round(100 * max(interval_s, SHORTEST))
    out = io.BytesIO()
    first.save(out, "GIF", save_all=True, append_images=rest, duration=10 * hundredths, loop=0, optimize=False)
    write_atomic(path, out.getvalue())


def _film(body: str, every: Sequence[np.ndarray], interval_s: float, description: str, across: int) -> str:
    """What moves, and all that is seen through it; one still frame does not move, and there is nothing to hold."""
    frames, wide = len(every[0]), _wide(every, across)
    moves = plays = hold = ""
    if frames > 1:
        seen = [f"{100 * k / frames:.6g}%{{--seen:{100 * k / (frames - 1):.6g}%}}" for k in range(frames)]
        moves = f"@keyframes beat-{frames} {{{''.join(seen)}100%{{--seen:100%}}}}"
        plays = f"animation:beat-{frames} {frames * interval_s:.6g}s step-end infinite;"
        hold = '<label class="hold"><input type="checkbox"> hold still</label>'
    return (
        f'<style>{_RULES}{moves}</style><div class="film" role="group" aria-label="{escape(description)}" '
        f'style="{plays}--wide:{wide}px;--across:{across}">{hold}{body}<p class="aside">{STILL}</p></div>'
    )


def _row(heading: str, cines: Sequence[np.ndarray | None], columns: Sequence[str], wide: int) -> str:
    """A row of a table of films."""
    cells = "".join(
        f"<td>{MISSING if cine is None else _window(cine, wide, f'{heading}, {title}')}</td>"
        for cine, title in zip(cines, columns, strict=True)
    )
    return f'<tr><th scope="row">{escape(heading)}</th>{cells}</tr>'


def _window(cine: np.ndarray, wide: int, label: str) -> str:
    """One cine seen through its window: all frames side by side in one picture, of which one is shown."""
    from PIL import Image

    frames = _grey(cine)
    out = io.BytesIO()
    Image.fromarray(np.concatenate(frames, axis=1)).save(out, "PNG", optimize=True)
    address = "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()
    high = round(wide * frames.shape[1] / frames.shape[2])
    name = escape(label)
    size = f"width:{wide}px;height:{high}px;aspect-ratio:{wide}/{high}"
    return f'<img role="img" alt="{name}" aria-label="{name}" style="{size}" src="{address}">'


def _wide(every: Sequence[np.ndarray], across: int) -> int:
    """Width of every window, CSS pixels: a whole multiple of the frame's, the largest that fits the page."""
    pixels = every[0].shape[2]
    return pixels * max(1, min(ROOM // across, LARGEST) // pixels)


def _grey(cine: np.ndarray) -> np.ndarray:
    """Frames in 256 greys, `(F, H, W)` uint8."""
    values = np.asarray(cine, float)
    lost = int((~np.isfinite(values)).sum())
    if values.ndim != 3 or not values.size or lost:
        raise FormatError(
            f"a film needs finite frames (F, H, W); got shape {values.shape}, {lost} of its numbers not finite"
        )
    return np.round(255 * np.clip(values, 0, 1)).astype(np.uint8)


def _even(cines: Sequence[np.ndarray]) -> None:
    """Films in step have as many frames; each is checked."""
    for cine in cines:
        _grey(cine)
    counts = sorted({len(cine) for cine in cines})
    if len(counts) > 1:
        raise FormatError(
            f"films in step need as many frames each; got {', '.join(map(str, counts))}: resample them to one number"
        )


def _paired(cines: Sequence[object], titles: Sequence[str], what: str) -> None:
    if len(cines) != len(titles):
        raise FormatError(f"{what} needs a title for each; got {len(cines)} films and {len(titles)} titles")


def _nothing() -> str:
    return '<p class="note">No moving pictures: there is none to show.</p>'
