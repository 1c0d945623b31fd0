"""How everything drawn looks: one palette, one set of sizes, and no state shared between figures.

Colours are those of Okabe and Ito, told apart by readers of any colour vision. Every series also has its own
dash and marker, so that a figure printed in black says the same. Sizes are those of the printed page: 9 pt
text on a figure 120 mm wide is 9 pt on paper.

Reference:
    Okabe & Ito 2008, "Color Universal Design", https://jfly.uni-koeln.de/color/.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INCH = 25.4  # mm
NARROW = 120.0  # mm, a figure of one panel
WIDE = 170.0  # mm, the text width of A4 with 20 mm margins

TEXT = 9.0  # pt
SMALL = 8.0  # pt, the smallest that is drawn
INK = "#1a1a1a"
SOFT = "#5c5c5c"
HAIR = "#c8c8c8"
PAPER = "#ffffff"
RAISE = "#b84a00"
LOWER = "#005a8f"

Dash = str | tuple[float, tuple[float, ...]]


@dataclass(frozen=True)
class Look:
    """How one series is told from the next.

    Args:
        colour: Of lines, markers and fills.
        dash: Line style.
        marker: Marker.
        hatch: Pattern of a filled area.
    """

    colour: str
    dash: Dash
    marker: str
    hatch: str


LOOKS = (
    Look("#0072b2", "-", "o", ""),
    Look("#d55e00", (0, (5, 1.6)), "s", "////"),
    Look("#009e73", (0, (1.2, 1.2)), "^", "...."),
    Look("#cc79a7", (0, (6, 1.5, 1.2, 1.5)), "D", "xxxx"),
    Look("#000000", (0, (9, 2.5)), "v", "----"),
    Look("#e69f00", (0, (3, 1.2, 1, 1.2, 1, 1.2)), "P", "++++"),
)

SETTINGS: Any = {
    "font.family": ["DejaVu Sans"],  # ships with matplotlib, and is wider than what the page shows: nothing overlaps
    "font.size": TEXT,
    "text.color": INK,
    "text.parse_math": False,  # a cohort may be called "$5$"
    "axes.labelsize": TEXT,
    "axes.labelcolor": INK,
    "axes.edgecolor": SOFT,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "legend.handlelength": 3.4,
    "lines.linewidth": 1.5,
    "lines.markersize": 4.5,
    "hatch.linewidth": 0.5,
    "svg.fonttype": "none",  # text stays text: it can be searched, copied and read aloud
    "svg.hashsalt": "stethos",  # the same figure is the same bytes
}


def look(position: int) -> Look:
    """The look of the n-th series; after the sixth they repeat."""
    return LOOKS[position % len(LOOKS)]


def canvas(width: float = NARROW, height: float = 80.0) -> tuple[Figure, Axes]:
    """A figure with one panel, of the given size in millimetres, that belongs to nobody's global state."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(SETTINGS):
        figure = Figure(figsize=(width / INCH, height / INCH), layout="constrained")
        return figure, figure.add_subplot()


def panels(rows: int, columns: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """A figure with several panels, from the upper left row by row, of the given size in millimetres."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(SETTINGS):
        figure = Figure(figsize=(width / INCH, height / INCH), layout="constrained")
        return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def sheet(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure whose panel is the whole sheet and with data units of millimetres from its lower left."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(SETTINGS):
        figure = Figure(figsize=(width / INCH, height / INCH))
        axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set(xlim=(0, width), ylim=(0, height))
    return figure, axes


def extent(axes: Axes) -> tuple[float, float]:
    """Width and height of a panel in millimetres as printed."""
    figure = axes.get_figure(root=True)
    assert figure is not None  # a panel that was taken off its figure has no printed size
    place, (width, height) = axes.get_position(), figure.get_size_inches()
    return float(place.width * width * INCH), float(place.height * height * INCH)
