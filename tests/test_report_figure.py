import matplotlib
import numpy as np
import pytest

from stethos.metrics.calibration import Reliability
from stethos.report import diagram, figure, grid, style
from stethos.types import Estimate

NOWHERE = float("nan")
CURVE = (np.array([0, 0.1, 1.0]), np.array([0, 0.8, 1.0]))
GRID = np.linspace(0, 1, 11)
SURE = Estimate(0.8, 0.7, 0.9, 40, 12)
UNSURE = Estimate(0.8, NOWHERE, NOWHERE, 3, 1)


def words(ax):
    return " ".join(item.get_text() for item in ax.texts)


def named(ax):
    return [item.get_text() for item in ax.get_legend().get_texts()]


def painted(ax):
    """Drawing must not warn either: the suite turns warnings into errors."""
    ax.figure.savefig("/dev/null", format="svg")
    return ax


def test_a_canvas_has_the_size_asked_for_in_millimetres_and_leaves_no_global_state():
    before = dict(matplotlib.rcParams)
    drawing, ax = style.canvas(120, 80)
    figure.roc(ax, {"a": CURVE})
    assert np.allclose(drawing.get_size_inches() * 25.4, [120, 80])
    assert dict(matplotlib.rcParams) == before


def test_a_roc_panel_is_square_with_chance_a_line_a_cohort_and_a_band():
    _, ax = style.canvas()
    figure.roc(ax, {"here": CURVE, "there": CURVE}, {"here": (GRID, GRID * 0.5, GRID)}, {"here": SURE})
    assert len(ax.lines) == 3
    assert len(ax.collections) == 1
    assert ax.get_xlim() == ax.get_ylim() == (-0.01, 1.01)
    assert ax.get_aspect() == 1
    assert [name.replace("\u00a0", " ") for name in named(ax)] == ["here: 0.800 (0.700 to 0.900)", "there"]
    painted(ax)


def test_series_differ_by_dash_and_marker_not_only_by_colour():
    assert len({look.marker for look in style.LOOKS}) == len(style.LOOKS)
    assert len({look.dash for look in style.LOOKS}) == len(style.LOOKS)
    _, ax = style.canvas()
    figure.roc(ax, {"a": CURVE, "b": CURVE})
    assert ax.lines[1].get_linestyle() != ax.lines[2].get_linestyle()


def test_a_calibration_panel_holds_a_bar_for_each_bin_and_reaches_just_above_the_highest():
    _, ax = style.canvas()
    bins = Reliability(*np.array([[0.1, 0.3], [0.1, 0.4], [0.05, 0.3], [0.2, 0.5], [50, 50]]))
    figure.calibration(ax, {"model": bins}, {"model": np.array([0.1, 0.1, 0.3])})
    assert len(ax.lines) == 2  # ideal, model
    assert [bar.tolist() for bar in ax.collections[0].get_segments()] == [
        [[0.1, 0.05], [0.1, 0.2]],
        [[0.3, 0.3], [0.3, 0.5]],
    ]
    assert ax.get_xlim()[1] == pytest.approx(0.5 * 1.08 * 1.02)
    assert len(ax.patches) == 1  # the histogram
    assert min(painted(ax).get_yticks()) >= 0


def test_a_calibration_panel_survives_one_bin_without_interval():
    _, ax = style.canvas()
    figure.calibration(ax, {"model": Reliability(*np.array([[0.2], [0.8], [NOWHERE], [NOWHERE], [3]]))})
    assert len(painted(ax).lines) == 2


def test_a_decision_panel_shows_the_models_everyone_and_no_one():
    _, ax = style.canvas()
    thresholds = np.array([0.1, 0.2, 0.3])
    benefit = np.array([0.04, 0.03, 0.02])
    bands = {"model": (benefit - 0.01, benefit + 0.01)}
    figure.decision(ax, thresholds, {"model": benefit}, np.array([0.03, -0.1, -0.9]), bands)
    assert len(ax.lines) == 3
    assert ax.get_xlim() == (0.1, 0.3)
    assert ax.get_ylim() == pytest.approx((-0.35 * 0.05, 1.08 * 0.05))  # the whole band, and not the depth of everyone
    assert named(ax) == ["model", "act on everyone", "act on no one"]
    painted(ax)


def test_a_decision_panel_survives_one_threshold():
    _, ax = style.canvas()
    figure.decision(ax, np.array([0.1]), {"model": np.array([0.02])}, np.array([0.01]))
    assert ax.lines[0].get_marker() == "o"
    painted(ax)


def test_a_forest_has_one_line_an_interval_and_says_every_number():
    _, ax = style.canvas(170, 60)
    rows = [("all", SURE, ""), ("Sex", None, ""), ("female", UNSURE, "few")]
    figure.forest(ax, rows, reference=0.5, unit="AUROC")
    assert len(ax.lines) == 4  # interval and point, point only, reference
    assert ax.get_ylim() == (2.6, -0.6)
    assert "0.800 (0.700 to 0.900) · n 40, 12 events" in words(ax)
    assert "0.800 (no interval) · n 3, 1 event · few" in words(ax)
    assert ax.lines[2].get_markerfacecolor() == style.PAPER
    painted(ax)


def test_scores_are_fractions_of_each_class():
    _, ax = style.canvas()
    truth = np.array([0] * 30 + [1] * 10 + [np.nan] * 5)
    figure.scores(ax, np.linspace(-1, 1, 45), truth, threshold=0.25)
    sums = [patch.get_data().values.sum() for patch in ax.patches]
    assert sums == pytest.approx([1, 1, 1, 1])  # an outline and a fill for each class
    assert named(ax)[:2] == ["without the event (30 records)", "with the event (10 records)"]
    assert ax.lines[0].get_xdata()[0] == 0.25
    painted(ax)


def test_a_training_panel_has_its_monitor_on_the_right():
    drawing, ax = style.canvas()
    figure.training(ax, {"loss": (np.arange(5), np.ones(5))}, {"AUROC": (np.array([4]), np.array([0.9]))})
    left, right = drawing.axes
    assert len(right.lines) == 1
    assert right.get_ylabel() == "AUROC, validation"
    assert named(left) == ["loss", "AUROC (right)"]
    painted(ax)


def test_a_flow_has_a_box_a_step_and_says_how_many_were_lost_and_why():
    steps = [("read", 100, 60, ""), ("usable", 88, 55, "flat line")]
    drawing, ax = diagram.flow_canvas(steps, [("training", 60, 40), ("test", 28, 15)])
    figure.flow(ax, steps, [("training", 60, 40), ("test", 28, 15)])
    assert len(ax.patches) == 4
    assert "left out: 12 records, 5 subjects\nflat line" in words(ax)
    assert drawing.get_figheight() * 25.4 == pytest.approx(2 * 13 + 12 + 4 + 12 + 17)
    lowest = min(patch.get_y() for patch in ax.patches)
    assert lowest == pytest.approx(2)
    painted(ax)


def test_a_dollar_in_a_name_is_a_dollar():
    _, ax = style.canvas()
    figure.roc(ax, {"$5$ and $\\frac": CURVE})
    painted(ax)


@pytest.mark.parametrize(
    ("draw", "data"),
    [
        (figure.roc, ({},)),
        (figure.roc, ({"none": (np.array([]), np.array([]))},)),
        (figure.calibration, ({},)),
        (figure.calibration, ({"model": Reliability(*np.zeros((5, 0)))},)),
        (figure.decision, (np.array([]), {}, np.array([]))),
        (figure.decision, (np.array([0.1]), {"model": np.array([np.nan])}, np.array([np.nan]))),
        (figure.forest, ([],)),
        (figure.forest, ([("Sex", None, ""), ("female", Estimate(NOWHERE, NOWHERE, NOWHERE, 0), "")],)),
        (figure.scores, (np.array([]), np.array([]))),
        (figure.training, ({},)),
        (figure.flow, ([],)),
    ],
)
def test_a_panel_without_data_says_so(draw, data):
    _, ax = style.canvas()
    draw(ax, *data)
    assert words(ax).startswith("No ")
    assert not ax.lines
    painted(ax)


def test_a_triangle_of_pairs_has_a_cell_each_with_number_and_interval_and_says_signs_without_colour():
    _, ax = style.canvas(170, 60)
    found = {
        ("P", "QRS"): Estimate(0.5, 0.2, 0.8, 40),
        ("P", "T"): Estimate(-1.0, -2.0, 0.5, 40),
        ("QRS", "T"): Estimate(0.0, 0.0, 0.0, 40),
    }
    grid.pairs(ax, ("P", "QRS", "T"), found)
    texts = {item.get_text(): item.get_fontweight() for item in ax.texts}
    assert texts["0.500"] == texts["0.200 to 0.800"] == "bold"
    assert texts["−1.000"] == texts["−2.000 to 0.500"] == "normal"
    assert len(ax.texts) == 6
    assert [patch.get_hatch() for patch in ax.patches if patch.get_hatch()] == ["//"]
    assert ax.get_xlim() == (-0.5, 1.5)
    assert [item.get_text() for item in ax.get_yticklabels()] == ["QRS", "T"]
    painted(ax)


def test_pairs_without_a_number_say_so():
    _, ax = style.canvas()
    grid.pairs(ax, ("P", "T"), {})
    assert words(ax) == "No pair was estimated."
    painted(ax)
