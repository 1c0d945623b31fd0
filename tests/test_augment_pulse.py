"""What is hidden, and what another sensor would have shown."""

import torch

from stethos.augment import draws
from stethos.augment.blocks import hidden_blocks
from stethos.augment.pulse import as_seen_by


def test_the_share_that_is_hidden_is_the_share_asked_for_in_whole_blocks():
    u = draws.uniform(0, 0, torch.arange(2000), 3 + 1200 // 40)
    hidden = hidden_blocks(u, 1200, 40, 0.3)
    assert abs(float(hidden.float().mean()) - 0.3) < 0.01
    edges = (hidden[:, 1:] != hidden[:, :-1]).nonzero()
    shift = torch.floor(u[:, 0] * 40).long()
    assert ((edges[:, 1] + 1 + shift[edges[:, 0]]) % 40 == 0).all()


def test_blocks_begin_elsewhere_from_row_to_row():
    u = draws.uniform(0, 0, torch.arange(500), 3 + 1200 // 40)
    hidden = hidden_blocks(u, 1200, 40, 0.5)
    assert len((hidden[:, 1:] != hidden[:, :-1]).nonzero()[:, 1].unique()) > 1000


def test_blocks_of_one_sample_are_hidden_sample_by_sample():
    hidden = hidden_blocks(draws.uniform(0, 0, torch.arange(50), 1203), 1200, 1, 0.5).float()
    neighbours = torch.corrcoef(torch.stack([hidden[:, 1:].flatten(), hidden[:, :-1].flatten()]))[0, 1]
    assert abs(float(neighbours)) < 0.02


def recordings():
    time = torch.arange(1200) / 40
    wave = torch.sin(2 * torch.pi * 1.2 * time) * (1 + 0.3 * torch.sin(2 * torch.pi * 0.1 * time))
    x = torch.stack([wave, torch.ones(1200)]).repeat(4, 2, 1, 1)  # (B, P, 2, S)
    x[0, 1] = 0
    return x


def test_the_passes_differ_and_belong_to_the_row_and_the_step():
    x, rows = recordings(), torch.arange(4)
    first, second = as_seen_by(0, x, 0, 5, rows, 1.0), as_seen_by(1, x, 0, 5, rows, 1.0)
    assert not torch.equal(first, second)
    assert torch.equal(first[2:], as_seen_by(0, x[2:], 0, 5, rows[2:], 1.0))
    assert not torch.equal(first, as_seen_by(0, x, 0, 6, rows, 1.0))
    assert torch.equal(x, as_seen_by(0, x, 0, 5, rows, 0.0))


def test_what_was_not_recorded_stays_empty_and_validity_is_not_touched():
    x = recordings()
    seen = as_seen_by(0, x, 0, 0, torch.arange(4), 1.0)
    assert torch.equal(seen[:, :, 1], x[:, :, 1])
    assert (seen[0, 1] == 0).all()


def test_the_rates_of_heart_and_breath_are_where_they_were():
    x = recordings()
    seen = as_seen_by(0, x, 0, 0, torch.arange(4), 1.0)[1:, 0, 0]
    power = torch.fft.rfft(seen).abs()  # 30 s: a bin is 1/30 Hz
    assert (power[:, 1:].argmax(1) + 1 == 36).all()
    sides = power[:, [33, 39]] / power[:, [36]]
    assert ((sides > 0.1) & (sides < 0.2)).all()  # 0.15 each side, as drawn


def test_blocks_that_do_not_divide_a_patch_are_hidden_too():
    hidden = hidden_blocks(draws.uniform(0, 0, torch.arange(200), 3 + 1200 // 160), 1200, 160, 1.0)
    assert hidden.all()
