from itertools import combinations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from sklearn.decomposition import PCA
from test_report_figure import NOWHERE, named, painted, words

from stethos.errors import ScoreError
from stethos.report import sound, style
from stethos.types import Estimate

SURE = Estimate(0.8, 0.7, 0.9, 40, 12)
UNSURE = Estimate(0.8, NOWHERE, NOWHERE, 3, 1)


def shown(drawing):
    """Every word of a figure, with the rectangle that it covers in pixels."""
    canvas = FigureCanvasAgg(drawing)
    canvas.draw()
    texts = [text for legend in drawing.legends for text in legend.get_texts()]
    for ax in drawing.axes:
        legend = ax.get_legend()
        texts += [*ax.texts, *(legend.get_texts() if legend else []), ax.title, ax._left_title, ax._right_title]
        for axis in (ax.xaxis, ax.yaxis) if ax.axison else ():
            low, high = sorted(axis.get_view_interval())
            ticks = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
            labels = [label for tick in ticks for label in (tick.label1, tick.label2)]
            texts += [axis.label, *(label for label in labels if label.get_visible())]
    return [(text.get_text(), text.get_window_extent()) for text in texts if text.get_text() and text.get_visible()]


def fits(drawing):
    """Fails where a word leaves the canvas or covers another."""
    found = shown(drawing)
    width, height = drawing.bbox.size
    outside = [text for text, box in found if box.x0 < -1 or box.y0 < -1 or box.x1 > width + 1 or box.y1 > height + 1]
    over = [(a, b) for (a, one), (b, two) in combinations(found, 2) if one.padded(-1).overlaps(two.padded(-1))]
    assert outside == []
    assert over == []


def test_a_word_off_the_canvas_and_two_on_each_other_are_seen():
    drawing, ax = style.canvas()
    ax.text(0.2, 0.5, "here")
    fits(drawing)
    ax.text(0.21, 0.5, "there")
    with pytest.raises(AssertionError, match="here"):
        fits(drawing)
    drawing, ax = style.canvas()
    drawing.set_layout_engine("none")
    ax.text(1.1, 0.5, "a long way")
    with pytest.raises(AssertionError, match="a long way"):
        fits(drawing)


def test_principal_directions_are_those_of_scikit_learn():
    embeddings = np.random.default_rng(0).normal(size=(60, 8)) * np.geomspace(3, 0.1, 8) + 5
    points, explained = sound.principal(embeddings)
    other = PCA(2).fit(embeddings)
    assert np.abs(points) == pytest.approx(np.abs(other.transform(embeddings)))
    assert explained == pytest.approx(other.explained_variance_ratio_)
    assert (points[np.abs(points).argmax(axis=0), [0, 1]] > 0).all()
    turned, _ = sound.principal(-embeddings[::-1])
    assert np.abs(turned[::-1]) == pytest.approx(np.abs(points))


def test_equal_embeddings_lie_on_one_spot_and_one_alone_is_refused():
    points, explained = sound.principal(np.ones((5, 3)))
    assert np.abs(points).max() == explained.max() == 0
    with pytest.raises(ScoreError, match=r"two embeddings.*\(1, 3\)"):
        sound.principal(np.ones((1, 3)))


def test_a_map_tells_groups_by_marker_and_by_filling_and_draws_some_hundred_of_many():
    _, ax = style.canvas()
    group = np.repeat([0, 1, 2], [900, 30, 20])
    sound.embedding(ax, np.random.default_rng(0).normal(size=(950, 2)), group, np.array([0.434, 0.2]))
    assert [len(line.get_xdata()) for line in ax.lines] == [300, 30, 20]
    assert len({(line.get_marker(), line.get_markerfacecolor()) for line in ax.lines}) == 3
    assert len({line.get_marker() for line in ax.lines}) == 3
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("PC 1 (43 %)", "PC 2 (20 %)")
    assert ax.get_aspect() == 1
    painted(ax)


def test_a_group_that_is_not_there_is_not_in_the_legend():
    _, ax = style.canvas()
    sound.embedding(ax, np.eye(2), np.array([0, 2]), np.array([1, 0]))
    assert ax.get_legend_handles_labels()[1] == ["normal, training", "anomaly, test"]


def test_each_histogram_sums_to_one_and_clips_without_truth_are_left_out():
    _, ax = style.canvas()
    truth = np.array([0] * 30 + [1] * 10 + [np.nan] * 5)
    sound.histogram(ax, np.linspace(-1, 1, 45), truth, threshold=0.25)
    assert [patch.get_data().values.sum() for patch in ax.patches] == pytest.approx([1, 1, 1, 1])
    assert len({patch.get_hatch() for patch in ax.patches if patch.get_label() in ("normal", "anomaly")}) == 2
    assert ax.lines[0].get_xdata()[0] == 0.25
    assert ax.get_ylim()[0] == 0
    painted(ax)


def test_false_alarms_stand_on_a_logarithmic_axis_with_their_budget():
    _, ax = style.canvas()
    threshold = np.array([0, 1, 2, 3.0])
    rates = {"upper bound": np.array([2000, 200, 20, 4.0]), "counted": np.array([1800, 150, 9, 0])}
    sound.alarm_budget(ax, threshold, rates, 7, chosen=2.7)
    upper, counted, budget, chosen = ax.lines
    assert upper.get_ydata().tolist() == [2000, 200, 20, 4]
    assert np.isnan(counted.get_ydata()[3])  # none was counted: not on this axis
    assert budget.get_ydata()[0] == 7
    assert chosen.get_xdata()[0] == 2.7
    assert ax.get_yscale() == "log"
    assert ax.get_ylim() == (2, 4000)
    assert named(ax) == ["upper bound", "counted", "budget: 7 a week", "threshold 2.7"]
    assert [ax.yaxis.get_major_formatter()(value) for value in (0.1, 1, 1000)] == ["0.1", "1", "1,000"]
    painted(ax)


def test_a_range_of_less_than_a_decade_has_more_than_one_number_beside_it():
    drawing, ax = style.canvas()
    sound.alarm_budget(ax, np.array([0.0, 1.0]), {"upper bound": np.array([9000.0, 4000.0])}, 7000, 0.5)
    low, high = ax.get_ylim()
    assert [tick for tick in ax.get_yticks() if low <= tick <= high] == [2000, 5000, 10000]
    fits(drawing)


def test_an_enrolment_curve_has_an_interval_at_each_number_of_clips():
    _, ax = style.canvas()
    clips = np.array([3, 10, 50])
    sound.enrolment(ax, clips, {"ours": [SURE] * 3, "theirs": [UNSURE] * 3, "never tried": []}, "AUC, harmonic mean")
    assert [label.get_text() for label in ax.get_xticklabels()] == ["3", "10", "50"]
    ours, theirs, open_points = ax.lines
    assert open_points.get_xdata().tolist() == theirs.get_xdata().tolist()  # no interval, and it is seen
    assert open_points.get_markerfacecolor() == style.PAPER
    bars = ax.collections[0].get_segments()
    assert [bar[:, 1].tolist() for bar in bars] == [[0.7, 0.9]] * 3
    assert (ours.get_xdata() < theirs.get_xdata()).all()
    assert np.sqrt(ours.get_xdata() * theirs.get_xdata()) == pytest.approx(clips)
    assert ax.get_ylabel() == "AUC, harmonic mean"
    painted(ax)


def test_miss_rates_are_points_with_intervals_a_row_a_fault():
    _, ax = style.canvas()
    sound.miss_rates(ax, {"leak": {"weak": SURE, "strong": UNSURE}, "spall": {"strong": SURE}})
    assert ax.get_xlim() == (-0.02, 1.02)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["leak", "spall"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # from the top down
    drawn = [line for line in ax.lines if len(line.get_xdata())]
    assert len(drawn) == 2 + 1 + 2 + 1  # two whiskers with their points, a point alone, and a line between the faults
    alone = [line for line in drawn if line.get_markerfacecolor() == style.PAPER and line.get_marker() != "None"]
    assert [float(line.get_ydata()[0]) for line in alone] == [pytest.approx(0.175)]
    assert named(ax) == ["weak", "strong"]
    painted(ax)


def test_an_ablation_has_a_line_of_no_effect_and_no_legend_for_a_single_measure():
    _, ax = style.canvas()
    sound.ablation(ax, {"none": {"AUC": SURE}, "high band": {"AUC": SURE}}, "AUC", reference=0.5)
    assert ax.get_legend() is None
    assert ax.get_xlabel() == "AUC"
    assert any(np.all(np.asarray(line.get_xdata()) == 0.5) for line in ax.lines)
    _, ax = style.canvas()
    sound.ablation(ax, {"none": {"fan": SURE}}, "AUC")
    assert named(ax) == ["fan"]
    painted(ax)


@pytest.mark.parametrize(
    ("draw", "data"),
    [
        (sound.embedding, (np.zeros((0, 2)), np.zeros(0), np.zeros(2))),
        (sound.histogram, (np.array([]), np.array([]))),
        (sound.histogram, (np.array([1.0]), np.array([np.nan]))),
        (sound.alarm_budget, (np.array([]), {}, 1)),
        (sound.alarm_budget, (np.array([1.0]), {"counted": np.array([0.0])}, 1)),
        (sound.enrolment, (np.array([3]), {})),
        (sound.enrolment, (np.array([3]), {"none": [Estimate(NOWHERE, NOWHERE, NOWHERE, 0)]})),
        (sound.miss_rates, ({},)),
        (sound.miss_rates, ({"leak": {"weak": Estimate(NOWHERE, NOWHERE, NOWHERE, 0)}},)),
        (sound.ablation, ({},)),
    ],
)
def test_a_panel_without_data_says_so(draw, data):
    _, ax = style.canvas()
    draw(ax, *data)
    assert words(ax).startswith("No ")
    assert not ax.lines
    painted(ax)


def test_one_series_that_is_named_by_the_axis_has_no_legend_however_long_its_name():
    for unit in ("AUC", "official score, high band minus this"):
        _, ax = style.canvas()
        sound.ablation(ax, {"none": {unit: SURE}, "low": {unit: SURE}}, unit, 0.0)
        assert ax.get_legend() is None
        assert ax.get_xlabel() == unit
