"""Highband-CL: what two views differ in, that it learns, and the command line, on factories of two machines.

This file is also the program that torchrun starts: it trains the page's network and saves its weights.
"""

import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from pytorch_metric_learning.losses import NTXentLoss, SupConLoss

from stethos.cli import main
from stethos.errors import RecipeError
from stethos.metrics.compare import Difference
from stethos.metrics.dcase import official_2020, point
from stethos.nn.norm import restate
from stethos.study import clips, detect, detected
from stethos.study.clips import Listening
from stethos.study.sound_evidence import clips_of
from stethos.study.variants import Gain
from stethos.synth.machine import factory
from stethos.synth.plan import Plan
from stethos.systems import highband_cl, load
from stethos.systems.highband_cl import HighbandCl, Recipe, batches, premise
from stethos.train import dist
from stethos.train.loop import fit
from stethos.train.run import read_config
from stethos.types import Estimate, Predictions, Run, Schedule
from tests.processes import on_two_processes

SMALL = Recipe(
    listen=Listening(seconds=1.0),
    size=0.125,
    schedule=Schedule(steps=4, batch=8, lr=3e-3, ema=0.9, validate_every=2),
)
PLAIN = replace(SMALL, segment=1.0, mixup=0.0, crop=0.0)  # views that differ in their band and nowhere else
BRIEF = ("--preset", "tiny", "--size", 0.125, "--steps", 4, "--batch", 8, "--validate-every", 2)
HERTZ = highband_cl.band_of(Recipe()).hertz


def stethos(*arguments: object) -> None:
    main([str(item) for item in arguments])


def refused(capsys, *arguments: object) -> str:
    """The one sentence of a command that ends with exit code 2."""
    with pytest.raises(SystemExit) as stop:
        stethos(*arguments)
    said = capsys.readouterr().err
    assert (stop.value.code, said.count("\n")) == (2, 1), said
    return said


@pytest.fixture(scope="module", autouse=True)
def _quick():
    """One baseline, the quickest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(detected, "BASELINES", {name: detected.BASELINES[name] for name in list(detected.BASELINES)[:1]})
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("highband-cl")


@pytest.fixture(scope="module")
def plant(folder) -> Path:
    sizes = ("--train", 12, "--test", 8, "--sections", 2, "--seconds", 2, "--workers", 1)
    stethos("synth", "factory", "--out", folder / "plant", "--machines", "fan", "--machines", "valve", *sizes)
    return folder / "plant"


@pytest.fixture(scope="module")
def heard() -> detect.Clips:
    return detect.clips_here(factory(Plan(("fan", "valve"), 2, 16, 4, seconds=1.0)), SMALL.listen)


@pytest.fixture(scope="module")
def run(plant, folder) -> Run:
    """Trained and evaluated once, through the command line."""
    stethos("highband-cl", "train", "--cohort", plant, "--out", folder / "run", *BRIEF, "--seeds", 2)
    stethos("highband-cl", "evaluate", folder / "run")
    return Run(folder / "run")


def seen(recipe: Recipe, heard: detect.Clips, step: int = 0):
    """The batch of a step, its log-mels, their views, and the cut-off of each view in Hz, `(B, 2)`."""
    batch, model = batches(recipe, heard)(step, slice(0, recipe.schedule.batch)), HighbandCl(recipe)
    mel, (low, high) = model.mel(batch.wave), recipe.cutoff
    return batch, mel, model.views(batch, mel), low * (high / low) ** batch.chance[..., 2].double()


@pytest.mark.parametrize("change", [("gain",), ("noise",), ("replace",), ("gain", "noise", "replace")])
def test_two_views_differ_above_their_cutoffs_and_below_them_in_no_bit(change, heard):
    _, mel, views, cut = seen(replace(PLAIN, change=change), heard)
    first, second = views.unbind(1)
    below = cut.min(1, keepdim=True).values > HERTZ  # (B, 128), under both cut-offs
    assert below.sum(1).min() > 10
    assert torch.equal(first[below], second[below])
    assert torch.equal(first[below], mel[below])
    assert (first - second).abs().amax(2)[~below].min() > 0


def test_the_low_side_is_its_mirror_and_none_and_full_are_its_ends(heard):
    _, mel, views, cut = seen(replace(PLAIN, side="low"), heard)
    above = cut.max(1, keepdim=True).values <= HERTZ
    assert torch.equal(views[:, 0][above], views[:, 1][above])
    assert not torch.equal(views[:, 0], views[:, 1])
    assert torch.equal(seen(replace(PLAIN, side="none"), heard)[2], mel[:, None].expand(-1, 2, -1, -1))
    full = seen(replace(PLAIN, side="full"), heard)[2]
    assert (full[:, 0] != full[:, 1]).flatten(1).float().mean(1).min() > 0.9


def test_a_replaced_band_is_another_clip_of_the_step_and_each_view_has_its_own(heard):
    recipe = replace(PLAIN, change=("replace",))
    batch = batches(recipe, heard)(0, slice(0, 8))
    chance = batch.chance.clone()
    chance[..., 4] = 1 - 2**-24  # nearly all of the partner's power
    model = HighbandCl(recipe)
    mel = model.mel(batch.wave)
    views = model.views(batch._replace(chance=chance), mel)
    assert (batch.place[:, 0] == torch.arange(8)).all()
    assert (batch.place[:, :1] != batch.place[:, 1:]).all()
    assert not torch.equal(batch.place[:, 1], batch.place[:, 2])
    top = HERTZ > 4000
    for view in (0, 1):
        torch.testing.assert_close(views[:, view, top], mel[batch.place[:, view + 1]][:, top], atol=0.01, rtol=0)


def test_segments_are_two_stretches_of_the_clip(heard):
    _, mel, views, _ = seen(replace(PLAIN, side="none", segment=0.25), heard)
    assert views.shape[-1] == round(0.25 * mel.shape[-1])
    windows = mel.unfold(2, views.shape[-1], 1)  # (B, 128, places, L)
    for view in (0, 1):
        same = (windows == views[:, view, :, None]).all(3).all(1)  # (B, places)
        assert same.any(1).all()
    assert not torch.equal(views[:, 0], views[:, 1])


def test_a_share_of_the_rows_has_the_views_that_it_has_in_the_whole(heard):
    _, mel, views, _ = seen(SMALL, heard, step=3)
    model = HighbandCl(SMALL)
    parts = [batches(SMALL, heard)(3, part) for part in (slice(0, 3), slice(3, 8))]
    torch.testing.assert_close(torch.cat([model.views(part, mel) for part in parts]), views, rtol=0, atol=1e-4)
    assert not torch.equal(seen(SMALL, heard, step=4)[2], views)


@pytest.mark.parametrize(("loss", "other"), [("instance", NTXentLoss), ("identity", SupConLoss)])
def test_the_losses_are_those_of_pytorch_metric_learning(loss, other, heard):
    recipe = replace(SMALL, loss=loss, temperature=0.2)
    batch, model = batches(recipe, heard)(0, slice(0, 8)), HighbandCl(recipe)
    first, second = model.compared(model.views(batch, model.mel(batch.wave)))
    label = torch.arange(8) if loss == "instance" else batch.label
    want = other(temperature=0.2)(torch.cat([first, second]), label.repeat(2))
    (name, value), *rest = model.objective(first, second, batch.label).items()
    assert (name, rest) == (loss, [])
    assert value.item() == pytest.approx(want.item(), rel=1e-5)
    assert len(batch.label.unique()) == 4


def closeness(model: HighbandCl, people, rows: np.ndarray) -> float:
    """Mean cosine within classes less that between classes."""
    windows = np.concatenate([SMALL.listen.windows.apply(people[row].signals[0]) for row in rows])
    label = np.array([f"{people.rows['machine'][row]}/{people.rows['section'][row]}" for row in rows])
    with torch.no_grad():
        z = model.embed(torch.from_numpy(windows)).double().numpy()
    same, itself = label[:, None] == label, np.eye(len(label), dtype=bool)
    cosine = z @ z.T
    return float(cosine[same & ~itself].mean() - cosine[~same].mean())


@pytest.mark.parametrize("loss", ["instance", "identity"])
def test_it_learns_and_classes_draw_together_in_clips_it_was_not_trained_on(loss, heard, tmp_path):
    recipe = replace(SMALL, loss=loss, schedule=Schedule(steps=40, batch=16, lr=3e-3))
    people = factory(Plan(("fan", "valve"), 2, 16, 8, seconds=1.0))
    normal = np.flatnonzero((people.rows["split"] == "test") & (people.rows["anomaly"] == 0))
    model = detect.seeded(0, lambda: HighbandCl(recipe))
    settle = [partial(model.embed, torch.from_numpy(heard.take(np.arange(len(heard.label)))))]
    restate(model.eval(), settle)
    before = closeness(model, people, normal)
    fit(model, batches(recipe, heard), recipe.schedule, Run(tmp_path))
    restate(model, settle)
    lost = [json.loads(line)["loss"] for line in Run(tmp_path).log.read_text().splitlines()]
    assert np.mean(lost[-8:]) < np.mean(lost[:8]) - 0.2
    assert closeness(model, people, normal) > before + 0.1


def test_a_run_through_the_command_line_leaves_its_report(run):
    numbers = json.loads(run.metrics.read_text())
    assert {"official", "mean.auc", "pooled.auc", "backend.mahalanobis.official"} <= set(numbers)
    assert numbers["official"]["origin"] == "synthetic"
    assert "highband-cl: anomalous machine sound" in run.report.read_text()
    assert "synthetic" in run.card.read_text()
    said = Predictions.load(run.predictions)
    assert set(said.split) == {"valid", "internal"}
    assert set(said.seed) == {0, 1}


def test_the_config_reads_back_as_the_recipe(run):
    schedule = replace(highband_cl.tiny().schedule, steps=4, batch=8, validate_every=2)
    want = replace(highband_cl.tiny(), size=0.125, seeds=2, schedule=schedule)
    assert highband_cl.recipe_of(run) == want
    assert read_config(run)["system"] == "highband_cl"


def test_the_same_command_goes_on_where_it_was_stopped_to_the_same_end(plant, run, tmp_path, monkeypatch):
    """Stopped within the second of two networks, after its first look at the validation clips."""

    class Stopped(Exception):
        pass

    whole = highband_cl.batches

    def stopping(recipe, heard=None):
        draw = whole(recipe, heard)

        def until(step, share):
            if recipe.schedule.seed == 1 and step == 3:
                raise Stopped
            return draw(step, share)

        return until

    command = ("highband-cl", "train", "--cohort", plant, "--out", tmp_path / "run", *BRIEF, "--seeds", 2)
    monkeypatch.setattr(highband_cl, "batches", stopping)
    with pytest.raises(Stopped):
        stethos(*command)
    monkeypatch.setattr(highband_cl, "batches", whole)
    stethos(*command)
    assert Run(tmp_path / "run").weights.read_bytes() == run.weights.read_bytes()


def test_another_recipe_in_the_same_folder_is_refused_with_the_difference(plant, run, capsys):
    command = ("highband-cl", "train", "--cohort", plant, "--out", run.folder, *BRIEF, "--seeds", 2)
    assert 'recipe.side: "high" → "low"' in refused(capsys, *command, "--side", "low")


def test_a_file_is_scored_and_explained_and_the_machine_must_be_known(plant, run, capsys):
    file = next(plant.rglob("anomaly_id_00_*.wav"))
    capsys.readouterr()
    stethos("highband-cl", "predict", run.folder, file, "--machine", "fan/id_00")
    said = json.loads(capsys.readouterr().out)
    assert said["decision"] in ("normal", "anomalous")
    stethos("highband-cl", "explain", run.folder, file, "--machine", "fan/id_00")
    assert json.loads(capsys.readouterr().out)["score"] == pytest.approx(said["score"], abs=1e-6)
    assert "fan/id_07" in refused(capsys, "highband-cl", "predict", run.folder, file, "--machine", "fan/id_07")


def test_a_network_alone_has_one_number_for_a_window(run):
    member = load(run.folder).members[0]
    with torch.no_grad():
        score = member.score(torch.randn(3, 1, 16000))
    assert score.shape == (3, 1)
    assert (score < 0).all()


def test_training_can_begin_from_the_network_of_another_run(plant, run, folder, capsys):
    recipe = replace(highband_cl.recipe_of(run), start=str(run.folder))
    started, member = highband_cl._network(recipe), load(run.folder).members[0]
    assert all(torch.equal(item, member.state_dict()[name]) for name, item in started.state_dict().items())
    command = ("highband-cl", "train", "--cohort", plant, "--out", folder / "next", "--preset", "tiny")
    assert "of --size 0.18; " in refused(capsys, *command, "--start", run.folder)


@pytest.fixture(scope="module")
def ablation(plant, folder) -> Path:
    """Four runs through the command line, of which the report of one is written, and the others noted."""
    publish, noted = highband_cl.sound_report.publish, []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(highband_cl.sound_report, "publish", lambda run: noted.append(run.folder.name))
        stethos("highband-cl", "ablate", "--cohort", plant, "--out", folder / "sides", *BRIEF, "--seeds", 2)
    assert noted == ["high", "none", "low", "full"]
    publish(Run(folder / "sides" / "high"))
    return folder / "sides"


def test_an_ablation_trains_every_side_alike_and_reports_the_paired_differences(ablation):
    recipes = {side: highband_cl.recipe_of(Run(ablation / side)) for side in ("high", "none", "low", "full")}
    assert [recipe.side for recipe in recipes.values()] == list(recipes)
    assert len({str(replace(recipe, side="high")) for recipe in recipes.values()}) == 1
    numbers = json.loads(Run(ablation / "high").metrics.read_text())
    for side in ("none", "low", "full"):
        said = Predictions.load(Run(ablation / side).predictions).part("internal").mean_over_seeds()
        difference = numbers[f"ablation.high_minus_{side}.official"]
        other = point(official_2020, clips_of(said), said.score[:, 0])
        assert difference["value"] == pytest.approx(numbers["official"]["value"] - other, abs=1e-9)
        assert difference["low"] <= difference["value"] <= difference["high"]
    assert "The premise, that varying the high band helps" in Run(ablation / "high").report.read_text()


def test_an_ablation_keeps_the_windows_once(ablation):
    shards = [next((ablation / side / "private" / "prepared").rglob("*.bin")) for side in ("high", "none", "full")]
    assert len({shard.stat().st_ino for shard in shards}) == 1


def test_an_ablation_without_anomalies_is_refused_before_anything_is_trained(plant, tmp_path, capsys):
    text = (plant / "cohort.csv").read_text().splitlines()
    healthy = [line for line in text if "anomaly_id" not in line]
    rows = [line.replace("dev_data", str(plant / "dev_data"), 1) for line in healthy[1:]]
    (tmp_path / "cohort.csv").write_text("\n".join([healthy[0], *rows]) + "\n")
    out = tmp_path / "out"
    assert "0 are known to be anomalous" in refused(
        capsys, "highband-cl", "ablate", "--cohort", tmp_path, "--out", out, *BRIEF
    )
    assert not out.exists()


def gain(value: float, p: float) -> Gain:
    return Gain(
        Estimate(0.7, 0.6, 0.8, 100), Difference(Estimate(value, value - 0.1, value + 0.1, 100), p), p, (value,)
    )


@pytest.mark.parametrize(
    ("none", "low", "verdict"),
    [
        (gain(0.1, 0.01), gain(0.1, 0.01), "holds on these recordings."),
        (gain(0.1, 0.01), gain(0.1, 0.2), "holds in part on these recordings: it helps, but"),
        (gain(0.1, 0.2), gain(0.1, 0.01), "is not shown to hold on these recordings."),
        (gain(-0.1, 0.01), gain(0.1, 0.01), "does not hold on these recordings: it does harm."),
    ],
)
def test_the_premise_holds_only_where_the_high_band_helps_more_than_none_and_the_low_one(none, low, verdict):
    said = premise({"none": none, "low": low, "full": gain(-0.1, 0.001)})
    assert verdict in said
    assert "worse than" in said.split("Varying it is")[1]
    assert said.endswith("full.")


def test_a_single_machine_is_told_from_its_transformed_copies_or_needs_no_class(tmp_path):
    people = factory(Plan(("fan",), 1, 12, 8, seconds=1.0))
    for loss, outputs in (("identity", 6), ("instance", 1)):
        recipe = replace(SMALL, loss=loss)
        made = highband_cl._train(people, tmp_path / loss, recipe, 1)
        assert read_config(made)["prepare"]["outputs"] == outputs
        assert np.isfinite(Predictions.load(made.predictions).score).all()
    rows, _ = clips.divide(people, SMALL.listen)
    windows = np.stack([SMALL.listen.windows.apply(people[row].signals[0])[0] for row in rows["train"]])
    one = detect.Clips(windows.__getitem__, np.zeros(len(windows), int), 1, 6)
    label = batches(SMALL, one)(0, slice(0, 8)).label
    assert sorted(label.tolist()) == [0, 0, 1, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"backend": "own-class"}, "--backend is one of"),
        ({"segment": 0.0}, "a segment of 0 to 1"),
        ({"change": ()}, "views need a change"),
        ({"mixup": 1.5}, "shares from 0 to 1"),
        ({"cutoff": (4000.0, 1000.0)}, "0 < low <= high"),
        ({"schedule": Schedule(batch=1)}, "--batch 2 or more"),
        ({"schedule": Schedule(accumulate=2)}, "--accumulate is 1"),
    ],
)
def test_what_cannot_be_is_refused_before_there_is_a_folder(change, words, tmp_path):
    with pytest.raises(RecipeError, match=words):
        highband_cl._train(factory(Plan(("fan",), 1, 4, 4, seconds=1.0)), tmp_path / "x", replace(SMALL, **change), 1)
    assert not (tmp_path / "x").exists()


def learn(folder: Path) -> dict[str, torch.Tensor]:
    """A few steps in double precision, on however many processes there are."""
    recipe = replace(SMALL, schedule=Schedule(steps=3, batch=7, lr=0.01))  # 3 rows + 4 rows
    model = detect.seeded(0, lambda: HighbandCl(recipe)).double()
    fit(model, batches(recipe), recipe.schedule, Run(folder))
    return {name: item.clone() for name, item in model.state_dict().items() if item.is_floating_point()}


def test_two_processes_learn_what_one_learns(tmp_path):
    on_two_processes(__file__, tmp_path / "two")
    one, two = learn(tmp_path / "one"), torch.load(tmp_path / "two" / "weights.pt", weights_only=True)
    first = detect.seeded(0, lambda: HighbandCl(SMALL)).double().state_dict()
    assert max((one[name] - first[name]).abs().max() for name in one) > 1e-3
    # a bias under a batch norm has no gradient but rounding, so small weights are judged as if of 1e-3
    assert max((one[name] - two[name]).abs().max() / one[name].abs().max().clamp(min=1e-3) for name in one) < 1e-6


if __name__ == "__main__":
    dist.join()
    weights = learn(Path(sys.argv[1]))
    if dist.chief():
        torch.save(weights, Path(sys.argv[1]) / "weights.pt")
    dist.leave()
