"""AnyECG-Echo from reports to a report, through the command line, on a small simulated hospital with an echo room.

This file is also the program that torchrun starts: it pretrains the page's network in double precision.
"""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import wearable_files
from torch import nn

from stethos.cli import main
from stethos.data.cohort import open_cohort
from stethos.data.write import write_cohort
from stethos.errors import CohortError, RecipeError, RunError
from stethos.io.wfdb import write_wfdb
from stethos.nn.ecgfounder import published_name
from stethos.nn.net1d import Net1d
from stethos.study import controls, several_report, stream, validate
from stethos.study.paired import kinship, recall_at
from stethos.study.partition import Partition
from stethos.synth import echo_world, hospital
from stethos.systems import anyecg_echo, load
from stethos.systems.anyecg_echo import AnyECGEcho, Batch, Recipe
from stethos.train import dist
from stethos.types import Cohort, Predictions, Run, Schedule
from tests.processes import learned_the_same, on_two_processes

SMALL = replace(
    anyecg_echo.tiny(),
    widths=(16, 16),
    blocks=(1, 1),
    width=8,
    parts=Partition(held_out_sites=("harbour",)),
    tune_steps=4,
    label_steps=2,
    label_draws=2,
    label_fractions=(0.5,),
    schedule=Schedule(steps=4, batch=8, lr=1e-3, validate_every=2),
)
WORDS = "a mobile mass of nine by six millimetres is seen on the ventricular side of the anterior mitral leaflet"


def stethos(*arguments: object) -> None:
    main([str(item) for item in arguments])


def spoken(capsys, *arguments: object) -> list[dict]:
    """The JSON lines of a command."""
    capsys.readouterr()
    stethos(*arguments)
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def refused(capsys, *arguments: object) -> str:
    """The one sentence of a command that ends with exit code 2."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        stethos(*arguments)
    said = capsys.readouterr().err.splitlines()
    assert stop.value.code == 2, said
    return said[-1]


@pytest.fixture(scope="module", autouse=True)
def _quick():
    """Fewer resamples and penalties than in earnest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validate, "DRAWS", 60)
        patch.setattr(controls, "STRENGTHS", np.logspace(-2, 2, 3))
        patch.setattr(several_report, "relate", partial(several_report.relate, draws=60))
        yield


@pytest.fixture(scope="module")
def people() -> Cohort:
    return hospital(150, seed=0, world=echo_world())


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("echo")


@pytest.fixture(scope="module")
def clinic(folder: Path) -> Path:
    stethos("synth", "hospital", "--echo", "--patients", 150, "--out", folder / "clinic")
    return folder / "clinic"


def recipe_file(folder: Path, **change: object) -> Path:
    from dataclasses import asdict

    path = folder / f"recipe-{len(list(folder.glob('recipe-*')))}.json"
    path.write_text(json.dumps(asdict(replace(SMALL, **change))))
    return path


@pytest.fixture(scope="module")
def before(clinic: Path, folder: Path) -> Run:
    """Pretrained and asked by prompts once."""
    flags = ("--config", recipe_file(folder), "--out", folder / "before")
    stethos("anyecg-echo", "pretrain", "--cohort", clinic, *flags)
    stethos("anyecg-echo", "zero-shot", folder / "before", clinic)
    return Run(folder / "before")


@pytest.fixture(scope="module")
def run(clinic: Path, folder: Path, before: Run) -> Run:
    """Trained once from the pretraining."""
    flags = ("--config", recipe_file(folder), "--start", before.folder, "--out", folder / "run")
    stethos("anyecg-echo", "train", "--cohort", clinic, *flags)
    stethos("anyecg-echo", "evaluate", folder / "run")
    return Run(folder / "run")


def numbers(run: Run) -> dict[str, dict]:
    return json.loads(run.metrics.read_text())


# --- kin ----------------------------------------------------------------------------------------------------


def test_kin_are_records_of_a_subject_copies_of_a_text_and_reports_that_state_the_same():
    truth = np.array([[1, np.nan], [1, np.nan], [0, 1], [np.nan, np.nan], [np.nan, np.nan]])
    ids = kinship(np.array(["a", "b", "a", "c", "d"]), ["x", "y", "z", "x", "w"], truth)
    alike = ((ids[:, None] == ids[None]) & (ids[:, None] >= 0)).any(axis=2)
    want = np.eye(5, dtype=bool)
    for one, other in ((0, 1), (0, 2), (0, 3)):  # labels, subject, text; 3 and 4 state nothing
        want[one, other] = want[other, one] = True
    assert alike.tolist() == want.tolist()


def test_recall_counts_a_kin_text_as_found_and_chance_is_that_of_drawing_without_replacement():
    z = np.eye(4)
    kin = np.array([[0], [0], [1], [2]])
    found = recall_at(z, z[[1, 0, 3, 2]], kin, np.arange(4), ks=(1, 4))
    assert found[1][0].value == 0.5  # rows 0 and 1 find each other's text, which is kin; 2 and 3 a stranger's
    assert found[1][1] == pytest.approx((2 / 4 + 2 / 4 + 1 / 4 + 1 / 4) / 4)
    assert found[4] == (found[4][0], 1.0)


# --- what the text may and may not do -----------------------------------------------------------------------


def with_reports(people: Cohort, change) -> Cohort:
    """The cohort with other reports; `change` takes the row number and the text."""
    report = people.rows["report"].copy()
    for row, text in enumerate(report):
        report[row] = change(row, text)
    return people.with_columns(report=report)


@pytest.fixture(scope="module")
def pretrained(people: Cohort, folder: Path) -> Run:
    return anyecg_echo._pretrain(people, folder / "pretrained", SMALL, 1)


def weights(run: Run) -> dict[str, torch.Tensor]:
    return load(run.folder).state_dict()


def test_what_tested_reports_say_changes_no_weight(people: Cohort, pretrained: Run, tmp_path: Path):
    """Their labels do not change either, so that the same records are kin and the same parts are made."""
    tested = people.rows["site"] == "harbour"
    other = with_reports(people, lambda row, text: f"{text} Seen again." if tested[row] and text else text)
    made = anyecg_echo._pretrain(other, tmp_path / "run", SMALL, 1)
    one, two = weights(pretrained), weights(made)
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_planted_phrase_of_a_tested_report_is_caught_and_its_training_record_left_out(
    people: Cohort, pretrained: Run, tmp_path: Path
):
    flow = json.loads((pretrained.folder / "flow.json").read_text())["flow"]
    told = np.array([isinstance(text, str) and bool(text) for text in people.rows["report"]])
    tested = np.flatnonzero((people.rows["site"] == "harbour") & told)[0]
    case = anyecg_echo._begin(people, tmp_path / "look", SMALL, 1, "pretrain")
    parts, _ = anyecg_echo.partition(case.told.cohort, SMALL.parts)
    trained = next(item for item in parts["train"].rows["id"] if people.rows["report"][people.rows["id"] == item][0])
    row = int(np.flatnonzero(people.rows["id"] == trained)[0])
    planted = with_reports(people, lambda k, text: f"{text} {WORDS}." if k in (tested, row) else text)
    made = anyecg_echo._pretrain(planted, tmp_path / "run", SMALL, 1)
    after = json.loads((made.folder / "flow.json").read_text())["flow"]
    assert flow[-1]["label"] == after[-1]["label"] == "pretrained on"
    assert after[-1]["records"] == flow[-1]["records"] - 1
    assert "1 whose report shares a long phrase" in after[-1]["lost"]


# --- every verb ---------------------------------------------------------------------------------------------


def test_a_pretraining_leaves_a_whole_run_and_goes_on_where_it_was(clinic: Path, before: Run, folder: Path):
    log = before.log.read_text()
    config = before.config
    stethos("anyecg-echo", "pretrain", "--cohort", clinic, "--config", config, "--out", before.folder)
    assert before.log.read_text() == log
    assert {"zeroshot.macro_auroc", "zeroshot.external.macro_auroc"} <= set(numbers(before))
    assert all(item["origin"] == "synthetic" for item in numbers(before).values())
    assert "bag" in (before.folder / "reading.json").read_text()


def test_the_study_has_its_numbers_and_its_report(run: Run):
    found = numbers(run)
    for name in (
        *("external.macro_auroc", "internal.macro_auroc", "zeroshot.macro_auroc"),
        *("labels_50pct.pretrained.macro_auroc", "labels_50pct.scratch.macro_auroc", "labels_50pct.difference"),
        *("control.vitals.external.macro_auroc", "control.waves.external.macro_auroc"),
        *("difference.untrained.external.macro_auroc", "difference.scratch.external.macro_auroc"),
        *("relate.lvef.rho", "relate.lvef.within_negatives.rho", "external.lv_systolic_reduced.npv_trivial"),
    ):
        assert name in found, name
        assert found[name]["low"] <= found[name]["value"] <= found[name]["high"], name
    page = run.report.read_text()
    for heading in ("Zero-shot", "Label efficiency", "Operating points", "Calibration", "Model card"):
        assert f">{heading}" in page, heading
    assert "synthetic" in page


def test_no_report_and_no_id_is_in_what_may_be_shared(run: Run, before: Run, clinic: Path):
    people = open_cohort(clinic)
    said = Path(next(item for item in people.rows["report"] if item)).read_text()
    for made in (run, before):
        for path in made.folder.glob("*.*"):
            text = path.read_bytes()
            assert said[:60].encode() not in text
            assert str(people.rows["id"][0]).encode() not in text or path.suffix == ".safetensors"
    assert "report" not in Predictions.load(run.predictions).facts


def test_unknown_labels_have_no_gradient():
    model = anyecg_echo.Diagnoser(SMALL)
    truth = torch.full((4, 13), torch.nan)
    truth[:, 2] = 1.0
    batch = Batch(torch.randn(4, 1, 1250), torch.zeros(4, 0), torch.zeros(4, 3), truth)
    sum(model(batch).values()).backward()
    moved = model.head.weight.grad.abs().sum(dim=1) > 0
    assert moved.nonzero().flatten().tolist() == [2]


def test_the_objective_is_the_mean_of_both_ways_by_hand():
    model = AnyECGEcho(replace(SMALL, kin=False)).double()
    batch = Batch(
        torch.randn(3, 1, 1250).double(), torch.tensor([[5], [6], [7]]), torch.zeros(3, 3), torch.zeros(3, 13)
    )
    with torch.no_grad():
        cosine = model.embed(batch.lead) @ model.told(batch.text).T / SMALL.temperature
        ways = [nn.functional.cross_entropy(item, torch.arange(3)) for item in (cosine, cosine.T)]
        assert sum(model(batch).values()).item() == pytest.approx(float(sum(ways)) / 2)


def test_an_evaluation_elsewhere_is_added_and_refuses_the_same_people(run: Run, folder: Path, clinic: Path, capsys):
    made = shutil.copytree(run.folder, folder / "copy")
    write_cohort(hospital(60, seed=3, world=echo_world()), folder / "elsewhere")
    stethos("anyecg-echo", "evaluate", made, "--external", f"elsewhere={folder / 'elsewhere'}")
    assert "external-elsewhere.macro_auroc" in numbers(Run(made))
    said = refused(capsys, "anyecg-echo", "evaluate", made, "--external", f"again={clinic}")
    assert "needs a new name and subjects that the run has not met" in said


def test_waves_of_every_label_are_explained(run: Run, clinic: Path, folder: Path, capsys):
    made = Run(shutil.copytree(run.folder, folder / "explained"))
    stethos("anyecg-echo", "explain", made.folder, clinic, "--records", 20)
    found = numbers(made)
    total = sum(item["value"] for name, item in found.items() if name.startswith("shapley.la_enlargement.share."))
    assert total == pytest.approx(1)
    assert ">What it looks at" in made.report.read_text()
    capsys.readouterr()
    record = next(iter(hospital(3, seed=9, world=echo_world())))
    path = write_wfdb(record, folder, "one")
    stethos("anyecg-echo", "explain", made.folder, path)
    told = json.loads(capsys.readouterr().out)
    one = told["labels"]["mitral_stenosis"]
    assert sum(one["shapley"].values()) == pytest.approx(one["logit"] - one["baseline_logit"], abs=1e-5)


def test_outputs_are_related_to_measurements_line_by_line(run: Run, capsys):
    stethos("anyecg-echo", "relate", run.folder)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    own = next(line for line in lines if line.get("label") == "lv_systolic_reduced" and line["measurement"] == "lvef")
    assert own["rho"] == pytest.approx(numbers(run)["relate.lvef.rho"]["value"], abs=1e-4)
    assert "within_negatives" in own


def test_reports_are_retrieved_both_ways_and_recordings_by_a_sentence(before: Run, clinic: Path, capsys):
    stethos("anyecg-echo", "retrieve", before.folder, clinic)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {(line["way"], line["k"]) for line in lines} == {
        (way, k) for way in ("report by recording", "recording by report") for k in (1, 5, 10)
    }
    assert all(0 < line["chance"] < 1 for line in lines)
    stethos("anyecg-echo", "retrieve", before.folder, clinic, "--query", "severe mitral stenosis", "--top", 3)
    near = [json.loads(line)["cosine"] for line in capsys.readouterr().out.splitlines()]
    assert len(near) == 3
    assert near == sorted(near, reverse=True)


@pytest.mark.parametrize("which", ["run", "before"])
def test_a_recording_gets_a_line_with_every_label(which: str, request, tmp_path: Path, capsys):
    made: Run = request.getfixturevalue(which)
    record = next(iter(hospital(3, seed=9, world=echo_world())))
    path = write_wfdb(record, tmp_path, "one")
    (told,) = spoken(capsys, "predict", made.folder, path, "--age", 70)
    assert len(told["labels"]) == 13
    decisions = {item["decision"] for item in told["labels"].values()}
    assert decisions == {"none"} if which == "before" else decisions <= {"above threshold", "below threshold", "none"}
    assert "warning" in told
    stethos("predict", made.folder, path, "--age", 12)
    assert json.loads(capsys.readouterr().out)["decision"] == "abstain"


def strip(seconds: float, rate: float) -> np.ndarray:
    """Lead I of a simulated person, repeated, with slowly moving height, mV, as the lines of a file hold it."""
    held = hospital(3, seed=9, world=echo_world())[0].signals[0]
    at = np.arange(round(seconds * rate)) / rate
    values = np.tile(held.values[0].astype(float), int(seconds / held.duration) + 1)
    return np.round(np.interp(at, np.arange(len(values)) / held.rate, values) * (1 + 0.3 * np.sin(0.2 * at)), 6)


def written(path: Path, values: np.ndarray, rate: float) -> Path:
    cells = [f"{place / rate:.6f},{value:.6f}\n" for place, value in enumerate(values)]
    path.write_text("# origin: synthetic\ntime,I [mV]\n" + "".join(cells))
    return path


def logits(told: dict) -> dict[str, float]:
    return {name: item["logit"] for name, item in told.items()}


@pytest.mark.parametrize("which", ["run", "before"])
def test_every_window_of_a_stream_is_answered_as_that_strip_is(which: str, request, tmp_path, capsys, monkeypatch):
    made: Run = request.getfixturevalue(which)
    monkeypatch.setattr(stream, "IDLE_SECONDS", 0.2)
    trace, rate = strip(30.0, 250.0), 250.0
    files = [written(tmp_path / f"{k}.csv", part, rate) for k, part in enumerate(np.split(trace, 3))]
    alone = [spoken(capsys, "predict", made.folder, file, "--age", 70)[0] for file in files]
    whole = written(tmp_path / "whole.csv", trace, rate)
    (offline,) = spoken(capsys, "anyecg-echo", "predict", made.folder, whole, "--age", 70)
    *windows, end = spoken(capsys, "anyecg-echo", "predict", made.folder, "--follow", whole, "--age", 70)
    assert [line["status"] for line in (*windows, end)] == ["window"] * 3 + ["end"]
    for line, one in zip(windows, alone, strict=True):
        assert line["labels"].keys() == one["labels"].keys()
        assert logits(line["labels"]) == pytest.approx(logits(one["labels"]), abs=1e-5)
        assert {name: item["decision"] for name, item in line["labels"].items()} == {
            name: item["decision"] for name, item in one["labels"].items()
        }
    spreads = np.ptp([list(logits(line["labels"]).values()) for line in windows], axis=0)
    assert spreads.max() > 1e-3  # the windows differ, so that a mixed-up one would be seen
    assert logits(end["all"]) == pytest.approx(logits(offline["labels"]), abs=1e-5)
    assert {name: item["decision"] for name, item in end["all"].items()} == {
        name: item["decision"] for name, item in offline["labels"].items()
    }


def test_standard_input_is_answered_as_the_file_is(run: Run, tmp_path: Path, capsys):
    file = written(tmp_path / "strip.csv", strip(20.0, 250.0), 250.0)
    (offline,) = spoken(capsys, "predict", run.folder, file)
    command = [sys.executable, "-c", "from stethos.cli import main; main()", "predict", run.folder, "--follow", "-"]
    ended = subprocess.run(
        [*map(str, command)], input=file.read_text(), capture_output=True, text=True, check=True, timeout=120
    )
    *windows, end = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [line["window"] for line in windows] == [0, 1]
    assert logits(end["all"]) == pytest.approx(logits(offline["labels"]), abs=1e-5)
    assert logits(windows[-1]["mean"]) == pytest.approx(logits(end["all"]), abs=1e-9)


def test_a_child_a_poor_window_and_a_folder_are_not_answered_in_a_stream_either(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(stream, "IDLE_SECONDS", 0.2)
    trace = strip(30.0, 250.0)
    trace[2500:5000] = 0.0
    file = written(tmp_path / "strip.csv", trace, 250.0)
    *windows, end = spoken(capsys, "predict", run.folder, "--follow", file)
    assert [line["quality"] == "ok" for line in windows] == [True, False, True]
    assert windows[1]["decision"] == "abstain"
    assert (end["windows"], end["windows_used"]) == (3, 2)
    *windows, end = spoken(capsys, "predict", run.folder, "--follow", file, "--age", 12)
    assert {line["decision"] for line in windows} == {"abstain"}
    assert end["all"] is None
    assert "give a file that is being written, or -" in refused(capsys, "predict", run.folder, "--follow", tmp_path)


def test_one_of_several_recordings_gets_its_line(run: Run, tmp_path: Path, capsys):
    several = wearable_files.fitbit(tmp_path / "readings.json", strip(10.0, 250.0), count=2)
    found = [
        spoken(capsys, "predict", run.folder, several, "--recording", k, "--allow-synthetic-model")[0] for k in (1, 2)
    ]
    assert [line["recording"] for line in found] == [1, 2]
    flags = ("--recording", 3, "--allow-synthetic-model")
    assert "--recording says 3" in refused(capsys, "anyecg-echo", "predict", run.folder, several, *flags)


def test_labels_of_columns_with_prompts_of_ones_own(people: Cohort, tmp_path: Path):
    asked = tmp_path / "prompts.json"
    words = {"present": ["atrial fibrillation"], "absent": ["sinus rhythm"]}
    asked.write_text(json.dumps({"atrial_fibrillation == 1": words}))
    recipe = replace(SMALL, labels=("atrial_fibrillation == 1",), prompts=str(asked))
    model = load(anyecg_echo._pretrain(people, tmp_path / "run", recipe, 1).folder)
    assert model.score(torch.zeros(2, 1, 1250)).shape == (2, 1)


def test_pretraining_starts_from_the_weights_of_an_ecgfounder_file(people: Cohort, tmp_path: Path):
    with torch.random.fork_rng():
        torch.manual_seed(5)
        net = Net1d(1, 3, (16, 16), (1, 1))
    state = {published_name(name): tensor for name, tensor in net.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "founder.pth")
    still = replace(SMALL.schedule, steps=1, lr=1e-9, validate_every=0)
    recipe = replace(SMALL, start=str(tmp_path / "founder.pth"), prepare="ecgfounder-v1", schedule=still)
    model = load(anyecg_echo._pretrain(people.take(np.arange(120)), tmp_path / "run", recipe, 1).folder).members[0]
    for name, tensor in net.state_dict().items():
        if not name.startswith("head"):
            torch.testing.assert_close(model.net.state_dict()[name], tensor, atol=1e-6, rtol=0)


def test_a_frozen_language_model_reads_every_text_once(people: Cohort, tmp_path: Path):
    recipe = replace(SMALL, text="minilm", schedule=replace(SMALL.schedule, steps=1, validate_every=0))
    few = people.take(np.arange(120))
    made = anyecg_echo._pretrain(few, tmp_path / "run", recipe, 1)
    held = json.loads((made.folder / "reading.json").read_text())
    assert held["tower"] == "minilm"
    assert held["unknown_tokens"] >= 0
    assert (made.private / "text.npz").is_file()


# --- what is refused ----------------------------------------------------------------------------------------


def test_bad_requests_get_one_sentence(clinic: Path, before: Run, run: Run, folder: Path, tmp_path: Path, capsys):
    ask = ("anyecg-echo", "train", "--cohort", clinic, "--config", recipe_file(folder), "--out", tmp_path / "x")
    assert "is measured: compare it" in refused(capsys, *ask, "--labels", "lvef")
    assert "--text names bag, minilm, or a folder" in refused(
        capsys, "anyecg-echo", "pretrain", "--cohort", clinic, "--out", tmp_path / "y", "--text", "nowhere"
    )
    assert "make them agree" in refused(capsys, *ask, "--start", before.folder, "--widths", 16, "--blocks", 1)
    assert "holds no pretraining" in refused(capsys, "anyecg-echo", "zero-shot", run.folder, clinic)
    assert "is a pretraining" in refused(capsys, "anyecg-echo", "evaluate", before.folder)


def test_a_cohort_without_reports_or_labels_is_refused(tmp_path: Path):
    people = hospital(30, seed=0)
    with pytest.raises(CohortError, match="needs a column report"):
        anyecg_echo._pretrain(people, tmp_path / "run", SMALL, 1)
    assert not (tmp_path / "run").exists()


def test_a_label_without_prompts_is_refused_before_anything_is_trained(people: Cohort, tmp_path: Path):
    recipe = replace(SMALL, labels=("atrial_fibrillation == 1",))
    with pytest.raises(RecipeError, match="needs prompts: give --prompts FILE"):
        anyecg_echo._pretrain(people, tmp_path / "run", recipe, 1)
    assert not (tmp_path / "run").exists()


def test_prompts_are_not_tested_on_people_of_the_pretraining_under_another_name(before: Run, clinic: Path, capsys):
    said = refused(capsys, "anyecg-echo", "zero-shot", before.folder, clinic, "--name", "elsewhere")
    assert "subjects that the run has not met" in said


def test_people_that_were_pretrained_on_are_not_tested(clinic: Path, before: Run, folder: Path, tmp_path: Path, capsys):
    flags = ("--config", recipe_file(folder), "--start", before.folder, "--split-seed", 5, "--out", tmp_path / "x")
    assert "were pretrained on" in refused(capsys, "anyecg-echo", "train", "--cohort", clinic, *flags)


def test_a_pretraining_has_no_outputs_to_relate_and_a_part_must_be_there(before: Run, run: Run, clinic: Path, capsys):
    assert "is a pretraining" in refused(capsys, "anyecg-echo", "relate", before.folder)
    assert "is a pretraining" in refused(capsys, "anyecg-echo", "explain", before.folder, clinic)
    assert "--split is one of internal, external" in refused(
        capsys, "anyecg-echo", "relate", run.folder, "--split", "x"
    )


def test_another_cohort_needs_a_name(before: Run):
    with pytest.raises(RunError, match="give this one a --name"):
        anyecg_echo._zero_shot(before, hospital(40, seed=5, world=echo_world()), "", 1)


# --- two processes ------------------------------------------------------------------------------------------


class Wide(AnyECGEcho):
    """The page's network in double precision."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        self.double()

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        return super().embed(x.double())


WIDE = replace(SMALL, schedule=Schedule(steps=3, batch=7, lr=0.01, ema=0.9, validate_every=2))  # 3 rows + 4 rows


def learn(folder: Path) -> None:
    """The whole pretraining, on however many processes there are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(anyecg_echo, "AnyECGEcho", Wide)
        anyecg_echo._pretrain(hospital(60, seed=0, world=echo_world()), folder, WIDE, 1)


def test_two_processes_learn_what_one_learns(tmp_path: Path):
    on_two_processes(__file__, tmp_path / "two")
    learn(tmp_path / "one")
    one, two = (Run(tmp_path / name) for name in ("one", "two"))
    with torch.random.fork_rng():
        torch.manual_seed(WIDE.schedule.seed)
        first = Wide(WIDE).state_dict()
    learned_the_same(one, two, first)


if __name__ == "__main__":
    dist.join()
    learn(Path(sys.argv[1]))
    dist.leave()
