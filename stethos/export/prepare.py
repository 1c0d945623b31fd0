"""The named preparations as ONNX graphs, so that a device does exactly what training saw.

Each graph takes one window of one lead and gives what `PREPARATIONS[name].apply` gives for it, every sample, the ends
included. It does the arithmetic in float64 and rounds to float32 where Python does. It takes no NaN: bridge
missing samples first, as `stethos.signal.gaps.bridge` does.

What remains is rounding, in parts of the standard deviation of the result. With "lead-v1" there is nearly always
none, and 5e-6 at most. With "ecgfounder-v1" it is 1e-6 to 8e-6: its band-pass, one fraction of order 8 as published,
loses that many digits in Python. That loss grows with the offset, to 1e-7 mV at 300 mV, and is scaled up with what is
left: to 3e-5 for a slow ramp at 300 mV, of which 4 µV are left. Of a constant nothing is left but rounding, which
"ecgfounder-v1" brings to a standard deviation of 1 in Python and here, each its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from scipy.signal import butter, iirnotch, tf2sos

from stethos.errors import RecipeError
from stethos.export.filters import running_median, zero_phase
from stethos.export.graph import Graph
from stethos.export.resampler import resampled
from stethos.signal.filter import butterworth
from stethos.signal.prepare import Preparation
from stethos.types import Signal

if TYPE_CHECKING:
    from onnx import ModelProto

Build = Callable[[Graph, str, int, float], str]
"""Graph, signal float64 `(T,)`, T and rate in Hz → float64 `(samples,)`."""


def prepare_graph(preparation: Preparation, rate: float) -> ModelProto:
    """A preparation for windows of one sampling rate.

    Args:
        preparation: "lead-v1" or "ecgfounder-v1".
        rate: Of what comes in, Hz.

    Returns:
        From "signal" in mV without NaN, float32 `(1, T)` with T = round(seconds · rate), to "x", float32
        `(1, 1, samples)`.

    Raises:
        RecipeError: The preparation is another one.
        RateError: It cannot be had from this rate.
        MissingExtraError: onnx is not installed.
    """
    if preparation.name not in _BUILD:
        raise RecipeError(
            f"an ONNX graph needs one of the preparations {', '.join(_BUILD)}; got {preparation.name}; "
            f"write its graph in stethos/export/prepare.py first"
        )
    samples = round(preparation.seconds * rate)
    preparation.apply(Signal(np.zeros((1, samples)), rate, ("I",), "mV"))  # raises what cannot be had
    graph = Graph()
    x = _BUILD[preparation.name](graph, graph.reshaped(graph.cast("signal", np.float64), -1), samples, rate)
    graph.named("x", graph.reshaped(graph.cast(x, np.float32), 1, 1, preparation.samples))
    ends = {"signal": (np.float32, (1, samples))}, {"x": (np.float32, (1, 1, preparation.samples))}
    return graph.model(preparation.name, *ends)


def lead_v1(graph: Graph, x: str, samples: int, rate: float) -> str:
    """`stethos.signal.prepare.lead_v1` in nodes: from float64 `(samples,)` at any rate to `(1250,)`."""
    largest = graph.add("ReduceMax", graph.add("Abs", x), np.array([0]))
    for order, hertz, kind in ((2, 0.5, "highpass"), (4, 40.0, "lowpass")):
        sos = butterworth(order, (hertz,), kind, rate)
        pad = min(samples - 1, max(6 * len(sos) + 3, round(rate / hertz)))
        x = graph.rounded(zero_phase(graph, x, sos, pad, samples))
    x = _fitted(graph, *resampled(graph, x, samples, rate, 125.0), 1250)
    x = graph.add("Sub", x, _median(graph, x, 1250))
    scale = _percentile(graph, graph.add("Abs", x), 99, 1250)
    still = graph.add("LessOrEqual", scale, graph.add("Mul", largest, np.array([1e-6])))
    cut = graph.add("Clip", graph.add("Div", x, scale), np.array(-5.0), np.array(5.0))
    return graph.add("Where", still, np.zeros(1), cut)


def ecgfounder_v1(graph: Graph, x: str, samples: int, rate: float) -> str:
    """`stethos.signal.prepare.ecgfounder_v1` in nodes: from float64 `(samples,)` at any rate to `(5000,)`."""
    x = _fitted(graph, *resampled(graph, x, samples, rate, 500.0), 5000)
    x = zero_phase(graph, x, tf2sos(*iirnotch(50, 30, fs=500)), 9, 5000)
    x = zero_phase(graph, x, butter(4, (0.67, 40), "bandpass", fs=500, output="sos"), 27, 5000)
    x = graph.add("Sub", x, running_median(graph, x, 201, 5000))
    x = graph.add("Sub", x, graph.add("ReduceMean", x, np.array([0])))
    variance = graph.add("ReduceMean", graph.add("Mul", x, x), np.array([0]))
    return graph.add("Div", x, graph.add("Add", graph.add("Sqrt", variance), np.array([1e-8])))


_BUILD: Mapping[str, Build] = MappingProxyType({"lead-v1": lead_v1, "ecgfounder-v1": ecgfounder_v1})


def _fitted(graph: Graph, x: str, samples: int, wanted: int) -> str:
    """Cut to a number of samples, or hold the last one."""
    if samples >= wanted:
        return graph.slice(x, 0, wanted)
    return graph.add("Gather", x, np.minimum(np.arange(wanted), samples - 1))


def _largest(graph: Graph, x: str, first: int, last: int) -> str:
    """From the first-th to the last-th of the numbers in falling order, counted from 0."""
    falling = graph.add("TopK", x, np.array([last + 1]), outputs=2, axis=0)
    return graph.slice(falling, first, last + 1)


def _median(graph: Graph, x: str, samples: int) -> str:
    middle = _largest(graph, x, (samples - 1) // 2, samples // 2)
    return graph.add("ReduceMean", middle, np.array([0]))


def _percentile(graph: Graph, x: str, percent: float, samples: int) -> str:
    """Between two numbers in a straight line, as numpy does it; below the 100th."""
    above = (samples - 1) * (1 - percent / 100)  # place in falling order
    upper = int(above)
    pair = _largest(graph, x, upper, upper + 1)
    weights = np.array([1 - (above - upper), above - upper])
    return graph.add("ReduceSum", graph.add("Mul", pair, weights), np.array([0]))
