"""The page in a real browser: Python's score, no request to outside, no network needed, keys, screen readers, paper.

One process of node drives Chromium through all checks (`page_browser/check.mjs`); the tests judge what it saw.
"""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import threading
import zlib
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha512
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_export import DISEASES, POINTS, export_of, export_of_echo, untrained_echo, untrained_run
from page_node import NODE, needs_node

from stethos.cli import main
from stethos.errors import FormatError, RecipeError, RunError
from stethos.export import browser
from stethos.export.browser import RUNTIME, build, exported, fetch_runtime, runtime_folder, sample_strips, single_file
from stethos.export.serve import POLICY, address, server
from stethos.io import read
from stethos.signal.beats import heart_rate, r_peaks
from stethos.signal.quality import windows
from stethos.systems import anyecg_echo, pocket_k

HERE = Path(__file__).parent / "page_browser"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = os.environ.get("STETHOS_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), "")
PACKED = sys.platform == "linux" and (HERE / "node_modules" / "@sparticuz" / "chromium").is_dir()
INSTALLED = (HERE / "node_modules" / "playwright-core").is_dir()
needs_browser = pytest.mark.skipif(
    NODE is None or not INSTALLED or not (CHROMIUM or PACKED),
    reason="no browser: needs node, and npm ci in tests/page_browser, which brings a Chromium for Linux",
)
HEAD = "Sample Rate,500 hertz\n\nLead,Lead I\nUnit,mV\n\n"
FIGURE = r"[\d.]+"


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    untrained_run(folder / "run")
    return export_of(folder / "run", folder / "run" / "export")


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of 13 diseases."""
    folder = tmp_path_factory.mktemp("echo")
    untrained_echo(folder / "run")
    return export_of_echo(folder / "run", folder / "run" / "export")


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    """Files with the names of the runtime's."""
    folder = tmp_path / "runtime"
    folder.mkdir()
    for name in RUNTIME:
        (folder / name).write_text(name)
    return folder


@pytest.fixture(scope="module")
def strips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Recordings as files: 10 s; 30 s of which 10 are good, 10 noise and 10 middling, and the first and last of these
    alone; noise, bytes, and numbers without a word.
    """
    folder = tmp_path_factory.mktemp("strips")
    good, lines = (text.decode().split("Unit,mV\n\n")[1].split() for _, text in sorted(sample_strips().items()))
    noise = [f"{value:.4f}" for value in np.random.default_rng(0).normal(0, 0.3, 5000)]
    made = {
        "strip": HEAD + "\n".join(lines[:5000]),
        "long": HEAD + "\n".join(good[:5000] + noise + lines[10000:15000]),
        "first": HEAD + "\n".join(good[:5000]),
        "last": HEAD + "\n".join(lines[10000:15000]),
        "poor": HEAD + "\n".join(noise),
        "bare": "mV\n" + "\n".join(lines[:5000]),
    }
    for name, text in made.items():
        (folder / f"{name}.csv").write_text(text + "\n")
    (folder / "corrupt.csv").write_bytes(bytes(range(256)) * 40)
    return {path.stem: path for path in folder.iterdir()}


@pytest.fixture(scope="module")
def seen(export: Path, echo: Path, strips: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What every check saw."""
    out = Path(os.environ.get("STETHOS_SCREENSHOTS") or tmp_path_factory.mktemp("seen"))
    folder = build(export, runtime_folder(HERE), out / "page")
    given = {
        "files": {name: str(path) for name, path in strips.items()},
        "out": str(out),
        "single": single_file(folder, out / "single.html").as_uri(),
        "chromium": CHROMIUM,
    }
    several = build(echo, runtime_folder(HERE), out / "several")
    with served(folder) as url, served(several) as second:
        (out / "given.json").write_text(json.dumps({**given, "url": url, "several": second}))
        command = [str(NODE), str(HERE / "check.mjs"), str(out / "given.json")]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    return {**found, "url": url, "several_url": second, "out": out}


class served:
    """A server of a folder, for as long as it is needed."""

    def __init__(self, folder: Path) -> None:
        self.made = server(folder)

    def __enter__(self) -> str:
        threading.Thread(target=self.made.serve_forever, daemon=True).start()
        return address(self.made)

    def __exit__(self, *_: object) -> None:
        self.made.shutdown()
        self.made.server_close()


def saw(seen: dict[str, Any], name: str) -> dict[str, Any]:
    assert "failed" not in seen[name], seen[name]["failed"]
    return seen[name]


def told(export: Path, path: Path) -> dict[str, Any]:
    (answer,) = pocket_k.predict(export.parent, [path], age=60, paced=False, allow_synthetic_model=True)
    return answer


@needs_browser
@pytest.mark.parametrize("name", ["strip", "long"])
def test_a_file_gets_the_score_of_python(seen: dict, export: Path, strips: dict, name: str):
    python = told(export, strips[name])
    page = saw(seen, {"strip": "score", "long": "long"}[name])
    assert page["logit"] == pytest.approx(python["logit"], abs=1e-4)
    used, count = python["windows_used"], python["windows"]
    assert f"{used} of {count} stretches were used. Score {python['score']:.3f}" in page["text"]


@needs_browser
def test_a_window_weighs_as_much_as_its_quality(seen: dict, export: Path, strips: dict):
    logits = [told(export, strips[name])["logit"] for name in ("first", "last")]
    quality = [windows(read(strips[name]).pick("I"))[0].score for name in ("first", "last")]
    assert abs(np.average(logits, weights=quality) - np.mean(logits)) > 0.02
    assert saw(seen, "long")["logit"] == pytest.approx(np.average(logits, weights=quality), abs=1e-3)


@needs_browser
def test_every_window_has_its_verdict(seen: dict, strips: dict):
    judged = windows(read(strips["long"]).pick("I"))
    assert [window.reason for window in judged] == ["", "noise", ""]
    first, second, third = saw(seen, "long")["windows"]
    assert first == f"0–10 s: used, quality {round(judged[0].score, 2):g} of 1"
    assert second == "10–20 s: not used: noise"
    assert third.startswith("20–30 s: used, quality 0.")
    first, after = (float(re.search(rf"from ({FIGURE}) to", label)[1]) for label in saw(seen, "long")["dragged"])
    assert after - first == pytest.approx(200 / (25 * 96 / 25.4), abs=0.06)  # pixels over those of a second


@needs_browser
def test_the_answer_is_the_observed_risk_of_its_group(seen: dict, export: Path):
    page, about = saw(seen, "score"), json.loads((export / "export.json").read_text())
    (group,) = (
        one for one in about["risk_groups"]
        if (one["from"] is None or page["logit"] >= one["from"]) and (one["to"] is None or page["logit"] < one["to"])
    )  # fmt: skip
    risk, low, high = (float(x) for x in re.search(
        rf"Of 100 recordings with a score like this, ({FIGURE}) \(({FIGURE}) to ({FIGURE})\) had potassium > 5.5, "
        "in the simulated hospital", page["text"],
    ).groups())  # fmt: skip
    assert (risk, low, high) == pytest.approx([100 * group[name] for name in ("risk", "low", "high")], abs=0.5)
    side = "above" if page["logit"] >= about["threshold"]["logit"] else "below"
    assert f"The score lies {side} the operating point." in page["text"]
    assert "Synthetic" in page["text"]
    assert "Research software, not a medical device" in page["warning"]


@needs_browser
def test_outside_of_the_intended_use_it_abstains_with_the_reason(seen: dict):
    young, refused = saw(seen, "score")["young"], saw(seen, "refused")
    assert young["logit"] is None
    assert "people aged 18 and over" in young["text"]
    assert "does not score a person's recording" in refused["real"]["text"]
    assert refused["real"]["logit"] is None
    assert "No stretch of 10 s can be judged: noise." in refused["poor"]["text"]


@needs_browser
def test_a_corrupt_file_gets_one_sentence_and_a_bare_one_a_question(seen: dict, export: Path, strips: dict):
    refused = saw(seen, "refused")
    assert re.search(r"corrupt\.csv: needs .* and is none; export it as one of these\.$", refused["corrupt"])
    assert re.search(r"bare\.csv: needs a (unit|rate)", refused["bare"])
    assert "the file does not state its lead" in refused["unstated"]["text"]
    assert not refused["asks"]
    assert refused["stated"]["logit"] == pytest.approx(told(export, strips["strip"])["logit"], abs=1e-4)


@needs_browser
def test_it_works_without_a_network_after_the_first_load(seen: dict):
    page = saw(seen, "offline")
    assert page["before"] == page["after"]
    assert page["before"] == saw(seen, "score")["logit"]


@needs_browser
def test_no_request_leaves_this_machine(seen: dict):
    own = [url for url in seen["requests"] if url.startswith(seen["url"])]
    assert f"{seen['url']}score.onnx" in own
    assert f"{seen['url']}ort/ort-wasm-simd-threaded.wasm" in own
    here = (seen["url"], seen["several_url"], "blob:", "data:", "file:")
    rest = [url for url in seen["requests"] if not url.startswith(here)]
    assert rest == []
    assert seen["complaints"] == []


@needs_browser
def test_one_file_on_a_disk_says_the_same(seen: dict):
    page = saw(seen, "singleFile")
    assert page["logit"] == saw(seen, "score")["logit"]
    assert page["bars"] == 7


@needs_browser
def test_a_strap_is_shown_and_not_scored(seen: dict):
    page = saw(seen, "strap")
    assert page["dark"][0] > 500  # pixels of the line; neither grid nor letters are so dark
    assert page["control"] == [[2, 0, 0, 1, 0x82, 0, 1, 1, 14, 0], [3, 0]]
    assert re.search(r"lead chest, 130 Hz, .* 75 beats a minute", page["facts"])  # a beat every 0.8 s
    assert page["logit"] is None
    assert "A chest strap is not lead I" in page["text"]


@needs_browser
def test_keys_alone_do(seen: dict):
    page = saw(seen, "keyboard")
    assert all(page["reached"].values()), page["reached"]
    start, stop = (
        [float(x) for x in re.search(rf"from ({FIGURE}) to ({FIGURE}) s", page[name]).groups()]
        for name in ("before", "moved")
    )
    assert start[0] == 0
    assert stop[0] > 1
    assert stop[1] - stop[0] == pytest.approx(start[1] - start[0], abs=0.11)
    first, last = (float(x) for x in re.search(rf"from ({FIGURE}) to ({FIGURE}) s", page["larger"]).groups())
    assert last - first == pytest.approx((stop[1] - stop[0]) / 2, abs=0.11)
    assert "QRS" in page["spoken"]  # read aloud


@needs_browser
def test_contributions_are_those_of_python_and_can_be_cancelled(seen: dict, export: Path, strips: dict):
    page = saw(seen, "contributions")
    assert page["cancelled"] == {"bars": 0, "status": "Cancelled."}
    (python,) = pocket_k.explain(export.parent, strips["long"], allow_synthetic_model=True)
    shown = [float(value.replace("−", "-")) for _, value in page["rows"]]
    assert shown == pytest.approx(list(python["shapley"].values()), abs=0.0051)  # two decimals are shown
    raised, lowered = page["coloured"]
    assert raised + lowered > 300  # pixels of the trace and of its ribbon


@needs_browser
def test_answers_are_kept_exported_and_erased_here_only(seen: dict):
    page, score = saw(seen, "history"), saw(seen, "score")
    assert "strip.csv" in page["row"]
    assert "Synthetic" in page["row"]
    (kept,) = page["exported"]
    assert kept["answers"][0]["logit"] == score["logit"]
    assert kept["origin"] == "synthetic"
    assert page["left"] == 0


@needs_browser
def test_three_languages_say_the_same(seen: dict):
    page = saw(seen, "languages")
    for name, words in (("en", "not a medical device"), ("de", "kein Medizinprodukt"), ("zh", "非医疗器械")):
        assert page[name]["lang"] == name
        assert words in page[name]["all"]
        assert page[name]["logit"] == saw(seen, "score")["logit"]
    assert "Kalium > 5.5" in page["de"]["text"]
    assert len({page[name]["text"] for name in page if name != "seconds"}) == 3


def drawn_scales(pdf: bytes) -> list[float]:
    """Points that a unit of each drawing on the first page takes, as its matrices tell."""
    found = re.findall(rb"FlateDecode[^>]*>>\s*stream\r?\n(.*?)endstream", pdf, re.DOTALL)
    page = next(text for text in map(zlib.decompress, found) if b" cm\n" in text)
    outer, *inner = (float(one) for one in re.findall(rb"([\d.]+) 0 0 -?[\d.]+ [\d.]+ [\d.]+ cm\n", page))
    return [outer * one for one in inner if one != 1]  # what moves alone is not scaled


@needs_browser
def test_paper_is_at_true_size(seen: dict):
    page = saw(seen, "printed")
    assert page["rows"] == pytest.approx([6 * 25 * 96 / 25.4] * 5, abs=0.5)  # 30 s in rows of 6 s, 25 mm a second
    scales = drawn_scales((seen["out"] / "printed.pdf").read_bytes())
    assert len(scales) > 5
    assert scales == pytest.approx([0.75] * len(scales), abs=0.001)  # points in 1/96 inch
    assert page["hidden"]
    assert "not a medical device" in page["text"]
    assert "long.csv" in page["text"]
    assert page["bytes"] > 20_000


@needs_browser
@pytest.mark.parametrize("state", ["", "-empty"])
@pytest.mark.parametrize("name", ["390-light", "390-dark", "1280-light", "1280-dark"])
def test_it_can_be_read_by_all_and_fits(seen: dict, name: str, state: str):
    page = saw(seen, "looks")[f"{name}{state}"]
    assert page["violations"] == []
    assert page["overflow"] <= 0
    assert (seen["out"] / f"{name}{state}.png").stat().st_size > 20_000


@needs_browser
def test_several_outcomes_get_the_scores_of_python_and_the_foremost_stand_first(seen: dict, echo: Path, strips: dict):
    page = saw(seen, "several")
    (python,) = anyecg_echo.predict(echo.parent, [strips["long"]], age=60, paced=False, allow_synthetic_model=True)
    points = dict(zip(DISEASES, POINTS, strict=True))
    by_name = {name.replace("_", " "): name for name in DISEASES}
    order = [by_name[row[0]] for row in page["rows"]]
    assert sorted(order) == sorted(DISEASES)
    logit = {name: python["labels"][name]["logit"] for name in DISEASES}
    for name in order:
        told = page["each"][name.replace("_", " ")]
        assert told["logit"] == pytest.approx(logit[name], abs=1.5e-4)  # Python rounds to four decimals
        assert told["focused"] == name.replace("_", " ")
    margins = [logit[name] - points[name] for name in order if points[name] is not None]
    assert margins == sorted(margins, reverse=True)
    assert order[-1] == DISEASES[0]  # has no operating point
    above = sum(margin >= 0 for margin in margins)
    assert 0 < above < 12
    assert [row[2].startswith("above") for row in page["rows"]] == [i < above for i in range(13)]
    assert f"{above} of 13 outcomes lie above their operating points" in page["told"]["status"]
    assert "some do so by chance" in page["told"]["caption"]
    assert page["first"]["text"].startswith(page["rows"][0][0])


@needs_browser
def test_every_outcome_has_its_own_risk_point_and_contributions(seen: dict, echo: Path, strips: dict):
    page, about = saw(seen, "several"), json.loads((echo / "export.json").read_text())
    (python,) = anyecg_echo.explain(echo.parent, strips["long"], allow_synthetic_model=True)
    for shown, risk, side in page["rows"]:
        name, told = shown.replace(" ", "_"), page["each"][shown]
        (group,) = [
            one for one in about["risk_groups"]
            if one["name"] == name and (one["from"] is None or told["logit"] >= one["from"])
            and (one["to"] is None or told["logit"] < one["to"])
        ] or [None]  # fmt: skip
        wanted = "not known" if group is None else [100 * group[key] for key in ("risk", "low", "high")]
        assert risk == wanted or [float(x) for x in re.findall(FIGURE, risk)] == pytest.approx(wanted, abs=0.05)
        assert (f"had {shown}, in the simulated hospital" in told["text"]) == (group is not None)
        last = name == DISEASES[0]  # a fifth of those without it lies above, a tenth of those with it below
        assert re.fullmatch(
            r"No operating point\." if last else "above, like 20 of 100 without it|below, like 10 of 100 with it", side
        )
        values = [float(value.replace("−", "-")) for value in told["bars"]]
        assert values == pytest.approx(list(python["labels"][name]["shapley"].values()), abs=0.0051)
    spoken = [page["each"][row[0]]["spoken"] for row in page["rows"][1:]]
    assert all("had" in text or "No calibrated risk" in text for text in spoken)


@needs_browser
def test_a_page_of_several_outcomes_can_be_read_by_all_kept_and_printed(seen: dict):
    page = saw(seen, "several")
    for name, look in page["looks"].items():
        assert (look["violations"], look["overflow"] <= 0) == ([], True), name
    first = page["rows"][0][0]
    assert re.search(r"of 13 outcomes lie above .*" + first, page["history"])
    assert "Arbeitspunkt" in page["words"]["de"]
    assert "工作点" in page["words"]["zh"]
    assert all(row[0] in page["printed"] for row in page["rows"])
    assert page["hidden"]
    assert page["young"]["logit"] is None
    assert "people aged 18 and over" in page["young"]["text"]


@needs_browser
def test_it_can_be_installed(seen: dict):
    page = saw(seen, "manifest")
    assert page["errors"] == []
    assert [error["errorId"] for error in page["installabilityErrors"] if error["errorId"] != "in-incognito"] == []


@needs_browser
def test_the_page_stays_answerable_while_it_works(seen: dict):
    page = saw(seen, "tasks")
    assert page["count"] > 50
    assert page["longest"] < 100  # ms


def test_words_are_whole_in_three_languages():
    words = {path.stem: json.loads(path.read_text()) for path in browser.PAGE.glob("words/*.json")}
    assert sorted(words) == ["de", "en", "zh"]
    english = words["en"]
    for said in words.values():
        assert list(said) == list(english)  # in one order, to be compared
        for key, text in said.items():
            assert text.strip(), key
            assert set(re.findall(r"\{\w+\}", text)) == set(re.findall(r"\{\w+\}", english[key])), key
    scripts = [path.read_text() for folder in ("js", "sound") for path in (browser.PAGE / folder).glob("*.js")]
    page = "".join([*scripts, *((browser.PAGE / name).read_text() for name in ("index.html", "sound.html"))])
    asked = set(re.findall(r'data-(?:word|label)="([\w ]+)"', page)) | set(re.findall(r'say\("(\w+)"', page))
    assert asked <= set(english)
    for key in set(english) - asked:  # asked for by a name that is put together, or chosen between two
        assert re.search(rf'"{key}"', page) or re.match(r"(reason|why|quantity)_|sound_(empty|silent|clipped)", key), (
            key
        )
    every = " ".join(text for said in words.values() for text in said.values()).lower()
    assert not re.search(r"low risk|no action|all clear|geringes risiko|unbedenklich|低风险|无需处理|放心", every)


def test_what_draws_imports_nothing_that_computes():
    found, left = set(), ["app.js"]
    while left:
        name = left.pop()
        found.add(name)
        text = (browser.PAGE / "js" / name).read_text()
        left += sorted(set(re.findall(r'from "\./([\w.]+)"', text)) - found)
    assert {"trace.js", "report.js", "words.js", "files.js"} < found
    assert (
        not {"worker.js", "graph.js", "formats.js", "prepare.js", "quality.js", "beats.js", "waves.js", "shapley.js"}
        & found
    )


def asked(url: str, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    with closing(HTTPConnection(url.split("/")[2])) as connection:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()


def test_the_server_is_strict(export: Path, runtime: Path, tmp_path: Path):
    folder = build(export, runtime, tmp_path / "out")
    with served(folder) as url:
        status, headers, body = asked(url, "/")
        assert (status, body) == (200, (folder / "index.html").read_bytes())
        assert headers["Content-Security-Policy"] == POLICY
        assert headers["X-Content-Type-Options"] == "nosniff"
        kinds = {name: asked(url, f"/{name}")[1]["Content-Type"].split(";")[0] for name in ("js/app.js", "sw.js")}
        assert set(kinds.values()) == {"text/javascript"}
        assert asked(url, "/ort/ort-wasm-simd-threaded.wasm")[1]["Content-Type"] == "application/wasm"
        assert asked(url, "/", **{"If-None-Match": headers["ETag"]})[0] == 304
        assert asked(url, "/", Host="stethos.example:80")[0] == 421
        for path in ("/../given.json", "/js/", "/nothing", "/ort/../../run/config.json"):
            assert asked(url, path)[0] == 404
        with pytest.raises(RecipeError, match="is taken"):
            server(folder, int(url.split(":")[2].strip("/")))


def test_no_policy_names_an_outside_origin():
    page = (browser.PAGE / "index.html").read_text()
    (meta,) = re.findall(r'Content-Security-Policy" content="([^"]*)', page)
    for policy in (POLICY, meta):
        assert policy.startswith("default-src 'self'")
        assert not re.search(r"https?:|\*|unsafe-inline|unsafe-eval'(?<!wasm-unsafe-eval')", policy)
    assert not re.search(r"(src|href)=\"(https?:)?//", page)


def test_the_service_worker_keeps_every_file_and_knows_another_model(export: Path, runtime: Path, tmp_path: Path):
    folder = build(export, runtime, tmp_path / "out")
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    text = (folder / "sw.js").read_text()
    listed = set(json.loads(re.search(r"FILES = (\[.*\])", text)[1]))
    assert listed == there - {"sw.js"} | {"./"}
    other = tmp_path / "other"
    shutil.copytree(export, other)
    (other / "score.onnx").write_bytes(b"another")
    assert (build(other, runtime, tmp_path / "out2") / "sw.js").read_text() != text


def test_the_sample_strips_are_two_good_recordings(tmp_path: Path):
    made = sample_strips()
    assert made == sample_strips()
    for name, content in made.items():
        (tmp_path / name).write_bytes(content)
        lead = read(tmp_path / name).pick("I")
        assert lead.duration == 30
        assert all(window.ok for window in windows(lead))
        assert 40 < heart_rate(r_peaks(lead), lead.rate) < 130


def test_what_is_no_export_is_refused_with_what_to_do(export: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    assert exported(export.parent)[0] == export  # a run that holds one
    with pytest.raises(SystemExit) as ended:
        main(["app", str(tmp_path)])
    assert ended.value.code == 2
    assert f"stethos export {tmp_path}" in capsys.readouterr().err
    about = json.loads((export / "export.json").read_text())
    changes = (
        ({"lead": None}, "lacks lead"),
        ({"threshold": {"logit": None}}, "operating point"),
        ({"names": ["a", "b"], "threshold": {"logit": [None, None]}}, "operating point"),
        ({"windows": "mean of the logits of complete windows"}, "was tested with the mean of .*; export the run again"),
    )
    for change, words in changes:
        new = {**about, **change}
        (tmp_path / "export.json").write_text(json.dumps({k: v for k, v in new.items() if v is not None}))
        with pytest.raises(RunError, match=words):
            exported(tmp_path)


def test_the_command_writes_a_folder_and_a_file(export: Path, runtime: Path, tmp_path: Path):
    out, one = tmp_path / "site", tmp_path / "one.html"
    main(["app", str(export), "--runtime", str(runtime), "--out", str(out), "--single-file", str(one)])
    assert (out / "index.html").is_file()
    text = one.read_text()
    assert "default-src 'none'" in text
    assert not re.search(r'(src|href)="(?!#)', text)


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[bytes]:
    """A registry on this machine with a small package; its bytes."""
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w:gz") as package:
        for name in RUNTIME:
            content = name.encode()
            entry = tarfile.TarInfo(f"package/dist/{name}")
            entry.size = len(content)
            package.addfile(entry, io.BytesIO(content))

    integrity = f"sha512-{b64encode(sha512(held.getvalue()).digest()).decode()}"

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            dist = {"tarball": f"http://{self.headers['Host']}/package.tgz", "integrity": integrity}
            version = {"name": "onnxruntime-web", "version": browser.VERSION, "dist": dist}
            told = {"name": "onnxruntime-web", "dist-tags": {}, "versions": {browser.VERSION: version}}
            self.send_response(200)
            self.end_headers()
            self.wfile.write(held.getvalue() if self.path.endswith(".tgz") else json.dumps(told).encode())

        def log_message(self, *_: Any) -> None:
            pass

    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", address(made))
    monkeypatch.setenv("NPM_CONFIG_CACHE", str(tmp_path / "npm"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield held.getvalue()
    made.shutdown()
    made.server_close()


@needs_node
def test_the_runtime_is_fetched_only_when_asked_and_only_if_it_is_the_pinned_one(registry: bytes):
    with pytest.raises(RunError, match="--fetch-runtime"):
        runtime_folder()
    with pytest.raises(FormatError, match="not the package that was pinned"):
        runtime_folder(fetch=True)
    assert not browser.cache().exists()
    folder = fetch_runtime(b64encode(sha512(registry).digest()).decode())
    assert {path.name for path in folder.iterdir()} == set(RUNTIME)
    assert runtime_folder() == folder


def test_a_runtime_that_cannot_be_fetched_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(RunError, match="needs npm, which is not here"):
        fetch_runtime()


def test_a_named_folder_without_the_runtime_is_refused(tmp_path: Path):
    with pytest.raises(RunError, match=re.escape(str(tmp_path))):
        runtime_folder(tmp_path)
