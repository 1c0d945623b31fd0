"""Published cine MR to a cohort: cines cropped to the heart as NIfTI, label maps in one code, ECGs where there are any.

OUT/cohort.csv
OUT/cines/ID.nii.gz, OUT/cines/ID.labels.nii.gz
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from stethos.data.listing import Cells, ImportResult, number, read_cells, write_listing
from stethos.errors import CohortError, MissingExtraError, StethosError
from stethos.io.nifti import ACDC, MNMS, read_labels, read_nifti, read_still, write_labels, write_nifti
from stethos.io.ukb import read_cardiosoft, read_ukb_cmr
from stethos.signal.heart_crop import crop_to_heart
from stethos.types import Record, Volume

SIDE = 150.0  # mm of the cropped cine: a heart with room on every side
SAME = 0.99  # correlation of a picture with the frame that it was copied from
_UKB = re.compile(r"(\d+)_(20205|20208|20209)_(\d+)_(\d+)\.(zip|xml)")


def import_acdc(source: Path, out: Path) -> ImportResult:
    """ACDC: short-axis cines with labels at end-diastole and end-systole.

    `ed_frame` and `es_frame` count from 0 (Info.cfg from 1), `group` is NOR, MINF, DCM, HCM or RV.

    Args:
        source: The folder with the patients' folders, however deep.
        out: Where the cohort goes.

    Raises:
        CohortError: No patient is there.

    Reference:
        Bernard 2018, doi:10.1109/TMI.2018.2837502.
    """
    folders = sorted({path.parent for path in Path(source).rglob("Info.cfg")})
    return _listed(out, {folder.name: folder for folder in folders}, _acdc_row, source)


def _acdc_row(name: str, folder: Path, out: Path) -> Cells:
    said = dict(line.split(":", 1) for line in (folder / "Info.cfg").read_text().splitlines() if ":" in line)
    info = {key.strip(): value.strip() for key, value in said.items()}
    record, volume = _read(_one(folder, f"{name}_4d.nii*"))
    frames = [int(number(info.get(key)) or 0) - 1 for key in ("ED", "ES")]
    if not all(0 <= at < len(volume.values) for at in frames):
        raise CohortError(f"{folder}: Info.cfg needs ED and ES from 1 to {len(volume.values)}; it has {info}")
    form = (1, *volume.values.shape[1:])
    marked = {at: read_labels(_one(folder, f"{name}_frame{at + 1:02d}_gt.nii*"), ACDC, form) for at in frames}
    return {
        **_written(name, record, marked, out),
        "subject": name,
        "view": "sax",
        "ed_frame": frames[0],
        "es_frame": frames[1],
        "group": info.get("Group"),
        "height": number(info.get("Height")),
        "weight": number(info.get("Weight")),
        "terms": "ACDC: non-commercial scientific research",
    }


def import_mnms2(source: Path, out: Path) -> ImportResult:
    """M&Ms-2: long-axis cines of four chambers with labels at end-diastole and end-systole.

    Args:
        source: The folder with dataset_information.csv.
        out: Where the cohort goes.

    Raises:
        CohortError: The table is missing or has no SUBJECT_CODE, or no patient is there.

    Reference:
        Martín-Isla 2023, doi:10.1109/JBHI.2023.3267857.
    """
    table = next(iter(sorted(Path(source).rglob("dataset_information.csv"))), None)
    if table is None:
        raise CohortError(f"{source}: needs dataset_information.csv of M&Ms-2")
    told = {f"{int(number(row.get('SUBJECT_CODE')) or 0):03d}": row for row in read_cells(table)}
    if set(told) == {"000"}:
        raise CohortError(f"{table}: needs the column SUBJECT_CODE, with numbers")
    folders = {path.name: path for path in sorted(Path(source).rglob("[0-9][0-9][0-9]")) if path.is_dir()}

    def row(name: str, folder: Path, to: Path) -> Cells:
        return {**_mnms2_row(name, folder, to), **_mnms2_told(told.get(name, {}))}

    return _listed(out, folders, row, source)


def _mnms2_row(name: str, folder: Path, out: Path) -> Cells:
    record, volume = _read(_one(folder, f"{name}_LA_CINE.nii*"))
    form = (1, *volume.values.shape[1:])
    marked, places = {}, {}
    for moment in ("ED", "ES"):
        places[moment] = at = moment_of(volume.values, _one(folder, f"{name}_LA_{moment}.nii*"))
        marked[at] = read_labels(_one(folder, f"{name}_LA_{moment}_gt.nii*"), MNMS, form)
    if len(marked) < 2:
        raise CohortError(f"{folder}: its pictures of ED and ES are the same frame ({places['ED']}) of the cine")
    return {
        **_written(name, record, marked, out),
        "subject": name,
        "view": "4ch",
        "ed_frame": places["ED"],
        "es_frame": places["ES"],
        "terms": "M&Ms-2: CC BY-NC-SA 4.0",
    }


def _mnms2_told(row: Mapping[str, str | None]) -> Cells:
    names = {"DISEASE": "group", "VENDOR": "vendor", "SCANNER": "device", "FIELD": "field_strength"}
    return {name: row.get(key) for key, name in names.items()}


def moment_of(values: np.ndarray, path: Path) -> int:
    """The number of the frame of a cine that a file holds, by the largest correlation.

    Args:
        values: `(F, Z, H, W)`.
        path: NIfTI of one moment.

    Raises:
        CohortError: It has another shape, or is none of the frames (r below 0.99).
        FormatError: It cannot be read.
    """
    still = read_still(path)
    if still.shape[1:] != values.shape[1:]:
        raise CohortError(f"{path}: has shape {still.shape[1:]}, its cine {values.shape[1:]}")
    frames, one = (part.reshape(len(part), -1) - part.mean(axis=(1, 2, 3))[:, None] for part in (values, still))
    size = np.linalg.norm(frames, axis=1) * np.linalg.norm(one)
    likeness = (frames @ one[0]) / np.where(size > 0, size, np.inf)
    at = int(np.argmax(likeness))
    if likeness[at] < SAME:
        raise CohortError(f"{path}: is no frame of its cine; the nearest, {at}, correlates {likeness[at]:.3f}")
    return at


def import_ukb(source: Path, out: Path) -> ImportResult:
    """UK Biobank: four-chamber cines (20208), short axes (20209) where there is none, and ECGs (20205), by visit.

    An ECG of visit 2 belongs to the cine of visit 2. Visits with one of the two are kept, counted, and have 0 in the
    column `matched`. Of several files of one field and visit the last is taken, and the others are left out. Short axes
    become one stack, of the slices that share the commonest size and number of frames; `slices_left_out` counts the
    others.

    Args:
        source: The folder with the zips and XML files, however deep.
        out: Where the cohort goes.

    Raises:
        CohortError: None is there.
    """
    found: dict[tuple[str, str], dict[str, Path]] = {}
    older: list[tuple[str, str]] = []
    for path in sorted(path for path in Path(source).rglob("*") if path.is_file()):
        if match := _UKB.fullmatch(path.name):
            files = found.setdefault((match[1], match[3]), {})
            if match[2] in files:
                older.append((files[match[2]].name, "a later file of that field and visit is taken"))
            files[match[2]] = path
    visits = {f"{person}_{visit}": files for (person, visit), files in found.items()}
    counts = {field: sum(field in files for files in visits.values()) for field in ("20205", "20208", "20209")}
    both = sum("20205" in files and len(files) > 1 for files in visits.values())
    made = _listed(out, visits, _ukb_row, source)
    return replace(made, skipped=(*made.skipped, *older)).noted(
        f"visits with an ECG: {counts['20205']}, with long axes: {counts['20208']}, "
        f"with short axes: {counts['20209']}, with an ECG and a cine: {both}"
    )


def _ukb_row(name: str, files: Mapping[str, Path], out: Path) -> Cells:
    row: dict[str, object] = {"id": name, "subject": name.partition("_")[0], "terms": "UK Biobank: application only"}
    if "20208" in files or "20209" in files:
        view, record = _ukb_cine(files)
        rr = number(str(record.facts.get("rr_ms")))
        row |= {**_written(name, record, {}, out), "view": view, "heart_rate": 60e3 / rr if rr else None}
        row |= {what: record.facts.get(what) for what in ("frames_repeated", "slices_left_out")}
        row["when"] = record.when.isoformat() if record.when else None
    if "20205" in files:
        ecg = read_cardiosoft(files["20205"])
        row |= {"path": str(files["20205"].absolute()), **ecg.facts}
    row["matched"] = int("20205" in files and len(files) > 1)
    return row


def _ukb_cine(files: Mapping[str, Path]) -> tuple[str, Record]:
    """Four chambers where they were taken, or else the stack of short axes."""
    long_axes = read_ukb_cmr(files["20208"]) if "20208" in files else {}
    if "la_4ch" in long_axes:
        return "4ch", long_axes["la_4ch"]
    if "20209" in files:
        views = read_ukb_cmr(files["20209"])
        places = sorted((view for view in views if view.startswith("sax_")), key=lambda view: int(view[4:]))
        if places:
            return "sax", _stack([views[view] for view in places])
    raise CohortError(f"{', '.join(path.name for path in files.values())}: neither four chambers nor short axes in it")


def _stack(records: list[Record]) -> Record:
    """Slices as one volume, of those with the commonest size and number of frames."""
    volumes = [record.volume for record in records if record.volume is not None]
    form = Counter(volume.values.shape for volume in volumes).most_common(1)[0][0]
    alike = [volume for volume in volumes if volume.values.shape == form]
    facts = {**records[0].facts, "slices_left_out": float(len(volumes) - len(alike))}
    facts["frames_repeated"] = sum(number(str(record.facts["frames_repeated"])) or 0 for record in records)
    values = np.concatenate([volume.values for volume in alike], axis=1)
    return replace(records[0], volume=Volume(values, alike[0].spacing, alike[0].interval), facts=facts)


def _read(path: Path) -> tuple[Record, Volume]:
    record = read_nifti(path)
    assert record.volume is not None
    return record, record.volume


def _one(folder: Path, pattern: str) -> Path:
    path = next(iter(sorted(folder.glob(pattern))), None)
    if path is None:
        raise CohortError(f"{folder}: needs {pattern.rstrip('*')} or .nii.gz")
    return path


def _written(name: str, record: Record, marked: Mapping[int, np.ndarray], out: Path) -> Cells:
    """A cine cropped to the heart, and its label map where frames are outlined; what the table says of both.

    The whole picture is kept, and `cropped` is 0, where a crop would cut an outlined heart.
    """
    volume = record.volume
    assert volume is not None
    maps = np.zeros(volume.values.shape, np.uint8)
    for at, labels in marked.items():
        maps[at] = labels[0]
    values, (top, left) = crop_to_heart(volume.values, volume.spacing, SIDE)
    cropped = maps[:, :, top : top + values.shape[2], left : left + values.shape[3]]
    if np.count_nonzero(cropped) < np.count_nonzero(maps):
        values, cropped = volume.values, maps
    path = out / "cines" / f"{name}.nii.gz"
    write_nifti(path, Volume(values, volume.spacing, volume.interval), record.origin)
    row: dict[str, object] = {"path": str(path.absolute()), "id": name, "cine": f"cines/{path.name}"}
    row["cropped"] = int(values.shape != volume.values.shape)
    if marked:
        write_labels(out / "cines" / f"{name}.labels.nii.gz", cropped, volume.spacing)
        row["labels"] = f"cines/{name}.labels.nii.gz"
    return row


def _listed(
    out: Path, found: Mapping[str, Path] | Mapping[str, Mapping[str, Path]], row: Callable, source: Path
) -> ImportResult:
    """Rows of everything that could be read; the rest with its reason."""
    rows, skipped = [], []
    for name, files in found.items():
        try:
            rows.append(row(name, files, Path(out)))
        except MissingExtraError:
            raise
        except (StethosError, OSError, ValueError) as error:
            skipped.append((name, str(error)))
    return write_listing(source, out, rows, skipped)
