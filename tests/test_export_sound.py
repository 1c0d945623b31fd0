"""Detectors of machine sound as graphs: the same scores without this library, and nothing written where they differ."""

import json
import math
import re
import shutil
import subprocess
import sys
import wave
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
import torch
from torch import nn

from stethos.cli import main
from stethos.data.cohort import open_cohort
from stethos.errors import CohortError, QualityError
from stethos.export import quantise, run_sound
from stethos.export.parity_sound import LIMITS, HeldOut, compared, measured, spread_of
from stethos.export.run_sound import RefusedError
from stethos.export.score import session
from stethos.io import read
from stethos.io.sound import write_sound
from stethos.nn.mel import LogMel
from stethos.signal.clip import ClipWindows
from stethos.study import backends, detected, handheld_sound
from stethos.study.alarm import Alarm
from stethos.study.detector import Detector, Memory
from stethos.study.listening import Listening
from stethos.synth.machine import factory
from stethos.synth.plan import Plan
from stethos.systems import highband_cl, load
from stethos.types import Predictions, Run, Schedule, Signal

onnx = pytest.importorskip("onnx")
sound = pytest.importorskip("stethos.export.sound")

PLAN = Plan(("fan", "valve"), 1, 10, 6, seconds=1.0)
BRIEF = ("--preset", "tiny", "--seconds", 1, "--size", 0.125, "--steps", 4, "--batch", 8, "--validate-every", 2)
BLOCKED = """
import runpy, sys
class Wall:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "scipy", "stethos", "onnx", "pandas", "sklearn", "soundfile"}:
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


@pytest.fixture(scope="module", autouse=True)
def _quick():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(detected, "BASELINES", {name: detected.BASELINES[name] for name in list(detected.BASELINES)[:1]})
        patch.setattr(highband_cl, "DEMO", PLAN)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("sound")


@pytest.fixture(scope="module")
def cohort(folder) -> Path:
    """Sounds of two machines as files."""
    people = factory(PLAN)
    for row in range(len(people)):
        facts = {name: column[row] for name, column in people.rows.items()}
        place = folder / "sounds" / facts["machine"] / ("fault" if facts["anomaly"] else "normal")
        write_sound(people[row], place / f"{facts['split']} {row:03d}.wav", "synthetic")
    stethos("cohort", "import", "sounds", folder / "sounds", "--out", folder / "cohort")
    return folder / "cohort"


@pytest.fixture(scope="module")
def listened(cohort, folder) -> tuple[Path, Path]:
    """A run of OS-SCL and its export."""
    run, out = folder / "os", folder / "os-export"
    stethos("os-scl", "train", "--cohort", cohort, "--out", run, *BRIEF)
    stethos("export", run, cohort, "--out", out)
    return run, out


@pytest.fixture(scope="module")
def simulated(folder) -> tuple[Path, Path]:
    """A run of Highband-CL in a simulated factory, levels removed, and its export."""
    schedule = Schedule(steps=4, batch=8, lr=3e-3, ema=0.9, validate_every=2)
    listen = Listening(seconds=1.0, level="rms")
    recipe = highband_cl.Recipe(listen=listen, size=0.125, schedule=schedule, backend="mahalanobis-by-domain")
    highband_cl._train(factory(PLAN), folder / "hb", recipe, 1)
    stethos("export", folder / "hb", "--out", folder / "hb-export")
    return folder / "hb", folder / "hb-export"


def sample(path: Path, rate: int, seconds: float = 1.0, channels: int = 1) -> Path:
    """A file with hum and hiss, other in every channel."""
    generator, time = np.random.default_rng(rate), np.arange(round(rate * seconds)) / rate
    hum = 0.1 * np.sin(2 * np.pi * 150 * np.arange(1, channels + 1)[:, None] * time)
    values = hum + 0.02 * generator.standard_normal((channels, len(time)))
    names = tuple(str(number + 1) for number in range(channels))
    write_sound(Signal(values.astype(np.float32), float(rate), names, "1"), path, "synthetic")
    return path


def by_python(capsys, run: Path, file: Path, machine: str) -> dict:
    capsys.readouterr()
    stethos("predict", run, file, "--machine", machine, "--allow-synthetic-model")
    return json.loads(capsys.readouterr().out)


def alone(out: Path, *arguments: object) -> dict:
    """What the folder's own program says where this library is not."""
    command = [sys.executable, "-c", BLOCKED, out / "run.py", *arguments]
    ended = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def here(out: Path, *arguments: object) -> dict:
    """The same in this process."""
    return run_sound.answer(out, run_sound._parser().parse_args([*map(str, arguments)]))


# --- a folder beside its run --------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["listened", "simulated"])
def test_a_file_is_scored_alike_with_and_without_this_library(request, capsys, tmp_path, cohort, which):
    run, out = request.getfixturevalue(which)
    first = sorted(cohort.parent.joinpath("sounds").rglob("*.wav"))[0]
    files = [first, sample(tmp_path / "long.wav", 16_000, 3.4), sample(tmp_path / "other.wav", 48_000, 2.0, 2)]
    facts = json.loads((out / "export.json").read_text())
    for number, file in enumerate(files):
        name = facts["names"][number % 2]
        mine = by_python(capsys, run, file, name)
        other = (alone if number == 2 else here)(out, file, "--machine", name, "--synthetic")
        assert other["score"] == pytest.approx(mine["score"], rel=1e-4)
        assert other["threshold"] == pytest.approx(mine["threshold"], rel=1e-9)
        assert (other["windows"], other["model"]) == (mine["windows"], mine["model"])
        assert (other["decision"] == "above threshold") == (mine["decision"] == "anomalous")
    assert here(out, files[1], "--machine", name, "--synthetic")["windows"] == 4


def test_an_export_tells_what_was_measured_and_what_it_is_of(listened):
    run, out = listened
    facts, parity = (json.loads((out / f"{name}.json").read_text()) for name in ("export", "parity"))
    assert facts["names"] == [machine["name"] for machine in facts["machines"]]
    assert [machine["alarm"] for machine in facts["machines"]] == [None, None]
    assert sum(machine["normals"] for machine in facts["machines"]) == len(load(run).memory.machine)
    assert (facts["origin"], facts["rate"], facts["samples"]) == ("synthetic", 16_000, 16_000)
    assert parity["records"] == parity["alarms"] >= 10
    assert 0 < parity["dscore"] < 1e-4 * parity["spread"]
    for name in ("score", "judge"):
        held = session(str(out / f"{name}.onnx"))
        assert json.loads(held.get_modelmeta().custom_metadata_map["stethos"]) == facts
    score = session(str(out / "score.onnx"))
    assert [(end.name, end.shape[-1]) for end in score.get_outputs()] == [("embedding", 128), ("score", 2)]


def test_the_alarm_of_a_machine_travels(listened, tmp_path):
    run = Run(Path(shutil.copytree(listened[0], tmp_path / "run")))
    alarm = Alarm(0.4, 2, 3, 30, 1.0, 0.5, 1100.0, 0, 0.46)
    (run.private / "alarms").mkdir()
    fan, valve = json.loads((listened[1] / "export.json").read_text())["names"]
    (run.private / "alarms" / f"{quote(fan, safe='')}.json").write_text(
        json.dumps({"alarm": alarm.to_json(), "reference": None})
    )
    told = handheld_sound.facts(run, load(run.folder), "fp32")["machines"]
    by_name = {machine["name"]: machine for machine in told}
    assert Alarm.from_json(by_name[fan]["alarm"]) == alarm
    assert by_name[fan]["alarm_says"] == alarm.sentence()
    assert by_name[valve]["alarm"] is None


def test_two_exports_are_not_mixed_and_a_simulated_factory_says_so(listened, simulated, tmp_path, capsys):
    out = Path(shutil.copytree(listened[1], tmp_path / "out"))
    file = sample(tmp_path / "a.wav", 16_000)
    names = json.loads((out / "export.json").read_text())["names"]
    asked = run_sound._parser().parse_args([str(file), "--machine", names[0]])
    with pytest.raises(RefusedError, match="simulated factory does not judge a real machine"):
        run_sound.answer(out, asked)
    asked.synthetic = True
    assert run_sound.answer(out, asked)["warning"] == "the model was trained on a simulated factory"
    asked.machine = "pump"
    with pytest.raises(RefusedError, match=f"needs one of the machines {', '.join(names)}; got pump"):
        run_sound.answer(out, asked)
    shutil.copy(simulated[1] / "judge.onnx", out)
    with pytest.raises(RefusedError, match="mixes files of two exports"):
        run_sound.answer(out, asked)


# --- the gate -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spoiled", ["score", "judge"])
def test_a_folder_that_answers_otherwise_is_not_written(listened, cohort, tmp_path, monkeypatch, capsys, spoiled):
    graphs = {name: onnx.load(listened[1] / f"{name}.onnx") for name in ("score", "judge")}
    node = next(node for node in graphs[spoiled].graph.node if node.op_type == "TopK")
    largest = next(item for item in node.attribute if item.name == "largest")
    monkeypatch.setattr(handheld_sound, "graphs_of", lambda *_: graphs)
    stethos("export", listened[0], cohort, "--out", tmp_path / "same")
    largest.i = 1  # the farthest normal in place of the nearest
    if spoiled == "score":  # which a recording is not judged by: its embedding is
        weights = next(item for item in graphs["score"].graph.initializer if math.prod(item.dims) > 500)
        values = onnx.numpy_helper.to_array(weights)
        weights.CopyFrom(onnx.numpy_helper.from_array(values * np.float32(1.05), weights.name))
    said = refused(capsys, "export", listened[0], cohort, "--out", tmp_path / "other")
    assert "largest |Δ score|" in said
    assert "nothing was written" in said
    assert [path.name for path in tmp_path.iterdir()] == ["same"]


def test_a_flipped_alarm_fails_though_no_score_moved_far(listened, cohort):
    run = Run(listened[0])
    held = handheld_sound.held_out(run, load(run.folder), open_cohort(cohort))
    limits, graphs = LIMITS["fp32"], run_sound.opened(listened[1])
    exact = measured(graphs, held, limits)
    assert not exact.failures(limits)
    assert replace(exact, flips=1).failures(limits) == [f"1 of {exact.alarms} alarms flipped"]
    assert replace(exact, dscore=math.nan).failures(limits)
    threshold = json.loads((listened[1] / "export.json").read_text())["machines"][0]["threshold"]
    moved = replace(held, score=np.where(held.score > threshold, 0.0, 2 * threshold))
    found = measured(graphs, moved, limits)
    assert found.flips + found.flips_near == found.alarms


def test_what_cannot_be_exported_is_said_in_one_sentence(listened, folder, cohort, capsys, tmp_path):
    run, out = listened[0], tmp_path / "out"
    assert "leave --rate away" in refused(capsys, "export", run, cohort, "--out", out, "--rate", 16_000)
    assert "was tested on a cohort" in refused(capsys, "export", run, "--out", out)
    unfinished = Path(shutil.copytree(run, tmp_path / "run"))
    Run(unfinished).predictions.unlink()
    assert "finish its training" in refused(capsys, "export", unfinished, cohort, "--out", out)
    others = factory(PLAN, seed=1)
    people = open_cohort(cohort)
    with pytest.raises(CohortError, match="one gives a score"):
        handheld_sound.held_out(Run(run), load(run), replace(people, open=lambda row: others[row]))
    assert not out.exists()


# --- fewer bits ---------------------------------------------------------------------------------------------


def reduced(run: Path, out: Path, precision: str, *cohort: Path) -> dict[str, dict]:
    """An export by the command line: what its files say."""
    stethos("export", run, *cohort, "--out", out, "--precision", precision)
    return {name: json.loads((out / f"{name}.json").read_text()) for name in ("export", "parity", "cost")}


@pytest.mark.parametrize("which", ["listened", "simulated"])
def test_half_precision_is_exported_by_the_command_line_and_scores_alike(request, capsys, tmp_path, cohort, which):
    run, whole = request.getfixturevalue(which)
    out = tmp_path / "half"
    told = reduced(run, out, "fp16", *([cohort] if which == "listened" else []))
    kinds = {item.data_type for item in onnx.load(out / "score.onnx").graph.initializer if math.prod(item.dims) > 999}
    assert onnx.TensorProto.FLOAT16 in kinds
    assert onnx.TensorProto.FLOAT not in kinds
    whole_bytes = json.loads((whole / "cost.json").read_text())["bytes"]["score.onnx"]
    assert told["cost"]["bytes"]["score.onnx"] < 0.8 * whole_bytes
    parity = told["parity"]
    assert 1e-5 * parity["spread"] < parity["dscore"] < 0.1 * parity["spread"]  # eleven bits are not twenty-four
    assert (parity["flips"], parity["limits"]["dauroc"]) == (0, 0.002)
    assert told["export"]["precision"] == "fp16"
    capsys.readouterr()
    file, name = sample(tmp_path / "a.wav", 44_100, 2.3), told["export"]["names"][0]
    mine = by_python(capsys, run, file, name)
    other = alone(out, file, "--machine", name, "--synthetic")
    assert other["score"] == pytest.approx(mine["score"], abs=0.3 * parity["spread"])
    assert other["score"] != here(whole, file, "--machine", name, "--synthetic")["score"]


def test_integers_are_exported_by_the_command_line_and_score_alike(listened, cohort, capsys, tmp_path):
    run, whole = listened
    out = tmp_path / "integers"
    told = reduced(run, out, "int8", cohort)
    printed = capsys.readouterr().out
    graph = onnx.load(out / "score.onnx").graph
    integers = [item for item in graph.initializer if item.data_type == onnx.TensorProto.INT8 and len(item.dims) > 1]
    assert sum(math.prod(item.dims) for item in integers) > 50_000
    of_integers = {name for node in graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    assert of_integers & {name for node in graph.node if ".grams.tgram" in node.name for name in node.input}
    assert not of_integers & {name for node in graph.node if ".mel/" in node.name for name in node.input}
    parity, kept = told["parity"], told["export"]["kept_float32"]
    assert 0 < parity["dscore"] <= 0.25 * parity["spread"]
    assert parity["flips"] <= 0.01 * parity["alarms"]
    assert parity["dauroc"] <= 0.005
    assert kept == parity["kept_float32"]
    assert kept[0] == "members.0.mel"
    assert f"computed in float32: {', '.join(kept)}" in printed
    size = told["cost"]["bytes"]["score.onnx"]
    assert size < len(quantise.half(onnx.load(whole / "score.onnx")).SerializeToString())
    file, name = sample(tmp_path / "a.wav", 16_000, 2.3), told["export"]["names"][1]
    mine = by_python(capsys, run, file, name)
    other = alone(out, file, "--machine", name, "--synthetic")
    assert other["score"] == pytest.approx(mine["score"], abs=parity["spread"])
    assert other["score"] != here(whole, file, "--machine", name, "--synthetic")["score"]


def test_scales_are_taken_from_normals_that_are_not_tested(listened, cohort):
    model, people, asked = load(listened[0]), open_cohort(cohort), []

    def watched(row: int):
        asked.append(row)
        return people[row]

    windows = handheld_sound.remembered(model, replace(people, open=watched))
    assert windows.shape == (len(asked), 1, 16_000)
    tested_too = Predictions.load(Run(listened[0]).predictions).part("internal").record
    assert len(asked) > 5
    assert not set(people.rows["id"][asked]) & set(tested_too)
    assert not people.rows["anomaly"][asked].astype(float).any()


@pytest.mark.parametrize(
    ("precision", "limit", "words"),
    [
        ("fp16", {"score": 1e-6}, "largest |Δ score|"),
        ("int8", {"score": 1e-6}, "leaving blocks in float32 did not help either; take --precision fp16"),
        ("fp16", {"dauroc": -1.0}, "|Δ AUROC|"),
    ],
)
def test_fewer_bits_that_answer_otherwise_are_refused_with_the_figure(
    listened, cohort, capsys, tmp_path, monkeypatch, precision, limit, words
):
    narrow = {**LIMITS, precision: replace(LIMITS[precision], **limit)}
    monkeypatch.setattr(handheld_sound, "LIMITS", narrow)
    monkeypatch.setattr(handheld_sound, "WINDOWS", 4)
    said = refused(capsys, "export", listened[0], cohort, "--out", tmp_path / "out", "--precision", precision)
    assert words in said
    assert "nothing was written" in said
    assert not list(tmp_path.iterdir())


def test_integers_that_take_more_room_than_half_precision_are_refused(simulated, capsys, tmp_path):
    said = refused(capsys, "export", simulated[0], "--out", tmp_path / "out", "--precision", "int8")
    as_integers, as_halves = (float(word.split()[0]) for word in re.findall(r"[\d.]+ MB", said))
    assert as_integers >= as_halves
    assert "take --precision fp16" in said
    assert not list(tmp_path.iterdir())


# --- measures, by hand --------------------------------------------------------------------------------------


def two_machines(score: list[float]) -> HeldOut:
    """Two machines: normals at 1 and 3, and at 10, 11 and 15; one anomaly each, a recording of unknown truth."""
    machine, truth = np.array([0, 0, 0, 1, 1, 1, 1, 1]), np.array([0, 0, 1, 0, 0, 0, 1, math.nan])
    return HeldOut([], machine, np.array(score, float), truth)


HELD = two_machines([1, 3, 4, 10, 11, 15, 14, 20])


def test_the_spread_is_that_of_normals_within_their_machine():
    # around 2: 1 + 1; around 12: 4 + 1 + 9; five normals of two machines
    assert spread_of(HELD) == pytest.approx(math.sqrt(16 / 3))
    assert spread_of(replace(HELD, score=HELD.score + 100 * HELD.machine)) == pytest.approx(spread_of(HELD))
    alone = replace(HELD, truth=np.array([0, 1, 1, 0, 1, 1, 1, 1.0]))
    assert spread_of(alone) == pytest.approx(np.std(HELD.score))


def test_measures_of_a_detector_are_those_that_one_counts_by_hand():
    points = np.array([[3.5] * 3 + [14.5] * 5, [math.nan] * 3 + [12.0] * 5])
    other = HELD.score + np.array([0, 0.6, 0, 0, 1.5, 0, 0.6, 0])
    found = compared(HELD, other, points, near=0.1)  # 0.23 of a score
    assert (found.records, found.dscore, found.alarms) == (8, 1.5, 13)
    assert (found.flips, found.flips_near) == (3, 0)  # 3 over 3.5, 14 over 14.5, 11 over 12
    assert compared(HELD, other, points, near=0.25).flips_near == 2  # those half a score away
    # of the first machine the anomaly stays above both normals; of the second it is above two of three, as before
    assert found.dauroc == 0.0
    swapped = HELD.score + np.array([0, 2, 0, 0, 0, 0, -3.5, 0])
    # 1 of 2 in place of both, and 1 (half of a tie: none) of 3 in place of 2: 14 − 3.5 = 10.5 lies above 10 alone
    assert compared(HELD, swapped, points, 0.1).dauroc == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert compared(replace(HELD, truth=np.zeros(8)), other, points, 0.1).dauroc is None


def test_every_limit_of_a_detector_is_held_and_fewer_bits_are_allowed_more():
    found = compared(HELD, HELD.score - 6 * (HELD.truth == 1), np.array([[3.5] * 3 + [12.5] * 5]), 0.0)
    words = found.failures(LIMITS["int8"])
    assert [
        start in line for start, line in zip(("largest |Δ score| 6", "2 of 8", "|Δ AUROC|"), words, strict=True)
    ] == [True] * 3
    for name in ("score", "near", "flips", "dauroc"):
        values = [getattr(LIMITS[precision], name) for precision in ("fp32", "fp16", "int8")]
        assert values == sorted(values)
        assert values[0] < values[1] < values[2]


# --- the preparation without this library -------------------------------------------------------------------


@pytest.mark.parametrize("level", ["as-is", "rms"])
@pytest.mark.parametrize(
    ("rate", "seconds"), [(16_000, 0.4), (16_000, 2.05), (16_000, 2.2), (44_100, 1.3), (48_000, 1.0), (8_000, 1.7)]
)
def test_windows_are_pythons(tmp_path, rate, seconds, level):
    path = sample(tmp_path / "a.wav", rate, seconds)
    windows = ClipWindows(1.0, "1", level)
    want = windows.apply(read(path).pick("1"))
    facts = {"rate": 16_000.0, "samples": 16_000, "level": level}
    got = run_sound.prepared(*run_sound.read(path, "1"), facts)
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=0, atol=2e-7)


def test_no_sound_is_refused_on_both_sides():
    facts = {"rate": 16_000.0, "samples": 16_000, "level": "as-is"}
    loud = np.tile(np.array([1.0, -1.0, 0.2], np.float32), 6000)
    for values in (np.zeros(16_000, np.float32), loud):
        with pytest.raises(RefusedError) as mine:
            run_sound.prepared(values, 16_000.0, facts)
        with pytest.raises(QualityError) as theirs:
            ClipWindows(1.0).apply(Signal(values[None], 16_000.0, ("1",), "1"))
        assert str(mine.value) == str(theirs.value)
    with pytest.raises(RefusedError, match="no small fraction leads from 16001 Hz"):
        run_sound.prepared(loud * np.float32(0.5), 16_001.0, facts)


def test_what_is_no_wav_of_16_bit_is_refused(tmp_path):
    text, wide = tmp_path / "a.wav", tmp_path / "b.wav"
    text.write_text("no sound")
    with wave.open(str(wide), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(3)
        file.setframerate(16_000)
        file.writeframes(bytes(30))
    for path, words in ((text, "cannot be read"), (wide, "has 24-bit ones"), (tmp_path / "none.wav", "cannot be read")):
        with pytest.raises(RefusedError, match=words):
            run_sound.read(path, "1")
    with pytest.raises(RefusedError, match="needs a channel '2' and has 1"):
        run_sound.read(sample(tmp_path / "c.wav", 16_000), "2")


# --- the graphs ---------------------------------------------------------------------------------------------


class Loudness(nn.Module):
    """A network that hears how loud each band is."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.mel, self.factor = LogMel(), factor

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        return self.mel(x).mean(dim=2) * self.factor


def test_the_log_mel_is_torchs_and_networks_share_it():
    graph = sound.embedding_graph([Loudness(1.0), Loudness(0.5)], 16_000)
    kinds = [node.op_type for node in graph.graph.node]
    assert (kinds.count("STFT"), kinds.count("Log")) == (1, 1)
    assert len(graph.SerializeToString()) < 1_000_000
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((3, 1, 16_000)).astype(np.float32)) * 0.05
    x[1] *= 1e-3
    (got,) = session(graph).run(None, {"x": x.numpy()})
    want = LogMel()(x).mean(dim=2).numpy()
    np.testing.assert_allclose(got[:, :128], want, rtol=1e-4)
    np.testing.assert_allclose(got[:, 128:], want / 2, rtol=1e-4)


def judged_twice(backend: str, margin: float = 0.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Scores by Python and by the graph, `(B, M)` each: two networks, two machines, two domains."""
    generator = np.random.default_rng(seed)
    normals = tuple(generator.normal(size=(40, 6)) + 2 for _ in range(2))
    machine, domain = np.arange(40) % 2, np.where(np.arange(40) % 5 == 0, "target", "source")
    machines, owner = ("fan", "valve"), np.array([0, 1, 0])
    memory = Memory(normals, machine, domain, machine.astype(str), machines, owner, np.zeros(2))
    members = []
    for _ in normals:
        member = nn.Module()
        centres = generator.normal(size=(5, 6))  # three classes and two of copies
        member.centres = torch.from_numpy(centres / np.linalg.norm(centres, axis=1, keepdims=True))
        members.append(member)
    detector = Detector(members, ClipWindows(1.0), memory, backend, 30.0, margin)
    z = generator.normal(size=(2, 64, 6)).astype(np.float32)
    z /= np.linalg.norm(z, axis=2, keepdims=True)
    z[:, 0] = normals[0][3] / np.linalg.norm(normals[0][3])
    z[:, 1:3] = [members[0].centres[0].numpy(), -members[0].centres[0].numpy()]
    judges = [handheld_sound.judge_of(detector, number) for number in range(2)]
    graph = sound.judge_graph(judges, members=2, width=6)
    (got,) = session(graph).run(None, {"embedding": np.concatenate(z, axis=1)})
    return np.stack([detector.judge(list(z), number) for number in range(2)], axis=1), got


@pytest.mark.parametrize("backend", backends.NAMES)
def test_every_back_end_judges_alike_in_a_graph(backend):
    for margin in (0.4, 1.5) if backend == "own-class-margin" else (0.0,):
        want, got = judged_twice(backend, margin)
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-7)
        assert np.ptp(want, axis=0).min() > 0.1
        assert np.abs(want[:, 0] - want[:, 1]).max() > 0.1
