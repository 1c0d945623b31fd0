"""What every augmentation keeps, and what each one does to a record with known answer."""

import inspect
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.signal import welch
from torch import Tensor

from stethos.augment import draws, frequency, mix, spectrum, time, transformed

B, C, T = 6, 2, 400
BAND = spectrum.Band(torch.tensor([500.0, 5000.0]))  # for signals read as two bands of a spectrogram


class Case(NamedTuple):
    apply: Callable[[Tensor, Tensor, float], Tensor]
    strength: float
    numbers: int = 1  # draws of a row


CASES = {
    "shift": Case(lambda x, u, s: time.shift(x, u, int(s)), 50),
    "stretch": Case(time.stretch, 0.2),
    "scale": Case(time.scale, 0.5),
    "flip_sign": Case(time.flip_sign, 0.5),
    "hide_block": Case(time.hide_block, 0.25),
    "add_noise": Case(lambda x, u, s: time.add_noise(x, u.view_as(x), s), 0.3, C * T),
    "wander": Case(time.wander, 0.4, 9),
    "band_drop": Case(frequency.band_drop, 0.3),
    "band_stop": Case(lambda x, u, s: frequency.band_stop(x, 100, 100 + s, rate=400), 50),
    "mixup": Case(lambda x, u, s: mix.mixup(x, x.flip(-1), mix.beta(u, s)), 0.4),
    "band_gain": Case(lambda x, u, s: spectrum.band_gain(x, u, BAND, s), 12, 2),
    "band_noise": Case(lambda x, u, s: spectrum.band_noise(x, u[:, :2], u[:, 2:].view_as(x), BAND, s), 2, 2 + C * T),
    "band_replace": Case(lambda x, u, s: spectrum.band_replace(x, u, x.flip(-1), BAND, s), 0.5, 2),
    "log_mixup": Case(lambda x, u, s: spectrum.log_mixup(x, u, x.flip(-1), s), 0.4),
    "random_resize_crop": Case(spectrum.random_resize_crop, 1, 4),
    "pitch": Case(lambda x, u, s: transformed.pitch(x, s), 2),
    "tempo": Case(lambda x, u, s: transformed.tempo(x, 1 + s), 0.25),
    "transformed": Case(lambda x, u, s: transformed.transformed(x, (u[:, 0] * s).long()), len(transformed.COPIES)),
}
sweep = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def signals(dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(B, C, T, generator=torch.Generator().manual_seed(0)).to(dtype)


def numbers(case: Case, rows: Tensor) -> Tensor:
    return draws.uniform(1, 2, rows, case.numbers, 3)


def test_no_augmentation_is_left_out_of_the_sweep():
    public = {
        name
        for module in (time, frequency, mix, spectrum, transformed)
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_")
    }
    assert public - {"beta", "partners", "segments"} == CASES.keys()  # weights, places, and another shape


@sweep
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_shape_and_type_stay_and_every_value_is_finite(case: Case, dtype: torch.dtype):
    x = signals(dtype)
    y = case.apply(x, numbers(case, torch.arange(B)), case.strength)
    assert (y.shape, y.dtype) == (x.shape, x.dtype)
    assert y.isfinite().all()


@sweep
def test_no_strength_changes_nothing_and_some_strength_does(case: Case):
    x, u = signals(), numbers(case, torch.arange(B))
    assert torch.equal(case.apply(x, u, 0), x)
    assert not torch.equal(case.apply(x, u, case.strength), x)


@sweep
def test_the_input_is_left_as_it_was_and_the_same_draws_do_the_same(case: Case):
    x, u = signals(), numbers(case, torch.arange(B))
    first = case.apply(x, u, case.strength)
    assert torch.equal(x, signals())
    assert torch.equal(case.apply(x, u, case.strength), first)


@sweep
def test_half_a_batch_is_augmented_as_it_would_be_in_the_whole(case: Case):
    x, rows = signals(torch.float64), torch.tensor([4, 17, 2, 99, 3, 50])
    whole = case.apply(x, numbers(case, rows), case.strength)
    halves = [case.apply(x[part], numbers(case, rows[part]), case.strength) for part in (slice(0, 2), slice(2, 6))]
    assert torch.allclose(torch.cat(halves), whole, atol=1e-12)


@sweep
def test_the_ends_of_the_unit_interval_are_legal_draws(case: Case):
    for end in (0.0, 1 - 2**-24):
        y = case.apply(signals(), torch.full((B, case.numbers), end), case.strength)
        assert y.isfinite().all()


@sweep
def test_gradients_flow_to_the_signal(case: Case):
    x = signals().requires_grad_()
    case.apply(x, numbers(case, torch.arange(B)), case.strength).square().sum().backward()
    assert x.grad.isfinite().all()
    assert (x.grad.flatten(1).abs().sum(1) > 0).all()


def ramp(samples: int = 9) -> Tensor:
    return torch.arange(float(samples)).view(1, 1, -1)


def test_a_shift_turns_the_record_and_loses_nothing():
    assert time.shift(ramp(5), torch.tensor([[1 - 2**-24]]), 2).flatten().tolist() == [3, 4, 0, 1, 2]
    assert time.shift(ramp(5), torch.tensor([[0.0]]), 2).flatten().tolist() == [2, 3, 4, 0, 1]


def test_a_stretch_by_two_reads_every_second_sample_around_the_middle_and_holds_the_ends():
    fast = time.stretch(ramp(), torch.tensor([[1.0]]), 1.0)
    slow = time.stretch(ramp(), torch.tensor([[0.0]]), 1.0)
    assert fast.flatten().tolist() == [0, 0, 0, 2, 4, 6, 8, 8, 8]
    assert slow.flatten().tolist() == [2, 2.5, 3, 3.5, 4, 4.5, 5, 5.5, 6]


def test_a_stretched_tone_has_the_stretched_frequency():
    samples, cycles = 5000, 100
    tone = torch.sin(2 * math.pi * cycles * torch.arange(samples) / samples).view(1, 1, -1)
    fast = time.stretch(tone, torch.tensor([[1.0]]), 0.1)
    middle = torch.fft.rfft(fast[0, 0, 500:4500] * torch.hann_window(4000)).abs()
    assert middle.argmax().item() == round(1.1 * cycles * 4000 / 5000)


def test_gains_lie_between_the_reciprocal_and_the_bound():
    gains = [time.scale(torch.ones(1, 1, 1), torch.tensor([[u]]), 0.25).item() for u in (0.0, 0.5, 1.0)]
    assert gains == pytest.approx([0.8, 1, 1.25])


def test_the_sign_turns_as_often_as_asked():
    y = time.flip_sign(torch.ones(4000, 1, 1), draws.uniform(0, 0, torch.arange(4000), 1), 0.2)
    assert (y < 0).float().mean().item() == pytest.approx(0.2, abs=4 * math.sqrt(0.16 / 4000))


def test_a_hidden_block_is_one_run_of_the_stated_length_from_end_to_end():
    u = torch.tensor([[0.0], [0.5], [1 - 2**-24]])
    hidden = time.hide_block(torch.ones(3, 2, 10), u, 0.3) == 0
    assert hidden[0, 0].nonzero().flatten().tolist() == [0, 1, 2]
    assert hidden[1, 0].nonzero().flatten().tolist() == [4, 5, 6]
    assert hidden[2, 0].nonzero().flatten().tolist() == [7, 8, 9]
    assert torch.equal(hidden[:, 0], hidden[:, 1])


def test_noise_has_the_stated_spread():
    noise = draws.normal(0, 0, torch.arange(4), (2, 5000))
    y = time.add_noise(torch.zeros(4, 2, 5000), noise, 0.3)
    assert y.std().item() == pytest.approx(0.3, rel=4 / math.sqrt(2 * y.numel()))


def test_wander_is_slow_bounded_and_alike_in_all_leads():
    u = draws.uniform(0, 0, torch.arange(50), 9)
    y = time.wander(torch.zeros(50, 2, 5000), u, 0.4, most=5)
    power = torch.fft.rfft(y[:, 0] * torch.hann_window(5000)).abs().square()
    assert y.abs().max() <= 0.4
    assert y.abs().amax(dim=(1, 2)).median() > 0.05
    assert torch.equal(y[:, 0], y[:, 1])
    assert (power[:, :8].sum(1) / power.sum(1)).min() > 0.999


def test_a_dropped_band_takes_the_tone_inside_it_and_leaves_the_tone_outside():
    t = torch.arange(1000, dtype=torch.float64) / 1000
    low, high = (torch.sin(2 * math.pi * hertz * t).view(1, 1, -1) for hertz in (50, 400))
    top, bottom = torch.tensor([[1 - 2**-24]]), torch.tensor([[0.0]])
    assert torch.allclose(frequency.band_drop(low + high, top, 0.5), low, atol=1e-9)
    assert torch.allclose(frequency.band_drop(low + high, bottom, 0.5), high, atol=1e-9)


def test_a_stopped_band_loses_forty_decibels_and_the_rest_keeps_its_own():
    noise = torch.randn(1, 1, 160_000, generator=torch.Generator().manual_seed(0))
    hertz, before = welch(noise[0, 0].numpy(), 16000, nperseg=2048)
    _, after = welch(frequency.band_stop(noise, 1000, 2000, rate=16000)[0, 0].numpy(), 16000, nperseg=2048)
    change = 10 * np.log10(after / before)
    margin = 3 * 16000 / 2048  # beside the edges the window of the measurement looks into both
    assert change[(hertz > 1000 + margin) & (hertz < 2000 - margin)].max() < -40
    assert np.abs(change[(hertz < 1000 - margin) | (hertz > 2000 + margin)]).max() < 0.1


@pytest.mark.parametrize("samples", [100, 101])
def test_dropping_the_whole_band_leaves_nothing(samples: int):
    x = torch.randn(2, 1, samples, generator=torch.Generator().manual_seed(0))
    assert frequency.band_drop(x, torch.full((2, 1), 0.7), 1.0).abs().max() < 1e-5


def test_mixing_weights_have_the_beta_distribution():
    u = draws.uniform(0, 0, torch.arange(5000), 1)
    for alpha in (0.3, 1.0, 4.0):
        weight = mix.beta(u, alpha).numpy()
        assert weight.shape == (5000,)
        assert stats.kstest(weight, stats.beta(alpha, alpha).cdf).pvalue > 0.01
    assert np.array_equal(mix.beta(u, 1.0).numpy(), u[:, 0].numpy())


def test_mixing_blends_signals_and_labels_alike():
    weight = torch.tensor([1.0, 0.25])
    x, y = torch.tensor([[[1.0, 2.0]], [[3.0, 5.0]]]), torch.tensor([[0.0, 1.0], [1.0, 1.0]])
    assert mix.mixup(x, x.flip(0), weight).tolist() == [[[1, 2]], [[1.5, 2.75]]]
    assert mix.mixup(y, y.flip(0), weight).tolist() == [[0, 1], [0.25, 1]]


def test_partners_form_one_circle_and_follow_the_row_not_its_place():
    rows = torch.arange(100, 120)
    place = mix.partners(5, 6, rows)
    at, met = 0, []
    for _ in rows:
        at = place[at].item()
        met.append(at)
    assert sorted(met) == list(range(20))
    turned = rows.flip(0)
    assert torch.equal(turned[mix.partners(5, 6, turned)].flip(0), rows[place])
    assert not torch.equal(mix.partners(5, 7, rows), place)
