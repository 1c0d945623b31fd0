"""UK Biobank's heart data: zips of cine MR (fields 20208 and 20209) and ECGs in CardioSoft XML (field 20205).

A zip is flat DICOM with a manifest whose name is sometimes misspelt and whose dates hold commas that nobody quoted.
What series a file is of stands in the manifest's column "series discription" (sic).

Reference:
    UK Biobank data fields 20205, 20208 and 20209.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree import ElementTree

import numpy as np

from stethos.errors import FormatError
from stethos.io.dicom_cine import cine_of, opened, picture
from stethos.io.files import read_bytes
from stethos.types import Fact, Record, Signal

MANIFESTS = ("manifest.csv", "manifest.cvs")
LONG_AXES = ("3Ch", "4Ch", "2Ch")  # the order in a merged series
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

    Of several series of one view the last by its identifier is taken, as repeats come later.

    Raises:
        FormatError: There is no manifest, or no cine in it.
    """
    path = Path(path)
    held = dict(opened(path))
    rows = _manifest(path, held)
    series: dict[str, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
    for name, said in rows:
        file = picture(held[name], f"{path}: {name}") if name in held and said.startswith("CINE_") else None
        if file is not None:
            series[said][str(file.get("SeriesInstanceUID", ""))].append(file)
    found: dict[str, Record] = {}
    for said, by_identifier in sorted(series.items()):
        for view, files in _views(said, by_identifier[max(by_identifier)]).items():
            found[view] = cine_of(f"{path.stem}-{view}", files)
    if not found:
        raise FormatError(f"{path}: its manifest names no cine series (CINE_segmented_…); was it another field?")
    return found


def _manifest(path: Path, held: dict[str, bytes]) -> list[tuple[str, str]]:
    """File name and series description of every row."""
    name = next((name for name in held if PurePosixPath(name).name in MANIFESTS), None)
    if name is None:
        raise FormatError(f"{path}: needs {' or '.join(MANIFESTS)} inside; it has none")
    lines = _DATE.sub(r"\1 \2", held[name].decode("utf8", "replace")).splitlines()
    heads = [head.strip().lower() for head in lines[0].split(",")]
    said = next((head for head in ("series discription", "series description") if head in heads), None)
    if "filename" not in heads or said is None:
        raise FormatError(f"{path}: its manifest needs the columns filename and series discription; it has {heads}")
    rows = [[cell.strip() for cell in line.split(",")] for line in lines[1:] if line.strip()]
    ragged = sum(len(row) != len(heads) for row in rows)
    if ragged:
        raise FormatError(f"{path}: {ragged} rows of its manifest have not {len(heads)} cells; mend it by hand")
    return [(row[heads.index("filename")], row[heads.index(said)]) for row in rows]


def _views(said: str, files: list[Any]) -> dict[str, list[Any]]:
    """A series taken apart by view: one long axis, three that were merged, one slice, or a merged stack."""
    ordered = sorted(files, key=lambda file: int(file.get("InstanceNumber") or 0))
    if found := re.search(r"LAX_(\dCh)", said):
        return {f"la_{found[1].lower()}": ordered}
    if found := re.search(r"SAX_b(\d+)", said):
        return {f"sax_{int(found[1])}": ordered}
    frames = int(ordered[0].get("CardiacNumberOfImages") or 0)
    if not frames or len(ordered) % frames:
        raise FormatError(f"{said}: {len(ordered)} files are no multiple of {frames} frames; the series is not whole")
    parts = [ordered[first : first + frames] for first in range(0, len(ordered), frames)]
    if "LAX" in said:
        if len(parts) != len(LONG_AXES):
            raise FormatError(f"{said}: a merged series holds three long axes; this one {len(parts)}")
        return {f"la_{name.lower()}": part for name, part in zip(LONG_AXES, parts, strict=True)}
    return {f"sax_{place + 1}": part for place, part in enumerate(parts)}


def read_cardiosoft(path: str | Path) -> Record:
    """An ECG at rest in CardioSoft's XML: twelve leads in mV; measurements become facts, names are not read.

    Raises:
        FormatError: It is no such file, declares entities, or a lead is not as long as the others.
    """
    path = Path(path)
    data = read_bytes(path)
    if b"<!ENTITY" in data or b"<!DOCTYPE" in data:
        raise FormatError(f"{path}: an ECG declares no entities of its own; this file was not opened")
    try:
        root = ElementTree.fromstring(data)
    except ElementTree.ParseError as error:
        raise FormatError(f"{path}: no XML that can be read ({error}); copy the file again") from error
    strip = root.find(".//StripData")
    if root.tag != "CardiologyXML" or strip is None:
        raise FormatError(f"{path}: needs CardioSoft's CardiologyXML with StripData; its root is {root.tag}")
    rate, step = (_number(strip, name, path) for name in ("SampleRate", "Resolution"))
    leads = {str(wave.get("lead")): _samples(wave.text) for wave in strip.findall("WaveformData")}
    if not leads or len({len(values) for values in leads.values()}) != 1:
        raise FormatError(f"{path}: needs leads of one length; has { ({name: len(v) for name, v in leads.items()}) }")
    values = np.stack(list(leads.values())) * step / 1e3
    signal = Signal(values, rate, tuple(leads), "mV")
    return Record(path.stem, path.stem, (signal,), facts=_measured(root))


def _samples(text: str | None) -> np.ndarray:
    return np.array([float(item) for item in (text or "").replace("\n", "").split(",") if item.strip()])


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
