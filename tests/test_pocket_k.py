"""Pocket-K from a folder of recordings to a report, through the command line, on a hospital of 60 patients."""

import csv
import hashlib
import json
import re
import shutil
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import wearable_files
from sklearn.metrics import roc_auc_score

from stethos.cli import main
from stethos.data.write import write_cohort
from stethos.io import read
from stethos.io.wfdb import write_wfdb
from stethos.nn.ecgfounder import published_name
from stethos.nn.net1d import Net1d
from stethos.study import controls, validate
from stethos.synth import hospital
from stethos.systems import load, pocket_k
from stethos.train.run import read_config
from stethos.types import Cohort, Predictions, Record, Run, Schedule, Signal

TARGET = "potassium > 4.5"  # so frequent that every part holds both classes
DESIGNED = {"config.json", "environment.json", "log.jsonl", "metrics.json", "model.safetensors", "README.md"}
DESIGNED |= {"report.html", "private", "flow.json", "roc.svg", "evaluations.json"}
BRIEF = ("--preset", "tiny", "--steps", "2", "--batch", "8", "--validate-every", "0")


def stethos(*arguments: object) -> None:
    main([str(item) for item in arguments])


def refused(capsys, *arguments: object) -> str:
    """The one sentence of a command that ends with exit code 2."""
    with pytest.raises(SystemExit) as stop:
        stethos(*arguments)
    said = capsys.readouterr().err
    assert (stop.value.code, said.count("\n")) == (2, 1), said
    return said


def train(cohort: Path, out: Path, *flags: object, target: str = TARGET) -> Run:
    stethos("pocket-k", "train", "--cohort", cohort, "--out", out, "--target", target, *flags)
    return Run(out)


def numbers(run: Run) -> dict[str, dict]:
    return json.loads(run.metrics.read_text())


def body(model: pocket_k.PocketK) -> dict[str, torch.Tensor]:
    return {name: value for name, value in model.net.state_dict().items() if not name.startswith("head")}


def alike(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor], within: float = 0.0) -> bool:
    return all(torch.allclose(one[name], two[name], rtol=0, atol=within) for name in one)


@pytest.fixture(scope="module", autouse=True)
def _quick():
    """Fewer resamples and penalties than in earnest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validate, "DRAWS", 60)
        patch.setattr(controls, "STRENGTHS", np.logspace(-2, 2, 3))
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("pocket-k")


@pytest.fixture(scope="module")
def clinic(folder) -> Path:
    stethos("synth", "hospital", "--patients", 60, "--out", folder / "clinic")
    return folder / "clinic"


def rewritten(clinic: Path, out: Path, edit, rows: int = 40) -> Path:
    """A cohort of the first recordings of the clinic, with an edited table."""
    with (clinic / "cohort.csv").open() as file:
        table = [dict(row, path=str(clinic / row["path"])) for row in csv.DictReader(file)][:rows]
    table = [edit(row) for row in table]
    out.mkdir()
    with (out / "cohort.csv").open("w") as file:
        writer = csv.DictWriter(file, table[0])
        writer.writeheader()
        writer.writerows(table)
    return out


@pytest.fixture(scope="module")
def few(clinic, folder) -> Path:
    return rewritten(clinic, folder / "few", lambda row: row)


@pytest.fixture(scope="module")
def run(clinic, folder) -> Run:
    """Trained and evaluated once; tests that change a run copy it."""
    flags = ("--steps", 6, "--batch", 16, "--validate-every", 3, "--seeds", 2, "--held-out-sites", "harbour")
    made = train(clinic, folder / "run", "--preset", "tiny", *flags)
    stethos("pocket-k", "evaluate", made.folder)
    return made


@pytest.fixture
def copied(run, tmp_path) -> Run:
    return Run(Path(shutil.copytree(run.folder, tmp_path / "run")))


def test_a_run_leaves_what_the_design_names_and_nothing_else(run):
    assert {path.name for path in run.folder.iterdir()} == DESIGNED
    assert run.private.stat().st_mode & 0o077 == 0
    rows = [json.loads(line) for line in run.log.read_text().splitlines()]
    assert {row["stage"] for row in rows} == {"seed-0", "seed-1"}
    assert {row["step"] for row in rows} == set(range(1, 7))
    assert [row["step"] for row in rows if "valid.monitor" in row] == [3, 6, 3, 6]


def test_the_config_reads_back_as_the_recipe(run):
    want = replace(
        pocket_k.tiny(),
        target=TARGET,
        seeds=2,
        parts=pocket_k.Partition(held_out_sites=("harbour",)),
        schedule=replace(pocket_k.tiny().schedule, steps=6, batch=16, validate_every=3),
    )
    assert pocket_k.recipe_of(run) == want
    config = read_config(run)
    assert set(config) == {"system", "version", "recipe", "prepare", "protocol", "origin", "terms"}
    assert (config["system"], config["origin"], config["terms"]) == ("pocket_k", "synthetic", "simulated; free to use")
    assert config["prepare"]["preparation"] == "lead-v1"


@pytest.mark.parametrize(
    "name",
    [
        *("internal.auroc", "external.auroc", "external.npv", "external.npv_trivial"),
        *("control.vitals.auroc", "control.untrained.auroc"),
        *("difference.vitals.internal.auroc", "difference.untrained.external.auroc"),
    ],
)
def test_every_headline_number_has_an_interval_a_count_and_its_origin(run, name):
    found = numbers(run)[name]
    assert set(found) == {"value", "low", "high", "n", "origin"}
    assert found["low"] <= found["value"] <= found["high"]
    assert found["n"] > 5
    assert found["origin"] == "synthetic"


def test_the_numbers_are_those_of_scikit_learn_on_the_predictions(run):
    with np.load(run.predictions) as file:
        held = {name: file[name] for name in ("score", "truth", "record", "split", "seed", "subject")}
    mean, truth, part, subject = defaultdict(list), {}, {}, {}
    for score, label, record, split, who in zip(
        held["score"][:, 0], held["truth"][:, 0], held["record"], held["split"], held["subject"], strict=True
    ):
        mean[record].append(score)
        truth[record], part[record], subject[record] = label, split, who
    assert set(held["seed"]) == {0, 1}
    assert all(len(scores) == 2 for scores in mean.values())
    for split in ("internal", "external"):
        rows = [record for record in mean if part[record] == split]
        labels, scores = [truth[record] for record in rows], [np.mean(mean[record]) for record in rows]
        said = numbers(run)
        assert said[f"{split}.auroc"]["value"] == pytest.approx(roc_auc_score(labels, scores))
        assert said[f"{split}.npv_trivial"]["value"] == pytest.approx(1 - np.mean(labels))
        low = np.array(scores) < load(run.folder).threshold
        assert said[f"{split}.npv"]["value"] == pytest.approx(1 - np.mean(np.array(labels)[low]))
        assert said[f"{split}.auroc"]["n"] == len({subject[record] for record in rows})


def test_the_truths_are_those_of_the_table_and_the_parts_are_as_asked(run, clinic):
    with (clinic / "cohort.csv").open() as file:
        table = {Path(row["path"]).stem: row for row in csv.DictReader(file)}
    said = Predictions.load(run.predictions).mean_over_seeds()
    for record, truth, split in zip(said.record, said.truth[:, 0], said.split, strict=True):
        assert truth == (float(table[record]["potassium"]) > 4.5)
        assert (table[record]["site"] == "harbour") == (split == "external")
    flow = json.loads((run.folder / "flow.json").read_text())["flow"]
    known = next(step for step in flow if step["label"] == "target known")
    assert known["records"] == sum(bool(row["potassium"]) for row in table.values()) == len(said)


def test_the_report_says_synthetic_and_stands_alone(run):
    page = run.report.read_text()
    assert "synthetic" in page.lower()
    assert not re.search(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", page)
    assert not re.search(r"@import|url\(\s*['\"]?(?:https?:)?//|<script[^>]+src", page)
    assert "synthetic" in run.card.read_text().lower()
    for name in ("internal", "external"):
        assert f"{numbers(run)[f'{name}.auroc']['value']:.3f}" in page


def test_nothing_outside_private_names_a_record_or_a_subject(run):
    said = Predictions.load(run.predictions)
    names = {item.encode() for item in (*said.record, *said.subject)}
    assert len(names) > 100
    for path in run.folder.iterdir():
        if path.is_file():
            held = path.read_bytes()
            assert not [name for name in names if name in held], path.name


def test_the_same_command_resumes_at_once_and_leaves_the_same_weights(run, clinic, copied, monkeypatch):
    monkeypatch.setattr(pocket_k, "batches", lambda *_: lambda *_: pytest.fail("nothing is left to train"))
    before, when = copied.weights.read_bytes(), json.loads(copied.environment.read_text())["started"]
    flags = ("--steps", 6, "--batch", 16, "--validate-every", 3, "--seeds", 2, "--held-out-sites", "harbour")
    train(clinic, copied.folder, "--preset", "tiny", *flags)
    assert copied.weights.read_bytes() == before
    assert copied.log.read_bytes() == run.log.read_bytes()
    assert json.loads(copied.environment.read_text())["started"][:-1] == when


def test_a_run_against_itself_differs_by_nothing(run, capsys):
    stethos("compare", run.folder, run.folder)
    assert [line.split(" (")[0][-5:] for line in capsys.readouterr().out.splitlines()] == ["0.000", "0.000"]


def test_a_measured_target_is_trained_evaluated_and_predicted(few, clinic, folder, capsys):
    made = train(few, folder / "graded", *BRIEF, target="potassium")
    stethos("pocket-k", "evaluate", made.folder)
    said = numbers(made)
    assert {"internal.mae", "internal.pearson", "internal.spearman", "internal.bias"} <= set(said)
    assert 0 < said["internal.mae"]["value"] < 2
    assert said["internal.mae"]["origin"] == "synthetic"
    rows = Predictions.load(made.predictions)
    internal = rows.part("internal")
    assert said["internal.mae"]["value"] == pytest.approx(np.abs(internal.score - internal.truth).mean())
    constant = np.abs(rows.part("train").truth.mean() - internal.truth).mean()
    assert said["internal.mae_of_the_mean"]["value"] == pytest.approx(constant)
    assert "synthetic" in made.report.read_text().lower()
    capsys.readouterr()
    stethos("predict", made.folder, clinic / "records/00000/1000001-1.hea")
    line = json.loads(capsys.readouterr().out)
    assert line["decision"] == "measured"
    assert 3 < line["score"] < 6  # mmol/L


def test_a_head_is_tuned_on_the_body_of_another_run_which_stays_untouched(run, few, folder):
    made = train(few, folder / "head", *BRIEF, "--start", run.folder, "--tune", "head", target="hypertension == 1")
    begun, tuned = load(run.folder).members[0], load(made.folder).members[0]
    assert alike(body(begun), body(tuned))
    assert not torch.equal(begun.net.head.weight, tuned.net.head.weight)
    stethos("pocket-k", "evaluate", made.folder)
    assert {"control.scratch.auroc", "control.untrained.auroc", "control.vitals.auroc"} <= set(numbers(made))
    stages = {json.loads(line)["stage"] for line in made.log.read_text().splitlines()}
    assert stages == {"seed-0-head", "scratch-head"}


def test_training_starts_from_the_weights_of_an_ecgfounder_file(few, folder, capsys):
    with torch.random.fork_rng():
        torch.manual_seed(5)
        net = Net1d(1, 3, (16, 32), (1, 1))
    state = {published_name(name): tensor for name, tensor in net.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3}, folder / "founder.pth")
    shape = ("--widths", 16, "--widths", 32, "--blocks", 1, "--blocks", 1, "--prepare", "ecgfounder-v1")
    tune = ("--tune", "probe-then-full", "--probe-steps", 1, "--lr", 1e-7, "--ema", 0)
    made = train(few, folder / "founded", *BRIEF, *shape, *tune, "--start", folder / "founder.pth")
    found = load(made.folder).members[0]
    assert found.net.head.weight.shape == (1, 32)  # a new head: three classes became one
    assert alike(body(found), {name: value for name, value in net.state_dict().items() if "head" not in name}, 1e-5)
    assert (made.private / "control-scratch.npz").exists()
    assert read_config(made)["prepare"]["preparation"] == "ecgfounder-v1"
    capsys.readouterr()
    other = ("--start", folder / "founder.pth", "--cohort", few, "--target", TARGET, "--out", folder / "misfit")
    said = refused(capsys, "pocket-k", "train", *BRIEF, *other)
    assert "widths (16, 32)" in said
    assert "make them agree" in said


@pytest.fixture(scope="module")
def folds(few, folder) -> Run:
    stethos("pocket-k", "cross-validate", few, "--out", folder / "folds", *BRIEF, "--target", TARGET, "--folds", 2)
    return Run(folder / "folds")


def test_cross_validation_tests_every_record_once_by_a_stranger(folds):
    said = Predictions.load(folds.predictions)
    assert set(said.split) == {"fold-0", "fold-1"}
    assert len(set(said.record)) == len(said.record) >= 38
    assert not set(said.part("fold-0").subject) & set(said.part("fold-1").subject)
    found = numbers(folds)
    assert found["pooled.auroc"]["value"] == pytest.approx(roc_auc_score(said.truth[:, 0], said.score[:, 0]))
    assert {"fold-0.auroc", "fold-1.auroc", "control.untrained.pooled.auroc"} <= set(found)
    assert {item["origin"] for item in found.values()} == {"synthetic"}
    assert "synthetic" in folds.report.read_text().lower()


def test_other_folds_in_the_same_folder_are_refused(folds, few, tmp_path, capsys):
    """The networks of two folds have met subjects that three folds would test them on."""
    out = shutil.copytree(folds.folder, tmp_path / "folds")
    flags = ("--out", out, *BRIEF, "--target", TARGET, "--folds", 3)
    assert "folds: 2 → 3" in refused(capsys, "pocket-k", "cross-validate", few, *flags)


def test_training_in_the_folder_of_a_cross_validation_is_refused(folds, few, tmp_path, capsys):
    out = shutil.copytree(folds.folder, tmp_path / "folds")
    refused(capsys, "pocket-k", "train", "--cohort", few, "--out", out, *BRIEF, "--target", TARGET)


@pytest.mark.parametrize("verb", [("predict",), ("pocket-k", "evaluate")])
def test_a_cross_validation_that_leaves_no_model_says_so(folds, clinic, capsys, verb):
    files = [clinic / "records/00000/1000001-1.hea"] if verb == ("predict",) else []
    assert "cross-validat" in refused(capsys, *verb, folds.folder, *files)


def test_cross_validation_of_a_measured_target_is_refused_before_training(few, folder, capsys):
    flags = ("--out", folder / "graded-folds", *BRIEF, "--target", "potassium", "--folds", 2)
    refused(capsys, "pocket-k", "cross-validate", few, *flags)
    assert not (folder / "graded-folds" / "log.jsonl").exists()


def test_a_run_that_tests_nobody_is_evaluated_or_refused_in_words(few, folder, capsys):
    made = train(few, folder / "untested", *BRIEF, "--test-fraction", 0, target="hypertension == 1")
    capsys.readouterr()
    assert "tested" in refused(capsys, "pocket-k", "evaluate", made.folder)


@pytest.fixture(scope="module")
def elsewhere(clinic, folder) -> Path:
    """Recordings of the clinic under other people's names, so that they count as another hospital's."""
    return rewritten(clinic, folder / "elsewhere", lambda row: dict(row, subject=f"o{row['subject']}"), rows=24)


def test_another_cohort_is_scored_beside_the_runs_own_parts_and_replaces_its_earlier_self(copied, elsewhere):
    before = numbers(copied)
    for _ in range(2):
        stethos("pocket-k", "evaluate", copied.folder, "--external", f"other={elsewhere}")
        after = numbers(copied)
        assert {name: after[name]["value"] for name in before} == pytest.approx(
            {name: item["value"] for name, item in before.items()}, nan_ok=True
        )
        part = Predictions.load(copied.predictions).part("external-other").mean_over_seeds()
        assert len(part) == 24
        assert after["external-other.auroc"]["value"] == pytest.approx(
            roc_auc_score(part.truth[:, 0], part.score[:, 0])
        )
        assert {"control.untrained.external-other.auroc", "difference.vitals.external-other.auroc"} <= set(after)
    own = Predictions.load(copied.predictions).mean_over_seeds()
    own = own.take(~np.char.startswith(own.split, "external-"))
    first = dict(zip(own.record, own.score[:, 0], strict=True))  # the same recordings, scored in training
    assert np.allclose(part.score[:, 0], [first[record] for record in part.record], atol=1e-5)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("other={clinic}", "subjects that the run has not met"),
        ("internal={elsewhere}", "needs a new name"),
        ("{elsewhere}", "given as NAME=DIR"),
    ],
)
def test_a_cohort_that_is_none_of_others_is_refused(copied, clinic, elsewhere, capsys, given, words):
    text = given.format(clinic=clinic, elsewhere=elsewhere)
    assert words in refused(capsys, "pocket-k", "evaluate", copied.folder, "--external", text)


# --- what a finished run says of single recordings ------------------------------------------------------------


def spoken(capsys, *arguments: object) -> list[dict]:
    """The JSON lines of `stethos predict`."""
    capsys.readouterr()
    stethos("predict", *arguments)
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def recording(seconds: float, rate: float) -> np.ndarray:
    """Lead I of a simulated person, repeated and read off at another rate, mV."""
    held = hospital(3, seed=1)[0].signals[0]
    trace = np.tile(held.values[0].astype(float), int(seconds / held.duration) + 1)
    return np.interp(np.arange(round(seconds * rate)) / rate, np.arange(len(trace)) / held.rate, trace)


def watch(path: Path) -> Path:
    """30 s as a watch with a German telephone exports them: 512.844 Hz, µV, a comma before the decimals."""
    header = ["Name,Erika Muster", 'Geburtstag,"08.01.2002"', "Aufzeichnungsdatum,2026-05-30 16:32:18 +0200"]
    header += ["Klassifizierung,Sinusrhythmus", "Messrate,512,844\u00a0Hertz", "", "Ableitung,Ableitung I"]
    cells = [f"{1000 * value:.3f}".replace(".", ",") for value in recording(30, 512.844)]
    path.write_text("\n".join([*header, "Einheit,µV", "", *cells]) + "\n", "utf-8")
    return path


def test_what_is_predicted_is_what_was_validated(run, clinic, capsys):
    said = Predictions.load(run.predictions).mean_over_seeds()
    files = {path.stem: path for path in clinic.glob("records/*/*.hea")}
    rows = [0, len(said) // 2, len(said) - 1]
    lines = spoken(capsys, run.folder, *(files[said.record[row]] for row in rows))
    threshold = load(run.folder).threshold
    for row, line in zip(rows, lines, strict=True):
        assert line["logit"] == pytest.approx(said.score[row, 0], abs=1e-5)
        assert line["score"] == pytest.approx(1 / (1 + np.exp(-line["logit"])))
        assert line["decision"] == ("above threshold" if said.score[row, 0] >= threshold else "below threshold")
        assert line["heart_rate"] == pytest.approx(said.facts["ecg_heart_rate"][row], abs=0.06)
        assert line["model"] == hashlib.sha256(run.weights.read_bytes()).hexdigest()[:16]


def test_wfdb_watch_and_npz_become_one_json_line_each(run, tmp_path, capsys):
    trace = recording(10, 500)
    record = Record("s", "r", (Signal(trace[None], 500.0, ("I",), "mV"),))
    write_wfdb(record, tmp_path, "strip")
    np.savez(tmp_path / "strip.npz", I=trace, rate=500.0, unit="mV")
    files = [tmp_path / "strip.hea", watch(tmp_path / "watch.csv"), tmp_path / "strip.npz"]
    lines = spoken(capsys, run.folder, *files, "--allow-synthetic-model")
    assert [line["file"] for line in lines] == [str(file) for file in files]
    assert [(line["windows"], line["windows_used"]) for line in lines] == [(1, 1), (3, 3), (1, 1)]
    assert lines[1]["quality"] == "ok, ok, ok"
    for line in lines:
        assert 0 < line["score"] < 1
        assert line["warning"] == "the model was trained on a simulated world"
    assert lines[0]["logit"] == pytest.approx(lines[2]["logit"], abs=1e-3)  # the format adds 1 µV at most
    assert lines[0]["heart_rate"] == pytest.approx(lines[1]["heart_rate"], abs=3)
    assert "Erika" not in json.dumps(lines)


def test_each_of_several_recordings_in_a_file_is_scored_as_it_is_in_a_file_of_its_own(run, tmp_path, capsys):
    trace, flags = recording(10, 250), ("--allow-synthetic-model",)
    several = wearable_files.fitbit(tmp_path / "readings.json", trace, count=2)
    for number in (1, 2):  # the second is half as high
        np.savez(tmp_path / f"{number}.npz", I=np.rint(trace * 10922 / number) / 10922, rate=250.0, unit="mV")
        (line,) = spoken(capsys, run.folder, several, "--recording", number, *flags)
        (alone,) = spoken(capsys, run.folder, tmp_path / f"{number}.npz", *flags)
        assert line["recording"] == number
        assert line["logit"] == pytest.approx(alone["logit"], abs=1e-4)
    for wanted in ((), ("--recording", 3)):
        assert "--recording" in refused(capsys, "pocket-k", "predict", run.folder, several, *wanted, *flags)
    stream = ("predict", run.folder, "--follow", several, "--recording", 2)
    assert "a live stream is one recording; leave --recording 2 away" in refused(capsys, *stream)


def test_a_model_of_a_simulated_world_refuses_a_real_strip_and_takes_a_simulated_one(run, tmp_path, clinic, capsys):
    file = watch(tmp_path / "watch.csv")
    said = refused(capsys, "predict", run.folder, file)
    assert "--allow-synthetic-model" in said
    (line,) = spoken(capsys, run.folder, clinic / "records/00000/1000001-1.hea")
    assert read(clinic / "records/00000/1000001-1.hea").origin == "synthetic"
    assert line["warning"]


# --- a truth that the waveform decides --------------------------------------------------------------------


@pytest.fixture(scope="module")
def strips(folder) -> Path:
    """One strip a person; half of them upside down, which the column "inverted" says and "coin" does not."""
    people = hospital(60, seed=2)
    _, first = np.unique(people.subjects, return_index=True)
    rng = np.random.default_rng(0)
    inverted = rng.permutation(np.arange(len(first)) % 2).astype(float)
    rows = {name: people.rows[name][first] for name in ("id", "subject", "age", "sex")}
    rows |= {"inverted": inverted, "coin": rng.permutation(inverted)}

    def strip(row: int) -> Record:
        record = people[int(first[row])]
        lead = record.signals[0]
        return replace(record, signals=(replace(lead, values=lead.values * (1 - 2 * inverted[row])),))

    write_cohort(Cohort(rows, strip, "synthetic"), folder / "strips")
    return folder / "strips"


NARROW = ("--widths", 16, "--widths", 32, "--widths", 32, "--blocks", 1, "--blocks", 1, "--blocks", 1)
LEARN = ("--preset", "tiny", *NARROW, "--steps", 60, "--batch", 16, "--validate-every", 20, "--test-fraction", 0.4)


def test_the_polarity_of_a_strip_is_learnt(strips, folder):
    made = train(strips, folder / "polarity", *LEARN, target="inverted == 1")
    internal = Predictions.load(made.predictions).part("internal")
    assert len(internal) >= 20
    assert roc_auc_score(internal.truth[:, 0], internal.score[:, 0]) > 0.9


def test_what_the_toss_of_a_coin_decided_is_not_learnt(strips, folder):
    made = train(strips, folder / "coin", *LEARN, target="coin == 1")
    internal = validate.area(Predictions.load(made.predictions).part("internal"))
    assert not internal.excludes(0.5)


def test_a_recipe_without_a_cohort_draws_from_a_simulated_one():
    recipe = replace(pocket_k.tiny(), target=TARGET, schedule=Schedule(batch=4), augment=0.0)
    batch = pocket_k.batches(recipe)(0, slice(0, 4))
    assert batch.lead.shape == (4, 1, 1250)
    assert batch.truth.shape == (4, 1)
