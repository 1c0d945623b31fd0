"""Many records become texts: one a recording, of what was known before it, the same bytes every time."""

import csv
import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stethos.data.charts import each_subject, summarise, token_count, upper_count
from stethos.data.pair import pair
from stethos.data.write import write_hospital
from stethos.errors import CohortError, RecipeError
from stethos.io.meds import write_meds
from stethos.io.records import read_records
from stethos.synth import ppg_world, truth
from stethos.text.chart import Switches
from stethos.text.fragments import table


@pytest.fixture(scope="module")
def hospital(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hospital")
    write_hospital(folder, 60, 0, ppg_world())
    return folder


@pytest.fixture(scope="module")
def texts(hospital, tmp_path_factory):
    out = tmp_path_factory.mktemp("texts")
    summarise(hospital / "meds", out, cohort=hospital)
    return out


def rows_of(out):
    with (out / "summaries.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def provenance(out):
    return [json.loads(line) for line in (out / "private" / "provenance.jsonl").read_text().splitlines()]


def test_there_is_a_text_a_recording_until_it_began(hospital, texts):
    with (hospital / "cohort.csv").open(newline="") as file:
        recordings = {row["id"]: row["when"] for row in csv.DictReader(file)}
    rows = rows_of(texts)
    assert {row["key"] for row in rows} == set(recordings)
    assert all(row["until"] == str(np.datetime64(recordings[row["key"]], "s")) for row in rows)
    assert all(int(row["tokens"]) <= 256 for row in rows)


def test_the_events_behind_each_sentence_are_earlier_and_of_the_subject(hospital, texts):
    events = read_records(hospital / "meds").events.collect()
    held = {row[0]: row[1:] for row in events.select("event", "subject_id", "time").iter_rows()}
    until = {row["key"]: np.datetime64(row["until"]) for row in rows_of(texts)}
    for line in provenance(texts):
        for sentence in line["sentences"]:
            assert sentence["events"]
            for event in sentence["events"]:
                subject, time = held[event]
                assert str(subject) == line["subject"]
                assert time is None or np.datetime64(time) < until[line["key"]]


def test_the_sentences_are_the_text(texts):
    for row, line in zip(rows_of(texts), provenance(texts), strict=True):
        assert row["text"] == " ".join(sentence["text"] for sentence in line["sentences"])


def test_a_second_call_writes_the_same_bytes(hospital, texts, tmp_path):
    summarise(hospital / "meds", tmp_path, cohort=hospital)
    for name in ("summaries.csv", "report.json", "private/provenance.jsonl"):
        assert (tmp_path / name).read_bytes() == (texts / name).read_bytes().replace(bytes(texts), bytes(tmp_path))


def test_the_report_holds_nothing_of_a_patient(texts):
    told = json.loads((texts / "report.json").read_text())
    assert told["summaries"] == len(rows_of(texts))
    words = (texts / "report.json").read_text()
    assert not any(row["subject"] in words for row in rows_of(texts))


def test_what_is_paired_is_what_was_summarised(hospital, texts, tmp_path):
    paired = pair(hospital, texts, tmp_path)
    assert (paired.kept, paired.own, paired.lost) == (paired.recordings, paired.recordings, ())


def test_vital_signs_alone_tell_nothing_else(hospital, tmp_path):
    summarise(hospital / "meds", tmp_path, cohort=hospital, switches=Switches(only_vitals=True))
    told = [row["text"] for row in rows_of(tmp_path)]
    assert any(text.startswith("Vital signs:") for text in told)
    assert all(text.startswith(("Vital signs:", "Nothing is recorded")) for text in told)


def test_what_is_told_is_mostly_so(hospital, texts):
    """Diseases that the simulated patients have or have not, against those that the texts name; synthetic."""
    latent = truth(60, 0, ppg_world())
    column = {"hypertension": "hypertension", "atrial_fibrillation": "atrial_fibrillation", "copd": "copd",
              "heart_failure": "heart_failure", "diabetes": "diabetes", "kidney_disease": "ckd"}  # fmt: skip
    with (hospital / "cohort.csv").open(newline="") as file:
        recordings = {row["id"]: row for row in csv.DictReader(file)}
    said, there = [], []
    for row in rows_of(texts):
        for key, name in column.items():
            said.append(table()["family"][key]["name"] in row["text"])
            there.append(float(recordings[row["key"]][name]) == 1)
    said, there = np.array(said), np.array(there)
    assert latent
    assert (said & there).sum() / there.sum() > 0.5  # not all is coded before the first recording
    assert (said & there).sum() / said.sum() > 0.8


def test_a_record_that_is_not_of_the_cohort_says_what_to_check(hospital, tmp_path):
    rows = {"subject_id": [5], "time": [None], "code": ["GENDER//F"]}
    write_meds(tmp_path / "meds", pl.DataFrame(rows, schema_overrides={"time": pl.Datetime("us")}))
    with pytest.raises(CohortError, match="subject and subject_id are the same"):
        summarise(tmp_path / "meds", tmp_path / "out", cohort=hospital)


def test_a_budget_too_small_for_a_sentence_is_refused(hospital, tmp_path):
    with pytest.raises(RecipeError, match="at least 8 tokens; got 3"):
        summarise(hospital / "meds", tmp_path, switches=Switches(budget=3))


def test_subjects_come_one_after_the_other_whole(hospital):
    events = read_records(hospital / "meds").events
    seen = {subject: len(part) for subject, part in each_subject(events)}
    counted = events.group_by("subject_id").len().collect()
    assert seen == {str(subject): count for subject, count in counted.iter_rows()}
    assert list(seen) == sorted(seen)
    assert [subject for subject, _ in each_subject(events, [next(iter(seen)), "nobody"])] == [next(iter(seen))]


@given(st.lists(st.sampled_from(["hypertension", "HbA1c,", "(3 times,", "2017", "to", "é", "–", "beta-blocker", "§"])))
@settings(max_examples=60, deadline=None)
def test_the_count_for_want_of_a_tokenizer_is_never_too_low(words):
    count, name = token_count()
    assert name == "the tokenizer of MiniLM"
    assert upper_count(" ".join(words)) >= count(" ".join(words))


@pytest.mark.realdata
def test_all_patients_of_the_demo_are_told_within_the_budget_from_both_forms(real, tmp_path):
    problems = []
    for name in ("mimic-iv-demo-meds", "mimic-iv-demo-2.2"):
        done = summarise(real / "ehr" / name, tmp_path / name)
        again = summarise(real / "ehr" / name, tmp_path / f"{name}-again")
        assert (done.summaries, done.empty) == (again.summaries, 0) == (100, 0)
        for file in ("summaries.csv", "private/provenance.jsonl"):
            assert (tmp_path / name / file).read_bytes() == (tmp_path / f"{name}-again" / file).read_bytes()
        assert max(int(row["tokens"]) for row in rows_of(tmp_path / name)) <= 256
        assert all(sentence["events"] for line in provenance(tmp_path / name) for sentence in line["sentences"])
        problems.append(_problems(tmp_path / name))
    both = [len(a & b) / len(a | b) for a, b in zip(*problems, strict=True) if a | b]
    assert np.median(both) == 1
    assert np.mean(both) > 0.9


def _problems(out):
    """Families that each text names, of the sections that both forms have."""
    names = {entry["name"] for entry in table()["family"].values() if entry["relevance"] == 3}
    return [{name for name in names if name in row["text"]} for row in rows_of(out)]
