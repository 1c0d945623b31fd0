"""Verbs that the pages on machine sound share: what is done with a finished detector, whoever trained it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from stethos.study import ask_detector, memory, monitor, sound_report
from stethos.study.monitor import Watching
from stethos.study.pcm import PcmFormat
from stethos.systems import load
from stethos.types import Run


def evaluate(run: Path, *, show_examples: bool = False) -> Run:
    """Write metrics.json, the model card and report.html from what a run kept.

    Args:
        run: Folder of a finished run.
        show_examples: Print spectrograms of real recordings.
    """
    made = Run(Path(run))
    sound_report.publish(made, show_examples)
    return made


def explain(
    run: Path, files: Sequence[Path], *, machine: str = "", allow_synthetic_model: bool = False
) -> Iterator[dict[str, Any]]:
    """Which band at which time makes a recording anomalous: its score falls most where that is made usual.

    Args:
        run: Folder of a finished run.
        files: Recordings.
        machine: Machine and section, such as fan/id_00; needless where the run knows one only.
        allow_synthetic_model: Let a model of a simulated factory listen to a real machine.

    Raises:
        OriginError: The model was trained on a simulated factory and the recording is real.
    """
    return ask_detector.occluded(Run(Path(run)), load(run), files, machine, allow_synthetic_model)


def predict(
    run: Path, files: Sequence[Path], *, machine: str = "", allow_synthetic_model: bool = False
) -> Iterator[dict[str, Any]]:
    """Score recordings; one that cannot be judged gets the decision "abstain" and the reason.

    Args:
        run: Folder of a finished run.
        files: Recordings.
        machine: Machine and section, such as fan/id_00; needless where the run knows one only.
        allow_synthetic_model: Let a model of a simulated factory listen to a real machine.

    Raises:
        OriginError: The model was trained on a simulated factory and the recording is real.
    """
    return ask_detector.judged_files(Run(Path(run)), load(run), files, machine, allow_synthetic_model)


def threshold(
    run: Path,
    normal: Path,
    *,
    machine: str = "",
    alarms_per_week: float = 0.5,
    allow_synthetic_model: bool = False,
) -> Iterator[str]:
    """Set a machine's alarm from its normal sound alone; later normal sound counts the false alarms.

    Args:
        run: Folder of a finished run.
        normal: Folder of the machine's normal recordings, in order of time, or one long recording.
        machine: Machine and section; needless where the run knows one only.
        alarms_per_week: False alarms that are allowed; refused where too few hours were observed to show it.
        allow_synthetic_model: Let a model of a simulated factory listen to a real machine.
    """
    return monitor.set_threshold(Run(Path(run)), load(run), normal, machine, alarms_per_week, allow_synthetic_model)


def enrol(run: Path, clips: Path, *, machine: str, allow_synthetic_model: bool = False) -> Iterator[str]:
    """Add a machine that no network was trained on: its normals are remembered, with a threshold of its own.

    Args:
        run: Folder of a finished run.
        clips: Folder of at least three normal recordings of the machine.
        machine: A name for it, such as pump41.
        allow_synthetic_model: Let a model of a simulated factory listen to a real machine.
    """
    return ask_detector.enrol_machine(Run(Path(run)), load(run), clips, machine, allow_synthetic_model)


def audit(run: Path, clips: Path, *, machine: str = "", allow_synthetic_model: bool = False) -> Iterator[str]:
    """Plant graded faults in a machine's own normal recordings, and say how many of them would be missed.

    Args:
        run: Folder of a finished run.
        clips: Folder of normal recordings that the run was not trained on.
        machine: Machine and section; needless where the run knows one only.
        allow_synthetic_model: Let a model of a simulated factory listen to a real machine.
    """
    return ask_detector.audit_machine(Run(Path(run)), load(run), clips, machine, allow_synthetic_model)


def watch(
    run: Path,
    sources: Sequence[str],
    *,
    machine: str = "",
    state: str = "",
    follow: bool = False,
    rate: float = 16_000.0,
    format: PcmFormat = "s16le",
    channels: int = 1,
    heartbeat: float = 60.0,
    keep: str = "",
    keep_mb: float = 100.0,
    keep_audio: bool = False,
    allow_synthetic_model: bool = False,
) -> Iterator[dict[str, Any]]:
    """Listen to files, growing folders or raw samples on standard input: one JSON line about every block.

    Args:
        run: Folder of a finished run whose machines have alarms.
        sources: A file, a folder, or - for standard input; NAME=PATH names one, NAME:MACHINE=PATH its machine too.
        machine: Machine and section; needless where the run knows one only.
        state: Folder that remembers how far it has come, so that a restart loses nothing; in the run where empty.
        follow: Wait for more files in a folder; otherwise end with the last one.
        rate: Of raw samples, Hz.
        format: Of raw samples.
        channels: In raw samples.
        heartbeat: Seconds between two lines that say it is alive.
        keep: Folder for the evidence of alarms: spectrogram, driving region, nearest normal; none where empty.
        keep_mb: Megabytes of it; the oldest go first.
        keep_audio: Keep the sound too; voices near the machine would be on it.
        allow_synthetic_model: Let a model of a simulated factory listen to a real machine.
    """
    how = Watching(state, follow, rate, format, channels, heartbeat, keep, keep_mb, keep_audio, allow_synthetic_model)
    return monitor.watch_sources(Run(Path(run)), load(run), sources, machine, how)


def rebaseline(run: Path, reason: str, *, sources: tuple[str, ...] = (), state: str = "") -> dict[str, Any]:
    """Tell a monitor of maintenance: what is usual is learnt anew, and the reason goes into its log.

    Args:
        run: Folder of the run that is watched with.
        reason: What was done to the machine.
        sources: That were touched; all where none is named.
        state: Folder of the monitor's state; that in the run where empty.
    """
    return memory.rebaseline(Path(state or Run(Path(run)).private / "monitor"), reason, sources)
