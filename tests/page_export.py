"""Runs with networks that nobody trained, and their exports in the form the page reads."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import nn

from stethos.export.browser import POOLED
from stethos.export.score import score_graph
from stethos.study.ensemble import Ensemble
from stethos.systems import anyecg_echo, pocket_k
from stethos.text.findings import load_lexicon
from stethos.train.run import start_run
from stethos.train.weights import save_weights, sha256

THRESHOLD = 0.1
INTERVAL = [0.9, 0.85, 0.94]
DISEASES = tuple(load_lexicon(None, "shd13").concepts)
POINTS = [None, *((k - 6) / 4 for k in range(1, len(DISEASES)))]  # of the diseases, in logits


def untrained_run(folder: Path, origin: str = "synthetic") -> Path:
    """A finished run of Pocket-K with random weights; its head is made larger so that logits differ."""
    torch.manual_seed(3)
    recipe = replace(pocket_k.tiny(), seeds=1)
    model = Ensemble([pocket_k.PocketK(recipe)]).eval()
    _enlarge(model, "head.weight", 8)
    config = {"system": "pocket_k", "version": "0", "recipe": msgspec.to_builtins(recipe), "prepare": recipe.prepare}
    run = start_run(folder, {**config, "origin": origin, "terms": ""})
    save_weights(model, run.weights, {"threshold": str(THRESHOLD)})
    return folder


def untrained_echo(folder: Path, origin: str = "synthetic") -> Path:
    """The same of AnyECG-Echo, with 13 diseases, of which the first has no operating point."""
    torch.manual_seed(5)
    recipe = replace(anyecg_echo.tiny(), seeds=1)
    model = Ensemble([anyecg_echo.Diagnoser(recipe)]).eval()
    _enlarge(model, "head.weight", 8)
    config = {"system": "anyecg_echo", "version": "0", "recipe": msgspec.to_builtins(recipe)}
    run = start_run(folder, {**config, "origin": origin, "terms": "", "protocol": {"verb": "train"}})
    save_weights(model, run.weights, {"thresholds": json.dumps(POINTS)})
    return folder


def _enlarge(model: nn.Module, ending: str, factor: float) -> None:
    with torch.no_grad():
        for name, values in model.named_parameters():
            if name.endswith(ending):
                values.mul_(factor)


def export_of(run: Path, folder: Path, origin: str = "synthetic") -> Path:
    """`score.onnx` and `export.json` of a run of Pocket-K, with numbers that stand for a test's."""
    told = {"target": "potassium > 5.5", "names": ["potassium > 5.5"], "risk_groups": groups()}
    point = {"threshold": {"logit": THRESHOLD, "chosen": CHOSEN}, "operating_points": [_point(THRESHOLD)]}
    return _written(run, folder, {"system": "pocket_k", "origin": origin, **told, **point}, pocket_k.load(run))


def export_of_echo(run: Path, folder: Path, origin: str = "synthetic") -> Path:
    """The same of a run of AnyECG-Echo; the last disease has no groups."""
    each = [{"name": name, **group} for name in DISEASES[:-1] for group in groups()]
    points = [{"name": name, **_point(at)} for name, at in zip(DISEASES, POINTS, strict=True) if at is not None]
    told = {"target": ", ".join(DISEASES), "names": list(DISEASES), "risk_groups": each}
    point = {"threshold": {"logit": POINTS, "chosen": CHOSEN}, "operating_points": points}
    return _written(run, folder, {"system": "anyecg_echo", "origin": origin, **told, **point}, anyecg_echo.load(run))


CHOSEN = "sensitivity of 0.9 on the validation part"


def groups() -> list[dict[str, Any]]:
    """Four groups of the score."""
    edges = [None, -1.0, 0.0, 1.0, None]
    risks = [(0.004, 0.001, 0.012), (0.012, 0.006, 0.02), (0.05, 0.03, 0.08), (0.14, 0.09, 0.21)]
    return [
        {"from": edges[i], "to": edges[i + 1], "risk": risk, "low": low, "high": high, "n": 900 - 200 * i}
        for i, (risk, low, high) in enumerate(risks)
    ]


def _point(logit: float) -> dict[str, Any]:
    return {
        "logit": logit, "sensitivity": INTERVAL, "specificity": [0.8, 0.78, 0.82], "split": "temporal",
        "prevalence": 0.015, "npv": [0.998, 0.996, 0.999], "trivial_npv": 0.985,
    }  # fmt: skip


def _written(run: Path, folder: Path, told: dict[str, Any], model: Ensemble) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "score.onnx").write_bytes(score_graph(model, (1, 1250)).SerializeToString())
    about = {
        "version": "0.1.0", "model": sha256(run / "model.safetensors"), "lead": "I", "rate": 500.0, "unit": "mV",
        "seconds": 10.0, "prepare": "lead-v1", "samples": 1250, "prepared_rate": 125.0, "correct_polarity": False,
        "precision": "fp32", "intended_use": {"age_min": 18, "paced": "abstain"},
        "limits": "Tested on simulated patients only.", "windows": POOLED, **told,
    }  # fmt: skip
    (folder / "export.json").write_text(json.dumps(about))
    return folder
