"""Moving pictures: what is burnt in, what plays and when, what stands still, and hearts on paper."""

import base64
import io
import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image, ImageSequence
from test_report_agreement import inside
from test_report_page import HOSTILE, browse, outline

from stethos.errors import FormatError, RecipeError
from stethos.report.film import Film, film_row, film_table, write_gif
from stethos.report.heart import area_curves, motion_picture, swap_figure
from stethos.report.mark import LETTERS, burnt_in, letters
from stethos.report.page import Page, Section

# The letters drawn once more by eye, to be read back from the pixels.
SYNTHETIC = """
.## #.# ##. ### #.# ### ### ### .##
#.. #.# #.# .#. #.# #.. .#. .#. #..
.#. .#. #.# .#. ### ##. .#. .#. #..
..# .#. #.# .#. #.# #.. .#. .#. #..
##. .#. #.# .#. #.# ### .#. ### .##
"""


def by_eye(drawing):
    return np.array([[letter == "#" for letter in line.replace(" ", ".")] for line in drawing.split("\n")[1:-1]])


def ring(size=48, frames=16, fraction=0.6, radius=0.25, seed=0):
    """A bright disc whose area falls to 1 − fraction and comes back."""
    y, x = np.mgrid[:size, :size] / size - 0.5
    beat = np.sin(np.pi * np.arange(frames) / frames) ** 2
    edge = radius * np.sqrt(1 - fraction * beat)[:, None, None]
    noise = np.random.default_rng(seed).uniform(0, 0.1, (frames, size, size))
    return noise + 0.8 * (np.hypot(x, y) < edge)


def sheets(html):
    """What lies behind each window, `(H, F W)` bytes."""
    found = re.findall(r"data:image/png;base64,([^\"]*)", html)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(item)))) for item in found]


def keyframes(html):
    """Moment in % and frame seen in %, of the only film."""
    rule = re.search(r"@keyframes beat-\d+ \{(.*?\})\}", html)[1]
    return [(float(a), float(b)) for a, b in re.findall(r"([\d.]+)%\{--seen:([\d.]+)%\}", rule)]


def test_a_word_is_written_as_it_was_drawn_by_hand():
    assert np.array_equal(letters("synthetic"), by_eye(SYNTHETIC))


def test_no_two_letters_look_alike_and_all_fill_their_height():
    drawn = {letter: letters(f"A{letter}")[:, 4:] for letter in LETTERS if letter != " "}
    assert set(drawn) == set("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
    assert len({one.tobytes() for one in drawn.values()}) == 36
    assert all(one.any(axis=1).all() and one.any(axis=0).all() for one in drawn.values())


def test_nine_letters_fit_48_pixels_and_only_the_band_changes():
    cine = ring()
    marked = burnt_in(cine, "synthetic")
    assert np.array_equal(marked[:, :-7], cine[:, :-7])
    band = marked[:, -7:]
    assert set(np.unique(band)) == {0.0, 1.0}
    assert all(np.array_equal(frame[1:6, 6:41] == 1, by_eye(SYNTHETIC)) for frame in band)
    assert (band == 1).sum() == 16 * by_eye(SYNTHETIC).sum()
    assert cine.max() < 1, "the cine itself is left as it was"


def test_on_larger_frames_the_letters_are_larger():
    marked = burnt_in(ring(96), "GENERATED")
    ink = marked[0, -14:][2:12, 13:83][::2, ::2]
    assert np.array_equal(ink == 1, letters("GENERATED"))
    assert np.array_equal(marked[0, :-14], ring(96)[0, :-14])


def test_a_mark_that_cannot_be_read_is_refused():
    with pytest.raises(FormatError, match="7 by 37"):
        burnt_in(ring(36), "GENERATED")
    with pytest.raises(RecipeError, match="'É'"):
        burnt_in(ring(), "généré")
    with pytest.raises(RecipeError, match="got nothing"):
        burnt_in(ring(), " ")


def test_a_gif_plays_every_frame_for_its_time_with_the_mark_in_each(tmp_path):
    cine = ring()
    write_gif(tmp_path / "heart.gif", cine, 0.05)
    with Image.open(tmp_path / "heart.gif") as gif:
        assert gif.info["loop"] == 0
        frames = [(np.asarray(frame.convert("L")), frame.info["duration"]) for frame in ImageSequence.Iterator(gif)]
    assert [duration for _, duration in frames] == [50] * 16
    read = np.stack([frame for frame, _ in frames]) / 255
    assert np.abs(read[:, :-7] - cine[:, :-7]).max() <= 0.5 / 255 + 1e-9
    assert all(np.array_equal(frame[-6:-1, 6:41] == 1, letters("generated")) for frame in read)


def test_a_real_heart_has_no_mark_and_no_frame_is_too_short_for_a_browser(tmp_path):
    write_gif(tmp_path / "heart.gif", ring(), 0.004, mark="")
    with Image.open(tmp_path / "heart.gif") as gif:
        assert gif.info["duration"] == 20
        assert np.abs(np.asarray(gif.convert("L")) / 255 - ring()[0]).max() <= 0.5 / 255 + 1e-9


def test_behind_each_window_lie_all_frames_side_by_side():
    cines = [ring(), ring(fraction=0.2, seed=1)]
    for sheet, cine in zip(sheets(film_row(cines, ["a", "b"], 0.05, "two")), cines, strict=True):
        assert np.array_equal(sheet, np.concatenate(np.round(255 * cine), axis=1))


def test_every_frame_is_seen_for_an_equal_part_of_the_beat():
    html = film_row([ring(frames=5)], ["a"], 0.2, "one")
    assert keyframes(html) == [(0, 0), (20, 25), (40, 50), (60, 75), (80, 100), (100, 100)]
    assert "animation:beat-5 1s step-end infinite" in html
    # A window of one frame over a sheet of five is shifted by (5 − 1) frames at 100 %.
    assert [round(seen / 100 * 4) for _, seen in keyframes(html)] == [0, 1, 2, 3, 4, 4]


def test_all_windows_of_a_table_hang_on_one_movement():
    html = film_table({"real": [ring(), ring()], "generated": [ring(), None]}, ["a", "b"], 0.05, "grid")
    assert html.count("animation:beat-16") == 1
    assert html.count("<img") == 3
    assert "<td>–</td>" in html
    assert html.count('scope="row"') == 2
    assert html.count('scope="col"') == 2


def test_a_window_is_a_whole_multiple_of_the_frame_and_a_row_fits_the_page():
    for size, across, wide in ((48, 1, 192), (48, 5, 96), (96, 2, 192), (96, 4, 96), (96, 8, 96)):
        html = film_row([ring(size, 2)] * across, ["t"] * across, 0.1, "row")
        assert html.count(f"width:{wide}px;height:{wide}px") == across


def test_a_picture_taller_than_wide_keeps_its_shape():
    assert "width:192px;height:96px" in film_row([ring()[:, :24]], ["flat"], 0.1, "row")


def test_one_frame_does_not_move():
    html = film_row([ring(frames=1)], ["a"], 0.05, "still")
    assert "keyframes" not in html
    assert "animation:" not in html.split("</style>")[1]


def test_what_cannot_be_shown_in_step_is_refused():
    with pytest.raises(FormatError, match="got 8, 16"):
        film_row([ring(), ring(frames=8)], ["a", "b"], 0.05, "x")
    with pytest.raises(FormatError, match="2 films and 1 titles"):
        film_row([ring(), ring()], ["a"], 0.05, "x")
    with pytest.raises(FormatError, match="the row 'real' of films"):
        film_table({"real": [ring()]}, ["a", "b"], 0.05, "x")
    with pytest.raises(FormatError, match="1 of its numbers not finite"):
        film_row([np.where(np.arange(16 * 48 * 48).reshape(16, 48, 48) == 7, np.nan, ring())], ["a"], 0.05, "x")
    with pytest.raises(FormatError, match=r"\(48, 48\)"):
        film_row([ring()[0]], ["a"], 0.05, "x")


def test_no_films_say_so():
    assert "none to show" in film_row([], [], 0.05, "x")
    assert "none to show" in film_table({"real": [None]}, ["a"], 0.05, "x")


def filmed(name="patients", frames=16):
    cines = [ring(frames=frames), ring(frames=frames, fraction=0.3)]
    blocks = [
        Film(name, film_row(cines, [name, "b"], 0.05, name), name),
        Film("Grid", film_table({name: cines, "x": [cines[1], None]}, ["a", name], 0.05, name)),
        motion_picture("Motion", {name: cines[0]}, 1.8),
    ]
    return Page("Hearts", "synthetic", "Lead.", sections=[Section("Films", blocks)])


def test_a_page_with_films_is_well_formed_counts_them_as_figures_and_hostile_names_stay_names():
    html = filmed(HOSTILE).html
    seen = outline(html)
    assert len(seen.ids) == len(set(seen.ids))
    assert {"figure-1", "figure-2", "figure-3"} <= set(seen.ids)
    assert seen.tags.count("img") == 5
    assert html.count('<img role="img" alt="') == 5
    assert all(address.startswith(("#", "data:")) for address in seen.addresses)
    assert "<script" not in html
    assert "&lt;style&gt;" not in html


def test_films_are_marked_as_what_they_are():
    caption = re.search(r"<figcaption><b>Figure 1\. .*?</figcaption>", filmed().html)[0]
    assert '<span class="mark">synthetic</span>' in caption


@pytest.mark.slow
@pytest.mark.parametrize("frame", [0, 5, 15])
def test_a_browser_holds_a_film_still_and_shows_each_frame_at_its_time_whole_and_crisp(tmp_path, frame):
    cine = ring()
    html = film_row([cine, ring(seed=3)], ["a", "b"], 0.05, "x")
    html = html.replace(";--wide", f";animation-delay:-{0.05 * (frame + 0.5):g}s;--wide")
    html = html.replace('type="checkbox"', 'type="checkbox" checked')  # held still from the start
    page = Page("Hearts", "real", "Lead.", sections=[Section("S", [Film("F", html)])])
    browse(tmp_path, page, f"--screenshot={tmp_path / 'seen.png'}", "--window-size=900,1200", "--hide-scrollbars")
    seen = np.asarray(Image.open(tmp_path / "seen.png").convert("L")).astype(int)
    for number in (0, 1):
        want = np.kron(np.round(255 * (cine, ring(seed=3))[number][frame]).astype(int), np.ones((4, 4), int))
        assert found(seen, want), f"film {number}"


def found(seen, want):
    """Whether a picture stands somewhere in a larger one, but for a grey or two."""
    line = np.lib.stride_tricks.sliding_window_view(seen, want.shape[1], axis=1)[:, :, ::16]
    for top, left in np.argwhere((np.abs(line - want[0, ::16]) <= 2).all(axis=2)):
        part = seen[top : top + want.shape[0], left : left + want.shape[1]]
        if part.shape == want.shape and np.abs(part - want).max() <= 2:
            return True
    return False


@pytest.mark.slow
def test_paper_shows_the_first_frame_and_no_control(tmp_path):
    if shutil.which("pdftotext") is None or shutil.which("pdfimages") is None:
        pytest.skip("no poppler here to read the printed sheet with")
    html = film_row([ring(), ring(fraction=0.3)], ["a", "b"], 0.05, "x")
    html = html.replace(";--wide", ";animation-delay:-0.4s;--wide")  # on a screen it would begin at its smallest
    page = Page("Hearts", "synthetic", "Lead.", sections=[Section("Films", [Film("F", html)])])
    browse(tmp_path, page, "--no-pdf-header-footer", f"--print-to-pdf={tmp_path / 'report.pdf'}")
    text = subprocess.run(["pdftotext", tmp_path / "report.pdf", "-"], capture_output=True, text=True, check=True)
    assert "Moving on a screen" in text.stdout
    assert "hold still" not in text.stdout
    subprocess.run(["pdftoppm", "-r", "96", "-gray", tmp_path / "report.pdf", tmp_path / "sheet"], check=True)
    sheet = np.asarray(Image.open(sorted(tmp_path.glob("sheet*.pgm"))[0])).astype(float)
    # The disc is largest in the first frame: its share of the window is π 0.25² of it, half a beat later 0.4 of that.
    top = np.flatnonzero((sheet < 40).sum(axis=1) > 192)[0]
    left = np.flatnonzero(sheet[top] < 40)[0]
    window = sheet[top : top + 192, left : left + 192]
    assert (window > 190).mean() == pytest.approx(np.pi * 0.25**2, rel=0.08)


def curves(fraction, scale=1000.0):
    return scale * (1 - fraction * np.sin(np.pi * np.arange(16) / 16) ** 2)


def hearts(count=5):
    real = {f"patient {i + 1}": curves(0.6, 1000 + 300 * i) for i in range(count)}
    return real, {name: np.outer(np.linspace(0.9, 1.1, 21), curve) for name, curve in real.items()}


def test_areas_show_the_real_curve_the_mean_and_where_eight_in_ten_lie():
    made = area_curves("Areas", *hearts(1))
    ax = made.drawing.axes[0]
    lines = {line.get_label(): line.get_ydata() for line in ax.lines}
    assert np.allclose(lines["real"], [*curves(0.6), 1000])
    assert np.allclose(lines["mean of draws"], [*curves(0.6), 1000])
    band = ax.collections[0].get_paths()[0].vertices
    assert band[:, 1].max() == pytest.approx(1080)  # 0.9 to 1.1 of 1000 in 21 steps: 10 % and 90 % at 0.92 and 1.08
    assert band[:, 1].min() == pytest.approx(0.92 * 400)
    first = made.data.rows[0]
    assert first == ["patient 1", 0.0, 1000.0, pytest.approx(1000), pytest.approx(920), pytest.approx(1080)]
    assert "patient 1 1000 and 400 real, 1000 and 400 drawn" in made.alt


@pytest.mark.parametrize("count", [1, 2, 3, 5, 6])
def test_any_number_of_hearts_stand_on_one_scale(count):
    made = area_curves("Areas", *hearts(count))
    assert [ax.get_title(loc="left") for ax in made.drawing.axes[:count]] == [f"patient {i + 1}" for i in range(count)]
    assert len({ax.get_ylim() for ax in made.drawing.axes[:count]}) == 1
    inside(made.drawing)


def test_draws_without_an_area_are_left_out_and_counted():
    real, draws = hearts(2)
    draws["patient 1"][:3, 4] = np.nan
    draws["patient 2"][:] = np.nan
    made = area_curves("Areas", real, draws)
    assert made.drawing.axes[0].get_title(loc="left") == "patient 1, 18 of 21 draws"
    assert made.drawing.axes[1].texts[0].get_text().startswith("No draw")
    assert "unknown drawn" in made.alt


def test_areas_of_other_hearts_or_frames_are_refused():
    real, draws = hearts(1)
    with pytest.raises(FormatError, match="same hearts"):
        area_curves("Areas", real, {"other": draws["patient 1"]})
    with pytest.raises(FormatError, match="frame for frame"):
        area_curves("Areas", real, {"patient 1": draws["patient 1"][:, :8]})


def swapped(rows=3, columns=3):
    cines = [[ring(fraction=0.1 * (c + 1), seed=r) for c in range(columns)] for r in range(rows)]
    fractions = np.tile(10.0 * np.arange(1, columns + 1), (rows, 1))
    fractions[0, 0] = np.nan
    names = [f"ECG {i + 1}, left bundle branch block" for i in range(columns)]
    return cines, swap_figure("Swap", cines, fractions, np.full((rows, columns), 8), names)


@pytest.mark.parametrize(("rows", "columns"), [(2, 1), (1, 2), (3, 3), (2, 5)])
def test_a_swap_shows_end_diastole_beside_end_systole_with_the_fraction_under_both(rows, columns):
    cines, made = swapped(rows, columns)
    axes = made.drawing.axes
    assert len(axes) == rows * columns
    assert axes[0].get_xlabel() == "EF not known"
    assert axes[-1].get_xlabel() == f"EF {10 * columns} %"
    pixels = np.asarray(axes[-1].images[0].get_array())
    assert np.array_equal(pixels[:, :48], cines[-1][-1][0])
    assert np.array_equal(pixels[:, -48:], cines[-1][-1][8])
    assert made.alt.endswith(f"noise {rows}, ECG {columns}, left bundle branch block {10 * columns} %.")
    assert made.data.rows[-1][1:] == [f"ECG {columns}, left bundle branch block", 10.0 * columns, 0.5]
    inside(made.drawing)


def test_motion_is_one_line_of_the_picture_over_two_beats():
    cine = ring()
    made = motion_picture("Motion", {"real": cine, "generated": ring(fraction=0.2)}, 2.0, line=20)
    ax = made.drawing.axes[0]
    pixels = np.asarray(ax.images[0].get_array())
    assert np.array_equal(pixels[:, :16], cine[:, 20].T)
    assert np.array_equal(pixels[:, 16:], pixels[:, :16])
    assert ax.images[0].get_extent() == [0, 2, 96, 0]
    assert made.data.rows[1] == ["real", 1.0, 0.0625, round(float(cine[1, 20, 0]), 2)]
    inside(made.drawing)


def test_pictures_of_no_hearts_say_so():
    for made in (
        area_curves("A", {}, {}),
        swap_figure("S", [], np.zeros((0, 0)), np.zeros((0, 0)), []),
        motion_picture("M", {}, 1),
    ):
        assert made.drawing.axes[0].texts[0].get_text().startswith("No ")
        assert made.data.rows == []
