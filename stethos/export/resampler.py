"""The polyphase resampler as ONNX nodes, float64, equal to `stethos.signal.resample` to rounding.

A fraction up / down of small numbers has `up` phases. Output m = up · q + p is

    y[m] = Σₖ h[p, k] · x[down · q + start[p] + k]

with the taps h[p] that meet samples of x rather than the zeros between. Each phase looks at as many samples as the
low-pass is long, however large `up` is, so the windows are gathered and the products summed: onnxruntime has no
convolution of float64.
"""

from __future__ import annotations

import numpy as np

from stethos.export.graph import Graph
from stethos.signal.resample import low_pass, route


def resampled(graph: Graph, x: str, samples: int, rate: float, target: float) -> tuple[str, int]:
    """The same signal at another rate.

    Args:
        graph: Is added to.
        x: float64 `(samples,)`, without NaN.
        samples: Length of x.
        rate: Hz.
        target: Hz.

    Returns:
        Name of a float64 vector with the digits of float32, and its length.

    Raises:
        RateError: As `stethos.signal.resample.resample` raises it.
    """
    if rate == target:
        return x, samples
    level = graph.add("ReduceMean", x, np.array([0]))
    x = graph.add("Sub", x, level)
    for step in route(rate, target):
        x, samples = _stepped(graph, x, samples, step.up, step.down)
    return graph.rounded(graph.add("Add", x, level)), samples


def phases(up: int, down: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each phase of a fraction begins to look, and what it multiplies with.

    Args:
        up: Factor of interpolation.
        down: Factor of decimation.

    Returns:
        First sample relative to down · q, `(up,)`, and taps, zero beyond the low-pass, `(up, width)`.
    """
    taps = up * low_pass(max(up, down))
    half = len(taps) // 2
    centre = np.arange(up) * down
    start = -((half - centre) // up)  # the first i with centre − up · i ≤ half
    width = 2 * half // up + 1
    place = half + centre[:, None] - up * (start[:, None] + np.arange(width))  # (up, width)
    within = (place >= 0) & (place < len(taps))
    return start, np.where(within, taps[np.clip(place, 0, len(taps) - 1)], 0.0)


def _stepped(graph: Graph, x: str, samples: int, up: int, down: int) -> tuple[str, int]:
    """One fraction; beyond its ends the signal goes on at its last value."""
    count = -(-samples * up // down)
    start, taps = phases(up, down)
    q = np.arange(-(-count // up))[:, None] * down
    first = graph.add("Unsqueeze", graph.add("Add", graph.constant(q), start[None]), np.array([2]))  # (q, up, 1)
    look = graph.add("Add", first, np.arange(taps.shape[1]))
    place = graph.add("Clip", look, np.array(0), np.array(samples - 1))
    products = graph.add("Mul", graph.add("Gather", x, place), taps)  # (q, up, width)
    y = graph.reshaped(graph.add("ReduceSum", products, np.array([2]), keepdims=0), -1)
    return graph.slice(y, 0, count), count
