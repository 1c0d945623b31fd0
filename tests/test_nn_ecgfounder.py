"""Files laid out as the published ECGFounder checkpoints are, with random weights."""

import logging
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from stethos.errors import WeightsError
from stethos.nn.ecgfounder import published_name, read_ecgfounder
from stethos.nn.net1d import Net1d

WIDTHS, BLOCKS = (16, 32), (2, 1)
BESIDE = {"epoch", "step", "optimizer", "scheduler", "val_auroc"}


def tiny_net(channels: int = 12, classes: int = 150) -> Net1d:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Net1d(channels, classes, WIDTHS, BLOCKS).eval()


def unused_norms() -> dict[str, Tensor]:
    """The batch norms that the published network defines and does not call."""
    places = ["first_bn"] + [
        f"stage_list.{s}.block_list.{b}.bn{n}"
        for s, blocks in enumerate(BLOCKS)
        for b in range(blocks)
        for n in (1, 2, 3)
    ]
    tensors = {}
    for place in places:
        for name in ("weight", "bias", "running_mean", "running_var"):
            tensors[f"{place}.{name}"] = torch.full((16,), 5.0)  # would be seen at once if it were applied
        tensors[f"{place}.num_batches_tracked"] = torch.tensor(0)
    return tensors


def published_state(net: Net1d) -> dict[str, Tensor]:
    live = {published_name(name): tensor for name, tensor in net.state_dict().items()}
    return {**live, **unused_norms()}


def write(path: Path, state: Mapping[str, Tensor]) -> Path:
    adam = torch.optim.Adam([torch.nn.Parameter(torch.zeros(2))])
    beside: dict[str, Any] = {"epoch": 7, "step": 1234, "optimizer": adam.state_dict()}
    beside |= {"scheduler": {"factor": 0.1, "best": 0.9}, "val_auroc": np.float64(0.93)}
    torch.save({"state_dict": dict(state), **beside}, path)
    return path


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write(tmp_path / "12_lead_ECGFounder.pth", published_state(tiny_net()))


def test_the_names_are_those_of_the_published_file():
    assert published_name("stem.bias") == "first_conv.conv.bias"
    assert published_name("stages.1.0.conv2.weight") == "stage_list.1.block_list.0.conv2.conv.weight"
    assert published_name("stages.6.3.squeeze.weight") == "stage_list.6.block_list.3.se_fc1.weight"
    assert published_name("stages.6.3.excite.bias") == "stage_list.6.block_list.3.se_fc2.bias"
    assert published_name("head.weight") == "dense.weight"


def test_a_published_checkpoint_becomes_the_network_that_wrote_it(checkpoint: Path):
    want, got = tiny_net(), Net1d.from_ecgfounder(checkpoint).eval()
    x = torch.randn(3, 12, 70, generator=torch.Generator().manual_seed(0))
    assert (got.channels, got.classes, got.widths, got.blocks) == (12, 150, WIDTHS, BLOCKS)
    assert torch.equal(got(x), want(x))


def test_its_weights_can_be_trained(checkpoint: Path):
    net = Net1d.from_ecgfounder(checkpoint, dropout=0.2, stochastic_depth=0.4).replace_head(1)
    net(torch.ones(2, 12, 70)).sum().backward()
    assert all(parameter.requires_grad and parameter.is_leaf for parameter in net.parameters())
    assert net.stages[1][0].skip == pytest.approx(0.4)
    assert net.stages[1][0].dropout == 0.2


def test_opening_a_checkpoint_draws_nothing(checkpoint: Path):
    before = torch.random.get_rng_state()
    Net1d.from_ecgfounder(checkpoint)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("channels", [1, 12])
def test_leads_are_read_from_the_tensors_and_not_from_the_name(tmp_path: Path, channels: int):
    path = write(tmp_path / "1_lead_ECGFounder.pth", published_state(tiny_net(channels, 4)))
    net = Net1d.from_ecgfounder(path)
    assert (net.channels, net.classes) == (channels, 4)


def test_what_is_left_behind_is_named(checkpoint: Path, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.DEBUG, logger="stethos"):
        found = read_ecgfounder(checkpoint)
    assert set(found.dropped) == BESIDE | unused_norms().keys()
    assert all(name in caplog.text for name in found.dropped)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_norms_that_have_seen_data_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    state = published_state(tiny_net()) | {"first_bn.num_batches_tracked": torch.tensor(100)}
    read_ecgfounder(write(tmp_path / "used.pth", state))
    assert "may have been trained with them" in caplog.text


def test_a_bare_state_dict_will_do(tmp_path: Path):
    torch.save(published_state(tiny_net()), tmp_path / "bare.pth")
    net = Net1d.from_ecgfounder(tmp_path / "bare.pth").eval()
    x = torch.ones(1, 12, 40)
    assert torch.equal(net(x), tiny_net()(x))
    assert set(read_ecgfounder(tmp_path / "bare.pth").dropped) == set(unused_norms())


def test_half_precision_weights_become_single(tmp_path: Path):
    half = {name: tensor.half() for name, tensor in published_state(tiny_net()).items()}
    net = Net1d.from_ecgfounder(write(tmp_path / "half.pth", half))
    assert {parameter.dtype for parameter in net.parameters()} == {torch.float32}


def test_the_number_that_numpy_1_pickled_is_read(checkpoint: Path, tmp_path: Path):
    old = tmp_path / "numpy1.pth"
    with zipfile.ZipFile(checkpoint) as source, zipfile.ZipFile(old, "w") as target:
        for entry in source.namelist():
            content = source.read(entry)
            target.writestr(entry, content.replace(b"cnumpy._core.multiarray", b"cnumpy.core.multiarray"))
    assert b"cnumpy.core.multiarray" in old.read_bytes()
    assert Net1d.from_ecgfounder(old).channels == 12


class _Payload:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def test_code_in_the_file_is_refused_and_not_run(tmp_path: Path):
    path, mark = tmp_path / "evil.pth", tmp_path / "ran"
    torch.save({"state_dict": published_state(tiny_net()), "val_auroc": _Payload(mark)}, path)
    with pytest.raises(WeightsError, match="other than tensors and numbers, so it was not opened"):
        Net1d.from_ecgfounder(path)
    assert not mark.exists()


@pytest.mark.parametrize(
    "name",
    [
        "dense.weight",
        "dense.bias",
        "first_conv.conv.weight",
        "stage_list.0.block_list.0.conv1.conv.weight",
        "stage_list.0.block_list.1.se_fc2.bias",
        "stage_list.1.block_list.0.conv2.conv.weight",
    ],
)
def test_a_missing_tensor_is_named(tmp_path: Path, name: str):
    state = published_state(tiny_net())
    del state[name]
    with pytest.raises(WeightsError, match=name.replace(".", r"\.")):
        Net1d.from_ecgfounder(write(tmp_path / "missing.pth", state))


def test_an_unexpected_and_a_misshapen_tensor_are_named(tmp_path: Path):
    state = published_state(tiny_net()) | {"stage_list.0.extra": torch.zeros(1), "dense.bias": torch.zeros(3)}
    with pytest.raises(WeightsError, match=r"stage_list\.0\.extra.*dense\.bias is \(3,\), needed \(150,\)"):
        Net1d.from_ecgfounder(write(tmp_path / "odd.pth", state))


def test_another_network_with_such_names_is_refused(tmp_path: Path):
    state = published_state(tiny_net())
    state["stage_list.0.block_list.0.conv1.conv.weight"] = torch.zeros(17, 16, 1)
    with pytest.raises(WeightsError, match="another architecture"):
        Net1d.from_ecgfounder(write(tmp_path / "other.pth", state))


@pytest.mark.parametrize(
    "content",
    [{"state_dict": {"fc.weight": torch.zeros(1)}}, {"epoch": 3}, [torch.zeros(1)], torch.zeros(2), {}],
)
def test_a_file_that_holds_no_such_network_is_refused(tmp_path: Path, content: Any):
    torch.save(content, tmp_path / "else.pth")
    with pytest.raises(WeightsError, match="use the published file"):
        Net1d.from_ecgfounder(tmp_path / "else.pth")


@pytest.mark.parametrize("kept", [0, 1, 100, 3000, -100])
def test_a_damaged_file_is_refused(checkpoint: Path, tmp_path: Path, kept: int):
    short = tmp_path / "short.pth"
    short.write_bytes(checkpoint.read_bytes()[:kept])
    with pytest.raises(WeightsError, match=r"short\.pth"):
        Net1d.from_ecgfounder(short)


def test_a_file_that_is_not_there_is_told(tmp_path: Path):
    with pytest.raises(WeightsError, match="No such file"):
        Net1d.from_ecgfounder(tmp_path / "nowhere.pth")
