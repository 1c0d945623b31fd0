"""Outputs against measurements."""

import numpy as np
import pytest

from stethos.metrics.association import benjamini_hochberg
from stethos.metrics.continuous import spearman
from stethos.report.page import Page
from stethos.study.measurements import MEASUREMENTS
from stethos.study.relate import numbers, relate
from stethos.study.relate_section import section, tables
from stethos.types import Predictions

NAMES = ("lv_systolic_reduced", "la_enlargement")
DRAWS = 200


def said(scores, facts, truth=None, names=NAMES, subject=None):
    scores = np.column_stack(scores)
    rows = len(scores)
    truth = np.full(scores.shape, np.nan) if truth is None else np.column_stack(truth)
    subject = np.arange(rows) if subject is None else subject
    return Predictions(scores, truth, np.arange(rows), subject, np.full(rows, "internal"), np.zeros(rows), facts, names)


def people(count=400, seed=0):
    """An ejection fraction, an atrium, noise for two outputs, and the generator."""
    generator = np.random.default_rng(seed)
    noise = generator.normal(size=(4, count))
    return 55 + 10 * noise[0], 38 + 4 * noise[1], noise[2], noise[3], generator


def test_a_planted_relation_has_its_sign_and_the_interval_holds_its_size():
    lvef, atrium, one, two, _ = people(2000)
    found = relate(said([-(lvef - 55) / 10 + one, two], {"lvef": lvef, "la_diameter": atrium}), "internal", draws=DRAWS)
    rho = numbers(found)["relate.lvef.rho"]
    assert not rho.excludes(-6 / np.pi * np.arcsin(np.sqrt(0.5) / 2))  # of normals with a Pearson's r of −√½
    assert rho.high < 0
    relation = found.relations["lvef", "lv_systolic_reduced"]
    assert relation.q < 0.001
    assert rho == relation.found.rho


def test_an_unrelated_output_is_not_told_from_zero():
    lvef, atrium, one, two, _ = people()
    found = relate(said([one, two], {"lvef": lvef, "la_diameter": atrium}), "internal", draws=DRAWS)
    assert all(not item.found.rho.excludes(0) for item in found.relations.values())
    assert all(item.q > 0.05 for item in found.relations.values())
    assert [row[3] for row in tables(found)[1].rows] == ["not clear"] * 2


def test_among_those_without_the_label_two_classes_apart_are_no_relation():
    lvef, _, one, two, _ = people(1500)
    reduced = lvef < 50
    apart = said([3 * reduced + one, two], {"lvef": lvef}, truth=[reduced, np.full(1500, np.nan)])
    graded = said([(55 - lvef) / 5 + one, two], {"lvef": lvef}, truth=[reduced, np.full(1500, np.nan)])
    only, more = (numbers(relate(item, "internal", draws=DRAWS)) for item in (apart, graded))
    assert only["relate.lvef.rho"].high < -0.5
    assert not only["relate.lvef.within_negatives.rho"].excludes(0)
    assert more["relate.lvef.within_negatives.rho"].high < -0.5
    assert only["relate.lvef.within_negatives.rho"].n == np.sum(~reduced)


def test_rows_of_unknown_truth_are_not_among_those_without_the_label():
    lvef, _, one, two, _ = people()
    truth = np.where(np.arange(400) < 100, 0.0, np.nan)
    found = relate(said([one, two], {"lvef": lvef}, truth=[truth, truth]), "internal", draws=DRAWS)
    within = numbers(found)["relate.lvef.within_negatives.rho"]
    assert within.n == 100
    assert within.value == pytest.approx(spearman(lvef[:100], one[:100]))
    none = relate(said([one, two], {"lvef": lvef}), "internal", draws=DRAWS)
    assert "relate.lvef.within_negatives.rho" not in numbers(none)


def test_a_relation_through_age_alone_is_gone_once_age_is_held():
    generator = np.random.default_rng(1)
    age = generator.normal(60, 12, 1500)
    atrium = 38 + (age - 60) / 6 + 2 * generator.normal(size=1500)
    output = (age - 60) / 12 + generator.normal(size=1500)
    facts = {"la_diameter": atrium, "age": age, "sex": generator.choice(["M", "F", ""], 1500)}
    found = relate(said([atrium * 0 + generator.normal(size=1500), output], facts), "internal", draws=DRAWS)
    assert numbers(found)["relate.la_diameter.rho"].low > 0.3
    assert not numbers(found)["relate.la_diameter.partial.rho"].excludes(0)
    assert found.adjusted == ["age", "sex"]
    assert "not adjusted" in found.left_out["ecg_heart_rate"]


def test_five_rows_of_every_subject_do_not_narrow_an_interval():
    lvef, _, one, two, _ = people(100)
    rows = np.repeat(np.arange(100), 5)
    age = np.arange(100.0) % 7
    once = said([one - lvef / 10, two], {"lvef": lvef, "age": age}, truth=[lvef < 50, lvef < 50])
    ours, often = (numbers(relate(item, "internal", draws=500)) for item in (once, once.take(rows)))
    assert set(ours) == set(often) == {f"relate.lvef.{part}rho" for part in (
        "", "partial.", "within_negatives.", "within_negatives.partial.")}  # fmt: skip
    for name, item in ours.items():
        assert (often[name].low, often[name].high) == pytest.approx((item.low, item.high), abs=1e-6)
        assert often[name].n == item.n
    trends = [relate(item, "internal", draws=50).own["lvef"].trend for item in (once, once.take(rows))]
    assert trends[0].p == pytest.approx(trends[1].p)


def test_p_values_are_adjusted_over_all_pairs_of_the_split():
    lvef, atrium, one, two, _ = people()
    found = relate(said([one - lvef / 20, two], {"lvef": lvef, "la_diameter": atrium}), "internal", draws=DRAWS)
    relations = list(found.relations.values())
    assert len(relations) == 4
    assert [item.q for item in relations] == pytest.approx(
        benjamini_hochberg(np.array([item.found.p for item in relations]))
    )


def test_a_measurement_that_is_not_there_or_known_of_few_or_constant_is_left_out_and_named():
    lvef, atrium, one, two, _ = people()
    few = np.where(np.arange(400) < 19, atrium, np.nan)
    facts = {"lvef": lvef, "la_diameter": few, "lvedd": np.full(400, 50.0), "pasp": np.array(["high"] * 400)}
    found = relate(said([one, two], facts), "internal", draws=DRAWS)
    assert [item.column for item in found.measurements] == ["lvef"]
    assert set(found.left_out) == {item.column for item in MEASUREMENTS} - {"lvef"} | {"age", "sex", "ecg_heart_rate"}
    assert found.left_out["la_diameter"] == "known of 19 records; needs 20"
    assert found.left_out["pasp"] == found.left_out["wall_thickness"] == "known of 0 records; needs 20"
    assert "do" in found.left_out["lvedd"]
    assert "Left out, internal" in [table.caption for table in tables(found)]


def test_an_output_that_never_changes_has_no_cell_and_a_row_without_a_score_is_left_out():
    lvef, _, one, two, _ = people()
    one[:50] = np.nan
    found = relate(said([one, 0 * two], {"lvef": lvef}), "internal", draws=DRAWS)
    assert set(found.relations) == {("lvef", "lv_systolic_reduced")}
    assert found.relations["lvef", "lv_systolic_reduced"].found.rho.n == 350


def test_means_are_those_of_tenths_of_the_output_and_rise_where_it_does():
    lvef = np.arange(300.0) / 10
    found = relate(said([-lvef, lvef], {"lvef": lvef}), "internal", draws=20).own["lvef"]
    assert [item.value for item in found.means] == pytest.approx([28.45 - 3 * place for place in range(10)], abs=0.06)
    assert found.trend.z < -10
    assert found.means[0].n == pytest.approx(30, abs=1)


def test_pulmonary_pressure_belongs_to_pulmonary_hypertension_where_the_model_has_that_label():
    pasp = next(item for item in MEASUREMENTS if item.column == "pasp")
    assert pasp.own(("right_heart_enlargement", "pulmonary_hypertension")) == "pulmonary_hypertension"
    assert pasp.own(("RIGHT_HEART_ENLARGEMENT", "lv_enlargement")) == "RIGHT_HEART_ENLARGEMENT"
    assert pasp.own(("lv_enlargement",)) is None


def test_every_measurement_expects_a_sign_of_every_label_that_it_defines():
    assert len({item.column for item in MEASUREMENTS}) == len(MEASUREMENTS) == 9
    for item in MEASUREMENTS:
        assert all(item.sign(label) in (1, -1) for label in item.defines)
    narrower = {"lvef", "mitral_area"}
    assert {item.column for item in MEASUREMENTS if item.sign(item.defines[0]) == -1} == narrower


def test_a_sign_against_physiology_is_called_so():
    lvef, atrium, one, two, _ = people()
    wrong = said([lvef + one, atrium + two], {"lvef": lvef, "la_diameter": atrium})
    signs = tables(relate(wrong, "internal", draws=DRAWS))[1]
    assert [row[2:5] for row in signs.rows] == [["−", "+", "no"], ["+", "+", "yes"]]
    assert signs.note.startswith("1 of 2 as expected")


def test_a_section_is_a_page_with_two_maps_and_the_means_of_every_split():
    lvef, atrium, one, two, _ = people()
    found = relate(said([one - lvef, two], {"lvef": lvef, "la_diameter": atrium}), "internal", draws=DRAWS)
    part = section(found, found)
    kinds = [type(block).__name__ for block in part.blocks]
    assert kinds == ["str", *(["Picture"] * 3 + ["Table"] * 3) * 2]
    html = Page("Title", "synthetic", "Lead.", sections=[part]).html
    assert "Expected signs, internal" in html
    assert "LA enlargement" in html


def test_without_any_measurement_the_section_says_why():
    _, _, one, two, _ = people()
    found = relate(said([one, two], {}), "internal", draws=DRAWS)
    assert numbers(found) == {}
    assert "needs 20" in Page("Title", "synthetic", "Lead.", sections=[section(found)]).html


@pytest.mark.slow
def test_nine_measurements_and_thirteen_outputs_of_1500_rows_take_less_than_twenty_seconds_of_one_core():
    from time import process_time

    generator = np.random.default_rng(0)
    facts = {item.column: generator.normal(size=1500) for item in MEASUREMENTS}
    facts |= {name: generator.normal(size=1500) for name in ("age", "ecg_heart_rate")}
    names = tuple(dict.fromkeys(label for item in MEASUREMENTS for label in item.signs))
    names += tuple(f"other_{place}" for place in range(13 - len(names)))
    scores = generator.normal(size=(13, 1500))
    predictions = said(scores, facts, np.zeros((13, 1500)), names, np.arange(1500) // 2)
    start = process_time()
    found = relate(predictions, "internal")
    assert process_time() - start < 20
    assert len(found.relations) == 9 * 13
