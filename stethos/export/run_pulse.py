"""One pulse through the model of this folder: `python run.py finger.csv --rate 125`, one JSON line.

Needs numpy and onnxruntime alone. A CSV holds one column, in any unit and of either polarity. Stretches that lack
samples, stand still, are clipped or are noise do not count; motion is not looked for. Research software, no medical
device; a blood pressure is an estimate from the shape of a pulse and no measurement.

Beats are found, and windows judged, as in `stethos.signal.pulse` and `stethos.signal.pulse_quality`, by the same names.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

# of windows: see stethos.signal.pulse_quality
SHORTEST_SECONDS, LACKING, MISSING = 3.0, 0.01, 0.05
FLAT_SECONDS, FLAT = 1.0, 0.2
CLIPPED_SECONDS, CLIPPED_TIMES, CLIPPED_MARGIN = 0.1, 3, 1e-3
CONTRAST, MOST, NOISE_SCORE = 2.0, 5, 0.75
TEMPLATE_SECONDS, TEMPLATE_SHARE = (0.15, 0.45), (0.25, 0.6)
# of beats: see stethos.signal.pulse
PAD_SECONDS, POLARITY_SECONDS, SLOPE_RATE, STILL = 4.0, 5.0, 50.0, 1e-12
WIGGLE, RANGE_SECONDS, SPARSE_RATE = 0.06, 10.0, 25.0
APART_SECONDS, LEVEL_SECONDS, THRESHOLD, STRONG = 0.25, 2.5, 0.2, 0.6
DICROTIC_SECONDS, DICROTIC_SHARE, DICROTIC_HEIGHT, DICROTIC_LEVEL = 0.45, 0.62, 0.62, 0.15
UNFILLED_SHARE = 0.45
TINY = float(np.finfo(float).tiny)
ELECTRIC = ("V", "mV", "uV", "µV", "μV")  # an ECG's


class RefusedError(Exception):
    """What was needed, what came, what to do."""


class Window(NamedTuple):
    """A stretch from one second to another, and why it does not count; "" where it does."""

    start: float
    stop: float
    reason: str


def main(arguments: list[str] | None = None) -> int:
    """Print what the model says; 2 where the recording cannot be read or must not be judged by this model."""
    asked = _parser().parse_args(arguments)
    try:
        print(json.dumps(answer(Path(__file__).parent, asked), ensure_ascii=False))
    except RefusedError as error:
        print(f"run.py: {error}", file=sys.stderr)
        return 2
    return 0


def answer(folder: Path, asked: argparse.Namespace) -> dict[str, Any]:
    """What the model of a folder says of one recording, as plain values."""
    model, facts = opened(folder)
    _refuse(facts, asked)
    told: dict[str, Any] = {"file": str(asked.file), "model": facts["model"][:16]}
    if facts["origin"] != "real":
        told["warning"] = "the model was trained on a simulated world"
    values = _read(asked.file)
    _refuse_long(values, facts)
    windows = judged(values, facts)
    used = sum(not window.reason for window in windows)
    told |= {"patches": len(windows), "patches_used": used}
    told |= {"quality": ", ".join(window.reason or "ok" for window in windows[:20]), "not_judged": ["motion"]}
    reasons = _reasons(facts["intended_use"], asked)
    if not used:
        reasons.append(f"no usable patch: {', '.join(sorted({window.reason for window in windows}))}")
    if reasons:
        return told | {"decision": "abstain", "reason": "; ".join(reasons)}
    said = spoken(model, values, refused(windows, len(values), facts["rate"]))
    if np.isnan(said).any():
        return told | {"decision": "abstain", "reason": "nothing moves in what was recorded; look at the sensor"}
    told["not_checked"] = [name for name in ("age", "paced") if getattr(asked, name) is None]
    return told | _worded(said, facts)


def opened(folder: Path) -> tuple[Any, dict[str, Any]]:
    """The graph of a folder and the facts of its metadata.

    Raises:
        RefusedError: It is missing.
    """
    import onnxruntime

    path = folder / "model.onnx"
    if not path.is_file():
        raise RefusedError(f"{path} is missing; copy the whole folder of the export")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    model = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return model, json.loads(model.get_modelmeta().custom_metadata_map["stethos"])


def spoken(model: Any, values: np.ndarray, left_out: np.ndarray) -> np.ndarray:
    """What a graph says of one recording, `(K,)`; NaN where nothing can be prepared.

    Args:
        model: "signal" and, if it looks at it, "refused" `(1, T)` → `(1, K)`.
        values: `(T,)`; NaN where nothing was recorded.
        left_out: True where it must not count, `(T,)`.
    """
    given = {"signal": values[None].astype(np.float32), "refused": left_out[None]}
    said: np.ndarray = model.run(None, {end.name: given[end.name] for end in model.get_inputs()})[0][0]
    return said


def judged(values: np.ndarray, facts: Mapping[str, Any]) -> list[Window]:
    """Windows end to end and why one does not count; what is left over makes one from 3 s on.

    Args:
        values: `(T,)`; NaN where nothing was recorded.
        facts: "rate", "seconds" of a window, and "filters".
    """
    rate, seconds, duration = facts["rate"], facts["seconds"], len(values) / facts["rate"]
    count = int(duration / seconds + LACKING)
    cut = [(i * seconds, min((i + 1) * seconds, duration)) for i in range(count)]
    if duration - count * seconds >= (1 - LACKING) * SHORTEST_SECONDS or not cut:
        cut.append((count * seconds, duration))
    wave, steepest = beats(values, rate, facts["filters"])
    found = []
    for start, stop in cut:
        first, last = round(start * rate), round(stop * rate)
        reason = _defect(values[first:last], rate)
        inside = steepest[(steepest >= first) & (steepest < last)] - first
        noise = not reason and _score(wave[first:last], inside, rate) < NOISE_SCORE
        found.append(Window(start, stop, "noise" if noise else reason))
    return found


def refused(windows: list[Window], samples: int, rate: float) -> np.ndarray:
    """Which samples lie in windows that do not count, `(T,)`."""
    marked = np.zeros(samples, bool)
    for window in windows:
        marked[round(window.start * rate) : round(window.stop * rate)] = bool(window.reason)
    return marked


def _defect(part: np.ndarray, rate: float) -> str:
    """What is wrong with the samples as such."""
    if len(part) < (1 - LACKING) * SHORTEST_SECONDS * rate:
        return "short"
    known = part[np.isfinite(part)]
    if len(known) < (1 - MISSING) * len(part):
        return "missing"
    if _long_runs(known[1:] == known[:-1], FLAT_SECONDS * rate).sum() > FLAT * len(part):
        return "flat"
    low, high = known.min(), known.max()
    margin = CLIPPED_MARGIN * (high - low)
    for at_rail in (known >= high - margin, known <= low + margin):
        if len(_long_runs(at_rail, max(3, CLIPPED_SECONDS * rate))) >= CLIPPED_TIMES:
            return "clipped"
    return ""


def _long_runs(marked: np.ndarray, least: float) -> np.ndarray:
    """Lengths of the runs of True that are at least so long."""
    edges = np.diff(np.concatenate([[0], marked.astype(np.int8), [0]]))
    runs = np.flatnonzero(edges == -1) - np.flatnonzero(edges == 1)
    return runs[runs >= least]


def _score(wave: np.ndarray, steepest: np.ndarray, rate: float) -> float:
    """Agreement and contrast of the beats of a stretch as one number from 0 to 1; 0 under two whole beats."""
    found = _templates(wave, steepest, rate)
    if len(found) < 2:
        return 0.0
    usual = np.median(found, axis=0)
    power = np.linalg.norm(found, axis=1) * np.linalg.norm(usual)
    agreement = np.sort(found @ usual / np.maximum(power, TINY))[len(found) // MOST]
    strength = np.sqrt(np.mean(wave**2))
    rise = np.median(np.ptp(found, axis=1))
    return float(max(0.0, agreement) * min(1.0, rise / max(strength, TINY) / CONTRAST))


def _templates(wave: np.ndarray, steepest: np.ndarray, rate: float) -> np.ndarray:
    """Beats around their steepest point that lie wholly in a stretch, each around its mean, `(beats, T)`."""
    if len(steepest) < 2:
        return np.empty((0, 0))
    usual = np.median(np.diff(steepest))
    sides = zip(TEMPLATE_SECONDS, TEMPLATE_SHARE, strict=True)
    before, after = (max(2, int(min(most * rate, share * usual))) for most, share in sides)
    at = np.rint(steepest).astype(np.int64)
    whole = at[(at >= before) & (at + after <= len(wave))]
    found = wave[whole[:, None] + np.arange(-before, after)]
    return found - found.mean(axis=1, keepdims=True)


# --- beats --------------------------------------------------------------------------------------------------


def beats(values: np.ndarray, rate: float, filters: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """An upright pulse between 0.5 and 8 Hz `(T,)`, and where its beats rise steepest, in samples, `(beats,)`.

    Args:
        values: `(T,)`; NaN where nothing was recorded.
        rate: Hz.
        filters: "pulse" and "beat": "sections" `(2, 6)`, and "start" `(2, 2)`, their state under a constant 1.
    """
    known = np.isfinite(values)
    trace = np.interp(np.arange(len(values)), np.flatnonzero(known), values[known]) if known.any() else 0.0 * known
    wave = _filtered(trace, rate, filters["pulse"])
    if _falls_are_steeper(wave, known, rate):
        trace, wave = -trace, -wave
    if len(trace) < rate:
        return wave, np.empty(0)
    slow = _filtered(trace, rate, filters["beat"])
    feet, tops = _rises(slow, rate, 1e-6 * np.abs(trace - trace[0]).max())
    accepted = _accept(slow, feet, tops, rate)
    steepest = _steepest(wave, feet[accepted], tops[accepted])
    return wave, steepest[known[np.rint(steepest).astype(np.int64)]]


def _filtered(trace: np.ndarray, rate: float, band: Mapping[str, Any]) -> np.ndarray:
    """A band of a trace, forwards and backwards, the ends mirrored through themselves, `(T,)`."""
    if len(trace) < 2:
        return np.zeros(len(trace))
    flat = trace - np.linspace(trace[0], trace[-1], len(trace))
    room = min(len(flat) - 1, round(PAD_SECONDS * rate))
    x = np.concatenate([-flat[room:0:-1], flat, -flat[-2 : -room - 2 : -1]])
    for _ in range(2):
        for section, start in zip(band["sections"], np.array(band["start"]) * x[0], strict=True):
            x = _section(x, section, start)
        x = x[::-1]
    return x[room:-room]


def _section(x: np.ndarray, section: Sequence[float], start: np.ndarray) -> np.ndarray:
    """One second-order section in its transposed form, from a state on, `(T,)`."""
    (b0, b1, b2, _, a1, a2), (first, second), made = section, start.tolist(), []
    for value in x.tolist():
        y = b0 * value + first
        first, second = b1 * value - a1 * y + second, b2 * value - a2 * y
        made.append(y)
    return np.array(made)


def _falls_are_steeper(wave: np.ndarray, known: np.ndarray, rate: float) -> bool:
    """Whether the slope is skewed to the negative in most stretches that were recorded and move."""
    step = max(1, int(rate / SLOPE_RATE))
    slope, known = np.diff(wave[::step]), known[::step][1:]
    count = max(1, round(len(wave) / (POLARITY_SECONDS * rate)))
    span = len(slope) // count
    if span == 0:
        return False
    parts = slope[: count * span].reshape(count, span)
    parts = parts - parts.mean(axis=1, keepdims=True)
    power = np.mean(parts**2, axis=1)
    skew = np.mean(parts**3, axis=1) / np.maximum(power**1.5, TINY)
    recorded = 2 * known[: count * span].reshape(count, span).sum(axis=1) >= span
    counts = recorded & (power > STILL * power.max())
    return bool(counts.any() and np.median(skew[counts]) < 0)


def _rises(slow: np.ndarray, rate: float, least: float) -> tuple[np.ndarray, np.ndarray]:
    """Tops that stand out, and the lowest sample between each and the one before, both `(rises,)`."""
    sparse = slow[:: max(1, int(rate / SPARSE_RATE))]
    count = max(1, round(len(slow) / (RANGE_SECONDS * rate)))
    low, high = np.percentile(sparse[: len(sparse) // count * count].reshape(count, -1), [10, 90], axis=1)
    centres = (np.arange(count) + 0.5) * len(slow) / count
    needed = np.maximum(WIGGLE * np.interp(np.arange(len(slow)), centres, high - low), least)
    half = (round(3 * rate) | 1) // 2
    tops = [top for top in _maxima(slow) if _prominence(slow, top, half) >= needed[top]]
    feet = [a + int(slow[a : b + 1].argmin()) for a, b in zip([0, *tops], tops, strict=False)]
    return np.array(feet, np.int64), np.array(tops, np.int64)


def _maxima(x: np.ndarray) -> list[int]:
    """Samples above both neighbours; of a level top its middle."""
    changes = np.flatnonzero(np.diff(x) != 0)
    steps = np.sign(np.diff(x)[changes])
    tops = np.flatnonzero((steps[:-1] > 0) & (steps[1:] < 0))
    return ((changes[tops] + 1 + changes[tops + 1]) // 2).tolist()


def _prominence(x: np.ndarray, top: int, half: int) -> float:
    """How far a top stands above the higher of the lowest samples on its two sides, up to what is higher than it."""
    lowest = []
    for side in (x[max(0, top - half) : top + 1][::-1], x[top : top + half + 1]):
        higher = np.flatnonzero(side > x[top])
        lowest.append(side[: higher[0] if len(higher) else None].min())
    return float(x[top] - max(lowest))


def _accept(slow: np.ndarray, feet: np.ndarray, tops: np.ndarray, rate: float) -> np.ndarray:
    """Which rises are beats, Boolean `(rises,)`."""
    accepted = np.zeros(len(feet), bool)
    base, rise = slow[feet], slow[tops] - slow[feet]
    height = rise / _level(rise, tops, len(slow), rate)
    above = base + DICROTIC_LEVEL * rise
    strong = tops[height > STRONG]
    usual = float(np.median(np.diff(strong))) if len(strong) > 2 else rate
    soon, last = min(DICROTIC_SHARE * usual, DICROTIC_SECONDS * rate), -1
    for i in np.flatnonzero(height > THRESHOLD).tolist():
        apart = tops[i] - tops[last] if last >= 0 else math.inf
        if apart < APART_SECONDS * rate:
            if height[i] <= height[last]:
                continue
            accepted[last] = False
        elif height[i] < DICROTIC_HEIGHT * height[last] and apart < (
            soon if base[i] > above[last] else UNFILLED_SHARE * usual
        ):
            continue
        accepted[i], last = True, i
    return accepted


def _level(rise: np.ndarray, tops: np.ndarray, samples: int, rate: float) -> np.ndarray:
    """Rise that beats reach around every top: the median over 5 spans of their highest, `(rises,)`."""
    count = max(1, int(samples / (LEVEL_SECONDS * rate)))
    highest = np.zeros(count)
    np.maximum.at(highest, tops * count // samples, rise)
    around = np.median(np.lib.stride_tricks.sliding_window_view(np.pad(highest, 2, mode="symmetric"), 5), axis=1)
    centres = (np.arange(count) + 0.5) * samples / count
    return np.maximum(np.interp(tops, centres, around), max(1e-9 * rise.max(initial=0.0), TINY))


def _steepest(wave: np.ndarray, feet: np.ndarray, tops: np.ndarray) -> np.ndarray:
    """Where each beat rises steepest, between the samples, `(beats,)`."""
    slope = np.gradient(wave)
    ends = zip(feet.tolist(), tops.tolist(), strict=True)
    at = np.array([a + int(slope[a : b + 1].argmax()) for a, b in ends], np.int64)
    middle = np.clip(at, 1, len(slope) - 2)
    left, right = slope[middle - 1], slope[middle + 1]
    bend = left - 2 * slope[middle] + right
    return at + np.clip(0.5 * (left - right) / np.where(bend < 0, bend, -np.inf), -0.5, 0.5)


# --- the recording and the answer ---------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="run.py", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("file", type=Path, help="a CSV of one column, or a .npy of one dimension")
    parser.add_argument("--rate", type=float, required=True, help="sampling rate of the file, Hz")
    parser.add_argument("--unit", default="a.u.", help="unit of the file; a pulse may have any")
    parser.add_argument("--age", type=float, help="of the person, years")
    parser.add_argument("--paced", choices=("yes", "no"), help="whether the rhythm is paced")
    parser.add_argument("--synthetic", action="store_true", help="the recording is simulated")
    parser.add_argument("--allow-synthetic-model", action="store_true", help="let a simulated world judge a person")
    return parser


def _refuse(facts: Mapping[str, Any], asked: argparse.Namespace) -> None:
    """Keep away what the graph was not made for."""
    if not abs(asked.rate / facts["rate"] - 1) <= 2e-5:
        raise RefusedError(
            f"this export reads {facts['rate']:g} Hz, the recording has {asked.rate:g} Hz; "
            f"resample it, or export the run with --rate {asked.rate:g}"
        )
    if asked.unit in ELECTRIC:
        raise RefusedError(
            f"this export reads a pulse, light through skin, and {asked.unit} is of an ECG; "
            "give a pulse, and leave --unit away if this is one"
        )
    if facts["origin"] != "real" and not (asked.synthetic or asked.allow_synthetic_model):
        raise RefusedError(
            "a model trained on a simulated world does not score a real person's recording; say --synthetic if it is "
            "simulated too, or pass --allow-synthetic-model to see what it says all the same"
        )


def _refuse_long(values: np.ndarray, facts: Mapping[str, Any]) -> None:
    if len(values) > facts["longest_seconds"] * facts["rate"]:
        raise RefusedError(
            f"this export reads up to {facts['longest_seconds']:g} s at once, the recording lasts "
            f"{len(values) / facts['rate']:.0f} s; cut it into pieces"
        )


def _reasons(use: Mapping[str, Any], asked: argparse.Namespace) -> list[str]:
    """Why the model must not answer."""
    young = asked.age is not None and asked.age < use["age_min"]
    paced = asked.paced == "yes" and use["paced"] == "abstain"
    reasons = {f"younger than {use['age_min']:g} years": young, "paced rhythm": paced}
    return [reason for reason, holds in reasons.items() if holds]


def _worded(said: np.ndarray, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers as answers."""
    if facts["output"] == "embedding":
        return {"decision": "embedded", "embedding": [round(number, 6) for number in said.tolist()]}
    told: dict[str, Any] = {"decision": "estimated"}
    for value, about in zip(said.tolist(), facts["answers"], strict=True):
        told |= _of_one(value, about)
    units = {about["key"]: about["unit"] for about in facts["answers"] if about["kind"] == "estimate"}
    return told | {"units": units}


def _of_one(value: float, about: Mapping[str, Any]) -> dict[str, Any]:
    name, note = about["key"], {} if about["note"] is None else {f"{about['name']}_note": about["note"]}
    if about["kind"] == "estimate":
        return {name: round(value, 1) if about["given"] else None, **note}
    chance = 1 / (1 + math.exp(-value)) if value >= 0 else 1 - 1 / (1 + math.exp(value))
    if about["threshold"] is None:
        return {name: chance}
    return {name: chance, f"{name}_decision": "above threshold" if value >= about["threshold"] else "below threshold"}


def _read(path: Path) -> np.ndarray:
    """Samples `(T,)`; NaN where none was recorded."""
    try:
        values = np.load(path, allow_pickle=False) if path.suffix == ".npy" else _column(path)
    except (OSError, ValueError) as error:
        raise RefusedError(f"{path} needs one column of numbers, and cannot be read: {error}") from None
    if values.ndim != 1 or values.dtype.kind not in "fiu" or not len(values):
        raise RefusedError(f"{path} needs one column of numbers; it holds {values.dtype} of shape {values.shape}")
    return values.astype(np.float32)


def _column(path: Path) -> np.ndarray:
    lines = path.read_text("utf-8-sig").splitlines()
    if lines and not _is_number(lines[0]):
        lines = lines[1:]  # a title
    cells = [line.strip().rstrip(",;") for line in lines]
    for number, cell in enumerate(cells, start=1):
        if cell and not _is_number(cell):
            raise ValueError(f"row {number} is {cell[:40]!r}")
    while cells and not cells[-1]:
        cells.pop()
    return np.array([float(cell) if cell else math.nan for cell in cells])


def _is_number(cell: str) -> bool:
    try:
        float(cell.strip().rstrip(",;") or "nan")
    except ValueError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
