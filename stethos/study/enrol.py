"""A machine that the networks were never trained on: its normals are remembered, the networks stay as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stethos.errors import QualityError
from stethos.metrics.ranking import auroc
from stethos.study.detector import Detector
from stethos.types import Estimate

LEAST = 3  # recordings, below which a spread cannot be told
COUNTS = (3, 5, 10, 20, 50)
QUANTILE = 0.9  # of the left-out normals; the limit that the DCASE baseline takes of a fitted gamma


def enrolled(
    detector: Detector, machine: str, heard: Sequence[np.ndarray], usual: np.ndarray | None = None
) -> Detector:
    """The detector with one more machine, or with the normals of one replaced.

    The threshold is the 90th percentile of what each normal scores against the others.

    Args:
        detector: Its networks are not changed.
        machine: A name, such as "pump41".
        heard: Embeddings of the machine's normals, one `(n, D)` a network.
        usual: Usual levels of these normals; None where they are not known.

    Raises:
        QualityError: There are fewer than three.
    """
    count = len(heard[0])
    if count < LEAST:
        raise QualityError(f"enrolling {machine} needs {LEAST} normal recordings; got {count}: record more of them")
    with_all = detector.remembering(detector.memory.with_machine(machine, heard, np.nan))
    place = with_all.machine_of(machine)
    left_out = []
    for row in range(count):
        others = [np.delete(item, row, axis=0) for item in heard]
        without = detector.remembering(detector.memory.with_machine(machine, others, np.nan))
        left_out.append(without.judge([item[row : row + 1] for item in heard], place)[0])
    threshold = float(np.quantile(left_out, QUANTILE, method="higher"))
    return detector.remembering(detector.memory.with_machine(machine, heard, threshold, usual))


@dataclass(frozen=True)
class EnrolmentPoint:
    """How well a machine is heard that was enrolled with so many recordings.

    Args:
        count: Normal recordings enrolled.
        auroc: Mean over draws of the recordings, with the 2.5th and 97.5th percentile of the draws.
    """

    count: int
    auroc: Estimate


def enrolment_curve(
    detector: Detector,
    machine: str,
    normals: Sequence[np.ndarray],
    tested: tuple[Sequence[np.ndarray], np.ndarray],
    draws: int = 50,
    seed: int = 0,
) -> list[EnrolmentPoint]:
    """AUROC on a machine against the number of its normals that were enrolled.

    Args:
        detector: Never trained on the machine.
        machine: A name.
        normals: Embeddings to draw from, one `(n, D)` a network.
        tested: Embeddings of other recordings, one `(m, D)` a network, and 0 or 1 of each, `(m,)`.
        draws: How often recordings are drawn.
        seed: Of the draws.
    """
    generator, (heard, truth) = np.random.default_rng(seed), tested
    found = []
    for count in [item for item in COUNTS if item <= len(normals[0])]:
        areas = []
        for _ in range(draws):
            rows = generator.permutation(len(normals[0]))[:count]
            memory = detector.memory.with_machine(machine, [item[rows] for item in normals], np.nan)
            drawn = detector.remembering(memory)
            areas.append(auroc(truth, drawn.judge(heard, drawn.machine_of(machine))))
        low, high = np.quantile(areas, (0.025, 0.975))
        found.append(EnrolmentPoint(count, Estimate(float(np.mean(areas)), low, high, len(truth), int(truth.sum()))))
    return found
