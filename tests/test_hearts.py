"""Hearts prepared, judged and counted: what is refused and why, true shapes, and scores whose truth is known."""

import math
import re

import numpy as np
import pytest
from scipy.stats import norm

from stethos.data.cohort import open_cohort
from stethos.data.imaging import write_department
from stethos.errors import CohortError
from stethos.io.nifti import write_labels, write_nifti
from stethos.io.wfdb import write_wfdb
from stethos.metrics.phenotypes import phenotypes
from stethos.study.heart_judge import (
    chosen_guidance,
    draws_judged,
    heart_table,
    joined,
    judged,
    nearest_patients,
    regressed,
    true_fractions,
)
from stethos.study.heart_numbers import (
    PHENOTYPES,
    HeartTable,
    _calibration,
    _likeness,
    arms,
    crps,
    interval_ends,
    numbers_of,
    shuffled,
)
from stethos.study.hearts import HeartShape, begin_hearts, framed, framed_labels, labelled, parts_of
from stethos.study.partition import Partition
from stethos.synth import cine_world, department
from stethos.types import Cohort, Record, Run, Signal, Volume

SHAPE = HeartShape(rate=100.0, seconds=10.0, frames=8, size=24, side=0.0)
FORM = (24, 8, "sax")


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("department")
    write_department(folder, 8, 3, cine_world(), FORM)
    return folder


@pytest.fixture(scope="module")
def hearts(written, tmp_path_factory):
    return begin_hearts(open_cohort(written), Run(tmp_path_factory.mktemp("run")), SHAPE, 1)


def test_a_written_department_is_opened_and_prepared_whole(hearts):
    rows = np.arange(8)
    assert hearts.has("pair").tolist() == hearts.has("ecg").tolist() == hearts.has("cine").tolist() == rows.tolist()
    leads, phase = hearts.ecgs(rows)
    assert leads.shape == (8, 12, 1000)
    assert phase.shape == (8, 1000)
    assert hearts.cines(rows).shape == (8, 8, 24, 24)
    assert hearts.cohort.origin == "synthetic"
    np.testing.assert_allclose(hearts.pixel(rows), 132 / 24, rtol=1e-6)


def test_what_was_written_is_what_the_department_shows(hearts, written):
    shown = department(8, 3, cine_world(), *FORM)
    for row in (5, 0):
        want = shown[row].volume.values[:, 0]
        np.testing.assert_allclose(hearts.cines(np.array([row]))[0], want / np.percentile(want, 99), atol=1e-5)
    assert write_department(written, 8, 3, cine_world(), FORM) == written / "cohort.csv"
    with pytest.raises(CohortError):
        write_department(written, 8, 4, cine_world(), FORM)


def test_the_prepared_rate_and_phase_are_those_of_the_heart(hearts):
    rows = np.flatnonzero(hearts.numbers("af", np.arange(8)) == 0)
    rate, irregular = hearts.rates(rows).T
    np.testing.assert_allclose(rate, hearts.numbers("heart_rate", rows), rtol=0.12)
    assert (irregular < 0.2).all()
    _, phase = hearts.ecgs(rows)
    for course, beats in zip(phase, rate, strict=True):
        known = course[np.isfinite(course)]
        assert known.min() >= 0
        assert known.max() < 2 * np.pi + 1e-6
        wraps = (np.diff(known) < -np.pi).sum() + 1
        assert wraps == pytest.approx(beats * len(known) / 6000, abs=1.5)


def test_phase_is_nought_where_lead_two_is_steepest(hearts):
    leads, phase = hearts.ecgs(np.array([1]))
    steep = np.abs(np.gradient(leads[0, 1]))
    near = phase[0] < 0.35
    near |= phase[0] > 2 * np.pi - 0.35
    assert np.nanmax(steep[near]) > 2 * np.quantile(steep[np.isfinite(phase[0]) & ~near], 0.98)


def test_label_maps_stand_on_their_cines(hearts):
    rows, maps = labelled(hearts, np.array([6, 2, 4]), 2)
    assert rows.tolist() == [6, 2]
    opener = department(8, 3, cine_world(), *FORM).open
    for row, found in zip(rows, maps, strict=True):
        np.testing.assert_array_equal(found, opener.pictures(row)[1])


def test_a_column_that_is_absent_is_unknown(hearts):
    assert np.isnan(hearts.numbers("nowhere", np.arange(3))).all()
    assert np.isnan(hearts.numbers("group", np.arange(3))).all()


class Ward:
    """Sound records by default, and some with something wrong."""

    def __init__(self, count, wrong):
        self.clinic = department(count, 5, cine_world(), *FORM)
        self.wrong = wrong

    def __call__(self, row):
        record = self.clinic[row]
        signals, volume = self.wrong(row, record.signals[0], record.volume)
        return Record(record.subject, record.id, signals, volume=volume, facts=record.facts, origin="synthetic")


def ward(count, wrong):
    opener = Ward(count, wrong)
    return Cohort(opener.clinic.rows, opener, "synthetic")


def ill(row, ecg, volume):
    """What is wrong with record `row`."""
    values = np.array(ecg.values)
    if row == 1:
        values = 0.02 * rng(1).normal(size=values.shape)
    if row == 2:
        values = values[:, : round(4 * ecg.rate)]
    if row == 3:
        return (ecg.pick("I", "II"),), volume
    if row == 4:
        values[7, 100] = np.nan
    if row == 5:
        volume = Volume(volume.values[:1], volume.spacing, volume.interval)
    if row == 6:
        volume = Volume(0 * volume.values, volume.spacing, volume.interval)
    if row == 7:
        volume = None
    return (Signal(values, ecg.rate, ecg.channels, ecg.unit),), volume


@pytest.fixture(scope="module")
def refused(tmp_path_factory):
    return begin_hearts(ward(9, ill), Run(tmp_path_factory.mktemp("ill")), SHAPE, 1)


@pytest.mark.parametrize(
    ("store", "row", "reason"),
    [
        ("ecg", 1, "needs two R peaks"),
        ("ecg", 2, "needs 10 s of ECG; .* has 4.0 s"),
        ("ecg", 3, "needs channel .*V6.*; it has I, II"),
        ("ecg", 4, "samples that are no numbers"),
        ("cine", 5, "at least two frames; this one has 1"),
        ("cine", 6, "its cine is black"),
        ("cine", 7, "no cine; give a column cine"),
    ],
)
def test_each_record_that_is_refused_says_why(refused, store, row, reason):
    reasons = dict(getattr(refused, store).refused)
    record = str(refused.cohort.rows["id"][row])
    assert re.search(reason, reasons[record]), reasons[record]
    assert record in reasons[record]


def test_what_is_wrong_with_one_of_the_two_does_not_cost_the_other(refused):
    assert refused.has("ecg").tolist() == [0, 5, 6, 7, 8]
    assert refused.has("cine").tolist() == [0, 1, 2, 3, 4, 8]
    assert refused.has("pair").tolist() == [0, 8]
    assert len(refused.ecg.refused) + len(refused.has("ecg")) == 9
    ecg, _ = refused.ecgs(np.array([8, 0]))
    np.testing.assert_array_equal(ecg[1], refused.ecgs(np.array([0]))[0][0])


def test_a_cohort_without_any_heart_is_refused_with_its_reasons(tmp_path):
    nothing = ward(2, lambda row, ecg, volume: ((ecg.pick("I"),), None))
    with pytest.raises(CohortError, match=r"a twelve-lead ECG or a cine; none of 2 has one: .*no cine"):
        begin_hearts(nothing, Run(tmp_path), SHAPE, 1)


def unpaired(row, ecg, volume):
    return ((ecg,), None) if row % 2 else ((), volume)


@pytest.fixture(scope="module")
def strangers(tmp_path_factory):
    return begin_hearts(ward(24, unpaired), Run(tmp_path_factory.mktemp("strangers")), SHAPE, 1)


def test_a_flow_on_unpaired_records_is_refused_in_one_sentence_with_the_counts(strangers):
    with pytest.raises(CohortError) as caught:
        parts_of(strangers, Partition(), "pair")
    said = str(caught.value)
    assert "of 24 records 12 have an ECG, 12 a cine and none what is needed" in said
    assert "train the stages ecg and cine alone, or pair the cohort by subject" in said
    assert "\n" not in said
    assert ". " not in said


@pytest.mark.parametrize("need", ["ecg", "cine"])
def test_a_stage_takes_the_records_that_have_what_it_needs_and_subjects_never_change_sides(strangers, need):
    plan = Partition(valid_fraction=0.25, test_fraction=0.25)
    parts, flow = parts_of(strangers, plan, need)
    rows = np.concatenate(list(parts.values()))
    assert sorted(rows.tolist()) == strangers.has(need).tolist()
    assert flow[0].lost == "12 records lack what is needed"
    other, _ = parts_of(strangers, plan, "cine" if need == "ecg" else "ecg")
    subjects = strangers.cohort.subjects
    for part, others in (("train", "internal"), ("internal", "train"), ("valid", "internal")):
        assert not set(subjects[parts[part]]) & set(subjects[other[others]])


def disk(spacing, size, centre=(0.0, 0.0), radii=(15.0,)):
    """Circles in mm about a place off the picture's middle, on pixels of any form, `(F, 1, H, W)`."""
    down, right = np.meshgrid(
        *((np.arange(count) - (count - 1) / 2) * step for count, step in zip(size, spacing, strict=True)),
        indexing="ij",
    )
    away = np.hypot(down - centre[0], right - centre[1])
    return np.stack([np.clip((radius - away) / 2 + 0.5, 0, 1) for radius in radii])[:, None].astype(np.float32)


@pytest.mark.parametrize(
    ("spacing", "size"),
    [((1.0, 2.0), (64, 32)), ((2.0, 1.0), (32, 64)), ((1.0, 2.0), (80, 25)), ((0.7, 0.7), (99, 60))],
)
def test_on_pixels_that_are_not_square_an_ellipse_becomes_a_circle(spacing, size):
    values = disk(spacing, size, radii=(15.0,) * 8)
    volume = Volume(values, (8.0, *spacing), 0.1)
    shape = HeartShape(100.0, 10.0, 8, 64, 0.0)
    found, pixel = framed(volume, shape)
    assert pixel * 64 == pytest.approx(max(np.multiply(size, spacing)))
    inside = found[0] > 0.5
    wide, high = inside.any(0).sum() * pixel, inside.any(1).sum() * pixel
    assert wide == pytest.approx(30, abs=2.5)
    assert high == pytest.approx(30, abs=2.5)
    assert inside.sum() * pixel**2 == pytest.approx(np.pi * 15**2, rel=0.05)
    middle = [np.average(np.arange(64), weights=inside.sum(axis)) for axis in (0, 1)]
    assert middle == pytest.approx([31.5, 31.5], abs=0.6)
    labels = framed_labels(volume, np.rint(values).astype(np.uint8), shape)
    assert labels.dtype == np.uint8
    assert (labels[0] != inside).mean() < 0.02


@pytest.mark.parametrize("centre", [(-20.0, 12.0), (15.0, 0.0), (-30.0, -30.0)])
def test_a_crop_follows_the_heart_and_its_pixels_are_its_side(centre):
    radii = 12 + 4 * np.cos(2 * np.pi * np.arange(8) / 8)
    volume = Volume(disk((2.0, 2.0), (48, 48), centre, radii), (8.0, 2.0, 2.0), 0.1)
    shape = HeartShape(100.0, 10.0, 8, 48, 60.0)
    found, pixel = framed(volume, shape)
    assert pixel == 60 / 48
    area = (found > 0.5).sum(axis=(1, 2)) * pixel**2
    np.testing.assert_allclose(area, np.pi * radii**2, rtol=0.06)
    labels = framed_labels(volume, np.rint(volume.values).astype(np.uint8), shape)
    assert (labels != (found > 0.5)).mean() < 0.03


def test_of_several_slices_the_middle_one_is_taken_and_frames_are_laid_around_the_cycle():
    values = np.zeros((4, 5, 24, 24), np.float32)
    values[:, 2] = np.arange(4)[:, None, None]
    found, _ = framed(Volume(values, (8.0, 1.0, 1.0), 0.1), HeartShape(100.0, 10.0, 8, 24, 0.0))
    assert found[:, 12, 12].tolist() == pytest.approx([0, 0.5, 1, 1.5, 2, 2.5, 3, 1.5])


def labelled_ward(tmp_path, shape):
    """Two records whose label maps are files of the given shape."""
    clinic = department(2, 5, cine_world(), *FORM)
    lines = ["path,subject,cine,labels,origin"]
    for row, record in enumerate(clinic):
        write_wfdb(record, tmp_path, f"r{row}")
        write_nifti(tmp_path / f"r{row}.cine.nii", record.volume, "synthetic")
        maps = np.zeros(shape, np.uint8)
        maps[0, 0, 8:16, 8:16] = 2
        maps[0, 0, 10:14, 10:14] = 1
        write_labels(tmp_path / f"r{row}.labels.nii", maps, record.volume.spacing)
        lines.append(f"r{row}.hea,s{row},r{row}.cine.nii,r{row}.labels.nii,synthetic")
    (tmp_path / "cohort.csv").write_text("\n".join(lines) + "\n")
    return begin_hearts(open_cohort(tmp_path), Run(tmp_path / "run"), SHAPE, 1)


def test_label_maps_of_another_shape_than_their_cine_are_refused(tmp_path):
    hearts = labelled_ward(tmp_path, (8, 1, 24, 20))
    with pytest.raises(CohortError, match=r"its label map has shape \(8, 1, 24, 20\), its cine \(8, 1, 24, 24\)"):
        labelled(hearts, np.array([0, 1]), 2)


def test_frames_that_nobody_outlined_are_marked_and_not_taken_for_background(tmp_path):
    _, maps = labelled(labelled_ward(tmp_path, (8, 1, 24, 24)), np.array([0]), 5)
    assert (maps[0, 1:] == 255).all()
    assert np.bincount(maps[0, 0].ravel()).tolist() == [24 * 24 - 64, 16, 48]


def test_without_label_maps_outlining_is_refused(refused):
    with pytest.raises(CohortError, match="a column labels with label maps"):
        labelled(refused, np.array([0, 8]), 3)


def test_the_score_is_its_sums_over_pairs_of_different_draws():
    draws, truth = rng(2).normal(size=(3, 5)), rng(3).normal(size=3)
    want = []
    for row, said in zip(draws, truth, strict=True):
        apart = [abs(a - b) for i, a in enumerate(row) for j, b in enumerate(row) if i != j]
        want.append(np.mean([abs(a - said) for a in row]) - np.mean(apart) / 2)
    assert crps(draws, truth) == pytest.approx(np.mean(want), rel=1e-12)


def test_rows_with_an_unknown_truth_or_draw_do_not_count():
    draws, truth = rng(2).normal(size=(4, 5)), np.array([0.3, np.nan, -0.2, 1.0])
    draws[3, 2] = np.nan
    assert crps(draws, truth) == crps(draws[[0, 2]], truth[[0, 2]])


@pytest.mark.parametrize("count", [2, 16])
def test_the_score_of_few_draws_is_on_average_that_of_the_whole_gaussian(count):
    mean, spread, said = 55.0, 8.0, 63.0
    z = (said - mean) / spread
    want = spread * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / math.sqrt(math.pi))
    rows = 400_000 // count**2 + 20_000
    draws = mean + spread * rng(4).normal(size=(rows, count))
    assert crps(draws, np.full(rows, said)) == pytest.approx(want, rel=0.02)


def test_the_true_posterior_scores_better_than_a_sure_or_a_vague_or_a_shifted_one():
    truth = rng(5).normal(size=4000)
    noise = rng(6).normal(size=(4000, 16))
    right = crps(noise, truth)
    assert right < min(crps(0.4 * noise, truth), crps(2.5 * noise, truth), crps(noise + 1, truth))


@pytest.mark.parametrize(("count", "level"), [(9, 0.8), (19, 0.8), (15, 0.5)])
@pytest.mark.parametrize("kind", ["normal", "exponential"])
def test_a_further_draw_falls_into_the_interval_as_often_as_it_says(kind, count, level):
    every = getattr(rng(7), f"standard_{kind}")(size=(60_000, count + 1))
    low, high = interval_ends(every[:, :count], level)
    inside = (low <= every[:, count]) & (every[:, count] <= high)
    assert inside.mean() == pytest.approx(level, abs=0.008)  # four standard errors or more


def test_ends_between_two_draws_are_a_little_too_wide_for_a_gaussian_and_exact_for_even_chances():
    for kind, low_, high_ in (("standard_normal", 0.805, 0.82), ("random", 0.793, 0.807)):
        every = getattr(rng(8), kind)(size=(60_000, 17))
        low, high = interval_ends(every[:, :16])
        assert low_ < ((low <= every[:, 16]) & (every[:, 16] <= high)).mean() < high_


def test_of_nine_draws_four_fifths_lie_between_the_least_and_the_largest():
    draws = rng(8).permutation(np.arange(9.0))[None]
    assert [float(end[0]) for end in interval_ends(draws)] == pytest.approx([0, 8])
    assert [float(end[0]) for end in interval_ends(np.arange(19.0)[None])] == pytest.approx([1, 17])
    assert [float(end[0]) for end in interval_ends(np.arange(16.0)[None])] == pytest.approx([0.7, 14.3])


@pytest.mark.parametrize("count", [2, 3, 10, 57])
def test_nobody_is_paired_with_himself_and_everybody_once(count):
    for seed in range(20):
        other = shuffled(count, seed)
        assert (other != np.arange(count)).all()
        assert sorted(other.tolist()) == list(range(count))


RHO, COUNT, DRAWS = 0.7, 300, 16


def toy(seed=0, spread=1.0, features=None):
    """Truth = what is told + what is not; a sampler that knows the first and draws the second."""
    generator = rng(seed)
    told = RHO * generator.normal(size=COUNT)
    rest = math.sqrt(1 - RHO**2)
    truth = 55 + 12 * (told + rest * generator.normal(size=COUNT))
    draws = 55 + 12 * (told[:, None] + spread * rest * generator.normal(size=(COUNT, DRAWS)))
    rate = 70 + 12 * generator.normal(size=COUNT)
    late = 0.4 + 0.004 * (rate - 70)
    other = {name: generator.normal(size=COUNT) for name in PHENOTYPES}
    drawn = {name: column[:, None] + generator.normal(size=(COUNT, DRAWS)) for name, column in other.items()}
    clouds = generator.normal(size=(3, COUNT, 6))
    return HeartTable(
        id=np.array([f"r{row}" for row in range(COUNT)]),
        subject=np.array([f"s{row}" for row in range(COUNT)]),
        rate=rate,
        ef=truth,
        truth_from="the toy",
        real=other | {"ef": truth, "es_phase": late + 0.03 * generator.normal(size=COUNT)},
        autoencoder=other | {"ef": truth + generator.normal(size=COUNT), "es_phase": late},
        drawn=drawn | {"ef": draws, "es_phase": late[:, None] + 0.03 * generator.normal(size=(COUNT, DRAWS))},
        untold=other | {"ef": np.full(COUNT, 55.0)},
        nearest=other | {"ef": truth[generator.permutation(COUNT)]},
        regressor=55 + 12 * told,
        closure={"real": np.full(COUNT, 0.5), "drawn": np.full(COUNT, 1.5)},
        features=dict(zip(("train", "real", "drawn"), clouds, strict=True)) | (features or {}),
    )


@pytest.fixture(scope="module")
def exact():
    return numbers_of(toy())


def test_an_exact_sampler_is_covered_and_as_wide_as_the_truth(exact):
    assert exact["ef.coverage80"].low < 0.8 < exact["ef.coverage80"].high
    assert exact["ef.coverage80"].value == pytest.approx(0.8, abs=0.06)
    assert exact["ef.dispersion_ratio"].value == pytest.approx(1, abs=0.1)
    sure = _calibration(toy(spread=0.3))
    assert sure["ef.coverage80"].high < 0.6
    assert sure["ef.dispersion_ratio"].value < 0.9
    assert sure["ef.crps"].value > exact["ef.crps"].value


def test_agreement_is_that_of_the_closed_forms(exact):
    told, rest = RHO**2, 1 - RHO**2
    assert exact["ef.mean16.r"].value == pytest.approx(told / math.sqrt(told + rest / DRAWS), abs=0.06)
    assert exact["ef.single.r"].value == pytest.approx(told, abs=0.08)
    assert exact["ef.regressor.r"].value == pytest.approx(RHO, abs=0.06)
    assert exact["ef.regressor.r_squared"].value == pytest.approx(exact["ef.regressor.r"].value ** 2)
    expected_gaussian_error = 12 * math.sqrt(rest) / math.sqrt(math.pi)  # of the posterior itself
    assert exact["ef.crps"].value == pytest.approx(expected_gaussian_error, rel=0.08)
    assert exact["ef.regressor.mae"].value == pytest.approx(12 * math.sqrt(rest * 2 / math.pi), rel=0.08)


def test_of_somebody_elses_ecg_nothing_agrees(exact):
    for name in ("shuffled", "nearest"):
        assert exact[f"ef.{name}.r"].low < 0 < exact[f"ef.{name}.r"].high
        assert abs(exact[f"ef.{name}.r"].value) < 0.13
    gap = exact["ef.mean16.minus_shuffled.r"]
    assert gap.value == pytest.approx(exact["ef.mean16.r"].value - exact["ef.shuffled.r"].value, abs=1e-9)
    assert gap.low > 0.4


def test_a_column_that_never_changes_has_an_error_and_no_correlation(exact):
    assert "ef.unconditional.r" not in exact
    assert exact["ef.unconditional.mae"].value == pytest.approx(12 * math.sqrt(2 / math.pi), rel=0.1)


def test_timing_closure_and_likeness_are_as_they_were_made(exact):
    want = 0.048 / math.hypot(0.048, 0.03)
    assert exact["es_phase.r"].value == pytest.approx(want, abs=0.05)
    assert exact["es_phase.real.r"].value == pytest.approx(want, abs=0.05)
    assert exact["es_phase.autoencoder.r"].value == pytest.approx(1)
    assert exact["closure_ratio"].value == pytest.approx(3)
    assert exact["fd_judge"].value < 2 * exact["fd_judge.floor"].value
    assert exact["membership_auc"].low < 0.5 < exact["membership_auc"].high
    assert min(exact["precision"].value, exact["recall"].value) > 0.85
    assert exact["fac.mean16.r"].value == pytest.approx(1 / math.sqrt(1 + 1 / 16), abs=0.02)
    assert exact["fac.dispersion_ratio"].value == pytest.approx(math.sqrt(2), abs=0.15)


def test_a_generator_that_copies_its_training_patients_is_told(exact):
    table = toy()
    copied = table.features["train"] + 0.05 * rng(9).normal(size=table.features["train"].shape)
    copies = _likeness(toy(features={"drawn": copied}))
    assert copies["nearest_ratio"].high < exact["nearest_ratio"].low
    assert copies["membership_auc"].low > 0.9


def test_each_arm_is_one_number_a_patient(exact):
    table = toy()
    said = arms(table)
    assert {column.shape for column in said.values()} == {(COUNT,)}
    np.testing.assert_array_equal(said["mean16"], table.drawn["ef"].mean(axis=1))
    np.testing.assert_array_equal(said["shuffled"], said["mean16"][shuffled(COUNT)])


def beating_labels(radius, change):
    """Label maps of a disk in a ring beside another disk, which shrink and grow, `(F, H, W)`."""
    down, right = np.indices((32, 32)) - 15.5
    frames = []
    for frame in range(6):
        inner = radius * (1 - change * np.sin(np.pi * frame / 6))
        away, beside = np.hypot(down, right - 5), np.hypot(down, right + 10)
        frames.append(np.where(away < inner, 1, np.where(away < radius + 2, 2, np.where(beside < inner, 3, 0))))
    return np.stack(frames)


def outline(cines):
    """Cines that are label maps outline themselves."""
    return cines.astype(np.uint8), cines.reshape(len(cines), -1)[:, :4].astype(float) + len(cines)


MAPS = np.stack([beating_labels(5 + row % 3, 0.2 + 0.1 * row) for row in range(4)])


def test_a_judge_measures_in_millimetres():
    pixel = np.array([1.0, 2.0, 0.5, 3.0])
    found = judged(MAPS, pixel, outline)
    for row, step in enumerate(pixel):
        want = phenotypes(MAPS[row].astype(np.uint8), (step, step))
        for name in PHENOTYPES:
            assert found.phenotypes[name][row] == pytest.approx(float(want[name])), name
        assert found.curve[row].max() == pytest.approx(found.phenotypes["ed_area"][row])


def test_tables_are_joined_in_order():
    whole = judged(MAPS, np.ones(4), outline)
    parts = joined([judged(MAPS[:1], np.ones(1), outline), judged(MAPS[1:], np.ones(3), outline)])
    np.testing.assert_array_equal(parts.phenotypes["ef"], whole.phenotypes["ef"])
    np.testing.assert_array_equal(parts.curve, whole.curve)
    np.testing.assert_array_equal(parts.closure, whole.closure)


def test_draws_stand_by_their_patients(hearts):
    rows = np.array([4, 1, 7])

    def generate(each, number, guidance):
        assert guidance == 1.5
        return np.stack([beating_labels(4 + row % 3, 0.1 + 0.1 * draw) for row, draw in zip(each, number, strict=True)])

    drawn = draws_judged(hearts, rows, 5, generate, outline, 1.5)
    single = judged(MAPS[:3], np.ones(3), outline)
    train = judged(MAPS, np.ones(4), outline)
    by = {"real": single, "autoencoder": single, "drawn": drawn, "untold": single, "nearest": single, "train": train}
    table = heart_table(hearts, rows, by, {"regressor": np.zeros(3)}, true_fractions(hearts, rows, outline))
    assert table.drawn["ef"].shape == (3, 5)
    for place, row in enumerate(rows):
        for draw in (0, 3):
            want = phenotypes(beating_labels(4 + row % 3, 0.1 + 0.1 * draw).astype(np.uint8), (1.0, 1.0))
            assert table.drawn["ef"][place, draw] == pytest.approx(float(want["ef"]))
    assert table.features["drawn"].shape == (3, 4)
    assert table.truth_from == "the cohort's column ef"
    np.testing.assert_array_equal(table.ef, hearts.numbers("ef", rows))


def test_the_scale_of_guidance_is_that_whose_draws_score_best(hearts):
    rows = np.arange(6)
    truth = hearts.numbers("ef", rows)
    by_change = np.linspace(0.02, 0.9, 60)
    told = phenotypes(np.stack([beating_labels(8, change) for change in by_change]).astype(np.uint8), (1.0, 1.0))["ef"]

    def generate(each, number, guidance):
        """As good as it gets at a scale of 1."""
        wanted = truth[each] + (guidance - 1) * 25 + 3 * np.sin(number)
        return np.stack([beating_labels(8, by_change[np.argmin(np.abs(told - ef))]) for ef in wanted])

    best, scores = chosen_guidance(hearts, rows, (0.0, 1.0, 2.0), generate, outline)
    assert best == 1.0
    assert scores[1.0] < min(scores[0.0], scores[2.0])
    assert chosen_guidance(hearts, rows, (2.0,), generate, outline) == (2.0, {})


def test_the_nearest_patient_is_found_as_by_looking_at_all():
    told, others = rng(10).normal(size=(7, 3)), rng(11).normal(size=(20, 3))
    train = 100 + np.arange(20)
    want = [train[np.argmin([np.linalg.norm(one - other) for other in others])] for one in told]
    assert nearest_patients(told, others, train).tolist() == want


def test_a_regression_learns_what_can_be_learned_and_needs_ten_known():
    told = rng(12).normal(size=(900, 2))
    truth = 55 + 8 * np.tanh(told[:, 0])
    truth[::9] = np.nan
    asked = rng(13).normal(size=(200, 2))
    said = regressed(told, truth, asked)
    assert np.corrcoef(said, np.tanh(asked[:, 0]))[0, 1] > 0.97
    with pytest.raises(CohortError, match="of 10 training patients; 0 are known"):
        regressed(told, np.full(900, np.nan), asked)


def test_a_reason_begins_with_the_record_so_that_a_report_can_leave_it_out(refused):
    for store in ("ecg", "cine"):
        for name, reason in getattr(refused, store).refused:
            said, _, rest = reason.partition(": ")
            assert name in said
            assert name not in rest
