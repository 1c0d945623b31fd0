r"""AliveCor's .atc, as Kardia recorders write it.

    "ALIVE\0\0\0" · version (u32) · blocks: name (4 bytes) · length (u32) · data · sum (u32)

All numbers are little-endian. The sum of a block is that of all its bytes before it, modulo 2³². The blocks read
here: "info" is texts of fixed length, "fmt " the rate and the step, "ecg ", "ecg2" … "ecgc" the twelve leads in
16-bit steps. Averaged beats, annotations and accelerations are passed over.

Reference:
    ATC File Format Specification 1.7; its CRC is a plain sum in the files themselves.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np

from stethos.errors import FormatError, RateError
from stethos.io.channels import Trace, signals_from
from stethos.io.files import read_bytes
from stethos.types import Fact, Record

SIGNATURE = b"ALIVE\0\0\0"
VERSIONS = range(2, 6)
_LEADS = dict(
    zip(
        ("ecg ", *(f"ecg{n}" for n in "23456789abc")),
        ("I", "II", "III", "aVR", "aVL", "aVF", *(f"V{n}" for n in range(1, 7))),
        strict=True,
    )
)
_INFO = {"when": 32, "recording": 40, "phone": 44, "model": 32, "software": 32, "device": 32, "device_data": 52}
_IDENTITY = ("recording", "phone", "model", "device_data")  # each may lead to a person


class _Block(NamedTuple):
    """One block, its sum checked."""

    name: str
    data: bytes


class _Coding(NamedTuple):
    """How the samples are stored."""

    rate: float
    step: float  # mV


def read_atc(path: str | Path, *, keep_identity: bool = False) -> Record:
    """Read an AliveCor .atc: its leads in mV, the recorder as the fact `device`.

    The time zone of the start is dropped. The identifiers of recording, phone and recorder are dropped as well,
    unless asked for.

    Args:
        path: The file.
        keep_identity: Whether the identifiers become facts.

    Raises:
        FormatError: It is cut off, damaged, of an unknown version, or holds no lead.
        RateError: It states a rate of zero.
    """
    path = Path(path)
    blocks = list(_blocks(read_bytes(path), path))
    leads = [block for block in blocks if block.name in _LEADS]
    if not leads:
        held = ", ".join(block.name.strip() for block in blocks) or "none"
        raise FormatError(f"{path}: an .atc needs a block of samples (ecg); its blocks are {held}; export it again")
    coding = _coding(blocks, path)
    traces = [Trace(_LEADS[block.name], _samples(block, coding, path), coding.rate, "mV") for block in leads]
    info = _info(blocks)
    facts: dict[str, Fact] = {"device": info["device"]} if info.get("device") else {}
    if keep_identity:
        facts |= {name: info[name] for name in _IDENTITY if info.get(name)}
    return Record(path.stem, path.stem, signals_from(traces), when=_start(info.get("when", "")), facts=facts)


def _blocks(content: bytes, path: Path) -> Iterator[_Block]:
    """The blocks of a file, in their order.

    Raises:
        FormatError: The version is unknown, a block is cut off, or its sum is another.
    """
    if len(content) < 12 or not content.startswith(SIGNATURE):
        raise FormatError(f"{path}: an .atc needs a signature and a version; the file has {len(content)} bytes")
    (version,) = struct.unpack_from("<I", content, 8)
    if version not in VERSIONS:
        raise FormatError(
            f"{path}: versions {VERSIONS[0]} to {VERSIONS[-1]} of .atc are understood; this is {version}; "
            f"export the recording as JSON"
        )
    place = 12
    while place < len(content):
        block, place = _block(content, place, path)
        yield block


def _block(content: bytes, place: int, path: Path) -> tuple[_Block, int]:
    """The block at a place, and the place behind it."""
    if place + 8 > len(content):
        raise FormatError(f"{path}: cut off after {len(content)} bytes, within the head of a block; copy it again")
    (length,) = struct.unpack_from("<I", content, place + 4)
    name = content[place : place + 4].decode("latin-1")
    end = place + 8 + length
    if end + 4 > len(content):
        held = max(0, len(content) - place - 8)
        raise FormatError(f"{path}: block {name!r} promises {length} bytes, {held} are left; copy the file again")
    (stated,) = struct.unpack_from("<I", content, end)
    if stated != sum(content[place:end]) % 2**32:
        raise FormatError(f"{path}: block {name!r} is damaged (its bytes add up to another sum); copy the file again")
    return _Block(name, content[place + 8 : end]), end + 4


def _coding(blocks: list[_Block], path: Path) -> _Coding:
    """Rate and step of the samples.

    Raises:
        FormatError: They are not stated, or stored otherwise than in 16-bit steps.
        RateError: The rate is zero.
    """
    data = next((block.data for block in blocks if block.name == "fmt "), b"")
    if len(data) < 5:
        raise FormatError(f"{path}: an .atc needs a block fmt with rate and step; it has none; export it again")
    kind, rate, resolution = struct.unpack_from("<BHH", data)
    if kind != 1 or resolution == 0:
        raise FormatError(
            f"{path}: samples must be 16-bit steps of some nV (format 1); this is format {kind} in steps of "
            f"{resolution} nV; export the recording as JSON"
        )
    if rate == 0:
        raise RateError(f"{path}: the file states a sampling rate of 0 Hz; export it again")
    return _Coding(float(rate), resolution * 1e-6)


def _samples(block: _Block, coding: _Coding, path: Path) -> np.ndarray:
    """The samples of a lead in mV, `(T,)`."""
    if len(block.data) % 2:
        raise FormatError(f"{path}: block {block.name!r} has {len(block.data)} bytes, no whole 16-bit samples")
    return np.frombuffer(block.data, "<i2").astype(np.float64) * coding.step


def _info(blocks: list[_Block]) -> dict[str, str]:
    """The texts of the block info; none where it is not there."""
    data = next((block.data for block in blocks if block.name == "info"), b"")
    texts, place = {}, 0
    for name, size in _INFO.items():
        texts[name] = data[place : place + size].split(b"\0")[0].decode("utf-8", "replace").strip()
        place += size
    return texts


def _start(stated: str) -> datetime | None:
    """Start of the recording in the time of the place; None where it is not stated."""
    with contextlib.suppress(ValueError):
        return datetime.fromisoformat(stated).replace(tzinfo=None)
    return None
