"""The page that makes hearts from ECGs: what its parts are worth in hand numbers, and every way through it."""

import csv
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from processes import learned_the_same, on_two_processes

from stethos.cli import main
from stethos.data.cohort import open_cohort
from stethos.data.write import write_cohort
from stethos.errors import CohortError, OriginError, RecipeError
from stethos.io.nifti import read_nifti
from stethos.report.mark import burnt_in
from stethos.study.heart_seen import kept
from stethos.study.hearts import begin_hearts
from stethos.study.partition import Partition
from stethos.synth import cine_world, ecg
from stethos.synth.beating import examined
from stethos.synth.ecg import LEADS
from stethos.systems import ecgflow_cmr as page
from stethos.systems.ecgflow_cmr import NEEDS, CineAutoencoder, Drawn, ECGFlow, PhaseMAE, coefficients, course
from stethos.train import dist
from stethos.train.weights import sha256
from stethos.types import Cohort, Record, Run, Schedule

SMALL = replace(
    page.tiny(),
    ecg_width=32,
    ecg_steps=4,
    ecg_batch=8,
    cine_steps=4,
    cine_batch=4,
    judge_steps=30,
    judge_batch=4,
    judge_records=20,
    width=32,
    depth=1,
    heads=2,
    condition=4,
    draws=4,
    solver_steps=2,
    guidances=(1.0, 2.0),
    parts=Partition(valid_fraction=0.2, test_fraction=0.3),
    schedule=Schedule(steps=4, batch=7, lr=1e-3, ema=0.9),
)
PATIENTS = 60


def refused(capsys, *arguments):
    """What a command says that ends with code 2."""
    with pytest.raises(SystemExit) as ended:
        main([str(item) for item in arguments])
    assert ended.value.code == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("stethos: ")
    return said


@pytest.fixture(scope="module")
def department(tmp_path_factory):
    """Folder of a small simulated department."""
    return page._department(tmp_path_factory.mktemp("department"), PATIENTS, SMALL)


@pytest.fixture(scope="module")
def run(department, tmp_path_factory):
    """A run with all stages, evaluated."""
    out = tmp_path_factory.mktemp("run") / "run"
    made = page.train(department, out=out, recipe=SMALL)
    page.evaluate(out, cohort=department)
    return made


def test_harmonics_of_a_periodic_course_are_its_own_and_others_are_left_out():
    recipe = replace(page.tiny(), harmonics=2)
    phase = 2 * np.pi * np.arange(16) / 16
    wanted = torch.tensor(3 + 2 * np.cos(phase) - np.sin(2 * phase), dtype=torch.float64)
    latent = (wanted + torch.tensor(0.5 * np.cos(5 * phase)))[None, None, :, None, None]
    held = coefficients(latent, recipe)
    torch.testing.assert_close(
        held.flatten(), torch.tensor([3.0, 2.0, 0.0, 0.0, -1.0], dtype=torch.float64), atol=2e-6, rtol=0
    )
    torch.testing.assert_close(course(held, recipe).flatten(), wanted, atol=2e-6, rtol=0)


@pytest.mark.parametrize("motion", page.MOTIONS)
@pytest.mark.parametrize("centre", page.CENTRES)
def test_a_latent_cine_comes_back_from_what_flows(motion, centre):
    recipe = replace(SMALL, motion=motion, centre=centre, harmonics=7)
    model = ECGFlow(recipe)
    latent = torch.randn(9, 4, 16, 6, 6, generator=torch.Generator().manual_seed(0))
    latent = course(coefficients(latent, recipe), recipe)
    condition = torch.randn(9, sum(recipe.told) + 2, generator=torch.Generator().manual_seed(1))
    model.know(latent, condition)
    white = model.whitened(latent)
    torch.testing.assert_close(model.latent(white), latent, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(model._pictures(model._tokens(white)), white)
    told = model.told(condition)
    used = told.std(0) > 0.5
    torch.testing.assert_close(told.std(0)[used], torch.ones(int(used.sum())), atol=0.1, rtol=0)


def test_a_centre_that_is_constant_changes_nothing_but_the_source():
    """The published template is a shift of the source: whitened data differ by a constant."""
    latent = torch.randn(20, 4, 16, 6, 6, generator=torch.Generator().manual_seed(0)) + 1.5
    condition = torch.randn(20, sum(SMALL.told) + 2)
    white = []
    for centre in page.CENTRES:
        model = ECGFlow(replace(SMALL, motion="frames", centre=centre))
        model.know(latent, condition)
        white.append(model.whitened(latent))
    for other in white[1:]:
        moved = white[0] - other
        torch.testing.assert_close(moved, moved[:1].expand_as(moved), atol=1e-4, rtol=1e-4)


def test_without_guidance_the_ecg_is_not_heard_and_with_it_it_is():
    model = ECGFlow(SMALL)
    generator = torch.Generator().manual_seed(0)
    condition = torch.randn(6, sum(SMALL.told) + 2, generator=generator)
    model.know(torch.randn(6, 4, 16, 6, 6, generator=generator), condition)
    torch.nn.init.normal_(model.net.out.weight, std=0.5)
    noise = torch.randn(1, SMALL.parameters, 4, 6, 6, generator=generator).expand(2, -1, -1, -1, -1)
    with torch.no_grad():
        deaf, heard = (model.generate(condition[:2], noise, scale) for scale in (0.0, 1.0))
    torch.testing.assert_close(deaf[0], deaf[1])
    assert (heard[0] - heard[1]).abs().max() > 1e-3


def test_a_phase_that_is_not_known_does_not_teach():
    model = PhaseMAE(SMALL)
    batch = page.batches(SMALL)(0, slice(0, 4))
    unknown = batch._replace(phase=torch.full_like(batch.phase, float("nan")))
    assert model(unknown)["phase"] == 0
    half = batch.phase.clone()
    half[:, ::2] = float("nan")
    assert torch.isfinite(model(batch._replace(phase=half))["phase"])


def test_the_middle_of_a_token_is_found_across_the_end_of_a_cycle():
    phase = torch.full((1, 16), 3.0)
    phase[0, 3], phase[0, 4] = 2 * np.pi - 0.1, 0.3
    phase[0, 11], phase[0, 12] = 1.0, 1.2
    torch.testing.assert_close(page.at_tokens(phase), torch.tensor([[0.1, 1.1]]), atol=1e-5, rtol=0)


def test_a_span_hides_neighbours_and_as_many_as_asked_for():
    hidden = page.batches(replace(SMALL, mask="span"))(0, slice(0, 8)).hidden
    assert (hidden.sum(1) == round(0.5 * SMALL.tokens)).all()
    assert ((hidden[:, 1:] != hidden[:, :-1]).sum(1) <= 2).all()


def test_noise_is_white_and_a_wander_of_as_much_and_differs_from_row_to_row():
    recipe = replace(SMALL, noise=2.0)
    batch, quiet = (page.batches(each, "ecg")(3, slice(0, 8)) for each in (recipe, replace(SMALL, noise=0.0)))
    assert not quiet.added.any()
    torch.testing.assert_close(batch.ecg, quiet.ecg)  # what is restored is clean
    size = (batch.added.square().mean((1, 2)) / batch.ecg.square().mean((1, 2))).sqrt()
    assert 0 < size.min() < size.max() < 2 * 1.1
    assert size.std() > 0.1
    power = np.abs(np.fft.rfft(batch.added.numpy())) ** 2
    slow = power[:, :, 1:11].sum((1, 2)) / power.sum((1, 2))  # a walk has most of its power in its ten slowest waves
    assert ((slow > 0.35) & (slow < 0.6)).all()
    np.testing.assert_array_equal(page.batches(recipe, "ecg")(3, slice(4, 8)).added, batch.added[4:])


def test_a_run_has_all_stages_numbers_report_and_card(run):
    names = json.loads(run.metrics.read_text())
    for name in (
        *("ef.mean16.r", "ef.single.r", "ef.regressor.r", "ef.shuffled.r", "ef.coverage80", "ef.dispersion_ratio"),
        *("es_phase.r", "es_phase.real.r", "closure_ratio", "autoencoder.ef.r", "nearest_ratio", "membership_auc"),
    ):
        assert names[name]["origin"] == "synthetic"
    page_text = run.report.read_text()
    assert "synthetic" in page_text
    assert "Beating hearts" in page_text
    assert "http://" not in page_text.replace("http://www.w3.org", "")
    assert all(page.weights_of(run, stage).is_file() for stage in NEEDS)
    assert "diagnose nobody" in run.card.read_text()


def test_the_same_command_trains_nothing_again(run, department):
    before = {path.name: path.stat().st_mtime_ns for path in run.folder.glob("*.safetensors")}
    page.train(department, out=run.folder, recipe=SMALL)
    assert before == {path.name: path.stat().st_mtime_ns for path in run.folder.glob("*.safetensors")}


def generated(run, department, out, **wishes):
    table = page.generate(run.folder, cohort=department, out=out, **wishes)
    with table.open() as file:
        return list(csv.DictReader(file))


def test_hearts_are_written_marked_and_listed_with_their_parents(run, department, tmp_path):
    rows = generated(run, department, tmp_path, per_record=2, part="3/16")
    ids, subjects = (open_cohort(department).rows[name].tolist() for name in ("id", "subject"))
    assert [row["parents"] for row in rows] == [name for name in ids[2::16] for _ in range(2)]
    assert [row["subject"] for row in rows] == [name for name in subjects[2::16] for _ in range(2)]
    assert {(row["origin"], row["model_origin"], row["seed"]) for row in rows} == {("generated", "synthetic", "0")}
    assert {row["model"] for row in rows} == {sha256(run.weights)}
    record = read_nifti(tmp_path / rows[0]["path"])
    assert record.origin == "generated"
    assert record.volume.interval == pytest.approx(60 / float(rows[0]["heart_rate"]) / 16, rel=1e-2)
    assert record.volume.spacing[1:] == pytest.approx((132 / 48, 132 / 48))
    values = record.volume.values[:, 0]
    np.testing.assert_array_equal(values, burnt_in(values, "GENERATED"))
    assert values[:, :30].std() > 0
    assert len(list((tmp_path / "hearts").glob("*.gif"))) == len(rows)


def test_a_heart_is_the_same_whatever_cohort_its_record_is_in_and_is_not_made_twice(run, department, tmp_path):
    part = generated(run, department, tmp_path / "part", part="3/16", gif=False)
    whole = generated(run, department, tmp_path / "whole", gif=False)
    path = {row["id"]: tmp_path / "whole" / row["path"] for row in whole}
    first = tmp_path / "part" / part[0]["path"]
    same = read_nifti(path[part[0]["id"]]).volume.values
    np.testing.assert_allclose(read_nifti(first).volume.values, same, atol=1e-5)
    other = read_nifti(tmp_path / "part" / part[1]["path"]).volume.values
    assert np.abs(read_nifti(first).volume.values - other).max() > 0.01
    before = first.stat().st_mtime_ns
    generated(run, department, tmp_path / "part", part="3/16", gif=False)
    assert first.stat().st_mtime_ns == before


def test_hearts_of_another_guidance_are_not_taken_for_these(run, department, tmp_path):
    generated(run, department, tmp_path, part="3/16", gif=False, guidance=1.0)
    with pytest.raises(CohortError, match="was written here"):
        generated(run, department, tmp_path, part="3/16", gif=False, guidance=2.0)


def test_a_run_that_was_never_judged_generates_all_the_same(run, department, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run.folder, copy, ignore=shutil.ignore_patterns("judge.safetensors", "private"))
    assert len(generated(Run(copy), department, tmp_path / "out", part="3/16", gif=False)) == 4


def test_an_id_with_slashes_does_not_leave_its_folder():
    assert page._plain("a-1") == "a-1"
    names = {page._plain(name) for name in ("../a", "__/a", "a/b", "a_b")}
    assert len(names) == 4
    assert not any("/" in name for name in names)


def test_a_network_trained_from_scratch_answers_in_the_units_of_its_target_and_is_not_trained_twice(
    department, tmp_path
):
    people = open_cohort(department)
    hearts = begin_hearts(people, Run(tmp_path), SMALL.shape, 1)
    rows = hearts.has("pair")
    truth = np.where(np.arange(len(rows)) < 5, np.nan, 1000 + 0.1 * hearts.numbers("ef", rows))
    asked = (rows[:40], rows[40:]), {"ef": (truth[:40], truth[40:])}, SMALL
    said = page._scratch(hearts, *asked)["ef"]
    assert said.shape == (len(rows) - 40,)
    assert 990 < said.min() < said.max() < 1015
    np.testing.assert_array_equal(page._scratch(hearts, *asked)["ef"], said)


def test_what_is_kept_of_a_cine_is_told_in_numbers_worked_out_by_hand():
    cine = np.zeros((2, 4, 4), np.float32)
    cine[1] = 1
    assert kept(cine, cine + 0.1) == {"error": 0.1, "psnr_db": 20.0, "still_error": 0.5, "motion_kept": 0.96}
    assert kept(cine, np.full_like(cine, 0.5))["motion_kept"] == 0


def test_cines_in_files_are_reconstructed_with_their_error_and_shown(run, department, tmp_path, capsys):
    path = department / open_cohort(department).rows["cine"][0]
    main(["ecgflow-cmr", "reconstruct", str(run.folder), str(path), "--out", str(tmp_path), "--allow-synthetic-model"])
    said = json.loads(capsys.readouterr().out)
    assert said["file"] == str(path)
    assert said["psnr_db"] == pytest.approx(-20 * np.log10(said["error"]), abs=0.05)
    with Image.open(next(tmp_path.glob("*.gif"))) as film:
        assert (film.size, film.n_frames) == ((2 * SMALL.size, SMALL.size), SMALL.frames)
    assert "holds no config.json" in refused(capsys, "ecgflow-cmr", "reconstruct", tmp_path, path)


@pytest.mark.realdata
def test_a_real_examination_is_cropped_and_reconstructed(run, real, capsys):
    folder = real / "cmr" / "rvsc_patient09" / "patient09" / "P09dicom"
    assert "does not score a real person" in refused(capsys, "ecgflow-cmr", "reconstruct", run.folder, folder)
    (told,) = page.reconstruct(run.folder, [folder], side=130.0, allow_synthetic_model=True)
    assert 0 < told["still_error"] < 0.5
    assert told["error"] > 0


def test_bad_wishes_are_refused_in_a_sentence(run, department, tmp_path, capsys):
    asked = ("ecgflow-cmr", "generate", run.folder, "--cohort", department, "--out", tmp_path / "a")
    assert "part is like 3/16" in refused(capsys, *asked, "--part", "0/3")
    train = ("ecgflow-cmr", "train", "--cohort", department, "--out", tmp_path / "b", "--preset", "tiny")
    assert "stage is one of" in refused(capsys, *train, "--stage", "all of them")
    assert "centre is one of" in refused(capsys, *train, "--centre", "middle")
    assert "hold fewer than 8 harmonics" in refused(capsys, *train, "--harmonics", 9)
    assert "holds no config.json" in refused(capsys, "ecgflow-cmr", "evaluate", tmp_path / "b")


def test_a_dry_run_prints_sizes_and_writes_nothing(department, tmp_path, capsys):
    page.train(department, out=tmp_path / "c", recipe=SMALL, dry_run=True)
    said = capsys.readouterr().out
    assert "60 records" in said
    assert "million weights" in said
    assert not (tmp_path / "c").exists()


def test_an_unpaired_cohort_trains_its_own_stage_and_is_refused_pairs(department, tmp_path):
    with (department / "cohort.csv").open() as file:
        rows = list(csv.DictReader(file))
    folder = tmp_path / "ecgs"
    folder.mkdir()
    with (folder / "cohort.csv").open("w") as file:
        names = [name for name in rows[0] if name not in ("cine", "labels")]
        writer = csv.DictWriter(file, names, extrasaction="ignore")
        writer.writeheader()
        writer.writerows({**row, "path": department / row["path"]} for row in rows)
    made = page.train(folder, out=tmp_path / "run", recipe=SMALL, stage="ecg")
    assert page.weights_of(made, "ecg").is_file()
    with pytest.raises(CohortError, match="60 have an ECG, 0 a cine"):
        page.train(folder, out=tmp_path / "run", recipe=SMALL, stage="flow")


def test_what_learned_from_simulated_people_is_not_asked_about_real_ones(run, tmp_path):
    signal = ecg(examined_one(), 0, cine_world(), leads=LEADS)
    person = Record("1", "a", (signal,))
    write_cohort(Cohort({"id": np.array(["a"]), "subject": np.array(["1"])}, lambda _: person), tmp_path / "real")
    with pytest.raises(OriginError, match="--allow-synthetic-model"):
        generated(run, tmp_path / "real", tmp_path / "out")
    (row,) = generated(run, tmp_path / "real", tmp_path / "out", allow_synthetic_model=True)
    assert (row["origin"], row["model_origin"]) == ("generated", "synthetic")


def examined_one():
    rows = examined(1, 5, cine_world())
    return {name: column[0] for name, column in rows.items()}


def test_a_recipe_that_cannot_be_is_refused():
    with pytest.raises(RecipeError, match="multiple of 16"):
        replace(SMALL, size=40)


def train_twice(folder: Path) -> None:
    """What each of two processes runs: every stage in double precision, then the verb on a department of its own.

    The verb prepares, trains and reads the weights of earlier stages, which processes must not do too early.
    """
    for stage in NEEDS:
        _trained(folder, stage)
    page.train(page._department(folder, 40, SMALL), out=folder / "verb", recipe=SMALL)


def _trained(folder: Path, stage: str) -> Run:
    """One stage in double precision, from the drawing of a step on."""
    recipe, run = SMALL, Run(folder / stage)
    run.private.mkdir(parents=True, exist_ok=True)
    draw = page.batches(recipe, stage, _drawn(recipe))
    model = page.network(recipe, stage).double()

    def doubled(step, share):
        return type(page.NOTHING)(*(item.double() if item.is_floating_point() else item for item in draw(step, share)))

    page.fit(model, doubled, page.schedule_of(recipe, stage), run, options=page.Options(stage=stage))
    return run


def _drawn(recipe) -> Drawn:
    return page._simulated(recipe)


@pytest.mark.parametrize("stage", list(NEEDS))
def test_two_processes_learn_what_one_learns(stage, tmp_path, two):
    first = {name: item.clone() for name, item in page.network(SMALL, stage).double().state_dict().items()}
    one = _trained(tmp_path / "one", stage)
    learned_the_same(one, Run(two / stage), first, stage)


def test_the_verb_on_two_processes_ends_with_the_weights_of_one(two, tmp_path):
    one = page.train(page._department(tmp_path, 40, SMALL), out=tmp_path / "verb", recipe=SMALL)
    for stage in page.STAGES:
        states = [page.load(folder, stage).state_dict() for folder in (one.folder, two / "verb")]
        for name, item in states[0].items():
            torch.testing.assert_close(states[1][name], item, rtol=1e-3, atol=1e-3, msg=f"{stage}: {name}")


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    on_two_processes(__file__, folder)
    return folder


def test_stages_share_their_patients(run, department):
    """No stage learns from a patient whom another tests."""
    hearts = begin_hearts(open_cohort(department), run, SMALL.shape, 1)
    held = {need: page.parts_of(hearts, SMALL.parts, need)[0] for need in ("ecg", "cine", "pair")}
    for need in held:
        assert not np.intersect1d(held[need]["train"], held["pair"]["internal"]).size


def test_an_autoencoder_of_single_frames_and_one_of_turns_have_the_same_shapes():
    for turns in (False, True):
        model = CineAutoencoder(replace(SMALL, turns=turns))
        cine = torch.rand(2, 16, 48, 48)
        latent = model.encode(cine)
        assert latent.shape == (2, 4, 16, 6, 6)
        assert model.decode(latent).shape == cine.shape


if __name__ == "__main__":
    dist.join()
    train_twice(Path(sys.argv[1]))
    dist.leave()
