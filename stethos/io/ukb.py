"""UK Biobank's heart data: zips of cine MR (fields 20208 and 20209) and ECGs in CardioSoft XML (field 20205).

A zip is flat DICOM with a manifest whose name is sometimes misspelt and whose dates hold commas that nobody quoted.
What series a file is of stands in the manifest's column "series discription" (sic).

Reference:
    UK Biobank data fields 20205, 20208 and 20209.
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from dataclasses import replace
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree
from xml.parsers import expat

import numpy as np

from stethos.errors import FormatError
from stethos.io.dicom_cine import Frame, cine_of, is_cine, opened, picture, slices
from stethos.io.files import read_bytes
from stethos.types import Fact, Record, Signal

MANIFESTS = ("manifest.csv", "manifest.cvs")
LONG_AXES = ("3Ch", "4Ch", "2Ch")  # the order in a merged series
_CINE = re.compile(r"CINE_segmented_(LAX(_[234]Ch)?|SAX(_b\d+)?)")
_DATE = re.compile(r"\b([A-Z][a-z]{2} \d{1,2}), (\d{4})\b")
_MEASURES = {
    "VentricularRate": "heart_rate",
    "PDuration": "p_ms",
    "PQInterval": "pr_ms",
    "QRSDuration": "qrs_ms",
    "QTInterval": "qt_ms",
    "QTCInterval": "qtc_ms",
    "PAxis": "p_axis",
    "RAxis": "r_axis",
    "TAxis": "t_axis",
}


def read_ukb_cmr(path: str | Path) -> dict[str, Record]:
    """The cines of one zip by view: "la_2ch", "la_3ch", "la_4ch", "sax_1", "sax_2" and so on.

    Of several series of one view the last by its identifier is taken, as repeats come later. Other series are not
    opened. A view with less than half of its frames is left out: the fact "pictures_left_out" counts its pictures,
    and "pictures_absent" those of cines that the manifest names and the zip does not hold.

    Raises:
        FormatError: There is no manifest, no cine in it, or two files have one name.
    """
    path = Path(path)
    held = _held(path)
    rows = [(name, said) for name, said in sorted(_manifest(path, held)) if _CINE.fullmatch(said)]
    series: dict[str, dict[str, list[Frame]]] = defaultdict(lambda: defaultdict(list))
    for name, said in rows:
        frame = picture(held[name], f"{path}: {name}") if name in held else None
        if frame is not None:
            series[said][frame.series].append(frame)
    views: dict[str, list[Frame]] = {}
    for said, by_identifier in sorted(series.items()):
        views |= _views(f"{path}: {said}", said, by_identifier[max(by_identifier)])
    whole = {view: frames for view, frames in views.items() if is_cine(frames)}
    if not whole:
        raise FormatError(
            f"{path}: its manifest names no cine series (CINE_segmented_…) that came whole; was it another field?"
        )
    lost = {
        "pictures_left_out": float(sum(map(len, views.values())) - sum(map(len, whole.values()))),
        "pictures_absent": float(sum(name not in held for name, _ in rows)),
    }
    records = {view: cine_of(f"{path.stem}-{view}", frames) for view, frames in whole.items()}
    return {view: replace(record, facts={**record.facts, **lost}) for view, record in records.items()}


def _held(path: Path) -> dict[str, bytes]:
    """Files by their name without folder, which is how the manifest names them."""
    held: dict[str, bytes] = {}
    for place, data in opened(path):
        name = PurePosixPath(place).name
        if name in held:
            raise FormatError(f"{path}: two files are called {name}, and its manifest names files by that; unpack one")
        held[name] = data
    return held


def _manifest(path: Path, held: dict[str, bytes]) -> list[tuple[str, str]]:
    """File name and series description of every row."""
    name = next((name for name in MANIFESTS if name in held), None)
    if name is None:
        raise FormatError(f"{path}: needs {' or '.join(MANIFESTS)} inside; it has none")
    lines = _DATE.sub(r"\1 \2", held[name].decode("utf-8-sig", "replace")).splitlines()
    heads, *rows = [[cell.strip() for cell in row] for row in csv.reader(lines) if row] or [[]]
    heads = [head.lower() for head in heads]
    said = next((head for head in ("series discription", "series description") if head in heads), None)
    if "filename" not in heads or said is None:
        raise FormatError(f"{path}: its manifest needs the columns filename and series discription; it has {heads}")
    ragged = sum(len(row) != len(heads) for row in rows)
    if ragged:
        raise FormatError(f"{path}: {ragged} rows of its manifest have not {len(heads)} cells; mend it by hand")
    return [(row[heads.index("filename")], row[heads.index(said)]) for row in rows]


def _views(where: str, said: str, frames: list[Frame]) -> dict[str, list[Frame]]:
    """A series taken apart by view: one long axis, three that were merged, one slice, or a merged stack."""
    if found := re.search(r"LAX_(\dCh)", said):
        return {f"la_{found[1].lower()}": frames}
    if found := re.search(r"SAX_b(\d+)", said):
        return {f"sax_{int(found[1])}": frames}
    parts = _parts(where, frames)
    if "SAX" in said:
        return {f"sax_{place + 1}": part for place, part in enumerate(parts)}
    if len(parts) != len(LONG_AXES):
        raise FormatError(f"{where}: a merged series holds three long axes; this one {len(parts)}")
    return {f"la_{name.lower()}": part for name, part in zip(LONG_AXES, parts, strict=True)}


def _parts(where: str, frames: list[Frame]) -> list[list[Frame]]:
    """A merged series by where its pictures lie, or where they do not say by their count, in order of file name."""
    places = slices(frames)
    if len(places) > 1:
        return sorted(places, key=lambda part: part[0].name)
    count = frames[0].announced
    if not count or len(frames) % count:
        raise FormatError(f"{where}: {len(frames)} files are no multiple of {count} frames; the series is not whole")
    return [frames[first : first + count] for first in range(0, len(frames), count)]


def read_cardiosoft(path: str | Path) -> Record:
    """An ECG at rest in CardioSoft's XML: twelve leads in mV; measurements become facts, names are not read.

    Raises:
        FormatError: It is no such file, declares entities, or a lead is not as long as the others.
    """
    path = Path(path)
    root = _root(read_bytes(path), path)
    strip = root.find(".//StripData")
    if root.tag != "CardiologyXML" or strip is None:
        raise FormatError(f"{path}: needs CardioSoft's CardiologyXML with StripData; its root is {root.tag}")
    rate, step = (_number(strip, name, path) for name in ("SampleRate", "Resolution"))
    waves = strip.findall("WaveformData")
    leads = {str(wave.get("lead")): _samples(wave.text, path) for wave in waves}
    lengths = {len(values) for values in leads.values()}
    if len(leads) != len(waves) or len(lengths) != 1 or 0 in lengths or not rate > 0:
        held = {name: len(values) for name, values in leads.items()}
        raise FormatError(f"{path}: needs leads of one length, each once, at a rate; has {held} at {rate:g} Hz")
    signal = Signal(np.stack(list(leads.values())) * step / 1e3, rate, tuple(leads), "mV")
    return Record(path.stem, path.stem, (signal,), facts=_measured(root))


def _root(data: bytes, path: Path) -> ElementTree.Element:
    """The root of an XML file that declares no entities, in whatever encoding it would hide them."""

    def refuse(*_: object) -> None:
        raise FormatError(f"{path}: an ECG declares no entities of its own; this file was not opened")

    first = expat.ParserCreate()
    first.EntityDeclHandler = refuse
    try:
        first.Parse(data, True)
        return ElementTree.fromstring(data)
    except (expat.ExpatError, ElementTree.ParseError, LookupError, ValueError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"{path}: no XML that can be read ({error}); copy the file again") from error


def _samples(text: str | None, path: Path) -> np.ndarray:
    try:
        values = np.array([float(item) for item in (text or "").split(",") if item.strip()])
    except ValueError as error:
        raise FormatError(f"{path}: samples of a lead are numbers with commas between them ({error})") from error
    if not np.isfinite(values).all():
        raise FormatError(f"{path}: {int((~np.isfinite(values)).sum())} samples are no numbers; mend the file")
    return values


def _number(strip: ElementTree.Element, name: str, path: Path) -> float:
    said = strip.findtext(name)
    if said is None or not re.fullmatch(r"\s*\d+(\.\d+)?\s*", said):
        raise FormatError(f"{path}: needs {name} in its StripData; it says {said}")
    return float(said)


def _measured(root: ElementTree.Element) -> dict[str, Fact]:
    """What the machine measured, where it is a number."""
    found: dict[str, Fact] = {}
    for tag, name in _MEASURES.items():
        said = root.findtext(f".//RestingECGMeasurements/{tag}")
        if said and re.fullmatch(r"\s*-?\d+(\.\d+)?\s*", said):
            found[name] = float(said)
    return found
