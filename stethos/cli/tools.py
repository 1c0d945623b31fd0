"""Commands for files, cohorts, worlds and finished runs."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter


def inspect(
    files: list[Path], *, rate: float | None = None, unit: str | None = None, recording: int | None = None
) -> Iterator[str]:
    """What recordings hold: format, rate, leads, unit, duration, gaps, quality; of a sound channels and level.

    Args:
        files: Recordings.
        rate: Sampling rate in Hz, for files that do not state it.
        unit: Unit, such as mV, for files that do not state it.
        recording: Which one, from 1, where a file holds several.
    """
    from stethos.io import inspect as look

    for file in files:
        yield from look(file, rate=rate, unit=unit, recording=recording).lines()


def predict(
    run: Path,
    files: list[Path] | None = None,
    *,
    follow: Annotated[str, Parameter(allow_leading_hyphen=True)] = "",
    lead: str = "",
    rate: float | None = None,
    unit: str | None = None,
    age: float | None = None,
    paced: bool | None = None,
    recording: int | None = None,
    machine: str = "",
    allow_synthetic_model: Annotated[bool, Parameter(negative="")] = False,
) -> Iterator[dict[str, Any]]:
    """Score recordings with a finished run: one JSON line a file, or one for every window of a live stream.

    Args:
        run: Folder of a finished run.
        files: Recordings.
        follow: In place of recordings, a text file that grows, or - for standard input, with a line "seconds,mV" a
            sample, or with --rate a value; Ctrl-C ends it.
        lead: Name of the lead in these files; the one the model was trained on where empty.
        rate: Sampling rate in Hz, for files that do not state it.
        unit: Unit, such as mV, for files that do not state it.
        age: Of the person in years, where the file does not say; under 18 the model abstains.
        paced: Whether the rhythm is paced; then the model abstains.
        recording: Which one, from 1, where a file holds several.
        machine: Machine and section that is heard, where the model knows several.
        allow_synthetic_model: Let a model of a simulated world look at a real recording.
    """
    from inspect import signature

    from stethos.errors import RecipeError
    from stethos.study.stream import refuse_both
    from stethos.systems import page_of

    page = page_of(run)
    refuse_both(files or [], follow, recording)
    given = {"follow": follow, "lead": lead, "rate": rate, "unit": unit, "age": age, "paced": paced}
    given |= {"recording": recording, "machine": machine}
    given = {name: value for name, value in given.items() if value not in (None, "")}
    strange = sorted(set(given) - set(signature(page.predict).parameters))
    if strange:
        raise RecipeError(f"{run} is of a system that is not told --{' or --'.join(strange)}; leave that away")
    return page.predict(run, files or [], **given, allow_synthetic_model=allow_synthetic_model)


def export(
    run: Path,
    cohort: Path | None = None,
    *,
    out: Path,
    precision: Literal["fp32", "fp16", "int8"] = "fp32",
    rate: float | None = None,
    records: int = 1000,
) -> Iterator[str]:
    """Write a run as ONNX graphs for a phone, a watch or a browser, if they answer as the run does on held-out records.

    Args:
        run: Folder of a finished run of pocket-k, anyecg-echo, os-scl or highband-cl train, or of cap pretrain, probe
            or train.
        cohort: The cohort that it was tested on; a simulated world is simulated again where none is given.
        out: Folder to write; an earlier export there is replaced.
        precision: fp32, fp16 (weights of half precision) or int8 (with blocks left in fp32 where it needs them).
        rate: Sampling rate of the device's recordings, where it is not said 500 Hz, of a pulse 125 Hz; sounds may have
            any.
        records: Most held-out records that are compared.
    """
    from stethos.data.cohort import open_cohort
    from stethos.study import handheld, handheld_pulse, handheld_sound
    from stethos.systems import page_of
    from stethos.types import Run

    page, made = page_of(run), Run(run)
    if handheld_sound.is_detector(made):
        handheld_sound.refuse_unexportable(made, rate)
        sounds = handheld_sound.simulated(made, page.DEMO) if cohort is None else open_cohort(cohort)
        yield from handheld_sound.told(
            handheld_sound.export(made, page.load(run), sounds, out, precision=precision, records=records)
        )
        return
    pulse = handheld_pulse.is_pulse(made)
    tool = handheld_pulse if pulse else handheld
    tool.refuse_unexportable(made)
    people = None if cohort is None else open_cohort(cohort)
    usual = handheld_pulse.RATE if pulse else 500.0
    wanted = handheld.Wanted(precision, usual if rate is None else rate, records)
    yield from tool.told(tool.export(made, page.load(run), people, wanted, out))


def app(
    run: Path,
    *,
    out: Path | None = None,
    single_file: Path | None = None,
    runtime: Path | None = None,
    fetch_runtime: Annotated[bool, Parameter(negative="")] = False,
    port: int = 8765,
) -> Iterator[str]:
    """Serve the page that scores an ECG lead, or listens to a machine, to this machine's browser only; Ctrl-C ends it.

    Args:
        run: Folder of an export, or of a run that holds one in its folder export.
        out: Write the page into this folder, for a server of files over https, in place of serving it.
        single_file: Write the page as one HTML file that runs from a disk, in place of serving it.
        runtime: Folder with the files of onnxruntime-web, where they are not in the cache.
        fetch_runtime: Fetch them from the npm registry into the cache, once; nothing else here opens a connection.
        port: Of this machine, 0 for any that is free.
    """
    import tempfile

    from stethos.export.browser import build, exported, runtime_folder
    from stethos.export.browser import single_file as as_one_file
    from stethos.export.serve import address, server

    exported(run)  # before anything is fetched
    files = runtime_folder(runtime, fetch_runtime)
    with tempfile.TemporaryDirectory() as scratch:
        folder = build(run, files, out or Path(scratch))
        if single_file is not None:
            yield str(as_one_file(folder, single_file))
        if out is not None:
            yield str(folder)
        if out is None and single_file is None:
            with server(folder, port) as served:
                yield f"{address(served)}  (research software, not a medical device; Ctrl-C ends it)"
                served.serve_forever()


def findings(
    reports: list[Path], *, preset: str = "shd13", concepts: Path | None = None, out: Path | None = None
) -> Iterator[str]:
    """What echo reports (English, Chinese, mixed) say of each finding, with the words behind it, and measurements.

    Args:
        reports: Text files (.txt), tables with a column report (CSV, Parquet), or folders of cohorts.
        preset: Which findings: shd13, extras, all, echonext11, or one of your own file.
        concepts: Your own copy of the table of findings.
        out: A CSV to write: labels as 1, 0 or empty, measurements in their units.
    """
    from stethos.data.reports import lines, open_reports, read_all, write_readings
    from stethos.text.findings import load_lexicon

    lexicon = load_lexicon(concepts, preset)
    opened = open_reports(reports)
    readings = read_all(opened, lexicon)
    yield from lines(opened, readings, lexicon)
    if out is not None:
        write_readings(out, opened, readings, lexicon)
        yield str(out)


def compare(runs: list[Path]) -> Any:
    """Paired differences between runs on the same test records, with intervals and Holm's p.

    Args:
        runs: Folders of two finished runs or more; the first is what the others are compared with.
    """
    from stethos.study.compare import compare as paired

    return paired(runs)


def show(folder: Path, *, workers: int = 2) -> Any:
    """Counts, subjects, rates, leads or machines, prevalences, missingness, and unreadable files with reasons.

    Args:
        folder: Holds cohort.csv or cohort.parquet.
        workers: Processes that read.
    """
    from stethos.data.cohort import open_cohort
    from stethos.data.survey import survey

    return survey(open_cohort(folder), workers=workers)


Layout = Literal[
    "ptbxl", "cinc2017", "mimic-ecg", "folder", "dcase", "sounds", "mimic3-waves", "mimic4-waves", "mc-med",
    "vitaldb", "bidmc", "capnobase", "ppg-bp", "marsh", "troika", "wesad", "ppg-dalia", "reports",
    "ukb", "acdc", "mnms2",
]  # fmt: skip
_FURTHER = {  # layout → module, function, and the further arguments that it takes, in order
    "mimic3-waves": ("pulses", "import_mimic3_waves", ("table",)),
    "mimic4-waves": ("pulses", "import_mimic4_waves", ("table",)),
    "mc-med": ("pulses", "import_mcmed", ("table", "numerics")),
    "vitaldb": ("pulse_exports", "import_vitaldb", ("table", "rate")),
    "reports": ("pulse_exports", "import_reports", ("table", "rate", "unit")),
    "bidmc": ("pulse_tables", "import_bidmc", ()),
    "ppg-bp": ("pulse_tables", "import_ppg_bp", ("table",)),
    "capnobase": ("pulse_studies", "import_capnobase", ()),
    "marsh": ("pulse_studies", "import_marsh", ()),
    "troika": ("pulse_studies", "import_troika", ()),
    "wesad": ("pulse_studies", "import_wesad", ()),
    "ppg-dalia": ("pulse_studies", "import_wesad", ()),
    "ukb": ("cine_importers", "import_ukb", ()),
    "acdc": ("cine_importers", "import_acdc", ()),
    "mnms2": ("cine_importers", "import_mnms2", ()),
}


def import_(
    layout: Layout,
    source: Path,
    *,
    out: Path,
    table: Path | None = None,
    rate: float | None = None,
    unit: str | None = None,
    year: int | None = None,
    numerics: Path | None = None,
) -> Any:
    """Write a cohort.csv for a known data set, or any folder of recordings; nothing is copied but cropped cines.

    Args:
        layout: How the source is laid out.
        source: Folder of the data set.
        out: Folder for the cohort.csv.
        table: folder: a CSV with the column path and what is known of each; mimic-ecg, mimic3-waves, mimic4-waves: the
            patients.csv; dcase: the folder of the ground truth; mc-med: the visits.csv; vitaldb: the
            clinical_data.csv; ppg-bp: the workbook; reports: the folder of the texts.
        rate: folder, vitaldb, reports: sampling rate in Hz, for files that do not state it.
        unit: folder, reports: unit, such as mV, for files that do not state it.
        year: dcase: of the challenge, where no name tells it.
        numerics: mc-med: the numerics.csv.
    """
    from stethos.data import importers, sounds

    if layout == "dcase":
        return sounds.import_dcase(source, out, table, year)
    if layout == "sounds":
        return sounds.import_sounds(source, out)
    if layout in _FURTHER:
        module, function, names = _FURTHER[layout]
        given = {"table": table, "numerics": numerics, "rate": rate, "unit": unit}
        read = getattr(importlib.import_module(f"stethos.data.{module}"), function)
        return read(source, out, *(given[name] for name in names))
    if layout == "folder":
        return importers.import_folder(source, out, table, rate, unit)
    if layout == "mimic-ecg":
        return importers.import_mimic_ecg(source, out, table)
    return {"ptbxl": importers.import_ptbxl, "cinc2017": importers.import_cinc2017}[layout](source, out)


def join(
    folder: Path,
    table: Path,
    *,
    out: Path,
    value: str,
    within: str = "1h",
    direction: Literal["nearest", "before", "after"] = "nearest",
    subject: str = "subject",
    time: str = "time",
    code: str = "",
    exclude: str = "",
    one_to_one: bool = True,
) -> Any:
    """Join a table of laboratory values or reports to a cohort by subject and time; losses are printed.

    Args:
        folder: The cohort.
        table: CSV, TSV, Parquet, or a folder of MEDS events.
        out: Folder for the joined cohort.csv.
        value: What is joined: the value's column, and its name in the cohort.
        within: Largest distance in time, such as 30min, 1h or 2d.
        direction: Whether the value may lie before the recording, after it, or either way.
        subject: Column of the subject in the table.
        time: Column of the date and time in the table.
        code: Rows whose code is exactly this, where a table or MEDS folder holds several quantities.
        exclude: A 0/1 column of the table, such as haemolysed; rows with 1 are left out.
        one_to_one: Whether a value serves one recording only.
    """
    from stethos.data.cohort import open_cohort
    from stethos.data.join import Source, measurements
    from stethos.data.join import join as joined
    from stethos.data.write import write_table

    source = Source(subject, time, code="code" if code else None)
    found = joined(
        open_cohort(folder),
        measurements(table, value, source, code or None, exclude or None),
        within,
        direction,
        one_to_one,
    )
    write_table(found.cohort, out)
    return found


def audit(folder: Path) -> Any:
    """Suspected swaps, implausible ages, units and clocks, from the recordings and the table together.

    Args:
        folder: The cohort.
    """
    from stethos.data.audit import audit_pairs
    from stethos.data.cohort import open_cohort

    return audit_pairs(open_cohort(folder))


def hospital(
    *,
    out: Path,
    patients: int = 2000,
    seed: int = 0,
    echo: Annotated[bool, Parameter(negative="")] = False,
    ppg: Annotated[bool, Parameter(negative="")] = False,
) -> str:
    """Write a simulated hospital: recordings (WFDB), records (MEDS) and a cohort.csv.

    Args:
        out: Folder; what is there already is not written again.
        patients: How many.
        seed: Of everything that is drawn.
        echo: With an echo laboratory: reports, and measurements of chambers, valves and vessels.
        ppg: With the pulse at finger or wrist in place of the ECG, pressure and breathing, and notes in the record.
    """
    from stethos.data.write import write_hospital
    from stethos.errors import RecipeError
    from stethos.synth.world import echo_world, hospital_world, ppg_world

    if echo and ppg:
        raise RecipeError("a simulated hospital has an echo laboratory or a pulse; give --echo or --ppg, not both")
    write_hospital(out, patients, seed, echo_world() if echo else ppg_world() if ppg else hospital_world())
    return f"{out}: {patients} simulated patients"


def factory(
    *,
    out: Path,
    train: int = 100,
    test: int = 50,
    sections: int = 3,
    machines: tuple[str, ...] = (),
    seconds: float = 10.0,
    layout: Literal[2020, 2022] = 2020,
    seed: int = 0,
    workers: int | None = None,
) -> str:
    """Write a simulated factory: sounds of machines (WAV) in the folders of DCASE Task 2, and a cohort.csv.

    Args:
        out: Folder; what is there already is not written again.
        train: Normal training clips of each section.
        test: Test clips of each section; half are anomalous.
        sections: Identities of each machine type, 1 to 7.
        machines: Types, any of fan, pump, gearbox, bearing, valve, slider; all where not given.
        seconds: Length of a clip.
        layout: Year of the challenge: 2020 (identities), or 2022 (source and target domain).
        seed: Of everything that is drawn.
        workers: Processes; as many as suit the machine where not given.
    """
    from stethos.data.factory import write_factory
    from stethos.study.progress import bar
    from stethos.synth.anatomy import MACHINES
    from stethos.synth.plan import Plan

    plan = Plan(machines or MACHINES, sections, train, test, seconds, layout)
    with bar("simulating") as progress:
        write_factory(out, plan, seed, progress=progress, workers=workers)
    return f"{out}: {len(plan.machines) * sections * (train + test)} simulated clips"


COHORT: dict[str, Callable[..., Any]] = {"show": show, "import": import_, "join": join, "audit": audit}
