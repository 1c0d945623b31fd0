"""Each recording gets a text from before it began, and every step says what it lost."""

from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from stethos.data.cohort import open_cohort
from stethos.data.pair import pair
from stethos.errors import CohortError
from stethos.io.wfdb import write_wfdb
from stethos.types import Record, Signal

SIGNAL = Signal(np.sin(np.arange(500) / 9)[None], 125.0, ("PLETH",), "1")


def cohort(folder: Path, rows: list[tuple[str, str, str | None]], **more: list[object]) -> Path:
    """A cohort of recordings: id, subject and start of each."""
    for name, _, _ in rows:
        write_wfdb(Record(name, name, (SIGNAL,), when=None), folder / "w", name)
    table = {
        "path": [f"w/{name}.hea" for name, _, _ in rows],
        "id": [name for name, _, _ in rows],
        "subject": [subject for _, subject, _ in rows],
        "when": [when for _, _, when in rows],
        "terms": ["ODbL 1.0"] * len(rows),
        **more,
    }
    pl.DataFrame(table).write_csv(folder / "cohort.csv")
    return folder


def summaries(path: Path, rows: list[tuple[str, str, str | None, str]]) -> Path:
    """A folder of texts: key, subject, until and text of each."""
    path.mkdir()
    columns = ("key", "subject", "until", "text")
    table = {name: [row[at] for row in rows] for at, name in enumerate(columns)}
    pl.DataFrame({**table, "tokens": [len(row[3].split()) for row in rows]}).write_csv(path / "summaries.csv")
    return path


@pytest.fixture
def waves(tmp_path: Path) -> Path:
    rows = [
        ("r1", "p1", "2150-03-01T10:00:00"),
        ("r2", "p1", "2152-03-01T10:00:00"),
        ("r3", "p2", "2150-01-01T00:00:00"),
        ("r4", "p3", None),
        ("r5", "p4", "2150-01-01T00:00:00"),
        ("r6", "p5", "2150-01-01T00:00:00"),
    ]
    return cohort(tmp_path / "waves", rows)


TEXTS: list[tuple[str, str, str | None, str]] = [
    ("p1", "p1", "2149-01-01", "Hypertension"),
    ("p1", "p1", "2151-01-01", "Hypertension,\natrial fibrillation"),
    ("p2", "p2", "2150-01-02", "Died of sepsis"),
    ("p3", "p3", "2149-01-01", "Asthma"),
    ("p5", "p5", "2149-12-31", " "),
    ("p9", "p9", "2149-12-31", "Gout"),
]


def reports(folder: Path) -> dict[str, str | None]:
    return {record.id: record.text for record in open_cohort(folder)}


def test_a_recording_gets_the_subjects_latest_text_from_before_it(waves: Path, tmp_path: Path):
    pair(waves, summaries(tmp_path / "texts", TEXTS), tmp_path / "out")
    assert reports(tmp_path / "out") == {"r1": "Hypertension", "r2": "Hypertension,\natrial fibrillation"}
    paired = open_cohort(tmp_path / "out")
    assert paired.rows["report_until"].tolist() == ["2149-01-01T00:00:00", "2151-01-01T00:00:00"]
    assert Path(paired.rows["path"][0]) == waves / "w" / "r1.hea"
    assert (paired[0].subject, paired[0].when, paired.terms) == ("p1", datetime(2150, 3, 1, 10), "ODbL 1.0")
    np.testing.assert_array_equal(paired[0].signals[0].values, open_cohort(waves)[0].signals[0].values)


def test_every_step_says_what_it_lost(waves: Path, tmp_path: Path):
    paired = pair(waves, summaries(tmp_path / "texts", TEXTS), tmp_path / "out")
    assert paired.lines() == [
        f"{tmp_path}/out/cohort.csv: 2 of 6 recordings have a text (1 subjects)",
        "  lost: 1: their subject has no text",
        "  lost: 1: not known whether a text is older than the recording, for lack of a date",
        "  lost: 1: no text from before the recording",
        "  lost: 1: the text is empty",
        "  made for their recording: 0; the subject's latest: 2",
        "  texts of subjects without a recording: 1",
    ]
    assert paired.kept + sum(count for _, count in paired.lost) == paired.recordings
    assert str(paired) == "\n".join(paired.lines())


def test_a_text_may_end_when_the_recording_starts_and_not_a_second_later(tmp_path: Path):
    folder = cohort(tmp_path / "w", [("a", "p1", "2150-01-01T12:00:00"), ("b", "p2", "2150-01-01T12:00:00")])
    texts = [("p1", "p1", "2150-01-01T12:00:00", "then"), ("p2", "p2", "2150-01-01T12:00:01", "later")]
    pair(folder, summaries(tmp_path / "texts", texts), tmp_path / "out")
    assert reports(tmp_path / "out") == {"a": "then"}


def test_a_text_made_for_the_recording_wins_over_a_later_one(waves: Path, tmp_path: Path):
    texts = [("r2", "p1", "2150-06-01", "of this recording"), *TEXTS]
    paired = pair(waves, summaries(tmp_path / "texts", texts), tmp_path / "out")
    assert reports(tmp_path / "out") == {"r1": "Hypertension", "r2": "of this recording"}
    assert paired.own == 1


def test_a_text_made_for_the_recording_but_from_after_it_does_not_count(waves: Path, tmp_path: Path):
    texts = [("r2", "p1", "2153-01-01", "the outcome"), *TEXTS]
    assert pair(waves, summaries(tmp_path / "texts", texts), tmp_path / "out").own == 0
    assert reports(tmp_path / "out")["r2"] == "Hypertension,\natrial fibrillation"


def test_a_text_for_a_recording_of_somebody_else_is_not_taken_for_it(waves: Path, tmp_path: Path):
    texts = [("r2", "p9", "2150-06-01", "somebody else"), *TEXTS]
    paired = pair(waves, summaries(tmp_path / "texts", texts), tmp_path / "out")
    assert "somebody else" not in reports(tmp_path / "out").values()
    assert paired.notes == ("texts that name a recording of another subject, not taken for it: 1",)


def test_texts_without_a_date_are_taken_only_where_it_is_allowed(waves: Path, tmp_path: Path):
    table = tmp_path / "texts.csv"
    pl.DataFrame({"subject": ["p1", "p3"], "text": ["Stroke", "Asthma"]}).write_csv(table)
    with pytest.raises(
        CohortError, match=r"no recording of .* finds a text \(3: their subject .*; 3: not known whether"
    ):
        pair(waves, table, tmp_path / "out")
    pair(waves, table, tmp_path / "out", allow_undated=True)
    assert reports(tmp_path / "out") == {"r1": "Stroke", "r2": "Stroke", "r4": "Asthma"}


def test_a_dated_text_wins_over_one_without_a_date_and_a_late_one_stays_out(waves: Path, tmp_path: Path):
    texts = [("p1", "p1", None, "undated"), ("p2", "p2", None, "undated"), *TEXTS]
    pair(waves, summaries(tmp_path / "texts", texts), tmp_path / "out", allow_undated=True)
    assert reports(tmp_path / "out") == {
        "r1": "Hypertension",
        "r2": "Hypertension,\natrial fibrillation",
        "r3": "undated",
        "r4": "Asthma",
    }


def test_a_table_may_name_the_recording_by_id(waves: Path, tmp_path: Path):
    table = tmp_path / "texts.csv"
    rows = {"id": ["r1", None], "subject": ["p1", "p1"], "until": ["2149-01-01"] * 2, "text": ["own", "any"]}
    pl.DataFrame(rows).write_csv(table)
    assert pair(waves, table, tmp_path / "out").own == 1
    assert reports(tmp_path / "out") == {"r1": "own", "r2": "any"}


def test_spellings_of_a_subject_are_matched_only_when_asked_and_then_counted(tmp_path: Path):
    folder = cohort(tmp_path / "w", [("a", "p000123", "2150-01-01"), ("b", "p000007", "2150-01-01")])
    texts = summaries(tmp_path / "texts", [("123", "123", "2149-01-01", "x"), ("00007", "00007", "2149-01-01", "y")])
    hint = "subjects that would match by their digits alone: 2; pass --subject-digits"
    with pytest.raises(CohortError, match=hint):
        pair(folder, texts, tmp_path / "out")
    paired = pair(folder, texts, tmp_path / "out", subject_digits=True)
    assert reports(tmp_path / "out") == {"a": "x", "b": "y"}
    assert paired.notes == ("subjects matched by their digits alone, as their spelling differs: 2",)
    assert open_cohort(tmp_path / "out").subjects.tolist() == ["p000123", "p000007"]


def test_two_subjects_with_the_same_digits_are_not_guessed(tmp_path: Path):
    folder = cohort(tmp_path / "w", [("a", "p12", "2150-01-01"), ("b", "q012", "2150-01-01")])
    texts = summaries(tmp_path / "texts", [("12", "12", "2149-01-01", "x")])
    with pytest.raises(CohortError, match="the cohort: p12 and q012 have the same digits; leave --subject-digits away"):
        pair(folder, texts, tmp_path / "out", subject_digits=True)


def test_a_report_that_was_there_is_replaced_and_this_is_said(tmp_path: Path):
    folder = cohort(tmp_path / "w", [("a", "p1", "2150-01-01")], report=["old"], rate=[None], af=[1])
    paired = pair(folder, summaries(tmp_path / "texts", [("p1", "p1", "2149-01-01", "new")]), tmp_path / "out")
    assert paired.notes == ("reports that the cohort had before, replaced: 1",)
    record = open_cohort(tmp_path / "out")[0]
    assert (record.text, record.facts["af"]) == ("new", 1)


def test_the_order_of_texts_and_recordings_does_not_matter(waves: Path, tmp_path: Path):
    pair(waves, summaries(tmp_path / "one", TEXTS), tmp_path / "out")
    pair(waves, summaries(tmp_path / "other", TEXTS[::-1]), tmp_path / "turned")
    assert reports(tmp_path / "out") == reports(tmp_path / "turned")


def test_what_cannot_be_paired_says_what_is_needed(waves: Path, tmp_path: Path):
    with pytest.raises(CohortError, match="would write over the cohort it reads"):
        pair(waves, summaries(tmp_path / "texts", TEXTS), waves)
    with pytest.raises(CohortError, match=r"summaries\.csv: needs a table here"):
        pair(waves, waves, tmp_path / "out")
    (tmp_path / "t.csv").write_text("subject,summary\np1,x\n")
    with pytest.raises(CohortError, match="needs the column text; it has subject, summary"):
        pair(waves, tmp_path / "t.csv", tmp_path / "out")
    (tmp_path / "t.csv").write_text("subject,text,until\np1,x,yesterday\n")
    with pytest.raises(CohortError, match="column until, row 1: needs an ISO date"):
        pair(waves, tmp_path / "t.csv", tmp_path / "out")
