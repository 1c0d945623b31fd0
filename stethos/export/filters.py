"""Recursive filters and a running median as ONNX nodes, float64, equal to scipy's to rounding.

A cascade of second-order sections is a linear system with two numbers of state a section. Taken BLOCK samples at
a time, with row vectors u for what comes in, y for what goes out and s for the state,

    y = u · H + s · O,    s′ = u · R + s · A,

where the rows of H are the responses to an impulse at each sample, O what each state still gives, R the state
that an impulse leaves, and A what becomes of the state over a block. Everything but s′ is a product over all blocks
at once, so that the loop (ONNX Scan) has one small product and one sum a block. That is the cascade itself, sample
for sample, and no approximation by a finite response.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.signal import sosfilt, sosfilt_zi

from stethos.export.graph import Graph

BLOCK = 64  # samples
MEDIANS = 250  # windows sorted at a time: 201 samples of float64 each are 0.4 MB


@dataclass(frozen=True)
class Blocks:
    """A filter over BLOCK samples.

    Args:
        given: H, `(BLOCK, BLOCK)`.
        remembered: O, `(states, BLOCK)`.
        learnt: R, `(BLOCK, states)`.
        kept: A, `(states, states)`.
    """

    given: np.ndarray
    remembered: np.ndarray
    learnt: np.ndarray
    kept: np.ndarray


def blocks(sos: np.ndarray) -> Blocks:
    """What a cascade does in BLOCK samples, found by running it on every impulse and every state.

    Args:
        sos: Second-order sections, `(sections, 6)`.
    """
    given, learnt = sosfilt(sos, np.eye(BLOCK), zi=np.zeros((len(sos), BLOCK, 2)))
    remembered, kept = _remembered(sos, BLOCK)
    learnt, kept = (after.swapaxes(0, 1).reshape(-1, 2 * len(sos)) for after in (learnt, kept))
    return Blocks(given, remembered, learnt, kept)


def zero_phase(graph: Graph, x: str, sos: np.ndarray, pad: int, samples: int) -> str:
    """Filter forwards and backwards, the ends continued through their mirrored turn.

    Args:
        graph: Is added to.
        x: float64 `(samples,)`.
        sos: Second-order sections, `(sections, 6)`.
        pad: Samples that each end is continued by, below `samples`.
        samples: Length of x.

    Returns:
        Name of float64 `(samples,)`, as `scipy.signal.sosfiltfilt(sos, x, padlen=pad)` gives it.
    """
    once = blocks(sos)
    begin = sosfilt_zi(sos).reshape(1, -1)
    length = samples + 2 * pad
    there = _one_way(graph, _continued(graph, x, pad), once, begin, length)
    back = _one_way(graph, graph.backwards(there), once, begin, length)
    return graph.slice(graph.backwards(back), pad, pad + samples)


def running_median(graph: Graph, x: str, size: int, samples: int) -> str:
    """Median around each sample; beyond the ends is 0.

    Args:
        graph: Is added to.
        x: float64 `(samples,)`.
        size: Samples of a window, odd.
        samples: Length of x.

    Returns:
        Name of float64 `(samples,)`, as `scipy.ndimage.median_filter(x, size, mode="constant")` gives it.
    """
    count = -(-samples // MEDIANS)
    half = size // 2
    after = np.zeros(half + count * MEDIANS - samples)
    padded = graph.add("Concat", np.zeros(half), x, after, axis=0)
    starts = graph.constant(np.arange(count)[:, None] * MEDIANS)
    spans = graph.add("Gather", padded, graph.add("Add", starts, np.arange(MEDIANS + size - 1)[None]))
    body = _medians(graph, size)
    medians = graph.add("Scan", spans, num_scan_inputs=1, body=body)  # (count, MEDIANS)
    return graph.slice(graph.reshaped(medians, -1), 0, samples)


def _remembered(sos: np.ndarray, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """What each state still gives, `(states, samples)`, and what becomes of it, `(sections, states, 2)`."""
    states = 2 * len(sos)
    each = np.eye(states).reshape(states, -1, 2).swapaxes(0, 1)  # (sections, states, 2)
    return sosfilt(sos, np.zeros((states, samples)), zi=each)


def _continued(graph: Graph, x: str, pad: int) -> str:
    """Each end turned by half a circle about its last sample, `(samples + 2 pad,)`."""
    first, last = graph.slice(x, 0, 1), graph.slice(x, -1, np.iinfo(np.int64).max)
    two = np.array([2.0])
    before = graph.add("Sub", graph.add("Mul", first, two), graph.slice(x, pad, 0, -1))
    after = graph.add("Sub", graph.add("Mul", last, two), graph.slice(x, -2, -pad - 2, -1))
    return graph.add("Concat", before, x, after, axis=0)


def _one_way(graph: Graph, x: str, filtered: Blocks, begin: np.ndarray, length: int) -> str:
    """The filter from the first sample on, settled at its value, `(length,)`."""
    padded = graph.add("Concat", x, np.zeros(-length % BLOCK), axis=0)
    return graph.slice(cascaded(graph, padded, filtered, begin), 0, length)


def cascaded(graph: Graph, x: str, filtered: Blocks, begin: np.ndarray) -> str:
    """A filter from the first sample on, settled at its value.

    Args:
        graph: Is added to.
        x: float64, any multiple of BLOCK samples.
        filtered: From `blocks`.
        begin: State to begin in for a first sample of 1, `(1, states)`.

    Returns:
        Name of float64, as long as x.
    """
    u = graph.reshaped(x, -1, BLOCK)  # (count, BLOCK)
    first = graph.add("Mul", graph.slice(x, 0, 1), begin)  # (1, states)
    learnt = graph.add("MatMul", u, filtered.learnt)  # (count, states)
    body = _onward(graph, filtered.kept)
    graph.add("Scan", first, learnt, outputs=2, num_scan_inputs=1, body=body)
    states = graph.nodes[-1].output[1]  # (count, 1, states)
    remembered = graph.add("MatMul", graph.reshaped(states, -1, len(filtered.kept)), filtered.remembered)
    return graph.reshaped(graph.add("Add", graph.add("MatMul", u, filtered.given), remembered), -1)


def _onward(graph: Graph, kept: np.ndarray) -> object:
    """The loop's body: the state before a block, and what it learns there → the state after."""
    body = Graph(f"{graph.prefix}loop_{len(graph.nodes)}/")
    s, learnt = body.prefix + "s", body.prefix + "learnt"
    before = body.add("Identity", s)
    after = body.add("Add", body.add("MatMul", s, kept), learnt)
    row = (np.float64, (1, len(kept)))
    inputs = {s: row, learnt: (np.float64, (len(kept),))}
    return body.closed("onward", inputs, {after: row, before: row})


def _medians(graph: Graph, size: int) -> object:
    """The loop's body: a span → the medians of all windows within it."""
    body = Graph(f"{graph.prefix}loop_{len(graph.nodes)}/")
    span = body.prefix + "span"
    starts = body.constant(np.arange(MEDIANS)[:, None])
    windows = body.add("Gather", span, body.add("Add", starts, np.arange(size)[None]))
    upper = body.add("TopK", windows, np.array([size // 2 + 1]), outputs=2, axis=1, sorted=0)
    median = body.add("ReduceMin", upper, np.array([1]), keepdims=0)
    inputs = {span: (np.float64, (MEDIANS + size - 1,))}
    return body.closed("medians", inputs, {median: (np.float64, (MEDIANS,))})
