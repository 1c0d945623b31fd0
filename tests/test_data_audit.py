import numpy as np

from stethos.data.audit import audit_pairs, measured_heart_rate
from stethos.types import Cohort, Record, Signal

RATE = 250.0


def ecg(bpm: float) -> Signal:
    """QRS complexes 60 / bpm apart, 40 ms wide, and a small T wave after each."""
    time = np.arange(round(10 * RATE)) / RATE
    phase = (time + 0.3) % (60 / bpm)
    beat = np.exp(-(((phase - 0.2) / 0.015) ** 2)) + 0.15 * np.exp(-(((phase - 0.45) / 0.05) ** 2))
    return Signal(beat[None], RATE, ("I",), "mV")


def cohort_of(beats: list[float], **columns: list) -> Cohort:
    ids = np.array([f"r{row}" for row in range(len(beats))])
    rows = {name: np.array(column, object) for name, column in columns.items()}
    for name, column in rows.items():
        if name == "when":
            rows[name] = column.astype("datetime64[s]")
        elif all(isinstance(item, float) for item in column):
            rows[name] = column.astype(np.float64)
    rows.setdefault("subject", ids)
    signals = [ecg(bpm) if bpm else Signal(np.zeros((1, 2500)), RATE, ("I",), "mV") for bpm in beats]
    return Cohort({"id": ids, **rows}, lambda row: Record(str(rows["subject"][row]), str(ids[row]), (signals[row],)))


DAY = ["2020-01-01T08:00", "2020-01-01T15:00"]


def test_the_heart_rate_is_measured_from_the_beats():
    record = cohort_of([75.0])[0]
    assert abs(measured_heart_rate(record) - 75) < 1


def test_two_records_of_a_day_that_fit_each_other_are_a_suspected_swap():
    cohort = cohort_of([60.0, 110.0], heart_rate=[112.0, 61.0], when=DAY, site=["north", "north"])
    found = audit_pairs(cohort)
    assert [(finding.kind, finding.ids) for finding in found.findings] == [("swap", ("r0", "r1"))]
    assert "measured 60 and 110, charted 112 and 61" in found.findings[0].says
    assert found.checked["heart rate"] == 2


def test_records_of_other_sites_or_days_are_no_swap():
    elsewhere = cohort_of([60.0, 110.0], heart_rate=[112.0, 61.0], when=DAY, site=["north", "south"])
    later = cohort_of([60.0, 110.0], heart_rate=[112.0, 61.0], when=["2020-01-01", "2020-01-02"], site=["n", "n"])
    undated = cohort_of([60.0, 110.0], heart_rate=[112.0, 61.0])
    unknown = cohort_of([60.0, 110.0], heart_rate=[112.0, 61.0], when=["NaT", "NaT"])
    for cohort in (elsewhere, later, undated, unknown):
        assert [finding.kind for finding in audit_pairs(cohort).findings] == ["heart rate", "heart rate"]


def test_heart_rates_within_the_tolerance_are_not_suspicious():
    found = audit_pairs(cohort_of([60.0, 110.0], heart_rate=[70.0, 100.0], when=DAY))
    assert found.findings == ()
    assert found.lines()[-1] == "nothing suspicious found"
    assert len(audit_pairs(cohort_of([60.0], heart_rate=[70.0]), tolerance=5).findings) == 1


def test_a_record_without_beats_is_counted_and_not_compared():
    found = audit_pairs(cohort_of([0, 60.0], heart_rate=[70.0, 60.0], when=DAY))
    assert [name for name, _ in found.unmeasured] == ["r0"]
    assert found.checked["heart rate"] == 1
    assert "heart rate cannot be measured in 1 records" in found.lines()


def test_potassium_in_mg_per_dl_is_recognised():
    found = audit_pairs(cohort_of([60.0] * 3, potassium=[4.1, 15.6, 17.6])).findings
    assert [(finding.kind, finding.ids) for finding in found] == [("unit", ("r1", "r2"))]
    assert "potassium reads like mg/dL, not mmol/L: 15.6 to 17.6" in found[0].says


def test_a_value_that_fits_no_unit_is_implausible():
    found = audit_pairs(cohort_of([60.0, 60.0], age=[300.0, 50.0])).findings
    assert [(finding.kind, finding.ids) for finding in found] == [("value", ("r0",))]
    assert "age is not between 0 and 120 years: 300" in found[0].says


def test_the_sex_of_a_subject_does_not_change():
    found = audit_pairs(cohort_of([60.0] * 3, subject=["a", "a", "b"], sex=["F", "M", "M"])).findings
    assert [(finding.kind, finding.ids) for finding in found] == [("sex", ("r0", "r1"))]


def test_an_unknown_sex_is_no_change():
    assert audit_pairs(cohort_of([60.0] * 2, subject=["a", "a"], sex=["F", None])).findings == ()


def test_ages_keep_step_with_the_dates():
    dates = ["2010-06-01", "2020-06-01"]
    fits = cohort_of([60.0] * 2, subject=["a", "a"], age=[40.0, 51.0], when=dates)
    stays = cohort_of([60.0] * 2, subject=["a", "a"], age=[40.0, 40.0], when=dates)
    assert audit_pairs(fits).findings == ()
    found = audit_pairs(stays).findings
    assert [finding.kind for finding in found] == ["age"]
    assert "births 10.0 years apart" in found[0].says


def test_a_clock_that_is_an_hour_off_shows_at_its_site():
    minutes = [60.0, 61.0, 59.5, 60.0, 62.0, 58.0, 60.0, 60.0, 61.0, 60.0] + [5.0, 33.0, 12.0, 48.0, 60.0] * 2
    site = ["south"] * 10 + ["north"] * 10
    found = audit_pairs(cohort_of([60.0] * 20, potassium_minutes=minutes, site=site)).findings
    assert [(finding.kind, len(finding.ids)) for finding in found] == [("clock", 10)]
    assert "at south lies whole hours away (+1 h)" in found[0].says


def test_values_taken_at_the_recording_itself_are_no_clock_error():
    minutes = [0.0, 1.0, -1.0, 2.0, 0.0, 0.0, 1.0, -2.0, 0.0, 1.0]
    assert audit_pairs(cohort_of([60.0] * 10, potassium_minutes=minutes)).findings == ()


def test_what_cannot_be_checked_is_not_listed_as_checked():
    found = audit_pairs(cohort_of([60.0], sex=["F"]))
    assert found.checked == {}
    assert np.isnan(found.measured).all()
