"""A run's networks as the HEAR benchmark asks for them: three functions, and a model with three attributes.

    audio (n, T) at 16 kHz ─┬─ windows as in training ──── networks ── mean over windows ─► scene (n, D)
                            └─ windows centred every 50 ms ─ networks ─────────────────────► timestamps (n, t, D)

D is the width of all the run's networks, end to end. Nothing is judged and nothing refused: silence has an embedding
here, while a detector takes it for a broken microphone.

Reference:
    Turian et al. 2022, arXiv:2203.03022; https://hearbenchmark.com/hear-api.html.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from stethos.errors import FormatError, RunError
from stethos.signal.clip import RATE
from stethos.study.detector import Detector
from stethos.systems import load

SECOND = round(RATE)  # samples; a window around a timestamp, where the networks hear any length
CHUNK = 32  # windows at a time


class HearModel(nn.Module):
    """The networks of a detector, with the attributes that HEAR reads.

    `sample_rate` is in Hz; `scene_embedding_size` and `timestamp_embedding_size` are D.

    Args:
        detector: Of a finished run.
    """

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.members, self.windows = detector.members, detector.windows
        self.sample_rate = round(RATE)
        self.scene_embedding_size = sum(item.shape[1] for item in detector.memory.embedding)
        self.timestamp_embedding_size = self.scene_embedding_size

    @property
    def around(self) -> int:
        """Samples that are heard around a timestamp.

        A second, which says better when something happened than the windows of the training do; those, where they
        are shorter, or where a network hears no other length.
        """
        recipes = [cast(Any, member).recipe for member in self.members]
        fixed = any(getattr(recipe, "fixed", False) for recipe in recipes)
        return self.windows.samples if fixed else min(SECOND, self.windows.samples)

    def forward(self, windows: np.ndarray) -> Tensor:
        """Windows `(W, 1, T)` to embeddings, the networks' end to end, `(W, D)` float32."""
        device = next(self.parameters()).device
        with torch.no_grad():  # not inference_mode: what learns from the embeddings keeps them for its gradient
            parts = [torch.from_numpy(windows[i : i + CHUNK]).to(device) for i in range(0, len(windows), CHUNK)]
            heard = [torch.cat([cast(Any, member).embed(part) for member in self.members], dim=1) for part in parts]
        return torch.cat(heard).float()


def load_model(model_file_path: str = "") -> HearModel:
    """The networks of a run of anomalous sound.

    Args:
        model_file_path: Folder of the run; HEAR calls it a file.

    Raises:
        RunError: The folder is no run, its training has not finished, or it does not listen to sounds.
    """
    if not model_file_path:
        raise RunError("needs the folder of a run; got none: give it as model_file_path")
    model = load(model_file_path)
    if not isinstance(model, Detector):
        raise RunError(f"{model_file_path} does not listen to sounds; give a run of os-scl or highband-cl")
    return HearModel(model).eval()


def get_scene_embeddings(audio: Tensor, model: HearModel) -> Tensor:
    """One embedding a sound, `(n, D)` float32: the mean over windows cut as in training.

    Args:
        audio: n sounds of one length at `model.sample_rate`, mono, −1 to 1, `(n, T)`.
        model: From `load_model`.

    Raises:
        FormatError: The audio has another shape, no samples, or whole numbers.
    """
    windows = [model.windows.cut(sound) for sound in _sounds(audio)]  # (W, 1, T) each
    every = model(np.concatenate(windows))
    return every.unflatten(0, (len(windows), -1)).mean(1).to(audio.device)


def get_timestamp_embeddings(audio: Tensor, model: HearModel, hop_ms: float = 50.0) -> tuple[Tensor, Tensor]:
    """Embeddings at regular intervals, `(n, t, D)` float32, and what time each is centred on, `(n, t)` milliseconds.

    The first is centred on the first sample. Beyond its ends a sound is mirrored.

    Args:
        audio: n sounds of one length at `model.sample_rate`, mono, −1 to 1, `(n, T)`.
        model: From `load_model`.
        hop_ms: From one timestamp to the next; HEAR suggests at most 50.

    Raises:
        FormatError: The audio has another shape, no samples, or whole numbers, or the interval is not positive.
    """
    sounds = _sounds(audio)
    if not hop_ms > 0:
        raise FormatError(f"timestamps need a positive interval in milliseconds; got {hop_ms:g}")
    last = (sounds.shape[1] - 1) / RATE * 1000
    times = np.arange(int(last / hop_ms) + 1) * hop_ms  # (t,)
    centres = np.rint(times / 1000 * RATE).astype(np.int64)  # each rounded by itself: no drift in a long sound
    heard = torch.stack([_heard_around(sound, centres, model) for sound in sounds])
    stamps = torch.from_numpy(times).float().expand(len(sounds), -1)
    return heard.to(audio.device), stamps.to(audio.device)


def _heard_around(sound: np.ndarray, centres: np.ndarray, model: HearModel) -> Tensor:
    """Embeddings of the windows centred on samples of a sound, `(t, D)`."""
    size = model.around
    mirrored = np.pad(sound, (size // 2, size - size // 2), mode="symmetric")
    views = np.lib.stride_tricks.sliding_window_view(mirrored, size)  # begins half a window before each sample
    chunks = np.split(centres, range(CHUNK, len(centres), CHUNK))  # as many copies as fit, not all at once
    return torch.cat([model(model.windows.levelled(views[chunk])[:, None]) for chunk in chunks])


def _sounds(audio: Tensor) -> np.ndarray:
    """The sounds as float32 `(n, T)`.

    Raises:
        FormatError: The shape is another, there are no samples, or they are whole numbers.
    """
    if audio.ndim != 2 or not audio.numel() or not audio.is_floating_point():
        raise FormatError(
            f"needs sounds (n_sounds, n_samples) of floating-point samples from -1 to 1; got {audio.dtype} of shape "
            f"{tuple(audio.shape)}: scale them, and give one row a sound"
        )
    return audio.detach().cpu().float().numpy()
