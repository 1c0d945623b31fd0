import librosa
import matplotlib
import numpy as np
import pytest
from test_report_figure import painted, words

from stethos.errors import FormatError
from stethos.report import spectrogram, style
from stethos.report.spectrogram import Clip

CENTRES = librosa.mel_frequencies(130, fmin=0, fmax=8000)[1:-1]
LEVELS = np.linspace(-60, 0, 128 * 20).reshape(128, 20)


def clip(score=1.0, truth=0.0, section="id_00", region=None, level=0.0):
    return Clip(LEVELS + level, 2.0, score, truth, "fan", section, region)


def both():
    drawing, (left, right) = style.panels(1, 2, 170, 50)
    return drawing, left, right


def test_frequencies_stand_where_the_mel_scale_has_them():
    _, ax = style.canvas(120, 80)
    spectrogram.spectrogram(ax, LEVELS, 2.0, CENTRES)
    named = {label.get_text(): tick for label, tick in zip(ax.get_yticklabels(), ax.get_yticks(), strict=True)}
    assert list(named) == ["0", "0.25", "0.5", "1", "2", "4", "8"]
    for kilohertz in (0.25, 0.5, 1, 2, 4):
        row = 129 * librosa.hz_to_mel(1000 * kilohertz) / librosa.hz_to_mel(8000) - 1
        assert named[f"{kilohertz:g}"] == pytest.approx(row, abs=0.03)
    assert (named["0"], named["8"]) == (-0.5, 127.5)
    assert ax.images[0].get_extent() == [0, 2, -0.5, 127.5]
    assert ax.get_xlim() == (0, 2)
    painted(ax)


def test_a_low_panel_has_fewer_ticks_and_odd_bands_have_their_own():
    _, ax = style.canvas(120, 28)
    spectrogram.spectrogram(ax, LEVELS, 2.0, CENTRES)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["0.5", "1", "2", "4", "8"]
    _, ax = style.canvas()
    spectrogram.spectrogram(ax, LEVELS[:5], 2.0, np.array([2100, 2500, 2900, 3300, 3700.0]))
    assert [label.get_text() for label in painted(ax).get_yticklabels()] == ["2.1", "3.7"]
    _, ax = style.canvas()
    spectrogram.spectrogram(ax, LEVELS[:1], 2.0, np.array([1000.0]))
    painted(ax)


def test_colours_span_all_but_the_outermost_levels_and_a_bar_says_so():
    drawing, ax = style.canvas()
    spectrogram.spectrogram(ax, LEVELS, 2.0, CENTRES)
    assert ax.images[0].get_clim() == pytest.approx((-60 + 0.6, -0.06), abs=0.02)
    assert drawing.axes[1].get_ylabel() == "Level (dB)"
    _, ax = style.canvas()
    spectrogram.spectrogram(ax, LEVELS, 2.0, CENTRES, limits=(-80, 0))
    assert ax.images[0].get_clim() == (-80, 0)


def test_silence_of_one_level_has_a_scale_of_one_decibel():
    assert spectrogram.loudness(np.full((3, 4), -100.0)) == (-100, -99)
    assert spectrogram.loudness(np.array([[-np.inf, -50, -50, -40]])) == pytest.approx((-50, -40.02))


def test_brighter_is_louder_in_print_without_colour_too():
    red, green, blue = matplotlib.colormaps[spectrogram.COLOURS](np.linspace(0, 1, 64))[:, :3].T
    grey = 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2
    assert (np.diff(np.cbrt(grey)) > 0).all()


def test_a_region_is_a_dashed_box_on_a_light_one_with_its_name():
    _, ax = style.canvas()
    spectrogram.spectrogram(ax, LEVELS, 2.0, CENTRES, region=(500, 2000, 0.5, 1.25))
    light, dark = ax.patches
    rows = 129 * librosa.hz_to_mel(np.array([500, 2000])) / librosa.hz_to_mel(8000) - 1
    for box in (light, dark):
        assert (box.get_x(), box.get_width()) == (0.5, 0.75)
        assert [box.get_y(), box.get_y() + box.get_height()] == pytest.approx(rows, abs=0.05)
    assert (light.get_linestyle(), dark.get_linestyle()[1]) == ("-", (3, 2)) or dark.get_linestyle() == "--"
    assert words(ax) == "0.5–2 kHz, 0.5–1.25 s"


@pytest.mark.parametrize(
    "region", [(0, 8000, 0, 2), (0, 500, 0, 2), (4000, 8000, 1.9, 2), (0, 100, 0, 0.01), (1000, 2000, 1, 1.5)]
)
def test_the_name_of_a_region_stays_on_the_picture(region):
    drawing, ax = style.canvas()
    spectrogram.spectrogram(ax, LEVELS, 2.0, CENTRES, region)
    drawing.draw_without_rendering()
    name, panel = ax.texts[0].get_window_extent(), ax.get_window_extent()
    assert panel.x0 - 2 <= name.x0 < name.x1 <= panel.x1 + 2
    assert panel.y0 - 2 <= name.y0 < name.y1 <= panel.y1 + 2


def test_a_pair_shares_its_decibels_and_says_what_each_is():
    drawing, left, right = both()
    spectrogram.pair(left, right, clip(12.345, 1, region=(0, 500, 0, 1)), clip(-0.5, level=-20), CENTRES)
    assert left.images[0].get_clim() == right.images[0].get_clim()
    assert left.get_title("left") == "fan/id_00 · anomaly · score 12.3"
    assert right.get_title("left") == "nearest normal · score −0.5"
    assert (len(left.patches), len(right.patches)) == (2, 0)
    assert len(drawing.axes) == 3  # and a bar
    painted(left)


def test_a_pair_names_the_machine_of_a_normal_clip_from_elsewhere():
    _, left, right = both()
    spectrogram.pair(left, right, clip(truth=np.nan), clip(section="id_02"), CENTRES)
    assert left.get_title("left") == "fan/id_00 · unknown · score 1"
    assert right.get_title("left") == "nearest normal · fan/id_02 · score 1"


def test_a_long_name_does_not_cut_the_score():
    _, left, right = both()
    long = Clip(LEVELS, 2.0, -1234.5, 1, "a conveyor of the second hall", "section_00")
    spectrogram.pair(left, right, clip(), long, CENTRES)
    assert right.get_title("left") == "nearest normal · a conveyor of the sec… · score −1.23e+03"
    spectrogram.pair(left, right, long, None, CENTRES)
    assert left.get_title("left") == "a conveyor of the sec… · anomaly · score −1.23e+03"
    assert long.words.startswith("a conveyor of the second hall/section_00 · anomaly")


def test_what_is_not_there_is_said():
    _, left, right = both()
    spectrogram.pair(left, right, clip(), None, CENTRES)
    assert words(right) == "no clip to show"
    assert words(left) == ""
    painted(left)
    _, ax = style.canvas()
    spectrogram.spectrogram(ax, np.zeros((128, 0)), 0.0, CENTRES)
    assert words(painted(ax)).startswith("No spectrogram")
    _, left, right = both()
    spectrogram.pair(left, right, Clip(np.zeros((128, 0)), 0, 1, 0, "fan", "id_00"), None, CENTRES)
    assert words(painted(left)) == "no clip to show"


def test_each_band_needs_its_middle():
    _, ax = style.canvas()
    with pytest.raises(FormatError, match="128 bands; got 64"):
        spectrogram.spectrogram(ax, LEVELS, 2.0, CENTRES[:64])
