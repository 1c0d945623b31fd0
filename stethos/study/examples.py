"""What a detector's report shows of single recordings; kept among what is not shared."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stethos.explain.map import driving_region, occlude
from stethos.io.files import write_atomic
from stethos.nn.mel import LogMel, hertz_to_mel, mel_to_hertz
from stethos.report.spectrogram import Box, Clip
from stethos.signal.clip import RATE
from stethos.study.clips import Hearing
from stethos.study.detector import Detector
from stethos.study.listening import anomaly_of, words
from stethos.study.progress import bar
from stethos.types import Run

SHOWN = 3  # at each end
MAPPED = 60  # recordings of each machine and group in the map of embeddings


@dataclass(frozen=True, eq=False)
class Examples:
    """Recordings that a report shows.

    Args:
        pairs: A recording and the normal nearest to it, from the highest score to the lowest.
        centres: Of the mel bands, Hz.
        embedding: By the first network, `(N, D)`.
        machine: `(N,)`.
        group: 0 training, 1 normal test, 2 anomalous test, `(N,)`.
    """

    pairs: tuple[tuple[Clip, Clip | None], ...]
    centres: np.ndarray
    embedding: np.ndarray
    machine: np.ndarray
    group: np.ndarray


def keep_examples(hearing: Hearing, detector: Detector, score: np.ndarray, embedding: np.ndarray) -> None:
    """Find the recordings of a report, explain them, and keep them with the run.

    Args:
        hearing: The recordings.
        detector: Speaks of them.
        score: Of every recording, NaN where it was not tested, `(N,)`.
        embedding: Of every recording by the first network, `(N, D)`.
    """
    tested = hearing.parts["internal"]
    order = tested[np.argsort(-score[tested])]
    ends = list(dict.fromkeys([*order[:SHOWN].tolist(), *order[-SHOWN:].tolist()]))
    pairs = []
    with bar("explaining") as progress:
        for count, row in enumerate(ends, start=1):
            pairs.append(_pair(hearing, detector, score, embedding, row))
            progress(count, len(ends))
    rows, group = _mapped(hearing)
    machine = words(hearing.cohort, "machine")[rows]
    mel = LogMel()
    low, high = hertz_to_mel(np.array([0, RATE / 2]))
    centres = mel_to_hertz(np.linspace(low, high, mel.bands + 2))[1:-1]
    _save(hearing.run, Examples(tuple(pairs), centres, embedding[rows], machine, group))


def _pair(
    hearing: Hearing, detector: Detector, score: np.ndarray, embedding: np.ndarray, row: int
) -> tuple[Clip, Clip]:
    own = hearing.parts["train"][hearing.classes.machine[hearing.parts["train"]] == hearing.classes.machine[row]]
    nearest = int(own[np.argmin(np.linalg.norm(embedding[own] - embedding[row], axis=1))])
    window, name = first_window(hearing, row), detector.memory.machines[hearing.classes.machine[row]]

    def speak(waves: np.ndarray) -> np.ndarray:
        return detector.scores_of(waves, name)

    region = driving_region(occlude(speak, window, RATE, usual=detector.memory.usual[name]))
    box = None if region is None else (region.low, region.high, region.start, region.stop)
    return _clip(hearing, row, score[row], box), _clip(
        hearing, nearest, float(speak(_window(hearing, nearest))[0]), None
    )


def _window(hearing: Hearing, row: int) -> np.ndarray:
    return first_window(hearing, row)[None]


def first_window(hearing: Hearing, row: int) -> np.ndarray:
    """The first window of a recording, `(1, T)`."""
    return hearing.prepared.store[int(np.flatnonzero(hearing.prepared.window_record == row)[0])].copy()


def _clip(hearing: Hearing, row: int, score: float, region: Box | None) -> Clip:
    import torch

    mel = LogMel()(torch.from_numpy(_window(hearing, row).copy()))[0].numpy()
    people = hearing.cohort
    truth = 0.0 if words(people, "split")[row] == "train" else float(anomaly_of(people)[row])
    seconds = hearing.prepared.store.shape[-1] / RATE
    machine, section = (words(people, name)[row] for name in ("machine", "section"))
    return Clip(mel, seconds, float(score), truth, str(machine), str(section), region)


def _mapped(hearing: Hearing) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the map of embeddings, and the group of each; a machine of one recording has no map."""
    anomaly, machine, tested = anomaly_of(hearing.cohort), hearing.column("machine"), hearing.parts["internal"]
    groups = (hearing.parts["train"], tested[anomaly[tested] == 0], tested[anomaly[tested] == 1])
    rows, group = [], []
    for kind, part in enumerate(groups):
        for name in np.unique(machine[part]):
            chosen = np.random.default_rng(kind).permutation(part[machine[part] == name])[:MAPPED]
            rows.append(chosen)
            group.append(np.full(len(chosen), kind))
    every, kinds = np.concatenate(rows), np.concatenate(group)
    _, member, count = np.unique(machine[every], return_inverse=True, return_counts=True)
    order = np.argsort(member, kind="stable")
    order = order[count[member[order]] > 1]
    return every[order], kinds[order]


def _save(run: Run, found: Examples) -> None:
    arrays: dict[str, Any] = {name: getattr(found, name) for name in ("centres", "machine", "group")}
    arrays["embedding"] = found.embedding.astype(np.float32)
    for number, pair in enumerate(found.pairs):
        for side, clip in zip("ab", pair, strict=True):
            if clip is not None:
                key = f"{number}{side}"
                arrays[f"mel-{key}"] = clip.mel_db.astype(np.float16)
                arrays[f"numbers-{key}"] = np.array([clip.seconds, clip.score, clip.truth])
                arrays[f"words-{key}"] = np.array([clip.machine, clip.section])
                arrays[f"region-{key}"] = np.array(clip.region or ())
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_atomic(run.private / "examples.npz", buffer.getvalue())


def load_examples(run: Run) -> Examples | None:
    """What `keep_examples` kept; None where the run holds nothing of the kind."""
    path = run.private / "examples.npz"
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as file:
        count = sum(name.startswith("mel-") and name.endswith("a") for name in file.files)
        pairs = tuple((_kept(file, f"{k}a"), _kept(file, f"{k}b")) for k in range(count))
        return Examples(pairs, *(file[name] for name in ("centres", "embedding", "machine", "group")))


def _kept(file: Any, key: str) -> Clip:
    seconds, score, truth = file[f"numbers-{key}"].tolist()
    machine, section = file[f"words-{key}"].tolist()
    region: Sequence[float] = file[f"region-{key}"].tolist()
    box = (region[0], region[1], region[2], region[3]) if region else None
    return Clip(file[f"mel-{key}"].astype(np.float64), seconds, score, truth, machine, section, box)
