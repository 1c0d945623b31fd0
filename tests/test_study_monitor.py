"""A detector as a monitor: its alarm from normal sound, what it says of files and folders, what it remembers."""

import io
import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from stethos.errors import ChannelError, FormatError, OriginError, QualityError, RecipeError, RunError
from stethos.io.sound import write_sound
from stethos.signal.clip import ClipWindows
from stethos.study import monitor, sound_parts
from stethos.study.alarm import NormalBlocks
from stethos.study.budget import hours_needed, upper_per_week
from stethos.study.detector import Detector, Memory
from stethos.study.memory import rebaseline
from stethos.study.monitor import Watching, false_alarms, rules_of, set_threshold, watch_sources
from stethos.train.run import start_run
from stethos.types import Run, Signal

RATE = 16_000
SECONDS = 0.5  # of a block
LATER = 60  # blocks of later normal sound
BUDGET = float(np.ceil(hours_needed(1.0) / (LATER * SECONDS / 3600)))  # the smallest that these can show


class Bands(nn.Module):
    """Level of eight bands, as a point on a sphere."""

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        power = torch.fft.rfft(x[:, 0]).abs().square()
        edges = np.geomspace(1, 4000, 9).astype(int)
        parts = [power[:, low:high].mean(1) for low, high in pairwise(edges)]
        return nn.functional.normalize((torch.stack(parts, dim=1) + 1e-6).log() + 20, dim=1)


def hum(seed: int, blocks: int, fault: bool = False) -> np.ndarray:
    """So many blocks of a machine's sound; its fault is a whistle at 6 kHz."""
    time = np.arange(round(RATE * SECONDS * blocks)) / RATE
    noise = 0.02 * np.random.default_rng(seed).standard_normal(len(time))
    return 0.1 * np.sin(2 * np.pi * 120 * time) + noise + fault * 0.2 * np.sin(2 * np.pi * 6000 * time)


def put(path: Path, values: np.ndarray, origin: str = "real") -> Path:
    write_sound(Signal(values[None], RATE, ("1",), "1"), path, origin)
    return path


@pytest.fixture(scope="module")
def detector() -> Detector:
    """Knows a fan and a pump that sound alike."""
    windows = ClipWindows(SECONDS).apply(Signal(hum(0, 20)[None], RATE, ("1",), "1"))
    heard = Bands().embed(torch.from_numpy(windows)).double().numpy()
    held = Memory((heard,), np.arange(20) % 2, np.full(20, ""), np.array([f"n{k}" for k in range(20)]),
                  ("fan/id_00", "pump"), np.arange(2), np.full(2, 1.0))  # fmt: skip
    return Detector([Bands()], ClipWindows(SECONDS), held, "nearest")


@pytest.fixture(scope="module")
def normal(tmp_path_factory) -> Path:
    """Twelve recordings of ten blocks."""
    folder = tmp_path_factory.mktemp("normal")
    for number in range(12):
        put(folder / f"Tag {number}.wav", hum(number, 10))
    return folder


@pytest.fixture
def run(tmp_path) -> Run:
    return start_run(tmp_path / "run", {"system": "os_scl", "origin": "real"})


@pytest.fixture
def armed(run, detector, normal) -> Run:
    list(set_threshold(run, detector, normal, "fan/id_00", BUDGET))
    return run


def statuses(lines: list[dict]) -> str:
    """One letter a line."""
    return "".join(line["status"][0] for line in lines if line["status"] != "heartbeat")


# --- the alarm ----------------------------------------------------------------------------------------------


def test_the_alarm_is_set_on_the_first_half_and_counted_on_the_second(run, detector, normal):
    first, second = set_threshold(run, detector, normal, "fan/id_00", BUDGET)
    alarm = rules_of(run, "fan/id_00").alarm
    assert first == f"fan/id_00: threshold {alarm.threshold:.6g}, {alarm.k} of {alarm.n} blocks of 0.5 s"
    assert second == alarm.sentence()
    assert alarm.observed_hours == pytest.approx(LATER * SECONDS / 3600)
    assert (alarm.budget, alarm.block_seconds) == (BUDGET, SECONDS)
    assert alarm.upper_per_week == pytest.approx(upper_per_week(alarm.alarms, alarm.observed_hours))
    assert rules_of(run, "fan/id_00").reference is not None  # 120 blocks are enough for one


def test_the_report_finds_the_alarm_and_its_curve_and_no_name_of_a_recording(armed):
    told = sound_parts.kept(armed, "alarm")
    assert told["machines"]["fan/id_00"] == rules_of(armed, "fan/id_00").alarm.to_json()
    curve = told["curves"]["fan/id_00"]
    assert len(curve["threshold"]) == len(curve["upper"]) == monitor.CURVE
    assert (np.diff(curve["threshold"]) > 0).all()
    assert curve["upper"][0] > curve["upper"][-1] == pytest.approx(upper_per_week(0, 2 * LATER * SECONDS / 3600))
    assert "Tag" not in (armed.folder / "alarm.json").read_text()


def test_a_budget_that_the_hours_cannot_support_is_refused_with_what_would(run, detector, normal):
    with pytest.raises(
        QualityError, match=r"0\.5 false alarms a week needs 1008 h .* and 0\.0 h were observed, which "
    ):
        list(set_threshold(run, detector, normal, "fan/id_00", 0.5))
    with pytest.raises(QualityError, match="which support 60500 a week at best; record more or allow more"):
        list(set_threshold(run, detector, normal, "fan/id_00", BUDGET - 100))
    assert not (run.private / "alarms").exists()


def test_one_long_recording_will_do(run, detector, tmp_path):
    list(set_threshold(run, detector, put(tmp_path / "long.wav", hum(3, 120)), "pump", BUDGET))
    assert rules_of(run, "pump").alarm.observed_hours == pytest.approx(LATER * SECONDS / 3600)


def test_silent_blocks_count_for_nothing(run, detector, normal, tmp_path):
    for path in normal.glob("*.wav"):
        (tmp_path / "clips").mkdir(exist_ok=True)
        (tmp_path / "clips" / path.name).write_bytes(path.read_bytes())
    put(tmp_path / "clips" / "Tag 99.wav", np.zeros(RATE * 60))
    list(set_threshold(run, detector, tmp_path / "clips", "fan/id_00", BUDGET))
    assert rules_of(run, "fan/id_00").alarm.observed_hours == pytest.approx(LATER * SECONDS / 3600)


def test_a_model_of_a_simulated_factory_sets_no_alarm_of_a_real_machine_unless_it_may(detector, normal, tmp_path):
    run = start_run(tmp_path / "run", {"system": "os_scl", "origin": "synthetic"})
    with pytest.raises(OriginError, match="--allow-synthetic-model"):
        list(set_threshold(run, detector, normal, "pump", BUDGET))
    list(set_threshold(run, detector, normal, "pump", BUDGET, allow_synthetic_model=True))


def test_machines_whose_names_look_alike_have_alarms_of_their_own(run, detector, normal):
    held = detector.memory.with_machine("fan_id_00", [detector.memory.embedding[0][::2]], 1.0)
    both = detector.remembering(held)
    list(set_threshold(run, both, normal, "fan/id_00", BUDGET))
    with pytest.raises(RunError, match="fan_id_00 has no alarm yet; set one with `threshold "):
        rules_of(run, "fan_id_00")
    list(set_threshold(run, both, normal, "fan_id_00", 2 * BUDGET))
    assert rules_of(run, "fan/id_00").alarm.budget == BUDGET
    assert set(sound_parts.kept(run, "alarm")["machines"]) == {"fan/id_00", "fan_id_00"}


def test_a_broken_alarm_says_to_set_it_anew(armed):
    path = next((armed.private / "alarms").iterdir())
    for text in ("{", "{}", '{"alarm": {"k": 1}, "reference": null}'):
        path.write_text(text)
        with pytest.raises(RunError, match=r"is no alarm .*; set it anew with `threshold`"):
            rules_of(armed, "fan/id_00")


def test_the_curve_counts_the_excursions_above_every_threshold(armed):
    """Three peaks far apart, one of them of two blocks: 3, 2, 1 and 0 excursions."""
    score = np.zeros(400)
    score[[50, 51, 150, 300]] = [3, 3, 2, 1]
    alarm = replace(rules_of(armed, "fan/id_00").alarm, k=1, n=1, rearm=30, threshold=3.2)
    threshold, upper = false_alarms(NormalBlocks(score, SECONDS), alarm)
    hours = 400 * SECONDS / 3600
    for limit, bound in zip(threshold, upper, strict=True):
        assert bound == pytest.approx(upper_per_week(sum(limit < peak for peak in (1, 2, 3)), hours))
    assert (threshold[0], threshold[-1]) == (0, pytest.approx(3.2 * 1.02))


# --- watching -----------------------------------------------------------------------------------------------


@pytest.fixture
def shift(tmp_path) -> Path:
    """A night: the normal sound that the alarm was set on, and a fault from the fifth block of the third file on."""
    put(tmp_path / "night" / "1.wav", hum(0, 10))
    put(tmp_path / "night" / "2.wav", hum(1, 10))
    faulty = np.concatenate([hum(2, 4), hum(23, 16, fault=True)])
    put(tmp_path / "night" / "3.wav", faulty)
    return tmp_path / "night"


def watched(run: Run, detector: Detector, *sources: object, machine: str = "fan/id_00", **how: object) -> list[dict]:
    return list(watch_sources(run, detector, [str(source) for source in sources], machine, Watching(**how)))


@pytest.fixture
def simulated(tmp_path, detector, normal) -> Run:
    """A run of a simulated factory whose fan has an alarm."""
    run = start_run(tmp_path / "simulated", {"system": "os_scl", "origin": "synthetic"})
    list(set_threshold(run, detector, normal, "fan/id_00", BUDGET, allow_synthetic_model=True))
    return run


@pytest.mark.parametrize("source", ["night", "night/1.wav", "-"])
def test_a_model_of_a_simulated_factory_watches_no_real_machine(simulated, detector, shift, source):
    with pytest.raises(OriginError, match="does not judge a real machine"):
        watched(simulated, detector, source if source == "-" else shift.parent / source)
    assert not (simulated.private / "monitor").exists()


def test_a_real_recording_that_comes_later_is_refused_before_anything_is_said_of_it(
    simulated, detector, shift, monkeypatch
):
    monkeypatch.setattr(monitor, "_refuse_real", lambda run, paths: None)  # nothing was there at the start
    with pytest.raises(OriginError, match=r"1\.wav: a model trained on a simulated factory"):
        watched(simulated, detector, shift)


def test_every_line_of_a_model_of_a_simulated_factory_says_so(simulated, detector, shift, tmp_path):
    lines = watched(simulated, detector, shift, allow_synthetic_model=True)
    assert all("simulated factory" in line["warning"] for line in lines)
    put(tmp_path / "hall" / "1.wav", hum(0, 4), origin="synthetic")
    lines = watched(simulated, detector, tmp_path / "hall", state=str(tmp_path / "state"))
    assert statuses(lines) == "oooo"
    assert all("simulated factory" in line["warning"] for line in lines)


def test_a_fault_sounds_one_alarm_and_a_normal_night_none(armed, detector, shift):
    lines = watched(armed, detector, shift)
    alarm = rules_of(armed, "fan/id_00").alarm
    assert statuses(lines) == "o" * (24 + alarm.k - 1) + "a" + "o" * (16 - alarm.k)
    (sounded,) = (line for line in lines if line["status"] == "alarm")
    assert (sounded["source"], sounded["file"]) == ("night", "3.wav")
    assert sounded["score"] > alarm.threshold
    assert all(json.loads(json.dumps(line)) == line for line in lines)
    assert lines[-1]["ended"] == "finished"


def test_the_state_remembers_what_was_heard_and_a_new_file_is_heard_next_time(armed, detector, shift, tmp_path):
    assert len(statuses(watched(armed, detector, shift))) == 40
    assert (armed.private / "monitor" / "state.json").is_file()
    assert statuses(watched(armed, detector, shift)) == ""
    put(shift / "4.wav", hum(30, 3))
    assert len(statuses(watched(armed, detector, shift))) == 3
    assert len(statuses(watched(armed, detector, shift, state=str(tmp_path / "other")))) == 43


def test_an_alarm_leaves_its_evidence(armed, detector, shift, tmp_path):
    lines = watched(armed, detector, shift, keep=str(tmp_path / "kept"), keep_audio=True)
    (sounded,) = (line for line in lines if line["status"] == "alarm")
    assert "not_kept" not in sounded
    assert sounded["nearest"]["normal"] in detector.memory.record[detector.memory.machine == 0]
    assert set(sounded["region"]) == {"low", "high", "start", "stop", "share"}
    with np.load(tmp_path / "kept" / sounded["kept"]) as file:
        assert file["log_mel"].shape == (128, 1 + round(RATE * SECONDS) // 512)
        assert json.loads(str(file["line"]))["score"] == sounded["score"]
    assert [path.suffix for path in sorted((tmp_path / "kept").iterdir())] == [".npz", ".wav"]


def test_nothing_is_kept_where_nothing_is_asked_for(armed, detector, shift, tmp_path):
    before = set(tmp_path.rglob("*"))
    watched(armed, detector, shift, state=str(tmp_path / "state"))
    assert {path.relative_to(tmp_path).parts[0] for path in set(tmp_path.rglob("*")) - before} == {"state"}


def test_maintenance_is_told_by_the_next_watch(armed, detector, shift):
    watched(armed, detector, shift)
    report = rebaseline(armed.private / "monitor", "bearing changed")
    assert report["reason"] == "bearing changed"
    put(shift / "4.wav", hum(30, 2))
    lines = watched(armed, detector, shift)
    assert statuses(lines) == "roo"
    assert lines[0]["reason"] == "bearing changed"


def test_two_sources_hear_two_machines_by_their_names(armed, detector, normal, shift):
    list(set_threshold(armed, detector, normal, "pump", 2 * BUDGET))
    lines = watched(armed, detector, f"hall:pump={shift / '1.wav'}", f"roof={shift / '2.wav'}")
    assert sorted({line["source"] for line in lines if line["status"] != "heartbeat"}) == ["hall", "roof"]
    assert set(lines[-1]["sources"]) == {"hall", "roof"}


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("hall=clips/a.wav", ("hall", "fan", "clips/a.wav")),
        ("hall:pump/id_02=clips", ("hall", "pump/id_02", "clips")),
        ("hall=a=b.wav", ("hall", "fan", "a=b.wav")),
        ("clips/night 1", ("night_1", "fan", "clips/night 1")),
        ("Säge.wav", ("Säge", "fan", "Säge.wav")),
        ("-", ("stdin", "fan", "-")),
        ("mic=-", ("mic", "fan", "-")),
        ("..", ("sound", "fan", "..")),
        ("a=b.wav", ("a_b", "fan", "a=b.wav")),
    ],
)
def test_a_source_is_a_path_with_or_without_a_name_and_a_machine(text, want, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=b.wav").write_text("there is a file of this name")
    assert monitor._named(text, "fan") == want


def test_what_cannot_be_watched_is_said_before_anything_is_heard(armed, detector, shift, tmp_path):
    for sources, machine, error, words in [
        ((f"a={shift}", f"a={shift}"), "fan/id_00", RecipeError, "sources of different names; got a, a"),
        (("a=",), "fan/id_00", RecipeError, "a source is a file, a folder, - or NAME=PATH; got 'a='"),
        ((shift,), "pump", RunError, "pump has no alarm yet; set one with `threshold"),
        ((shift,), "", ChannelError, "got none: name it with --machine"),
        ((tmp_path / "nowhere",), "fan/id_00", FormatError, "nowhere: there is no such file or folder to watch"),
        ((f"a b={shift}",), "fan/id_00", RecipeError, "the name of a source needs letters"),
        ((), "fan/id_00", RecipeError, "got none"),
    ]:
        with pytest.raises(error, match=words):
            watched(armed, detector, *sources, machine=machine)


def test_raw_samples_come_through_standard_input(armed, detector, monkeypatch):
    raw = np.rint(32767 * np.concatenate([hum(40, 3), hum(41, 4, fault=True)])).astype("<i2").tobytes()
    monkeypatch.setattr(monitor.sys, "stdin", SimpleNamespace(buffer=io.BytesIO(raw)))
    lines = watched(armed, detector, "-")
    assert [line["source"] for line in lines if line["status"] == "alarm"] == ["stdin"]
    assert len(statuses(lines)) == 7
