"""What a demonstration adds to a detector trained on the simulated factory: an alarm, a new machine, planted faults."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from stethos.errors import QualityError
from stethos.study import sound_parts
from stethos.study.alarm import NormalBlocks, set_alarm
from stethos.study.ask_detector import keep_audit, refuse_classifier
from stethos.study.budget import hours_needed
from stethos.study.detector import Detector
from stethos.study.enrol import COUNTS, enrolment_curve
from stethos.study.listening import identity_of, words
from stethos.study.monitor import keep_for_report
from stethos.study.planted import Sound, miss_rates
from stethos.study.progress import bar
from stethos.synth.machine import factory
from stethos.synth.plan import Plan
from stethos.types import Cohort, Run

ELSEWHERE = 1  # seed of another factory: other machines of the same types
BLOCKS = 900  # of normal sound behind the alarm
PER_WEEK = 0.5  # what one would ask of a real monitor


def demonstrate(run: Run, detector: Detector, plan: Plan) -> None:
    """Keep an alarm, the enrolment curve and the miss rates of planted faults with a run, for its report.

    The machines that are enrolled are of another factory. Faults are planted in normal test recordings.

    Args:
        run: Trained on `factory(plan)`.
        detector: Of the run.
        plan: Of its factory.
    """
    refuse_classifier(detector)
    longer = replace(plan, machines=plan.machines[:1], sections=1, train=plan.train + BLOCKS, test=4)
    _alarm(run, detector, longer, plan.train)
    _enrol(run, detector, replace(plan, sections=1, train=max(COUNTS), test=40))
    people = factory(plan)
    normal = (words(people, "split") == "test") & (people.rows["anomaly"] == 0) & (words(people, "domain") != "target")
    chosen = np.random.default_rng(0).permutation(np.flatnonzero(normal))[:40]
    machine = identity_of(words(people, "machine"), words(people, "section"))[chosen].tolist()
    sounds = [
        Sound(detector.windows.apply(people[row].signals[0]), name, str(row))
        for row, name in zip(chosen, machine, strict=True)
    ]
    keep_audit(run, miss_rates(detector, sounds), len(sounds), "that of each machine")


def _alarm(run: Run, detector: Detector, plan: Plan, trained: int) -> None:
    """The budget that one would ask for, which minutes of sound cannot support, and the smallest that they can.

    The first clips of a section are the same however many follow: those were trained on.
    """
    people = factory(plan)
    new = np.flatnonzero(words(people, "split") == "train")[trained:]
    name = str(identity_of(words(people, "machine"), words(people, "section"))[0])
    score = detector.judge(_heard(detector, people, new), detector.machine_of(name))
    normal = NormalBlocks(score, detector.windows.seconds, recording=np.arange(len(score)))
    refused = ""
    try:
        set_alarm(normal, PER_WEEK)
    except QualityError as error:
        refused = str(error)
    later = normal.part(len(score) // 2, len(score)).hours
    alarm = set_alarm(normal, np.ceil(1.1 * hours_needed(1.0) / later))
    keep_for_report(run, name, alarm, normal, refused)


def _enrol(run: Run, detector: Detector, plan: Plan) -> None:
    people = factory(plan, seed=ELSEWHERE)
    machine, anomaly = words(people, "machine"), people.rows["anomaly"]
    areas = {}
    for name in np.unique(machine):
        normals = np.flatnonzero((machine == name) & (words(people, "split") == "train"))
        tested = np.flatnonzero((machine == name) & (words(people, "split") == "test"))
        heard = _heard(detector, people, tested)
        curve = enrolment_curve(
            detector, f"{name}/new", _heard(detector, people, normals), (heard, anomaly[tested]), draws=20
        )
        areas[str(name)] = [sound_parts.plain(point.auroc) for point in curve]
        counts = [point.count for point in curve]
    sound_parts.keep(run, "enrolment", {"counts": counts, "areas": areas})


def _heard(detector: Detector, people: Cohort, rows: Sequence[int] | np.ndarray) -> list[np.ndarray]:
    """Embeddings of recordings, one `(N, D)` a network."""
    every = []
    with bar("listening") as progress:
        for count, row in enumerate(rows, start=1):
            every.append(detector.heard(detector.windows.apply(people[int(row)].signals[0])))
            progress(count, len(rows))
    return [np.stack(item) for item in zip(*every, strict=True)]
