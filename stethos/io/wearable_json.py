"""Recordings of one lead as the programming interfaces of makers give them, in JSON.

    Apple Health   samplingFrequency, voltageMeasurements [[s, V], …] or [{timeSinceSampleStart, value, unit}, …]
    Kardia         data.raw {frequency, amplitudeResolution (nV), samples {leadI, …}}
    Fitbit         samplingFrequencyHz, scalingFactor (steps of 1 mV), waveformSamples; alike Google Health
    Withings       sampling_frequency, signal (µV), wearposition

A recording is found wherever it stands in a document, by these names. Names of people and devices, and
identifiers, are dropped.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from stethos.errors import FormatError, RateError, UnitError
from stethos.io.channels import Trace, signals_from, standard_unit
from stethos.io.files import read_text
from stethos.io.stated import known_rate
from stethos.types import Fact, Record

Maker = Literal["healthkit", "kardia", "fitbit", "withings"]

UNDERSTOOD = (
    "Apple Health (samplingFrequency, voltageMeasurements), Kardia (data.raw.samples), Fitbit and Google Health "
    "(waveformSamples), Withings (signal, sampling_frequency)"
)
_DEEPEST = 6  # levels that are searched for recordings
_TIMES = ("timeSinceSampleStart", "timeSinceStart", "time", "t")
_VALUES = ("value", "voltage")
_UNITS = ("unit", "units")
_HIGHEST = 0.1  # V; no electrode at the skin gives more
_JUMP = 0.75  # samples by which a time must be late for one to be missing
_FOLLOW = 0.05  # how fast the grid follows the times
_LONGEST, _FASTEST = 600.0, 1000.0  # seconds of a gap, and the Hz at which they are counted
_ARMS = (0, 1, 2, 3, 13, 14, 29, 30, 31, None)  # where Withings' recorders give lead I: wrists, arms, hands
_MODELS = {44: "BPM Core", 91: "Move ECG"}


class Found(NamedTuple):
    """One recording in a document."""

    maker: Maker
    held: dict[str, Any]


class Voltages(NamedTuple):
    """What Apple Health measured."""

    seconds: np.ndarray | None  # (T,), NaN where not stated; None where no time is
    values: np.ndarray  # (T,)
    unit: str | None


def document_of(text: str) -> Any:
    """A text as JSON; None where it is none, or broken."""
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def recordings_in(document: Any, depth: int = 0) -> Iterator[Found]:
    """Every recording in a document, in its order."""
    if isinstance(document, dict):
        maker = _maker(document)
        if maker:
            yield Found(maker, document)
            return
    elif not (isinstance(document, list) and document and isinstance(document[0], dict | list)):
        return
    if depth < _DEEPEST:
        for inner in document.values() if isinstance(document, dict) else document:
            yield from recordings_in(inner, depth + 1)


def maker_of(document: Any) -> Maker | None:
    """Whose recordings a document holds; None where there is none."""
    found = next(recordings_in(document), None)
    return found.maker if found else None


def seen_in(text: str) -> str:
    """What a JSON without a recording is, for a message."""
    try:
        document = json.loads(text)
    except RecursionError:
        return "it looks like JSON, nested too deeply"
    except ValueError as error:
        return f"it looks like JSON that is damaged or cut off ({str(error)[:60]}; copy it again)"
    keys = ", ".join(map(str, document))[:60] if isinstance(document, dict) else f"a list of {len(document)}"
    return f"it looks like JSON with {keys or 'nothing'}; of JSON these are understood: {UNDERSTOOD}"


def read_wearable_json(
    path: str | Path,
    *,
    rate: float | None = None,
    unit: str | None = None,
    recording: int | None = None,
    keep_identity: bool = False,
) -> Record:
    """Read a recording of Apple Health, Kardia, Fitbit, Google Health or Withings.

    Facts are `classification` and `device` where they are stated, `samples_missing` where times jump, and
    `wear_position` of a Withings recorder.

    Args:
        path: The file.
        rate: Hz, for a file that does not state it.
        unit: Of voltages of Apple Health whose unit the file does not state; V unless given.
        recording: Which one of several, from 1.
        keep_identity: Whether the patient's identifier and the device's own name become facts.

    Raises:
        FormatError: It holds several recordings and none was chosen, or one is damaged.
        RateError: The rate is not stated, or the times contradict it.
        UnitError: The unit or the scale is not stated, or cannot be.
    """
    path = Path(path)
    found = list(recordings_in(document_of(read_text(path))))
    if not found:
        raise FormatError(f"{path}: {seen_in(read_text(path))}")
    chosen = found[_chosen(len(found), recording, path)]
    with np.errstate(over="ignore", invalid="ignore"):  # what is too large is no sample; it becomes NaN
        record = _READERS[chosen.maker](chosen.held, path, rate, unit)
    name = path.stem if len(found) == 1 else f"{path.stem}-{recording}"
    facts = dict(record.facts) | (_identity(chosen.held) if keep_identity else {})
    return Record(path.stem, name, record.signals, when=record.when, facts=facts)


def _chosen(count: int, recording: int | None, path: Path) -> int:
    """The number of the recording that is asked for, from 0."""
    if recording is None and count > 1:
        raise FormatError(
            f"{path}: needs one recording and holds {count}; say which with --recording 1 to {count}, or save each in "
            "a file of its own"
        )
    wanted = 1 if recording is None else recording
    if not 1 <= wanted <= count:
        raise FormatError(f"{path}: holds recordings 1 to {count}; --recording says {recording}; choose another")
    return wanted - 1


def _maker(held: dict[str, Any]) -> Maker | None:
    """Whose recording a dictionary is."""
    if isinstance(held.get("voltageMeasurements"), list):
        return "healthkit"
    if isinstance(_within(_within(held, "data"), "raw").get("samples"), dict):
        return "kardia"
    if isinstance(held.get("waveformSamples"), list):
        return "fitbit"
    return "withings" if isinstance(held.get("signal"), list) and "sampling_frequency" in held else None


def _healthkit(held: dict[str, Any], path: Path, rate: float | None, unit: str | None) -> Record:
    """An electrocardiogram of Apple Health."""
    held = _within(held, "harmonized") | held
    hertz = known_rate(path, _number(held, ("samplingFrequency",), path), rate)
    measured = _measured(held["voltageMeasurements"], path)
    values = measured.values * _volts(measured, unit, path) * 1000
    facts = _facts(held, "classification", ("device",))
    if measured.seconds is not None:
        places = _places(measured.seconds, hertz, path)
        placed = np.full(places[-1] + 1, np.nan)
        placed[places] = values
        missing = len(placed) - len(values)
        values, facts = placed, facts | ({"samples_missing": float(missing)} if missing else {})
    return _record(path, [Trace("I", values, hertz, "mV")], held.get("startDate", held.get("start")), facts)


def _kardia(held: dict[str, Any], path: Path, rate: float | None, unit: str | None) -> Record:
    """A recording of the Kardia API: the leads as they were recorded, not as they were enhanced."""
    raw = held["data"]["raw"]
    hertz = known_rate(path, _number(raw, ("frequency",), path), rate)
    step = _number(raw, ("amplitudeResolution",), path)
    if step is None or step <= 0:
        raise UnitError(f"{path}: needs amplitudeResolution, the nV of a step; the file states {step}; export it again")
    traces = [Trace(name, _array(values, path) * step * 1e-6, hertz, "mV") for name, values in raw["samples"].items()]
    facts = _facts(held | _within(held, "deviceInfo"), "algorithmDetermination", ("hardwareType",))
    return _record(path, traces, held.get("recordedAt"), facts)


def _fitbit(held: dict[str, Any], path: Path, rate: float | None, unit: str | None) -> Record:
    """An electrocardiogram of Fitbit or Google Health."""
    hertz = known_rate(path, _number(held, ("samplingFrequencyHz", "samplingFrequencyHertz"), path), rate)
    steps = _number(held, ("scalingFactor", "millivoltsScalingFactor"), path)
    if steps is None or steps <= 0:
        raise UnitError(f"{path}: needs scalingFactor, the steps of 1 mV; the file states {steps}; export it again")
    values = _array(held["waveformSamples"], path)
    promised = _number(held, ("numberOfWaveformSamples",), path)
    if promised is not None and promised != len(values):
        raise FormatError(
            f"{path}: numberOfWaveformSamples is {promised:g}, the file holds {len(values)}; copy it again"
        )
    if _number(held, ("leadNumber",), path) not in (None, 1):
        raise FormatError(f"{path}: one lead is understood; leadNumber is {held['leadNumber']}; export each alone")
    held = _within(held, "medicalDeviceInfo") | _within(held, "interval") | held
    facts = _facts(held, "resultClassification", ("deviceName", "deviceModel"))
    return _record(path, [Trace("I", values / steps, hertz, "mV")], held.get("startTime"), facts)


def _withings(held: dict[str, Any], path: Path, rate: float | None, unit: str | None) -> Record:
    """The answer of Withings' heart interface; lead I where the recorder is at an arm."""
    hertz = known_rate(path, _number(held, ("sampling_frequency",), path), rate)
    where, model = (_number(held, (key,), path) for key in ("wearposition", "model"))
    facts: dict[str, Fact] = {} if where is None else {"wear_position": where}
    if model is not None:
        facts["device"] = _MODELS.get(int(model), f"Withings model {model:g}")
    name = "I" if where in _ARMS else f"wear position {where:g}"
    return _record(path, [Trace(name, _array(held["signal"], path), hertz, "uV")], None, facts)


_READERS = {"healthkit": _healthkit, "kardia": _kardia, "fitbit": _fitbit, "withings": _withings}


def _record(path: Path, traces: list[Trace], start: object, facts: dict[str, Fact]) -> Record:
    return Record(path.stem, path.stem, signals_from(traces), when=_moment(start), facts=facts)


def _within(held: Mapping[str, Any], key: str) -> dict[str, Any]:
    """A dictionary in another; empty where it is not there."""
    inner = held.get(key)
    return inner if isinstance(inner, dict) else {}


def _number(held: Mapping[str, Any], keys: tuple[str, ...], path: Path) -> float | None:
    """The number under one of several keys, which may stand as text; None where there is none.

    Raises:
        FormatError: It is no finite number.
    """
    stated = next((held[key] for key in keys if held.get(key) is not None), None)
    if stated is None:
        return None
    with contextlib.suppress(TypeError, ValueError, OverflowError):
        if not isinstance(stated, bool) and np.isfinite(number := float(stated)):
            return number
    raise FormatError(f"{path}: {keys[0]} must be a number; the file states {str(stated)[:20]!r}; export it again")


def _array(values: object, path: Path) -> np.ndarray:
    """Samples `(T,)`, NaN where one is null.

    Raises:
        FormatError: They are no list of numbers.
    """
    try:
        array = np.asarray(values, np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise FormatError(f"{path}: samples must be a list of numbers ({str(error)[:60]}); export it again") from error
    if array.ndim != 1 or not len(array):
        raise FormatError(f"{path}: samples must be a list of numbers; this has shape {array.shape}; export it again")
    return array


def _moment(stated: object) -> datetime | None:
    """A moment in the time of the place; None where it is none."""
    with contextlib.suppress(ValueError):
        return datetime.fromisoformat(re.sub(r" (?=[+-]\d)", "", str(stated))).replace(tzinfo=None)
    return None


def _facts(held: Mapping[str, Any], classification: str, device: tuple[str, ...]) -> dict[str, Fact]:
    """What the maker said of the rhythm and of the recorder."""
    named = next((held[key] for key in device if isinstance(held.get(key), str)), None)
    said = {"classification": held.get(classification), "device": named}
    return {fact: str(value) for fact, value in said.items() if isinstance(value, str | int) and value != ""}


def _identity(held: Mapping[str, Any]) -> dict[str, Fact]:
    """What leads to a person: the patient's identifier, and the name that an owner gave to a device."""
    stated = {"patient": held.get("patientID"), "device_name": held.get("sourceName", held.get("source"))}
    return {fact: value for fact, value in stated.items() if isinstance(value, str)}


def _measured(entries: list[Any], path: Path) -> Voltages:
    """Times and voltages of Apple Health, in whichever layout.

    Raises:
        FormatError: The entries are of several layouts, or of none.
    """
    first = entries[0] if entries else None
    try:
        if isinstance(first, dict):
            return _from_dictionaries([_within(entry, "harmonized") | entry for entry in entries], path)
        if isinstance(first, list):
            pairs = [(seconds, volts) for seconds, volts in entries]
            return Voltages(_array([s for s, _ in pairs], path), _array([v for _, v in pairs], path), None)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(
            f"{path}: each of voltageMeasurements must be [seconds, volts] or have timeSinceSampleStart and value; "
            f"one has not ({str(error)[:60]}); export it again"
        ) from error
    return Voltages(None, _array(entries, path), None)


def _from_dictionaries(entries: list[dict[str, Any]], path: Path) -> Voltages:
    """Times and voltages where each entry is a dictionary."""
    first = entries[0]
    value = next((key for key in _VALUES if key in first), _VALUES[0])
    unit = next((first[key] for key in _UNITS if key in first), None)
    values = _array([entry[value] for entry in entries], path)
    time = next((key for key in _TIMES if key in first), None)
    dated = _from_dates([entry.get("date") for entry in entries]) if time is None else None
    seconds = dated if time is None else _array([entry.get(time) for entry in entries], path)
    return Voltages(seconds, values, None if unit is None else str(unit))


def _from_dates(dates: list[Any]) -> np.ndarray | None:
    """Seconds since the first of several moments; None where they are not there or only to the second."""
    moments = [_moment(date) for date in dates]
    if moments[0] is None or not any("." in str(date) for date in dates):
        return None
    return np.array([np.nan if moment is None else (moment - moments[0]).total_seconds() for moment in moments])


def _volts(measured: Voltages, declared: str | None, path: Path) -> float:
    """Volts of one in the unit of the file, which is the volt where neither file nor caller says otherwise.

    Raises:
        UnitError: The unit is no voltage, or nobody stated it and the values cannot be volts.
    """
    stated = measured.unit or declared or "V"
    factor, unit = standard_unit("uV" if stated == "mcV" else stated)
    if unit not in ("V", "mV"):
        raise UnitError(f"{path}: voltages must be in V, mV or µV; the file states {stated}; export it again")
    highest = float(np.nanmax(np.abs(measured.values), initial=0.0))
    if measured.unit is None and declared is None and highest > _HIGHEST:
        raise UnitError(
            f"{path}: voltages of Apple Health are in V unless their unit is stated; {highest:g} V cannot be; "
            "pass --unit uV or --unit mV"
        )
    return factor if unit == "V" else factor * 1e-3


def _places(seconds: np.ndarray, rate: float, path: Path) -> np.ndarray:
    """Where on a regular grid each sample belongs, `(T,)`; more than one step apart where times jump.

    Times may tremble by a third of a sample, be rounded or be absent (NaN): the grid is the stated rate's, and follows
    them slowly.

    Raises:
        FormatError: Times do not rise, or jump by minutes.
        RateError: They contradict the stated rate by more than 1 %.
    """
    (known,) = np.nonzero(np.isfinite(seconds))
    places = np.arange(len(seconds))
    if not len(known):
        return places
    _refuse_backwards(seconds[known], known, path)
    expected = (seconds * rate).tolist()
    grid, place = expected[known[0]] - float(known[0]), 0
    for number in range(1, len(seconds)):
        place += 1
        late = expected[number] - grid - place
        if late > _LONGEST * min(rate, _FASTEST):
            raise FormatError(f"{path}: times jump by {late / rate:g} s at sample {number + 1}; cut the file there")
        if late > _JUMP:
            place += round(late)
            late -= round(late)
        grid += 0.0 if math.isnan(late) else _FOLLOW * late  # NaN where no time is stated
        places[number] = place
    _refuse_other_rate(seconds[known], known, places[known], rate, path)
    return places


def _refuse_backwards(seconds: np.ndarray, known: np.ndarray, path: Path) -> None:
    """Raise where the times of the samples `known` do not rise."""
    steps = np.diff(seconds)
    if (steps <= 0).any():
        worst = int(np.argmax(steps <= 0))
        raise FormatError(
            f"{path}: times must rise from sample to sample; sample {known[worst + 1] + 1} is at "
            f"{seconds[worst + 1]:g} s, the one before at {seconds[worst]:g} s; export it again"
        )


def _refuse_other_rate(seconds: np.ndarray, known: np.ndarray, places: np.ndarray, rate: float, path: Path) -> None:
    """Raise where the times tell another rate than the file: over all, or because gaps would be everywhere."""
    if len(known) < 2:
        return
    span = seconds[-1] - seconds[0]
    told = (places[-1] - places[0]) / span
    gaps = int(np.sum(np.diff(places) > np.diff(known)))
    often = gaps > max(3, 0.01 * len(known))
    # a few samples are too short to tell a rate from trembling times
    if often or abs(told - rate) > max(0.01 * rate, 1 / span):
        told = float(np.median(np.diff(known) / np.diff(seconds))) if often else told
        raise RateError(f"{path}: the file states {rate:g} Hz and its times tell {told:.4g} Hz; export it again")
