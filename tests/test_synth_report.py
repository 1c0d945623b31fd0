"""Reports of the simulated echo laboratory."""

import re

import numpy as np
import pytest

from stethos.synth import echo_truth, hospital
from stethos.synth.report import phrases
from stethos.synth.structure import DISEASES
from stethos.synth.world import echo_world, null_echo_world

PATIENTS = 3000
# stated before it was first computed: a reader's errors, silences and slips included
LEAST_AGREEMENT, LEAST_SENSITIVITY, LEAST_PRECISION = 0.88, 0.60, 0.60
NAMES = {
    "lv_systolic_reduced": r"reduced left ventricular|systolic dysfunction|reduced LV|LV dysfunction|LVSF|收缩功能",
    "lv_wall_thickening": r"hypertrophy|thickened left|LVH|增厚|肥厚",
    "regional_wall_motion": r"wall motion|RWMA|kinesis|节段性",
    "la_enlargement": r"left atri|LAE|\bLA\b|左房|左心房",
    "lv_enlargement": r"left ventricular enlargement|dilated left ventricle|LV .*dilat|(左室|左心室).*(增大|扩大)",
    "right_heart_enlargement": r"right (heart|ventric)|RV|右心|右室",
    "global_enlargement": r"four|global cardiac|4-chamber|all chambers|全心",
    "mitral_stenosis": r"mitral stenosis|stenosis of the mitral|\bMS\b|二尖瓣.*狭窄",
    "mitral_regurgitation": r"mitral (valve )?regurg|\bMR\b|二尖瓣.*(反流|返流|关闭)",
    "aortic_stenosis": r"aortic (valve )?stenosis|\bAS\b|主动脉瓣.*狭窄",
    "aortic_regurgitation": r"aortic (regurg|insuff)|\b(AR|AI)\b|主动脉瓣.*(反流|关闭)",
    "tricuspid_regurgitation": r"tricuspid|\bTR\b|三尖瓣.*(反流|关闭)",
    "aortic_dilation": r"ascending aort|asc (Ao|aorta)|升主动脉",
}
SMALL = r"(?i:trace|trivial|mild)|\btr\b|1\+|1-2\+|微量|极少量|轻|少"
CONCLUSION = r"(?:impression|conclusion|summary|imp|dx|提示)[:：]\s*(.*?)(?:\n\n|$)"


@pytest.fixture(scope="module")
def cohort():
    return hospital(PATIENTS, 5, echo_world())


@pytest.fixture(scope="module")
def texts(cohort):
    return [report for report in cohort.column("report") if report is not None]


def named(report):
    """The diseases that a conclusion lists, by plain words."""
    conclusion = re.findall(CONCLUSION, report, re.IGNORECASE | re.DOTALL)[-1]
    found = set()
    for clause in re.split(r"[\n;；,，]", conclusion):
        for disease, words in NAMES.items():
            small = "regurgitation" in disease and re.search(SMALL, clause)
            if not small and re.search(words, clause, re.IGNORECASE):
                found.add(disease)
    if "global_enlargement" in found:
        found |= {"la_enlargement", "lv_enlargement", "right_heart_enlargement"}
    return found


def test_conclusions_agree_with_the_hearts_as_often_as_was_stated(cohort):
    truth = echo_truth(PATIENTS, 5, echo_world())
    rows = [row for row, report in enumerate(cohort.column("report")) if report is not None]
    said = [named(cohort.column("report")[row]) for row in rows]
    agreement = []
    for disease in DISEASES:
        ill, listed = truth[disease][rows] == 1, np.array([disease in one for one in said])
        agreement.append((ill == listed).mean())
        assert agreement[-1] > LEAST_AGREEMENT, disease
        assert listed[ill].mean() > LEAST_SENSITIVITY, disease
        assert ill[listed].mean() > LEAST_PRECISION, disease
        assert agreement[-1] < 0.999, disease
    assert np.mean(agreement) > 0.94


def test_in_the_null_world_reports_are_of_somebody_elses_heart():
    cohort = hospital(PATIENTS, 5, null_echo_world())
    ill = np.array(
        [report is not None and "lv_systolic_reduced" in named(report) for report in cohort.column("report")]
    )
    done = np.array([report is not None for report in cohort.column("report")])
    for known in ("heart_failure", "hypertension", "atrial_fibrillation", "ckd"):
        with_it, without = (ill[done & (cohort.column(known) == flag)] for flag in (1, 0))
        spread = np.sqrt(2 * ill[done].mean() * (1 / len(with_it) + 1 / len(without)))  # visits of one patient
        assert abs(with_it.mean() - without.mean()) < 3 * spread, known


def test_a_report_depends_on_seed_and_visit_only(cohort):
    few = hospital(40, 5, echo_world()).column("report")
    assert few.tolist() == cohort.column("report")[: len(few)].tolist()
    assert hospital(40, 6, echo_world()).column("report").tolist() != few.tolist()


def test_a_record_carries_its_report_as_text_and_not_as_a_fact(cohort):
    for row in range(4):
        record = cohort[row]
        assert record.text == cohort.column("report")[row]
        assert "report" not in record.facts


def test_each_site_has_its_own_languages_and_writers(cohort):
    def share(site, pattern):
        held = [text for text in cohort.column("report")[cohort.column("site") == site] if text is not None]
        return np.mean([re.search(pattern, text) is not None for text in held])

    chinese, headed, telegraphic = r"[\u4e00-\u9fff]", r"(?i)findings:\n", r"(?m)^(IMP|Imp|Dx): "
    assert share("north", chinese) == 0
    assert 0.64 < share("south", chinese) < 0.76
    assert 0.29 < share("harbour", chinese) < 0.41
    assert share("north", headed) > 0.35 > 0.2 > share("harbour", headed) > 0
    assert share("harbour", telegraphic) > 0.38 > 0.2 > share("north", telegraphic) > 0


@pytest.mark.parametrize(
    ("what", "pattern", "least", "most"),
    [
        ("denied", r"\b[Nn]o \w|未见|无", 0.9, 1.0),
        ("hedged", r"[Pp]oss|cannot|[Ss]uspected|[Pp]rob|represent|\?|可能|考虑|可疑|不除外", 0.15, 0.7),
        ("range of severity", r"(?i)mild[- ]to[- ]mod|1-2\+|mild-mod|轻至中|轻-中|少-中", 0.015, 0.1),
        ("range of ejection fraction", r"\d\d-\d\d ?%", 0.15, 0.4),
        ("centimetres", r"\d\.\d+ ?cm\b", 0.10, 0.5),
        ("millimetres", r"\d+ ?mm\b", 0.4, 0.9),
        ("history", r"[Hh]istory|[Kk]nown|hx|h/o|病史|临床诊断", 0.15, 0.5),
        ("to be excluded", r"rule out|r/o|exclude|[Cc]linical question|除外|检查目的", 0.08, 0.3),
        ("prosthesis", r"prosthesis|MVR|AVR|人工", 0.005, 0.06),
        ("relaxation", r"iastolic (dys)?f|relaxation|DD gr|舒张功能|松弛", 0.2, 0.6),
        ("pericardium", r"pericardial|PE\b|心包", 0.3, 0.7),
    ],
)
def test_what_real_reports_hold_occurs(texts, what, pattern, least, most):
    share = np.mean([re.search(pattern, text) is not None for text in texts])
    assert least < share < most, what


def test_numbers_of_the_text_are_those_of_the_table_but_for_a_few_slips(cohort):
    pairs = []
    for text, lvef in zip(cohort.column("report"), cohort.column("lvef"), strict=True):
        said = re.search(r"(?:EF|[Ff]raction|射血分数) (\d\d)%", text or "")
        if said:
            pairs.append((float(said[1]), lvef))
    said, table = np.array(pairs).T
    assert len(said) > 1000
    assert 0.0003 < (said != table).mean() < 0.02


def test_every_phrase_is_there_in_three_languages():
    for language in ("english", "short", "chinese"):
        words = phrases()[language]
        for concept in (*DISEASES, "pulmonary_hypertension", "diastolic_dysfunction", "pericardial_effusion"):
            assert words[concept]["noun"], (language, concept)
            assert words[concept]["absent"], (language, concept)
        assert set(words["frame"]) == set(phrases()["english"]["frame"])


def test_no_report_has_a_gap_left_or_space_at_its_ends(texts):
    for text in texts:
        assert not re.search(r"[{}]|  |None|nan|\(\)", text), text
        assert text == text.strip()
