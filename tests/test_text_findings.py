"""What echo reports say: each phenomenon by hand, then what must hold for any text."""

from math import isnan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stethos.text.findings import load_lexicon, read_report

LEXICON = load_lexicon(preset="all")


def labels(text: str, preset: str = "all", sex: str | None = None) -> dict[str, float]:
    """Labels that are known."""
    reading = read_report(text, load_lexicon(preset=preset), sex)
    return {name: found.value for name, found in reading.labels.items() if not isnan(found.value)}


def same(one: dict[str, float], other: dict[str, float]) -> bool:
    return one.keys() == other.keys() and all(one[name] == other[name] for name in one)


CHAMBERS_NORMAL = {
    "la_enlargement": 0,
    "lv_enlargement": 0,
    "right_heart_enlargement": 0,
    "global_enlargement": 0,
}
CHAMBERS_LARGE = dict.fromkeys(CHAMBERS_NORMAL, 1)

BY_HAND = {
    "negation": [
        ("No mitral stenosis.", {"mitral_stenosis": 0}),
        ("No mitral stenosis but moderate regurgitation.", {"mitral_stenosis": 0, "mitral_regurgitation": 1}),
        ("No AS, MR moderate.", {"aortic_stenosis": 0, "mitral_regurgitation": 1}),
        ("No mitral or tricuspid regurgitation.", {"mitral_regurgitation": 0, "tricuspid_regurgitation": 0}),
        (
            "No pulmonary hypertension, pericardial effusion or thrombus.",
            {"pulmonary_hypertension": 0, "pericardial_effusion": 0},
        ),
        ("Neither mitral stenosis nor aortic stenosis.", {"mitral_stenosis": 0, "aortic_stenosis": 0}),
        ("Pulmonary hypertension is absent.", {"pulmonary_hypertension": 0}),
        ("Mitral stenosis has been ruled out.", {"mitral_stenosis": 0}),
        ("Aortic regurgitation is not seen.", {"aortic_regurgitation": 0}),
        ("Aortic stenosis: none. Aortic regurgitation: severe.", {"aortic_stenosis": 0, "aortic_regurgitation": 1}),
        ("二尖瓣未见狭窄及反流。", {"mitral_stenosis": 0, "mitral_regurgitation": 0}),
        ("二尖瓣无狭窄，中度反流。", {"mitral_stenosis": 0, "mitral_regurgitation": 1}),
        ("排除主动脉瓣狭窄。", {"aortic_stenosis": 0}),
        ("左房不大，室壁不厚。", {"la_enlargement": 0, "lv_wall_thickening": 0}),
        ("心包积液（-）。", {"pericardial_effusion": 0}),
    ],
    "grades": [
        ("Mild mitral regurgitation.", {"mitral_regurgitation": 0}),
        ("Mild to moderate mitral regurgitation.", {"mitral_regurgitation": 0}),
        ("Moderate to severe mitral regurgitation.", {"mitral_regurgitation": 1}),
        ("Moderate-to-severe TR.", {"tricuspid_regurgitation": 1}),
        ("Mild-to-moderate AR, tr TR.", {"aortic_regurgitation": 0, "tricuspid_regurgitation": 0}),
        ("二尖瓣反流由重度变为轻度。", {"mitral_regurgitation": 0}),
        (
            "MR 1+, TR 2+, AR 3-4+.",
            {"mitral_regurgitation": 0, "tricuspid_regurgitation": 1, "aortic_regurgitation": 1},
        ),
        ("Aortic regurgitation grade I-II.", {"aortic_regurgitation": 0}),
        ("Mitral regurgitation grade 3/4.", {"mitral_regurgitation": 1}),
        ("No more than mild MR.", {"mitral_regurgitation": 0}),
        ("Mitral regurgitation, at most moderate.", {}),
        ("MR improved from severe to mild.", {"mitral_regurgitation": 0}),
        ("MR mild TR moderate.", {"mitral_regurgitation": 0, "tricuspid_regurgitation": 1}),
        ("Mild aortic and moderate mitral regurgitation.", {"aortic_regurgitation": 0, "mitral_regurgitation": 1}),
        ("Mild aortic stenosis.", {"aortic_stenosis": 1}),
        ("二尖瓣轻-中度反流，三尖瓣中～重度反流。", {"mitral_regurgitation": 0, "tricuspid_regurgitation": 1}),
        ("二尖瓣反流（++），三尖瓣反流（+）。", {"mitral_regurgitation": 1, "tricuspid_regurgitation": 0}),
        ("心包腔内可见少量液性暗区。", {"pericardial_effusion": 0}),
        ("中-大量心包积液。", {"pericardial_effusion": 1}),
        ("二尖瓣反流（Ⅱ～Ⅲ级）。", {"mitral_regurgitation": 1}),
    ],
    "shared places": [
        (
            "二、三尖瓣轻度反流；主动脉瓣中度反流。",
            {"mitral_regurgitation": 0, "tricuspid_regurgitation": 0, "aortic_regurgitation": 1},
        ),
        ("左、右心房增大。", {"la_enlargement": 1, "right_heart_enlargement": 1}),
        ("LA, LV and RA are enlarged.", {"la_enlargement": 1, "lv_enlargement": 1, "right_heart_enlargement": 1}),
        ("Dilated LA and LV.", {"la_enlargement": 1, "lv_enlargement": 1}),
        (
            "Moderate regurgitation of the mitral and tricuspid valves.",
            {"mitral_regurgitation": 1, "tricuspid_regurgitation": 1},
        ),
        (
            "Normal left ventricular size, wall thickness and systolic function.",
            {"lv_enlargement": 0, "lv_wall_thickening": 0, "lv_systolic_reduced": 0},
        ),
        ("RV function reduced, LV function preserved.", {"rv_systolic_reduced": 1, "lv_systolic_reduced": 0}),
        ("右室增大，收缩功能减低。", {"right_heart_enlargement": 1, "rv_systolic_reduced": 1}),
        ("左室收缩及舒张功能均正常。", {"lv_systolic_reduced": 0, "diastolic_dysfunction": 0}),
        ("Dilated, hypokinetic left ventricle.", {"lv_enlargement": 1, "lv_systolic_reduced": 1}),
        ("Mitral valve: thickened leaflets. Moderate regurgitation.", {"mitral_regurgitation": 1}),
    ],
    "chambers": [
        ("All cardiac chambers are enlarged.", CHAMBERS_LARGE),
        ("全心扩大。", CHAMBERS_LARGE),
        ("LA, LV, RA and RV are all dilated.", CHAMBERS_LARGE),
        ("Biatrial enlargement.", {"la_enlargement": 1, "right_heart_enlargement": 1}),
        ("各房室腔大小正常。", CHAMBERS_NORMAL),
        ("左室扩大，余房室腔不大。", {**CHAMBERS_NORMAL, "lv_enlargement": 1}),
        ("右房增大，右室不大。", {"right_heart_enlargement": 1}),
    ],
    "doubt": [
        ("Possible mild mitral stenosis.", {}),
        ("Aortic stenosis cannot be excluded.", {}),
        ("?MS", {}),
        ("Suspicious for pulmonary hypertension.", {}),
        ("Borderline LVH.", {}),
        ("二尖瓣狭窄待排。", {}),
        ("左房增大不除外。", {}),
        ("左室舒张功能可疑减低，收缩功能正常。", {"lv_systolic_reduced": 0}),
        ("The degree of mitral regurgitation could not be assessed.", {}),
        ("Pericardial effusion suspected on CT, not confirmed on echo.", {"pericardial_effusion": 0}),
    ],
    "past and prosthesis": [
        ("History of severe mitral stenosis.", {}),
        ("S/P tricuspid annuloplasty for severe TR.", {}),
        ("主动脉瓣狭窄术后。", {}),
        ("二尖瓣置换术后，未见反流。", {"mitral_regurgitation": 0}),
        ("Mechanical aortic prosthesis, no paravalvular regurgitation.", {"aortic_regurgitation": 0}),
        ("Status post mitral valve replacement. Moderate paravalvular regurgitation.", {"mitral_regurgitation": 1}),
        ("Indication: rule out aortic stenosis.", {}),
        ("Mother with mitral stenosis.", {}),
        ("Outside study: severe MS.", {}),
        ("Previously severe MR, now mild.", {"mitral_regurgitation": 0}),
    ],
    "places elsewhere": [
        ("Large pleural effusion.", {}),
        ("IVC dilated.", {}),
        ("下腔静脉增宽。", {}),
        ("Moderate pulmonary valve stenosis.", {}),
        ("Right ventricular hypertrophy.", {}),
        ("LV normal in size, coronary sinus dilated.", {"lv_enlargement": 0}),
    ],
    "motion": [
        ("Hypokinesis of the inferior wall.", {"regional_wall_motion": 1}),
        ("Global hypokinesis.", {"lv_systolic_reduced": 1}),
        ("左室壁运动普遍减低。", {"lv_systolic_reduced": 1}),
        ("左室下壁运动减低，余室壁运动正常。", {"regional_wall_motion": 1}),
        ("左室壁厚度正常，运动协调。", {"lv_wall_thickening": 0, "regional_wall_motion": 0}),
    ],
}


@pytest.mark.parametrize(
    ("text", "want"), [case for cases in BY_HAND.values() for case in cases], ids=lambda case: str(case)[:60]
)
def test_a_sentence_says_what_a_reader_would_say(text: str, want: dict[str, float]):
    assert same(labels(text), want), labels(text)


def test_the_conclusion_wins_over_the_findings():
    report = "Findings: mild MR, LA dilated. Impression: severe MR, no MS."
    assert labels(report) == {"mitral_regurgitation": 1, "la_enlargement": 1, "mitral_stenosis": 0}
    report = "超声所见：二尖瓣重度反流，左房增大。超声提示：二尖瓣轻度反流。"
    assert labels(report) == {"mitral_regurgitation": 0, "la_enlargement": 1}


def test_a_reason_for_the_examination_is_no_finding():
    assert labels("Indication: severe AS, evaluate for MR.\nAortic valve normal. No MR.") == {"mitral_regurgitation": 0}


def test_reasons_may_stand_below_their_heading():
    report = "INDICATION:\nSevere AS. Evaluate.\n\nFINDINGS:\n- No MR.\n\nIMPRESSION:\n1. Mild MS."
    assert labels(report) == {"mitral_regurgitation": 0, "mitral_stenosis": 1}


def test_one_slip_of_spelling_is_forgiven():
    assert labels("Mild left ventricular diasolic dysfunction.") == {"diastolic_dysfunction": 1}
    assert labels("Severe mitral regurgitaton.") == {"mitral_regurgitation": 1}


def test_the_most_severe_statement_of_a_section_counts():
    assert labels("Mild MR. Severe MR. No MR.") == {"mitral_regurgitation": 1}


@pytest.mark.parametrize(
    ("text", "name", "value", "low", "high"),
    [
        ("LVEF 35-40%.", "lvef", 37.5, 35, 40),
        ("EF is 0.45.", "lvef", 45, 45, 45),
        ("LVEF >55%.", "lvef", 55, 55, 90),
        ("IVS 1.2 cm.", "ivs", 12, 12, 12),
        ("室间隔厚度13mm", "ivs", 13, 13, 13),
        ("左房前后径约5.1cm。", "la_diameter", 51, 51, 51),
        ("A 45 mm ascending aorta.", "aorta_diameter", 45, 45, 45),
        ("Aortic root 38 mm, ascending aorta 46 mm.", "aorta_diameter", 46, 46, 46),
        ("PASP 45 to 50 mm Hg.", "pasp", 47.5, 45, 50),
        ("MVA(2D) 1.3c㎡", "mitral_area", 1.3, 1.3, 1.3),
        ("AV Vmax 430 cm/s.", "aortic_velocity", 4.3, 4.3, 4.3),
        ("三尖瓣轻度反流，Vmax 2.6m/s。", "tricuspid_velocity", 2.6, 2.6, 2.6),
        ("主动脉瓣钙化，峰值流速4.5m/s。", "aortic_velocity", 4.5, 4.5, 4.5),
        ("EF由55%降至40%。", "lvef", 40, 40, 40),
        ("LVEF improved from 30% to 55%.", "lvef", 55, 55, 55),
        ("Septum 1.5 cm, posterior wall 1.4 cm.", "wall_thickness", 15, 15, 15),
    ],
)
def test_a_number_is_read_with_its_unit(text: str, name: str, value: float, low: float, high: float):
    measured = read_report(text, LEXICON).measurements[name]
    assert (measured.value, measured.low, measured.high) == (value, low, high)


@pytest.mark.parametrize(
    "text",
    [
        "LVESD 52 mm.",
        "Pericardial effusion of 12 mm behind the posterior wall.",
        "左室后壁后方液性暗区约18mm。",
        "Mean gradient 50 mmHg.",
        "FS 33%.",
        "EF 250%.",
        "Seen in 2019 with LA clot 20 mm.",
    ],
)
def test_a_number_of_something_else_is_left_alone(text: str):
    assert not read_report(text, LEXICON).measurements


def test_a_number_decides_where_words_do_not():
    assert labels("LVEF 38 %.") == {"lv_systolic_reduced": 1}
    assert labels("PASP 40 mmHg.") == {}, "between normal and raised"
    assert labels("LVEDD 55 mm.") == {}, "normal for men only"
    assert labels("LVEDD 55 mm.", sex="female") == {"lv_enlargement": 1}
    assert labels("LVEDD 55 mm.", sex="male") == {"lv_enlargement": 0}
    assert read_report("LVEF 38 %.", LEXICON).labels["lv_systolic_reduced"].why.startswith("measured: ")


def test_words_against_numbers_are_reported_and_words_count():
    reading = read_report("LV systolic function normal. LVEF 30%.", LEXICON)
    assert reading.labels["lv_systolic_reduced"].value == 0
    (conflict,) = reading.conflicts
    assert "absent" in conflict
    assert "30 %" in conflict


def test_the_words_behind_a_label_are_kept():
    found = read_report("LA normal, moderate mitral stenosis.", LEXICON).labels["mitral_stenosis"]
    assert (found.value, found.phrase, found.why) == (1.0, "moderate mitral stenosis", "stated")
    silent = read_report("LA normal.", LEXICON).labels["mitral_stenosis"]
    assert isnan(silent.value)
    assert (silent.phrase, silent.why) == ("", "not mentioned")


def test_the_preset_of_echonext_has_its_own_limits():
    assert labels("LVEF 47%.", "echonext11") == {"lv_systolic_reduced": 0}
    assert labels("LVEF 47%.", "shd13") == {"lv_systolic_reduced": 1}
    assert labels("Mild aortic stenosis.", "echonext11") == {"aortic_stenosis": 0}
    assert labels("IVS 12 mm.", "echonext11") == {"lv_wall_thickening": 0}
    assert labels("TR Vmax 3.4 m/s.", "echonext11") == {"tricuspid_velocity_high": 1}
    assert len(load_lexicon(preset="echonext11").concepts) == 11


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("LVEF 60%, no MR.", "en"),
        ("左房增大。", "zh"),
        ("LVEF 60%，左房增大，二尖瓣轻度反流", "zh"),
        ("60, 45.", "other"),
        ("", "other"),
    ],
)
def test_the_language_is_told(text: str, language: str):
    assert read_report(text, LEXICON).language == language


WORDS = [
    *(
        "no",
        "mild",
        "severe",
        "moderate to severe",
        "mitral",
        "aortic",
        "LA",
        "LV",
        "stenosis",
        "regurgitation",
        "dilated",
    ),
    *(
        "normal",
        "possible",
        "history of",
        "cannot be excluded",
        "and",
        "with",
        "LVEF",
        "35-40%",
        "12 mm",
        ".",
        ",",
        ":",
        "(",
        ")",
    ),
    *(
        "未见",
        "二尖瓣",
        "轻度",
        "反流",
        "左房",
        "增大",
        "不除外",
        "，",
        "。",
        "、",
        "收缩功能",
        "减低",
        "（",
        "①",
        "\n",
        "~",
        "²",
        "+",
    ),
]
REPORTS = st.one_of(st.text(max_size=200), st.lists(st.sampled_from(WORDS), max_size=25).map(" ".join))


@given(REPORTS)
@settings(max_examples=300, deadline=None)
def test_no_text_is_too_odd(text: str):
    reading = read_report(text, LEXICON)
    assert list(reading.labels) == list(LEXICON.concepts)
    assert all(found.value in (0.0, 1.0) or isnan(found.value) for found in reading.labels.values())
    assert all(found.phrase or isnan(found.value) for found in reading.labels.values())


SENTENCES = [text for cases in BY_HAND.values() for text, _ in cases if not text.startswith("Indication")]


@given(
    st.sampled_from(SENTENCES),
    st.sampled_from(["Sinus rhythm during the study.", "图像质量一般。", "Heart rate 72/min."]),
)
@settings(max_examples=150, deadline=None)
def test_a_sentence_about_something_else_changes_nothing(text: str, other: str):
    assert same(labels(f"{text}\n{other}"), labels(text))


@given(st.sampled_from(SENTENCES))
@settings(max_examples=150, deadline=None)
def test_full_width_signs_are_plain_ones(text: str):
    wide = "".join(chr(ord(sign) + 0xFEE0) if "!" <= sign <= "~" else sign for sign in text)
    assert same(labels(wide), labels(text))


@given(st.sampled_from(SENTENCES), st.sampled_from(SENTENCES))
@settings(max_examples=200, deadline=None)
def test_what_is_stated_stays_stated_whatever_follows(one: str, other: str):
    both, first = labels(f"{one}\n{other}"), read_report(one, LEXICON).labels
    stated = {name for name, found in first.items() if found.value == 1.0 and not found.why.startswith("implied")}
    assert stated <= {name for name, value in both.items() if value}


def test_traditional_characters_are_read_as_simplified():
    assert labels("左心房擴大，二尖瓣中度關閉不全。") == {"la_enlargement": 1, "mitral_regurgitation": 1}
