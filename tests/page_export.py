"""A run with a network that nobody trained, and its export in the form the page reads."""

import json
from dataclasses import replace
from pathlib import Path

import msgspec
import torch

from stethos.export.score import score_graph
from stethos.study.ensemble import Ensemble
from stethos.systems.pocket_k import PocketK, Recipe, tiny
from stethos.train.run import start_run
from stethos.train.weights import save_weights, sha256

THRESHOLD = 0.1
INTERVAL = [0.9, 0.85, 0.94]


def untrained_run(folder: Path, origin: str = "synthetic") -> Path:
    """A finished run of Pocket-K with random weights; its head is made larger so that logits differ."""
    torch.manual_seed(3)
    recipe: Recipe = replace(tiny(), seeds=1)
    model = Ensemble([PocketK(recipe)]).eval()
    with torch.no_grad():
        for name, values in model.named_parameters():
            if name.endswith("head.weight"):
                values.mul_(8)
    config = {"system": "pocket_k", "version": "0", "recipe": msgspec.to_builtins(recipe), "prepare": recipe.prepare}
    run = start_run(folder, {**config, "origin": origin, "terms": ""})
    save_weights(model, run.weights, {"threshold": str(THRESHOLD)})
    return folder


def export_of(run: Path, folder: Path, origin: str = "synthetic") -> Path:
    """`score.onnx` and `export.json` of a run, with numbers that stand for a test's."""
    from stethos.systems.pocket_k import load

    folder.mkdir(parents=True, exist_ok=True)
    graph = score_graph(load(run), (1, 1250))
    (folder / "score.onnx").write_bytes(graph.SerializeToString())
    edges = [None, -1.0, 0.0, 1.0, None]
    risks = [(0.004, 0.001, 0.012), (0.012, 0.006, 0.02), (0.05, 0.03, 0.08), (0.14, 0.09, 0.21)]
    groups = [
        {"from": edges[i], "to": edges[i + 1], "risk": risk, "low": low, "high": high, "n": 900 - 200 * i}
        for i, (risk, low, high) in enumerate(risks)
    ]
    point = {
        "logit": THRESHOLD, "sensitivity": INTERVAL, "specificity": [0.8, 0.78, 0.82], "split": "temporal",
        "prevalence": 0.015, "npv": [0.998, 0.996, 0.999], "trivial_npv": 0.985,
    }  # fmt: skip
    about = {
        "system": "pocket_k", "version": "0.1.0", "model": sha256(run / "model.safetensors"), "origin": origin,
        "target": "potassium > 5.5", "names": ["potassium > 5.5"], "lead": "I", "rate": 500.0, "unit": "mV",
        "seconds": 10.0, "prepare": "lead-v1", "samples": 1250, "prepared_rate": 125.0, "correct_polarity": False,
        "precision": "fp32", "threshold": {"logit": THRESHOLD, "chosen": "sensitivity of 0.9 on the validation part"},
        "operating_points": [point], "risk_groups": groups,
        "intended_use": {"age_min": 18, "paced": "abstain"},
        "limits": "Tested on simulated patients only.", "windows": "mean of logits",
    }  # fmt: skip
    (folder / "export.json").write_text(json.dumps(about))
    return folder
