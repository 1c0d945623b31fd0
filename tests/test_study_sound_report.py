"""Reports on anomalous sound from made-up runs: no network is trained."""

import json
import re

import numpy as np
import pytest
from test_report_page import outline

from stethos.cli import HEADLINE
from stethos.errors import RunError, ScoreError
from stethos.report.picture import Picture
from stethos.report.spectrogram import Clip
from stethos.report.table import Table, shown
from stethos.study import sound_parts, sound_report, sound_sections
from stethos.study.alarm import Alarm
from stethos.study.detector import Memory
from stethos.study.examples import Examples
from stethos.study.sound_evidence import gather
from stethos.study.sound_machines import machines
from stethos.train.run import start_run
from stethos.types import Predictions

# machine, section, truth, score; areas by hand: fan/id_00 0.75, fan/id_02 1, pump/id_00 0.5
TINY = [
    *(("fan", "id_00", 0, score) for score in (1, 2, 3, 4)),
    *(("fan", "id_00", 1, score) for score in (2.5, 5)),
    *(("fan", "id_02", 0, score) for score in (10, 20)),
    *(("fan", "id_02", 1, score) for score in (30, 40)),
    *(("pump", "id_00", 0, score) for score in (1, 2)),
    *(("pump", "id_00", 1, score) for score in (0, 3)),
]
THRESHOLDS = {"fan/id_00": 3.5, "fan/id_02": 15.0, "pump/id_00": 2.5}
PART = (1 + (0.1 * 0.5 - 0.005) / (0.1 - 0.005)) / 2  # McClish's, half of the anomalies above all normals
BY_HAND = {
    "mean.auc": ((0.75 + 1) / 2 + 0.5) / 2,
    "mean.pauc": ((PART + 1) / 2 + PART) / 2,
    "pooled.auc": (18 / 24 + 2 / 4) / 2,
    "mauc": (0.75 + 0.5) / 2,
    "false_positive_rate": 2 / 8,
    "sensitivity": 4 / 6,
    "machine.fan.sensitivity": 3 / 4,
    "machine.pump.false_positive_rate": 0,
    "fault.leak.model.auc": 0.75,
    "fault.leak.baseline.nearest.auc": 0.5,
}


def said(rows, seed=0, origin="synthetic", **facts):
    """The same rows as tested recordings, and three normal ones of each identity for validation."""
    identities = sorted({row[:2] for row in rows})
    spare = [(*name, 0, 0) for name in identities for _ in range(3)]
    machine, section, truth, score = (np.array(column) for column in zip(*rows, *spare, strict=True))
    blank = dict.fromkeys(("domain", "year", "fault"), np.full(len(rows), "")) | facts
    names = np.array([f"r{number}" for number in range(len(score))])
    padded = {name: np.append(column, np.full(len(spare), column[0] if name == "year" else ""))
              for name, column in blank.items()}  # fmt: skip
    return Predictions(
        score=score.astype(float)[:, None],
        truth=truth.astype(float)[:, None],
        record=names,
        subject=names,
        split=np.repeat(["internal", "valid"], [len(rows), len(spare)]),
        seed=np.full(len(score), seed),
        facts={"machine": machine, "section": section, **padded},
        names=("anomaly",),
        origin=origin,
    )


def made_up(folder, mine, others, thresholds, backend="nearest"):
    """The folder of a finished run, as far as a report reads it."""
    listen = {"name": "sound-as-is-v1", "seconds": 2.0, "channel": "1", "cohort": "0" * 16}
    recipe = {"backend": backend, "seeds": len(np.unique(mine.seed))}
    run = start_run(folder, {"system": "os_scl", "version": "0", "recipe": recipe, "prepare": listen,
                             "origin": mine.origin, "terms": ""})  # fmt: skip
    mine.save(run.predictions)
    for name, other in others.items():
        other.save(run.private / f"{name}.npz")
    count = len(thresholds)
    Memory((np.zeros((count, 2)),), np.arange(count), np.full(count, ""), np.full(count, "n"),
           tuple(thresholds), np.arange(count), np.array([*thresholds.values()])).save(run)  # fmt: skip
    parts = [(name, int(np.sum(mine.split == name))) for name in ("train", "valid", "internal")]
    steps = [{"label": name, "records": size, "subjects": size, "lost": ""} for name, size in [("all", 90), *parts]]
    steps[-1]["lost"] = "2 unusable"
    (run.folder / "flow.json").write_text(json.dumps({"flow": steps, "refused": {"silent": 2}}))
    run.log.write_text('{"step": 1, "stage": "seed-0", "loss": 2.0}\n')
    return run


def leaky(rows):
    """A leak in every anomaly of the first identity."""
    return np.array(["leak" if row[:3] == ("fan", "id_00", 1) else "" for row in rows])


def tiny(folder):
    alike = [(*row[:3], 0) for row in TINY]  # knows nothing
    others = {
        "baseline-nearest": said(alike, fault=leaky(TINY)),
        "backend-own-class": said(alike),
        "backend-nearest": said(TINY),
    }
    return made_up(folder, said(TINY, fault=leaky(TINY)), others, THRESHOLDS)


def examples(frames=63):
    generator = np.random.default_rng(0)

    def clip(truth, score):
        level = generator.normal(size=(128, frames))
        return Clip(level, frames * 0.032, score, truth, "fan", "id_00", (500, 1000, 0, 1))

    pairs = tuple((clip(1.0, 9.0), clip(0.0, 1e-12)) for _ in range(6))
    embedding = generator.normal(size=(30, 4))
    return Examples(pairs, np.geomspace(30, 7900, 128), embedding, np.full(30, "fan"), np.repeat([0, 1, 2], 10))


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    run = tiny(tmp_path_factory.mktemp("sound") / "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sound_sections, "load_examples", lambda run: examples())
        sound_report.publish(run)
    return run


def words_of(html):
    """What a reader sees, in one line."""
    text = re.sub(r"<style.*?</style>|<svg.*?</svg>|<[^>]*>", " ", html, flags=re.DOTALL)
    return " ".join(text.split())


def told(sections):
    """What sections say, figures by their captions only."""
    parts = []
    for section in sections:
        for block in section.blocks:
            if isinstance(block, Picture):
                parts += [block.title, block.caption]
            elif isinstance(block, Table):
                cells = [cell for row in block.rows for cell in row]
                parts += [block.caption, *block.columns, *(shown(cell)[0] for cell in cells), block.remark]
            else:
                parts.append(block)
    return " ".join(parts)


def headings(html):
    return re.findall(r"<h2>\d+\. (.*?)</h2>", html)


def test_the_numbers_are_those_worked_out_by_hand(published):
    held = json.loads(published.metrics.read_text())
    want = BY_HAND | {"official": (BY_HAND["mean.auc"] + BY_HAND["mean.pauc"]) / 2}
    assert {name: held[name]["value"] for name in want} == pytest.approx(want)
    assert held["difference.nearest.official"]["value"] == pytest.approx(want["official"] - 0.5)
    assert held["backend.nearest.official"]["value"] == pytest.approx(want["official"])
    assert (held["official"]["n"], held["official"]["origin"]) == (14, "synthetic")
    assert all(item["low"] <= item["value"] <= item["high"] for item in held.values())


def test_a_report_on_machines_is_whole_and_speaks_of_no_people(published):
    html = published.report.read_text()
    seen = outline(html)
    assert len(seen.ids) == len(set(seen.ids))
    assert headings(html) == [
        "What was listened to",
        "Detection",
        "Machines",
        "Back ends",
        "Faults",
        "What the score rests on",
        "Training",
        "Model card",
    ]
    assert not re.search(r"medical|patient|people\.|subject", html)
    text = words_of(html)
    assert "None of them is evidence about real machines." in text
    assert "Not in tested: 2 unusable." in text
    assert "Official, by the rule of 2020: mean of AUC and pAUC" in text
    assert "Not measured in this run: an alarm budget, enrolling a new machine, planted faults, an ablation." in text
    assert "evaluations of the tested parts 1 " in text
    assert "Highest and lowest scores" in text  # simulated recordings are always printed
    card = published.card.read_text()
    assert "not a safety function" in card
    assert "| official score, rule of 2020 | 0.745 (" in card


def many(shift, seed):
    """Forty normals and forty anomalies of one fan, so far apart."""
    score = np.random.default_rng(seed).normal(size=80) + np.repeat([0, shift], 40)
    return [("fan", "id_00", place // 40, value) for place, value in enumerate(score)]


def test_the_summary_says_what_is_shown_and_what_is_not(tmp_path, published):
    words = sound_report.summary(gather(published))
    assert "Official score by the rule of 2020, for recordings of no challenge: 0.745 (" in words
    assert words.endswith(
        "Not shown to be better than nearest mean spectrum: the intervals of these differences hold zero."
    )
    others = {
        "baseline-nearest": said(many(0, 1)),
        "baseline-twfr-gmm": said(many(9, 2)),
        "baseline-autoencoder": said(many(2, 3)),
    }
    evidence = gather(made_up(tmp_path / "run", said(many(2, 4)), others, {"fan/id_00": 1.0}))
    gains = {name: item.estimate for name, item in evidence.detection.against.items()}
    assert gains["nearest"].low > 0 > gains["twfr_gmm"].high
    words = sound_report.summary(evidence)
    assert "Better than nearest mean spectrum on the same recordings: the paired differences are above zero." in words
    assert "Worse than TWFR-GMM on the same recordings: the paired differences are below zero." in words
    assert "Not shown to be better than autoencoder: " in words


def test_without_an_anomaly_one_sentence_stands_for_the_scores_and_the_rest_is_there(tmp_path, monkeypatch):
    monkeypatch.setattr(sound_sections, "load_examples", lambda run: examples())
    normal = [row for row in TINY if row[2] == 0]
    run = made_up(tmp_path / "run", said(normal, origin="real"), {"baseline-nearest": said(normal)}, THRESHOLDS)
    sound_parts.keep(run, "audit", KEPT["audit"])
    sound_report.publish(run)
    html = run.report.read_text()
    text, sentence = words_of(html), "No score of detection: all 8 tested recordings of a known kind are normal"
    assert text.count(sentence) == 2  # at the top and among the limits of the card
    assert "Above the thresholds of their machines lie 0.250 (" in text
    assert headings(html) == [
        "What was listened to",
        "Detection",
        "What the score rests on",
        "Planted faults",
        "Training",
        "Model card",
    ]
    held = json.loads(run.metrics.read_text())
    assert held["false_positive_rate"]["value"] == 0.25
    assert "official" not in held
    assert all(re.fullmatch(HEADLINE, name) for name in ("false_positive_rate", "official"))  # printed
    assert '<span class="mark">' not in html  # no number of a real machine is marked synthetic
    assert "Synthetic faults missed at 10 dB" in text
    assert "Highest and lowest scores" not in html  # recordings of a real machine
    assert "Spectrograms of recordings are withheld; --show-examples prints them." in html


def test_where_no_kind_is_known_the_reason_is_given(tmp_path):
    unknown = [(*row[:2], np.nan, row[3]) for row in TINY]
    evidence = gather(made_up(tmp_path / "run", said(unknown), {}, THRESHOLDS))
    reason = "of none of the 14 tested recordings is it known whether it is anomalous"
    assert sound_report.summary(evidence) == f"No score of detection: {reason}."
    assert reason in told(sound_report.tested_sections(evidence, False))
    assert evidence.numbers() == {}


def test_where_no_identity_has_both_kinds_the_reason_is_given(tmp_path):
    apart = [row for row in TINY if (row[1] == "id_00") == (row[2] == 0)]
    evidence = gather(made_up(tmp_path / "run", said(apart), {}, THRESHOLDS))
    assert evidence.detection is None
    assert "No score of detection was estimated: " in told([sound_sections.detection(evidence)])


def test_what_has_no_area_is_listed_with_the_reason(tmp_path):
    lacking = [row for row in TINY if row[:3] != ("fan", "id_02", 1)]
    evidence = gather(made_up(tmp_path / "run", said(lacking), {}, THRESHOLDS))
    text = told([sound_sections.detection(evidence)])
    assert "Not estimated, and left out of every mean" in text
    assert "fan/id_02 2 no anomalous clip among 2" in text


def test_the_rule_of_a_year_is_named_and_its_domains_are_shown(tmp_path):
    rows = [("fan", "section_00", *row[2:]) for row in many(1, 0)]
    facts = {"domain": np.tile(["source", "target"], 40), "year": np.full(80, "2023")}
    evidence = gather(made_up(tmp_path / "run", said(rows, **facts), {}, {"fan/section_00": 0.0}))
    assert "Official score by the rule of 2022: " in sound_report.summary(evidence)
    text = told(sound_report.tested_sections(evidence, False))
    assert "harmonic mean of AUC (source), AUC (target) and pAUC over machine and identity" in text
    assert "identity AUC, source AUC, target pAUC fan/section_00 0." in text
    assert "its own normals against all anomalies of the identity" in text


def test_several_seeds_are_averaged_and_their_spread_is_told(tmp_path):
    parts = [said(many(1, 0)), said(many(1, 7), seed=1)]
    columns = {name: np.concatenate([getattr(part, name) for part in parts])
               for name in ("score", "truth", "record", "subject", "split", "seed")}  # fmt: skip
    facts = {name: np.concatenate([part.facts[name] for part in parts]) for name in parts[0].facts}
    both = Predictions(**columns, facts=facts, names=("anomaly",), origin="synthetic")
    evidence, *single = [
        gather(made_up(tmp_path / str(number), part, {}, {"fan/id_00": 0.0}))
        for number, part in enumerate([both, *parts])
    ]
    points = [item.detection.model.official.value for item in single]
    spread = evidence.detection.seed_spread
    assert (spread.low, spread.high) == (min(points), max(points))
    assert spread.value == pytest.approx(abs(points[0] - points[1]) / np.sqrt(2))
    assert evidence.numbers()["official.seed_sd"] is spread
    assert "Over training seeds the official score" in told([sound_sections.detection(evidence)])


def test_recordings_of_two_years_have_no_common_official_score(tmp_path):
    mixed = said(TINY, year=np.array(["2020", "2022"] * 7))
    with pytest.raises(ScoreError, match="one year of the challenge; these are of 2020, 2022"):
        gather(made_up(tmp_path / "run", mixed, {}, THRESHOLDS))


def test_a_run_that_is_not_finished_or_lacks_its_private_part_is_refused(tmp_path):
    run = tiny(tmp_path / "run")
    (run.private / "memory.npz").unlink()
    with pytest.raises(RunError, match="private/memory"):
        sound_report.publish(run)
    run.predictions.unlink()
    with pytest.raises(RunError, match="finish its training"):
        sound_report.publish(run)


def test_a_training_recording_has_no_score_where_it_would_be_compared_with_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(sound_sections, "load_examples", lambda run: examples())
    for backend, has in (("nearest", False), ("own-class", True)):
        evidence = gather(made_up(tmp_path / backend, said(TINY), {}, THRESHOLDS, backend))
        clips = sound_sections.heard(evidence, True).blocks[-1]
        over = clips.drawing.axes[1].get_title(loc="left")
        assert over == ("nearest normal · score 1e−12" if has else "nearest normal")


def test_a_page_with_long_spectrograms_of_real_recordings_that_were_asked_for_stays_light(tmp_path, monkeypatch):
    monkeypatch.setattr(sound_sections, "load_examples", lambda run: examples(frames=313))
    run = made_up(tmp_path / "run", said(TINY, origin="real"), {}, THRESHOLDS)
    sound_report.publish(run, show_examples=True)
    assert "Highest and lowest scores" in run.report.read_text()
    assert run.report.stat().st_size < 3_000_000


def area(value, half=0.1):
    return {"value": value, "low": value - half, "high": value + half, "n": 40, "events": 20}


KEPT = {
    "alarm": {
        "machines": {"fan/id_00": Alarm(2.5, 2, 3, 30, 10.0, 0.5, 2000.0, 1, 0.4).to_json()},
        "curves": {"fan/id_00": {"threshold": [2.0, 2.5, 3.0], "upper": [3.0, 0.6, 0.3]}},
        "refused": {"fan/id_02": "a budget of 0.5 false alarms a week needs 1008 h"},
    },
    "enrolment": {"counts": [3, 50], "areas": {"fan": [area(0.7), area(0.9, half=0.0)]}},
    "audit": {
        "rates": {"leak": {"0 dB": area(0.9), "10 dB": area(0.4)}, "spall": {"10 dB": area(0.2)}},
        "recordings": 40,
        "threshold": "that of fan/id_00",
    },
    "ablation": {
        "title": "Bands",
        "unit": "official",
        "found": {"low": {"official": area(0.1)}},
        "reference": 0.0,
        "note": "No more.",
    },
}


def test_what_verbs_kept_gets_its_section_with_its_numbers(tmp_path):
    run = tiny(tmp_path / "run")
    for kind, plain in KEPT.items():
        sound_parts.keep(run, kind, plain)
    sections = sound_parts.kept_sections(run)
    assert [section.title for section in sections] == [
        "Alarm budget",
        "Enrolling a new machine",
        "Planted faults",
        "Ablation",
    ]
    text = told(sections)
    assert "fan/id_00 2.50 2 of 3 2,000 1 0.400 0.500 yes" in text
    assert "fan/id_02: a budget of 0.5 false alarms a week needs 1008 h." in text
    assert "machine 3 enrolled 50 enrolled fan 0.700 (0.600 to 0.800) 0.900 (no interval)" in text
    assert "ask to stop a machine: leak 0.400 (0.300 to 0.500), spall 0.200 (0.100 to 0.300)." in text
    assert "Synthetic faults of known severity in 40 normal recordings" in text
    assert "No more." in text
    reference = sections[-1].blocks[0].drawing.axes[0].lines[-1]
    assert list(reference.get_xdata()) == [0.0, 0.0]


def test_each_part_says_what_is_missing_until_it_is_kept(tmp_path):
    run = tiny(tmp_path / "run")
    for kind, plain in KEPT.items():
        assert sound_parts.KINDS[kind] in sound_parts.missing_parts(run)
        sound_parts.keep(run, kind, plain)
        assert sound_parts.KINDS[kind] not in sound_parts.missing_parts(run)
        assert sound_parts.kept(run, kind) == plain


def test_of_many_machines_a_few_curves_are_drawn_and_the_rest_are_counted():
    names = [f"fan/id_{number:02}" for number in range(9)]
    plain = {part: dict.fromkeys(names, KEPT["alarm"][part]["fan/id_00"]) for part in ("machines", "curves")}
    table, *curves, rest = sound_parts.alarm(plain).blocks
    assert len(table.rows) == 9
    assert len(curves) == sound_parts.DRAWN
    assert rest == "3 more curves: alarm.json."


def test_roc_curves_of_many_machines_are_spread_over_figures(tmp_path):
    rows = [(f"m{number}", *row[1:]) for number in range(6) for row in TINY[:6]]
    evidence = gather(made_up(tmp_path / "run", said(rows), {}, {f"m{number}/id_00": 3.0 for number in range(6)}))
    titles = [block.title for block in machines(evidence, evidence.detection).blocks if isinstance(block, Picture)]
    assert titles == [
        "ROC curves, identities pooled (1 of 2)",
        "ROC curves, identities pooled (2 of 2)",
        "Model and baselines",
    ]
