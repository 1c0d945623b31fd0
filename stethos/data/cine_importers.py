"""Published cine MR to a cohort: cines cropped to the heart as NIfTI, label maps in one code, ECGs where there are any.

OUT/cohort.csv
OUT/cines/ID.nii.gz, OUT/cines/ID.labels.nii.gz
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from stethos.data.listing import Cells, ImportResult, number, read_cells, write_listing
from stethos.errors import CohortError, StethosError
from stethos.io.nifti import ACDC, MNMS, read_labels, read_nifti, write_labels, write_nifti
from stethos.io.ukb import read_cardiosoft, read_ukb_cmr
from stethos.signal.heart_crop import crop_to_heart
from stethos.types import Record, Volume

SIDE = 150.0  # mm of the cropped cine: a heart with room on every side
_UKB = re.compile(r"(\d+)_(20205|20208|20209)_(\d+)_(\d+)\.(zip|xml)$")


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
    frames = {key: int(info[key]) - 1 for key in ("ED", "ES")}
    record = read_nifti(_one(folder, f"{name}_4d.nii*"))
    marked = {at: read_labels(_one(folder, f"{name}_frame{at + 1:02d}_gt.nii*"), ACDC) for at in frames.values()}
    return {
        **_written(name, record, marked, out),
        "subject": name,
        "view": "sax",
        "ed_frame": frames["ED"],
        "es_frame": frames["ES"],
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
        CohortError: The table is missing, or no patient is there.

    Reference:
        Martín-Isla 2023, doi:10.1109/JBHI.2023.3267857.
    """
    table = next(iter(sorted(Path(source).rglob("dataset_information.csv"))), None)
    if table is None:
        raise CohortError(f"{source}: needs dataset_information.csv of M&Ms-2")
    told = {f"{int(number(row['SUBJECT_CODE']) or 0):03d}": row for row in read_cells(table)}
    folders = {path.name: path for path in sorted(Path(source).rglob("[0-9][0-9][0-9]")) if path.is_dir()}

    def row(name: str, folder: Path, to: Path) -> Cells:
        return {**_mnms2_row(name, folder, to), **_mnms2_told(told.get(name, {}))}

    return _listed(out, folders, row, source)


def _mnms2_row(name: str, folder: Path, out: Path) -> Cells:
    record = read_nifti(_one(folder, f"{name}_LA_CINE.nii*"))
    assert record.volume is not None
    marked = {}
    for moment in ("ED", "ES"):
        still = read_frame(_one(folder, f"{name}_LA_{moment}.nii*"))
        at = int(np.argmin(np.abs(record.volume.values - still).mean(axis=(1, 2, 3))))
        marked[at] = read_labels(_one(folder, f"{name}_LA_{moment}_gt.nii*"), MNMS)
    places = list(marked)
    return {
        **_written(name, record, marked, out),
        "subject": name,
        "view": "4ch",
        "ed_frame": places[0],
        "es_frame": places[-1],
        "terms": "M&Ms-2: CC BY-NC-SA 4.0",
    }


def _mnms2_told(row: Mapping[str, str | None]) -> Cells:
    names = {"DISEASE": "group", "VENDOR": "vendor", "SCANNER": "device", "FIELD": "field_strength"}
    return {name: row.get(key) for key, name in names.items()}


def read_frame(path: Path) -> np.ndarray:
    """One moment of a heart, `(1, Z, H, W)` float32.

    Raises:
        CohortError: The file holds several.
    """
    import nibabel

    values = np.asarray(nibabel.load(path).dataobj, np.float32)
    values = values[..., None] if values.ndim == 3 else values
    if values.shape[3] != 1:
        raise CohortError(f"{path}: needs one moment; it holds {values.shape[3]}")
    return values.transpose(3, 2, 1, 0)


def import_ukb(source: Path, out: Path) -> ImportResult:
    """UK Biobank: four-chamber cines (20208), short axes (20209) where there is none, and ECGs (20205), by visit.

    An ECG of visit 2 belongs to the cine of visit 2. Visits with one of the two are kept, and counted.

    Args:
        source: The folder with the zips and XML files, however deep.
        out: Where the cohort goes.

    Raises:
        CohortError: None is there.
    """
    found: dict[tuple[str, str], dict[str, Path]] = {}
    for path in sorted(path for path in Path(source).rglob("*") if path.is_file()):
        if match := _UKB.search(path.name):
            found.setdefault((match[1], match[3]), {})[match[2]] = path
    visits = {f"{person}_{visit}": files for (person, visit), files in found.items()}
    counts = {field: sum(field in files for files in visits.values()) for field in ("20205", "20208", "20209")}
    both = sum("20205" in files and len(files) > 1 for files in visits.values())
    made = _listed(out, visits, _ukb_row, source)
    return made.noted(
        f"visits with an ECG: {counts['20205']}, with long axes: {counts['20208']}, "
        f"with short axes: {counts['20209']}, with an ECG and a cine: {both}"
    )


def _ukb_row(name: str, files: Mapping[str, Path], out: Path) -> Cells:
    row: dict[str, object] = {"id": name, "subject": name.partition("_")[0], "terms": "UK Biobank: application only"}
    field = next((field for field in ("20208", "20209") if field in files), None)
    if field is not None:
        views = read_ukb_cmr(files[field])
        view = "la_4ch" if "la_4ch" in views else sorted(v for v in views if v.startswith("sax"))[len(views) // 2]
        row |= {**_written(name, views[view], {}, out), "view": "4ch" if view == "la_4ch" else "sax"}
        row["frames_repeated"] = views[view].facts["frames_repeated"]
    if "20205" in files:
        record = read_cardiosoft(files["20205"])
        row |= {"path": str(files["20205"].absolute()), **record.facts}
    return row


def _one(folder: Path, pattern: str) -> Path:
    path = next(iter(sorted(folder.glob(pattern))), None)
    if path is None:
        raise CohortError(f"{folder}: needs {pattern.rstrip('*')} or .nii.gz")
    return path


def _written(name: str, record: Record, marked: Mapping[int, np.ndarray], out: Path) -> Cells:
    """A cine cropped to the heart, and its label map where frames are outlined; what the table says of both."""
    volume = record.volume
    assert volume is not None
    values, (top, left) = crop_to_heart(volume.values, volume.spacing, SIDE)
    path = out / "cines" / f"{name}.nii.gz"
    write_nifti(path, Volume(values, volume.spacing, volume.interval))
    row: dict[str, object] = {"path": str(path.absolute()), "id": name, "cine": f"cines/{path.name}"}
    if marked:
        maps = np.zeros(values.shape, np.uint8)
        high, wide = values.shape[2:]
        for at, labels in marked.items():
            maps[at] = labels[0, :, top : top + high, left : left + wide]
        write_labels(out / "cines" / f"{name}.labels.nii.gz", maps, volume.spacing)
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
        except (StethosError, KeyError, ValueError) as error:
            skipped.append((name, f"{type(error).__name__}: {error}" if isinstance(error, KeyError) else str(error)))
    return write_listing(source, out, rows, skipped)
