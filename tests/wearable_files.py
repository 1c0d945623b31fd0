"""Files as watches, hand-held recorders and straps export them, written from the description of each format.

Every function is `name(path, trace, rate, **options) -> path`: `trace` is one lead in mV, `rate` is Hz. None of
them knows the readers; a person's name, a birth date and identifiers stand in them as in the real ones.
"""

import json
import struct
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

NAME, BORN = "Ada Lovelace", "Dec 10, 1815"
START = datetime(2026, 5, 30, 16, 32, 18)
CLASSIFICATION = "Atrial Fibrillation"
DEVICE = "Watch7,12"

# language → keys of the header, then what stands for the rhythm, hertz, the lead; decimals and the minus sign
_KEYS = ("name", "born", "when", "class", "symptoms", "software", "device", "rate", "lead", "unit")
LANGUAGES: dict[str, tuple[str, dict[str, str]]] = {
    "en": (
        "Name|Date of Birth|Recorded Date|Classification|Symptoms|Software Version|Device|Sample Rate|Lead|Unit",
        {"rhythm": CLASSIFICATION, "hertz": "{} hertz", "lead": "Lead I"},
    ),
    "de": (
        "Name|Geburtstag|Aufzeichnungsdatum|Klassifizierung|Symptome|Softwareversion|Gerät|Messrate|Ableitung|Einheit",
        {"rhythm": "Vorhofflimmern", "hertz": "{}\u00a0Hertz", "lead": "Ableitung I", "point": ","},
    ),
    "fr": (
        "Nom|Date de naissance|Date d’enregistrement|Classification|Symptômes|Version du logiciel|Appareil|"
        "Fréquence d’échantillonnage|Dérivation|Unité",
        {"rhythm": "Fibrillation auriculaire", "hertz": "{}\u00a0hertz", "lead": "Dérivation\u00a0I", "point": ","},
    ),
    "es": (
        "Nombre|Fecha de nacimiento|Fecha de registro|Clasificación|Síntomas|Versión de software|Dispositivo|"
        "Frecuencia de muestreo|Derivación|Unidad",
        {"rhythm": "Fibrilación auricular", "hertz": "{} hercios", "lead": "Derivación I", "point": ","},
    ),
    "zh": (
        "姓名|出生日期|记录日期|分类|症状|软件版本|设备|采样率|导联|单位",
        {"rhythm": "心房颤动", "hertz": "{}赫兹", "lead": "导联 I"},
    ),
}


def apple(
    path: Path,
    trace: np.ndarray,
    rate: float,
    *,
    language: str = "en",
    unit: str = "µV",
    decimals: int = 3,
    minus: str = "-",
    end: str = "\n",
    encoding: str = "utf-8",
    quoted: bool = False,
    words: Mapping[str, str] | None = None,
) -> Path:
    """An Apple Watch CSV: header in a language, an empty line, lead and unit, one sample a line.

    Args:
        path: File.
        trace: mV, `(T,)`.
        rate: Hz; written as it is.
        language: A key of `LANGUAGES`.
        unit: "µV" (either letter), "uV" or "mV".
        decimals: Of each sample.
        minus: "-" or U+2212.
        end: Of a line.
        encoding: "utf-8", "utf-8-sig", "utf-16".
        quoted: Whether every sample stands in quotes.
        words: Replaces what the language says: "lead" ("I 导联"), "hertz" ("{} Hz"), "rhythm", "point".
    """
    names, local = LANGUAGES[language]
    key = dict(zip(_KEYS, names.split("|"), strict=True))
    local = {"point": "."} | local | dict(words or {})
    hertz = local["hertz"].format(f"{rate:g}" if rate == round(rate) else f"{rate:.3f}".replace(".", local["point"]))
    lines = [
        f"{key['name']},{NAME}",
        f'{key["born"]},"{BORN}"',
        f"{key['when']},{START:%Y-%m-%d %H:%M:%S} -0700",
        f"{key['class']},{local['rhythm']}",
        f"{key['symptoms']},",
        f"{key['software']},2.0",
        f'{key["device"]},"{DEVICE}"',
        f'{key["rate"]},"{hertz}"' if "," in hertz and quoted else f"{key['rate']},{hertz}",
        "",
        "",
        f"{key['lead']},{local['lead']}",
        f"{key['unit']},{unit}",
        "",
        "",
    ]
    scale = 1.0 if unit == "mV" else 1000.0
    cells = [f"{value:.{decimals}f}" for value in np.asarray(trace, float) * scale]
    cells = [cell.replace(".", local["point"]).replace("-", minus) for cell in cells]
    lines += [f'"{cell}"' for cell in cells] if quoted else cells
    path.write_bytes((end.join(lines) + end).encode(encoding))
    return path


def samsung(path: Path, trace: np.ndarray, rate: float = 500.0, *, device: str = "SM-R900", end: str = "\n") -> Path:
    """A Samsung Health Monitor CSV: a mark of the encoding, mV, and a line with a comma alone at the end."""
    lines = [
        f"Created time,{START:%Y-%m-%d %H:%M:%S}",
        "Average heart rate,71",
        "Classification,Sinus rhythm",
        "Symptoms,",
        "Software version,1.2.0.201",
        f"Device,{device}",
        f"Sampling rate,{rate:.3f} Hz",
        "",
        "Lead,Lead I",
        "Unit,mV",
        "",
        *(f"{value:.6f}" for value in np.asarray(trace, float)),
        ",",
    ]
    path.write_bytes((end.join(lines) + end).encode("utf-8-sig"))
    return path


def healthkit(
    path: Path,
    trace: np.ndarray,
    rate: float,
    *,
    layout: str = "pairs",
    times: Sequence[float] | np.ndarray | None = None,
    source: str = f"{NAME}’s Apple Watch",
    extra: Mapping[str, Any] | None = None,
) -> Path:
    """An electrocardiogram of Apple Health as JSON, voltages in V.

    Args:
        path: File.
        trace: mV, `(T,)`.
        rate: Hz, as `samplingFrequency`.
        layout: "pairs" [[t, V], …], "value" or "voltage" for dictionaries, "dates" for dictionaries with a date,
            "bare" for voltages without times.
        times: Seconds since the start; of equal steps unless given.
        source: Name of the device as its owner gave it.
        extra: Replaces what stands at the top.
    """
    values = (np.asarray(trace, float) / 1000).tolist()
    seconds = (np.arange(len(values)) / rate if times is None else np.asarray(times, float)).tolist()
    pairs = list(zip(seconds, values, strict=True))
    measured: dict[str, list[Any]] = {
        "pairs": [list(pair) for pair in pairs],
        "value": [{"timeSinceSampleStart": t, "value": v, "unit": "V"} for t, v in pairs],
        "voltage": [{"timeSinceSampleStart": t, "voltage": v} for t, v in pairs],
        "dates": [{"date": f"{_stamp(t)} -0700", "voltage": v, "units": "V"} for t, v in pairs],
        "bare": values,
    }
    document = {
        "id": "5AF5F9E0-F27E-4BD7-8DBD-B7E00B9C68CF",
        "sourceName": source,
        "startDate": f"{START:%Y-%m-%dT%H:%M:%S}.498-0700",
        "classification": CLASSIFICATION,
        "averageHeartRate": 62,
        "samplingFrequency": rate,
        "device": DEVICE,
        "voltageMeasurements": measured[layout],
    }
    return _json(path, document | dict(extra or {}))


def kardia_atc(
    path: Path,
    trace: np.ndarray,
    rate: float = 300,
    *,
    version: int = 5,
    resolution: int = 500,
    leads: Mapping[str, np.ndarray] | None = None,
    with_fmt: bool = True,
    with_ecg: bool = True,
) -> Path:
    """An AliveCor .atc: signature, version, blocks "info", "fmt ", "ecg " and "ann ", each with its sum.

    Args:
        path: File.
        trace: mV, `(T,)`; stored as 16-bit numbers of `resolution` nV.
        rate: Hz, a whole number.
        version: Of the format.
        resolution: nV of one step.
        leads: Further blocks, such as {"ecg2": lead II in mV}.
        with_fmt: Whether the block of the format is there.
        with_ecg: Whether lead I is there.
    """
    texts = (f"{START:%Y-%m-%dT%H:%M:%S}.245-07:00", "58E0A7D7-EEBC-11D8-9669-0800200C9A66", "2b6f0cc904d137be2e17")
    texts += ("iPhone 14", "AliveECG 5.1", "kardia_mobile", "SN=AC6L100010,BAT=85")
    info = b"".join(text.encode().ljust(size, b"\0") for text, size in zip(texts, INFO, strict=True))
    blocks = [("info", info)]
    if with_fmt:
        blocks.append(("fmt ", struct.pack("<BHHBH", 1, int(rate), resolution, 14, 0)))
    if with_ecg:
        blocks.append(("ecg ", _steps(trace, resolution)))
    blocks += [(name, _steps(values, resolution)) for name, values in (leads or {}).items()]
    blocks.append(("ann ", struct.pack("<I", 300) + struct.pack("<IH", 150, 1) + struct.pack("<IH", 420, 1)))
    path.write_bytes(b"ALIVE\0\0\0" + struct.pack("<I", version) + b"".join(atc_block(*block) for block in blocks))
    return path


INFO = (32, 40, 44, 32, 32, 32, 52)  # bytes of the texts of an info block


def atc_block(name: str, data: bytes) -> bytes:
    """A block of an .atc: name, length, data, and the sum of all these bytes."""
    block = name.encode() + struct.pack("<I", len(data)) + data
    return block + struct.pack("<I", sum(block) % 2**32)


def kardia_json(
    path: Path, trace: np.ndarray, rate: float = 300, *, resolution: float = 500, leads: Mapping[str, Any] | None = None
) -> Path:
    """A recording of the Kardia API; `leads` are further ones, such as {"leadII": lead II in mV}."""
    traces = {"leadI": trace} | dict(leads or {})
    samples = {
        name: np.rint(np.asarray(mv, float) * 1e6 / resolution).astype(int).tolist() for name, mv in traces.items()
    }
    raw = {"frequency": rate, "mainsFrequency": 60, "amplitudeResolution": resolution, "numLeads": len(traces)}
    document = {
        "id": "rec-0815",
        "patientID": f"patient of {NAME}",
        "recordedAt": f"{START:%Y-%m-%dT%H:%M:%S}Z",
        "algorithmDetermination": "afib",
        "duration": round(1000 * len(samples["leadI"]) / rate),
        "heartRate": 71,
        "deviceInfo": {"hardwareType": "kardia_mobile", "serialNumber": "AC6L100010"},
        "data": {
            "raw": raw | {"samples": samples},
            "enhanced": raw | {"samples": {name: [0] * len(each) for name, each in samples.items()}},
        },
    }
    return _json(path, document)


def fitbit(
    path: Path,
    trace: np.ndarray,
    rate: float = 250,
    *,
    scaling: float = 10922,
    count: int = 1,
    listed: bool = True,
    google: bool = False,
) -> Path:
    """The electrocardiograms of Fitbit's web interface, or of Google Health.

    Args:
        path: File.
        trace: mV, `(T,)`; stored as whole numbers, mV times `scaling`.
        rate: Hz, written as text.
        scaling: Steps of one mV.
        count: Recordings in the file, each half as high as the one before.
        listed: Whether they stand in a list "ecgReadings"; one alone need not.
        google: Whether the names are those of Google Health.
    """
    readings: list[dict[str, Any]] = []
    for number in range(count):
        values = np.rint(np.asarray(trace, float) * scaling / 2**number).astype(int).tolist()
        start = f"{START + timedelta(days=number):%Y-%m-%dT%H:%M:%S}"
        reading: dict[str, Any] = {
            "averageHeartRate": 70,
            "resultClassification": "Normal Sinus Rhythm",
            "waveformSamples": values,
            "leadNumber": 1,
        }
        if google:
            device = {"medicalDeviceInfo": {"deviceModel": "Sense", "firmwareVersion": "1.2.3"}}
            hertz = {"samplingFrequencyHertz": f"{rate:g}", "millivoltsScalingFactor": f"{scaling:g}"}
            readings.append({"electrocardiogram": reading | hertz | device | {"interval": {"startTime": f"{start}Z"}}})
        else:
            hertz = {"samplingFrequencyHz": f"{rate:g}", "scalingFactor": scaling}
            length = {"numberOfWaveformSamples": len(values)}
            readings.append(reading | hertz | length | {"startTime": f"{start}.222", "deviceName": "Sense"})
    if not listed:
        return _json(path, readings[0])
    return _json(path, {"dataPoints" if google else "ecgReadings": readings})


def withings(path: Path, trace: np.ndarray, rate: float = 300, *, wearposition: int = 1, wrapped: bool = True) -> Path:
    """The answer of Withings' heart interface: whole µV; `wrapped` in status and body, or the body alone."""
    signal = np.rint(np.asarray(trace, float) * 1000).astype(int).tolist()
    body = {"signal": signal, "sampling_frequency": rate, "wearposition": wearposition}
    return _json(path, {"status": 0, "body": body} if wrapped else body)


def polar_frames(
    trace: np.ndarray, rate: float = 130.0, *, size: int = 73, first: int = 830_000_000_000_000_000
) -> list[bytes]:
    """The frames that a Polar H10 sends: 0, the time of the last sample in ns since 2000, 0, and 3 bytes a sample (µV).

    Args:
        trace: mV, `(T,)`.
        rate: Hz, which the times tell.
        size: Samples of a frame; the last one may be shorter.
        first: Time of the first sample, ns.
    """
    values = np.rint(np.asarray(trace, float) * 1000).astype(int).tolist()
    frames = []
    for start in range(0, len(values), size):
        chunk = values[start : start + size]
        moment = first + round((start + len(chunk) - 1) / rate * 1e9)
        samples = b"".join(value.to_bytes(3, "little", signed=True) for value in chunk)
        frames.append(b"\0" + struct.pack("<Q", moment) + b"\0" + samples)
    return frames


def polar_log(
    path: Path,
    trace: np.ndarray,
    rate: float = 130.0,
    *,
    size: int = 73,
    lost: Sequence[int] = (),
    repeated: Sequence[int] = (),
    swapped: Sequence[int] = (),
) -> Path:
    """A log of a Polar H10, one frame a line in hexadecimal.

    Args:
        path: File.
        trace: mV, `(T,)`.
        rate: Hz.
        size: Samples of a frame.
        lost: Numbers of the frames that are not there.
        repeated: Numbers of those that come twice.
        swapped: Numbers of those that come after the one that follows them.
    """
    frames = polar_frames(trace, rate, size=size)
    order = list(range(len(frames)))
    for number in swapped:
        order[number], order[number + 1] = order[number + 1], order[number]
    lines = [frames[n].hex() for n in order if n not in lost for _ in range(2 if n in repeated else 1)]
    path.write_text("\n".join(lines) + "\n")
    return path


def _stamp(seconds: float) -> str:
    """A moment with milliseconds."""
    return (START + timedelta(milliseconds=round(1000 * seconds))).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def _steps(trace: np.ndarray, resolution: int) -> bytes:
    """mV as 16-bit numbers of so many nV."""
    return np.rint(np.asarray(trace, float) * 1e6 / resolution).astype("<i2").tobytes()


def _json(path: Path, document: Any) -> Path:
    path.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    return path
