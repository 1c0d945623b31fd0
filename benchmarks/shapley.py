"""Shapley values of seven waves of one ECG: all 128 coalitions, against captum and shap at as many evaluations.

All explain the same small network on the same masked windows, and each counts what it asks of it. captum samples 18
orders of the players, seven windows at a time; shap goes through all coalitions (Exact) or fits a regression to them
(KernelExplainer). Timed in turn in one process, on one thread, shortest of several rounds; `overhead` is the time of an
explanation over that of the same windows scored without any explainer. An error is the largest difference from the
exact values, over the largest of these.
"""

import json
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from stethos.explain.baseline import Isoelectric
from stethos.explain.scene import Scene
from stethos.explain.shapley import coalitions, exact
from stethos.nn.net1d import Net1d
from stethos.signal.prepare import PREPARATIONS
from stethos.synth import ecg, hospital_world, visits

PLAYERS, ORDERS, ROUNDS, WINDOWS_AT_ONCE = 7, 18, 7, 16


@dataclass
class Game:
    """Coalitions to logits, and how many were asked for."""

    scene: Scene
    network: Net1d
    evaluations: int = field(default=0)

    def __call__(self, present: np.ndarray) -> np.ndarray:
        """Logits of coalitions, `(M, n)` to `(M, 1)`."""
        self.evaluations += len(present)
        shown = torch.from_numpy(self.scene.masked(present > 0.5))
        with torch.inference_mode():
            return torch.cat([self.network(part) for part in shown.split(WINDOWS_AT_ONCE)]).numpy().astype(np.float64)


def game() -> Game:
    """The first simulated patient all of whose seven players do something, and a network with random weights."""
    world = hospital_world()
    table = visits(20, seed=3, world=world)
    for row in range(len(table["id"])):
        lead = ecg({name: column[row] for name, column in table.items()}, 3, world)
        scene = Scene.of(lead, PREPARATIONS["lead-v1"], Isoelectric(), timing=True)
        if len(scene.active) == PLAYERS:
            break
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Game(scene, Net1d(widths=(16, 32, 32, 64, 64), blocks=(1,) * 5).eval())


def ours(asked: Game) -> np.ndarray:
    return exact(asked, PLAYERS).values[:, 0]


def captum(asked: Game) -> np.ndarray:
    from captum.attr import ShapleyValueSampling

    explainer = ShapleyValueSampling(lambda x: torch.from_numpy(asked(x.numpy())[:, 0]))
    there, absent = torch.ones(1, PLAYERS), torch.zeros(1, PLAYERS)
    return explainer.attribute(there, absent, n_samples=ORDERS, perturbations_per_eval=PLAYERS)[0].numpy()


def shap_exact(asked: Game) -> np.ndarray:
    from shap.explainers import Exact

    return Exact(lambda x: asked(x)[:, 0], np.zeros((1, PLAYERS)))(np.ones((1, PLAYERS)), silent=True).values[0]


def shap_kernel(asked: Game) -> np.ndarray:
    from shap import KernelExplainer

    explainer = KernelExplainer(lambda x: asked(x)[:, 0], np.zeros((1, PLAYERS)))
    return explainer.shap_values(np.ones((1, PLAYERS)), nsamples=2**PLAYERS - 2, silent=True)[0]


def seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def measure() -> dict[str, float]:
    """How many times as long the others take, per explanation and per evaluation, and how far off they are."""
    if not (find_spec("captum") and find_spec("shap")):
        return {}
    asked, others = game(), (captum, shap_exact, shap_kernel)
    with warnings.catch_warnings(), threadpool_limits(1), torch.random.fork_rng():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        found, count = {}, {}
        for explainer in (ours, *others):
            asked.evaluations = 0
            found[explainer], count[explainer] = explainer(asked), asked.evaluations
        alone = [lambda: asked(coalitions(PLAYERS))]
        actions = [*alone, *(lambda e=explainer: e(asked) for explainer in (ours, *others))]
        times = np.array([[seconds(action) for action in actions] for _ in range(ROUNDS)]).min(axis=0)
    bare, own, *theirs = times
    result = {"shapley.overhead": own / bare, "shapley.evaluations": float(count[ours])}
    for explainer, took in zip(others, theirs, strict=True):
        name = f"shapley.{explainer.__name__}"
        result[f"{name}.ratio"] = took / own
        result[f"{name}.ratio_per_evaluation"] = took / count[explainer] / (own / count[ours])
        result[f"{name}.evaluations"] = float(count[explainer])
        result[f"{name}.error"] = float(np.abs(found[explainer] - found[ours]).max() / np.abs(found[ours]).max())
    return result


def main() -> dict[str, float]:
    """Measure, print and return."""
    result = measure()
    print(json.dumps(result))
    return result


if __name__ == "__main__":
    main()
