"""The simulated hospital as a cohort."""

import pickle

import numpy as np

from stethos.synth import hospital, truth, visits
from stethos.synth.patient import knock_out_world, null_world

COHORT = hospital(300, seed=2)


def test_it_is_a_cohort_that_says_it_is_synthetic():
    assert COHORT.origin == "synthetic"
    assert COHORT.terms == "simulated; free to use"
    assert set(COHORT.column("sex")) == {"F", "M"}
    assert set(COHORT.column("site")) == {"north", "south", "harbour"}
    assert COHORT.column("when").dtype == np.dtype("datetime64[s]")
    for name in ("age", "heart_rate", "potassium", "ckd", "paced", "haemolysed", "raas_inhibitor", "lvef"):
        assert COHORT.column(name).dtype == np.float64, name
    assert np.isnan(COHORT.column("lvef")).any()
    earlier, later, _ = COHORT.split_by_time("2021-01-01")
    assert min(len(earlier), len(later)) > 100


def test_a_record_says_what_the_table_says():
    for index in (0, 5, len(COHORT) - 1):
        record = COHORT[index]
        assert record.id == COHORT.column("id")[index]
        assert np.datetime64(record.when) == COHORT.column("when")[index]
        assert record.origin == "synthetic"
        assert record.pick("I").duration == 10.0
        for name, value in record.facts.items():
            known = COHORT.column(name)[index]
            assert value == known or (value is None and np.isnan(known)), name


def test_a_part_of_the_cohort_opens_the_same_records_and_can_be_sent_away():
    part = COHORT.take(np.arange(40, 60))
    sent = pickle.loads(pickle.dumps(part.open))
    for row in (0, 19):
        whole = COHORT[40 + row].pick("I").values
        np.testing.assert_array_equal(part[row].pick("I").values, whole)
        np.testing.assert_array_equal(sent(40 + row).pick("I").values, whole)


def test_the_latent_heart_is_not_in_the_table():
    latent = set(visits(3, 0)) - set(visits(3, 0)).intersection(COHORT.rows)
    assert {"t_amplitude", "qrs_ms", "pr_ms", "potassium_laboratory", "reversed_leads", "rhythm"} <= latent
    assert not np.array_equal(COHORT.column("potassium"), truth(300, 2)["potassium"])


def test_truth_stands_in_the_order_of_the_table():
    np.testing.assert_array_equal(truth(300, 2)["id"], COHORT.column("id"))
    near = np.abs(truth(300, 2)["potassium"] - COHORT.column("potassium"))
    assert np.nanmedian(near) < 0.2


def test_worlds_share_patients_and_differ_in_what_potassium_does():
    still, moved = truth(300, 2, null_world()), truth(300, 2, knock_out_world("QRS"))
    np.testing.assert_array_equal(still["potassium"], moved["potassium"])
    np.testing.assert_array_equal(still["t_amplitude"], moved["t_amplitude"])
    assert (moved["qrs_ms"] >= still["qrs_ms"]).all()
    assert (moved["qrs_ms"] > still["qrs_ms"]).any()
