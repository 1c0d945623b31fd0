"""WFDB records: a text header, and signal files beside it.

The samples are decoded by the `wfdb` package, after the header is checked here. Where a header spells a thing
that the standard does not know but many files contain (a date in the place of the time, "µV"), the package is
given a repaired copy; the files themselves are never changed.
"""

from __future__ import annotations

import math
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from stethos.errors import FormatError
from stethos.io.channels import Trace, signals_from
from stethos.io.files import write_atomic
from stethos.io.header import Header, check_files, header_of, parse_header
from stethos.types import Record, Signal

_INVALID = {16: -(2**15), 32: -(2**31)}


def read_wfdb(path: str | Path) -> Record:
    """Read a WFDB record: any format, several segments, several rates.

    Invalid samples and gaps between segments become NaN. A channel with several samples a frame has the rate
    frames per second × samples per frame.

    Args:
        path: The record without suffix, its `.hea`, its `.dat` or its `.mat`.

    Raises:
        FormatError: The header is not one, names files elsewhere, or promises what the files do not hold.
    """
    path = Path(path)
    header = parse_header(header_of(path) or path)
    segments = check_files(header)
    with _readable(header, segments) as record:
        decoded = _decode(record, header.path)
    rates = [float(decoded.fs) * per_frame for per_frame in decoded.samps_per_frame]
    columns = zip(decoded.sig_name, decoded.e_p_signal, rates, decoded.units, strict=True)
    # a channel of a layout that no segment holds has no unit, and no samples
    traces = [Trace(name or "", values, rate, unit) for name, values, rate, unit in columns if unit is not None]
    stem = header.path.stem
    return Record(
        subject=stem,
        id=stem,
        signals=signals_from(traces),
        when=getattr(decoded, "base_datetime", None),
        origin=header.origin,
    )


@contextmanager
def _readable(header: Header, segments: list[Header]) -> Iterator[Path]:
    """The record's name where the package can read it: in place, or a copy with repaired headers."""
    if header.path.suffix == ".hea" and not any(part.repaired for part in [header, *segments]):
        yield header.path.with_suffix("")
        return
    with tempfile.TemporaryDirectory(prefix="stethos-") as folder:
        _copy([header, *segments], Path(folder))
        yield Path(folder, header.path.stem)


def _copy(headers: list[Header], folder: Path) -> None:
    """Repaired headers and their signal files, in a folder of their own."""
    for header in headers:
        try:
            Path(folder, f"{header.path.stem}.hea").write_text(header.text, "utf-8")
            for name in header.files:
                shutil.copyfile(header.path.with_name(name), folder / name)
        except OSError as error:
            raise FormatError(f"{header.path}: its files cannot be copied to {folder} ({error.strerror})") from error


def _decode(record: Path, shown: Path) -> Any:
    """What the package reads: physical values per channel, every sample of a frame."""
    import wfdb

    try:
        return wfdb.rdrecord(str(record), smooth_frames=False)
    except Exception as error:  # the package answers malformed files with whatever comes up
        raise FormatError(f"{shown}: not a readable WFDB record ({error}); restore header and signal file") from error


def write_wfdb(record: Record, folder: str | Path, name: str) -> Path:
    """Write a record as `name.hea` and `name.dat`.

    Format 16; voltages are resolved to 1 µV or finer, and where a channel spans more than 16 bits hold at
    1 µV the file is in format 32. NaN becomes the invalid sample of the format. Signals of several rates lie
    interleaved as frames, filled up with invalid samples to a whole frame. The header carries the start and
    the origin, and nothing that identifies.

    Args:
        record: What to write; its signals must last equally long, to less than a frame.
        folder: Where to; made if missing.
        name: Letters, digits, "-" and "_".

    Returns:
        The header's path.

    Raises:
        FormatError: The name is not possible, the rates have no common frame, or the disk is full.
    """
    if not re.fullmatch(r"[-A-Za-z0-9_]+", name):
        raise FormatError(f"a WFDB record's name is letters, digits, - and _; got {name!r}")
    rate, per_frame, frames = _frames(record.signals, name)
    scaled = [(signal, row, *_scale(signal, row)) for signal in record.signals for row in signal.values]
    bits = 32 if any(_bits(row, gain) > 16 for _, row, gain, _ in scaled) else 16
    lines = [" ".join([name, str(len(scaled)), _decimal(rate), str(frames), *_start(record.when)])]
    blocks = []
    names = [channel for signal in record.signals for channel in signal.channels]
    for channel, (signal, row, gain, baseline) in zip(names, scaled, strict=True):
        spf = per_frame[record.signals.index(signal)]
        stored = _digital(row, gain, baseline, bits, frames * spf)
        blocks.append(stored.reshape(frames, spf))
        lines.append(_signal_line(name, channel, signal.unit, (gain, baseline, bits, spf), stored))
    lines.append(f"# origin: {record.origin}")
    data = np.concatenate(blocks, axis=1).astype(f"<i{bits // 8}").tobytes()
    header = Path(folder) / f"{name}.hea"
    write_atomic(header.with_suffix(".dat"), data)
    write_atomic(header, ("\n".join(lines) + "\n").encode("ascii", "replace"))
    return header


def _frames(signals: tuple[Signal, ...], name: str) -> tuple[Fraction, list[int], int]:
    """Frame rate, samples a frame of each signal, and number of frames."""
    if not signals:
        raise FormatError(f"record {name} has no signals to write")
    rates = [Fraction(repr(float(signal.rate))) for signal in signals]
    base = rates[0]
    for rate in rates[1:]:
        base = Fraction(
            math.gcd(base.numerator * rate.denominator, rate.numerator * base.denominator),
            base.denominator * rate.denominator,
        )
    per_frame = [int(rate / base) for rate in rates]
    counts = [-(-signal.values.shape[1] // spf) for signal, spf in zip(signals, per_frame, strict=True)]
    if (len(set(rates)) > 1 and base < 1) or len(set(counts)) > 1:
        lasting = ", ".join(f"{signal.duration:g} s at {signal.rate:g} Hz" for signal in signals)
        raise FormatError(f"record {name}: signals of {lasting} fit no common frame; write them as separate records")
    return base, per_frame, counts[0]


def _scale(signal: Signal, row: np.ndarray) -> tuple[float, int]:
    """Gain (steps per unit) and baseline of a channel: the finest of 1, 2, 5 × 10ⁿ that 16 bits hold."""
    finite = row[np.isfinite(row)].astype(np.float64)
    low, high = (finite.min(), finite.max()) if len(finite) else (0.0, 0.0)
    coarsest = 1000.0 if signal.unit == "mV" else 0.0
    room = 65_000 / (high - low) if high > low else 1000.0
    step = 10.0 ** math.floor(math.log10(room))
    gain = max(*(m * step for m in (1, 2, 5) if m * step <= room), coarsest)
    # sample and baseline are integers of 32 bits at most
    gain = min(gain, 2e9 / max(abs(low), abs(high), 1e-30))
    return gain, -round((low + high) / 2 * gain)


def _bits(row: np.ndarray, gain: float) -> int:
    """16, or 32 where a channel's span at this gain needs more."""
    finite = row[np.isfinite(row)].astype(np.float64)
    return 32 if len(finite) and (finite.max() - finite.min()) * gain > 65_500 else 16


def _digital(row: np.ndarray, gain: float, baseline: int, bits: int, length: int) -> np.ndarray:
    """A channel as integers, `(length,)`; NaN and what is past its end are the invalid sample."""
    stored = np.full(length, _INVALID[bits], np.int64)
    valid = np.isfinite(row)
    stored[: len(row)][valid] = np.rint(row[valid].astype(np.float64) * gain) + baseline
    return stored


def _signal_line(name: str, channel: str, unit: str, coding: tuple[float, int, int, int], stored: np.ndarray) -> str:
    """The header's line for one channel, with initial value and 16-bit checksum as the standard asks."""
    gain, baseline, bits, spf = coding
    spelt = re.sub(r"[^A-Za-z0-9_^%/?-]", "", {"a.u.": "au"}.get(unit, unit)) or "NU"
    layout = f"{bits}x{spf}" if spf > 1 else str(bits)
    checksum = int(stored.sum()) & 0xFFFF
    checksum -= 0x10000 if checksum > 0x7FFF else 0
    start = int(stored[0]) if len(stored) else 0
    scale = f"{_decimal(Fraction(gain))}({baseline})/{spelt}"
    return f"{name}.dat {layout} {scale} {bits} 0 {start} {checksum} 0 {' '.join(channel.split())}"


def _decimal(number: Fraction) -> str:
    """A number without exponent, which the standard does not know, to the precision of a double."""
    return format(Decimal(repr(float(number))), "f").removesuffix(".0")


def _start(when: datetime | None) -> list[str]:
    """Time and date as the header spells them, or nothing."""
    if when is None:
        return []
    return [when.strftime("%H:%M:%S.%f").rstrip("0").rstrip("."), f"{when:%d/%m}/{when.year:04d}"]
