"""Which format a file is in, from its content; the suffix decides only what the content leaves open."""

from __future__ import annotations

import codecs
import gzip
import re
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Literal

from stethos.errors import FormatError
from stethos.io.container import container_of
from stethos.io.files import decoded, read_text
from stethos.io.header import header_of, looks_like_header
from stethos.io.kardia import SIGNATURE
from stethos.io.polar import looks_like_polar
from stethos.io.table import is_row
from stethos.io.wearable import looks_like_watch
from stethos.io.wearable_json import document_of, maker_of, seen_in

Format = Literal[
    "wfdb", "watch", "table", "parquet", "arrays", "edf", "clinical", "dicom", "sound", "vital", "hdf5", "pickle",
    "nifti", "cardiosoft", "atc", "polar", "healthkit", "kardia", "fitbit", "withings",
]  # fmt: skip

KNOWN = (
    "WFDB, EDF/EDF+/BDF, CSV, TSV, NPZ, NPY, MATLAB 5, Parquet, Apple Watch and Samsung CSV, AliveCor ATC, "
    "Polar H10 log, JSON of Apple Health, Kardia, Fitbit, Google Health and Withings, GE MUSE XML, HL7 aECG, "
    "Philips XML, SCP-ECG, DICOM waveform, VitalDB, CapnoBase, WESAD, PPG-DaLiA, NIfTI, CardioSoft XML, "
    "WAV, FLAC, OGG, AIFF"
)
_ROOTS: dict[str, Format] = {
    "restingecg": "clinical",
    "museinfo": "clinical",
    "annotatedecg": "clinical",
    "restingecgdata": "clinical",
    "cardiologyxml": "cardiosoft",
}
_START = 65_536  # bytes that are looked at
NIFTI = ((344, b"n+1\0"), (4, b"n+2\0"))  # version 1 and 2: where a header says so
_PICKLES = tuple(bytes((0x80, protocol)) for protocol in range(2, 6))


def format_of(path: Path) -> Format:
    """The format of a file, or of the WFDB record that the path names.

    Raises:
        FormatError: There is no such file, or its format is unknown; the message says what was seen.
    """
    path = Path(path)
    if header_of(path) is not None:
        return "wfdb"
    if path.is_dir():
        raise FormatError(f"{path}: a folder; name one recording, or open the folder as a cohort")
    try:
        with path.open("rb") as file:
            start = file.read(_START)
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror or error}); check the path") from error
    # a pickle of an old protocol is text like any other
    pickled: Format | None = "pickle" if path.suffix in (".pkl", ".pickle") else None
    found = _binary(path, start) or _json(path, start) or _text(start) or pickled
    if found is None:
        raise FormatError(f"{path}: unknown format; {_seen(path, start)}; known are {KNOWN}")
    return found


def _binary(path: Path, start: bytes) -> Format | None:
    """The format that a file's first bytes announce."""
    if container_of(start):
        return "sound"
    if start.startswith(SIGNATURE):
        return "atc"
    if start.startswith(b"PAR1"):
        return "parquet"
    if start.startswith((b"\x93NUMPY", b"MATLAB 5.0")) or _is_matlab_4(start):
        return "arrays"
    if start.startswith((b"\x89HDF", b"MATLAB 7.3")):
        return "hdf5"
    if start.startswith(b"\x1f\x8b") and _unpacked(path, 4) == b"VITA":
        return "vital"
    if _is_nifti(start) or (start.startswith(b"\x1f\x8b") and _is_nifti(_unpacked(path, 348))):
        return "nifti"
    if start.startswith(_PICKLES):
        return "pickle"
    if start.startswith(b"PK\x03\x04") and _holds_arrays(path):
        return "arrays"
    if start[128:132] == b"DICM":
        return "dicom"
    if start.startswith((b"0       ", b"\xffBIOSEMI")) and start[184:192].strip().isdigit():
        return "edf"
    # SCP: section 0 follows the preamble, and the first pointer in it is to itself, at byte 7
    if len(start) > 32 and struct.unpack_from("<H", start, 8)[0] == 0 and start[22:24] == b"\0\0":
        return "clinical" if struct.unpack_from("<I", start, 28)[0] == 7 else None
    return None


def _is_matlab_4(start: bytes) -> bool:
    """Whether a file begins as MATLAB 4 does: type, rows, columns, imaginary flag, length of the name."""
    if len(start) < 20:
        return False
    kind, rows, columns, imaginary, name = struct.unpack_from("<5i", start)
    return 0 <= kind < 100 and rows > 0 and columns > 0 and imaginary in (0, 1) and 1 < name < 64


def _is_nifti(start: bytes) -> bool:
    return any(start[place : place + len(sign)] == sign for place, sign in NIFTI)


def _unpacked(path: Path, count: int) -> bytes:
    """The first bytes of what a gzip file holds; none where it is broken."""
    try:
        with gzip.open(path, "rb") as file:
            return file.read(count)
    except (OSError, EOFError, zlib.error):
        return b""


def _holds_arrays(path: Path) -> bool:
    """Whether a zip archive is an NPZ."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(".npy") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False


def _json(path: Path, start: bytes) -> Format | None:
    """Whose recordings a JSON holds; all of it is looked at, for the samples may stand before what explains them."""
    return maker_of(document_of(read_text(path))) if _looks_like_json(start) else None


def _looks_like_json(start: bytes) -> bool:
    wide = start.startswith((b"\xff\xfe", b"\xfe\xff"))
    head = decoded(start[:64]) if wide else start[:64].removeprefix(b"\xef\xbb\xbf").decode("latin-1")
    return head.lstrip()[:1] in ("{", "[")


def _decoded(start: bytes) -> str:
    """The start of a text, whose last letter may be seen in part."""
    try:
        return codecs.getincrementaldecoder("utf-8-sig")().decode(start)
    except UnicodeDecodeError:
        return decoded(start)


def _text(start: bytes) -> Format | None:
    """The format of a text."""
    text = _decoded(start)
    if start.startswith(b"\0") or (b"\0" in start and not start.startswith((b"\xff\xfe", b"\xfe\xff"))):
        return None
    if text.lstrip().startswith("<"):
        root = re.search(r"<(?:[A-Za-z_][\w.-]*:)?([A-Za-z_][\w.-]*)[\s>]", text)
        return _ROOTS.get(root[1].lower()) if root else None
    if looks_like_watch(text):
        return "watch"
    if looks_like_polar(text):
        return "polar"
    if looks_like_header(text):
        return "wfdb"
    return "table" if _is_table(text) else None


def _is_table(text: str) -> bool:
    """Whether the second and later lines are numbers, as far as they are seen, or the only line is."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if len(lines) == 1:
        # the last number may be seen in part
        return is_row(re.sub(r"[,;\t][^,;\t]*$", "", lines[0]))
    lines = lines[1:20]
    cells = [cell.strip() for line in lines[:-1] or lines for cell in re.split("[,;\t]", line)]
    numbers = [cell for cell in cells if re.fullmatch(r"[-+]?[\d.]+(?:[eE][-+]?\d+)?|nan|NaN|NA|", cell)]
    return bool(cells) and len(numbers) >= 0.5 * len(cells)


def _seen(path: Path, start: bytes) -> str:
    """What a file begins with, for a message."""
    if not start:
        return "it is empty"
    if start.startswith(b"PK"):
        return "it is a zip archive without arrays (unpack it first)"
    if _looks_like_json(start):
        return seen_in(read_text(path))
    return f"it begins with {start.split(b',')[0][:16]!r}"  # behind a comma may stand whose recording it is
