"""One motor, a broken propeller, at a speed that was never heard.

A folder holds {Healthy,…}/MOTOR/SPEED.wav, one recording of ten seconds or so for each condition and speed. For each
speed that was recorded in both conditions, networks are trained on the healthy recordings of all other speeds, which
they tell apart by speed, and must then find the broken propeller at a speed of which they know nothing. The level of
the recordings differs by condition, so each window is brought to one level (`level="rms"`), for the baselines too.

Recordings are cut into pieces as long as a window. A tenth of the training pieces chooses the step of the training;
they are of the same recordings, which says nothing of other speeds, and no tested recording is among them. Beside the
networks stand the same networks untrained, and the nearest normal by its mean log-mel spectrum.

With one recording of each condition at a speed the AUC of that speed, over their pieces, has no interval. The pooled
AUC has one: over recordings, not over pieces. It also asks that one threshold suits all speeds.
"""

from __future__ import annotations

import csv
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from stethos.data.cohort import open_cohort
from stethos.data.sounds import import_sounds
from stethos.errors import ScoreError
from stethos.io.sound import write_sound
from stethos.metrics.compare import paired_auroc
from stethos.metrics.interval import clustered_auroc, proportion
from stethos.metrics.ranking import auroc
from stethos.report.words import spoken
from stethos.systems import os_scl
from stethos.systems.os_scl import Recipe, tiny
from stethos.types import Predictions

MODEL, UNTRAINED, NEAREST = "networks", "untrained networks", "nearest mean log-mel"
BASELINES = {"nearest": NEAREST, "twfr-gmm": "TWFR-GMM", "autoencoder": "autoencoder"}


def recipe() -> Recipe:
    """`tiny()` of three seeds, deaf to the level; decided before any number was seen."""
    return replace(tiny(), listen=replace(tiny().listen, level="rms"), seeds=3)


@dataclass(frozen=True)
class Piece:
    """A part of a recording.

    Args:
        path: Of its file.
        recording: That it was cut from, such as "Healthy/M1/1400".
        motor: Such as "M1".
        speed: As the recording is called.
        broken: 1 for anomalous, 0 for normal.
    """

    path: Path
    recording: str
    motor: str
    speed: str
    broken: int

    @property
    def name(self) -> str:
        """Of its own, in a cohort."""
        return f"{self.recording}/{self.path.stem}"


@dataclass(frozen=True, eq=False)
class Heard:
    """Tested pieces, N of them.

    Args:
        speed: `(N,)`.
        recording: `(N,)`.
        truth: 1 for broken, `(N,)`.
        scores: Way to score → score, `(N,)`.
        seeds: Score by each seed's network, one `(N,)` a seed.
    """

    speed: np.ndarray
    recording: np.ndarray
    truth: np.ndarray
    scores: dict[str, np.ndarray]
    seeds: list[np.ndarray]

    def auc(self, score: np.ndarray) -> dict[str, float]:
        """Speed → AUC over its pieces."""
        own = {speed: self.speed == speed for speed in np.unique(self.speed)}
        return {speed: auroc(self.truth[rows], score[rows]) for speed, rows in own.items()}

    def higher(self, score: np.ndarray) -> np.ndarray:
        """Whether the broken recording's mean score is above that of the healthy one, one a speed."""
        sides = [[score[(self.speed == speed) & (self.truth == side)] for side in (1, 0)] for speed in self.auc(score)]
        return np.array([broken.mean() > healthy.mean() for broken, healthy in sides], float)


def pieces_of(folder: Path, work: Path, seconds: float) -> list[Piece]:
    """All recordings of a folder cut end to end, at their own rate, into files below `work`."""
    import_sounds(folder, work / "all")
    people, found = open_cohort(work / "all"), []
    for row, record in enumerate(people):
        sound, name = record.signals[0], str(people.rows["id"][row])
        motor, broken = str(people.rows["machine"][row]), int(people.rows["anomaly"][row])
        for number in range(int(sound.duration / seconds)):
            path = work / "pieces" / f"{name}_{number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_sound(sound.crop(number * seconds, (number + 1) * seconds), path, record.origin)
            found.append(Piece(path, name, motor, Path(name).name, broken))
    return found


def fold(pieces: Sequence[Piece], speed: str, folder: Path) -> Path:
    """The cohort that tests one speed and trains on what is healthy at the others."""
    folder.mkdir(parents=True)
    chosen = [piece for piece in pieces if piece.speed == speed or not piece.broken]
    with (folder / "cohort.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "id", "subject", "machine", "section", "split", "anomaly", "attributes"])
        for piece in chosen:
            place = piece.motor, "section_00", "test" if piece.speed == speed else "train"
            writer.writerow([piece.path, piece.name, piece.name, *place, piece.broken, f"speed_{piece.speed}"])
    return folder


def heard_at(pieces: Sequence[Piece], speed: str, work: Path, how: Recipe) -> Heard:
    """Train without a speed, and score its pieces."""
    cohort = fold(pieces, speed, work / f"without-{speed}")
    still = replace(how, schedule=replace(how.schedule, steps=1, lr=0.0, warmup=0.0))
    trained, untrained = (
        os_scl.train(cohort, out=work / f"{name}-{speed}", recipe=item)
        for name, item in (("trained", how), ("untrained", still))
    )
    every, alone = (_tested(run.private / f"backend-{how.backend}.npz") for run in (trained, untrained))
    scores = {MODEL: _in_order(every.mean_over_seeds()), UNTRAINED: _in_order(alone.mean_over_seeds())}
    for name, label in BASELINES.items():
        if (path := trained.private / f"baseline-{name}.npz").is_file():
            scores[label] = _in_order(_tested(path))
    record = np.unique(every.record)
    own = {piece.name: piece for piece in pieces}
    return Heard(
        np.full(len(record), speed),
        np.array([own[name].recording for name in record]),
        np.array([own[name].broken for name in record], float),
        scores,
        [_in_order(every.take(every.seed == seed)) for seed in np.unique(every.seed)],
    )


def _tested(path: Path) -> Predictions:
    return Predictions.load(path).part("internal")


def _in_order(said: Predictions) -> np.ndarray:
    """Scores by the names of the pieces."""
    return said.score[np.argsort(said.record), 0]


def study(folder: Path, how: Recipe, speeds: Sequence[str] = ()) -> Heard:
    """Every speed that was recorded in both conditions, or some of them, each left out once.

    Args:
        folder: Holds {Healthy,…}/MOTOR/SPEED.wav.
        how: The networks are trained.
        speeds: Which are left out; all where empty.
    """
    with tempfile.TemporaryDirectory() as work:
        pieces = pieces_of(folder, Path(work), how.listen.seconds)
        both = {piece.speed for piece in pieces if piece.broken} & {p.speed for p in pieces if not p.broken}
        parts = [heard_at(pieces, speed, Path(work), how) for speed in speeds or sorted(both)]
    return Heard(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in ("speed", "recording", "truth")),
        {name: np.concatenate([part.scores[name] for part in parts]) for name in parts[0].scores},
        [np.concatenate(item) for item in zip(*(part.seeds for part in parts), strict=True)],
    )


def table(heard: Heard) -> list[str]:
    """The result in Markdown."""
    areas = {name: heard.auc(score) for name, score in heard.scores.items()}
    lines = [f"| left out | {' | '.join(areas)} |", f"|---|{'---|' * len(areas)}"]
    for speed in np.unique(heard.speed):
        lines.append(f"| {speed} | {' | '.join(f'{area[speed]:.3f}' for area in areas.values())} |")
    lines.append(f"| mean | {' | '.join(f'{np.mean(list(area.values())):.3f}' for area in areas.values())} |")
    above = [spoken(proportion(row, np.arange(len(row)))) for row in map(heard.higher, heard.scores.values())]
    lines.append(f"| broken above healthy | {' | '.join(above)} |")
    try:
        pooled = [clustered_auroc(heard.truth, score, heard.recording) for score in heard.scores.values()]
    except ScoreError as error:
        return [*lines, f"No pooled AUC: {error}."]
    lines.append(f"| pooled | {' | '.join(map(spoken, pooled))} |")
    each = [float(np.mean(list(heard.auc(score).values()))) for score in heard.seeds]
    lines.append(f"Mean by seed: {', '.join(f'{value:.3f}' for value in each)}.")
    for other in (UNTRAINED, NEAREST):
        gain = paired_auroc(heard.truth, heard.scores[MODEL], heard.scores[other], heard.recording)
        lines.append(f"Pooled, {MODEL} minus {other}: {spoken(gain.estimate)}.")
    return lines


def main() -> None:
    """Print the study of the motor in the folder named by STETHOS_DATA."""
    data = os.environ.get("STETHOS_DATA")
    if not data or not Path(data, "sound", "bldc").is_dir():
        print("bldc: skipped, STETHOS_DATA names no folder with sound/bldc")
        return
    print("\n".join(table(study(Path(data, "sound", "bldc"), recipe()))))


if __name__ == "__main__":
    main()
