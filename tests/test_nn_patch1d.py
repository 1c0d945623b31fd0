"""Patches become tokens, and the published form keeps its size and its blindness to order."""

import pytest
import torch

from stethos.errors import RecipeError
from stethos.nn.attention import PatchPool, places
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
