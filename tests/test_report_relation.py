import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from stethos.report import relation, style
from stethos.types import Estimate

RHO = np.array([[-0.7, 0.02], [np.nan, 0.31], [0.1, -0.001]])
CLEAR = np.array([[True, False], [False, True], [False, False]])


def words(ax):
    return [item.get_text() for item in ax.texts]


def whole(drawing):
    """Every label lies on the sheet; drawing must not warn either."""
    canvas = FigureCanvasAgg(drawing)
    canvas.draw()
    renderer = canvas.get_renderer()
    for ax in drawing.axes:
        ticks = [*ax.get_xticklabels(), *ax.get_yticklabels()] if ax.axison else []
        for item in [*ticks, *ax.texts, ax._left_title, ax.xaxis.label, ax.yaxis.label]:
            box = item.get_window_extent(renderer)
            if item.get_text():
                assert box.x0 >= -1
                assert box.y0 >= -1
                assert box.x1 <= drawing.bbox.x1 + 1
                assert box.y1 <= drawing.bbox.y1 + 1
    return drawing


def test_a_map_has_a_number_in_every_known_cell_and_says_without_colour_what_is_clear():
    _, ax = style.canvas()
    relation.heat(ax, ("a", "b", "c"), ("x", "y"), RHO, CLEAR, framed=[(0, 0)])
    assert words(ax) == ["−0.70", "0.02", "0.31", "0.10", "0.00"]
    assert [item.get_fontweight() for item in ax.texts] == ["bold", "normal", "bold", "normal", "normal"]
    assert sum(patch.get_hatch() is not None for patch in ax.patches) == 3  # those that are not clear
    assert len(ax.patches) == 2 * 5 + 1
    tints = [patch.get_alpha() for patch in ax.patches if patch.get_alpha()]
    assert tints == pytest.approx([0.6 * 0.7, 0.6 * 0.31])
    assert ax.get_xlim() == pytest.approx((-0.53, 1.53))
    assert ax.get_ylim() == pytest.approx((2.54, -0.54))


def test_a_map_of_nothing_says_so():
    _, ax = style.canvas()
    relation.heat(ax, ("a",), ("x",), np.array([[np.nan]]), np.array([[False]]))
    assert "No correlation" in words(ax)[0]
    assert "0 of 0" in relation.heat_picture("Map", ((), ()), {}, {}).alt


def test_a_map_of_nineteen_labels_and_nine_measurements_fits_the_sheet_and_says_what_is_clear():
    rows = [f"tricuspid regurgitation {place}" for place in range(18)] + ["an output with a name longer than others"]
    columns = [f"LV end-diastolic diameter {place} (mm)" for place in range(9)]
    found = {(row, column): Estimate(-0.7, -0.8, -0.6, 90) for row in range(19) for column in range(9)}
    adjusted = {place: 0.01 if place == (3, 4) else 0.5 for place in found}
    picture = relation.heat_picture("Map", (rows, columns), found, adjusted)
    whole(picture.drawing)
    assert picture.alt.startswith("1 of 171 correlations are told from 0: tricuspid regurgitation 3 and LV")
    assert len(picture.data.rows) == 171


def test_a_rise_has_a_point_and_a_bar_a_group():
    _, ax = style.canvas()
    means = [Estimate(value, value - 1, value + 2, 20) for value in (50.0, 55.0, 60.0)]
    relation.rise(ax, means, "mm", "LA")
    assert ax.lines[0].get_ydata().tolist() == [50, 55, 60]
    assert [bar[:, 1].tolist() for bar in ax.collections[0].get_segments()] == [[49, 52], [54, 57], [59, 62]]
    assert ax.get_xlim() == (0.4, 3.6)
    assert ax.get_ylabel() == "mm"


def test_panels_of_rises_fit_the_sheet_and_say_their_ends():
    means = [Estimate(value, value - 1, value + 2, 20) for value in (50.0, 55.0, 60.0)]
    remark = "by right heart enlargement, and everything that it leads to\np 0.1"
    panels = {f"LV end-diastolic diameter {place}": (means, "mm", remark) for place in range(4)}
    picture = relation.rise_picture("Rises", panels, "group of the output")
    whole(picture.drawing)
    assert len(picture.drawing.axes) == 6
    titles = [ax._left_title.get_window_extent() for ax in picture.drawing.axes[:3]]
    assert titles[0].x1 < titles[1].x0
    assert titles[1].x1 < titles[2].x0
    assert "LV end-diastolic diameter 0 50.0 mm in the lowest group, 60.0 in the highest" in picture.alt
    assert len(picture.data.rows) == 12


def test_no_rise_says_so():
    picture = relation.rise_picture("Rises", {})
    assert "No means" in words(whole(picture.drawing).axes[0])[0]
    _, ax = style.canvas()
    relation.rise(ax, [])
    assert "Not known" in words(ax)[0]
