"""The page of a detector: its arithmetic in node against Python's, its words, and the folder it is served from."""

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from page_node import NODE, needs_node, run
from test_export_sound import Loudness
from test_page_browser import CHROMIUM, needs_browser, served
from test_page_browser import HERE as DRIVER

from stethos.errors import QualityError, RunError
from stethos.export import browser, run_sound
from stethos.export.browser import RUNTIME, build, exported, runtime_folder, single_file
from stethos.export.graph import write_metadata
from stethos.export.sound import embedding_graph, judge_graph, to_nearest, with_judge
from stethos.io import read
from stethos.io.sound import write_sound
from stethos.nn.mel import LogMel
from stethos.signal.clip import ClipWindows, refuse_unusable
from stethos.study.persistence import kth_largest, segments
from stethos.types import Signal

HERE = browser.PAGE / "sound"


def sounded(seconds: float, rate: float = 16_000.0, channels: int = 1, seed: int = 0) -> Signal:
    generator = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    hum = 0.1 * np.sin(2 * np.pi * 220 * np.arange(1, channels + 1)[:, None] * time)
    values = (hum + 0.03 * generator.standard_normal((channels, len(time)))).astype(np.float32)
    return Signal(values, rate, tuple(str(number + 1) for number in range(channels)), "1")


@needs_node
@pytest.mark.parametrize("level", ["as-is", "rms"])
def test_windows_and_their_level_are_pythons(tmp_path, level):
    cuts = [(0.3, 16_000), (1.0, 16_000), (1.05, 16_000), (1.2, 16_000), (2.5, 16_000), (1.3, 44_100), (1.0, 48_000)]
    paths = [tmp_path / f"{number}.wav" for number in range(len(cuts))]
    for path, (seconds, rate) in zip(paths, cuts, strict=True):
        write_sound(sounded(seconds, rate, channels=2), path, "synthetic")
    program = """
    const [{ wav, windows }, { resample }] = [await load("../sound/clip.js"), await load("resample.js")];
    return given.files.map((bytes) => {
      const { values, rate } = wav(bytes, 2);
      return windows(resample(values, rate, 16000), 16000, given.level);
    });"""
    found = run(program, {"files": [path.read_bytes() for path in paths], "level": level}, tmp_path)
    for path, got in zip(paths, found, strict=True):
        want = ClipWindows(1.0, "2", level).apply(read(path))[:, 0]
        assert np.shape(got) == want.shape
        np.testing.assert_allclose(got, want, rtol=0, atol=3e-7)
    assert [len(windows) for windows in found] == [1, 1, 1, 2, 3, 2, 1]


@needs_node
def test_the_spectrogram_is_pythons_in_whatever_pieces_it_comes(tmp_path):
    sound = sounded(0.7).values[0] * np.linspace(0.001, 1, 11_200).astype(np.float32)
    program = """
    const { Columns } = await load("../sound/spectrogram.js");
    return given.pieces.map((size) => {
      const columns = new Columns(), out = [];
      for (let i = 0; i < given.sound.length; i += size) {
        out.push(...columns.push(Float32Array.from(given.sound.slice(i, i + size))));
      }
      return [...out, ...columns.end()];
    });"""
    want = LogMel()(torch.from_numpy(sound)[None]).numpy()[0].T  # (frames, bands)
    for got in run(program, {"sound": sound, "pieces": [len(sound), 1600, 777]}, tmp_path):
        np.testing.assert_allclose(np.reshape(got, (-1, 128)), want, rtol=0, atol=1e-3)


@needs_node
def test_what_says_nothing_of_a_machine_is_pythons(tmp_path):
    clipped = np.where(np.arange(1000) % 4 == 0, 1.0, 0.1)
    cases = {"": sounded(0.1).values[0], "silent": np.full(500, 0.25), "clipped": clipped, "empty": np.zeros(0)}
    program = """const { unusable } = await load("../sound/clip.js");
    return given.map((values) => unusable(Float32Array.from(values)));"""
    assert run(program, list(cases.values()), tmp_path) == list(cases)
    for name, values in cases.items():
        signal = Signal(np.asarray(values, np.float32)[None], 16_000.0, ("1",), "1")
        if name:
            with pytest.raises(QualityError):
                refuse_unusable(signal)
        else:
            refuse_unusable(signal)


@needs_node
def test_files_of_another_kind_are_refused_in_a_sentence(tmp_path):
    write_sound(sounded(0.1), tmp_path / "a.wav", "synthetic")
    whole = (tmp_path / "a.wav").read_bytes()
    place = whole.index(b"fmt ") + 8
    float_coded = whole[:place] + b"\x03" + whole[place + 1 :]
    program = """const { wav } = await load("../sound/clip.js");
    const tried = (work) => { try { return work(); } catch (error) { return error.message; } };
    return given.map(([bytes, channel]) => tried(() => wav(bytes, channel).values.length));"""
    found = run(program, [[whole, 1], [whole, 2], [b"ID3 no sound", 1], [b"", 1], [float_coded, 1]], tmp_path)
    assert found[:2] == [1600, "The file needs a channel 2 and has 1; record that one."]
    assert set(found[2:]) == {"The file needs to be a WAV of 16-bit PCM and is not; convert it."}


@needs_node
def test_an_alarm_holds_where_the_monitors_does(tmp_path):
    scores = np.random.default_rng(1).random(60)
    scores[[7, 20, 21, *range(40, 45), *range(50, 56)]] = np.nan
    program = """const { alarmed } = await load("../sound/clip.js");
    return given.scores.map((_, i) => alarmed(given.scores.slice(0, i + 1), given.alarm));"""
    for k, n in ((1, 1), (2, 3), (3, 5)):
        found = run(program, {"scores": scores, "alarm": {"threshold": 0.6, "k": k, "n": n}}, tmp_path)
        judged = [bool(held) for held, score in zip(found, scores, strict=True) if np.isfinite(score)]
        start = np.flatnonzero(np.isfinite(scores))
        highest = kth_largest(scores[start], k, n, segments(start.astype(float), n, 1.0))
        assert judged == (highest > 0.6).tolist()
        assert 3 < sum(judged) < len(judged)


def test_no_words_call_a_machine_healthy():
    words = [json.loads(path.read_text()) for path in browser.PAGE.glob("words/*.json")]
    every = " ".join(text for said in words for key, text in said.items() if key.startswith("sound_")).lower()
    assert len(words) == 3
    assert len(every) > 2000
    assert not re.search(r"healthy|\bis fine|all clear|is normal|gesund|fehlerfrei|健康|无故障|一切正常", every)


# --- in a browser -------------------------------------------------------------------------------------------


@needs_browser
def test_the_page_hears_what_python_hears_and_counts_to_an_alarm(export, tmp_path):
    normals = np.random.default_rng(0).standard_normal((2, 4, 128)) - 1
    judges = [to_nearest(item, 1) for item in normals]
    about = json.loads((export / "export.json").read_text())
    alarm = {"threshold": 0.01, "k": 2, "n": 3, "rearm": 30}
    others = {"threshold": 1.9, "alarm": alarm, "alarm_says": "0 false alarms in 1100 h"}
    about["names"].append("fan/id_01")
    about["machines"].append({"name": "fan/id_01", **others})
    (export / "export.json").write_text(json.dumps(about))
    graphs = {"score": with_judge(embedding_graph([Loudness(0.01)], 16_000), judges, 1, 128)}
    graphs["judge"] = judge_graph(judges, 1, 128)
    for name, graph in graphs.items():
        write_metadata(graph, about)
        (export / f"{name}.onnx").write_bytes(graph.SerializeToString())
    file, capture = tmp_path / "file.wav", tmp_path / "capture.wav"
    write_sound(sounded(2.6, 44_100.0), file, "synthetic")
    write_sound(sounded(10.0, 48_000.0), capture, "synthetic")
    heard = run_sound.opened(export)
    want = run_sound.scores(heard, run_sound.prepared(*run_sound.read(file, "1"), about))
    folder = build(export, runtime_folder(DRIVER), tmp_path / "page")
    single = single_file(folder, tmp_path / "one.html").as_uri()
    with served(folder) as url:
        given = {"url": url, "single": single, "file": str(file), "capture": str(capture), "out": str(tmp_path)}
        given["chromium"] = CHROMIUM
        (tmp_path / "given.json").write_text(json.dumps(given))
        command = [str(NODE), str(DRIVER / "sound.mjs"), str(tmp_path / "given.json")]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr
    seen = json.loads(ended.stdout)
    assert seen["before"].startswith("Tick the box")
    assert [seen["file"]["score"], seen["other"]["score"]] == pytest.approx(want.tolist(), rel=1e-4)
    assert "above the threshold of 0.4" in seen["file"]["text"]
    assert "that is no proof that it is in order" in seen["other"]["text"]
    assert "ALARM: 2 of the last 3 blocks lie above 0.01." in seen["live"]["text"]
    assert seen["live"]["score"] == pytest.approx(want[1], rel=0.2)
    assert re.match(r"Listening: \d+ s, a score every 1 s", seen["live"]["status"])
    assert seen["painted"] > 100
    assert (seen["serious"], seen["complaints"]) == ([], [])
    assert seen["width"] <= 360
    assert seen["single"]["text"] == seen["file"]["text"]
    assert seen["single"]["score"] == seen["file"]["score"]
    assert all(request.startswith((url, single, "blob:", "data:")) for request in seen["requests"])


# --- the folder that is served ------------------------------------------------------------------------------


@pytest.fixture
def export(tmp_path: Path) -> Path:
    folder = tmp_path / "export"
    folder.mkdir()
    machine = {"name": "fan/id_00", "threshold": 0.4, "alarm": None, "alarm_says": "none was set"}
    about = {
        "kind": "sound", "system": "os_scl", "version": "0", "model": "0" * 64, "origin": "synthetic", "channel": "1",
        "names": ["fan/id_00"], "machines": [machine], "rate": 16_000, "seconds": 1.0, "samples": 16_000,
        "level": "as-is", "limits": "", "target": "anomalous sound",
    }  # fmt: skip
    (folder / "export.json").write_text(json.dumps(about))
    for name in ("score", "judge"):
        (folder / f"{name}.onnx").write_text(name)
    return folder


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    folder = tmp_path / "runtime"
    folder.mkdir()
    for name in RUNTIME:
        (folder / name).write_text(name)
    return folder


def test_the_page_of_a_detector_is_the_folders_index_with_all_that_it_asks_for(export, runtime, tmp_path):
    folder = build(export, runtime, tmp_path / "out")
    assert (folder / "index.html").read_bytes() == (browser.PAGE / "sound.html").read_bytes()
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    listed = set(json.loads(re.search(r"FILES = (\[.*\])", (folder / "sw.js").read_text())[1]))
    assert listed == there - {"sw.js"} | {"./"}
    for script in folder.glob("sound/*.js"):
        text = script.read_text()
        for name in re.findall(r'(?:from|import) "(\.[\w./-]+)"', text):
            assert (script.parent / name).is_file(), f"{script.name} imports {name}"
        for name in re.findall(r'"([\w./-]+\.(?:js|json|onnx|mjs|wasm))"', text):
            assert name in there or (script.parent / name).is_file() or (folder / "js" / name).is_file(), name
    for name in re.findall(r'(?:src|href)="([\w./]+)"', (folder / "index.html").read_text()):
        assert name in there
    for shared in folder.glob("js/*.js"):
        for name in re.findall(r'from "\./([\w.]+)"', shared.read_text()):
            assert (folder / "js" / name).is_file(), f"{shared.name} imports {name}"
    text = single_file(folder, tmp_path / "one.html").read_text()
    assert not re.search(r'(src|href)="(?!#)', text)
    parts = json.loads(re.search(r'id="parts"[^>]*>(.*)</script>', text)[1])
    assert {part["name"] for part in parts} == there - {"index.html", "app.css", "icon.svg", "sw.js"}
    assert 'data-page="sound/sound.js"' in text


def test_an_export_of_a_detector_that_lacks_a_field_is_refused(export):
    about = json.loads((export / "export.json").read_text())
    del about["machines"]
    (export / "export.json").write_text(json.dumps(about))
    with pytest.raises(RunError, match="lacks machines; export the run again"):
        exported(export)
