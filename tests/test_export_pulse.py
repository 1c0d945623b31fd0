"""CAP on a device: its preparation as a graph, its networks, a folder beside its run, and the gate."""

import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from pulse_recordings import marsh, troika
from pulses import beat_shape, feet_at, pulse_of

from stethos.cli import main
from stethos.data.cohort import open_cohort
from stethos.errors import CohortError, QualityError, RateError, RecipeError
from stethos.export import parity_pulse, run_pulse
from stethos.export import pulse as graphs
from stethos.export.graph import composed
from stethos.export.parity_pulse import LIMITS, HeldOut, Recording, compared
from stethos.export.pulse import Patching, Spoken, network_graph, prepare_graph
from stethos.export.run_pulse import RefusedError
from stethos.export.score import session
from stethos.io import read
from stethos.signal import pulse, pulse_quality
from stethos.signal.patches import at_once, reference_patches, resample_long, unify
from stethos.study import handheld_pulse, validate
from stethos.study.handheld import Wanted
from stethos.study.partition import Partition
from stethos.synth import hospital, ppg_world
from stethos.systems import cap, load
from stethos.systems.cap import CAP, Estimator
from stethos.types import Predictions, Run, Schedule, Signal

onnx = pytest.importorskip("onnx")

RATES = (25.0, 40.0, 62.4725, 64.0, 125.0, 250.0, 511.422, 1000.0)
LIMIT = 1e-5  # of the standard deviation of what comes out
SMALL = replace(
    cap.tiny(),
    tasks=("af", "hr", "sbp", "age > 60"),
    width=16,
    heads=2,
    feedforward=16,
    layers=1,
    space=8,
    swing=4,
    morphology=(16,),
    records="none",
    tune_steps=12,
    tune_batch=8,
    tune_lr=0.01,
    parts=Partition(held_out_sites=("harbour",), valid_fraction=0.2, test_fraction=0.25),
    schedule=Schedule(steps=4, batch=12, lr=1e-3, validate_every=2),
)
BLOCKED = """
import runpy, sys
class Wall:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "scipy", "stethos", "onnx", "pandas", "sklearn"}:
            raise ImportError(f"{name} is not here")
sys.meta_path.insert(0, Wall())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def stethos(*arguments: object) -> None:
    main([str(item) for item in arguments])


def refused(capsys, *arguments: object) -> str:
    """The one sentence of a command that ends with exit code 2."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        stethos(*arguments)
    said = capsys.readouterr().err
    assert (stop.value.code, said.count("\n")) == (2, 1), said
    return said


# --- the preparation ----------------------------------------------------------------------------------------


def pulse_with(rate: float, seconds: float = 75.0, **change) -> Signal:
    return pulse_of(feet_at(72, seconds), rate, seconds, noise=0.01, **change)


def recorded(rate: float) -> dict[str, tuple[np.ndarray, list]]:
    """What a device may record, each with the spans that the program around refuses."""
    plain, time = pulse_with(rate).values[0], np.arange(round(75 * rate)) / rate
    within = {name: (time >= a) & (time < b) for name, (a, b) in {"gap": (10, 17), "held": (20, 24)}.items()}
    short, odd = (pulse_with(rate, seconds).values[0] for seconds in (3.2, 30.29))
    return {
        "plain": (plain, []),
        "upside down on an offset": (1e4 - 37 * plain, []),
        "a gap, and a number that is none": (np.where(within["gap"], np.nan, np.where(time == 40, np.inf, plain)), []),
        "nothing at either end": (np.where((time < 2) | (time > 73.5), np.nan, plain), []),
        "held for 4 s, and for 1 s": (np.where(within["held"] | ((time >= 50) & (time < 51)), 0.3, plain), []),
        "nine tenths refused": (-pulse_with(rate, 300).values[0], [(30.0, 300.0)]),
        "held across a refused patch": (np.where((time >= 28) & (time < 31.5), 0.5, plain), [(30.0, 60.0)]),
        "drifting": (plain + 5 * np.sin(0.05 * time) + 0.3 * time + 100, []),
        "three seconds": (short, []),
        "a patch and a rest that is none": (odd, []),
    }


def prepared(model, values: np.ndarray, rate: float, lost=()) -> np.ndarray:
    left_out = np.zeros(len(values), bool)
    for start, stop in lost:
        left_out[round(start * rate) : round(stop * rate)] = True
    return run_pulse.spoken(model, np.asarray(values, np.float32), left_out)


@pytest.mark.parametrize("rate", RATES)
def test_every_sample_and_its_validity_are_pythons(rate):
    model = session(prepare_graph("pulse-v1", Patching(rate, 40.0, 30.0)))
    for kind, (values, lost) in recorded(rate).items():
        want, valid = unify(Signal(values[None], rate, ("PLETH",), "1"), 40.0, 30.0, lost)
        got = prepared(model, values, rate, lost)
        assert got.shape == (len(want), 2, 1200), kind
        assert np.array_equal(got[:, 1], valid), kind
        spread = want[valid].std()
        assert np.abs(got[:, 0] - want).max() <= LIMIT * spread, kind
        assert spread > 0.3, kind


@pytest.mark.parametrize("rate", [25.0, 62.4725, 125.0, 1000.0])
def test_the_published_preparation_is_pythons(rate):
    model = session(prepare_graph("pulse-published", Patching(rate, 40.0, 25.0)))
    kinds = recorded(rate)
    del kinds["a gap, and a number that is none"]  # which Python takes for the largest that there is
    kinds["beyond five minutes"] = (pulse_with(rate, 320).values[0], [])
    for kind, (values, _) in kinds.items():
        want, valid = reference_patches(Signal(values[None], rate, ("PLETH",), "1"), 1000, 25.0)
        got = prepared(model, values, rate)
        assert np.array_equal(got[:, 1], valid), kind
        assert np.abs(got[:, 0] - want).max() <= LIMIT * want.std(), kind


def test_another_rate_and_length_of_patches_are_had_too():
    values = -pulse_with(500.0).values[0]
    want, valid = unify(Signal(values[None], 500.0, ("PLETH",), "1"), 100.0, 10.0)
    got = prepared(session(prepare_graph("pulse-v1", Patching(500.0, 100.0, 10.0))), values, 500.0)
    assert got.shape == (8, 2, 1000)
    assert np.array_equal(got[:, 1], valid)
    assert np.abs(got[:, 0] - want).max() <= LIMIT * want.std()


@pytest.mark.parametrize(
    "values",
    [
        np.full(7500, 3.5),
        np.full(7500, np.nan),
        pulse_with(125.0, 2.0).values[0],
        np.r_[np.full(7400, np.nan), 0.1, 0.2],
    ],
)
def test_where_python_refuses_nothing_is_valid(values):
    with pytest.raises(QualityError):
        unify(Signal(values[None], 125.0, ("PLETH",), "1"))
    assert not prepared(session(prepare_graph("pulse-v1", Patching(125.0, 40.0, 30.0))), values, 125.0).any()


def test_a_beat_drawn_by_hand_comes_out_upright_of_unit_spread():
    """Half the distance from the 16th to the 84th percentile of the valid samples is 1, and their median 0."""
    time = np.arange(60 * 100) / 100
    values = -sum(beat_shape(time - foot) * (time > foot) for foot in feet_at(60, 60))
    got = prepared(session(prepare_graph("pulse-v1", Patching(100.0, 40.0, 30.0))), values, 100.0)
    low, middle, high = np.percentile(got[:, 0], [15.866, 50, 84.134])
    assert ((high - low) / 2, middle) == pytest.approx((1, 0), abs=1e-6)
    steps = np.diff(got[0, 0])
    assert steps.max() > -2 * steps.min()  # rises are steeper than falls


def test_the_longest_recording_is_the_longest_that_python_takes_in_one_piece():
    for rate in (125.0, 62.4725):
        limit = at_once(rate, 40.0)
        assert 605 <= limit <= 1210
        values = np.random.default_rng(0).standard_normal(round((limit - 1) * rate)).cumsum()
        model = session(prepare_graph("pulse-v1", Patching(rate, 40.0, 30.0)))
        want, _ = unify(Signal(values[None], rate, ("PLETH",), "1"))
        assert np.abs(prepared(model, values, rate)[:, 0] - want).max() <= LIMIT * want.std()
    assert resample_long(Signal(values[None], 62.4725, ("PLETH",), "1"), 40.0).duration == pytest.approx(
        limit - 1, abs=0.1
    )


def test_a_graph_keeps_to_standard_operators_and_stays_small():
    model = prepare_graph("pulse-v1", Patching(511.422, 40.0, 30.0))
    bodies = [part.g.node for node in model.graph.node for part in node.attribute if part.name == "body"]
    assert {node.domain for nodes in (model.graph.node, *bodies) for node in nodes} == {""}
    assert model.ByteSize() < 1e6
    assert [end.name for end in model.graph.input] == ["signal", "refused"]


def test_what_python_refuses_has_no_graph():
    with pytest.raises(RateError, match="between 25 and 1000 Hz; it has 20 Hz"):
        prepare_graph("pulse-v1", Patching(20.0, 40.0, 30.0))
    with pytest.raises(RecipeError, match="one of the preparations pulse-v1, pulse-published; got own"):
        prepare_graph("own", Patching(125.0, 40.0, 30.0))


# --- the networks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["fused", "published"])
def test_a_network_answers_alike_for_any_number_of_recordings_and_patches(kind):
    torch.manual_seed(1)
    if kind == "fused":
        network = Spoken(Estimator(SMALL, "fused"), "score").eval()
    else:
        plain = replace(SMALL, token=0.0, positions=False, swing=0, patch=3.0, prepare="pulse-published")
        network = Spoken(CAP(plain), "embed").eval()
    samples = network.network.recipe.samples
    model = session(network_graph(network, samples, "said"))
    for records, patches in ((1, 1), (3, 1), (2, 5), (1, 41)):
        x = np.random.default_rng(patches).standard_normal((records, patches, 2, samples)).astype(np.float32)
        x[:, 1:2, 1] = 0  # a patch that holds nothing
        want = np.concatenate([parity_pulse.by_torch(network, one)[None] for one in x])
        (got,) = model.run(None, {"x": x})
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
    x[:, :, 1] = 0
    assert np.isnan(model.run(None, {"x": x})[0]).all()
    assert np.isnan(parity_pulse.by_torch(network, x[0])).all()


# --- beats and windows without this library -----------------------------------------------------------------


def facts_of(rate: float) -> dict:
    bands = {"pulse": pulse.PULSE_BAND, "beat": pulse.BEAT_BAND}
    filters = {name: handheld_pulse.filter_of(band, rate) for name, band in bands.items()}
    return {"rate": rate, "seconds": 30.0, "filters": filters}


def noises(rate: float) -> list[Signal]:
    generator, drawn = np.random.default_rng(round(rate)), []
    for seconds in (3.2, 20, 75):
        count = round(seconds * rate)
        clean, loud = (
            pulse_of(feet_at(r, seconds), rate, seconds, noise=n).values[0] for r, n in ((72, 0.05), (130, 0.2))
        )
        walk, white = generator.standard_normal(count).cumsum(), generator.standard_normal(count)
        values = [white, walk, np.round(8 * clean), 1e3 - 50 * loud, np.clip(clean, 0.2, 0.7), np.ones(count)]
        drawn += [Signal(each[None], rate, ("PLETH",), "1") for each in values]
        drawn.append(Signal(np.where(np.arange(count) / rate % 37 < 1.3, np.nan, clean)[None], rate, ("PLETH",), "1"))
    return drawn


def test_windows_are_judged_as_in_python():
    people = hospital(25, seed=3, world=ppg_world())
    signals = [people[row].pick("PLETH") for row in range(len(people))]
    reasons = set()
    for signal in signals + [each for rate in (25.0, 64.0, 125.0, 1000.0) for each in noises(rate)]:
        facts, values = facts_of(signal.rate), signal.values[0]
        want = pulse_quality.pulse_windows(signal, 30.0)
        got = run_pulse.judged(values, facts)
        assert [tuple(window) for window in got] == [(each.start, each.stop, each.reason) for each in want]
        reasons |= {window.reason for window in got}
        _, steepest = run_pulse.beats(values, signal.rate, facts["filters"])
        np.testing.assert_allclose(steepest, pulse.traced(signal).beats.steepest, rtol=0, atol=1e-6)
    assert reasons == {"", "missing", "flat", "clipped", "noise"}
    assert run_pulse.judged(np.ones(200), facts_of(125.0)) == [run_pulse.Window(0.0, 1.6, "short")]


def test_real_pulses_of_resting_and_running_people_are_prepared_and_judged_as_in_python(real):
    """Of some runs nine tenths are refused for motion."""
    pulses = [(signal, None) for _, signal, _ in islice(marsh(real), 3)] + [
        (signal, moved) for _, signal, moved, _ in troika(real)
    ]
    models, lost = {}, []
    for signal, moved in pulses:
        signal = signal.crop(0, at_once(signal.rate, 40.0))
        want = pulse_quality.pulse_windows(signal, 30.0, moved)
        if any(window.ok for window in want):
            refused = [(window.start, window.stop) for window in want if not window.ok]
            patches, valid = unify(signal, invalid=refused)
            made = prepare_graph("pulse-v1", Patching(signal.rate, 40.0, 30.0)) if signal.rate not in models else None
            model = models.setdefault(signal.rate, made and session(made))
            got = prepared(model, signal.values[0], signal.rate, refused)
            assert np.array_equal(got[:, 1], valid)
            assert np.abs(got[:, 0] - patches).max() <= LIMIT * patches.std()
            lost.append(len(refused) / len(want))
        still = [window.reason for window in pulse_quality.pulse_windows(signal, 30.0)]
        assert [window.reason for window in run_pulse.judged(signal.values[0], facts_of(signal.rate))] == still
    assert max(lost) > 0.8


def test_constants_are_those_of_the_library():
    shared = [name for name in vars(run_pulse) if name.isupper() and name not in ("ELECTRIC", "TINY")]
    assert len(shared) >= 20
    for name in shared:
        home = pulse if hasattr(pulse, name) else pulse_quality
        assert getattr(run_pulse, name) == getattr(home, name), name


# --- a folder beside its run --------------------------------------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def _quick():
    """Fewer resamples than in earnest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validate, "DRAWS", 60)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("pulse")


@pytest.fixture(scope="module")
def ward(folder) -> Path:
    stethos("synth", "hospital", "--ppg", "--patients", 60, "--out", folder / "ward")
    return folder / "ward"


@pytest.fixture(scope="module")
def encoder(ward, folder) -> tuple[Path, Path]:
    """A pretraining without records, and its export."""
    (folder / "small.json").write_text(json.dumps(asdict(SMALL)))
    stethos("cap", "pretrain", "--cohort", ward, "--config", folder / "small.json", "--out", folder / "before")
    stethos("export", folder / "before", ward, "--out", folder / "encoder")
    return folder / "before", folder / "encoder"


@pytest.fixture(scope="module")
def trained(ward, encoder, folder) -> tuple[Path, Path]:
    """A training from it, and its export."""
    start = ("--config", folder / "small.json", "--start", encoder[0])
    stethos("cap", "train", "--cohort", ward, *start, "--out", folder / "run")
    stethos("export", folder / "run", ward, "--out", folder / "hand")
    return folder / "run", folder / "hand"


@pytest.fixture
def same_networks(trained, encoder, monkeypatch):
    """The graphs that were made once, which saves seconds."""
    made = {"answer": trained[1], "embedding": encoder[1]}
    monkeypatch.setattr(handheld_pulse, "network_graph", lambda *given: bare(made[given[2]] / "score.onnx"))


def bare(path: Path):
    model = onnx.load(path)
    del model.metadata_props[:]
    return model


@pytest.fixture(scope="module")
def files(ward) -> list[Path]:
    """Recordings at 125 Hz."""
    every = sorted(ward.glob("records/*/*.hea"))
    return [path for path in every if read(path).pick("PLETH").rate == 125.0]


def as_csv(path: Path, out: Path) -> Path:
    values = read(path).pick("PLETH").values[0]
    out.write_text("\n".join(["PLETH", *("" if np.isnan(v) else repr(float(v)) for v in values)]) + "\n")
    return out


def alone(out: Path, *arguments: object) -> subprocess.CompletedProcess:
    """run.py where torch, scipy and this library cannot be imported."""
    command = [sys.executable, "-I", "-W", "error", "-c", BLOCKED, str(out / "run.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def here(out: Path, *arguments: object) -> dict:
    """The same in this process."""
    return run_pulse.answer(out, run_pulse._parser().parse_args([str(item) for item in arguments]))


def predicted(capsys, run: Path, file: Path) -> dict:
    capsys.readouterr()
    stethos("cap", "predict", run, file, "--rate", 125, "--unit", "1", "--allow-synthetic-model")
    return json.loads(capsys.readouterr().out)


def test_without_this_library_the_answers_are_those_of_predict(trained, files, tmp_path, capsys):
    run, out = trained
    decisions = set()
    for number, path in enumerate(files[:12]):
        file = as_csv(path, tmp_path / f"{number}.csv")
        want = predicted(capsys, run, file)
        if number == 0:
            done = alone(out, file, "--rate", 125, "--synthetic")
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout) == here(out, file, "--rate", 125, "--synthetic")
        got = here(out, file, "--rate", 125, "--synthetic")
        decisions.add(got["decision"])
        shared = [name for name in want if name not in ("pulse_quality",)]
        for name in shared:
            told = got[name]
            if isinstance(want[name], float):
                assert told == pytest.approx(want[name], abs=0.101 if name == "hr" else 1e-4), name
            else:
                assert told == want[name], name
    assert decisions == {"estimated", "abstain"}


def test_the_facts_are_those_of_the_run(trained):
    run, out = trained
    facts, parity = (json.loads((out / f"{name}.json").read_text()) for name in ("export", "parity"))
    assert facts["model"] == hashlib.sha256(Run(run).weights.read_bytes()).hexdigest()
    assert (facts["origin"], facts["rate"], facts["samples"], facts["arm"]) == ("synthetic", 125.0, 1200, "fused")
    assert [(one["name"], one["kind"], one["unit"]) for one in facts["answers"]] == [
        ("af", "probability", "1"),
        ("hr", "estimate", "1/min"),
        ("sbp", "estimate", "mmHg"),
        ("age > 60", "probability", "1"),
    ]
    said = Predictions.load(Run(run).predictions)
    old = facts["answers"][3]
    assert old["threshold"] is not None
    valid = said.split == "valid"
    sick = said.score[valid & (said.truth[:, 3] == 1), 3]
    assert np.mean(sick >= old["threshold"]) >= 0.9
    part = said.split == "internal"
    error = said.score[part, 1] - said.truth[part, 1]
    (told,) = [each for each in facts["answers"][1]["errors"] if each["split"] == "internal"]
    assert told["mae"][0] == pytest.approx(np.nanmean(np.abs(error)))
    assert told["bias"][0] == pytest.approx(np.nanmean(error))
    assert parity["records"] > 15
    assert parity["decisions"] >= parity["records"]
    assert 0 < parity["dlogit"] < 1e-4
    assert max(parity["shares"].values()) < 1e-4
    assert said.score[:, 1].std() > 1  # so that the comparison means something
    for name in ("prepare", "score", "model"):
        held = session(str(out / f"{name}.onnx"))
        assert json.loads(held.get_modelmeta().custom_metadata_map["stethos"]) == facts


def test_an_embedding_is_that_of_the_run_and_nothing_else_travels(encoder, ward, files, tmp_path, capsys):
    run, out = encoder
    stethos("cap", "embed", run, ward, "--out", tmp_path / "rows.npz")
    rows = np.load(tmp_path / "rows.npz")
    place = {record: number for number, record in enumerate(rows["record"].tolist())}
    path = next(path for path in files if path.stem in place)
    got = here(out, as_csv(path, tmp_path / "a.csv"), "--rate", 125, "--synthetic")
    assert got["decision"] == "embedded"
    np.testing.assert_allclose(got["embedding"], rows["embedding"][place[path.stem]], atol=1e-5)
    names = {tensor.name for tensor in onnx.load(out / "model.onnx").graph.initializer}
    assert not [name for name in names if "tower" in name or "anchor" in name]
    assert json.loads((out / "parity.json").read_text())["distance"] < 1e-5


def test_an_array_gives_what_a_table_gives(trained, files, tmp_path):
    values = read(files[1]).pick("PLETH").values[0]
    np.save(tmp_path / "a.npy", values)
    flags = ("--rate", 125, "--synthetic")
    one, other = (
        here(trained[1], tmp_path / "a.npy", *flags),
        here(trained[1], as_csv(files[1], tmp_path / "a.csv"), *flags),
    )
    assert {**one, "file": ""} == {**other, "file": ""}


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--rate", 64, "--synthetic"), "this export reads 125 Hz, the recording has 64 Hz"),
        (("--rate", 125, "--unit", "mV", "--synthetic"), "reads a pulse, light through skin, and mV is of an ECG"),
        (("--rate", 125), "does not score a real person's recording"),
    ],
)
def test_what_the_export_was_not_made_for_gets_one_sentence_and_exit_code_two(trained, files, tmp_path, flags, words):
    file = as_csv(files[0], tmp_path / "a.csv")
    done = alone(trained[1], file, *flags)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert words in done.stderr


def test_what_cannot_be_judged_is_abstained_from_with_the_reason(trained, tmp_path):
    flags, out = ("--rate", 125, "--synthetic"), trained[1]
    good, white = pulse_with(125.0, 60), np.random.default_rng(0).standard_normal(7500)
    kinds = {"noise": white, "flat": np.ones(7500), "missing": np.r_[good.values[0][:300], np.full(7200, np.nan)]}
    for reason, values in kinds.items():
        np.save(tmp_path / "a.npy", values)
        got = here(out, tmp_path / "a.npy", *flags)
        assert (got["decision"], reason in got["reason"], "hr" in got) == ("abstain", True, False)
    np.save(tmp_path / "a.npy", good.values[0])
    assert here(out, tmp_path / "a.npy", *flags)["decision"] == "estimated"
    for more, reason in ((("--age", 12), "younger than 18 years"), (("--paced", "yes"), "paced rhythm")):
        got = here(out, tmp_path / "a.npy", *flags, *more)
        assert (got["decision"], got["reason"]) == ("abstain", reason)
    np.save(tmp_path / "a.npy", np.tile(good.values[0], 30))
    with pytest.raises(RefusedError, match="the recording lasts 1800 s; cut it into pieces"):
        here(out, tmp_path / "a.npy", *flags)


@pytest.mark.parametrize("text", ["0.1,0.2\n0.3,0.4\n", "", "PLETH\n0.1\nbroken\n"])
def test_a_table_that_is_not_one_column_of_numbers_is_refused(trained, tmp_path, text):
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(RefusedError, match="one column of numbers"):
        here(trained[1], tmp_path / "bad.csv", "--rate", 125, "--synthetic")


# --- the gate -----------------------------------------------------------------------------------------------


def fault(capsys, trained, ward, out: Path) -> str:
    said = refused(capsys, "export", trained[0], ward, "--out", out)
    assert "nothing was written" in said
    assert not out.exists()
    return said.split("the first to differ is ")[1].split(";")[0]


def test_a_preparation_that_is_another_is_found(trained, ward, tmp_path, capsys, monkeypatch, same_networks):
    kept = graphs.butterworth
    monkeypatch.setattr(graphs, "butterworth", lambda n, hertz, *rest: kept(n, tuple(2 * f for f in hertz), *rest))
    assert fault(capsys, trained, ward, tmp_path / "wrong") == "prepare"


def test_a_block_that_is_another_is_found(trained, ward, tmp_path, capsys, monkeypatch):
    model = bare(trained[1] / "score.onnx")
    (weight,) = [held for held in model.graph.initializer if held.name.endswith("fuse.one.weight")]
    values = onnx.numpy_helper.to_array(weight)
    weight.CopyFrom(onnx.numpy_helper.from_array(1.1 * values, weight.name))
    monkeypatch.setattr(handheld_pulse, "network_graph", lambda *_: model)
    assert fault(capsys, trained, ward, tmp_path / "wrong") == "network.fuse.one"


def test_a_threshold_that_is_another_is_found(trained, ward, tmp_path, capsys, monkeypatch, same_networks):
    right = handheld_pulse.facts

    def wrong(*given):
        told = right(*given)
        told["answers"][3]["threshold"] += 0.5
        return told

    monkeypatch.setattr(handheld_pulse, "facts", wrong)
    assert fault(capsys, trained, ward, tmp_path / "wrong") == "threshold"


def test_graphs_that_are_joined_wrongly_are_found(trained, ward, tmp_path, capsys, monkeypatch, same_networks):
    def wrong(prepare, score):
        whole = composed(prepare, score)
        head = next(held for held in whole.graph.initializer if held.name.endswith("network.head.bias"))
        head.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(head) + np.float32(1), head.name))
        return whole

    monkeypatch.setattr(handheld_pulse, "composed", wrong)
    assert fault(capsys, trained, ward, tmp_path / "wrong") == "model.onnx"


def held_by_hand() -> HeldOut:
    """Two recordings: a yes or no with its point at 0.5, and an estimate whose truths spread by 10."""
    x = np.zeros((1, 2, 4), np.float32)
    said, truth = np.array([[0.0, 70.0], [1.0, 80.0]]), np.array([[0.0, 70.0], [1.0, 90.0]])
    recordings = [Recording(np.zeros(4), np.zeros(4, bool), x)] * 2
    return HeldOut(
        recordings, said, ("af", "hr"), truth, np.array([False, True]), np.array([0.5, np.nan]), np.array([1, 10.0])
    )


def test_each_difference_is_told_in_its_own_unit():
    held = held_by_hand()
    other = held.said + np.array([[0.6, 0.5], [0.0, -2.0]])
    found = compared(held, other, held.thresholds, near=0.1)
    assert (found.decisions, found.flips, found.flips_near) == (2, 1, 0)
    assert found.dp == pytest.approx(1 / (1 + np.exp(-0.6)) - 0.5)
    assert (found.estimates, found.shares) == ({"hr": 2.0}, {"hr": pytest.approx(0.2)})
    assert (found.dauroc, found.distance) == (0.0, None)
    wrong = found.failures(LIMITS["int8"])
    assert [text.split(" 0.")[0] for text in wrong][-1].startswith("largest |Δ hr| in spreads")
    assert any("1 of 2 decisions flipped" in text for text in wrong)
    assert compared(held, held.said, held.thresholds, 0.1).failures(LIMITS["fp32"]) == []
    assert compared(held, np.full_like(held.said, np.nan), held.thresholds, 0.1).failures(LIMITS["int8"])


def test_embeddings_are_held_against_the_usual_distance():
    """Three rows at right angles are √2 apart; one moved by 0.1 is 0.0707 of that."""
    base = held_by_hand()
    none = np.zeros(0)
    held = HeldOut(base.recordings, np.eye(3), (), np.zeros((3, 0)), np.zeros(0, bool), none, none)
    found = compared(held, np.eye(3) + np.array([[0.1, 0, 0], [0, 0, 0], [0, 0, 0]]), none, 0.0)
    assert (found.distance, found.usual) == pytest.approx((0.1, np.sqrt(2)))
    assert not found.failures(LIMITS["int8"])
    assert found.failures(LIMITS["fp16"]) == ["largest distance of an embedding in usual distances 0.0707 > 0.05"]


# --- precisions, rates, refusals ----------------------------------------------------------------------------


def test_half_precision_at_another_rate_takes_less_room(encoder, ward, folder, capsys, same_networks):
    capsys.readouterr()
    flags = ("--precision", "fp16", "--rate", 64)
    stethos("export", encoder[0], ward, "--out", folder / "half", *flags)
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "fp16 at 64 Hz, synthetic; it gives an embedding of 8 numbers"
    assert "of the usual distance of two recordings" in said[1]
    assert said[-1] == str(folder / "half")
    sizes = [(place / "score.onnx").stat().st_size for place in (folder / "half", encoder[1])]
    assert sizes[0] < sizes[1]


def test_integers_that_save_nothing_are_refused_with_the_numbers(encoder, ward, folder, capsys, same_networks):
    said = refused(capsys, "export", encoder[0], ward, "--out", folder / "eight", "--precision", "int8")
    assert "as int8 and" in said
    assert "take --precision fp16" in said


def test_a_wider_network_is_had_in_integers(encoder, ward):
    """Of 64 wide layers most bytes are weights; a random network serves, for what is compared is torch and graph."""
    torch.manual_seed(0)
    wide = replace(SMALL, width=64, feedforward=1024, space=32)
    network, run = Spoken(CAP(wide), "embed").eval(), Run(encoder[0])
    people, wanted = open_cohort(ward), Wanted("int8", 125.0, 8)
    held = handheld_pulse.held_out(run, network, people, wanted)
    score = network_graph(network, 1200, "embedding")
    small, record = handheld_pulse.reduced(
        score, network, held, handheld_pulse.calibration(run, people, wanted), "int8"
    )
    found = compared(held, parity_pulse.scored(session(small), held), held.thresholds, 0.05)
    assert not found.failures(LIMITS["int8"])
    assert found.distance > 1e-5
    assert small.ByteSize() < 0.6 * score.ByteSize()
    assert len(record["kept_float32"]) < 8


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--rate", 20), "between 25 and 1000 Hz; it has 20 Hz"),
        (("--rate", 0), "--rate is a positive number of Hz; got 0"),
        (("--rate", "nan"), "--rate is a positive number of Hz; got nan"),
        (("--records", 0), "--records is 1 or more"),
    ],
)
def test_what_cannot_be_asked_for_is_refused_in_a_sentence(trained, ward, folder, capsys, flags, words):
    assert words in refused(capsys, "export", trained[0], ward, "--out", folder / "no", *flags)
    assert not (folder / "no").exists()


def test_recordings_of_others_are_refused(trained, encoder, ward, folder, tmp_path, capsys):
    stethos("synth", "hospital", "--ppg", "--patients", 20, "--seed", 7, "--out", tmp_path / "other")
    out = ("--out", folder / "no")
    assert "none of the run's tested recordings" in refused(capsys, "export", trained[0], tmp_path / "other", *out)
    assert "none of the run's tested recordings" in refused(capsys, "export", encoder[0], tmp_path / "other", *out)
    assert "give its folder after the run" in refused(capsys, "export", trained[0], *out)
    people = open_cohort(ward)
    network = Spoken(load(trained[0]), "score").eval()
    strangers = replace(people, open=lambda row: people[(row + 1) % len(people)])
    with pytest.raises(CohortError, match="must hold the recordings that the run was tested on"):
        handheld_pulse.held_out(Run(trained[0]), network, strangers, Wanted("fp32", 125.0, 50))


def test_runs_that_keep_no_network_are_told_which_can_be_exported(trained, tmp_path, capsys):
    config = json.loads((trained[0] / "config.json").read_text())
    config["protocol"]["verb"] = "cross_validate"
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    said = refused(capsys, "export", tmp_path / "run", "--out", tmp_path / "out")
    assert "of cap cross-validate, which keeps no network of its own; runs of cap pretrain, probe and train" in said
    unfinished = Path(shutil.copytree(trained[0], tmp_path / "half"))
    Run(unfinished).predictions.unlink()
    assert "has not finished" in refused(capsys, "export", unfinished, "--out", tmp_path / "out")


def test_the_page_says_that_it_is_not_for_a_pulse(trained, tmp_path, capsys):
    assert "is of a pulse; use its run.py" in refused(capsys, "app", trained[1], "--out", tmp_path / "page")
