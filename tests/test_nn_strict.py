"""Names and shapes agree, or an error says which do not."""

import pytest
import torch

from stethos.errors import WeightsError
from stethos.nn.strict import refuse_misfit


def test_equal_names_and_shapes_pass():
    refuse_misfit({"a": torch.zeros(2)}, {"a": torch.ones(2)}, "here")


def test_every_kind_of_misfit_is_told_in_one_sentence():
    needed = {"a": torch.zeros(2), "b": torch.zeros(2, 3)}
    found = {"b": torch.zeros(3, 2), "c": torch.zeros(1)}
    with pytest.raises(WeightsError) as caught:
        refuse_misfit(needed, found, "model.safetensors")
    assert str(caught.value) == (
        "model.safetensors: the tensors do not fit this network "
        "(missing: a; unexpected: c; of another shape: b is (3, 2), needed (2, 3)); "
        "load them into the network that they were saved from"
    )


def test_a_long_list_is_cut_and_counted():
    with pytest.raises(WeightsError, match="w00, w01, w02, w03, w04, w05, w06, w07 and 12 more"):
        refuse_misfit({f"w{i:02}": torch.zeros(1) for i in range(20)}, {}, "here")
