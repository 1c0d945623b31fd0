"""One sound through the detector of this folder: `python run.py fan.wav --machine fan/id_00`, one JSON line.

Needs numpy and onnxruntime alone. Reads 16-bit PCM. A score below the threshold is no proof that a machine is in
order: it sounds as its normals did.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import wave
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

LEVEL_DBFS = -30.0  # where "rms" puts each window
SILENCE = 1e-5  # of full scale
FULL_SCALE, CLIPPED = 0.999, 0.2  # a sample at full scale; the share of those that is too many
REST = 0.1  # of a window: what is left over at the end and is shorter is not heard
LARGEST, MAX_PPM = 500, 20.0  # number in a fraction of rates; how far that may be off
STOPBAND_DB, TRANSITION = 80.0, 0.2
_ROWS = 4096  # samples made at a time


class RefusedError(Exception):
    """What was needed, what came, what to do."""


class Graphs(NamedTuple):
    """A folder, opened.

    Args:
        score: "x" `(B, 1, T)` → "embedding" `(B, D)`, "score" `(B, M)`.
        judge: "embedding" `(B, D)` → "score" `(B, M)`.
        facts: Of the metadata.
    """

    score: Any
    judge: Any
    facts: dict[str, Any]


def main(arguments: list[str] | None = None) -> int:
    """Print what the detector says; 2 where the recording cannot be read or must not be judged by this model."""
    asked = _parser().parse_args(arguments)
    try:
        print(json.dumps(answer(Path(__file__).parent, asked), ensure_ascii=False))
    except RefusedError as error:
        print(f"run.py: {error}", file=sys.stderr)
        return 2
    return 0


def answer(folder: Path, asked: argparse.Namespace) -> dict[str, Any]:
    """What the detector of a folder says of one recording, as plain values."""
    graphs = opened(folder)
    place = _machine(graphs.facts, asked.machine)
    synthetic = graphs.facts["origin"] != "real"
    if synthetic and not (asked.synthetic or asked.allow_synthetic_model):
        raise RefusedError(
            "a model trained on a simulated factory does not judge a real machine; say --synthetic if the recording is "
            "simulated too, or pass --allow-synthetic-model to see what it says all the same"
        )
    machine = graphs.facts["machines"][place]
    told = {"file": str(asked.file), "machine": machine["name"], "model": graphs.facts["model"][:16]}
    if synthetic:
        told["warning"] = "the model was trained on a simulated factory"
    sound, rate = read(asked.file, graphs.facts["channel"])
    try:
        windows = prepared(sound, rate, graphs.facts)
    except RefusedError as error:
        return told | {"score": None, "decision": "abstain", "reason": str(error)}
    score, threshold = float(scores(graphs, windows)[place]), machine["threshold"]
    decision = "above threshold" if score > threshold else "below threshold"
    return told | {"score": score, "threshold": threshold, "decision": decision, "windows": len(windows)}


def opened(folder: Path) -> Graphs:
    """The graphs of a folder.

    Raises:
        RefusedError: A file is missing, or the files are of two exports.
    """
    score, judge = (_session(folder / f"{name}.onnx") for name in ("score", "judge"))
    facts, others = (json.loads(one.get_modelmeta().custom_metadata_map["stethos"]) for one in (score, judge))
    if facts != others:
        raise RefusedError(f"{folder} mixes files of two exports; export the run again")
    return Graphs(score, judge, facts)


def scores(graphs: Graphs, windows: np.ndarray) -> np.ndarray:
    """Windows of one recording `(W, 1, T)` to its score by each machine, `(M,)`: their mean embedding is judged."""
    heard = [graphs.score.run(["embedding"], {"x": window[None]})[0] for window in windows]  # (1, D) each
    mean = np.mean(np.concatenate(heard), axis=0, dtype=np.float64, keepdims=True).astype(np.float32)
    return graphs.judge.run(["score"], {"embedding": mean})[0][0]


def read(path: Path, channel: str) -> tuple[np.ndarray, float]:
    """One channel of a WAV in fractions of full scale `(T,)` float32, and its rate in Hz.

    Raises:
        RefusedError: It is no 16-bit PCM, or has no such channel.
    """
    try:
        with wave.open(str(path), "rb") as file:
            width, count, rate = file.getsampwidth(), file.getnchannels(), file.getframerate()
            frames = file.readframes(file.getnframes())
    except (OSError, EOFError, wave.Error) as error:
        raise RefusedError(f"{path} needs to be a WAV of 16-bit PCM, and cannot be read: {error}") from None
    if width != 2:
        raise RefusedError(f"{path} needs 16-bit samples and has {8 * width}-bit ones; convert it")
    if not channel.isdecimal() or not 1 <= int(channel) <= count:
        raise RefusedError(f"{path} needs a channel {channel!r} and has {count}; record that one")
    values = np.frombuffer(frames[: len(frames) // (2 * count) * 2 * count], "<i2").reshape(-1, count)
    return values[:, int(channel) - 1].astype(np.float32) / np.float32(32768), float(rate)


def prepared(sound: np.ndarray, rate: float, facts: Mapping[str, Any]) -> np.ndarray:
    """One channel to the windows that the networks read, `(W, 1, T)` float32.

    Args:
        sound: In fractions of full scale, `(T,)` float32.
        rate: Of it, Hz.
        facts: "rate", "samples" and "level" of the export.

    Raises:
        RefusedError: There is no sound in it, more than a fifth of it is clipped, or its rate leads nowhere.
    """
    _refuse_unusable(sound)
    values = _resampled(sound, rate, facts["rate"])
    length = facts["samples"]
    windows = np.stack([np.resize(values[start:], length) for start in _starts(len(values), length)])
    if facts["level"] == "rms":
        power = np.sqrt(np.mean(windows**2, axis=1, keepdims=True))
        windows = windows * (10 ** (LEVEL_DBFS / 20) / np.maximum(power, SILENCE))
    return windows[:, None].astype(np.float32)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="run.py", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("file", type=Path, help="a WAV of 16-bit PCM")
    parser.add_argument("--machine", default="", help="machine and section; needless where one is known only")
    parser.add_argument("--synthetic", action="store_true", help="the recording is simulated")
    parser.add_argument("--allow-synthetic-model", action="store_true", help="let a simulated factory judge a machine")
    return parser


def _session(path: Path) -> Any:
    import onnxruntime

    if not path.is_file():
        raise RefusedError(f"{path} is missing; copy the whole folder of the export")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _machine(facts: Mapping[str, Any], name: str) -> int:
    known = [machine["name"] for machine in facts["machines"]]
    if not name and len(known) == 1:
        return 0
    if name not in known:
        raise RefusedError(
            f"needs one of the machines {', '.join(known)}; got {name or 'none'}: name it with --machine"
        )
    return known.index(name)


def _refuse_unusable(sound: np.ndarray) -> None:
    if not len(sound):
        raise RefusedError("a clip needs samples; it has none")
    if np.ptp(sound) < 2 * SILENCE:
        raise RefusedError("a clip needs sound, and all its samples are the same; look at the microphone")
    clipped = float(np.mean(np.abs(sound) >= FULL_SCALE))
    if clipped > CLIPPED:
        raise RefusedError(f"{clipped:.0%} of the samples are at full scale (clipped); lower the gain and record again")


def _starts(count: int, length: int) -> list[int]:
    """First sample of every window of a recording of `count` samples."""
    whole = count // length
    rest = count - whole * length
    starts = [number * length for number in range(max(whole, 1))]
    return [*starts, count - length] if whole and rest > REST * length else starts


def _resampled(values: np.ndarray, rate: float, target: float) -> np.ndarray:
    """At another rate, through one fraction and a polyphase filter; the ends are held, `(T,)` float32."""
    if rate == target:
        return values
    small = Fraction(min(rate, target) / max(rate, target)).limit_denominator(LARGEST)
    up, down = (small.numerator, small.denominator)[:: 1 if target <= rate else -1]
    if not small or abs(rate * up / (down * target) - 1) * 1e6 > MAX_PPM:
        raise RefusedError(f"no small fraction leads from {rate:g} Hz to {target:g} Hz; record at 16, 44.1 or 48 kHz")
    level = np.mean(values, dtype=np.float64)
    taps, x = _low_pass(max(up, down)), values - level
    padded = np.append(taps, np.zeros(-len(taps) % up)).reshape(-1, up)  # row: how many samples ago
    centre = np.arange(math.ceil(len(x) * up / down)) * down + (len(taps) - 1) // 2  # in the signal stuffed with zeros
    made = [
        (x[np.clip(part[:, None] // up - np.arange(len(padded)), 0, len(x) - 1)] * padded.T[part % up]).sum(axis=1) * up
        for part in np.split(centre, range(_ROWS, len(centre), _ROWS))
    ]
    return (np.concatenate(made) + level).astype(np.float32)


def _low_pass(factor: int) -> np.ndarray:
    """Kaiser-windowed sinc that ends at 1 / factor of the stuffed signal's Nyquist frequency, of sum 1."""
    count = math.ceil((STOPBAND_DB - 7.95) / 2.285 / (math.pi * TRANSITION / factor) + 1) | 1
    cutoff = (1 - TRANSITION / 2) / factor
    taps = np.sinc(cutoff * (np.arange(count) - (count - 1) / 2)) * np.kaiser(count, 0.1102 * (STOPBAND_DB - 8.7))
    return taps / taps.sum()


if __name__ == "__main__":
    sys.exit(main())
