"""Weights to start from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from stethos.errors import RecipeError
from stethos.nn.net1d import Net1d


def starting_net(began: Path, widths: Sequence[int], blocks: Sequence[int], of_run: Callable[[Path], Net1d]) -> Net1d:
    """The network of a run, or of an ECGFounder checkpoint, if it has the shape that is asked for.

    Args:
        began: Folder of a run, or a checkpoint (.pth).
        widths: Channels of each stage.
        blocks: Residual blocks of each stage.
        of_run: Takes the network out of a run's folder.

    Raises:
        RecipeError: It has another shape.
        WeightsError: The file is no such checkpoint.
    """
    net = of_run(began) if began.is_dir() else Net1d.from_ecgfounder(began)
    if (net.channels, net.widths, net.blocks) != (1, tuple(widths), tuple(blocks)):
        raise RecipeError(
            f"{began} holds a network of {net.channels} leads, widths {net.widths} and blocks {net.blocks}; "
            f"the recipe asks for 1 lead, {tuple(widths)} and {tuple(blocks)}: make them agree"
        )
    return net
