"""The page as its users meet it: from the command line and Python, with few recordings and few steps."""

import csv
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from processes import learned_the_same, on_two_processes
from pulses import feet_at, pulse_of

from stethos.cli import main
from stethos.errors import OriginError, QualityError, RecipeError, RunError
from stethos.study import stream
from stethos.study.partition import Partition
from stethos.study.pulse_space import spread
from stethos.systems import cap, load
from stethos.systems.cap import CAP, Batch, Estimator, Pulse, Recipe
from stethos.train import dist
from stethos.types import Run, Schedule, Signal

SMALL = replace(
    cap.tiny(),
    width=32,
    feedforward=32,
    layers=1,
    space=16,
    morphology=(16, 16),
    tune_steps=4,
    tune_batch=8,
    parts=Partition(held_out_sites=("harbour",), valid_fraction=0.2, test_fraction=0.25),
    schedule=Schedule(steps=4, batch=12, lr=1e-3, validate_every=2),
)
PATIENTS = 130


def stethos(*arguments):
    main([str(item) for item in arguments])


def refused(capsys, *arguments):
    """What a command says that ends with code 2."""
    with pytest.raises(SystemExit) as ended:
        stethos(*arguments)
    assert ended.value.code == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("stethos: ")
    return said


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cap")


@pytest.fixture(scope="module")
def ward(folder):
    """A simulated hospital whose records are summarised and paired, by the commands that a user has."""
    stethos("synth", "hospital", "--ppg", "--patients", PATIENTS, "--out", folder / "hospital")
    records = ("--cohort", folder / "hospital", "--out", folder / "texts", "--budget", 64)
    stethos("cap", "summarise", folder / "hospital" / "meds", *records)
    stethos("cap", "pair", folder / "hospital", folder / "texts", "--out", folder / "ward")
    return folder / "ward"


def recipe_file(folder, **change):
    path = folder / f"recipe-{len(list(folder.glob('recipe-*')))}.json"
    path.write_text(json.dumps(asdict(replace(SMALL, **change))))
    return path


@pytest.fixture(scope="module")
def before(ward, folder):
    """Pretrained once, and asked by sentences."""
    stethos("cap", "pretrain", "--cohort", ward, "--config", recipe_file(folder), "--out", folder / "before")
    stethos("cap", "zero-shot", folder / "before", ward)
    return Run(folder / "before")


@pytest.fixture(scope="module")
def without(ward, folder):
    """Pretrained without records."""
    flags = ("--config", recipe_file(folder, records="none"), "--out", folder / "without")
    stethos("cap", "pretrain", "--cohort", ward, *flags)
    return Run(folder / "without")


@pytest.fixture(scope="module")
def run(ward, folder, before, without):
    """Trained once from the pretraining, beside another one."""
    recipe = recipe_file(folder, start=str(before.folder), rivals=(f"no_anchor={without.folder}",),
                         label_fractions=(0.3,), label_draws=2)  # fmt: skip
    stethos("cap", "train", "--cohort", ward, "--config", recipe, "--out", folder / "run")
    stethos("cap", "evaluate", folder / "run")
    return Run(folder / "run")


def numbers(run):
    return json.loads(run.metrics.read_text())


# --- the network ---------------------------------------------------------------------------------------------


def recordings(count=3, patches=4, seed=0):
    x = torch.randn(count, patches, 2, 1200, generator=torch.Generator().manual_seed(seed))
    x[:, :, 1] = 1
    return x


@pytest.fixture
def network():
    torch.manual_seed(0)
    return CAP(SMALL).eval()


def test_the_reference_has_the_published_encoder():
    with torch.device("meta"):
        net = Pulse(cap.reference())
    assert round(sum(weight.numel() for weight in net.encoder.parameters()) / 1e6, 3) == 3.954


def test_swapping_the_halves_of_a_recording_changes_its_embedding_but_not_that_of_the_published_form(network):
    x = recordings()
    swapped = torch.cat([x[:, 2:], x[:, :2]], dim=1)
    with torch.inference_mode():
        assert (network.embed(x) - network.embed(swapped)).abs().max() > 1e-4
        torch.manual_seed(0)
        plain = CAP(replace(SMALL, positions=False, swing=0)).eval()
        assert (plain.embed(x) - plain.embed(swapped)).abs().max() < 1e-5


def test_a_patch_that_holds_nothing_changes_nothing(network):
    x = recordings(patches=3)
    longer = torch.cat([x, torch.zeros(3, 1, 2, 1200)], dim=1)
    with torch.inference_mode():
        assert torch.allclose(network.embed(x), network.embed(longer), atol=1e-6)
        nothing = network.embed(torch.zeros(1, 2, 2, 1200))
    assert torch.isfinite(nothing).all()


def test_what_is_hidden_is_not_seen_and_only_that_is_scored(network):
    x = recordings(2, 1)
    hidden = torch.zeros(2, 1, 1200, dtype=torch.bool)
    hidden[:, :, 400:480] = True
    other = x.clone()
    other[:, :, 0, 400:480] = 7.0
    with torch.inference_mode():
        _, _, tokens, row = network.seen(x, hidden)
        _, _, again, same = network.seen(other, hidden)
        assert torch.equal(tokens, again)
        assert torch.equal(row, same)
        error, counted = network.restored(x, hidden, tokens)
    assert counted.sum() == 160
    assert counted[:, 400:480].all()
    assert error.shape == (2, 1200)


def test_two_passes_differ_and_one_is_one(network):
    draw = cap.batches(replace(SMALL, views=2))
    batch = draw(0, slice(0, 6))
    assert not torch.equal(batch.hidden[:, 0], batch.hidden[:, 1])
    assert not torch.equal(batch.ppg[:, 0], batch.ppg[:, 1])
    assert CAP(replace(SMALL, views=1))(cap.batches(replace(SMALL, views=1))(0, slice(0, 6))).keys() == {
        "restore", "stay", "anchor"
    }  # fmt: skip


def test_a_term_of_no_weight_is_left_out_and_without_records_there_is_no_tower():
    batch = cap.batches(SMALL)(0, slice(0, 6))
    assert CAP(replace(SMALL, restore=0.0))(batch).keys() == {"stay", "anchor"}
    bare = CAP(replace(SMALL, records="none"))
    assert bare(batch).keys() == {"restore", "stay"}
    assert not hasattr(bare, "tower")


def test_kin_are_not_told_apart(network):
    batch = cap.batches(SMALL)(0, slice(0, 8))
    alike = batch._replace(kin=torch.zeros_like(batch.kin))
    with torch.inference_mode():
        assert float(network(alike)["anchor"]) == 0
        assert float(network(batch)["anchor"]) > 0


def test_an_estimator_answers_in_the_units_of_its_tasks():
    model = Estimator(SMALL, "scratch").eval()
    truth = np.array([[0, 70, 15, 130, 80], [1, 90, 17, 150, 90]], float)
    model.centred(truth)
    assert model.graded.tolist() == [False, True, True, True, True]
    assert model.centre.tolist() == [0, 80, 16, 140, 85]
    with torch.inference_mode():
        model.head.weight.zero_()
        model.head.bias.zero_()
        assert torch.allclose(model.score(recordings(1)), torch.tensor([[0.0, 80, 16, 140, 85]]))


def test_the_fused_encoder_is_frozen_and_stays_so():
    model = Estimator(SMALL, "fused")
    sum(model(cap.batches(SMALL)(0, slice(0, 6))).values()).backward()
    assert all(weight.grad is None for weight in model.pulse.parameters())
    assert all(weight.grad is not None for weight in model.shape.net.stem.parameters())


@pytest.mark.parametrize("rate", [25.0, 64.0, 125.0, 1000.0])
def test_a_pulse_of_any_rate_is_embedded_near_itself(network, rate):
    made = {each: pulse_of(feet_at(72, 60), each, 60, noise=0.002) for each in (rate, 250.0)}
    with torch.inference_mode():
        one, other = (network.embed(network.prepare(signal)) for signal in made.values())
    assert float((one * other).sum()) > 0.98


def test_three_seconds_and_a_day_are_embedded(network):
    with torch.inference_mode():
        short = network.embed(network.prepare(pulse_of(feet_at(72, 3.2), 125, 3.2, noise=0.01)))
        hour = pulse_of(feet_at(72, 600), 40, 600, noise=0.01)
        day = Signal(np.tile(hour.values, (1, 144)), 40, ("PLETH",), "1")
        x = network.prepare(day)
        assert x.shape == (1, 2880, 2, 1200)
        long = network.embed(x)
    assert torch.isfinite(short).all()
    assert torch.isfinite(long).all()


@pytest.mark.parametrize("values", [np.ones(7500), np.full(7500, np.nan)])
def test_what_is_no_pulse_is_refused(network, values):
    with pytest.raises(QualityError):
        network.prepare(Signal(values[None].astype(np.float32), 125.0, ("PLETH",), "1"))


def test_a_collapse_stops_the_run_with_its_reason(ward, tmp_path, monkeypatch):
    sound, looks = CAP.embed, []

    def failing(self, x):
        looks.append(0)
        return sound(self, x) if len(looks) == 1 else torch.ones(len(x), 16) / 4

    monkeypatch.setattr(CAP, "embed", failing)
    with pytest.raises(RunError, match=r"step 2: the embeddings have collapsed: they spread by 0\.000"):
        cap.pretrain(ward, out=tmp_path, recipe=SMALL)


# --- the commands --------------------------------------------------------------------------------------------


def test_a_pretraining_keeps_what_it_needs_and_tells_people(before):
    flow = json.loads((before.folder / "flow.json").read_text())
    assert flow["flow"][0]["label"] == "all records"
    assert before.report.is_file()
    assert any(name.startswith("zero_shot.") and name.endswith(".auroc") for name in numbers(before))
    model = load(before.folder)
    assert model.present.abs().sum() > 0
    assert float(model.mean_text.norm()) <= 1 + 1e-6


def test_every_arm_of_every_task_has_its_number_and_its_difference(run):
    found = numbers(run)
    for task, metric in (("hr", "mae"), ("resp_rate", "mae"), ("sbp", "mae"), ("dbp", "mae")):
        for arm in ("pretrained", "fused", "untrained", "scratch", "raw_only", "classical", "mean", "no_anchor"):
            assert f"{task}.{arm}.{metric}" in found, (task, arm)
        assert f"{task}.pretrained.internal.minus_untrained" in found
        assert f"record.{task}.external.minus_no_anchor" in found
        assert f"{task}.labels.0.3.pretrained" in found
    assert all(item["origin"] == "synthetic" for item in found.values())
    words = run.report.read_text()
    for part in ("Every task and arm", "Paired differences", "What the record is worth", "Agreement", "Few labels",
                 "Error against coverage", "no measurement"):  # fmt: skip
        assert part in words, part


def test_the_report_names_nobody(run, ward):
    with (ward / "cohort.csv").open(newline="") as file:
        names = {row["subject"] for row in csv.DictReader(file)}
    for path in run.folder.glob("*.*"):
        if path.suffix in (".json", ".jsonl", ".html", ".md"):
            text = path.read_text()
            assert not any(name in text for name in names), path.name


def test_the_mean_says_the_training_mean(run):
    from stethos.types import Predictions

    said = Predictions.load(run.private / "arm-mean.npz")
    train = said.truth[said.split == "train"]
    assert np.allclose(said.score[:, 1], np.nanmean(train[:, 1]))


def test_the_run_is_loaded_as_what_it_was(run):
    model = load(run.folder)
    assert model.arm == "fused"
    from stethos.types import Predictions

    own, kept = Predictions.load(run.predictions), Predictions.load(run.private / "arm-fused.npz")
    assert np.array_equal(own.score, kept.score)


def test_a_recording_is_estimated_with_its_notes_or_refused(run, ward, capsys, tmp_path):
    from stethos.types import Predictions

    usable = set(Predictions.load(run.predictions).record)
    with (ward / "cohort.csv").open(newline="") as file:
        path = next((ward / row["path"]).resolve() for row in csv.DictReader(file) if row["id"] in usable)
    capsys.readouterr()
    stethos("cap", "predict", run.folder, path)
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["decision"] == "estimated"
    assert 0 <= said["af"] <= 1
    assert "sbp_note" in said
    assert said.get("sbp") is None
    assert "simulated world" in said["warning"]
    flat = tmp_path / "flat.csv"
    flat.write_text("PLETH\n" + "1.0\n" * 7500)
    with pytest.raises(SystemExit):
        stethos("cap", "predict", run.folder, flat, "--rate", 125, "--unit", "1")
    capsys.readouterr()
    stethos("cap", "predict", run.folder, flat, "--rate", 125, "--unit", "1", "--allow-synthetic-model")
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["decision"] == "abstain"
    assert "no usable patch" in said["reason"]


def column(path: Path, values: np.ndarray) -> Path:
    """A file of one pulse, with the digits that a stream of it would have."""
    path.write_text("# origin: synthetic\nPLETH [1]\n" + "".join(f"{value:.6f}\n" for value in values))
    return path


def test_a_stretch_of_a_stream_is_judged_as_a_recording_of_that_length(run, ward, capsys, tmp_path):
    from stethos.io import read
    from stethos.types import Predictions

    usable = set(Predictions.load(run.predictions).record)
    with (ward / "cohort.csv").open(newline="") as file:
        path = next((ward / row["path"]).resolve() for row in csv.DictReader(file) if row["id"] in usable)
    pulse = read(path).pick("PLETH")
    seconds = int(pulse.duration)
    part = np.nan_to_num(pulse.values[0][: round(seconds * pulse.rate)])
    whole = column(tmp_path / "live.csv", np.concatenate([part, 0 * part, part]))
    capsys.readouterr()
    flags = ("--rate", pulse.rate, "--every", seconds)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "IDLE_SECONDS", 0.2)
        stethos("cap", "predict", run.folder, "--follow", whole, *flags)
    first, still, last, end = map(json.loads, capsys.readouterr().out.splitlines())
    stethos("cap", "predict", run.folder, column(tmp_path / "alone.csv", part), "--rate", pulse.rate)
    alone = json.loads(capsys.readouterr().out)
    names = [name for name in alone if name not in ("file", "model", "quality")]
    for line in (first, last):
        assert {name: line[name] for name in names} == {name: alone[name] for name in names}
        assert line["quality_score"] == pytest.approx(alone["pulse_quality"], abs=1e-4)
    assert (still["decision"], still["quality_score"]) == ("abstain", 0)
    assert "no usable patch" in still["quality"]
    assert last["mean"]["hr"] == pytest.approx(alone["hr"])
    assert last["windows_in_mean"] == 2
    assert (end["status"], end["windows"], end["windows_used"]) == ("end", 3, 2)
    assert end["all"]["af"] == pytest.approx(alone["af"])


def test_what_cannot_be_followed_is_one_sentence(run, capsys, tmp_path):
    live = column(tmp_path / "live.csv", np.zeros(100))
    refused = [((), "give one of the two"), ((live, "--follow", live), "give one of the two")]
    refused += [(("--follow", live, "--rate", 64, "--every", 1), "at least a patch")]
    for flags, words in refused:
        with pytest.raises(SystemExit) as stop:
            stethos("cap", "predict", run.folder, *flags)
        told = capsys.readouterr().err
        assert (stop.value.code, told.count("\n")) == (2, 1)
        assert words in told


def test_a_simulated_model_does_not_estimate_a_real_person(run, tmp_path):
    path = tmp_path / "real.csv"
    signal = pulse_of(feet_at(72, 60), 125, 60, noise=0.01)
    path.write_text("PLETH\n" + "\n".join(f"{value:.5f}" for value in signal.values[0]) + "\n")
    with pytest.raises(OriginError, match="does not score a real person"):
        list(cap.predict(run.folder, [path], rate=125.0, unit="1"))


def test_attention_is_told_patch_by_patch_with_a_picture(before, tmp_path, capsys):
    path = tmp_path / "long.csv"
    signal = pulse_of(feet_at(72, 200), 125, 200, noise=0.01)
    values = signal.values[0].copy()
    values[125 * 60 : 125 * 90] = 0.3
    path.write_text("PLETH\n" + "\n".join(f"{value:.5f}" for value in values) + "\n")
    capsys.readouterr()
    stethos("cap", "explain", before.folder, path, "--rate", 125, "--unit", "1", "--allow-synthetic-model",
            "--out", tmp_path / "attention.png")  # fmt: skip
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert len(rows) == 7
    assert rows[2]["refused"] == "flat"
    assert rows[2]["attention"] == 0
    assert rows[2]["pulse_rate"] is None
    assert rows[0]["pulse_rate"] == pytest.approx(72, abs=1)
    assert 0 < sum(row["attention"] for row in rows) <= 1
    assert (tmp_path / "attention.png").stat().st_size > 5000


def test_rows_are_written_and_neighbours_stay_private(before, ward, tmp_path, capsys):
    stethos("cap", "embed", before.folder, ward, "--out", tmp_path / "rows.npz")
    held = np.load(tmp_path / "rows.npz")
    assert np.allclose(np.linalg.norm(held["embedding"], axis=1), 1, atol=1e-5)
    assert held["features"].shape[1] == SMALL.width + SMALL.space
    with (ward / "cohort.csv").open(newline="") as file:
        own = next(row for row in csv.DictReader(file) if row["id"] == str(held["record"][0]))
    stethos("cap", "nearest", before.folder, ward, (ward / own["path"]).resolve(), "--top", 3)
    assert "keep it private" in capsys.readouterr().out
    with (before.private / "nearest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["record"] == own["id"]
    assert float(rows[0]["cosine"]) == pytest.approx(1, abs=1e-3)


def test_records_are_found_by_recordings_and_recordings_by_a_sentence(before, without, ward, capsys):
    capsys.readouterr()
    stethos("cap", "retrieve", before.folder, ward)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert len(lines) == 6
    assert all(0 <= line["chance"] <= 1 for line in lines)
    stethos("cap", "retrieve", before.folder, ward, "--query", "atrial fibrillation", "--top", 3)
    assert len([line for line in capsys.readouterr().out.splitlines() if "cosine" in line]) == 3
    said = refused(capsys, "cap", "retrieve", without.folder, ward)
    assert "needs a pretraining with records" in said


def test_another_cohort_is_scored_by_every_arm(run, folder, capsys):
    stethos("synth", "hospital", "--ppg", "--patients", 25, "--seed", 5, "--out", folder / "other")
    stethos("cap", "evaluate", run.folder, "--external", f"other={folder / 'other'}")
    found = numbers(run)
    for arm in ("pretrained", "fused", "classical", "mean", "untrained"):
        assert f"hr.{arm}.external-other.mae" in found
    said = refused(capsys, "cap", "evaluate", run.folder, "--external", f"again={folder / 'hospital'}")
    assert "were pretrained on" in said


def test_cross_validation_leaves_out_whom_the_pretraining_met(before, ward, folder, tmp_path):
    recipe = recipe_file(folder, start=str(before.folder), tasks=("hr",))
    stethos("cap", "cross-validate", "--cohort", ward, "--folds", 3, "--config", recipe, "--out", tmp_path)
    flow = json.loads((tmp_path / "flow.json").read_text())["flow"]
    assert "that a pretraining met" in flow[-1]["lost"]
    assert "hr.pretrained.folds.minus_untrained" in numbers(Run(tmp_path))


def test_whom_a_pretraining_met_is_not_tested_by_it(before, ward, folder, tmp_path, capsys):
    other = recipe_file(folder, start=str(before.folder), parts=replace(SMALL.parts, split_seed=1))
    said = refused(capsys, "cap", "probe", "--cohort", ward, "--config", other, "--out", tmp_path)
    assert "were pretrained on" in said


def test_bad_input_is_one_sentence(before, run, ward, folder, tmp_path, capsys):
    hospital = folder / "hospital"
    config = recipe_file(folder)
    said = refused(capsys, "cap", "pretrain", "--cohort", hospital, "--config", config, "--out", tmp_path / "a")
    assert "a text (column report)" in said
    said = refused(capsys, "cap", "evaluate", before.folder)
    assert "is a pretraining, which estimates nothing" in said
    said = refused(capsys, "cap", "zero-shot", run.folder, ward)
    assert "holds no pretraining" in said
    said = refused(capsys, "cap", "zero-shot", before.folder, ward, "--query", "nonsense")
    assert "COLUMN=SENTENCE" in said
    said = refused(capsys, "cap", "probe", "--cohort", ward, "--config", recipe_file(folder, tasks=("bliss",)),
                   "--out", tmp_path / "b")  # fmt: skip
    assert "needs a column that tells one of bliss" in said
    said = refused(capsys, "cap", "summarise", tmp_path, "--out", tmp_path / "c")
    assert "needs patients' records" in said
    flags = ("--out", tmp_path / "d", "--model", "x")
    assert "give its --endpoint" in refused(capsys, "cap", "summarise", hospital / "meds", *flags)
    url = ("--endpoint", "http://example.com:80", "--model", "x")
    said = refused(capsys, "cap", "summarise", hospital / "meds", "--out", tmp_path / "d", *url)
    assert "example.com" in said
    flags = ("--config", recipe_file(folder, records="none", width=64), "--out", tmp_path / "wide")
    stethos("cap", "pretrain", "--cohort", ward, *flags)
    other = recipe_file(folder, start=str(before.folder), rivals=(f"wide={tmp_path / 'wide'}",))
    said = refused(capsys, "cap", "probe", "--cohort", ward, "--config", other, "--out", tmp_path / "e")
    assert "holds another encoder than" in said
    assert "width" in said


def test_a_probe_takes_the_encoder_of_its_start(before, ward, folder, tmp_path):
    recipe = recipe_file(folder, start=str(before.folder), width=256, layers=5, tasks=("hr", "sbp > 125.5"))
    stethos("cap", "probe", "--cohort", ward, "--config", recipe, "--out", tmp_path)
    assert cap.recipe_of(Run(tmp_path)).width == SMALL.width
    assert load(tmp_path).arm == "probe"
    assert {"hr.pretrained.mae", "sbp>125_5.pretrained.auroc"} <= numbers(Run(tmp_path)).keys()


def test_a_cohort_of_arrays_and_texts_is_imported_and_pretrained_on(folder, tmp_path):
    (tmp_path / "waves").mkdir()
    for number in range(24):
        signal = pulse_of(feet_at(60 + 2 * number, 40), 125, 40, noise=0.01, seed=number)
        np.savez(tmp_path / "waves" / f"{number}.npz", data=signal.values[0])
        report = {"Report": f"Ailment {number % 5}."}
        (tmp_path / "waves" / f"{number}.json").write_text(json.dumps(report))
    cohort = tmp_path / "cohort"
    stethos("cohort", "import", "reports", tmp_path / "waves", "--out", cohort, "--rate", 125)
    recipe = recipe_file(folder, parts=Partition(valid_fraction=0.3, test_fraction=0.2))
    stethos("cap", "pretrain", "--cohort", cohort, "--config", recipe, "--out", tmp_path / "run")
    assert isinstance(load(tmp_path / "run"), CAP)


def test_a_recipe_without_steps_is_refused(ward, tmp_path):
    with pytest.raises(RecipeError, match="at least 1 each"):
        cap.pretrain(ward, out=tmp_path, recipe=replace(SMALL, patches=0))


def test_the_published_preparation_learns_too(ward, tmp_path):
    recipe = replace(SMALL, prepare="pulse-published", patch=25.0, token=1.0, restore_all=True, block=0.0)
    made = cap.pretrain(ward, out=tmp_path, recipe=recipe)
    assert load(made.folder).prepare(pulse_of(feet_at(72, 60), 125, 60, noise=0.01)).shape == (1, 2, 2, 1000)


@pytest.mark.slow
def test_each_term_and_the_record_are_taken_away_in_turn(ward, folder, tmp_path):
    made = cap.ablate(ward, out=tmp_path, seeds=2, recipe=SMALL)
    found = numbers(made)
    for name in ("no_restore", "no_stay", "no_anchor", "shuffled"):
        assert f"hr.pretrained.internal.minus_{name}" in found


def test_random_directions_spread_by_one():
    z = torch.nn.functional.normalize(torch.randn(2000, 16, generator=torch.Generator().manual_seed(0)), dim=1)
    assert spread(z) == pytest.approx(1, abs=0.03)


# --- two processes -------------------------------------------------------------------------------------------


class Wide(CAP):
    """The page's network in double precision."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        self.double()

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        return super().forward(batch._replace(ppg=batch.ppg.double()))

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        return super().embed(x.double())


WIDE = replace(SMALL, schedule=Schedule(steps=3, batch=7, lr=0.01, ema=0.9, validate_every=2))  # 3 rows + 4 rows


def learn(folder: Path) -> None:
    """The whole pretraining, on however many processes there are."""
    from stethos.study.pulses import diseases_in_words
    from stethos.synth import hospital, ppg_world

    people = hospital(60, seed=0, world=ppg_world())
    people = people.with_columns(report=np.array(diseases_in_words(people), dtype=object))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cap, "CAP", Wide)
        cap._pretrain(people, folder, WIDE, 1)


def test_two_processes_learn_what_one_learns(tmp_path):
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
