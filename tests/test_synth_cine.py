"""Simulated hearts in a magnet: volumes by hand, cycles that close, exact label maps, and how much an ECG tells."""

import tomllib
from importlib.resources import files

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor

from stethos.errors import RecipeError
from stethos.metrics.phenotypes import area_curve, phenotypes
from stethos.synth import cine_world, department, hospital_world, quiet
from stethos.synth.beating import chambers, ejected, examined
from stethos.synth.cine import cine

WORLD = cine_world()
QUIET = quiet(WORLD)
WAVES = (
    *("qrs_rest_ms", "r_amplitude", "s_amplitude", "t_amplitude", "p_width_ms", "st_level", "heart_rate"),
    *("bundle_branch_block", "qt_corrected_ms", "q_amplitude", "p_amplitude"),
)


def entries(name):
    sections = tomllib.loads(files("stethos.synth").joinpath(f"{name}.toml").read_text(encoding="utf-8"))
    return {f"{part}.{entry}": held for part, items in sections.items() for entry, held in items.items()}


def people(count, seed=0, world=WORLD):
    rows = examined(count, seed, world)
    return [{name: column[row] for name, column in rows.items()} for row in range(count)]


def heart(**said):
    """A heart of a healthy adult that lies in the middle of the picture."""
    plain = {"group": "normal", "surface": 1.9, "lv_volume": 150.0, "rv_volume": 152.0, "lv_mass": 99.0}
    plain |= {"ejection": 60.0, "rv_ejection": 58.0, "heart_rate": 60.0, "rhythm": "sinus", "early_filling": 0.7}
    visit = people(1)[0]
    return visit | plain | {name: 0.0 for name in visit if name.startswith("picture_")} | said


def test_every_constant_has_a_unit_and_a_source_and_replaces_none_of_the_hospitals():
    cines = entries("cine")
    assert len(cines) > 40
    assert not set(cines) & set(entries("hospital"))
    for name, entry in cines.items():
        assert set(entry) == {"value", "unit", "source"}, name
        assert len(entry["unit"]) > 0, name
        assert len(entry["source"]) > 8, name


def test_groups_are_as_long_as_their_names_and_their_shares_are_all_there_is():
    held = {name: entry["value"] for name, entry in entries("cine").items() if name.startswith("group.")}
    assert {len(value) for value in held.values()} == {5}
    assert sum(held["group.share"]) == pytest.approx(1)


def test_a_ventricle_is_a_bullet_of_its_volume_and_a_heart_at_rest_is_ninety_millimetres_long():
    sizes = chambers(heart(), 50, WORLD)
    np.testing.assert_allclose(5 / 6 * np.pi * sizes["radius"] ** 2 * sizes["length"] / 1e3, sizes["lv"])
    assert sizes["length"][0] == pytest.approx(90)
    assert sizes["length"].min() == pytest.approx(90 * 0.84)
    assert sizes["radius"][0] == pytest.approx(np.sqrt(150_000 * 6 / (5 * np.pi * 90)))


def test_the_ventricles_lose_their_ejection_fraction():
    sizes = chambers(heart(), 200, WORLD)
    assert (sizes["lv"].max(), sizes["lv"].min()) == pytest.approx((150, 150 * 0.40))
    assert (sizes["rv"].max(), sizes["rv"].min()) == pytest.approx((152, 152 * 0.42))


def test_muscle_keeps_its_volume_over_the_cycle_and_so_grows_thicker():
    for visit in people(20):
        sizes = chambers(visit, 24, WORLD)
        wall = sizes["outer"] - sizes["radius"]
        outside = 5 / 6 * np.pi * sizes["outer"] ** 2 * (sizes["length"] + wall) / 1e3
        np.testing.assert_allclose((outside - sizes["lv"]) * 1.05, visit["lv_mass"], rtol=1e-6)
        assert wall.argmax() == sizes["lv"].argmin()


def test_the_cycle_starts_full_is_emptied_once_and_closes():
    for visit in people(300):
        share = ejected(visit, 400, WORLD)
        assert share[0] == 0
        assert share[-1] < 0.01
        assert (share.min(), share.max()) == pytest.approx((0, 1), abs=1e-6)
        lowest = share.argmax()
        assert (np.diff(share[: lowest + 1]) >= -1e-12).all()
        assert (np.diff(share[lowest:]) <= 1e-12).all()


def test_end_systole_comes_when_the_ejection_time_is_over():
    # 50 ms of delay, then 413 - 1.7 * rate ms at an ejection fraction of 60 %
    for rate, phase in ((60, 0.050 + 0.311), (90, (0.050 + 0.260) * 1.5)):
        share = ejected(heart(heart_rate=float(rate)), 2000, WORLD)
        assert np.flatnonzero(share > 1 - 1e-6)[0] / 2000 == pytest.approx(phase, abs=2e-3)


def test_the_faster_the_heart_the_later_in_its_cycle_it_is_smallest():
    for view in ("sax", "4ch"):
        found = []
        for rate in (48.0, 66.0, 84.0, 105.0):
            labels = cine(heart(heart_rate=rate), 0, QUIET, 96, 32, view)[1]
            found.append(float(phenotypes(labels, (1.0, 1.0))["es_phase"]))
        assert (np.diff(found) > 0.03).all(), (view, found)


def test_in_fibrillation_the_atria_add_nothing_and_the_heart_is_filled_early():
    late = int(200 * (1 - 0.14))  # before the atria would contract
    assert ejected(heart(rhythm="AF"), 200, WORLD)[late] == pytest.approx(0, abs=1e-9)
    assert ejected(heart(), 200, WORLD)[late] == pytest.approx(0.3)


def test_the_areas_of_the_label_maps_are_those_of_the_chambers():
    size, frames = 264, 6
    visit = heart()
    volume, labels = cine(visit, 0, QUIET, size, frames, "sax")
    sizes = chambers(visit, frames, WORLD)
    pixel = volume.spacing[1:]
    np.testing.assert_allclose(pixel, 0.5)
    np.testing.assert_allclose(area_curve(labels, pixel, 1), np.pi * sizes["radius"] ** 2, rtol=0.005)
    ring = np.pi * (sizes["outer"] ** 2 - sizes["radius"] ** 2)
    np.testing.assert_allclose(area_curve(labels, pixel, 2), ring, rtol=0.01)
    crescent = sizes["rv"] * 1e3 / (0.66 * 1.1 * sizes["length"])
    np.testing.assert_allclose(area_curve(labels, pixel, 3), crescent, rtol=0.01)


@pytest.mark.parametrize(("size", "spread"), [(48, 1.5), (144, 0.4)])
def test_the_short_axis_measures_the_true_ejection_fraction(size, spread):
    off = []
    for visit in people(20):
        volume, labels = cine(visit, 0, QUIET, size, 24, "sax")
        off.append(float(phenotypes(labels, volume.spacing[1:])["ef"]) - visit["ejection"])
    assert abs(np.mean(off)) < 0.5
    assert np.std(off) < spread
    assert np.abs(off).max() < 2.5


def test_where_a_label_is_the_picture_has_its_grey():
    for view in ("sax", "4ch"):
        volume, labels = cine(heart(), 0, QUIET, 192, 4, view)
        grey = volume.values[:, 0]
        assert np.median(grey[labels == 1]) == pytest.approx(0.84, abs=0.02)
        assert np.median(grey[labels == 2]) == pytest.approx(0.27, abs=0.03)
        assert np.median(grey[labels == 3]) == pytest.approx(0.82, abs=0.02)


def test_an_average_heart_moves_within_the_picture_atria_and_all():
    for view in ("sax", "4ch"):
        volume, labels = cine(heart(), 0, QUIET, 64, 12, view)
        moves = volume.values[:, 0].std(axis=0)
        rim = np.ones((64, 64), bool)
        rim[1:-1, 1:-1] = False
        assert moves.max() > 0.2
        assert moves[rim].max() < 0.05
        assert not labels[:, rim].any()


def test_in_four_chambers_the_atria_fill_while_the_ventricles_empty():
    volume, labels = cine(heart(), 0, QUIET, 136, 12, "4ch")  # 1.25 mm a pixel
    bright = (volume.values[:, 0] > 0.7) & (labels == 0)
    grown = (int(bright[4].sum()) - int(bright[0].sum())) * 1.25**2
    assert grown == pytest.approx(2 * np.pi * (21 * 20 - 17 * 16), rel=0.2)  # mm2, two ellipses


def test_the_left_ventricle_never_leaves_the_picture_and_the_right_one_in_one_of_ten_at_most():
    for view in ("sax", "4ch"):
        touched = []
        for visit in people(60, 2):
            labels = cine(visit, 0, QUIET, 48, 4, view)[1]
            rim = np.concatenate([labels[:, 0], labels[:, -1], labels[:, :, 0], labels[:, :, -1]], axis=1)
            touched.append([(rim == label).any() for label in (1, 3)])
        left, right = np.mean(touched, axis=0)
        assert left == 0, view
        assert right <= 0.1, view


@pytest.mark.parametrize("view", ["sax", "4ch"])
def test_every_heart_can_be_drawn_and_lasts_one_interval_from_r_to_r(view):
    cohort = department(12, 4, WORLD, 32, 10, view)
    for row, record in enumerate(cohort):
        assert record.origin == "synthetic"
        assert record.volume.values.shape == (10, 1, 32, 32)
        assert np.isfinite(record.volume.values).all()
        assert record.volume.values.min() >= 0
        assert record.volume.interval * 10 == pytest.approx(60 / cohort.column("heart_rate")[row])
        assert set(np.unique(cohort.open.pictures(row)[1])) == {0, 1, 2, 3}
        assert record.pick("V6").channels == ("V6",)


def test_a_view_that_is_none_is_refused():
    with pytest.raises(RecipeError, match="a view sax or 4ch; got '3ch'"):
        cine(heart(), 0, WORLD, view="3ch")


def test_the_first_patients_are_the_same_however_many_follow():
    few, many = department(5, 7, size=24, frames=4), department(40, 7, size=24, frames=4)
    for name in few.rows:
        np.testing.assert_array_equal(few.column(name), many.column(name)[:5], err_msg=name)
    for row in (0, 4):
        np.testing.assert_array_equal(few[row].volume.values, many[row].volume.values)
        np.testing.assert_array_equal(few[row].pick("II").values, many[row].pick("II").values)
        np.testing.assert_array_equal(few.open.pictures(row)[1], many.open.pictures(row)[1])


def test_the_table_tells_the_truth_of_the_hearts():
    cohort = department(30, 1)
    rows = examined(30, 1, WORLD)
    np.testing.assert_array_equal(cohort.column("ef"), rows["ejection"])
    np.testing.assert_array_equal(cohort.column("af") == 1, rows["rhythm"] == "AF")
    assert cohort.origin == "synthetic"
    sizes = chambers({name: column[3] for name, column in rows.items()}, 200, WORLD)
    assert cohort.column("wall_thickness")[3] == pytest.approx(sizes["outer"][0] - sizes["radius"][0])
    assert cohort.column("es_phase")[3] == sizes["lv"].argmin() / 200


def test_a_regression_on_the_waves_tells_as_much_of_the_ejection_fraction_as_was_stated():
    low, high = entries("cine")["oracle.ef"]["value"]
    rows = examined(12_000, 5, WORLD)
    x = np.stack([*(rows[name] for name in WAVES), rows["rhythm"] == "AF"], axis=1).astype(float)
    y = rows["ejection"]
    model = HistGradientBoostingRegressor(max_iter=150, learning_rate=0.05, random_state=0).fit(x[:9000], y[:9000])
    assert low < np.corrcoef(model.predict(x[9000:]), y[9000:])[0, 1] < high


def test_the_more_the_ecg_shows_the_more_its_waves_tell():
    def told(observability):
        rows = examined(4000, 6, cine_world(observability))
        return np.abs(np.corrcoef(rows["qrs_ms"], rows["ejection"])[0, 1])

    assert told(0.0) < 0.05 < told(0.3) < told(0.6) < told(1.0)


@pytest.mark.parametrize("seed", [0, 1])
def test_where_the_ecg_shows_nothing_neither_waves_nor_rate_nor_rhythm_go_with_the_ejection_fraction(seed):
    rows = examined(6000, seed, cine_world(0.0))
    columns = [rows[name] for name in WAVES] + [rows["rhythm"] == "AF"]
    z = [np.corrcoef(column.astype(float), rows["ejection"])[0, 1] * np.sqrt(6000) for column in columns]
    assert np.abs(z).max() < 3.1  # 12 looks


def test_the_hearts_are_the_same_whatever_the_ecg_shows_of_them():
    none, all_ = examined(500, 3, cine_world(0.0)), examined(500, 3, cine_world(1.0))
    for name in ("ejection", "lv_volume", "lv_mass", "rv_volume", "early_filling", "group", "picture_turn"):
        np.testing.assert_array_equal(none[name], all_[name], err_msg=name)
    assert not np.array_equal(none["qrs_ms"], all_["qrs_ms"])


@pytest.mark.parametrize("observability", [-0.1, 1.5, float("nan")])
def test_an_observability_that_is_no_correlation_is_refused(observability):
    with pytest.raises(RecipeError, match=f"between 0 .none. and 1 .all.; got {observability:g}"):
        cine_world(observability)


def test_a_department_is_a_hospital_with_cines():
    assert WORLD.cine
    assert not hospital_world().cine
    for name, value in hospital_world().constants.items():
        assert WORLD[name] == value, name
