"""The numbers of a detector are those of scikit-learn on what the run kept, whatever the order and the scale."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import hmean
from sklearn.metrics import roc_auc_score

from stethos.study.detector import Memory
from stethos.study.sound_evidence import gather
from stethos.study.sound_rates import fault_areas, threshold_rates
from stethos.types import Predictions, Run

MACHINES, SECTIONS, EACH = ("fan", "pump"), ("id_00", "id_02"), 40
COUNT = len(MACHINES) * len(SECTIONS) * EACH
TRUTH = np.tile([0.0, 1.0], COUNT // 2)
DOMAIN = np.tile(["source", "source", "target", "target"], COUNT // 4)
MACHINE = np.repeat(MACHINES, len(SECTIONS) * EACH)
SECTION = np.tile(np.repeat(SECTIONS, EACH), len(MACHINES))


def said(strength: float, seed: int = 0, year: str = "2020", **facts: np.ndarray) -> Predictions:
    """Scores of tested recordings that tell anomalies by so many standard deviations, and of a few normal others."""
    noise = np.random.default_rng([seed, round(10 * strength)]).standard_normal(COUNT)
    names = np.array([f"r{number}" for number in range(COUNT)])
    about = {"machine": MACHINE, "section": SECTION, "domain": DOMAIN if year > "2020" else np.full(COUNT, "")}
    tested = Predictions(
        score=(strength * TRUTH + noise)[:, None],
        truth=TRUTH[:, None],
        record=names,
        subject=names,
        split=np.full(COUNT, "internal"),
        seed=np.full(COUNT, seed),
        facts=about | {"year": np.full(COUNT, year), "fault": np.full(COUNT, "")} | facts,
        names=("anomaly",),
    )
    return tested


def joined(*parts: Predictions) -> Predictions:
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in
               ("score", "truth", "record", "subject", "split", "seed")}  # fmt: skip
    facts = {name: np.concatenate([part.facts[name] for part in parts]) for name in parts[0].facts}
    return replace(parts[0], **columns, facts=facts)


def made(folder, own: Predictions, **others: Predictions) -> Run:
    run = Run(folder)
    run.private.mkdir(parents=True)
    for name, part in {"predictions": own, **others}.items():
        part.save(run.private / f"{name.replace('__', '-')}.npz")
    names = tuple(f"{machine}/{section}" for machine in MACHINES for section in SECTIONS)
    Memory((np.eye(4),), np.arange(4), np.full(4, ""), np.arange(4).astype(str), names, np.arange(4),
           np.full(4, 0.5)).save(run)  # fmt: skip
    return run


def areas(score: np.ndarray, rows: np.ndarray, **how: float) -> float:
    return float(roc_auc_score(TRUTH[rows], score[rows], **how))


def identities() -> list[np.ndarray]:
    return [(machine == MACHINE) & (section == SECTION) for machine in MACHINES for section in SECTIONS]


def test_of_2020_the_numbers_are_means_of_areas_over_identities_and_pooled_ones_beside_them(tmp_path):
    run = made(tmp_path / "run", said(1.0), baseline__nearest=said(0.3), backend__own_class=said(0.8))
    numbers = {name: item.value for name, item in gather(run).numbers().items()}

    def official(score: np.ndarray) -> float:
        return float(np.mean([areas(score, rows, **how) for rows in identities() for how in ({}, {"max_fpr": 0.1})]))

    own, nearest, other = (said(strength).score[:, 0] for strength in (1.0, 0.3, 0.8))
    assert numbers["official"] == pytest.approx(official(own))
    assert numbers["baseline.nearest.official"] == pytest.approx(official(nearest))
    assert numbers["backend.own_class.official"] == pytest.approx(official(other))
    assert numbers["difference.nearest.official"] == pytest.approx(official(own) - official(nearest))
    whole = [machine == MACHINE for machine in MACHINES]
    assert numbers["pooled.auc"] == pytest.approx(np.mean([areas(own, rows) for rows in whole]))
    assert numbers["pooled.pauc"] == pytest.approx(np.mean([areas(own, rows, max_fpr=0.1) for rows in whole]))
    least = [min(areas(own, rows) for rows in identities()[place : place + 2]) for place in (0, 2)]
    assert numbers["mauc"] == pytest.approx(np.mean(least))


def test_of_2022_the_official_score_is_the_harmonic_mean_over_domains(tmp_path):
    evidence = gather(made(tmp_path / "run", said(1.0, year="2023")))
    score, parts = said(1.0, year="2023").score[:, 0], []
    for rows in identities():
        parts += [areas(score, rows & ((domain == DOMAIN) | (TRUTH == 1))) for domain in ("source", "target")]
        parts.append(areas(score, rows, max_fpr=0.1))
    assert evidence.numbers()["official"].value == pytest.approx(hmean(parts))
    assert (evidence.year, evidence.rule) == (2023, 2022)


def test_seeds_speak_with_their_mean_and_their_spread_is_that_of_their_official_scores(tmp_path):
    both = joined(said(1.0, 0), said(1.0, 1))
    evidence = gather(made(tmp_path / "run", both))
    alone = [gather(made(tmp_path / str(seed), said(1.0, seed))).numbers()["official"].value for seed in (0, 1)]
    mean = replace(said(1.0), score=(said(1.0, 0).score + said(1.0, 1).score) / 2)
    assert evidence.numbers()["official"] == gather(made(tmp_path / "mean", mean)).numbers()["official"]
    spread = evidence.numbers()["official.seed_sd"]
    assert (spread.value, spread.low, spread.high) == pytest.approx((np.std(alone, ddof=1), min(alone), max(alone)))


def test_nothing_depends_on_the_order_of_the_recordings_or_the_scale_of_a_score(tmp_path):
    own = said(1.0)
    shuffled = own.take(np.random.default_rng(0).permutation(COUNT))
    louder = replace(shuffled, score=np.exp(shuffled.score))
    one, two = (gather(made(tmp_path / name, part)).numbers() for name, part in (("a", own), ("b", louder)))
    for name in ("official", "mean.auc", "pooled.pauc", "mauc"):
        assert one[name].value == pytest.approx(two[name].value)


def test_recordings_of_unknown_truth_are_in_no_number(tmp_path):
    own = said(1.0)
    unknown = replace(own, truth=np.full((COUNT, 1), np.nan), record=np.char.add("u", own.record))
    one = gather(made(tmp_path / "a", own)).numbers()
    assert gather(made(tmp_path / "b", joined(own, unknown))).numbers() == one


def test_a_random_score_is_not_better_than_another_and_a_good_one_is(tmp_path):
    run = made(tmp_path / "run", said(2.0), baseline__nearest=said(0.0), baseline__twin=said(2.0))
    detection = gather(run).detection
    assert detection.against["nearest"].estimate.low > 0
    assert detection.p_corrected["nearest"] < 0.01
    assert detection.against["twin"].estimate.value == 0
    assert detection.p_corrected["twin"] == 1
    chance = gather(made(tmp_path / "chance", said(0.0))).numbers()["mean.auc"]
    assert chance.low < 0.5 < chance.high


def test_rates_count_what_is_above_the_threshold_of_its_own_machine():
    own = said(0.0)
    own = replace(own, score=np.where(SECTION == "id_00", 1.0, 0.0)[:, None], truth=np.repeat([0.0, 1.0], 80)[:, None])
    limits = {"fan/id_00": 0.5, "fan/id_02": -0.5, "pump/id_00": 1.0, "pump/id_02": 2.0}
    found = threshold_rates(own, limits)
    assert found["fan"]["false_positive_rate"].value == 1
    assert found["pump"]["sensitivity"].value == 0  # at the threshold is not above it
    assert set(found["fan"]) == {"false_positive_rate"}
    assert found[""]["false_positive_rate"].n == 80


def test_a_fault_is_set_against_all_normals_of_its_identities(tmp_path):
    leak = np.where((TRUTH == 1) & (MACHINE == "fan"), "leak", "")
    own = said(1.0, fault=leak)
    held = gather(made(tmp_path / "run", own)).detection.clips
    found = fault_areas(own, held, {"model": own.score[:, 0]})
    want = np.mean([areas(own.score[:, 0], rows) for rows in identities()[:2]])
    assert found["leak"]["model"].value == pytest.approx(want)
