import csv
import io
import re

import numpy as np
import pytest
from test_report_page import HOSTILE, outline
from test_report_sound import NOWHERE, SURE, UNSURE, fits
from test_report_spectrogram import CENTRES, LEVELS

from stethos.report import sound_picture
from stethos.report.page import Page, Section
from stethos.report.spectrogram import Clip
from stethos.types import Estimate

MACHINES = ["fan", "pump", "slider", "ToyCar", "ToyConveyor", "valve"]
LONG = "a name that is much longer than what has room beside or over a panel of any page"


def clip(score, truth, machine="fan", region=None):
    return Clip(LEVELS, 2.0, score, truth, machine, "section_00", region)


def embedded(machines):
    generator = np.random.default_rng(0)
    machine, group = np.repeat(machines, 30), np.tile(np.repeat([0, 1, 2], 10), len(machines))
    return generator.normal(size=(len(machine), 5)) + group[:, None], machine, group


def scored(machines):
    _, machine, group = embedded(machines)
    return np.random.default_rng(1).normal(size=len(machine)) + group, (group == 2).astype(float), machine


def pictures(machines, name):
    """One of each, with some names replaced."""
    found = {machine: {name: SURE, "baseline": UNSURE} for machine in machines}
    threshold = np.linspace(0, 5, 20)
    pairs = [
        (clip(31.4, 1, name, (0, 8000, 0, 2)), clip(-1234.5, 0, "pump")),
        (clip(-2, 0, "fan", (0, 500, 1, 2)), None),
    ]
    return [
        sound_picture.spectrogram("Spectrogram", LEVELS, 2.0, CENTRES, (1000, 2000, 0.5, 1)),
        sound_picture.clips("Clips", pairs, CENTRES),
        sound_picture.embedding_map("Map", *embedded(machines)),
        sound_picture.score_histograms("Scores", *scored(machines), dict.fromkeys(machines, 1.5)),
        sound_picture.machines("Machines", found, "AUC", 0.5),
        sound_picture.alarm_budget("Budget", threshold, {name: 1e4 * np.exp(-threshold)}, 7, 4.5),
        sound_picture.enrolment("Enrolment", np.array([3, 5, 10, 20, 50]), {name: [SURE] * 5, "b": [SURE] * 5}),
        sound_picture.miss_rates("Misses", {name: {"weak": SURE, "strong": UNSURE}, "leak": {"weak": SURE}}),
        sound_picture.ablation("Ablation", {name: {"fan": SURE}, "high band": {name: SURE}}, "AUC", 0.5),
    ]


def rows(picture):
    return list(csv.DictReader(io.StringIO(picture.data.csv(), newline="")))


def test_no_word_leaves_a_canvas_or_covers_another():
    for picture in pictures(["fan", "pump"], "ours"):
        fits(picture.drawing)


@pytest.mark.parametrize("count", [1, 4, 6])
def test_any_number_of_machines_stand_side_by_side(count):
    for picture in (
        sound_picture.embedding_map("Map", *embedded(MACHINES[:count])),
        sound_picture.score_histograms("Scores", *scored(MACHINES[:count]), dict.fromkeys(MACHINES, 1.5)),
    ):
        assert [ax.get_title().split("\n")[0] for ax in picture.drawing.axes[:count]] == MACHINES[:count]
        fits(picture.drawing)


def test_long_names_are_cut_and_not_the_figures():
    for picture in pictures([LONG, "fan", "pump"], LONG):
        fits(picture.drawing)


def test_a_page_of_all_pictures_is_well_formed_hides_nothing_and_fetches_nothing():
    html = Page("Sounds", "synthetic", "Lead.", sections=[Section("All", pictures(["fan", HOSTILE], HOSTILE))]).html
    seen = outline(html)
    assert len(seen.ids) == len(set(seen.ids))
    assert seen.tags.count("svg") == 9
    assert all(address.startswith(("#", "data:")) for address in seen.addresses)
    sizes = re.findall(
        r"font-size: ?([\d.]+)px|font: ?(?:\w+ )*([\d.]+)px", "".join(re.findall(r"<svg.*?</svg>", html, re.S))
    )
    assert min(float(a or b) for a, b in sizes) >= 8


def test_every_picture_says_its_numbers_in_words():
    told = [picture.alt for picture in pictures(["fan", "pump"], "ours")]
    assert told[0] == "Mel spectrogram of 2 s in dB. Outlined: 1–2 kHz, 0.5–1 s."
    assert (
        "ours/section_00 · anomaly · score 31.4, outlined 0–8 kHz, 0–2 s; fan/section_00 · normal · score −2" in told[1]
    )
    assert re.search(r"fan, \d+ % of the variance; pump, \d+ %", told[2])
    assert "fan, pump. Threshold of fan 1.5. Threshold of pump 1.5." in told[3]
    assert "fan, ours: 0.800 (0.700 to 0.900); fan, baseline: 0.800 (no interval)" in told[4]
    assert "the budget is 7 a week. The threshold taken is 4.5." in told[5]
    assert "ours, 3 clips: 0.800 (0.700 to 0.900)" in told[6]
    assert "ours, weak: 0.800 (0.700 to 0.900)" in told[7]
    assert "high band, ours: 0.800 (0.700 to 0.900)" in told[8]


def test_the_numbers_behind_a_spectrogram_are_its_bands_and_frames():
    row = rows(pictures(["fan"], "ours")[0])[1]
    assert float(row["hertz"]) == pytest.approx(CENTRES[1], abs=0.05)
    assert list(row)[1] == "0.050 s"
    assert float(row["0.050 s"]) == pytest.approx(LEVELS[1, 0], abs=0.051)


def test_a_long_spectrogram_is_listed_in_means_over_neighbouring_frames():
    ramp = np.repeat(np.arange(240.0)[None], 128, axis=0)
    picture = sound_picture.spectrogram("Spectrogram", ramp, 24.0, np.arange(1.0, 129))
    row = rows(picture)[0]
    assert len(row) == 1 + 80
    assert float(row["0.150 s"]) == 1  # of the frames 0, 1 and 2
    assert float(row["23.850 s"]) == 238
    assert len(picture.data.csv()) < 70_000


def test_a_clip_without_a_score_has_none_written_over_it():
    nothing = Clip(LEVELS, 2.0, NOWHERE, 0, "fan", "id_00")
    picture = sound_picture.clips("Clips", [(clip(3, 1), nothing)], CENTRES)
    assert nothing.words == "fan/id_00 · normal"
    assert picture.drawing.axes[1].get_title(loc="left") == "nearest normal · fan/id_00"
    assert rows(picture)[1]["score"] == ""


def test_clips_are_listed_with_what_is_written_over_them():
    listed = rows(pictures(["fan"], "ours")[1])
    assert [row["shown"] for row in listed] == ["clip", "nearest normal", "clip"]
    assert listed[0] == {
        "pair": "1",
        "shown": "clip",
        "machine": "ours",
        "section": "section_00",
        "truth": "anomaly",
        "score": "31.4",
        "outlined": "0–8 kHz, 0–2 s",
    }


def test_each_machine_has_a_map_of_its_own_and_every_point_is_listed():
    picture = sound_picture.embedding_map("Map", *embedded(["fan", "pump"]))
    assert [ax.get_title() for ax in picture.drawing.axes] == ["fan", "pump"]
    listed = rows(picture)
    assert len(listed) == 60
    assert (listed[0]["machine"], listed[0]["group"]) == ("fan", "normal, training")
    fan = np.array([[float(row["pc_1"]), float(row["pc_2"])] for row in listed if row["machine"] == "fan"])
    assert np.abs(fan.mean(axis=0)).max() < 1e-6


def test_histograms_are_listed_in_bins_that_hold_every_clip():
    picture = sound_picture.score_histograms("Scores", *scored(["fan", "pump", "valve"]))
    listed = rows(picture)
    assert sum(int(row["normal"]) for row in listed if row["machine"] == "fan") == 20
    assert sum(int(row["anomalous"]) for row in listed) == 30
    assert picture.drawing.axes[2].get_title() == "valve\n20 normal, 10 anomalous"


def test_a_machine_without_scores_says_so_beside_the_others():
    score, truth, machine = scored(["fan", "pump"])
    picture = sound_picture.score_histograms("Scores", np.where(machine == "pump", NOWHERE, score), truth, machine)
    assert picture.drawing.axes[1].texts[0].get_text().startswith("No scores")
    fits(picture.drawing)


def test_a_forest_and_a_table_hold_the_same_estimates():
    found = {"fan": {"ours": SURE, "theirs": UNSURE}, "pump": {"ours": SURE}}
    forest = rows(sound_picture.machines("Machines", found))
    assert [(row["heading"], row["group"]) for row in forest] == [("fan", "ours"), ("fan", "theirs"), ("pump", "ours")]
    table = sound_picture.machine_table(found, "Areas")
    assert table.columns == ("machine", "ours", "theirs")
    assert table.rows == [["fan", SURE, UNSURE], ["pump", SURE, None]]


def test_estimates_are_listed_with_their_intervals():
    *_, budget, enrolment, misses, ablation = pictures(["fan"], "ours")
    assert rows(budget)[0] == {"threshold": "0.0", "ours (a week)": "10000.0", "budget (a week)": "7"}
    assert [row["clips"] for row in rows(enrolment)[:5]] == ["3", "5", "10", "20", "50"]
    assert (rows(misses)[0]["miss_rate low"], rows(misses)[0]["miss_rate high"]) == ("0.7", "0.9")
    assert [row["variant"] for row in rows(ablation)] == ["ours", "high band"]


def test_pictures_of_nothing_say_so_and_have_no_rows():
    nothing = np.array([])
    empty = [
        sound_picture.clips("Clips", [], CENTRES),
        sound_picture.embedding_map("Map", np.zeros((0, 4)), nothing, nothing),
        sound_picture.score_histograms("Scores", nothing, nothing, nothing),
        sound_picture.machines("Machines", {}),
        sound_picture.alarm_budget("Budget", nothing, {}, 1),
        sound_picture.enrolment("Enrolment", nothing, {}),
        sound_picture.miss_rates("Misses", {}),
        sound_picture.ablation("Ablation", {}),
    ]
    for picture in empty:
        assert picture.drawing.axes[0].texts[0].get_text().startswith("No ")
        assert picture.data.rows == []
        fits(picture.drawing)


def test_estimates_without_a_value_are_not_drawn():
    picture = sound_picture.miss_rates("Misses", {"leak": {"weak": Estimate(NOWHERE, NOWHERE, NOWHERE, 0)}})
    assert picture.drawing.axes[0].texts[0].get_text().startswith("No ")
