"""The monitor: one line a block, the same alarms however often it is stopped, and no growth."""

import gc
import json
import math
import signal
import subprocess
import sys
import textwrap
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from stethos.errors import FormatError, QualityError, RecipeError, RunError
from stethos.study import watch as watching
from stethos.study.alarm import Alarm, set_alarm
from stethos.study.drift import reference_of
from stethos.study.judging import Model, Rules
from stethos.study.keep import Keep
from stethos.study.memory import rebaseline
from stethos.study.normals import normal_blocks
from stethos.study.recordings import Recordings
from stethos.study.sensor import SensorLimits
from stethos.study.source import Block, Cut, Missing
from stethos.study.watch import Pace, watch
from stethos.types import Signal

RATE = 16_000
SECONDS = 0.1
TIME = np.arange(round(RATE * SECONDS)) / RATE
CUT = Cut(SECONDS)
ALARM = Alarm(-20.0, 2, 3, 3, SECONDS, 0.5, 1008.0, 0, 0.5)
RULES = Rules(ALARM)


def machine(number: int, whistle: bool = False) -> np.ndarray:
    """A block of hum and noise; of a faulty machine, with a whistle at 6 kHz."""
    noise = 0.001 * np.random.default_rng(number).standard_normal(len(TIME))
    return 0.1 * np.sin(2 * np.pi * 120 * TIME) + noise + whistle * 0.05 * np.sin(2 * np.pi * 6000 * TIME)


def prepare(sound: Signal) -> np.ndarray:
    return sound.values[None]  # (1, 1, T)


def score(x: np.ndarray) -> np.ndarray:
    """Power above 4 kHz over that below, in dB."""
    assert x.ndim == 3
    assert x.shape[1] == 1
    power = np.abs(np.fft.rfft(x[:, 0])) ** 2
    half = power.shape[1] // 2
    return 10 * np.log10(power[:, half:].sum(1) / power[:, :half].sum(1))


MODEL = Model(prepare, score)


class Clock:
    """Time that goes on with every look at it, and with waiting."""

    def __init__(self, now: float = 1_700_000_000.0, step: float = 0.001) -> None:
        self.now, self.step = now, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


def pace(clock: Clock | None = None, **settings) -> Pace:
    clock = clock or Clock()
    return Pace(**{"clock": clock, "wait": clock.wait, "heartbeat": 1e9, **settings})


class Given:
    """A source in memory."""

    def __init__(self, name: str, pieces: list[np.ndarray | Block | Missing], seconds: float = SECONDS) -> None:
        self.name, self.pieces, self.seconds, self.at = name, pieces, seconds, 0

    @property
    def finished(self) -> bool:
        return self.at >= len(self.pieces)

    waiting = 0

    def next(self, now: float) -> Block | Missing | None:
        if self.finished:
            return None
        piece, start = self.pieces[self.at], self.at * self.seconds
        self.at += 1
        if isinstance(piece, np.ndarray):
            return Block(Signal(piece[None].astype(np.float32), RATE, ("1",), "1"), start)
        return piece

    def to_json(self) -> dict:
        return {"at": self.at}

    def restore(self, saved: dict | None, folder: Path) -> None:
        self.at = saved["at"] if saved else 0

    def settle(self) -> None: ...


def statuses(lines: list[dict]) -> str:
    """One letter a line."""
    return "".join(line["status"][0] for line in lines if line["status"] != "heartbeat")


def shown(lines: list[dict]) -> list[dict]:
    """All but the clock's time and the heartbeats."""
    return [{**line, "time": ""} for line in lines if line["status"] != "heartbeat"]


def blocks(pattern: str) -> list[np.ndarray | Missing]:
    """`.` a normal block, `!` a whistle, `0` silence, `_` missing sound."""
    made = {"0": np.zeros(len(TIME)), "_": Missing("a cable was pulled", seconds=1.0)}
    return [made.get(each, machine(i, each == "!")) for i, each in enumerate(pattern)]


def run(pattern: str, state: Path, **settings) -> list[dict]:
    return list(watch([Given("fan", blocks(pattern))], MODEL, RULES, state, pace(**settings)))


# Lines


def test_an_excursion_is_one_alarm_at_its_second_block(tmp_path):
    lines = run("...!!!!....!..!.", tmp_path)
    assert statuses(lines) == "ooooaooooooooooo"
    alarm = lines[4]
    assert alarm["source"] == "fan"
    assert alarm["above"]
    assert alarm["score"] > -20
    assert [line["excursion"] for line in lines[:-1]].index(False, 4) == 10  # last above at 6, 2 of 3 until 7
    assert lines[-1]["status"] == "heartbeat"
    assert lines[-1]["ended"] == "finished"
    assert lines[-1]["sources"]["fan"]["counts"] == {"ok": 15, "alarm": 1}


def test_every_line_is_plain_json_with_a_status_and_a_time(tmp_path):
    for line in run("..!!.0_..", tmp_path, heartbeat=0.001):
        assert json.loads(json.dumps(line, allow_nan=False)) == line
        assert line["status"] in ("ok", "alarm", "sensor", "gap", "heartbeat")
        assert line["time"].startswith("2023-11-14T22:13:20")


def test_a_fault_of_the_sensor_counts_neither_for_an_alarm_nor_against(tmp_path):
    lines = run("..!000!..0000000", tmp_path)
    assert statuses(lines) == "ooossssooossssss".replace("s" * 4, "sssa", 1)[:7] + "oo" + "s" * 7
    assert lines[3]["reason"] == "dead: every sample is 0 of full scale"
    assert "score" not in lines[3]
    assert "a" not in statuses(run("0" * 50, tmp_path / "other"))


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.where(TIME == 0.05, np.nan, machine(0, True)), "1 of 1600 samples are no numbers"),
        (np.clip(100 * machine(0, True), -1, 1), "clipped"),
        (0.5 + machine(0, True), "offset"),
        (1e-6 * machine(0, True), "dead"),
    ],
)
def test_no_broken_microphone_sounds_an_alarm(tmp_path, values, reason):
    lines = list(watch([Given("fan", [values] * 20)], MODEL, RULES, tmp_path, pace()))
    assert statuses(lines) == "s" * 20
    assert lines[0]["reason"].startswith(reason)


def test_what_cannot_be_prepared_or_scored_is_no_anomaly(tmp_path):
    def refused(sound: Signal) -> np.ndarray:
        raise QualityError("too quiet for this model")

    for number, model in enumerate([Model(refused, score), Model(prepare, lambda x: math.nan)]):
        lines = list(watch([Given("fan", blocks("!!!!"))], model, RULES, tmp_path / str(number), pace()))
        assert statuses(lines) == "ssss"
        assert lines[0]["reason"] in ("too quiet for this model", "the model's score is nan, no number")


def test_several_windows_of_a_block_are_scored_by_their_mean(tmp_path):
    model = Model(lambda sound: np.stack([sound.values, -sound.values]), lambda x: np.array([1.0, 4.0]))
    (line, _) = watch([Given("fan", blocks("."))], model, RULES, tmp_path, pace())
    assert line["score"] == 2.5


def test_a_wrong_rate_is_the_sensors_fault(tmp_path):
    slow = Block(Signal(machine(0)[None], 8000, ("1",), "1"), 0.0)
    (line, _) = watch([Given("fan", [slow])], MODEL, RULES, tmp_path, pace())
    assert (line["status"], line["reason"]) == ("sensor", "wrong rate: 8000 Hz, needs at least 16000")


def test_after_a_long_hole_persistence_begins_afresh(tmp_path):
    def at(*starts: float) -> str:
        made = [Block(Signal(machine(0, True)[None], RATE, ("1",), "1"), start, stated=True) for start in starts]
        return statuses(list(watch([Given("fan", made)], MODEL, RULES, tmp_path / str(starts), pace())))

    assert at(0.0, 0.1) == "oa"
    assert at(0.0, 0.4) == "oa"  # 3 blocks are missing
    assert at(0.0, 0.5) == "oo"  # 4 are
    assert at(0.0, 0.1, 0.2, 9.0, 9.1) == "oaooa"  # an excursion does not outlast a hole
    assert at(0.0, -9.0, -8.9) == "oao"  # a clock that is put back is no hole


# Restarts


PATTERN = "..!.!!..0.!!!!....!!._.!0!....!.!..!!!"


@pytest.mark.parametrize("at", range(1, len(PATTERN), 3))
def test_stopped_and_begun_anew_it_says_the_same(tmp_path, at):
    whole = run(PATTERN, tmp_path / "whole")
    first = watch([Given("fan", blocks(PATTERN))], MODEL, RULES, tmp_path / "cut", pace())
    said = [next(first) for _ in range(at)]
    first.close()
    said += run(PATTERN, tmp_path / "cut")
    assert shown(said) == shown(whole)
    assert whole[-1]["sources"]["fan"]["counts"] == said[-1]["sources"]["fan"]["counts"]


def test_asked_to_stop_it_ends_after_the_block_and_goes_on_there(tmp_path):
    left = iter([False] * 9 + [True] * 100)
    first = run(PATTERN, tmp_path / "cut", stopped=lambda: next(left))
    assert first[-1]["ended"] == "stopped"
    assert 1 < len(first) < 10
    assert shown(first + run(PATTERN, tmp_path / "cut")) == shown(run(PATTERN, tmp_path / "whole"))


def test_an_error_in_the_model_loses_no_block(tmp_path):
    calls = []

    def fragile(x: np.ndarray) -> np.ndarray:
        calls.append(1)
        if len(calls) == 7:
            raise MemoryError
        return score(x)

    said = []
    with pytest.raises(MemoryError):
        said += watch([Given("fan", blocks(PATTERN))], Model(prepare, fragile), RULES, tmp_path / "cut", pace())
    first = watch([Given("fan", blocks(PATTERN))], Model(prepare, fragile), RULES, tmp_path / "cut", pace())
    assert shown(list(first)) == shown(run(PATTERN, tmp_path / "whole"))[6:]


def test_under_another_threshold_persistence_begins_afresh_and_the_counts_stay(tmp_path):
    run("..!", tmp_path)
    other = Rules(replace(ALARM, threshold=-21.0))
    lines = list(watch([Given("fan", blocks("..!!!!"))], MODEL, other, tmp_path, pace()))
    assert statuses(lines) == "oao"
    assert lines[-1]["sources"]["fan"]["counts"] == {"ok": 5, "alarm": 1}


def test_a_state_that_is_none_is_refused(tmp_path):
    (tmp_path / "state.json").write_text("{")
    with pytest.raises(RunError, match="is no monitor's state"):
        run(".", tmp_path)
    (tmp_path / "state.json").write_text('{"version": 99}')
    with pytest.raises(RunError, match="of version 99, needs 1"):
        run(".", tmp_path)


def test_a_full_disk_is_said_in_the_heartbeat_and_stops_nothing(tmp_path, monkeypatch):
    def full(folder: Path, state: dict) -> None:
        raise FormatError("the disk is full")

    lines = watch([Given("fan", blocks("..!!.."))], MODEL, RULES, tmp_path, pace(heartbeat=0.002))
    monkeypatch.setattr(watching, "write_state", full)
    lines = list(lines)
    assert statuses(lines) == "oooaoo"
    assert lines[-1]["unsaved"] == "the disk is full"
    with pytest.raises(FormatError, match="the disk is full"):
        run(".", tmp_path / "new")


SCRIPT = """
import json, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_study_watch import *
from stethos.study.pcm import Pcm, PcmStream
from stethos.train.interrupt import stop_request

folder, state = map(Path, sys.argv[1:3])
with stop_request() as stopped:
    if "-" in sys.argv[3:]:
        source = PcmStream("fan", sys.stdin.buffer, Pcm(RATE), Cut(SECONDS, gap=60))
    else:
        source = Recordings("fan", folder, CUT, follow="follow" in sys.argv[3:])
    for line in watch([source], MODEL, RULES, state, Pace(stopped=stopped)):
        print(json.dumps(line), flush=True)
    raise SystemExit(0)
"""


def process(*arguments: str | Path, stdin=None) -> subprocess.Popen:
    code = textwrap.dedent(SCRIPT).format(tests=str(Path(__file__).parent))
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, stdin=stdin, text=stdin is None
    )


def record(folder: Path, pattern: str, first: int = 0) -> None:
    """One file for every four blocks."""
    folder.mkdir(exist_ok=True)
    made = [machine(i, each == "!") for i, each in enumerate(pattern)]
    for number in range(0, len(made), 4):
        path = folder / f"{first + number}.wav"
        soundfile.write(path, np.concatenate(made[number : number + 4]), RATE, subtype="FLOAT")


HEARD = "...!!...!.!!.!.....!!!......!.!!"


def said_by(running: subprocess.Popen) -> list[dict]:
    out, _ = running.communicate(timeout=60)
    return [json.loads(line) for line in out.splitlines()]


def test_killed_outright_it_goes_on_with_the_same_alarms(tmp_path):
    record(tmp_path / "in", HEARD)
    first = process(tmp_path / "in", tmp_path / "state")
    said = [json.loads(first.stdout.readline()) for _ in range(13)]
    first.kill()
    said += said_by(first) + said_by(process(tmp_path / "in", tmp_path / "state"))
    whole = list(watch([Recordings("fan", tmp_path / "in", CUT, follow=False)], MODEL, RULES, tmp_path / "b", pace()))
    # the last second may be said twice, in the same words
    unique = {(line["file"], line["offset"]): line for line in shown(said)}
    assert list(unique.values()) == shown(whole)
    assert statuses(whole).count("a") == 4


def test_sigterm_ends_it_cleanly_and_nothing_is_said_twice(tmp_path):
    record(tmp_path / "in", HEARD[:12])
    first = process(tmp_path / "in", tmp_path / "state", "follow")
    said = [json.loads(first.stdout.readline()) for _ in range(12)]
    first.send_signal(signal.SIGTERM)
    said += said_by(first)
    assert first.returncode == 0
    assert said[-1]["ended"] == "stopped"
    record(tmp_path / "in", HEARD[12:], first=12)
    said += said_by(process(tmp_path / "in", tmp_path / "state"))
    whole = watch([Recordings("fan", tmp_path / "in", CUT, follow=False)], MODEL, RULES, tmp_path / "b", pace())
    assert shown(said) == shown(list(whole))


def test_standard_input_is_heard_across_a_restart(tmp_path):
    made = np.concatenate([machine(i, each == "!") for i, each in enumerate(HEARD)])
    data = np.rint(made * 32767).astype("<i2").tobytes()
    cut = len(TIME) * 2 * 11  # between two above blocks
    said = []
    for part in (data[:cut], data[cut:]):
        running = process(tmp_path, tmp_path / "state", "-", stdin=subprocess.PIPE)
        out, _ = running.communicate(part, timeout=60)
        assert running.returncode == 0
        said += [json.loads(line) for line in out.splitlines()]
    whole = run(HEARD, tmp_path / "whole")
    assert statuses(said) == statuses(whole)


# Folders and several sources


def test_a_folder_is_heard_while_it_grows(tmp_path):
    clock = Clock()
    record(tmp_path / "in", HEARD[:4])
    grown = iter(range(4, len(HEARD), 4))

    def wait(seconds: float) -> None:
        clock.wait(1.0)
        number = next(grown, None)
        if number is not None:
            record(tmp_path / "in", HEARD[number : number + 4], first=number)

    lines = watch(
        [Recordings("fan", tmp_path / "in", CUT)], MODEL, RULES, tmp_path / "state",
        Pace(clock, wait, stopped=lambda: clock.now > 1_700_000_015, heartbeat=1e9),
    )  # fmt: skip
    said = list(lines)
    assert [line["file"] for line in said[:-1]] == [f"{4 * (i // 4)}.wav" for i in range(len(HEARD))]
    state = json.loads((tmp_path / "state" / "state.json").read_text())["sources"]["fan"]["source"]
    assert len(state["recent"]) <= 1  # the others are on the list of seen names
    assert len((tmp_path / "state" / "seen" / "fan.txt").read_text().split()) == len(HEARD) // 4
    assert statuses(said) == statuses(
        list(watch([Recordings("fan", tmp_path / "in", CUT, follow=False)], MODEL, RULES, tmp_path / "b", pace()))
    )


def test_a_file_that_was_cut_off_is_a_gap_with_its_reason(tmp_path):
    record(tmp_path / "in", "........")
    whole = (tmp_path / "in" / "0.wav").read_bytes()
    (tmp_path / "in" / "0.wav").write_bytes(whole[:9000])
    lines = list(watch([Recordings("fan", tmp_path / "in", CUT, follow=False)], MODEL, RULES, tmp_path / "s", pace()))
    assert statuses(lines) == "goooo"
    assert lines[0]["file"] == "0.wav"
    assert "header promises" in lines[0]["reason"]


def test_several_sources_take_turns_and_keep_apart(tmp_path):
    sources = [Given("fan", blocks(".!!....")), Given("pump", blocks(".....!!")), Given("valve", blocks("0!0"))]
    lines = list(watch(sources, MODEL, RULES, tmp_path, pace()))
    assert [line["source"] for line in lines[:6]] == ["fan", "pump", "valve"] * 2
    alone = {source.name: statuses([line for line in lines if line.get("source") == source.name]) for source in sources}
    assert alone == {"fan": "ooaoooo", "pump": "ooooooa", "valve": "sos"}
    assert set(lines[-1]["sources"]) == {"fan", "pump", "valve"}


def test_sources_may_have_models_and_rules_of_their_own(tmp_path):
    sources = [Given("fan", blocks("!!!")), Given("pump", blocks("!!!"))]
    rules = {"fan": RULES, "pump": Rules(replace(ALARM, k=3))}
    lines = list(watch(sources, {"fan": MODEL, "pump": MODEL}, rules, tmp_path, pace()))
    assert statuses(lines) == "ooaooa"
    with pytest.raises(RecipeError, match="the source pump needs"):
        watch(sources, MODEL, {"fan": RULES}, tmp_path, pace())
    for wrong in ([], [Given("fan", []), Given("fan", [])]):
        with pytest.raises(RecipeError, match="different names"):
            watch(wrong, MODEL, RULES, tmp_path, pace())


# Heartbeat and clock


def test_it_is_alive_even_when_nothing_happens(tmp_path):
    clock = Clock(step=0.0)
    (tmp_path / "in").mkdir()
    source = Recordings("fan", tmp_path / "in", replace(CUT, gap=1e6))
    lines = watch([source], MODEL, RULES, tmp_path / "state",
                  pace(clock, heartbeat=60.0, stopped=lambda: clock.now > 1_700_000_301))  # fmt: skip
    said = list(lines)
    assert [line["status"] for line in said] == ["heartbeat"] * 6
    assert ["ended" in line for line in said] == [False] * 5 + [True]
    assert said[0]["sources"]["fan"] == {
        "counts": {}, "last": None, "excursion": False, "waiting": 0, "finished": False, "learning": 0
    }  # fmt: skip


def test_a_clock_that_jumps_back_stops_nothing(tmp_path):
    clock = Clock()
    source = Given("fan", blocks("." * 30 + "!!" + "." * 30))
    lines, said = watch([source], MODEL, RULES, tmp_path, pace(clock, heartbeat=0.01)), []
    for line in lines:
        said.append(line)
        if len(said) in (10, 30):
            clock.now -= 1e8
    assert statuses(said).count("o") == 61
    assert statuses(said).count("a") == 1
    assert sum(line["status"] == "heartbeat" for line in said) > 5


# Drift and maintenance


def slowly(count: int, decibels: float) -> list[np.ndarray]:
    """Blocks whose level rises from first to last."""
    return [machine(i) * 10 ** (decibels * i / count / 20) for i in range(count)]


def test_a_slow_change_of_level_is_one_line(tmp_path):
    usual = np.random.default_rng(0).standard_normal((500, 2)) * [1.0, 0.5] + [-30.0, -23.0]
    rules = Rules(replace(ALARM, threshold=0.0), reference_of(*usual.T), drift_blocks=50)
    lines = list(watch([Given("fan", slowly(300, 6.0))], Model(prepare, lambda x: -30.0), rules, tmp_path, pace()))
    drifts = [line for line in lines if line["status"] == "drift"]
    assert len(drifts) == 1
    assert drifts[0]["reason"].startswith("the median level of 50 blocks is -21")
    # 1.16 dB above the median is the 99 % quantile: block 58, and half of the 50 blocks later
    assert 75 < lines.index(drifts[0]) < 95
    assert lines[-1]["sources"]["fan"]["counts"] == {"ok": 300, "drift": 1}


@pytest.mark.parametrize("at", [60, 130, 150, 170, 260])
def test_drift_is_remembered_across_a_restart(tmp_path, at):
    rules = Rules(ALARM, drift_blocks=40, learn_blocks=100)
    louder = [*(machine(i) for i in range(140)), *(2 * machine(i) for i in range(140))]
    whole = list(watch([Given("fan", louder)], MODEL, rules, tmp_path / "whole", pace()))
    lines = watch([Given("fan", louder)], MODEL, rules, tmp_path / "cut", pace())
    said = [next(lines) for _ in range(at)]
    lines.close()
    said += watch([Given("fan", louder)], MODEL, rules, tmp_path / "cut", pace())
    assert shown(said) == shown(whole)
    assert statuses(said) == "o" * 160 + "d" + "o" * 120 or statuses(said) == "o" * 161 + "d" + "o" * 119


def test_what_an_excursion_does_to_the_score_is_no_drift(tmp_path):
    usual = np.array([score(machine(i)[None, None])[0] for i in range(200)])
    rules = Rules(ALARM, reference_of(usual, np.linspace(-24, -22, 200)), drift_blocks=20)
    lines = list(watch([Given("fan", blocks("." * 30 + "!" * 40 + "." * 30))], MODEL, rules, tmp_path, pace()))
    assert statuses(lines) == "o" * 31 + "a" + "o" * 68


def test_maintenance_is_heeded_while_it_runs_and_when_it_did_not(tmp_path):
    rules = Rules(ALARM, drift_blocks=20, learn_blocks=100)
    louder = [*(machine(i) for i in range(150)), *(2 * machine(i) for i in range(300))]
    without = list(watch([Given("fan", louder)], MODEL, rules, tmp_path / "without", pace()))
    assert statuses(without).count("d") == 1

    lines, said = watch([Given("fan", louder)], MODEL, rules, tmp_path / "running", pace()), []
    for line in lines:
        said.append(line)
        if len(said) == 150:
            rebaseline(tmp_path / "running", "bearing changed", clock=lambda: 0.0)
    assert statuses(said) == "o" * 150 + "r" + "o" * 300
    assert said[150]["reason"] == "bearing changed"
    log = (tmp_path / "running" / "rebaseline.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in log] == [
        {"time": "1970-01-01T00:00:00.000+00:00", "reason": "bearing changed", "sources": []}
    ]

    lines = watch([Given("fan", louder)], MODEL, rules, tmp_path / "stopped", pace())
    said = [next(lines) for _ in range(150)]
    lines.close()
    rebaseline(tmp_path / "stopped", "oiled", ["fan"])
    said += watch([Given("fan", louder)], MODEL, rules, tmp_path / "stopped", pace())
    assert statuses(said) == "o" * 150 + "r" + "o" * 300
    assert statuses(list(watch([Given("fan", louder)], MODEL, rules, tmp_path / "stopped", pace()))) == ""


def test_older_maintenance_does_not_concern_a_new_monitor(tmp_path):
    run("..", tmp_path)
    rebaseline(tmp_path, "oiled")
    (tmp_path / "state.json").unlink()
    assert statuses(run("..", tmp_path)) == "oo"


def test_maintenance_ends_an_excursion_of_the_sources_it_names(tmp_path):
    sources = [Given("fan", blocks("!!!!!")), Given("pump", blocks("!!!!!"))]
    lines, said = watch(sources, MODEL, RULES, tmp_path, pace()), []
    for line in lines:
        said.append(line)
        if len(said) == 6:
            rebaseline(tmp_path, "cleaned", ["pump"])
    for name, want in (("fan", "oaooo"), ("pump", "oaoroa")):
        assert statuses([line for line in said if line.get("source") == name]) == want


def test_a_reason_written_by_hand_concerns_all(tmp_path):
    lines, said = watch([Given("fan", blocks("...."))], MODEL, RULES, tmp_path, pace()), []
    for line in lines:
        said.append(line)
        if len(said) == 2:
            (tmp_path / "rebaseline.jsonl").write_text("belt changed\nhalf a li")
    assert [line["reason"] for line in said if line["status"] == "rebaseline"] == ["belt changed"]


def test_maintenance_without_a_reason_or_a_monitor_is_refused(tmp_path):
    with pytest.raises(RunError, match=r"holds no state\.json"):
        rebaseline(tmp_path, "oiled")
    run("..", tmp_path)
    with pytest.raises(RecipeError, match="needs the reason"):
        rebaseline(tmp_path, " ")
    with pytest.raises(RunError, match="no source pump; it has fan"):
        rebaseline(tmp_path, "oiled", ["pump"])


# Evidence


def keeping(folder: Path, **settings) -> Model:
    keep = Keep(
        folder,
        spectrogram=lambda x: np.abs(np.fft.rfft(x[0]))[:, :64],
        region=lambda x: {"low": 5000, "high": 7000},
        **settings,
    )
    return replace(MODEL, keep=keep)


def test_an_alarm_leaves_what_an_engineer_needs_and_no_audio(tmp_path):
    model = keeping(tmp_path / "kept", nearest=lambda x: "normal_17")
    lines = list(watch([Given("fan", blocks("..!!.."))], model, RULES, tmp_path, pace()))
    (alarm,) = [line for line in lines if line["status"] == "alarm"]
    assert alarm["region"] == {"low": 5000, "high": 7000}
    assert alarm["nearest"] == "normal_17"
    (path,) = (tmp_path / "kept").iterdir()
    assert path.name == alarm["kept"] == f"alarm_20231114T221320.{alarm['time'][20:23]}Z_fan.npz"
    with np.load(path) as kept:
        assert kept["log_mel"].dtype == np.float16
        assert kept["log_mel"].shape == (1, 64)
        told = json.loads(str(kept["line"]))
    assert {name: told[name] for name in told if name != "kept"} == {n: alarm[n] for n in alarm if n != "kept"}


def test_audio_is_kept_only_where_it_is_asked_for(tmp_path):
    model = keeping(tmp_path / "kept", audio=True)
    list(watch([Given("fan", blocks("..!!.."))], model, RULES, tmp_path, pace()))
    npz, wav = sorted((tmp_path / "kept").iterdir())
    assert (npz.suffix, wav.suffix, npz.stem) == (".npz", ".wav", wav.stem)
    values, rate = soundfile.read(wav)
    assert rate == RATE
    assert np.abs(values - machine(3, True)).max() < 1e-4


def test_the_oldest_alarms_make_room_and_nothing_else_does(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "notes.npz").write_bytes(bytes(50_000))
    pattern = "..!!.." * 12
    model = keeping(tmp_path / "kept", audio=True, megabytes=0.012)  # three of about 4 kB
    lines = list(watch([Given("fan", blocks(pattern))], model, RULES, tmp_path, pace()))
    alarms = [line["kept"] for line in lines if line["status"] == "alarm"]
    assert len(alarms) == 12
    left = sorted(path.name for path in (tmp_path / "kept").glob("alarm_*"))
    assert sum((tmp_path / "kept" / name).stat().st_size for name in left) <= 12_000
    assert {Path(name).stem for name in left} <= {Path(name).stem for name in alarms[-4:]}
    assert alarms[-1] in left
    assert (tmp_path / "kept" / "notes.npz").exists()
    small = keeping(tmp_path / "small", megabytes=1e-6)
    list(watch([Given("fan", blocks(pattern))], small, RULES, tmp_path / "b", pace()))
    assert len(list((tmp_path / "small").iterdir())) == 1  # the newest stays
    with pytest.raises(RecipeError, match="positive number of megabytes"):
        Keep(tmp_path, megabytes=0)


def test_evidence_that_cannot_be_written_stops_no_alarm(tmp_path):
    (tmp_path / "kept").write_text("a file in the way")
    lines = list(watch([Given("fan", blocks("..!!.."))], keeping(tmp_path / "kept"), RULES, tmp_path, pace()))
    assert statuses(lines) == "oooaoo"
    assert "cannot be written" in lines[3]["not_kept"]


# From normal sound to a monitor


def test_the_threshold_is_set_on_what_the_monitor_itself_would_hear(tmp_path):
    record(tmp_path / "in", "." * 100)
    soundfile.write(tmp_path / "in" / "51.wav", np.zeros(len(TIME)), RATE, subtype="FLOAT")
    (tmp_path / "in" / "60.wav").write_bytes(b"RIFF")
    source = Recordings("fan", tmp_path / "in", CUT, follow=False)
    normal, level = normal_blocks(source, MODEL, 300.0)
    watched = list(watch([Recordings("fan", tmp_path / "in", CUT, follow=False)], MODEL, RULES, tmp_path, pace()))
    assert statuses(watched) == "o" * 52 + "s" + "o" * 8 + "g" + "o" * 36
    told = [line.get("score", np.nan) for line in watched if line["status"] in ("ok", "sensor")]
    assert np.array_equal(normal.score, told, equal_nan=True)
    assert len(np.unique(normal.recording)) == 25
    assert level[0] == pytest.approx(-23.0, abs=0.1)
    assert level[52] == -np.inf
    with pytest.raises(QualityError, match="at least 100 judged blocks; got 96"):
        reference_of(normal.score, level)
    found = set_alarm(normal, budget=150, pairs=[(1, 1)])
    assert found.observed_hours == pytest.approx(48 * 300 / 3600, abs=0.4)
    assert found.threshold < score(machine(0, True)[None, None])


def test_a_stream_has_no_recordings(tmp_path):
    normal, _ = normal_blocks(Given("fan", blocks("....")), MODEL, SECONDS)
    assert normal.recording is None
    assert normal.start.tolist() == pytest.approx([0.0, 0.1, 0.2, 0.3])


# Memory


def test_ten_thousand_blocks_take_no_more_memory_than_a_thousand(tmp_path):
    folder, rate = tmp_path / "in", 1000
    folder.mkdir()
    values = 0.1 * np.sin(np.arange(5000)) + 0.01 * np.random.default_rng(0).standard_normal(5000)
    for number in range(110):  # of 100 blocks each
        soundfile.write(folder / f"{number}.wav", values, rate, subtype="FLOAT")
    alarm = replace(ALARM, threshold=0.0, block_seconds=0.05)
    rules = Rules(alarm, sensor=SensorLimits(rates=(0, math.inf)), drift_blocks=50, learn_blocks=100)
    noise = np.random.default_rng(1)
    model = Model(prepare, lambda x: noise.standard_normal() - 2.5)
    lines = watch([Recordings("fan", folder, Cut(0.05), follow=False)], model, rules, tmp_path / "state", pace())
    counted, sizes = 0, []
    tracemalloc.start()
    try:
        for line in lines:
            counted += line["status"] != "heartbeat"
            if counted % 170 == 0 and line["status"] != "heartbeat":  # at any place of a file, open or not
                gc.collect()
                sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert counted == 11_000
    assert len(sizes) == 64
    assert max(sizes[-32:]) - max(sizes[4:32]) < 5_000
    assert (tmp_path / "state" / "state.json").stat().st_size < 30_000
