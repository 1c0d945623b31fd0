import numpy as np
import pytest

from stethos.errors import FormatError, UnitError
from stethos.report import figure, style
from stethos.report.strip import PULSE, strip
from stethos.types import Signal


def flat(seconds, rate=100.0, unit="mV", leads=("I",), height=0.0):
    return Signal(np.full((len(leads), round(seconds * rate)), height), rate, leads, unit)


def traces(ax):
    """Lines that hold samples: longer than the six points of a pulse."""
    return [line for line in ax.lines if len(line.get_xdata()) > 6]


def test_a_second_is_25_mm_and_a_millivolt_10_mm_on_paper():
    signal = Signal(np.array([[0.0] * 100 + [1.0] * 100]), 100, ("I",), "mV")
    drawing, ax = strip(signal)
    figure.trace(ax, signal)
    width, height = drawing.get_size_inches() * 25.4
    assert ax.get_xlim() == pytest.approx((0, width))
    assert ax.get_ylim() == pytest.approx((0, height))
    (line,) = traces(ax)
    x, y = line.get_data()
    assert x[100] - x[0] == pytest.approx(25)
    assert y[150] - y[50] == pytest.approx(10)


def test_the_pulse_is_one_millivolt_for_a_fifth_of_a_second():
    signal = flat(2)
    _, ax = strip(signal)
    figure.trace(ax, signal)
    x, y = ax.lines[0].get_data()
    assert y.max() - y.min() == pytest.approx(10)
    assert np.ptp(x[y == y.max()]) == pytest.approx(5)


def test_ten_seconds_are_wrapped_into_two_rows_of_five():
    signal = flat(10)
    drawing, ax = strip(signal)
    figure.trace(ax, signal)
    rows = traces(ax)
    assert len(rows) == 2
    assert all(line.get_xdata()[-1] == pytest.approx(PULSE + 125, abs=0.3) for line in rows)
    assert drawing.get_figwidth() * 25.4 <= 170


def test_every_lead_has_its_row_and_its_name():
    signal = flat(4, leads=("I", "II", "III"))
    _, ax = strip(signal)
    figure.trace(ax, signal)
    assert len(traces(ax)) == 3
    assert [text.get_text() for text in ax.texts[:3]] == ["I  0 s", "II  0 s", "III  0 s"]


def test_microvolts_and_volts_are_drawn_as_the_millivolts_they_are():
    heights = []
    for unit, scale in (("mV", 1.0), ("µV", 1e3), ("V", 1e-3)):
        signal = flat(1, unit=unit, height=0.5 * scale)
        _, ax = strip(signal)
        figure.trace(ax, signal)
        heights.append(traces(ax)[0].get_ydata()[0])
    assert heights == pytest.approx([heights[0]] * 3)


def test_a_pressure_is_refused():
    with pytest.raises(UnitError, match="Pa"):
        strip(flat(1, unit="Pa"))


def test_what_does_not_fit_the_panel_is_said_to_be_missing():
    signal = flat(20)
    _, ax = style.sheet(170, 60)
    figure.trace(ax, signal)
    assert "of 20.0 s shown" in ax.texts[-1].get_text()


def test_contributions_are_told_without_colour_up_for_more_and_down_for_less():
    signal = flat(2)
    weight = np.zeros(200)
    weight[40:60], weight[120:140] = 0.4, -0.2
    _, ax = strip(signal, weighted=True)
    figure.trace(ax, signal, weight)
    raised, lowered = ax.collections[-2:]
    base = next(line for line in ax.lines if len(line.get_xdata()) == 2).get_ydata()[0]
    up = raised.get_paths()[0].vertices[:, 1].max() - base
    down = base - lowered.get_paths()[0].vertices[:, 1].min()
    assert up == pytest.approx(2 * down)
    assert raised.get_hatch()
    assert not lowered.get_hatch()
    assert "0.4 logits" in ax.texts[-1].get_text()


def test_a_highlight_of_the_wrong_length_is_refused():
    signal = flat(2)
    _, ax = strip(signal)
    with pytest.raises(FormatError, match="200 samples"):
        figure.trace(ax, signal, highlight=np.ones(7, bool))


@pytest.mark.parametrize("values", [np.zeros((1, 0)), np.full((1, 300), np.nan)])
def test_a_recording_without_a_signal_says_so(values):
    signal = Signal(values, 100, ("I",), "mV")
    drawing, ax = strip(signal)
    figure.trace(ax, signal)
    assert "No signal" in ax.texts[-1].get_text()
    drawing.savefig("/dev/null", format="svg")


def test_a_gap_is_a_gap_and_one_sample_is_drawn():
    values = np.zeros((1, 300))
    values[0, 100:150] = np.nan
    for signal in (Signal(values, 100, ("I",), "mV"), flat(0.01)):
        drawing, ax = strip(signal)
        figure.trace(ax, signal)
        drawing.savefig("/dev/null", format="svg")
        assert np.isnan(ax.lines[1].get_ydata()).sum() == np.isnan(signal.values).sum()
