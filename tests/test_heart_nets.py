"""Networks of hearts: cycles cut and laid side by side by hand, and what each network keeps whatever its weights."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F

from stethos.nn.dit import DiT, clock_face
from stethos.nn.phase_mae import (
    STRIDE,
    PhaseDecoder,
    PhaseEncoder,
    _ordinary,
    align,
    angle,
    cycles,
    mean_beat,
    starts,
    wraps,
)
from stethos.nn.unet import UNet
from stethos.nn.vae import CineVAE, divergence, sampled
from stethos.signal.phase import usual_intervals

TURN = 2 * math.pi


def saw(first: float, period: float, length: int) -> torch.Tensor:
    """Phase that passes 0 at `first` and every `period` later, at whole places."""
    return TURN * (((torch.arange(length, dtype=torch.float64) - first) / period) % 1)[None]


def broken(places: list[int], length: int) -> torch.Tensor:
    """Phase that is 0 at the given places and rises evenly between them."""
    return TURN * torch.as_tensor(np.interp(np.arange(length), places, np.arange(len(places))) % 1)[None]


def test_a_ramp_is_read_at_the_middles_of_equal_parts():
    ramp = torch.arange(10.0)[None, None]
    assert align(ramp, torch.tensor([2.0]), torch.tensor([6.0]), 4)[0, 0].tolist() == pytest.approx(
        [2.5, 3.5, 4.5, 5.5], abs=1e-5
    )
    assert align(ramp, torch.tensor([1.5]), torch.tensor([7.5]), 3)[0, 0].tolist() == pytest.approx(
        [2.5, 4.5, 6.5], abs=1e-5
    )
    assert align(ramp, torch.tensor([3.25]), torch.tensor([4.25]), 2)[0, 0].tolist() == pytest.approx(
        [3.5, 4.0], abs=1e-5
    )


def test_beyond_the_ends_the_first_and_the_last_token_go_on():
    ramp = torch.arange(10.0)[None, None]
    read = align(ramp, torch.tensor([-2.0]), torch.tensor([12.0]), 7)[0, 0]
    assert read.tolist() == pytest.approx([0, 1, 3, 5, 7, 9, 9], abs=1e-5)


def test_each_stretch_reads_its_own_tokens():
    tokens = torch.randn(3, 2, 12, generator=torch.Generator().manual_seed(0))
    start, stop = torch.tensor([1.0, 2.0, 0.5]), torch.tensor([9.0, 11.0, 7.0])
    together = align(tokens, start, stop, 5)
    for row in range(3):
        torch.testing.assert_close(together[row : row + 1], align(tokens[[row]], start[[row]], stop[[row]], 5))


@pytest.mark.parametrize(("first", "period"), [(3.0, 10.0), (2.37, 9.81), (0.9, 13.5), (6.999, 7.001)])
def test_a_cycle_starts_where_the_phase_passes_nought_to_a_thousandth_of_a_token(first, period):
    found = starts(saw(first, period, 60))[0]
    want = np.arange(first, 59, period)
    assert len(found) == len(want)
    np.testing.assert_allclose(found, want, atol=1e-3)


def test_a_phase_that_stands_or_only_trembles_starts_no_cycle():
    assert len(starts(torch.full((1, 20), 3.0))[0]) == 0
    trembling = torch.tensor([[1.0, 0.9, 1.2, 1.1, 2.5, 2.4, 5.0, 4.9, 6.0]])
    assert not wraps(trembling).any()


def test_the_predicted_turn_is_an_angle_whatever_its_length():
    phase = torch.linspace(0, TURN * 0.999, 17)[None]
    turn = torch.stack([phase.sin(), phase.cos()], dim=1)
    torch.testing.assert_close(angle(turn), phase, atol=1e-5, rtol=0)
    torch.testing.assert_close(angle(0.01 * turn), phase, atol=1e-4, rtol=0)


def beating(places: list[float], length: int, cycle: torch.Tensor) -> torch.Tensor:
    """A course that repeats a cycle of 10 tokens from each place on, 1000 elsewhere; `(1, D, L)`."""
    course = torch.full((1, len(cycle), length), 1000.0, dtype=torch.float64)
    for place in places:
        course[0, :, round(place + 0.5) : round(place + 0.5) + 10] = cycle
    return course


CYCLE = torch.randn(3, 10, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_the_mean_of_equal_cycles_is_the_cycle():
    found, count = cycles(beating([2.5, 12.5, 22.5], 36, CYCLE), saw(2.5, 10, 36), 10, 0.08)
    assert count.tolist() == [3]
    torch.testing.assert_close(found[0], CYCLE, atol=1e-5, rtol=0)


def test_an_extra_beat_is_left_out_of_the_mean():
    phase = broken([-8, 2, 12, 17, 27, 37, 47], 42)  # the interval from 12 to 17 is half as long
    found, count = cycles(beating([1.5, 16.5, 26.5], 42, CYCLE), phase, 5, 0.08)
    assert count.tolist() == [3]
    torch.testing.assert_close(found[0], CYCLE[:, 1::2], atol=1e-5, rtol=0)


def test_a_recording_without_a_cycle_gives_its_mean_token_at_every_step():
    tokens = torch.randn(2, 3, 36, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    phase = torch.cat([torch.full((1, 36), 2.0, dtype=torch.float64), saw(2.5, 10, 36)])
    found, count = cycles(tokens, phase, 6, 0.08)
    assert count.tolist() == [0, 3]
    torch.testing.assert_close(found[0], tokens[0].mean(1, keepdim=True).expand(-1, 6))
    too_fast, none = cycles(tokens, phase, 6, 0.02)  # 0.2 s a cycle
    assert none.tolist() == [0, 0]
    torch.testing.assert_close(too_fast[1], tokens[1].mean(1, keepdim=True).expand(-1, 6))


def test_the_ordinary_beats_of_a_predicted_phase_are_those_of_measured_peaks():
    generator = np.random.default_rng(3)
    for _ in range(300):
        lengths = generator.choice([0.2, 0.4, 0.55, 0.81, 0.9, 1.0, 1.6, 2.2], generator.integers(1, 8))
        place = np.cumsum([0, *lengths])
        found = _ordinary(torch.as_tensor(place) / 0.08, 0.08)
        assert found.tolist() == usual_intervals(place * 1000, 1000).tolist(), lengths


def test_the_mean_beat_is_every_beat_however_roughly_the_phase_tells_its_place():
    rate, length = 100.0, 960
    beat = torch.zeros(2, 80)
    beat[:, 30:36] = torch.tensor([[0.1, 1.0, -0.4, 0.0, 0.2, 0.1], [0.0, 2.0, 0.3, 0.1, 0.0, 0.0]])
    peaks = [60, 143, 221, 317, 398, 486, 560, 655, 741, 830]
    x = torch.zeros(1, 2, length)
    for peak in peaks:
        x[0, :, peak - 32 : peak + 48] = beat
    shaken = np.array(peaks) + np.random.default_rng(0).integers(-5, 6, len(peaks))
    turns = np.interp(np.arange(length // STRIDE) * STRIDE + 3.5, [0, *shaken, length], np.arange(-0.6, 11))
    found = mean_beat(x, torch.as_tensor(TURN * ((turns - 0.4) % 1))[None], rate)
    assert found.shape == (1, 2, 80)
    edge = int((beat[:, 1:] - beat[:, :-1]).square().sum(0).argmax())
    torch.testing.assert_close(found[0, :, 32 - 5 : 32 + 10], beat[:, edge - 5 : edge + 10])


def test_without_beats_the_mean_beat_is_nought():
    found = mean_beat(torch.randn(2, 12, 400), torch.full((2, 50), 1.0), 100.0)
    assert found.shape == (2, 12, 80)
    assert not found.any()


def test_a_token_is_eight_samples_there_and_back():
    encoder, decoder = PhaseEncoder(12, 32), PhaseDecoder(12, 32)
    tokens = encoder(torch.randn(2, 12, 160))
    assert tokens.shape == (2, 32, 20)
    assert decoder(tokens).shape == (2, 12, 160)


def test_each_token_is_decoded_to_its_own_eight_samples_in_order():
    decoder = PhaseDecoder(2, 16)
    torch.nn.init.zeros_(decoder.out.weight)
    decoder.out.bias.data = torch.arange(16.0)
    samples = decoder(torch.randn(1, 16, 3))
    assert samples[0, 0].tolist() == [*range(8)] * 3
    assert samples[0, 1].tolist() == [*range(8, 16)] * 3


def cine():
    return torch.rand(2, 6, 32, 24, generator=torch.Generator().manual_seed(4))


@pytest.mark.parametrize("turns", [True, False])
def test_the_autoencoder_is_eight_times_smaller_in_space_and_as_long_in_time(turns):
    net = CineVAE(16, latent=4, turns=turns)
    mean, log_variance = net.encode(cine())
    assert mean.shape == log_variance.shape == (2, 4, 6, 4, 3)
    assert net.decode(mean).shape == (2, 6, 32, 24)


def test_a_cycle_that_starts_elsewhere_is_the_same_cycle_to_the_autoencoder():
    net = CineVAE(16)
    mean, log_variance = net.encode(cine())
    moved, moved_variance = net.encode(cine().roll(2, dims=1))
    torch.testing.assert_close(moved, mean.roll(2, dims=2), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(moved_variance, log_variance.roll(2, dims=2), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(net.decode(moved), net.decode(mean).roll(2, dims=1), atol=1e-5, rtol=1e-4)


def test_frames_are_alone_where_they_are_not_mixed_and_know_their_neighbours_where_they_are():
    swapped = cine()[:, [0, 3, 2, 1, 4, 5]]
    alone, mixed = CineVAE(16, turns=False), CineVAE(16)
    torch.testing.assert_close(alone.encode(swapped)[0][:, :, 0], alone.encode(cine())[0][:, :, 0])
    assert (mixed.encode(swapped)[0] - mixed.encode(cine())[0])[:, :, 0].abs().max() > 1e-4


def test_the_divergence_is_that_between_gaussians():
    mean, log_variance = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    want = kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(0.0, 1.0))
    torch.testing.assert_close(divergence(mean, log_variance), want)
    assert not divergence(torch.zeros(3), torch.zeros(3)).any()


def test_a_draw_is_the_mean_and_so_many_standard_deviations():
    drawn = sampled(torch.tensor([1.0, 0.0]), torch.tensor([math.log(4.0), math.log(9.0)]), torch.tensor([0.5, -1.0]))
    torch.testing.assert_close(drawn, torch.tensor([2.0, -3.0]))


def steered(seed=6):
    torch.manual_seed(seed)
    net = DiT(tokens=5, channels=3, width=32, depth=2, heads=4)
    torch.nn.init.normal_(net.out.weight)
    return net


def asked(batch=4):
    generator = torch.Generator().manual_seed(7)
    x, own = torch.randn(batch, 5, 3, generator=generator), torch.randn(batch, 5, 32, generator=generator)
    return x, torch.rand(batch, generator=generator), torch.randn(batch, 32, generator=generator), own


def test_before_training_the_velocity_is_nought():
    velocity = DiT(tokens=5, channels=3, width=32, depth=2, heads=4)(*asked())
    assert velocity.shape == (4, 5, 3)
    assert not velocity.any()


def test_patients_of_a_batch_do_not_see_each_other():
    net, rows, order = steered(), asked(), torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(net(*(item[order] for item in rows)), net(*rows)[order], atol=1e-5, rtol=1e-4)


def test_time_the_condition_and_a_tokens_own_condition_are_heard_before_training():
    net, (x, time, condition, own) = steered(), asked()
    said = net(x, time, condition, own)
    for other in (
        net(x, 1 - time, condition, own),
        net(x, time, -condition, own),
        net(x, time, condition, -own),
        net(x, time, condition),
    ):
        assert (other - said).abs().max() > 1e-2


def test_tokens_know_their_place_and_without_it_they_are_a_set():
    net, (x, time, condition, own) = steered(), asked()
    torch.nn.init.normal_(net.place)
    order = torch.tensor([3, 1, 4, 0, 2])
    assert (net(x[:, order], time, condition, own[:, order]) - net(x, time, condition, own)[:, order]).abs().max() > 0.1
    torch.nn.init.zeros_(net.place)
    told = net(x[:, order], time, condition, own[:, order])
    torch.testing.assert_close(told, net(x, time, condition, own)[:, order], atol=1e-5, rtol=1e-4)


def test_every_weight_of_the_transformer_learns():
    net = steered()
    net(*asked()).square().sum().backward()
    assert [name for name, weight in net.named_parameters() if weight.grad is None or not weight.grad.any()] == []


def test_the_clock_shows_sines_and_cosines_of_rising_frequency():
    face = clock_face(torch.tensor([0.0, 0.5], dtype=torch.float64), 6)
    assert face[0].tolist() == [0, 0, 0, 1, 1, 1]
    want = [f(0.5 * turns) for f in (math.sin, math.cos) for turns in (1, 10, 100)]
    assert face[1].tolist() == pytest.approx(want, abs=1e-9)


@pytest.mark.parametrize("block", [1, 2])
def test_every_pixel_gets_the_logits_of_its_labels(block):
    net = UNet(labels=4, width=16, block=block)
    logits, inside = net.both(torch.rand(3, 32, 24))
    assert logits.shape == (3, 4, 32, 24)
    assert inside.shape == (3, 64)


@pytest.mark.parametrize("block", [1, 2])
def test_a_disk_is_outlined_after_a_few_steps_pixel_by_pixel(block):
    torch.manual_seed(8)
    rows, columns = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    centres = 10 + 12 * torch.rand(8, 2)
    radii = 4 + 3 * torch.rand(8, 1, 1)
    truth = torch.hypot(rows - centres[:, :1, None], columns - centres[:, 1:, None]) < radii
    pictures = truth + 0.2 * torch.randn(8, 32, 32)
    net = UNet(labels=2, width=16, block=block)
    optimiser = torch.optim.Adam(net.parameters(), 5e-3)
    for _ in range(30):
        optimiser.zero_grad()
        F.cross_entropy(net(pictures), truth.long()).backward()
        optimiser.step()
    found = net(pictures).argmax(1) == 1
    assert (2 * (found & truth).sum() / (found.sum() + truth.sum())).item() > 0.9
