"""Pulses of studies with volunteers or patients at rest, in motion or under anaesthesia to a cohort's table.

CapnoBase, MARSH, TROIKA, WESAD and PPG-DaLiA. Nothing is copied. What the files do not state (rate, unit, names of
channels) stands in the publications and is written into the columns `rate`, `unit` and `channels`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from stethos.data.listing import Cells, ImportResult, each_file, found, number, read_cells
from stethos.io import read
from stethos.io.arrays import read_arrays
from stethos.io.files import read_text
from stethos.signal.marked import marked_rate

_SLOW_MARSH = ("0046", "0047", "0048")  # 250 Hz where the others have 500
_FAST_NASAL = ("8000", "8722")  # their marks of the nasal sensor count at 1000 Hz where the others' count at 250
_MARKS_RATE = 250.0
_TROIKA_ROWS = "ECG [a.u.], PLETH [a.u.], PLETH_2 [a.u.], ACC_X [g], ACC_Y [g], ACC_Z [g]"
_NON_COMMERCIAL = "academic research, non-commercial"
_BENCHMARK = "CapnoBase: a benchmark, not to train or tune on"


def import_marsh(source: Path, out: Path) -> ImportResult:
    """MARSH, 15 minutes of breathing at the finger, to a cohort.

    `resp_rate` is by the marks of the nasal sensor, or else of the chest's impedance, which has a column of its
    own, `resp_rate_impedance`; `hr` is by the R peaks. Marks after the end of the pulse do not count.

    Args:
        source: Holds a folder a subject with `PPG.mat`, `Data.txt` and marks.
        out: Where `cohort.csv` goes.

    Raises:
        CohortError: No `PPG.mat` is there.

    Reference:
        Pirhonen and Vehkaoja 2020, Biomedical Signal Processing and Control.
    """
    return each_file(found(source.rglob("PPG.mat"), source, "a folder a subject with PPG.mat"), source, out, _marsh)


def _marsh(path: Path) -> Cells:
    subject = path.parent.name
    rate = 250.0 if subject in _SLOW_MARSH else 500.0
    until = read(path, rate=rate, unit="a.u.").signals[0].duration
    nasal_rate = 1000.0 if subject in _FAST_NASAL else _MARKS_RATE
    nasal = _marks(path.with_name("NASAL_annot.mat"), nasal_rate, until)
    impedance = _marks(path.with_name("IP_annot.mat"), _MARKS_RATE, until)
    person = path.with_name("Data.txt")
    said = read_text(person).split() if person.is_file() else []
    facts = dict(zip(("age", "sex", "height", "weight", "sbp", "dbp"), said, strict=False))
    return {
        "id": subject,
        "subject": subject,
        **{name: cell if name == "sex" else number(cell) for name, cell in facts.items()},
        "hr": _marks(path.with_name("ECG_annot.mat"), _MARKS_RATE, until),
        "resp_rate": nasal if nasal is not None else impedance,
        "resp_rate_impedance": impedance,
        "rate": rate,
        "unit": "a.u.",
        "terms": "research use, cite Pirhonen and Vehkaoja 2020, no redistribution",
    }


def _marks(path: Path, rate: float, until: float) -> float | None:
    """The rate of marks in a file of sample numbers; None where it is not there."""
    if not path.is_file():
        return None
    samples = read_arrays(path, rate=rate, unit="1").signals[0].values[0]
    return marked_rate(samples.astype(np.float64) / rate, until)


def import_troika(source: Path, out: Path) -> ImportResult:
    """TROIKA, wrist and ECG on a treadmill, to a cohort.

    `hr` is the mean of the reference over all windows of 8 s. The number in a file's name is the subject.

    Args:
        source: Holds `DATA_NN_TYPENN.mat` and `REF_NN_TYPENN.mat`.
        out: Where `cohort.csv` goes.

    Raises:
        CohortError: No `DATA_NN_TYPENN.mat` is there.

    Reference:
        Zhang et al. 2015, doi:10.1109/TBME.2014.2359372.
    """
    files = found(source.rglob("DATA_[0-9]*_TYPE[0-9]*.mat"), source, "DATA_NN_TYPENN.mat")
    return each_file(files, source, out, _troika)


def _troika(path: Path) -> Cells:
    read(path, rate=125.0, channels=_TROIKA_ROWS)
    name = path.stem.removeprefix("DATA_")
    reference = path.with_name(f"REF_{name}.mat")
    windows = read_arrays(reference, rate=0.5, unit="bpm").signals[0].values if reference.is_file() else None
    return {
        "id": name,
        "subject": name.partition("_")[0],
        "hr": None if windows is None else round(float(np.nanmean(windows)), 2),
        "rate": 125,
        "channels": _TROIKA_ROWS,
        "terms": "CC BY 4.0",
    }


def import_wesad(source: Path, out: Path) -> ImportResult:
    """WESAD or PPG-DaLiA, wrist and chest, to a cohort; their pickles are opened for arrays alone.

    `hr` is the mean of PPG-DaLiA's reference over all windows of 8 s; WESAD has none. Age, sex, height and weight
    come from the pickle (PPG-DaLiA) or from `SN_readme.txt` (WESAD).

    Args:
        source: Holds `SN/SN.pkl`.
        out: Where `cohort.csv` goes.

    Raises:
        CohortError: No `SN.pkl` is there, or none can be read.

    Reference:
        Schmidt et al. 2018, doi:10.1145/3242969.3242985; Reiss et al. 2019, doi:10.3390/s19143079.
    """
    return each_file(found(source.rglob("S[0-9]*.pkl"), source, "SN/SN.pkl"), source, out, _wesad)


def _wesad(path: Path) -> Cells:
    facts = read(path).facts
    about = path.with_name(f"{path.stem}_readme.txt")
    said = read_text(about) if about.is_file() else ""
    return {
        "id": path.stem,
        "subject": path.stem,
        **{name: _after(label, said) for name, label in (("age", "Age"), ("height", "Height"), ("weight", "Weight"))},
        "sex": sex[1].upper() if (sex := re.search(r"(?i)\bgender\b\W*([mf])", said)) else None,
        **facts,
        "terms": "CC BY 4.0" if "hr" in facts else _NON_COMMERCIAL,
    }


def _after(label: str, text: str) -> float | None:
    """The first number after a word: "Height (cm): 175" is 175."""
    match = re.search(rf"(?i)\b{label}\b[^\d\n]*(\d+(?:\.\d+)?)", text)
    return float(match[1]) if match else None


def import_capnobase(source: Path, out: Path) -> ImportResult:
    """CapnoBase's benchmark of respiratory rates, 42 cases of 8 minutes, to a cohort.

    `resp_rate` is by the expert's marks of breaths in the carbon dioxide, `hr` by those of R peaks or pulses. A
    case with both forms is taken once, as CSV.

    Args:
        source: Holds `NNNN_8min.mat` (read with the extra `hdf5`), or `NNNN_8min_signal.csv` (or `.tab`) with
            `_param`, `_labels` and `_meta` beside it.
        out: Where `cohort.csv` goes.

    Raises:
        CohortError: Neither is there, or none can be read.

    Reference:
        Karlen et al. 2013, doi:10.1109/TBME.2013.2246160.
    """
    tables = [path for kind in ("csv", "tab") for path in source.rglob(f"*_8min_signal.{kind}")]
    taken = {path.stem.removesuffix("_signal") for path in tables}
    files = [path for path in source.rglob("*_8min.mat") if path.stem not in taken]
    return each_file(found([*tables, *files], source, "NNNN_8min.mat or NNNN_8min_signal.csv"), source, out, _capnobase)


def _capnobase(path: Path) -> Cells:
    case = path.stem.removesuffix("_signal")
    cells = read(path).facts if path.suffix == ".mat" else _capnobase_tables(path)
    return {"id": case, "subject": case.partition("_")[0], **cells, "terms": _BENCHMARK}


def _capnobase_tables(path: Path) -> Cells:
    """What the tables beside a case's waves say, and what the waves do not say of themselves."""
    param, labels, meta = (_first_row(path, name) for name in ("param", "labels", "meta"))
    names = [name.strip(' "') for name in read_text(path).partition("\n")[0].strip().replace("\t", ",").split(",")]
    channels = ", ".join(f"{name} [a.u.]" for name in names)
    rate = number(param.get("samplingrate_pleth"))
    read(path, rate=rate, channels=channels)
    hr = _labelled(labels, param, "ecg", "peak")
    return {
        **{name: number(meta.get(f"subject_{name}")) for name in ("age", "weight")},
        "resp_rate": _labelled(labels, param, "co2", "startinsp"),
        "hr": _labelled(labels, param, "pleth", "peak") if hr is None else hr,
        "rate": rate,
        "channels": channels,
    }


def _labelled(labels: Mapping[str, str | None], param: Mapping[str, str | None], wave: str, what: str) -> float | None:
    """The rate of an expert's marks, which stand in one cell as sample numbers."""
    marks = re.findall(r"\d+(?:\.\d+)?", labels.get(f"{wave}_{what}_x") or "")
    rate = number(param.get(f"samplingrate_{wave}"))
    return marked_rate(np.array(marks, np.float64) / rate) if rate else None


def _first_row(path: Path, part: str) -> Mapping[str, str | None]:
    beside = path.with_name(path.name.replace("_signal.", f"_{part}."))
    rows = read_cells(beside) if beside.is_file() else []
    return rows[0] if rows else {}
