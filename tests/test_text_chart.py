"""A patient's events as facts and as a text: worked out by hand, order never matters, the budget is kept."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stethos.text.chart import NOTHING, Chart, Fact, Switches, chart_of, noted, render
from stethos.text.fragments import Event, Said, family, said, table

UNTIL = np.datetime64("2021-06-01T12:00:00")


def event(code, when="2020-03-01", number=np.nan, text="", stay="", name=None):
    time = np.datetime64(when) if when else np.datetime64("NaT")
    return Event(time, code, number, text, name or f"{code}@{when}", stay)


def nine(code, when="2018-05-01", **more):
    return event(f"DIAGNOSIS//ICD//9//{code}", when, **more)


def ten(code, when="2020-03-01", **more):
    return event(f"DIAGNOSIS//ICD//10//{code}", when, **more)


def words(text):
    return len(text.split())


def names(chart):
    return [fact.name for fact in chart.facts]


def test_codes_of_both_revisions_are_one_fact_with_its_count_and_years():
    chart = chart_of("p", [nine("4280", stay="a"), ten("I5023", stay="b"), ten("I509", stay="b")], UNTIL)
    (fact,) = chart.facts
    assert (fact.name, fact.section, fact.count, fact.chronic) == ("heart failure", "Cardiovascular", 2, True)
    assert (str(fact.first)[:4], str(fact.last)[:4]) == ("2018", "2020")
    assert len(fact.events) == 3
    assert render(chart, 100, words).text == "Cardiovascular: heart failure (2 times, 2018 to 2020)."


@pytest.mark.parametrize(
    ("code", "version", "expected"),
    [
        ("0389", "9", "sepsis"),
        ("389", "9", ""),
        ("42731", "9", "atrial_fibrillation"),
        ("42789", "9", "arrhythmia"),
        ("I4891", "10", "atrial_fibrillation"),
        ("I4892", "10", "atrial_flutter"),
        ("I110", "10", "heart_failure"),
        ("I119", "10", "hypertension"),
        ("E1122", "10", "diabetes"),
        ("V4511", "9", "dialysis"),
        ("O10", "10", "pregnancy"),
        ("496", "9", "copd"),
        ("S52501A", "10", ""),
    ],
)
def test_a_code_belongs_to_the_family_with_the_longest_beginning(code, version, expected):
    assert family(code, version) == expected


def test_dots_and_the_case_of_a_code_do_not_matter():
    assert names(chart_of("p", [ten("i50.23")], UNTIL)) == ["heart failure"]


def test_a_code_of_no_family_is_told_under_its_own_title_up_to_the_comma():
    titles = {"DIAGNOSIS//ICD//10//S52501A": "Fracture of radius, initial encounter"}
    titles["DIAGNOSIS//ICD//9//81342"] = "Fracture of radius"
    chart = chart_of("p", [ten("S52501A"), nine("81342"), ten("Z999")], UNTIL, titles)
    assert names(chart) == ["fracture of radius"]
    assert len(chart.facts[0].codes) == 2
    assert chart.left_out == {"codes without a title": 1}


def test_what_happens_at_the_time_or_later_does_not_count():
    events = [ten("I10", "2021-06-01T12:00:00"), ten("I500", "2021-06-01T11:59:59"), ten("J449", "2022-01-01")]
    chart = chart_of("p", events, UNTIL)
    assert names(chart) == ["heart failure"]
    assert chart.left_out == {"events from after the time": 2}
    later = chart_of("p", events, UNTIL, switches=Switches(after=True))
    assert set(names(later)) == {"heart failure", "hypertension", "chronic obstructive pulmonary disease"}


def test_vital_signs_are_told_only_where_they_are_asked_for():
    events = [event("VITAL//LOINC//8480-6//mmHg", number=151.0), ten("I10"), event("Blood Pressure", text="127/48")]
    plain = chart_of("p", events, UNTIL)
    assert names(plain) == ["hypertension"]
    assert plain.left_out == {"vital signs": 2}
    both = chart_of("p", events, UNTIL, switches=Switches(vitals=True))
    assert "systolic pressure 151 mmHg" in names(both)
    alone = chart_of("p", events, UNTIL, switches=Switches(only_vitals=True))
    assert set(names(alone)) == {"systolic pressure 151 mmHg", "blood pressure 127/48 mmHg"}


def test_age_and_sex_are_one_sentence_and_can_be_left_out():
    events = [event("GENDER//F", ""), event("MEDS_BIRTH", "1950-01-01"), ten("I10")]
    assert render(chart_of("p", events, UNTIL), 100, words).sentences[0].text == "Woman in the seventies; 71 years old."
    none = chart_of("p", events, UNTIL, switches=Switches(demographics=False))
    assert names(none) == ["hypertension"]
    old = chart_of("p", [event("GENDER//M", ""), event("MEDS_BIRTH", "1920-01-01")], UNTIL)
    assert names(old) == ["man over 89 years old"]


def test_drugs_are_told_as_classes_if_they_were_given():
    events = [
        event("MEDICATION//ATC//C07AB07"),
        event("MEDICATION//Metoprolol Tartrate//Administered", "2020-05-01"),
        event("MEDICATION//Warfarin//Not Given"),
        event("MEDICATION//STOP//Digoxin"),
        event("MEDICATION//START//Apixaban"),
    ]
    chart = chart_of("p", events, UNTIL)
    assert {fact.name: fact.count for fact in chart.facts} == {"beta blocker": 2, "anticoagulant": 1}
    assert chart.left_out == {"drugs of no class, or not given": 2}


@pytest.mark.parametrize(
    ("code", "title", "number", "expected"),
    [
        ("LAB//LOINC//2823-3//mmol/L", "", 6.1, "raised potassium"),
        ("LAB//LOINC//2823-3//mmol/L", "", 3.1, "low potassium"),
        ("LAB//LOINC//2823-3//mmol/L", "", 4.5, None),
        ("LAB//50912//mg/dL", "Creatinine [Mass/volume] in Serum or Plasma", 2.4, "raised creatinine"),
        ("LAB//50912//umol/L", "Creatinine [Mass/volume] in Serum or Plasma", 90.0, None),
        ("LAB//50912//stones", "Creatinine [Mass/volume] in Serum or Plasma", 2000.0, None),
        ("LAB//1//mg/dL", "Calcium", 30.0, None),
    ],
)
def test_a_value_is_told_where_it_is_beyond_the_limit_of_its_unit(code, title, number, expected):
    found = said(event(code, number=number), title)
    assert (found.name if isinstance(found, Said) else None) == expected


def test_a_note_says_what_it_affirms():
    text = "PMH: HTN, COPD. No known diabetes. ?heart failure suspected. Father had a stroke; denies asthma."
    assert set(noted(text)) == {"hypertension", "copd"}
    chart = chart_of("p", [event("NOTE//PROGRESS", text=text), ten("I10", "2019-01-01")], UNTIL)
    (pressure,) = [fact for fact in chart.facts if fact.name == "hypertension"]
    assert len(pressure.events) == 2
    silent = chart_of("p", [event("NOTE//PROGRESS", text=text)], UNTIL, switches=Switches(notes=False))
    assert silent.facts == ()
    assert silent.left_out == {"notes": 1}


def test_every_problem_of_the_table_can_be_found_in_its_own_name():
    known = {"fibrosis", "effusion", "potassium_high", "potassium_low", "fluids"}  # no words of free text for these
    for key, entry in table()["family"].items():
        assert key in known or key in noted(f"History of {entry['name']}."), key


def test_what_matters_to_the_heart_comes_first_and_lasting_before_passing():
    titles = {"DIAGNOSIS//ICD//10//S52501A": "Fracture of radius"}
    events = [
        ten("S52501A", "2021-05-01"),
        ten("I10", "2012-01-01"),
        ten("F329", "2021-05-01"),
        ten("R55", "2021-05-01"),
    ]
    assert names(chart_of("p", events, UNTIL, titles)) == [
        "hypertension",
        "syncope",
        "depression",
        "fracture of radius",
    ]


def test_a_patient_of_whom_nothing_is_known_gets_an_honest_sentence():
    chart = chart_of("p", [], UNTIL)
    assert render(chart, 64, words).text == NOTHING
    assert render(chart, 2, words).text == ""


FACTS = st.lists(
    st.sampled_from([nine("4280"), ten("I10", "2017-01-01"), ten("J449"), ten("E119"), ten("N183"), ten("I4891"),
                     event("MEDICATION//ATC//C07AB07"), event("GENDER//M", ""), event("MEDS_BIRTH", "1960-01-01"),
                     event("LAB//LOINC//2823-3//mmol/L", number=6.0), event("NOTE//PROGRESS", text="Known gout.")]),
    unique=True, min_size=1,
)  # fmt: skip


@given(FACTS, st.randoms(use_true_random=False), st.integers(8, 60))
@settings(max_examples=80, deadline=None)
def test_the_order_of_the_events_does_not_matter_and_the_budget_is_kept(events, random, budget):
    shuffled = list(events)
    random.shuffle(shuffled)
    one, other = (render(chart_of("p", part, UNTIL), budget, words) for part in (events, shuffled))
    assert one == other
    assert one.tokens == words(one.text) <= budget
    known = {each.id for each in events}
    for sentence in one.sentences:
        assert sentence.events
        assert set(sentence.events) <= known


def test_a_larger_budget_tells_all_that_a_smaller_one_did_and_counts_the_rest():
    titles = {f"DIAGNOSIS//ICD//10//S{i:02}": f"Ailment number {i}" for i in range(30)}
    chart = chart_of("p", [ten(f"S{i:02}") for i in range(30)] + [ten("I10")], UNTIL, titles)
    told = []
    for budget in (8, 32, 64, 256):
        summary = render(chart, budget, words)
        told.append({event for sentence in summary.sentences for event in sentence.events})
        assert summary.unsaid == 31 - len(told[-1])
    assert told[0] < told[1] < told[2] < told[3]
    assert len(told[3]) == 31


def test_facts_and_charts_are_what_they_say():
    never = np.datetime64("NaT")
    fact = Fact("x", "Other", (), 1, never, never, False, 0.0, ("e",))
    assert render(Chart("p", never, (fact,), {}), 9, words).text == "Other: x."
