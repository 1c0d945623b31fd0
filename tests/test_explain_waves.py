"""Explanations of recordings: axioms on ECGs, models whose reasons are known, one recording against many."""

import logging
import pickle
from functools import partial

import numpy as np
import pytest
from test_signal_beats import beat_times, strip

from stethos.errors import ChannelError, QualityError, ScoreError
from stethos.explain.baseline import Isoelectric, MeanBeat
from stethos.explain.bounds import PLAYERS
from stethos.explain.scene import Scene
from stethos.explain.shapley import coalitions
from stethos.explain.waves import explain, explain_many
from stethos.signal.prepare import PREPARATIONS
from stethos.synth import ecg, hospital_world, visits
from stethos.types import Signal

LEAD_V1 = PREPARATIONS["lead-v1"]
TIMES = beat_times(70, 10)
UNEVEN = 0.6 + np.append(0, np.cumsum([0.70, 1.05, 0.82, 1.20, 0.76, 0.98, 0.69, 1.10, 0.85]))
P, PR, QRS, ST, T, TP = range(6)
TIMING = 6


def convolutional(kernels, weights, x):
    """One layer of a convolutional network: mean over time of rectified matches, `(N, 1, T)` to `(N, K)`."""
    windows = np.lib.stride_tricks.sliding_window_view(x[:, 0].astype(np.float64), kernels.shape[1], axis=1)
    return np.maximum(windows @ kernels.T - 0.3, 0).mean(axis=1) @ weights


def drawn_network(seed, outputs=1):
    generator = np.random.default_rng(seed)
    return partial(convolutional, generator.normal(size=(8, 15)) / 4, generator.normal(size=(8, outputs)))


def t_amplitude(x, times=TIMES):
    """Reads the height of T alone, with no regard for anything else."""
    at = np.rint((times[:-1, None] + np.linspace(0.2, 0.36, 9)) * 125).astype(int)
    return x[:, 0][:, at].max(axis=2).mean(axis=1, keepdims=True).astype(np.float64) ** 2


def uneven_rr(x):
    """Spread of the distances between the tops of QRS, in units of 0.1 s."""
    rows = []
    for trace in x[:, 0]:
        top = np.flatnonzero((trace[1:-1] > 0.5) & (trace[1:-1] >= trace[:-2]) & (trace[1:-1] > trace[2:]))
        rows.append(np.diff(top).std() / 12.5 if len(top) > 2 else 0.0)
    return np.array(rows)[:, None]


def share(values):
    return np.abs(values) / np.abs(values).sum(axis=0)


def recordings(patients, keep, most):
    world = hospital_world()
    table = visits(patients, seed=5, world=world)
    rows = [{name: column[row] for name, column in table.items()} for row in range(len(table["id"]))]
    return [ecg(row, 5, world) for row in rows if keep(row)][:most]


@pytest.fixture(scope="module")
def usual():
    return MeanBeat.of([strip(beat_times(rate, 10), seed=seed) for seed, rate in enumerate((60, 65, 70, 75))], LEAD_V1)


@pytest.mark.parametrize("times", [TIMES, UNEVEN], ids=["even", "uneven"])
@pytest.mark.parametrize("which", ["isoelectric", "mean beat"])
def test_values_sum_to_the_score_of_the_recording_minus_that_of_the_baseline(times, which, usual):
    lead, score = strip(times), drawn_network(0, outputs=2)
    found = explain(score, lead, LEAD_V1, baseline=usual if which == "mean beat" else Isoelectric())
    np.testing.assert_allclose(found.values.sum(axis=0), found.full - found.empty, rtol=1e-9)
    np.testing.assert_allclose(found.full, score(LEAD_V1.apply(lead)[None])[0], rtol=1e-12)
    assert found.names == (*PLAYERS, "timing")


def test_all_parts_together_are_the_recording_itself_and_none_the_baseline():
    lead = strip(UNEVEN)
    scene = Scene.of(lead, LEAD_V1, Isoelectric(), timing=True)
    shown = scene.masked(coalitions(len(scene.active)))
    np.testing.assert_array_equal(shown[-1], LEAD_V1.apply(lead))
    np.testing.assert_array_equal(shown[1, 0], scene.baseline.astype(np.float32))  # timing alone
    assert shown.shape == (128, 1, 1250)
    assert shown.dtype == np.float32


def test_a_linear_model_is_explained_by_its_closed_form():
    weights = np.random.default_rng(0).normal(size=(1250, 2))
    lead = strip(TIMES)
    scene = Scene.of(lead, LEAD_V1, Isoelectric(), timing=False)
    found = explain(lambda x: x[:, 0].astype(np.float64) @ weights, lead, LEAD_V1, timing=False)
    want = (scene.segments.windows * (scene.prepared - scene.baseline)) @ weights
    np.testing.assert_allclose(found.values, want, atol=2e-5)  # windows are float32
    np.testing.assert_allclose(found.interaction, 0, atol=1e-4)


def test_an_absent_p_wave_contributes_exactly_nothing():
    fibrillating = recordings(150, lambda row: row["rhythm"] == "AF", most=8)
    found = explain_many(drawn_network(1), fibrillating, LEAD_V1)
    explained = np.isfinite(found.values).all(axis=1)
    assert explained.sum() >= 4
    assert (found.values[explained][:, [P, PR]] == 0).all()
    assert (found.values[explained][:, [QRS, TP, TIMING]] != 0).all()


def test_two_heads_are_explained_as_each_alone():
    score, lead = drawn_network(2, outputs=2), strip(TIMES)
    both = explain(score, lead, LEAD_V1)
    for head in (0, 1):
        alone = explain(lambda x, k=head: score(x)[:, k], lead, LEAD_V1)
        np.testing.assert_allclose(both.values[:, head], alone.values[:, 0], atol=1e-12)


def test_waves_that_a_model_treats_alike_share_alike():
    """The model sees, of P and T, only how many of them differ from the baseline."""
    lead = strip(TIMES)
    scene = Scene.of(lead, LEAD_V1, Isoelectric(), timing=False)
    moved = np.abs(scene.prepared - scene.baseline) * (scene.segments.windows == 1)
    at = [np.argmax(moved[part]) for part in (P, T)]

    def count(x):
        seen = np.abs(x[:, 0, at] - scene.baseline[at]) > 0.5 * np.abs(scene.prepared - scene.baseline)[at]
        return seen.sum(axis=1) ** 2.0

    values = explain(count, lead, LEAD_V1, timing=False).values[:, 0]
    np.testing.assert_allclose(values, [2, 0, 0, 0, 2, 0], atol=1e-12)


def test_a_square_of_a_sum_of_two_waves_interacts_by_two_and_at_no_further_window():
    """Of P and T the model sees how many differ, squared: 4 − 1 − 1 + 0 = 2 for the pair, 0 for every other."""
    lead = strip(TIMES)
    scene = Scene.of(lead, LEAD_V1, Isoelectric(), timing=False)
    moved = np.abs(scene.prepared - scene.baseline) * (scene.segments.windows == 1)
    at = [np.argmax(moved[part]) for part in (P, T)]
    shown = []

    def count(x):
        shown.append(len(x))
        seen = np.abs(x[:, 0, at] - scene.baseline[at]) > 0.5 * np.abs(scene.prepared - scene.baseline)[at]
        return seen.sum(axis=1, keepdims=True) ** 2.0

    found = explain_many(count, [lead, strip(TIMES[:1])], LEAD_V1, timing=False)
    of_pairs = dict(zip(found.pairs, found.interaction[0], strict=True))
    assert of_pairs.pop(("P", "T")) == pytest.approx(2)
    assert list(of_pairs.values()) == pytest.approx([0] * 14)
    assert np.isnan(found.interaction[1]).all()
    assert sum(shown) == 64


def test_the_interactions_of_many_are_those_of_each_alone():
    leads = [strip(TIMES), strip(UNEVEN)]
    many = explain_many(drawn_network(5), leads, LEAD_V1)
    upper = np.triu_indices(7, 1)
    for row, lead in zip(many.interaction, leads, strict=True):
        np.testing.assert_allclose(row, explain(drawn_network(5), lead, LEAD_V1).interaction[..., 0][upper], atol=1e-12)
    assert many.pairs[:3] == (("P", "PR"), ("P", "QRS"), ("P", "ST"))


@pytest.mark.parametrize("which", ["isoelectric", "mean beat"])
def test_a_model_that_reads_the_height_of_t_is_explained_by_t(which, usual):
    lead = strip(TIMES, T=(0.7, 0.28, 0.045))
    found = explain(t_amplitude, lead, LEAD_V1, baseline=usual if which == "mean beat" else Isoelectric())
    assert share(found.values)[T, 0] > 0.99
    assert found.values[T, 0] > 0


def test_a_model_that_reads_only_uneven_rr_is_explained_by_timing(usual):
    found = explain(uneven_rr, strip(UNEVEN), LEAD_V1, baseline=usual)
    assert found.full[0] > 1
    assert share(found.values)[TIMING, 0] > 0.95


def test_without_qrs_rr_cannot_be_read_so_timing_and_qrs_share_it_as_equals():
    found = explain(uneven_rr, strip(UNEVEN), LEAD_V1)
    assert share(found.values)[[QRS, TIMING], 0] == pytest.approx([0.5, 0.5], abs=0.05)
    assert found.interaction[QRS, TIMING, 0] > 0.8 * found.full[0]


def test_timing_contributes_exactly_nothing_to_an_even_rhythm():
    found = explain(drawn_network(3), strip(TIMES), LEAD_V1)
    assert (found.values[TIMING] == 0).all()
    assert (found.interaction[TIMING] == 0).all()


def test_random_weights_destroy_the_pattern():
    """A network of eight hidden units built to look at T waves, against the same with its weights drawn at random."""
    leads = [strip(TIMES, seed=seed, noise=0.01) for seed in range(3)]

    def pattern(hidden, head):
        found = explain_many(lambda x: np.maximum(x[:, 0] @ hidden - 0.1, 0) @ head, leads, LEAD_V1)
        return share(found.values.T).mean(axis=1)

    time = np.arange(1250)[:, None] / 125
    look = np.exp(-0.5 * ((time - TIMES[1:9] - 0.28) / 0.045) ** 2)  # one beat a unit
    built = pattern(look, np.ones((8, 1)))
    generator = np.random.default_rng(0)
    drawn = [pattern(generator.normal(size=look.shape), generator.normal(size=(8, 1))) for _ in range(10)]
    assert built[T] > 0.95
    assert np.mean([values[T] for values in drawn]) < 0.35
    assert np.mean([np.corrcoef(built, values)[0, 1] for values in drawn]) < 0.3


def test_where_the_window_starts_does_not_matter_to_a_model_that_does_not_care():
    lead = strip(beat_times(60, 24), seconds=24, noise=0.005)
    score = drawn_network(4)
    early, late = (explain(score, lead.crop(start, start + 10), LEAD_V1) for start in (5.0, 7.4))
    np.testing.assert_allclose(early.values, late.values, atol=0.05 * np.abs(early.values).max())


def test_the_curve_lies_under_its_waves_and_sums_to_them():
    lead = strip(TIMES, T=(0.7, 0.28, 0.045))
    found = explain(t_amplitude, lead, LEAD_V1)
    np.testing.assert_allclose(found.curve.sum(axis=0), found.values[:TIMING].sum(axis=0), rtol=1e-9)
    along = found.along(lead)
    assert along.shape == (5000,)
    assert along.sum() == pytest.approx(found.values[:TIMING, 0].sum(), rel=0.01)
    for time in TIMES[1:-1]:
        assert np.argmax(along[round((time - 0.3) * 500) : round((time + 0.5) * 500)]) / 500 == pytest.approx(
            0.58, abs=0.03
        )
    assert found.bounds[T, 0] < 0.28 < found.bounds[T, 1]
    assert np.isnan(found.bounds[TIMING]).all()


def test_many_recordings_are_explained_as_each_alone():
    leads = recordings(10, lambda row: True, most=7)
    score, done = drawn_network(6), []
    many = explain_many(score, iter(leads), LEAD_V1, progress=done.append)
    for lead, row, bounds in zip(leads, many.values, many.bounds, strict=True):
        try:
            alone = explain(score, lead, LEAD_V1)
        except QualityError:
            assert np.isnan(row).all()
            continue
        np.testing.assert_allclose(row, alone.values[:, 0], atol=1e-12)
        np.testing.assert_array_equal(bounds, alone.bounds)
    assert done[-1] == len(leads)
    assert done == sorted(done)
    assert many.names == (*PLAYERS, "timing")
    assert many.baseline == "the isoelectric line"


def test_a_recording_without_beats_is_a_row_of_nan_and_logged(caplog):
    flat = Signal(np.zeros((1, 5000)), 500, ("I",), "mV")
    with caplog.at_level(logging.INFO, logger="stethos"):
        found = explain_many(drawn_network(0), [strip(TIMES), flat, strip(TIMES).crop(0, 5)], LEAD_V1)
    assert np.isfinite(found.values).all(axis=1).tolist() == [True, False, False]
    assert np.isnan(found.bounds[1:]).all()
    assert len(caplog.records) == 2
    with pytest.raises(QualityError, match="two beats"):
        explain(drawn_network(0), flat, LEAD_V1)


def test_nothing_to_explain_is_an_empty_attribution():
    found = explain_many(drawn_network(0), [], LEAD_V1, timing=False)
    assert found.values.shape == (0, 6)
    assert found.bounds.shape == (0, 6, 2)


def test_several_logits_or_one_that_is_not_finite_are_refused():
    lead = strip(TIMES)
    with pytest.raises(ScoreError, match="pick one"):
        explain_many(drawn_network(0, outputs=2), [lead], LEAD_V1)
    with pytest.raises(ScoreError, match="not finite"):
        explain_many(lambda x: np.full((len(x), 1), np.nan), [lead], LEAD_V1)
    with pytest.raises(ChannelError, match="one lead"):
        explain(drawn_network(0), Signal(np.vstack([lead.values] * 2), 500, ("I", "II"), "mV"), LEAD_V1)


def test_work_and_results_can_be_sent_to_another_process():
    work = pickle.loads(pickle.dumps(partial(explain, t_amplitude, preparation=LEAD_V1, baseline=Isoelectric())))
    lead = pickle.loads(pickle.dumps(strip(TIMES)))
    found = pickle.loads(pickle.dumps(work(lead)))
    np.testing.assert_array_equal(found.values, explain(t_amplitude, strip(TIMES), LEAD_V1).values)
