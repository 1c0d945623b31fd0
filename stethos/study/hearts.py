"""Hearts for learning: twelve leads with the phase of every sample, cines of one size and length, and label maps.

Each of the three is prepared once, in a store of its own, from the records that have it: a stage that needs only
ECGs or only cines takes all of those, and the flow takes the records that have both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from stethos.data.cohort import TableOpener
from stethos.data.prepared import Preparation, Prepared, prepare_cohort
from stethos.errors import CohortError, FormatError, QualityError
from stethos.io.nifti import read_labels
from stethos.signal.beats import heart_rate, r_peaks
from stethos.signal.filter import bandpass
from stethos.signal.heart_crop import crop_to_heart
from stethos.signal.phase import cardiac_phase, circular_resample, usual_intervals
from stethos.signal.resample import resample
from stethos.study.partition import Partition, Step, partition
from stethos.study.progress import bar
from stethos.train.dist import chief_first
from stethos.types import Cohort, Fact, Record, Run, Signal, Volume

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
BAND = (0.5, 40.0)  # Hz


@dataclass(frozen=True)
class HeartShape:
    """What recordings and cines become.

    Args:
        rate: Hz of the prepared ECG, above 2 × 40.
        seconds: Of it; longer recordings are cut, shorter ones refused.
        frames: F of a cine over one RR interval.
        size: H = W, pixels, a multiple of 8.
        side: Side in mm of the crop to the heart; 0 for the whole picture.
    """

    rate: float
    seconds: float
    frames: int
    size: int
    side: float

    @property
    def samples(self) -> int:
        """T of the prepared ECG, a multiple of 8."""
        return round(self.rate * self.seconds) // 8 * 8


@dataclass(frozen=True, eq=False)
class Hearts:
    """A cohort's prepared ECGs and cines.

    Args:
        cohort: Whose.
        run: The folder that holds the stores.
        shape: How they were prepared.
        ecg: Windows `(13, T)`: twelve leads in mV and the phase.
        cine: Windows `(F, H W)`; None where they were not asked for.
        ecg_row: Window of each record, −1 for none, `(N,)`.
        cine_row: Likewise.
    """

    cohort: Cohort
    run: Run
    shape: HeartShape
    ecg: Prepared
    cine: Prepared | None
    ecg_row: np.ndarray
    cine_row: np.ndarray

    def has(self, what: str) -> np.ndarray:
        """Rows of records with an "ecg", a "cine" or both ("pair")."""
        here = {"ecg": self.ecg_row >= 0, "cine": self.cine_row >= 0}
        chosen = here["ecg"] & here["cine"] if what == "pair" else here[what]
        return np.flatnonzero(chosen)

    @property
    def refused(self) -> tuple[tuple[str, str], ...]:
        """(id, reason) of every ECG and cine that could not be prepared."""
        return (*self.ecg.refused, *(self.pictures.refused if self.cine else ()))

    @property
    def pictures(self) -> Prepared:
        """The cines, which were asked for."""
        assert self.cine is not None
        return self.cine

    def ecgs(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Leads `(B, 12, T)` in mV, and phase `(B, T)` in radians with NaN where not known."""
        both = self.ecg.store.take(self.ecg_row[rows])
        return both[:, :-1], both[:, -1]

    def cines(self, rows: np.ndarray) -> np.ndarray:
        """`(B, F, H, W)`, about 0 to 1."""
        side = self.shape.size
        return self.pictures.store.take(self.cine_row[rows]).reshape(len(rows), self.shape.frames, side, side)

    def rates(self, rows: np.ndarray) -> np.ndarray:
        """Heart rate in 1/min and relative spread of ordinary RR intervals, `(B, 2)`."""
        return np.stack([self.ecg.facts[name][rows] for name in ("ecg_heart_rate", "ecg_irregularity")], axis=1)

    def pixel(self, rows: np.ndarray) -> np.ndarray:
        """Mm a pixel of the prepared cine, `(B,)`."""
        return self.pictures.facts["cine_pixel"][rows]

    def numbers(self, name: str, rows: np.ndarray) -> np.ndarray:
        """A measured column of the cohort, NaN where unknown or absent, `(B,)`."""
        column = self.cohort.rows.get(name)
        if column is None or column.dtype == object:
            return np.full(len(rows), np.nan)
        return np.asarray(column[rows], float)


def begin_hearts(cohort: Cohort, run: Run, shape: HeartShape, workers: int, need: str = "pair") -> Hearts:
    """Prepare ECGs and cines of a cohort, or open what is prepared.

    Args:
        cohort: With ECGs, cines, or both.
        run: Its private folder takes the stores.
        shape: What they become.
        workers: Processes.
        need: "pair" for both; "ecg" leaves the cines unread.

    Raises:
        CohortError: No record has either.
    """
    alone, area = _without_cines(cohort), shape.size**2
    with chief_first():
        ecg = _prepared(
            alone, run.private / "ecg", partial(ecg_window, shape=shape), (13, shape.samples), shape, workers
        )
        cine, cine_row = None, np.full(len(cohort), -1)
        if need != "ecg":
            work, size = partial(cine_window, shape=shape), (shape.frames, area)
            cine = _prepared(cohort, run.private / "cine", work, size, shape, workers)
            cine_row = _rows(cine, len(cohort))
    hearts = Hearts(cohort, run, shape, ecg, cine, _rows(ecg, len(cohort)), cine_row)
    if not len(hearts.has("ecg")) and not len(hearts.has("cine")):
        reasons = "; ".join(sorted({reason for _, reason in hearts.refused})[:3])
        wanted = "a twelve-lead ECG" if need == "ecg" else "a twelve-lead ECG or a cine"
        raise CohortError(f"needs records with {wanted}; none of {len(cohort)} has one: {reasons}")
    return hearts


def _without_cines(cohort: Cohort) -> Cohort:
    """The same records, whose pictures are not read where a table names them in a column of their own."""
    opener = cohort.open
    if not isinstance(opener, TableOpener):
        return cohort
    rows = {name: column for name, column in opener.rows.items() if name != "cine"}
    return replace(cohort, open=TableOpener(rows, opener.origin))


def _prepared(
    cohort: Cohort, folder: Path, work: partial, shape: tuple[int, int], wanted: HeartShape, workers: int
) -> Prepared:
    key = {"version": 1, "what": folder.name, **asdict(wanted)}
    with bar(f"preparing {folder.name}s") as progress:
        return prepare_cohort(cohort, Preparation(work, shape, key), folder, workers, progress)


def _rows(prepared: Prepared, count: int) -> np.ndarray:
    rows = np.full(count, -1)
    rows[prepared.window_record] = np.arange(len(prepared.window_record))
    return rows


def parts_of(hearts: Hearts, plan: Partition, need: str) -> tuple[dict[str, np.ndarray], list[Step]]:
    """Row numbers of each part that have what a stage needs, and the flow of records.

    Args:
        hearts: Prepared.
        plan: How subjects are divided; the same whatever is needed, so that no stage learns from what another tests.
        need: "ecg", "cine" or "pair".

    Raises:
        CohortError: No record has it, or a part is left without any.
    """
    held = hearts.has(need)
    if not len(held):
        count = {what: len(hearts.has(what)) for what in ("ecg", "cine")}
        wanted = {"pair": "records that have both an ECG and a cine", "ecg": "ECGs", "cine": "cines"}[need]
        raise CohortError(
            f"this stage needs {wanted}; of {len(hearts.cohort)} records {count['ecg']} have an ECG, {count['cine']} "
            "a cine and none what is needed: train the stages ecg and cine alone, or pair the cohort by subject"
        )
    place = {name: row for row, name in enumerate(hearts.cohort.rows["id"].tolist())}
    parts, flow = partition(hearts.cohort, plan)
    rows = {name: np.array([place[i] for i in part.rows["id"].tolist()], int) for name, part in parts.items()}
    rows = {name: part[np.isin(part, held)] for name, part in rows.items()}
    empty = [name for name in ("train", "valid") if not len(rows[name])]
    if empty:
        raise CohortError(f"no record of {', '.join(empty)} has what this stage needs; give more records")
    return rows, [replace(flow[0], lost=f"{len(hearts.cohort) - len(held)} records lack what is needed"), *flow[1:]]


def ecg_window(record: Record, shape: HeartShape) -> tuple[np.ndarray, Mapping[str, Fact]]:
    """Twelve leads between 0.5 and 40 Hz with the phase of every sample, `(1, 13, T)`, and what the beats tell.

    Raises:
        ChannelError: The record has no twelve leads.
        QualityError: It is too short, or no two R peaks stand out.
    """
    leads = record.pick(*LEADS)
    if leads.duration < shape.samples / shape.rate - 1e-6:
        raise QualityError(f"{record.id}: needs {shape.seconds:g} s of ECG; this one has {leads.duration:.1f} s")
    if not np.isfinite(leads.values).all():
        raise QualityError(f"{record.id}: its ECG has samples that are no numbers; fill or cut the gaps")
    leads = bandpass(leads.crop(0, shape.seconds), *BAND, order=2)
    peaks = _peaks(leads)
    if len(peaks) < 2:
        raise QualityError(f"{record.id}: needs two R peaks to know the cardiac phase; this one shows {len(peaks)}")
    small = resample(leads, shape.rate).values[:, : shape.samples]
    phase = cardiac_phase(peaks * shape.rate / leads.rate, shape.samples)
    rr = np.diff(peaks)[usual_intervals(peaks, leads.rate)] / leads.rate
    spread = float(rr.std() / rr.mean()) if len(rr) else float("nan")
    facts = {
        "ecg_heart_rate": heart_rate(peaks, leads.rate),
        "ecg_irregularity": spread,
        "ecg_beats": float(len(peaks)),
    }
    return np.concatenate([small, phase[None]]).astype(np.float32)[None], facts


def _peaks(leads: Signal) -> np.ndarray:
    """R peaks in lead II, or in the sum of all leads' sizes where II shows none."""
    peaks = r_peaks(leads.pick("II"))
    if len(peaks) >= 2:
        return peaks
    size = np.sqrt(np.mean(leads.values**2, axis=0, keepdims=True))
    return r_peaks(Signal(size, leads.rate, ("all",), leads.unit))


def cine_window(record: Record, shape: HeartShape) -> tuple[np.ndarray, Mapping[str, Fact]]:
    """The middle slice, cropped, of the wanted size and length, blood near 1: `(1, F, H W)`.

    Raises:
        FormatError: The record has no cine, or one of a single frame.
    """
    volume = _volume(record)
    values, pixel = framed(volume, shape)
    bright = np.percentile(values, 99)
    if not bright > 0:
        raise FormatError(f"{record.id}: its cine is black; nothing can be learned from it")
    facts = {"cine_pixel": pixel, "cine_interval": volume.interval * volume.values.shape[0] / shape.frames}
    return (values / bright).reshape(1, shape.frames, -1).astype(np.float32), facts


def _volume(record: Record) -> Volume:
    if record.volume is None:
        raise FormatError(f"{record.id}: no cine; give a column cine with the path of a 4D NIfTI")
    if record.volume.values.shape[0] < 2:
        raise FormatError(f"{record.id}: a cine needs at least two frames; this one has {len(record.volume.values)}")
    return record.volume


def framed(volume: Volume, shape: HeartShape) -> tuple[np.ndarray, float]:
    """The middle slice on square pixels, `(F, H, W)`, and mm a pixel."""
    values, _, (top, left), side = _cut(volume, shape)
    return _resized(values, (top, left), side, volume.spacing[1:], shape, smooth=True), side / shape.size


def framed_labels(volume: Volume, labels: np.ndarray, shape: HeartShape) -> np.ndarray:
    """A label map `(F, Z, H, W)` in the frame of its cine, `(F, H, W)` uint8."""
    _, middle, corner, side = _cut(volume, shape)
    found = _resized(labels[:, middle].astype(np.float32), corner, side, volume.spacing[1:], shape, smooth=False)
    return found.astype(np.uint8)


def _cut(volume: Volume, shape: HeartShape) -> tuple[np.ndarray, int, tuple[float, float], float]:
    """The middle slice, its number, the corner of a square in mm, and its side."""
    middle = volume.values.shape[1] // 2
    values = volume.values[:, middle]
    high, wide = (size * step for size, step in zip(values.shape[1:], volume.spacing[1:], strict=True))
    if not shape.side:
        side = float(max(high, wide))
        return values, middle, ((high - side) / 2, (wide - side) / 2), side
    _, (row, column) = crop_to_heart(volume.values[:, middle : middle + 1], volume.spacing, shape.side)
    return values, middle, (row * volume.spacing[1], column * volume.spacing[2]), shape.side


def _resized(
    values: np.ndarray,
    corner: tuple[float, float],
    side: float,
    spacing: tuple[float, ...],
    shape: HeartShape,
    *,
    smooth: bool,
) -> np.ndarray:
    """Frames and pixels of the wanted number, by lines or by the nearest; 0 outside of the picture."""
    whole = corner == (0, 0) and np.allclose(np.multiply(values.shape[1:], spacing), side)
    if whole and values.shape == (shape.frames, shape.size, shape.size):
        return values
    from scipy.ndimage import map_coordinates

    middle = (np.arange(shape.size) + 0.5) * side / shape.size
    rows, columns = ((start + middle) / step - 0.5 for start, step in zip(corner, spacing, strict=True))
    at = np.meshgrid(rows, columns, indexing="ij")
    order = 1 if smooth else 0
    found = np.stack([map_coordinates(frame, at, order=order, mode="constant") for frame in values])
    if smooth:
        return circular_resample(found, shape.frames)
    nearest = np.rint(np.arange(shape.frames) * len(found) / shape.frames).astype(int) % len(found)
    return found[nearest]


def labelled(hearts: Hearts, rows: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Label maps of the first records among `rows` that have them: row numbers `(M,)` and `(M, F, H, W)`.

    A frame without a single label (of data sets that outline end-diastole and end-systole alone) is all 255.

    Args:
        hearts: Prepared.
        rows: Row numbers with a cine.
        most: How many are taken.

    Raises:
        CohortError: No record has label maps.
    """
    column = hearts.cohort.rows.get("labels")
    known = [] if column is None else [row for row in rows.tolist() if isinstance(column[row], str)][:most]
    if not known:
        raise CohortError(
            "outlining hearts needs a column labels with label maps of some training records; none has one"
        )
    return np.array(known), np.stack([_label_map(hearts, row) for row in known])


def _label_map(hearts: Hearts, row: int) -> np.ndarray:
    record = hearts.cohort[row]
    volume = _volume(record)
    maps = read_labels(Path(str(record.facts["labels"])))
    if maps.shape != volume.values.shape:
        raise CohortError(f"{record.id}: its label map has shape {maps.shape}, its cine {volume.values.shape}")
    found = framed_labels(volume, maps, hearts.shape)
    return np.where((found == 0).all(axis=(1, 2), keepdims=True), 255, found).astype(np.uint8)
