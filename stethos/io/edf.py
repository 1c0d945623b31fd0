"""EDF and EDF+ (and their 24-bit form, BDF) through `edfio`."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from stethos.errors import FormatError
from stethos.io.channels import Trace, signals_from
from stethos.io.files import read_bytes
from stethos.types import Fact, Record

if TYPE_CHECKING:
    from datetime import datetime

    from edfio import Bdf, Edf


def read_edf(path: str | Path, *, keep_identity: bool = False) -> Record:
    """Read an EDF, EDF+ or BDF recording; channels of several rates become several signals.

    Args:
        path: The file.
        keep_identity: Whether name, birth date and patient code become facts.

    Raises:
        FormatError: The file is shorter than its header promises, has gaps between its data records (EDF+D),
            or is none.
    """
    path = Path(path)
    file = _opened(read_bytes(path), path)
    try:
        if not file.is_continuous:
            raise FormatError(f"{path}: EDF+D with gaps between its data records is not read; convert it to EDF+C")
        traces = [  # the standard leaves the unit of what has none empty
            Trace(signal.label, signal.data, signal.sampling_frequency, signal.physical_dimension.strip() or "1")
            for signal in file.signals
        ]
    except FormatError:
        raise
    except Exception as error:
        raise FormatError(f"{path}: not a readable EDF file ({error}); export it again") from error
    facts = _identity(file) if keep_identity else {}
    return Record(path.stem, path.stem, signals_from(traces), when=_start(file), facts=facts)


def _opened(data: bytes, path: Path) -> Edf | Bdf:
    """The file with its header read; a promise that it does not keep is an error, not a warning."""
    import edfio

    read = edfio.read_bdf if data.startswith(b"\xff") else edfio.read_edf
    unfinished = data[236:244].strip() == b"-1"  # the standard's mark of a recording that was never closed
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore" if unfinished else "error")
            return read(data, header_encoding="latin-1")
    except Exception as error:
        raise FormatError(f"{path}: not a readable EDF file ({error}); copy or export it again") from error


def _start(file: Edf | Bdf) -> datetime | None:
    """Start of the recording; None where withheld, or 1 January 1985, the format's word for unknown."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            start = file.startdatetime
    except Exception:  # withheld ("Startdate X"), or a date that does not exist
        return None
    return None if (start.year, start.month, start.day) == (1985, 1, 1) else start


def _identity(file: Edf | Bdf) -> dict[str, Fact]:
    """What the header says of the person."""
    try:
        patient = file.patient
        facts: dict[str, Fact] = {"name": patient.name, "patient_code": patient.code}
    except Exception:  # plain EDF has one free text
        return {"name": file.local_patient_identification.strip() or None}
    try:
        facts["birth_date"] = patient.birthdate.isoformat()
    except Exception:
        facts["birth_date"] = None
    return facts
