"""Hospital formats: GE MUSE, HL7 aECG, SCP-ECG and Philips through `ecgdatakit`, DICOM through `pydicom`.

What is read is the rhythm strip as it was recorded, never the median beat that many devices store beside it.
Both packages come with the extra `clinical`.
"""

from __future__ import annotations

import io
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from stethos.errors import FormatError, MissingExtraError, StethosError, UnitError
from stethos.io.channels import Trace, declared_unit, signals_from
from stethos.io.files import read_bytes
from stethos.types import Fact, Record

_LOG = logging.getLogger("stethos")
_MEDIAN = re.compile(r"median|average|represent", re.IGNORECASE)


def read_clinical(path: str | Path, *, unit: str | None = None, keep_identity: bool = False) -> Record:
    """Read GE MUSE XML, HL7 aECG, SCP-ECG or Philips XML.

    Args:
        path: The file.
        unit: For a file whose samples carry no scale.
        keep_identity: Whether name, birth date and patient number become facts.

    Raises:
        FormatError: The file is broken, or holds no rhythm strip.
        UnitError: Neither the file nor the caller states the unit.
        MissingExtraError: The extra `clinical` is not installed.
    """
    path = Path(path)
    read_bytes(path)  # a file that cannot be opened is told from one that cannot be understood
    with _understood(path, "ecgdatakit"):
        from ecgdatakit import FileParser

        parsed = FileParser.parse(path, units="mV")
        # the leads carry the rate rounded to whole Hz; aECG states the interval between samples itself
        exact = parsed.raw_metadata.get("rhythm_time", {}).get("sampling_rate_exact")
        traces = [
            Trace(lead.label, _aligned(lead, path), exact or lead.sampling_rate, _unit(lead.units, unit, path))
            for lead in parsed.leads
        ]
    device = parsed.recording.device
    facts: dict[str, Fact] = {"device": " ".join(filter(None, (device.manufacturer, device.model))) or None}
    if keep_identity:
        person = parsed.patient
        facts |= _identity(f"{person.first_name} {person.last_name}", person.birth_date, person.patient_id)
    return Record(path.stem, path.stem, signals_from(traces), when=_naive(parsed.recording.date), facts=_known(facts))


def read_dicom_waveform(path: str | Path, *, unit: str | None = None, keep_identity: bool = False) -> Record:
    """Read the waveforms of a DICOM file; several multiplex groups become several signals.

    Arguments and errors as `read_clinical`.
    """
    path = Path(path)
    data = read_bytes(path)
    with _understood(path, "pydicom"):
        import pydicom

        file = pydicom.dcmread(io.BytesIO(data))
        groups = [(n, group) for n, group in enumerate(file.get("WaveformSequence", [])) if not _is_median(group)]
        if not groups:
            raise FormatError(f"{path}: a DICOM file without a waveform (rhythm strip); it is {file.SOPClassUID.name}")
        traces = [trace for n, group in groups for trace in _traces(file, n, group, unit, path)]
        facts: dict[str, Fact] = {
            "device": " ".join(filter(None, (file.get("Manufacturer"), file.get("ManufacturerModelName")))) or None
        }
        if keep_identity:
            facts |= _identity(str(file.get("PatientName", "")), file.get("PatientBirthDate"), file.get("PatientID"))
        when = _dicom_start(file)
    return Record(path.stem, path.stem, signals_from(traces), when=when, facts=_known(facts))


@contextmanager
def _understood(path: Path, package: str) -> Iterator[None]:
    """Turn whatever a package answers to a broken file into one clear error; log what it only warns of."""
    try:
        with warnings.catch_warnings(record=True) as noted:
            warnings.simplefilter("always")
            yield
        for note in noted:
            if "rounded to" not in str(note.message):  # of the rate, which is taken unrounded
                _LOG.warning("%s: %s", path, note.message)
    except StethosError:
        raise
    except ImportError as error:
        raise MissingExtraError(f'{path}: needs {package}; install it with: pip install "stethos[clinical]"') from error
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise FormatError(f"{path}: not readable ({reason}); export it again from the device") from error


def _aligned(lead: Any, path: Path) -> np.ndarray:
    """A lead's samples from the first sample of the recording on, NaN where the lead begins later, `(T,)`."""
    late = int(lead.annotations.get("start_sample", 1)) - 1
    if late > 100 * len(lead.samples):
        raise FormatError(f"{path}: lead {lead.label} begins at sample {late + 1}, long after the recording's end")
    return np.concatenate([np.full(late, np.nan), lead.samples]) if late else np.asarray(lead.samples)


def _unit(stated: str, declared: str | None, path: Path) -> str:
    """The unit of a lead: the file's, or else the caller's."""
    if not stated and declared is None:
        raise UnitError(f"{path}: needs the unit of its leads, whose scale the file does not state; pass --unit mV")
    return stated or declared_unit(declared or "")


def _is_median(group: Any) -> bool:
    """Whether a multiplex group calls itself a median or average beat."""
    return bool(_MEDIAN.search(str(group.get("MultiplexGroupLabel", ""))))


def _traces(file: Any, number: int, group: Any, unit: str | None, path: Path) -> list[Trace]:
    """The channels of one multiplex group in physical units."""
    values = file.waveform_array(number)  # (T, C), scaled by sensitivity, correction and baseline
    rate = float(group.SamplingFrequency)
    traces = []
    for channel, column in zip(group.ChannelDefinitionSequence, values.T, strict=True):
        units = channel.get("ChannelSensitivityUnitsSequence")
        stated = str(units[0].CodeValue) if units else ""
        traces.append(Trace(_dicom_name(channel), column, rate, _unit(stated, unit, path)))
    return traces


def _dicom_name(channel: Any) -> str:
    """The lead's name: what the source code means, without "Lead" and what stands in brackets."""
    source = channel.get("ChannelSourceSequence")
    meaning = str(source[0].get("CodeMeaning", "")) if source else str(channel.get("ChannelLabel", ""))
    return re.sub(r"\s*\(.*?\)", "", meaning).strip()


def _dicom_start(file: Any) -> datetime | None:
    """Acquisition time, or the study's where there is none."""
    stated = str(file.get("AcquisitionDateTime") or f"{file.get('StudyDate', '')}{file.get('StudyTime', '')}")
    match = re.match(r"\d{14}(?:\.\d{1,6})?", stated)
    if match is None:
        return None
    try:
        return datetime.strptime(match[0], "%Y%m%d%H%M%S.%f" if "." in match[0] else "%Y%m%d%H%M%S")
    except ValueError:
        return None


def _naive(moment: datetime | None) -> datetime | None:
    """A moment in the time of the place, without its zone."""
    return moment.replace(tzinfo=None) if moment else None


def _identity(name: str, born: Any, number: Any) -> dict[str, Fact]:
    """What names the person."""
    date = born.date().isoformat() if isinstance(born, datetime) else str(born or "")
    return {
        "name": name.strip() or None,
        "birth_date": date or None,
        "patient_number": str(number or "") or None,
    }


def _known(facts: dict[str, Fact]) -> dict[str, Fact]:
    """The facts that have a value."""
    return {name: value for name, value in facts.items() if value is not None}
