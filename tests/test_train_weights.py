"""Weights come back as they were, whole, or not at all."""

import errno
import hashlib
from pathlib import Path

import pytest
import torch
from torch import nn

from stethos.errors import FormatError, WeightsError
from stethos.train.weights import load_weights, save_weights, sha256


def network(width: int = 3) -> nn.Module:
    return nn.Sequential(nn.Linear(2, width), nn.BatchNorm1d(width))


def test_weights_and_buffers_survive_a_round_trip_to_the_bit(tmp_path: Path):
    source, target = network(), network()
    source(torch.randn(8, 2))  # moves the running mean
    save_weights(source, tmp_path / "model.safetensors", {"system": "pocket_k"})
    assert load_weights(target, tmp_path / "model.safetensors") == {"system": "pocket_k"}
    assert source.state_dict().keys() == target.state_dict().keys()
    assert all(torch.equal(source.state_dict()[name], tensor) for name, tensor in target.state_dict().items())


def test_tied_weights_stay_tied(tmp_path: Path):
    def tied() -> nn.Module:
        net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        net[1].weight = net[0].weight
        return net

    source, target = tied(), tied()
    save_weights(source, tmp_path / "tied.safetensors")
    load_weights(target, tmp_path / "tied.safetensors")
    assert target[1].weight is target[0].weight
    assert torch.equal(target[0].weight, source[0].weight)


def test_a_network_of_another_shape_is_refused_and_left_as_it_was(tmp_path: Path):
    save_weights(network(3), tmp_path / "model.safetensors")
    other = network(4)
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    with pytest.raises(WeightsError, match=r"0\.weight is \(3, 2\), needed \(4, 2\)"):
        load_weights(other, tmp_path / "model.safetensors")
    assert all(torch.equal(before[name], tensor) for name, tensor in other.state_dict().items())


def test_missing_and_unexpected_tensors_are_named(tmp_path: Path):
    save_weights(nn.Sequential(nn.Linear(2, 3), nn.Identity(), nn.Linear(3, 1)), tmp_path / "m.safetensors")
    with pytest.raises(WeightsError, match=r"missing: 1\.bias.*unexpected: 2\.bias, 2\.weight"):
        load_weights(network(), tmp_path / "m.safetensors")


@pytest.mark.parametrize("kept", [0, 4, 60, -1])
def test_a_truncated_file_is_refused(tmp_path: Path, kept: int):
    path = tmp_path / "model.safetensors"
    save_weights(network(), path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(WeightsError, match="complete safetensors file"):
        load_weights(network(), path)


def test_a_file_that_is_not_there_is_told(tmp_path: Path):
    with pytest.raises(WeightsError, match="nowhere"):
        load_weights(network(), tmp_path / "nowhere.safetensors")


def test_a_full_disk_leaves_the_old_weights_and_no_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "model.safetensors"
    save_weights(network(), path)
    old = path.read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(FormatError, match="the disk is full"):
        save_weights(network(), path)
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


def test_the_same_weights_make_the_same_file(tmp_path: Path):
    net, metadata = network(), {name: name for name in "abcdefgh"}
    for name in ("one", "two"):
        save_weights(net, tmp_path / name, metadata)
    assert sha256(tmp_path / "one") == sha256(tmp_path / "two")
    save_weights(network(), tmp_path / "two", metadata)
    assert sha256(tmp_path / "one") != sha256(tmp_path / "two")


def test_the_short_hash_begins_the_sha256_of_the_file(tmp_path: Path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256(tmp_path / "abc") == hashlib.sha256(b"abc").hexdigest()[:16] == "ba7816bf8f01cfea"
