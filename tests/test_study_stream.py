"""A live stream of one lead is judged as the whole recording is, whatever happens to its lines."""

import gc
import json
import math
import os
import subprocess
import sys
import threading
import time
import types
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from stethos.cli import main
from stethos.errors import ChannelError, FormatError, RateError, StethosError, UnitError
from stethos.io import read
from stethos.signal.quality import Window
from stethos.signal.quality import windows as judge_windows
from stethos.study import stream
from stethos.study.cutter import Cutter
from stethos.study.ensemble import Ensemble, scorer
from stethos.study.grid import Grid, fitted_rate
from stethos.study.lead import LeadWindows, mean_of_windows
from stethos.study.stream import Live, grown, piped, said
from stethos.synth import hospital
from stethos.systems import pocket_k
from stethos.types import Record, Signal

WINDOWS = LeadWindows("I", "lead-v1")


def trace(seconds: float, rate: float) -> np.ndarray:
    """Lead I of a simulated person, repeated and read off at another rate, mV, as its lines hold it."""
    held = hospital(3, seed=1)[0].signals[0]
    values = np.tile(held.values[0].astype(float), int(seconds / held.duration) + 1)
    at = np.arange(round(seconds * rate)) / rate
    return np.round(np.interp(at, np.arange(len(values)) / held.rate, values) + 0.05 * np.sin(0.21 * at), 6)


def text(values: np.ndarray, rate: float, times: np.ndarray | None = None) -> list[str]:
    times = np.arange(len(values)) / rate if times is None else times
    return [f"{at:.6f},{value:.6f}\n" for at, value in zip(times, values, strict=True)]


def power(record: Record) -> dict[str, object]:
    """A judge that is quick and tells one window from another."""
    values = record.signals[0].values
    known = values[np.isfinite(values)]
    return {"logit": float(np.square(known).mean()), "decision": "answered", "samples": values.shape[1]}


def lines(pieces, say=power, *, rate=None, unit=None, points=0.0, windows=WINDOWS) -> list[dict]:
    data = [piece.encode() if isinstance(piece, str) else piece for piece in pieces]
    return list(said(iter(data), "test", say, Live(windows, points, rate, unit)))


def windows_of(found: list[dict]) -> list[dict]:
    return [line for line in found if line["status"] == "window"]


@pytest.fixture(scope="module")
def model() -> Ensemble:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Ensemble([pocket_k.PocketK(pocket_k.tiny())], threshold=0.0).eval()


def network(model: Ensemble):
    """The network's logit of a record's windows, without the rest of a run."""
    score = scorer(model.score)

    def say(record: Record) -> dict[str, object]:
        values, _, weights = WINDOWS(record)
        return {"logit": float(mean_of_windows(score(values), weights)[0]), "decision": "answered"}

    return say


# --- equal to the whole recording -----------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [250.0, 500.0, 512.844, 130.0])
@pytest.mark.parametrize("stamped", [True, False])
def test_windows_have_the_logits_of_the_whole_recording(model, tmp_path, rate, stamped):
    values = trace(43.0, rate)
    body = text(values, rate) if stamped else [f"{value:.6f}\n" for value in values]
    (tmp_path / "whole.csv").write_text(("time,I [mV]\n" if stamped else "I [mV]\n") + "".join(body))
    whole = read(tmp_path / "whole.csv", rate=None if stamped else rate)
    x, _, weights = WINDOWS(whole)
    want = scorer(model.score)(x)[:, 0]
    found = lines([(tmp_path / "whole.csv").read_text()], network(model), rate=None if stamped else rate)
    got = windows_of(found)
    assert len(got) == len(want) == 4
    assert np.abs(np.array([line["logit"] for line in got]) - want).max() < 1e-6
    assert [line["start"] for line in got] == pytest.approx([0, 10, 20, 30], abs=1 / rate)
    mean = np.average(want, weights=weights)  # as `predict` says of the recording
    assert found[-1]["all"]["logit"] == pytest.approx(mean, abs=1e-6)
    assert found[-1]["rate"] == pytest.approx(whole.signals[0].rate, rel=1e-7)


def test_how_the_bytes_are_cut_changes_nothing(model):
    whole = "".join(text(trace(25.0, 250.0), 250.0)).encode()
    rng = np.random.default_rng(0)
    places = np.sort(rng.integers(0, len(whole), 4000))
    pieces = [whole[start:stop] for start, stop in zip([0, *places], [*places, len(whole)], strict=True)]
    assert lines(pieces) == lines([whole])


def test_the_last_window_may_lack_one_per_cent_and_what_follows_is_left_out():
    assert len(windows_of(lines(text(trace(29.95, 250.0), 250.0)))) == 3
    assert len(windows_of(lines(text(trace(29.5, 250.0), 250.0)))) == 2


def test_a_stream_that_ends_early_is_refused_as_short():
    (line, end) = lines(text(trace(6.0, 250.0), 250.0))
    assert line["quality"] == "short"
    assert end["windows"] == 1
    assert end["seconds"] == pytest.approx(6.0)


@pytest.mark.parametrize("body", ["", "\n\n", "time,I\n"])
def test_a_stream_of_nothing_says_so_in_its_last_line(body):
    (end,) = lines([body])
    assert (end["status"], end["windows"], end["all"]) == ("end", 0, None)


# --- gaps, jitter, lateness -----------------------------------------------------------------------------------


def held(found: list[dict], key: str) -> list:
    return [line[key] for line in windows_of(found)]


def grid_of(times: np.ndarray, rate: float, first: float = 0.0) -> list[int]:
    grid = Grid(rate, first)
    return [place for at in times for place, _ in grid.put(float(at), 0.0)] + [place for place, _ in grid.end()]


def test_lost_lines_leave_a_gap_as_wide_as_they_were():
    lost = np.delete(np.arange(2500), [100, 101, 102, 700, 702, 704])
    assert grid_of(lost / 250.0, 250.0) == lost.tolist()


def test_a_gap_of_four_per_cent_is_bridged_and_one_of_six_is_refused():
    values = trace(30.0, 250.0)
    keep = np.ones(len(values), bool)
    keep[1000:1100] = False  # 4 % of the first window
    keep[3000:3150] = False  # 6 % of the second
    found = lines([line for line, kept in zip(text(values, 250.0), keep, strict=True) if kept])
    assert held(found, "quality") == ["ok", "missing", "ok"]
    assert held(found, "missing") == pytest.approx([0.04, 0.06, 0.0])
    holed = Signal(np.where(keep, values, np.nan)[None], 250.0, ("I",), "mV")
    assert [window.reason or "ok" for window in judge_windows(holed)] == held(found, "quality")


def test_empty_cells_are_missing_samples():
    body = [f"{line[:-1] if i % 50 else line.split(',')[0] + ','}\n".replace("\n\n", "\n") for i, line in
            enumerate(text(trace(10.0, 250.0), 250.0))]  # fmt: skip
    (line, _) = lines(body)
    assert line["missing"] == pytest.approx(0.02)
    assert line["malformed"] == 0


@pytest.mark.parametrize("rate", [250.0, 512.0])
@pytest.mark.parametrize("spread", [0.1, 0.3])
def test_times_that_jitter_move_no_sample(rate, spread):
    """The recorder is regular; only what it writes beside the samples is not."""
    values = trace(30.0, rate)
    jitter = np.random.default_rng(1).normal(0, spread / rate, len(values))
    found = lines(text(values, rate, np.arange(len(values)) / rate + jitter))
    calm = lines(text(values, rate))
    assert found[-1]["rate"] == rate
    assert [line["logit"] for line in windows_of(found)] == [line["logit"] for line in windows_of(calm)]
    assert found[-1]["late"] == 0


def test_times_in_whole_milliseconds_do():
    """At 512 Hz the steps are 1 and 2 ms; their median would be 500 Hz."""
    values = trace(30.0, 512.0)
    found = lines(text(values, 512.0, np.round(np.arange(len(values)) / 512.0, 3)))
    assert found[-1]["rate"] == 512.0
    assert held(found, "logit") == held(lines(text(values, 512.0)), "logit")


def test_a_clock_that_drifts_loses_and_gains_no_sample():
    """Five minutes at 200 ppm are off by 30 samples in the end."""
    times = np.arange(500 * 300) / 500.0 * (1 + 2e-4)
    assert grid_of(times, 500.0) == list(range(len(times)))


def test_one_wild_time_moves_nothing():
    times = np.arange(1000) / 250.0
    times[300], times[600] = 1e12, -5.0
    assert grid_of(times, 250.0) == list(range(1000))


def test_lines_that_come_late_are_put_where_they_belong_and_counted():
    values = trace(20.0, 250.0)
    order = np.r_[0:500, 520:540, 500:520, 540 : len(values)]  # two packets changed places
    body = text(values, 250.0)
    found = lines([body[i] for i in order])
    assert held(found, "logit") == held(lines(text(values, 250.0)), "logit")
    assert held(found, "late") == [20, 20]


def test_lines_that_come_twice_or_after_their_window_are_counted_and_left_out():
    values = trace(30.0, 250.0)
    body = text(values, 250.0)
    twice = [*body[:600], *body[580:600], *body[600:5000], *body[100:105], *body[5000:]]
    found = lines(twice)
    assert held(found, "logit") == held(lines(body), "logit")
    assert found[-1]["late"] == 25


def test_a_clock_that_is_set_back_is_followed_after_two_seconds():
    times = np.r_[100 + np.arange(2500) / 250.0, np.arange(5000) / 250.0]
    grid = Grid(250.0, 100.0)
    places = [place for at in times.tolist() for place, _ in grid.put(at, 0.0)]
    assert grid.late == 501
    assert places[-1] == 2500 + 5000 - 500 - 6  # five lines still wait for those after them
    assert np.array_equal(np.diff(places[3001:]), np.ones(len(places) - 3002))


def test_a_day_without_samples_is_one_line_and_the_cuts_stay_where_they_were():
    values = trace(40.0, 250.0)
    times = np.arange(len(values)) / 250.0
    times[2600:] += 86_400.0
    found = lines(text(values, 250.0, times))
    status = [line["status"] for line in found]
    assert status == ["window", "window", "gap", "window", "window", "window", "end"]
    assert (found[2]["start"], found[2]["windows"]) == (20.0, 8639)
    assert [line["start"] for line in windows_of(found)] == [0.0, 10.0, 86_410.0, 86_420.0, 86_430.0]
    assert held(found, "quality") == ["ok", "missing", "ok", "ok", "ok"]
    assert found[-1]["windows"] == 5 + 8639


def test_the_rate_is_found_although_lines_are_lost():
    rng = np.random.default_rng(3)
    keep = rng.random(5000) > 0.02
    times = np.arange(5000)[keep] / 500.0 + rng.normal(0, 0.0004, int(keep.sum()))
    assert fitted_rate(times) == 500.0


# --- lines that are none --------------------------------------------------------------------------------------


def test_malformed_lines_are_counted_and_what_they_should_have_held_is_missing():
    body = text(trace(20.0, 250.0), 250.0)
    body[50], body[60], body[70] = "garbage\n", "0.24\n", "0.28,1.2.3\n"
    body[2600] = "\ud800" * 0 + "x" * 10_000 + "\n"  # a line break was lost
    found = lines(body)
    assert held(found, "malformed") == [3, 4]
    assert held(found, "missing") == pytest.approx([3 / 2500, 1 / 2500], abs=1e-4)
    assert held(found, "quality") == ["ok", "ok"]


def test_bytes_that_are_no_text_stop_nothing():
    body = [line.encode() for line in text(trace(10.0, 250.0), 250.0)]
    body[100] = b"\xff\xfe\x00,\x80\n"
    (line, _) = lines(body)
    assert (line["malformed"], line["quality"]) == (1, "ok")


@pytest.mark.parametrize(
    ("body", "options", "kind", "words"),
    [
        (["0.1\n"], {}, RateError, "--rate"),
        (["0,1,2\n"], {}, FormatError, "one lead a line"),
        (["time,I,II\n"], {}, FormatError, "one lead a line"),
        (["time,II\n"], {}, ChannelError, "--lead II"),
        (["time,I [uV]\n"], {"unit": "mV"}, UnitError, "leave it away"),
        ([f"{i},0.1\n" for i in range(40)], {}, RateError, "[ms]"),
        (["0.5,0.1\n"] * 40, {}, RateError, "[ms]"),
        (text(np.zeros(4000), 250.0), {"rate": 500.0}, RateError, "250 Hz"),
        (["# rate: 250\n"], {"rate": 500.0}, RateError, "--rate"),
        (["1\n"], {"rate": -5.0}, RateError, "positive"),
        (["1\n"], {"rate": 250.0, "unit": "furlong"}, UnitError, "furlong"),
    ],
)
def test_a_stream_that_cannot_be_judged_is_refused_in_a_sentence(body, options, kind, words):
    with pytest.raises(kind, match=words.replace("[", r"\[")) as stop:
        lines(body, **options)
    assert isinstance(stop.value, StethosError)


def test_units_and_remarks_are_heeded():
    values = trace(20.0, 250.0)
    micro = [f"{1000 * at:.3f};{1000 * value:.3f}".replace(".", ",") + "\r\n" for at, value in
             zip(np.arange(len(values)) / 250.0, values, strict=True)]  # fmt: skip
    seen = []

    def say(record: Record) -> dict[str, object]:
        seen.append(record)
        return power(record)

    got = lines(["\ufeff# origin: synthetic\n", "# recorder: x\n", "time [ms];I [µV]\n", *micro], say)
    assert held(got, "logit") == pytest.approx(held(lines(text(values, 250.0)), "logit"), rel=1e-6)
    assert [record.origin for record in seen] == ["synthetic"] * 2
    assert {record.signals[0].unit for record in seen} == {"mV"}
    assert got[-1]["malformed"] == 0


# --- what is said ---------------------------------------------------------------------------------------------


def test_the_running_mean_weighs_the_last_three_windows_by_their_quality():
    values = trace(60.0, 250.0)
    values[2500:5000] += np.random.default_rng(0).normal(0, 0.05, 2500)  # poorer
    values[7500:10000] = 0.0  # flat: refused

    def say(record: Record) -> dict[str, object]:
        return power(record) if judge_windows(record.signals[0])[0].ok else {"decision": "abstain", "logit": None}

    found = windows_of(lines(text(values, 250.0), say, points=0.01))
    logits = [line.get("logit") for line in found]
    weights = [window.score for window in judge_windows(Signal(values[None], 250.0, ("I",), "mV"))]
    assert weights[3] == 0
    assert weights[1] < weights[0]
    for i, line in enumerate(found):
        rows = [k for k in range(max(0, i - 2), i + 1) if k != 3]
        want = sum(weights[k] * logits[k] for k in rows) / sum(weights[k] for k in rows)
        assert line["mean"]["logit"] == pytest.approx(want)
        assert line["mean"]["score"] == pytest.approx(1 / (1 + math.exp(-want)))
        assert line["mean"]["decision"] == ("above threshold" if want >= 0.01 else "below threshold")
        assert line["windows_in_mean"] == len(rows)
        assert line["quality_score"] == pytest.approx(weights[i], abs=1e-4)


def test_several_labels_are_averaged_each_by_itself():
    def say(record: Record) -> dict[str, object]:
        value = power(record)["logit"]
        return {"decision": "answered", "labels": {"a": {"logit": value}, "b": {"logit": -value}}}

    found = lines(text(trace(20.0, 250.0), 250.0), say, points={"a": 0.0})
    mean = windows_of(found)[-1]["mean"]
    assert mean["a"]["logit"] == -mean["b"]["logit"] != 0
    assert (mean["a"]["decision"], mean["b"]["decision"]) == ("above threshold", "none")
    logits, weights = zip(*((x["labels"]["a"]["logit"], x["quality_score"]) for x in found[:-1]), strict=True)
    assert found[-1]["all"]["a"]["logit"] == pytest.approx(np.average(logits, weights=weights), rel=1e-3)


def test_a_measured_value_has_no_decision():
    def say(record: Record) -> dict[str, object]:
        return {"score": 4.5, "decision": "measured"}

    found = lines(text(trace(20.0, 250.0), 250.0), say, points=math.nan)
    assert found[-1]["all"] == {"score": 4.5, "decision": "measured"}
    assert json.loads(json.dumps(found, allow_nan=False)) == found


# --- for hours ------------------------------------------------------------------------------------------------


def weight(item: object) -> int:
    """Bytes of an object and of all that it holds; not of code."""
    seen: dict[int, object] = {}
    rest = [item]
    while rest:
        one = rest.pop()
        if id(one) not in seen and not isinstance(one, type | types.ModuleType | types.FunctionType):
            seen[id(one)] = one
            rest += gc.get_referents(one)
    return sum(sys.getsizeof(one) for one in seen.values())


def test_an_hour_takes_no_more_memory_than_five_minutes(monkeypatch):
    """60 Hz, with jitter, lost and broken lines; 360 windows."""
    monkeypatch.setattr(stream, "judge_windows", lambda *_: [Window(0.0, 10.0, True, "", 0.9, False)])
    minute, rng = trace(60.0, 60.0), np.random.default_rng(0)

    def hour() -> Iterator[bytes]:
        for i in range(60):
            times = 60.0 * i + (np.arange(len(minute)) + rng.normal(0, 0.1, len(minute))) / 60.0
            body = text(minute, 60.0, times)
            del body[1000:1010]
            body[2000] = "?\n"
            yield "".join(body).encode()

    count, used = 0, []
    told = said(hour(), "test", power, Live(WINDOWS, 0.0))
    for line in told:
        count += line["status"] == "window"
        if line["status"] == "window" and line["window"] in (30, 330):
            used.append(weight(told.gi_frame.f_locals["stream"]))
    assert (count, line["malformed"]) == (360, 60)
    assert used[0] > 600 * 4  # a window of samples is in it
    assert used[1] < used[0] + 1000  # 300 windows of samples would be 720,000


def test_the_cutter_holds_one_window():
    cutter = Cutter(250.0, 10.0)
    size = cutter.held.nbytes
    found = [cut for place in range(0, 100_000, 7) for cut in cutter.put(place, 1.0)]
    assert len(found) == 39
    assert cutter.held.nbytes == size == 2501 * 4


# --- where it comes from --------------------------------------------------------------------------------------


def test_a_file_is_followed_as_it_grows_until_it_rests(tmp_path, monkeypatch):
    monkeypatch.setattr(stream, "IDLE_SECONDS", 0.5)
    path, waits = tmp_path / "live.csv", []
    path.write_text("a")

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) in (2, 4):
            with path.open("a") as file:
                file.write("b" * len(waits))

    assert b"".join(grown(path, wait)) == b"abbbbbb"
    assert len(waits) == 4 + 5  # five of a tenth of a second after it grew last


def test_a_file_that_is_cut_short_has_ended(tmp_path):
    path = tmp_path / "live.csv"
    path.write_text("0,1\n" * 10)
    pieces = grown(path, lambda _: path.write_text("0,1\n"))
    assert b"".join(pieces) == b"0,1\n" * 10


def test_a_pipe_gives_what_there_is_and_waits_for_the_rest():
    near, far = os.pipe()
    with os.fdopen(near, "rb") as pipe:
        pieces = piped(pipe)
        os.write(far, b"one")
        assert next(pieces) == b"one"
        assert next(pieces) == b""
        threading.Timer(0.05, lambda: (os.write(far, b"two"), os.close(far))).start()
        assert b"".join(pieces) == b"two"


def test_a_stream_is_stopped_between_two_pieces():
    asked = []
    pieces = iter([("".join(text(trace(20.0, 250.0), 250.0))).encode(), b"", b"never"])
    found = []
    for line in said(pieces, "test", power, Live(WINDOWS, 0.0), lambda: bool(asked)):
        found.append(line)
        asked.append(1)
    assert [line["status"] for line in found] == ["window", "window", "end"]
    assert found[-1]["ended"] == "stopped"
    assert next(pieces) == b"never"


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("stream")
    main(["synth", "hospital", "--patients", "40", "--out", str(folder / "clinic")])
    flags = [
        "--preset",
        "tiny",
        "--steps",
        "1",
        "--batch",
        "8",
        "--validate-every",
        "0",
        "--target",
        "hypertension == 1",
    ]
    main(["pocket-k", "train", "--cohort", str(folder / "clinic"), "--out", str(folder / "run"), *flags])
    return folder / "run"


def spoken(capsys, *arguments: object) -> list[dict]:
    capsys.readouterr()
    main([str(item) for item in arguments])
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_predict_follows_a_file_and_says_what_it_says_of_the_recording(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(stream, "IDLE_SECONDS", 0.2)
    file = tmp_path / "live.csv"
    file.write_text("# origin: synthetic\ntime,I [mV]\n" + "".join(text(trace(32.0, 250.0), 250.0)))
    (whole,) = spoken(capsys, "predict", run, file)
    found = spoken(capsys, "predict", run, "--follow", file)
    assert [line["status"] for line in found] == ["window"] * 3 + ["end"]
    assert found[-1]["all"]["logit"] == pytest.approx(whole["logit"], abs=1e-6)
    assert found[-1]["all"]["decision"] == whole["decision"]
    assert {line["model"] for line in found[:-1]} == {whole["model"]}
    assert all(line["warning"] for line in found[:-1])
    young = spoken(capsys, "predict", run, "--follow", file, "--age", 9)
    assert {line["decision"] for line in young[:-1]} == {"abstain"}
    assert young[-1]["all"] is None
    paged = spoken(capsys, "pocket-k", "predict", run, "--follow", file)
    assert paged == found


def test_standard_input_is_followed_line_by_line_and_interrupted_with_a_last_line(run):
    """The windows come while the stream goes on; Ctrl-C then ends it with the summary and without an error."""
    command = [sys.executable, "-c", "from stethos.cli import main; main()", "predict", str(run), "--follow", "-"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([*command, "--rate", "250"], **pipes) as child:
        child.stdin.write("# origin: synthetic\n" + "".join(f"{value:.6f}\n" for value in trace(25.0, 250.0)))
        child.stdin.flush()
        first = [json.loads(child.stdout.readline()) for _ in range(2)]
        time.sleep(0.1)
        child.send_signal(2)
        (end,) = [json.loads(line) for line in child.stdout.read().splitlines()]
        assert child.wait(20) == 0
    assert [line["start"] for line in first] == [0.0, 10.0]
    assert (end["status"], end["ended"], end["windows"], end["lines"]) == ("end", "stopped", 2, 6250)


@pytest.mark.parametrize(
    ("verb", "flags", "words"),
    [
        (("predict",), (), "one of the two"),
        (("pocket-k", "predict"), (), "one of the two"),
        (("predict",), ("x.csv", "--follow", "y.csv"), "one of the two"),
        (("predict",), ("--follow", "nowhere.csv"), "nowhere.csv"),
        (("predict",), ("--follow", "-", "--machine", "fan"), "--machine"),
    ],
)
def test_what_cannot_be_followed_is_refused_in_a_sentence(run, capsys, verb, flags, words):
    with pytest.raises(SystemExit) as stop:
        main([*verb, str(run), *flags])
    said_of_it = capsys.readouterr().err
    assert (stop.value.code, said_of_it.count("\n")) == (2, 1)
    assert words in said_of_it


def test_a_model_of_a_simulated_world_refuses_a_real_stream(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(stream, "IDLE_SECONDS", 0.2)
    (tmp_path / "live.csv").write_text("".join(text(trace(12.0, 250.0), 250.0)))
    with pytest.raises(SystemExit) as stop:
        main(["predict", str(run), "--follow", str(tmp_path / "live.csv")])
    assert stop.value.code == 2
    assert "--allow-synthetic-model" in capsys.readouterr().err
    found = spoken(capsys, "predict", run, "--follow", tmp_path / "live.csv", "--allow-synthetic-model")
    assert found[0]["warning"]
