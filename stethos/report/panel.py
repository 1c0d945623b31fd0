"""What every panel needs: settings while drawing, a sentence when there is nothing, a legend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

from stethos.report import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

P = ParamSpec("P")


def styled(draw: Callable[Concatenate[Axes, P], None]) -> Callable[Concatenate[Axes, P], None]:
    """The same drawing function with the project's sizes and fonts in force while it draws."""

    @wraps(draw)
    def drawn(ax: Axes, *args: P.args, **kwargs: P.kwargs) -> None:
        from matplotlib import rc_context

        with rc_context(style.SETTINGS):
            draw(ax, *args, **kwargs)

    return drawn


def say(ax: Axes, words: str) -> None:
    """Put a sentence where a figure would be, so that a panel is never empty."""
    ax.set_axis_on()
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set(visible=True, color=style.HAIR)
    ax.text(0.5, 0.5, words, transform=ax.transAxes, ha="center", va="center", color=style.SOFT, wrap=True)


def legend_below(ax: Axes) -> None:
    """The legend under the panel and its label, one series a line, where it hides nothing."""
    from matplotlib.transforms import ScaledTranslation

    under = ScaledTranslation(0, -13 / style.INCH, ax.figure.dpi_scale_trans)  # 13 mm: ticks and axis label
    ax.legend(loc="upper left", bbox_to_anchor=(0, 0), bbox_transform=ax.transAxes + under, borderaxespad=0)


def legend_shared(figure: Figure, panels: Sequence[Axes]) -> None:
    """One legend under all panels, of whatever any of them shows."""
    shown = [pair for ax in panels for pair in zip(*ax.get_legend_handles_labels(), strict=True)]
    first = {label: handle for handle, label in reversed(shown)}
    order = list(dict.fromkeys(label for _, label in shown))
    look: dict[str, Any] = {"loc": "outside lower left", "ncols": 3, "fontsize": style.SMALL, "frameon": False}
    figure.legend([first[label] for label in order], order, handlelength=3.4, **look)
