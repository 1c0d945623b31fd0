"""What people do to files and runs, one test each: exit code 2, one sentence that helps, and nothing half done."""

import csv
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from stethos.cli import main
from stethos.io.wfdb import write_wfdb
from stethos.study import controls, validate
from stethos.synth import hospital
from stethos.systems import pocket_k
from stethos.train.run import start_run
from stethos.train.weights import save_weights
from stethos.types import Origin, Record, Run, Signal

RATE = 500.0
TRAIN = ("--preset", "tiny", "--steps", "20", "--batch", "8", "--validate-every", "2", "--target", "potassium > 4.3")


@pytest.fixture(scope="module", autouse=True)
def _quick():
    """Fewer resamples and penalties than in earnest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validate, "DRAWS", 60)
        patch.setattr(controls, "STRENGTHS", np.logspace(-2, 2, 3))
        yield


@pytest.fixture(scope="module")
def trace() -> np.ndarray:
    """10 s of lead I at 500 Hz, mV."""
    return hospital(1, seed=0)[0].signals[0].values[0].astype(float)


def finished(folder: Path, origin: Origin) -> Path:
    """A run with random weights, as if its training had ended."""
    recipe = pocket_k.tiny()
    about = {"system": "pocket_k", "version": "0", "recipe": asdict(recipe), "prepare": {}, "terms": ""}
    run = start_run(folder, about | {"origin": origin})
    save_weights(pocket_k.Ensemble([pocket_k.PocketK(recipe)]), run.weights, {"threshold": "0.0"})
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return finished(tmp_path_factory.mktemp("run"), "real")


def wfdb(folder: Path, values: np.ndarray, lead: str = "I", unit: str = "mV", origin: Origin = "real") -> Path:
    signal = Signal(values[None], RATE, (lead,), unit)
    return write_wfdb(Record("s", "strip", (signal,), origin=origin), folder, "strip")


def table(folder: Path, values: np.ndarray, *notes: str) -> Path:
    path = folder / "strip.csv"
    path.write_text("\n".join([*(f"# {note}" for note in notes), "I", *map(str, values)]))
    return path


def refused(capsys, *arguments: object) -> str:
    """The one sentence of a command that ends with exit code 2 and prints nothing else."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main([str(item) for item in arguments])
    out, said = capsys.readouterr()
    assert stop.value.code == 2
    assert said.startswith("stethos: ")
    assert said.count("\n") == 1, said
    assert "Traceback" not in said
    assert not out
    return said


def spoken(capsys, *arguments: object) -> dict:
    """The one JSON line of `stethos predict`."""
    capsys.readouterr()
    main(["predict", *map(str, arguments)])
    out, said = capsys.readouterr()
    assert not said
    return json.loads(out)


# --- recordings ------------------------------------------------------------------------------------------------


def test_a_truncated_dat(run, trace, tmp_path, capsys):
    header = wfdb(tmp_path, trace)
    samples = header.with_suffix(".dat")
    samples.write_bytes(samples.read_bytes()[:-200])
    said = refused(capsys, "predict", run, header)
    assert "header promises 5000 samples, strip.dat holds 4900" in said


def test_a_header_that_promises_more_samples_than_there_are(run, trace, tmp_path, capsys):
    header = wfdb(tmp_path, trace)
    header.write_text(header.read_text().replace(" 5000\n", " 50000\n", 1))
    assert "header promises 50000 samples, strip.dat holds 5000" in refused(capsys, "predict", run, header)


def test_a_header_that_names_a_file_elsewhere(run, trace, tmp_path, capsys):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    header = wfdb(tmp_path / "deep" / "er", trace)
    header.with_suffix(".dat").rename(tmp_path / "x")  # it is there, and must not be opened all the same
    header.write_text(header.read_text().replace("strip.dat", "../../x"))
    said = refused(capsys, "predict", run, header)
    assert "'../../x', which is not beside it" in said


def test_a_long_run_of_missing_samples_is_refused_with_its_reason(run, trace, tmp_path, capsys):
    trace = trace.copy()
    trace[1000:2000] = np.nan  # 2 of 10 s
    line = spoken(capsys, run, wfdb(tmp_path, trace))
    assert (line["decision"], line["reason"]) == ("abstain", "no usable window: missing")
    assert line["windows_used"] == 0
    assert line["logit"] is None


def test_a_short_run_of_missing_samples_is_used(run, trace, tmp_path, capsys):
    whole = spoken(capsys, run, wfdb(tmp_path, trace))
    trace = trace.copy()
    trace[1000:1100] = np.nan  # 0.2 s
    line = spoken(capsys, run, wfdb(tmp_path, trace))
    assert line["quality"] == "ok"
    assert line["logit"] == pytest.approx(whole["logit"], abs=0.1)


def test_a_window_that_cannot_be_judged_leaves_the_others_alone(run, trace, tmp_path, capsys):
    alone = spoken(capsys, run, wfdb(tmp_path, trace))
    line = spoken(capsys, run, wfdb(tmp_path, np.concatenate([trace, np.full(5000, np.nan)])))
    assert (line["windows"], line["windows_used"], line["quality"]) == (2, 1, "ok, missing")
    assert line["logit"] == pytest.approx(alone["logit"], abs=1e-2)
    assert np.isfinite(line["heart_rate"])


def test_a_flat_line_is_not_judged(run, tmp_path, capsys):
    line = spoken(capsys, run, wfdb(tmp_path, np.full(5000, 0.2)))
    assert (line["decision"], line["reason"]) == ("abstain", "no usable window: flat")


def test_a_unit_that_is_none(run, trace, tmp_path, capsys):
    said = refused(capsys, "predict", run, table(tmp_path, trace, "rate: 500"), "--unit", "potatoes")
    assert "the unit must be one of µV, nV, mV" in said
    assert "'potatoes'" in said


def test_a_unit_that_nobody_states(run, trace, tmp_path, capsys):
    said = refused(capsys, "predict", run, table(tmp_path, trace, "rate: 500"))
    assert "needs the unit of I" in said
    assert "--unit mV" in said


def test_a_unit_that_contradicts_the_file(run, trace, tmp_path, capsys):
    said = refused(capsys, "predict", run, wfdb(tmp_path, trace), "--unit", "mmHg")
    assert "states mV and --unit says mmHg" in said


@pytest.mark.parametrize("unit", ["mmHg", "g", "%", "potatoes"])
def test_a_lead_in_a_unit_that_is_no_voltage(run, trace, tmp_path, capsys, unit):
    said = refused(capsys, "predict", run, table(tmp_path, trace, "rate: 500", f"unit: {unit}"))
    assert unit in said
    assert "mV" in said


@pytest.mark.parametrize(("unit", "steps"), [("uV", 1000), ("mV", 1), ("V", 0.001)])
def test_the_same_strip_in_another_voltage_unit_is_the_same_strip(run, trace, tmp_path, capsys, unit, steps):
    line = spoken(capsys, run, table(tmp_path, trace * steps, "rate: 500", f"unit: {unit}"))
    (tmp_path / "in").mkdir()
    assert line["logit"] == pytest.approx(spoken(capsys, run, wfdb(tmp_path / "in", trace))["logit"], abs=1e-2)


def test_a_missing_lead(run, trace, tmp_path, capsys):
    said = refused(capsys, "predict", run, wfdb(tmp_path, trace, lead="V1"))
    assert "needs channel I; it has V1" in said
    assert spoken(capsys, run, wfdb(tmp_path, trace, lead="V1"), "--lead", "V1")["decision"] != "abstain"


def test_a_strip_of_three_seconds(run, trace, tmp_path, capsys):
    line = spoken(capsys, run, wfdb(tmp_path, trace[:1500]))
    assert (line["decision"], line["reason"]) == ("abstain", "no usable window: short")


def test_an_unknown_rate(run, trace, tmp_path, capsys):
    file = table(tmp_path, trace, "unit: mV")
    said = refused(capsys, "predict", run, file)
    assert "needs the sampling rate, which the file does not state; pass --rate HZ" in said
    assert spoken(capsys, run, file, "--rate", "500")["windows_used"] == 1


@pytest.mark.parametrize(("rate", "words"), [("0", "positive"), ("-5", "positive"), ("40", "above 50 Hz")])
def test_an_impossible_rate(run, trace, tmp_path, capsys, rate, words):
    assert words in refused(capsys, "predict", run, table(tmp_path, trace, "unit: mV"), "--rate", rate)


def test_a_real_strip_for_a_model_of_a_simulated_world(trace, tmp_path, capsys):
    made = finished(tmp_path / "run", "synthetic")
    said = refused(capsys, "predict", made, wfdb(tmp_path, trace))
    assert "a model trained on a simulated world does not score a real person's recording" in said
    assert "--allow-synthetic-model" in said
    line = spoken(capsys, made, wfdb(tmp_path, trace), "--allow-synthetic-model")
    assert line["warning"] == "the model was trained on a simulated world"
    line = spoken(capsys, made, wfdb(tmp_path, trace, origin="synthetic"))
    assert line["warning"] == "the model was trained on a simulated world"


def test_an_abstention_of_a_simulated_model_carries_the_warning_too(tmp_path, capsys):
    made = finished(tmp_path / "run", "synthetic")
    line = spoken(capsys, made, wfdb(tmp_path, np.zeros(5000)), "--allow-synthetic-model")
    assert (line["decision"], line["warning"]) == ("abstain", "the model was trained on a simulated world")


# --- cohorts and runs ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clinic(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bad") / "clinic"
    main(["synth", "hospital", "--patients", "20", "--out", str(folder)])
    return folder


def rewritten(clinic: Path, out: Path, edit) -> Path:
    """The clinic's recordings under an edited table."""
    with (clinic / "cohort.csv").open() as file:
        rows = [dict(row, path=str(clinic / row["path"])) for row in csv.DictReader(file)]
    rows = [edit(number, row) for number, row in enumerate(rows)]
    out.mkdir()
    with (out / "cohort.csv").open("w") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return out


@pytest.fixture(scope="module")
def undisturbed(clinic) -> Run:
    out = clinic.parent / "undisturbed"
    main(["pocket-k", "train", "--cohort", str(clinic), "--out", str(out), *TRAIN])
    return Run(out)


def test_a_path_that_stands_twice(clinic, tmp_path, capsys):
    first = str(next(clinic.glob("records/*/*.hea")))
    cohort = rewritten(clinic, tmp_path / "c", lambda number, row: row | ({"path": first} if number < 2 else {}))
    said = refused(capsys, "pocket-k", "train", "--cohort", cohort, "--out", tmp_path / "r", *TRAIN)
    assert "each path stands once" in said
    assert first in said
    assert not (tmp_path / "r").exists()


def test_words_compared_with_a_number(clinic, tmp_path, capsys):
    cohort = rewritten(clinic, tmp_path / "c", lambda number, row: row | {"label": ("low", "high")[number % 2]})
    flags = ("--cohort", cohort, "--out", tmp_path / "r", *TRAIN[:-1], "label > 5.5")
    said = refused(capsys, "pocket-k", "train", *flags)
    assert "column label holds words (high, low), not numbers" in said
    assert "label == high" in said


def test_a_target_that_was_mistyped_can_be_corrected_in_the_same_folder(clinic, tmp_path, capsys):
    flags = ("pocket-k", "train", "--cohort", str(clinic), "--out", str(tmp_path / "r"))
    refused(capsys, *flags, *TRAIN[:-1], "kalium > 4.3")
    main([*flags, *TRAIN])


def test_a_target_that_nobody_has(clinic, tmp_path, capsys):
    said = refused(capsys, "pocket-k", "train", "--cohort", clinic, "--out", tmp_path / "r", *TRAIN[:-1], "kalium > 4")
    assert "needs the column kalium" in said
    assert "potassium" in said


def test_a_target_without_events(clinic, tmp_path, capsys):
    said = refused(capsys, "pocket-k", "train", "--cohort", clinic, "--out", tmp_path / "r", *TRAIN[:-1], "age > 200")
    assert "age > 200" in said


IMPOSSIBLE = {
    "no validation": (("--valid-fraction", "0"), "valid"),
    "nothing to train on": (("--valid-fraction", "0.5", "--test-fraction", "0.5"), "train"),
    "no seeds": (("--seeds", "0"), "seeds"),
    "no date": (("--later-from", "soon"), "soon"),
    "no preparation": (("--prepare", "lead-v9"), "lead-v1"),
    "no lead": (("--lead", "V5"), "V5"),
}


@pytest.mark.parametrize("what", IMPOSSIBLE)
def test_a_recipe_that_cannot_be(clinic, tmp_path, capsys, what):
    flags, words = IMPOSSIBLE[what]
    assert words in refused(capsys, "pocket-k", "train", "--cohort", clinic, "--out", tmp_path / "r", *TRAIN, *flags)


def test_a_changed_recipe_on_resume(undisturbed, clinic, capsys):
    before = {path: path.read_bytes() for path in undisturbed.folder.rglob("*") if path.is_file()}
    flags = ("--cohort", clinic, "--out", undisturbed.folder, *TRAIN, "--lr", "0.5", "--dropout", "0.1")
    said = refused(capsys, "pocket-k", "train", *flags)
    assert "recipe.schedule.lr: 0.003 → 0.5" in said
    assert "recipe.dropout: 0.0 → 0.1" in said
    assert "batch" not in said
    assert before == {path: path.read_bytes() for path in undisturbed.folder.rglob("*") if path.is_file()}


def test_other_records_on_resume(undisturbed, clinic, tmp_path, capsys):
    cohort = rewritten(clinic, tmp_path / "c", lambda number, row: row | {"subject": row["subject"] + "x"})
    said = refused(capsys, "pocket-k", "train", "--cohort", cohort, "--out", undisturbed.folder, *TRAIN)
    assert "prepare.cohort" in said


def test_other_labels_on_resume(undisturbed, clinic, tmp_path, capsys):
    """Networks of the old labels would be given a threshold and numbers of the new ones."""
    edit = lambda number, row: row | {"potassium": "4.2" if number % 2 else "4.8"}  # noqa: E731
    cohort, out = rewritten(clinic, tmp_path / "c", edit), shutil.copytree(undisturbed.folder, tmp_path / "r")
    said = refused(capsys, "pocket-k", "train", "--cohort", cohort, "--out", out, *TRAIN)
    assert "another" in said


def test_a_full_disk_at_any_file_leaves_a_sentence_and_a_run_that_goes_on(
    undisturbed, clinic, tmp_path, capsys, monkeypatch
):
    """The disk fills up at one file after the other; each repeated command gets one file further."""
    moved = Path.replace

    def fill_at(name: str) -> None:
        def replace(self: Path, target: str | Path) -> Path:
            if Path(target).name == name:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
            return moved(self, target)

        monkeypatch.setattr(Path, "replace", replace)

    command = ("pocket-k", "train", "--cohort", clinic, "--out", tmp_path / "r", *TRAIN)
    for name in ("config.json", "shard-00000.bin", "index.json", "checkpoint-seed-0.pt", "model.safetensors"):
        fill_at(name)
        said = refused(capsys, *command)
        assert "free" in said
        assert "space" in said
        assert not list(tmp_path.rglob(name))
    monkeypatch.undo()
    main([str(item) for item in command])
    assert (tmp_path / "r" / "model.safetensors").read_bytes() == undisturbed.weights.read_bytes()


def test_a_full_disk_at_the_predictions(undisturbed, clinic, capsys, monkeypatch):
    def full(self: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))

    monkeypatch.setattr(Path, "write_bytes", full)
    said = refused(capsys, "pocket-k", "train", "--cohort", clinic, "--out", undisturbed.folder, *TRAIN)
    assert "disk is full" in said


def test_a_run_that_is_killed_and_started_again_ends_with_the_same_weights(undisturbed, clinic, tmp_path):
    run = Run(tmp_path / "r")
    command = ["pocket-k", "train", "--cohort", str(clinic), "--out", str(run.folder), *TRAIN]
    script = "import sys; from stethos.cli import main; main(sys.argv[1:])"
    checkpoint = run.private / "checkpoint-seed-0.pt"
    with subprocess.Popen(
        [sys.executable, "-c", script, *command], env={**os.environ, "OMP_NUM_THREADS": "1"}
    ) as killed:
        deadline = time.monotonic() + 120
        while not checkpoint.exists():
            assert killed.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        killed.send_signal(signal.SIGKILL)
    assert killed.returncode == -signal.SIGKILL
    assert not run.weights.exists()
    steps = [json.loads(line)["step"] for line in run.log.read_text().splitlines()]
    assert 0 < max(steps) < 20
    main(command)
    assert run.weights.read_bytes() == undisturbed.weights.read_bytes()
    assert run.log.read_bytes() == undisturbed.log.read_bytes()


def test_a_run_that_is_not_finished_predicts_nothing(trace, tmp_path, capsys):
    made = finished(tmp_path / "run", "real")
    (made / "model.safetensors").unlink()
    assert "training has not finished" in refused(capsys, "predict", made, wfdb(tmp_path, trace))


def test_weights_that_are_cut_off(trace, tmp_path, capsys):
    made = finished(tmp_path / "run", "real")
    weights = made / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    assert "needs a complete safetensors file" in refused(capsys, "predict", made, wfdb(tmp_path, trace))
