"""Words of a report as numbers, and phrases that two reports share."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stethos.text.grams import LENGTH, PLACES, grams, hashed, tokens
from stethos.text.overlap import shared_phrases


def test_runs_of_one_to_three_tokens_stay_within_a_clause():
    assert grams("No mitral stenosis; mild MR.") == [
        *("no", "mitral", "stenosis", "no mitral", "mitral stenosis", "no mitral stenosis"),
        *("mild", "mr", "mild mr"),
    ]


def test_a_decimal_point_ends_no_clause_and_a_chinese_character_is_a_token():
    assert tokens("IVS 1.2cm") == ["ivs", "1.2", "cm"]
    assert grams("左室增大。")[:4] == ["左", "室", "增", "大"]
    assert "左 室 增" in grams("左室增大。")


def test_full_width_letters_are_plain_ones():
    assert grams("ＥＦ：３５％") == grams("EF:35%")


def test_equal_runs_have_equal_places_and_0_is_none_of_them():
    table = hashed(["mild MR", "MR", ""])
    assert table.shape == (3, LENGTH)
    assert table[1, 0] in table[0]
    assert not table[2].any()
    assert table[0, :3].min() >= 1
    assert table.max() < PLACES


def test_of_a_long_text_the_end_is_kept():
    long = " ".join(f"w{number}" for number in range(1000))
    assert np.array_equal(hashed([long])[0], hashed(["z " + long])[0])


@given(st.text())
def test_any_text_has_runs_without_repeats(text: str):
    runs = grams(text)
    assert len(runs) == len(set(runs))
    assert (hashed([text])[0] > 0).sum() == min(len(runs), LENGTH)


HABIT = "The left ventricle is of normal size and wall motion is normal in all segments seen"
COPIED = "there is a mobile mass of nine by six millimetres on the ventricular side of the anterior leaflet"


def test_a_planted_phrase_of_a_tested_report_is_found_in_the_training_text():
    train = [HABIT, f"{HABIT}. {COPIED}.", HABIT]
    tested = [HABIT, f"{COPIED}; severe regurgitation"]
    found = shared_phrases(train, tested, np.array(["a", "b", "c"]), np.array(["d", "e"]))
    assert [(item.train, item.tested) for item in found] == [(1, 1)]
    assert found[0].phrase in COPIED


def test_what_many_reports_say_or_one_subject_says_twice_is_no_leak():
    assert shared_phrases([HABIT, HABIT], [HABIT], np.array(["a", "b"]), np.array(["c"])) == []
    assert shared_phrases([COPIED], [COPIED], np.array(["a"]), np.array(["a"])) == []


def test_runs_across_clauses_are_no_phrase_and_chinese_ones_are_twice_as_long():
    one, other = COPIED.replace(" of nine", ", of nine").replace(" on the", "; on the"), COPIED
    assert shared_phrases([one], [other], np.array(["a"]), np.array(["b"])) == []
    words = "主动脉瓣前向血流加速局部可见一活动性团块大小约九乘六毫米附着于瓣叶"
    for length, found in ((23, 0), (24, 1)):
        said = [words[:length]]
        assert len(shared_phrases(said, said, np.array(["a"]), np.array(["b"]))) == found
