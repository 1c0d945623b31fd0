"""Patches become tokens, and the published form keeps its size and its blindness to order."""

import numpy as np
import pytest
import torch

from stethos.errors import RecipeError
from stethos.nn.attention import PatchPool, Swing, places
from stethos.nn.patch1d import PatchShape, SampleEncoder, TokenEncoder, pooled, token_valid

SMALL = PatchShape(samples=240, token=40, width=32, heads=4, layers=2, feedforward=64)


def patches(count, samples=240, seed=0):
    return torch.randn(count, samples, generator=torch.Generator().manual_seed(seed))


def everywhere(x):
    return torch.ones_like(x, dtype=torch.bool)


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return TokenEncoder(SMALL).eval()


def test_a_patch_becomes_one_token_a_stretch(encoder):
    x = patches(3)
    tokens, there = encoder(x, everywhere(x))
    assert tokens.shape == (3, 6, 32)
    assert there.all()


def test_the_published_encoder_has_the_published_size():
    with torch.device("meta"):
        net = SampleEncoder(PatchShape(1000, 1, 256, 4, 3, 2048))
    assert round(sum(weight.numel() for weight in net.parameters()) / 1e6, 3) == 3.954
    stem = [*net.stem.parameters(), *net.norm.parameters()]
    assert 7_000 < sum(weight.numel() for weight in stem) < 8_500


def test_what_is_not_valid_or_hidden_is_never_read(encoder):
    x, other = patches(2), patches(2, seed=1)
    valid = everywhere(x)
    valid[:, 200:] = False
    hidden = torch.zeros_like(valid)
    hidden[:, 80:120] = True
    mixed = torch.where(valid & ~hidden, x, other)
    assert torch.equal(encoder(x, valid, hidden)[0], encoder(mixed, valid, hidden)[0])
    assert not torch.equal(encoder(x, valid)[0], encoder(mixed, valid)[0])


def test_a_gap_is_not_the_value_zero(encoder):
    x = patches(1)
    x[:, 80:120] = 0
    gap = everywhere(x)
    gap[:, 80:120] = False
    assert not torch.allclose(encoder(x, everywhere(x))[0], encoder(x, gap)[0])


def test_the_stem_is_four_convolutions_side_by_side(encoder):
    two = torch.randn(2, 2, 240, generator=torch.Generator().manual_seed(3))
    apart = torch.cat([branch(two)[..., : 240 // encoder.stride] for branch in encoder.stem], dim=1).transpose(1, 2)
    assert torch.allclose(encoder._waves(two), apart, atol=1e-5)


def test_a_patch_without_anything_gives_finite_tokens_and_a_row_of_zeros():
    x = patches(2)
    valid = everywhere(x)
    valid[1] = False
    for net in (TokenEncoder(SMALL), SampleEncoder(PatchShape(240, 1, 32, 4, 1, 64))):
        tokens, there = net(x, valid)
        assert torch.isfinite(tokens).all()
        row = pooled(tokens, there)
        assert torch.equal(row[1], torch.zeros(32))
        row.sum().backward()
        assert all(torch.isfinite(weight.grad).all() for weight in net.parameters() if weight.grad is not None)


def test_without_places_the_mean_of_a_patch_does_not_know_the_order_of_its_tokens():
    x = patches(1)
    halves = torch.cat([x[:, 120:], x[:, :120]], dim=1)
    for positions in (False, True):
        torch.manual_seed(0)
        net = TokenEncoder(PatchShape(240, 40, 32, 4, 2, 64), positions).eval()
        for branch in net.stem:  # a stem that sees one token at a time
            middle = torch.zeros(branch.kernel_size[0])
            middle[branch.kernel_size[0] // 2] = 9
            branch.weight.data *= middle
        if positions:
            torch.nn.init.normal_(net.place)  # as after some training
        rows = [pooled(*net(each, everywhere(each))) for each in (x, halves)]
        assert torch.allclose(*rows, atol=1e-5) is not positions


def test_a_token_is_valid_where_any_of_its_samples_is():
    valid = torch.zeros(1, 8, dtype=torch.bool)
    valid[0, 3] = True
    assert token_valid(valid, 4).tolist() == [[True, False]]


def test_a_shape_that_cannot_be_built_is_refused():
    with pytest.raises(RecipeError, match="patches of 250 samples and tokens of 40"):
        PatchShape(250, 40, 32, 4, 2, 64)


def test_swapped_halves_change_the_row_of_a_recording_only_with_places():
    h = torch.randn(2, 6, 32, generator=torch.Generator().manual_seed(0))
    swapped = torch.cat([h[:, 3:], h[:, :3]], dim=1)
    there = torch.ones(2, 6, dtype=torch.bool)
    for positions in (False, True):
        torch.manual_seed(0)
        pool = PatchPool(32, 4, 16, positions).eval()
        difference = (pool(h, there) - pool(swapped, there)).abs().max()
        assert (difference > 1e-4) == positions


def test_a_patch_that_holds_nothing_gets_no_attention_and_changes_nothing():
    torch.manual_seed(0)
    pool = PatchPool(32, 4, 16).eval()
    h = torch.randn(1, 5, 32)
    there = torch.tensor([[True, True, False, True, False]])
    other = torch.where(there[..., None], h, 9.0)
    assert torch.allclose(pool(h, there), pool(other, there), atol=1e-6)
    weights = pool.weights(h, there).detach()
    assert weights[0, ~there[0]].abs().max() == 0
    assert 0 < float(weights.sum()) < 1  # the rest is the question's own


def test_places_are_unlike_one_another_over_a_day():
    told = places(2880, 32)
    assert torch.cdist(told, told).fill_diagonal_(9).min() > 1e-2


def swaying(per_minute, phase=0.0):
    """Tokens of a second, one trace of which swings."""
    time = torch.arange(30.0)
    tokens = torch.zeros(1, 30, 8)
    tokens[0, :, 2] = torch.sin(2 * torch.pi * per_minute / 60 * time + phase)
    return tokens


@pytest.fixture
def swing():
    torch.manual_seed(0)
    return Swing(30, 8, 4)


def test_a_swing_is_known_by_its_rate_and_not_by_its_beginning(swing):
    there = torch.ones(1, 30, dtype=torch.bool)
    rows = [swing(swaying(rate, phase), there) for rate, phase in ((12, 0.0), (12, 1.0), (18, 0.0))]
    assert (rows[0] - rows[1]).norm() < 0.2 * (rows[0] - rows[2]).norm()


def test_the_power_of_a_swing_is_at_its_own_rate(swing):
    seen = swaying(14) @ torch.eye(8)[:, 2:3]
    both = seen.transpose(1, 2) @ swing.wave
    power = both[..., :15].square() + both[..., 15:].square()
    assert int(power.argmax()) + 1 == 7  # 14/min are 7 turns in 30 s
    windowed = (seen[0, :, 0] * torch.hann_window(31)[1:]).numpy()
    assert torch.allclose(power[0, 0], torch.from_numpy(abs(np.fft.rfft(windowed)[1:]) ** 2).float(), atol=1e-4)


def test_a_level_is_no_swing_and_what_is_not_there_does_not_count(swing):
    there = torch.ones(1, 30, dtype=torch.bool)
    assert torch.allclose(swing(swaying(12), there), swing(swaying(12) + 5, there), atol=1e-4)
    there[0, 20:] = False
    other = torch.where(there[..., None], swaying(12), 7.0)
    assert torch.allclose(swing(swaying(12), there), swing(other, there), atol=1e-4)
    none = swing(swaying(12), torch.zeros_like(there))
    assert torch.allclose(none, swing.out.bias)
