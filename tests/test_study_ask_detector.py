"""What a detector says of files: scores, where they come from, a new machine, faults that would be missed."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import nn

from stethos.errors import ChannelError, CohortError, FormatError, OriginError, QualityError, RecipeError, RunError
from stethos.io.sound import write_sound
from stethos.signal.clip import ClipWindows
from stethos.study import planted, sound_parts
from stethos.study.ask_detector import (
    audit_machine,
    enrol_machine,
    judged_files,
    occluded,
    refuse_real_sounds,
    sound_files,
)
from stethos.study.detector import Detector, Memory
from stethos.train.run import start_run
from stethos.train.weights import sha256
from stethos.types import Run, Signal

RATE = 16_000


class Bands(nn.Module):
    """Level of eight bands, as a point on a sphere."""

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        power = torch.fft.rfft(x[:, 0]).abs().square()
        edges = np.geomspace(1, 8000, 9).astype(int)
        parts = [power[:, low:high].mean(1) for low, high in pairwise(edges)]
        return nn.functional.normalize((torch.stack(parts, dim=1) + 1e-6).log() + 20, dim=1)


def hum(seed: int, seconds: float = 1.0, whistle: float = 0.0) -> np.ndarray:
    """Of a machine; a whistle at 6 kHz in the second half is its fault."""
    time = np.arange(round(RATE * seconds)) / RATE
    noise = 0.02 * np.random.default_rng(seed).standard_normal(len(time))
    late = time > seconds / 2
    return 0.1 * np.sin(2 * np.pi * 120 * time) + noise + whistle * late * np.sin(2 * np.pi * 6000 * time)


def put(path: Path, *channels: np.ndarray, origin: str = "real") -> Path:
    names = tuple(str(number + 1) for number in range(len(channels)))
    write_sound(Signal(np.stack(channels), RATE, names, "1"), path, origin)
    return path


def detector(backend: str = "nearest", machines: tuple[str, ...] = ("fan/id_00",)) -> Detector:
    waves = np.stack([hum(seed)[None] for seed in range(12)]).astype(np.float32)
    heard = Bands().embed(torch.from_numpy(waves)).double().numpy()
    held = Memory((heard,), np.arange(12) % len(machines), np.full(12, ""), np.arange(12).astype(str), machines,
                  np.arange(len(machines)), np.full(len(machines), 1e-4))  # fmt: skip
    return Detector([Bands()], ClipWindows(1.0), held, backend)


def made(folder: Path, origin: str) -> Run:
    run = start_run(folder, {"system": "os_scl", "origin": origin})
    run.weights.write_bytes(b"weights")
    return run


@pytest.fixture
def run(tmp_path) -> Run:
    return made(tmp_path / "run", "real")


@pytest.fixture
def clips(tmp_path) -> Path:
    for seed in range(5):
        put(tmp_path / "clips" / "später" / f"normal {seed}.wav", hum(100 + seed))
    return tmp_path / "clips"


# --- scores -------------------------------------------------------------------------------------------------


def test_a_whistle_is_anomalous_and_a_hum_is_normal(run, tmp_path):
    files = [put(tmp_path / "hum.wav", hum(50)), put(tmp_path / "Pfeife 1.wav", hum(51, whistle=0.1))]
    speaks = detector()
    lines = list(judged_files(run, speaks, files))
    assert [line["decision"] for line in lines] == ["normal", "anomalous"]
    for line, file in zip(lines, files, strict=True):
        assert json.loads(json.dumps(line)) == line
        assert (line["file"], line["machine"], line["windows"]) == (str(file), "fan/id_00", 1)
        assert (line["score"] > line["threshold"]) == (line["decision"] == "anomalous")
        assert line["model"] == sha256(run.weights)
        assert "warning" not in line


def test_a_recording_of_several_windows_has_one_score_and_channels_are_those_of_the_detector(run, tmp_path):
    file = put(tmp_path / "long.wav", hum(50, 3.0), np.zeros(3 * RATE))
    speaks = detector()
    (line,) = judged_files(run, speaks, [file])
    windows = speaks.windows.apply(Signal(soundfile.read(file)[0].T[:1].copy(), RATE, ("1",), "1"))
    assert line["windows"] == 3
    assert line["score"] == pytest.approx(speaks.judge([item[None] for item in speaks.heard(windows)], 0)[0])


def test_what_cannot_be_judged_gets_the_reason_and_the_next_is_judged(run, tmp_path):
    files = [
        put(tmp_path / "silent.wav", np.zeros(RATE)),
        put(tmp_path / "clipped.wav", np.sign(hum(0))),
        put(tmp_path / "hum.wav", hum(50)),
    ]
    silent, clipped, fine = judged_files(run, detector(), files)
    assert [silent["decision"], clipped["decision"], fine["decision"]] == ["abstain", "abstain", "normal"]
    assert "look at the microphone" in silent["reason"]
    assert "at full scale (clipped); lower the gain" in clipped["reason"]
    assert silent["score"] is clipped["score"] is None


def test_a_file_that_is_no_sound_is_refused(run, tmp_path):
    (tmp_path / "text.wav").write_text("not a sound")
    with pytest.raises(FormatError):
        list(judged_files(run, detector(), [tmp_path / "text.wav"]))
    with pytest.raises(ChannelError, match="got pump"):
        list(judged_files(run, detector(), [], "pump"))


def test_a_model_of_a_simulated_factory_refuses_a_real_recording_unless_it_may(tmp_path):
    run, real, unreal = made(tmp_path / "run", "synthetic"), put(tmp_path / "a.wav", hum(0)), tmp_path / "b.wav"
    put(unreal, hum(0), origin="synthetic")
    with pytest.raises(OriginError, match="does not judge a real machine; train on its own normal recordings"):
        list(judged_files(run, detector(), [real]))
    for file, allowed in ((real, True), (unreal, False)):
        (line,) = judged_files(run, detector(), [file], allow_synthetic_model=allowed)
        assert line["warning"] == "the model was trained on a simulated factory"


def test_a_folder_of_real_sounds_is_refused_by_its_headers_and_what_is_no_sound_is_left_to_the_reader(tmp_path):
    run = made(tmp_path / "run", "synthetic")
    put(tmp_path / "clips" / "a.wav", hum(0), origin="synthetic")
    (tmp_path / "clips" / "b.wav").write_text("not a sound")
    refuse_real_sounds(run, sound_files(tmp_path / "clips"), allowed=False)
    put(tmp_path / "clips" / "c.wav", hum(0))
    with pytest.raises(OriginError, match=r"c\.wav: a model trained on a simulated factory"):
        refuse_real_sounds(run, sound_files(tmp_path / "clips"), allowed=False)
    refuse_real_sounds(run, [tmp_path / "clips" / "c.wav"], allowed=True)
    refuse_real_sounds(made(tmp_path / "real", "real"), [tmp_path / "clips" / "c.wav"], allowed=False)


# --- where it comes from ------------------------------------------------------------------------------------


def test_the_driving_region_is_where_the_whistle_is(run, tmp_path):
    file = put(tmp_path / "whistle.wav", hum(51, whistle=0.1))
    speaks = detector()
    (line,) = occluded(run, speaks, [file])
    assert json.loads(json.dumps(line)) == line
    low, high = line["driving"]["hertz"]
    start, stop = line["driving"]["seconds"]
    assert low <= 6000 <= high
    assert start >= 0.4
    assert stop > 0.9
    assert 0 < line["driving"]["share"] <= 1.5
    assert max(line["falls"].values()) > 0
    record = speaks.prepare(Signal(soundfile.read(file)[0][None].astype(np.float32), RATE, ("1",), "1"))
    assert line["score"] == pytest.approx(speaks.score(record).item(), abs=1e-9)


def test_a_whistle_that_never_stops_is_found_where_the_usual_levels_of_the_machine_are_known(run, clips):
    list(enrol_machine(run, detector(), clips, "saw"))
    time = np.arange(RATE) / RATE
    file = put(clips / "whistle.wav", hum(51) + 0.1 * np.sin(2 * np.pi * 6000 * time))
    speaks = detector().remembering(Memory.load(run))
    (line,) = occluded(run, speaks, [file], "saw")
    low, high = line["driving"]["hertz"]
    assert low <= 6000 <= high
    assert high - low <= 4000
    assert line["driving"]["seconds"] == [0, 1]
    assert line["occluded_by"] == "what is usual in normal recordings"
    (other,) = occluded(run, speaks, [file], "fan/id_00")
    assert other["occluded_by"] == "the rest of the clip"  # which whistles too


def test_a_model_of_a_simulated_factory_explains_no_real_machine(tmp_path):
    simulated, file = made(tmp_path / "simulated", "synthetic"), put(tmp_path / "real.wav", hum(0))
    with pytest.raises(OriginError, match="does not judge a real machine"):
        list(occluded(simulated, detector(), [file]))
    (line,) = occluded(simulated, detector(), [file], allow_synthetic_model=True)
    assert line["warning"] == "the model was trained on a simulated factory"


def test_a_silent_file_cannot_be_explained(run, tmp_path):
    with pytest.raises(QualityError, match="all its samples are the same"):
        list(occluded(run, detector(), [put(tmp_path / "silent.wav", np.zeros(RATE))]))


# --- a new machine ------------------------------------------------------------------------------------------


def test_enrolling_keeps_the_machine_with_the_run_and_counts_what_was_left_out(run, clips):
    put(clips / "silent.wav", np.zeros(RATE))
    (clips / "text.wav").write_text("not a sound")
    (clips / "notes.txt").write_text("left alone")
    *left_out, said, few = enrol_machine(run, detector(), clips, "Säge 7")
    assert [line.count(str(clips)) for line in left_out] == [1, 1]
    assert [line.split(": ")[0] for line in left_out] == ["left out"] * 2
    assert said.startswith("Säge 7: enrolled with 5 recordings, 2 left out; threshold ")
    assert few.startswith("5 recordings tell little")
    held = Memory.load(run)
    assert held.machines == ("fan/id_00", "Säge 7")
    assert (held.machine == 1).sum() == 5
    assert f"{held.threshold[1]:.4g}" in said
    line, other = judged_files(run, detector().remembering(held), [put(clips / "x.wav", hum(9)), clips / "x.wav"],
                               "Säge 7")  # fmt: skip
    assert line == other


@pytest.mark.parametrize(
    ("machine", "backend", "error", "said"),
    [
        ("", "nearest", RecipeError, "a machine needs a name, such as --machine pump41"),
        ("saw", "own-class", RunError, "knows only the machines it was trained on; train with --backend nearest"),
    ],
)
def test_who_cannot_be_enrolled(run, clips, machine, backend, error, said):
    with pytest.raises(error, match=said):
        list(enrol_machine(run, detector(backend), clips, machine))


def test_too_few_usable_recordings_enrol_nobody(run, tmp_path):
    put(tmp_path / "few" / "a.wav", hum(0))
    put(tmp_path / "few" / "b.wav", np.zeros(RATE))
    with pytest.raises(QualityError, match="enrolling saw needs 3 normal recordings; got 1"):
        list(enrol_machine(run, detector(), tmp_path / "few", "saw"))
    (tmp_path / "none").mkdir()
    for folder in ("none", "nowhere"):
        with pytest.raises(CohortError, match=f"{folder} holds no sound file"):
            list(enrol_machine(run, detector(), tmp_path / folder, "saw"))
    assert not (run.private / "memory.npz").exists()


# --- planted faults -----------------------------------------------------------------------------------------


def test_an_audit_says_and_keeps_which_faults_would_be_missed(run, clips, monkeypatch):
    monkeypatch.setattr(planted, "FAULTS", {name: planted.FAULTS[name] for name in ("leak", "clogging")})
    put(clips / "silent.wav", np.zeros(RATE))
    first, leak, clogging = audit_machine(run, detector(), clips)
    assert first.startswith(f"left out: {clips / 'silent.wav'}: a clip needs sound")
    assert leak.startswith("leak: missed 0 dB 1.000 ")
    assert "20 dB 0.000" in leak
    assert clogging.startswith("clogging: missed 0 dB 1.000 ")
    told = sound_parts.kept(run, "audit")
    assert (told["recordings"], told["threshold"]) == (5, "that of fan/id_00")
    assert told["rates"]["leak"]["0 dB"]["value"] == 1
    assert not any(str(clips) in path.read_text() for path in run.folder.glob("*.json"))


def test_an_audit_of_nothing_usable_or_nobody_is_refused(run, tmp_path):
    put(tmp_path / "silent" / "a.wav", np.zeros(RATE))
    lines = audit_machine(run, detector(), tmp_path / "silent")
    assert next(lines).startswith("left out")
    with pytest.raises(CohortError, match="none of 1 recordings is usable; record again"):
        next(lines)
    with pytest.raises(ChannelError, match="got none: name it with --machine"):
        next(audit_machine(run, detector(machines=("a", "b")), tmp_path / "silent"))
