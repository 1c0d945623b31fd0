"""CAP as graphs: from a pulse as a device records it to the answers, or to its place in the space of recordings.

    signal, refused (1, T) ── gaps, held values ── resample ── upright ── without wander ── scale ──► x (1, P, 2, S)
    x (B, P, 2, S) ── network ──► answer (B, K), or embedding (B, W)

A recording is prepared as a whole: its polarity, its slowest wander and its scale are one for all patches. So T is of
any size, and each number of the preparation that depends on it is computed in the graph, in float64, with the digits of
float32 where Python has no more. Python takes a recording longer than `stethos.signal.patches.at_once` piece by piece,
and a graph takes it in one piece.

What Python refuses to prepare (shorter than 3 s, under 1 s of it valid, nothing that moves) gets patches of which
nothing is valid, and of such patches a network says NaN.

    filling a gap     y = a + (b − a)(t − t_a) / (t_b − t_a)    between its neighbours, numbered by a running sum
    mirroring         m = t mod 2(T − 1),   place = min(m, 2(T − 1) − m)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
import torch
from scipy.signal import sosfilt_zi
from torch import Tensor, nn

from stethos.errors import RecipeError
from stethos.export.filters import BLOCK, Blocks, blocks, cascaded
from stethos.export.graph import Graph, Shape
from stethos.export.resampler import phases
from stethos.export.score import score_graph
from stethos.signal.filter import butterworth
from stethos.signal.patches import (
    CLIP,
    HELD_SECONDS,
    LEAST_SECONDS,
    REFERENCE_SECONDS,
    SHORTEST_SECONDS,
    SPREAD,
    TAIL,
    WANDER,
)
from stethos.signal.pulse import PAD_SECONDS, POLARITY_SECONDS, PULSE_BAND, SLOPE_RATE, STILL, refuse_other
from stethos.signal.resample import route
from stethos.types import Signal

if TYPE_CHECKING:
    from onnx import ModelProto

_END = np.array([np.iinfo(np.int64).max])
_PRODUCTS = 1 << 17  # of the resampler at a time: a megabyte of float64
_EXAMPLE = 3  # patches


class Patching(NamedTuple):
    """How a recording is cut.

    Args:
        rate: Of what the device records, Hz.
        target: Of a patch, Hz.
        seconds: Length of a patch.
    """

    rate: float
    target: float
    seconds: float

    @property
    def samples(self) -> int:
        """S, of a patch."""
        return round(self.target * self.seconds)


class Trace(NamedTuple):
    """Names of samples and of which of them were recorded, and count."""

    values: str  # float64 (T,); anything where not known
    known: str  # Boolean (T,)


class Spoken(nn.Module):
    """A network that says nothing, NaN, of a recording in which nothing is valid.

    Args:
        network: The network.
        method: Its method that takes `(B, P, 2, S)` and gives `(B, K)`.
    """

    def __init__(self, network: nn.Module, method: str) -> None:
        super().__init__()
        self.network, self.method = network, method

    def score(self, x: Tensor) -> Tensor:
        """What the method says, `(B, P, 2, S)` to `(B, K)`."""
        said = cast(Tensor, getattr(self.network, self.method)(x))
        there = (x[:, :, 1] > 0).flatten(1).any(1, keepdim=True)
        return torch.where(there, said, torch.nan)


def network_graph(network: Spoken, samples: int, output: str) -> ModelProto:
    """A network of the pulse as a graph for any number of recordings of any number of patches.

    Args:
        network: In evaluation mode.
        samples: S, of a patch.
        output: Name of what it says: "answer" or "embedding".

    Returns:
        "x" float32 `(B, P, 2, S)` → `output` float32 `(B, K)`.

    Raises:
        WeightsError: The graph's answers are not those of the network.
        MissingExtraError: onnx, onnxscript or onnxruntime is not installed.
    """
    return score_graph(network, (_EXAMPLE, 2, samples), "score", output, {1: "P"})


def prepare_graph(name: str, patching: Patching) -> ModelProto:
    """A preparation of the pulse for recordings of one sampling rate.

    Args:
        name: "pulse-v1" or "pulse-published".
        patching: Rates, and length of a patch.

    Returns:
        From "signal" float32 `(1, T)`, any unit, NaN where nothing was recorded, and with "pulse-v1" "refused" Boolean
        `(1, T)`, True for what must not count, to "x" float32 `(1, P, 2, S)`: values, and 1 where they are valid.

    Raises:
        RecipeError: The preparation is another one.
        RateError: It cannot be had from this rate.
        MissingExtraError: onnx is not installed.
    """
    if name not in _BUILD:
        raise RecipeError(f"an ONNX graph needs one of the preparations {', '.join(_BUILD)}; got {name}")
    refuse_other(Signal(np.zeros((1, 1)), patching.rate, ("PLETH",), "1"))
    graph, takes = Graph(), dict[str, tuple[type, Shape]](signal=(np.float32, (1, "T")))
    if name == "pulse-v1":
        takes["refused"] = (np.bool_, (1, "T"))
    x = _BUILD[name](graph, graph.reshaped("signal", -1), patching)
    graph.named("x", x)
    return graph.model(name, takes, {"x": (np.float32, (1, "P", 2, patching.samples))})


def pulse_v1(graph: Graph, signal: str, patching: Patching) -> str:
    """`stethos.signal.patches.unify` in nodes: from float32 `(T,)` to `(1, P, 2, S)`."""
    heard = _heard(graph, signal, graph.reshaped("refused", -1), patching.rate)
    slower = _resampled(graph, heard, patching.rate, patching.target)
    filled = _bridged(graph, slower)
    filled = graph.add("Mul", filled, _uprightness(graph, filled, slower.known, patching.target))
    still = _without_wander(graph, filled, patching.target)
    scaled, moves = _scaled(graph, still, slower.known)
    enough = graph.add(
        "GreaterOrEqual", _float(graph, _total(graph, slower.known)), np.array([LEAST_SECONDS * patching.target])
    )
    may = graph.add("And", graph.add("And", moves, enough), _long_enough(graph, signal, patching.rate))
    return _cut(graph, Trace(scaled, graph.add("And", slower.known, may)), patching.samples)


def pulse_published(graph: Graph, signal: str, patching: Patching) -> str:
    """`stethos.signal.patches.reference_patches` in nodes: from float32 `(T,)` to `(1, P, 2, S)`."""
    whole = round(REFERENCE_SECONDS * patching.rate)
    recorded = graph.slice(graph.add("Where", _finite(graph, signal), signal, np.zeros(1, np.float32)), 0, whole)
    scaled, spread = _scored(graph, graph.cast(recorded, np.float64), whole)
    count = _float(graph, _count(graph, scaled))
    points = graph.add("Div", count, np.array([patching.rate]))
    points = graph.add("Mul", points, np.array([float(patching.samples)]))
    points = graph.cast(graph.add("Floor", graph.add("Div", points, np.array([patching.seconds]))), np.int64)
    step = graph.add("Div", count, _float(graph, _at_least(graph, points, 1)))
    place = graph.add("Mul", graph.add("Add", _float(graph, _numbers(graph, points)), np.array([0.5])), step)
    stretched = _between(graph, scaled, graph.add("Sub", place, np.array([0.5])))
    patches = _at_least(graph, graph.add("Div", points, np.array([patching.samples])), 1)
    kept = graph.add("Min", points, graph.add("Mul", patches, np.array([patching.samples])))
    may = graph.add("And", graph.add("Greater", spread, np.zeros(1)), _long_enough(graph, signal, patching.rate))
    return _cut(
        graph, Trace(_part(graph, stretched, np.zeros(1, int), kept), graph.add("Expand", may, kept)), patching.samples
    )


Build = Callable[[Graph, str, Patching], str]
"""Graph, signal float32 `(T,)`, rates → float32 `(1, P, 2, S)`."""

_BUILD: Mapping[str, Build] = MappingProxyType({"pulse-v1": pulse_v1, "pulse-published": pulse_published})


# --- what was recorded --------------------------------------------------------------------------------------


def _heard(graph: Graph, signal: str, refused: str, rate: float) -> Trace:
    """The samples around their median; known is what was recorded, counts, and is not held."""
    recorded = _finite(graph, signal)
    signal = graph.add("Where", recorded, signal, np.array([np.nan], np.float32))
    level = _median(
        graph, graph.add("Where", recorded, signal, np.array([np.inf], np.float32)), _total(graph, recorded)
    )
    lost = graph.add("Or", refused, _held(graph, signal, rate))
    trace = graph.cast(graph.add("Sub", signal, level), np.float64)
    return Trace(trace, graph.add("And", recorded, graph.add("Not", lost)))


def _held(graph: Graph, signal: str, rate: float) -> str:
    """Which samples stand at one value for too long, Boolean `(T,)`."""
    same = graph.add("Equal", graph.slice(signal, 1, int(_END[0])), graph.slice(signal, 0, -1))
    changed = graph.add("Concat", np.array([True]), graph.add("Not", same), axis=0)
    start = graph.reshaped(graph.add("NonZero", changed), -1)  # (runs,)
    stop = graph.add("Concat", graph.slice(start, 1, int(_END[0])), _count(graph, signal), axis=0)
    length = _float(graph, graph.add("Sub", stop, start))
    long = graph.add("GreaterOrEqual", length, np.array([HELD_SECONDS * rate]))
    run = graph.add("Sub", _running(graph, changed), np.array([1]))
    return graph.add("Gather", long, run)


def _bridged(graph: Graph, trace: Trace) -> str:
    """Gaps filled by straight lines, ends held, 0 where nothing is known: `stethos.signal.gaps.bridge`."""
    values, known = trace
    rank, count = _running(graph, known), _total(graph, known)
    at = graph.add("Concat", graph.reshaped(graph.add("NonZero", known), -1), np.array([0]), axis=0)
    last = _at_least(graph, graph.add("Sub", count, np.array([1])), 0)
    before = graph.add("Gather", at, _at_least(graph, graph.add("Min", graph.add("Sub", rank, np.array([1])), last), 0))
    after = graph.add("Gather", at, graph.add("Min", rank, last))
    low, high = (graph.add("Gather", values, side) for side in (before, after))
    apart = _float(graph, _at_least(graph, graph.add("Sub", after, before), 1))
    slope = graph.add("Div", graph.add("Sub", high, low), apart)
    since = _float(graph, graph.add("Sub", _numbers(graph, _count(graph, values)), before))
    line = graph.add("Add", graph.add("Mul", slope, since), low)
    filled = graph.add("Where", known, values, line)
    return graph.add("Where", graph.add("Greater", count, np.array([0])), filled, np.zeros(1))


def _long_enough(graph: Graph, signal: str, rate: float) -> str:
    seconds = graph.add("Div", _float(graph, _count(graph, signal)), np.array([rate]))
    return graph.add("GreaterOrEqual", seconds, np.array([(1 - TAIL) * SHORTEST_SECONDS]))


# --- another rate -------------------------------------------------------------------------------------------


def _resampled(graph: Graph, trace: Trace, rate: float, target: float) -> Trace:
    """`stethos.signal.resample.resample`, any number of samples."""
    if rate == target:
        return trace
    x = _bridged(graph, trace)
    level = graph.add("ReduceMean", x, np.array([0]))
    y = graph.add("Sub", x, level)
    for step in route(rate, target):
        y = _stepped(graph, y, step.up, step.down)
    y = graph.rounded(graph.add("Add", y, level))
    source = graph.add("Mul", _float(graph, _numbers(graph, _count(graph, y))), np.array([rate / target]))
    source = graph.cast(graph.add("Round", source), np.int64)
    last = graph.add("Sub", _count(graph, x), np.array([1]))
    return Trace(y, graph.add("Gather", trace.known, graph.add("Min", source, last)))


def _stepped(graph: Graph, x: str, up: int, down: int) -> str:
    """One fraction, some outputs of every phase at a time; beyond its ends the signal goes on at its last value."""
    start, taps = phases(up, down)
    rows = max(1, _PRODUCTS // taps.size)
    count = _count(graph, x)
    made = graph.add(
        "Div", graph.add("Add", graph.add("Mul", count, np.array([up])), np.array([down - 1])), np.array([down])
    )
    turns = graph.add("Div", graph.add("Add", made, np.array([rows * up - 1])), np.array([rows * up]))
    first = graph.add("Mul", _numbers(graph, turns), np.array([rows * down]))  # (turns,)
    body = Graph(f"{graph.prefix}loop_{len(graph.nodes)}/")
    begin = body.prefix + "begin"
    q = body.add("Add", body.constant(np.arange(rows)[:, None, None] * down + start[None, :, None]), begin)
    place = body.add("Add", q, np.arange(taps.shape[1]))  # (rows, up, width)
    place = _at_least(body, body.add("Min", place, graph.add("Sub", count, np.array([1]))), 0)
    y = body.add("ReduceSum", body.add("Mul", body.add("Gather", x, place), taps), np.array([2]), keepdims=0)
    closed = body.closed("phases", {begin: (np.int64, ())}, {y: (np.float64, (rows, up))})
    every = graph.add("Scan", first, num_scan_inputs=1, body=closed)  # (turns, rows, up)
    return _part(graph, graph.reshaped(every, -1), np.zeros(1, int), made)


# --- polarity, wander, scale --------------------------------------------------------------------------------


def _uprightness(graph: Graph, x: str, known: str, rate: float) -> str:
    """−1 where falls are steeper than rises in most stretches, else 1, `(1,)`: `stethos.signal.pulse.inverted`."""
    step = max(1, int(rate / SLOPE_RATE))
    slope = graph.slice(_pulse_band(graph, x, rate), 0, int(_END[0]), step)
    slope = graph.add("Sub", graph.slice(slope, 1, int(_END[0])), graph.slice(slope, 0, -1))
    count = graph.add("Div", _float(graph, _count(graph, x)), np.array([POLARITY_SECONDS * rate]))
    count = _at_least(graph, graph.cast(graph.add("Round", count), np.int64), 1)
    span = graph.add("Div", _count(graph, slope), count)
    parts = _stretches(graph, slope, count, span)
    parts = graph.add("Sub", parts, _mean(graph, parts, 1))
    square = graph.add("Mul", parts, parts)
    power = _mean(graph, square, 1)  # (count, 1)
    cube = _mean(graph, graph.add("Mul", square, parts), 1)
    root = graph.add("Max", graph.add("Pow", power, np.array([1.5])), np.array([np.finfo(float).tiny]))
    moves = graph.add("Greater", power, graph.add("Mul", graph.add("ReduceMax", power), np.array([STILL])))
    there = graph.slice(graph.slice(graph.cast(known, np.float64), 0, int(_END[0]), step), 1, int(_END[0]))
    there = graph.add("GreaterOrEqual", _mean(graph, _stretches(graph, there, count, span), 1), np.array([0.5]))
    counts = graph.add("And", there, moves)
    skew = graph.add("Where", counts, graph.add("Div", cube, root), np.array([np.inf]))
    middle = _median(graph, graph.reshaped(skew, -1), _total(graph, graph.reshaped(counts, -1)))
    return graph.add("Where", graph.add("Less", middle, np.zeros(1)), np.array([-1.0]), np.array([1.0]))


def _stretches(graph: Graph, x: str, count: str, span: str) -> str:
    """The first samples as rows, `(count, span)`."""
    kept = _part(graph, x, np.zeros(1, int), graph.add("Mul", span, count))
    return graph.add("Reshape", kept, graph.add("Concat", count, span, axis=0))


def _pulse_band(graph: Graph, x: str, rate: float) -> str:
    """`stethos.signal.pulse.filtered` to the band of the pulse wave, `(T,)`."""
    count = _count(graph, x)
    top = graph.add("Sub", count, np.array([1]))
    first, last = graph.slice(x, 0, 1), graph.slice(x, -1, int(_END[0]))
    step = graph.add("Div", graph.add("Sub", last, first), _float(graph, _at_least(graph, top, 1)))
    line = graph.add("Add", graph.add("Mul", _float(graph, _numbers(graph, count)), step), first)
    room = graph.add("Min", top, np.array([round(PAD_SECONDS * rate)]))
    place = _around(graph, room, count)
    inside = graph.add("And", graph.add("GreaterOrEqual", place, np.array([0])), graph.add("LessOrEqual", place, top))
    sign = graph.add("Where", inside, np.array([1.0]), np.array([-1.0]))
    turned = graph.add("Gather", graph.add("Sub", x, line), _mirrored(graph, place, top))
    wave = _both_ways(graph, graph.add("Mul", turned, sign), butterworth(2, PULSE_BAND, "bandpass", rate))
    return _part(graph, wave, room, graph.add("Add", room, count))


def _without_wander(graph: Graph, x: str, rate: float) -> str:
    """Without straight line and slowest part, the ends mirrored as often as it takes, `(T,)`."""
    count = _count(graph, x)
    top = _at_least(graph, graph.add("Sub", count, np.array([1])), 1)
    time = graph.add(
        "Mul", _float(graph, _numbers(graph, count)), graph.add("Div", np.array([2.0]), _float(graph, top))
    )
    time = graph.add("Sub", time, np.array([1.0]))
    x = graph.add("Sub", x, _mean(graph, x, 0))
    slope = graph.add("Div", _sum(graph, graph.add("Mul", x, time)), _sum(graph, graph.add("Mul", time, time)))
    x = graph.add("Sub", x, graph.add("Mul", time, slope))
    room = graph.constant(np.array([round(rate / WANDER)]))
    mirrored = graph.add("Gather", x, _mirrored(graph, _around(graph, room, count), top))
    fast = _both_ways(graph, mirrored, butterworth(2, (WANDER,), "highpass", rate))
    return _part(graph, fast, room, graph.add("Add", room, count))


def _scaled(graph: Graph, x: str, valid: str) -> tuple[str, str]:
    """Robust z-score over the valid samples, `(T,)`, and whether anything moves, `(1,)`."""
    count = _total(graph, valid)
    rising = graph.add(
        "TopK", graph.add("Where", valid, x, np.array([np.inf])), _count(graph, x), outputs=2, axis=0, largest=0
    )
    low, middle, high = (_percentile(graph, rising, percent, count) for percent in (SPREAD[0], 50.0, SPREAD[1]))
    spread = graph.add("Mul", graph.add("Sub", high, low), np.array([0.5]))
    largest = graph.add("ReduceMax", graph.add("Abs", x), np.array([0]))
    moves = graph.add("Greater", spread, graph.add("Mul", largest, np.array([1e-6])))
    z = graph.add("Clip", graph.add("Div", graph.add("Sub", x, middle), spread), np.array(-CLIP), np.array(CLIP))
    return graph.add("Where", graph.add("And", valid, moves), z, np.zeros(1)), moves


def _scored(graph: Graph, x: str, whole: int) -> tuple[str, str]:
    """(x − mean) / standard deviation as if x were filled up with zeros, `(T,)`, and that deviation, `(1,)`."""
    mean = graph.add("Div", _sum(graph, x), np.array([float(whole)]))
    apart = graph.add("Sub", x, mean)
    lacking = graph.add("Sub", np.array([float(whole)]), _float(graph, _count(graph, x)))
    square = graph.add(
        "Add", _sum(graph, graph.add("Mul", apart, apart)), graph.add("Mul", lacking, graph.add("Mul", mean, mean))
    )
    spread = graph.add("Sqrt", graph.add("Div", square, np.array([float(whole)])))
    return graph.add("Div", apart, spread), spread


def _between(graph: Graph, x: str, place: str) -> str:
    """Straight lines between samples, the ends held: x at places with fractions."""
    last = graph.add("Sub", _count(graph, x), np.array([1]))
    inside = graph.add("Max", graph.add("Min", place, _float(graph, last)), np.zeros(1))
    before = graph.add("Floor", inside)
    at = graph.cast(before, np.int64)
    low = graph.add("Gather", x, at)
    high = graph.add("Gather", x, graph.add("Min", graph.add("Add", at, np.array([1])), last))
    return graph.add("Add", low, graph.add("Mul", graph.add("Sub", high, low), graph.add("Sub", inside, before)))


def _cut(graph: Graph, trace: Trace, samples: int) -> str:
    """Patches end to end and their validity, float32 `(1, P, 2, S)`."""
    count = graph.add(
        "Sub",
        graph.add("Div", _float(graph, _count(graph, trace.values)), np.array([float(samples)])),
        np.array([TAIL]),
    )
    patches = _at_least(graph, graph.cast(graph.add("Ceil", count), np.int64), 1)
    total = graph.add("Mul", patches, np.array([samples]))
    values = graph.add("Where", trace.known, trace.values, np.zeros(1))
    sides = [
        graph.reshaped(
            _part(
                graph,
                graph.add("Concat", graph.cast(side, np.float32), np.zeros(samples, np.float32), axis=0),
                np.zeros(1, int),
                total,
            ),
            1,
            -1,
            1,
            samples,
        )
        for side in (values, trace.known)
    ]
    return graph.add("Concat", *sides, axis=2)


# --- pieces -------------------------------------------------------------------------------------------------


def _both_ways(graph: Graph, x: str, sos: np.ndarray) -> str:
    """A filter forwards and backwards over what is continued already."""
    once, begin = blocks(sos), sosfilt_zi(sos).reshape(1, -1)
    there = _one_way(graph, x, once, begin)
    return graph.backwards(_one_way(graph, graph.backwards(there), once, begin))


def _one_way(graph: Graph, x: str, filtered: Blocks, begin: np.ndarray) -> str:
    count = _count(graph, x)
    short = graph.add("Mod", graph.add("Neg", count), np.array([BLOCK]))
    padded = graph.add("Concat", x, graph.add("Expand", np.zeros(1), short), axis=0)
    return _part(graph, cascaded(graph, padded, filtered, begin), np.zeros(1, int), count)


def _around(graph: Graph, room: str, count: str) -> str:
    """Places from −room up to room beyond the last sample."""
    ends = graph.add("Neg", room), graph.add("Add", count, room)
    return graph.add("Range", *(graph.add("Squeeze", end) for end in ends), np.array(1))


def _mirrored(graph: Graph, place: str, top: str) -> str:
    """Places brought back between 0 and the last sample `top`, as between two mirrors."""
    period = graph.add("Mul", top, np.array([2]))
    once = graph.add("Mod", place, period)
    return graph.add("Min", once, graph.add("Sub", period, once))


def _percentile(graph: Graph, rising: str, percent: float, count: str) -> str:
    """Between two of the first `count` numbers in a straight line, as numpy does it, `(1,)`."""
    last = _at_least(graph, graph.add("Sub", count, np.array([1])), 0)
    place = graph.add("Mul", _float(graph, last), np.array([percent / 100]))
    before = graph.add("Floor", place)
    at = graph.cast(before, np.int64)
    low = graph.add("Gather", rising, at)
    high = graph.add("Gather", rising, graph.add("Min", graph.add("Add", at, np.array([1])), last))
    return graph.add("Add", low, graph.add("Mul", graph.add("Sub", high, low), graph.add("Sub", place, before)))


def _median(graph: Graph, x: str, count: str) -> str:
    """Of the `count` smallest numbers, `(1,)`; the others are infinite."""
    rising = graph.add("TopK", x, _count(graph, x), outputs=2, axis=0, largest=0)
    last = _at_least(graph, graph.add("Sub", count, np.array([1])), 0)
    sides = [
        graph.add("Gather", rising, graph.add("Div", number, np.array([2])))
        for number in (last, graph.add("Add", last, np.array([1])))
    ]
    return _mean(graph, graph.add("Concat", *sides, axis=0), 0)


def _count(graph: Graph, x: str) -> str:
    """Samples of a vector, int64 `(1,)`."""
    return graph.add("Shape", x)


def _numbers(graph: Graph, count: str) -> str:
    """0, 1, …, int64."""
    return graph.add("Range", np.array(0), graph.add("Squeeze", count), np.array(1))


def _total(graph: Graph, marked: str) -> str:
    """How many are True, int64 `(1,)`."""
    return graph.add("ReduceSum", graph.cast(marked, np.int64), np.array([0]))


def _running(graph: Graph, marked: str) -> str:
    """How many are True up to each, itself included, int64 `(T,)`."""
    return graph.add("CumSum", graph.cast(marked, np.int64), np.array(0))


def _finite(graph: Graph, x: str) -> str:
    return graph.add("Not", graph.add("Or", graph.add("IsNaN", x), graph.add("IsInf", x)))


def _part(graph: Graph, x: str, start: str | np.ndarray, stop: str) -> str:
    return graph.add("Slice", x, start, stop, np.array([0]))


def _at_least(graph: Graph, x: str, least: int) -> str:
    return graph.add("Max", x, np.array([least]))


def _float(graph: Graph, x: str) -> str:
    return graph.cast(x, np.float64)


def _mean(graph: Graph, x: str, axis: int) -> str:
    return graph.add("ReduceMean", x, np.array([axis]))


def _sum(graph: Graph, x: str) -> str:
    return graph.add("ReduceSum", x, np.array([0]))
