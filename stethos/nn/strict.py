"""Tensors either fit a network, name by name and shape by shape, or they are refused."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from stethos.errors import WeightsError

_NAMED = 8


def refuse_misfit(needed: Mapping[str, Tensor], found: Mapping[str, Tensor], source: str) -> None:
    """Raise unless `found` has exactly the names and shapes of `needed`.

    Args:
        needed: A network's state, by name.
        found: What came, by name.
        source: Where it came from, for the message.

    Raises:
        WeightsError: A tensor is missing, unexpected or of another shape; the message names it.
    """
    shapes = [
        f"{name} is {tuple(found[name].shape)}, needed {tuple(needed[name].shape)}"
        for name in needed.keys() & found.keys()
        if found[name].shape != needed[name].shape
    ]
    faults = {
        "missing": sorted(needed.keys() - found.keys()),
        "unexpected": sorted(found.keys() - needed.keys()),
        "of another shape": sorted(shapes),
    }
    told = "; ".join(f"{kind}: {_listed(names)}" for kind, names in faults.items() if names)
    if told:
        raise WeightsError(
            f"{source}: the tensors do not fit this network ({told}); "
            "load them into the network that they were saved from"
        )


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
