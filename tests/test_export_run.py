"""From a finished run to a folder for a device, and to the same answer without this library."""

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stethos.cli import main
from stethos.data.write import write_cohort
from stethos.export import prepare as graphs
from stethos.export import run_alone
from stethos.export.run_alone import RefusedError
from stethos.io import read
from stethos.study import controls, handheld, validate
from stethos.study.handheld import operating_points, risk_groups
from stethos.study.several_parts import thresholds_of
from stethos.synth import echo_world, hospital
from stethos.systems import anyecg_echo, load, pocket_k
from stethos.types import Cohort, Predictions, Record, Run

onnx = pytest.importorskip("onnx")

RATE = 250
NARROW = ("--widths", 16, "--widths", 32, "--blocks", 1, "--blocks", 1)
BLOCKED = """
import runpy, sys
class Wall:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "scipy", "stethos", "onnx", "pandas", "sklearn"}:
            raise ImportError(f"{name} is not here")
sys.meta_path.insert(0, Wall())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def stethos(*arguments: object) -> None:
    main([str(item) for item in arguments])


def refused(capsys, *arguments: object) -> str:
    """The one sentence of a command that ends with exit code 2."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        stethos(*arguments)
    said = capsys.readouterr().err
    assert (stop.value.code, said.count("\n")) == (2, 1), said
    return said


def predicted(capsys, *arguments: object) -> dict:
    capsys.readouterr()
    stethos("predict", *arguments)
    return json.loads(capsys.readouterr().out)


@pytest.fixture(scope="module", autouse=True)
def _quick():
    """Fewer resamples and penalties than in earnest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validate, "DRAWS", 60)
        patch.setattr(controls, "STRENGTHS", np.logspace(-2, 2, 3))
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("export")


@pytest.fixture(scope="module")
def strips(folder) -> Path:
    """One strip a person; every other one is upside down, which the column "inverted" says."""
    people = hospital(70, seed=2)
    _, first = np.unique(people.subjects, return_index=True)
    inverted = np.arange(len(first)) % 2.0
    rows = {name: people.rows[name][first] for name in ("id", "subject", "age", "sex")} | {"inverted": inverted}

    def strip(row: int) -> Record:
        record = people[int(first[row])]
        lead = record.signals[0]
        return replace(record, signals=(replace(lead, values=lead.values * (1 - 2 * inverted[row])),))

    write_cohort(Cohort(rows, strip, "synthetic"), folder / "strips")
    return folder / "strips"


@pytest.fixture(scope="module")
def run(strips, folder) -> Run:
    """It tells whether a strip is upside down, so that its logits spread."""
    flags = ("--steps", 40, "--batch", 16, "--validate-every", 20, "--test-fraction", 0.6, "--lr", 0.01)
    out = folder / "run"
    train = ("pocket-k", "train", "--cohort", strips, "--out", out, "--target", "inverted == 1")
    stethos(*train, "--preset", "tiny", *NARROW, *flags)
    return Run(out)


@pytest.fixture(scope="module")
def said(run) -> Predictions:
    return Predictions.load(run.predictions).mean_over_seeds()


@pytest.fixture(scope="module")
def exported(run, strips, folder) -> Path:
    stethos("export", run.folder, strips, "--out", folder / "hand", "--rate", RATE)
    return folder / "hand"


@pytest.fixture(scope="module")
def facts(exported) -> dict:
    return json.loads((exported / "export.json").read_text())


@pytest.fixture(scope="module")
def strip(strips) -> np.ndarray:
    """30 s of one simulated person at 250 Hz, mV."""
    lead = read(sorted(strips.glob("records/*/*.hea"))[5]).signals[0]
    trace = np.tile(lead.values[0].astype(float), 3)
    return np.interp(np.arange(30 * RATE) / RATE, np.arange(len(trace)) / lead.rate, trace).round(6)


@pytest.fixture
def file(strip, tmp_path) -> Path:
    np.savetxt(tmp_path / "strip.csv", strip, fmt="%.6f")
    return tmp_path / "strip.csv"


def alone(folder: Path, *arguments: object) -> subprocess.CompletedProcess:
    """run.py where torch, scipy and this library cannot be imported."""
    command = [sys.executable, "-W", "error", "-c", BLOCKED, str(folder / "run.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def answered(folder: Path, *arguments: object) -> dict:
    return run_alone.answer(folder, run_alone._parser().parse_args([str(item) for item in arguments]))


def test_without_this_library_the_answer_is_that_of_predict(run, exported, file, capsys):
    done = alone(exported, file, "--rate", RATE, "--synthetic")
    assert done.returncode == 0, done.stderr
    line = json.loads(done.stdout)
    want = predicted(
        capsys, run.folder, file, "--rate", RATE, "--unit", "mV", "--lead", "ch1", "--allow-synthetic-model"
    )
    assert line["logit"] == pytest.approx(want["logit"], abs=1e-4)
    assert line["score"] == pytest.approx(want["score"], abs=1e-4)
    assert (line["windows"], line["windows_used"]) == (want["windows"], want["windows_used"]) == (3, 3)
    for name in ("decision", "model", "warning", "not_checked"):
        assert line[name] == want[name], name


def test_the_logits_of_a_run_spread_so_that_the_comparison_means_something(said):
    assert said.score.std() > 0.3


def test_an_array_gives_what_a_table_gives(exported, file, strip, tmp_path):
    np.save(tmp_path / "strip.npy", strip.astype(np.float32))
    flags = ("--rate", RATE, "--synthetic")
    assert answered(exported, tmp_path / "strip.npy", *flags)["logit"] == pytest.approx(
        answered(exported, file, *flags)["logit"], abs=1e-6
    )


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--rate", 500, "--synthetic"), "this export reads 250 Hz, the recording has 500 Hz"),
        (("--rate", RATE, "--unit", "uV", "--synthetic"), "reads mV, the recording is in uV"),
        (("--rate", RATE), "does not score a real person's recording"),
    ],
)
def test_what_the_export_was_not_made_for_gets_one_sentence(exported, file, flags, words):
    with pytest.raises(RefusedError, match=words):
        answered(exported, file, *flags)


def test_a_refusal_is_one_line_and_exit_code_two(exported, file):
    done = alone(exported, file, "--rate", 500, "--synthetic")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


@pytest.mark.parametrize("text", ["0.1,0.2\n0.3,0.4\n", "", "lead\n0.1\nbroken\n"])
def test_a_table_that_is_not_one_column_of_numbers_is_refused(exported, tmp_path, text):
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(RefusedError, match="one column of numbers"):
        answered(exported, tmp_path / "bad.csv", "--rate", RATE, "--synthetic")


def test_a_title_and_windows_that_are_incomplete_or_lack_samples_change_nothing(exported, strip, tmp_path):
    lines = [f"{value:.6f}" for value in strip]
    lines[12 * RATE] = ""  # in the second window
    (tmp_path / "gap.csv").write_text("\n".join(["lead I", *lines, "0.1", "0.1"]) + "\n")
    found = answered(exported, tmp_path / "gap.csv", "--rate", RATE, "--synthetic")
    assert (found["windows"], found["windows_used"]) == (3, 2)
    np.savetxt(tmp_path / "two.csv", np.concatenate([strip[: 10 * RATE], strip[20 * RATE :]]), fmt="%.6f")
    assert found["logit"] == answered(exported, tmp_path / "two.csv", "--rate", RATE, "--synthetic")["logit"]


@pytest.mark.parametrize(
    ("flags", "reason"),
    [(("--age", 12), "younger than 18 years"), (("--paced", "yes"), "paced rhythm")],
)
def test_outside_of_the_intended_use_it_abstains(exported, file, flags, reason):
    found = answered(exported, file, "--rate", RATE, "--synthetic", *flags)
    assert (found["decision"], found["reason"]) == ("abstain", reason)
    assert "logit" not in found


def test_a_strip_that_is_too_short_is_abstained_from(exported, tmp_path):
    np.savetxt(tmp_path / "short.csv", np.zeros(5 * RATE))
    found = answered(exported, tmp_path / "short.csv", "--rate", RATE, "--synthetic")
    assert found["decision"] == "abstain"
    assert "10 s" in found["reason"]


def test_the_facts_are_those_of_the_run(run, facts):
    assert facts["model"] == hashlib.sha256(run.weights.read_bytes()).hexdigest()
    assert facts["threshold"]["logit"] == load(run.folder).threshold
    assert facts["origin"] == "synthetic"
    assert (facts["rate"], facts["samples"], facts["prepared_rate"]) == (250.0, 1250, 125.0)
    assert facts["names"] == ["inverted == 1"] == [facts["target"]]


def test_the_operating_points_are_those_of_the_evaluation(run, said, facts):
    numbers = validate.validate(said, pocket_k.recipe_of(run).operate)
    (point,) = facts["operating_points"]
    assert point["split"] == "internal"
    for name in ("sensitivity", "specificity", "ppv", "npv"):
        want = numbers[f"internal.{name}"]
        assert point[name] == pytest.approx([want.value, want.low, want.high])
    assert point["prevalence"] == pytest.approx(1 - point["trivial_npv"]) == numbers["internal.prevalence"].value


def test_the_risk_of_a_group_is_the_share_of_its_records_with_the_event(said, facts):
    part = said.part("internal")
    groups = facts["risk_groups"]
    assert groups[0]["from"] is groups[-1]["to"] is None
    assert sum(group["n"] for group in groups) == len(part)
    assert len(groups) == min(5, len(part) // 20)
    for group in groups:
        low, high = (-np.inf if group["from"] is None else group["from"]), (group["to"] or np.inf)
        inside = (part.score[:, 0] >= low) & (part.score[:, 0] < high)
        assert group["risk"] == pytest.approx(part.truth[inside, 0].mean())
        assert group["low"] <= group["risk"] <= group["high"]
    assert [a["to"] for a in groups[:-1]] == [b["from"] for b in groups[1:]]


def test_a_group_of_eight_in_ten_has_the_interval_of_wilson():
    """Twenty people with one record each, 16 with the event: 0.584 to 0.919 by Wilson's formula."""
    truth = np.r_[np.zeros(20), np.ones(16), np.zeros(4)]
    names = np.arange(40).astype(str)
    said = Predictions(np.arange(40.0)[:, None], truth[:, None], names, names, ["internal"] * 40, [0] * 40, {}, ("k",))
    groups = risk_groups(said)
    assert [group["n"] for group in groups] == [20, 20]
    assert (groups[1]["risk"], groups[1]["low"], groups[1]["high"]) == pytest.approx((0.8, 0.5840, 0.9193), abs=1e-3)
    assert groups[0]["risk"] == 0
    assert operating_points(said, float("nan")) == []


def test_recordings_that_the_run_was_not_tested_on_are_refused(run, folder, capsys):
    """The same people in the simulated hospital, whom nobody turned upside down."""
    said = refused(capsys, "export", run.folder, "--out", folder / "none")
    assert "the cohort must hold the recordings that the run was tested on" in said
    assert not (folder / "none").exists()


def test_an_export_whose_filter_is_another_ends_with_exit_code_two_and_leaves_nothing(
    run, strips, exported, folder, capsys, monkeypatch
):
    right = handheld.prepare_graph

    def wrong(preparation, rate):
        kept = graphs.butterworth
        monkeypatch.setattr(graphs, "butterworth", lambda n, hertz, *rest: kept(n, tuple(2 * f for f in hertz), *rest))
        return right(preparation, rate)

    monkeypatch.setattr(handheld, "prepare_graph", wrong)
    monkeypatch.setattr(handheld, "score_graph", lambda *_: onnx.load(exported / "score.onnx"))  # saves seconds
    before = sorted(path.name for path in folder.iterdir())
    said = refused(capsys, "export", run.folder, strips, "--out", folder / "wrong", "--rate", RATE)
    assert "the first to differ is prepare; nothing was written" in said
    assert sorted(path.name for path in folder.iterdir()) == before


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--rate", "nan"), "--rate is a positive number of Hz; got nan"),
        (("--rate", 60), "60 Hz"),
        (("--records", 0), "--records is 1 or more"),
    ],
)
def test_what_cannot_be_asked_for_is_refused_in_a_sentence(run, strips, folder, capsys, flags, words):
    assert words in refused(capsys, "export", run.folder, strips, "--out", folder / "no", *flags)
    assert not (folder / "no").exists()


def test_eight_bits_answer_alike_and_take_less_room(run, strips, exported, folder, capsys, monkeypatch):
    monkeypatch.setattr(handheld, "score_graph", lambda *_: onnx.load(exported / "score.onnx"))  # saves seconds
    capsys.readouterr()
    stethos("export", run.folder, strips, "--out", folder / "eight", "--rate", RATE, "--precision", "int8")
    assert capsys.readouterr().out.splitlines()[-1] == str(folder / "eight")
    told = json.loads((folder / "eight" / "parity.json").read_text())
    assert 0 < told["dp"] <= 0.05
    sizes = [(place / "score.onnx").stat().st_size for place in (folder / "eight", exported)]
    assert sizes[0] < 0.7 * sizes[1]


# --- other runs -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def measured(folder) -> Run:
    """Of a simulated hospital; what it measures is potassium."""
    stethos("synth", "hospital", "--patients", 24, "--out", folder / "clinic")
    flags = ("--preset", "tiny", *NARROW, "--steps", 2, "--batch", 8, "--validate-every", 0, "--target", "potassium")
    stethos("pocket-k", "train", "--cohort", folder / "clinic", "--out", folder / "measured", *flags)
    return Run(folder / "measured")


def test_a_measured_target_of_a_hospital_that_is_simulated_again(measured, folder, capsys):
    said = refused(capsys, "export", measured.folder, "--out", folder / "m", "--precision", "int8")
    assert "exported as fp32 only" in said
    stethos("export", measured.folder, "--out", folder / "m")
    said = capsys.readouterr().out
    assert "Δ logit" in said
    assert "probability" not in said
    facts = json.loads((folder / "m" / "export.json").read_text())
    assert (facts["measured"], facts["threshold"]["logit"], facts["risk_groups"]) == (True, None, [])
    file = sorted((folder / "clinic").glob("records/*/*.hea"))[0]
    want = predicted(capsys, measured.folder, file)
    lead = read(file).signals[0]
    assert lead.rate == 500
    np.save(folder / "strip.npy", lead.values[0])
    found = answered(folder / "m", folder / "strip.npy", "--rate", 500, "--synthetic")
    assert (found["decision"], "logit" in found) == ("measured", False)
    assert found["score"] == pytest.approx(want["score"], abs=1e-4)


@pytest.fixture(scope="module")
def echo(folder) -> Run:
    """Two labels of an echo laboratory's patients."""
    recipe = replace(
        anyecg_echo.tiny(), labels=("hypertension == 1", "sex == F"), widths=(16, 16), blocks=(1, 1), width=8,
        tune_steps=20, tune_batch=16, tune_lr=0.03, schedule=replace(anyecg_echo.tiny().schedule, validate_every=0),
    )  # fmt: skip
    people = hospital(40, seed=0, world=echo_world())
    write_cohort(people, folder / "echo-clinic")
    return anyecg_echo.train(folder / "echo-clinic", out=folder / "echo", recipe=recipe)


def test_several_labels_are_decided_each_at_its_own_point(echo, folder, capsys):
    stethos("export", echo.folder, folder / "echo-clinic", "--out", folder / "e")
    facts = json.loads((folder / "e" / "export.json").read_text())
    assert facts["names"] == ["hypertension == 1", "sex == F"]
    assert facts["threshold"]["logit"] == thresholds_of(echo)
    file = next(p for p in sorted((folder / "echo-clinic").glob("records/*/*.hea")) if read(p).signals[0].rate == 500)
    want = predicted(capsys, echo.folder, file)["labels"]
    np.save(folder / "echo.npy", read(file).signals[0].values[0])
    found = answered(folder / "e", folder / "echo.npy", "--rate", 500, "--synthetic")["labels"]
    assert list(found) == list(want)
    for name, one in found.items():
        assert one["logit"] == pytest.approx(want[name]["logit"], abs=1e-4)
        assert one["decision"] == want[name]["decision"] != "none"
    assert abs(found["sex == F"]["logit"] - found["hypertension == 1"]["logit"]) > 1e-2


@pytest.mark.parametrize(
    ("system", "verb", "words"),
    [
        ("ecgflow_cmr", "train", "draws moving hearts"),
        ("anyecg_echo", "pretrain", "of anyecg-echo pretrain"),
        ("pocket_k", "cross_validate", "of pocket-k cross-validate"),
    ],
)
def test_a_run_that_cannot_be_exported_is_told_which_can(tmp_path, capsys, system, verb, words):
    (tmp_path / "config.json").write_text(json.dumps({"system": system, "protocol": {"verb": verb}}))
    said = refused(capsys, "export", tmp_path, "--out", tmp_path / "out")
    assert words in said
    assert "runs of pocket-k train and student, anyecg-echo train, os-scl train" in said
