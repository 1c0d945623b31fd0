"""A finished detector as a live monitor: its alarm from normal sound, and its eyes on files, folders and streams."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import torch

from stethos.errors import FormatError, RecipeError, RunError
from stethos.explain.map import driving_region, occlude
from stethos.io.files import write_atomic
from stethos.nn.mel import LogMel
from stethos.signal.clip import RATE
from stethos.study import sound_parts
from stethos.study.alarm import Alarm, NormalBlocks, set_alarm
from stethos.study.ask_detector import not_real, refuse_real_sounds, sound_files, warning
from stethos.study.budget import upper_per_week
from stethos.study.detector import Detector
from stethos.study.drift import Reference, reference_of
from stethos.study.judging import Model, Rules
from stethos.study.keep import Keep
from stethos.study.normals import normal_blocks
from stethos.study.pcm import Pcm, PcmFormat, PcmStream
from stethos.study.persistence import alarm_blocks, kth_largest
from stethos.study.recordings import SUFFIXES, Recordings
from stethos.study.source import Cut, Source
from stethos.study.watch import Pace, watch
from stethos.train.interrupt import stop_request
from stethos.types import Run

CURVE = 40  # thresholds of the curve of false alarms


def model_of(detector: Detector, machine: str, keep: Keep | None = None) -> Model:
    """A detector as the monitor asks it, for one machine."""
    name = detector.memory.machines[detector.machine_of(machine)]
    return Model(detector.windows.apply, lambda x: detector.scores_of(x, name), keep)


def set_threshold(
    run: Run,
    detector: Detector,
    clips: Path,
    machine: str,
    alarms_per_week: float,
    allow_synthetic_model: bool = False,
) -> Iterator[str]:
    """Set a machine's alarm on the earlier part of its normal sound, and count false alarms on the later part.

    Args:
        run: Remembers it.
        detector: Of the run.
        clips: Folder of the machine's normal recordings in order of time, or one long recording.
        machine: Machine and section; needless where one is known only.
        alarms_per_week: False alarms that are allowed.
        allow_synthetic_model: Let a model of a simulated factory listen to a real machine.

    Raises:
        CohortError: There is no sound file.
        OriginError: The model was trained on a simulated factory and a recording is real.
        QualityError: The hours observed cannot support the budget.
    """
    refuse_real_sounds(run, sound_files(clips), allow_synthetic_model)
    name = detector.memory.machines[detector.machine_of(machine)]
    seconds = detector.windows.seconds
    source = Recordings("normal", clips, Cut(seconds, detector.windows.channel), follow=False)
    normal, level = normal_blocks(source, model_of(detector, name), seconds)
    if len(np.unique(np.asarray(normal.recording))) == 1:
        normal = NormalBlocks(normal.score, normal.block_seconds, normal.start)  # one long recording is cut anywhere
    alarm = set_alarm(normal, alarms_per_week)
    write_atomic(_path(run, name), json.dumps({"alarm": alarm.to_json(), "reference": _usual(normal, level)}).encode())
    keep_for_report(run, name, alarm, normal)
    yield f"{name}: threshold {alarm.threshold:.6g}, {alarm.k} of {alarm.n} blocks of {seconds:g} s"
    yield alarm.sentence()


def _usual(normal: NormalBlocks, level: np.ndarray) -> dict[str, Any] | None:
    """The reference of drift; None where there are too few blocks, and a monitor learns it from its first ones."""
    judged = np.isfinite(normal.score) & np.isfinite(level)
    return reference_of(normal.score, level).to_json() if judged.sum() >= 100 else None


def _path(run: Run, name: str) -> Path:
    return run.private / "alarms" / f"{quote(name, safe='')}.json"


def keep_for_report(run: Run, name: str, alarm: Alarm, normal: NormalBlocks, refused: str = "") -> None:
    """Keep a machine's alarm and its curve of false alarms with a run.

    Args:
        run: Its report takes them up.
        name: Of the machine.
        alarm: As it was set.
        normal: What it was set and counted on.
        refused: Why a smaller budget was not to be had; "" where none was asked for.
    """
    told = sound_parts.kept(run, "alarm") or {"machines": {}, "curves": {}, "refused": {}}
    told["machines"][name] = alarm.to_json()
    threshold, upper = false_alarms(normal, alarm)
    told["curves"][name] = {"threshold": threshold.tolist(), "upper": upper.tolist()}
    told["refused"] |= {name: refused} if refused else {}
    sound_parts.keep(run, "alarm", told)


def false_alarms(normal: NormalBlocks, alarm: Alarm) -> tuple[np.ndarray, np.ndarray]:
    """Upper bound of false alarms a week over all normal blocks against the threshold, at the alarm's k of n.

    Args:
        normal: Earlier and later blocks.
        alarm: Its persistence.

    Returns:
        Thresholds `(N,)`, bounds `(N,)`.
    """
    score, segment = normal.judged(alarm.n)
    highest = kth_largest(score, alarm.k, alarm.n, segment)
    known = highest[np.isfinite(highest)]
    threshold = np.linspace(float(np.median(known)), max(float(known.max()), alarm.threshold) * 1.02, CURVE)
    counts = [len(alarm_blocks(highest > limit, alarm.rearm, segment)) for limit in threshold]
    return threshold, np.array([upper_per_week(count, normal.hours) for count in counts])


def rules_of(run: Run, name: str) -> Rules:
    """The alarm and the reference that were set for a machine.

    Raises:
        RunError: None was set.
    """
    path = _path(run, name)
    if not path.is_file():
        raise RunError(f"{name} has no alarm yet; set one with `threshold {run.folder} NORMAL --alarms-per-week N`")
    try:
        held = json.loads(path.read_text())
        alarm, reference = Alarm.from_json(held["alarm"]), held["reference"]
        return Rules(alarm, None if reference is None else Reference.from_json(reference))
    except (ValueError, KeyError, TypeError, FormatError) as error:
        raise RunError(f"{path} is no alarm ({error}); set it anew with `threshold`") from error


@dataclass(frozen=True)
class Watching:
    """How a monitor listens.

    Args:
        state: Folder that remembers how far it has come; in the run where empty.
        follow: Wait for more files in a folder; otherwise end with the last one.
        rate: Of raw samples on standard input, Hz.
        format: Of raw samples.
        channels: In raw samples.
        heartbeat: Seconds between two lines that say it is alive.
        keep: Folder for the evidence of alarms; none is kept where empty.
        keep_mb: Megabytes of it, the oldest go first.
        keep_audio: Keep the sound too; voices near the machine would be on it.
        allow_synthetic_model: Let a model of a simulated factory listen to a real machine.
    """

    state: str = ""
    follow: bool = False
    rate: float = 16_000.0
    format: PcmFormat = "s16le"
    channels: int = 1
    heartbeat: float = 60.0
    keep: str = ""
    keep_mb: float = 100.0
    keep_audio: bool = False
    allow_synthetic_model: bool = False


def watch_sources(
    run: Run, detector: Detector, sources: Sequence[str], machine: str, how: Watching
) -> Iterator[dict[str, Any]]:
    """One line about every block of every source, until all end or it is stopped.

    Args:
        run: Holds the alarms.
        detector: Of the run.
        sources: A file, a folder, or "-" for raw samples on standard input; NAME=PATH names it, and
            NAME:MACHINE=PATH says which machine it hears.
        machine: That the others hear; needless where one is known only.
        how: The rest.

    Raises:
        RunError: A machine has no alarm yet.
        RecipeError: Two sources have one name.
        OriginError: The model was trained on a simulated factory and the sound is real.
    """
    warned = warning(run)
    opened = [_named(text, machine) for text in sources]
    machines = {label: detector.memory.machines[detector.machine_of(own)] for label, own, _ in opened}
    rules = {label: rules_of(run, name) for label, name in machines.items()}
    models = {label: model_of(detector, name, _keeping(detector, name, how)) for label, name in machines.items()}
    heard = [_opened(detector, label, path, how) for label, _, path in opened]
    only_simulated = bool(warned) and not how.allow_synthetic_model
    if only_simulated:
        _refuse_real(run, [path for _, _, path in opened])
    with stop_request() as asked:
        pace = Pace(stopped=asked, heartbeat=how.heartbeat)
        for line in watch(heard, models, rules, Path(how.state or run.private / "monitor"), pace):
            if only_simulated and "score" in line and "origin" not in line:  # a real file that came later
                raise not_real(str(line.get("file", line["source"])))
            yield {**line, **warned}


def _refuse_real(run: Run, paths: Sequence[str]) -> None:
    """Raise where a stream is listened to, or a recording that is there already is real.

    Raises:
        OriginError: It is.
    """
    for path in paths:
        if path == "-":
            raise not_real("standard input")
        place = Path(path)
        there = [place] if place.is_file() else [file for file in place.rglob("*") if file.suffix.lower() in SUFFIXES]
        refuse_real_sounds(run, there, allowed=False)


def _named(text: str, machine: str) -> tuple[str, str, str]:
    """Name, machine and path of a source."""
    label, equals, path = text.partition("=")
    if not equals or Path(text).exists():
        given = re.sub(r"[^\w.-]+", "_", Path(text).stem).lstrip(".-")
        return ("stdin" if text == "-" else given or "sound"), machine, text
    name, _, own = label.partition(":")
    if not path:
        raise RecipeError(f"a source is a file, a folder, - or NAME=PATH; got {text!r}")
    return name, own or machine, path


def _opened(detector: Detector, name: str, path: str, how: Watching) -> Source:
    cut = Cut(detector.windows.seconds, detector.windows.channel)
    if path == "-":
        return PcmStream(name, sys.stdin.buffer, Pcm(how.rate, how.format, how.channels), cut)
    if not Path(path).exists():
        raise FormatError(f"{path}: there is no such file or folder to watch; check the path")
    return Recordings(name, Path(path), cut, how.follow)


def _keeping(detector: Detector, machine: str, how: Watching) -> Keep | None:
    """What is left of an alarm: the log-mel, the driving region, and which normal is nearest."""
    if not how.keep:
        return None
    mel, place = LogMel(), detector.machine_of(machine)

    def region(x: np.ndarray) -> dict[str, float] | None:
        usual = detector.memory.usual.get(machine)
        found = driving_region(occlude(lambda waves: detector.scores_of(waves, machine), x[0], RATE, usual=usual))
        return None if found is None else {name: round(value, 4) for name, value in found._asdict().items()}

    def nearest(x: np.ndarray) -> dict[str, Any]:
        return {"normal": detector.memory.record[detector.nearest(detector.heard(x), place)]}

    def spectrogram(x: np.ndarray) -> np.ndarray:
        return mel(torch.from_numpy(x))[0].numpy()

    return Keep(Path(how.keep), how.keep_mb, spectrogram, region, nearest, how.keep_audio)
