"""Real pulses for tests, read as plainly as can be."""

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.io import loadmat

from stethos.types import Signal

SLOWER = ("0046", "0047", "0048")  # recorded at 250 Hz, the others at 500 Hz
MOTION = ("ACC_X", "ACC_Y", "ACC_Z")


def pulse_signal(values: np.ndarray, rate: float) -> Signal:
    return Signal(np.asarray(values, np.float64).reshape(1, -1), rate, ("PLETH",), "1")


def marsh(folder: Path) -> Iterator[tuple[str, Signal, np.ndarray]]:
    """Each subject's finger pulse, with the R peaks in seconds of the ECG's own clock."""
    for subject in sorted(path for path in (folder / "ppg/marsh").iterdir() if path.is_dir()):
        values = loadmat(subject / "PPG.mat")["PPG"].ravel()
        marks = loadmat(subject / "ECG_annot.mat")["ECG_annot"].ravel()
        yield subject.name, pulse_signal(values, 250.0 if subject.name in SLOWER else 500.0), marks / 250.0


def troika(folder: Path) -> Iterator[tuple[str, Signal, Signal, np.ndarray]]:
    """Each run's first wrist pulse, acceleration, and heart rate per 8 s window, every 2 s."""
    for path in sorted((folder / "ppg/troika").glob("DATA_*.mat")):
        rows = loadmat(path)["sig"]
        truth = loadmat(path.with_name(path.name.replace("DATA", "REF")))["BPM0"].ravel()
        yield path.stem, pulse_signal(rows[1], 125.0), Signal(rows[3:6], 125.0, MOTION, "g"), truth


def bidmc(folder: Path, channel: str = "PLETH") -> tuple[Signal, np.ndarray]:
    """Record 01: one of its channels, and the first annotator's breaths in seconds."""
    with (folder / "ppg/bidmc/bidmc_01_Signals.csv").open() as lines:
        table = csv.reader(lines)
        place = [name.strip() for name in next(table)].index(channel)
        pulse = np.array([float(row[place]) for row in table if row])
    with (folder / "ppg/bidmc/bidmc_01_Breaths.csv").open() as lines:
        breaths = np.array([float(row[0]) for row in list(csv.reader(lines))[1:] if row[0].strip()])
    return pulse_signal(pulse, 125.0), breaths / 125.0
