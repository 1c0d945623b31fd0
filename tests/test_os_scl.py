"""OS-SCL: its objective by hand, one training on many processes, and every verb through the command line.

This file is also the program that torchrun starts: it trains the whole page in double precision.
"""

import json
import math
import shutil
import sys
from collections import Counter
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pytorch_metric_learning.losses import SupConLoss
from torch.nn import functional as F

import stethos
from stethos.cli import main
from stethos.errors import CohortError, RecipeError
from stethos.io.sound import write_sound
from stethos.study import detect, detected, planted
from stethos.study.detector import Memory
from stethos.study.listening import Listening
from stethos.synth.machine import factory
from stethos.synth.plan import Plan
from stethos.systems import load, os_scl
from stethos.systems.os_scl import Batch, OsScl, Recipe, batches
from stethos.train import dist
from stethos.train.loop import fit
from stethos.train.run import read_config
from stethos.types import Predictions, Run, Schedule, Signal
from tests.processes import on_two_processes

PLAN = Plan(("fan", "valve"), 2, 12, 8, seconds=1.0)
FEW = Plan(("fan", "valve"), 1, 8, 4, seconds=1.0)
SMALL = Recipe(
    listen=Listening(seconds=1.0), size=0.125, schedule=Schedule(steps=4, batch=8, lr=3e-3, ema=0.9, validate_every=2)
)
BRIEF = ("--preset", "tiny", "--seconds", 1, "--size", 0.125, "--steps", 4, "--batch", 8, "--validate-every", 2)


def command(*arguments: object) -> None:
    main([str(item) for item in arguments])


def refused(capsys, *arguments: object) -> str:
    """The one sentence of a command that ends with exit code 2."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        command(*arguments)
    said = capsys.readouterr().err
    assert (stop.value.code, said.count("\n")) == (2, 1), said
    assert said.startswith("stethos: ")
    return said


def spoken(capsys, *arguments: object) -> list[str]:
    """The lines of a command."""
    capsys.readouterr()
    command(*arguments)
    return capsys.readouterr().out.splitlines()


@pytest.fixture(scope="module", autouse=True)
def _quick():
    """One baseline, the quickest, and two faults."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(detected, "BASELINES", {name: detected.BASELINES[name] for name in list(detected.BASELINES)[:1]})
        patch.setattr(planted, "FAULTS", {name: planted.FAULTS[name] for name in ("leak", "clogging")})
        yield


@pytest.fixture(scope="module")
def heard() -> detect.Clips:
    return detect.clips_here(factory(PLAN), SMALL.listen)


def network(recipe: Recipe, classes: int = 4) -> OsScl:
    return detect.seeded(0, lambda: OsScl(recipe, classes))  # type: ignore[return-value]


# --- the objective ------------------------------------------------------------------------------------------


def mixed(recipe: Recipe, heard: detect.Clips, **parts: torch.Tensor) -> tuple[Batch, OsScl]:
    """A batch, and a network in training: its batch norms part what an untrained network hears as nearly the same."""
    return batches(recipe, heard)(0, slice(0, recipe.schedule.batch))._replace(**parts), network(recipe)


def cosines(model: OsScl, batch: Batch) -> torch.Tensor:
    share = batch.weight[:, None, None]
    z = model.embed(share * batch.wave + (1 - share) * batch.other)
    return z @ F.normalize(model.classes.weight, dim=1).T


def test_unmixed_and_without_margin_it_is_plain_cross_entropy(heard):
    batch, model = mixed(replace(SMALL, mix_alpha=0.0, margin=0.0, contrast=0.0), heard)
    assert (batch.weight == 1).all()
    losses = model(batch)
    assert list(losses) == ["class"]
    torch.testing.assert_close(
        losses["class"], F.cross_entropy(30 * model.embed(batch.wave) @ model.centres.T, batch.own)
    )


def test_a_mixture_is_of_both_classes_and_the_margin_is_on_its_own(heard):
    batch, model = mixed(replace(SMALL, contrast=0.0), heard)
    cosine = cosines(model, batch).double().detach().numpy()
    rows, own, other, weight = np.arange(8), batch.own.numpy(), batch.theirs.numpy(), batch.weight.double().numpy()
    logits = cosine.copy()
    logits[rows, own] = np.cos(np.arccos(cosine[rows, own]) + 0.4)
    logits *= 30
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    want = -np.mean(weight * log_p[rows, own] + (1 - weight) * log_p[rows, other])
    assert model(batch)["class"].item() == pytest.approx(want, rel=1e-4)
    assert (own != other).any()


def test_where_the_first_labels_count_the_contrast_is_the_supervised_one(heard):
    recipe = replace(SMALL, kin="first", temperature=0.2, contrast=0.5)
    batch, model = mixed(recipe, heard, own=torch.tensor([0, 0, 1, 1, 1, 2, 2, 0]))
    share = batch.weight[:, None, None]
    z = model.embed(share * batch.wave + (1 - share) * batch.other)
    assert model(batch)["contrast"].item() == pytest.approx(0.5 * SupConLoss(0.2)(z, batch.own).item(), rel=1e-4)


def test_otherwise_mixtures_are_kin_as_far_as_their_labels_agree(heard):
    recipe = replace(SMALL, temperature=0.2)
    batch, model = mixed(recipe, heard)
    share = batch.weight[:, None, None]
    z = model.embed(share * batch.wave + (1 - share) * batch.other).double().detach().numpy()
    label = np.zeros((8, 4))
    for row in range(8):
        label[row, batch.own[row]] += batch.weight[row]
        label[row, batch.theirs[row]] += 1 - batch.weight[row]
    want = 0.0
    for i in range(8):
        others = [j for j in range(8) if j != i]
        kin = np.array([label[i] @ label[j] for j in others])
        near = np.array([z[i] @ z[j] / 0.2 for j in others])
        want -= (kin * (near - np.log(np.exp(near).sum()))).sum() / kin.sum() / 8
    assert model(batch)["contrast"].item() == pytest.approx(want, rel=1e-4)


def test_waves_are_mixed_and_the_log_mel_is_the_mixtures_or_that_of_decibels(heard):
    for mix in ("wave", "decibel"):
        batch, model = mixed(replace(SMALL, mix=mix), heard)
        seen = []
        model.face.register_forward_pre_hook(lambda _, picture, seen=seen: seen.append(picture[0]))
        model(batch)
        share = batch.weight[:, None, None]
        wave = share * batch.wave + (1 - share) * batch.other
        both = share * model.mel(batch.wave) + (1 - share) * model.mel(batch.other)
        torch.testing.assert_close(seen[0][:, 0], model.mel(wave) if mix == "wave" else both)
        torch.testing.assert_close(seen[0][:, 1], model.grams["tgram"](wave))


def test_a_step_has_every_class_equally_often_and_partners_from_the_whole_step(heard):
    draw = batches(SMALL, heard)
    counts: Counter[int] = Counter()
    for step in range(5):
        batch = draw(step, slice(0, 8))
        counts.update(batch.own.tolist())
        assert sorted(batch.theirs.tolist()) == sorted(batch.own.tolist())  # each row is one partner
        same = (batch.wave[:, None] == batch.other[None]).flatten(2).all(2)  # (B, B)
        assert (same.sum(0) >= 1).all()
        assert (batch.own[same.float().argmax(0)] == batch.theirs).all()
        assert len(batch.weight.unique()) == 8
    assert set(counts.values()) == {10}
    plain = batches(replace(SMALL, balanced=False, mix_weight="batch"), heard)
    assert len({len(plain(step, slice(0, 8)).weight.unique()) for step in range(5)}) == 1
    passes = torch.cat([plain(step, slice(0, 8)).wave for step in range(len(heard.label) // 8)])
    assert len(passes.flatten(1).unique(dim=0)) == len(passes)


def test_a_single_machine_is_drawn_as_itself_and_its_copies_equally_often(heard):
    one = replace(heard, label=np.zeros(len(heard.label), int), names=1, copies=6)
    batch = batches(replace(SMALL, schedule=replace(SMALL.schedule, batch=12)), one)(0, slice(0, 12))
    assert sorted(batch.own.tolist()) == sorted(list(range(6)) * 2)


def test_scores_are_the_logits_of_the_classes_without_margin(heard):
    model = network(SMALL).eval()
    x = torch.from_numpy(heard.take(np.arange(3)))
    torch.testing.assert_close(model.score(x), 30 * model.embed(x) @ model.centres.T)
    torch.testing.assert_close(model.embed(x).norm(dim=1), torch.ones(3))


# --- the published system -----------------------------------------------------------------------------------


def count(module: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters() if weight.requires_grad)


def test_the_reference_has_the_published_number_of_weights():
    """The published 876,201 of MobileFaceNet hold a layer to 41 classes (5,289) that no loss reaches."""
    with torch.device("meta"):
        model = OsScl(os_scl.reference(), 41)
    parts = {"tgram": model.grams["tgram"], "tfgram": model.grams["tfgram"], "face": model.face, "head": model.head}
    assert {name: count(part) for name, part in parts.items()} == {
        "tgram": 280_406,
        "tfgram": 198_720,
        "face": 876_201 - (128 * 41 + 41),
        "head": 16_960,
    }
    assert count(model.classes) == 41 * 128
    assert count(model) == 1_372_246


def test_the_reference_reads_ten_seconds_only_and_the_default_any_length():
    published, default = (network(replace(recipe, size=0.125)).eval() for recipe in (os_scl.reference(), Recipe()))
    with torch.inference_mode():
        assert published.embed(torch.zeros(1, 1, 160_000)).shape == (1, 128)
        for samples in (3200, 52_345):
            assert default.embed(torch.zeros(2, 1, samples)).shape == (2, 128)
        with pytest.raises(RecipeError, match="reads clips of 159744 to 160255 samples"):
            published.embed(torch.zeros(1, 1, 80_000))


def test_the_default_departs_from_the_reference_as_its_page_says():
    one, two = Recipe(), os_scl.reference()
    departs = {item.name: (getattr(two, item.name), getattr(one, item.name)) for item in fields(Recipe)}
    departs = {
        name: pair for name, pair in departs.items() if pair[0] != pair[1] and name not in ("listen", "schedule")
    }
    assert departs == {
        "channels": (("mel", "tgram", "tfgram"), ("mel", "tgram")),
        "fixed": (True, False),
        "size": (1.0, 0.5),
        "temperature": (0.02, 0.1),
        "contrast": (0.02 / 0.07, 1.0),
        "mix": ("decibel", "wave"),
        "mix_weight": ("batch", "row"),
        "kin": ("first", "soft"),
        "balanced": (False, True),
        "backend": ("own-class-margin", "nearest"),
    }
    schedule = two.schedule
    assert (schedule.steps, schedule.batch, schedule.lr, schedule.decay) == (300 * 539, 64, 1e-4, 0.01)
    assert (schedule.ema, schedule.validate_every, schedule.precision) == (0.9999, 539, "float32")
    assert two.listen.valid_fraction == 0.05


def test_weights_averaged_as_published_have_left_their_start_after_300_steps(tmp_path):
    recipe = replace(SMALL, listen=Listening(seconds=0.2), channels=("mel",))
    schedule = Schedule(steps=300, batch=4, lr=1e-3, warmup=0.0, ema=os_scl.reference().schedule.ema)
    draw = batches(replace(recipe, schedule=schedule), detect.clips_here(factory(FEW), recipe.listen))
    model, seen = network(recipe), {}

    def drawn(step: int, share: slice) -> Batch:
        seen[step] = torch.nn.utils.parameters_to_vector(model.parameters()).detach().clone()
        return draw(step, share)

    fit(model, drawn, schedule, Run(tmp_path))
    averaged = torch.nn.utils.parameters_to_vector(model.parameters()).detach()
    own, mean = seen[299] - seen[0], averaged - seen[0]
    assert mean.norm() > 0.8 * own.norm() > 0
    assert F.cosine_similarity(own, mean, dim=0) > 0.9


# --- through the command line -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("os scl")


@pytest.fixture(scope="module")
def sounds(folder) -> Path:
    """Two machines' sounds as somebody keeps them, one folder each."""
    people = factory(PLAN)
    for row in np.flatnonzero(people.rows["section"] == "id_00"):
        record, facts = people[int(row)], {name: column[row] for name, column in people.rows.items()}
        place = folder / "sounds" / f"{facts['machine']} Süd" / ("fault" if facts["anomaly"] else "normal")
        write_sound(record, place / f"{facts['split']} {row:03d}.wav", "synthetic")
    return folder / "sounds"


@pytest.fixture(scope="module")
def cohort(sounds, folder) -> Path:
    command("cohort", "import", "sounds", sounds, "--out", folder / "cohort")
    return folder / "cohort"


@pytest.fixture(scope="module")
def run(cohort, folder) -> Run:
    """Trained and evaluated once; tests that change a run copy it."""
    command("os-scl", "train", "--cohort", cohort, "--out", folder / "run", *BRIEF, "--seeds", 2)
    command("os-scl", "evaluate", folder / "run")
    return Run(folder / "run")


@pytest.fixture
def copied(run, tmp_path) -> Run:
    return Run(Path(shutil.copytree(run.folder, tmp_path / "run")))


def numbers(run: Run) -> dict[str, dict]:
    return json.loads(run.metrics.read_text())


def normals(sounds: Path, machine: str = "fan Süd") -> list[Path]:
    return sorted((sounds / machine / "normal").glob("*.wav"))


def test_a_folder_of_sounds_becomes_a_run_with_its_report(run, cohort):
    found = numbers(run)
    assert {"official", "mean.auc", "pooled.auc", "baseline.nearest.official", "backend.mahalanobis.official"} <= set(
        found
    )
    assert {item["origin"] for item in found.values()} == {"synthetic"}
    assert found["official"]["low"] <= found["official"]["value"] <= found["official"]["high"]
    assert "official.seed_sd" in found
    for text in (run.report.read_text(), run.card.read_text()):
        assert "os-scl: anomalous machine sound" in text
        assert "synthetic" in text.lower()
    said = Predictions.load(run.predictions)
    assert set(said.split) == {"valid", "internal"}
    assert set(said.seed) == {0, 1}
    assert set(said.facts["machine"]) == {"fan Süd", "valve Süd"}
    flow = json.loads((run.folder / "flow.json").read_text())["flow"]
    parts = {step["label"]: step["records"] for step in flow}
    assert parts["all recordings"] == parts["train"] + parts["valid"] + parts["internal"] == 40


def test_nothing_outside_private_names_a_recording(run):
    said = Predictions.load(run.predictions)
    names = {Path(item).name.encode() for item in said.record}
    for path in run.folder.iterdir():
        if path.is_file():
            held = path.read_bytes()
            assert not [name for name in names if name in held], path.name
    assert run.private.stat().st_mode & 0o077 == 0


def test_the_config_reads_back_as_the_recipe_and_a_flag_leaves_the_rest_of_the_preset(run):
    tiny = os_scl.tiny()
    want = replace(
        tiny,
        listen=replace(tiny.listen, seconds=1.0),
        size=0.125,
        seeds=2,
        schedule=replace(tiny.schedule, steps=4, batch=8, validate_every=2),
    )
    assert os_scl.recipe_of(run) == want
    config = read_config(run)
    assert set(config) == {"system", "version", "recipe", "prepare", "protocol", "origin", "terms"}
    assert (config["system"], config["origin"], config["prepare"]["outputs"]) == ("os_scl", "synthetic", 2)


def test_a_config_is_taken_as_a_recipe_and_flags_win_over_it(run, cohort, capsys):
    flags = ("--cohort", cohort, "--out", run.folder, "--config", run.config)
    assert 'recipe.backend: "nearest" → "local-density"' in refused(
        capsys, "os-scl", "train", *flags, "--backend", "local-density"
    )
    before = run.weights.stat().st_mtime_ns
    command("os-scl", "train", *flags)  # the same recipe: all is there already
    assert run.weights.stat().st_mtime_ns == before


def test_other_recordings_in_the_same_folder_are_refused(run, folder, cohort, capsys):
    (folder / "fewer").mkdir(exist_ok=True)
    rows = (cohort / "cohort.csv").read_text().splitlines()
    (folder / "fewer" / "cohort.csv").write_text("\n".join([rows[0], *rows[2:]]) + "\n")
    said = refused(capsys, "os-scl", "train", "--cohort", folder / "fewer", "--out", run.folder, *BRIEF, "--seeds", 2)
    assert "prepare.records: 40 → 39" in said


class Stopped(Exception):
    """Something came in between."""


def test_stopped_in_between_the_same_command_ends_with_the_same_weights(run, cohort, tmp_path, monkeypatch):
    """After the last step of the first network's last look, and within the second."""
    whole = os_scl.batches

    def stopping(recipe, heard=None):
        draw = whole(recipe, heard)

        def until(step, share):
            if recipe.schedule.seed == 1 and step == 3:
                raise Stopped
            return draw(step, share)

        return until

    train = ("os-scl", "train", "--cohort", cohort, "--out", tmp_path / "run", *BRIEF, "--seeds", 2)
    monkeypatch.setattr(os_scl, "batches", stopping)
    with pytest.raises(Stopped):
        command(*train)
    assert not Run(tmp_path / "run").predictions.exists()
    monkeypatch.setattr(os_scl, "batches", whole)
    command(*train)
    assert Run(tmp_path / "run").weights.read_bytes() == run.weights.read_bytes()
    one, two = (Predictions.load(Run(item).predictions) for item in (tmp_path / "run", run.folder))
    assert np.array_equal(one.score, two.score)


def test_a_run_that_has_not_finished_says_so(cohort, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(detected, "finish", lambda *_: None)
    command("os-scl", "train", "--cohort", cohort, "--out", tmp_path / "run", *BRIEF)
    assert "finish its training" in refused(capsys, "os-scl", "evaluate", tmp_path / "run")
    assert "its training has not finished" in refused(capsys, "os-scl", "predict", tmp_path / "run", "x.wav")


def test_what_is_predicted_is_what_was_validated(run, sounds, capsys):
    said = Predictions.load(run.predictions).mean_over_seeds().part("internal")
    chosen = [row for row in range(len(said)) if said.facts["machine"][row] == "fan Süd"][:3]
    files = [sounds / f"{said.record[row]}.wav" for row in chosen]
    machine = f"fan Süd/{said.facts['section'][chosen[0]]}"
    lines = [json.loads(line) for line in spoken(capsys, "os-scl", "predict", run.folder, *files, "--machine", machine)]
    threshold = load(run.folder).memory.threshold[0]
    for row, line in zip(chosen, lines, strict=True):
        assert line["score"] == pytest.approx(said.score[row, 0], abs=1e-5)
        assert line["decision"] == ("anomalous" if said.score[row, 0] > threshold else "normal")
        assert line["warning"] == "the model was trained on a simulated factory"
    again = [json.loads(line) for line in spoken(capsys, "predict", run.folder, *files, "--machine", machine)]
    assert again == lines
    assert "is not told --lead" in refused(capsys, "predict", run.folder, files[0], "--lead", "I", "--machine", machine)


def test_an_unknown_machine_or_none_is_answered_with_those_that_are_known(run, sounds, capsys):
    for verb in ("predict", "explain"):
        said = refused(capsys, "os-scl", verb, run.folder, normals(sounds)[0])
        assert "needs one of the machines fan Süd" in said
    assert "got saw" in refused(capsys, "os-scl", "audit", run.folder, sounds, "--machine", "saw")


def machine_of(run: Run) -> str:
    return load(run.folder).memory.machines[0]


def test_an_explanation_names_a_region_or_none_and_agrees_with_the_score(run, sounds, capsys):
    file, machine = normals(sounds)[0], machine_of(run)
    (line,) = spoken(capsys, "os-scl", "explain", run.folder, file, "--machine", machine)
    (told,) = spoken(capsys, "os-scl", "predict", run.folder, file, "--machine", machine)
    line = json.loads(line)
    assert line["score"] == pytest.approx(json.loads(told)["score"], abs=1e-6)
    assert len(line["falls"]) == 7  # bands, in one second
    assert line["occluded_by"] == "what is usual in normal recordings"
    assert line["driving"] is None or line["driving"]["hertz"][0] < line["driving"]["hertz"][1]


def real(folder: Path, count: int = 4) -> Path:
    """So many recordings of a machine that nobody simulated."""
    for number in range(count):
        values = np.random.default_rng(number).normal(0, 0.1, (1, 16_000))
        write_sound(Signal(values, 16_000, ("1",), "1"), folder / f"{number}.wav", "real")
    return folder


def test_a_model_of_a_simulated_factory_refuses_a_real_machine_unless_it_may(copied, tmp_path, capsys):
    clips, machine = real(tmp_path / "clips"), machine_of(copied)
    verbs = {
        "predict": (clips / "0.wav", "--machine", machine),
        "enrol": (clips, "--machine", "saw"),
        "audit": (clips, "--machine", machine),
        "threshold": (clips, "--machine", machine, "--alarms-per-week", 1e7),
    }
    for verb, flags in verbs.items():
        said = refused(capsys, "os-scl", verb, copied.folder, *flags)
        assert "pass --allow-synthetic-model to see what it says all the same" in said
    (line,) = spoken(capsys, "os-scl", "predict", copied.folder, *verbs["predict"], "--allow-synthetic-model")
    assert json.loads(line)["score"] > 0
    assert spoken(capsys, "os-scl", "enrol", copied.folder, *verbs["enrol"], "--allow-synthetic-model")


def test_an_enrolled_machine_stays_with_the_run_and_training_again_does_not_forget_it(
    copied, cohort, sounds, capsys, tmp_path
):
    before = Memory.load(copied)
    for path in normals(sounds, "valve Süd")[:6]:
        shutil.copy(path, tmp_path)
    said = spoken(capsys, "os-scl", "enrol", copied.folder, tmp_path, "--machine", "Ventil 7")
    assert said[0].startswith("Ventil 7: enrolled with 6 recordings, 0 left out; threshold ")
    command("os-scl", "train", "--cohort", cohort, "--out", copied.folder, *BRIEF, "--seeds", 2)
    after = Memory.load(copied)
    assert after.machines == (*before.machines, "Ventil 7")
    assert after.threshold[:2].tolist() == before.threshold.tolist()
    (line,) = spoken(capsys, "os-scl", "predict", copied.folder, next(tmp_path.glob("*.wav")), "--machine", "Ventil 7")
    assert json.loads(line)["score"] == pytest.approx(0, abs=1e-5)  # itself is among the normals
    assert "needs a name" in refused(capsys, "os-scl", "enrol", copied.folder, tmp_path, "--machine", "")


def test_an_audit_says_what_would_be_missed_and_keeps_it_for_the_report(copied, sounds, tmp_path, capsys):
    for path in normals(sounds)[:4]:
        shutil.copy(path, tmp_path)
    lines = spoken(capsys, "os-scl", "audit", copied.folder, tmp_path, "--machine", machine_of(copied))
    assert [line.split(": missed 0 dB")[0] for line in lines] == ["leak", "clogging"]
    assert set(json.loads((copied.folder / "audit.json").read_text())["rates"]) == {"leak", "clogging"}


def test_a_machine_is_armed_watched_and_serviced(copied, sounds, tmp_path, capsys):
    machine, night = machine_of(copied), tmp_path / "Nacht 1"
    night.mkdir()
    watching = ("os-scl", "watch", copied.folder, night, "--machine", machine)
    shutil.copy(normals(sounds)[0], night / "1.wav")
    assert "has no alarm yet; set one with `threshold" in refused(capsys, *watching)
    normal = tmp_path / "long.wav"
    record = factory(Plan(("fan",), 1, 4, 4, seconds=66.0))[0]
    write_sound(record, normal, "synthetic")
    setting = ("os-scl", "threshold", copied.folder, normal, "--machine", machine, "--alarms-per-week")
    assert "a budget of 0.5 false alarms a week needs 1008 h of later normal sound" in refused(capsys, *setting, 0.5)
    first, second = spoken(capsys, *setting, 60_000)
    assert first.startswith(f"{machine}: threshold ")
    assert "budget 60000" in second
    lines = [json.loads(line) for line in spoken(capsys, *watching)]
    assert [line["status"] for line in lines] in (["ok", "heartbeat"], ["alarm", "heartbeat"])
    assert lines[0]["source"] == "Nacht_1"
    command("os-scl", "rebaseline", copied.folder, "bearing changed")
    assert "needs the reason" in refused(capsys, "os-scl", "rebaseline", copied.folder, "")
    shutil.copy(normals(sounds)[1], night / "2.wav")
    lines = [json.loads(line) for line in spoken(capsys, *watching)]
    assert [line["status"] for line in lines][::2] == ["rebaseline", "heartbeat"]
    assert machine in json.loads((copied.folder / "alarm.json").read_text())["machines"]


def test_a_loaded_run_embeds_a_signal_of_any_length(run):
    detector = stethos.load(run.folder)
    for samples in (3000, 16_000, 40_000):
        signal = Signal(np.random.default_rng(0).normal(0, 0.1, (1, samples)), 16_000, ("1",), "1")
        vector = detector.embed(signal)
        assert vector.shape == (2 * 128,)  # of two networks
        assert np.linalg.norm(vector[:128]) <= 1 + 1e-5
    slow = Signal(np.random.default_rng(0).normal(0, 0.1, (1, 22_050)), 22_050, ("1",), "1")
    assert np.isfinite(detector.embed(slow)).all()


# --- other cohorts ------------------------------------------------------------------------------------------


def trained(people, out: Path, **changes: object) -> Run:
    return os_scl._train(people, out, replace(SMALL, **changes), 1)


def test_one_machine_is_told_apart_by_attributes_or_by_copies(tmp_path):
    people = factory(Plan(("fan",), 1, 12, 4, seconds=1.0, layout=2022))
    conditions = set(people.rows["attributes"][people.rows["split"] == "train"])
    assert len(conditions) > 3
    for kind, outputs in (("attributes", len(conditions)), ("copies", 6)):
        made = trained(people, tmp_path / kind, listen=replace(SMALL.listen, classes=kind))
        assert read_config(made)["prepare"]["outputs"] == outputs
        assert np.isfinite(Predictions.load(made.predictions).score).all()
        command("os-scl", "evaluate", made.folder)
        assert "official" in numbers(made)
        assert load(made.folder).machine_of() == 0


def test_a_recording_of_several_windows_has_one_score_of_their_mean(tmp_path):
    people = factory(replace(FEW, seconds=2.5))
    made = trained(people, tmp_path / "run")
    said, detector = Predictions.load(made.predictions).part("internal"), load(made.folder)
    row = int(np.flatnonzero(people.rows["id"] == said.record[0])[0])
    windows = detector.windows.apply(people[row].signals[0])
    assert len(windows) == 3
    machine = detector.machine_of(f"{said.facts['machine'][0]}/{said.facts['section'][0]}")
    score = detector.judge([item[None] for item in detector.heard(windows)], machine)[0]
    assert score == pytest.approx(said.score[0, 0], abs=1e-5)


def test_the_published_recipe_trains_and_scores_by_its_own_class(tmp_path):
    published = os_scl.reference()
    recipe = replace(published, listen=SMALL.listen, size=0.125, schedule=SMALL.schedule)
    people = factory(FEW)
    made = os_scl._train(people, tmp_path / "run", recipe, 1)
    detector, said = load(made.folder), Predictions.load(made.predictions)
    kept = Predictions.load(made.private / "backend-own-class-margin.npz")
    assert np.array_equal(kept.score, said.score)
    row = int(np.flatnonzero(people.rows["id"] == said.record[-1])[0])
    heard = detector.heard(detector.windows.apply(people[row].signals[0]))
    machine = detector.machine_of(f"{said.facts['machine'][-1]}/{said.facts['section'][-1]}")
    assert detector.judge([item[None] for item in heard], machine)[0] == pytest.approx(said.score[-1, 0], abs=1e-4)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"channels": ("tgram",)}, "--channels are mel and any of tgram and tfgram, each once"),
        ({"channels": ("mel", "mel")}, "each once"),
        ({"size": 0.0}, "--size, --scale and --temperature lie above 0"),
        ({"temperature": 0.0}, "--temperature lie above 0"),
        ({"margin": math.pi}, "--margin from 0 to below pi"),
        ({"mix_alpha": -1.0}, "--contrast and --mix-alpha are 0 or more"),
        ({"backend": "best"}, "--backend is one of nearest, mahalanobis"),
        ({"seeds": 0}, "seeds, steps and batch must be at least 1"),
        ({"schedule": Schedule(batch=1)}, "--batch 2 or more"),
        ({"schedule": Schedule(accumulate=2)}, "--accumulate is 1"),
        ({"listen": Listening(seconds=0.1)}, "--seconds, the window, lies between 0.2 and 60"),
    ],
)
def test_what_cannot_be_is_refused_before_there_is_a_folder(change, words, tmp_path):
    with pytest.raises(RecipeError, match=words):
        trained(factory(FEW), tmp_path / "run", **change)
    assert not (tmp_path / "run").exists()


def test_a_back_end_that_the_recordings_do_not_allow_is_left_out_in_words(tmp_path, caplog):
    """Copies of one clip have no scatter."""
    people = factory(FEW)
    first = {str(machine): int(np.flatnonzero(people.rows["machine"] == machine)[0]) for machine in ("fan", "valve")}
    alike = replace(people, open=lambda row: people[first[str(people.rows["machine"][row])]])
    made = trained(alike, tmp_path / "run")
    assert "back end mahalanobis left out: a Mahalanobis distance needs a class with two different" in caplog.text
    assert not (made.private / "backend-mahalanobis.npz").exists()
    with pytest.raises(CohortError, match="--backend mahalanobis cannot be fitted on these recordings"):
        trained(alike, tmp_path / "other", backend="mahalanobis")


# --- two processes ------------------------------------------------------------------------------------------


class Wide(OsScl):
    """The page's network in double precision."""

    def __init__(self, recipe: Recipe, classes: int = 2) -> None:
        super().__init__(recipe, classes)
        self.double()

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        return super().forward(Batch(*(item.double() if item.is_floating_point() else item for item in batch)))

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        return super().embed(x.double())


WIDE = replace(
    os_scl.reference(),
    listen=SMALL.listen,
    size=0.125,
    balanced=True,
    mix_weight="row",
    kin="soft",
    schedule=Schedule(steps=3, batch=7, lr=0.01, ema=0.9, validate_every=2),  # 3 rows + 4 rows
)


def learn(folder: Path) -> None:
    """The whole page, on however many processes there are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os_scl, "OsScl", Wide)
        patch.setattr(detected, "BASELINES", {})
        patch.setattr(detected, "keep_examples", lambda *_: None)
        os_scl._train(factory(FEW), folder, WIDE, 1)


def test_two_processes_learn_what_one_learns(tmp_path):
    on_two_processes(__file__, tmp_path / "two")
    learn(tmp_path / "one")
    one, two = (Run(tmp_path / name) for name in ("one", "two"))
    weights = [torch.load(run.private / "checkpoint-seed-0.pt", weights_only=True)["model"] for run in (one, two)]
    first = detect.seeded(0, lambda: Wide(WIDE, 2)).state_dict()
    assert max((weights[0][name] - first[name]).abs().max() for name in first) > 1e-3
    # a bias under a batch norm has no gradient but rounding, so small weights are judged as if of 1e-3
    for name, item in weights[0].items():
        apart = (item.double() - weights[1][name].double()).abs().max()
        assert apart <= 1e-6 * item.double().abs().max().clamp(min=1e-3), name
    logs = [[json.loads(line) for line in run.log.read_text().splitlines()] for run in (one, two)]
    assert [line for line in logs[0] if "valid.monitor" in line]
    for line, other in zip(*logs, strict=True):
        assert line.pop("stage") == other.pop("stage")
        assert line == pytest.approx(other, rel=1e-6, abs=1e-9)
    said = [Predictions.load(run.predictions) for run in (one, two)]
    assert np.allclose(said[0].score, said[1].score, rtol=1e-6, atol=1e-9)


if __name__ == "__main__":
    dist.join()
    learn(Path(sys.argv[1]))
    dist.leave()
