"""The latent hospital: what follows from what, and how well an ideal reader could do."""

import tomllib
from importlib.resources import files

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from stethos.errors import RecipeError
from stethos.synth.patient import hospital_world, knock_out_world, null_world, visits

PATIENTS = 12_000
WAVES = ["t_amplitude", "t_width_ms", "qrs_ms", "pr_ms", "p_amplitude"]
VITALS = ["age", "female", "charted_heart_rate"]
CLINIC = ["ckd", "dialysis", "heart_failure", "diabetes", "raas_inhibitor", "mra", "beta_blocker", "loop_diuretic"]


def clinic(world):
    """Visits with a potassium that may be used, and whether it is above 5.5."""
    rows = visits(PATIENTS, 0, world)
    rows["female"] = (rows["sex"] == "F").astype(float)
    usable = ~np.isnan(rows["potassium_laboratory"]) & (rows["haemolysed"] == 0)
    rows = {name: column[usable] for name, column in rows.items()}
    return rows, rows["potassium_laboratory"] > 5.5


def auroc(rows, high, names):
    """AUROC, trained on half of the inland patients, of the other half and of the harbour; and their z from chance."""
    x = np.stack([rows[name] for name in names], axis=1)
    x = np.where(np.isnan(x), np.nanmean(x, axis=0), x)
    inland, even = rows["site"] != "harbour", rows["patient"] % 2 == 0
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(
        x[inland & even], high[inland & even]
    )
    score = model.decision_function(x)
    inside, outside = inland & ~even, ~inland
    values = [roc_auc_score(high[part], score[part]) for part in (inside, outside)]
    # spread of the Mann-Whitney statistic under chance, a fifth wider for visits of one patient
    spread = [
        1.2 * np.sqrt((part.sum() + 1) / (12 * high[part].sum() * (~high[part]).sum())) for part in (inside, outside)
    ]
    return *values, [(value - 0.5) / width for value, width in zip(values, spread, strict=True)]


@pytest.fixture(scope="module")
def hospital():
    return clinic(hospital_world())


@pytest.fixture(scope="module")
def nothing():
    return clinic(null_world())


def test_every_constant_has_a_unit_and_a_source():
    sections = tomllib.loads(files("stethos.synth").joinpath("hospital.toml").read_text(encoding="utf-8"))
    entries = [(f"{part}.{name}", entry) for part, held in sections.items() for name, entry in held.items()]
    assert len(entries) > 90
    for name, entry in entries:
        assert set(entry) == {"value", "unit", "source"}, name
        assert len(entry["source"]) > 8, name


def test_high_potassium_is_enriched_inland_and_rare_at_the_harbour(hospital):
    rows, high = hospital
    inland = rows["site"] != "harbour"
    assert 0.04 < high[inland].mean() < 0.06
    assert 0.010 < high[~inland].mean() < 0.022


def test_a_person_has_one_to_six_visits_within_eight_years_and_grows_older():
    rows = visits(3000, 0)
    counts = np.bincount(rows["patient"])
    assert counts.min() == 1
    assert counts.max() == 6
    assert 1.7 < counts.mean() < 1.95  # 1.81 in the published cohort
    years = rows["when"].astype("datetime64[Y]").astype(int) + 1970
    assert set(years) == set(range(2016, 2024))
    later = np.diff(rows["patient"]) == 0
    assert (np.diff(rows["when"])[later] >= np.timedelta64(0, "s")).all()
    assert (np.diff(rows["age"])[later] >= 0).all()
    assert rows["age"].min() >= 18


def test_missing_values_are_as_often_as_stated():
    rows = visits(6000, 0)
    assert 0.43 < rows["echo_missing"].mean() < 0.47
    assert 0.07 < rows["size_missing"].mean() < 0.09
    assert 0.014 < np.isnan(rows["potassium_laboratory"]).mean() < 0.026
    assert 0.02 < rows["haemolysed"].mean() < 0.045


def test_the_first_patients_are_the_same_however_many_follow():
    few, many = visits(50, 7), visits(400, 7)
    for name, column in few.items():
        np.testing.assert_array_equal(column, many[name][: len(column)], err_msg=name)
    assert not np.array_equal(visits(50, 8)["age"][:50], few["age"][:50])


def test_kidneys_and_drugs_raise_potassium(hospital):
    rows, _ = hospital
    potassium = rows["potassium"]
    assert potassium[rows["dialysis"] == 1].mean() > potassium[rows["ckd"] == 1].mean() > 4.5
    assert potassium[rows["ckd"] == 0].mean() < 4.35
    failing = (rows["heart_failure"] == 1) & (rows["ckd"] == 0)
    gain = potassium[failing & (rows["mra"] == 1)].mean() - potassium[failing & (rows["mra"] == 0)].mean()
    assert 0.15 < gain < 0.40  # 0.26 in RALES


def test_an_ideal_reader_finds_high_potassium_inside_better_than_outside(hospital):
    inside, outside, _ = auroc(*hospital, WAVES + VITALS + CLINIC)
    assert 0.88 < inside < 0.95
    assert 0.75 < outside < inside - 0.02


def test_age_sex_and_heart_rate_say_a_little(hospital):
    inside, _, _ = auroc(*hospital, VITALS)
    assert 0.55 < inside < 0.70


def test_some_hearts_show_nothing_at_six_and_a_half():
    still, moved = visits(PATIENTS, 0, null_world()), visits(PATIENTS, 0, knock_out_world("T", "QRS", "P"))
    severe = still["potassium"] > 6.5
    silent = still["t_amplitude"][severe] == moved["t_amplitude"][severe]
    assert 0.10 < silent.mean() < 0.22


@pytest.mark.parametrize("names", [WAVES + VITALS + CLINIC, WAVES, VITALS], ids=["all", "waves", "vitals"])
def test_in_the_null_world_nobody_does_better_than_chance(nothing, names):
    *_, z = auroc(*nothing, names)
    assert np.abs(z).max() < 2.6


def test_in_the_null_world_potassium_is_as_often_high(nothing):
    rows, high = nothing
    assert 0.035 < high[rows["site"] != "harbour"].mean() < 0.065


@pytest.mark.parametrize(
    ("wave", "moved"),
    [("T", {"t_amplitude", "t_width_ms"}), ("QRS", {"qrs_ms"}), ("P", {"pr_ms", "p_amplitude"})],
)
def test_in_a_knock_out_world_potassium_shows_in_that_wave_only(wave, moved):
    rows, _ = clinic(knock_out_world(wave))
    seen = {*WAVES, *VITALS, *CLINIC, "r_amplitude", "s_amplitude", "st_level", "filtration", "lvef", "wall_thickness"}
    for name in seen:
        known = ~np.isnan(rows[name])
        correlation = spearmanr(rows["potassium"][known], rows[name][known]).statistic
        if name in moved:
            assert abs(correlation) > 0.04, name
        else:
            assert abs(correlation) < 0.03, name


def test_a_wave_that_is_none_is_refused():
    with pytest.raises(RecipeError, match="got U; for a world without any effect use null_world"):
        knock_out_world("T", "U")
