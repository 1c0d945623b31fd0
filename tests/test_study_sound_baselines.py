"""Baselines of anomalous sound: planted faults are heard, nothing else is, and only normal clips decide."""

import numpy as np
import pytest
import torch
from scipy.signal import butter, lfilter, sosfilt

from stethos.errors import CohortError, QualityError, RecipeError
from stethos.metrics.ranking import auroc
from stethos.nn.mel import LogMel
from stethos.study.by_class import machines_of
from stethos.study.reconstruction import Autoencoder, Redrawn
from stethos.study.sound_baselines import BASELINES, NearestMeanMel, mean_spectra
from stethos.study.twfr import DECAYS, TwfrGmm, choose_decay, ranked_mean, separation

RATE = 16000
QUICK = {**BASELINES, "autoencoder": lambda: Autoencoder(epochs=8)}


def running(generator, pitch, fault=""):
    """Two seconds of a machine: a harmonic hum in coloured noise, its speed and level a little different each time."""
    count = 2 * RATE
    time = np.arange(count) / RATE
    hum = pitch * (1 + 0.01 * generator.normal()) * time
    wave = 0.02 * lfilter([1], [1, -0.9], generator.normal(size=count))
    for harmonic in range(1, 9):
        wave += 0.05 / harmonic * np.sin(2 * np.pi * (harmonic * hum + generator.random()))
    wave *= 10 ** (generator.normal() / 20)
    if fault == "a tone":
        wave += 0.008 * np.sin(2 * np.pi * 3000 * time)
    if fault == "a band missing":
        wave = sosfilt(butter(4, [2000, 2600], "bandstop", fs=RATE, output="sos"), wave)
    return wave.astype(np.float32)


def spectra(generator, faults, count):
    """Log-mel spectrograms of two machine types of two identities, with class and fault of each."""
    pitch = {"fan/id_00": 90, "fan/id_02": 104, "pump/id_00": 150, "pump/id_02": 173}
    keys = [(clazz, fault) for clazz in pitch for fault in faults for _ in range(count)]
    waves = np.stack([running(generator, pitch[clazz], fault) for clazz, fault in keys])
    with torch.inference_mode():
        mel = LogMel()(torch.from_numpy(waves)[:, None]).numpy()
    return mel, *(np.array(column) for column in zip(*keys, strict=True))


@pytest.fixture(scope="module")
def factory():
    generator = np.random.default_rng(0)
    normals, clazz, _ = spectra(generator, [""], 24)
    return normals, clazz, *spectra(generator, ["", "a tone", "a band missing"], 12)


def heard(score, clazz, fault, which):
    """Mean AUROC over identities of clips with a fault among those without."""
    chosen = np.isin(fault, ["", which])
    parts = [chosen & (clazz == name) for name in np.unique(clazz)]
    return np.mean([auroc((fault[rows] == which) * 1, score[rows]) for rows in parts])


@pytest.mark.parametrize("name", BASELINES)
def test_a_planted_fault_is_heard_by_every_baseline(name, factory):
    normals, clazz, mel, owner, fault = factory
    score = QUICK[name]().fit(normals, clazz, np.full(len(clazz), "")).score(mel, owner)
    assert heard(score, owner, fault, "a band missing") > 0.95
    assert heard(score, owner, fault, "a tone") > 0.8


@pytest.mark.parametrize("name", BASELINES)
def test_normal_clips_halved_at_random_are_not_told_apart(name, factory):
    normals, clazz, mel, owner, fault = factory
    score = QUICK[name]().fit(normals, clazz, np.full(len(clazz), "")).score(mel, owner)
    quiet, halves = fault == "", np.tile([0, 1], len(fault) // 2)
    assert abs(auroc(halves[quiet], score[quiet]) - 0.5) < 0.25


@pytest.mark.parametrize("name", BASELINES)
def test_spectrograms_may_come_one_by_one_and_in_any_order(name, factory):
    normals, clazz, mel, owner, _ = factory
    fitted = QUICK[name]().fit(iter(normals), clazz, np.full(len(clazz), ""))
    order = np.random.default_rng(0).permutation(len(mel))
    want = fitted.score(mel, owner)
    assert fitted.score((item for item in mel[order]), owner[order]) == pytest.approx(want[order], rel=1e-5)
    again = QUICK[name]().fit(normals, clazz, np.full(len(clazz), "")).score(mel, owner)
    assert np.array_equal(want, again)


@pytest.mark.parametrize("name", BASELINES)
def test_a_machine_that_was_not_heard_and_broken_levels_are_one_sentence(name, factory):
    normals, clazz, mel, owner, _ = factory
    few = slice(0, None, 12)
    fitted = QUICK[name]().fit(normals[few], clazz[few], np.full(len(clazz[few]), ""))
    with pytest.raises(CohortError, match="needs normal training clips of valve"):
        fitted.score(mel[:1], np.array(["valve/id_04"]))
    with pytest.raises(CohortError, match="got none"):
        QUICK[name]().fit(normals[:0], clazz[:0], clazz[:0])
    broken = np.where(np.arange(128)[:, None] == 3, np.nan, mel[:1])
    assert np.isnan(fitted.score(broken, owner[:1])).all()
    with pytest.raises(CohortError, match="finite"):
        QUICK[name]().fit(np.concatenate([normals[few], broken]), np.append(clazz[few], owner[0]), clazz[few])


def test_the_machine_is_what_stands_before_the_section():
    assert machines_of(["fan/id_00", "a/b/id_02", "pump"]).tolist() == ["fan", "a/b", "pump"]


# the mean spectrum


def test_the_mean_spectrum_is_compared_with_the_nearest_of_the_class():
    normals = np.array([[[0, 2], [0, 0]], [[8, 8], [1, 1]], [[5, 5], [0, 0]]], float)  # means (1, 0), (8, 1), (5, 0)
    fitted = NearestMeanMel().fit(normals, np.array(["a", "a", "b"]), np.array([""] * 3))
    assert mean_spectra(normals).tolist() == [[1, 0], [8, 1], [5, 0]]
    assert fitted.score(np.array([[[5, 5], [4, 2]]] * 2, float), np.array(["a", "b"])) == pytest.approx([13**0.5, 3])


# time-weighted spectra


def test_weights_fall_from_the_loudest_frame():
    mel = np.array([[1.0, 3.0, 2.0], [-10, -10, -30]])
    got = ranked_mean(mel, [0, 0.5, 1])
    assert got[0].tolist() == [3, -10]
    assert got[1] == pytest.approx([(3 + 2 / 2 + 1 / 4) / 1.75, (-10 - 5 - 7.5) / 1.75])
    assert got[2] == pytest.approx([2, -50 / 3])


def test_the_order_of_frames_does_not_matter_and_a_gain_only_adds():
    mel = np.random.default_rng(0).normal(size=(4, 50))
    mixed = mel[:, np.random.default_rng(1).permutation(50)]
    assert ranked_mean(mixed, DECAYS) == pytest.approx(ranked_mean(mel, DECAYS))
    assert ranked_mean(mel + 7, DECAYS) == pytest.approx(ranked_mean(mel, DECAYS) + 7)


def identities(kind, count=60):
    """Two identities that differ in rare impulses, or in the steady level, and in nothing else."""
    generator = np.random.default_rng(0)
    held = {}
    for number, name in enumerate(("valve/id_00", "valve/id_02")):
        mel = generator.normal(0, 1, (count, 8, 100))
        own = slice(4 * number, 4 * number + 4)
        if kind == "impulses":
            mel += generator.normal(0, 1.5, (count, 8, 1))  # its surroundings, louder or softer
            mel[:, own, ::25] += 5
        else:
            mel[:, own] += 0.12
            mel[:, :, ::25] += generator.normal(0, 5, (count, 8, 4))
        held[name] = np.array([ranked_mean(item, DECAYS) for item in mel])
    return held


def test_normals_of_other_identities_choose_a_small_r_for_impulses_and_a_large_one_for_a_steady_sound():
    assert DECAYS[choose_decay(identities("impulses"), DECAYS, 0)] <= 0.9
    assert DECAYS[choose_decay(identities("level"), DECAYS, 0)] >= 0.98


def test_identities_that_are_the_same_are_not_told_apart():
    generator = np.random.default_rng(0)
    same = {name: generator.normal(size=(80, 5)) for name in "abc"}
    assert separation(same, 0) == pytest.approx(0.5, abs=0.08)
    assert separation({name: rows + 9 * (name == "a") for name, rows in same.items()}, 0) > 0.7


def test_one_identity_or_no_difference_takes_r_of_0_99(factory):
    normals, clazz, *_ = factory
    one = clazz == "fan/id_00"
    assert TwfrGmm().fit(normals[one], clazz[one], clazz[one]).decay == {"fan": 0.99}
    far = {name: np.full((6, len(DECAYS), 3), value) for name, value in (("a", 0.0), ("b", 50.0))}
    noise = np.random.default_rng(0).normal(size=(6, 1, 3))
    assert DECAYS[choose_decay({name: rows + noise for name, rows in far.items()}, DECAYS, 0)] == 0.99
    assert TwfrGmm(decays=(0.5,)).fit(normals, clazz, clazz).decay == {"fan": 0.5, "pump": 0.5}


def flat(rows):
    """Spectrograms of one frame, so that R is the frame whatever r."""
    return np.asarray(rows, float)[:, :, None]


def test_the_score_is_minus_the_log_density_and_held_out_normals_choose_the_number_of_components():
    generator = np.random.default_rng(0)
    single = generator.normal(size=(200, 3))
    double = single + np.repeat([[0.0], [12.0]], 100, axis=0)
    clazz = np.repeat(["fan/id_00", "fan/id_02"], 200)
    fitted = TwfrGmm().fit(flat(np.vstack([single, double])), clazz, clazz)
    one, two = fitted.mixtures["fan/id_00"], fitted.mixtures["fan/id_02"]
    assert (one.n_components, two.n_components) == (1, 2)
    probes = generator.normal(size=(5, 3))
    assert fitted.score(flat(probes), clazz[:5]) == pytest.approx(-one.score_samples(probes))
    # the two components weigh ½ each, and the far one adds nothing
    assert fitted.score(flat(probes), clazz[-5:]) == pytest.approx(-two.score_samples(probes) - np.log(2), abs=0.02)


def test_a_class_of_one_clip_and_copies_of_a_clip_have_a_mixture():
    generator = np.random.default_rng(0)
    rows = np.vstack([generator.normal(size=(40, 3)), np.full((1, 3), 5), np.full((6, 3), 9)])
    clazz = np.repeat(["fan/id_00", "fan/id_02", "fan/id_04"], [40, 1, 6])
    score = (
        TwfrGmm()
        .fit(flat(rows), clazz, clazz)
        .score(flat([[5] * 3, [6] * 3, [9] * 3, [8] * 3]), clazz[[40, 40, 41, 41]])
    )
    assert np.isfinite(score).all()
    assert score[0] < score[1]
    assert score[2] < score[3]
    alone = TwfrGmm().fit(flat(rows[40:41]), clazz[40:41], clazz[40:41])  # a machine of one clip
    assert np.diff(alone.score(flat([[5] * 3, [6] * 3]), clazz[[40, 40]])) > 0


def test_an_r_outside_the_unit_interval_is_refused():
    with pytest.raises(RecipeError, match=r"r in \[0, 1\]"):
        TwfrGmm(decays=(1.2,)).fit(np.zeros((2, 3, 4)), np.array(["a", "a"]), np.array(["", ""]))


# the autoencoder


def test_the_autoencoder_has_the_layers_of_the_baseline():
    model = Redrawn(torch.zeros(128), 1.0)
    inside = 3 * (128 * 128 + 128)
    linear = (640 * 128 + 128) + inside + (128 * 8 + 8) + (8 * 128 + 128) + inside + (128 * 640 + 640)
    assert sum(weight.numel() for weight in model.parameters()) == linear + 2 * (8 * 128 + 8)
    assert model(torch.zeros(2, 640)).shape == (2, 640)


def test_the_error_of_a_network_that_draws_the_mean_is_the_variance_in_square_decibels():
    model = Redrawn(torch.tensor([1.0, -2.0]), 3.0).eval()
    torch.nn.init.zeros_(model.layers[-1].weight)
    torch.nn.init.zeros_(model.layers[-1].bias)
    frames = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    want = float((frames - torch.tensor([1.0, -2.0])).square().mean())
    assert model.error(frames) == pytest.approx(want, rel=1e-5)


def test_a_run_of_frames_never_crosses_from_one_clip_to_the_next():
    # every clip is constant: within one all five frames are alike, across two they are not
    level = np.random.default_rng(0).normal(size=(40, 1, 1)) * 10
    mel = np.broadcast_to(level, (40, 4, 7)) + np.zeros((40, 4, 7))
    clazz = np.repeat("fan/id_00", 40)
    fitted = Autoencoder(epochs=150, batch=64).fit(mel, clazz, clazz)
    jump = np.concatenate([np.full((1, 4, 3), -10.0), np.full((1, 4, 4), 10.0)], axis=2)
    score = fitted.score(np.concatenate([mel, jump]), np.append(clazz, clazz[:1]))
    assert score[-1] > 5 * score[:-1].max()


def test_the_seed_decides_and_torch_s_own_generator_is_left_alone(factory):
    normals, clazz, mel, owner, _ = factory
    few, state = slice(0, None, 8), torch.random.get_rng_state()
    first, again, other = (
        Autoencoder(epochs=1, seed=seed).fit(normals[few], clazz[few], clazz[few]).score(mel, owner)
        for seed in (0, 0, 1)
    )
    assert np.array_equal(first, again)
    assert not np.allclose(first, other)
    assert torch.equal(state, torch.random.get_rng_state())


def test_a_clip_of_fewer_than_five_frames_is_refused():
    with pytest.raises(QualityError, match="reads 5 frames at once; a clip has 4"):
        Autoencoder(epochs=1).fit(np.zeros((1, 8, 4)), np.array(["a"]), np.array([""]))
