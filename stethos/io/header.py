"""WFDB headers: what they say, spelt as the standard spells it, and whether their files keep the promise.

A header is text that anyone may have written by hand, so nothing it names is opened before it is checked:
signal files lie beside their header and hold what it promises.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, replace
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple, get_args

from stethos.errors import FormatError
from stethos.io.channels import standard_unit
from stethos.io.files import read_text
from stethos.types import Origin

# bytes a sample takes in each format of the standard; None: compressed, the file itself states its length
_BYTES = {
    **dict.fromkeys(("8", "80"), Fraction(1)),
    **dict.fromkeys(("16", "61", "160"), Fraction(2)),
    **dict.fromkeys(("310", "311"), Fraction(4, 3)),
    "212": Fraction(3, 2),
    "24": Fraction(3),
    "32": Fraction(4),
    **dict.fromkeys(("508", "516", "524"), None),
}
_LARGEST = 1_000_000_000  # samples over all channels; a header that promises more is not read into memory
_RECORD = re.compile(r"[-\w]+(?:/(?P<segments>\d+))?\s+(?P<channels>\d+)(?:\s+(?P<rate>\S+))?(?:\s+(?P<rest>.*))?")
_CODING = re.compile(r"(?P<format>\d+)(?:x(?P<spf>\d+))?(?::\d+)?(?:\+(?P<offset>\d+))?")


def looks_like_header(text: str) -> bool:
    """Whether a text begins as a WFDB header does: a record line, then a signal or segment line."""
    lines = _spoken(text)[:2]
    if len(lines) < 2 or not (record := _RECORD.fullmatch(lines[0])):
        return False
    words = lines[1].split()
    if len(words) < 2:
        return False
    return words[1].isdigit() if record["segments"] else bool(_CODING.fullmatch(words[1]))


def header_of(path: Path) -> Path | None:
    """The header that belongs to a record named by its stem, its header or one of its signal files."""
    candidates = [path] if path.suffix == ".hea" else [Path(f"{path}.hea")]
    if path.suffix in (".dat", ".mat"):
        candidates.append(path.with_suffix(".hea"))
    return next((candidate for candidate in candidates if candidate.is_file()), None)


class Coded(NamedTuple):
    """How one channel lies in its signal file; `per_frame` samples a frame, from the byte `offset`."""

    file: str
    format: str
    per_frame: int
    offset: int
    name: str
    unit: str


@dataclass(frozen=True)
class Header:
    """A header's text, repaired, and what its lines say.

    Args:
        path: The header file.
        text: What it says, in the spelling of the standard.
        repaired: Whether `text` differs from the file.
        width: Number of channels.
        frames: Samples of a channel with one sample a frame; None where not stated.
        channels: How each is stored; none in a record of segments.
        segments: Name and length of each, "~" for a gap; None in a plain record.
    """

    path: Path
    text: str
    repaired: bool
    width: int
    frames: int | None
    channels: tuple[Coded, ...] = ()
    segments: tuple[tuple[str, int], ...] | None = None

    @property
    def origin(self) -> Origin:
        """What the comment "origin: …" says; real without one."""
        stated = re.search(r"^#\s*origin:\s*(\w+)\s*$", self.text, re.MULTILINE)
        return stated[1] if stated and stated[1] in get_args(Origin) else "real"  # type: ignore[return-value]

    @property
    def when(self) -> datetime | None:
        """The start that the record line states; None without both time and date."""
        words = _spoken(self.text)[0].split()[4:6]
        for seconds in ("%S", "%S.%f"):
            with contextlib.suppress(ValueError):
                return datetime.strptime(" ".join(words), f"%H:%M:{seconds} %d/%m/%Y")
        return None

    @property
    def seconds(self) -> float | None:
        """How long the record lasts; None where the header does not say."""
        frames = self.frames or sum(length for _, length in self.segments or ())
        stated = re.match(r"\d+(?:\.\d+)?", (_spoken(self.text)[0].split()[2:3] or ["250"])[0])
        return frames / float(stated[0]) if frames and stated and float(stated[0]) > 0 else None

    @property
    def files(self) -> set[str]:
        """Names of the signal files."""
        return {channel.file for channel in self.channels if channel.file != "~"}


def parse_header(path: Path) -> Header:
    """A header file, its lines understood as far as the checks need.

    Raises:
        FormatError: It is not a header.
    """
    stated = read_text(path)
    text = _repair(stated)
    lines = _spoken(text)
    record = _RECORD.fullmatch(lines[0]) if lines else None
    if record is None:
        raise FormatError(f"{path}: a WFDB header begins with name, channels and rate; got {_shown(lines)}")
    length = (record["rest"] or "").split()[:1]
    frames = int(length[0]) if length and length[0].isdigit() else None
    header = Header(path, text, text != stated, int(record["channels"]), frames or None)
    count = int(record["segments"] or record["channels"])
    if count == 0 or len(lines) - 1 != count:
        what = "segments" if record["segments"] else "channels"
        raise FormatError(f"{path}: header promises {count} {what} and describes {len(lines) - 1}; restore it")
    if record["segments"]:
        return replace(header, segments=tuple(_segment(line, path) for line in lines[1:]))
    return replace(header, channels=tuple(_channel(line, path) for line in lines[1:]))


def _spoken(text: str) -> list[str]:
    """The lines that say something: neither empty nor comments."""
    return [line for line in map(str.strip, text.splitlines()) if line and not line.startswith("#")]


def _shown(lines: list[str]) -> str:
    """The first line of a file for a message, or that there is none."""
    return repr(lines[0][:40]) if lines else "an empty file"


def _repair(text: str) -> str:
    """A header's text in the spelling of the standard.

    A date before or without the time becomes time, then date; µ becomes u, because the package drops what is
    not ASCII and would read "µV" as "V"; "a.u." loses the dots that a unit may not have.
    """
    text = text.replace("µ", "u").replace("μ", "u").replace("/a.u.", "/au")
    for line in _spoken(text)[:1]:
        text = text.replace(line, _repair_times(line), 1)
    return text


def _repair_times(line: str) -> str:
    """A record line whose last two words are time and day/month/year."""
    words = line.split()
    dates = [word for word in words[4:] if re.fullmatch(r"\d{4}-\d\d?-\d\d?|\d\d?/\d\d?/\d{4}", word)]
    clock = [word for word in words[4:] if ":" in word]
    if not dates or (clock and words[4:6] == [clock[0], dates[0]] and "/" in dates[0]):
        return line
    if "-" in dates[0]:
        year, month, day = dates[0].split("-")
        dates[0] = f"{day}/{month}/{year}"
    # without a time of day the date alone cannot be written; midnight would be a statement that nobody made
    return " ".join([*words[:4], *([clock[0], dates[0]] if clock else [])])


def _beside(name: str, path: Path) -> str:
    """A file name that a header gives, refused unless it lies in the header's own folder."""
    if name != Path(name).name or name in ("", ".", "..") or "\\" in name:
        raise FormatError(
            f"{path}: header names the file {name!r}, which is not beside it; a record's files must lie "
            f"in the folder of its header"
        )
    return name


def _segment(line: str, path: Path) -> tuple[str, int]:
    """Name and length in samples of one segment; "~" is a gap."""
    words = line.split()
    if len(words) != 2 or not words[1].isdigit():
        raise FormatError(f"{path}: a segment line is a name and a length; got {line[:40]!r}")
    return _beside(words[0], path), int(words[1])


def _channel(line: str, path: Path) -> Coded:
    """How one channel is stored."""
    words = line.split()
    coding = _CODING.fullmatch(words[1]) if len(words) > 1 else None
    if coding is None:
        raise FormatError(f"{path}: a signal line begins with a file and a format; got {line[:40]!r}")
    if coding["format"] not in _BYTES and words[0] != "~":
        raise FormatError(f"{path}: signal format {coding['format']} is unknown; known are {', '.join(_BYTES)}")
    unit = (words[2].partition("/")[2] if len(words) > 2 else "") or "mV"
    layout = (coding["format"], int(coding["spf"] or 1), int(coding["offset"] or 0))
    return Coded(_beside(words[0], path), *layout, " ".join(words[8:]), unit)


def check_files(header: Header) -> list[Header]:
    """The headers of a record's segments, once every file is there and as long as promised.

    Raises:
        FormatError: A file is missing or short, or the lengths do not add up.
    """
    if header.segments is None:
        if not header.files:
            raise FormatError(f"{header.path}: a layout header without samples; read the record that names it")
        _check_lengths(header)
        return []
    total = sum(length for _, length in header.segments)
    if header.frames not in (None, total):
        raise FormatError(f"{header.path}: header promises {header.frames} samples, its segments add up to {total}")
    _check_size(header, total)
    parts = []
    for name, length in header.segments:
        if name == "~":
            continue
        part = parse_header(header.path.with_name(f"{name}.hea"))
        if part.segments is not None:
            raise FormatError(f"{part.path}: a segment must not consist of segments itself")
        if length and part.frames not in (None, length):
            raise FormatError(f"{header.path}: promises {length} samples of segment {name}, it has {part.frames}")
        _check_lengths(part)
        parts.append(part)
    _check_units(header, parts)
    return parts


def _check_units(header: Header, parts: list[Header]) -> None:
    """Raise where a channel changes its unit from one segment to another; the package would mix the numbers."""
    units: dict[str, str] = {}
    # a layout may leave units out; those of the segments count
    for channel in (channel for part in parts if part.files for channel in part.channels):
        stated = units.setdefault(channel.name, channel.unit)
        if standard_unit(stated) != standard_unit(channel.unit):
            raise FormatError(
                f"{header.path}: channel {channel.name} is in {stated} in one segment and in {channel.unit} in "
                f"another; read the segments one by one"
            )


def _check_size(header: Header, frames: int) -> None:
    """Raise where a header promises more than could sensibly be read at once."""
    samples = frames * max(header.width, sum(channel.per_frame for channel in header.channels))
    if samples > _LARGEST:
        raise FormatError(f"{header.path}: header promises {samples} samples; at most {_LARGEST} are read at once")


def _check_lengths(header: Header) -> None:
    """Raise where a signal file is missing or shorter than the header promises."""
    for name in header.files:
        file = header.path.with_name(name)
        channels = [channel for channel in header.channels if channel.file == name]
        held = _held(file, channels)
        if header.frames is not None and held < header.frames:
            raise FormatError(
                f"{header.path}: header promises {header.frames} samples, {name} holds {held}; copy it again"
            )
    _check_size(header, header.frames or 0)


def _held(file: Path, channels: list[Coded]) -> int:
    """Frames that a signal file holds."""
    if not file.is_file():
        raise FormatError(f"{file}: the header names this file and it is not there; put it beside the header")
    per_frame = sum(channel.per_frame for channel in channels)
    size = _BYTES[channels[0].format]
    if per_frame == 0:
        raise FormatError(f"{file}: its header states 0 samples a frame; restore the header")
    if size is None:
        return _flac_samples(file) // channels[0].per_frame
    return int((file.stat().st_size - channels[0].offset) / size) // per_frame


def _flac_samples(file: Path) -> int:
    """Samples per channel that a FLAC file states: the last 36 bits of 8 bytes from byte 18."""
    with file.open("rb") as opened:
        start = opened.read(26)
    if len(start) < 26 or not start.startswith(b"fLaC"):
        raise FormatError(f"{file}: its header calls it FLAC and it is not; restore the file")
    return int.from_bytes(start[18:26], "big") & (2**36 - 1)
