"""One ten-second window at 500 Hz: the full ECGFounder network as torch runs it, against exported graphs.

Random weights, one thread, one window at a time, timed in turn in one process, shortest of several rounds: the full
network and the student of a quarter of its width, as float32 graphs and as int8. Beside them the size of
each file, in MB, and the preparation `ecgfounder-v1` as a graph against Python's.
"""

import time
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from stethos.nn.net1d import Net1d
from stethos.signal.prepare import PREPARATIONS
from stethos.synth import ecg, hospital_world, visits

PREPARATION = PREPARATIONS["ecgfounder-v1"]
ROUNDS = 9


def seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def measure() -> dict[str, float]:
    """How many times as long torch takes, and megabytes of the files."""
    if not all(find_spec(name) for name in ("onnx", "onnxscript", "onnxruntime")):
        return {}
    from stethos.export.prepare import prepare_graph
    from stethos.export.quantise import integers
    from stethos.export.score import score_graph, session

    world = hospital_world()
    table = visits(1, seed=0, world=world)
    lead = ecg({name: column[0] for name, column in table.items()}, 0, world)
    window = PREPARATION.apply(lead)[None]  # (1, 1, 5000)
    with threadpool_limits(1), torch.random.fork_rng(), torch.inference_mode():
        torch.set_num_threads(1)
        torch.manual_seed(0)
        full, quarter = (Net1d.scaled(width).eval() for width in (1.0, 0.25))
        graphs = {
            name: score_graph(net, window.shape[1:], "forward") for name, net in (("full", full), ("student", quarter))
        }
        noisy = window + 0.1 * np.random.default_rng(0).standard_normal((40, 1, window.shape[2])).astype(np.float32)
        graphs |= {f"{name}_int8": integers(graph, noisy) for name, graph in graphs.items()}
        ready = {name: session(graph) for name, graph in graphs.items()}
        alone, raw = session(prepare_graph(PREPARATION, lead.rate)), lead.values[:, : round(10 * lead.rate)]
        actions = {
            "torch": lambda: full(torch.from_numpy(window)),
            **{name: (lambda graph=graph: graph.run(None, {"x": window})) for name, graph in ready.items()},
            "python": lambda: PREPARATION.apply(lead),
            "prepare": lambda: alone.run(None, {"signal": raw}),
        }
        times = np.array([[seconds(action) for action in actions.values()] for _ in range(ROUNDS + 1)])[1:].min(axis=0)
    took = dict(zip(actions, times, strict=True))
    found = {f"handheld.torch_over_{name}": took["torch"] / took[name] for name in graphs}
    found |= {f"handheld.megabytes_{name}": graph.ByteSize() / 1e6 for name, graph in graphs.items()}
    return found | {"handheld.prepare_over_python": took["prepare"] / took["python"]}
