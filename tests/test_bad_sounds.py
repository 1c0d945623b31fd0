"""What people's sounds are like: it works and what was left out is counted, or one sentence and exit code 2."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from stethos.cli import main
from stethos.study import detected
from stethos.types import Predictions, Run

RATE = 16_000
BRIEF = ("--preset", "tiny", "--size", 0.125, "--steps", 2, "--batch", 8, "--validate-every", 2)
ONE = (*BRIEF, "--seconds", 1)


def hum(samples: int = RATE, hertz: float = 120, seed: int = 0) -> np.ndarray:
    noise = 0.02 * np.random.default_rng([seed, samples]).standard_normal(samples)
    return (0.1 * np.sin(2 * np.pi * hertz * np.arange(samples) / RATE) + noise).astype(np.float32)


def put(path: Path, values: np.ndarray, rate: int = RATE, encoding: str = "PCM_16") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, values, rate, subtype=encoding)
    return path


def said(capsys, *arguments: object) -> list[str]:
    """The lines of a command that works."""
    capsys.readouterr()
    main([str(item) for item in arguments])
    return capsys.readouterr().out.splitlines()


def refused(capsys, *arguments: object) -> str:
    """The one sentence of a command that ends with exit code 2 and prints nothing else."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main([str(item) for item in arguments])
    out, words = capsys.readouterr()
    assert (stop.value.code, words.count("\n"), out) == (2, 1, ""), words
    assert words.startswith("stethos: ")
    return words


@pytest.fixture(scope="module", autouse=True)
def _quick():
    """One baseline, the quickest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(detected, "BASELINES", {name: detected.BASELINES[name] for name in list(detected.BASELINES)[:1]})
        yield


@pytest.fixture(scope="module")
def zoo(tmp_path_factory) -> Path:
    """Two machines, with all that a folder may hold."""
    folder = tmp_path_factory.mktemp("Geräusche 2026")
    for seed in range(8):
        put(folder / "Lüfter Süd" / "normal" / f"n {seed}.wav", hum(seed=seed))
        put(folder / "pump" / "normal" / f"n{seed}.wav", hum(hertz=300, seed=seed))
    for machine in ("Lüfter Süd", "pump"):
        put(folder / machine / "fault" / "f 1.wav", hum(hertz=3000))
        put(folder / machine / "fault" / "f 2.wav", hum(hertz=2000))
    odd = folder / "pump" / "normal"
    put(odd / "minute.wav", hum(60 * RATE))
    put(odd / "short.wav", hum(3000))
    put(odd / "stereo.wav", np.stack([hum(), 0.5 * hum()], axis=1))
    put(odd / "44k.wav", hum(44_100), 44_100)
    put(odd / "8k.wav", hum(8000), 8000)
    put(odd / "silent.wav", np.zeros(RATE))
    put(odd / "clipped.wav", np.sign(hum()))
    broken = hum()
    broken[[5, 6]] = np.nan
    put(odd / "nan.wav", broken, encoding="FLOAT")
    (odd / "text.wav").write_text("no sound at all")
    (odd / "empty.wav").write_bytes(b"")
    (odd / "cut.wav").write_bytes((odd / "n0.wav").read_bytes()[:16_000])
    (odd / "notes.txt").write_text("bearing changed in May")
    return folder


@pytest.fixture(scope="module")
def run(zoo, tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("zoo")
    main(["cohort", "import", "sounds", str(zoo), "--out", str(folder / "cohort")])
    main(["os-scl", "train", "--cohort", str(folder / "cohort"), "--out", str(folder / "ein Lauf"), *map(str, ONE)])
    main(["os-scl", "evaluate", str(folder / "ein Lauf")])
    return Run(folder / "ein Lauf")


# --- all sorts of files in one folder -----------------------------------------------------------------------


def test_what_cannot_be_imported_is_counted_by_its_reason(zoo, tmp_path, capsys):
    lines = said(capsys, "cohort", "import", "sounds", zoo, "--out", tmp_path)
    assert lines[0].endswith("28 recordings")
    assert "  left out: 1: header promises 16000 frames, the file holds 7978; copy it again" in lines
    assert "  left out: 3: not a sound" in lines


def test_it_is_trained_and_evaluated_and_what_was_refused_is_counted(run):
    told = json.loads((run.folder / "flow.json").read_text())
    parts = {step["label"]: step for step in told["flow"]}
    assert parts["all recordings"]["records"] == 28
    assert told["refused"] == {
        "100% of the samples are at full scale (clipped); lower the gain and record again": 1,
        "2 of 16000 samples are no numbers (NaN, infinity); export it again": 1,
        "a clip needs sound, and all its samples are the same; look at the microphone": 1,
    }
    heard = sum(parts[name]["records"] for name in ("train", "valid", "internal"))
    lost = sum(int(parts[name]["lost"].partition(" ")[0] or 0) for name in ("train", "valid", "internal"))
    assert (heard, lost) == (25, 3)
    assert (run.private / "refused.csv").read_text().count("\n") == 4
    assert "official" in json.loads(run.metrics.read_text())
    assert "Lüfter Süd" in run.report.read_text()


@pytest.mark.parametrize(
    "name", ["minute", "short", "stereo", "44k", "8k", "silent", "clipped", "nan", "text", "empty", "cut"]
)
def test_every_file_gets_a_score_or_a_reason(run, zoo, capsys, name):
    file = zoo / "pump" / "normal" / f"{name}.wav"
    command = ("os-scl", "predict", run.folder, file, "--machine", "pump/section_00")
    if name in ("nan", "text", "empty", "cut"):
        assert f"{name}.wav: " in refused(capsys, *command)
        return
    (line,) = map(json.loads, said(capsys, *command))
    if name in ("silent", "clipped"):
        assert (line["decision"], line["score"]) == ("abstain", None)
        return
    assert line["decision"] in ("normal", "anomalous")
    assert line["windows"] == {"minute": 60}.get(name, 1)


def test_a_folder_with_all_of_it_is_enrolled_audited_armed_and_watched(run, zoo, tmp_path, capsys, monkeypatch):
    folder, machine = zoo / "pump" / "normal", ("--machine", "pump/section_00")
    lines = said(capsys, "os-scl", "enrol", run.folder, folder, "--machine", "Säge/1")
    assert [line.startswith("left out: ") for line in lines[:6]] == [True] * 6
    assert "enrolled with 13 recordings, 6 left out" in lines[6]
    lines = said(capsys, "os-scl", "threshold", run.folder, folder, *machine, "--alarms-per-week", 1e6)
    assert lines[0].startswith("pump/section_00: threshold ")
    lines = [json.loads(line) for line in said(capsys, "os-scl", "watch", run.folder, folder, *machine)]
    reasons = {line["file"]: line["reason"] for line in lines if line["status"] in ("sensor", "gap")}
    assert set(reasons) == {
        f"{name}.wav" for name in ("8k", "silent", "clipped", "nan", "text", "empty", "cut", "short")
    }
    counts = lines[-1]["sources"]["normal"]["counts"]
    assert counts["sensor"] + counts["gap"] == len(reasons)
    assert counts["ok"] + counts.get("alarm", 0) == 8 + 60 + 2


def test_a_lone_hyphen_is_standard_input(run, zoo, capsys, monkeypatch):
    """With nothing coming in, the monitor ends at once."""
    said(capsys, "os-scl", "threshold", run.folder, zoo / "pump" / "normal", "--machine", "pump/section_00",
         "--alarms-per-week", 1e6)  # fmt: skip
    with (zoo / "pump" / "normal" / "empty.wav").open() as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        (line,) = said(capsys, "os-scl", "watch", run.folder, "-", "--machine", "pump/section_00")
    assert list(json.loads(line)["sources"]) == ["stdin"]


# --- cohorts that say little, or too little -----------------------------------------------------------------


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    """Twelve recordings."""
    folder = tmp_path_factory.mktemp("clips")
    for seed in range(12):
        put(folder / f"{seed}.wav", hum(hertz=120 if seed < 6 else 900, seed=seed))
    return folder


def table(folder: Path, clips: Path, rows: list[dict], **same: str) -> Path:
    """A cohort of the first recordings; columns are those of the first row."""
    (folder / "cohort").mkdir()
    full = [
        {"path": str(clips / f"{number}.wav"), "subject": str(number)} | same | row for number, row in enumerate(rows)
    ]
    lines = [",".join(full[0]), *(",".join(row.values()) for row in full)]
    (folder / "cohort" / "cohort.csv").write_text("\n".join(lines) + "\n")
    return folder / "cohort"


def train(cohort: Path, out: Path, *flags: object) -> tuple[object, ...]:
    return ("os-scl", "train", "--cohort", cohort, "--out", out, *ONE, *flags)


def test_normal_sound_of_one_machine_is_enough_to_train_and_the_report_says_what_it_cannot(clips, tmp_path, capsys):
    cohort = table(tmp_path, clips, [{}] * 8, machine="fan", split="train")
    said(capsys, *train(cohort, tmp_path / "run"))
    said(capsys, "os-scl", "evaluate", tmp_path / "run")
    words = re.sub(r"<[^>]*>", " ", Run(tmp_path / "run").report.read_text())
    assert "of none of the 0 tested recordings is it known whether it is anomalous" in words
    (line,) = map(json.loads, said(capsys, "os-scl", "predict", tmp_path / "run", clips / "9.wav"))
    assert line["machine"] == "fan"  # the only one needs no name


def test_labelled_normals_alone_give_a_rate_of_false_alarms(clips, tmp_path, capsys):
    cohort = table(tmp_path, clips, [{}] * 10, machine="fan", anomaly="0")
    said(capsys, *train(cohort, tmp_path / "run"))
    lines = said(capsys, "os-scl", "evaluate", tmp_path / "run")
    assert set(json.loads(Run(tmp_path / "run").metrics.read_text())) >= {"false_positive_rate"}
    assert not any(line.startswith("official") for line in lines)


def test_a_machine_that_is_only_tested_is_counted_and_the_others_are_judged(clips, tmp_path, capsys):
    rows = [{"machine": "fan", "split": "train", "anomaly": ""}] * 6
    rows += [{"machine": machine, "split": "test", "anomaly": kind} for machine in ("fan", "pump") for kind in "01"]
    said(capsys, *train(table(tmp_path, clips, rows), tmp_path / "run"))
    told = json.loads((tmp_path / "run" / "flow.json").read_text())["flow"][-1]
    assert (told["records"], told["lost"]) == (2, "2 of machines without normal recordings to train on")
    assert set(Predictions.load(Run(tmp_path / "run").predictions).facts["machine"]) == {"fan"}
    said(capsys, "os-scl", "evaluate", tmp_path / "run")


def test_one_recording_for_each_machine_to_train_on_still_has_a_report(clips, tmp_path, capsys):
    rows = [{"machine": machine, "anomaly": "0"} for machine in ("fan", "fan", "pump", "pump")]
    said(capsys, *train(table(tmp_path, clips, rows), tmp_path / "run"))
    said(capsys, "os-scl", "evaluate", tmp_path / "run")


def test_numbers_for_names_keep_their_digits(clips, tmp_path, capsys):
    rows = [{"machine": machine} for machine in ("10000001", "10000002") for _ in range(4)]
    said(capsys, *train(table(tmp_path, clips, rows, split="train"), tmp_path / "run"))
    assert "machines 10000001, 10000002; got none" in refused(
        capsys, "os-scl", "predict", tmp_path / "run", clips / "0.wav"
    )


@pytest.mark.parametrize(
    ("count", "columns", "words"),
    [
        (1, {"machine": "fan", "anomaly": "0"}, "not enough normal recordings are left for the part train"),
        (2, {"machine": "fan", "anomaly": "0"}, "not enough normal recordings are left for the part"),
        (6, {"split": "train"}, "6 of 6 recordings have nothing in the column machine"),
        (6, {"machine": "fan"}, "6 recordings have neither split nor anomaly"),
        (6, {"machine": "fan", "split": "train", "anomaly": "normal"}, "holds 0, 1 or nothing; got normal"),
        (6, {"machine": "fan", "split": "eval"}, "the column split holds train, test or nothing; got eval"),
        (6, {"machine": "fan", "anomaly": "1"}, "the cohort has none outside of its tests"),
        (
            6,
            {"machine": "fan", "split": "train", "domain": "here"},
            "the column domain holds source, target or nothing",
        ),
    ],
)
def test_a_table_that_says_too_little_is_answered_with_what_is_needed(clips, tmp_path, capsys, count, columns, words):
    cohort = table(tmp_path, clips, [{}] * count, **columns)
    assert words in refused(capsys, *train(cohort, tmp_path / "run"))


def test_folders_that_are_none(clips, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("not a folder")
    for folder in ("empty", "nowhere"):
        assert "needs cohort.csv" in refused(capsys, *train(tmp_path / folder, tmp_path / "run"))
        assert "needs" in refused(capsys, "cohort", "import", "sounds", tmp_path / folder, "--out", tmp_path / "out")
    cohort = table(tmp_path, clips, [{}] * 8, machine="fan", split="train")
    for out in ("file", "file/run"):
        assert "folder cannot be made (Not a directory); name another" in refused(
            capsys, *train(cohort, tmp_path / out)
        )
    for verb in ("evaluate", "predict", "explain", "enrol", "audit", "threshold", "watch"):
        rest = () if verb == "evaluate" else (clips / "0.wav",)
        name = ("--machine", "saw") if verb == "enrol" else ()
        words = refused(capsys, "os-scl", verb, tmp_path / "empty", *rest, *name)
        assert "empty holds no" in words or "is not a run" in words


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--classes", "section"), "gives one class only"),
        (("--channel", "2"), "needs channel 2; it has 1"),
        (("--channels", "tgram"), "--channels are mel and any of"),
        (("--lr", "nan"), "got --lr nan"),
        (("--temperature", "0"), "--temperature lie above 0"),
        (("--scale", "nan"), "--scale and --temperature lie above 0"),
        (("--mix-alpha", "nan"), "--mix-alpha are 0 or more"),
        (("--valid-fraction", "0"), "--valid-fraction lies between 0 and 1"),
        (("--seeds", "0"), "at least 1 each"),
        (("--accumulate", "2"), "--accumulate is 1"),
        (("--level", "loud"), "loud"),
        (("--split-seed", "first"), "first"),
    ],
)
def test_flags_that_cannot_be(clips, tmp_path, capsys, flags, words):
    cohort = table(tmp_path, clips, [{}] * 8, machine="fan", split="train")
    assert words in refused(capsys, *train(cohort, tmp_path / "run", *flags))
