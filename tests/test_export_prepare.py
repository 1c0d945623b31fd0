"""Preparations as graphs: Python's own numbers at every sample, scipy's filters, two graphs joined."""

import sys

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper
from scipy.ndimage import median_filter
from scipy.signal import butter, sosfiltfilt
from test_signal_beats import beat_times, strip

from stethos.errors import FormatError, MissingExtraError, RateError, RecipeError
from stethos.export.delineator import delineator_graph
from stethos.export.filters import BLOCK, running_median, zero_phase
from stethos.export.graph import FORMAT, OPSET, Graph, composed, read_metadata, write_metadata
from stethos.export.prepare import prepare_graph
from stethos.export.resampler import resampled
from stethos.signal import delineator
from stethos.signal.prepare import PREPARATIONS, Preparation
from stethos.signal.resample import resample
from stethos.synth.ecg import ecg
from stethos.synth.patient import hospital_world, visits
from stethos.types import Signal

RATES = (125, 250, 300, 360, 500, 512, 511.422, 512.844, 1000)
LIMIT = 1e-5  # of the standard deviation of what comes out


def run(model, **inputs):
    """What a graph gives, on one core and with a processor's own operators only."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]


def through(build, x):
    """A vector through nodes: build(graph, name) adds them and returns the name of the last."""
    graph = Graph()
    graph.named("y", build(graph, "x"))
    return run(graph.model("nodes", {"x": (np.float64, (len(x),))}, {"y": (np.float64, ("N",))}), x=x)


def lead(values, rate):
    return Signal(np.asarray(values)[None], rate, ("I",), "mV")


def windows(rate):
    """Ten seconds of what a recorder may see."""
    time = np.arange(round(10 * rate)) / rate
    generator = np.random.default_rng(round(rate))
    beats = strip(beat_times(70, 10), rate).values[0][: len(time)]
    return {
        "beats": beats,
        "beats on an electrode's offset": 300 - beats,
        "small beats on an offset": 0.1 * beats - 150,
        "white noise": generator.standard_normal(len(time)),
        "step": np.where(time < 5, 0.0, 1.0),
        "at its rail": np.clip(30 * beats, -5, 5),
        "wander": beats + np.sin(0.6 * time) + 0.3 * np.sin(2 * np.pi * 50 * time),
    }


def both(name, rate, values, model=None):
    """The graph's result and Python's."""
    signal = lead(values, rate)
    preparation = PREPARATIONS[name]
    got = run(model or prepare_graph(preparation, rate), signal=signal.values)
    assert got.shape == (1, 1, preparation.samples)
    assert got.dtype == np.float32
    return got[0], preparation.apply(signal)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("name", PREPARATIONS)
def test_every_sample_is_pythons(name, rate):
    model = prepare_graph(PREPARATIONS[name], rate)
    for kind, values in windows(rate).items():
        got, want = both(name, rate, values, model)
        assert want.std() > 0.1, kind
        assert np.abs(got - want).max() <= LIMIT * want.std(), kind


@pytest.mark.parametrize("name", PREPARATIONS)
def test_simulated_patients_are_prepared_as_in_python(name):
    world = hospital_world()
    rows = visits(24, 3, world)
    models = {rate: prepare_graph(PREPARATIONS[name], rate) for rate in (300, 500)}
    sites = set()
    for place in range(24):
        signal = ecg({column: values[place] for column, values in rows.items()}, 3, world)
        got, want = both(name, signal.rate, signal.values[0], models[signal.rate])
        assert np.abs(got - want).max() <= LIMIT * want.std()
        sites.add(rows["site"][place])
    assert sites == {"north", "south", "harbour"}


@pytest.mark.parametrize("rate", RATES)
def test_a_ramp_on_an_offset_is_left_as_in_python(rate):
    values = 300 + np.arange(round(10 * rate)) / rate
    for name in PREPARATIONS:  # 4 µV are left of it by "ecgfounder-v1"
        got, want = both(name, rate, values)
        assert np.abs(got - want).max() <= LIMIT * want.std()


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("value", [0.0, 0.1, -5.0, 300.0])
def test_a_constant_is_nothing(rate, value):
    got, _ = both("lead-v1", rate, np.full(round(10 * rate), value))
    assert not got.any()


@pytest.mark.parametrize(
    ("order", "cutoffs", "kind", "rate"),
    [(2, 0.5, "highpass", 1000), (4, 40, "lowpass", 90), (3, (5, 15), "bandpass", 250), (8, 100, "lowpass", 500)],
)
@pytest.mark.parametrize("samples", [BLOCK - 1, BLOCK, 3 * BLOCK + 5, 2000])
def test_a_filter_both_ways_is_scipys(order, cutoffs, kind, rate, samples):
    sos = butter(order, cutoffs, kind, fs=rate, output="sos")
    x = np.random.default_rng(samples).standard_normal(samples).cumsum() + 20
    for pad in (1, samples // 2, samples - 1):
        got = through(lambda graph, x, pad=pad: zero_phase(graph, x, sos, pad, samples), x)
        np.testing.assert_allclose(got, sosfiltfilt(sos, x, padlen=pad), atol=1e-9)


@pytest.mark.parametrize("size", [1, 5, 201])
@pytest.mark.parametrize("samples", [249, 250, 1001])
def test_the_running_median_is_scipys(size, samples):
    x = np.random.default_rng(size).standard_normal(samples).round(1)  # with ties
    got = through(lambda graph, x: running_median(graph, x, size, samples), x)
    assert np.array_equal(got, median_filter(x, size, mode="constant"))


@pytest.mark.parametrize(
    ("rate", "target"), [(500, 125), (125, 500), (360, 125), (512, 125), (511.422, 125), (512.844, 500), (128, 250)]
)
@pytest.mark.parametrize("samples", [40, 1000, 1003])
def test_resampling_is_pythons(rate, target, samples):
    x = (np.random.default_rng(0).standard_normal(samples).cumsum() + 7).astype(np.float32)
    got = through(lambda graph, x: resampled(graph, x, samples, rate, target)[0], x.astype(np.float64))
    want = resample(lead(x, rate), target).values[0]
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=2e-7, atol=1e-6)


@pytest.mark.parametrize("name", PREPARATIONS)
def test_a_graph_keeps_to_standard_operators_and_says_what_it_takes(name):
    model = prepare_graph(PREPARATIONS[name], 511.422)
    bodies = [part.g.node for node in model.graph.node for part in node.attribute if part.name == "body"]
    nodes = [*model.graph.node, *(node for body in bodies for node in body)]
    assert len(bodies) >= 4
    assert {node.domain for node in nodes} == {""}
    (taken,) = model.graph.input
    assert [size.dim_value for size in taken.type.tensor_type.shape.dim] == [1, 5114]
    assert model.ByteSize() < 5e5


def test_windows_of_another_length_are_refused():
    with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument, match="Expected: 5000"):
        run(prepare_graph(PREPARATIONS["lead-v1"], 500), signal=np.zeros((1, 5120), np.float32))


def test_what_python_refuses_has_no_graph():
    with pytest.raises(RateError, match="40 Hz needs a sampling rate above 80 Hz"):
        prepare_graph(PREPARATIONS["lead-v1"], 80)
    own = Preparation("own-v1", 125.0, 10.0, PREPARATIONS["lead-v1"].apply)
    with pytest.raises(RecipeError, match="one of the preparations lead-v1, ecgfounder-v1; got own-v1"):
        prepare_graph(own, 500)


def test_without_onnx_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=r'pip install "stethos\[edge\]"'):
        prepare_graph(PREPARATIONS["lead-v1"], 500)


def scorer(samples=1250, classes=3, **changed):
    """A linear network, its nodes named like those of a preparation."""
    weights = np.random.default_rng(1).standard_normal((samples, classes)).astype(np.float32)
    graph = Graph()
    graph.named("logit", graph.add("MatMul", graph.reshaped("x", -1, samples), weights))
    ends = {changed.get("input", "x"): (np.float32, ("B", 1, samples))}, {"logit": (np.float32, ("B", classes))}
    if "input" in changed:
        graph.nodes[0].input[0] = changed["input"]
    return graph.model("score", *ends), weights


@pytest.mark.parametrize("name", PREPARATIONS)
def test_two_graphs_joined_are_one_after_the_other(name):
    score, weights = scorer(PREPARATIONS[name].samples)
    prepare = prepare_graph(PREPARATIONS[name], 250)
    write_metadata(prepare, {"of": "the first"})
    write_metadata(score, {"of": "the second"})
    whole = composed(prepare, score)
    values = windows(250)["beats"]
    x, _ = both(name, 250, values)
    np.testing.assert_allclose(run(whole, signal=lead(values, 250).values), x @ weights, rtol=1e-4, atol=1e-4)
    (taken,), (given,) = whole.graph.input, whole.graph.output
    assert (taken.name, given.name) == ("signal", "logit")
    assert [size.dim_value for size in given.type.tensor_type.shape.dim] == [1, 3]
    assert not whole.metadata_props
    assert [model.graph.input[0].name for model in (prepare, score)] == ["signal", "x"]  # both as they were


def test_graphs_that_do_not_fit_are_not_joined():
    prepare = prepare_graph(PREPARATIONS["lead-v1"], 250)
    for score in (scorer(samples=1251)[0], scorer(input="trace")[0]):
        with pytest.raises(FormatError, match='one output "x" that is the other\'s one input "x"'):
            composed(prepare, score)
    score, _ = scorer()
    score.opset_import[0].version = OPSET - 1
    with pytest.raises(FormatError, match=rf"\({FORMAT}, {OPSET}\), the network \({FORMAT}, {OPSET - 1}\)"):
        composed(prepare, score)


def test_facts_come_back_from_the_file(tmp_path):
    model, _ = scorer()
    helper.set_model_props(model, {"author": "somebody"})
    facts = {"system": "pocket_k", "threshold": {"logit": -1.25, "chosen": "sensitivity ≥ 0.9"}, "names": ["K > 5.5"]}
    write_metadata(model, {"old": True})
    write_metadata(model, facts)
    onnx.save(model, tmp_path / "score.onnx")
    assert read_metadata(tmp_path / "score.onnx") == facts
    held = onnxruntime.InferenceSession(tmp_path / "score.onnx").get_modelmeta().custom_metadata_map
    assert held["author"] == "somebody"
    with pytest.raises(FormatError, match="what JSON can hold"):
        write_metadata(model, {"risk": float("nan")})


def test_files_without_facts_are_refused(tmp_path):
    onnx.save(scorer()[0], tmp_path / "bare.onnx")
    with pytest.raises(FormatError, match=r'bare.onnx: needs the metadata "stethos"'):
        read_metadata(tmp_path / "bare.onnx")
    (tmp_path / "text.onnx").write_text("no graph")
    for name in ("text.onnx", "nowhere.onnx"):
        with pytest.raises(FormatError, match=rf"{name}: no ONNX file that can be opened"):
            read_metadata(tmp_path / name)


def test_equal_constants_are_stored_once():
    graph = Graph()
    first = graph.constant(np.arange(6.0))
    assert graph.constant(np.arange(6.0)) == first
    others = [np.arange(6.0).reshape(2, 3), np.arange(6), np.arange(6.0) + 1]
    assert len({first, *map(graph.constant, others)}) == 4
    assert np.array_equal(numpy_helper.to_array(graph.constants[1]), others[0])


@pytest.mark.parametrize("samples", [32, 2496])
def test_the_delineators_graph_gives_its_shares(samples):
    trace = delineator.prepared(strip(beat_times(70, 10), 250))[:samples].astype(np.float32)
    got = run(delineator_graph(), trace=trace[None])
    want = delineator.shares(trace, delineator.trained())
    assert got.shape == (4, samples)
    np.testing.assert_allclose(got, want, atol=1e-5)
    assert samples == 32 or got.max(axis=1).min() > 0.5  # every kind of wave is seen
