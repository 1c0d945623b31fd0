"""Readers: bytes to nouns.

`read` opens a recording in any of the formats known here and tells them apart by their content; `inspect`
says what it holds. The readers by format are in the modules.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from stethos.errors import ChannelError, FormatError, RateError, UnitError
from stethos.io.channels import declared_rate, declared_unit, standard_unit
from stethos.io.sniff import Format, format_of
from stethos.types import Record

if TYPE_CHECKING:
    from stethos.io.inspection import Inspection

__all__ = ["inspect", "read"]

_PLAIN = ("arrays", "table", "parquet")
_SEVERAL = ("healthkit", "kardia", "fitbit", "withings")  # recordings in one JSON
_WEARABLE = ("watch", "atc", "polar", *_SEVERAL)


def read(
    path: str | Path,
    *,
    rate: float | None = None,
    unit: str | None = None,
    channels: str | None = None,
    recording: int | None = None,
    keep_identity: bool = False,
) -> Record:
    """Read a recording, whatever its format and its suffix.

    Subject and id are the file's name without suffix until a table says otherwise. Names, birth dates and
    free identifiers are dropped.

    Args:
        path: A file; of a WFDB record also its name without suffix.
        rate: Sampling rate in Hz, for a file that does not state it.
        unit: Unit of the samples, for a file that does not state it.
        channels: Names of the channels of a file of plain numbers that does not name them, in order and with
            their units where these differ: "PLETH [a.u.], ACC_X [g], -"; "-" leaves one out.
        recording: Which one, from 1, where a JSON holds several.
        keep_identity: Whether name and birth date become facts.

    Raises:
        FormatError: The file is missing, broken, in no known format, or holds several recordings and none is chosen.
        RateError: The rate is not stated anywhere, or file and caller differ.
        UnitError: The unit is not stated anywhere, or file and caller differ.
        ChannelError: The channels are declared otherwise than the file has them.
        MissingExtraError: The format needs the extra `clinical`, `hdf5` or `imaging`.
    """
    path = Path(path)
    if rate is not None:
        declared_rate(rate)
    if unit is not None:
        declared_unit(unit)
    kind = format_of(path)
    if recording not in (None, 1) and kind not in _SEVERAL:
        raise FormatError(f"{path}: a file of format {kind} holds one recording; leave --recording {recording} away")
    if kind in _PLAIN:
        record = _plain(kind, path, rate, unit, channels)
    elif channels is not None:
        raise ChannelError(f"{path}: a file of format {kind} names its channels itself; leave {channels!r} away")
    elif kind in _WEARABLE:
        record = _worn(kind, path, unit=unit, rate=rate, recording=recording, keep_identity=keep_identity)
    else:
        record = _opened(kind, path, unit=unit, keep_identity=keep_identity)
    _refuse_contradiction(record, path, rate, unit)
    return record


def _worn(
    kind: Format, path: Path, *, rate: float | None, unit: str | None, recording: int | None, keep_identity: bool
) -> Record:
    """A recording of a watch, a hand-held recorder or a strap."""
    match kind:
        case "watch":
            from stethos.io.wearable import read_watch

            return read_watch(path, rate=rate, unit=unit, keep_identity=keep_identity)
        case "atc":
            from stethos.io.kardia import read_atc

            return read_atc(path, keep_identity=keep_identity)
        case "polar":
            from stethos.io.polar import read_polar

            return read_polar(path, rate=rate)
        case _:
            from stethos.io.wearable_json import read_wearable_json

            return read_wearable_json(path, rate=rate, unit=unit, recording=recording, keep_identity=keep_identity)


def _opened(kind: Format, path: Path, *, unit: str | None, keep_identity: bool) -> Record:
    """A file through the reader of its format; only that reader's libraries are imported."""
    match kind:
        case "wfdb":
            from stethos.io.wfdb import read_wfdb

            return read_wfdb(path)
        case "edf":
            from stethos.io.edf import read_edf

            return read_edf(path, keep_identity=keep_identity)
        case "clinical" | "dicom":
            from stethos.io.clinical import read_clinical, read_dicom_waveform

            opened = read_clinical if kind == "clinical" else read_dicom_waveform
            return opened(path, unit=unit, keep_identity=keep_identity)
        case "sound":
            from stethos.io.sound import read_sound

            return read_sound(path)
        case _:
            return _published(kind, path)


def _published(kind: Format, path: Path) -> Record:
    """A file of a published data set, which its reader knows whole."""
    match kind:
        case "vital":
            from stethos.io.vital import read_vital

            return read_vital(path)
        case "nifti":
            from stethos.io.nifti import read_nifti

            return read_nifti(path)
        case "cardiosoft":
            from stethos.io.ukb import read_cardiosoft

            return read_cardiosoft(path)
        case "hdf5":
            from stethos.io.hdf5 import read_hdf5

            return read_hdf5(path)
        case _:
            from stethos.io.wrist import read_wrist

            return read_wrist(path)


def _plain(kind: Format, path: Path, rate: float | None, unit: str | None, channels: str | None) -> Record:
    """Plain numbers through the reader of their format."""
    if kind == "arrays":
        from stethos.io.arrays import read_arrays

        return read_arrays(path, rate=rate, unit=unit, channels=channels)
    from stethos.io.table import read_parquet, read_text_table

    return (read_parquet if kind == "parquet" else read_text_table)(path, rate=rate, unit=unit, channels=channels)


def _refuse_contradiction(record: Record, path: Path, rate: float | None, unit: str | None) -> None:
    """Raise where the caller declares what the file states otherwise; up to 1 % of a rate the file wins."""
    if not record.signals and (rate is not None or unit is not None):
        raise FormatError(f"{path}: the file holds pictures and no signal; leave --rate and --unit away")
    rates = sorted({signal.rate for signal in record.signals})
    if rate is not None and not any(abs(stated - rate) <= 0.01 * stated for stated in rates):
        stated = ", ".join(f"{each:g}" for each in rates)
        raise RateError(f"{path}: the file states {stated} Hz and --rate says {rate:g}; leave --rate away")
    units = {signal.unit for signal in record.signals}
    if unit is not None and standard_unit(unit)[1] not in units:
        raise UnitError(f"{path}: the file states {', '.join(sorted(units))} and --unit says {unit}; leave it away")


def inspect(
    path: str | Path, *, rate: float | None = None, unit: str | None = None, recording: int | None = None
) -> Inspection:
    """What a recording holds: format, rates, channels, units, durations, gaps and quality; of a sound its level.

    Args:
        path: As for `read`.
        rate: As for `read`.
        unit: As for `read`.
        recording: As for `read`.

    Raises:
        FormatError: As for `read`.
        RateError: As for `read`.
        UnitError: As for `read`.
    """
    from stethos.io.inspection import inspection_of

    return inspection_of(Path(path), format_of(Path(path)), read(path, rate=rate, unit=unit, recording=recording))
