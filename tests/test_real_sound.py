"""Real recordings of machines: what DCASE published is read, heard, scored and handed in; one motor is listened to."""

import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from stethos.data.cohort import open_cohort
from stethos.data.sounds import import_dcase
from stethos.errors import CohortError, ScoreError
from stethos.io import read
from stethos.io.submission import read_scores, scores_from, write_scores
from stethos.metrics import dcase
from stethos.metrics.curves import Clips
from stethos.metrics.interval import clustered_auroc
from stethos.nn.mel import LogMel
from stethos.report.table import Table
from stethos.signal.clip import LEVEL_DBFS, ClipWindows
from stethos.study import detected
from stethos.study.detector import Detector
from stethos.study.listening import Listening, words
from stethos.study.sound_baselines import NearestMeanMel
from stethos.systems import load, os_scl
from stethos.systems.os_scl import Recipe
from stethos.types import Cohort, Predictions, Run, Schedule

pytestmark = pytest.mark.realdata
ROOT = Path(__file__).parents[1]
CLIPS = {2020: 67, 2023: 28}
BRIEF = Schedule(steps=4, batch=8, lr=3e-3, ema=0.9, validate_every=2)
SMALL = Recipe(listen=Listening(seconds=2.0, valid_fraction=0.5), size=0.125, schedule=BRIEF)


@pytest.fixture(scope="module", autouse=True)
def _quick():
    """One baseline, the quickest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(detected, "BASELINES", {"nearest-mean-mel": NearestMeanMel})
        yield


@pytest.fixture(scope="module")
def cohorts(real: Path, tmp_path_factory) -> dict[int, Cohort]:
    folder = tmp_path_factory.mktemp("dcase")
    for year in CLIPS:
        import_dcase(real / "sound" / f"dcase{year}", folder / str(year))
    return {year: open_cohort(folder / str(year)) for year in CLIPS}


@pytest.fixture(scope="module")
def spectra(cohorts) -> dict[int, list[np.ndarray]]:
    """Log-mel spectrogram of the first ten seconds of every clip, `(128, 313)` dB."""
    cut, mel = ClipWindows(10.0), LogMel()
    first = {year: [cut.apply(record.pick("1"))[:1] for record in people] for year, people in cohorts.items()}
    return {year: [mel(torch.from_numpy(wave))[0].numpy() for wave in waves] for year, waves in first.items()}


@pytest.fixture(scope="module")
def run(real: Path, tmp_path_factory) -> Run:
    """A small network after a few steps on the fourteen normal clips of 2023."""
    folder = tmp_path_factory.mktemp("run")
    import_dcase(real / "sound" / "dcase2023", folder / "cohort")
    return os_scl.train(folder / "cohort", out=folder / "run", recipe=SMALL)


@pytest.mark.parametrize("year", CLIPS)
def test_every_clip_here_says_what_it_is(cohorts, year):
    people = cohorts[year]
    assert len(people) == CLIPS[year]
    assert set(people.rows["year"]) == {year}
    assert np.isin(people.rows["anomaly"], (0, 1)).all()
    assert len(set(words(people, "machine"))) == {2020: 6, 2023: 7}[year]
    sides = {(split, anomaly) for split, anomaly in zip(words(people, "split"), people.rows["anomaly"], strict=True)}
    assert sides == {("test", 0), ("test", 1)} | ({("train", 0)} if year == 2023 else set())
    assert (words(people, "domain") == "").all() == (year == 2020)


@pytest.mark.parametrize("year", CLIPS)
def test_every_clip_here_has_a_spectrum(spectra, year):
    assert len(spectra[year]) == CLIPS[year]
    for mel in spectra[year]:
        assert mel.shape == (128, 313)
        assert np.isfinite(mel).all()
        assert mel.min() >= -100  # dB, the floor
        assert mel.std() > 3


def test_each_clip_of_2020_is_scored_by_the_normals_that_are_left(cohorts, spectra, capsys):
    people, mel = cohorts[2020], spectra[2020]
    machine, truth = words(people, "machine"), people.rows["anomaly"]
    score = np.empty(len(people))
    for row in range(len(people)):
        others = np.flatnonzero((truth == 0) & (machine == machine[row]) & (np.arange(len(people)) != row))
        fit = NearestMeanMel().fit([mel[k] for k in others], machine[others], np.full(len(others), ""))
        score[row] = fit.score([mel[row]], machine[[row]])[0]
    assert (score > 0).all()  # no clip here is a copy of another
    said = dcase.evaluate(Clips(truth, machine, words(people, "section")), score, 2020)
    rows = [[name, row["pooled_auc"], row["auc_2020"], row["pauc_2020"]] for name, row in said.per_machine.items()]
    told = Table(("machine", "pooled AUC", "AUC", "pAUC"), rows, "Nearest mean log-mel, each clip left out once").csv()
    print(told)
    assert [line.split(",")[0] for line in capsys.readouterr().out.splitlines()[1:7]] == sorted(set(machine))
    assert all(0 <= item.low <= item.value <= item.high <= 1 for row in rows for item in row[1:])
    assert said.official.n == 67


def test_a_network_trained_on_2023_hands_in_what_it_can_read_back(run, tmp_path):
    said = Predictions.load(run.predictions).part("internal").mean_over_seeds()
    assert len(said) == 14
    detector = load(run.folder)
    assert isinstance(detector, Detector)
    machine = np.char.add(np.char.add(said.facts["machine"], "/"), said.facts["section"])
    limit = detector.memory.threshold[[detector.machine_of(name) for name in machine.tolist()]]
    scores = scores_from(said, (said.score[:, 0] > limit).astype(float))
    files = write_scores(tmp_path, scores, 2023)
    machines = sorted(set(said.facts["machine"]))
    kinds = ("anomaly_score", "decision_result")
    assert sorted(path.name for path in files) == sorted(
        f"{k}_{m}_section_00_test.csv" for k in kinds for m in machines
    )
    back = read_scores(tmp_path)
    want = sorted(zip(scores.machine, scores.file, scores.score, scores.decision, strict=True))
    assert sorted(zip(back.machine, back.file, back.score, back.decision, strict=True)) == want
    assert all(name.startswith("section_00_") and name.endswith(".wav") for name in back.file)


def test_two_test_clips_a_machine_give_a_score_and_the_reasons_why_others_have_none(run):
    os_scl.evaluate(run.folder)
    told = json.loads(run.metrics.read_text())["official"]
    assert (told["origin"], 0 <= told["low"] <= told["value"] <= told["high"] <= 1) == ("real", True)
    said = Predictions.load(run.predictions).part("internal").mean_over_seeds()
    facts = (said.facts[name] for name in ("machine", "section", "domain"))
    found = dcase.evaluate(Clips(said.truth[:, 0], *facts), said.score[:, 0], 2023)
    assert found.official.value == pytest.approx(told["value"])
    why = {curve.name: curve.reason for curve in found.not_estimated}
    assert why["ToyCar/section_00"] == "no anomalous clip among 2"
    assert why["ToyTrain/section_00, source alone"] == "no normal clip among 0"


def test_2020_without_a_normal_to_train_on_is_refused_in_one_sentence(real, tmp_path):
    import_dcase(real / "sound" / "dcase2020", tmp_path / "cohort")
    with pytest.raises(CohortError, match="needs normal recordings to learn from"):
        os_scl.train(tmp_path / "cohort", out=tmp_path / "run", recipe=SMALL)


@pytest.fixture(scope="module")
def bldc() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        return import_module("benchmarks.real.bldc")


def test_a_motor_at_two_rates_gives_windows_of_one_rate_and_level(real, bldc, tmp_path):
    pieces = bldc.pieces_of(real / "sound" / "bldc", tmp_path, 2.0)
    assert len({piece.recording for piece in pieces}) == 14
    assert len(pieces) == 14 * 5
    cut = ClipWindows(2.0, level="rms")
    for piece in pieces[::3]:
        (window,) = cut.apply(read(piece.path).pick("1"))
        assert window.shape == (1, 32_000)
        assert 20 * np.log10(np.sqrt(np.mean(window**2))) == pytest.approx(LEVEL_DBFS, abs=0.01)


def test_a_speed_that_is_left_out_is_in_no_training(real, bldc, tmp_path):
    pieces = bldc.pieces_of(real / "sound" / "bldc", tmp_path, 2.0)
    people = open_cohort(bldc.fold(pieces, "1550", tmp_path / "fold"))
    train, speed = words(people, "split") == "train", words(people, "attributes")
    assert not people.rows["anomaly"][train].any()
    assert set(speed[train]) == {f"speed_{s}" for s in (1400, 1450, 1650, 1750, 1850, 1950, 2000)}
    assert set(speed[~train]) == {"speed_1550"}
    assert sorted(people.rows["anomaly"][~train]) == [0] * 5 + [1] * 5


def test_the_study_of_the_motor_runs_and_says_what_it_cannot_say(real, bldc):
    how = replace(bldc.recipe(), size=0.125, seeds=2, schedule=BRIEF)
    heard = bldc.study(real / "sound" / "bldc", how, ["1650", "1850"])
    assert set(heard.scores) == {bldc.MODEL, bldc.UNTRAINED, bldc.NEAREST}
    assert [len(score) for score in (*heard.scores.values(), *heard.seeds)] == [20] * 5
    np.testing.assert_allclose(np.mean(heard.seeds, axis=0), heard.scores[bldc.MODEL])
    lines = bldc.table(heard)
    assert [line.split(" | ")[0] for line in lines[2:4]] == ["| 1650", "| 1850"]
    with pytest.raises(ScoreError):  # one recording of each condition: no interval over recordings
        clustered_auroc(heard.truth[:10], heard.scores[bldc.MODEL][:10], heard.recording[:10])
