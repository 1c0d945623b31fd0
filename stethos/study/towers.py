"""The text tower of a recipe: what it is made of, how it reads, and how much of a text it has no word for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from stethos.augment import draws
from stethos.nn.text import Bag, Transformer, embedded, width_of
from stethos.study.progress import bar
from stethos.text.grams import hashed

BAG = "bag"
LOOKED_AT = 500  # texts, for the share of unknown tokens
HIDING = 7  # stream of the draws of what is hidden


@dataclass(frozen=True)
class TextTower:
    """A tower by its name.

    Args:
        name: "bag", "minilm", or the folder of a model.
        layers: Last layers of a language model that learn; 0 keeps it frozen.
    """

    name: str
    layers: int = 0

    @property
    def width(self) -> int:
        """Numbers in a row, without loading the model."""
        return width_of(self.name)

    def module(self) -> nn.Module:
        """What is part of the network: nothing where the tower is frozen, for then its rows are kept."""
        if self.name == BAG:
            return Bag(self.width)
        return Transformer(self.name, self.layers) if self.layers else nn.Identity()

    def read(self, texts: Sequence[str], cache: Path | None = None) -> Tensor:
        """Texts as the module takes them: places of runs or tokens `(N, L)`, or rows of a frozen model `(N, D)`.

        Args:
            texts: N of them.
            cache: File that keeps the rows of a frozen model.
        """
        if self.name == BAG:
            return torch.from_numpy(hashed(texts))
        tower = Transformer(self.name, self.layers)
        if self.layers:
            return tower.tokens(texts)
        with bar("reading") as progress:
            return torch.from_numpy(embedded(tower, texts, cache, progress))

    def unknown(self, texts: Sequence[str]) -> float:
        """Share of the tokens of some texts that a language model has no word for; 0 for a tower without words."""
        told = [text for text in texts if text][:LOOKED_AT]
        return 0.0 if self.name == BAG or not told else Transformer(self.name).unknown(told)


def partly(text: Tensor, seed: int, step: int, rows: Tensor, share: float) -> Tensor:
    """Tokens with some of them replaced by 0, which is none; the rows of a frozen tower as they are.

    Args:
        text: `(B, L)` whole numbers, or `(B, D)`.
        seed: Of the run.
        step: Of the training.
        rows: Place of each text in the whole step's batch, `(B,)`.
        share: Chance that a token is hidden.
    """
    if text.is_floating_point() or share == 0:
        return text
    return text.masked_fill(draws.uniform(seed, step, rows, text.shape[1], HIDING) < share, 0)
