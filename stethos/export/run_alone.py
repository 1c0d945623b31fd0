"""One recording through the model of this folder: `python run.py strip.csv --rate 500`, one JSON line.

Needs numpy and onnxruntime alone. A CSV holds one column of millivolts. Research software, no medical device.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np


class RefusedError(Exception):
    """What was needed, what came, what to do."""


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
    prepare, score = _session(folder / "prepare.onnx"), _session(folder / "score.onnx")
    facts = json.loads(score.get_modelmeta().custom_metadata_map["stethos"])
    if json.loads(prepare.get_modelmeta().custom_metadata_map["stethos"]) != facts:
        raise RefusedError(f"{folder} mixes files of two exports; export the run again")
    _refuse(facts, asked)
    told: dict[str, Any] = {"file": str(asked.file), "model": facts["model"][:16]}
    if facts["origin"] != "real":
        told["warning"] = "the model was trained on a simulated world"
    reasons = _reasons(facts["intended_use"], asked)
    windows = _windows(_read(asked.file), facts, asked)
    usable = [window for window in windows if np.isfinite(window).all()]
    told |= {"windows": len(windows), "windows_used": 0 if reasons else len(usable), "quality": "not judged"}
    if not usable:
        reasons.append(f"no complete window of {facts['seconds']:g} s without missing samples")
    if reasons:
        return told | {"decision": "abstain", "reason": "; ".join(reasons)}
    x = np.concatenate([prepare.run(None, {"signal": window[None]})[0] for window in usable])
    logit = score.run(None, {"x": x})[0].mean(axis=0)  # (K,); nothing is known of their quality to weigh them by
    told["not_checked"] = [name for name in ("age", "paced") if getattr(asked, name) is None]
    return told | _decided(logit, facts)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="run.py", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("file", type=Path, help="a CSV of one column, or a .npy of one dimension")
    parser.add_argument("--rate", type=float, required=True, help="sampling rate of the file, Hz")
    parser.add_argument("--unit", default="mV", help="unit of the file")
    parser.add_argument("--age", type=float, help="of the person, years")
    parser.add_argument("--paced", choices=("yes", "no"), help="whether the rhythm is paced")
    parser.add_argument("--polarity", choices=("upright", "inverted"), help="whether the strip is upside down")
    parser.add_argument("--synthetic", action="store_true", help="the recording is simulated")
    parser.add_argument("--allow-synthetic-model", action="store_true", help="let a simulated world judge a person")
    return parser


def _session(path: Path) -> Any:
    import onnxruntime

    if not path.is_file():
        raise RefusedError(f"{path} is missing; copy the whole folder of the export")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _refuse(facts: dict[str, Any], asked: argparse.Namespace) -> None:
    """Keep away what the graphs were not made for."""
    if not abs(asked.rate / facts["rate"] - 1) <= 2e-5:
        raise RefusedError(
            f"this export reads {facts['rate']:g} Hz, the recording has {asked.rate:g} Hz; "
            f"resample it, or export the run with --rate {asked.rate:g}"
        )
    if asked.unit != facts["unit"]:
        raise RefusedError(f"this export reads {facts['unit']}, the recording is in {asked.unit}; convert it")
    if facts["origin"] != "real" and not (asked.synthetic or asked.allow_synthetic_model):
        raise RefusedError(
            "a model trained on a simulated world does not score a real person's recording; say --synthetic if it is "
            "simulated too, or pass --allow-synthetic-model to see what it says all the same"
        )
    if facts["correct_polarity"] and asked.polarity is None:
        raise RefusedError(
            "this model was trained on strips that were turned upright, which this program cannot see; "
            "say --polarity upright or --polarity inverted"
        )


def _reasons(use: dict[str, Any], asked: argparse.Namespace) -> list[str]:
    """Why the model must not answer."""
    young = asked.age is not None and asked.age < use["age_min"]
    paced = asked.paced == "yes" and use["paced"] == "abstain"
    reasons = {f"younger than {use['age_min']:g} years": young, "paced rhythm": paced}
    return [reason for reason, holds in reasons.items() if holds]


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


def _windows(values: np.ndarray, facts: dict[str, Any], asked: argparse.Namespace) -> list[np.ndarray]:
    """Complete windows that do not overlap, `(T,)` each."""
    if facts["correct_polarity"] and asked.polarity == "inverted":
        values = -values
    length = round(facts["seconds"] * facts["rate"])
    return [values[start : start + length] for start in range(0, len(values) - length + 1, length)]


def _decided(logit: np.ndarray, facts: dict[str, Any]) -> dict[str, Any]:
    points = facts["threshold"]["logit"]
    if len(facts["names"]) == 1:
        return _of_one(float(logit[0]), points, facts["measured"])
    several = zip(facts["names"], logit.tolist(), points, strict=True)
    return {"decision": "answered", "labels": {name: _of_one(one, point, False) for name, one, point in several}}


def _of_one(logit: float, point: float | None, measured: bool) -> dict[str, Any]:
    if measured:
        return {"score": logit, "decision": "measured"}
    score = 1 / (1 + math.exp(-logit)) if logit >= 0 else 1 - 1 / (1 + math.exp(logit))
    decision = "none" if point is None else "above threshold" if logit >= point else "below threshold"
    return {"score": score, "logit": logit, "threshold": point, "decision": decision}


if __name__ == "__main__":
    sys.exit(main())
