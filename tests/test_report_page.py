import csv
import io
import re
import shutil
import subprocess
from html.parser import HTMLParser
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from stethos.metrics.calibration import Reliability
from stethos.report import card, picture
from stethos.report.page import Page, Section, Tile
from stethos.report.table import Table
from stethos.report.wording import MACHINES
from stethos.types import Estimate, Signal

HOSTILE = 'St <script>alert(1)</script> & "Sons" id="figure-1" ${x} {{7*7}} --> ]]>'
AREA = Estimate(0.912, 0.897, 0.926, 400, 23)
VOID = {"meta", "link", "br", "hr", "img", "input"}


class Outline(HTMLParser):
    """Ids, tags and links of a page; fails where tags do not close in order."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.tags, self.addresses, self.downloads = [], [], [], [], {}

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        self.handle_startendtag(tag, attrs)

    def handle_startendtag(self, tag, attrs):
        given = dict(attrs)
        self.tags.append(tag)
        self.ids += [given["id"]] if "id" in given else []
        self.addresses += [given[name] for name in ("href", "src", "xlink:href", "action", "data") if name in given]
        if "download" in given:
            self.downloads[given["download"]] = given["href"]
        assert not any(name.startswith("on") for name in given)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def outline(html):
    parser = Outline()
    parser.feed(html)
    parser.close()
    assert parser.open == []
    return parser


def everything(origin="synthetic", name="external"):
    curve = {name: (np.array([0, 0.1, 1.0]), np.array([0, 0.8, 1.0]))}
    grid = np.linspace(0, 1, 5)
    thresholds = np.array([0.1, 0.2])
    benefit = {name: np.array([0.03, 0.02])}
    score, truth = np.linspace(-2, 2, 40), np.repeat([0.0, 1.0], 20)
    signal = Signal(np.sin(np.arange(300) / 20)[None], 100, ("I",), "mV")
    pictures = [
        picture.roc("ROC", curve, {name: (grid, grid * 0.5, grid)}, {name: AREA}),
        picture.calibration(
            "Calibration",
            {name: Reliability(*np.array([[0.1], [0.12], [0.1], [0.2], [40]]))},
            {name: np.array([0.1, 0.2])},
        ),
        picture.decision("Decision", thresholds, benefit, np.array([0.02, 0.0])),
        picture.forest("Forest", [(name, AREA, HOSTILE)], 0.5, "AUROC"),
        picture.scores("Scores", score, truth, 0.0),
        picture.training("Training", {name: (np.arange(3), np.ones(3))}, {"AUROC": (np.arange(3), np.ones(3))}),
        picture.flow("Flow", [(name, 9, 8, ""), ("end", 7, 6, name)], [(name, 4, 3)]),
        picture.trace("Trace", signal, np.sin(np.arange(300) / 20), caption=name),
    ]
    table = Table(("cohort", "AUROC"), [(name, AREA), ("none", None)], f"Areas of {name}", "Wilson.")
    sections = [
        Section(f"All of {name}", [f"First {name}.\n\nSecond 2.", table, *pictures]),
        card.section(origin, {"what": name, "results": {name: AREA}}),
    ]
    tiles = [Tile(f"AUROC, {name}", AREA, name), Tile("Looked", "once")]
    return Page(f"Report of {name}", origin, f"In {name} it was 0.912.", tiles, sections, {"command": name})


@pytest.fixture(scope="module")
def hostile():
    return everything(name=HOSTILE).html


def test_a_page_is_well_formed_and_every_id_stands_once(hostile):
    seen = outline(hostile)
    assert len(seen.ids) == len(set(seen.ids))
    assert seen.tags.count("svg") == 8


def test_what_a_figure_refers_to_is_inside_that_figure(hostile):
    for svg in re.findall(r"<svg.*?</svg>", hostile, re.DOTALL):
        tags = "".join(re.findall(r"<[^>]*>", svg))
        ids = outline(svg).ids
        used = re.findall(r'(?:href="#|url\(#)([^")]*)', tags)
        assert set(used) <= set(ids)
        assert len({"-".join(item.split("-")[:2]) for item in ids}) == 1


def test_nothing_is_fetched_and_nothing_runs(hostile):
    seen = outline(hostile)
    assert not {"script", "iframe", "object", "embed", "img"} & set(seen.tags)
    assert all(address.startswith(("#", "data:")) for address in seen.addresses)
    assert "@import" not in hostile
    assert not re.search(r"url\((?!#)", hostile)
    assert "default-src 'none'" in hostile


def test_a_hostile_name_stays_a_name(hostile):
    assert "<script" not in hostile
    assert "&lt;script&gt;alert(1)" in hostile
    assert "{{7*7}}" in hostile


def test_a_synthetic_number_is_never_without_the_word():
    html = everything().html
    assert "<strong>SYNTHETIC</strong>" in html
    assert "simulated records" in html
    captions = re.findall(r"<figcaption>.*?</figcaption>", html, re.DOTALL)
    labels = re.findall(r'<p class="label">.*?</p>', html, re.DOTALL)
    lead = re.findall(r'<p class="lead">.*?</p>', html, re.DOTALL)
    assert len(captions) == 8 + 3
    assert len(labels) == 2
    assert all('<span class="mark">synthetic</span>' in part for part in captions + labels + lead)
    svgs = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    assert all(svg.endswith(">synthetic</text></svg>") for svg in svgs)
    assert all(name.endswith("-synthetic.csv") for name in outline(html).downloads)
    assert 'Second 2. <span class="mark">' in html


def test_a_real_page_does_not_say_synthetic_and_a_generated_one_says_generated():
    assert "synthetic" not in everything("real").html.lower()
    generated = everything("generated").html
    assert "<strong>GENERATED</strong>" in generated
    assert "synthetic" not in generated.lower()


def test_every_page_says_that_it_is_no_medical_device():
    assert everything("real").html.count("edical device") >= 3  # at the top, at the foot, on every printed sheet


def test_a_page_about_machines_speaks_of_no_people():
    steps = [("all", 9, 8, ""), ("usable", 7, 6, "silent")]
    flow = picture.flow("Recordings", steps, [("train", 4, 3)], units=MACHINES.units)
    for origin in ("real", "synthetic", "generated"):
        sections = [Section("Listened to", [flow]), card.section(origin, {}, MACHINES)]
        html = Page("Fans", origin, "Heard.", sections=sections, wording=MACHINES).html
        assert not re.search(r"medical|patient|people|subject", html)
        assert html.count("afety function") >= 4  # at the top, at the foot, on every printed sheet, on the card
        assert ("No number here is evidence about real machines" in html) == (origin != "real")
    assert "9 recordings, 8 sources" in html
    assert flow.data.columns == ("step", "recordings", "sources", "left_out_because")


def saved(html, name):
    address = outline(html).downloads[name]
    text = unquote(address.removeprefix("data:text/csv;charset=utf-8,"))
    return list(csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline="")))


def test_every_figure_and_table_offers_its_numbers(hostile):
    names = outline(hostile).downloads
    assert set(names) == {f"figure-{i}-synthetic.csv" for i in range(1, 9)} | {
        f"table-{i}-synthetic.csv" for i in (1, 2, 3)
    }
    assert saved(hostile, "table-1-synthetic.csv")[1] == [HOSTILE, "0.912", "0.897", "0.926", "400", "23"]
    roc = saved(hostile, "figure-1-synthetic.csv")
    assert roc[2] == [HOSTILE, "0.1", "0.8", "", ""]
    assert roc[-1] == [HOSTILE, "1.0", "1.0", "0.5", "1.0"]
    assert saved(hostile, "figure-2-synthetic.csv")[1] == [HOSTILE, "0.1", "0.12", "0.1", "0.2", "40.0"]
    assert saved(hostile, "figure-3-synthetic.csv")[1][:4] == ["0.1", "0.02", "0.0", "0.03"]
    assert saved(hostile, "figure-4-synthetic.csv")[1][1:3] == [HOSTILE, "0.912"]
    counted = saved(hostile, "figure-5-synthetic.csv")[1:]
    assert sum(int(row[2]) for row in counted) == sum(int(row[3]) for row in counted) == 20
    assert saved(hostile, "figure-7-synthetic.csv")[2] == ["end", "7", "6", HOSTILE]
    assert len(saved(hostile, "figure-8-synthetic.csv")) == 301


def test_a_strip_keeps_its_millimetres_and_other_figures_shrink_only_to_a_legible_size():
    html = everything().html
    sizes = re.findall(r'viewBox="0 0 ([\d.]+) [\d.]+" style="width:([\d.]+)mm;min-width:([\d.]+)mm"', html)
    assert len(sizes) == 8
    for points, width, least in np.array(sizes, float):
        assert points / 72 * 25.4 == pytest.approx(width, rel=1e-4)
        assert least == pytest.approx(width) or least == pytest.approx(0.78 * width)
    assert float(sizes[-1][1]) == float(sizes[-1][2])


def test_the_smallest_text_of_a_figure_is_eight_points(hostile):
    assert (
        min(
            map(float, re.findall(r"font-size: ?([\d.]+)px", "".join(re.findall(r"<svg.*?</svg>", hostile, re.DOTALL))))
        )
        >= 8
    )


def test_the_same_report_is_the_same_bytes():
    assert everything().html == everything().html


def test_a_tile_shows_the_number_its_interval_and_what_it_rests_on():
    tile = Tile("AUROC", AREA)
    assert (tile.value, tile.interval, tile.basis) == ("0.912", "95 % interval 0.897 to 0.926", "n 400, 23 events")
    assert Tile("AUROC", Estimate(0.5, float("nan"), float("nan"), 2)).interval == "no interval"


def test_words_of_a_table_break_only_where_the_sheet_is_too_narrow_for_them():
    narrow = Table(["item", "study", "topic"], [["12a", "D; E", "What each part of the data was used for"]] * 2)
    crowded = Table([f"electrophysiology {i}" for i in range(8)], [["yes"] * 8])
    html = Page("T", "real", "", sections=[Section("S", [narrow, crowded])]).html
    assert html.count('<table class="wide">') == 1
    assert html.index('<table class="wide">') > html.index("What each part")
    assert '<td class="prose">What each part' in html
    assert '<td class="text">12a' in html


def test_a_page_is_written_whole(tmp_path):
    page = Page("Nothing", "real", "No result.")
    page.write(tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text("utf-8") == page.html
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    outline(page.html)


def browse(folder, page, *flags):
    """Run Chromium on a page; skips where there is none."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium here to open the page with")
    page.write(folder / "report.html")
    quiet = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    always = [*quiet.split(), "--disable-component-update", "--disable-sync", f"--user-data-dir={folder / 'profile'}"]
    command = [browser, *always, *flags, (folder / "report.html").as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


@pytest.mark.slow
@pytest.mark.parametrize("estimates", [5, 6, 11])  # the most that stay unbroken, the fewest that break, many
def test_a_printed_strip_keeps_25_mm_a_second_beside_a_table_as_wide_as_the_sheet(tmp_path, estimates):
    if shutil.which("pdftoppm") is None:
        pytest.skip("no pdftoppm here to measure the printed sheet with")
    signal = Signal(np.zeros((1, 1000)), 100, ("I",), "mV")
    wide = Table([f"column {i}" for i in range(estimates + 1)], [["x" * 60, *[AREA] * estimates]])
    page = Page(
        "y" * 150, "real", "z" * 150, sections=[Section("S", [picture.trace("T", signal, caption="w" * 150), wide])]
    )
    browse(tmp_path, page, "--no-pdf-header-footer", f"--print-to-pdf={tmp_path / 'report.pdf'}")
    subprocess.run(["pdftoppm", "-r", "254", tmp_path / "report.pdf", tmp_path / "sheet"], check=True)  # 10 pixels a mm
    spans = []
    for sheet in sorted(tmp_path.glob("sheet*.ppm")):
        pixels = np.asarray(Image.open(sheet).convert("RGB")).astype(int)
        columns = (np.abs(pixels - [0xE3, 0xB0, 0xA5]).sum(2) < 60).sum(0)
        lines = np.flatnonzero(columns > max(columns.max() / 2, 50))
        spans += [lines[-1] - lines[0]] if len(lines) else []
    width = float(page.sections[0].blocks[0].drawing.get_figwidth()) * 25.4
    assert spans == [pytest.approx(10 * width, abs=6)]  # 0.4 % of the strip


@pytest.mark.slow
def test_a_browser_opens_the_page_without_a_complaint(tmp_path):
    done = browse(tmp_path, everything(name=HOSTILE), "--enable-logging=stderr", "--dump-dom")
    assert "Report of St &lt;script&gt;" in done.stdout
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []
