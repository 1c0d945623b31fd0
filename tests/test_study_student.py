"""A narrow network taught by a run: what it learns by, from whom, and what is said to be lost."""

import csv
import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from stethos.cli import main
from stethos.data.cohort import open_cohort
from stethos.data.write import write_cohort
from stethos.errors import RecipeError, RunError
from stethos.nn.net1d import BLOCKS, LADDERS, WIDTHS
from stethos.study import controls, lost, validate
from stethos.study.compare import compare
from stethos.study.lead import LeadWindows
from stethos.study.partition import partition
from stethos.study.student import Lesson, Pupil, Teaching, lessons, narrowed, refuse_unlike
from stethos.study.task import Question, ask
from stethos.synth import hospital
from stethos.systems import load, pocket_k
from stethos.train.run import read_config
from stethos.types import Cohort, Predictions, Record, Run

TARGET = "potassium > 4.5"  # so frequent that every part holds both classes
BRIEF = ("--preset", "tiny", "--steps", 4, "--batch", 16, "--validate-every", 2)
LN2 = float(np.log(2))


def stethos(*arguments: object) -> None:
    main([str(item) for item in arguments])


def refused(capsys, *arguments: object) -> str:
    """The one sentence of a command that ends with exit code 2."""
    with pytest.raises(SystemExit) as stop:
        stethos(*arguments)
    said = capsys.readouterr().err
    assert (stop.value.code, said.count("\n")) == (2, 1), said
    return said


def numbers(run: Run) -> dict[str, dict]:
    return json.loads(run.metrics.read_text())


def said(run: Run) -> Predictions:
    return Predictions.load(run.predictions).mean_over_seeds()


def taught(teacher: Run, cohort: Path, out: Path, *flags: object) -> Run:
    stethos("pocket-k", "student", teacher.folder, "--cohort", cohort, "--out", out, *flags)
    return Run(out)


@pytest.fixture(scope="module", autouse=True)
def _quick():
    """Fewer resamples and penalties than in earnest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validate, "DRAWS", 60)
        patch.setattr(lost, "LEAST", 2)
        patch.setattr(controls, "STRENGTHS", np.logspace(-2, 2, 3))
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("student")


@pytest.fixture(scope="module")
def clinic(folder) -> Path:
    stethos("synth", "hospital", "--patients", 50, "--out", folder / "clinic")
    return folder / "clinic"


@pytest.fixture(scope="module")
def teacher(clinic, folder) -> Run:
    flags = ("--seeds", 2, "--held-out-sites", "harbour", "--target", TARGET)
    stethos("pocket-k", "train", "--cohort", clinic, "--out", folder / "teacher", *BRIEF, *flags)
    return Run(folder / "teacher")


@pytest.fixture(scope="module")
def student(teacher, clinic, folder) -> Run:
    made = taught(teacher, clinic, folder / "student")
    stethos("pocket-k", "evaluate", made.folder)
    return made


# --- what it learns by ----------------------------------------------------------------------------------------


class Told(nn.Module):
    """A student that says what it is shown."""

    net = nn.Identity()


def losses(how: Teaching, said: float, told: float, truth: float, graded: bool = False) -> dict[str, float]:
    lesson = Lesson(*(torch.tensor([[value]]) for value in (said, truth, told)))
    return {name: float(value) for name, value in Pupil(Told(), how, graded)(lesson).items()}


def test_the_two_terms_are_those_worked_out_by_hand():
    got = losses(Teaching(weight=0.75, temperature=2.0), said=0.0, told=2.0, truth=1.0)
    assert got["teacher"] == pytest.approx(0.75 * 4 * LN2)  # whatever is aimed at, saying 0 costs ln 2
    assert got["known"] == pytest.approx(0.25 * LN2)
    graded = losses(Teaching(weight=0.75), said=1.0, told=3.0, truth=2.0, graded=True)
    assert graded == {"teacher": pytest.approx(0.75 * 4), "known": pytest.approx(0.25 * 1)}


@pytest.mark.parametrize("heat", [0.5, 1.0, 2.0, 8.0])
def test_at_any_temperature_the_student_is_best_where_the_teacher_is(heat):
    cost = [losses(Teaching(weight=1, temperature=heat), x, -1.5, np.nan)["teacher"] for x in np.arange(-4, 2.1, 0.5)]
    assert np.arange(-4, 2.1, 0.5)[np.argmin(cost)] == -1.5


def test_hot_lessons_pull_like_the_squared_error_of_the_logits():
    """Hinton et al. 2015, section 2.1: the gradient tends to (s − t) / 4 once T² has been taken out."""
    said = torch.tensor([[1.0]], requires_grad=True)
    lesson = Lesson(said, torch.tensor([[torch.nan]]), torch.tensor([[-2.0]]))
    sum(Pupil(Told(), Teaching(weight=1, temperature=100.0), False)(lesson).values()).backward()
    assert float(said.grad) == pytest.approx((1 + 2) / 4, rel=1e-3)


def test_a_window_without_a_label_teaches_all_the_same():
    got = losses(Teaching(weight=0.5), said=0.0, told=2.0, truth=np.nan)
    assert got["known"] == 0
    assert got["teacher"] > 0


def test_the_teacher_is_asked_about_the_very_window_that_the_student_sees():
    seen = torch.arange(6.0).reshape(2, 1, 3)
    lesson = lessons(lambda *_: (seen, torch.zeros(2, 1)), lambda x: x.sum(axis=2).astype(np.float64), 1.0, 2.0)
    got = lesson(0, slice(0, 2))
    assert got.lead is seen
    assert got.told.tolist() == [[1.0], [5.5]]  # sums 3 and 12, minus 1, over 2
    assert got.told.dtype == seen.dtype


# --- how narrow it is -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("widths", "blocks", "width", "want"),
    [
        (WIDTHS, BLOCKS, 0.25, LADDERS[0.25]),
        (WIDTHS, BLOCKS, 0.2, ((16, 32, 32, 80, 80, 208, 208), BLOCKS)),  # 204.8 is nearer to 208 than to 192
        ((16, 32, 32, 64, 64), (1, 1, 1, 1, 1), 0.25, ((16, 16, 16, 16, 16), (1, 1, 1, 1, 1))),
        ((64, 128), (2, 3), 0.5, ((32, 64), (2, 3))),
    ],
)
def test_widths_are_the_published_ladder_or_multiples_of_sixteen(widths, blocks, width, want):
    assert narrowed(widths, blocks, width) == want


def test_a_student_that_would_not_be_smaller_is_refused(teacher, clinic, folder, capsys):
    with pytest.raises(RecipeError, match="smaller than its teacher"):
        narrowed((16, 16), (1, 1), 0.25)
    flags = ("--cohort", clinic, "--out", folder / "wide")
    for width in (0.95, 1.0, 0.0):
        refused(capsys, "pocket-k", "student", teacher.folder, *flags, "--width", width)
    assert not (folder / "wide").exists()


# --- the folder of a student ----------------------------------------------------------------------------------


def test_a_student_is_a_run_that_names_its_teacher(student, teacher):
    told = read_config(student)["protocol"]
    assert told["teacher"] == hashlib.sha256(teacher.weights.read_bytes()).hexdigest()[:16]
    sizes = [sum(weight.numel() for weight in load(run.folder).parameters()) for run in (teacher, student)]
    assert sizes[1] < sizes[0] / 2
    assert told["teacher_parameters"] == sizes[0]
    assert told["teacher"] in student.report.read_text()
    assert "What was lost against the teacher" in student.report.read_text()
    assert "What was lost" not in student.card.read_text()
    assert {"difference.teacher.internal.auroc", "difference.teacher.external.auroc"} <= set(numbers(student))
    assert {"control.scratch.auroc", "difference.scratch.internal.auroc"} <= set(numbers(student))


def test_nobody_taught_the_teacher(teacher):
    assert lost.against_teacher(teacher, said(teacher)) == ({}, [])


def test_whom_the_teacher_was_tested_on_the_student_never_learned_from(student, teacher):
    one, two = said(student), said(teacher)
    where = [dict(zip(each.record, each.split, strict=True)) for each in (one, two)]
    assert where[0] == where[1]
    learned = one.subject[np.isin(one.split, ("train", "valid"))]
    assert not set(learned) & set(two.subject[np.isin(two.split, ("internal", "external"))])


def test_the_difference_is_that_of_stethos_compare(student, teacher):
    rows = {split: item for split, _, item, _ in compare([student.folder, teacher.folder]).rows}
    assert set(rows) == {"internal", "external"}
    for split, item in rows.items():
        got = numbers(student)[f"difference.teacher.{split}.auroc"]
        assert (got["value"], got["low"], got["high"]) == pytest.approx(
            (item.estimate.value, item.estimate.low, item.estimate.high)
        )


def test_the_difference_in_a_group_is_that_of_scikit_learn_on_its_records(student, teacher):
    one, two = said(student), said(teacher)
    other = dict(zip(two.record, two.score[:, 0], strict=True))
    named = [name for name in numbers(student) if name.startswith("difference.teacher.") and name.count(".") > 3]
    assert {name.split(".")[3] for name in named} >= {"age", "sex"}
    bands = {"< 45": (0, 45), "45 to < 65": (45, 65), "65 to < 80": (65, 80), "≥ 80": (80, 999)}
    for name in named:
        split, group, level = name.split(".")[2:5]
        fact = one.facts[group]
        inside = (fact >= bands[level][0]) & (fact < bands[level][1]) if group == "age" else fact == level
        here = (one.split == split) & inside
        truth, score = one.truth[here, 0], one.score[here, 0]
        want = roc_auc_score(truth, score) - roc_auc_score(truth, [other[record] for record in one.record[here]])
        assert numbers(student)[name]["value"] == pytest.approx(want), name


def test_the_operating_point_is_its_own_from_the_validation_part(student, teacher):
    valid = said(student).part("valid")
    events = np.sort(valid.score[valid.truth[:, 0] == 1, 0])
    threshold = load(student.folder).threshold
    assert (events >= threshold).mean() >= 0.9
    one_lost = events[int(np.sum(events < threshold))]  # the lowest event that is caught, were the point above it
    assert (events > one_lost).mean() < 0.9
    assert threshold != load(teacher.folder).threshold


def files_of(run: Run) -> dict[Path, Path]:
    """Prepared windows by their place in the run."""
    return {path.relative_to(run.private): path for path in (run.private / "prepared").rglob("*") if path.is_file()}


def test_a_student_uses_the_windows_that_its_teacher_prepared(student, teacher):
    held, lent = files_of(teacher), files_of(student)
    assert set(held) == set(lent)
    assert all(held[name].samefile(lent[name]) for name in held)


def test_a_student_predicts_and_explains_like_any_run(student, clinic, capsys):
    file = clinic / "records/00000/1000001-1.hea"
    capsys.readouterr()
    stethos("predict", student.folder, file)
    line = json.loads(capsys.readouterr().out)
    assert line["model"] == hashlib.sha256(student.weights.read_bytes()).hexdigest()[:16]
    assert line["decision"] in ("above threshold", "below threshold")
    stethos("pocket-k", "explain", student.folder, file)
    assert json.loads(capsys.readouterr().out)


def test_the_same_command_resumes_at_once_and_another_is_refused(student, teacher, clinic, tmp_path, capsys):
    copied = Run(Path(shutil.copytree(student.folder, tmp_path / "copy")))
    before = copied.weights.read_bytes()
    taught(teacher, clinic, copied.folder)
    assert copied.weights.read_bytes() == before
    assert copied.log.read_bytes() == student.log.read_bytes()
    flags = ("--cohort", clinic, "--out", copied.folder, "--temperature", 3)
    assert "temperature: 2.0 → 3.0" in refused(capsys, "pocket-k", "student", teacher.folder, *flags)


@pytest.mark.slow
def test_a_student_teaches(teacher, clinic, folder):
    wide = ("--width", 0.5, "--steps", 1)
    first = taught(teacher, clinic, folder / "half", *wide)
    second = taught(first, clinic, folder / "quarter", *wide)
    widths = [read_config(run)["recipe"]["widths"] for run in (teacher, first, second)]
    assert widths == [[16, 32, 32, 64, 64], [16, 16, 16, 32, 32], [16, 16, 16, 16, 16]]
    assert read_config(second)["protocol"]["teacher"] == hashlib.sha256(first.weights.read_bytes()).hexdigest()[:16]


# --- whom it may not be taught with ---------------------------------------------------------------------------


def rewritten(clinic: Path, out: Path, edit) -> Path:
    """The clinic with an edited table."""
    with (clinic / "cohort.csv").open() as file:
        table = [dict(row, path=str(clinic / row["path"])) for row in csv.DictReader(file)]
    table = [row for row in map(edit, table) if row]
    out.mkdir()
    with (out / "cohort.csv").open("w") as file:
        writer = csv.DictWriter(file, table[0])
        writer.writeheader()
        writer.writerows(table)
    return out


EDITS = {
    "moved to another site": lambda row: dict(row, site="harbour" if row["site"] != "harbour" else "valley"),
    "of another value": lambda row: dict(row, potassium=str(9 - float(row["potassium"])) if row["potassium"] else ""),
    "gone": lambda row: row if row["subject"] > "1000009" else None,
}


@pytest.mark.parametrize("name", EDITS)
def test_records_that_have_changed_are_refused_before_there_is_a_folder(teacher, clinic, tmp_path, capsys, name):
    """Else somebody whom the teacher was tested on would be learned from."""
    edited = rewritten(clinic, tmp_path / "edited", EDITS[name])
    flags = ("--cohort", edited, "--out", tmp_path / "student")
    assert "give the cohort" in refused(capsys, "pocket-k", "student", teacher.folder, *flags)
    assert not (tmp_path / "student").exists()


def test_further_records_are_refused_too(teacher, clinic):
    """One more subject shifts who is drawn into which part, unless somebody puts it where it does no harm."""
    recipe = pocket_k.recipe_of(teacher)
    asked = ask(open_cohort(clinic), Question(recipe.target, recipe.exclude, LeadWindows("I", "lead-v1")))
    parts, _ = partition(asked.cohort, recipe.parts)
    refuse_unlike(teacher, asked, parts)
    rows = {name: np.append(column, column[:1]) for name, column in asked.cohort.rows.items()}
    rows["id"] = np.append(asked.cohort.rows["id"], "extra")
    more = replace(asked, cohort=Cohort(rows, asked.cohort.open), truth=np.append(asked.truth, 0.0))
    with pytest.raises(RunError, match="further records"):
        refuse_unlike(teacher, more, parts)


# --- folds ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folds(clinic, folder) -> Run:
    stethos("pocket-k", "cross-validate", clinic, "--out", folder / "folds", *BRIEF, "--target", TARGET, "--folds", 2)
    return Run(folder / "folds")


def test_a_fold_is_taught_by_its_own_networks_and_learns_from_nobody_whom_it_is_tested_on(folds, clinic, tmp_path):
    met, teach = [], pocket_k._taught

    def watched(task, recipe, rows, teacher, how, stage):
        windows = task.prepared.store.take(np.flatnonzero(task.prepared.window_record == rows["internal"][0]))
        names = {part: set(task.cohort.subjects[here]) for part, here in rows.items()}
        met.append((names, task.cohort.rows["id"][rows["internal"][0]], float(teacher(windows).mean())))
        return teach(task, recipe, rows, teacher, how, stage)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pocket_k, "_taught", watched)
        run = taught(folds, clinic, tmp_path / "student")
    kept = said(folds)
    assert len(met) == 2
    for names, record, logit in met:
        assert not names["internal"] & (names["train"] | names["valid"])
        assert logit == pytest.approx(kept.score[kept.record == record, 0][0], abs=1e-5)  # said by its strangers
    one = said(run)
    assert sorted(one.record.tolist()) == sorted(kept.record.tolist())
    assert dict(zip(one.record, one.split, strict=True)) == dict(zip(kept.record, kept.split, strict=True))


def test_what_a_cross_validated_student_lost_is_paired_over_all_folds(folds, clinic, folder):
    run = taught(folds, clinic, folder / "folds-student")
    told = numbers(run)
    one, two = said(run), said(folds)
    two = two.take(np.array([two.record.tolist().index(record) for record in one.record]))
    areas = [roc_auc_score(part.truth[:, 0], part.score[:, 0]) for part in (one, two)]
    assert told["pooled.auroc"]["value"] == pytest.approx(areas[0])
    assert told["teacher.pooled.auroc"]["value"] == pytest.approx(areas[1])
    assert told["difference.teacher.pooled.auroc"]["value"] == pytest.approx(areas[0] - areas[1])
    assert {"control.scratch.pooled.auroc", "control.untrained.pooled.auroc"} <= set(told)
    assert "What was lost against the teacher" in run.report.read_text()
    assert "Taught in each fold by its own model (" in run.report.read_text()


def test_a_cross_validation_without_its_networks_cannot_teach(folds, clinic, tmp_path, capsys):
    copied = Path(shutil.copytree(folds.folder, tmp_path / "copy"))
    (copied / "private" / "fold-1.safetensors").unlink()
    flags = ("--cohort", clinic, "--out", tmp_path / "student")
    assert "keeps no networks of fold 1" in refused(capsys, "pocket-k", "student", copied, *flags)
    assert not (tmp_path / "student").exists()


def test_other_records_than_those_of_the_folds_are_refused(folds, clinic, tmp_path, capsys):
    edited = rewritten(clinic, tmp_path / "edited", EDITS["of another value"])
    flags = ("--cohort", edited, "--out", tmp_path / "student")
    assert "give the cohort" in refused(capsys, "pocket-k", "student", folds.folder, *flags)


# --- further parts and targets --------------------------------------------------------------------------------


def test_another_cohort_is_put_to_the_teacher_too(student, teacher, clinic, tmp_path):
    copied = Run(Path(shutil.copytree(student.folder, tmp_path / "copy")))
    with (clinic / "cohort.csv").open() as file:
        kept = {row["subject"] for row in list(csv.DictReader(file))[:24]}
    other = rewritten(
        clinic,
        tmp_path / "other",
        lambda row: dict(row, subject="o" + row["subject"]) if row["subject"] in kept else None,
    )
    stethos("pocket-k", "evaluate", copied.folder, "--external", f"other={other}")
    one, two = said(copied).part("external-other"), said(teacher)
    before = dict(zip(two.record, two.score[:, 0], strict=True))  # the same recordings, scored in training
    held = [before[record] for record in one.record]
    want = roc_auc_score(one.truth[:, 0], one.score[:, 0]) - roc_auc_score(one.truth[:, 0], held)
    assert numbers(copied)["difference.teacher.external-other.auroc"]["value"] == pytest.approx(want)


@pytest.mark.slow
def test_a_measured_value_is_taught_and_the_errors_are_compared(clinic, folder):
    stethos("pocket-k", "train", "--cohort", clinic, "--out", folder / "value", *BRIEF, "--target", "potassium")
    made = taught(Run(folder / "value"), clinic, folder / "value-student")
    stethos("pocket-k", "evaluate", made.folder)
    assert np.isnan(load(made.folder).threshold)
    one, two = said(made).part("internal"), said(Run(folder / "value")).part("internal")
    errors = [np.abs(each.score - each.truth).mean() for each in (one, two)]
    got = numbers(made)
    assert got["teacher.internal.mae"]["value"] == pytest.approx(errors[1])
    assert got["difference.teacher.internal.mae"]["value"] == pytest.approx(errors[0] - errors[1])
    assert "What was lost against the teacher" in made.report.read_text()


@pytest.fixture(scope="module")
def strips(folder) -> Path:
    """One strip a person; half of them upside down, which the column "inverted" says."""
    people = hospital(60, seed=2)
    _, first = np.unique(people.subjects, return_index=True)
    inverted = np.random.default_rng(0).permutation(np.arange(len(first)) % 2).astype(float)
    rows = {name: people.rows[name][first] for name in ("id", "subject", "age", "sex")} | {"inverted": inverted}

    def strip(row: int) -> Record:
        record = people[int(first[row])]
        lead = record.signals[0]
        return replace(record, signals=(replace(lead, values=lead.values * (1 - 2 * inverted[row])),))

    write_cohort(Cohort(rows, strip, "synthetic"), folder / "strips")
    return folder / "strips"


@pytest.mark.slow
def test_what_the_teacher_knows_the_student_learns_from_it_alone(strips, folder):
    """With the whole weight on the teacher, no label reaches the student."""
    shape = [flag for stage in (32, 32, 32) for flag in ("--widths", stage, "--blocks", 1)]
    flags = ("--steps", 60, "--batch", 16, "--validate-every", 20, "--test-fraction", 0.4, "--target", "inverted == 1")
    stethos("pocket-k", "train", "--cohort", strips, "--out", folder / "turned", "--preset", "tiny", *shape, *flags)
    made = taught(Run(folder / "turned"), strips, folder / "small", "--width", 0.5, "--weight", 1)
    stethos("pocket-k", "evaluate", made.folder)
    assert read_config(made)["recipe"]["widths"] == [16, 16, 16]
    found = numbers(made)
    assert found["internal.auroc"]["value"] > 0.9
    assert found["difference.teacher.internal.auroc"]["low"] > -0.2
