"""The study and the explanation of a finished run, through the command line."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from stethos.cli import main
from stethos.study.attribute import load_attributed
from stethos.study.ensemble import scorer
from stethos.systems import load
from stethos.types import Predictions, Run

BRIEF = ("--preset", "tiny", "--steps", "4", "--batch", "16", "--validate-every", "0")


def stethos(*arguments: object) -> None:
    main([str(item) for item in arguments])


@pytest.fixture(scope="module")
def clinic(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("clinic") / "cohort"
    stethos("synth", "hospital", "--patients", 90, "--seed", 3, "--out", folder)
    return folder


@pytest.fixture(scope="module")
def run(clinic, tmp_path_factory) -> Run:
    made = Run(tmp_path_factory.mktemp("run") / "k")
    flags = ("--target", "potassium > 4.3", "--cut", "4.8", "--label-fractions", "0.5", "--held-out-sites", "harbour")
    stethos("pocket-k", "train", "--cohort", clinic, "--out", made.folder, *BRIEF, *flags)
    stethos("pocket-k", "explain", made.folder, clinic, "--records", 24)
    return made


def test_every_row_adds_up_to_what_the_model_said(run, clinic):
    found = load_attributed(run)
    assert len(found.by_baseline) == 2
    assert len(found.record) == 24
    for item in found.by_baseline:
        known = np.isfinite(item.values).all(axis=1)
        assert known.mean() > 0.9
    said = Predictions.load(run.predictions).mean_over_seeds()
    place = {record: row for row, record in enumerate(said.record)}
    score = said.score[[place[record] for record in found.record], 0]
    total = [item.values.sum(axis=1) for item in found.by_baseline]
    # value of everything minus value of the baseline: it follows the score from recording to recording
    assert np.corrcoef(total[0][np.isfinite(total[0])], score[np.isfinite(total[0])])[0, 1] > 0.5
    assert set(found.truth) == {0.0, 1.0}


def test_one_recording_is_explained_wave_by_wave(run, clinic, capsys):
    strip = sorted(clinic.rglob("*.hea"))[0]
    capsys.readouterr()
    stethos("pocket-k", "explain", run.folder, strip)
    told = json.loads(capsys.readouterr().out)
    assert set(told["shapley"]) >= {"P", "PR", "QRS", "ST", "T", "TP"}
    assert sum(told["shapley"].values()) == pytest.approx(told["logit"] - told["baseline_logit"], abs=1e-4)
    assert told["bounds"]["QRS"][0] < 0 < told["bounds"]["QRS"][1]


def test_a_model_of_a_simulated_world_explains_no_real_recording(run, tmp_path, capsys):
    strip = tmp_path / "strip.csv"
    beats = np.where(np.arange(5000) % 400 < 8, 1.0, 0.0) + 0.01 * np.sin(np.arange(5000))
    strip.write_text("# rate: 500\n# unit: mV\nI\n" + "\n".join(f"{value:.4f}" for value in beats))
    with pytest.raises(SystemExit) as stop:
        stethos("pocket-k", "explain", run.folder, strip)
    assert stop.value.code == 2
    assert "simulated" in capsys.readouterr().err


def test_the_shares_are_in_the_metrics_and_sum_to_one(run):
    numbers = json.loads(run.metrics.read_text())
    share = [numbers[f"shapley.share.{name}"]["value"] for name in ("P", "PR", "QRS", "ST", "T", "TP", "timing")]
    assert sum(share) == pytest.approx(1, abs=1e-9)
    assert "shapley.difference.T" in numbers


def test_what_pairs_of_waves_add_is_in_the_metrics_and_in_the_report(run):
    numbers = json.loads(run.metrics.read_text())
    pairs = [name for name in numbers if name.startswith("shapley.interaction.")]
    assert len(pairs) == 21
    found = load_attributed(run).by_baseline[0]
    known = np.isfinite(found.values).all(axis=1)
    column = found.pairs.index(("QRS", "T"))
    mean = numbers["shapley.interaction.QRS.T"]
    assert mean["value"] == pytest.approx(found.interaction[known, column].mean())
    assert mean["low"] <= mean["value"] <= mean["high"]
    assert "Interaction of waves" in run.report.read_text()


def test_a_run_that_was_explained_without_interactions_says_so(run, tmp_path):
    older = tmp_path / "older"
    shutil.copytree(run.folder, older)
    path = Run(older).private / "attribution.npz"
    with np.load(path) as file:
        np.savez(path, **{name: file[name] for name in file.files if not name.startswith("interaction")})
    stethos("pocket-k", "evaluate", older)
    assert load_attributed(Run(older)).by_baseline[0].interaction is None
    text = Run(older).report.read_text()
    assert "Interactions of waves were not kept" in text
    assert "Contribution of every wave" in text


def test_a_run_of_which_nothing_could_be_explained_is_reported_all_the_same(run, tmp_path):
    none = tmp_path / "none"
    shutil.copytree(run.folder, none)
    path = Run(none).private / "attribution.npz"
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    arrays |= {name: np.full_like(held, np.nan) for name, held in arrays.items() if name.startswith("values-")}
    np.savez(path, **arrays)
    stethos("pocket-k", "evaluate", none)
    assert "None of 24 recordings could be explained" in Run(none).report.read_text()


def test_the_reporting_items_point_to_sections_that_are_there(run):
    text = run.report.read_text()
    titles = {title.lower() for title in re.findall(r"<h2>\d+\. ([^<]+)</h2>", text)}
    named = {
        "missing data", "training", "discrimination", "operating point", "calibration", "usefulness", "subgroups",
        "recalibration on the other cohort", "intended use, and error against coverage", "who was studied",
    }  # fmt: skip
    assert named <= titles
    assert "NOT FILLED IN" in text


def test_the_report_holds_the_whole_study(run):
    text = run.report.read_text()
    for words in (
        "High risk below the threshold", "potassium ≥ 4.8", "By pairing window", "Recalibration on the other cohort",
        "Error against coverage", "Label efficiency", "Missing data", "What the score rests on", "TRIPOD+AI",
        "NOT FILLED IN", "Subgroups", "Example 1",
    ):  # fmt: skip
        assert words in text, words


def test_evaluations_are_counted_and_statements_are_taken(run, tmp_path, caplog):
    before = json.loads((run.folder / "evaluations.json").read_text())["count"]
    said = tmp_path / "said.json"
    said.write_text(json.dumps({"18a": "Nobody paid for this."}))
    stethos("pocket-k", "evaluate", run.folder, "--statements", said)
    assert json.loads((run.folder / "evaluations.json").read_text())["count"] == before + 1
    assert f"evaluation number {before + 1}" in caplog.text
    assert "Nobody paid for this." in run.report.read_text()


def test_a_statement_to_no_item_is_refused(run, tmp_path, capsys):
    said = tmp_path / "said.json"
    said.write_text(json.dumps({"99": "x"}))
    with pytest.raises(SystemExit) as stop:
        stethos("pocket-k", "evaluate", run.folder, "--statements", said)
    assert stop.value.code == 2
    assert "no item 99" in capsys.readouterr().err


@pytest.mark.parametrize(("flags", "words"), [(("--age", 12), "younger than 18 years"), (("--paced",), "paced rhythm")])
def test_outside_of_its_intended_use_the_model_abstains(run, clinic, capsys, flags, words):
    file = next(clinic.glob("records/*/*.hea"))
    capsys.readouterr()
    stethos("predict", run.folder, file, *flags)
    line = json.loads(capsys.readouterr().out)
    assert (line["decision"], line["score"]) == ("abstain", None)
    assert words in line["reason"]


def test_what_nobody_told_is_named(run, clinic, capsys):
    capsys.readouterr()
    stethos("predict", run.folder, next(clinic.glob("records/*/*.hea")), "--age", 60)
    line = json.loads(capsys.readouterr().out)
    assert line["not_checked"] == ["paced"]
    assert line["decision"] in ("above threshold", "below threshold")


def test_a_cross_validation_explains_each_record_once(clinic, tmp_path):
    out = tmp_path / "folds"
    flags = ("--target", "potassium > 4.3", "--folds", 2, "--explained")
    stethos("pocket-k", "cross-validate", clinic, "--out", out, *BRIEF, *flags)
    found = load_attributed(Run(out))
    assert sorted(found.record) == sorted(Predictions.load(Run(out).predictions).record)
    text = Run(out).report.read_text()
    for words in ("Against the expected waves", "Interaction of waves", "Contribution of every wave"):
        assert words in text, words
    first = found.by_baseline[0]
    assert first.interaction.shape == (len(found.record), 21)
    assert "shapley.interaction.QRS.T" in json.loads(Run(out).metrics.read_text())


def test_a_score_in_parts_is_the_score_of_the_whole(run):
    model = load(run.folder)
    x = np.random.default_rng(0).normal(size=(70, 1, 1250)).astype(np.float32)
    assert np.allclose(scorer(model.score)(x), scorer(model.score, chunk=1000)(x), atol=1e-5)
