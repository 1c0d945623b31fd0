"""What the pictures of agreement show: the lines where they belong, nothing empty, nothing cut."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from stethos.report import style
from stethos.report.agreement import (
    agreement_picture,
    attention_picture,
    coverage_picture,
    differences,
    map_picture,
)
from stethos.types import Estimate


def estimate(value, half=1.0):
    return Estimate(value, value - half, value + half, 20, None, 0.95)


LIMITS = (estimate(-1.0), estimate(-9.0), estimate(7.0))


def rng():
    return np.random.default_rng(0)


def inside(figure):
    """All text of a figure lies on it."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    box, renderer = figure.bbox, canvas.get_renderer()
    for ax in figure.axes:
        for text in (*ax.texts, ax.title, ax.xaxis.label, ax.yaxis.label):
            if text.get_text() and text.get_visible():
                extent = text.get_window_extent(renderer)
                assert extent.x0 >= box.x0 - 2, text.get_text()
                assert extent.x1 <= box.x1 + 2, text.get_text()
                assert extent.y0 >= box.y0 - 2, text.get_text()
                assert extent.y1 <= box.y1 + 2, text.get_text()


def test_the_plot_of_differences_has_its_bias_and_limits_where_they_are():
    truth = rng().normal(130, 15, 200)
    _, ax = style.canvas()
    differences(ax, truth, truth - 1, LIMITS, "mmHg")
    levels = sorted(float(line.get_ydata()[0]) for line in ax.lines if len(line.get_ydata()) == 2)
    assert levels == [-9.0, -1.0, 7.0]
    dots = next(line for line in ax.lines if len(line.get_ydata()) == 200)
    assert np.allclose(dots.get_ydata(), -1)
    assert np.allclose(dots.get_xdata(), truth - 0.5)


def test_agreement_tells_its_numbers_in_words_and_fits():
    truth = rng().normal(130, 15, 3000)
    made = agreement_picture("Pressure", truth, truth + rng().normal(size=3000), LIMITS, "mmHg")
    assert "bias" in made.alt
    assert "mmHg" in made.alt
    assert len(made.drawing.axes) == 2
    inside(made.drawing)


def test_coverage_shows_every_arm_and_says_so_where_there_is_none():
    share = np.linspace(1, 0.2, 5)
    curves = dict.fromkeys(("pretrained", "untrained", "classical"), (share, 3 * share, 2 * share, 4 * share))
    made = coverage_picture("Heart rate", curves, "MAE, 1/min")
    assert {text.get_text() for text in made.drawing.axes[0].get_legend().get_texts()} == set(curves)
    assert made.drawing.axes[0].get_xlim()[0] > made.drawing.axes[0].get_xlim()[1]
    inside(made.drawing)
    assert "Nothing was refused" in coverage_picture("x", {}, "MAE").drawing.axes[0].texts[0].get_text()


def test_the_map_has_a_panel_for_each_thing_known():
    x = rng().normal(size=300)
    points = {"x": x, "y": rng().normal(size=300), "age": 50 + 10 * x, "atrial fibrillation": (x > 1).astype(float)}
    points["age"][:10] = np.nan
    made = map_picture("Map", points)
    titles = [ax.get_title(loc="left") for ax in made.drawing.axes]
    assert titles[:2] == ["age", "atrial fibrillation"]
    assert "age: 1.00 and" in made.alt
    inside(made.drawing)
    assert map_picture("Map", {"x": x, "y": x}).drawing.axes[0].texts


@pytest.mark.parametrize("seconds", [30, 600])
def test_attention_of_short_and_long_recordings_is_drawn(tmp_path, seconds):
    rows = [
        {"start": 30.0 * i, "stop": 30.0 * (i + 1), "attention": 0.01, "pulse_rate": 70.0 if i % 3 else None,
         "refused": "" if i % 3 else "motion"}
        for i in range(seconds // 30)
    ]  # fmt: skip
    attention_picture(rows, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 4000
