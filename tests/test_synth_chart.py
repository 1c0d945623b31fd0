"""The record that the simulated clinic keeps."""

import numpy as np
import polars as pl

from stethos.synth import visits
from stethos.synth.chart import CREATININE, HEART_RATE, POTASSIUM, events

ROWS = visits(800, 0)
EVENTS = events(ROWS, 0)


def test_events_have_the_columns_and_types_of_meds():
    assert EVENTS.schema == {
        "subject_id": pl.Int64,
        "time": pl.Datetime("us"),
        "code": pl.String,
        "numeric_value": pl.Float32,
        "text_value": pl.String,
    }
    assert EVENTS["code"].null_count() == 0
    assert EVENTS.equals(events(ROWS, 0))
    timed = EVENTS.drop_nulls("time")
    assert timed.equals(timed.sort("subject_id", "time", maintain_order=True))


def test_each_person_is_born_once_before_everything_else_and_has_one_sex():
    assert EVENTS.filter(pl.col("code") == "MEDS_BIRTH").height == 800
    assert EVENTS.filter(pl.col("code").str.starts_with("GENDER//")).height == 800
    firsts = EVENTS.drop_nulls("time").group_by("subject_id").agg(pl.col("code").first())
    assert set(firsts["code"]) == {"MEDS_BIRTH"}


def test_potassium_in_the_chart_is_the_laboratorys_at_its_own_time():
    charted = EVENTS.filter(pl.col("code") == POTASSIUM).sort("subject_id", "time")
    there = ~np.isnan(ROWS["potassium_laboratory"])
    drawn = ROWS["when"] + (60 * ROWS["potassium_minutes"]).astype("timedelta64[s]")
    order = np.lexsort((drawn[there], ROWS["subject"][there].astype(int)))
    np.testing.assert_allclose(charted["numeric_value"], ROWS["potassium_laboratory"][there][order], atol=1e-5)
    np.testing.assert_array_equal(charted["time"].to_numpy().astype("datetime64[s]"), drawn[there][order])
    flagged = charted.filter(pl.col("text_value") == "haemolysed").height
    assert flagged == int(ROWS["haemolysed"][there].sum()) > 0


def test_codes_agree_with_the_patients_diseases():
    coded = set(EVENTS.filter(pl.col("code").str.contains("ICD//10//N18"))["subject_id"])
    assert coded == set(ROWS["subject"][ROWS["ckd"] == 1].astype(int))
    dialysed = set(EVENTS.filter(pl.col("code") == "DIAGNOSIS//ICD//10//Z992")["subject_id"])
    assert dialysed == set(ROWS["subject"][ROWS["dialysis"] == 1].astype(int))
    given = EVENTS.filter(pl.col("code") == "MEDICATION//ATC//C03DA01").height
    assert given == int(ROWS["mra"].sum())


def test_creatinine_gives_the_filtration_back():
    first = EVENTS.filter(pl.col("code") == CREATININE).sort("subject_id", "time")
    milligrams = first["numeric_value"].to_numpy() / 88.42
    female, age = ROWS["sex"] == "F", ROWS["age"]
    scale, power = np.where(female, 0.7, 0.9), np.where(female, -0.241, -0.302)
    drawn = ROWS["when"] + (60 * ROWS["potassium_minutes"]).astype("timedelta64[s]")
    order = np.lexsort((drawn, ROWS["subject"].astype(int)))
    low = np.minimum(milligrams / scale[order], 1) ** power[order]
    high = np.maximum(milligrams / scale[order], 1) ** -1.2
    filtration = 142 * low * high * 0.9938 ** age[order] * np.where(female[order], 1.012, 1)
    np.testing.assert_allclose(filtration, ROWS["filtration"][order], rtol=0.05)


def test_the_charted_heart_rate_is_near_the_recordings():
    charted = EVENTS.filter(pl.col("code") == HEART_RATE).sort("subject_id", "time")["numeric_value"].to_numpy()
    order = np.lexsort((ROWS["when"], ROWS["subject"].astype(int)))
    assert 2 < np.std(charted - ROWS["heart_rate"][order]) < 4
