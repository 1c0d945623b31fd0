"""What a finished detector says of files: scores, driving regions, a new machine's normals, planted faults."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from stethos.errors import CohortError, FormatError, OriginError, RecipeError, RunError, StethosError
from stethos.explain.map import driving_region, occlude
from stethos.explain.patches import usual_levels
from stethos.io import read
from stethos.io.sound import sound_header
from stethos.signal.clip import RATE
from stethos.study import sound_parts
from stethos.study.detector import USUAL, Detector, Memory
from stethos.study.enrol import LEAST, enrolled
from stethos.study.planted import Sound, miss_rates
from stethos.study.progress import bar
from stethos.study.recordings import SUFFIXES
from stethos.train.run import read_config
from stethos.train.weights import sha256
from stethos.types import Record, Run


def judged_files(
    run: Run, detector: Detector, files: Sequence[Path], machine: str = "", allow_synthetic_model: bool = False
) -> Iterator[dict[str, Any]]:
    """Score, decision and threshold of every file; one that cannot be judged gets "abstain" and the reason.

    Args:
        run: Of the detector.
        detector: Speaks.
        files: Recordings.
        machine: Machine and section; needless where one is known only.
        allow_synthetic_model: Let a model of a simulated factory listen to a real machine.

    Raises:
        ChannelError: The machine is unknown, or several are known and none is named.
        OriginError: The model was trained on a simulated factory and the recording is real.
    """
    place = detector.machine_of(machine)
    threshold = float(detector.memory.threshold[place])
    about: dict[str, Any] = {"machine": detector.memory.machines[place], "model": sha256(run.weights)}
    about |= warning(run)
    for file in files:
        record = read(file)
        refuse_simulated(run, record, allow_synthetic_model)
        try:
            windows = detector.windows.apply(record.pick(detector.windows.channel))
        except StethosError as error:
            yield {"file": str(file), "score": None, "decision": "abstain", "reason": str(error), **about}
            continue
        score = float(detector.judge([item[None] for item in detector.heard(windows)], place)[0])
        decision = "anomalous" if score > threshold else "normal"
        yield {"file": str(file), "score": score, "decision": decision, "threshold": threshold,
               "windows": len(windows), **about}  # fmt: skip


def refuse_simulated(run: Run, record: Record, allowed: bool) -> None:
    """Keep a model of a simulated factory away from real machines.

    Raises:
        OriginError: The run's origin is not real, the record's is, and it was not allowed.
    """
    if read_config(run)["origin"] != "real" and record.origin == "real" and not allowed:
        raise not_real(f"record {record.id}")


def warning(run: Run) -> dict[str, str]:
    """What every answer of a model of a simulated factory carries; nothing for another."""
    simulated = read_config(run)["origin"] != "real"
    return {"warning": "the model was trained on a simulated factory"} if simulated else {}


def refuse_real_sounds(run: Run, files: Sequence[Path], allowed: bool) -> None:
    """The same of several recordings, of which the headers alone are read.

    Raises:
        OriginError: The run's origin is not real, that of a recording is, and it was not allowed.
    """
    if allowed or read_config(run)["origin"] == "real":
        return
    for file in files:
        with suppress(FormatError):  # whoever reads it says so
            if sound_header(file).origin == "real":
                raise not_real(str(file))


def not_real(what: str) -> OriginError:
    """The refusal of a recording or a stream of a real machine."""
    return OriginError(
        f"{what}: a model trained on a simulated factory does not judge a real machine; train on its own normal "
        "recordings, or pass --allow-synthetic-model to see what it says all the same"
    )


def occluded(
    run: Run, detector: Detector, files: Sequence[Path], machine: str = "", allow_synthetic_model: bool = False
) -> Iterator[dict[str, Any]]:
    """The region of time and frequency that drives the score of each file's first window.

    Args:
        run: Of the detector.
        detector: Speaks.
        files: Recordings.
        machine: Machine and section; needless where one is known only.
        allow_synthetic_model: Let a model of a simulated factory listen to a real machine.

    Raises:
        ChannelError: The machine is unknown, or several are known and none is named.
        OriginError: The model was trained on a simulated factory and the recording is real.
        QualityError: A recording is silent, clipped, or too short for a spectrum.
    """
    name, warned = detector.memory.machines[detector.machine_of(machine)], warning(run)
    for file in files:
        record = read(file)
        refuse_simulated(run, record, allow_synthetic_model)
        window = detector.windows.apply(record.pick(detector.windows.channel))[0]  # (1, T)
        usual = detector.memory.usual.get(name)
        found = occlude(lambda waves: detector.scores_of(waves, name), window, RATE, usual=usual)
        region = driving_region(found)
        driving = None
        if region is not None:
            driving = {
                "hertz": [region.low, region.high],
                "seconds": [region.start, region.stop],
                "share": region.share,
            }
        falls = {patch: round(float(value), 6) for patch, value in zip(found.names, found.values.ravel(), strict=True)}
        yield {"file": str(file), "machine": name, "score": found.full, "driving": driving, "falls": falls,
               "occluded_by": found.baseline, **warned}  # fmt: skip


def sound_files(clips: Path) -> list[Path]:
    """The sound files of a folder and all below it in order of their names, or the file itself.

    Raises:
        CohortError: There is none.
    """
    clips = Path(clips)
    found = [clips] if clips.is_file() else sorted(p for p in clips.rglob("*") if p.suffix.lower() in SUFFIXES)
    if not found:
        raise CohortError(f"{clips} holds no sound file ({', '.join(SUFFIXES)}); give a folder of recordings")
    return found


def normal_sounds(
    run: Run, detector: Detector, clips: Path, machine: str, allow_synthetic_model: bool
) -> tuple[list[Sound], list[str]]:
    """The usable recordings of a folder, and why others are not.

    Raises:
        CohortError: There is no sound file.
        OriginError: The model was trained on a simulated factory and a recording is real.
    """
    sounds, refused, files = [], [], sound_files(clips)
    with bar("listening") as progress:
        for count, file in enumerate(files, start=1):
            try:
                record = read(file)
                refuse_simulated(run, record, allow_synthetic_model)
                windows = detector.windows.apply(record.pick(detector.windows.channel))
                sounds.append(Sound(windows, machine, str(file)))
            except OriginError:
                raise
            except StethosError as error:
                refused.append(f"left out: {file}: {str(error).removeprefix(f'{file}: ')}")
            progress(count, len(files))
    return sounds, refused


def enrol_machine(
    run: Run, detector: Detector, clips: Path, machine: str, allow_synthetic_model: bool = False
) -> Iterator[str]:
    """Remember a new machine's normals with a run, and say what threshold they give.

    Args:
        run: Whose memory it joins; the networks stay as they are.
        detector: Of the run.
        clips: Folder of the machine's normal recordings.
        machine: A name for it.
        allow_synthetic_model: Let a model of a simulated factory listen to a real machine.

    Raises:
        QualityError: Fewer than three recordings are usable.
        RecipeError: The machine has no name.
        RunError: The run's back end asks for the machine's class, which a new machine has not.
    """
    refuse_classifier(detector)
    if not machine.strip():
        raise RecipeError("a machine needs a name, such as --machine pump41; got none")
    sounds, refused = normal_sounds(run, detector, clips, machine, allow_synthetic_model)
    yield from refused
    every = [detector.heard(sound.windows) for sound in sounds]
    heard = [np.stack(item) for item in zip(*every, strict=True)] or [np.empty((0, 1))]
    usual = usual_levels(np.stack([sound.windows[0] for sound in sounds[:USUAL]]), RATE) if sounds else None
    memory: Memory = enrolled(detector, machine, heard, usual).memory
    memory.save(run)
    limit = memory.threshold[memory.machines.index(machine)]
    yield f"{machine}: enrolled with {len(sounds)} recordings, {len(refused)} left out; threshold {limit:.4g}"
    if len(sounds) < 10 * LEAST:
        yield f"{len(sounds)} recordings tell little of how a machine varies: expect misses, and enrol more later"


def refuse_classifier(detector: Detector) -> None:
    """Raise where a detector asks its classes, not its memory.

    Raises:
        RunError: It does.
    """
    if detector.backend.startswith("own-class"):
        raise RunError(
            f"this run scores by {detector.backend}, which knows only the machines it was trained on; train with "
            "--backend nearest to enrol further ones"
        )


def audit_machine(
    run: Run, detector: Detector, clips: Path, machine: str = "", allow_synthetic_model: bool = False
) -> Iterator[str]:
    """Plant graded faults in normal recordings; print and keep which share of them would be missed.

    Args:
        run: Its report takes the result up.
        detector: Of the run.
        clips: Folder of normal recordings that no network was trained on.
        machine: Machine and section; needless where one is known only.
        allow_synthetic_model: Let a model of a simulated factory listen to a real machine.
    """
    name = detector.memory.machines[detector.machine_of(machine)]
    sounds, refused = normal_sounds(run, detector, clips, name, allow_synthetic_model)
    yield from refused
    if not sounds:
        raise CohortError(f"{clips}: none of {len(refused)} recordings is usable; record again")
    rates = miss_rates(detector, sounds)
    keep_audit(run, rates, len(sounds), f"that of {name}")
    for fault, row in rates.items():
        said = ", ".join(f"{severity} {item}" for severity, item in row.items() if math.isfinite(item.value))
        yield f"{fault}: missed {said}"


def keep_audit(run: Run, rates: dict[str, dict[str, Any]], recordings: int, threshold: str) -> None:
    """Keep miss rates with a run, for its report."""
    told = {fault: {name: sound_parts.plain(item) for name, item in row.items()} for fault, row in rates.items()}
    sound_parts.keep(run, "audit", {"rates": told, "recordings": recordings, "threshold": threshold})
