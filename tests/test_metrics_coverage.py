"""How often the 95 % intervals hold the true value when rows of one subject resemble each other.

Each subject has 1 to 8 visits. A score is normal, shifted by a constant in rows with the event; most of its variance,
and most of what decides whether there is an event, belongs to the subject. The true values follow from the normal
distribution. In 1500 to 2000 simulations a coverage of 95 % is measured to ± 0.5 % (one standard error; 0.9 % in 600),
and the band of 92.5 to 97.5 % is five of those to either side. The interval that takes rows for subjects must fail the
same band: a test that it passed could not tell the two apart.
"""

from typing import NamedTuple

import numpy as np
import pytest
from scipy.stats import norm

from stethos.errors import ScoreError
from stethos.metrics.calibration import calibration
from stethos.metrics.compare import paired_auroc, paired_bootstrap
from stethos.metrics.continuous import limits_of_agreement
from stethos.metrics.interval import bootstrap, bootstrap_auroc, clustered_auroc, proportion
from stethos.metrics.ranking import auroc
from stethos.metrics.threshold import operating_point


class World(NamedTuple):
    """Subjects, prevalence of the event by row, AUROC, and the subject's share of the variance of score and event."""

    subjects: int
    prevalence: float
    auroc: float
    of_score: float = 0.7
    of_event: float = 0.7

    @property
    def shift(self):
        return float(norm.ppf(self.auroc) * np.sqrt(2))

    def rates(self, threshold):
        """True sensitivity, specificity and NPV."""
        sensitivity, specificity = norm.sf(threshold - self.shift), norm.cdf(threshold)
        below = (1 - sensitivity) * self.prevalence, specificity * (1 - self.prevalence)
        return sensitivity, specificity, below[1] / sum(below)

    def rows(self, generator):
        subject = np.repeat(np.arange(self.subjects), generator.integers(1, 9, self.subjects))

        def mixed(share):
            own = generator.normal(size=self.subjects)[subject]
            return np.sqrt(share) * own + np.sqrt(1 - share) * generator.normal(size=len(subject))

        truth = mixed(self.of_event) < norm.ppf(self.prevalence)
        return truth, mixed(self.of_score) + self.shift * truth, subject


def covered(estimate, value):
    return estimate.low <= value <= estimate.high


def coverage(interval, world, value, runs=2000):
    """Share of simulations in which the interval by subject holds the value; and, in every fifth, the one by row."""
    generator = np.random.default_rng(0)
    ours, naive = [], []
    for run in range(runs):
        truth, score, subject = world.rows(generator)
        ours.append(covered(interval(truth, score, subject), value))
        if run % 5 == 0:
            naive.append(covered(interval(truth, score, np.arange(len(subject))), value))
    return np.mean(ours), np.mean(naive)


def in_band(share):
    return 0.925 <= share <= 0.975


def npv(threshold):
    return lambda truth, score, subject: proportion(~truth[score < threshold], subject[score < threshold])


@pytest.mark.parametrize("world", [World(300, 0.2, 0.85), World(1000, 0.015, 0.85), World(300, 0.2, 0.97)])
def test_the_clustered_auroc_covers_and_delong_by_row_does_not(world):
    ours, naive = coverage(clustered_auroc, world, world.auroc, runs=1500)
    assert in_band(ours)
    assert naive < 0.9


def test_the_bootstrap_of_the_auroc_covers_by_subject_and_not_by_row():
    def interval(truth, score, subject):
        return bootstrap_auroc(truth, score, subject, draws=400)

    ours, naive = coverage(interval, World(300, 0.2, 0.85), 0.85, runs=600)
    assert in_band(ours)
    assert naive < 0.9


@pytest.mark.parametrize("subjects", [1000, 2000])
def test_the_npv_covers_at_0_993_and_a_prevalence_of_1_5_percent(subjects):
    world, threshold = World(subjects, 0.015, 0.854), norm.isf(0.1)
    *_, true = world.rates(threshold)
    assert true == pytest.approx(0.993, abs=1e-4)
    ours, naive = coverage(npv(threshold), world, true)
    assert in_band(ours)
    assert naive < 0.9


@pytest.mark.parametrize("threshold", [-1.0, 0.5, 2.0])
def test_a_share_flagged_covers(threshold):
    world = World(150, 0.2, 0.85)
    sensitivity, specificity, _ = world.rates(threshold)
    true = 0.2 * sensitivity + 0.8 * (1 - specificity)
    ours, naive = coverage(lambda truth, score, subject: proportion(score >= threshold, subject), world, true)
    assert in_band(ours)
    assert naive < 0.9


def test_a_difference_of_two_equally_good_scores_covers_zero():
    generator = np.random.default_rng(1)
    ours, naive = [], []
    for run in range(1500):
        truth, score, subject = World(300, 0.2, 0.85).rows(generator)
        pair = [score + 0.8 * generator.normal(size=300)[subject] for _ in range(2)]
        ours.append(covered(paired_auroc(truth, *pair, subject).estimate, 0))
        if run % 5 == 0:
            naive.append(covered(paired_auroc(truth, *pair, np.arange(len(subject))).estimate, 0))
    assert in_band(np.mean(ours))
    assert np.mean(naive) < 0.9


def test_a_likelihood_ratio_covers():
    world, threshold = World(300, 0.2, 0.85), 1.0
    sensitivity, specificity, _ = world.rates(threshold)
    for name, true in (
        ("lr_positive", sensitivity / (1 - specificity)),
        ("lr_negative", (1 - sensitivity) / specificity),
    ):

        def interval(truth, score, subject, name=name):
            return getattr(operating_point(truth, score, threshold, subject), name)

        ours, naive = coverage(interval, world, true, runs=600)
        assert in_band(ours)
        assert naive < 0.9


@pytest.mark.parametrize("events", ["few", "very few"])
def test_with_a_handful_of_events_intervals_are_too_wide_rather_than_too_narrow(events):
    # about 20 and 7 subjects with the event; DeLong's logit interval covers 84 to 90 % here
    world = World(500, 0.015, 0.95) if events == "few" else World(150, 0.02, 0.95)
    generator, held = np.random.default_rng(0), []
    for _ in range(600):
        try:
            held.append(covered(clustered_auroc(*world.rows(generator)), world.auroc))
        except ScoreError:  # fewer than two subjects with the event
            continue
    assert len(held) > 590
    assert np.mean(held) > 0.925


@pytest.mark.slow
@pytest.mark.parametrize("prevalence", [0.3, 0.05, 0.015])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_no_interval_of_a_share_or_an_auroc_is_too_narrow_anywhere_on_a_grid(prevalence, share):
    # 4000 runs: one standard error is 0.35 %
    threshold = norm.isf(0.1)
    world = World(1500, prevalence, 0.9, share, share)
    *_, true = world.rates(threshold)
    assert coverage(npv(threshold), world, true, runs=4000)[0] > 0.935
    assert coverage(clustered_auroc, world, world.auroc, runs=4000)[0] > 0.93


@pytest.mark.slow
def test_the_plain_and_the_paired_bootstrap_cover():
    world, generator = World(200, 0.2, 0.85), np.random.default_rng(0)
    held = np.zeros((400, 2))
    for run in range(len(held)):
        truth, score, subject = world.rows(generator)
        other = score + 0.8 * generator.normal(size=200)[subject]
        score = score + 0.8 * generator.normal(size=200)[subject]
        one = bootstrap(np.mean, subject, truth, draws=300)
        two = paired_bootstrap(auroc, subject, truth, score, other, draws=300).estimate
        held[run] = covered(one, 0.2), covered(two, 0)
    assert np.all(held.mean(axis=0) > 0.92)  # one standard error is 1.1 %


@pytest.mark.slow
@pytest.mark.parametrize(("name", "true"), [("slope", 1.0), ("intercept", 0.0)])
def test_calibration_covers(name, true):
    # two normals a shift apart: the log odds are linear in the score with that slope
    world = World(300, 0.2, 0.85)
    odds = np.log(0.2 / 0.8) - world.shift**2 / 2

    def interval(truth, score, subject):
        return getattr(calibration(truth, odds + world.shift * score, subject, draws=300), name)

    assert in_band(coverage(interval, world, true, runs=300)[0])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "true"), [("bias", 0.0), ("lower", -1.96), ("upper", 1.96)])
def test_limits_of_agreement_cover(name, true):
    world = World(300, 0.2, 0.5)

    def interval(truth, score, subject):
        return getattr(limits_of_agreement(np.zeros(len(score)), score, subject, draws=400), name)

    ours, naive = coverage(interval, world, true, runs=600)
    assert in_band(ours)
    assert naive < 0.9
