"""Pulses as people export them to a cohort: VitalDB, and folders of arrays with a report each.

Nothing is copied. What the files do not state (rate, unit, names of channels) is written into the columns `rate`,
`unit` and `channels`.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from stethos.data.columns import as_numbers, as_text, read_table
from stethos.data.listing import MEANS, Cells, ImportResult, each_file, found, number, read_cells
from stethos.errors import CohortError, FormatError, RateError
from stethos.io import read
from stethos.io.channels import lead_name
from stethos.io.files import read_text
from stethos.io.stated import UNIT_KEYS
from stethos.io.vital import vital_means, vital_tracks

_SLOWEST = 10.0  # Hz; timestamps that give less are not in seconds
_PRESSURES = ("ART", "FEM")
_TIMES = ("time", "timestamp", "dt")
_NUMBERS = "Solar8000/"
_MONITOR = {
    "hr": ("Solar8000/HR", "Solar8000/PLETH_HR"),
    "resp_rate": ("Solar8000/RR_CO2", "Primus/RR_CO2", "Solar8000/RR"),
    "sbp": ("Solar8000/ART_SBP", "Solar8000/NIBP_SBP"),
    "dbp": ("Solar8000/ART_DBP", "Solar8000/NIBP_DBP"),
}


def import_vitaldb(source: Path, out: Path, clinical: Path | None = None, rate: float | None = None) -> ImportResult:
    """VitalDB, operations with the waves of all monitors, to a cohort: cases with a PLETH.

    `hr`, `resp_rate`, `sbp` and `dbp` are means of the monitor's numbers over the whole case; pressure is the
    arterial line's, or else the cuff's. `diagnoses` and `operation` are those of the clinical table. VitalDB states
    no dates.

    Args:
        source: Holds `CASE.vital`, or exports `CASE.csv` or `CASE.npz` whose columns are tracks ("SNUADC/PLETH").
        out: Where `cohort.csv` goes.
        clinical: The `clinical_data.csv`: gives the subject (a person may have several operations), age, sex and
            others; without it every case counts as a subject. One in `source` is used.
        rate: Hz, of exports without a column of times.

    Raises:
        CohortError: No case is there, or none can be read.

    Reference:
        Lee et al. 2022, doi:10.1038/s41597-022-01411-5.
    """
    named = [path for kind in ("vital", "csv", "npz") for path in source.rglob(f"*.{kind}")]
    files = found((path for path in named if _case(path)), source, "CASE.vital, or exports CASE.csv or CASE.npz")
    clinical = clinical or next(iter(sorted(source.rglob("clinical_data.csv"))), None)
    people = {str(row.get("caseid")): row for row in (read_cells(clinical) if clinical else ())}
    result = each_file(files, source, out, lambda path: _vitaldb(path, people, rate))
    unknown = sum(_case(path) not in people for path in files)
    note = f"not in the clinical table, so that the case stands for the person: {unknown} cases"
    return result.noted(MEANS, note if unknown else "")


def _case(path: Path) -> str:
    """The number of a case, without leading zeros; empty where the name is none."""
    return path.stem.lstrip("0") if path.stem.isdigit() else ""


def _vitaldb(path: Path, people: Mapping[str, Mapping[str, str | None]], rate: float | None) -> Cells:
    case = _case(path)
    person = people.get(case, {})
    vital = path.suffix == ".vital"
    tracks = vital_tracks(path) if vital else _tracks(path)
    if not any(lead_name(name) == "PLETH" for name in tracks):
        raise FormatError(f"{path}: it holds no PLETH")
    means = vital_means(path) if vital else _means(path, tracks)
    channels = None if vital else ", ".join(_track(name) for name in tracks)
    if channels:
        read(path, rate=rate, channels=channels)
    sources = {name: next((each for each in names if each in means), None) for name, names in _MONITOR.items()}
    return {
        "id": case,
        "subject": person.get("subjectid") or case,
        **{name: number(person.get(name)) for name in ("age", "height", "weight")},
        "sex": (person.get("sex") or "")[:1].upper() or None,
        "diagnoses": person.get("dx"),
        "operation": person.get("opname"),
        **{name: round(means[each], 2) for name, each in sources.items() if each},
        "rate": rate if channels else None,
        "channels": channels,
        "terms": "CC BY-NC-SA 4.0",
    }


def _tracks(path: Path) -> list[str]:
    """The columns of an export, but for that of times."""
    names = list(_arrays(path)) if path.suffix == ".npz" else [name.strip() for name in read_table(path).columns]
    return [name for name in names if name.lower() not in _TIMES]


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an NPZ."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise FormatError(f"{path}: arrays that cannot be read ({error}); pickled objects are not opened") from error


def _track(name: str) -> str:
    """A track as a channel: waves with VitalDB's unit, "-" for a monitor's numbers and what has no known unit."""
    wave = name.rpartition("/")[2].upper()
    if lead_name(name) == "PLETH":
        return f"{name} [a.u.]"
    if wave in _PRESSURES:
        return f"{name} [mmHg]"
    return f"{name} [mV]" if wave.startswith("ECG") else "-"


def _means(path: Path, tracks: Sequence[str]) -> dict[str, float]:
    """Means of the monitor's numbers in an export."""
    wanted = [name for name in tracks if name.startswith(_NUMBERS)]
    if path.suffix == ".npz":
        arrays = _arrays(path)
        columns = {name: np.asarray(arrays[name], np.float64) for name in wanted}
    else:
        table = read_table(path)
        cells = {name: as_numbers(as_text(table[name])) for name in wanted}
        columns = {name: values for name, values in cells.items() if values is not None}
    return {name: float(np.nanmean(values)) for name, values in columns.items() if np.isfinite(values).any()}


def import_reports(
    source: Path, out: Path, texts: Path | None = None, rate: float | None = None, unit: str | None = None
) -> ImportResult:
    """Arrays with a report each to a cohort: `ID.npz` and `ID.json` with the key "Report"; ID is the subject.

    The pulse is the array `data` (of several rows the first) or `ppg_value`; the rate is the caller's, or that of
    the array `timestamp`.

    Args:
        source: Holds `ID.npz`.
        out: Where `cohort.csv` goes.
        texts: Holds `ID.json`; None for `source`.
        rate: Hz, where the arrays do not say it.
        unit: Of the samples; "a.u." where neither it nor the arrays say it.

    Raises:
        CohortError: No array is there, or none can be read.
    """
    files = found(source.rglob("*.npz"), source, "arrays ID.npz")
    said = {path.stem: path for path in (texts or source).rglob("*.json")}
    reports = {path.stem: _report(said[path.stem]) for path in files if path.stem in said}
    result = each_file(files, source, out, lambda path: _reported(path, reports.get(path.stem), rate, unit))
    without = sum(not reports.get(path.stem) for path in files)
    spare = sum(name not in reports for name in said)
    return result.noted(
        f"recordings without a report: {without}" if without else "",
        f"reports without a recording: {spare}" if spare else "",
    )


def _reported(path: Path, report: str | None, rate: float | None, unit: str | None) -> Cells:
    channels = _rows(path, unit)
    signal = read(path, rate=rate, channels=channels).signals[0]
    if signal.rate < _SLOWEST:
        raise RateError(f"{path}: its timestamps give {signal.rate:g} Hz, so they are not in seconds; pass --rate HZ")
    return {"id": path.stem, "subject": path.stem, "report": report, "rate": rate, "channels": channels}


def _rows(path: Path, unit: str | None) -> str:
    """The pulse, and nothing of what may lie in further rows of the array."""
    arrays = _arrays(path)
    stated = any(key in arrays for key in UNIT_KEYS)
    pulse = "PLETH" if stated and unit is None else f"PLETH [{unit or 'a.u.'}]"
    shape = arrays["data"].shape if "data" in arrays else (1,)
    count = shape[0] if len(shape) == 2 and shape[1] > 1 else 1
    return ", ".join([pulse, *["-"] * (count - 1)])


def _report(path: Path) -> str | None:
    """The text of a JSON file; None where it has none."""
    try:
        said = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise CohortError(f"{path}: needs JSON with the key Report ({error})") from error
    text = said.get("Report") if isinstance(said, dict) else None
    return text.strip() or None if isinstance(text, str) else None
