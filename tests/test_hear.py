"""What the HEAR benchmark asks of an embedding: shapes, types, times, and the same answer as the run itself."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import stethos
from stethos import hear
from stethos.cli import main
from stethos.errors import FormatError, RunError
from stethos.signal.clip import ClipWindows
from stethos.study import detect, detected
from stethos.study.detector import Detector, Memory
from stethos.study.listening import Listening
from stethos.systems import os_scl
from stethos.systems.os_scl import OsScl, Recipe
from stethos.types import Schedule, Signal

RECIPE = Recipe(
    listen=Listening(seconds=1.5), size=0.125, seeds=2, schedule=Schedule(steps=2, batch=8, ema=0.9, validate_every=2)
)


def sounds(count: int, seconds: float, seed: int = 0) -> torch.Tensor:
    chance = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(count, round(16_000 * seconds), generator=chance).clamp(-9, 9)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """Two networks of two steps, from a simulated factory of two machines."""
    folder = tmp_path_factory.mktemp("hear")
    sizes = ["--train", "8", "--test", "4", "--sections", "1", "--seconds", "2", "--workers", "1"]
    main(["synth", "factory", "--out", str(folder / "plant"), "--machines", "fan", "--machines", "valve", *sizes])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(detected, "BASELINES", {})
        os_scl.train(folder / "plant", out=folder / "run", recipe=RECIPE)
    return folder / "run"


@pytest.fixture(scope="module")
def model(run) -> hear.HearModel:
    return hear.load_model(str(run))


def untrained(recipe: Recipe, **changes: object) -> hear.HearModel:
    member = detect.seeded(0, lambda: OsScl(recipe)).eval()
    none = np.zeros((1, 128))
    memory = Memory((none,), np.zeros(1, int), np.array([""]), np.array(["a"]), ("fan/id_00",), np.zeros(1), np.ones(1))
    return hear.HearModel(Detector([member], replace(recipe.listen.windows, **changes), memory, "nearest")).eval()


def test_the_model_has_the_attributes_that_hear_reads(model):
    assert isinstance(model, torch.nn.Module)
    assert (model.sample_rate, model.scene_embedding_size, model.timestamp_embedding_size) == (16_000, 256, 256)
    assert {type(model.sample_rate), type(model.scene_embedding_size)} == {int}
    assert not model.training


@pytest.mark.parametrize("seconds", [0.3, 1.5, 2.74, 4.0])
def test_a_scene_is_one_finite_float32_vector_a_sound(model, seconds):
    found = hear.get_scene_embeddings(sounds(3, seconds), model)
    assert (found.shape, found.dtype) == ((3, 256), torch.float32)
    assert found.isfinite().all()


@pytest.mark.parametrize("seconds", [0.01, 0.3, 1.07, 1.98, 4.0])
def test_times_are_regular_begin_at_nothing_and_reach_the_end(model, seconds):
    found, times = hear.get_timestamp_embeddings(sounds(2, seconds), model)
    assert found.shape == (*times.shape, 256)
    assert found.dtype == times.dtype == torch.float32
    assert found.isfinite().all()
    assert times[0].tolist() == times[1].tolist() == [50.0 * k for k in range(times.shape[1])]
    assert 1000 * seconds - 50 <= times.max() < 1000 * seconds


def test_the_interval_may_be_any_and_does_not_drift(model):
    _, times = hear.get_timestamp_embeddings(sounds(1, 1.0), model, hop_ms=33.3)
    np.testing.assert_allclose(times[0], 33.3 * np.arange(31), rtol=1e-6)


@pytest.mark.parametrize("seconds", [0.7, 1.5, 3.2])
def test_a_scene_is_what_the_run_says_of_the_signal(run, model, seconds):
    (wave,) = audio = sounds(1, seconds)
    want = stethos.load(run).embed(Signal(wave[None].numpy(), 16_000.0, ("1",), "1"))
    np.testing.assert_allclose(hear.get_scene_embeddings(audio, model)[0], want, atol=1e-5)


def test_the_same_sound_has_the_same_embedding_whatever_stands_beside_it(model):
    one, other = sounds(1, 2.0), sounds(1, 2.0, seed=1)
    for get in (hear.get_scene_embeddings, lambda *them: hear.get_timestamp_embeddings(*them)[0]):
        alone = get(one, model)
        torch.testing.assert_close(get(one, model), alone, rtol=0, atol=0)
        torch.testing.assert_close(get(torch.cat([other, one]), model)[1:], alone, rtol=0, atol=1e-5)
        assert not torch.allclose(get(other, model), alone, atol=1e-3)


@pytest.mark.parametrize("level", ["as-is", "rms"])
def test_silence_has_a_finite_embedding_of_unit_length(level):
    model = untrained(RECIPE, level=level)
    silence = torch.zeros(2, 20_000)
    scene, (heard, _) = hear.get_scene_embeddings(silence, model), hear.get_timestamp_embeddings(silence, model)
    assert scene.norm(dim=-1).numpy() == pytest.approx(1, abs=1e-5)
    assert heard.norm(dim=-1).numpy() == pytest.approx(1, abs=1e-5)


def test_a_level_that_means_nothing_moves_no_embedding():
    model = untrained(RECIPE, level="rms")
    wave = sounds(1, 2.0)
    for get in (hear.get_scene_embeddings, lambda *them: hear.get_timestamp_embeddings(*them)[0]):
        torch.testing.assert_close(get(3 * wave, model), get(wave, model), rtol=0, atol=1e-3)


def test_a_knock_is_heard_at_its_time_and_not_elsewhere():
    wave = 0.001 * sounds(1, 6.0)
    knocked = wave.clone()
    knocked[:, 48_000:48_400] += 0.5 * torch.sin(torch.arange(400) * 0.8)  # at 3000 ms
    model = untrained(RECIPE)
    (plain, times), (heard, _) = (hear.get_timestamp_embeddings(item, model) for item in (wave, knocked))
    moved = (heard - plain).norm(dim=-1)[0] > 1e-4
    assert times[0][moved].tolist() == [50.0 * k for k in range(51, 71)]  # half a second on either side of it


def test_a_network_of_one_length_hears_its_own_around_a_time():
    recipe = replace(RECIPE, fixed=True, listen=Listening(seconds=2.0))
    assert (untrained(recipe).around, untrained(RECIPE).around) == (32_000, 16_000)
    assert untrained(replace(RECIPE, listen=Listening(seconds=0.5))).around == 8_000
    heard, _ = hear.get_timestamp_embeddings(sounds(1, 0.4), untrained(recipe))
    assert heard.shape == (1, 8, 128)
    assert heard.isfinite().all()


def test_what_learns_from_an_embedding_has_a_gradient(model):
    head = torch.nn.Linear(256, 2)
    head(hear.get_scene_embeddings(sounds(2, 1.0), model)).sum().backward()
    assert head.weight.grad is not None


@pytest.mark.parametrize(
    "audio", [torch.zeros(16_000), torch.zeros(1, 1, 16_000), torch.zeros(1, 0), torch.zeros(1, 99, dtype=torch.int16)]
)
def test_audio_of_another_form_is_refused_in_one_sentence(model, audio):
    for get in (hear.get_scene_embeddings, hear.get_timestamp_embeddings):
        with pytest.raises(FormatError, match="n_sounds, n_samples"):
            get(audio, model)
    with pytest.raises(FormatError, match="positive interval"):
        hear.get_timestamp_embeddings(sounds(1, 1.0), model, hop_ms=0)


def test_what_is_no_run_of_sounds_is_refused(tmp_path, monkeypatch):
    with pytest.raises(RunError, match="needs the folder"):
        hear.load_model()
    with pytest.raises(RunError, match="is not a run"):
        hear.load_model(str(tmp_path))
    monkeypatch.setattr(hear, "load", lambda folder: torch.nn.Identity())
    with pytest.raises(RunError, match="does not listen"):
        hear.load_model(str(tmp_path))


def test_windows_around_times_are_cut_from_the_mirrored_sound():
    heard = []

    class Told(hear.HearModel):
        def forward(self, windows):
            heard.extend(windows[:, 0])
            return torch.zeros(len(windows), 1)

    told = untrained(RECIPE)
    told.__class__ = Told
    told.windows = ClipWindows(0.0005)  # eight samples
    hear.get_timestamp_embeddings(torch.arange(1.0, 11.0)[None], told, hop_ms=0.25)  # every four samples
    assert [item.tolist() for item in heard] == [
        [4, 3, 2, 1, 1, 2, 3, 4],
        [1, 2, 3, 4, 5, 6, 7, 8],
        [5, 6, 7, 8, 9, 10, 10, 9],
    ]


def test_the_command_line_does_not_load_it():
    code = "import sys, stethos, stethos.cli\nassert not {'torch', 'stethos.hear'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
